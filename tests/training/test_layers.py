import pytest
import timm
import torch
from torch import nn

from nearfar.config import Optimisation
from nearfar.contract import Encoder
from nearfar.errors import ConfigError
from nearfar.training import layers, optimisers
from nearfar.training.layers import layers_of


class Deep(Encoder):
    def __init__(self):
        super().__init__()
        self.dim, self.config = 4, {}
        self.stem = nn.Linear(4, 4)
        self.blocks = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)) for _ in range(3)))
        self.head = nn.Linear(4, 4)

    def features(self, inputs):
        return self.head(self.blocks(self.stem(inputs)))


def settled(**more):
    encoder = Deep()
    layers.settle(
        encoder, Optimisation(**{"encoder_rate": 1.0, "layer_decay": 1.0, "freeze": 0, "fix_norms": False, **more})
    )
    return encoder


def stepped(encoder, steps=1, lr=0.1, anchor=0.0):
    optimizer = optimisers.build(encoder, name="sgd", lr=lr, weight_decay=0.0)
    if anchor:
        layers.anchor(optimizer, {one: one.detach().clone() for one in encoder.parameters()}, anchor)
    encoder.train()
    for _ in range(steps):
        optimizer.zero_grad()
        encoder(torch.randn(8, 4)).square().sum().backward()
        optimizer.step()
    return optimizer


@pytest.mark.parametrize(
    ("name", "count", "first"),
    [
        ("test_vit", 7, {"network.cls_token", "network.pos_embed", "network.patch_embed.proj.weight"}),
        ("tf_efficientnet_lite0", 18, {"network.conv_stem.weight", "network.bn1.weight", "network.bn1.bias"}),
    ],
)
def test_layers_are_what_is_numbered_and_what_stands_around_it(name, count, first):
    network = nn.ModuleDict({"network": timm.create_model(name, num_classes=0)})
    found = layers_of(network)
    assert len(found) == count
    assert first <= set(found[0])
    assert [one for names in found for one in names] == [one for one, _ in network.named_parameters()]


def test_rates_fall_from_the_last_layer_to_the_first():
    encoder = settled(encoder_rate=0.5, layer_decay=0.1)
    optimizer = optimisers.build(encoder, name="adamw", lr=1.0, weight_decay=0.0)
    rates = {id(one): group["lr"] for group in optimizer.param_groups for one in group["params"]}
    parts = (encoder.stem, *encoder.blocks, encoder.head)
    found = [rates[id(next(part.parameters()))] for part in parts]
    assert found == pytest.approx([0.5e-4, 0.5e-3, 0.5e-2, 0.5e-1, 0.5])


def test_fixed_layers_stay_as_they_are_with_their_statistics():
    encoder = settled(freeze=2)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    stepped(encoder)
    encoder.eval()
    encoder.train()
    stepped(encoder)
    moved = {name for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])}
    assert not [name for name in moved if name.startswith(("stem", "blocks.0."))]
    assert {"blocks.1.0.weight", "blocks.1.1.running_mean", "head.weight"} <= moved


def test_norms_that_are_fixed_keep_their_statistics_while_weights_learn():
    encoder = settled(fix_norms=True)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    stepped(encoder)
    moved = {name for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])}
    assert "stem.weight" in moved
    assert not [name for name in moved if "running" in name]


def test_not_all_layers_can_be_fixed():
    with pytest.raises(ConfigError, match="freeze must be below 5, the layers of this encoder, got 5"):
        settled(freeze=5)


def test_an_anchor_holds_weights_near_their_start():
    moved = []
    for strength in (0.0, 0.5):
        torch.manual_seed(0)
        encoder = settled()
        before = encoder.head.weight.detach().clone()
        stepped(encoder, steps=20, lr=1e-3, anchor=strength)
        moved.append((encoder.head.weight - before).norm().item())
    assert moved[1] < 0.3 * moved[0]


def test_an_anchor_is_weaker_by_as_much_as_the_rate_is_below_its_peak():
    encoder = settled(anchor=0.5)
    optimizer = stepped(encoder, steps=0, anchor=0.5)
    start = encoder.head.weight.detach().clone()
    with torch.no_grad():
        encoder.head.weight.add_(1.0)
    for group in optimizer.param_groups:
        group["lr"] *= 0.1
    optimizer.step()
    torch.testing.assert_close(encoder.head.weight, start + 0.95)
