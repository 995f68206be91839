"""A lamp that blinks and a cup that is moved along an arc, beside a robot that waits; and a recorder of its frames."""

from dataclasses import dataclass

import numpy as np

from embodied.geometry import Pose, look_at, quaternion_from_yaw
from embodied.protocols import Policy, Simulator
from embodied.scenes.properties import Property, PropertyColour
from embodied.scenes.scene import Body, Box, Camera, Cylinder, Joint, Part, RobotPlacement, Scene
from embodied.types import (
    AtTime,
    Choice,
    Episode,
    IntentFeedback,
    Limits,
    MoveBody,
    Outcome,
    Progress,
    SetColour,
    SetJoint,
    SetProperty,
    Waypoint,
    WorldEvent,
    WorldState,
)
from tests.fakes import ScriptedPolicy

PERIOD_S = 0.4  # Of the lamp: on for one half, off for the other.
BLINKS = 3
END_S = 1.5
CAMERA = "front"
GREY, YELLOW, GREEN = (0.3, 0.3, 0.3, 1.0), (1.0, 0.9, 0.2, 1.0), (0.0, 0.8, 0.1, 1.0)


def lamp_scene() -> Scene:
    """Returns the world: a floor, a lamp with a bulb, a free cup, and a cabinet with a drawer."""
    bulb = Part(Box((0.1, 0.1, 0.1)), Pose((0.0, 0.0, 0.2)), rgba=GREY, name="bulb")
    return Scene(
        name="lamp",
        bodies=(
            Body("floor", (Part(Box((2.0, 2.0, 0.02))),), Pose((0.6, 0.0, -0.01))),
            Body(
                "lamp",
                (Part(Cylinder(0.02, 0.3), Pose((0.0, 0.0, 0.15))), bulb),
                Pose((0.6, 0.0, 0.0)),
                properties=(Property("on", value=False),),
                property_colours=(PropertyColour("on", value=True, rgba=YELLOW, parts=("bulb",)),),
            ),
            Body("cup", (Part(Cylinder(0.04, 0.1), rgba=(0.8, 0.1, 0.1, 1.0)),), Pose((0.6, -0.3, 0.05)), mass_kg=0.2),
            Body("cabinet", (Part(Box((0.1, 0.2, 0.2))),), Pose((0.9, 0.0, 0.1))),
            Body("drawer", (Part(Box((0.1, 0.15, 0.1))),), mass_kg=0.3),
        ),
        joints=(Joint("slide", "prismatic", "cabinet", "drawer", Pose((-0.1, 0, 0)), (-1.0, 0.0, 0.0), upper=0.1),),
        cameras=(Camera(CAMERA, look_at((-0.4, 0.0, 0.9), (0.6, 0.0, 0.1)), 64, 48, fov_y_rad=0.9),),
        robots=(RobotPlacement("arm", "panda", Pose((0.0, 0.8, 0.0))),),
    )


def arc(start_s: float, *, radius_m: float = 0.3, waypoints: int = 9) -> MoveBody:
    """Moves the cup along a half circle above the floor, about the middle of the table, and turns it."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, waypoints)
    return MoveBody(
        "cup",
        tuple(
            Waypoint(
                start_s + 0.1 * index,
                Pose(
                    (0.6, radius_m * float(np.sin(angle)), 0.05 + radius_m * float(np.cos(angle))),
                    quaternion_from_yaw(float(angle)),
                ),
            )
            for index, angle in enumerate(angles)
        ),
    )


def lamp_events() -> tuple[WorldEvent, ...]:
    """Returns a lamp that blinks three times, the cup on its arc, a drawer that opens, and a cabinet turned green."""
    switches = [
        WorldEvent(AtTime(PERIOD_S * (blink + 0.5 * half)), SetProperty("lamp", "on", value=not half))
        for blink in range(BLINKS)
        for half in (0, 1)
    ]
    return (
        *switches,
        WorldEvent(AtTime(0.3), arc(0.0)),
        WorldEvent(AtTime(0.5), SetJoint("slide", 0.08)),
        WorldEvent(AtTime(1.0), SetColour("cabinet", GREEN)),
    )


@dataclass(kw_only=True)
class LampTask:
    """Nothing to do: it succeeds after `END_S` simulated seconds."""

    name: str = "lamp"
    tier: str = ""
    events: tuple[WorldEvent, ...] = lamp_events()

    def sample(self, seed: int, *, split: str = "test") -> Episode:
        return Episode(
            id=f"lamp/{split}/{seed}",
            task=self.name,
            tier=self.tier,
            variant=0,
            seed=seed,
            split=split,
            instruction="watch the lamp",
            scene=lamp_scene(),
            goal=Choice(("on", "off"), "on"),
            limits=Limits(sim_time_s=10.0),
            events=self.events,
        )

    def begin(self, episode: Episode, state: WorldState) -> Progress:
        return Progress()

    def after_failure(self, episode: Episode, progress: Progress, feedback: IntentFeedback, robot: str) -> Progress:
        return progress

    def advance(self, episode: Episode, progress: Progress, state: WorldState) -> Progress:
        return Progress(Outcome.SUCCESS) if state.time_s > END_S - 1e-9 else progress


class FrameRecorder:
    """Keeps the colours of every frame, that after the reset first."""

    def __init__(self) -> None:
        self._simulator: Simulator | None = None
        self._frames: list[bytes] = []

    def on_begin(self, episode: Episode, simulator: Simulator) -> None:
        self._simulator = simulator
        self._take()

    def on_decision(self, request: object, decision: object) -> None:
        pass

    def on_feedback(self, robot: str, feedback: object) -> None:
        pass

    def on_step(self, state: WorldState, progress: Progress) -> None:
        self._take()

    def on_end(self, record: object) -> None:
        pass

    def recordings(self) -> tuple[bytes, ...]:
        return tuple(self._frames)

    def _take(self) -> None:
        assert self._simulator is not None
        self._frames.append(frame(self._simulator))


def frame(simulator: Simulator) -> bytes:
    """Returns the colours that the camera sees now."""
    return simulator.observe("arm", (CAMERA,)).images[CAMERA].rgb.tobytes()


@dataclass(kw_only=True)
class FrameRecorderConfig:
    """Builds a `FrameRecorder`."""

    def build(self) -> FrameRecorder:
        return FrameRecorder()


@dataclass(kw_only=True)
class WaitingPolicyConfig:
    """Builds a policy that waits."""

    def build(self) -> Policy:
        return ScriptedPolicy(script=())
