"""AdamW, its schedule, and its state as named tensors.

The published recipe uses 8-bit LAMB: a layer-wise step for batches of 256 and more on 32 GPUs, quantised to fit them,
and only on CUDA. Batches here are small and the state fits; AdamW is in torch, runs anywhere, and is exact on resuming.
"""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from policies.training.config import OptimiserConfig

STATE = ("exp_avg", "exp_avg_sq", "step")


def make_optimiser(network: nn.Module, config: OptimiserConfig) -> torch.optim.AdamW:
    """Returns the optimiser of all trained parameters; biases, norms and other vectors have no weight decay."""
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in learning if parameter.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [parameter for parameter in learning if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=config.learning_rate)


def learning_rate(config: OptimiserConfig, step: int, steps: int) -> float:
    """Returns the rate of `step` (from 0) of `steps`: a linear warm-up, then half a cosine, as `config` gives them."""
    if step < config.warm_up:
        return config.learning_rate * (step + 1) / config.warm_up
    done = (step - config.warm_up) / max(1, steps - config.warm_up)
    share = config.final_share + (1.0 - config.final_share) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
    return config.learning_rate * share


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Sets the rate of the next step."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def global_norm(tensors: Iterable[Tensor]) -> Tensor:
    """Returns the Euclidean norm over all elements of `tensors`, float32."""
    norms = [torch.linalg.vector_norm(tensor.detach().float()) for tensor in tensors]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())


@torch.no_grad()
def clip(gradients: Iterable[Tensor], norm: Tensor, longest: float) -> None:
    """Scales `gradients` whose global norm is `norm` to the norm `longest`, where they are longer."""
    if norm > longest:
        for gradient in gradients:
            gradient.mul_(longest / norm)


def optimiser_tensors(network: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Returns the optimiser's state as `<parameter>/<part>`."""
    return {
        f"{name}/{part}": optimiser.state[parameter][part]
        for name, parameter in network.named_parameters()
        if parameter in optimiser.state
        for part in STATE
    }


def restore_optimiser(network: nn.Module, optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restores the state of the `optimiser` of `network` from the `tensors` of `optimiser_tensors`.

    Raises `KeyError` for tensors of another network.
    """
    for name, parameter in network.named_parameters():
        if f"{name}/step" in tensors:
            own = {part: tensors[f"{name}/{part}"].clone() for part in STATE}
            # AdamW counts its steps on the CPU, wherever the weights are.
            optimiser.state[parameter] = {
                part: value if part == "step" else value.to(parameter.device) for part, value in own.items()
            }
