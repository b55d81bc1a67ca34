"""Health: known figures on known latents, and alarms that say once what to change."""

import math
from typing import Any

import pytest
import torch

from nearfar.contract import Latents
from nearfar.training.health import Watchdog, figures


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(x, dim=-1)


def test_equal_views_align_and_find_each_other() -> None:
    one = unit(20, 6)
    found = figures(Latents(z=torch.stack([one, one]), features=torch.stack([one, one])))
    assert found["alignment"] == pytest.approx(0, abs=1e-12)
    assert found["view_retrieval"] == 1


def test_opposite_views_are_four_apart() -> None:
    one = unit(20, 6)
    assert figures(Latents(z=torch.stack([one, -one])))["alignment"] == pytest.approx(4)


def test_uniformity_of_a_square_is_known() -> None:
    corners = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    found = figures(Latents(z=torch.stack([corners, corners])))
    assert found["uniformity"] == pytest.approx(math.log((2 * math.exp(-4) + math.exp(-8)) / 3))


def test_rank_and_dead_dimensions_are_of_the_features() -> None:
    features = torch.zeros(1, 8, 5)
    features[0, range(8), [0, 1, 2, 3] * 2] = 1.0  # four directions of equal strength, the fifth unused
    found = figures(Latents(features=features))
    assert found["effective_rank"] == pytest.approx(4)
    assert found["dead_dimensions"] == pytest.approx(0.2)
    assert set(found) == {"effective_rank", "dead_dimensions"}


def test_one_view_has_no_alignment() -> None:
    assert figures(Latents(z=unit(1, 8, 4))) == {}


def test_what_is_not_finite_is_no_figure() -> None:
    broken = torch.full((2, 8, 4), torch.nan)
    found = figures(Latents(z=broken, features=broken))
    assert all(math.isfinite(value) for value in found.values())
    assert "alignment" not in found


def test_big_batches_are_measured_on_some_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    many = unit(2, 1000, 4)
    few = many[:, :256]
    assert figures(Latents(z=many, features=many)) == figures(Latents(z=few, features=few))


HEALTHY = {
    "effective_rank": 30.0,
    "dead_dimensions": 0.0,
    "view_retrieval": 0.7,
    "data_wait": 0.05,
}

ALARMS = [
    ("collapse", 0.5, {"effective_rank": 1.2}, "--lr"),
    ("dead dimensions", 0.5, {"dead_dimensions": 0.6}, "--weight-decay"),
    ("nothing learned", 0.5, {"view_retrieval": 0.01}, "--views-strength"),
    ("too easy", 0.1, {"view_retrieval": 1.0}, "--views-strength"),
    ("waiting for data", 0.5, {"data_wait": 0.8}, "--threads"),
]
wrong = pytest.mark.parametrize(("name", "progress", "record", "advice"), ALARMS, ids=[alarm[0] for alarm in ALARMS])


@wrong
def test_an_alarm_says_what_to_change(name: str, progress: float, record: dict[str, Any], advice: str) -> None:
    (alarm,) = Watchdog().look(7, progress, HEALTHY | record)
    assert (alarm.step, alarm.name) == (7, name)
    assert advice in alarm.sentence
    assert alarm.sentence.endswith(".")


@wrong
def test_an_alarm_is_raised_once(name: str, progress: float, record: dict[str, Any], advice: str) -> None:
    watchdog = Watchdog()
    assert len(watchdog.look(1, progress, HEALTHY | record)) == 1
    assert watchdog.look(2, progress, HEALTHY | record) == []
    assert [alarm.name for alarm in watchdog.raised] == [name]


@wrong
def test_an_alarm_waits_until_the_run_has_started(
    name: str, progress: float, record: dict[str, Any], advice: str
) -> None:
    assert Watchdog().look(0, 0.0, HEALTHY | record) == []


@pytest.mark.parametrize("progress", [0.0, 0.03, 0.1, 0.25, 0.5, 1.0])
def test_a_healthy_run_raises_none(progress: float) -> None:
    assert Watchdog().look(1, progress, HEALTHY) == []


def test_a_record_without_figures_raises_none() -> None:
    assert Watchdog().look(1, 0.5, {"loss": 3.0}) == []


def test_a_run_of_seconds_may_wait_for_its_data() -> None:
    assert Watchdog().look(1, 0.5, {"data_wait": 0.8, "seconds": 2.0}) == []
    assert len(Watchdog().look(1, 0.5, {"data_wait": 0.8, "seconds": 12.0})) == 1


def test_several_alarms_can_come_at_once() -> None:
    found = Watchdog().look(1, 0.5, {"effective_rank": 1.0, "dead_dimensions": 1.0, "view_retrieval": 0.0})
    assert [alarm.name for alarm in found] == ["collapse", "dead dimensions", "nothing learned"]


def test_a_little_above_chance_is_no_alarm_early_on() -> None:
    assert Watchdog(256).look(1, 0.25, {"view_retrieval": 0.05}) == []
    assert len(Watchdog(256).look(1, 0.25, {"view_retrieval": 0.008})) == 1
