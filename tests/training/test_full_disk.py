"""A disk that is full, at whichever write, ends a run in plain words; what was saved before is still there."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import nearfar as nf
from nearfar.api import finish
from nearfar.api.run import Run
from nearfar.errors import NearfarError, RunError
from nearfar.training import checkpoint
from nearfar.training.run_folder import RunFolder
from tests.altering import files_of_at_most
from tests.api.conftest import photos_in

Tiny = Callable[..., Run]
SameEnd = Callable[[Path, Path], None]

POINTS = {
    "fsync": (os, "fsync"),
    "open": (Path, "open"),
    "mkdir": (Path, "mkdir"),
    "rename": (Path, "rename"),
    "replace": (Path, "replace"),
}
"""Where a write meets the disk: the calls that say that it is full."""

LIMIT = 30_000  # bytes a file; the weights of a tiny run are more


class Disk:
    """Counts the calls of one kind that write, and fails from one of them on."""

    def __init__(self, patch: pytest.MonkeyPatch, point: str, full_from: int | None = None) -> None:
        self.calls = 0
        owner, name = POINTS[point]
        real = getattr(owner, name)

        def call(*args: Any, **more: Any) -> Any:
            mode = args[1] if len(args) > 1 else more.get("mode", "r")
            if point != "open" or (isinstance(mode, str) and mode[0] in "wa"):
                if full_from is not None and self.calls >= full_from:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                self.calls += 1
            return real(*args, **more)

        patch.setattr(owner, name, call)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos_in(tmp_path_factory.mktemp("full disk") / "photos")


@pytest.fixture
def whole(tiny: Tiny, data: Path, tmp_path: Path, unjudged: None) -> Path:
    """A run that nothing stopped."""
    return tiny(data, out=tmp_path / "whole", steps=3, checkpoint_every=1e-9).path


def checkpoints(run: Path) -> list[str]:
    return sorted(path.name for path in run.glob("checkpoint/step-*"))


@pytest.mark.parametrize("point", sorted(POINTS))
def test_a_disk_full_at_any_write_is_said_and_costs_nothing_that_was_saved(
    tiny: Tiny, data: Path, tmp_path: Path, whole: Path, same_end: SameEnd, point: str
) -> None:
    options: dict[str, Any] = {"steps": 3, "checkpoint_every": 1e-9}
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, point)
        tiny(data, out=tmp_path / "counted", **options)
    assert disk.calls
    for full_from in sorted({0, 1, disk.calls // 3, disk.calls // 2, disk.calls - 1}):
        run = tmp_path / f"full from {full_from}"
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, point, full_from)
            with pytest.raises(NearfarError, match=r"cannot be .*No space left on device"):
                tiny(data, out=run, **options)
        kept = checkpoint.latest(run / "checkpoint")
        assert (kept is None) == (not checkpoints(run))  # every one that is there is whole
        if (run / "config.toml").is_file():
            nf.train(out=run, resume=True)
            same_end(run, whole)
        shutil.rmtree(run, ignore_errors=True)


def test_the_message_says_which_checkpoint_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = {"w": torch.ones(3)}
    with monkeypatch.context() as patch:
        Disk(patch, "fsync", 0)
        with pytest.raises(RunError, match=r"step 1 cannot be written.*No space.*\. None was kept before it\.$"):
            checkpoint.save(tmp_path, 1, tensors, {}, {})
    checkpoint.save(tmp_path, 1, tensors, {}, {})
    with monkeypatch.context() as patch:
        Disk(patch, "fsync", 1)
        with pytest.raises(RunError, match=r"step 2.*No space.*\. step-000000001 is kept; make room.*--resume\.$"):
            checkpoint.save(tmp_path, 2, tensors, {}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]


def test_a_write_that_the_system_cuts_short_is_said(tiny: Tiny, data: Path, tmp_path: Path, whole: Path) -> None:
    with files_of_at_most(LIMIT), pytest.raises(RunError, match=r"step 1 cannot be written.*File too large"):
        tiny(data, checkpoint_every=1e-9)
    assert not checkpoints(tmp_path / "run")
    assert nf.train(out=tmp_path / "run", resume=True).path == tmp_path / "run"


def test_a_record_that_is_cut_short_is_left_out(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in (0, 1):
        folder.append_metrics({"step": step})
    line = len('{"step": 0}\n')
    with files_of_at_most(2 * line + 5), pytest.raises(RunError, match=r"metrics\.jsonl' cannot be written.*--resume"):
        folder.append_metrics({"step": 2})
    assert (tmp_path / "metrics.jsonl").stat().st_size == 2 * line + 5
    assert [record["step"] for record in folder.metrics()] == [0, 1]
    folder.rewind_metrics(0)
    folder.append_metrics({"step": 1})
    assert [record["step"] for record in folder.metrics()] == [0, 1]


LATE = ["model.safetensors", "config.json", "skipped.csv", "evaluation.json", "embeddings.parquet", "report.html"]
"""The files of the end, in the order in which they are written."""


def test_a_disk_full_after_the_last_step_costs_no_training(
    tiny: Tiny, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after another cannot take its place."""
    photos = Path(shutil.copytree(data, tmp_path / "photos"))
    (photos / "class 0" / "broken.png").write_bytes(b"")
    ending, replace = finish.finish, os.replace

    def without(name: str) -> Callable[..., Run]:
        def full(source: Any, target: Any) -> None:
            if Path(target).name == name:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            replace(source, target)

        def end(*ready: Any) -> Run:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(os, "replace", full)
                patch.setattr(Path, "replace", lambda self, target: full(self, target))
                return ending(*ready)

        return end

    for number, name in enumerate(LATE):
        monkeypatch.setattr(finish, "finish", without(name))
        told = rf"{name}' cannot be written: No space left on device\. The encoder is saved; .*--resume --out"
        with pytest.raises(NearfarError, match=told):
            tiny(photos, steps=2, resume=number > 0)
        assert not [path for path in (tmp_path / "run").rglob(f".{name}*")]  # no draft takes the room
    monkeypatch.undo()
    run = nf.train(out=tmp_path / "run", resume=True)
    assert run.report.is_file()
    assert all(next(run.path.rglob(name)).stat().st_size for name in LATE)
