"""`nearfar.tune` from the data to settings that `train` takes; stopped, killed, and gone on with."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import nearfar as nf
from nearfar.api.judge import Score
from nearfar.api.tuning import study
from nearfar.errors import ConfigError, RunError, TrainingError, UnknownName
from tests.api.conftest import photos_in, table_at

pytest.importorskip("optuna", reason="optuna is not installed")

SMALL: dict[str, Any] = {
    "encoder": "small_cnn",
    "width": 4,
    "image_size": 8,
    "steps": 3,
    "threads": 1,
    "precision": "fp32",
    "batch_size": 16,
    "method": "simclr",
    "cache": "off",
    "quiet": True,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos_in(tmp_path_factory.mktemp("tune") / "photos", count=130, classes=2)


def tune(data: Any, out: Path, **more: Any) -> Any:
    settings = SMALL | {"trials": 3, "seeds": 2} | more
    return nf.tune(data, out=out, **{name: value for name, value in settings.items() if value is not None})


def trials_of(folder: Path) -> list[dict[str, Any]]:
    found = json.loads((folder / "tune.json").read_text(encoding="utf-8"))["trials"]
    return [{name: one[name] for name in ("number", "values", "score", "state")} for one in found]


@pytest.fixture(scope="module")
def tuned(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tune(data, tmp_path_factory.mktemp("tuned") / "t")


def test_the_first_trial_is_that_of_the_defaults(tuned: Any) -> None:
    assert tuned.trials[0].values == tuned.usual
    assert len(tuned.trials) == 3
    assert all(one.score is not None for one in tuned.trials)


def test_the_settings_are_taken_by_train(tuned: Any, data: Path, tmp_path: Path) -> None:
    run = nf.train(data, config=tuned.config, out=tmp_path / "run", steps=1, evaluate=False, quiet=True)
    assert run.encoder.config["encoder"] == "small_cnn"


def test_nothing_but_the_outcome_is_left(tuned: Any) -> None:
    names = {path.name for path in tuned.path.iterdir()}
    assert names - {".lock"} == {"tune.json", "trials.csv", "config.toml", "tuning.html"}


def test_a_killed_tuning_tries_what_one_would_that_never_stopped(
    data: Path, tuned: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = study._Study._start

    def dies(self: Any, values: Any, **more: Any) -> Any:
        if len(self.record.trials) == 2:
            raise SystemExit
        return start(self, values, **more)

    monkeypatch.setattr(study._Study, "_start", dies)
    with pytest.raises(SystemExit):
        tune(data, tmp_path / "t")
    monkeypatch.setattr(study._Study, "_start", start)
    assert len(trials_of(tmp_path / "t")) == 2
    again = nf.tune(out=tmp_path / "t", resume=True, quiet=True)
    assert trials_of(tmp_path / "t") == trials_of(tuned.path)
    assert again.best == tuned.best


def test_ctrl_c_keeps_what_is_there_and_says_how_to_go_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = study._Study._start

    def stops(self: Any, values: Any, **more: Any) -> Any:
        ready = start(self, values, **more)
        os.kill(os.getpid(), signal.SIGINT)
        return ready

    monkeypatch.setattr(study._Study, "_start", stops)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt, match="nearfar tune --resume --out"):
            tune(data, tmp_path / "t")
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(trials_of(tmp_path / "t")) == 1
    assert (tmp_path / "t" / "trials.csv").is_file()


def test_a_training_that_fails_is_noted_and_the_next_is_tried(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = study._Study._train

    def fails(self: Any, ready: Any, look: Any = None) -> Any:
        if len(self.record.trials) == 1:
            raise TrainingError("The loss has exploded.")
        return train(self, ready, look)

    monkeypatch.setattr(study._Study, "_train", fails)
    found = tune(data, tmp_path / "t")
    assert [one.state for one in found.trials][1] == "failed"
    assert found.trials[1].why == "The loss has exploded."
    assert len(found.trials) == 3


def test_settings_that_fail_on_a_fresh_seed_are_out(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = study._Study._train

    def fails(self: Any, ready: Any, look: Any = None) -> Any:
        found = train(self, ready, look)
        if look is not None:
            return replace(found, score=Score(0.1 * len(self.record.trials)))
        if ready.config.method_options.temperature != self.space.usual["temperature"]:
            raise TrainingError("The loss has exploded.")
        return found

    monkeypatch.setattr(study._Study, "_train", fails)
    found = tune(data, tmp_path / "t", over="temperature")
    assert [one.state for one in found.trials] == ["done", "failed", "failed"]
    assert "with seed" in found.trials[1].why
    assert not found.recommended


def test_a_trial_that_falls_behind_is_given_up(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nearfar.api.tuning import search

    suggest = search.suggest

    def hopeless(space: Any, tried: Any, seed: int) -> Any:
        return search.Suggestion(suggest(space, tried, seed).values, lambda look, score: look == 2)

    monkeypatch.setattr(search, "suggest", hopeless)
    found = tune(data, tmp_path / "t", steps=12)
    assert [one.state for one in found.trials] == ["done", "pruned", "pruned"]
    assert [len(one.way) for one in found.trials] == [2, 2, 2]


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"over": "temprature"}, UnknownName, "temperature"),
        ({"budget": "1m", "steps": None}, ConfigError, "--time"),
        ({"time": "soon", "trials": None}, ConfigError, "time must be a time"),
        ({"trials": 1}, ConfigError, "trials must be at least 2"),
        ({"seeds": 1}, ConfigError, "seeds must be at least 2"),
        ({"methods": "simclr,vicrag", "method": None}, UnknownName, "vicreg"),
        ({"methods": "supcon"}, ConfigError, "supcon"),
        ({"encodr": "x"}, UnknownName, "encoder"),
        ({"time": "1s", "steps": None, "trials": None}, ConfigError, "too short"),
    ],
)
def test_what_cannot_be_is_refused_before_any_trial(
    data: Path, tmp_path: Path, more: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        tune(data, tmp_path / "t", **more)
    assert not (tmp_path / "t").exists()


def test_the_time_says_how_long_a_trial_is(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = SimpleNamespace(train=lambda plan, steps, optimizer: (None, 100.0))  # seconds a step
    monkeypatch.setattr(study, "pilot", slow)
    monkeypatch.setattr(study, "MIN_STEPS", 1)
    found = tune(data, tmp_path / "t", steps=None, time="30m", trials=2)
    assert 2 * 16 <= found.samples <= 3 * 16  # of six trainings, each has 300 s
    assert len(found.trials) == 2


def test_a_folder_that_holds_a_tuning_is_not_written_over(tuned: Any, data: Path) -> None:
    before = (tuned.path / "tune.json").read_bytes()
    with pytest.raises(RunError, match="already holds a tuning"):
        tune(data, tuned.path)
    assert (tuned.path / "tune.json").read_bytes() == before


def test_there_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no tuning to go on with"):
        nf.tune(out=tmp_path, resume=True)
    (tmp_path / "tune.json").write_text('{"format": 1, "trials": [{}]}', encoding="utf-8")
    with pytest.raises(RunError, match="cannot be read"):
        nf.tune(out=tmp_path, resume=True)


def test_more_trials_follow_where_they_are_asked_for(data: Path, tmp_path: Path, tuned: Any) -> None:
    tune(data, tmp_path / "t", trials=2)
    nf.tune(out=tmp_path / "t", resume=True, trials=3, quiet=True)
    assert trials_of(tmp_path / "t") == trials_of(tuned.path)


def test_tables_are_tuned_and_without_labels_too(tmp_path: Path) -> None:
    table = table_at(tmp_path / "t.csv")
    settings = {"encoder": None, "width": None, "image_size": None, "ignore_columns": "label", "trials": 2}
    found = tune(table, tmp_path / "t", **settings)
    assert "corruption" in found.usual
    assert "figures without labels" in found.judge
    assert not found.percent


def test_a_method_that_learns_from_labels_is_judged_by_others(data: Path, tmp_path: Path) -> None:
    large = photos_in(tmp_path / "large", count=450, classes=2)
    found = tune(large, tmp_path / "t", method="supcon", trials=2)
    record = json.loads((tmp_path / "t" / "tune.json").read_text(encoding="utf-8"))
    assert record["hidden"] == study.HIDDEN
    assert "labels" not in found.best
