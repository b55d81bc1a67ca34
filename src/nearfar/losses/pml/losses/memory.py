"""Losses around a loss: of two views of the same samples, and of embeddings of earlier batches as references.

Wang et al., "Cross-Batch Memory for Embedding Learning", 2020. https://arxiv.org/abs/1912.06798
"""

from typing import Any

import torch
from torch import Tensor, nn

from nearfar.errors import ConfigError, DataError, must
from nearfar.losses.core.objective import if_finite
from nearfar.losses.pml.distances import refuse_stats
from nearfar.losses.pml.losses.base import BaseMetricLossFunction, TupleLoss
from nearfar.losses.pml.miners import BaseMiner
from nearfar.losses.pml.tuples import Compared, Indices, all_pairs, as_pairs, as_triplets, checked_indices


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


class CrossBatchMemory(nn.Module):
    """`CrossBatchMemory(loss, embedding_size)(embeddings, labels)`: against the last memory_size embeddings.

    The batch is put into the memory first, without gradient, and no sample is compared with itself. A miner chooses
    among the memory; indices_tuple, of rows of the batch alone, is compared as well. With enqueue_mask [B] the rows
    where it holds go into the memory, and the others are compared.
    """

    embedding_memory: Tensor
    label_memory: Tensor
    queue_idx: int
    has_been_filled: bool

    def __init__(
        self,
        loss: BaseMetricLossFunction,
        embedding_size: int,
        memory_size: int = 1024,
        miner: BaseMiner | None = None,
        collect_stats: bool | None = None,
    ):
        super().__init__()
        refuse_stats(collect_stats)
        must_take_references(self, loss)
        must(memory_size > 0, "memory_size must be > 0", got=memory_size)
        self.loss = loss
        self.embedding_size = embedding_size
        self.memory_size = memory_size
        self.miner = miner
        self.reset_queue()

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        indices_tuple: Indices | None = None,
        enqueue_mask: Tensor | None = None,
    ) -> Any:
        """The loss of the batch [B, D], labels [B], against the memory."""
        if embeddings.dim() != 2 or labels.shape != embeddings.shape[:1]:
            shapes = f"{list(embeddings.shape)} and {list(labels.shape)}"
            raise DataError(f"embeddings must be [B, {self.embedding_size}] and labels [B], got {shapes}.")
        labels = labels.to(embeddings.device)
        if enqueue_mask is None:
            memory, memory_labels = self._enqueue(embeddings, labels)
            own = True
        elif indices_tuple is not None:
            raise DataError("indices_tuple and enqueue_mask cannot both be given.")
        else:
            mask = enqueue_mask.to(embeddings.device)
            memory, memory_labels = self._enqueue(embeddings[mask], labels[mask])
            embeddings, labels = embeddings[~mask], labels[~mask]
            own = False
        if self.miner is None and indices_tuple is None and isinstance(self.loss, TupleLoss) and len(embeddings):
            compared = Compared(embeddings, labels, None, memory, memory_labels, 0 if own else None)
            losses = self.loss.of_labels(compared) if len(memory) else None
            if losses is not None:
                value = self.loss.reduced(losses, embeddings, labels)
                return if_finite(value, embeddings, memory) if isinstance(value, Tensor) else value
        if self.miner is None:
            found = all_pairs(labels, memory_labels)
        else:
            found = self.miner(embeddings, labels, memory, memory_labels)
        if own:
            found = _without_self(found)
        if indices_tuple is not None:
            listed = checked_indices(indices_tuple, len(embeddings), len(embeddings), embeddings.device)
            listed = as_triplets(listed) if len(found) == 3 else as_pairs(listed)
            found = tuple(torch.cat(parts) for parts in zip(found, listed, strict=True))
        return self.loss(embeddings, labels, found, memory, memory_labels)

    def _enqueue(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Put a batch in place of the oldest; all that is remembered, this batch first: [N, D], [N]."""
        count = len(embeddings)
        if count > self.memory_size:
            raise DataError(f"A batch of {count} does not fit a memory of {self.memory_size}: raise memory_size.")
        device = embeddings.device
        self.embedding_memory = self.embedding_memory.to(device, embeddings.dtype)
        self.label_memory = self.label_memory.to(device, labels.dtype)
        slots = (torch.arange(count, device=device) + self.queue_idx) % self.memory_size
        self.embedding_memory[slots] = embeddings.detach()
        self.label_memory[slots] = labels.detach()
        self.has_been_filled = self.has_been_filled or self.queue_idx + count >= self.memory_size
        self.queue_idx = (self.queue_idx + count) % self.memory_size
        # Backwards from the newest batch: its rows are then rows 0..B-1 of the memory.
        size = self.memory_size if self.has_been_filled else self.queue_idx
        older = (torch.arange(size - count, device=device) + self.queue_idx) % size
        order = torch.cat([slots, older])
        return self.embedding_memory[order], self.label_memory[order]

    def reset_queue(self) -> None:
        """Forget everything."""
        self.register_buffer("embedding_memory", torch.zeros(self.memory_size, self.embedding_size))
        self.register_buffer("label_memory", torch.zeros(self.memory_size, dtype=torch.long))
        self.has_been_filled = False
        self.queue_idx = 0

    def get_extra_state(self) -> Tensor:
        """Where the queue stands, beside what it holds."""
        return torch.tensor([self.queue_idx, int(self.has_been_filled)])

    def set_extra_state(self, state: Tensor) -> None:
        """Go on from there."""
        self.queue_idx, self.has_been_filled = int(state[0]), bool(state[1])


def _without_self(found: Indices) -> Indices:
    apart = found[0] != found[1]
    rest = found[2:] if len(found) == 4 else (found[2][apart],)
    return found[0][apart], found[1][apart], *rest


def must_take_references(wrapper: nn.Module, loss: nn.Module) -> None:
    """Raise ConfigError unless the loss compares embeddings with others, by their labels."""
    if not (isinstance(loss, BaseMetricLossFunction) and loss.takes_references and loss.takes_labels):
        name = type(wrapper).__name__
        raise ConfigError(f"{name} needs a loss that compares embeddings by labels, {type(loss).__name__} is none.")
