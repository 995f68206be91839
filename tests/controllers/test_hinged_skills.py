"""Doors and lids on hinges in PyBullet: they are opened and closed by their handles, or fail with a reason."""

import numpy as np
import pytest

from embodied.controllers import ControllerConfig
from embodied.geometry import Pose
from embodied.scenes.scene import Body, Box, Joint, Part, Scene
from embodied.simulators.bullet import BulletConfig
from embodied.simulators.rendering.choice import RendererChoice
from embodied.types import ControllerReport, ControllerStatus, Skill
from tests.controllers.worlds import PANDA, TABLE

DONE = ControllerReport(ControllerStatus.DONE)
WIDTH_M, HEIGHT_M = 0.24, 0.3


def part(size_m, at_m):
    return Part(Box(size_m), Pose(at_m))


def leaf_of(name, panel, bar, posts):
    return Body(name, (panel, bar, *posts), mass_kg=0.4, friction=0.6, graspable=True)


def cupboard(side, *, at=(0.62, 0.0), position=0.0, friction=0.2):
    """A cupboard on the table with a door of 24 cm by 27 cm, its hinge at the left (`side` 1) or right (-1)."""
    half_m = WIDTH_M / 2
    case = (
        part((0.2, 0.26, 0.01), (0.12, 0.0, -HEIGHT_M / 2)),
        part((0.2, 0.26, 0.01), (0.12, 0.0, HEIGHT_M / 2)),
        part((0.01, 0.26, HEIGHT_M), (0.22, 0.0, 0.0)),
        part((0.2, 0.01, HEIGHT_M), (0.12, side * 0.125, 0.0)),
    )
    across_m = -side * (WIDTH_M - 0.03)
    door = leaf_of(
        "door",
        part((0.01, WIDTH_M - 0.01, HEIGHT_M - 0.03), (0.0, -side * half_m, 0.0)),
        part((0.014, 0.014, 0.08), (-0.05, across_m, 0.0)),
        [part((0.045, 0.014, 0.008), (-0.025, across_m, z)) for z in (0.04, -0.04)],
    )
    hinge = Joint("hinge", "revolute", "cupboard", "door", Pose((0.0, side * half_m, 0.0)), (0.0, 0.0, -float(side)),
                  upper=1.4, position=position, friction=friction)  # fmt: skip
    bodies = (TABLE, Body("cupboard", case, Pose((*at, 0.25))), door)
    return Scene("cupboard", bodies, (hinge,), robots=(PANDA,))


def chest(*, position=0.0):
    """A box on the table with a lid of 20 cm by 24 cm that opens away from the robot."""
    walls = (
        part((0.2, 0.24, 0.01), (0.0, 0.0, 0.005)),
        part((0.01, 0.24, 0.12), (0.1, 0.0, 0.06)),
        part((0.01, 0.24, 0.12), (-0.1, 0.0, 0.06)),
        part((0.2, 0.01, 0.12), (0.0, 0.12, 0.06)),
        part((0.2, 0.01, 0.12), (0.0, -0.12, 0.06)),
    )
    lid = leaf_of(
        "lid",
        part((0.2, 0.24, 0.01), (-0.1, 0.0, 0.006)),
        part((0.012, 0.06, 0.012), (-0.185, 0.0, 0.05)),
        [part((0.012, 0.008, 0.04), (-0.185, y, 0.028)) for y in (0.026, -0.026)],
    )
    hinge = Joint("hinge", "revolute", "chest", "lid", Pose((0.1, 0.0, 0.122)), (0.0, 1.0, 0.0), upper=1.2,
                  position=position, friction=1.0)  # fmt: skip
    return Scene("chest", (TABLE, Body("chest", walls, Pose((0.5, 0.0, 0.0))), lid), (hinge,), robots=(PANDA,))


def replace_body(scene, body):
    """Returns the scene with `body` in the place of that of the same name."""
    bodies = tuple(body if one.name == body.name else one for one in scene.bodies)
    return Scene("changed", bodies, scene.joints, robots=scene.robots)


@pytest.fixture(scope="module")
def simulator():
    simulator = BulletConfig(renderer=RendererChoice.tiny).build()
    yield simulator
    simulator.close()


def start(simulator, scene):
    simulator.reset(scene)
    return ControllerConfig().build(scene, "robot", period_s=simulator.control_period_s)


def run(simulator, active, intent):
    """Returns the report and the states after each period."""
    states, answer = [], active.begin(intent, simulator.state(), seed=1)
    while not isinstance(answer, ControllerReport):
        answer = active.tick(simulator.state())
        if not isinstance(answer, ControllerReport):
            simulator.advance({"robot": answer})
            states.append(simulator.state())
        assert len(states) < 600
    return answer, states


SCENES = {"left door": (cupboard(1), "door"), "right door": (cupboard(-1), "door"), "lid": (chest(), "lid")}


@pytest.mark.parametrize("name", SCENES)
def test_a_door_or_lid_is_opened_and_closed_by_its_handle(simulator, name):
    scene, leaf = SCENES[name]
    hinge = scene.joint("hinge")
    active = start(simulator, scene)
    for skill, low, high in (("open", 0.9 * hinge.upper, hinge.upper), ("close", -0.03, 0.1 * hinge.upper)):
        report, states = run(simulator, active, Skill(skill, {"object": leaf}))
        assert report == DONE
        assert low <= states[-1].joint["hinge"] <= high + 0.01
        angles = [state.joint["hinge"] for state in states if state.held["robot"] == leaf]
        assert np.ptp(angles) > 0.8 * hinge.upper  # The handle was held all the way.
        assert np.abs(np.diff(angles)).max() < 0.06
        assert not states[-1].held["robot"]
        assert all({("robot", "table")}.isdisjoint(state.contact) for state in states)
    assert run(simulator, active, Skill("close", {"object": leaf})) == (DONE, [])


def test_a_door_that_stands_half_open_is_closed(simulator):
    active = start(simulator, cupboard(1, position=0.7))
    assert run(simulator, active, Skill("close", {"object": "hinge"}))[0] == DONE
    assert simulator.state().joint["hinge"] < 0.14


def test_a_door_that_jams_fails_with_how_far_it_came(simulator):
    active = start(simulator, cupboard(1, friction=400.0))
    report, states = run(simulator, active, Skill("open", {"object": "door"}))
    assert report.status is ControllerStatus.FAILED
    assert report.reason.startswith("'door' stopped 1.")
    assert states[-1].held["robot"] is None


def test_a_handle_that_the_arm_cannot_follow_to_the_end_is_refused_before_anything_moves(simulator):
    active = start(simulator, cupboard(1, at=(0.95, 0.0)))
    report, states = run(simulator, active, Skill("open", {"object": "door"}))
    assert report == ControllerReport(
        ControllerStatus.FAILED, "unreachable: the arm cannot follow the handle of 'door' to its goal"
    )
    assert states == []


def test_a_panel_that_turns_about_its_middle_and_a_knob_are_understood(simulator):
    scene = cupboard(1)
    door = scene.body("door")
    turning = replace_body(scene, Body("door", (part((0.01, 0.2, 0.2), (0.0, 0.0, 0.0)),), mass_kg=0.4, graspable=True))
    report, _ = run(simulator, start(simulator, turning), Skill("open", {"object": "door"}))
    assert report.reason == "the middle of 'door' lies on its hinge"
    knob = part((0.05, 0.03, 0.03), (-0.03, -0.2, 0.0))  # Its longest side points out from the door.
    knobbed = replace_body(scene, Body("door", (door.parts[0], knob), mass_kg=0.4, friction=0.6, graspable=True))
    assert run(simulator, start(simulator, knobbed), Skill("open", {"object": "door"}))[0] == DONE
