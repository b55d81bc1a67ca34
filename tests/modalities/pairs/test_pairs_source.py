"""Samples of two sides: how the sides are found, joined by row and drawn, and what becomes of broken ones."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from nearfar.errors import ConfigError, DataError, UnknownName
from nearfar.modalities.opening import open_source
from nearfar.modalities.pairs import MODALITY
from nearfar.modalities.pairs.options import read_sides
from nearfar.modalities.pairs.source import PairSource
from nearfar.training.positives import Given


def manifest(folder: Path, rows: list[list[str]], *header: str, pictures: str = ".") -> str:
    """A table of pictures with something beside them; pictures of one name are one."""
    (folder / pictures).mkdir(exist_ok=True)
    for i, name in enumerate(dict.fromkeys(row[0] for row in rows)):
        if name and not name.startswith("broken"):
            pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / pictures / name)
    with open(folder / "pairs.csv", "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(folder / "pairs.csv")


def opened(data: str, **options: Any) -> PairSource:
    source = open_source(MODALITY, data, options=MODALITY.Options(**options), cache="off")
    assert isinstance(source, PairSource)
    return source


def texts(source: PairSource, row: int) -> list[str]:
    items = source.second.at_places(np.arange(source.starts[row], source.starts[row + 1]))
    return [card.text or "" for card in items.cards(np.arange(len(items)))]


THREE = [["a.png", "an apple tree"], ["b.png", "a big boat"], ["c.png", "a cold cellar"]]


def test_columns_are_known_by_name(tmp_path: Path) -> None:
    source = opened(manifest(tmp_path, THREE, "image", "caption"))
    assert source.columns == "image=image,text=caption"
    assert [texts(source, i) for i in range(3)] == [["an apple tree"], ["a big boat"], ["a cold cellar"]]


def test_columns_may_be_named(tmp_path: Path) -> None:
    rows = [[one, "same", text, str(i)] for i, (one, text) in enumerate(THREE)]
    data = manifest(tmp_path, rows, "p", "q", "r", "s")
    assert texts(opened(data, sides="image,text", side_columns="text=r"), 1) == ["a big boat"]
    with pytest.raises(DataError, match="no column 'z'"):
        opened(data, sides="image,text", side_columns="text=z")


def test_rows_of_one_picture_and_columns_of_one_kind_are_several_texts_of_a_sample(tmp_path: Path) -> None:
    rows = [["a.png", "one", "an ox"], ["b.png", "two", ""], ["a.png", "three", "the tree"]]
    source = opened(manifest(tmp_path, rows, "image", "caption", "caption_2"))
    assert list(source.keys) == ["a.png", "b.png"]
    assert [texts(source, i) for i in range(2)] == [["one", "an ox", "three", "the tree"], ["two"]]
    assert source.owners.tolist() == [0, 0, 0, 0, 1]


def test_columns_beside_several_of_one_kind_are_kept_with_the_samples(tmp_path: Path) -> None:
    rows = [["a.png", "a cat", "cats", "train"], ["a.png", "tom", "pet", "train"], ["b.png", "a boat", "sea", "test"]]
    data = manifest(tmp_path, rows, "image", "text", "caption", "split")
    source = open_source(MODALITY, data, options=MODALITY.Options(), cache="off", about=True, split="all")
    assert source.about(np.arange(len(source)))["split"].to_pylist() == ["train", "test"]


def test_a_list_in_a_cell_is_several_texts_of_a_sample(tmp_path: Path) -> None:
    manifest(tmp_path, THREE, "image", "caption")
    lines = [{"image": "a.png", "captions": ["one", "two"]}, {"image": "b.png", "captions": []}]
    lines += [{"image": "c.png", "captions": ["three"]}]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, lines)))
    pq.write_table(pa.Table.from_pylist(lines), tmp_path / "p.parquet")
    for name in ("p.jsonl", "p.parquet"):
        source = opened(str(tmp_path / name))
        assert [texts(source, i) for i in source.at.tolist()] == [["one", "two"], ["three"]]
        assert [one.key for one in source.skipped] == ["b.png"]


def test_each_text_of_a_sample_is_drawn_by_key(tmp_path: Path) -> None:
    rows = [["a.png", text] for text in ("one", "two", "three")] + [["b.png", "four"]]
    source = opened(manifest(tmp_path, rows, "image", "caption"))
    others, at = source.drawn_positives(np.zeros(60, dtype=np.int64), np.arange(60), seed=3)
    assert set(others.at[at].tolist()) == {0, 1, 2}
    again, _ = source.drawn_positives(np.zeros(60, dtype=np.int64), np.arange(60), seed=3)
    assert again.at.tolist() == others.at.tolist()


def test_files_may_lie_in_a_folder_beside_the_manifest(tmp_path: Path) -> None:
    source = opened(manifest(tmp_path, THREE, "image", "caption", pictures="pictures"))
    assert source.keys[0] == "pictures/a.png"
    assert len(source.fetch(np.arange(3))[1]) == 3


def test_a_sample_with_a_broken_side_is_left_out_and_listed(tmp_path: Path) -> None:
    rows = [*THREE, ["d.png", ""], ["broken.png", "a text"], ["e.png", "   "]]
    source = opened(manifest(tmp_path, rows, "image", "caption"))
    _, kept = source.fetch(np.arange(len(source)))
    assert [source.keys[i] for i in kept] == ["a.png", "b.png", "c.png"]
    listed = {one.key: one.reason for one in source.skipped}
    assert set(listed) == {"d.png", "broken.png", "e.png"}
    assert "text" in listed["d.png"]
    assert "no such file" in listed["broken.png"]


def test_equal_content_on_either_side_is_no_negative(tmp_path: Path) -> None:
    rows = [["a.png", "one"], ["b.png", "two"], ["c.png", "one"], ["d.png", "four"]]
    data = manifest(tmp_path, rows, "image", "caption")
    (tmp_path / "d.png").write_bytes((tmp_path / "b.png").read_bytes())
    source, every = opened(data), np.arange(4)
    raw, kept = source.fetch(every)
    ids = Given(source).beside(raw, kept, every).shown.ids
    assert ids[0] == ids[2] != ids[1] == ids[3]


def test_data_of_one_side_is_that_side(tmp_path: Path) -> None:
    manifest(tmp_path, THREE, "image", "caption")
    (tmp_path / "pairs.csv").unlink()
    source = open_source(MODALITY, str(tmp_path), options=MODALITY.Options(sides="image,text"), cache="off")
    raw, kept = source.fetch(np.arange(3))
    assert (raw.side, len(kept)) == (0, 3)


@pytest.mark.parametrize("sides", ["image", "image,text,text"])
def test_two_sides_are_needed(tmp_path: Path, sides: str) -> None:
    with pytest.raises(ConfigError, match="two kinds"):
        opened(manifest(tmp_path, THREE, "image", "caption"), sides=sides)


def test_what_each_side_has_is_read_in_any_order() -> None:
    names = ("image", "text")
    assert read_sides("encoder", "text=st:a,b,image=resnet8", names) == {"text": "st:a,b", "image": "resnet8"}
    with pytest.raises(UnknownName, match="image"):
        read_sides("encoder", "imge=resnet8", names)
    with pytest.raises(ConfigError, match="what each side has"):
        read_sides("encoder", "resnet8", names)


def test_texts_are_kept_beside_their_vectors(tmp_path: Path) -> None:
    second = opened(manifest(tmp_path, THREE, "image", "caption")).second
    assert second.about(np.array([2, 0]))["text"].to_pylist() == ["a cold cellar", "an apple tree"]
