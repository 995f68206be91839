"""What states and observations must hold, by the scene and the robots' models."""

from collections.abc import Iterator, Mapping

import numpy as np

from embodied.geometry import intrinsics_matrix
from embodied.robots.commands import proprio
from embodied.robots.robot import RobotModel
from embodied.scenes.scene import Camera, Scene
from embodied.testing.contract import Rule, require_finite_and_unit
from embodied.types import CameraImage, Observation, RobotState, WorldState, held_bodies


def require_state(rule: Rule, scene: Scene, state: WorldState, models: Mapping[str, RobotModel]) -> None:
    """Raises `ContractError` unless `state` has the bodies, joints and robots of `scene`, finite and in units.

    `rule` is the rule that is checked, `models` are those of the robots by name.
    """
    require_finite_and_unit(rule, state)
    named = {
        "bodies": (set(state.pose), {body.name for body in scene.bodies}),
        "robots": (set(state.robots), {robot.name for robot in scene.robots}),
        "joints": (set(state.joint), {joint.name for joint in scene.joints if joint.kind != "fixed"}),
    }
    for what, (found, declared) in named.items():
        if found != declared:
            raise rule.broken(f"{what} {sorted(found)}, where the scene has {sorted(declared)}")
    for placed in scene.robots:
        _require_robot(rule, placed.name, state.robots[placed.name], models[placed.model])
    if dict(state.held) != held_bodies(state.robots):
        raise rule.broken(f"`held` {dict(state.held)}, where the end effectors hold {held_bodies(state.robots)}")
    known = {*state.pose, *state.robots}
    for pair in state.contact:
        if tuple(sorted(pair)) != pair or not known.issuperset(pair):
            raise rule.broken(f"a contact of {pair}, which must be two known names in order")
    for body in filter(None, state.held.values()):
        if body not in state.pose:
            raise rule.broken(f"a robot holds {body!r}, which is no body of the scene")


def require_observation(rule: Rule, scene: Scene, seen: Observation, state: WorldState, model: RobotModel) -> None:
    """Raises `ContractError` unless `seen` fits its robot's `model`, its cameras in `scene` and `state`.

    `rule` is the rule that is checked; `state` is the state at the same instant.
    """
    here = state.robots[seen.robot]
    expected = proprio(model, here)
    if seen.proprio.dtype != np.float32 or seen.proprio.shape != expected.shape:
        raise rule.broken(f"proprio {seen.proprio.dtype} {seen.proprio.shape}, not float32 {expected.shape}")
    if not np.allclose(seen.proprio, expected, rtol=0.0, atol=1e-5):
        raise rule.broken(f"proprio {seen.proprio.tolist()}, where the state makes it {expected.tolist()}")
    opening = next((one.gripper for one in here.end_effectors.values()), 0.0)
    if abs(seen.gripper - opening) > 1e-6:
        raise rule.broken(f"a gripper opening of {seen.gripper}, where the state has {opening}")
    if seen.time_s is None or abs(seen.time_s - state.time_s) > 1e-9:
        raise rule.broken(f"a time of {seen.time_s}, where the state has {state.time_s}")
    for name, image in seen.images.items():
        for problem in image_problems(image, scene.camera(name), len(scene.instance_ids())):
            raise rule.broken(f"camera {name!r}: {problem}")


def image_problems(image: CameraImage, camera: Camera | None = None, ids: int | None = None) -> Iterator[str]:
    """Yields the differences of an `image` from `types.CameraImage`, and from its `camera` where one is given.

    `ids` is the highest id that instance images may hold.
    """
    size = image.depth_m.shape if camera is None else (camera.height_px, camera.width_px)
    expected = {
        "rgb": (np.uint8, (*size, 3)),
        "depth_m": (np.float32, size),
        "intrinsics": (np.float64, (3, 3)),
        "world_from_camera": (np.float64, (4, 4)),
    }
    if image.instance is not None:
        expected["instance"] = (np.int32, size)
    for part, (dtype, shape) in expected.items():
        array = getattr(image, part)
        if array.dtype != dtype or array.shape != shape:
            yield f"{part} is {array.dtype} {array.shape}, not {np.dtype(dtype)} {shape}"
            return
    if not np.isfinite(image.depth_m).all() or (image.depth_m < 0.0).any():
        yield "depth must be finite metres, 0 where unknown"
    if (
        image.instance is not None
        and ids is not None
        and not (image.instance.min() >= 0 and image.instance.max() <= ids)
    ):
        yield f"instance ids lie in [{image.instance.min()}, {image.instance.max()}], not [0, {ids}]"
    if camera is not None and not np.allclose(
        image.intrinsics, intrinsics_matrix(camera.width_px, camera.height_px, camera.fov_y_rad)
    ):
        yield f"intrinsics {image.intrinsics.tolist()} are not those of the camera"
    rotation = image.world_from_camera[:3, :3]
    if not (
        np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
        and np.linalg.det(rotation) > 0.0
        and np.array_equal(image.world_from_camera[3], (0.0, 0.0, 0.0, 1.0))
    ):
        yield "world_from_camera must be a rigid transform"


def _require_robot(rule: Rule, name: str, state: RobotState, model: RobotModel) -> None:
    size = (len(model.joints),)
    for what in ("joint_position_rad", "joint_velocity_radps"):
        shape = np.shape(getattr(state, what))
        if shape != size:
            raise rule.broken(f"{what} of {name!r} has shape {shape}, not {size}")
    if tuple(state.end_effectors) != model.end_effectors:
        raise rule.broken(f"end effectors {list(state.end_effectors)} of {name!r}, not {list(model.end_effectors)}")
    for end_effector, here in state.end_effectors.items():
        if not 0.0 <= here.gripper <= 1.0:
            raise rule.broken(f"an opening of {here.gripper} at {end_effector!r} of {name!r}, not in [0, 1]")
