"""The 60 templates of FindingDory: their slugs, categories and official sentences."""

from dataclasses import dataclass
from string import Formatter

from embodied.errors import QuestionError, unknown_name

SINGLE = "single"
UNORDERED = "unordered"
ORDERED = "ordered"


@dataclass(frozen=True)
class Template:
    """One kind of question.

    `group` is the official category, `phrase` the official sentence with its slots in braces, and `goals` says whether
    one goal is asked for (`SINGLE`), all in any order (`UNORDERED`), or all in a given order (`ORDERED`).
    """

    slug: str
    group: str
    phrase: str
    goals: str = SINGLE

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of the slots of the sentence, in its order."""
        return tuple(name for _, name, _, _ in Formatter().parse(self.phrase) if name)


RECALL = "Object Recall"
INTERACTION = "Interaction"
CONDITIONAL = "Conditional Interaction"
ATTRIBUTES = "Object Attributes"
SPATIAL = "Spatial Relationship"
ROOMS = "Room Visitation"
ORDER = "Interaction Order"
TIME = "Time-Based"
DURATION = "Duration Tracking"
ALL = "Unordered Revisitation"
IN_ORDER = "Ordered Revisitation"

GROUPS = (RECALL, INTERACTION, CONDITIONAL, ATTRIBUTES, SPATIAL, ROOMS, ORDER, TIME, DURATION, ALL, IN_ORDER)

_FARTHEST = "which is the farthest from your current location."
_LISTED = "yesterday in specific order. The order to revisit them is: {order}."

_GO: dict[str, dict[str, str]] = {  # By category and slug: what follows "Navigate to ".
    RECALL: {"recall_obj": "a {category}.", "recall_rec": "a {receptacle}."},
    INTERACTION: {
        "obj_int": "any object that you interacted with yesterday.",
        "obj_not": "any object that you did not interact with yesterday.",
        "rec_int": "any receptacle you interacted with.",
        "rec_pick": "any receptacle you picked an object from.",
        "rec_place": "any receptacle you placed an object on.",
        "rec_not": "any receptacle you did not interact with.",
    },
    CONDITIONAL: {
        "cobj_int": "the {category} that you interacted with yesterday.",
        "cobj_not": "a {category} that you did not interact with yesterday.",
        "crec_not": "a {receptacle} you did not interact with yesterday.",
        "crec_pick": "a {receptacle} you picked an object from.",
        "crec_place": "a {receptacle} you placed an object on.",
        "obj_from_rec": "the object that you picked from the {receptacle}.",
        "rec_of_obj": "the receptacle that you picked the {category} from.",
    },
    ATTRIBUTES: {
        "attr_shape": "a {attribute} shaped object that you interacted with yesterday.",
        "attr_color": "a {attribute} colored object again that you interacted with yesterday.",
        "attr_material": "an already interacted object that is made of {attribute}.",
        "attr_function": "an object that is used for {attribute} that you interacted with yesterday.",
        "attr_print": "an interacted object with {attribute} on it.",
    },
    SPATIAL: {
        "far_obj": f"the object which you interacted with {_FARTHEST}",
        "far_rec_int": f"the receptacle that you interacted with {_FARTHEST}",
        "far_rec_pick": f"the receptacle that you picked an object from {_FARTHEST}",
        "far_rec_place": f"the receptacle that you placed an object on {_FARTHEST}",
        "far_rec_not": f"the receptacle that you did not interact with {_FARTHEST}",
    },
    ROOMS: {
        "room_not": "a room that you did not visit yesterday.",
        "room_pick_nth": "the room where you picked the {ordinal} object from.",
        "room_place_nth": "the room where you placed the {ordinal} object in.",
        "room_pick_obj": "the room where you picked the {category} from.",
        "room_place_obj": "the room where you placed the {category} in.",
    },
    ORDER: {
        "nth_obj": "the {ordinal} object that you interacted with yesterday.",
        "nth_rec_pick": "the {ordinal} receptacle that you picked an object from.",
        "nth_rec_place": "the {ordinal} receptacle that you placed an object on.",
        "obj_nth_rec": "the object that you picked from the {ordinal} receptacle.",
        "rec_nth_obj": "the receptacle that you picked the {ordinal} object from.",
        "obj_after": "the object you interacted with immediately after ending the interaction with {category}.",
        "obj_before": "the object you interacted with immediately before starting the interaction with {category}.",
        "obj_k_after": "the object you interacted with {k} interactions after ending the interaction with {category}.",
        "obj_k_before": "the object you interacted with {k} interactions before starting the interaction with "
        "{category}.",
        "pick_after": "the receptacle that you picked an object from right after you finished interacting with "
        "{category}.",
        "place_before": "the receptacle that you placed an object on right before you started interacting with "
        "{category}.",
        "pick_k_after": "the receptacle that you picked an object from {k} interactions after you finished interacting "
        "with {category}.",
        "place_k_before": "the receptacle that you placed an object on {k} interactions before you started interacting "
        "with {category}.",
        "obj_between": "the object that you interacted with between the interactions with {category} and "
        "{other_category}.",
        "pick_between": "the receptacle that you picked an object from between the interactions with {category} and "
        "{other_category}.",
        "place_between": "the receptacle that you placed an object on between the interactions with {category} and "
        "{other_category}.",
    },
    TIME: {
        "obj_at_t": "the object that you interacted with at {time} yesterday.",
        "rec_at_t": "the receptacle that you interacted with at {time} yesterday.",
    },
    DURATION: {  # The official sentences repeat the "to".
        "dur_short": "the object which took the shortest time to rearrange.",
        "dur_long": "the object which took the longest time to rearrange.",
        "room_longest": "the room that you spent most time in.",
    },
}

_REVISIT: dict[str, dict[str, str]] = {  # By category and slug: what follows "Revisit all the ".
    ALL: {
        "all_obj": "objects you interacted with yesterday.",
        "all_rec": "receptacles you interacted with yesterday.",
        "all_rec_pick": "receptacles you picked objects from yesterday.",
        "all_rec_place": "receptacles you placed objects on yesterday.",
        "all_crec_pick": "{receptacle} you picked objects from yesterday.",
        "all_crec_place": "{receptacle} you placed objects on yesterday.",
    },
    IN_ORDER: {
        "ord_obj": f"objects you interacted with {_LISTED}",
        "ord_rec_pick": f"receptacles you picked objects from {_LISTED}",
        "ord_rec_place": f"receptacles you placed objects on {_LISTED}",
    },
}

TEMPLATES: dict[str, Template] = {
    slug: Template(slug, group, f"{start}{rest}", goals)
    for start, table in (("Navigate to ", _GO), ("Revisit all the ", _REVISIT))
    for group, phrases in table.items()
    for slug, rest in phrases.items()
    for goals in ({ALL: UNORDERED, IN_ORDER: ORDERED}.get(group, SINGLE),)
}


def template(slug: str) -> Template:
    """Returns the template called `slug`. Raises `QuestionError` with the nearest slug as its remedy."""
    if slug not in TEMPLATES:
        error = unknown_name("template", slug, TEMPLATES)
        raise QuestionError(error.rule, value=slug, remedy=error.remedy)
    return TEMPLATES[slug]
