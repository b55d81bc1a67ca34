"""LeJEPA: views agree with the mean of the wide ones, and embeddings are distributed as an even Gaussian (SIGReg).

Balestriero & LeCun, "LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics", 2025, section 4
and algorithm 1. https://arxiv.org/abs/2511.08544
"""

from dataclasses import KW_ONLY
from typing import Annotated, Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from nearfar.kernels import product
from nearfar.kernels.second import no_second_derivative
from nearfar.losses.core.batch import ShapeError
from nearfar.losses.core.gather import gathered, processes
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.settings import Count, Fraction, Number, Positive
from nearfar.losses.core.unit import wide

Knots = Annotated[int, Number("must be >= 2", lambda x: x >= 2 and int(x) == x)]


@objective
def sigreg(z: Tensor, *, directions: Tensor | None = None, knots: Knots = 17, largest: Positive = 3.0) -> Tensor:
    """How far embeddings are from a standard Gaussian along directions, the mean over these: [..., N, D] -> [].

    Along each it is the Epps-Pulley statistic `N int |phi_N(t) - e^{-t^2 / 2}|^2 e^{-t^2 / 2} dt` over t in
    -largest..largest, phi_N the empirical characteristic function of the N embeddings, by the trapezoidal rule on
    `knots` points of 0..largest. directions: [D, M], of unit length; None draws 1024 from torch's generator. Leading
    dimensions, such as views, are batches of their own. Memory is that of the projections [..., N, M].

    A statistic of the whole batch: the share of a rank is the loss of the batch of all ranks, divided by the number of
    ranks. Raises DataError for shapes that do not agree.
    """
    if z.dim() < 2 or z.numel() == 0:
        raise ShapeError(f"SIGReg needs embeddings [..., N, D], got shape {list(z.shape)}.")
    d = z.shape[-1]
    directions = random_directions(z, 1024) if directions is None else directions
    if directions.dim() != 2 or len(directions) != d:
        raise ShapeError(f"directions must be [{d}, M], got shape {list(directions.shape)}.")
    projected = product(wide(z), directions.detach().to(wide(z)))
    statistics: Tensor = _EppsPulley.apply(projected, largest, knots)
    return statistics.mean()


def random_directions(like: Tensor, count: int) -> Tensor:
    """Unit vectors [D, count] drawn evenly over the sphere from torch's generator, for embeddings [..., D]."""
    drawn = torch.randn(like.shape[-1], count, device=like.device, dtype=wide(like).dtype)
    return F.normalize(drawn, dim=0)


@objective
def lejepa(
    local: Tensor,
    wide_views: Tensor,
    *,
    weight: Fraction = 0.05,
    directions: Tensor | None = None,
    knots: Knots = 17,
    largest: Positive = 3.0,
) -> Tensor:
    """`weight * sigreg(all views) + (1 - weight) * mean |z - c|^2`, c the mean of a sample's wide views.

    local: embeddings [V, N, D] of small views, wide_views: [W, N, D]; the squares are averaged over views, samples and
    dimensions. Other options as in `sigreg`.
    """
    if local.dim() != 3 or wide_views.dim() != 3 or local.shape[1:] != wide_views.shape[1:] or not wide_views.numel():
        raise ShapeError(
            f"Views must be [V, N, D], all of the same samples, got {list(local.shape)}, {list(wide_views.shape)}."
        )
    every = torch.cat([wide(wide_views), wide(local)])
    agreement = (wide(wide_views).mean(0) - every).square().mean()
    spread = sigreg(every, directions=directions, knots=knots, largest=largest)
    return weight * spread + (1 - weight) * agreement


class _EppsPulley(torch.autograd.Function):
    # The statistic of each direction [..., M] of projections [..., N, M]; frequencies one at a time, made again in the
    # backward pass.

    @staticmethod
    def forward(ctx: Any, x: Tensor, largest: float, knots: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.grid = (largest, knots)
        total = x.new_zeros(*x.shape[:-2], x.shape[-1])
        for t, weight, phi in _grid(largest, knots):
            real, imaginary = (x * t).cos().mean(-2), (x * t).sin().mean(-2)
            total += weight * ((real - phi).square() + imaginary.square())
        return total * x.shape[-2]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        with torch.no_grad():
            out = torch.zeros_like(x)
            for t, weight, phi in _grid(*ctx.grid):
                cos, sin = (x * t).cos(), (x * t).sin()
                real, imaginary = cos.mean(-2, keepdim=True) - phi, sin.mean(-2, keepdim=True)
                out += 2 * weight * t * (imaginary * cos - real * sin)
            out *= grad.unsqueeze(-2)
        return (*no_second_derivative([out], (x, grad)), None, None)


def _grid(largest: float, knots: int) -> list[tuple[float, float, float]]:
    """Frequencies, their weights in the integral over both signs, and the Gaussian's characteristic function there."""
    step = largest / (knots - 1)
    t = torch.linspace(0, largest, knots, dtype=torch.float64)
    phi = (-t.square() / 2).exp()
    weight = 2 * step * phi
    weight[[0, -1]] /= 2
    return list(zip(t.tolist(), weight.tolist(), phi.tolist(), strict=True))


class SIGReg(LossModule, of=sigreg):
    """`sigreg` as a module: `SIGReg(num_vectors=1024)(proj)`, with lightly's values and draws.

    With gather_distributed the embeddings are those of all processes, and the directions those of process 0.
    """

    _: KW_ONLY
    knots: Knots = 17
    t_max: Positive = 3.0
    num_vectors: Count = 1024
    gather_distributed: bool = False

    def forward(self, proj: Tensor) -> Tensor:
        """The loss of embeddings [..., N, D]."""
        gather = self.gather_distributed and processes() > 1
        every = gathered(proj.movedim(-2, 0))[0].movedim(0, -2) if gather else proj
        return self.compute(every, directions=_drawn(proj, self.num_vectors, gather), largest=self.t_max)


class LeJEPALoss(LossModule, of=lejepa):
    """`lejepa` as a module: `LeJEPALoss(lambda_param=0.05)(local_proj=..., global_proj=...)`, else as `SIGReg`."""

    lambda_param: Fraction = 0.05
    gather_distributed: bool = False
    sigreg_knots: Knots = 17
    sigreg_t_max: Positive = 3.0
    sigreg_num_vectors: Count = 1024

    def forward(self, *, local_proj: Tensor, global_proj: Tensor) -> Tensor:
        """The loss of small views [V, N, D] and wide views [W, N, D] of the same samples."""
        gather = self.gather_distributed and processes() > 1
        views = [local_proj, global_proj]
        if gather:
            views = [gathered(z.transpose(0, 1))[0].transpose(0, 1) for z in views]
        return self.compute(
            *views, weight=self.lambda_param, knots=self.sigreg_knots, largest=self.sigreg_t_max,
            directions=_drawn(global_proj, self.sigreg_num_vectors, gather),
        )  # fmt: skip


def _drawn(like: Tensor, count: int, gather: bool) -> Tensor:
    directions = random_directions(like, count)
    if gather:
        dist.broadcast(directions, src=0)
    return directions
