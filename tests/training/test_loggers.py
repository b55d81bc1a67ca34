"""Loggers get what metrics.jsonl gets, and none of them can cost the run."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import nearfar as nf
from nearfar.config import LOGGERS
from nearfar.errors import ConfigError, MissingExtra
from nearfar.training import loggers
from nearfar.training.loggers import Loggers

SETTINGS = {"method": "simclr", "lr": 0.1}


class Fake(ModuleType):
    """Stands for the package of a logger: `calls` are all that was done with it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)
        self.calls: list[tuple[str, Any]] = []

    def note(self, name: str, result: Any = None) -> Any:
        def call(*places: Any, **named: Any) -> Any:
            self.calls.append((name, named | {str(i): place for i, place in enumerate(places)}))
            return result

        return call


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> dict[str, Fake]:
    """wandb, mlflow and trackio, made up."""
    made = {name: Fake(name) for name in ("wandb", "mlflow", "trackio")}
    for name in ("wandb", "trackio"):
        run = SimpleNamespace(log=made[name].note("log"), finish=made[name].note("finish"))
        made[name].init = made[name].note("init", run)  # type: ignore[attr-defined]
    mlflow = made["mlflow"]
    client = SimpleNamespace(
        get_experiment_by_name=mlflow.note("get"),
        create_experiment=mlflow.note("create_experiment", "7"),
        create_run=mlflow.note("create_run", SimpleNamespace(info=SimpleNamespace(run_id="r"))),
        log_batch=mlflow.note("log_batch"),
        set_terminated=mlflow.note("finish"),
    )
    mlflow.MlflowClient = lambda: client  # type: ignore[attr-defined]
    entities = ModuleType("mlflow.entities")
    entities.Param = lambda *values: values  # type: ignore[attr-defined]
    entities.Metric = lambda *values: values  # type: ignore[attr-defined]
    for name, module in {**made, "mlflow.entities": entities}.items():
        monkeypatch.setitem(sys.modules, name, module)
    return made


def test_every_name_has_its_file() -> None:
    for name in LOGGERS:
        assert callable(importlib.import_module(f"nearfar.training.loggers.{name}").open_run)


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_run_goes_to_a_project_under_its_own_name(packages: dict[str, Fake], tmp_path: Path, name: str) -> None:
    with loggers.opened() as log:
        log.open([name], tmp_path / "my-run", SETTINGS, 0)
        log.write({"step": 3, "loss": 1.5, "note": "text", "flag": True, "epoch": 1})
    (_, init), (_, logged), (last, _) = packages[name].calls
    assert {"project": "nearfar", "name": "my-run", "config": SETTINGS}.items() <= init.items()
    assert logged == {"0": {"loss": 1.5, "epoch": 1.0}, "step": 3}
    assert last == "finish"


def test_mlflow_gets_settings_once_and_names_that_it_takes(packages: dict[str, Fake], tmp_path: Path) -> None:
    with loggers.opened() as log:
        log.open(["mlflow"], tmp_path / "my-run", {"data": "x" * 900}, 0)
        log.write({"step": 3, "retrieve/precision@1": 0.5})
    calls = packages["mlflow"].calls
    assert [name for name, _ in calls] == ["get", "create_experiment", "create_run", "log_batch", "log_batch", "finish"]
    assert calls[2][1] == {"0": "7", "run_name": "my-run"}
    assert calls[3][1]["params"] == [("data", "x" * 500)]
    ((name, value, _, step),) = calls[4][1]["metrics"]
    assert (name, value, step) == ("retrieve/precision_1", 0.5, 3)


def test_tensorboard_files_hold_the_figures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for start, steps in ((0, (1, 2, 3)), (2, (3, 4))):  # the second goes on after step 2
        with loggers.opened() as log:
            log.open(["tensorboard"], tmp_path, SETTINGS, start)
            for step in steps:
                log.write({"step": step, "loss": step + start / 10})
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert [(event.step, round(event.value, 3)) for event in found.Scalars("loss")] == [
        (1, 1),
        (2, 2),
        (3, 3.2),
        (4, 4.2),
    ]
    assert b"| lr | 0.1 |" in found.Tensors("settings/text_summary")[0].tensor_proto.string_val[0]


class Broken:
    def __init__(self, *, at: str) -> None:
        self.at = at

    def open_run(self, *_: Any) -> "Broken":
        if self.at == "open":
            raise OSError("no\nnetwork")
        return self

    def write(self, *_: Any) -> None:
        if self.at == "write":
            raise RuntimeError("gone")

    def close(self) -> None:
        raise ValueError("still gone")


@pytest.mark.parametrize(("at", "said"), [("open", "OSError: no network"), ("write", "gone"), ("close", "still gone")])
def test_a_logger_that_fails_is_dropped_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, at: str, said: str
) -> None:
    monkeypatch.setitem(sys.modules, "nearfar.training.loggers.wandb", Broken(at=at))  # type: ignore[arg-type]
    log = Loggers()
    log.open(["wandb"], tmp_path, {}, 0)
    for step in range(3):
        log.write({"step": step, "loss": 1.0})
    log.close()
    assert [record.message for record in caplog.records] == [caplog.records[0].message]
    assert caplog.records[0].message.startswith("--log wandb failed and gets no more: ")
    assert said in caplog.records[0].message


def test_a_missing_package_and_a_wrong_name_are_refused_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    for names, error, match in (
        ("tensorboard", MissingExtra, r"--log tensorboard needs .*pip install 'nearfar\[log\]'"),
        ("wandb", ConfigError, "needs the package 'wandb': pip install wandb"),
        ("tensorbord", ConfigError, "No logger is named 'tensorbord'. Did you mean 'tensorboard'?"),
    ):
        with pytest.raises(error, match=match):
            nf.train("digits", out=tmp_path / "run", log=names, steps=1)
        assert not (tmp_path / "run").exists()


def test_a_run_hands_on_its_records_and_its_evaluation(packages: dict[str, Fake], tiny: Any, tmp_path: Path) -> None:
    rows = [f"{i % 7},{i % 2 + i / 99},{'xy'[i % 2]}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,label", *rows]))
    run = tiny(tmp_path / "t.csv", encoder="mlp", width=None, log="wandb,trackio")
    records = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    for name in ("wandb", "trackio"):
        logged = [call for what, call in packages[name].calls if what == "log"]
        assert [call["step"] for call in logged] == [record["step"] for record in records] + [records[-1]["step"]]
        assert logged[0]["0"]["loss"] == records[0]["loss"]
        wanted = run.evaluation.find("accuracy", probe="linear", labels_per_class="all").value.mean
        assert logged[-1]["0"]["classify/accuracy linear, all labels"] == wanted
    assert packages["wandb"].calls[0][1]["config"]["log"] == "wandb,trackio"
