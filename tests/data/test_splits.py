import logging

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearfar.data.reader import open_samples, splits_of
from nearfar.data.splits import files_of_splits, folders_of_splits, pick
from nearfar.errors import DataError


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["train", "test"], ["train", "test"]),
        (["Train", "VAL", "Testing"], ["Train", "VAL", "Testing"]),
        (["valid"], ["valid"]),
        (["train", "test", "extra", "README"], ["train", "test"]),
        (["training_set", "test_set", "docs"], ["training_set", "test_set"]),
        (["train2017", "val2017"], ["train2017", "val2017"]),
        (["mnist-train", "mnist-eval"], ["mnist-train", "mnist-eval"]),
        (["car", "train", "plane"], []),
        (["test_tube", "train_station"], []),
        (["cat", "dog"], []),
        ([], []),
    ],
)
def test_folders_are_splits_where_two_are_among_them_or_all_are(names, wanted):
    assert folders_of_splits(names) == wanted


@pytest.mark.parametrize(
    ("stems", "wanted"),
    [
        (["train-00000-of-00002", "train-00001-of-00002-0123abcd", "test-0"], ["train", "train", "test"]),
        (["imagenet1k-train-0000", "imagenet1k-validation-0000"], ["train", "validation"]),
        (["mnist_Train", "mnist_TEST"], ["train", "test"]),
        (["a", "b"], [None, None]),
        (["a", "b", "test"], ["train", "train", "test"]),
        (["train", "test", "sample_submission"], ["train", "test", None]),
        (["shard-000", "shard-001"], [None, None]),
    ],
)
def test_names_of_files_say_their_split(stems, wanted):
    found = files_of_splits(stems)
    assert [found.get(stem) for stem in stems] == wanted


@pytest.mark.parametrize(
    ("existing", "asked", "wanted"),
    [
        (["test", "train"], None, "train"),
        (["Training", "test"], None, "Training"),
        (["test"], None, "test"),
        ([], None, None),
        (["train", "valid"], "DEV", "valid"),
        (["training_set", "test_set"], "test", "test_set"),
        (["train", "test"], "all", None),
    ],
)
def test_a_split_is_picked_by_any_of_its_names(existing, asked, wanted):
    assert pick("d", existing, asked) == wanted


@pytest.mark.parametrize(
    ("existing", "asked", "said"),
    [
        (["val", "test"], None, "choose one, such as d:val"),
        (["train"], "tset", "no split 'tset'; it has train"),
        ([], "test", "has no splits"),
    ],
)
def test_a_split_that_is_not_there_is_refused(existing, asked, said):
    with pytest.raises(DataError, match=said):
        pick("d", existing, asked)


def files(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return str(root)


def find(data):
    return open_samples(data, extensions=frozenset({".jpg"}), columns=("path",))


def test_other_folders_beside_splits_are_left_out_and_told(tmp_path, caplog):
    data = files(tmp_path, "train/cat/1.jpg", "Test/cat/2.jpg", "extra/3.jpg")
    assert splits_of(data) == ["Test", "train"]
    assert find(data).keys == ["train/cat/1.jpg"]
    assert find(f"{data}:test").keys == ["Test/cat/2.jpg"]
    assert caplog.text.count("the folders extra are no splits and are left out") == 1


def test_folders_of_splits_may_hold_files_of_rows(tmp_path):
    for split, label in (("train", "a"), ("Validation", "b")):
        folder = tmp_path / "default" / split
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"path": [f"{split}.jpg"], "label": [label]}), folder / "0000.parquet")
    assert splits_of(str(tmp_path)) == ["Validation", "train"]
    assert find(str(tmp_path)).label_names == ("a",)
    assert find(f"{tmp_path}:val").label_names == ("b",)
    assert len(find(f"{tmp_path}:all")) == 2


@pytest.mark.parametrize(
    "names", [["cat/1.jpg", "test/2.jpg"], ["a/train/1.jpg", "a/Validation/2.jpg", "b/train/3.jpg"]]
)
def test_test_data_that_is_taken_with_the_rest_is_told(tmp_path, caplog, names):
    caplog.set_level(logging.WARNING, "nearfar")
    assert len(find(files(tmp_path, *names))) == len(names)
    assert f"1 of {len(names)} samples lie in folders named as test data are" in caplog.text


def test_rows_without_a_split_are_left_out_and_told(tmp_path, caplog):
    (tmp_path / "m.csv").write_text("path,split\na.jpg,Train\nb.jpg,\nc.jpg,test\n")
    assert find(str(tmp_path / "m.csv")).keys == ["a.jpg"]
    assert "1 samples belong to no split and are left out" in caplog.text
