"""Odd data is normal data: broken files, equal pictures, few pictures, hostile names, memory that is short."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import nearfar as nf
from nearfar.api.run import Run
from nearfar.api.train import train
from nearfar.errors import DataError, TrainingError
from nearfar.training import checkpoint
from nearfar.training.run_folder import RunFolder
from tests.altering import untouched

Tiny = Callable[..., Run]
Photos = Callable[..., Path]


def break_some(data: Path) -> set[str]:
    """A jpeg cut short, a file of no bytes and a text with a jpeg's name: their keys."""
    place = data / "class 0"
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(place / "cut.jpg")
    whole = (place / "cut.jpg").read_bytes()
    (place / "cut.jpg").write_bytes(whole[: len(whole) // 3])
    (place / "empty.png").write_bytes(b"")
    (place / "text.jpg").write_text("no picture at all\n" * 50)
    return {f"class 0/{name}" for name in ("cut.jpg", "empty.png", "text.jpg")}


def skipped(folder: Path) -> list[str]:
    with (folder / "skipped.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert all(row["reason"] for row in rows)
    return [row["key"] for row in rows]


def test_broken_files_of_both_parts_are_listed_once_and_the_run_ends(
    tiny: Tiny, photos: Photos, tmp_path: Path
) -> None:
    broken = break_some(photos("data/train", count=40))
    photos("data/test", count=16, seed=3)
    (tmp_path / "data" / "test" / "class 0" / "gone.png").write_bytes(b"")
    run = tiny(tmp_path / "data")
    listed = skipped(run.path)
    assert len(listed) == len(broken) + 1
    assert all(any(key.endswith(name) for key in listed) for name in {*broken, "class 0/gone.png"})
    assert run.evaluation is not None
    assert run.evaluation.test == 16
    kept = nf.Embeddings.load(run.path / "embeddings.parquet")
    assert len(kept) == 40
    assert not broken & set(kept.keys)
    page = run.report.read_text(encoding="utf-8")
    assert all(key.split("/")[1] in page for key in broken)


def test_nothing_skipped_is_no_list(finished: tuple[Path, Run]) -> None:
    assert not (finished[1].path / "skipped.csv").exists()


def test_mostly_unreadable_data_stops_before_training(tiny: Tiny, photos: Photos, tmp_path: Path) -> None:
    data = photos(count=10)
    for i in range(15):
        (data / "class 0" / f"bad{i}.jpg").write_text("no picture")
    with pytest.raises(DataError, match=r"15 of 25 samples .* cannot be read"):
        tiny(data)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("unjudged")
def test_a_piece_of_one_sample_is_none_where_norms_need_two(tiny: Tiny, photos: Photos) -> None:
    run = tiny(photos(), method="byol", batch_size=3, micro_batch=2, steps=2)
    assert [record["step"] for record in RunFolder(run.path).metrics()] == [1, 2]


@pytest.mark.parametrize(("count", "classes"), [(2, 0), (3, 2), (20, 4)])
def test_few_pictures_are_enough(tiny: Tiny, photos: Photos, count: int, classes: int) -> None:
    run = tiny(photos(count=count, classes=classes), batch_size=None)
    assert run.report.is_file()
    assert f"batch_size = {count}" in (run.path / "config.toml").read_text()
    assert len(nf.Embeddings.load(run.path / "embeddings.parquet")) == count


def test_equal_pictures_are_survived(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "same").mkdir()
    for i in range(24):
        Image.new("RGB", (16, 16), (200, 30, 90)).save(tmp_path / "same" / f"{i}.png")
    run = tiny(tmp_path / "same")
    losses = [record["loss"] for record in RunFolder(run.path).metrics()]
    assert np.isfinite(losses).all()
    assert run.report.is_file()


HOSTILE = [
    "<script>alert('x')<script>.png",
    'quote".png',
    "it's.png",
    "two\nlines.png",
    "日本 ä é.png",
    "&amp;.png",
    "=cmd|' !A1.png",
    "not-\udcff-utf8.png",
]


def test_hostile_names_survive_to_the_report(tiny: Tiny, photos: Photos, tmp_path: Path) -> None:
    data = photos(count=16, classes=2)
    (data / "<b>bold").mkdir()
    for name, source in zip(HOSTILE, sorted(data.rglob("*.png")), strict=False):
        try:
            shutil.copy(source, data / "<b>bold" / name)
        except OSError:
            pytest.skip("this file system does not take such names")
    run = tiny(data)
    page = run.report.read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<b>bold" not in page
    assert json.dumps("日本 ä é.png")[1:-1] in page
    kept = nf.Embeddings.load(run.path / "embeddings.parquet")
    assert len(kept) == 16 + len(HOSTILE)
    assert kept.labels is not None
    assert kept.labels.count("<b>bold") == len(HOSTILE)


NO_PICTURES = {
    "../../../../../../../../../../etc/passwd": "not an image",
    "/etc/passwd": "not an image",
    "/dev/zero": "not a plain file",
    "..": "a folder, not a file",
    "https://example.org/a.png": "a web address: download it first",
    "x" * 5000 + ".png": "name too long",
    "nobody.png": "no such file",
    "$(touch ran).png": "no such file",
}


def test_rows_that_name_no_picture_are_listed_and_nothing_is_written_elsewhere(
    tiny: Tiny, photos: Photos, tmp_path: Path
) -> None:
    place = tmp_path / "around" / "data"
    names = [path.relative_to(place) for path in sorted(photos("around/data").rglob("*.png"))]
    (place / "rows.csv").write_text("\n".join(["path", *map(str, names), *NO_PICTURES]))
    with untouched(tmp_path / "around"):
        run = tiny(place / "rows.csv")
    with (run.path / "skipped.csv").open(newline="", encoding="utf-8") as file:
        told = {row["key"].lstrip("'"): row["reason"] for row in csv.DictReader(file)}
    assert told == NO_PICTURES
    assert {path.name for path in tmp_path.iterdir()} == {"around", "run"}


ODD_LABELS = [r"\ud800", r"a\u0000b", "<script>alert('x')</script>", "x" * 50_000, r"\ud83d\ude00", "é"]


def test_odd_labels_survive_to_the_report(tiny: Tiny, photos: Photos, tmp_path: Path) -> None:
    names = [path.relative_to(tmp_path) for path in sorted(photos().rglob("*.png"))]
    labels = [ODD_LABELS[i % len(ODD_LABELS)] for i in range(len(names))]
    rows = [f'{{"image": "{name}", "label": "{label}"}}' for name, label in zip(names, labels, strict=True)]
    (tmp_path / "odd.jsonl").write_text("\n".join(rows))
    run = tiny(tmp_path / "odd.jsonl")
    assert "<script>alert" not in run.report.read_text(encoding="utf-8")
    kept = nf.Embeddings.load(run.path / "embeddings.parquet")
    assert set(kept.labels or ()) == {r"\ud800", "a\0b", *ODD_LABELS[2:4], "\U0001f600", "é"}
    assert json.loads((run.path / "evaluation.json").read_text(encoding="utf-8"))


def test_a_run_folder_with_a_hostile_name_is_fine(tiny: Tiny, photos: Photos, tmp_path: Path) -> None:
    run = tiny(photos(classes=0), out=tmp_path / "<i>ü' \"run")
    assert "<i>ü" not in run.report.read_text(encoding="utf-8")
    assert nf.load(run.path).dim == run.encoder.dim


@pytest.mark.usefixtures("no_memory")
def test_without_memory_the_vectors_are_the_same(finished: tuple[Path, Run]) -> None:
    data, run = finished
    kept = nf.Embeddings.load(run.path / "embeddings.parquet")
    np.testing.assert_allclose(nf.embed(run.path, data).vectors, kept.vectors, atol=1e-5)


@pytest.mark.usefixtures("no_memory")
def test_without_memory_broken_files_are_left_out_as_they_are_met(
    tiny: Tiny, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nearfar.modalities.image import source

    monkeypatch.setattr(source, "_SCANNED", 2)  # not the files that turn out broken
    data = photos()
    broken = break_some(data)
    run = tiny(data, steps=8, cache="off")
    assert checkpoint.latest(run.path / "checkpoint").state["step"] == 8  # type: ignore[union-attr]
    assert sorted(skipped(run.path)) == sorted(broken)
    assert len(nf.Embeddings.load(run.path / "embeddings.parquet")) == 40


@pytest.mark.usefixtures("no_memory", "unjudged")
def test_a_batch_that_cannot_be_read_is_no_step(tiny: Tiny, photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    from nearfar.modalities.image.source import ImageSource

    data = photos()
    fetch = ImageSource.fetch
    calls = []

    def gone(self: ImageSource, rows: Any) -> Any:
        if len(rows) == 16:
            calls.append(0)
            rows = rows[:1] if len(calls) == 2 else rows
        return fetch(self, rows)

    monkeypatch.setattr(ImageSource, "fetch", gone)
    run = tiny(data, micro_batch=16)  # given: no batch is fetched to measure by
    assert [record["step"] for record in RunFolder(run.path).metrics()] == [1, 3, 4, 5, 6]


@pytest.mark.usefixtures("no_memory", "unjudged")
def test_data_that_vanishes_ends_the_run(tiny: Tiny, photos: Photos, stop_at: Any) -> None:
    data = photos()
    stop_at(2, lambda: shutil.rmtree(data))
    with pytest.raises(DataError, match=r"cannot be read|can still be read"):
        tiny(data, steps=40, cache="off")


@pytest.mark.usefixtures("unjudged")
def test_a_loss_that_is_not_finite_stops_with_advice(tiny: Tiny, photos: Photos, tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"(loss|weight) .* at step \d+\..*learning rate \(1e\+30\).*--lr three times"
    ):
        tiny(photos(), lr=1e30, warmup=0.0, steps=40)


@pytest.mark.usefixtures("unjudged")
@pytest.mark.parametrize(
    "options",
    [{}, {"precision": "bf16", "micro_batch": 6}],
    ids=["plain", "bf16 and micro-batches"],
)
def test_a_loss_that_is_not_finite_keeps_the_last_checkpoint(
    tiny: Tiny, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    from nearfar.contract import Losses
    from nearfar.methods.simclr import SimCLR

    loss = SimCLR.loss

    def burst(self: SimCLR, z: Any, batch: Any) -> Losses:
        found = loss(self, z, batch)
        return Losses(found.total * torch.nan) if batch.progress > 0.5 else found

    monkeypatch.setattr(SimCLR, "loss", burst)
    with pytest.raises(TrainingError, match=r"The loss is nan at step 4\. The last good state is in .*checkpoint"):
        tiny(photos(), checkpoint_every=1e-9, **options)
    saved = checkpoint.latest(tmp_path / "run" / "checkpoint")
    assert saved is not None
    assert saved.state["step"] == 4
    assert all(bool(value.isfinite().all()) for value in saved.weights.values() if value.is_floating_point())


@pytest.mark.usefixtures("unjudged")
def test_weights_that_are_not_finite_are_never_saved(
    tiny: Tiny, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nearfar.methods.simclr import SimCLR

    def spoil(self: SimCLR, z: Any, batch: Any) -> None:
        next(self.parameters()).data[0] = torch.inf

    monkeypatch.setattr(SimCLR, "after_step", spoil)
    with pytest.raises(TrainingError, match=r"A weight is no longer finite at step 1\. Nothing was saved before it"):
        tiny(photos(), checkpoint_every=1e-9)
    assert not (tmp_path / "run" / "checkpoint").exists()


@pytest.mark.usefixtures("unjudged")
def test_a_budget_too_short_for_a_step_is_said_and_can_be_given_longer(
    tiny: Tiny, photos: Photos, tmp_path: Path, caplog: Any
) -> None:
    import time

    caplog.set_level("INFO", "nearfar")
    said = r"budget of 2 s was spent before the first step.*longer --budget.*--resume --out"
    with pytest.raises(TrainingError, match=said):
        tiny(photos(), steps=None, budget="2s", started=time.monotonic() - 60)
    with pytest.raises(TrainingError, match=said):
        train(out=tmp_path / "run", resume=True, started=time.monotonic() - 60)
    assert "has reached its length" not in caplog.text
    assert nf.train(out=tmp_path / "run", resume=True, steps=2).path == tmp_path / "run"
