"""Nothing is lost: a run that was stopped anywhere ends with the same bits as one that never was."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nearfar as nf
from nearfar.api.run import Run
from nearfar.errors import ConfigError, RunError
from nearfar.training import checkpoint
from nearfar.training.run_folder import RunFolder

Tiny = Callable[..., Run]
Photos = Callable[..., Path]
StopAt = Callable[..., None]
SameEnd = Callable[[Path, Path], None]


class Killed(BaseException):
    """The process is gone: nothing is saved any more."""


def die() -> None:
    raise Killed


def last(run: Path) -> checkpoint.Saved:
    found = checkpoint.latest(run / "checkpoint")
    assert found is not None
    return found


def records(run: Path) -> list[dict[str, Any]]:
    return RunFolder(run).metrics()


DATA: dict[str, dict[str, Any]] = {"photos": {}, "table": {"encoder": None, "width": None}}


@pytest.mark.usefixtures("unjudged")
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("kind", sorted(DATA))
@pytest.mark.parametrize("stop", ["ctrl-c", "killed"])
def test_a_stopped_run_ends_as_if_it_never_was(
    tiny: Tiny,
    photos: Photos,
    table: Path,
    tmp_path: Path,
    stop_at: StopAt,
    same_end: SameEnd,
    kind: str,
    optimizer: str,
    stop: str,
) -> None:
    data = photos() if kind == "photos" else table
    options = DATA[kind] | {"steps": 12, "optimizer": optimizer, "checkpoint_every": 1e-9, "knn_every": 0.3}
    whole = tiny(data, out=tmp_path / "whole", **options)
    stop_at(5, die) if stop == "killed" else stop_at(5)
    with pytest.raises(KeyboardInterrupt if stop == "ctrl-c" else Killed):
        tiny(data, out=tmp_path / "cut", **options)
    assert last(tmp_path / "cut").state["step"] < 12
    nf.train(out=tmp_path / "cut", resume=True)
    assert last(tmp_path / "cut").state["step"] == 12
    same_end(whole.path, tmp_path / "cut")


@pytest.mark.usefixtures("unjudged")
def test_many_steps_between_two_records_make_the_same_records(
    tiny: Tiny, table: Path, tmp_path: Path, stop_at: StopAt
) -> None:
    options = {"encoder": None, "width": None, "steps": 230, "batch_size": 4, "hidden": 4, "projector_hidden": 4}
    whole = tiny(table, out=tmp_path / "whole", **options)
    stop_at(102)  # right after a record
    with pytest.raises(KeyboardInterrupt):
        tiny(table, out=tmp_path / "cut", **options)
    nf.train(out=tmp_path / "cut", resume=True)
    steps = [[record["step"] for record in records(run)] for run in (whole.path, tmp_path / "cut")]
    assert steps[0] == steps[1]
    assert len(steps[0]) < 120


@pytest.mark.usefixtures("unjudged")
def test_a_run_killed_before_its_first_checkpoint_starts_again(
    tiny: Tiny, photos: Photos, tmp_path: Path, stop_at: StopAt, same_end: SameEnd
) -> None:
    data = photos()
    whole = tiny(data, out=tmp_path / "whole")
    stop_at(3, die)
    with pytest.raises(Killed):
        tiny(data, out=tmp_path / "cut")
    assert len(records(tmp_path / "cut")) == 3
    nf.train(out=tmp_path / "cut", resume=True)
    same_end(whole.path, tmp_path / "cut")


@pytest.mark.usefixtures("unjudged")
def test_a_run_killed_before_its_first_checkpoint_keeps_its_pretrained_start(
    tiny: Tiny, photos: Photos, tmp_path: Path, stop_at: StopAt, same_end: SameEnd
) -> None:
    data = photos()
    before = tiny(data, out=tmp_path / "before", seed=5).path
    whole = tiny(data, out=tmp_path / "whole", init=before)
    stop_at(3, die)
    with pytest.raises(Killed):
        tiny(data, out=tmp_path / "cut", init=before)
    nf.train(out=tmp_path / "cut", resume=True)
    same_end(whole.path, tmp_path / "cut")


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


@pytest.mark.usefixtures("unjudged")
def test_a_budget_counts_what_was_spent(tiny: Tiny, photos: Photos, tmp_path: Path, stop_at: StopAt) -> None:
    stop_at(3)
    with pytest.raises(KeyboardInterrupt):
        tiny(photos(), steps=None, budget="2s")
    spent = last(tmp_path / "run").state["elapsed"]
    run = nf.train(out=tmp_path / "run", resume=True)
    later = [record for record in records(run.path) if record["step"] > 4]
    assert run.seconds > spent
    assert all(record["seconds"] > spent and record["progress"] > spent / 2 for record in later)


def test_kill_9_at_any_moment_loses_nothing(tiny: Tiny, photos: Photos, tmp_path: Path, same_end: SameEnd) -> None:
    """Three times in one run, which takes its batches in pieces, each time at a moment of chance."""
    data, out = photos(), tmp_path / "killed"
    words = "--encoder small_cnn --width 8 --batch-size 16 --steps 150 --precision fp32 --threads 1 --knn-every 0"
    command = [sys.executable, "-m", "nearfar", "train", str(data), "--out", str(out), *words.split()]
    command += ["--micro-batch", "6", "--checkpoint-every", "0.001"]
    reached = -1
    for again in ([], ["--resume"], ["--resume"]):
        with subprocess.Popen([*command, *again], stderr=subprocess.PIPE) as process:
            while process.poll() is None and newest(out) <= reached:
                time.sleep(0.01)
            time.sleep(random.uniform(0, 0.1))
            process.send_signal(signal.SIGKILL)
        reached = last(out).state["step"]
    assert reached <= 150
    resumed = nf.train(out=out, resume=True)
    whole = tiny(data, out=tmp_path / "whole", steps=150, micro_batch=6)
    same_end(whole.path, out)
    assert resumed.verdict == whole.verdict
    assert not list(out.rglob(".*.draft"))


def newest(run: Path) -> int:
    """The step of the newest checkpoint, -1 where there is none."""
    return max((int(path.name[5:]) for path in (run / "checkpoint").glob("step-*")), default=-1)


@pytest.mark.usefixtures("unjudged")
def test_ctrl_c_saves_and_says_how_to_go_on(tiny: Tiny, photos: Photos, tmp_path: Path, stop_at: StopAt) -> None:
    stop_at(3)
    with pytest.raises(KeyboardInterrupt) as stop:
        tiny(photos(), out=tmp_path / "my run")
    assert str(stop.value) == (
        f"Stopped at step 4; all is saved. Go on with: nearfar train --resume --out '{tmp_path / 'my run'}'"
    )
    assert last(tmp_path / "my run").state["step"] == 4
    nf.load(tmp_path / "my run")


def test_ctrl_c_after_the_last_step_says_how_to_get_the_rest(
    tiny: Tiny, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nearfar.api import finish

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
    tiny: Tiny,
    photos: Photos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop_at: StopAt,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from nearfar.training import health

    monkeypatch.setattr(health, "figures", lambda z, batch: {"effective_rank": 1.0})
    stop_at(3)
    with pytest.raises(KeyboardInterrupt):
        tiny(photos())
    nf.train(out=tmp_path / "run", resume=True)
    assert [alarm["name"] for alarm in last(tmp_path / "run").state["alarms"]].count("collapse") == 1
    assert sum("has collapsed" in message for message in caplog.messages) == 1


@pytest.mark.usefixtures("unjudged")
def test_changed_data_is_noticed(
    tiny: Tiny, photos: Photos, tmp_path: Path, stop_at: StopAt, caplog: pytest.LogCaptureFixture
) -> None:
    data = photos()
    stop_at(3)
    with pytest.raises(KeyboardInterrupt):
        tiny(data)
    next(data.rglob("*.png")).unlink()
    nf.train(out=tmp_path / "run", resume=True)
    assert "no longer what the run began with (39 samples now)" in caplog.text


def test_there_must_be_a_run_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run to go on with"):
        nf.train(out=tmp_path / "none", resume=True)
    with pytest.raises(ConfigError, match="name that folder"):
        nf.train(resume=True)


@pytest.mark.usefixtures("unjudged")
def test_a_resumed_run_keeps_its_settings(tiny: Tiny, photos: Photos, tmp_path: Path) -> None:
    data = photos()
    run = tiny(data, steps=2)
    with pytest.raises(ConfigError, match=r"these differ: lr, seed\. Leave them out"):
        nf.train(out=run.path, resume=True, lr=0.5, seed=3, steps=2)
    with pytest.raises(ConfigError, match="these differ: data"):
        nf.train(tmp_path, out=run.path, resume=True)
    with pytest.raises(ConfigError, match="these differ: config"):
        nf.train(out=run.path, resume=True, config=run.path / "config.toml")


@pytest.mark.usefixtures("unjudged")
def test_a_resumed_run_may_be_told_its_settings_again(tiny: Tiny, photos: Photos) -> None:
    data = photos()
    run = tiny(data, steps=2)
    assert tiny(data, out=run.path, steps=2, resume=True).path == run.path


@pytest.mark.usefixtures("unjudged")
def test_one_process_at_a_time_goes_on(tiny: Tiny, photos: Photos) -> None:
    run = tiny(photos(), steps=2)
    with RunFolder(run.path).locked(), pytest.raises(RunError, match="Another process"):
        nf.train(out=run.path, resume=True)


@pytest.mark.usefixtures("unjudged")
def test_a_run_whose_settings_were_edited_says_which(tiny: Tiny, photos: Photos, tmp_path: Path) -> None:
    run = tiny(photos(), steps=3, lr=0.01).path
    config = run / "config.toml"
    config.write_text(config.read_text().replace("lr = 0.01", "lr = 0.02"))
    with pytest.raises(RunError, match=r"was changed since the last checkpoint: lr\."):
        nf.train(out=run, resume=True)
