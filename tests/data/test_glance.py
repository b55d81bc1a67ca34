"""The kind of data is told before it is opened; one without a modality is refused with a true sentence."""

from pathlib import Path

import pytest

from nearfar.data.glance import glance
from nearfar.data.kinds import IMAGES
from nearfar.errors import DataError
from nearfar.modalities.image import MODALITY
from nearfar.modalities.registry import MODALITIES, find

TEXTS = ["I have lost my card", "How do I top up now?", "My money has not arrived", "Is there a fee for cash"]
MORE = [(name, lambda i: i % 5) for name in "xyz"]
SHARED = Path(__file__).parents[3] / "shared" / "data"


def rows(*columns):
    """A csv of 40 rows, from functions of the row's number."""
    header = ",".join(name for name, _ in columns)
    return "\n".join([header, *(",".join(str(cell(i)) for _, cell in columns) for i in range(40))])


def text(i):
    return f"{TEXTS[i % 4]} {i}"


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ([("a", lambda i: i / 7), ("b", lambda i: "xy"[i % 2])], "table"),
        ([("a", lambda i: i / 7), ("b", lambda i: i % 3), ("c", lambda i: i % 5), ("Name", text)], "table"),
        (
            [("customer_id", lambda i: i), ("product", lambda i: "ab"[i % 2]), *MORE],
            "table",
        ),
        ([("path", lambda i: f"{i}.png"), ("label", lambda i: i % 2)], "image"),
        ([("file_name", lambda i: f"{i}.png"), ("label", lambda i: i % 2)], "image"),
        ([("img_file", lambda i: f"{i}.png"), ("x", lambda i: i)], "image"),
        ([("text", text), ("label", lambda i: i % 2)], "text"),
        ([("sentence1", text), ("sentence2", text), ("score", lambda i: i / 7)], "text"),
        ([("quote", text), ("who", lambda i: "ab"[i % 2])], "text"),
        ([("userId", lambda i: i // 4), ("movieId", lambda i: i % 9), ("rating", lambda i: i % 5)], "interactions"),
        ([("user_id", lambda i: i // 4), ("item_id", lambda i: i % 9), ("t", lambda i: i)], "interactions"),
        ([("image", lambda i: f"{i}.png"), ("caption", text)], "pairs"),
        ([("file", lambda i: f"{i}.png"), ("keywords", lambda i: f"k{i}")], "pairs"),
        ([("file_name", lambda i: f"{i}.wav"), ("label", lambda i: i % 2)], "audio"),
        ([("audio", lambda i: f"{i}.wav"), ("label", lambda i: i % 2)], "audio"),
        ([("audio", lambda i: f"{i}.wav"), ("transcript", text)], "pairs"),
        ([("clip", lambda i: f"{i}.flac"), ("caption", lambda i: f"c{i}")], "pairs"),
        ([("audio", lambda i: f"{i}.wav"), ("text", lambda i: ("yes", "no")[i % 2])], "audio"),
    ],
)
def test_columns_tell_the_kind(tmp_path, columns, kind):
    (tmp_path / "d.csv").write_text(rows(*columns))
    assert glance(str(tmp_path / "d.csv")).kind.name == kind
    if kind in MODALITIES:
        assert find(str(tmp_path / "d.csv")) == kind
    else:
        with pytest.raises(DataError, match="nearfar has no modality for them yet") as error:
            find(str(tmp_path / "d.csv"))
        assert "--modality audio" not in str(error.value)
        assert "--modality text" not in str(error.value)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["a/1.wav", "b/2.wav"], "audio"),
        (["a/1.txt", "b/2.txt"], "text"),
        (["a/1.png", "README.txt", "x.wav"], ""),
        (["a.bin", "b.txt"], ""),
    ],
)
def test_files_of_a_folder_tell_the_kind(tmp_path, names, kind):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert glance(str(tmp_path)).kind.name == kind


def test_lines_of_text_are_no_list_of_files(tmp_path):
    (tmp_path / "lines.txt").write_text("\n".join(map(text, range(40))))
    (tmp_path / "files.txt").write_text("\n".join(f"{i}.png" for i in range(40)))
    assert glance(str(tmp_path / "lines.txt")).kind.name == "text"
    assert find(str(tmp_path / "files.txt")) == "image"


def test_what_cannot_be_read_tells_nothing(tmp_path):
    for name in ("d.parquet", "d.npy", "d.tar", "d.csv"):
        (tmp_path / name).write_bytes(b"\0\1\2")
        assert glance(str(tmp_path / name)).kind.name == ""
    assert glance(str(tmp_path / "nothing")).files == {}


@pytest.mark.skipif(not SHARED.exists(), reason="needs the shared data beside the repository")
def test_cifar10_is_images():
    assert find(str(SHARED / "cifar10-test.parquet")) == "image"


def test_a_manifest_of_images_is_known_by_the_columns_that_are_read():
    assert MODALITY.columns == IMAGES


def test_sounds_with_words_name_both_sides_and_the_way_to_take_one(tmp_path):
    (tmp_path / "d.csv").write_text(rows(("audio", lambda i: f"{i}.wav"), ("caption", text)))
    kind = glance(str(tmp_path / "d.csv")).kind
    assert kind.sides == ("audio", "text")
    assert kind.instead == "--modality audio takes the sounds alone"
