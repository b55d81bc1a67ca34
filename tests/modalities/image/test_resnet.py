"""ResNets: torchvision's weights and features, narrow ones, other stems."""

import os
import subprocess
import sys

import pytest
import torch
import torchvision
from torch import nn

from nearfar.modalities.image import resnet
from nearfar.modalities.image.resnet import LAYERS, ResNet, mean_and_spread

STANDARD = ["resnet18", "resnet34", "resnet50", "resnet101"]


def theirs(name, device="cpu"):
    with torch.device(device):
        network = getattr(torchvision.models, name)(weights=None)
        network.fc = nn.Identity()
    return network


@pytest.mark.parametrize("name", STANDARD)
def test_weights_have_the_names_and_shapes_of_torchvisions(name):
    with torch.device("meta"):
        own = ResNet(name).state_dict()
    expected = theirs(name, "meta").state_dict()
    assert [(key, value.shape) for key, value in own.items()] == [(key, v.shape) for key, v in expected.items()]


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_with_torchvisions_weights_features_are_torchvisions(name):
    torch.manual_seed(0)
    expected, own = theirs(name), ResNet(name)
    own.load_state_dict(expected.state_dict())
    x = torch.randn(2, 3, 64, 64)
    for training in (False, True):
        with torch.no_grad():
            a, b = own.train(training)(x), expected.train(training)(x)
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()


@pytest.mark.parametrize("pool", ["last", "stages"])
@pytest.mark.parametrize("name", sorted(LAYERS))
def test_dim_is_the_width_of_the_features(name, pool):
    network = ResNet(name, width=4, stem="cifar", pool=pool).eval()
    assert network(torch.zeros(2, 3, 16, 16)).shape == (2, network.dim)


@pytest.mark.parametrize(("stem", "side"), [("cifar", 32), ("patch", 16), ("imagenet", 8)])
def test_the_stem_sets_the_size_of_the_first_maps(stem, side):
    network = ResNet("resnet18", width=4, stem=stem)
    seen = []
    network.layer1.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[2:]))
    network(torch.zeros(2, 3, 32, 32))
    assert seen == [(side, side)]


def test_stages_are_the_means_and_spreads_of_all_maps():
    network = ResNet("resnet18", width=4, stem="cifar", pool="stages").eval()
    x = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    maps = [network.relu(network.bn1(network.conv1(x)))]
    for stage in network.stages:
        maps.append(network.get_submodule(stage)(maps[-1]))
    want = [v for m in maps for v in (m.mean((2, 3)), (m.var((2, 3), correction=0) + 1e-4).sqrt())]
    found = network(x)
    assert found.shape == (3, network.dim)
    assert torch.allclose(found, torch.cat(want, dim=1), atol=1e-5)


def test_spreads_are_those_of_maps_averaged_to_eight():
    maps = torch.randn(2, 5, 16, 24, generator=torch.Generator().manual_seed(0))
    coarse = torch.nn.functional.avg_pool2d(maps, (2, 3))
    centre, spread = mean_and_spread(maps)
    assert torch.allclose(centre, maps.mean((2, 3)), atol=1e-6)
    assert torch.allclose(spread, (coarse.var((2, 3), correction=0) + 1e-4).sqrt(), atol=1e-5)


def test_a_constant_map_has_a_finite_slope():
    maps = torch.ones(2, 3, 4, 4, requires_grad=True)
    mean_and_spread(maps)[1].sum().backward()
    assert maps.grad.isfinite().all()


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_number_of_channels(channels):
    network = ResNet("resnet18", channels=channels, width=4).eval()
    assert network(torch.zeros(1, channels, 32, 32)).shape == (1, 32)


@pytest.mark.parametrize("inputs", [1, 3, 4, 7])
def test_a_narrow_shortcut_is_the_strided_convolution(inputs):
    x = torch.randn(2, inputs, 9, 8, dtype=torch.float64, requires_grad=True)
    shortcut = resnet._shortcut(inputs, 2 * inputs, 2)[0].double()
    expected = torch.nn.functional.conv2d(x, shortcut.weight, stride=2)
    upstream = torch.randn_like(expected)
    assert torch.allclose(shortcut(x), expected)
    wanted = torch.autograd.grad(expected, (x, shortcut.weight), upstream)
    found = torch.autograd.grad(shortcut(x), (x, shortcut.weight), upstream)
    assert all(torch.allclose(a, b) for a, b in zip(found, wanted, strict=True))


def test_training_a_narrow_resnet_harms_no_other_memory():
    """Where it did, a handful of steps ended the process."""
    code = """
import torch
from nearfar.modalities.image.resnet import ResNet
torch.set_num_threads(1)
for i in range(12):
    held = [bytes(1000 * (1 + (7 * i * j) % 40)) for j in range(30)]
    net = ResNet("resnet10", channels=3, width=4, stem="patch", pool="stages").to(memory_format=torch.channels_last)
    net(torch.randn(10, 16, 16, 3).permute(0, 3, 1, 2)).square().mean().backward()
"""
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ, "MALLOC_CHECK_": "3"}).returncode == 0
