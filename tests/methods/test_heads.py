"""Heads: how wide they are made."""

import pytest

from nearfar.contract import Encoder
from nearfar.methods.heads import wide
from nearfar.options import Facts


class Empty(Encoder):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim


@pytest.mark.parametrize(
    ("samples", "dim", "width"),
    [
        (1_000, 2048, 512),
        (5_000, 64, 512),
        (10_000, 512, 1024),
        (50_000, 512, 2048),  # solo-learn's for CIFAR
        (50_000, 128, 512),
        (100_000, 2048, 2048),
        (1_000_000, 512, 2048),
        (1_281_167, 2048, 8192),  # both papers' for ImageNet
        (10**9, 4096, 8192),
    ],
)
def test_decorrelated_dimensions_are_as_many_as_suit_the_encoder_and_the_data(samples, dim, width):
    found, why = wide(Empty(dim), Facts(samples=samples, device="cpu", threads=1))
    assert found == width
    assert why == f"for an encoder of {dim} dimensions and {samples} samples"
