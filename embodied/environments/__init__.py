"""The worlds as other people's interfaces expect them. Importing this registers every task with Gymnasium."""

from gymnasium.envs.registration import register

from embodied.tasks.memorybench.base import Tier
from embodied.tasks.registry import TASKS

for _name, _kind in TASKS.items():
    for _tier in Tier:
        register(
            id=f"embodied/{_kind.__name__}-{_tier.value}-v0",
            entry_point="embodied.environments.keyframe:RegisteredEnv",
            kwargs={"world": f"{_name}/{_tier.value}"},
        )
