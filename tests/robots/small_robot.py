"""A robot that a test writes: a URDF of five joints and boxes, a gripper in a second file, and a model file."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

ARM = """<robot name="arm" xmlns:vendor="nobody">
  <link name="base"><collision><origin xyz="0 0 0.1"/><geometry><box size="0.14 0.14 0.2"/></geometry></collision>
    <visual><origin xyz="0 0 0.1"/><geometry><box size="0.14 0.14 0.2"/></geometry></visual></link>
  {links}
  <joint name="turn" type="revolute"><parent link="base"/><child link="column"/><origin xyz="0 0 0.2"/>
    <axis xyz="0 0 1"/><limit lower="-3" upper="3" velocity="2" effort="80" vendor:acceleration="9"/></joint>
  <joint name="shoulder" type="revolute"><parent link="column"/><child link="upper"/><origin xyz="0 0 0.1"/>
    <axis xyz="0 1 0"/><limit lower="-1" upper="2.5" velocity="2" effort="80"/></joint>
  <joint name="elbow" type="revolute"><parent link="upper"/><child link="lower"/><origin xyz="0 0 0.35"/>
    <axis xyz="0 1 0"/><limit lower="0.1" upper="2.6" velocity="2" effort="80"/></joint>
  <joint name="wrist" type="revolute"><parent link="lower"/><child link="hand"/><origin xyz="0 0 0.35"/>
    <axis xyz="0 1 0"/><limit lower="-1.5" upper="2.5" velocity="3" effort="30"/></joint>
  <joint name="roll" type="revolute"><parent link="hand"/><child link="flange"/><origin xyz="0 0 0.06"/>
    <axis xyz="0 0 1"/><limit lower="-3" upper="3" velocity="3" effort="30"/></joint>
  <vendor:tag>left out</vendor:tag>
</robot>"""
GRIPPER = """<robot name="gripper">
  <link name="palm"><inertial><mass value="0.2"/><inertia ixx="1e-3" ixy="0" ixz="0" iyy="1e-3" iyz="0" izz="1e-3"/>
    </inertial><collision><geometry><mesh filename="package://meshes/palm.obj"/></geometry></collision>
    <visual><geometry><mesh filename="package://meshes/palm.obj"/></geometry></visual></link>
  {links}
  <joint name="left" type="prismatic"><parent link="palm"/><child link="left_finger"/><origin xyz="0 0.005 0.04"/>
    <axis xyz="0 1 0"/><limit lower="0" upper="0.04" velocity="1" effort="50"/></joint>
  <joint name="right" type="prismatic"><parent link="palm"/><child link="right_finger"/><origin xyz="0 -0.005 0.04"/>
    <axis xyz="0 -1 0"/><limit lower="0" upper="0.04" velocity="1" effort="50"/><mimic joint="left"/></joint>
</robot>"""
MODEL: dict[str, Any] = {
    "version": 1,
    "name": "small",
    "parts": [
        {"urdf": "arm.urdf"},
        {"urdf": "gripper/gripper.urdf", "prefix": "g_", "parent": "flange", "at": {"position_m": [0, 0, 0.03]}},
    ],
    "arms": [
        {
            "name": "gripper",
            "joints": ["turn", "shoulder", "elbow", "wrist", "roll"],
            "home_rad": [0, 0.1, 1.4, 1.64, 0],
            "tool_link": "g_palm",
            "tool_at": {
                "position_m": [0, 0, 0.1],
                "rpy_rad": [0, 0, 3.14159265],
            },  # So that 0 of `roll` is in the middle.
            "gripper": {
                "joints": {"g_left": {"closed": 0, "open": 0.04}},
                "fingers": ["g_left_finger", "g_right_finger"],
                "stroke_m": 0.04,
                "force_n": 20,
                "tip_m": 0.01,
            },
        }
    ],
    "cameras": [{"name": "wrist", "at": {"position_m": [0.08, 0, -0.12]}, "fov_y_rad": 1.5}],
}
Change = Callable[[dict[str, Any]], object]


def write_small_robot(folder: Path, change: Change | None = None) -> Path:
    """Writes the files of the robot, its model changed in place by `change`; returns the path of its model file."""
    model = copy.deepcopy(MODEL)
    if change is not None:
        change(model)
    (folder / "gripper" / "meshes").mkdir(parents=True)
    arm = "".join(_box(name, "0.06 0.06 0.3", 0.17, 2.0) for name in ("upper", "lower"))
    arm += _box("column", "0.08 0.08 0.08", 0.04, 2.0) + _box("hand", "0.05 0.05 0.04", 0.03, 0.5)
    (folder / "arm.urdf").write_text(
        ARM.replace("{links}", arm + '<link name="flange"/>').replace(' xmlns:vendor="nobody"', "")
    )
    fingers = "".join(_box(f"{side}_finger", "0.02 0.01 0.06", 0.04, 0.05) for side in ("left", "right"))
    (folder / "gripper" / "gripper.urdf").write_text(GRIPPER.replace("{links}", fingers))
    (folder / "gripper" / "meshes" / "palm.obj").write_text(_palm())
    path = folder / "small.json"
    path.write_text(json.dumps(model))
    return path


def _box(name: str, size: str, up_m: float, mass_kg: float) -> str:
    shape = f'<origin xyz="0 0 {up_m}"/><geometry><box size="{size}"/></geometry>'
    moment = mass_kg * 0.01
    return (
        f'<link name="{name}"><inertial><origin xyz="0 0 {up_m}"/><mass value="{mass_kg}"/>'
        f'<inertia ixx="{moment}" ixy="0" ixz="0" iyy="{moment}" iyz="0" izz="{moment}"/></inertial>'
        f'<collision>{shape}</collision><visual>{shape}<material name="{name}"><color rgba="0.9 0.4 0.1 1"/></material>'
        "</visual></link>"
    )


def _palm() -> str:
    corners = [(x, y, z) for x in (-0.03, 0.03) for y in (-0.06, 0.06) for z in (-0.02, 0.02)]
    faces = ["1 2 4 3", "5 7 8 6", "1 5 6 2", "3 4 8 7", "1 3 7 5", "2 6 8 4"]
    return "".join(f"v {x} {y} {z}\n" for x, y, z in corners) + "".join(f"f {face}\n" for face in faces)
