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
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Requirements, Views
from nearfar.errors import must
from nearfar.losses import info_nce, moco
from nearfar.losses.memory import Queue
from nearfar.methods import momentum
from nearfar.methods.batchnorm import in_groups
from nearfar.methods.heads import mlp, usual
from nearfar.methods.projected import ProjectorOptions
from nearfar.methods.queue import largest_share, must_fit
from nearfar.options import UNKNOWN, Choice, Facts, Settling

LARGEST_QUEUE = 65_536


@dataclass(frozen=True, kw_only=True)
class MoCoOptions(ProjectorOptions):
    """Options of moco; None stands for automatic."""

    temperature: float = 0.2
    """Softmax temperature; lower weighs the hardest negatives more."""
    queue: int | None = None
    """Keys of earlier batches that serve as negatives (v2); 0 takes those of the batch itself (v3)."""
    momentum: float | None = None
    """How much of itself the momentum encoder keeps in a step, at the start; it rises to 1."""
    norm_group: int = 0
    """Samples that share batch-norm statistics, drawn anew for keys (32 in the paper); 0 is the whole batch."""
    predictor_hidden: int | None = None
    """Width of the predictor's hidden layer; 0 is no predictor."""

    def __post_init__(self) -> None:
        super().__post_init__()
        must(self.temperature > 0, "temperature must be above 0", got=self.temperature)
        must(self.queue is None or self.queue >= 0, "queue must be at least 0", got=self.queue)
        must(self.momentum is None or 0 <= self.momentum <= 1, "momentum must be in 0..1", got=self.momentum)
        must(self.norm_group == 0 or self.norm_group >= 2, "norm_group must be 0 or at least 2", got=self.norm_group)
        must(
            self.predictor_hidden is None or self.predictor_hidden >= 0,
            "predictor_hidden must be at least 0",
            got=self.predictor_hidden,
        )


class MoCo(Method):
    """An encoder with a projector, and slow copies of both that make the keys."""

    Options = MoCoOptions
    ring: ClassVar[Mapping[str, Any]] = {"queue": 0}
    requires = Requirements(wide=2)

    def __init__(self, encoder: Encoder, options: MoCoOptions) -> None:
        super().__init__(encoder)
        options, _ = self.settle(options, UNKNOWN, encoder)
        assert options.queue is not None
        assert options.momentum is not None
        assert options.projector_hidden is not None
        assert options.predictor_hidden is not None
        self.temperature, self.momentum, self.norm_group = options.temperature, options.momentum, options.norm_group
        dims = encoder.dim, options.projector_hidden, options.projector_out
        self.projector = mlp(*dims, last_norm=True) if options.queue == 0 else mlp(*dims, norm=False)
        self.momentum_encoder, self.momentum_projector = momentum.lagging(encoder), momentum.lagging(self.projector)
        hidden, out = options.predictor_hidden, options.projector_out
        self.predictor = mlp(out, hidden, out) if hidden else nn.Identity()
        self.queue = Queue(dim=out, size=options.queue) if options.queue else None

    @classmethod
    def settle(cls, options: MoCoOptions, facts: Facts, encoder: Encoder) -> tuple[MoCoOptions, list[Choice]]:
        """Fill in what was not given; raises ConfigError for a queue longer than the data."""
        settling = Settling(options)
        samples = facts.samples
        settling.choose("queue", *largest_share(samples, LARGEST_QUEUE))
        assert settling.options.queue is not None
        must_fit(settling.options.queue, facts)
        settling.choose("momentum", momentum.for_samples(samples), f"for {samples} samples")
        settling.choose("projector_hidden", *usual(encoder))
        settling.choose(
            "predictor_hidden",
            0 if settling.options.queue else settling.options.projector_hidden,
            "v2 has none, v3 has one",
        )
        return settling.options, settling.choices

    def embed(self, views: Views) -> Latents:
        """Queries of all views, each view with statistics of its own."""
        features = in_groups(self.encoder, views, self.norm_group)  # [v b dim]
        return Latents(q=torch.stack([self.predictor(self.projector(view)) for view in features]), features=features)

    def targets(self, views: Views) -> Latents:
        """Keys of all views by the momentum encoder, in groups that others meet in."""
        features = in_groups(self.momentum_encoder, views, self.norm_group, shuffled=True)
        return Latents(k=torch.stack([self.momentum_projector(view) for view in features]))

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """The mean of both directions: the own queries of one view against the keys of the other, and the queue."""
        return Losses(torch.stack([self._directed(z["q"][i], z["k"][1 - i], batch) for i in (0, 1)]).mean())

    def _directed(self, queries: Tensor, keys: Tensor, batch: Batch) -> Tensor:
        if self.queue is None:
            return info_nce(
                queries, keys, temperature=self.temperature, ids=batch.ids, rows=batch.rows, ring=batch.ring
            )
        earlier, ids = self.queue.last()
        return moco(queries, keys, earlier, temperature=self.temperature, ids=batch.ids, queue_ids=ids, rows=batch.rows)

    def after_step(self, z: Latents, batch: Batch) -> None:
        """Move the copies, then enqueue the keys of both views."""
        m = momentum.rising(batch.progress, self.momentum)
        momentum.follow(self.momentum_encoder, self.encoder, m)
        momentum.follow(self.momentum_projector, self.projector, m)
        if self.queue is not None:
            self.queue.enqueue(z["k"].flatten(0, 1), batch.ids.repeat(len(z["k"])))


METHOD = MoCo
