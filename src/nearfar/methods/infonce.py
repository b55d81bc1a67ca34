"""InfoNCE: each anchor finds its positive among the positives of all anchors of the batch.

van den Oord et al., "Representation learning with contrastive predictive coding", 2018, eq. 4, in the one direction
from anchors to candidates: z = projector(encoder(view)), anchors are the first views, candidates the second ones (of
the sample itself, or of the positive that is given). Where the data has a column `negative`, these are candidates of
every anchor, too. With `--supervised`, of the labelled samples alone, all candidates of an anchor's class are
positives, each with a softmax of its own over all candidates (Khosla et al., 2020, eq. 2), and classes alone say what
is a negative.

`--selection hardest` weighs a positive against the nearest view of another sample alone (Schroff et al., "FaceNet",
2015, section 3.2), in both directions; given negatives then are each their own anchor's second candidate, and the mean
over these is added. `--guard` leaves out candidates that a guide finds nearer to the anchor than its positive, most
likely positives that nobody has marked (Solatorio, "GISTEmbed", 2024, eq. 2 to 5): the guide is the encoder itself as
it is, or, for one that starts from weights, as it was before training.

`--consistency` adds the same loss of each of two views finding itself seen again, in two further views: of users and
items that a graph is spread over, with other edges left out (Wu et al., "Self-supervised graph learning for
recommendation", 2021, eq. 10) or other noise added (Yu et al., "Are graph augmentations necessary?", 2022, eq. 7).

What comes often in batches is a negative that much less (`log_q`), where the data is of pairs whose sides come again
(Yi et al., "Sampling-bias-corrected neural modeling for large corpus item recommendations", 2019, eq. 3).

Differs from the paper: scores are cosines over a temperature, where it has the bilinear products of a context with each
step ahead of it; samples of equal content (`ids`) are not each other's negatives.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from nearfar.contract import Batch, Encoder, Latents, Losses, Requirements, Views
from nearfar.losses import contrastive_cross_entropy, gist_embed, hardest_negative, info_nce, multi_positive
from nearfar.methods.heads import Projected
from nearfar.methods.momentum import frozen_copy
from nearfar.methods.options import InfoNCEOptions
from nearfar.methods.relations import Classes, Given, given_negatives, share

_ROUNDING = 1e-6
"""A candidate that is nearer than the positive by no more than this is as near: else a collapse would be no loss."""


class InfoNCE(Projected):
    """An encoder with a projector, under InfoNCE."""

    Options = InfoNCEOptions
    ring: ClassVar[Mapping[str, Any]] = {"supervised": False, "selection": "all", "guard": "off"}
    requires = Requirements(negatives=True)
    options: InfoNCEOptions

    def __init__(self, encoder: Encoder, options: InfoNCEOptions | None = None) -> None:
        super().__init__(encoder, options)
        self.guide = frozen_copy(encoder) if self.options.guard == "start" else None

    @classmethod
    def required(cls, options: InfoNCEOptions) -> Requirements:
        """Given negatives; or labels, and samples with a label alone, where classes are what belongs together."""
        learns = options.supervised
        if options.consistency:
            return Requirements(wide=4)
        return Requirements(labels=learns, unlabelled=not learns, negatives=not learns)

    def targets(self, views: Views) -> Latents:
        """What the guide makes of the views, where it is another encoder."""
        return Latents() if self.guide is None else Latents(guide=self.guide(views))

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """InfoNCE of the own anchors against all ranks' candidates."""
        anchors, candidates = z["z"][:2]
        temperature = self.options.temperature
        if self.options.supervised:
            classes = Classes.of(batch, supervised=True)
            if not len(classes.at):
                return Losses(z["z"].sum() * 0)
            loss = multi_positive(
                anchors[classes.at], candidates[classes.at], groups=(classes.names, classes.names),
                temperature=temperature, rows=classes.rows,
            )  # fmt: skip
            return Losses(loss)
        given = given_negatives(z["z"], batch)
        if self.options.selection == "hardest":
            loss = hardest_negative(anchors, candidates, temperature=temperature, ids=batch.ids, rows=batch.rows)
            return Losses(loss if given is None else loss + self._against(given, z["z"]))
        negatives, ids = (None, None) if given is None else (given.z, given.ids)
        shared: dict[str, Any] = {"temperature": temperature, "ids": batch.ids, "rows": batch.rows}
        if self.options.guard == "off":
            losses = info_nce(
                anchors, candidates, negatives=negatives, negative_ids=ids, reduction="none",
                log_q=batch.log_q if self.options.log_q else None, ring=batch.ring, **shared,
            )  # fmt: skip
            return Losses(share(losses, batch) + self._again(z["z"], batch))
        guide = z["z"].detach() if self.guide is None else z["guide"]
        guides = [*guide[:2]] + ([] if given is None else [guide[2, given.at]])
        loss = gist_embed(
            anchors, candidates, guide=guides, negatives=negatives, negative_ids=ids,
            margin=self.options.guard_margin - _ROUNDING,
            contrast_anchors=False, contrast_positives=False, **shared,
        )  # fmt: skip
        return Losses(loss)

    def _again(self, z: Tensor, batch: Batch) -> Tensor:
        """The weighed loss of each of two views finding itself as it is seen again; zero where that has no weight."""
        total = z.new_zeros(())
        if self.options.consistency:
            for one in (0, 1):
                ids = batch.ids if batch.view_ids is None else batch.view_ids[one]
                total = total + info_nce(
                    z[one], z[one + 2], temperature=self.options.temperature, ids=ids, rows=batch.rows, ring=batch.ring
                )
        return self.options.consistency * total

    def _against(self, given: Given, z: Tensor) -> Tensor:
        """The cross-entropy of anchors between their positive and the negative that is given for them."""
        anchors, positives = z[:2, given.at]
        return contrastive_cross_entropy(
            anchors, positives, given.z[:, None], temperature=self.options.temperature, rows=given.rows
        )


METHOD = InfoNCE
