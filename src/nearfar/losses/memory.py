"""Memory of earlier batches: a queue of embeddings, and the loss of labels that also compares with it.

Wang et al., "Cross-Batch Memory for Embedding Learning", 2020. https://arxiv.org/abs/1912.06798
"""

import torch
from torch import Tensor, nn

from nearfar.errors import must
from nearfar.losses.core.batch import ShapeError, check_embeddings


class Queue(nn.Module):
    """The last `size` embeddings [size, dim], float32, with a whole number each: a label, or the id of a sample.

    Saved in the state dict.
    """

    embeddings: Tensor
    labels: Tensor
    enqueued: Tensor

    def __init__(self, *, dim: int, size: int) -> None:
        super().__init__()
        must(dim > 0, "dim must be > 0", got=dim)
        must(size > 0, "size must be > 0", got=size)
        self.register_buffer("embeddings", torch.zeros(size, dim))
        self.register_buffer("labels", torch.zeros(size, dtype=torch.long))
        # How many there ever were; the next one goes to this number modulo the size.
        self.register_buffer("enqueued", torch.zeros((), dtype=torch.long))

    def last(self, count: int | None = None) -> tuple[Tensor, Tensor]:
        """The last `count` embeddings [K, D] and labels [K], or all: the oldest first, fewer where there are fewer."""
        size, enqueued = len(self.embeddings), int(self.enqueued)
        count = size if count is None else min(count, size)
        at = torch.arange(max(0, enqueued - count), enqueued, device=self.labels.device) % size
        return self.embeddings[at], self.labels[at]

    @torch.no_grad()
    def enqueue(self, z: Tensor, labels: Tensor) -> None:
        """Put z [B, D] and labels [B] in place of the oldest; of more than there is room for, the last are kept."""
        size, enqueued = len(self.embeddings), int(self.enqueued)
        at = torch.arange(enqueued, enqueued + len(z), device=self.labels.device)[-size:] % size
        self.embeddings[at] = z.detach()[-size:].to(self.embeddings.dtype)
        self.labels[at] = labels[-size:].to(self.labels.dtype)
        self.enqueued += len(z)

    @torch.no_grad()
    def clear(self) -> None:
        """Forget everything."""
        self.enqueued.zero_()

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"dim={self.embeddings.shape[1]}, size={len(self.embeddings)}"


class CrossBatchMemory(Queue):
    """A queue of the last embeddings and labels around a loss module of labels that takes a reference.

    `CrossBatchMemory(LabelledTripletLoss(), dim=128, size=4096)(z, labels=labels)` compares each sample with the rest
    of its batch, through which gradients pass, and with the `size - B` embeddings before it, as they were; never with
    itself, and with no embedding twice. In training mode the batch is then enqueued in place of the oldest.
    """

    def __init__(self, loss: nn.Module, *, dim: int, size: int = 1024):
        super().__init__(dim=dim, size=size)
        self.loss = loss

    def forward(self, z: Tensor, *, labels: Tensor) -> Tensor:
        """The loss of z [B, D], labels [B], against the batch and the memory; enqueues the batch in training mode."""
        size, dim = self.embeddings.shape
        check_embeddings("z", z, width=dim)
        if labels.shape != (len(z),) or labels.is_floating_point():
            raise ShapeError(f"labels must be [{len(z)}] integers, got {labels.dtype} {list(labels.shape)}.")
        old, old_labels = self.last(max(0, size - len(z)))
        value: Tensor = self.loss(
            z,
            labels=labels,
            reference=torch.cat([old, z]),
            reference_labels=torch.cat([old_labels, labels]),
            offset=len(old),
        )
        if self.training:
            self.enqueue(z, labels)
        return value
