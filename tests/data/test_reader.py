"""Folders, and what is common to all forms of data."""

import os
import subprocess
import sys

import numpy as np
import pytest

from nearfar.data.location import parse_data
from nearfar.data.reader import open_samples, splits_of
from nearfar.errors import DataError

LOOP = "a link that leads to itself"
JPG = frozenset({".jpg", ".png"})


def find(data, **more):
    return open_samples(str(data), extensions=JPG, columns=("image", "path"), **more)


def files(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def named(found):
    labels = found.labels.tolist()
    return {key: found.label_names[i] if i >= 0 else None for key, i in zip(found.keys, labels, strict=True)}


def test_a_flat_folder_has_no_labels(tmp_path):
    found = find(files(tmp_path, "b.jpg", "a.png", "C.JPG"))
    assert (found.keys, found.labels, found.label_names) == (["C.JPG", "a.png", "b.jpg"], None, ())
    assert find(tmp_path / "a.png").keys == ["a.png"]


def test_class_folders_are_labels_however_deep_the_file(tmp_path):
    found = find(files(tmp_path, "dog/2.jpg", "cat/a/b/1.jpg", "cat/c/1.jpg", "x.jpg"))
    assert named(found) == {"cat/a/b/1.jpg": "cat", "cat/c/1.jpg": "cat", "dog/2.jpg": "dog", "x.jpg": None}
    assert found.bytes(2) == b"dog/2.jpg"
    assert found.path(2) == str(tmp_path / "dog/2.jpg")


def test_take_keeps_rows_and_names_together(tmp_path):
    found = find(files(tmp_path, "cat/1.jpg", "dog/1.jpg", "eel/1.jpg")).take(np.array([2, 0]))
    assert (found.keys, found.labels.tolist(), found.bytes(0)) == (["eel/1.jpg", "cat/1.jpg"], [2, 0], b"eel/1.jpg")
    assert found.take(np.array([1])).bytes(0) == b"cat/1.jpg"


def test_probe_spreads_over_the_taken_rows(tmp_path):
    found = find(files(tmp_path, *(f"{i:03d}.jpg" for i in range(100)))).take(np.arange(99, -1, -2))
    rows = found.probe(5)
    assert (len(rows), rows[0], rows[-1]) == (5, 0, len(found) - 1)


def test_other_files_are_counted_and_hidden_ones_are_not(tmp_path):
    found = find(files(tmp_path, "a.jpg", "b.txt", "c.txt", "README", ".b.jpg", "__MACOSX/a.jpg", ".git/c.jpg"))
    assert found.keys == ["a.jpg"]
    assert dict(found.ignored) == {".txt": 2, "(no extension)": 1}


def test_split_folders_are_no_classes_and_class_numbers_agree(tmp_path):
    files(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "test/dog/1.jpg")
    assert splits_of(str(tmp_path)) == ["test", "train"]
    found = find(f"{tmp_path}:test")
    assert (found.keys, found.label_names, found.labels.tolist()) == (["test/dog/1.jpg"], ("cat", "dog"), [1])
    found = find(tmp_path)
    assert (found.keys, found.split) == (["train/cat/1.jpg", "train/dog/1.jpg"], "train")
    assert found.name == f"{tmp_path.name}:train"
    assert named(find(f"{tmp_path}:all"))["test/dog/1.jpg"] == "dog"


def test_an_existing_path_wins_over_a_split(tmp_path):
    files(tmp_path, "a/train/1.jpg", "a:train/2.jpg")
    assert parse_data(f"{tmp_path}/a:train") == (f"{tmp_path}/a:train", None)
    assert find(tmp_path / "a:train").keys == ["2.jpg"]


@pytest.mark.parametrize("data", [r"C:\photos", "C:/photos", "C:photos", "/a:b/c", "photos"])
def test_a_drive_letter_or_an_inner_colon_is_no_split(data):
    assert parse_data(data) == (data, None)


def test_a_wrapping_folder_is_passed_through(tmp_path):
    found = find(files(tmp_path, "set/train/cat/1.jpg", "set/train/dog/1.jpg", "set/test/cat/1.jpg"))
    assert found.keys == ["set/train/cat/1.jpg", "set/train/dog/1.jpg"]
    assert found.label_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("there", "asked", "said"),
    [
        (["1.wav", "2.wav"], "", r"found 2 \.wav files, which are sounds\."),
        ([], "", "it is empty"),
        (["photos/a.jpg"], "phtos", r"Did you mean '.*photos'"),
        ([], "nowhere/photos", "there is no folder '.*nowhere'"),
        (["a.zip"], "a.zip", "unpack archives first"),
    ],
)
def test_data_without_samples_is_refused_with_what_is_there(tmp_path, there, asked, said):
    with pytest.raises(DataError, match=said):
        find(files(tmp_path, *there) / asked)


@pytest.mark.parametrize(
    ("links", "reasons"),
    [
        ({"b/x.png": "gone.png"}, {"b/x.png": "broken link"}),
        ({"b/x.png": "x.png"}, {"b/x.png": LOOP}),
        (
            {"b/x.png": "y.png", "b/y.png": "x.png"},
            dict.fromkeys(["b/x.png", "b/y.png"], LOOP),
        ),
        ({"loop": "loop"}, {"loop": LOOP}),
        ({"a/again": ".."}, {}),
    ],
)
def test_a_bad_link_costs_itself_alone(tmp_path, links, reasons):
    files(tmp_path, *(f"{c}/{i}.png" for c in "ab" for i in range(3)))
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    found = find(tmp_path)
    assert (len(found), found.label_names, dict(found.refused)) == (6, ("a", "b"), reasons)


@pytest.mark.skipif(os.geteuid() == 0, reason="to root all folders are open")
def test_a_folder_that_may_not_be_read_costs_itself_alone(tmp_path):
    files(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "b").chmod(0)
    try:
        assert find(tmp_path).refused == (("b/", "permission denied"),)
    finally:
        (tmp_path / "b").chmod(0o700)


def test_an_error_in_the_middle_of_a_folder_keeps_what_was_seen(tmp_path, monkeypatch):
    files(tmp_path, "a/1.png", "a/2.png", "b/1.png")
    real = os.scandir

    class Breaking:
        def __init__(self, path):
            self.entries, self.broken = real(path), str(path).endswith("a/")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.entries.close()

        def __iter__(self):
            yield from self.entries
            if self.broken:
                raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "scandir", Breaking)
    found = find(tmp_path)
    assert (len(found), dict(found.refused)) == (3, {"a/": "Input/output error"})


def test_links_to_folders_elsewhere_are_followed(tmp_path):
    files(tmp_path, "store/1.jpg")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cat").symlink_to(tmp_path / "store")
    assert find(tmp_path / "data").keys == ["cat/1.jpg"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse names that are not UTF-8")
def test_names_that_are_no_plain_text_have_printable_keys(tmp_path):
    with open(os.path.join(os.fsencode(tmp_path), b"caf\xe9.jpg"), "wb") as file:
        file.write(b"x")
    found = find(files(tmp_path, "a\nb.jpg"))
    assert found.keys == [r"a\nb.jpg", r"caf\xe9.jpg"]
    assert found.bytes(1) == b"x"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_and_never_opened(tmp_path):
    files(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "b.jpg")
    assert find(tmp_path).refused == (("b.jpg", "not a plain file"),)


def test_the_reader_imports_neither_torch_nor_arrow():
    code = "import sys, nearfar.data.reader; print('torch' in sys.modules, 'pyarrow' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", "False"]


def test_where_the_file_system_s_encoding_is_ascii_files_of_other_letters_are_read(tmp_path):
    files(tmp_path, "katze ä/1.jpg", "hund/1.jpg")
    code = (
        "import sys; from nearfar.data.reader import open_samples; "
        "found = open_samples(sys.argv[1], extensions=frozenset({'.jpg'}), columns=()); "
        "print([found.bytes(i) for i in range(2)])"
    )
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code, tmp_path], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == f"{[b'hund/1.jpg', 'katze ä/1.jpg'.encode()]}\n"
