"""An encoder whose vector is a known sum over the numbers of its inputs."""

import torch
from torch import Tensor

from nearfar.contract import Encoder, Parts


class Linear(Encoder):
    """Rows of P numbers to `rows @ weights`; a number that is taken away is 0."""

    def __init__(self, weights: Tensor, grid: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.config, self.dim, self.grid = {}, weights.shape[1], grid
        self.weights = torch.nn.Parameter(weights)

    def features(self, inputs: Tensor) -> Tensor:
        return inputs @ self.weights

    def preprocess(self, inputs) -> Tensor:
        return torch.tensor(inputs)

    def parts(self, inputs: Tensor) -> Parts:
        return Parts(
            names=[f"number {i}" for i in range(inputs.shape[1])],
            without=lambda kept: inputs * kept,
            terms=inputs[0, :, None] * self.weights,
            grid=self.grid,
        )


def linear(parts: int = 6, dim: int = 4, seed: int = 0, **more) -> tuple[Linear, Tensor, Tensor]:
    """An encoder and two samples of it."""
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, 1, parts, generator=generator)
    return Linear(torch.randn(parts, dim, generator=generator), **more).eval(), a, b
