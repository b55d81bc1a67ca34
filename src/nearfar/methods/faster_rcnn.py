"""The parts of Faster R-CNN behind an encoder: a feature pyramid, what proposes regions, and what names them.

Ren et al., "Faster R-CNN", 2015; Lin et al., "Feature pyramid networks for object detection", 2017. The two networks
are torchvision's.

Differs from torchvision's own builder: the pyramid has group norm (He et al., "Rethinking ImageNet pre-training", 2018:
training from scratch in small batches needs it), no layer of the encoder is frozen unasked, and sizes of anchors
follow the strides of the maps (4 and 5.7 cells at every level), so that pictures of 128 pixels have anchors for what
they show. Fewer regions are looked at than in photographs of 800 pixels.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from nearfar.contract import Map

LOSSES = ("objectness", "region boxes", "classes", "boxes")
"""What the loss of a picture is the sum of: of the regions that are proposed, and of what is said of them."""
MOST_BOXES = 100
"""That are given of a picture."""
LEAST_SCORE = 0.01
"""Of a box that is given: mean average precision counts boxes of low scores, too."""
_FINE = 4  # the stride of the finest map of the pyramid, where there is one of it or beyond
_POOLED = 7  # cells a side of a region
_CELLS = (4.0, 4 * 2**0.5)  # sides of anchors, in cells of their map
_CANONICAL = 112  # pixels a side of a region that is read from the map of stride 16
_WIDEST = 1024


class DetectorHead(nn.Module):
    """Maps of an encoder, whose `shapes` are channels and strides, to boxes around things of so many `classes`."""

    def __init__(self, shapes: Sequence[tuple[int, int]], classes: int, *, width: int) -> None:
        super().__init__()
        last = len(shapes) - 1
        self.first = next((i for i, (_, stride) in enumerate(shapes) if stride >= _FINE), last)
        used = shapes[self.first :]
        self.pyramid = FeaturePyramidNetwork(
            [channels for channels, _ in used], width, extra_blocks=LastLevelMaxPool(), norm_layer=_norm
        )
        strides = [stride for _, stride in used]
        sizes = tuple(tuple(round(stride * cells) for cells in _CELLS) for stride in (*strides, 2 * strides[-1]))
        wide = min(_WIDEST, 4 * width)
        # Only its two networks are taken: what they read is made here, without its own resizing and normalising.
        whole = FasterRCNN(
            _Backbone(width),
            rpn_anchor_generator=AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes)),
            rpn_pre_nms_top_n_train=500,
            rpn_pre_nms_top_n_test=500,
            rpn_post_nms_top_n_train=300,
            rpn_post_nms_top_n_test=300,
            rpn_batch_size_per_image=128,
            box_roi_pool=MultiScaleRoIAlign(
                [str(i) for i in range(len(used))], _POOLED, 2, canonical_scale=_CANONICAL, canonical_level=4
            ),
            box_head=TwoMLPHead(width * _POOLED**2, wide),
            box_predictor=FastRCNNPredictor(wide, classes + 1),
            box_score_thresh=LEAST_SCORE,
            box_detections_per_img=MOST_BOXES,
            box_batch_size_per_image=128,
        )
        self.regions, self.naming = whole.rpn, whole.roi_heads

    def levels(self, maps: Sequence[Map]) -> dict[str, Tensor]:
        """Maps, finest first, to those of the pyramid by name, in fp32."""
        named = OrderedDict((str(i), one.values) for i, one in enumerate(maps[self.first :]))
        found: dict[str, Tensor] = self.pyramid(named)
        return {name: values.float() for name, values in found.items()}

    def losses(self, levels: Mapping[str, Tensor], inputs: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
        """The `LOSSES` of each picture `[n, 4]`; which regions they are over is drawn, by torch's generator.

        `boxes` [n, m, 4] are left, top, right and bottom in pixels of the inputs, `labels` [n, m] numbers of classes,
        -1 for no box. Each picture is looked at by itself, so that a batch may be cut into pieces.
        """
        self.regions.train()
        self.naming.train()
        found = []
        with torch.autocast(inputs.device.type, enabled=False):
            for i in range(len(inputs)):
                own, images = {name: one[i : i + 1] for name, one in levels.items()}, _image(inputs[i : i + 1])
                there = labels[i] >= 0
                target = [{"boxes": boxes[i, there].float(), "labels": labels[i, there] + 1}]  # 0 is the background
                regions, of_regions = self.regions(images, own, target)
                _, of_boxes = self.naming(own, regions, images.image_sizes, target)
                parts = {**of_regions, **of_boxes}
                names = ("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg")
                found.append(torch.stack([parts[name] for name in names]))
        return torch.stack(found)

    @torch.no_grad()
    def boxes(self, levels: Mapping[str, Tensor], inputs: Tensor) -> list[dict[str, Tensor]]:
        """Of each picture `boxes` [k, 4] in pixels of the inputs, their `labels` [k] and `scores` [k], best first."""
        self.regions.eval()
        self.naming.eval()
        with torch.autocast(inputs.device.type, enabled=False):
            images = _image(inputs)
            regions, _ = self.regions(images, dict(levels))
            found, _ = self.naming(dict(levels), regions, images.image_sizes)
        return [{**one, "labels": one["labels"] - 1} for one in found]


class _Backbone(nn.Module):
    """What torchvision asks a backbone for: how many channels its maps have."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_channels = width


def _image(inputs: Tensor) -> ImageList:
    high, wide = inputs.shape[-2:]
    return ImageList(inputs, [(int(high), int(wide))] * len(inputs))


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(max((groups for groups in range(1, 33) if channels % (4 * groups) == 0), default=1), channels)
