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
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Requirements, Views
from nearfar.errors import must
from nearfar.losses import swav
from nearfar.losses.memory import Queue
from nearfar.methods.heads import Prototypes, mlp, usual
from nearfar.options import UNKNOWN, Choice, Facts, Settling

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
    sinkhorn_epsilon: float | None = None
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
        for name in ("temperature", "sinkhorn_epsilon"):
            value = getattr(self, name)
            must(value is None or value > 0, f"{name} must be above 0", got=value)
        at_least = {"prototypes": 2, "projector_hidden": 1, "projector_out": 2, "small_views": 0, "queue": 0}
        for name, least in at_least.items():
            value = getattr(self, name)
            must(value is None or value >= least, f"{name} must be at least {least}", got=value)


class SwAV(Method):
    """An encoder with a projector, and prototypes in the loss stage."""

    Options = SwAVOptions
    rate: ClassVar[float] = 1.0
    requires = Requirements(wide=2)

    def __init__(self, encoder: Encoder, options: SwAVOptions) -> None:
        super().__init__(encoder)
        options, _ = self.settle(options, UNKNOWN, encoder)
        assert options.prototypes is not None
        assert options.projector_hidden is not None
        assert options.sinkhorn_epsilon is not None
        self.requires = Requirements(wide=2, small=options.small_views)
        self.temperature = options.temperature
        self.sinkhorn_epsilon = options.sinkhorn_epsilon
        self.projector = mlp(encoder.dim, options.projector_hidden, options.projector_out)
        self.prototypes = Prototypes(options.projector_out, options.prototypes, frozen_until=_FROZEN)
        queues = range(self.requires.wide if options.queue else 0)
        self.queues = nn.ModuleList(Queue(dim=options.projector_out, size=options.queue) for _ in queues)

    @classmethod
    def settle(cls, options: SwAVOptions, facts: Facts, encoder: Encoder) -> tuple[SwAVOptions, list[Choice]]:
        """Fill in what was not given: prototypes and codes by the number of samples, the projector by the encoder."""
        settling = Settling(options)
        samples = facts.samples
        size = f"for {samples:,} samples"
        settling.choose("prototypes", prototypes_for(samples), size)
        settling.choose("sinkhorn_epsilon", epsilon_for(samples), size)
        settling.choose("projector_hidden", *usual(encoder))
        return settling.options, settling.choices

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
        wide = self.requires.wide
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


def epsilon_for(samples: int) -> float:
    """The paper's 0.05 beyond 100,000 samples, half of it up to there, a quarter up to 10,000.

    Small data is trained for few steps. At first all latents point nearly the same way, and soft codes of nearly equal
    scores say next to nothing: with 0.05 a run of 200 steps ends before the latents have spread.
    """
    return 0.0125 if samples <= 10_000 else 0.025 if samples <= 100_000 else 0.05


METHOD = SwAV
