"""Adapt: classify by the labels of one domain, while samples of others, without labels, are drawn to the same classes.

Beside the cross-entropy of the labelled samples (`classify`), of the samples without a label:

- Confident pseudo-labels. What the head says of a sample, the mean over its views, is taken for its class where the
  probability is at least `confidence`, and learnt as that (Sohn et al., "FixMatch", 2020, eq. 4). Before that, the
  probabilities are multiplied by how frequent a class is among the labels over how often it has been said lately, so
  that no class takes all (Berthelot et al., "ReMixMatch", 2020, section 3.1: distribution alignment).
- Positives across domains. Samples of a class, labelled and so believed ones, attract, and those of other classes repel
  (Wang et al., "Cross-domain contrastive learning for unsupervised domain adaptation", 2022, eq. 4, with SupCon).
- Alignment of the domains as a whole, by the covariances of their vectors (Sun & Saenko, "Deep CORAL", 2016, eq. 1), or
  so that a critic cannot tell them apart (Ganin et al., "Domain-adversarial training", 2016, by gradient reversal).

All of that grows as 2 / (1 + e^(-10 progress)) - 1 (Ganin et al., section 5.2.2): what is said early is often wrong.
Samples without a label are taken for those of other domains; without domains, this is learning from few labels.

Or nothing is learnt of samples without a label, and after the last step batch norms take their statistics (Li et al.,
"Revisiting batch normalization for practical domain adaptation", 2016, algorithm 1: AdaBN); the task does that.

Differs from FixMatch: all views are altered gently, and each is learnt from what the mean of all says.
"""

from collections.abc import Callable
from dataclasses import replace
from math import exp
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nearfar.contract import Batch, Encoder, Latents, Losses, Requirements
from nearfar.losses import sup_con
from nearfar.methods.classify import LENGTH, Classify
from nearfar.methods.options import AdaptOptions
from nearfar.methods.relations import Classes
from nearfar.options import Facts, Settling

_REMEMBERED = 0.9  # of what has been said of samples without a label, each step
_CRITIC = 64  # hidden units
_LEARNT = ("coral", "adversarial")
"""Alignments that have a loss."""


class Adapt(Classify):
    """An encoder with a linear head, under cross-entropy of known labels and of believed ones, the domains aligned."""

    Options = AdaptOptions
    requires = Requirements(labels=True, mixed=True)
    downstream = "adapt"
    known: Tensor
    said: Tensor
    options: AdaptOptions

    def __init__(self, encoder: Encoder, options: AdaptOptions | None = None) -> None:
        super().__init__(encoder, options)
        even = torch.full((self.options.classes,), 1 / self.options.classes)
        self.register_buffer("known", even)
        self.register_buffer("said", even.clone())
        self.critic: nn.Module | None = None
        if self.options.align == "adversarial":
            self.critic = nn.Sequential(nn.Linear(encoder.dim, _CRITIC), nn.ReLU(), nn.Linear(_CRITIC, 1))

    @classmethod
    def required(cls, options: AdaptOptions) -> Requirements:
        """Batches of both; of labelled samples alone where statistics are what differs between the domains."""
        return Requirements(labels=True, unlabelled=False) if options.align == "statistics" else cls.requires

    @classmethod
    def choose(cls, settling: Settling[Any], facts: Facts, encoder: Encoder) -> None:
        """As for `Classify`; what is said of samples without a label counts as much as labels, where it counts."""
        super().choose(settling, facts, encoder)
        alone = settling.options.align == "statistics"
        settling.choose("pseudo_weight", 0.0 if alone else 1.0, "labels alone are learnt from" if alone else "")

    @torch.no_grad()
    def start(self, mean: Tensor, factor: Tensor, weight: Tensor, bias: Tensor, counts: Tensor) -> None:
        """As for `Classify`; what is said of samples without a label is expected to be as frequent as `counts` [K]."""
        super().start(mean, factor, weight, bias, counts)
        for own in (self.known, self.said):
            own.copy_(counts.clamp_min(1) / counts.clamp_min(1).sum())

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """The cross-entropy of the own labelled rows, and this rank's shares of the rest."""
        named = super().loss(z, batch).total
        open_ = batch.labels < 0
        if not open_.any():
            return Losses(named)
        options, grown = self.options, 2 / (1 + exp(-10 * batch.progress)) - 1
        believed = self.believed(z["z"], open_)
        terms: dict[str, tuple[float, Callable[[], Tensor]]] = {
            "believed": (options.pseudo_weight, lambda: self._of_believed(z["z"], believed, open_, batch)),
            "across": (options.contrast_weight, lambda: self._across(z["z"], believed, batch)),
            "aligned": (options.align_weight * (options.align in _LEARNT), lambda: self._aligned(z["z"], open_, batch)),
        }
        total, parts = named, {"named_loss": named.detach()}
        for name, (weight, term) in terms.items():
            if weight:
                value = term()
                total = total + grown * weight * value
                parts[f"{name}_loss"] = value.detach()
        return Losses(total, {"confident": (believed >= 0).sum() / open_.sum()}, parts)

    @torch.no_grad()
    def after_step(self, z: Latents, batch: Batch) -> None:
        """Remember how often each class is said of samples without a label."""
        open_ = batch.labels < 0
        if open_.any():
            self.said.lerp_(self._probabilities(z["z"][:, open_]).mean(0).to(self.said.dtype), 1 - _REMEMBERED)

    @torch.no_grad()
    def believed(self, z: Tensor, open_: Tensor) -> Tensor:
        """The class [n] that each row without a label (`open_` [n]) is taken for, by its views z [v n dim]; else -1."""
        share = self._probabilities(z)
        if self.options.even:
            share = share * (self.known / self.said.clamp_min(1e-6))
            share = share / share.sum(1, keepdim=True)
        sure, guess = share.max(1)
        return torch.where(open_ & (sure >= self.options.confidence), guess, -1)

    def _probabilities(self, z: Tensor) -> Tensor:
        """Of each class [n K], the mean over the views of z [v n dim]."""
        found: Tensor = self.head(z).softmax(-1).mean(0)
        return found

    def _of_believed(self, z: Tensor, believed: Tensor, open_: Tensor, batch: Batch) -> Tensor:
        """The cross-entropy of the own believed rows, over all rows without a label."""
        scores = self.head(z[:, batch.rows])
        total = F.cross_entropy(
            scores.flatten(0, 1), believed[batch.rows].repeat(len(scores)), ignore_index=-1, reduction="sum"
        )
        return total / (len(z) * open_.sum())

    def _across(self, z: Tensor, believed: Tensor, batch: Batch) -> Tensor:
        """SupCon of the own rows, by their labels or what is believed of them."""
        classes = Classes.of(replace(batch, labels=torch.maximum(batch.labels, believed)), supervised=True)
        views, labels, rows = classes.flat(self._standardised(z))
        return sup_con(views, labels=labels, temperature=self.options.contrast_temperature, rows=rows)

    def _aligned(self, z: Tensor, open_: Tensor, batch: Batch) -> Tensor:
        """How far the domains are from each other, as they are or as a critic sees it."""
        if self.critic is None:
            one, other = (z[:, rows].flatten(0, 1) for rows in (~open_, open_))
            return coral(one, other) / batch.world
        x = self._standardised(z)
        reversed_: Tensor = _Reversed.apply(x[:, batch.rows])
        answers = self.critic(reversed_)[..., 0]
        wanted = open_[batch.rows].to(answers.dtype).expand_as(answers)
        weight = torch.where(open_, 0.5 / open_.sum(), 0.5 / (~open_).sum().clamp_min(1))[batch.rows]
        errors = F.binary_cross_entropy_with_logits(answers, wanted, reduction="none")
        return (errors * weight).sum() / len(z)

    def _standardised(self, z: Tensor) -> Tensor:
        """The head's inputs, lengthened to unit spread."""
        longer: float = z.shape[-1] ** 0.5 / LENGTH
        return (z - self.head.mean) * self.head.factor * longer


class _Reversed(torch.autograd.Function):
    """The same values; the gradient comes back with the other sign."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return -gradient


def coral(one: Tensor, other: Tensor) -> Tensor:
    """How far the covariances of two sets of vectors [m d] and [n d] are apart: 1 for two draws of one domain.

    The mean of the squared differences, over that which chance alone makes of m and n vectors. Dimensions have unit
    spread over both sets; those with less than the usual spread are lengthened as much as that one is. Sun & Saenko
    leave vectors as they are, and take a quarter of the mean: of many dimensions and few samples it is all chance.
    """
    if min(len(one), len(other)) < 2:
        return (one.sum() + other.sum()) * 0
    variance = torch.cat([one, other]).var(0)
    spread = torch.maximum(variance, variance.mean()).clamp_min(1e-12).sqrt()
    first, second = ((x / spread).T.cov() for x in (one, other))
    return (first - second).square().mean() / (1 / (len(one) - 1) + 1 / (len(other) - 1))


METHOD = Adapt
