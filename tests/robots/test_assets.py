"""Lean collision meshes make the same collision shapes."""

from typing import Any

import pytest

from embodied.robots.assets import collision_urdf_path, urdf_path
from embodied.robots.catalogue import robot_model, robot_names
from embodied.simulators.bullet.client import connect


def collision_points(bullet: Any, urdf: str) -> list[Any]:
    robot = bullet.loadURDF(urdf, useFixedBase=True)
    links = range(-1, bullet.getNumJoints(robot))
    meshed = [link for link in links if any(shape[4] for shape in bullet.getCollisionShapeData(robot, link))]
    return [bullet.getMeshData(robot, link, flags=bullet.MESH_DATA_SIMULATION_MESH) for link in meshed]


@pytest.mark.parametrize("name", robot_names())
def test_lean_meshes_make_the_same_collision_shapes(name):
    model, bullet = robot_model(name), connect()
    full = collision_points(bullet, str(urdf_path(model, visuals=False)))
    assert full or not model.arms
    assert collision_points(bullet, str(collision_urdf_path(model))) == full
    bullet.disconnect()
