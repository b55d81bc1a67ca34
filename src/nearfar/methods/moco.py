"""MoCo: a view must find the momentum encoder's key of the other view, among many keys of other samples.

He et al., "Momentum contrast for unsupervised visual representation learning", 2020, eq. 1, 2 and algorithm 1, with the
projector of Chen et al., "Improved baselines with momentum contrastive learning" (v2), 2020: the other keys are a queue
of those of earlier batches. With `queue=0`, Chen et al., "An empirical study of training self-supervised vision
transformers" (v3), 2021, algorithm 1: they are those of the same batch, and the query passes through a predictor.

Differs from the papers: both views are queries in v2 too, as in the authors' CIFAR code; m rises to 1 along a cosine in
both; the queue begins empty instead of with noise, so that the first step teaches nothing; earlier keys of the same
sample are no negatives; batch statistics are of the whole batch unless `norm_group` is given (`batchnorm.py`): in short
runs groups showed no gain for the time that they take. v3's factor 2 t, which only scales the learning rate, is left
out; its heads are those it has on convolutional networks.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Requirements, Views
from nearfar.losses import info_nce, moco
from nearfar.losses.memory import Queue
from nearfar.methods import momentum
from nearfar.methods.batchnorm import in_groups
from nearfar.methods.heads import apart, mlp
from nearfar.methods.options import MoCoOptions
from nearfar.methods.sizes import check_queue, momentum_for, projector_width, queue_size
from nearfar.options import Facts, Settling

LARGEST_QUEUE = 65_536


class MoCo(Method):
    """An encoder with a projector, and slow copies of both that make the keys."""

    Options = MoCoOptions
    options: MoCoOptions
    ring: ClassVar[Mapping[str, Any]] = {"queue": 0}
    requires = Requirements(wide=2)

    def __init__(self, encoder: Encoder, options: MoCoOptions | None = None) -> None:
        super().__init__(encoder, options)
        queue, hidden, out = self.options.queue, self.options.predictor_hidden, self.options.projector_out
        dims = encoder.dim, self.options.projector_hidden, out
        self.projector = mlp(*dims, norm=False) if queue else mlp(*dims, last_norm=True)
        self.momentum_encoder = momentum.frozen_copy(encoder)
        self.momentum_projector = momentum.frozen_copy(self.projector)
        self.predictor = mlp(out, hidden, out) if hidden else nn.Identity()
        self.queue = Queue(dim=out, size=queue) if queue else None

    @classmethod
    def choose(cls, settling: Settling[MoCoOptions], facts: Facts, encoder: Encoder) -> None:
        """Queue and momentum by the number of samples; raises ConfigError for a queue longer than the data."""
        settling.choose("queue", *queue_size(facts.samples, LARGEST_QUEUE))
        check_queue(settling.options.queue, facts)
        settling.choose("momentum", *momentum_for(facts.samples))
        settling.choose("projector_hidden", *projector_width(encoder))
        hidden = 0 if settling.options.queue else settling.options.projector_hidden
        settling.choose("predictor_hidden", hidden, "v2 has none, v3 has one")

    def embed(self, views: Views) -> Latents:
        """Queries of all views, each view with statistics of its own."""
        features = in_groups(self.encoder, views, self.options.norm_group)  # [v b dim]
        return Latents(q=apart(lambda view: self.predictor(self.projector(view)), features), features=features)

    def targets(self, views: Views) -> Latents:
        """Keys of all views by the momentum encoder, in groups that others meet in."""
        features = in_groups(self.momentum_encoder, views, self.options.norm_group, shuffled=True)
        return Latents(k=apart(self.momentum_projector, features))

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """The mean of both directions: the own queries of one view against the keys of the other, and the queue."""
        return Losses(torch.stack([self._directed(z["q"][i], z["k"][1 - i], batch) for i in (0, 1)]).mean())

    def _directed(self, queries: Tensor, keys: Tensor, batch: Batch) -> Tensor:
        shared: dict[str, Any] = {"temperature": self.options.temperature, "ids": batch.ids, "rows": batch.rows}
        if self.queue is None:
            return info_nce(queries, keys, ring=batch.ring, **shared)
        earlier, ids = self.queue.last()
        return moco(queries, keys, earlier, queue_ids=ids, **shared)

    def after_step(self, z: Latents, batch: Batch) -> None:
        """Move the copies, then enqueue the keys of both views."""
        m = momentum.scheduled(batch.progress, self.options.momentum)
        momentum.update(self.momentum_encoder, self.encoder, m)
        momentum.update(self.momentum_projector, self.projector, m)
        if self.queue is not None:
            self.queue.enqueue(z["k"].flatten(0, 1), batch.ids.repeat(len(z["k"])))


METHOD = MoCo
