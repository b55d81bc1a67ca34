import pytest

from nearfar.data.strings import Strings
from nearfar.data.tree import splits_and_classes


def said(*names):
    return [None if column is None else list(column) for column in splits_and_classes(Strings.of(names))]


@pytest.mark.parametrize(
    ("names", "splits", "classes"),
    [
        (["1", "2"], None, None),
        (["cat/1", "dog/x/2", "3"], None, ["cat", "dog", None]),
        (["train/1", "test/2"], ["train", "test"], None),
        (["train/cat/1", "val/2"], ["train", "val"], ["cat", None]),
        (["set/cat/1", "set/dog/2"], None, ["cat", "dog"]),
        (["a/b/train/cat/1", "a/b/test/cat/2"], ["train", "test"], ["cat", "cat"]),
        (["cat/1", "cat/2"], None, ["cat", "cat"]),
        (["train/1", "train/2"], ["train", "train"], None),
        (["train/1", "cat/2"], None, ["train", "cat"]),
        ([], None, None),
    ],
)
def test_folders_say_splits_and_classes_as_on_disk(names, splits, classes):
    assert said(*names) == [splits, classes]
