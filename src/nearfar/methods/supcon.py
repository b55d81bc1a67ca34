"""SupCon: all samples of a class attract, those of other classes repel; with a mix for data labelled in part.

Khosla et al., "Supervised contrastive learning", 2020, eq. 2: z = projector(encoder(view)), the softmax loss of each
view against all others, averaged over all views of its class. Where some samples have no label, Vaze et al.,
"Generalized category discovery", 2022, eq. 1 to 3: (1 - w) NT-Xent of all samples + w SupCon of the labelled, w = 0.35.

Samples without a label have no part in SupCon, neither as positives nor as negatives: they may well be of the anchor's
class. With w = 1 they are in no batch; that goes for the samples that are kept back to judge, too.

Differs from the papers: the two terms of the mix are means, where eq. 3 has sums over samples; w rises above 0.35 with
the share of labelled samples; one temperature serves both terms; the encoder is not trained further for classification.
"""

from torch import Tensor

from nearfar.contract import Batch, Encoder, Latents, Losses, Requirements
from nearfar.losses import nt_xent, sup_con
from nearfar.methods.heads import Projected
from nearfar.methods.options import SupConOptions
from nearfar.methods.relations import Classes
from nearfar.options import UNKNOWN, Facts, Settling

_LEAST_WEIGHT = 0.35
"""Of the supervised term: that of Vaze et al. for classes of which half of the samples are labelled."""


class SupCon(Projected):
    """An encoder with a projector, under SupCon, or SupCon and NT-Xent."""

    Options = SupConOptions
    rate = 2.0
    requires = Requirements(labels=True)
    options: SupConOptions

    @classmethod
    def required(cls, options: SupConOptions) -> Requirements:
        """Labels; samples without one only where a term is there for them."""
        mixed = options.supervised_weight != 1
        return Requirements(labels=True, unlabelled=mixed, samples_per_class=options.samples_per_class)

    @classmethod
    def choose(cls, settling: Settling[SupConOptions], facts: Facts, encoder: Encoder) -> None:
        """The weight follows the share of samples that have a label."""
        super().choose(settling, facts, encoder)
        settling.choose("supervised_weight", *_weight(settling.options, facts))

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """SupCon of the own labelled rows against all ranks' labelled views, and NT-Xent of the own rows."""
        weight = self.options.supervised_weight
        supervised = self._supervised(z["z"], batch)
        if weight == 1:
            return Losses(supervised)
        every = nt_xent(*z["z"], temperature=self.options.temperature, ids=batch.ids, rows=batch.rows)
        parts = {"supervised_loss": supervised.detach(), "unsupervised_loss": every.detach()}
        return Losses((1 - weight) * every + weight * supervised, parts=parts)

    def _supervised(self, z: Tensor, batch: Batch) -> Tensor:
        classes = Classes.of(batch, supervised=True)
        if not len(classes.at):
            return z.sum() * 0
        views, labels, rows = classes.flat(z)
        return sup_con(views, labels=labels, temperature=self.options.temperature, rows=rows)


def _weight(options: SupConOptions, facts: Facts) -> tuple[float, str]:
    """The weight of the supervised term, and why."""
    if options.samples_per_class:
        return 1.0, "batches of classes hold labelled samples alone"
    unlabelled = facts.samples - facts.labelled - facts.held
    if facts is UNKNOWN or not unlabelled:
        return 1.0, "every sample has a label"
    share = facts.labelled / (facts.labelled + unlabelled)
    why = f"{facts.labelled:,} of {facts.labelled + unlabelled:,} samples have a label"
    return max(_LEAST_WEIGHT, round(share, 2)), why


METHOD = SupCon
