"""A disk that is full, at whichever file of a run, ends it in plain words; what was saved before is still there."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nearfar as nf
from nearfar.api.run import Run
from nearfar.errors import MachineError
from nearfar.training import checkpoint
from nearfar.training.run_folder import RunFolder
from tests.altering import files_of_at_most
from tests.api.conftest import photos_in

Tiny = Callable[..., Run]
SameEnd = Callable[[Path, Path], None]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos_in(tmp_path_factory.mktemp("full disk") / "photos")


def full(_source: Any, target: Any = "") -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_full_while_training_costs_nothing_that_was_saved(
    tiny: Tiny, data: Path, tmp_path: Path, same_end: SameEnd, unjudged: None
) -> None:
    options: dict[str, Any] = {"steps": 3, "checkpoint_every": 1e-9}
    whole = tiny(data, out=tmp_path / "whole", **options).path
    rename = Path.rename

    def full_at_the_second(source: Path, target: Path) -> Path:
        return full(source, target) or source if target.name == "step-000000002" else rename(source, target)

    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", full_at_the_second)
        with pytest.raises(MachineError, match=r"step-000000002' cannot be written: No space .*step-000000001 is kept"):
            tiny(data, out=run, **options)
    kept = checkpoint.latest(run / "checkpoint")
    assert kept is not None
    assert kept.state["step"] == 1
    nf.train(out=run, resume=True)
    same_end(run, whole)


def test_a_record_that_is_cut_short_is_left_out(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in (0, 1):
        folder.append_metrics({"step": step})
    line = len('{"step": 0}\n')
    cut = r"metrics\.jsonl' cannot be written: File too large\. .*--resume"
    with files_of_at_most(2 * line + 5), pytest.raises(MachineError, match=cut):
        folder.append_metrics({"step": 2})
    assert (tmp_path / "metrics.jsonl").stat().st_size == 2 * line + 5
    assert [record["step"] for record in folder.metrics()] == [0, 1]
    folder.rewind_metrics(0)
    folder.append_metrics({"step": 1})
    assert [record["step"] for record in folder.metrics()] == [0, 1]


def test_a_disk_full_after_the_last_step_costs_no_training(
    tiny: Tiny, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (broken := Path(shutil.copytree(data, tmp_path / "photos")) / "class 0" / "broken.png").write_bytes(b"")
    replace = Path.replace

    def move(source: Path, target: Path) -> Any:
        return full(source) if target.name == "evaluation.json" else replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", move)
        told = (
            r"evaluation\.json' cannot be written: No space left on device\. .*The encoder is saved; .*--resume --out"
        )
        with pytest.raises(MachineError, match=told):
            tiny(broken.parents[1], steps=2)
    assert not list((tmp_path / "run").rglob(".evaluation.json*"))  # no draft takes the room
    run = nf.train(out=tmp_path / "run", resume=True)
    assert run.report.is_file()
    late = ("model.safetensors", "config.json", "skipped.csv", "evaluation.json", "embeddings.parquet", "report.html")
    assert all(next(run.path.rglob(name)).stat().st_size for name in late)
