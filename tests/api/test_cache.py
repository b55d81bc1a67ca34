"""The cache changes how long a run takes, and nothing else."""

import logging
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import nearfar as nf
from nearfar.api.run import Run
from nearfar.data import kept
from nearfar.errors import ConfigError
from nearfar.modalities.image import source as opening
from nearfar.modalities.image import store
from nearfar.training import checkpoint
from nearfar.training.run_folder import RunFolder

Tiny = Callable[..., Run]
Photos = Callable[..., Path]


def break_some(data: Path, among: int) -> set[str]:
    """One file in `among` cut short, empty, or a text: their keys."""
    files = sorted(data.rglob("*.png"))[::among]
    for i, path in enumerate(files):
        content = path.read_bytes()
        path.write_bytes([content[: len(content) * 2 // 3], b"", b"no picture at all"][i % 3])
    return {path.relative_to(data).as_posix() for path in files}


def listed(run: Path) -> list[str]:
    return [line.split(",")[0] for line in (run / "skipped.csv").read_text().splitlines()[1:]]


def weights(run: Path) -> dict[str, torch.Tensor]:
    found = checkpoint.latest(run / "checkpoint")
    assert found is not None
    return found.weights


def assert_same(one: Path, other: Path) -> None:
    mine, theirs = weights(one), weights(other)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())
    losses = [[record["loss"] for record in RunFolder(run).metrics()] for run in (one, other)]
    assert losses[0] == losses[1]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows decoded so far."""
    made: list[int] = []
    real = store.Store._decoded

    def noted(self: Any, row: int, *how: Any) -> bool:
        made.append(row)
        return real(self, row, *how)

    monkeypatch.setattr(store.Store, "_decoded", noted)
    return made


@pytest.mark.usefixtures("unjudged")
def test_the_weights_are_the_same_with_and_without_a_cache(
    tiny: Tiny, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[int]
) -> None:
    """To the bit, broken files and equal pictures among them: in memory, with an empty cache, a full one and none."""
    monkeypatch.setattr(opening, "_SCANNED", 5)
    data = photos(count=60)
    break_some(data, 20)
    (data / "class 0" / "same.png").write_bytes((data / "class 1" / "05.png").read_bytes())
    options: dict[str, Any] = {"steps": 10, "health_every": 1}
    memory = tiny(data, out=tmp_path / "memory", **options)
    monkeypatch.setattr(kept, "available_memory", lambda: 0)
    counts = []
    for name, cache in (("empty", tmp_path / "cache"), ("full", tmp_path / "cache"), ("none", "off")):
        decoded.clear()
        run = tiny(data, out=tmp_path / name, cache=cache, **options)
        assert_same(run.path, memory.path)
        counts.append(len(decoded))
    assert counts[0] == 61  # each once
    assert counts[1] <= 3  # the broken ones
    assert counts[2] > 100


@pytest.mark.usefixtures("no_memory")
def test_broken_files_are_listed_once_in_every_run(
    tiny: Tiny, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: Any
) -> None:
    monkeypatch.setattr(opening, "_SCANNED", 20)
    data = photos(count=90, classes=0)
    broken = break_some(data, 30)
    options: dict[str, Any] = {"cache": tmp_path / "cache", "steps": None, "epochs": 1}
    for name in ("first", "second"):
        run = tiny(data, out=tmp_path / name, **options)
        assert sorted(listed(run.path)) == sorted(broken)
        assert len(nf.Embeddings.load(run.path / "embeddings.parquet")) == 87
    stop_at(3)
    with pytest.raises(KeyboardInterrupt):
        tiny(data, out=tmp_path / "third", checkpoint_every=1e-9, **options)
    nf.train(out=tmp_path / "third", resume=True)
    assert sorted(listed(tmp_path / "third")) == sorted(broken)
    assert_same(tmp_path / "third", tmp_path / "first")


@pytest.mark.usefixtures("no_memory")
def test_embed_and_evaluate_find_what_a_run_has_decoded(
    tiny: Tiny, photos: Photos, tmp_path: Path, decoded: list[int]
) -> None:
    data, cache = photos(), str(tmp_path / "cache")
    run = tiny(data, cache=cache)
    kept = nf.Embeddings.load(run.path / "embeddings.parquet").vectors
    decoded.clear()
    assert np.array_equal(nf.embed(run.path, data, cache=cache).vectors, kept)
    nf.evaluate(run.path, data, cache=cache)
    assert decoded == []
    nf.embed(run.path, data, cache=str(tmp_path / "other"))
    assert len(decoded) == 40
    assert not (tmp_path / "other").exists()


@pytest.mark.usefixtures("unjudged", "no_memory")
def test_a_run_says_where_it_keeps_what_and_how_much(
    tiny: Tiny, photos: Photos, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "nearfar")
    data = photos()
    for i in range(2):
        caplog.clear()
        tiny(data, out=tmp_path / f"run {i}", cache=tmp_path / "cache")
        (line,) = [text for text in caplog.messages if "lie decoded in" in text]
        assert line.startswith(f"photos-16px: {40 * i} of 40 samples lie decoded in {tmp_path / 'cache'}")


@pytest.mark.usefixtures("unjudged", "no_memory")
def test_a_cache_that_cannot_be_written_is_one_warning_and_no_end(
    tiny: Tiny, photos: Photos, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    data = photos()
    run = tiny(data, cache=tmp_path / "file")
    assert sum("cannot be kept" in text for text in caplog.messages) == 1
    assert_same(run.path, tiny(data, out=tmp_path / "off", cache="off").path)


@pytest.mark.usefixtures("unjudged", "no_memory")
def test_a_run_may_go_on_with_another_cache(tiny: Tiny, photos: Photos, tmp_path: Path) -> None:
    run = tiny(photos(), cache=tmp_path / "cache")
    nf.train(out=run.path, resume=True, cache=tmp_path / "other")
    assert (tmp_path / "other").is_dir()


def test_a_cache_without_a_name_is_refused(tiny: Tiny, photos: Photos) -> None:
    with pytest.raises(ConfigError, match="cache must be auto, off or a folder"):
        tiny(photos(), cache=" ")


@pytest.mark.usefixtures("unjudged")
def test_two_runs_at_once_and_one_killed_with_9_leave_a_cache_that_is_right(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for i in range(120):
        pixels = np.random.default_rng(i).integers(0, 256, (100, 130, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "data" / f"{i:03}.png")
    data, cache = tmp_path / "data", tmp_path / "cache"
    words = f"--out {tmp_path / 'killed'} --cache {cache} --encoder small_cnn --image-size 32 --steps 99 --threads 1"
    command = [sys.executable, "-m", "nearfar", "train", str(data), *words.split()]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as killed:
        while killed.poll() is None and not any(path.stat().st_size for path in cache.glob("*/records")):
            time.sleep(0.002)
        timer = threading.Timer(random.uniform(0, 0.3), killed.kill)
        timer.start()
        beside = tiny(data, out=tmp_path / "beside", cache=cache, image_size=32)
        timer.join()
    assert killed.returncode == -signal.SIGKILL
    after = tiny(data, out=tmp_path / "after", cache=cache, image_size=32)
    apart = tiny(data, out=tmp_path / "apart", cache="off", image_size=32)
    assert_same(after.path, apart.path)
    assert_same(beside.path, apart.path)
