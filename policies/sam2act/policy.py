"""The SAM2Act policy: requests become keyframes, with its memory in the carry and in the memory bank."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from embodied.errors import ConfigError
from embodied.geometry import vector3
from embodied.robots.catalogue import robot_model
from embodied.robots.commands import proprio_layout
from embodied.specs import KEYFRAME, ObservationSpec
from embodied.types import CameraImage, Carry, Decision, Moment, MoveTo, Observation, Request
from policies.heads.autoregressive import ActionLogits
from policies.heads.bins import RotationBins
from policies.memory.contract import State, as_carry, as_state
from policies.memory.moments import replay, to_moment
from policies.sam2act.branch import BranchFeatures
from policies.sam2act.geometry import Cube, most_likely_point, point_cloud
from policies.sam2act.inputs import Inputs, Proprioception
from policies.sam2act.network import Sam2Act
from policies.sam2act.visualisation import drawn_heat_maps

TOOL = ("tool_x_m", "tool_y_m", "tool_z_m", "tool_qx", "tool_qy", "tool_qz", "tool_qw")
_IMAGE_PARTS = {"rgb": np.uint8, "depth_m": np.float32, "intrinsics": np.float32, "world_from_camera": np.float32}


class Sam2ActPolicy:
    """Chooses one keyframe per request: the likeliest coarse waypoint, refined by the fine branch.

    `model_id` names the weights, so that moments of another model are never read. Without a carry the memory comes
    from the moments that the memory bank recalls.
    """

    privileged = False
    stateless = True
    action_spec = KEYFRAME
    takes_hints = True

    def __init__(self, network: Sam2Act, *, model_id: str) -> None:
        self._network = network.eval()
        self._config = network.config
        self._model_id = model_id
        self.observation_spec = ObservationSpec(cameras=tuple(network.config.cameras))
        layout = proprio_layout(robot_model(network.config.robot))
        self._proprio_size = len(layout)
        self._tool = [layout.index(name) for name in TOOL]
        self._device = torch.device("cpu")

    def to_device(self, device: str) -> None:
        """Moves the network to `device`, such as `cuda`; requests, decisions and carries stay numpy."""
        self._device = torch.device(device)
        torch.backends.cudnn.allow_tf32 = False  # TF32 products would make actions differ from those of a CPU.
        self._network.to(self._device)

    @torch.inference_mode()
    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """Returns one decision per request.

        Raises `ConfigError` for an observation without one of the policy's cameras or of another robot's
        proprioception, and for images that differ in size.
        """
        network, config = self._network, self._config
        inputs = self._inputs(requests)
        time = inputs.proprioception.time
        coarse = network.coarse_features(inputs)
        state = self._states(requests)
        tokens = self._with_memory(state, coarse, time)
        scores = network.coarse.heat_map(tokens, coarse.skips)
        point = _hinted(requests, most_likely_point(scores), config.cube)
        centre_m = config.cube.metres(point)
        fine = network.fine_features(inputs, centre_m)
        fine_scores = network.fine.heat_map(fine.tokens, fine.skips)
        refined = most_likely_point(fine_scores)
        logits = network.hand(network.action_features(fine, refined))
        position_m = centre_m + refined * config.fine_half_m
        after = self._written(state, coarse, config.cube.normalised(position_m), time)
        position_m = position_m.cpu()
        logits = ActionLogits(*(part.cpu() for part in logits))
        return [
            Decision(
                intents=(_keyframe(position_m[row], logits, row),),
                moments=self._moments(request, after.written, position_m, row),
                carry=after.carries[row],
                visualisations={
                    "whole table": drawn_heat_maps(coarse.visualisations, scores, row),
                    "close look": drawn_heat_maps(fine.visualisations, fine_scores, row),
                }
                if request.visualisations
                else {},
            )
            for row, request in enumerate(requests)
        ]

    def _inputs(self, requests: Sequence[Request]) -> Inputs:
        """Returns the observations and instructions of all requests, as one batch."""
        observations = [request.observation for request in requests]
        frames = [self._frame(seen) for seen in observations]
        try:
            images = {
                part: np.array([[getattr(image, part) for image in frame] for frame in frames], dtype)
                for part, dtype in _IMAGE_PARTS.items()
            }
        except ValueError as error:
            raise ConfigError("All cameras of a policy must show images of one size.", value=str(error)) from error
        device = self._device
        cloud = point_cloud(**{part: torch.from_numpy(array).to(device) for part, array in images.items()})
        tools = np.stack([seen.proprio[self._tool] for seen in observations])
        tools = torch.tensor(tools, dtype=torch.float32, device=device)
        proprioception = Proprioception(
            position_m=tools[:, :3],
            orientation=tools[:, 3:],
            gripper=torch.tensor([seen.gripper for seen in observations], dtype=torch.float32, device=device),
            time=torch.tensor([request.step for request in requests], device=device),
        )
        words = np.stack([self._network.language.tokenise(request.instruction) for request in requests])
        return Inputs(cloud, torch.from_numpy(words).to(device), proprioception)

    def _frame(self, seen: Observation) -> list[CameraImage]:
        """Returns the images of one observation in the order of the policy's cameras, after checking that it fits."""
        cameras = self._config.cameras
        if not set(cameras) <= seen.images.keys():
            raise ConfigError(
                f"The observations of this policy must hold the images of all its cameras, {list(cameras)}.",
                value=sorted(seen.images),
                remedy="Observe through `policy.observation_spec.cameras`, in a scene that has them.",
            )
        if seen.proprio.shape != (self._proprio_size,):
            raise ConfigError(
                f"The observations of this policy must hold the proprioception of {self._config.robot!r}, "
                f"{self._proprio_size} numbers.",
                value=seen.proprio.shape,
                remedy="Observe a robot of the model that the policy was trained for.",
            )
        return [seen.images[name] for name in cameras]

    def _states(self, requests: Sequence[Request]) -> State | None:
        """Returns the memories of all requests as one state, a row each; None for a policy without memory."""
        memory = self._network.memory
        if memory is None:
            return None
        rows = [
            replay(memory, request.memory.moments, model_id=self._model_id)
            if request.carry is None
            else as_state(request.carry, device=self._device)
            for request in requests
        ]
        return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}

    def _with_memory(self, state: State | None, coarse: BranchFeatures, time: Tensor) -> Tensor:
        """Returns the coarse tokens enriched by memory, or unchanged for a policy without memory."""
        memory = self._network.memory
        if memory is None or state is None:
            return coarse.tokens
        query = coarse.tokens.flatten(1, 2)
        read, _ = memory.read(state, query, time)
        return memory.fuse(query, read, state).view_as(coarse.tokens)

    def _written(self, state: State | None, coarse: BranchFeatures, chosen: Tensor, time: Tensor) -> "_Written":
        """Returns the memories after the waypoints `chosen` (row, 3) of the cube were written to them."""
        memory = self._network.memory
        if memory is None or state is None:
            return _Written(None, [{}] * len(time))
        written = self._network.memory_tokens(coarse.tokens, chosen)
        valid = torch.ones(len(time), dtype=torch.bool, device=self._device)
        after = memory.consolidate(memory.write(state, written, time, valid))
        return _Written(written, [as_carry(after, row) for row in range(len(time))])

    def _moments(self, request: Request, written: Tensor | None, position_m: Tensor, row: int) -> tuple[Moment, ...]:
        if written is None:
            return ()
        place, robot = vector3(position_m[row].double().numpy()), request.observation.robot
        return (to_moment(written[row], request.step, model_id=self._model_id, position_m=place, robot=robot),)


class Sam2ActPlusPolicy(Sam2ActPolicy):
    """SAM2Act with a memory, which controls can wipe and swap."""

    def wiped(self, carry: Carry) -> Carry:
        """Returns the carry with an empty memory."""
        del carry
        memory = self._network.memory
        return {} if memory is None else as_carry(memory.init_state(1), 0)

    def swapped(self, carry: Carry, donor: Carry) -> Carry:
        """Returns the carry with the memory of the donor."""
        return {**carry, **donor}


class _Written(NamedTuple):
    """The tokens written (row, tokens, slot_dim), None without memory, and the carries after the write."""

    written: Tensor | None
    carries: list[Carry]


def _hinted(requests: Sequence[Request], point: Tensor, cube: Cube) -> Tensor:
    """Returns the coarse waypoints (row, 3) in the cube: the hint of each request that has one, otherwise `point`."""
    hinted = [
        point[row] if request.hint is None else cube.normalised(point.new_tensor(request.hint.position_m))
        for row, request in enumerate(requests)
    ]
    return torch.stack(hinted)


def _keyframe(position_m: Tensor, logits: ActionLogits, row: int) -> MoveTo:
    x, y, z, w = RotationBins().decode(logits.rotation[row].argmax(-1)).double().tolist()
    length = float(np.sqrt(x * x + y * y + z * z + w * w))
    return MoveTo(
        position_m=vector3(position_m.double().numpy()),
        orientation=(x / length, y / length, z / length, w / length),
        gripper_open=bool(logits.gripper[row].argmax()),
        avoid_collisions=bool(logits.collisions[row].argmax()),
    )
