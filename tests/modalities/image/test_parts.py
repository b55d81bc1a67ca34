"""Cells of pictures: what is taken away is blurred, and features that are means are sums over cells."""

import pytest
import torch
from torch import nn

from nearfar.modalities.image.encoder import ImageEncoder, build
from nearfar.modalities.image.parts import _side, parts_of
from nearfar.testing.parts import check_parts

LOOK = {"channels": 3, "image_size": 32, "mean": [0.5] * 3, "std": [0.25] * 3, "modality": "image"}


def encoder(name, **more):
    torch.manual_seed(0)
    return build(LOOK | {"encoder": name} | more).eval()


RESNETS = [
    ("resnet8", {"stem": "patch", "pool": "stages", "width": 4}),
    ("resnet10", {"stem": "cifar", "pool": "last", "width": 4}),
    ("small_cnn", {"width": 4}),
]


@pytest.mark.parametrize(("name", "more"), [*RESNETS, ("torchvision:mobilenet_v3_small", {}), ("convnext_atto", {})])
def test_features_that_are_means_of_maps_are_sums_over_cells(name, more):
    made = encoder(name, **more)
    with torch.no_grad():
        parts = made.parts(torch.randn(1, 3, 32, 32))
    assert parts.terms is not None
    assert parts.terms.shape == (64, made.dim)
    check_parts(made, torch.randn(1, 3, 32, 32))


def test_a_layer_behind_the_pooling_that_is_not_linear_leaves_no_terms():
    made = encoder("mobilenetv3_small_050")
    with torch.no_grad():
        parts = made.parts(torch.randn(1, 3, 32, 32))
    assert parts.terms is None
    assert parts.tokens is None


def test_a_transformer_with_a_class_token_has_tokens_on_the_grid():
    made = encoder("test_vit", image_size=160)
    pictures = torch.randn(1, 3, 160, 160)
    with torch.no_grad():
        parts, tokens = made.parts(pictures), made.tokens(pictures)[0]
    assert parts.terms is None
    assert parts.grid == (5, 5)
    assert tokens.shape[0] == 100
    wanted = tokens.view(10, 10, -1)[:2, :2].mean((0, 1))
    torch.testing.assert_close(parts.tokens[0] / 4, wanted)


class Pooled(nn.Module):
    """A network of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.pool = nn.Conv2d(3, 5, 3, 2, 1), nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        return self.pool(self.body(x).relu()).flatten(1)


def test_the_pooling_of_a_network_of_ones_own_is_found():
    made = ImageEncoder(Pooled(), 5, LOOK | {"encoder": "own"}).eval()
    pictures = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        cells = made.network.body(pictures).relu()[0].permute(1, 2, 0) / 256
        terms = parts_of(made, pictures).terms
    torch.testing.assert_close(terms.view(8, 8, 5), cells.view(8, 2, 8, 2, 5).sum((1, 3)))
    assert not any(module._forward_pre_hooks for module in made.modules())


def test_a_cell_that_is_taken_away_is_blurred_and_the_others_stay():
    made, pictures = encoder(*RESNETS[2][:1], **RESNETS[2][1]), torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        parts = made.parts(pictures)
    kept = torch.ones(1, 64, dtype=torch.bool)
    kept[0, 9] = False  # row 2, column 2
    found = parts.without(kept)
    assert parts.names[9] == "row 2, column 2"
    changed = (found != pictures).any(1)[0]
    assert changed[4:8, 4:8].all()
    assert int(changed.sum()) == 16
    assert found[0, :, 4:8, 4:8].std() < 0.3 * pictures[0, :, 4:8, 4:8].std()


@pytest.mark.parametrize(
    ("size", "tokens", "side"), [(32, 0, 8), (8, 0, 4), (1, 0, 1), (224, 14, 7), (96, 6, 6), (224, 16, 8)]
)
def test_cells_hold_whole_tokens_where_that_can_be(size, tokens, side):
    assert _side(size, tokens) == side


def test_pictures_of_any_channels_have_a_backdrop():
    for channels in (1, 2, 5):
        look = {"channels": channels, "mean": [0.5] * channels, "std": [0.25] * channels, "image_size": 16, "width": 4}
        made = encoder("small_cnn", **look)
        with torch.no_grad():
            assert made.parts(torch.randn(1, channels, 16, 16)).backdrop.shape == (16, 16, 3)
