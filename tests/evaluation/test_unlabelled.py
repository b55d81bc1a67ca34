"""Figures without labels: which way they point, and what leaves them as they are."""

import json
import math
from pathlib import Path

import pytest
import torch

from nearfar.diagnostics import discriminant_rank
from nearfar.evaluation import unlabelled
from nearfar.evaluation.unlabelled import FIGURES, figures


def views(noise: float, *, dims: int = 16, rank: int = 16) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(120, rank, generator=generator) @ torch.randn(rank, dims, generator=generator)
    changed = [samples + noise * torch.randn(120, dims, generator=generator) for _ in range(2)]
    return samples, changed[0], changed[1]


def test_every_figure_is_a_finite_number() -> None:
    for whiten in (False, True):
        found = figures(*views(0.3), whiten=whiten)
        assert found.keys() == FIGURES.keys()
        assert all(math.isfinite(value) for value in found.values())


@pytest.mark.parametrize("name", ["alignment", "agreement", "view retrieval", "views' neighbours"])
def test_nearer_views_have_more(name: str) -> None:
    near, far = (figures(*views(noise), whiten=False)[name] for noise in (0.5, 8.0))
    assert near > far


@pytest.mark.parametrize("name", ["effective rank", "discriminant rank", "uniformity"])
def test_more_directions_have_more(name: str) -> None:
    many, few = (figures(*views(0.1, rank=rank), whiten=False)[name] for rank in (16, 2))
    assert many > few


def test_halves_that_say_the_same_agree() -> None:
    plain, first, second = views(0.1, dims=8)
    doubled = [torch.cat([one, one], 1) for one in (plain, first, second)]
    noise = [torch.randn(120, 16, generator=torch.Generator().manual_seed(3)) for _ in range(3)]
    assert figures(*doubled, whiten=False)["halves"] > figures(*noise, whiten=False)["halves"] + 1


def test_scale_and_turns_change_no_figure() -> None:
    found = views(0.3)
    turn = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(1)))[0]
    before, after = (figures(*some, whiten=False) for some in (found, [7 * one @ turn for one in found]))
    for name in FIGURES.keys() - {"halves"}:  # which is about the dimensions as they are
        assert after[name] == pytest.approx(before[name], abs=1e-3), name


def test_the_discriminant_rank_counts_directions_that_tell_samples_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(4000, 4, generator=generator).double()
    noise = [0.1 * torch.randn(4000, 10, generator=generator).double() for _ in range(2)]
    first, second = (torch.cat([samples, torch.zeros(4000, 6).double()], 1) + one for one in noise)
    assert float(discriminant_rank(first, second)) == pytest.approx(4, abs=0.4)
    assert float(discriminant_rank(torch.ones(9, 3), torch.ones(9, 3))) == 0


def test_the_weights_are_those_that_the_benchmark_has_fitted() -> None:
    file = Path(__file__).parents[2] / "benchmarks" / "results" / "judge.json"
    fitted = json.loads(file.read_text(encoding="utf-8"))["fitted"]
    assert {name: value for name, value in fitted["weights"].items() if value} == unlabelled.WEIGHTS
    assert fitted["error"] == unlabelled.ERROR


def test_the_combination_is_a_weighted_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlabelled, "WEIGHTS", {"alignment": 2.0, "halves": -1.0})
    assert unlabelled.combined({"alignment": 3.0, "halves": 1.0, "uniformity": 9.0}) == 5.0
