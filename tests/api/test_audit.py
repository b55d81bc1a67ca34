"""An audit from files to lists, a page and a cleaned manifest."""

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import nearfar as nf
from nearfar.api.run import Run
from nearfar.cli import main
from nearfar.errors import ConfigError, UnknownName

Finished = tuple[Path, Run]


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def planted(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos in a train and a test part, with a copy in each, one across them, and a file that is none."""
    folder = tmp_path_factory.mktemp("planted")
    for i, file in enumerate(sorted(finished[0].glob("*/*.png"))):
        place = folder / ("test" if i % 4 == 0 else "train") / file.parent.name
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place / file.name)
    train, test = (sorted((folder / part).glob("*/*.png")) for part in ("train", "test"))
    shutil.copy(train[0], train[0].parent / "=again.png")
    shutil.copy(train[5], test[0].parent / "leak.png")
    (train[0].parent / "text.png").write_text("no picture")
    Image.new("RGB", (16, 16), (9, 9, 9)).save(test[1].parent / "black.png")
    return folder


def test_lists_a_page_and_a_manifest_are_written(finished: Finished, planted: Path, tmp_path: Path) -> None:
    found = nf.audit(
        finished[1].encoder, planted, out=tmp_path / "a", drop=["duplicates", "leaks", "unreadable", "defects"]
    )
    assert [one.name for one in found.rankings] == ["leaks", "duplicates", "outliers", "labels"]
    first = rows_of(tmp_path / "a" / "leaks.csv")[0]
    assert first["flagged"] == "True"
    assert first["other_key"].endswith("leak.png")
    first = rows_of(tmp_path / "a" / "duplicates.csv")[0]
    assert {first["key"][:6], first["other_key"][:6]} == {"train/"}
    assert "again.png" in first["key"] + first["other_key"]
    left = rows_of(tmp_path / "a" / "cleaned.csv")
    assert len(left) == found.samples - len(found["leaks"].samples) - len(found["duplicates"].samples) - 1
    assert {row["split"] for row in left} == {"train", "test"}
    assert all(Path(row["path"]).is_file() for row in left)
    gone = {row["key"]: row["reasons"] for row in rows_of(tmp_path / "a" / "dropped.csv")}
    assert gone["test/class 0/leak.png"] == "leaks"
    assert [why for key, why in gone.items() if key.endswith("black.png")] == ["defects"]
    assert any("text.png" in key and why == "unreadable" for key, why in gone.items())
    # What is left is data as any other.
    again = nf.audit(finished[1].encoder, tmp_path / "a" / "cleaned.csv", out=tmp_path / "b")
    assert again.samples == len(left)
    assert again["leaks"].flagged == 0
    page = (tmp_path / "a" / "audit.html").read_text(encoding="utf-8")
    assert "leak.png" in page


def test_rows_of_a_table_are_left_out_of_a_copy_of_it(finished_table: Finished, tmp_path: Path) -> None:
    lines = finished_table[0].read_text().splitlines()
    table = tmp_path / "t.csv"
    table.write_text("\n".join([*lines, lines[3]]))
    found = nf.audit(finished_table[1].encoder, table, out=tmp_path / "a", drop=["duplicates"])
    assert found.dropped == 1
    left = (tmp_path / "a" / "cleaned.csv").read_text().splitlines()
    assert left == lines


def test_data_without_labels_is_said_to_lack_them(finished: Finished, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    for i in range(12):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(
            folder / f"{i}.png"
        )
    found = nf.audit(finished[1].encoder, folder, out=tmp_path / "a")
    assert [one.name for one in found.rankings] == ["duplicates", "outliers"]
    assert "no labels" in found.notes[0]


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [({"drop": ["label"]}, UnknownName, "labels"), ({"drop": ["outliers"], "data": "digits"}, ConfigError, "manifest")],
)
def test_what_cannot_be_is_refused_before_any_work(
    finished: Finished, planted: Path, tmp_path: Path, how: dict[str, Any], error: type[Exception], words: str
) -> None:
    data = how.pop("data", planted)
    with pytest.raises(error, match=words):
        nf.audit(finished[1].encoder, data, out=tmp_path / "a", **how)
    assert not (tmp_path / "a").exists()


def test_the_command_says_what_was_found_and_where(
    finished: Finished, planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "a")
    assert main(["audit", str(finished[1].path), str(planted), "-o", out, "--drop", "leaks", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "Copies on both sides of a split  1 flagged" in said
    assert f"page    {out}/audit.html" in said
