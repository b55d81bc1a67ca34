"""VICReg: views agree, every dimension varies, and no two dimensions say the same."""

from typing import Any

from torch import Tensor

from nearfar.errors import ConfigError, DataError
from nearfar.losses.pml.losses.base import BaseMetricLossFunction, reduced_entry
from nearfar.losses.pml.reducers import BaseReducer, Losses
from nearfar.losses.pml.tuples import Indices
from nearfar.losses.vicreg import vicreg


class VICRegLoss(BaseMetricLossFunction):
    """`nearfar.losses.vicreg` of embeddings and ref_emb, without labels; variance_mu weighs the mean of both views.

    It is a number from the start: distance, regularizer and a reducer other than the mean are refused.
    """

    takes_labels = False

    def __init__(
        self,
        invariance_lambda: float = 25,
        variance_mu: float = 25,
        covariance_v: float = 1,
        eps: float = 1e-4,
        reducer: BaseReducer | None = None,
        collect_stats: bool | None = None,
        **kwargs: Any,
    ):
        if kwargs:
            raise ConfigError(f"VICRegLoss takes no {', '.join(kwargs)}.")
        super().__init__(reducer=reducer, collect_stats=collect_stats)
        if self.word != "mean":
            raise ConfigError("VICRegLoss is one number, not one for each sample: leave the reducer out.")
        self.invariance_lambda = invariance_lambda
        self.variance_mu = variance_mu
        self.covariance_v = covariance_v
        self.eps = eps

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
