"""Segment: a class for each pixel, by the cross-entropy of all pixels of the batch that have one.

The head is that of DeepLabV3+ (`deeplab.py`) on the encoder's maps. A sample's latent is the sum of its pixels'
cross-entropies and their number, so that the loss of a batch is that of all its pixels however it is cut into pieces.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Requirements, Views
from nearfar.contract.annotations import INPUTS, VOID
from nearfar.methods.deeplab import DeepLabHead
from nearfar.methods.options import SegmentOptions
from nearfar.options import Facts, Settling

_UNKNOWN = 10  # classes, where nothing is known of the data
_NARROW, _WIDE = 64, 256  # channels of the head


class Segment(Method):
    """An encoder with the head of DeepLabV3+ on its maps, under the cross-entropy of pixels."""

    Options = SegmentOptions
    requires = Requirements(wide=1, labels=True, unlabelled=False, annotations="masks")
    gentle = True
    downstream = "segment"
    smallest_batch = 8
    largest_batch = 16
    options: SegmentOptions

    def __init__(self, encoder: Encoder, options: SegmentOptions | None = None) -> None:
        super().__init__(encoder, options)
        size = int(encoder.config["image_size"])
        self.head = DeepLabHead(encoder.map_shapes(), self.options.classes, size=size, width=self.options.head_width)
        if self.options.frozen:
            encoder.requires_grad_(False)
            encoder.fixed = list(encoder.children())

    @classmethod
    def compares_features(cls, options: SegmentOptions) -> bool:
        """Its maps are those of the encoder, which nothing may change later."""
        return True

    @classmethod
    def choose(cls, settling: Settling[SegmentOptions], facts: Facts, encoder: Encoder) -> None:
        """A score for each class of the data; a head that is as wide as the encoder's last map, within bounds."""
        settling.choose("classes", facts.classes or _UNKNOWN, "")
        settling.choose(
            "head_width", min(_WIDE, max(_NARROW, encoder.map_shapes()[-1][0])), "as the encoder's last map"
        )

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
