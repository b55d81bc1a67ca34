"""Folders of domains, each with its splits and classes."""

import pytest

from nearfar.data.reader import open_samples, splits_of
from nearfar.errors import DataError

EXTENSIONS = frozenset({".png"})


def made(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return str(root)


@pytest.fixture
def domains(tmp_path):
    parts = [f"{d}/{s}/{c}/{i}.png" for d in ("photo", "sketch") for s in ("test", "train") for c in "ab" for i in "12"]
    return made(tmp_path / "data", [*parts, "photo/train/c/1.png", "sketch/notes.png"])


def test_the_first_level_is_the_domain_and_the_last_the_class(domains):
    found = open_samples(domains, extensions=EXTENSIONS)
    assert (len(found), found.domain_names, found.label_names) == (9, ("photo", "sketch"), ("a", "b", "c"))
    for key, domain, label in zip(found.keys, found.domains, found.labels, strict=True):
        assert key.startswith(f"{found.domain_names[domain]}/train/{found.label_names[label]}/")


def test_parts_count_the_same_classes(domains):
    assert splits_of(domains, extensions=EXTENSIONS) == ["test", "train"]
    test = open_samples(f"{domains}:test", extensions=EXTENSIONS)
    assert (len(test), test.label_names) == (8, ("a", "b", "c"))
    assert len(open_samples(f"{domains}:all", extensions=EXTENSIONS)) == 17
    with pytest.raises(DataError, match="no split 'val'"):
        open_samples(f"{domains}:val", extensions=EXTENSIONS)


@pytest.mark.parametrize(
    "names",
    [
        ["cat/train/1.png", "cat/test/1.png", "dog/train/1.png", "dog/test/1.png"],  # classes with splits of their own
        ["train/a/x/1.png", "test/a/x/1.png"],
        ["photo/train/a/1.png", "other/a/1.png"],
        ["photo/train/a/1.png", "photo/test/a/1.png"],
    ],
)
def test_other_folders_are_none(names, tmp_path):
    assert open_samples(f"{made(tmp_path / 'data', names)}", extensions=EXTENSIONS).domains is None
