"""SwAV: from each view of a sample, predict the cluster that another view was put into.

Caron et al., "Unsupervised learning of visual features by contrasting cluster assignments", 2020, eq. 1 to 6:
scores = cosines of projector(encoder(view)) with K prototypes; the codes of a wide view are its scores balanced over
the batch by Sinkhorn's iterations; loss = cross-entropy of the codes with softmax(scores / temperature) of every other
view. Small views (multi-crop, section 3.3) predict and give no codes. Queued samples of earlier batches, one queue for
each wide view, take part in the balance of the codes and in nothing else: they are no one's negatives.

Differs from the paper: the number of prototypes and the hardness of the codes follow the size of the data. With fewer
prototypes than the batch has samples no queue is needed, and by default there is none, as in the paper's large batches.
"""

import math

from torch import nn

from nearfar.contract import Batch, Encoder, Latents, Losses, Requirements
from nearfar.losses import swav
from nearfar.losses.memory import Queue
from nearfar.methods.heads import Projected, Prototypes
from nearfar.methods.options import SwAVOptions
from nearfar.options import Facts, Settling

_FROZEN = 0.01
"""Share of the run in which the prototypes stay as they are: the paper's code has one epoch of 100 to 800."""
_QUEUE_FROM = 0.075
"""Share of the run before which the queue takes no part, its samples being encoded too differently: 15 epochs of 200,
as in the paper's appendix A."""


class SwAV(Projected):
    """An encoder with a projector, and prototypes in the loss stage."""

    Options = SwAVOptions
    options: SwAVOptions
    requires = Requirements(wide=2)

    def __init__(self, encoder: Encoder, options: SwAVOptions | None = None) -> None:
        super().__init__(encoder, options)
        out, queue = self.width, self.options.queue
        self.prototypes = Prototypes(out, self.options.prototypes, frozen_until=_FROZEN)
        self.queues = nn.ModuleList(Queue(dim=out, size=queue) for _ in range(self.requires.wide if queue else 0))

    @classmethod
    def required(cls, options: SwAVOptions) -> Requirements:
        """Two wide views, and the small ones that are asked for."""
        return Requirements(wide=2, small=options.small_views)

    @classmethod
    def choose(cls, settling: Settling[SwAVOptions], facts: Facts, encoder: Encoder) -> None:
        """Prototypes and codes by the number of samples, the projector by the encoder."""
        size = f"for {facts.samples:,} samples"
        settling.choose("prototypes", prototypes_for(facts.samples), size)
        settling.choose("sinkhorn_epsilon", epsilon_for(facts.samples), size)
        super().choose(settling, facts, encoder)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """Cross-entropies of the own rows; the codes are a statistic of all ranks' samples and of those queued."""
        scores = self.prototypes(z["z"]).unbind()  # v times [n k]
        queued = None
        if len(self.queues) and batch.progress >= _QUEUE_FROM:
            queued = [self.prototypes(queue.last()[0]).detach() for queue in self.queues]  # type: ignore[operator]
        wide, options = self.requires.wide, self.options
        return Losses(
            swav(
                scores[:wide], scores[wide:], queue=queued, temperature=options.temperature,
                epsilon=options.sinkhorn_epsilon, rows=batch.rows,
            )
        )  # fmt: skip

    def after_step(self, z: Latents, batch: Batch) -> None:
        """Queue the wide views' latents, whose scores are made anew in each step by the prototypes of then."""
        for queue, latents in zip(self.queues, z["z"], strict=False):
            queue.enqueue(latents, batch.ids)  # type: ignore[operator]


def prototypes_for(samples: int) -> int:
    """Twice the root of the number of samples, as a power of 2 from 32 to 4096: 512 for CIFAR's 50,000.

    2048 for ImageNet, where the paper has 3,000. Each has then half the root of the data's size to itself.
    """
    return int(2 ** min(12, max(5, round(math.log2(2 * math.sqrt(samples))))))


def epsilon_for(samples: int) -> float:
    """The paper's 0.05 beyond 100,000 samples, half of it up to there, a quarter up to 10,000.

    Small data is trained for few steps. At first all latents point nearly the same way, and soft codes of nearly equal
    scores say next to nothing: with 0.05 a run of 200 steps ends before the latents have spread.
    """
    return 0.0125 if samples <= 10_000 else 0.025 if samples <= 100_000 else 0.05


METHOD = SwAV
