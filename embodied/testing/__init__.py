"""Contract checks, which an outside package runs on its own simulators, tasks, controllers and other parts.

Each check raises `ContractError` at the first rule of `embodied.protocols` that a part breaks, and names the rule.
Neural memories have theirs in `policies.testing`, since it needs PyTorch.
"""

from embodied.testing.bank import check_bank
from embodied.testing.contract import ContractError
from embodied.testing.controller import check_controller
from embodied.testing.environment import check_environment
from embodied.testing.ideal_world import home_state, obedient
from embodied.testing.policy import check_policy
from embodied.testing.simulator import check_simulator
from embodied.testing.task import check_task

__all__ = [
    "ContractError",
    "check_bank",
    "check_controller",
    "check_environment",
    "check_policy",
    "check_simulator",
    "check_task",
    "home_state",
    "obedient",
]
