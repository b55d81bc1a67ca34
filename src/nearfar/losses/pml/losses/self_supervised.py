"""Two views of the same samples, without labels, for a loss of labels."""

from typing import Any

import torch
from torch import Tensor, nn

from nearfar.errors import ConfigError, DataError
from nearfar.losses.pml.losses.base import BaseMetricLossFunction


class SelfSupervisedLoss(nn.Module):
    """`SelfSupervisedLoss(loss)(embeddings, ref_emb)`: row i of both is of one sample, and each sample is a class.

    symmetric: both views are anchors, against all other views; else the first are anchors against the second alone.
    """

    def __init__(self, loss: BaseMetricLossFunction, symmetric: bool = True):
        super().__init__()
        must_take_references(self, loss)
        self.loss = loss
        self.symmetric = symmetric

    def forward(self, embeddings: Tensor, ref_emb: Tensor) -> Any:
        """The loss of two views [N, D]."""
        if embeddings.shape != ref_emb.shape:
            shapes = f"{list(embeddings.shape)} and {list(ref_emb.shape)}"
            raise DataError(f"Row i of both must belong to the same sample, so shapes must agree, got {shapes}.")
        labels = torch.arange(len(embeddings), device=embeddings.device)
        if self.symmetric:
            return self.loss(torch.cat([embeddings, ref_emb]), labels.repeat(2))
        return self.loss(embeddings, labels, ref_emb=ref_emb, ref_labels=labels.clone())


def must_take_references(wrapper: nn.Module, loss: nn.Module) -> None:
    """Raise ConfigError unless the loss compares embeddings with others, by their labels."""
    if not (isinstance(loss, BaseMetricLossFunction) and loss.takes_references and loss.takes_labels):
        name = type(wrapper).__name__
        raise ConfigError(f"{name} needs a loss that compares embeddings by labels, {type(loss).__name__} is none.")
