"""What suits the data and the encoder: widths of heads, lengths of queues."""

import pytest

from nearfar.contract import Encoder
from nearfar.errors import ConfigError
from nearfar.methods.sizes import check_queue, decorrelated_width, queue_size
from nearfar.options import UNKNOWN, Facts


@pytest.mark.parametrize(
    ("samples", "size"), [(1, 1), (2, 1), (1000, 500), (10_001, 5000), (100_000, 50_000), (1_281_167, 65_536)]
)
def test_a_queue_holds_half_of_the_data_up_to_the_papers_size(samples, size):
    assert queue_size(samples, 65_536)[0] == size


def test_a_queue_longer_than_the_data_is_refused():
    facts = Facts(samples=100, device="cpu", threads=1)
    check_queue(100, facts)
    check_queue(10**6, UNKNOWN)
    with pytest.raises(ConfigError, match=r"queue must be at most 100, the number of samples.*got 101"):
        check_queue(101, facts)


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
    found, why = decorrelated_width(Empty(dim), Facts(samples=samples, device="cpu", threads=1))
    assert found == width
    assert why == f"for an encoder of {dim} dimensions and {samples} samples"
