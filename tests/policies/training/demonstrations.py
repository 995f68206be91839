"""Made-up demonstrations, in the form of `launch.collect`, in milliseconds."""

import hashlib

import msgspec
import numpy as np

from embodied.evaluation.dataset_index import INDEX_FILE, SCHEMA, Dataset, File, RobotFeatures
from embodied.evaluation.demonstrations import TRAIN_SPLIT
from embodied.geometry import quaternion_from_euler
from embodied.seeding import stream
from embodied.trajectories import SCHEMA_VERSION, Label, goal_to_json, keyframe_trajectory, write_trajectory
from embodied.types import CameraImage, Choice, MoveTo, Observation, Outcome

CAMERAS = ("front", "wrist")
PROPRIO = ("tool_x_m", "tool_y_m", "tool_z_m", "tool_qx", "tool_qy", "tool_qz", "tool_qw", "gripper_opening")
REACH_M = ((0.0, 0.4), (-0.3, 0.3), (0.8, 1.2))


def trajectory(task="stack/strict", seed=0, keyframes=6, *, px=8, cameras=CAMERAS, proprio=PROPRIO, reach_m=REACH_M):
    """An episode of `keyframes` intents: the position aimed at is in the pixels, so that it can be learnt."""
    draw = stream(seed, "demonstration", task)
    low, high = np.transpose(reach_m)
    positions = draw.uniform(low, high, (keyframes + 1, 3))
    turns = [quaternion_from_euler(np.pi, 0.0, yaw) for yaw in draw.uniform(-1.0, 1.0, keyframes + 1)]
    intents = tuple(
        MoveTo(tuple(place.tolist()), turn, bool(step % 2), step % 3 > 0)
        for step, (place, turn) in enumerate(zip(positions[1:], turns[1:], strict=True))
    )
    shown = (positions - low) / (high - low)
    seen = tuple(
        Observation(
            robot="panda",
            images={camera: _image(draw, px, shown[min(step + 1, keyframes)]) for camera in cameras},
            proprio=np.array([*positions[step], *turns[step], step % 2][: len(proprio)], dtype=np.float32),
            gripper=float(step % 2),
            time_s=float(step),
        )
        for step in range(keyframes + 1)
    )
    name, _, tier = task.partition("/")
    label = Label(
        episode=f"{task}/{TRAIN_SPLIT}/{seed}", task=name, tier=tier, variant=0, seed=seed, split=TRAIN_SPLIT,
        instruction=f"do the {name}", goal=goal_to_json(Choice(("a", "b"), "a")), outcome=Outcome.SUCCESS, reason="",
        reached=(), choice="a", robots=("panda",),
    )  # fmt: skip
    return keyframe_trajectory(label, "panda", proprio, seen, intents)


def write_demonstrations(folder, trajectories, *, complete=True, split=TRAIN_SPLIT):
    files = []
    for made in trajectories:
        task = f"{made.label.task}/{made.label.tier}"
        name = f"{task}/{made.label.seed}.npz"
        sha256 = write_trajectory(folder / name, made)
        files.append(File(name, sha256, task, 0, made.label.seed, "panda", len(made)))
    dataset = Dataset(
        schema=SCHEMA, version=SCHEMA_VERSION, run=hashlib.sha256(b"").hexdigest()[:16], complete=complete,
        policy="expert", split=split, seed=0, demos=len(files), tasks=tuple(sorted({file.task for file in files})),
        robots={made.robot: RobotFeatures.of(made) for made in trajectories}, files=tuple(files), failures=(),
    )  # fmt: skip
    (folder / INDEX_FILE).parent.mkdir(parents=True, exist_ok=True)
    (folder / INDEX_FILE).write_bytes(msgspec.json.encode(dataset))
    return folder


def two_tasks(folder, episodes=6, **settings):
    lengths = [4, 6, 5]
    return write_demonstrations(
        folder,
        [
            trajectory(task, seed, lengths[seed % 3], **settings)
            for task in ("stack/strict", "press/strict")
            for seed in range(episodes)
        ],
    )


def _image(draw, px, colour):
    rgb = np.clip(255 * colour + draw.normal(0.0, 8.0, (px, px, 3)), 0, 255).astype(np.uint8)
    world_from_camera = np.eye(4)
    world_from_camera[:3, 3] = draw.uniform(0.5, 1.0, 3)
    return CameraImage(
        rgb=rgb,
        depth_m=draw.uniform(0.5, 1.5, (px, px)).astype(np.float32),
        instance=None,
        intrinsics=np.array([[px, 0.0, px / 2], [0.0, px, px / 2], [0.0, 0.0, 1.0]]),
        world_from_camera=world_from_camera,
    )
