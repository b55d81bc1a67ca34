import json
import logging
import os
import shutil

import numpy as np
import pytest

from nearfar.data import decoded_store
from nearfar.data.decoded_store import ABOUT, open_records, place
from nearfar.data.record_file import digest

SIZE, COUNT = 100, 10


def opened(name="data", *, root, **more):
    return open_records(str(root), name, {"data": name} | more.pop("form", {}), size=SIZE, count=COUNT, **more)


def fill(records, count=COUNT):
    one = np.zeros(SIZE, np.uint8)
    records.append(list(range(count)), [one] * count, [(digest(one, 1.0), 1.0)] * count)


@pytest.fixture
def disk(monkeypatch):
    """Sets how many bytes seem to be free."""

    def free(count):
        real = shutil.disk_usage("/")
        monkeypatch.setattr(decoded_store.shutil, "disk_usage", lambda path: real._replace(free=count))

    return free


def folders(root):
    return sorted(path.name.rsplit("-", 1)[0] for path in root.iterdir())


def used_at(root, name, time):
    (folder,) = root.glob(f"{name}-*")
    os.utime(folder / ABOUT, (time, time))


def test_the_place_is_the_first_one_that_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("NEARFAR_CACHE", str(tmp_path / "own"))
    assert place(str(tmp_path / "given")) == tmp_path / "given"
    assert place() == tmp_path / "own"
    monkeypatch.delenv("NEARFAR_CACHE")
    assert place() == tmp_path / "xdg" / "nearfar"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert place() == tmp_path / "home" / ".cache" / "nearfar"


def test_the_same_data_in_the_same_form_is_found_again(tmp_path):
    fill(opened(root=tmp_path), 4)
    assert len(opened(root=tmp_path)) == 4
    assert len(opened(root=tmp_path, form={"side": 32})) == 0
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_says_what_it_holds(tmp_path):
    opened("my data / of today", root=tmp_path)
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("my-data-of-today-")
    about = json.loads((folder / ABOUT).read_text())
    assert (about["name"], about["bytes"]) == ("my data / of today", SIZE * COUNT)


def test_what_is_there_and_how_much_it_is_is_said(tmp_path, caplog):
    caplog.set_level(logging.INFO, "nearfar")
    fill(opened(root=tmp_path), 4)
    caplog.clear()
    opened(root=tmp_path)
    assert "data: 4 of 10 samples lie decoded in" in caplog.text
    assert str(tmp_path) in caplog.text
    assert "all take 0.0 MB of at most" in caplog.text


def test_only_a_share_of_the_free_disk_is_taken(disk, tmp_path, caplog, monkeypatch):
    disk(5000)  # nine tenths where the user named the folder, one tenth where not
    assert opened(root=tmp_path).limit == 45
    monkeypatch.setenv("NEARFAR_CACHE", str(tmp_path / "own"))
    assert opened(root="auto").limit == 5
    assert "take 0.0 MB, and the cache in" in caplog.text
    assert "--cache DIR" in caplog.text


def test_the_least_recently_used_make_way_whole(disk, tmp_path):
    disk(100_000)
    for i, name in enumerate(["old", "older", "new"]):
        fill(opened(name, root=tmp_path))
        used_at(tmp_path, name, [200, 100, 300][i])
    there = 3 * COUNT * (SIZE + 24)
    disk(3500 * 10 // 9 - there)  # in all, room for what three folders take
    opened("next", root=tmp_path)
    assert folders(tmp_path) == ["new", "next", "old"]


def test_a_folder_in_use_never_makes_way(disk, tmp_path):
    disk(100_000)
    held = opened("held", root=tmp_path)
    fill(held)
    fill(opened("free", root=tmp_path))
    used_at(tmp_path, "held", 100)
    disk(100)
    opened("next", root=tmp_path)
    assert folders(tmp_path) == ["held", "next"]
    assert held.slot(3) == 3


def test_nothing_makes_way_for_what_would_not_fit_alone(disk, tmp_path):
    disk(100_000)
    fill(opened("other", root=tmp_path))
    disk(0)
    assert open_records(str(tmp_path), "huge", {}, size=SIZE, count=10**6) is None
    assert "other" in folders(tmp_path)


def test_what_else_lies_in_the_folder_is_left_alone(disk, tmp_path):
    disk(100_000)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / ABOUT).write_text("{}")
    (tmp_path / "letter.txt").write_text("dear")
    fill(opened("other", root=tmp_path))
    with_note = next(tmp_path.glob("other-*"))
    (with_note / "note.txt").write_text("keep this")
    disk(1200)
    opened("next", root=tmp_path)
    assert {"photos", "letter.txt", with_note.name} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("note", ['{"bytes": 1e999}', '{"bytes": []}', "[" * 100_000, "\0"], ids=range(4))
def test_a_note_that_cannot_be_read_plans_nothing(disk, tmp_path, note):
    disk(100_000)
    fill(opened("other", root=tmp_path))
    (folder,) = tmp_path.glob("other-*")
    (folder / ABOUT).write_text(note)
    assert len(list(decoded_store._sets(tmp_path))) == 1
    assert opened("next", root=tmp_path).limit > 0


def test_records_of_files_long_changed_are_forgotten(tmp_path):
    records = opened(root=tmp_path)
    records.limit = 5000
    fill(records, 2 * COUNT + 1001)
    records.close()
    assert len(opened(root=tmp_path)) == 0


def test_to_read_only_makes_and_writes_nothing(tmp_path):
    assert opened(root=tmp_path / "none", grow=False) is None
    assert not (tmp_path / "none").exists()
    fill(opened(root=tmp_path), 4)
    records = opened(root=tmp_path, grow=False)
    assert (len(records), records.limit) == (4, 0)


@pytest.mark.parametrize("grow", [True, False])
def test_a_folder_that_cannot_be_made_is_one_plain_warning(tmp_path, caplog, grow):
    (tmp_path / "file").write_text("no folder")
    assert opened(root=tmp_path / "file", grow=grow) is None
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(messages) == grow
    assert all("cannot be kept in" in message and "decoded as needed" in message for message in messages)


def test_a_full_disk_still_gives_what_is_there(tmp_path, monkeypatch, caplog):
    fill(opened(root=tmp_path), 4)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(decoded_store, "_describe", full)
    records = opened(root=tmp_path)
    assert (len(records), records.limit) == (4, 0)
    assert "No space left on device" in caplog.text
