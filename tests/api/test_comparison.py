"""Runs compared by their folders alone: one page, what it says, and what is refused."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import nearfar as nf
from nearfar.api.run import Run
from nearfar.errors import ConfigError, OutputError, RunError

Finished = tuple[Path, Run]


@pytest.fixture
def other(finished: Finished, tmp_path: Path) -> Path:
    """A second run like the first, with another setting."""
    run = Path(shutil.copytree(finished[1].path, tmp_path / "other"))
    text = (run / "config.toml").read_text()
    (run / "config.toml").write_text(text.replace("seed = 0", "seed = 7"))
    return run


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearfar.api.prepare.prepare", lambda *_, **__: pytest.fail("the data is opened"))


def test_two_runs_make_one_page(finished: Finished, other: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    found = nf.report(finished[1].path, other)
    assert found.path == Path("comparison.html")
    text = found.path.read_text()
    assert '["seed",["0","7"]]' in text
    assert "on the same 8 test samples" in found.verdict
    assert found.verdict.startswith("It is not clear whether ")
    assert nf.report(finished[1].path, other).path.read_text() == text  # a page of ours is made anew


def test_neither_data_nor_encoder_nor_what_is_shown_is_needed(finished: Finished, other: Path, tmp_path: Path) -> None:
    for name in ("encoder", "checkpoint"):
        shutil.rmtree(other / name)
    for name in ("report.html", "embeddings.parquet", "page.json"):
        (other / name).unlink()
    assert nf.report(finished[1].path, other, out=tmp_path / "c.html").path.stat().st_size < 1_000_000


def test_without_figures_by_sample_it_is_said_to_be_less_sure(finished: Finished, other: Path, tmp_path: Path) -> None:
    (other / "per_sample.safetensors").unlink()
    verdict = nf.report(finished[1].path, other, out=tmp_path / "c.html").verdict
    assert "on different test samples, so less surely" in verdict
    assert "runs of earlier versions do not say which they were" in verdict


def test_the_page_of_one_run_goes_where_it_is_asked_to(finished: Finished, tmp_path: Path) -> None:
    assert nf.report(finished[1].path, out=tmp_path / "a.html").path.read_text() == finished[1].report.read_text()


def test_what_is_no_page_of_ours_is_never_replaced(finished: Finished, tmp_path: Path) -> None:
    (tmp_path / "thesis.html").write_text("years of work")
    with pytest.raises(OutputError, match="is there, and is no page of nearfar"):
        nf.report(finished[1].path, out=tmp_path / "thesis.html")
    assert (tmp_path / "thesis.html").read_text() == "years of work"


def test_mistakes_are_refused(finished: Finished, tmp_path: Path) -> None:
    run = finished[1].path
    with pytest.raises(ConfigError, match="named twice"):
        nf.report(run, run)
    with pytest.raises(ConfigError, match="must be a file"):
        nf.report(run, out=tmp_path)
    with pytest.raises(RunError, match="There is no run"):
        nf.report(run, tmp_path)


def test_runs_of_one_name_are_told_apart_by_their_folders(finished: Finished, tmp_path: Path) -> None:
    runs = [Path(shutil.copytree(finished[1].path, tmp_path / name / "run")) for name in ("a", "b")]
    assert "a/run" in nf.report(*runs, out=tmp_path / "c.html").verdict
