"""What is recommended, and how much each setting matters."""

import csv
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest

from nearfar.api.tuning import outcome
from nearfar.api.tuning.record import Check, Record, Tried
from nearfar.api.tuning.space import Dimension, Space
from nearfar.evaluation import unlabelled
from nearfar.options import Span

SPACE = Space(
    {"data": "photos", "encoder": "small_cnn"},
    "simclr",
    [Dimension("lr", Span(0.3, 3, log=True, times=True), usual=1.0)],
    {"simclr": [Dimension("temperature", Span(0.03, 1, log=True), usual=0.2)]},
)


def tried(number: int, score: float | None, temperature: float = 0.2, lr: float = 1.0, state: Any = "done") -> Tried:
    values = {"temperature": temperature, "lr": lr}
    return Tried(number, values, state, score, [], 0.03 * lr, 32, "sgd", 10, 1.0)


def record(*trials: Tried, leads: tuple[float, ...] = (), kind: str = "labels") -> Record:
    checks = [Check(1 + i, 0.5, 0.5 + lead, None, 1.0) for i, lead in enumerate(leads)]
    checked = None if not leads else max(trials, key=lambda one: one.score or 0).number
    return Record({"options": {}}, samples=320, trials=list(trials), checks=checks, checked=checked, judge_kind=kind)


def test_a_lead_beyond_chance_is_recommended() -> None:
    found = outcome.outcome(record(tried(0, 0.5), tried(1, 0.6, 0.1), leads=(0.1, 0.11, 0.09)), SPACE, Path("t"))
    assert found.recommended
    assert found.best == {"encoder": "small_cnn", "temperature": 0.1}
    assert "Train with config.toml" in found.advice


@pytest.mark.parametrize("leads", [(0.2, -0.1, 0.02), (-0.1, -0.11, -0.09), ()])
def test_a_lead_that_may_be_chance_is_not(leads: tuple[float, ...]) -> None:
    found = outcome.outcome(record(tried(0, 0.5), tried(1, 0.6, 0.1), leads=leads), SPACE, Path("t"))
    assert not found.recommended
    assert found.best == {"encoder": "small_cnn"}


def test_defaults_that_no_trial_beats_stay() -> None:
    found = outcome.outcome(record(tried(0, 0.6), tried(1, 0.5, 0.1)), SPACE, Path("t"))
    assert found.advice.startswith("Keep the defaults")
    assert found.gain is None


def test_without_labels_a_lead_must_exceed_the_error_of_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlabelled, "ERROR", 0.5)
    for lead, taken in ((0.1, False), (0.9, True)):
        leads = (lead, lead + 0.01, lead - 0.01)
        found = outcome.outcome(record(tried(0, 0.5), tried(1, 0.6, 0.1), leads=leads, kind="views"), SPACE, Path("t"))
        assert found.recommended == taken
        assert ("figures without labels are off" in found.advice) != taken


def test_a_rate_goes_with_its_batch_and_optimiser() -> None:
    found = outcome.outcome(record(tried(0, 0.5), tried(1, 0.6, lr=2.0), leads=(0.1, 0.1, 0.11)), SPACE, Path("t"))
    assert found.best == {"encoder": "small_cnn", "lr": 0.06, "batch_size": 32, "optimizer": "sgd"}


def test_of_labels_the_interval_is_over_seeds_and_samples() -> None:
    one = record(tried(0, 0.5), tried(1, 0.6, 0.1))
    each = [[1.0, 0.0, 0.0, 1.0] * 25, [1.0, 0.0, 1.0, 0.0] * 25]
    one.checks = [Check(i, 0.5, 1.0, values, 1.0) for i, values in enumerate(each)]
    found = outcome.outcome(one, SPACE, Path("t"))
    assert found.gain is not None
    assert found.gain.mean == pytest.approx(0.5)
    assert found.gain.low < 0.5 < found.gain.high


def test_a_setting_that_decides_explains_and_another_does_not() -> None:
    temperatures = [0.03, 0.05, 0.1, 0.2, 0.4, 0.8, 0.06, 0.3]
    rates = [1.0, 0.5, 2.0, 0.7, 1.5, 0.9, 2.5, 0.4]
    scores = [-((math.log(t) - math.log(0.15)) ** 2) for t in temperatures]
    trials = [tried(i, s, t, r) for i, (s, t, r) in enumerate(zip(scores, temperatures, rates, strict=True))]
    matters = outcome.outcome(record(*trials), SPACE, Path("t")).matters
    assert matters["temperature"] > 0.99
    assert matters["lr"] < 0.5


def test_the_files_hold_every_trial_and_escape_what_comes_from_outside(tmp_path: Path) -> None:
    given = Space({"data": "</script><b>.csv", "encoder": "small_cnn"}, "simclr", SPACE.shared, SPACE.by_method)
    kept = record(tried(0, 0.5), tried(1, None, state="failed"), tried(2, 0.4, state="pruned"), tried(3, 0.6, 0.1))
    kept.checked, kept.checks = 3, [Check(1 + i, 0.5, 0.6 + 0.001 * i, None, 1.0) for i in range(3)]
    found = outcome.outcome(kept, given, tmp_path)
    outcome.save(found, kept, given)
    with (tmp_path / "trials.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["done", "failed", "pruned", "done"]
    assert rows[3]["temperature"] == "0.1"
    config = tomllib.loads((tmp_path / "config.toml").read_text(encoding="utf-8"))
    assert config["tuned"] == {"encoder": "small_cnn", "temperature": 0.1}
    assert "<b>" not in (tmp_path / "tuning.html").read_text(encoding="utf-8").replace("</b>", "")
