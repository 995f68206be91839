"""Requests of a Panda for the tests of remote policies: two cameras, a proprioception that says what it is."""

import numpy as np

from embodied.robots.catalogue import robot_model
from embodied.robots.commands import proprio_layout
from embodied.types import CameraImage, Clock, Observation, Request

CAMERAS = ("front", "wrist")
LAYOUT = proprio_layout(robot_model("panda"))


def observation(step: int, *, robot: str = "panda", px: int = 16) -> Observation:
    draw = np.random.default_rng(step)
    images = {
        name: CameraImage(
            rgb=draw.integers(0, 256, (px, px, 3), dtype=np.uint8),
            depth_m=draw.random((px, px), dtype=np.float32),
            instance=None,
            intrinsics=np.eye(3),
            world_from_camera=np.eye(4),
        )
        for name in CAMERAS
    }
    proprio = np.zeros(len(LAYOUT), np.float32)
    proprio[[LAYOUT.index(f"tool_{part}") for part in ("x_m", "y_m", "z_m", "qx", "qw")]] = 0.5, step, 1.0, 1.0, 0.0
    return Observation(robot, images, proprio, gripper=0.5, time_s=None)


def request(step: int = 0, *, carry: object = None, **given) -> Request:
    return Request(observation(step), "put it back", step=step, seed=step, carry=carry, clock=Clock.HIDDEN, **given)


def played(policy, steps: int, *, first: int = 0, carry: object = None) -> list:
    """Returns the decisions of `steps` requests, each with the carry of the one before."""
    decisions = []
    for step in range(first, first + steps):
        (decision,) = policy.act([request(step, carry=carry)])
        decisions.append(decision)
        carry = decision.carry
    return decisions
