"""Sampled questions are valid, say one thing, and are read back from their sentences."""

import numpy as np
import pytest
from msgspec.structs import replace

from embodied.errors import ConfigError, QuestionError
from embodied.seeding import stream
from embodied.tasks.findingdory.day_index import DayIndex
from embodied.tasks.findingdory.facts import DayFacts, InteractionFact, ObjectFact, ReceptacleFact, RoomFact
from embodied.tasks.findingdory.goals import goal_of
from embodied.tasks.findingdory.sampling import SamplingLimits, object_name, sample_questions, valid_questions
from embodied.tasks.findingdory.templates import TEMPLATES, Question, parse, wording
from tests.tasks.findingdory.story import INTERACTIONS, OBJECTS, RECEPTACLES, ROOMS, story

KINDS = ("alarm clock", "book", "cup", "hat", "lamp", "mouse_pad", "orange", "pen", "salt and pepper shaker", "teapot")
FURNITURE = ("bed", "bench", "cabinet", "chair", "chest of drawers", "counter", "couch", "shelves", "stool", "table")
SEVERAL = {"all_obj", "all_rec", "all_rec_pick", "all_rec_place", "all_crec_pick", "all_crec_place"}
ANY_OF = {"obj_int", "obj_not", "rec_int", "rec_pick", "rec_place", "rec_not", "room_not"}


def drawn_day(seed: int) -> DayFacts:
    """Returns a day of 2 to 11 interactions among 24 objects and 18 receptacles in six rooms."""
    draws = stream(seed, "day")
    rooms = [RoomFact(f"room {at}", steps=int(steps)) for at, steps in enumerate([0, *draws.permutation(900)[:5]])]
    receptacles = [
        ReceptacleFact(
            f"r{at}", FURNITURE[at % 10], f"room {at % 6}", "twin" if at in (3, 13) else "", None, draws.uniform(1, 30)
        )
        for at in range(18)
    ]
    objects = [
        ObjectFact(
            f"o{at}", KINDS[at % 10], *(f"{name} {draws.integers(6)}" for name in ("flat", "red", "wax", "use")),
            "text" if draws.random() < 0.5 else "", distance_m=draws.uniform(1, 30),
        )
        for at in range(24)
    ]  # fmt: skip
    interactions, time_min = [], 360.0
    for at in draws.permutation(24)[: draws.integers(2, 12)]:
        source, destination = draws.permutation(18)[:2]
        times = time_min + np.cumsum(draws.uniform(1.2, 12.0, size=4))
        time_min = float(times[-1])
        interactions.append(
            InteractionFact(
                f"o{at}", f"r{source}", f"r{destination}", f"room {source % 6}", f"room {destination % 6}",
                *times.tolist(),
            )
        )  # fmt: skip
    return DayFacts(tuple(objects), tuple(receptacles), tuple(rooms), tuple(interactions))


def test_sampled_questions_of_many_days_are_valid_and_read_back() -> None:
    counts = dict.fromkeys(TEMPLATES, 0)
    days = [drawn_day(seed) for seed in range(40)]
    for seed, facts in enumerate(days):
        for slug, question in sample_questions(facts, seed).items():
            counts[slug] += 1
            assert parse(wording(question)) == question
            goal = goal_of(question, facts)
            assert goal.possible
            if question.template.goals == "single" and slug not in ANY_OF and goal.kind == "object":
                assert len(goal.targets[0]) == 1 or slug.startswith(("recall", "cobj_not", "attr", "obj_from"))
    long = sum(len(facts.interactions) > 2 for facts in days)
    needs_three = {slug for slug in TEMPLATES if "_k_" in slug or "between" in slug}
    always = {slug for slug in TEMPLATES if not TEMPLATES[slug].slots} - {"far_obj", "dur_short", "dur_long"}
    assert min(counts[slug] for slug in needs_three) >= 0.9 * long
    assert min(counts[slug] for slug in TEMPLATES.keys() - needs_three - always) >= 30
    assert all(counts[slug] == 40 for slug in ANY_OF | SEVERAL)


def test_all_valid_questions_of_the_story_are_the_ones_that_can_be_read_off() -> None:
    def found(slug: str) -> list[Question]:
        return valid_questions(slug, story(), draws=stream(0, slug))

    assert found("cobj_int") == [Question("cobj_int", {"category": text}) for text in ("cup", "mouse pad")]
    assert found("cobj_not") == [Question("cobj_not", {"category": "cup"})]
    assert found("crec_not") == [Question("crec_not", {"receptacle": "table"})]
    between = [("cup", "second teapot"), ("first teapot", "mouse pad")]
    assert found("obj_between") == [Question("obj_between", {"category": a, "other_category": b}) for a, b in between]
    after = [("cup", 2), ("cup", 3), ("first teapot", 2)]
    assert found("obj_k_after") == [Question("obj_k_after", {"k": k, "category": name}) for name, k in after]
    assert [each.slots["time"] for each in found("obj_at_t")][:3] == ["6:10", "6:11", "6:12"]
    assert found("far_obj") == []  # One touched object cannot be reached.
    assert found("far_rec_not") == []  # One untouched receptacle cannot be reached.
    assert found("far_rec_pick") == [Question("far_rec_pick", {})]
    [order] = found("ord_rec_pick")
    assert sorted(order.slots["order"]) == [1, 2, 4]


def test_extremes_must_be_ahead_by_a_margin() -> None:
    facts, draws = story(), stream(0, "margin")
    for slug, wide in (("dur_short", SamplingLimits(margin_min=2.5)), ("far_rec_pick", SamplingLimits(margin_m=1.5))):
        assert len(valid_questions(slug, facts, draws=draws)) == 1
        assert valid_questions(slug, facts, draws=draws, limits=wide) == []
    assert valid_questions("room_longest", facts, draws=draws, limits=SamplingLimits(margin_steps=101)) == []
    equal = replace(INTERACTIONS[1], place_end_min=398.0)
    tied = DayFacts(OBJECTS, RECEPTACLES, ROOMS, (INTERACTIONS[0], equal, *INTERACTIONS[2:]))
    assert valid_questions("dur_short", tied, draws=draws, limits=SamplingLimits(margin_min=0.0)) == []
    with pytest.raises(ConfigError):
        SamplingLimits(margin_m=float("nan"))
    with pytest.raises(QuestionError):
        valid_questions("nth_object", facts, draws=draws)


def test_no_question_asks_for_a_minute_in_which_two_things_were_touched() -> None:
    earlier = replace(INTERACTIONS[0], place_end_min=390.0)
    facts = DayFacts(OBJECTS, RECEPTACLES, ROOMS, (earlier, *INTERACTIONS[1:]))
    for slug in ("obj_at_t", "rec_at_t"):
        times = [each.slots["time"] for each in valid_questions(slug, facts, draws=stream(0, slug))]
        assert "6:31" in times
        assert ("6:30" in times) == (slug == "rec_at_t")  # The shelf alone is both destination and source then.


def test_objects_are_named_by_category_and_counted_where_several_were_touched() -> None:
    assert [object_name(DayIndex(story()), at) for at in range(4)] == [
        "cup", "first teapot", "second teapot", "mouse pad",
    ]  # fmt: skip
    again = replace(
        INTERACTIONS[0], pick_start_min=440.0, carry_start_min=441.0, place_start_min=445.0, place_end_min=446.0
    )
    twice = DayFacts(OBJECTS, RECEPTACLES, ROOMS, (*INTERACTIONS, again))
    assert object_name(DayIndex(twice), 0) is None


def test_the_same_seed_gives_the_same_questions_and_a_day_without_interactions_has_few() -> None:
    assert sample_questions(story(), 5) == sample_questions(story(), 5)
    assert sample_questions(story(), 5) != sample_questions(story(), 6)
    still = sample_questions(DayFacts(OBJECTS, RECEPTACLES, ROOMS, ()), 0)
    assert set(still) == {"recall_obj", "recall_rec", "obj_not", "rec_not", "room_not", "room_longest"}
