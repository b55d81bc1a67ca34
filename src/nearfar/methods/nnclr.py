"""NNCLR: what one view is nearest to, among earlier samples, attracts the other view of it.

Dwibedi et al., "With a little help from my friends: nearest-neighbor contrastive learning of visual representations",
2021, eq. 2 to 4 and algorithm 1: z = projector(encoder(view)), p = predictor(z); the nearest neighbour of z in a queue
is the positive of the other view's p, whose batch is the negatives.

Differs from the paper: an earlier projection of the same sample is no neighbour, and equal content (`ids`) no
negative; the queue begins empty instead of with noise, and while a sample has no neighbour it is its own; widths follow
the encoder, the size of the queue follows the data.
"""

from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Requirements, Views
from nearfar.losses import nnclr
from nearfar.losses.memory import Queue
from nearfar.methods.batchnorm import in_groups
from nearfar.methods.heads import apart, mlp
from nearfar.methods.options import NNCLROptions
from nearfar.methods.sizes import check_queue, projector_width, queue_size
from nearfar.options import Facts, Settling

LARGEST_QUEUE = 98_304


class NNCLR(Method):
    """An encoder with a projector and a predictor, and a queue of earlier projections."""

    Options = NNCLROptions
    options: NNCLROptions
    requires = Requirements(wide=2)

    def __init__(self, encoder: Encoder, options: NNCLROptions | None = None) -> None:
        super().__init__(encoder, options)
        hidden, out = self.options.projector_hidden, self.options.projector_out
        self.projector = mlp(encoder.dim, hidden, hidden, out, last_norm=True)
        self.predictor = mlp(out, self.options.predictor_hidden, out)
        self.queue = Queue(dim=out, size=self.options.queue)

    @classmethod
    def choose(cls, settling: Settling[NNCLROptions], facts: Facts, encoder: Encoder) -> None:
        """The queue by the number of samples; raises ConfigError for one that is longer than the data."""
        settling.choose("queue", *queue_size(facts.samples, LARGEST_QUEUE))
        check_queue(settling.options.queue, facts)
        settling.choose("projector_hidden", *projector_width(encoder))
        hidden = 2 * settling.options.projector_hidden
        settling.choose("predictor_hidden", hidden, "twice the projector's, as in the paper")

    def embed(self, views: Views) -> Latents:
        """Projections and predictions of all views, each view with statistics of its own."""
        features = in_groups(self.encoder, views)  # [v b dim]
        z = apart(self.projector, features)
        return Latents(z=z.detach(), p=apart(self.predictor, z), features=features)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """NNCLR of the own rows, with neighbours from the queue."""
        earlier, ids = self.queue.last()
        temperature = self.options.temperature
        return Losses(
            nnclr(z["p"], z["z"], earlier, temperature=temperature, ids=batch.ids, queue_ids=ids, rows=batch.rows)
        )

    def after_step(self, z: Latents, batch: Batch) -> None:
        """Enqueue the projections of the first view."""
        self.queue.enqueue(z["z"][0], batch.ids)


METHOD = NNCLR
