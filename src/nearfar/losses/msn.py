"""MSN: a masked view must be like the same prototypes as the whole view, and all prototypes must be used.

Assran et al., "Masked Siamese Networks for Label-Efficient Learning", 2022, eq. 1. https://arxiv.org/abs/2204.07141
Assran et al., "The Hidden Uniform Cluster Prior in Self-Supervised Learning", 2022, eq. 4: another prior than the even
one (PMSN). https://arxiv.org/abs/2210.07277
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from nearfar.kernels import product
from nearfar.losses.core.batch import ShapeError, check_embeddings
from nearfar.losses.core.gather import processes
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.settings import Learned, NotNegative, Positive
from nearfar.losses.core.unit import unit
from nearfar.losses.swav import Iterations, sinkhorn, with_other_processes

Prior = Callable[[Tensor], Tensor]


@objective
def msn(
    anchors: Tensor,
    targets: Tensor,
    prototypes: Tensor,
    *,
    others: Tensor | None = None,
    temperature: Learned = 0.1,
    sharpening: Positive = 0.25,
    iterations: Iterations = 3,
    regularization: NotNegative = 1.0,
    prior: Prior | None = None,
) -> Tensor:
    """Mean over anchors of `-q . log p`, plus `regularization` times how far the mean of all p is from the prior.

    p is the softmax over the prototypes of an anchor's cosines / temperature; q the same of its target, sharpened to
    the power of 1 / sharpening and, with iterations, spread evenly over the prototypes by `sinkhorn`. anchors [V B, D],
    V masked views of all samples one after the other; targets [B, D]; prototypes [K, D]; of any length. Targets get no
    gradient. others [Q, D]: more targets, of other ranks, that take part in `sinkhorn`.

    Without a prior the distance of the mean from it is `log K - H(mean)`; `prior(mean)` gives another one [K], from
    which the distance is `KL(prior || mean)`. The regularisation is a statistic of the whole batch, so that there are
    no shares of samples. Raises DataError for shapes that do not agree.
    """
    for name, z in {"anchors": anchors, "targets": targets, "prototypes": prototypes}.items():
        check_embeddings(name, z, width=targets.shape[-1])
    if len(targets) == 0 or len(anchors) == 0 or len(anchors) % len(targets):
        raise ShapeError(
            f"anchors must be views of all {len(targets)} targets, one after the other, got {len(anchors)}."
        )
    u = unit(prototypes)
    with torch.no_grad():
        known = targets if others is None else torch.cat([targets, others.to(targets.dtype)])
        codes = (unit(known) @ u.T / temperature / sharpening).log_softmax(1)
        codes = sinkhorn(codes, iterations=iterations, epsilon=1.0) if iterations else codes.exp()
        codes = codes[: len(targets)].repeat(len(anchors) // len(targets), 1)
    log_p = (product(unit(anchors), u.T) / temperature).log_softmax(1)
    log_mean = log_p.logsumexp(0) - math.log(len(anchors))
    loss = -(codes * log_p).sum(1).mean()
    if prior is None:
        return loss + regularization * ((log_mean.exp() * log_mean).sum() + math.log(len(prototypes)))
    expected = prior(log_mean.exp()).to(log_mean)
    return loss + regularization * (torch.xlogy(expected, expected) - expected * log_mean).sum()


def power_law(size: int, exponent: float) -> Tensor:
    """Probabilities [size] that fall as `k ** -exponent`, k from 1."""
    k = torch.arange(1, size + 1, dtype=torch.float64) ** -exponent
    return k / k.sum()


class _MSN(LossModule):
    # What the three have in common; their fields stand in lightly's order.

    def forward(
        self, anchors: Tensor, targets: Tensor, prototypes: Tensor, target_sharpen_temperature: float = 0.25
    ) -> Tensor:
        """The loss of anchors [V B, D], targets [B, D] and prototypes [K, D]."""
        gather = self.gather_distributed and processes() > 1
        return self.compute(
            anchors, targets, prototypes, sharpening=target_sharpen_temperature, iterations=self.sinkhorn_iterations,
            regularization=self.regularization_weight, prior=self.prior(len(prototypes)),
            others=with_other_processes([targets])[0] if gather else None,
        )  # fmt: skip

    def prior(self, size: int) -> Prior | None:
        """What the mean over anchors should be; None: even."""
        return None


class MSNLoss(_MSN, of=msn):
    """`msn` as a module: `MSNLoss(temperature=0.1)(anchors, targets, prototypes)`, with lightly's values.

    With gather_distributed, codes are those of the targets of all processes; the regularisation is of each process.
    """

    temperature: Positive = 0.1
    sinkhorn_iterations: Iterations = 3
    regularization_weight: NotNegative = 1.0
    gather_distributed: bool = False


class PMSNLoss(_MSN, of=msn):
    """`msn` with a prior that falls as a power of the prototype's number: `PMSNLoss(power_law_exponent=0.25)(...)`."""

    temperature: Positive = 0.1
    sinkhorn_iterations: Iterations = 3
    regularization_weight: NotNegative = 1.0
    power_law_exponent: NotNegative = 0.25
    gather_distributed: bool = False

    def prior(self, size: int) -> Prior:
        """The power law, in the order of prototypes."""
        return lambda mean: power_law(size, self.power_law_exponent)


class PMSNCustomLoss(_MSN, of=msn):
    """`msn` with any prior: `PMSNCustomLoss(target_distribution)(...)`, which takes the mean [K] and gives another."""

    target_distribution: Prior
    temperature: Positive = 0.1
    sinkhorn_iterations: Iterations = 3
    regularization_weight: NotNegative = 1.0
    gather_distributed: bool = False

    def prior(self, size: int) -> Prior:
        """The function given."""
        return self.target_distribution
