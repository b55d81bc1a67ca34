"""InfoNCE: each anchor finds its positive among the positives of all anchors of the batch.

van den Oord et al., "Representation learning with contrastive predictive coding", 2018, eq. 4, in the one direction
from anchors to candidates: z = projector(encoder(view)), anchors are the first views, candidates the second ones (of
the sample itself, or of the positive that is given). Where the data has a column `negative`, these are candidates of
every anchor, too. With `--supervised`, of the labelled samples alone, all candidates of an anchor's class are
positives, each with a softmax of its own over all candidates (Khosla et al., 2020, eq. 2), and classes alone say what
is a negative.

Differs from the paper: scores are cosines over a temperature, where it has the bilinear products of a context with each
step ahead of it; samples of equal content (`ids`) are not each other's negatives.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from nearfar.contract import Batch, Latents, Losses, Requirements
from nearfar.losses import info_nce, multi_positive
from nearfar.methods.heads import Projected
from nearfar.methods.options import InfoNCEOptions
from nearfar.methods.relations import Classes, given_negatives


class InfoNCE(Projected):
    """An encoder with a projector, under InfoNCE."""

    Options = InfoNCEOptions
    ring: ClassVar[Mapping[str, Any]] = {"supervised": False}
    requires = Requirements(negatives=True)
    options: InfoNCEOptions

    @classmethod
    def required(cls, options: InfoNCEOptions) -> Requirements:
        """Given negatives; or labels, and samples with a label alone, where classes are what belongs together."""
        learns = options.supervised
        return Requirements(labels=learns, unlabelled=not learns, negatives=not learns)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """InfoNCE of the own anchors against all ranks' candidates."""
        anchors, candidates = z["z"][:2]
        temperature = self.options.temperature
        if not self.options.supervised:
            given = given_negatives(z["z"], batch)
            negatives, ids = (None, None) if given is None else (given.z, given.ids)
            loss = info_nce(
                anchors, candidates, temperature=temperature, negatives=negatives, ids=batch.ids, negative_ids=ids,
                rows=batch.rows, ring=batch.ring,
            )  # fmt: skip
            return Losses(loss)
        classes = Classes.of(batch, supervised=True)
        if not len(classes.at):
            return Losses(z["z"].sum() * 0)
        loss = multi_positive(
            anchors[classes.at], candidates[classes.at], groups=(classes.names, classes.names),
            temperature=temperature, rows=classes.rows,
        )  # fmt: skip
        return Losses(loss)


METHOD = InfoNCE
