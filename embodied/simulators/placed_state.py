"""Checks of written states before a simulator is set to them."""

from collections.abc import Collection, Mapping

from embodied.errors import SimulationError
from embodied.scenes.changes import BodyAttributes
from embodied.types import WorldState


def check_names(
    state: WorldState,
    bodies: Collection[str],
    end_effectors: Mapping[str, Collection[str]],
    joints: Collection[str],
) -> None:
    """Raises `SimulationError` unless `state` has exactly these `bodies`, robots and moving `joints`.

    `end_effectors` are those of each robot by name.
    """
    for kind, known, given in (
        ("bodies", bodies, state.pose),
        ("robots", end_effectors, state.robots),
        ("moving joints", joints, state.joint),
        *(
            (f"end effectors of {name!r}", own, state.robots[name].end_effectors)
            for name, own in end_effectors.items()
            if name in state.robots
        ),
    ):
        if set(known) != set(given):
            raise SimulationError(
                f"A state that is placed must have the {kind} of the scene.",
                value=sorted(set(known) ^ set(given)),
                remedy="Reset the simulator to the scene in which the state was written.",
            )


def placed_attributes(state: WorldState, present: BodyAttributes, bodies: Collection[str]) -> BodyAttributes:
    """Returns the properties and colours of `state`, which must have the properties that are `present`.

    Raises `SimulationError` where it has others, or colours of other things than these `bodies`.
    """
    known, given = (
        {(body, name) for body, values in properties.items() for name in values}
        for properties in (present.properties, state.properties)
    )
    if known != given or not state.colours.keys() <= set(bodies):
        raise SimulationError(
            "A state that is placed must have the properties of the scene, and colours of its bodies alone.",
            value=sorted(known ^ given),
            remedy="Reset the simulator to the scene in which the state was written.",
        )
    return BodyAttributes(state.properties, state.colours)
