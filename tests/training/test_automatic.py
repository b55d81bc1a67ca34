"""The size of a batch follows from how many steps a run will have."""

import pytest

from nearfar.config import Optimisation
from nearfar.contract import Encoder
from nearfar.options import Facts
from nearfar.training import automatic

ON_CPU = Facts(samples=5_000, device="cpu", threads=1)


def of_samples(total: int) -> automatic.Steps:
    """The steps of a run that sees so many samples in all."""
    return lambda size: total / size


@pytest.mark.parametrize(("total", "size"), [(10_000, 32), (100_000, 64), (400_000, 128), (10_000_000, 256)])
def test_a_longer_run_has_larger_batches(total: int, size: int) -> None:
    assert automatic.batch_size(ON_CPU, of_samples(total), smallest=32)[0] == size


def test_a_gpu_has_larger_batches_where_there_are_steps_enough() -> None:
    on_gpu = Facts(samples=50_000, device="cuda", threads=1)
    assert automatic.batch_size(on_gpu, of_samples(10_000_000), smallest=32)[0] == 512


def test_no_batch_is_chosen_that_is_smaller_than_the_method_wants() -> None:
    assert automatic.batch_size(ON_CPU, of_samples(10), smallest=128)[0] == 128


def test_an_encoder_that_wants_large_batches_has_them() -> None:
    assert automatic.batch_size(ON_CPU, None, smallest=1024)[0] == 1024


def test_small_data_has_a_quarter_of_it_in_a_batch_at_most() -> None:
    few = Facts(samples=300, device="cpu", threads=1)
    assert automatic.batch_size(few, of_samples(10_000_000), smallest=32)[0] == 64


def test_a_fixed_number_of_steps_takes_the_largest_batch() -> None:
    assert automatic.batch_size(ON_CPU, None, smallest=32)[0] == 256


def test_the_reason_says_how_many_steps_there_will_be() -> None:
    facts = Facts(samples=5_000, device="cpu", threads=1, epochs=20)
    found, choices = automatic.optimisation(Optimisation(), facts, Encoder())
    assert found.batch_size == 64
    assert choices[0].why == "about 1,562 steps; a larger batch would leave too few"


def test_the_pace_is_not_measured_for_a_batch_that_was_given() -> None:
    def pace() -> automatic.Steps:
        raise AssertionError("measured")

    facts = Facts(samples=5_000, device="cpu", threads=1, seconds=60)
    assert automatic.optimisation(Optimisation(batch_size=48), facts, Encoder(), pace=pace)[0].batch_size == 48
