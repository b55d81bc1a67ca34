"""What an encoder computes, as a network that needs nothing else of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class ProgramInput:
    """One input of a program: an `example`, which of its axes may have any length, by name, and what it is."""

    example: Tensor
    axes: Mapping[int, str]
    meaning: str


@dataclass(frozen=True)
class Program:
    """A network `module` over tensors by position, `inputs` by name in that order, to vectors `[n, dim]`.

    `preparing` is Python code that makes the inputs, as numpy arrays of these names, of what users have; without it
    they have such arrays already.
    """

    module: nn.Module
    inputs: Mapping[str, ProgramInput]
    preparing: str = ""


class Behind(nn.Module):
    """A network over several inputs, and layers behind it."""

    def __init__(self, network: nn.Module, *layers: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.layers = nn.Sequential(*layers)

    def forward(self, *inputs: Tensor) -> Tensor:
        """The inputs to what the last layer makes of them."""
        found: Tensor = self.layers(self.network(*inputs))
        return found
