"""Each picture is decoded once, wherever it is kept, and what another run has decoded is found."""

import errno
import logging
import os

import numpy as np
import pytest
import torch
from PIL import Image

from nearfar.errors import DataError
from nearfar.modalities.image import store as module
from tests.modalities.image.opening import open_images, suited

ALL = np.arange(6)


def picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    for i in range(6):
        picture(tmp_path / "data" / f"{i}.png", i)
    return tmp_path / "data"


@pytest.fixture
def decoded(monkeypatch):
    """The keys of what was decoded so far."""
    made = []
    real = module.Store._decoded

    def noted(self, row, *how):
        made.append(self.samples.keys[row])
        return real(self, row, *how)

    monkeypatch.setattr(module.Store, "_decoded", noted)
    return made


def opened(data, tmp_path, *, cache="cache", size=30, memory_limit=0, **more):
    place = cache if cache == "off" else str(tmp_path / cache)
    source = open_images(str(data), memory_limit=memory_limit, cache=place, threads=2, **more)
    source = suited(source, {"stored_size": size})
    return source


def equal(one, other):
    (a, kept_a), (b, kept_b) = one.fetch(ALL), other.fetch(ALL)
    return torch.equal(a.pixels, b.pixels) and torch.equal(a.aspect, b.aspect) and kept_a.tolist() == kept_b.tolist()


def test_a_picture_is_decoded_once_in_the_cache(folder, tmp_path, decoded):
    source = opened(folder, tmp_path)
    for _ in range(3):
        source.fetch(ALL)
    assert sorted(decoded) == source.keys


@pytest.mark.parametrize("memory_limit", [0, 10**9], ids=["cache", "memory"])
def test_pictures_are_fetched_with_their_channels_innermost(folder, tmp_path, memory_limit):
    source = opened(folder, tmp_path, memory_limit=memory_limit)
    for _ in range(2):
        found = source.fetch(ALL)[0].pixels
        assert found.shape == (6, 3, 30, 30)
        assert found.stride() == (2700, 1, 90, 3)


def test_the_next_run_decodes_nothing(folder, tmp_path, decoded):
    before = opened(folder, tmp_path)
    decoded.clear()
    after = opened(folder, tmp_path)
    assert equal(after, before)
    assert after.ids.tolist() == before.ids.tolist()
    assert decoded == []


def test_what_was_not_wanted_is_decoded_when_it_is(folder, tmp_path, decoded, monkeypatch):
    from nearfar.modalities.image import source

    monkeypatch.setattr(source, "_SCANNED", 2)
    first = opened(folder, tmp_path)
    assert len(decoded) == 2
    first.fetch(np.array([1, 2]))
    done = set(decoded)
    decoded.clear()
    opened(folder, tmp_path).fetch(ALL)
    assert sorted(decoded) == sorted(set(first.keys) - done)


def test_of_large_pictures_fewer_are_decoded_before_training(folder, tmp_path, decoded, monkeypatch):
    from nearfar.modalities.image import source

    monkeypatch.setattr(source, "_SAMPLED", 3)
    assert len(opened(folder, tmp_path, size=65).sample) == len(decoded) == 3
    assert len(opened(folder, tmp_path, size=64).sample) == 6


def test_a_changed_picture_is_decoded_anew(folder, tmp_path, decoded):
    opened(folder, tmp_path)
    picture(folder / "3.png", 99)
    os.utime(folder / "3.png", (0, 0))
    decoded.clear()
    after = opened(folder, tmp_path)
    assert decoded == ["3.png"]
    assert equal(after, opened(folder, tmp_path, cache="off"))


def test_a_picture_more_costs_one_decoding(folder, tmp_path, decoded):
    opened(folder, tmp_path)
    picture(folder / "0a.png", 7)
    decoded.clear()
    opened(folder, tmp_path)
    assert decoded == ["0a.png"]


@pytest.mark.parametrize("how", [{"size": 20}, {"max_pixels": 10_000}, {"cache": "elsewhere"}])
def test_another_form_is_another_record(folder, tmp_path, decoded, how):
    opened(folder, tmp_path)
    decoded.clear()
    opened(folder, tmp_path, **how)
    assert len(decoded) == 6


def test_two_stores_at_once_share_what_they_decode(folder, tmp_path, monkeypatch):
    from nearfar.modalities.image import source

    monkeypatch.setattr(source, "_SCANNED", 2)
    one, other = opened(folder, tmp_path), opened(folder, tmp_path)
    assert equal(one, other)
    assert len(opened(folder, tmp_path).store._records) == 6


def test_damaged_records_are_decoded_anew(folder, tmp_path, decoded):
    opened(folder, tmp_path)
    (records,) = (tmp_path / "cache").glob("*/records")
    with records.open("r+b") as file:
        file.seek(2700)
        file.write(b"\0" * 2 * 2700)
    decoded.clear()
    after = opened(folder, tmp_path)
    assert len(decoded) == 2
    assert equal(after, opened(folder, tmp_path, cache="off"))


def test_records_that_vanish_under_a_run_are_decoded_anew(folder, tmp_path):
    source = opened(folder, tmp_path)
    (records,) = (tmp_path / "cache").glob("*/records")
    os.truncate(records, 0)
    assert equal(source, opened(folder, tmp_path, cache="off"))


def test_a_disk_that_is_full_is_one_warning(folder, tmp_path, caplog, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    source = opened(folder, tmp_path)
    for _ in range(2):
        assert equal(source, opened(folder, tmp_path, cache="off"))
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warnings == [
        "No more decoded samples can be kept (No space left on device): the others are decoded as needed."
    ]


def test_a_cache_too_small_keeps_what_fits(folder, tmp_path, decoded, monkeypatch):

    from nearfar.data import decoded_store

    monkeypatch.setattr(decoded_store, "_available", lambda *_: 4 * 2700)
    source = opened(folder, tmp_path)
    decoded.clear()
    source.fetch(ALL)
    assert len(decoded) == 2
    assert equal(source, opened(folder, tmp_path, cache="off"))


def test_larger_pictures_that_fit_stay_in_memory_without_a_cache(folder, tmp_path, decoded):
    source = opened(folder, tmp_path, size=80, memory_limit=None, cache="off")
    source.fetch(ALL)
    assert len(decoded) == 6
    assert not (tmp_path / "cache").exists()


def test_without_any_room_pictures_are_decoded_as_needed(folder, tmp_path, decoded, caplog):
    caplog.set_level(logging.INFO, "nearfar")
    source = opened(folder, tmp_path, cache="off")
    assert decoded == []
    for _ in range(2):
        source.fetch(ALL)
    assert len(decoded) == 12
    assert "decoded as needed" in caplog.text


def test_pictures_gone_through_once_are_tried_and_then_decoded_in_their_order(tmp_path, decoded):
    for i in range(150):
        picture(tmp_path / "data" / f"{i:03}.png", i)
    source = opened(tmp_path / "data", tmp_path, memory_limit=None, grow=False)
    assert len(decoded) == 64
    source.fetch(np.arange(150))
    assert sorted(decoded) == source.keys


def test_a_few_pictures_gone_through_once_are_all_tried_before(folder, tmp_path):
    for path in folder.iterdir():  # their headers are sound
        path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match="None of the samples"):
        opened(folder, tmp_path, memory_limit=None, grow=False, least=1)


def test_what_is_only_read_adds_nothing(folder, tmp_path, decoded):
    opened(folder, tmp_path, grow=False).fetch(ALL)
    assert not (tmp_path / "cache").exists()
    opened(folder, tmp_path)
    picture(folder / "0a.png", 7)
    decoded.clear()
    for _ in range(2):
        opened(folder, tmp_path, grow=False).fetch(np.arange(7))
    assert decoded == ["0a.png"] * 2


def test_broken_files_are_listed_once_in_every_run(folder, tmp_path, decoded):
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:900])
    for _ in range(2):
        source = opened(folder, tmp_path)
        for _ in range(2):
            _, kept = source.fetch(ALL)
        assert [(one.key, one.reason) for one in source.skipped] == [("1.png", "truncated")]
        assert kept.tolist() == [0, 2, 3, 4, 5]
    assert decoded.count("1.png") == 2


@pytest.fixture
def container(folder, tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    contents = [path.read_bytes() for path in sorted(folder.iterdir())]
    contents[1] = contents[1][:900]
    parquet.write_table(pa.table({"image": pa.array(contents)}), tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


def test_rows_of_a_container_are_decoded_in_order_before_they_are_wanted(container, tmp_path, decoded, monkeypatch):
    from nearfar.modalities.image import source as opening

    monkeypatch.setattr(opening, "_SCANNED", 2)
    source = opened(container, tmp_path)
    assert sorted(set(decoded)) == source.keys
    decoded.clear()
    _, kept = source.fetch(ALL)
    assert decoded == [source.keys[1]]  # a broken one is noted when it is wanted, as without a cache
    assert kept.tolist() == [0, 2, 3, 4, 5]
    decoded.clear()
    opened(container, tmp_path).fetch(ALL)
    assert set(decoded) == {source.keys[1]}


def test_samples_that_are_no_files_are_decoded_as_needed(tmp_path):
    source = open_images("digits", memory_limit=0, cache=str(tmp_path / "cache"))
    source = suited(source, {"stored_size": 8})
    assert len(source.fetch(ALL)[1]) == 6
    assert not (tmp_path / "cache").exists()


def test_what_is_shown_is_decoded_without_a_word(folder, tmp_path, caplog):
    source = opened(folder, tmp_path, size=16)
    with caplog.at_level(logging.INFO, "nearfar"):
        assert all(card.image for card in source.cards(ALL))
    assert caplog.messages == []
