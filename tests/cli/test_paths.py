"""Paths mean the same from any folder, and an output is tried before any work."""

import os

import pytest

from nearfar.cli.parsing import parse
from nearfar.cli.paths import expanded
from nearfar.errors import OutputError
from nearfar.files import check_writable


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "photos").mkdir(parents=True)
    (tmp_path / "here:1").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "typed", "meant"),
    [
        ("output", "~/run", "{}/home/run"),
        ("output", "a:b", "{}/a:b"),
        ("output", "../x", "{}/../x"),
        ("input", "~/photos", "{}/home/photos"),
        ("input", "here:1", "{}/here:1"),
        ("input", "nowhere", "nowhere"),
        ("data", "~/photos", "{}/home/photos"),
        ("data", "~/photos:train", "{}/home/photos:train"),
        ("data", "here:1", "{}/here:1"),
        ("data", "digits", "digits"),
        ("data", "nowhere", "nowhere"),
        ("data", "hf:name", "hf:name"),
        ("cache", "auto", "auto"),
        ("cache", "~/c", "{}/home/c"),
    ],
)
def test_a_path_is_expanded_and_a_name_is_left(home, kind, typed, meant):
    assert expanded(kind, typed) == os.path.normpath(meant.format(home)) if "{}" in meant else meant


def test_every_path_of_a_command_line_is_expanded(home):
    line = "train ~/photos --out=~/r --init ~/photos --pretrained ~/photos --cache ~/c".split()
    command = parse(line)
    inside = str(home / "home")
    assert command.form.data == f"{inside}/photos"
    assert command.given == {
        "out": f"{inside}/r",
        "init": f"{inside}/photos",
        "pretrained": f"{inside}/photos",
        "cache": f"{inside}/c",
    }
    search = parse("search ~/photos ~/photos --in ~/photos".split()).form
    assert {search.run, *search.query, search.within} == {f"{inside}/photos"}


def test_an_output_is_tried_and_nothing_is_left_behind(home):
    for place in ("new/deep/file.npy", "here:1", "here:1/e.parquet"):
        check_writable(str(home / place))
    assert sorted(os.listdir(home)) == ["here:1", "home"]
    assert os.listdir(home / "here:1") == []


@pytest.mark.parametrize("place", ["file/in.npy", "/proc/nothing/x.npy", "x" * 300])
def test_an_output_that_cannot_be_written_is_named(home, place):
    (home / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        check_writable(str(home / place))
