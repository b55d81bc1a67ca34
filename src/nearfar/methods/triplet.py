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

from dataclasses import dataclass
from typing import Literal

from nearfar.contract import Batch, Latents, Losses, Requirements
from nearfar.errors import must
from nearfar.losses import labelled_triplet, triplet
from nearfar.methods.classes import Classes
from nearfar.methods.negatives import given_negatives
from nearfar.methods.projected import Projected, ProjectorOptions


@dataclass(frozen=True, kw_only=True)
class TripletOptions(ProjectorOptions):
    """Options of triplet; None stands for automatic."""

    margin: float = 0.2
    """How much farther than the positive the negative must be; latents have length 1."""
    mining: Literal["semi_hard", "hard", "all"] = "semi_hard"
    """Which triplets of a batch are learnt from."""
    supervised: bool = False
    """Whether samples of one class are positives, where else only views of one sample are; needs labels."""
    samples_per_class: int = 0
    """Labelled samples of each class in a batch, with `supervised`; 0 takes samples as they come."""

    def __post_init__(self) -> None:
        super().__post_init__()
        must(0 < self.margin <= 2, "margin must be above 0 and at most 2", got=self.margin)
        must(self.samples_per_class >= 0, "samples_per_class must be 0 or more", got=self.samples_per_class)
        must(
            self.supervised or not self.samples_per_class,
            "samples_per_class goes with supervised, and must be 0 without",
            got=self.samples_per_class,
        )


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
