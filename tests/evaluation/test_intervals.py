import pytest
import torch

from nearfar.errors import ConfigError, DataError
from nearfar.evaluation.intervals import (
    DRAWS,
    SAMPLES,
    SEEDS,
    Interval,
    bootstrap,
    bootstrap_columns,
    crossed,
    over_draws,
    over_seeds,
    paired,
)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_t_interval_has_the_textbook_width():
    found = over_seeds(torch.tensor([1.0, 2.0, 3.0]))  # t(0.975, 2) = 4.302653, std = 1
    assert (found.mean, found.half_width) == (2.0, pytest.approx(4.302653 / 3**0.5, rel=1e-6))
    assert (found.kind, found.count) == (SEEDS, 3)


def test_bootstrap_agrees_with_the_normal_approximation():
    values = (random(1000) > 0.5).double()
    found = bootstrap(values)
    assert found.mean == pytest.approx(float(values.mean()))
    assert found.half_width == pytest.approx(1.96 * float(values.std()) / 1000**0.5, rel=0.08)


def test_bootstrap_repeats():
    assert bootstrap(random(50)) == bootstrap(random(50))


def test_columns_share_their_resamples():
    a, b = random(60), random(60, seed=1)
    for one, other in zip(bootstrap_columns(torch.stack([a, b], dim=1)), (bootstrap(a), bootstrap(b)), strict=True):
        assert (one.low, one.high) == (other.low, other.high)


def test_t_intervals_cover_the_truth_95_times_in_100():
    covered = sum((i := over_draws(row)).low <= 0 <= i.high for row in random(2000, 10))
    assert 0.93 < covered / 2000 < 0.97


def test_crossed_intervals_cover_the_truth_where_draws_and_samples_both_vary():
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for _ in range(600):
        draws, samples, both = (torch.randn(shape, generator=generator) for shape in ((10, 1), (1, 40), (10, 40)))
        covered += (i := crossed(0.3 * draws + samples + both)).low <= 0 <= i.high
    assert 0.93 < covered / 600 < 0.98


def test_crossed_intervals_are_those_of_draws_where_samples_are_alike():
    draws = random(10)[:, None].expand(10, 30)
    assert crossed(draws).half_width == pytest.approx(over_draws(draws[:, 0]).half_width)
    assert crossed(torch.ones(3, 5)).half_width == 0


def test_pairing_removes_what_draws_have_in_common():
    common, noise = 10 * random(20), 0.1 * random(20, seed=1)
    found = paired(common + 1 + noise, common, kind=DRAWS)
    assert found.outcome == "ahead"
    assert found.half_width < 0.1
    assert over_draws(common).half_width > 1


@pytest.mark.parametrize("kind", [SAMPLES, DRAWS])
@pytest.mark.parametrize(("shift", "outcome"), [(1.0, "ahead"), (-1.0, "behind"), (0.0, "unclear")])
def test_outcome_says_on_which_side_of_zero(kind, shift, outcome):
    b = random(100)
    assert paired(b + shift, b, kind=kind).outcome == outcome


def test_one_value_is_never_ahead():
    assert over_seeds(torch.tensor([5.0])) == Interval(5.0, 5.0, 5.0, SEEDS, 1, error=0.0, freedom=0)
    assert paired(torch.tensor([5.0]), torch.tensor([1.0]), kind=SEEDS).outcome == "unclear"
    assert paired(torch.tensor([5.0]), torch.tensor([1.0]), kind=SAMPLES).outcome == "unclear"


def test_written_in_percent():
    assert str(Interval(0.793, 0.781, 0.805, SAMPLES, 100)) == "79.3 ± 1.2 %"
    assert float(Interval(0.793, 0.781, 0.805, SAMPLES, 100)) == 0.793


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: bootstrap(torch.empty(0)), DataError, "at least one value"),
        (lambda: over_draws(torch.empty(0)), DataError, "at least one value"),
        (lambda: paired(torch.ones(3), torch.ones(2)), DataError, "the same samples: got 3 and 2"),
        (lambda: paired(torch.ones(3), torch.ones(3), kind="t"), ConfigError, "kind must be one of .* got 't'"),
    ],
)
def test_mistakes_are_explained(call, error, words):
    with pytest.raises(error, match=words):
        call()
