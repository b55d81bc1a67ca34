"""Siamese: pairs that belong together are drawn near, other pairs are pushed apart as far as a margin.

Hadsell et al., "Dimensionality reduction by learning an invariant mapping", 2006, eq. 4: d^2 / 2 for
similar pairs, max(0, margin - d)^2 / 2 for dissimilar ones, d the distance of their z = projector(encoder(view)).
Similar are the views of one sample (or of its given positive), and with `--supervised` all views of a class, of the
labelled samples alone; dissimilar are all others of the batch.

Differs from the paper: every pair of the batch counts, similar and dissimilar ones each by the mean of those with a
loss, where the paper draws pairs; latents have length 1, so that the margin is in 0..2, whatever the data.
"""

from nearfar.contract import Batch, Latents, Losses, Requirements
from nearfar.losses import labelled_contrastive
from nearfar.methods.heads import Projected
from nearfar.methods.options import SiameseOptions
from nearfar.methods.relations import Classes


class Siamese(Projected):
    """An encoder with a projector, under the margin contrastive loss."""

    Options = SiameseOptions
    requires = Requirements()
    options: SiameseOptions

    @classmethod
    def required(cls, options: SiameseOptions) -> Requirements:
        """Labels, and samples with a label alone, where classes are what belongs together."""
        return Requirements(labels=options.supervised, unlabelled=not options.supervised)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """The margin contrastive loss of the own rows against all ranks' views."""
        classes = Classes.of(batch, supervised=self.options.supervised)
        if not len(classes.at):
            return Losses(z["z"].sum() * 0)
        views, names, rows = classes.flat(z["z"])
        margin = self.options.margin
        return Losses(labelled_contrastive(views, labels=names, margin=margin, rows=rows, reduction="mean_active"))


METHOD = Siamese
