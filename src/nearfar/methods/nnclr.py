"""NNCLR: what one view is nearest to, among earlier samples, attracts the other view of it.

Dwibedi et al., "With a little help from my friends: nearest-neighbor contrastive learning of visual representations",
2021, eq. 2 to 4 and algorithm 1: z = projector(encoder(view)), p = predictor(z); the nearest neighbour of z in a queue
is the positive of the other view's p, whose batch is the negatives.

Differs from the paper: an earlier projection of the same sample is no neighbour, and equal content (`ids`) no
negative; the queue begins empty instead of with noise, and while a sample has no neighbour it is its own; widths follow
the encoder, the size of the queue follows the data.
"""

from dataclasses import dataclass

import torch

from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Requirements, Views
from nearfar.errors import must
from nearfar.losses import nnclr
from nearfar.losses.memory import Queue
from nearfar.methods.batchnorm import in_groups
from nearfar.methods.heads import mlp, usual
from nearfar.methods.queue import largest_share, must_fit
from nearfar.options import UNKNOWN, Choice, Facts, Settling

LARGEST_QUEUE = 98_304


@dataclass(frozen=True, kw_only=True)
class NNCLROptions:
    """Options of nnclr; None stands for automatic."""

    temperature: float = 0.2
    """Softmax temperature; lower weighs the hardest negatives more."""
    queue: int | None = None
    """Projections of earlier batches among which neighbours are looked for."""
    projector_hidden: int | None = None
    """Width of the projector's two hidden layers."""
    projector_out: int = 128
    """Dimensions of the space the loss is computed in."""
    predictor_hidden: int | None = None
    """Width of the predictor's hidden layer."""

    def __post_init__(self) -> None:
        must(self.temperature > 0, "temperature must be above 0", got=self.temperature)
        must(self.queue is None or self.queue >= 1, "queue must be at least 1", got=self.queue)
        must(
            self.projector_hidden is None or self.projector_hidden >= 1,
            "projector_hidden must be at least 1",
            got=self.projector_hidden,
        )
        must(self.projector_out >= 2, "projector_out must be at least 2", got=self.projector_out)
        must(
            self.predictor_hidden is None or self.predictor_hidden >= 1,
            "predictor_hidden must be at least 1",
            got=self.predictor_hidden,
        )


class NNCLR(Method):
    """An encoder with a projector and a predictor, and a queue of earlier projections."""

    Options = NNCLROptions
    requires = Requirements(wide=2)

    def __init__(self, encoder: Encoder, options: NNCLROptions) -> None:
        super().__init__(encoder)
        options, _ = self.settle(options, UNKNOWN, encoder)
        assert options.queue is not None
        assert options.projector_hidden is not None
        assert options.predictor_hidden is not None
        self.temperature = options.temperature
        hidden, out = options.projector_hidden, options.projector_out
        self.projector = mlp(encoder.dim, hidden, hidden, out, last_norm=True)
        self.predictor = mlp(out, options.predictor_hidden, out)
        self.queue = Queue(dim=out, size=options.queue)

    @classmethod
    def settle(cls, options: NNCLROptions, facts: Facts, encoder: Encoder) -> tuple[NNCLROptions, list[Choice]]:
        """Fill in what was not given; raises ConfigError for a queue longer than the data."""
        settling = Settling(options)
        settling.choose("queue", *largest_share(facts.samples, LARGEST_QUEUE))
        assert settling.options.queue is not None
        must_fit(settling.options.queue, facts)
        settling.choose("projector_hidden", *usual(encoder))
        assert settling.options.projector_hidden is not None
        settling.choose(
            "predictor_hidden", 2 * settling.options.projector_hidden, "twice the projector's, as in the paper"
        )
        return settling.options, settling.choices

    def embed(self, views: Views) -> Latents:
        """Projections and predictions of all views, each view with statistics of its own."""
        features = in_groups(self.encoder, views)  # [v b dim]
        z = [self.projector(view) for view in features]
        p = [self.predictor(view) for view in z]
        return Latents(z=torch.stack(z).detach(), p=torch.stack(p), features=features)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """NNCLR of the own rows, with neighbours from the queue."""
        earlier, ids = self.queue.last()
        return Losses(
            nnclr(
                z["p"], z["z"], earlier, temperature=self.temperature, ids=batch.ids, queue_ids=ids, rows=batch.rows
            )
        )  # fmt: skip

    def after_step(self, z: Latents, batch: Batch) -> None:
        """Enqueue the projections of the first view."""
        self.queue.enqueue(z["z"][0], batch.ids)


METHOD = NNCLR
