"""Nothing is lost: a run that was stopped anywhere ends with the same bits as one that never was."""

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nearfar as nf
from nearfar.api import finish
from nearfar.api.run import Run
from nearfar.errors import ConfigError, RunError
from nearfar.training import checkpoint, health
from nearfar.training.run_folder import RunFolder, read_config

Tiny = Callable[..., Run]
Photos = Callable[..., Path]
StopAt = Callable[..., None]
SameEnd = Callable[[Path, Path], None]
Resumes = Callable[..., Path]

FORMAT_1 = Path(__file__).parents[1] / "data_format_1"
TABLE: dict[str, Any] = {"encoder": None, "width": None}


def last(run: Path) -> checkpoint.Saved:
    found = checkpoint.latest(run / "checkpoint")
    assert found is not None
    return found


def records(run: Path) -> list[dict[str, Any]]:
    return RunFolder(run).metrics()


@pytest.mark.parametrize(
    ("kind", "optimizer", "step"),
    [("photos", "sgd", 5), ("table", "adamw", 5), ("photos", "adamw", 1)],
)
def test_a_killed_run_ends_as_if_it_never_was(
    resumes: Resumes, photos: Photos, table: Path, kind: str, optimizer: str, step: int
) -> None:
    data, more = (photos(), {}) if kind == "photos" else (table, TABLE)
    resumes(data, at=step, steps=8, optimizer=optimizer, knn_every=0.3, **more)


@pytest.mark.usefixtures("unjudged")
def test_ctrl_c_saves_says_how_to_go_on_and_loses_nothing(
    tiny: Tiny, photos: Photos, tmp_path: Path, stop_at: StopAt, same_end: SameEnd
) -> None:
    data = photos()
    whole = tiny(data, out=tmp_path / "whole")
    stop_at(3)
    with pytest.raises(KeyboardInterrupt) as stop:
        tiny(data, out=tmp_path / "my run")
    assert str(stop.value) == (
        f"Stopped at step 4; all is saved. Go on with: nearfar train --resume --out '{tmp_path / 'my run'}'"
    )
    assert last(tmp_path / "my run").state["step"] == 4
    nf.load(tmp_path / "my run")
    nf.train(out=tmp_path / "my run", resume=True)
    same_end(whole.path, tmp_path / "my run")


@pytest.mark.usefixtures("unjudged")
def test_many_steps_between_two_records_make_the_same_records(
    tiny: Tiny, table: Path, tmp_path: Path, stop_at: StopAt
) -> None:
    options = TABLE | {"steps": 125, "batch_size": 4, "hidden": 4, "projector_hidden": 4}
    whole = tiny(table, out=tmp_path / "whole", **options)
    stop_at(64)  # right after a record
    with pytest.raises(KeyboardInterrupt):
        tiny(table, out=tmp_path / "cut", **options)
    nf.train(out=tmp_path / "cut", resume=True)
    steps = [[record["step"] for record in records(run)] for run in (whole.path, tmp_path / "cut")]
    assert steps[0] == steps[1]
    assert len(steps[0]) < 105


def test_a_run_killed_before_its_first_checkpoint_starts_again_from_its_pretrained_weights(
    resumes: Resumes, finished: tuple[Path, Run]
) -> None:
    data, before = finished
    resumes(data, at=3, steps=6, checkpoint_every=60.0, init=before.path, seed=5)


@pytest.mark.usefixtures("unjudged")
def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(
    tiny: Tiny, photos: Photos, tmp_path: Path, stop_at: StopAt, same_end: SameEnd
) -> None:
    data = photos()
    whole = tiny(data, out=tmp_path / "whole", checkpoint_every=1e-9)
    stop_at(4)
    with pytest.raises(KeyboardInterrupt):
        tiny(data, out=tmp_path / "cut", checkpoint_every=1e-9)
    newest = max((tmp_path / "cut" / "checkpoint").iterdir()) / "weights.safetensors"
    newest.write_bytes(newest.read_bytes()[:100])
    nf.train(out=tmp_path / "cut", resume=True)
    same_end(whole.path, tmp_path / "cut")


def test_kill_9_at_any_moment_loses_nothing(tiny: Tiny, photos: Photos, tmp_path: Path, same_end: SameEnd) -> None:
    """A run that takes its batches in pieces, at a moment of chance; `benchmarks/kills.py` does it many times."""
    data, out = photos(), tmp_path / "killed"
    words = "--encoder small_cnn --width 8 --batch-size 16 --steps 60 --precision fp32 --threads 1 --knn-every 0"
    command = [sys.executable, "-m", "nearfar", "train", str(data), "--out", str(out), *words.split()]
    command += ["--micro-batch", "6", "--checkpoint-every", "0.001"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not list(out.glob("checkpoint/step-*")):
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
    resumed = nf.train(out=out, resume=True)
    whole = tiny(data, out=tmp_path / "whole", steps=60, micro_batch=6)
    same_end(whole.path, out)
    assert str(resumed.verdict) == str(whole.verdict)
    assert not list(out.rglob(".*.draft"))


def test_ctrl_c_after_the_last_step_says_how_to_get_the_rest(
    tiny: Tiny, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(finish, "write_page", stopped)
        with pytest.raises(KeyboardInterrupt, match=r"after the last step; the encoder is saved.*--resume --out"):
            tiny(photos(classes=0))
    run = nf.train(out=tmp_path / "run", resume=True)
    assert run.report.is_file()


@pytest.mark.usefixtures("unjudged")
def test_a_resumed_run_keeps_its_alarms(
    tiny: Tiny, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: StopAt, caplog: Any
) -> None:
    monkeypatch.setattr(health, "figures", lambda *_, **__: {"effective_rank": 1.0})
    stop_at(3)
    with pytest.raises(KeyboardInterrupt):
        tiny(photos())
    nf.train(out=tmp_path / "run", resume=True)
    assert [alarm["name"] for alarm in last(tmp_path / "run").state["alarms"]].count("collapse") == 1
    assert sum("has collapsed" in message for message in caplog.messages) == 1


# More time.


@pytest.mark.usefixtures("unjudged")
def test_a_run_is_given_more_steps_and_ends_where_its_new_length_says(tiny: Tiny, photos: Photos, caplog: Any) -> None:
    caplog.set_level("INFO", "nearfar")
    run = tiny(photos(), steps=4, lr=0.1).path
    nf.train(out=run, resume=True)
    assert "the run has reached its length, --steps 4, and is judged again; give a longer one" in caplog.text
    nf.train(out=run, resume=True, steps=8)
    assert [record["step"] for record in records(run)] == list(range(1, 9))
    assert read_config(run / "config.toml")["length"] == {"steps": 8}
    assert "batch_size" not in read_config(run / "config.toml")["chosen"]
    assert "warmup" in read_config(run / "config.toml")["chosen"]
    rates = [record["lr"] for record in records(run)]
    assert rates[4] == pytest.approx(0.1 * 0.5, rel=0.2)  # half way of a run of eight steps
    assert [record["progress"] for record in records(run)][4:] == [0.5, 0.625, 0.75, 0.875]
    nf.train(out=run, resume=True, epochs=5)  # of two steps
    assert last(run).state["step"] == 10


@pytest.mark.usefixtures("unjudged")
def test_a_length_that_is_spent_already_is_refused_and_changes_nothing(tiny: Tiny, photos: Photos) -> None:
    run = tiny(photos(), steps=4).path
    with pytest.raises(ConfigError, match=r"has 4 steps and .* behind it, this start included, and --budget"):
        nf.train(out=run, resume=True, steps=3)
    assert read_config(run / "config.toml")["length"] == {"steps": 4}


@pytest.mark.usefixtures("unjudged")
def test_a_budget_counts_what_was_spent(tiny: Tiny, photos: Photos, tmp_path: Path, stop_at: StopAt) -> None:
    stop_at(3)
    with pytest.raises(KeyboardInterrupt):
        tiny(photos(), steps=None, budget="60s")
    spent = last(tmp_path / "run").state["elapsed"]
    run = nf.train(out=tmp_path / "run", resume=True, budget=f"{spent + 1.5:.3f}s")
    later = [record for record in records(run.path) if record["step"] > 4]
    assert spent < run.seconds < spent + 10
    share = round(spent / (spent + 1.5), 2)  # of the budget, gone before
    assert all(record["seconds"] > spent and record["progress"] > share - 0.02 for record in later)


# What may be told a resumed run.


def test_there_must_be_a_run_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run to go on with"):
        nf.train(out=tmp_path / "none", resume=True)
    with pytest.raises(ConfigError, match="name that folder"):
        nf.train(resume=True)


@pytest.mark.usefixtures("unjudged")
def test_a_resumed_run_keeps_its_settings(tiny: Tiny, photos: Photos, tmp_path: Path, caplog: Any) -> None:
    data = photos()
    run = tiny(data, steps=2, lr=0.01)
    for told, message in (
        ({"lr": 0.5, "seed": 3, "steps": 2}, r"these differ: lr, seed\. Leave them out"),
        ({"data": tmp_path}, "these differ: data"),
        ({"config": run.path / "config.toml"}, "these differ: config"),
    ):
        with pytest.raises(ConfigError, match=message):
            nf.train(out=run.path, resume=True, **told)
    assert tiny(data, out=run.path, steps=2, resume=True, lr=0.01).path == run.path
    with RunFolder(run.path).locked(), pytest.raises(RunError, match="Another process"):
        nf.train(out=run.path, resume=True)
    next(data.rglob("*.png")).unlink()
    nf.train(out=run.path, resume=True)
    assert "no longer what the run began with (39 samples now)" in caplog.text
    config = run.path / "config.toml"
    config.write_text(config.read_text().replace("lr = 0.01", "lr = 0.02"))
    with pytest.raises(RunError, match=r"was changed since the last checkpoint: lr\."):
        nf.train(out=run.path, resume=True)


@pytest.mark.parametrize("kind", ["digits", "table"])
def test_a_run_of_format_1_goes_on(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(FORMAT_1 / kind, tmp_path / kind)
    shutil.copy(FORMAT_1 / "plants.csv", tmp_path)
    monkeypatch.chdir(tmp_path)
    run = nf.train(out=kind, resume=True, steps=8, evaluate=kind == "table")
    assert last(tmp_path / kind).state["step"] == 8
    assert [record["step"] for record in records(tmp_path / kind)] == list(range(1, 9))
    assert (run.evaluation is not None) == run.report.is_file() == (kind == "table")
