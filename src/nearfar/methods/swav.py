"""SwAV: from each view of a sample, predict the cluster that another view was put into.

Caron et al., "Unsupervised learning of visual features by contrasting cluster assignments", 2020, eq. 1 to 6:
scores = cosines of projector(encoder(view)) with K prototypes; the codes of a wide view are its scores balanced over
the batch by Sinkhorn's iterations; loss = cross-entropy of the codes with softmax(scores / temperature) of every other
view. Small views (multi-crop, section 3.3) predict and give no codes. Queued samples of earlier batches, one queue for
each wide view, take part in the balance of the codes and in nothing else: they are no one's negatives.

Differs from the paper: the number of prototypes follows the size of the data; with prototypes fewer than the samples of
a batch, the queue is off by default, as the paper has it for large batches.
"""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import nn

from nearfar.contract import Batch, Choice, Encoder, Facts, Latents, Losses, Method, Views, Wants
from nearfar.errors import must
from nearfar.losses import swav
from nearfar.losses.memory import Queue
from nearfar.methods.heads import Prototypes, mlp

_FROZEN = 0.01
"""Share of the run in which the prototypes stay as they are: the paper's code has one epoch of 100 to 800."""
_QUEUE_FROM = 0.075
"""Share of the run before which the queue takes no part, its samples being encoded too differently: 15 epochs of 200,
as in the paper's appendix A."""


@dataclass(frozen=True, kw_only=True)
class SwAVOptions:
    """Options of swav; None stands for automatic."""

    temperature: float = 0.1
    """Softmax temperature of the predictions."""
    sinkhorn_epsilon: float = 0.05
    """Temperature of the codes; lower makes them harder."""
    prototypes: int | None = None
    """Number of clusters; a few times what the data has of kinds."""
    projector_hidden: int | None = None
    """Width of the projector's hidden layer."""
    projector_out: int = 128
    """Dimensions of the space that the prototypes lie in."""
    small_views: int = 0
    """Small views of each sample beside the two wide ones (multi-crop)."""
    queue: int = 0
    """Earlier samples that the codes are balanced over together with the batch; 0 for none."""

    def __post_init__(self) -> None:
        must(self.temperature > 0, "temperature must be above 0", got=self.temperature)
        must(self.sinkhorn_epsilon > 0, "sinkhorn_epsilon must be above 0", got=self.sinkhorn_epsilon)
        must(self.prototypes is None or self.prototypes >= 2, "prototypes must be at least 2", got=self.prototypes)
        must(
            self.projector_hidden is None or self.projector_hidden >= 1,
            "projector_hidden must be at least 1",
            got=self.projector_hidden,
        )
        must(self.projector_out >= 2, "projector_out must be at least 2", got=self.projector_out)
        must(self.small_views >= 0, "small_views must be at least 0", got=self.small_views)
        must(self.queue >= 0, "queue must be at least 0", got=self.queue)


class SwAV(Method):
    """An encoder with a projector, and prototypes in the loss stage."""

    Options = SwAVOptions
    rate: ClassVar[float] = 1.0
    wants = Wants(wide=2)

    def __init__(self, encoder: Encoder, options: SwAVOptions) -> None:
        super().__init__(encoder)
        options, _ = self.settle(options, None, encoder)
        assert options.prototypes is not None
        assert options.projector_hidden is not None
        self.wants = Wants(wide=2, small=options.small_views)
        self.temperature = options.temperature
        self.sinkhorn_epsilon = options.sinkhorn_epsilon
        self.projector = mlp(encoder.dim, options.projector_hidden, options.projector_out)
        self.prototypes = Prototypes(options.projector_out, options.prototypes, frozen_until=_FROZEN)
        queues = range(self.wants.wide if options.queue else 0)
        self.queues = nn.ModuleList(Queue(dim=options.projector_out, size=options.queue) for _ in queues)

    @classmethod
    def settle(cls, options: SwAVOptions, facts: Facts | None, encoder: Encoder) -> tuple[SwAVOptions, list[Choice]]:
        """Fill in what was not given: prototypes by the number of samples, the hidden layer by the encoder."""
        choices = []
        if options.prototypes is None:
            count = prototypes_for(facts.samples if facts else 1)
            options = replace(options, prototypes=count)
            choices.append(Choice("prototypes", count, f"for {facts.samples if facts else 'few'} samples"))
        if options.projector_hidden is None:
            hidden = min(2048, max(512, encoder.dim))
            options = replace(options, projector_hidden=hidden)
            choices.append(Choice("projector_hidden", hidden, f"for an encoder of {encoder.dim} dimensions"))
        return options, choices

    def embed(self, views: Views) -> Latents:
        """Project the features of all views; those of one shape pass through the encoder together."""
        features = self.encoder(views)  # [v b dim]
        v, b, _ = features.shape
        return Latents(z=self.projector(features.flatten(0, 1)).view(v, b, -1), features=features)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """Cross-entropies of the own rows; the codes are a statistic of all ranks' samples and of those queued."""
        scores = self.prototypes(z["z"]).unbind()  # v times [n k]
        queued = None
        if len(self.queues) and batch.progress >= _QUEUE_FROM:
            queued = [self.prototypes(queue.last()[0]).detach() for queue in self.queues]  # type: ignore[operator]
        wide = self.wants.wide
        total = swav(
            scores[:wide], scores[wide:], queue=queued, temperature=self.temperature, epsilon=self.sinkhorn_epsilon,
            rows=batch.rows,
        )  # fmt: skip
        return Losses(total)

    def after_step(self, z: Latents, batch: Batch) -> None:
        """Queue the wide views' latents, whose scores are made anew in each step by the prototypes of then."""
        for queue, latents in zip(self.queues, z["z"], strict=False):
            queue.enqueue(latents, batch.ids)  # type: ignore[operator]


def prototypes_for(samples: int) -> int:
    """Twice the root of the number of samples, as a power of 2 from 32 to 4096: 512 for CIFAR's 50,000.

    2048 for ImageNet, where the paper has 3,000. Each has then half the root of the data's size to itself.
    """
    return int(2 ** min(12, max(5, round(math.log2(2 * math.sqrt(samples))))))


METHOD = SwAV
