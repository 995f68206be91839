"""Instructions in the official style become templates and slots, and are written from them."""

from collections import Counter
from typing import Any

import pytest

from embodied.errors import EmbodiedError, QuestionError
from embodied.scenes.house import RECEPTACLES
from embodied.scenes.objects import CATEGORIES
from embodied.tasks.findingdory.templates import GROUPS, TEMPLATES, Question, parse, wording
from tests.tasks.findingdory.official import needs_official, official_rows

SENTENCES: dict[str, tuple[str, dict[str, Any]]] = {
    "recall_obj": ("Navigate to a alarm clock.", {"category": "alarm clock"}),
    "recall_rec": ("Navigate to a kitchen island.", {"receptacle": "kitchen island"}),
    "obj_int": ("Navigate to any object that you interacted with yesterday.", {}),
    "obj_not": ("Navigate to any object that you did not interact with yesterday.", {}),
    "rec_int": ("Navigate to any receptacle you interacted with.", {}),
    "rec_pick": ("Navigate to any receptacle you picked an object from.", {}),
    "rec_place": ("Navigate to any receptacle you placed an object on.", {}),
    "rec_not": ("Navigate to any receptacle you did not interact with.", {}),
    "cobj_int": ("Navigate to the wine bottle that you interacted with yesterday.", {"category": "wine bottle"}),
    "cobj_not": ("Navigate to a umbrella that you did not interact with yesterday.", {"category": "umbrella"}),
    "crec_not": ("Navigate to a wardrobe you did not interact with yesterday.", {"receptacle": "wardrobe"}),
    "crec_pick": ("Navigate to a filing cabinet you picked an object from.", {"receptacle": "filing cabinet"}),
    "crec_place": ("Navigate to a shoe rack you placed an object on.", {"receptacle": "shoe rack"}),
    "obj_from_rec": ("Navigate to the object that you picked from the trunk.", {"receptacle": "trunk"}),
    "rec_of_obj": ("Navigate to the receptacle that you picked the toy sofa from.", {"category": "toy sofa"}),
    "attr_shape": (
        "Navigate to a star and moon shaped object that you interacted with yesterday.",
        {"attribute": "star and moon"},
    ),
    "attr_color": (
        "Navigate to a olive green colored object again that you interacted with yesterday.",
        {"attribute": "olive green"},
    ),
    "attr_material": ("Navigate to an already interacted object that is made of wax.", {"attribute": "wax"}),
    "attr_function": (
        "Navigate to an object that is used for watching the time that you interacted with yesterday.",
        {"attribute": "watching the time"},
    ),
    "attr_print": ("Navigate to an interacted object with polka dots on it.", {"attribute": "polka dots"}),
    "far_obj": (
        "Navigate to the object which you interacted with which is the farthest from your current location.",
        {},
    ),
    "far_rec_int": (
        "Navigate to the receptacle that you interacted with which is the farthest from your current location.",
        {},
    ),
    "far_rec_pick": (
        "Navigate to the receptacle that you picked an object from which is the farthest from your current location.",
        {},
    ),
    "far_rec_place": (
        "Navigate to the receptacle that you placed an object on which is the farthest from your current location.",
        {},
    ),
    "far_rec_not": (
        "Navigate to the receptacle that you did not interact with which is the farthest from your current location.",
        {},
    ),
    "room_not": ("Navigate to a room that you did not visit yesterday.", {}),
    "room_pick_nth": ("Navigate to the room where you picked the tenth object from.", {"ordinal": 10}),
    "room_place_nth": ("Navigate to the room where you placed the 10th object in.", {"ordinal": 11}),
    "room_pick_obj": ("Navigate to the room where you picked the hand towel from.", {"category": "hand towel"}),
    "room_place_obj": ("Navigate to the room where you placed the second lamp in.", {"category": "second lamp"}),
    "nth_obj": ("Navigate to the seventh object that you interacted with yesterday.", {"ordinal": 7}),
    "nth_rec_pick": ("Navigate to the first receptacle that you picked an object from.", {"ordinal": 1}),
    "nth_rec_place": ("Navigate to the ninth receptacle that you placed an object on.", {"ordinal": 9}),
    "obj_nth_rec": ("Navigate to the object that you picked from the third receptacle.", {"ordinal": 3}),
    "rec_nth_obj": ("Navigate to the receptacle that you picked the sixth object from.", {"ordinal": 6}),
    "obj_after": (
        "Navigate to the object you interacted with immediately after ending the interaction with first lamp.",
        {"category": "first lamp"},
    ),
    "obj_before": (
        "Navigate to the object you interacted with immediately before starting the interaction with hat.",
        {"category": "hat"},
    ),
    "obj_k_after": (
        "Navigate to the object you interacted with 3 interactions after ending the interaction with jug.",
        {"k": 3, "category": "jug"},
    ),
    "obj_k_before": (
        "Navigate to the object you interacted with 10 interactions before starting the interaction with jar.",
        {"k": 10, "category": "jar"},
    ),
    "pick_after": (
        "Navigate to the receptacle that you picked an object from right after you finished interacting with egg.",
        {"category": "egg"},
    ),
    "place_before": (
        "Navigate to the receptacle that you placed an object on right before you started interacting with fork.",
        {"category": "fork"},
    ),
    "pick_k_after": (
        "Navigate to the receptacle that you picked an object from 2 interactions after you finished interacting with "
        "dish.",
        {"k": 2, "category": "dish"},
    ),
    "place_k_before": (
        "Navigate to the receptacle that you placed an object on 4 interactions before you started interacting with "
        "c-clamp.",
        {"k": 4, "category": "c-clamp"},
    ),
    "obj_between": (
        "Navigate to the object that you interacted with between the interactions with vase and second hat.",
        {"category": "vase", "other_category": "second hat"},
    ),
    "pick_between": (
        "Navigate to the receptacle that you picked an object from between the interactions with salt and pepper "
        "shaker and plunger.",
        {"category": "salt and pepper shaker", "other_category": "plunger"},
    ),
    "place_between": (
        "Navigate to the receptacle that you placed an object on between the interactions with watch and salt and "
        "pepper shaker.",
        {"category": "watch", "other_category": "salt and pepper shaker"},
    ),
    "obj_at_t": ("Navigate to the object that you interacted with at 6:07 yesterday.", {"time": "6:07"}),
    "rec_at_t": ("Navigate to the receptacle that you interacted with at 18:29 yesterday.", {"time": "18:29"}),
    "dur_short": ("Navigate to to the object which took the shortest time to rearrange.", {}),
    "dur_long": ("Navigate to to the object which took the longest time to rearrange.", {}),
    "room_longest": ("Navigate to to the room that you spent most time in.", {}),
    "all_obj": ("Revisit all the objects you interacted with yesterday.", {}),
    "all_rec": ("Revisit all the receptacles you interacted with yesterday.", {}),
    "all_rec_pick": ("Revisit all the receptacles you picked objects from yesterday.", {}),
    "all_rec_place": ("Revisit all the receptacles you placed objects on yesterday.", {}),
    "all_crec_pick": (
        "Revisit all the chest of drawers you picked objects from yesterday.",
        {"receptacle": "chest of drawers"},
    ),
    "all_crec_place": ("Revisit all the sink you placed objects on yesterday.", {"receptacle": "sink"}),
    "ord_obj": (
        "Revisit all the objects you interacted with yesterday in specific order. The order to revisit them is: "
        "tenth, first, 10th.",
        {"order": [10, 1, 11]},
    ),
    "ord_rec_pick": (
        "Revisit all the receptacles you picked objects from yesterday in specific order. The order to revisit them "
        "is: first.",
        {"order": [1]},
    ),
    "ord_rec_place": (
        "Revisit all the receptacles you placed objects on yesterday in specific order. The order to revisit them is: "
        "third, first, second.",
        {"order": [3, 1, 2]},
    ),
}


def test_sixty_templates_in_eleven_categories_have_the_published_sizes() -> None:
    sizes = Counter(each.group for each in TEMPLATES.values())
    assert [sizes[group] for group in GROUPS] == [2, 6, 7, 5, 5, 5, 16, 2, 3, 6, 3]
    assert set(SENTENCES) == set(TEMPLATES)


@pytest.mark.parametrize("slug", SENTENCES)
def test_each_sentence_gives_its_template_and_slots_and_is_written_back(slug: str) -> None:
    sentence, slots = SENTENCES[slug]
    question = parse(f"The robot's goal is: {sentence}")
    assert question == Question(slug, slots)
    assert parse(wording(question)) == question
    assert parse(sentence.rstrip(".").upper()).slug == slug


def test_slots_keep_their_letters_and_stops() -> None:
    material = parse("navigate to an already interacted object that is made of No. 2 ABS plastic")
    assert material == Question("attr_material", {"attribute": "No. 2 ABS plastic"})
    pair = "Salt and Pepper Shaker and Second St. Nicholas"
    between = parse(f"Navigate to the object that you interacted with between the interactions with {pair}.")
    assert between.slots == {"category": "Salt and Pepper Shaker", "other_category": "Second St. Nicholas"}
    assert parse("Navigate to a Washer Dryer.") == Question("recall_rec", {"receptacle": "Washer Dryer"})


def test_written_sentences_are_grammatical_where_the_official_ones_are_not() -> None:
    assert wording(Question("recall_obj", {"category": "apple"})) == "Navigate to an apple."
    assert wording(Question("dur_long", {})) == "Navigate to the object which took the longest time to rearrange."
    order = wording(Question("ord_obj", {"order": [11, 2]}))
    assert order.endswith("The order to revisit them is: eleventh, second.")


@pytest.mark.parametrize(
    ("word", "slug"),
    [
        ("laptop stand", "recall_obj"),
        ("toy table", "recall_obj"),
        ("toilet paper", "recall_obj"),
        ("soap dish", "recall_obj"),
        ("stand", "recall_rec"),
        ("tv stand", "recall_rec"),
        ("washer dryer", "recall_rec"),
        ("bedside table", "recall_rec"),
        ("bookshelf", "recall_rec"),
    ],
)
def test_objects_and_furniture_are_recalled_in_the_same_words(word: str, slug: str) -> None:
    assert parse(f"Navigate to a {word}.").slug == slug


def test_the_things_of_procedural_homes_are_recalled_as_what_they_are() -> None:
    assert {parse(f"Navigate to a {word}.").slug for word in CATEGORIES} == {"recall_obj"}
    assert {parse(f"Navigate to a {word}.").slug for word in RECEPTACLES} == {"recall_rec"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Make coffee.",
        "Navigate to",
        "Navigate to a room.",
        "Navigate to a object.",
        "Navigate to the zeroth object that you interacted with yesterday.",
        "Navigate to the object that you interacted with at 24:00 yesterday.",
        "Navigate to the object you interacted with 0 interactions after ending the interaction with pen.",
        "Navigate to the object that you interacted with between the interactions with can.",
        "Revisit all the objects you interacted with yesterday in specific order. The order to revisit them is: .",
        "Revisit all the objects you interacted with yesterday in specific order. The order to revisit them is: "
        "first, first.",
        "Navigate to a " + "very " * 1_000 + "large pen.",
    ],
)
def test_other_text_is_refused_with_a_rule_the_value_and_a_remedy(text: str) -> None:
    with pytest.raises(QuestionError) as error:
        parse(text)
    assert error.value.rule and error.value.remedy and isinstance(error.value, EmbodiedError)


@pytest.mark.parametrize(
    ("slug", "slots"),
    [
        ("nth_object", {"ordinal": 1}),
        ("nth_obj", {}),
        ("nth_obj", {"ordinal": 0}),
        ("nth_obj", {"ordinal": True}),
        ("obj_at_t", {"time": "25:00"}),
        ("ord_obj", {"order": []}),
        ("ord_obj", {"order": [1, 1]}),
        ("recall_obj", {"category": " "}),
        ("obj_int", {"category": "pen"}),
    ],
)
def test_a_question_must_fill_exactly_the_slots_of_its_template(slug: str, slots: dict[str, Any]) -> None:
    with pytest.raises(QuestionError):
        Question(slug, slots)


@needs_official
def test_every_official_instruction_parses_into_the_category_that_its_row_states() -> None:
    by_episode: Counter[tuple[str, str]] = Counter()
    for row in official_rows():
        question = parse(row["question"])
        assert question.group == row["low_level_category"]
        assert parse(wording(question)) == question
        if "order" in question.slots:
            assert len(question.slots["order"]) == len(row["answer"])
        by_episode[row["ep_id"], question.slug] += 1
    assert {slug for _, slug in by_episode} == set(TEMPLATES)
    assert set(by_episode.values()) == {1}
