"""Detect: boxes around things and what these are, by Faster R-CNN with a feature pyramid on the encoder's maps.

A sample's latent are its four losses (`faster_rcnn.LOSSES`), over regions of this picture alone, and the loss of a
batch is the mean of their sums: the same however the batch is cut into pieces, but for the regions that are drawn.
"""

import torch
from torch import Tensor

from nearfar.contract import Batch, Encoder, Latents, Losses, Requirements, Views
from nearfar.contract.annotations import INPUTS
from nearfar.methods.dense import Dense
from nearfar.methods.faster_rcnn import LOSSES, DetectorHead
from nearfar.methods.options import DetectOptions


class Detect(Dense):
    """An encoder with the parts of Faster R-CNN on its maps, under their losses."""

    Options = DetectOptions
    requires = Requirements(wide=1, labels=True, unlabelled=False, maps=True, annotations="boxes")
    downstream = "detect"
    head: DetectorHead

    @staticmethod
    def head_for(encoder: Encoder, classes: int, width: int) -> DetectorHead:
        """The parts of Faster R-CNN."""
        return DetectorHead(encoder.map_shapes(), classes, width=width)

    def embed(self, views: Views) -> Latents:
        """`z` [v b 4]: the losses of each sample."""
        found, features = list[Tensor](), list[Tensor]()
        for view in views:
            inputs = view[INPUTS]
            maps = self.encoder.maps(inputs)
            features.append(maps[-1].values.mean((2, 3)).float())
            found.append(self.head.losses(self.head.levels(maps), inputs, view["boxes"], view["labels"]))
        return Latents(z=torch.stack(found), features=torch.stack(features))

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """The own rows' share of the mean over all rows of the sum of their losses."""
        count = max(1, z["z"].shape[0] * len(batch.ids))
        own = z["z"][:, batch.rows].sum((0, 1)) / count  # [4]
        return Losses(own.sum(), parts={name: own[i].detach() for i, name in enumerate(LOSSES)})


METHOD = Detect
