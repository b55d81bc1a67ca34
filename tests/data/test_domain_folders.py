"""Folders of domains, each with its splits and classes, or with classes alone."""

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


WHOLE = [f"{d}/{c}/{i}.png" for d in ("photo", "sketch") for c in "ab" for i in "12"]


def test_folders_without_splits_are_domains_where_one_of_them_is_named(tmp_path):
    data = made(tmp_path / "data", [*WHOLE, "sketch/c/1.png", "notes.png"])
    found = open_samples(data, extensions=EXTENSIONS, source_domain="photo")
    assert (len(found), found.domain_names, found.label_names) == (9, ("photo", "sketch"), ("a", "b", "c"))
    for key, domain, label in zip(found.keys, found.domains, found.labels, strict=True):
        assert key.startswith(f"{found.domain_names[domain]}/{found.label_names[label]}/")
    assert splits_of(data, extensions=EXTENSIONS) == []
    with pytest.raises(DataError, match="has no splits, so there is no 'test'"):
        open_samples(f"{data}:test", extensions=EXTENSIONS, source_domain="photo")


@pytest.mark.parametrize("named", [None, "foto"])
def test_else_they_are_classes(named, tmp_path):
    found = open_samples(made(tmp_path / "data", WHOLE), extensions=EXTENSIONS, source_domain=named)
    assert (found.domains, found.label_names) == (None, ("photo", "sketch"))


def test_a_domain_may_have_no_classes(tmp_path):
    data = made(tmp_path / "data", [*WHOLE[:4], "sketch/1.png", "sketch/2.png"])
    found = open_samples(data, extensions=EXTENSIONS, source_domain="photo")
    assert found.label_names == ("a", "b")
    assert found.labels.tolist() == [0, 0, 1, 1, -1, -1]
    assert found.domains.tolist() == [0, 0, 0, 0, 1, 1]


def test_splits_in_some_domains_alone_are_refused(tmp_path):
    data = made(tmp_path / "data", [*WHOLE[:4], "sketch/train/a/1.png", "sketch/test/a/1.png"])
    with pytest.raises(DataError, match=r"'sketch' holds splits \(test, train\), and 'photo' holds none"):
        open_samples(data, extensions=EXTENSIONS, source_domain="photo")
