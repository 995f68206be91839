"""Changes of a world: checks that they fit a scene, and the resulting properties and colours of its bodies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from embodied.errors import EventError, unknown_name
from embodied.scenes.scene import Body, Scene
from embodied.types import (
    MoveBody,
    PartColours,
    PlaceBody,
    Properties,
    Rgba,
    SetColour,
    SetJoint,
    SetProperty,
    WorldChange,
)


@dataclass(frozen=True, eq=False)
class BodyAttributes:
    """Properties and colours of all bodies, as in `WorldState`. A change makes a new one, so that it can be saved."""

    properties: Properties
    colours: PartColours

    @staticmethod
    def of(scene: Scene) -> BodyAttributes:
        """Returns the initial attributes of the bodies of `scene`."""
        return BodyAttributes(
            {body.name: {one.name: one.value for one in body.properties} for body in scene.bodies if body.properties},
            {},
        )

    def changed(self, changes: Iterable[WorldChange]) -> BodyAttributes:
        """Returns the attributes after `changes`, in their order; changes of poses and joints are ignored."""
        properties, colours = dict(self.properties), dict(self.colours)
        for change in changes:
            if isinstance(change, SetProperty):
                properties[change.body] = {**properties[change.body], change.property: change.value}
            elif isinstance(change, SetColour):
                before = colours.get(change.body, {}) if change.parts else {}
                colours[change.body] = {**before, **dict.fromkeys(change.parts or ("",), change.rgba)}
        return BodyAttributes(properties, colours)


def part_colours(body: Body, properties: Properties, colours: PartColours) -> tuple[Rgba, ...]:
    """Returns the colour of every part of `body`.

    A colour set by an event (`colours`) takes precedence over one that follows from `properties`, and that over the
    part's own.
    """
    painted = {part.name: part.rgba for part in body.parts if part.name}
    others: Rgba | None = None
    values = properties.get(body.name, {})
    for colour in body.property_colours:
        if values[colour.property] == colour.value:
            if not colour.parts:
                others = colour.rgba
            painted.update(dict.fromkeys(colour.parts or tuple(painted), colour.rgba))
    ordered = colours.get(body.name, {})
    if "" in ordered:
        others = ordered[""]
        painted = dict.fromkeys(painted, ordered[""])
    painted.update({name: rgba for name, rgba in ordered.items() if name})
    return tuple(painted[part.name] if part.name else others or part.rgba for part in body.parts)


def check_effect(scene: Scene, effect: MoveBody | WorldChange) -> None:
    """Checks that an effect or a change fits `scene`.

    Raises `UnknownNameError` for a body, joint, part or property that is not there, and `EventError` for a body that
    hangs on a joint, a joint that is fixed or would leave its limits, and a value of another type than the property's.
    """
    if isinstance(effect, SetJoint):
        _check_joint(scene, effect)
        return
    body = scene.body(effect.body)
    if isinstance(effect, MoveBody | PlaceBody):
        if any(joint.child == body.name for joint in scene.joints):
            raise EventError(
                "A body that is moved must not hang on a joint.",
                value=body.name,
                remedy="Set its joint, or move the body that carries it.",
            )
    elif isinstance(effect, SetColour):
        named = [part.name for part in body.parts if part.name]
        for part in effect.parts:
            if part not in named:
                raise unknown_name(f"part of body {body.name!r}", part, named)
    else:
        _check_property(body, effect)


def moved_bodies(effect: MoveBody | WorldChange, scene: Scene) -> frozenset[str]:
    """Returns the bodies that an effect moves: its own, and all that are attached to it by joints.

    Raises `UnknownNameError` for a missing joint.
    """
    if isinstance(effect, SetColour | SetProperty):
        return frozenset()
    moved = [effect.body if isinstance(effect, MoveBody | PlaceBody) else scene.joint(effect.joint).child]
    for name in moved:
        moved += [joint.child for joint in scene.joints if joint.parent == name]
    return frozenset(moved)


def check_not_held(change: WorldChange, scene: Scene, held: Iterable[str | None]) -> None:
    """Raises `EventError` where a `change` of `scene` would move one of the bodies that robots have `held`."""
    moved = moved_bodies(change, scene).intersection(held)
    if moved:
        raise EventError(
            "A change of the world must not move a body that a robot holds.",
            value=min(moved),
            remedy="Make the change before the grasp or after the release; an event of an episode waits for that.",
        )


def _check_joint(scene: Scene, effect: SetJoint) -> None:
    joint = scene.joint(effect.joint)
    if joint.kind == "fixed":
        raise EventError("A joint that is set must slide or turn.", value=joint.name)
    if not joint.lower <= effect.position <= joint.upper:
        raise EventError(
            f"Joint {joint.name!r} must be set within its limits of {joint.lower:g} to {joint.upper:g}.",
            value=effect.position,
        )


def _check_property(body: Body, effect: SetProperty) -> None:
    types = {one.name: type(one.value) for one in body.properties}
    if effect.property not in types:
        raise unknown_name(f"property of body {body.name!r}", effect.property, types)
    if types[effect.property] is not type(effect.value):
        raise EventError(
            f"Property {effect.property!r} of body {body.name!r} must stay of type {types[effect.property].__name__}.",
            value=effect.value,
        )
