import pytest
import torch
from scipy.stats import spearmanr

from nearfar.evaluation.correlation import judged


def answers(noise: float, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(6, (300,), generator=generator).double()
    return truth + noise * torch.randn(300, generator=generator), truth


def test_values_are_those_of_scipy_and_torch_with_ties():
    given, truth = answers(2.0)
    given = given.round()
    (ranked,), _, _ = judged([given], truth, ranked=True)
    (linear,), _, _ = judged([given], truth, ranked=False)
    assert ranked.mean == pytest.approx(spearmanr(given, truth)[0])
    assert linear.mean == pytest.approx(torch.corrcoef(torch.stack([given, truth]))[0, 1].item())


def test_the_interval_of_spearman_is_that_of_ranking_each_resample_anew():
    given, truth = answers(2.0)
    (found,), _, _ = judged([given], truth, ranked=True)
    generator = torch.Generator().manual_seed(1)
    drawn = [torch.randint(300, (300,), generator=generator) for _ in range(500)]
    values = torch.tensor([spearmanr(given[rows], truth[rows])[0] for rows in drawn])
    assert found.error == pytest.approx(values.std().item(), rel=0.15)
    assert found.low == pytest.approx(values.quantile(0.025).item(), abs=0.015)
    assert found.high == pytest.approx(values.quantile(0.975).item(), abs=0.015)


def test_a_lead_is_paired_and_its_error_is_that_of_the_influences():
    worse, truth = answers(3.0)
    better = worse + 0.5 * truth
    for ranked in (True, False):
        values, (lead,), (moved, _) = judged([worse, better], truth, ranked=ranked)
        assert lead.mean == pytest.approx(values[1].mean - values[0].mean)
        assert lead.low > 0
        assert lead.error < values[0].error / 2  # the two are judged on the same samples
        assert moved.square().sum().sqrt() == pytest.approx(lead.error, rel=0.2)


def test_what_does_not_vary_has_no_correlation():
    _, truth = answers(1.0)
    (value,), _, _ = judged([torch.ones(300)], truth, ranked=True)
    assert (value.mean, value.low, value.high) == (0, 0, 0)
