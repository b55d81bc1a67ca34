"""Segment: a class for each pixel, by the cross-entropy of all pixels of the batch that have one.

The head is that of DeepLabV3+ (`deeplab.py`) on the encoder's maps. A sample's latent is the sum of its pixels'
cross-entropies and their number, so that the loss of a batch is that of all its pixels however it is cut into pieces.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from nearfar.contract import Batch, Encoder, Latents, Losses, Requirements, Views
from nearfar.contract.annotations import INPUTS, VOID
from nearfar.methods.deeplab import DeepLabHead
from nearfar.methods.dense import Dense
from nearfar.methods.options import SegmentOptions


class Segment(Dense):
    """An encoder with the head of DeepLabV3+ on its maps, under the cross-entropy of pixels."""

    Options = SegmentOptions
    requires = Requirements(wide=1, labels=True, unlabelled=False, maps=True, annotations="masks")
    downstream = "segment"
    head: DeepLabHead

    @staticmethod
    def head_for(encoder: Encoder, classes: int, width: int) -> DeepLabHead:
        """The head of DeepLabV3+, for the maps of pictures of the encoder's own size."""
        return DeepLabHead(encoder.map_shapes(), classes, size=int(encoder.config["image_size"]), width=width)

    def scores(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Scores `[n, classes, h, w]` of one view's inputs, in the finest map used, and the mean of the last map."""
        maps = self.encoder.maps(inputs)
        return self.head(maps), maps[-1].values.mean((2, 3))

    def embed(self, views: Views) -> Latents:
        """`z` [v b 2]: the sum of the cross-entropies of each sample's pixels, and how many they are."""
        found, features = [], []
        for view in views:
            scores, pooled = self.scores(view[INPUTS])
            features.append(pooled.float())
            mask = view["mask"].long()
            with torch.autocast(scores.device.type, enabled=False):
                kind = torch.promote_types(scores.dtype, torch.float32)
                large = F.interpolate(scores.to(kind), mask.shape[-2:], mode="bilinear", align_corners=False)
                each = F.cross_entropy(large, mask, ignore_index=VOID, reduction="none").sum((1, 2))
            found.append(torch.stack([each, (mask != VOID).sum((1, 2)).to(each)], 1))
        return Latents(z=torch.stack(found), features=torch.stack(features))

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """The own rows' share of the mean over the pixels of all rows."""
        pixels = z["z"][..., 1].detach().sum().clamp_min(1)
        return Losses(z["z"][:, batch.rows, 0].sum() / pixels)


METHOD = Segment
