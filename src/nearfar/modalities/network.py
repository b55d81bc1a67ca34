"""A network of a user's own as the inside of a modality's encoder."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import Tensor, nn

from nearfar import given
from nearfar.errors import ConfigError


class OwnNetwork(nn.Module):
    """A copy of a user's network, whose output is taken for features `[n, dim]`, or for maps that are averaged.

    The network itself, `original`, stays as it was given.
    """

    original: nn.Module

    def __init__(self, name: str) -> None:
        super().__init__()
        module = given.get("encoder", name)
        if not isinstance(module, nn.Module):
            what = (
                f"the class {module.__name__}: give an object of it"
                if isinstance(module, type)
                else type(module).__name__
            )
            raise ConfigError(f"encoder must be a name or a torch.nn.Module, got {what}.")
        try:
            self.module: nn.Module = deepcopy(module)
        except Exception as error:  # of what cannot be copied, anything may come
            raise ConfigError(f"{given.short(name)} cannot be copied, which training does: {error}.") from None
        self.name = name
        object.__setattr__(self, "original", module)  # no part of this network: it has no weights of the run

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs to features `[n, dim]`."""
        found = self.module(inputs)
        if isinstance(found, Tensor) and found.ndim == 4:
            found = found.mean((2, 3))
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(inputs):
            what = f"a tensor {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise ConfigError(
                f"{given.short(self.name)} gives {what} for inputs {list(inputs.shape)}: an encoder gives one vector "
                "for each, [n, dim], or maps [n, dim, h, w]."
            )
        return found

    @torch.no_grad()
    def width(self, inputs: Tensor) -> int:
        """The length of its features, by what it makes of real inputs; raises ConfigError where it cannot read them."""
        training = self.training
        self.eval()
        try:
            return int(self(inputs).shape[1])
        except (RuntimeError, TypeError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(
                f"{given.short(self.name)} cannot read inputs {list(inputs.shape)}: {str(error)[:200]}"
            ) from None
        finally:
            self.train(training)


@contextmanager
def held_again(encoder: nn.Module) -> Iterator[None]:
    """As long as this lasts, an encoder around a user's own network can be made again from its config."""
    with given.holding() as hold:
        for module in encoder.modules():
            if isinstance(module, OwnNetwork):
                hold("encoder", module.original, module.name)
        yield
