"""How long queues are."""

import pytest

from nearfar.errors import ConfigError
from nearfar.methods.queue import largest_share, must_fit
from nearfar.options import UNKNOWN, Facts


@pytest.mark.parametrize(
    ("samples", "size"), [(1, 1), (2, 1), (1000, 500), (10_001, 5000), (100_000, 50_000), (1_281_167, 65_536)]
)
def test_a_queue_holds_half_of_the_data_up_to_the_papers_size(samples, size):
    assert largest_share(samples, 65_536)[0] == size


def test_a_queue_longer_than_the_data_is_refused():
    facts = Facts(samples=100, device="cpu", threads=1)
    must_fit(100, facts)
    must_fit(10**6, UNKNOWN)
    with pytest.raises(ConfigError, match=r"queue must be at most 100, the number of samples.*got 101"):
        must_fit(101, facts)
