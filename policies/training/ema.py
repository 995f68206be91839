"""A moving average of the weights, which is validated and shipped."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """The average of a network's weights over its steps; buffers and tensors of integers are copied."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network = network
        self._decay = decay
        self.tensors = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Adds the weights after `step` (from 0); the decay is smaller in early steps."""
        keep = min(self._decay, (1.0 + step) / (10.0 + step))
        averaged = {name for name, parameter in self._network.named_parameters() if parameter.requires_grad}
        for name, tensor in self._network.state_dict().items():
            if name in averaged:
                self.tensors[name].lerp_(tensor, 1.0 - keep)
            else:
                self.tensors[name].copy_(tensor)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores an earlier average of the same network."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Gives the network the averaged weights and evaluation mode inside; afterwards both are restored."""
        own = {name: tensor.detach().clone() for name, tensor in self._network.state_dict().items()}
        modes = {module: module.training for module in self._network.modules()}
        self._network.load_state_dict(self.tensors)
        self._network.eval()
        try:
            yield
        finally:
            self._network.load_state_dict(own)
            for module, training in modes.items():
                module.training = training
