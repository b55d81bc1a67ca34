import logging
import os

import pytest

from nearfar.data.location import files_of, lasting, parse_data
from nearfar.errors import DataError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def names(root, pattern):
    return [path.relative_to(root).as_posix() for path in files_of(f"{root}/{pattern}")]


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("s-{08..11}.tar", ["s-08.tar", "s-09.tar", "s-10.tar", "s-11.tar"]),
        ("s-{10..08}.tar", ["s-10.tar", "s-09.tar", "s-08.tar"]),
        ("{b,a}/{1..2}.tar", ["b/1.tar", "b/2.tar", "a/1.tar", "a/2.tar"]),
        ("s-*.tar", ["s-08.tar", "s-09.tar", "s-10.tar", "s-11.tar"]),
        ("{s-08,s-*}.tar", ["s-08.tar", "s-09.tar", "s-10.tar", "s-11.tar"]),
        ("**/2.tar", ["a/2.tar", "b/2.tar"]),
    ],
)
def test_a_pattern_stands_for_its_files(tmp_path, pattern, wanted):
    touch(tmp_path, *(f"s-{i:02d}.tar" for i in range(8, 12)), "a/1.tar", "a/2.tar", "b/1.tar", "b/2.tar")
    assert names(tmp_path, pattern) == wanted


def test_a_file_named_with_braces_is_itself(tmp_path):
    assert names(touch(tmp_path, "x{1..2}.tar"), "x{1..2}.tar") == ["x{1..2}.tar"]


def test_braces_without_a_choice_are_part_of_the_name(tmp_path):
    assert names(touch(tmp_path, "{a}-1.tar"), "{a}-{1..2}.tar") == ["{a}-1.tar"]


def test_shards_that_are_not_there_are_told(tmp_path, caplog):
    caplog.set_level(logging.WARNING, "nearfar")
    assert names(touch(tmp_path, "s-0.tar", "s-2.tar"), "s-{0..2}.tar") == ["s-0.tar", "s-2.tar"]
    assert "1 of 3 files are not there" in caplog.text
    assert "s-1.tar" in caplog.text


def test_a_pattern_without_files_is_an_error(tmp_path):
    with pytest.raises(DataError, match="No file or folder"):
        files_of(f"{tmp_path}/s-{{0..2}}.tar")


def test_a_range_too_large_to_be_meant_is_an_error(tmp_path):
    with pytest.raises(DataError, match="more than 100,000 files"):
        files_of(f"{tmp_path}/s-{{0..999999999999}}.tar")


@pytest.mark.parametrize(
    ("data", "parsed"),
    [
        ("hf:org/name", ("hf:org/name", None)),
        ("hf:org/name:test", ("hf:org/name", "test")),
        ("s-{0000..0003}.tar", ("s-{0000..0003}.tar", None)),
        ("s-{0000..0003}.tar:test", ("s-{0000..0003}.tar", "test")),
    ],
)
def test_names_and_patterns_are_told_from_splits(data, parsed):
    assert parse_data(data) == parsed


def test_a_lasting_name_means_the_same_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(touch(tmp_path, "set/x.jpg"))
    assert lasting("set:test") == f"{tmp_path}/set:test"
    assert lasting("s-{0..3}.tar") == f"{tmp_path}/s-{{0..3}}.tar"
    assert lasting("hf:set:test") == "hf:set:test"
    assert lasting("hf:./set:test") == f"hf:{tmp_path}/set:test"
    assert lasting("hf:org/name") == "hf:org/name"
    assert lasting("digits", builtins={"digits"}) == "digits"
    assert lasting("nothing") == "nothing"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_and_never_opened(tmp_path):
    os.mkfifo(tmp_path / "x.tar")
    with pytest.raises(DataError, match="neither a folder nor a plain file"):
        files_of(str(tmp_path / "x.tar"))
    assert names(touch(tmp_path, "y.tar"), "*.tar") == ["y.tar"]
