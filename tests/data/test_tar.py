"""Samples in tar files and WebDataset shards: read in place, whole or damaged, and nothing is ever unpacked."""

import io
import json
import os
import tarfile

import numpy as np
import pytest

from nearfar.data import tar_index
from nearfar.data.reader import open_samples, splits_of
from nearfar.errors import DataError

JPG = frozenset({".jpg"})


def find(data, **more):
    return open_samples(str(data), extensions=JPG, columns=("image", "path"), **more)


def member(name, content=b"", **more):
    made = tarfile.TarInfo(name)
    made.size = len(content)
    for key, value in more.items():
        setattr(made, key, value)
    return made, content


def write(path, *members, form=tarfile.PAX_FORMAT):
    with tarfile.open(path, "w", format=form) as archive:
        for one in members:
            made, content = one if isinstance(one[0], tarfile.TarInfo) else member(*one)
            archive.addfile(made, io.BytesIO(content))
    return path


def reasons(found):
    return [(one.key, one.reason) for one in found.skipped]


def labels_of(found):
    return None if found.labels is None else [found.label_names[i] if i >= 0 else None for i in found.labels.tolist()]


def pairs(extension, notes):
    return [part for i, note in enumerate(notes) for part in ((f"{i}.jpg", b"x"), (f"{i}.{extension}", note))]


def test_members_are_samples_with_the_shard_in_their_keys(tmp_path):
    found = find(write(tmp_path / "d.tar", ("a.jpg", b"A"), ("b.jpg", b"B" * 600), ("a.jpg", b"C"), ("z.jpg", b"")))
    assert found.keys == ["d.tar#a.jpg#0", "d.tar#b.jpg", "d.tar#a.jpg#2", "d.tar#z.jpg"]
    assert [found.bytes(i) for i in (1, 0, 2, 3)] == [b"B" * 600, b"A", b"C", b""]
    assert (found.path(0), found.labels) == (None, None)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_all_formats_are_read_as_python_reads_them(tmp_path, form):
    names = ["a.jpg", "d" * 90 + "/" + "e" * 90 + ".jpg", "häm.jpg"]
    if form != tarfile.USTAR_FORMAT:
        names.append("/".join(["x" * 80] * 4) + ".jpg")
    path = write(tmp_path / "d.tar", *(member(n, n.encode() * 40, mtime=1.5) for n in names), form=form)
    found = tar_index.index(path)
    with tarfile.open(path) as archive:
        wanted = [(one.name, one.offset_data, one.size) for one in archive]
    assert list(zip(found.names, found.offsets.tolist(), found.sizes.tolist(), strict=True)) == wanted


@pytest.mark.parametrize(
    ("members", "labels"),
    [
        (pairs("cls", [b"7", b"3\n"]), ["7", "3"]),
        (pairs("CLS", [b"7", b"3\n"]), ["7", "3"]),
        (pairs("cls", [b"1.0", b"0.0"]), ["1", "0"]),
        ([("S0.JPG", b"a"), ("S0.CLS", b"1"), ("S1.JPG", b"b"), ("S1.target.cls", b"0")], ["1", "0"]),
        ([("0.cls", b"7"), ("0.jpg", b"a"), ("1.jpg", b"b")], ["7", None]),
        ([("0.jpg", b"a"), ("1.jpg", b"b"), ("1.cls", b"5"), ("0.cls", b"4")], ["4", "5"]),
        (pairs("json", [b'{"label": "cat"}', b'{"Class": true}']), ["cat", "True"]),
        (pairs("json", [b'"cat"', b"{"]), ["cat", None]),
        (pairs("txt", [b"dog", b"cat", b"dog", b"cat"]), ["dog", "cat", "dog", "cat"]),
        (pairs("txt", [b"a photo of %d" % i for i in range(4)]), None),
        ([("./dog/1.jpg", b"a"), ("./cat/x/1.jpg", b"b"), ("./2.jpg", b"c")], ["dog", "cat", None]),
        ([("cat/1.jpg", b"a"), ("cat/2.jpg", b"b")], ["cat", "cat"]),
        ([("a/b/cat/1.jpg", b"a"), ("a/b/dog/2.jpg", b"b")], ["cat", "dog"]),
    ],
)
def test_notes_and_folders_label_their_samples(tmp_path, members, labels):
    assert labels_of(find(write(tmp_path / "d.tar", *members))) == labels


@pytest.mark.parametrize("note", [b"{", b"[1, 0]", b"\xff\xfe", b"null", b"[" * 9000, b'{"label": [1, 0]}'])
def test_labels_that_cannot_be_used_are_counted(tmp_path, caplog, note):
    assert find(write(tmp_path / "d.tar", *pairs("json", [note]))).labels is None
    assert "d.tar: 1 .cls and .json members say nothing that can be used" in caplog.text
    assert find(write(tmp_path / "e.tar", *pairs("cls", [b"x" * 100]))).labels is None
    assert "e.tar: 1 .cls" in caplog.text


def test_a_json_member_names_label_group_and_split(tmp_path):
    rows = [{"label": "cat", "group": 1, "split": "train"}, {"label": "dog", "group": 1, "split": "train"}]
    notes = [json.dumps(row).encode() for row in [*rows, {"label": "cat", "split": "test"}]]
    path = write(tmp_path / "d.tar", *pairs("json", notes))
    assert splits_of(str(path), extensions=JPG) == ["train", "test"]
    found = find(path)
    assert labels_of(found) == ["cat", "dog"]
    assert found.groups[0] == found.groups[1]
    assert find(f"{path}:test").keys == ["d.tar#2.jpg"]


def test_captions_are_given_up_early(tmp_path, monkeypatch):
    monkeypatch.setattr(tar_index, "_CAPTIONS", 10)
    assert "txt" not in tar_index.index(write(tmp_path / "d.tar", *pairs("txt", [b"%d" % i for i in range(40)]))).said


def test_folders_of_splits_are_no_classes(tmp_path):
    members = [("set/Train/cat/1.jpg", b"a"), ("set/Train/dog/1.jpg", b"b"), ("set/test/dog/1.jpg", b"c")]
    path = write(tmp_path / "d.tar", *members, ("set/extra/cat/1.jpg", b"d"))
    assert splits_of(str(path), extensions=JPG) == ["Train", "test"]
    found = find(f"{path}:test")
    assert (found.keys, found.split, found.label_names) == (["d.tar#set/test/dog/1.jpg"], "test", ("cat", "dog"))
    assert find(path).labels.tolist() == [0, 1]
    assert len(find(f"{path}:all")) == 4


def test_shards_are_one_data_set_in_their_order(tmp_path):
    for i in range(3):
        write(tmp_path / f"s-{i:04d}.tar", (f"{i}.jpg", b"%d" % i), (f"{i}.cls", b"%d" % (2 - i)))
    for data in (tmp_path / "s-{0000..0002}.tar", tmp_path / "s-*.tar", tmp_path):
        found = find(data)
        assert found.keys == [f"s-{i:04d}.tar#{i}.jpg" for i in range(3)]
        assert [found.bytes(i) for i in (2, 0, 1)] == [b"2", b"0", b"1"]
        assert (found.labels.tolist(), found.shards.tolist(), found.size) == ([2, 1, 0], [0, 1, 2], 3)


@pytest.mark.parametrize("name", ["{}-{:04d}", "imagenet1k-{}-{:04d}", "set_{}.{}"])
def test_shards_named_by_split_are_splits(tmp_path, name):
    for split, number in (("train", 0), ("train", 1), ("validation", 0)):
        write(tmp_path / f"{name.format(split, number)}.tar", (f"{split}{number}.jpg", b"x"))
    assert splits_of(str(tmp_path), extensions=JPG) == ["train", "validation"]
    assert [key.partition("#")[2] for key in find(tmp_path).keys] == ["train0.jpg", "train1.jpg"]
    assert [key.partition("#")[2] for key in find(f"{tmp_path}:val").keys] == ["validation0.jpg"]


def test_a_stray_archive_beside_photos_is_left_aside(tmp_path):
    write(tmp_path / "backup.tar", ("0.jpg", b"a"))
    (tmp_path / "1.jpg").write_bytes(b"x")
    found = find(tmp_path)
    assert (found.keys, found.ignored) == (["1.jpg"], {".tar": 1})


def test_hidden_members_and_notes_about_the_archive_are_passed_over(tmp_path):
    hidden = (".a.jpg", "__MACOSX/b.jpg", "__meta__")
    found = find(write(tmp_path / "d.tar", *((name, b"1") for name in hidden), ("c.jpg", b"4"), ("x.wav", b"5")))
    assert (found.keys, found.ignored) == (["d.tar#c.jpg"], {".wav": 1})


def test_links_devices_and_names_that_lead_out_are_refused_and_nothing_is_written(tmp_path):
    (tmp_path / "in").mkdir()
    out = ["../x.jpg", "/etc/x.jpg", "a/../../x.jpg"]
    kinds = {tarfile.SYMTYPE: "a link, not a file", tarfile.LNKTYPE: "a link, not a file"}
    kinds |= dict.fromkeys((tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE), "not a plain file")
    links = [member(f"{i}.jpg", type=kind, linkname="/etc/passwd") for i, kind in enumerate(kinds)]
    path = write(tmp_path / "in" / "d.tar", *((name, b"evil") for name in out), *links, ("b.jpg", b"b"))
    before = sorted(os.walk(tmp_path))
    found = find(path)
    assert (found.keys, found.bytes(0)) == (["d.tar#b.jpg"], b"b")
    assert reasons(found) == [
        *((f"d.tar#{name}", "a name that leads out of the archive") for name in out),
        *((f"d.tar#{i}.jpg", reason) for i, reason in enumerate(kinds.values())),
    ]
    assert sorted(os.walk(tmp_path)) == before


def between(tmp_path, header):
    """An archive of a.jpg and b.jpg with a header of one's own between them."""
    first = write(tmp_path / "a.tar", ("a.jpg", b"a")).read_bytes()[:1024]
    rest = write(tmp_path / "b.tar", ("b.jpg", b"b")).read_bytes()
    (tmp_path / "d.tar").write_bytes(first + header + rest)
    return find(tmp_path / "d.tar")


def header(name, size, kind=tarfile.REGTYPE):
    """A header that says a size, also one below zero, which only GNU's way of writing numbers can."""
    made = tarfile.TarInfo(name)
    made.type = kind
    raw = bytearray(made.tobuf(tarfile.GNU_FORMAT))
    raw[124:136] = (b"\x80" if size >= 0 else b"\xff") + (size % 256**11).to_bytes(11, "big")
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def test_sizes_that_cannot_be_are_refused_before_anything_is_read(tmp_path):
    for size in (-4096, -1, -(2**70)):
        assert find_keys(between(tmp_path, header("x.jpg", size))) == ["a.jpg", "b.jpg"]
    assert reasons(between(tmp_path, header("x.jpg", 2**40)))[0] == ("d.tar#x.jpg", "larger than 1024 MiB")
    assert reasons(between(tmp_path, header("x.jpg", 2**20)))[0][1] == "cut off by the end of the archive"
    found = between(tmp_path, header("././@LongLink", 2**40, tarfile.GNUTYPE_LONGNAME))
    assert find_keys(found) == ["a.jpg", "b.jpg"]
    assert reasons(found) == [("d.tar", "damaged from byte 1024 on: 512 bytes are passed over")]
    size = member("x.jpg", b"")[0]
    size.pax_headers = {"size": "-512"}
    found = between(tmp_path, size.tobuf(tarfile.PAX_FORMAT))
    assert [found.bytes(i) for i in range(3)] == [b"a", b"", b"b"]  # the record is damage, the header behind it is none
    assert reasons(found) == [("d.tar", "damaged from byte 1024 on: 1024 bytes are passed over")]


def find_keys(found):
    return [key.partition("#")[2] for key in found.keys]


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (512 + 1024 + 512 + 700, "cut off by the end of the archive"),
        (1536 + 200, "damaged from byte 1536 on: 200 bytes are passed over"),
        (1536, "no mark of its end: it may be cut off"),
    ],
)
def test_a_truncated_archive_gives_what_is_whole(tmp_path, end, reason):
    path = write(tmp_path / "d.tar", ("a.jpg", b"a" * 1000), ("b.jpg", b"b" * 1000))
    path.write_bytes(path.read_bytes()[:end])
    found = find(path)
    assert found.keys == ["d.tar#a.jpg"]
    assert [one.reason for one in found.skipped] == [reason]


def test_an_archive_that_ends_within_a_label_is_told(tmp_path):
    path = write(tmp_path / "d.tar", *pairs("cls", [b"cat", b"dog"]))
    path.write_bytes(path.read_bytes()[: -(path.stat().st_size - 7 * 512)])
    assert reasons(find(path)) == [("d.tar#1.cls", "cut off by the end of the archive")]


def test_an_archive_that_ends_within_its_last_header_keeps_what_is_before(tmp_path):
    path = write(tmp_path / "d.tar", ("a.jpg", b"A"), ("b.jpg", b""))
    whole = path.read_bytes()
    for length in (1025, *range(1180, 1300, 7), 1535):
        cut = bytearray(whole[1024:length])
        if len(cut) > 156:  # its sum counts what is there
            cut[148:156] = b"%06o\0 " % (sum(cut[:148]) + sum(cut[156:]) + 8 * ord(" "))
        path.write_bytes(whole[:1024] + cut)
        assert find(path).keys == ["d.tar#a.jpg"]


def test_after_damage_in_the_middle_the_rest_is_read(tmp_path):
    path = write(tmp_path / "d.tar", *((f"{i}.jpg", b"%d" % i) for i in range(5)))
    content = bytearray(path.read_bytes())
    content[2 * 1024 : 2 * 1024 + 512] = b"\xa5" * 512
    path.write_bytes(content)
    found = find(path)
    assert find_keys(found) == [f"{i}.jpg" for i in (0, 1, 3, 4)]
    assert [found.bytes(i) for i in range(4)] == [b"0", b"1", b"3", b"4"]
    assert reasons(found) == [("d.tar", "damaged from byte 2048 on: 1024 bytes are passed over")]


def test_a_shard_of_garbage_is_listed_and_the_others_are_read(tmp_path):
    write(tmp_path / "s-0.tar", ("a.jpg", b"a"))
    (tmp_path / "s-1.tar").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "s-2.tar").write_bytes(b"")
    behind = write(tmp_path / "s-3.tar", ("b.jpg", b"b")).read_bytes()
    (tmp_path / "s-3.tar").write_bytes(behind + write(tmp_path / "c.bin", ("c.jpg", b"c")).read_bytes())
    found = find(tmp_path)
    assert find_keys(found) == ["a.jpg", "b.jpg", "c.jpg"]
    assert reasons(found) == [("s-1.tar", "not a tar archive"), ("s-2.tar", "an empty file")]


def test_random_damage_never_raises_anything_else(tmp_path):
    names = [f"{'n' * 40 * (i % 4)}{i}.jpg" for i in range(12)]
    whole = write(tmp_path / "w.tar", *((name, b"x" * 99) for name in names)).read_bytes()
    rng = np.random.default_rng(0)
    for trial in range(100):
        content = bytearray(whole[: rng.integers(1, len(whole)) if trial % 3 == 0 else None])
        for place in rng.integers(0, len(content), rng.integers(1, 30)):
            content[place] = rng.integers(256)
        path = tmp_path / f"{trial}.tar"
        path.write_bytes(content)
        try:
            found = find(path)
        except DataError:
            continue
        assert all(isinstance(found.bytes(i), bytes) for i in range(len(found)))


def test_an_archive_without_samples_says_why(tmp_path):
    with pytest.raises(DataError, match=r"found 2 \.wav files, which are sounds\."):
        find(write(tmp_path / "d.tar", ("a.wav", b"a"), ("b.wav", b"b")))
    with pytest.raises(DataError, match="it is empty"):
        find(write(tmp_path / "e.tar"))
    with tarfile.open(tmp_path / "z.tar", "w:gz") as archive:
        archive.addfile(member("a.jpg", b"a")[0], io.BytesIO(b"a"))
    with pytest.raises(DataError, match="compressed: unpack it to a plain"):
        find(tmp_path / "z.tar")


def test_a_changed_archive_is_indexed_again_and_a_shorter_one_is_an_unreadable_sample(tmp_path):
    path = write(tmp_path / "d.tar", ("a.jpg", b"a" * 600))
    found = find(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:600])
    with pytest.raises(OSError, match="cut off"):
        found.bytes(0)
    write(path, *((f"{i}.jpg", b"%d" % i) for i in range(30)))
    assert len(find(path)) == 30


def test_probes_spread_over_all_shards(tmp_path):
    for i, count in enumerate((10, 30, 60)):
        write(tmp_path / f"s-{i}.tar", *((f"{i}-{j}.jpg", b"x") for j in range(count)))
    found = find(tmp_path)
    probed = found.probe(20)
    assert len(set(probed.tolist())) == 20
    assert np.bincount(found.shards[probed]).tolist() == [2, 6, 12]
    some = found.take(np.arange(99, -1, -3))
    assert len(some.probe(1000)) == len(some)
