"""Losses of pairs and triplets: functions of `nearfar.losses` with the settings and reducers of the other package."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from nearfar.errors import ConfigError, DataError, must
from nearfar.kernels import Pairs, row_lse, self_lse
from nearfar.losses.circle import circle
from nearfar.losses.contrastive import labelled_contrastive
from nearfar.losses.core.labelled import compare
from nearfar.losses.core.positives import by_class
from nearfar.losses.core.settings import Positive
from nearfar.losses.core.tuples import anchor_lse
from nearfar.losses.core.unit import unit
from nearfar.losses.labelled_nt_xent import labelled_nt_xent
from nearfar.losses.multi_similarity import multi_similarity
from nearfar.losses.n_pair import n_pair
from nearfar.losses.pml.distances import COSINE, CosineSimilarity, DotProductSimilarity
from nearfar.losses.pml.losses.base import BaseMetricLossFunction, TupleLoss, element_entry, reduced_entry
from nearfar.losses.pml.reducers import AvgNonZeroReducer, Losses, PerAnchorReducer
from nearfar.losses.pml.tuples import Compared, Indices, both, distinct_pairs, to_pairs, to_triplets
from nearfar.losses.triplet import labelled_triplet
from nearfar.losses.vicreg import vicreg


class CircleLoss(TupleLoss):
    """`nearfar.losses.circle` with margin m, by the cosine; an anchor that lacks either kind of pair has loss 0."""

    default_distance = CosineSimilarity
    default_reducer = AvgNonZeroReducer
    m: float = 0.4
    gamma: float = 80

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        must(self.distance.plain() == COSINE, "CircleLoss compares by CosineSimilarity() alone", got=self.distance)

    def of_labels(self, found: Compared) -> Losses:
        """The losses of all anchors."""
        return self._losses(found, **found.by_labels())

    def of_tuples(self, found: Compared) -> Losses:
        """The losses of all anchors over listed pairs."""
        return self._losses(found, pairs=distinct_pairs(found), reference=found.reference)

    def _losses(self, found: Compared, **compared: Any) -> Losses:
        losses = circle(found.embeddings, margin=self.m, gamma=self.gamma, reduction="none", **compared)
        return {"loss": element_entry(losses)}


class ContrastiveLoss(TupleLoss):
    """`max(0, d - pos_margin)` of positive pairs and `max(0, neg_margin - d)` of negative ones, neither squared.

    With a similarity, `max(0, pos_margin - s)` and `max(0, s - neg_margin)`. Each kind of pair has a mean of its own.
    """

    default_reducer = AvgNonZeroReducer
    pos_margin: float = 0
    neg_margin: float = 1

    def of_labels(self, found: Compared) -> Losses | None:
        """`labelled_contrastive`, where distance, reducer and margins are among its own."""
        plain = self.distance.plain()
        # A cosine of s is a distance of 1 - s.
        near, far = ((1 - m if plain == COSINE else m) for m in (self.pos_margin, self.neg_margin))
        if plain is None or self.word is None or near < 0 or far <= 0:
            return None
        options: dict[str, Any] = {"margin": far, "positive_margin": near, "squared": False, "reduction": self.word}
        total = labelled_contrastive(found.embeddings, **options, **plain._asdict(), **found.by_labels())
        return {"loss": reduced_entry(total)}

    def of_tuples(self, found: Compared) -> Losses:
        """The losses of listed pairs."""
        a1, p, a2, n = to_pairs(found)
        near, far = self.distance.of_each(found, (a1, p), (a2, n))
        pulls = self.distance.margin(near, self.pos_margin).relu()
        pushes = self.distance.margin(self.neg_margin, far).relu()
        # Losses of no pair have no mean.
        return {
            "pos_loss": {"losses": pulls if len(p) else 0, "indices": (a1, p), "reduction_type": "pos_pair"},
            "neg_loss": {"losses": pushes if len(n) else 0, "indices": (a2, n), "reduction_type": "neg_pair"},
        }


class MultiSimilarityLoss(TupleLoss):
    """`nearfar.losses.multi_similarity`, with any distance: the mean over all anchors."""

    default_distance = CosineSimilarity
    alpha: float = 2
    beta: float = 50
    base: float = 0.5

    def of_labels(self, found: Compared) -> Losses | None:
        """The losses of all anchors, where the distance is the cosine."""
        if self.distance.plain() != COSINE:
            return None
        options: dict[str, Any] = {"alpha": self.alpha, "beta": self.beta, "base": self.base, "reduction": "none"}
        return {"loss": element_entry(multi_similarity(found.embeddings, **options, **found.by_labels()))}

    def of_tuples(self, found: Compared) -> Losses:
        """The losses of all anchors over listed pairs."""
        a1, p, a2, n = distinct_pairs(found)
        near, far = self.distance.of_each(found, (a1, p), (a2, n))
        terms = (
            (self.alpha, self.distance.margin(near, self.base), a1),
            (self.beta, self.distance.margin(self.base, far), a2),
        )
        size = len(found.embeddings)
        pull, push = (softplus(anchor_lse(w * x, at, size), threshold=40) / w for w, x, at in terms)
        return {"loss": element_entry(pull + push)}


class NTXentLoss(TupleLoss):
    """`log(1 + sum_n exp((s_an - s_ap) / temperature))` of each positive pair, n the negatives of its anchor.

    Other positives of the anchor are in no denominator; a distance counts as a negative similarity.
    """

    default_distance = CosineSimilarity
    temperature: Positive = 0.07

    def of_labels(self, found: Compared) -> Losses | None:
        """`labelled_nt_xent`, where the distance is the cosine and the reducer one of its own."""
        per_anchor = type(self.reducer) is PerAnchorReducer and self.reducer.aggregation_func is None
        if self.distance.plain() != COSINE or not (per_anchor or self.word in ("mean", "sum")):
            return None
        how: dict[str, Any] = {"average": "anchors", "reduction": "none"} if per_anchor else {"reduction": self.word}
        losses = labelled_nt_xent(found.embeddings, temperature=self.temperature, **how, **found.by_labels())
        return {"loss": element_entry(losses) if per_anchor else reduced_entry(losses)}

    def of_tuples(self, found: Compared) -> Losses:
        """The losses of listed positive pairs."""
        a1, p, a2, n = to_pairs(found)
        if len(a1) == 0:
            return self.zero_losses()
        near, far = (
            self.distance.margin(0, d) / self.temperature for d in self.distance.of_each(found, (a1, p), (a2, n))
        )
        losses = softplus(anchor_lse(far, a2, len(found.embeddings))[a1] - near, threshold=40)
        return {"loss": {"losses": losses, "indices": (a1, p), "reduction_type": "pos_pair"}}


class SupConLoss(TupleLoss):
    """L_out of Khosla et al. 2020 (2004.11362); a distance counts as a negative similarity.

    An anchor without a positive has loss 0; where the batch has no negative at all the loss is 0.
    """

    default_distance = CosineSimilarity
    default_reducer = AvgNonZeroReducer
    temperature: Positive = 0.1

    def of_labels(self, found: Compared) -> Losses | None:
        """The losses of all anchors, in the parts that `sup_con` is made of, which take references."""
        if self.distance.plain() != COSINE:
            return None
        arguments = {"reference": None, "reference_labels": None, "offset": None} | found.by_labels()
        pairs = compare(found.embeddings, rows=None, prepare=unit, **arguments)
        positives, negatives = pairs.counts()
        if not (positives.any() and negatives.any()):
            return self.zero_losses()
        scale = 1 / self.temperature
        with torch.autocast(found.embeddings.device.type, enabled=False):
            if pairs.anchors is pairs.columns:
                lse = self_lse(pairs.anchors, scale=scale)
            else:
                lse = row_lse(pairs.anchors, pairs.columns, scale=scale, pairs=Pairs(pairs.offset))
            same = pairs.pairs("same")
            losses = by_class(pairs.anchors, pairs.columns, scale, lse, same, variant="out", implementation="auto")
        return {"loss": element_entry(losses)}

    def of_tuples(self, found: Compared) -> Losses:
        """The losses of all anchors over listed pairs."""
        a1, p, a2, n = distinct_pairs(found)
        if len(p) == 0 or len(n) == 0:
            return self.zero_losses()
        anchors = torch.cat([a1, a2])
        (distances,) = self.distance.of_each(found, (anchors, torch.cat([p, n])))
        logits = self.distance.margin(0, distances) / self.temperature
        surprise = anchor_lse(logits, anchors, len(found.embeddings))[a1] - logits[: len(p)]
        zero = logits.new_zeros(len(found.embeddings))
        positives = zero.index_add(0, a1, torch.ones_like(surprise)).clamp(min=1)
        return {"loss": element_entry(zero.index_add(0, a1, surprise) / positives)}


class TripletMarginLoss(TupleLoss):
    """`max(0, d_ap - d_an + margin)`, or `log(1 + exp(d_ap - d_an + margin))` with smooth_loss.

    swap: the negative is compared with the nearer to it of anchor and positive. triplets_per_anchor: "all", or how many
    are drawn for each anchor.
    """

    default_reducer = AvgNonZeroReducer
    margin: float = 0.05
    swap: bool = False
    smooth_loss: bool = False
    triplets_per_anchor: int | str = "all"

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        each = self.triplets_per_anchor
        must(each == "all" or (isinstance(each, int) and each > 0),
             "triplets_per_anchor must be 'all' or a number > 0", got=each)  # fmt: skip

    def of_labels(self, found: Compared) -> Losses | None:
        """`labelled_triplet` of all triplets, where distance, reducer and margin are among its own."""
        plain = self.distance.plain()
        other = self.swap or self.smooth_loss or self.triplets_per_anchor != "all" or self.margin < 0
        if plain is None or self.word is None or other:
            return None
        options: dict[str, Any] = {"margin": self.margin, "reduction": self.word, **plain._asdict()}
        return {"loss": reduced_entry(labelled_triplet(found.embeddings, **options, **found.by_labels()))}

    def of_tuples(self, found: Compared) -> Losses:
        """The losses of listed triplets."""
        a, p, n = to_triplets(found, self.triplets_per_anchor)
        if len(a) == 0:
            return self.zero_losses()
        near, far = self.distance.of_each(found, (a, p), (a, n))
        if self.swap:
            far = self.distance.smallest_dist(far, self.distance.of_pairs(found.ref_emb, found.ref_emb, p, n))
        over = self.distance.margin(near, far) + self.margin
        # Beyond its threshold softplus is taken as the identity: 40 leaves no digit of float64 behind.
        losses = softplus(over, threshold=40) if self.smooth_loss else over.relu()
        return {"loss": {"losses": losses, "indices": (a, p, n), "reduction_type": "triplet"}}


class NPairsLoss(TupleLoss):
    """Cross-entropy of one pair a class, the first listed, against the positives of all: no temperature.

    The default distance normalises; `DotProductSimilarity(normalize_embeddings=False)` is the paper's.
    """

    takes_references = False
    default_distance = DotProductSimilarity

    def of_tuples(self, found: Compared) -> Losses:
        """The losses of the anchors of the classes that have a pair."""
        labels, _ = both(found.labels, found.labels)
        if found.listed is None:
            # Sorted by class, a class's first pair is its first two.
            order = labels.argsort(stable=True)
            follows = labels[order[1:]] == labels[order[:-1]]
            a, p = order[:-1][follows], order[1:][follows]
        else:
            a, p, *_ = found.listed
        if len(a) == 0:
            return self.zero_losses()
        classes, order = labels[a].sort(stable=True)
        first = order[torch.cat([classes.new_ones(1, dtype=torch.bool), classes[1:] != classes[:-1]])]
        a, p = a[first], p[first]
        anchors, positives = found.embeddings[a], found.embeddings[p]
        if isinstance(self.distance, DotProductSimilarity) and self.distance.power == 1:
            losses = n_pair(*self.distance.prepare(anchors, positives), reduction="none")
        else:
            similarities = self.distance.margin(0, self.distance(anchors, positives))
            losses = similarities.logsumexp(1) - similarities.diagonal()
        return {"loss": element_entry(losses, a)}


class VICRegLoss(BaseMetricLossFunction):
    """`nearfar.losses.vicreg` of embeddings and ref_emb, without labels; variance_mu weighs the mean of both views.

    It is a number from the start: distance, regularizer and a reducer other than the mean are refused.
    """

    takes_labels = False
    invariance_lambda: float = 25
    variance_mu: float = 25
    covariance_v: float = 1
    eps: float = 1e-4

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.distance is not None or self.embedding_regularizer is not None:
            raise ConfigError("VICRegLoss takes no distance and no embedding_regularizer.")
        super().__post_init__()
        if self.word != "mean":
            raise ConfigError("VICRegLoss is one number, not one for each sample: leave the reducer out.")

    def compute_loss(
        self,
        embeddings: Tensor,
        labels: Tensor | None,
        indices_tuple: Indices | None,
        ref_emb: Tensor,
        ref_labels: Tensor | None,
    ) -> Losses:
        """The loss of two views."""
        if labels is not None or ref_labels is not None or indices_tuple is not None:
            raise DataError("VICRegLoss compares row i with row i: it takes no labels and no indices_tuple.")
        total = vicreg(
            embeddings, ref_emb, invariance=self.invariance_lambda, variance=self.variance_mu / 2,
            covariance=self.covariance_v, eps=self.eps,
        )  # fmt: skip
        return {"loss": reduced_entry(total)}
