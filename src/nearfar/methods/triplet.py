"""Triplet: an anchor is drawn nearer to its positive than to its negative, by a margin.

Schroff et al., "FaceNet: a unified embedding for face recognition and clustering", 2015, eq. 1 to 3 and section 3.2, of
z = projector(encoder(view)): max(0, d(a, p) - d(a, n) + margin). Positives are the views of one sample (or of its given
positive), and with `--supervised` all views of a class, of the labelled samples alone; negatives are all others of the
batch, of which `--mining` says which make a triplet:

    semi_hard  for each positive pair the nearest negative that is farther than the positive, else the farthest
    hard       for each anchor its farthest positive and nearest negative (Hermans et al., 2017, eq. 5)
    all        every triplet (Hermans et al., 2017, eq. 8)

The hardest triplets alone may draw all latents to one point, where the loss stays at the margin (FaceNet, section 3.2);
on digits they do, with classes and without.

Where the data has a column `negative` (and classes do not say what is one), the triplets that it gives are learnt from,
too: the mean over those with a loss is added to the mean over those that are mined.

Differs from the papers: distances are plain, not squared; the mean is over the triplets with a loss, whose number falls
as the encoder learns.
"""

from nearfar.contract import Batch, Latents, Losses, Requirements
from nearfar.losses import labelled_triplet, triplet
from nearfar.methods.heads import Projected
from nearfar.methods.options import TripletOptions
from nearfar.methods.relations import Classes, given_negatives


class Triplet(Projected):
    """An encoder with a projector, under the triplet loss."""

    Options = TripletOptions
    requires = Requirements(negatives=True)
    options: TripletOptions

    @classmethod
    def required(cls, options: TripletOptions) -> Requirements:
        """Given negatives; or labels, and samples with a label alone, where classes are what belongs together."""
        learns, each = options.supervised, options.samples_per_class
        return Requirements(labels=learns, unlabelled=not learns, samples_per_class=each, negatives=not learns)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """The triplet loss of the own rows against all ranks' views."""
        classes = Classes.of(batch, supervised=self.options.supervised)
        if not len(classes.at):
            return Losses(z["z"].sum() * 0)
        views, names, rows = classes.flat(z["z"][:2])
        loss = labelled_triplet(
            views, labels=names, mining=self.options.mining, margin=self.options.margin, rows=rows,
            reduction="mean_active",
        )  # fmt: skip
        given = None if self.options.supervised else given_negatives(z["z"], batch)
        if given is not None:
            anchors, positives = z["z"][:2, given.at]
            loss = loss + triplet(
                anchors, positives, given.z, margin=self.options.margin, rows=given.rows, reduction="mean_active"
            )
        return Losses(loss)


METHOD = Triplet
