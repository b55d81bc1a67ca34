"""Solarisation against torchvision's."""

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from nearfar.modalities.image.views.solarise import solarised


@pytest.mark.parametrize("channels", [1, 3, 4, 13])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
def test_values_from_0_to_1_are_solarised_as_torchvisions(channels, threshold):
    pictures = torch.rand(2, channels, 5, 7, generator=torch.Generator().manual_seed(0))
    found = solarised(pictures, torch.zeros(channels), torch.ones(channels), threshold)
    expected = torch.stack([reference.solarize(channel, threshold) for channel in pictures.flatten(0, 1)[:, None]])
    assert (found - expected.view_as(found)).abs().max() < 1e-6


def test_normalised_values_are_solarised_as_those_before():
    pictures = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.4])
    normal = [
        reference.normalize(x, mean.tolist(), std.tolist()) for x in (pictures, reference.solarize(pictures, 0.6))
    ]
    found = solarised(normal[0], -mean / std, (1 - mean) / std, 0.6)
    assert (found - normal[1]).abs().max() < 1e-5
