import os
import subprocess
import sys

import numpy as np
import pytest

from nearfar.data.reader import open_samples, parse_data, splits_of
from nearfar.errors import DataError

JPG = frozenset({".jpg", ".png"})
COLUMNS = ("image", "path")


def find(data, **more):
    return open_samples(str(data), extensions=JPG, columns=COLUMNS, **more)


def files(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def test_a_flat_folder_has_no_labels(tmp_path):
    found = find(files(tmp_path, "b.jpg", "a.png"))
    assert (found.keys, found.labels, found.label_names) == (["a.png", "b.jpg"], None, ())


def test_class_folders_are_labels(tmp_path):
    found = find(files(tmp_path, "dog/2.jpg", "cat/1.jpg", "dog/1.jpg"))
    assert found.label_names == ("cat", "dog")
    assert dict(zip(found.keys, found.labels.tolist(), strict=True)) == {"cat/1.jpg": 0, "dog/1.jpg": 1, "dog/2.jpg": 1}


def test_the_first_level_is_the_class_however_deep_the_file(tmp_path):
    found = find(files(tmp_path, "cat/a/b/1.jpg", "cat/c/1.jpg", "dog/1.jpg"))
    assert [found.label_names[i] for i in found.labels] == ["cat", "cat", "dog"]


def test_a_file_beside_class_folders_has_no_label(tmp_path):
    found = find(files(tmp_path, "cat/1.jpg", "dog/1.jpg", "x.jpg"))
    assert found.labels.tolist() == [0, 1, -1]


def test_bytes_are_those_of_the_file(tmp_path):
    found = find(files(tmp_path, "cat/1.jpg", "dog/1.jpg"))
    assert found.bytes(1) == b"dog/1.jpg"
    assert found.path(1) == str(tmp_path / "dog/1.jpg")


def test_take_keeps_rows_and_names_together(tmp_path):
    found = find(files(tmp_path, "cat/1.jpg", "dog/1.jpg", "eel/1.jpg")).take(np.array([2, 0]))
    assert found.keys == ["eel/1.jpg", "cat/1.jpg"]
    assert found.labels.tolist() == [2, 0]
    assert found.bytes(0) == b"eel/1.jpg"
    assert found.take(np.array([1])).bytes(0) == b"cat/1.jpg"


def test_probe_spreads_over_the_taken_rows(tmp_path):
    found = find(files(tmp_path, *(f"{i:03d}.jpg" for i in range(100)))).take(np.arange(99, -1, -2))
    rows = found.probe(5)
    assert len(rows) == 5
    assert rows[0] == 0
    assert rows[-1] == len(found) - 1


def test_hidden_files_and_archive_leftovers_are_passed_over(tmp_path):
    found = find(files(tmp_path, "a.jpg", ".b.jpg", "__MACOSX/a.jpg", ".git/c.jpg"))
    assert found.keys == ["a.jpg"]
    assert not found.ignored


def test_other_files_are_counted(tmp_path):
    found = find(files(tmp_path, "a.jpg", "b.txt", "c.txt", "README"))
    assert dict(found.ignored) == {".txt": 2, "(no extension)": 1}


def test_extensions_count_in_any_case(tmp_path):
    assert find(files(tmp_path, "A.JPG")).keys == ["A.JPG"]


def test_split_folders_are_no_classes(tmp_path):
    files(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "test/dog/1.jpg")
    assert splits_of(str(tmp_path)) == ["test", "train"]
    assert find(f"{tmp_path}:test").keys == ["test/dog/1.jpg"]


def test_class_numbers_agree_across_splits(tmp_path):
    files(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "test/dog/1.jpg")
    found = find(f"{tmp_path}:test")
    assert found.label_names == ("cat", "dog")
    assert found.labels.tolist() == [1]


def test_train_is_taken_where_no_split_is_asked(tmp_path):
    files(tmp_path, "train/1.jpg", "test/1.jpg")
    found = find(tmp_path)
    assert (found.keys, found.split, found.name) == (["train/1.jpg"], "train", f"{tmp_path.name}:train")


def test_all_takes_every_split_with_its_classes(tmp_path):
    found = find(f"{files(tmp_path, 'train/cat/1.jpg', 'test/dog/1.jpg')}:all")
    assert found.keys == ["test/dog/1.jpg", "train/cat/1.jpg"]
    assert [found.label_names[i] for i in found.labels] == ["dog", "cat"]


@pytest.mark.parametrize("asked", ["val", "valid", "validation", "dev", "VAL"])
def test_synonyms_of_a_split_are_one(tmp_path, asked):
    files(tmp_path, "train/1.jpg", "valid/2.jpg")
    assert find(f"{tmp_path}:{asked}").keys == ["valid/2.jpg"]


def test_an_unknown_split_lists_those_that_exist(tmp_path):
    files(tmp_path, "train/1.jpg", "test/2.jpg")
    with pytest.raises(DataError, match="no split 'tset'; it has test, train"):
        find(f"{tmp_path}:tset")


def test_a_split_of_data_without_splits_is_an_error(tmp_path):
    with pytest.raises(DataError, match="has no splits"):
        find(f"{files(tmp_path, 'cat/1.jpg')}:test")


def test_splits_without_train_must_be_chosen_from(tmp_path):
    files(tmp_path, "val/1.jpg", "test/2.jpg")
    with pytest.raises(DataError, match=r"choose one, such as .*:test"):
        find(tmp_path)


def test_an_existing_path_wins_over_a_split(tmp_path):
    files(tmp_path, "a/train/1.jpg", "a:train/2.jpg")
    assert parse_data(f"{tmp_path}/a:train") == (f"{tmp_path}/a:train", None)
    assert find(tmp_path / "a:train").keys == ["2.jpg"]


@pytest.mark.parametrize("data", [r"C:\photos", "C:/photos", "C:photos", "/a:b/c", "photos"])
def test_a_drive_letter_or_an_inner_colon_is_no_split(data):
    assert parse_data(data) == (data, None)


def test_a_wrapping_folder_is_passed_through(tmp_path):
    files(tmp_path, "set/train/cat/1.jpg", "set/train/dog/1.jpg", "set/test/cat/1.jpg")
    found = find(tmp_path)
    assert found.keys == ["set/train/cat/1.jpg", "set/train/dog/1.jpg"]
    assert found.label_names == ("cat", "dog")


def test_a_folder_of_other_files_says_what_it_holds(tmp_path):
    files(tmp_path, *(f"{i}.wav" for i in range(12)))
    with pytest.raises(DataError, match=r"found 12 \.wav files, which are sounds\."):
        find(tmp_path)


def test_an_empty_folder_says_so(tmp_path):
    with pytest.raises(DataError, match="it is empty"):
        find(tmp_path)


def test_a_missing_path_suggests_near_names(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match=r"Did you mean '.*photos'"):
        find(tmp_path / "phtos")


def test_a_missing_parent_is_named(tmp_path):
    with pytest.raises(DataError, match=r"there is no folder '.*nowhere'"):
        find(tmp_path / "nowhere" / "photos")


def test_an_archive_is_to_be_unpacked_first(tmp_path):
    with pytest.raises(DataError, match="unpack archives first"):
        find(files(tmp_path, "a.zip") / "a.zip")


def test_a_single_file_is_one_sample(tmp_path):
    assert find(files(tmp_path, "a.jpg") / "a.jpg").keys == ["a.jpg"]


def test_a_link_to_a_parent_does_not_loop(tmp_path):
    files(tmp_path, "cat/1.jpg", "dog/1.jpg")
    (tmp_path / "cat" / "again").symlink_to(tmp_path)
    assert find(tmp_path).keys == ["cat/1.jpg", "dog/1.jpg"]


def test_links_to_folders_elsewhere_are_followed(tmp_path):
    files(tmp_path, "store/1.jpg")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cat").symlink_to(tmp_path / "store")
    assert find(tmp_path / "data").keys == ["cat/1.jpg"]


def test_a_broken_link_is_listed_as_skipped(tmp_path):
    files(tmp_path, "a.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "gone.jpg")
    found = find(tmp_path)
    assert [(one.key, one.reason) for one in found.skipped] == [("b.jpg", "broken link")]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse names that are not UTF-8")
def test_a_name_that_is_not_utf8_has_a_printable_key(tmp_path):
    with open(os.path.join(os.fsencode(tmp_path), b"caf\xe9.jpg"), "wb") as file:
        file.write(b"x")
    found = find(tmp_path)
    assert found.keys == [r"caf\xe9.jpg"]
    assert found.bytes(0) == b"x"


def test_a_newline_in_a_name_is_escaped_in_the_key(tmp_path):
    assert find(files(tmp_path, "a\nb.jpg")).keys == [r"a\nb.jpg"]


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
