"""The worlds as other people's interfaces expect them. Importing this registers every task with Gymnasium."""

from gymnasium.envs.registration import register

from embodied.tasks.registry import sound_suites
from embodied.types import named

for _suite in sound_suites():
    for _name, _kind in _suite.tasks.items():
        for _tier in _suite.tiers or ("",):
            register(
                id=f"embodied/{_kind.__name__}{f'-{_tier}' if _tier else ''}-v0",
                entry_point="embodied.environments.keyframe:RegisteredEnv",
                kwargs={"world": named(_name, _tier)},
            )
