"""Whitening, half way: the last, affine layer of a finished encoder, which gives more weight to its weak directions.

Features of a trained network share a few strong directions; cosines see little else. Subtracting the mean and scaling
the principal directions down gives the weak ones more weight: Jegou and Chum, "Negative evidences and co-occurrences in
image retrieval: the benefit of PCA and whitening", 2012. It needs no labels. Half way, because where labels are few the
strong directions are the best guide there is: all the way, the digits' accuracy with one label a class fell by half.
"""

import torch
from torch import Tensor, nn

POWER = 0.25
"""Variances v become v^(1 - 2 POWER): 0 leaves them, 0.5 whitens in full."""
SHRINK = 0.02
"""Added to each variance, as a share of their mean: directions of noise are not blown up."""


class Whitening(nn.Module):
    """`x -> (x - mean) @ matrix` for `[n, dim]`; the identity until it is fitted."""

    mean: Tensor
    matrix: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("matrix", torch.eye(dim))

    @torch.no_grad()
    def fit(self, features: Tensor) -> "Whitening":
        """Take mean and matrix from features `[N, dim]`.

        Each dimension is standardised; then the matrix is C^(-POWER) of the standardised features' shrunk covariance C,
        and symmetric, so that each output stays nearest to its own input dimension. Constant dimensions stay zero; one
        sample or none changes nothing.
        """
        if len(features) < 2:
            return self
        x = features.double()
        mean, spread = x.mean(0), x.std(0)
        alive = spread > 1e-6 * spread.max().clamp_min(1e-300)
        scale = torch.where(alive, 1 / spread.clamp_min(1e-300), 0.0)
        x = (x - mean) * scale
        values, directions = torch.linalg.eigh(x.T @ x / (len(x) - 1))
        shrunk = values.clamp_min(0) + SHRINK * values.mean().clamp_min(1e-12)
        matrix = scale[:, None] * (directions * shrunk.pow(-POWER)) @ directions.T
        self.mean.copy_(mean)
        self.matrix.copy_(matrix * alive)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """`[n, dim]` to `[n, dim]`, in the type of the weights."""
        return (x.to(self.mean.dtype) - self.mean) @ self.matrix
