"""segment against the cross-entropy of each pixel by hand; pieces and ranks change nothing."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nearfar.contract import Batch, Encoder, Map, Views
from nearfar.contract.annotations import VOID
from nearfar.errors import ConfigError
from nearfar.methods.deeplab import DeepLabHead, chosen
from nearfar.methods.segment import Segment, SegmentOptions
from nearfar.training.step import training_step
from tests.methods.toys import Mapless, facts_of, normal

SIZE, CLASSES = 32, 3


class Maps(Encoder):
    """Two convolutions with strides: maps of stride 2 and 4."""

    def __init__(self):
        super().__init__()
        self.dim, self.config = 8, {"image_size": SIZE}
        self.first, self.second = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 8, 3, 2, 1)

    def maps(self, inputs):
        fine = self.first(inputs).tanh()
        return [Map(fine, 2), Map(self.second(fine).tanh(), 4)]

    def map_shapes(self):
        return [(6, 2), (8, 4)]

    def features(self, inputs):
        return self.maps(inputs)[-1].values.mean((2, 3))


def made(**options):
    torch.manual_seed(0)
    return Segment(Maps(), SegmentOptions(classes=CLASSES, head_width=8, **options)).double()


def batch():
    masks = torch.randint(CLASSES, (5, SIZE, SIZE), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    masks[1, :20] = VOID
    masks[2] = VOID
    return normal(5, 3, SIZE, SIZE).double(), masks


def views_of(x, masks):
    return Views(lambda _, a, b: {"inputs": x[a:b], "mask": masks[a:b]}, range(1), 0, len(x), 1)


def known(count=5, **more):
    return Batch(ids=torch.arange(count), labels=torch.zeros(count, dtype=torch.long), **more)


def test_it_is_the_mean_cross_entropy_of_the_pixels_that_have_a_class():
    method, (x, masks) = made(), batch()
    scores = F.interpolate(method.head(method.encoder.maps(x)), (SIZE, SIZE), mode="bilinear").log_softmax(1)
    by_hand = [
        -scores[i, int(masks[i, row, column]), row, column]
        for i in range(5) for row in range(SIZE) for column in range(SIZE) if masks[i, row, column] != VOID
    ]  # fmt: skip
    found = method.loss(method.embed(views_of(x, masks)), known()).total
    torch.testing.assert_close(found, torch.stack(by_hand).mean())


def test_pieces_and_shares_give_the_gradients_of_the_whole():
    x, masks = batch()
    whole, pieces = made().eval(), made().eval()
    training_step(whole, views_of(x, masks), known())
    training_step(pieces, views_of(x, masks), known(), micro_batch=2)
    for one, other in zip(whole.parameters(), pieces.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    z = whole.embed(views_of(x, masks))
    shares = [whole.loss(z, known(rows=rows, world=2)).total for rows in (slice(0, 2), slice(2, 5))]
    torch.testing.assert_close(sum(shares), whole.loss(z, known()).total)


def test_a_batch_without_a_known_pixel_costs_nothing():
    x, masks = batch()
    assert made().loss(made().embed(views_of(x, torch.full_like(masks, VOID))), known()).total == 0


def test_frozen_the_encoder_gets_no_gradient():
    method = made(frozen=True)
    training_step(method, views_of(*batch()), known())
    assert all(parameter.grad is None for parameter in method.encoder.parameters())
    assert all(parameter.grad is not None for parameter in method.head.parameters())


def test_an_encoder_without_maps_is_refused():
    with pytest.raises(ConfigError, match="no feature maps: take one that convolves"):
        Segment.settle(SegmentOptions(), facts_of(20), Mapless())


@pytest.mark.parametrize(
    ("strides", "low", "deep"),
    [([4, 8, 16, 32], 0, [2, 3]), ([2, 4, 8], 1, [2]), ([1, 2, 4], 1, [2]), ([1, 2], 0, [1]), ([16], None, [0])],
)
def test_the_head_reads_a_coarse_map_and_sharpens_by_a_fine_one(strides, low, deep):
    assert chosen(strides) == (low, deep)
    head = DeepLabHead([(4, stride) for stride in strides], 2, size=64, width=8)
    maps = [Map(torch.randn(2, 4, 64 // stride, 64 // stride), stride) for stride in strides]
    side = 64 // strides[deep[0] if low is None else low]
    assert head(maps).shape == (2, 2, side, side)


def test_scores_of_a_picture_depend_on_no_other():
    method, (x, _) = made(), batch()
    alone, _ = method.scores(x[:1])
    torch.testing.assert_close(method.scores(x)[0][:1], alone)
