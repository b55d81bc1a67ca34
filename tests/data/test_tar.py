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


def named_labels(found):
    return [None if i < 0 else found.label_names[i] for i in found.labels.tolist()]


def test_members_are_samples_with_the_shard_in_their_keys(tmp_path):
    found = find(write(tmp_path / "d.tar", ("a.jpg", b"A"), ("b.jpg", b"B" * 600), ("c.txt", b"c")))
    assert found.keys == ["d.tar#a.jpg", "d.tar#b.jpg"]
    assert [found.bytes(i) for i in (1, 0)] == [b"B" * 600, b"A"]
    assert found.path(0) is None
    assert found.labels is None


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_all_formats_are_read(tmp_path, form):
    names = ["a.jpg", "d" * 90 + "/" + "e" * 90 + ".jpg", "häm.jpg"]
    if form != tarfile.USTAR_FORMAT:
        names.append("/".join(["x" * 80] * 4) + ".jpg")
    found = find(write(tmp_path / "d.tar", *((name, name.encode()) for name in names), form=form))
    assert found.keys == [f"d.tar#{name}" for name in names]
    assert [found.bytes(i).decode() for i in range(len(names))] == names


def test_a_time_with_fractions_needs_records_that_are_read(tmp_path):
    some = (member(f"{i}.jpg", b"%d" % i, mtime=1.5 + i) for i in range(3))
    found = find(write(tmp_path / "d.tar", *some))
    assert [found.bytes(i) for i in range(3)] == [b"0", b"1", b"2"]


def test_a_cls_member_labels_its_sample(tmp_path):
    found = find(
        write(tmp_path / "d.tar", ("0.cls", b"7"), ("0.jpg", b"a"), ("1.jpg", b"b"), ("1.cls", b"3\n"), ("2.jpg", b"c"))
    )
    assert named_labels(found) == ["7", "3", None]


def test_a_json_member_names_label_group_and_split(tmp_path):
    rows = [
        {"label": "cat", "group": 1, "split": "train"},
        {"label": "dog", "group": 1, "split": "train"},
        {"label": "cat", "split": "test"},
    ]
    members = [
        part
        for i, row in enumerate(rows)
        for part in ((f"{i}.jpg", b"%d" % i), (f"{i}.json", json.dumps(row).encode()))
    ]
    path = write(tmp_path / "d.tar", *members)
    assert splits_of(str(path), extensions=JPG) == ["train", "test"]
    found = find(path)
    assert named_labels(found) == ["cat", "dog"]
    assert found.groups[0] == found.groups[1]
    assert find(f"{path}:test").keys == ["d.tar#2.jpg"]


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe", b"null", b"[" * 9000])
def test_json_that_says_nothing_is_no_label(tmp_path, content):
    assert find(write(tmp_path / "d.tar", ("0.jpg", b"a"), ("0.json", content))).labels is None


def test_short_texts_are_labels_and_captions_are_not(tmp_path):
    def pair(i, text):
        return (f"{i}.jpg", b"x"), (f"{i}.txt", text.encode())

    few = [part for i in range(4) for part in pair(i, "cat" if i % 2 else "dog")]
    assert named_labels(find(write(tmp_path / "a.tar", *few))) == ["dog", "cat", "dog", "cat"]
    many = [part for i in range(4) for part in pair(i, f"a photo of {i}")]
    assert find(write(tmp_path / "b.tar", *many)).labels is None


def test_captions_are_given_up_early(tmp_path, monkeypatch):
    monkeypatch.setattr(tar_index, "_CAPTIONS", 10)
    members = [part for i in range(40) for part in ((f"{i}.jpg", b"x"), (f"{i}.txt", b"%d" % i))]
    assert "txt" not in tar_index.index(write(tmp_path / "d.tar", *members)).said


def test_notes_that_stand_apart_go_with_their_sample(tmp_path):
    found = find(write(tmp_path / "d.tar", ("0.jpg", b"a"), ("1.jpg", b"b"), ("1.cls", b"5"), ("0.cls", b"4")))
    assert named_labels(found) == ["4", "5"]


def test_folders_in_the_archive_are_classes(tmp_path):
    found = find(write(tmp_path / "d.tar", ("./dog/1.jpg", b"a"), ("./cat/x/1.jpg", b"b"), ("./2.jpg", b"c")))
    assert named_labels(found) == ["dog", "cat", None]


def test_folders_of_splits_are_no_classes(tmp_path):
    members = [("set/train/cat/1.jpg", b"a"), ("set/train/dog/1.jpg", b"b"), ("set/test/dog/1.jpg", b"c")]
    path = write(tmp_path / "d.tar", *members)
    assert splits_of(str(path), extensions=JPG) == ["train", "test"]
    found = find(f"{path}:test")
    assert (found.keys, found.split) == (["d.tar#set/test/dog/1.jpg"], "test")
    assert found.label_names == ("cat", "dog")
    assert find(path).labels.tolist() == [0, 1]
    assert len(find(f"{path}:all")) == 3


def test_one_class_folder_around_all_is_passed_through_only_above_folders(tmp_path):
    assert named_labels(find(write(tmp_path / "d.tar", ("cat/1.jpg", b"a"), ("cat/2.jpg", b"b")))) == ["cat", "cat"]


def test_shards_are_one_data_set_in_their_order(tmp_path):
    for i in range(3):
        write(tmp_path / f"s-{i:04d}.tar", (f"{i}.jpg", b"%d" % i), (f"{i}.cls", b"%d" % (2 - i)))
    for data in (tmp_path / "s-{0000..0002}.tar", tmp_path / "s-*.tar", tmp_path):
        found = find(data)
        assert found.keys == [f"s-{i:04d}.tar#{i}.jpg" for i in range(3)]
        assert [found.bytes(i) for i in (2, 0, 1)] == [b"2", b"0", b"1"]
        assert found.labels.tolist() == [2, 1, 0]
        assert found.shards.tolist() == [0, 1, 2]
        assert found.size == 3


def test_shards_named_by_split_are_splits(tmp_path):
    for name in ("train-0000", "train-0001", "test-0000"):
        write(tmp_path / f"{name}.tar", (f"{name}.jpg", b"x"))
    assert splits_of(str(tmp_path), extensions=JPG) == ["test", "train"]
    assert find(tmp_path).keys == ["train-0000.tar#train-0000.jpg", "train-0001.tar#train-0001.jpg"]
    assert find(f"{tmp_path}:test").keys == ["test-0000.tar#test-0000.jpg"]


def test_a_stray_archive_beside_photos_is_left_aside(tmp_path):
    write(tmp_path / "backup.tar", ("0.jpg", b"a"))
    (tmp_path / "1.jpg").write_bytes(b"x")
    found = find(tmp_path)
    assert found.keys == ["1.jpg"]
    assert found.ignored == {".tar": 1}


def test_duplicate_names_are_two_samples_with_two_keys(tmp_path):
    found = find(write(tmp_path / "d.tar", ("a.jpg", b"1"), ("a.jpg", b"2")))
    assert found.keys == ["d.tar#a.jpg#0", "d.tar#a.jpg#1"]
    assert [found.bytes(i) for i in range(2)] == [b"1", b"2"]


def test_hidden_members_and_notes_about_the_archive_are_passed_over(tmp_path):
    found = find(
        write(tmp_path / "d.tar", (".a.jpg", b"1"), ("__MACOSX/b.jpg", b"2"), ("__meta__", b"3"), ("c.jpg", b"4"))
    )
    assert found.keys == ["d.tar#c.jpg"]
    assert not found.ignored


@pytest.mark.parametrize("name", ["../x.jpg", "/etc/x.jpg", "a/../../x.jpg"])
def test_a_name_that_leads_out_is_refused_and_nothing_is_written(tmp_path, name):
    (tmp_path / "in").mkdir()
    path = write(tmp_path / "in" / "d.tar", (name, b"evil"), ("b.jpg", b"b"))
    before = sorted(os.walk(tmp_path))
    found = find(path)
    assert found.keys == ["d.tar#b.jpg"]
    assert reasons(found) == [(f"d.tar#{name}", "a name that leads out of the archive")]
    assert found.bytes(0) == b"b"
    assert sorted(os.walk(tmp_path)) == before


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (tarfile.SYMTYPE, "a link, not a file"),
        (tarfile.LNKTYPE, "a link, not a file"),
        (tarfile.CHRTYPE, "not a plain file"),
        (tarfile.BLKTYPE, "not a plain file"),
        (tarfile.FIFOTYPE, "not a plain file"),
    ],
)
def test_links_and_devices_are_refused(tmp_path, kind, reason):
    path = write(
        tmp_path / "d.tar", ("a.jpg", b"a"), member("b.jpg", type=kind, linkname="/etc/passwd"), ("c.jpg", b"c")
    )
    found = find(path)
    assert found.keys == ["d.tar#a.jpg", "d.tar#c.jpg"]
    assert reasons(found) == [("d.tar#b.jpg", reason)]


def test_an_absurd_size_is_refused_without_being_read(tmp_path):
    path = tmp_path / "d.tar"
    write(path, ("a.jpg", b"a"))
    huge = tarfile.TarInfo("b.jpg")
    huge.size = 2**40
    path.write_bytes(path.read_bytes()[:1024] + huge.tobuf(tarfile.GNU_FORMAT))
    assert reasons(find(path)) == [("d.tar#b.jpg", "larger than 1024 MiB")]


def test_an_absurd_header_is_damage_and_is_not_read_into_memory(tmp_path):
    first = write(tmp_path / "a.tar", ("a.jpg", b"a")).read_bytes()[:1024]
    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 2**40
    rest = write(tmp_path / "b.tar", ("b.jpg", b"b")).read_bytes()
    path = tmp_path / "d.tar"
    path.write_bytes(first + long.tobuf(tarfile.GNU_FORMAT) + rest)
    found = find(path)
    assert found.keys == ["d.tar#a.jpg", "d.tar#b.jpg"]
    assert reasons(found) == [("d.tar", "damaged from byte 1024 on: 512 bytes are passed over")]


def test_a_size_below_zero_does_not_turn_back(tmp_path):
    first = write(tmp_path / "a.tar", ("a.jpg", b"a")).read_bytes()[:1024]
    below = bytearray(tarfile.TarInfo("x.jpg").tobuf(tarfile.GNU_FORMAT))
    below[124:136] = b"\xff" * 10 + (2**16 - 4096).to_bytes(2, "big")
    below[148:156] = b" " * 8
    below[148:156] = b"%06o\0 " % sum(below)
    rest = write(tmp_path / "b.tar", ("b.jpg", b"b")).read_bytes()
    path = tmp_path / "d.tar"
    path.write_bytes(first + bytes(below) + rest)
    assert find(path).keys == ["d.tar#a.jpg", "d.tar#b.jpg"]


def test_a_zero_length_member_is_a_sample_without_content(tmp_path):
    found = find(write(tmp_path / "d.tar", ("a.jpg", b""), ("b.jpg", b"b")))
    assert [found.bytes(i) for i in range(2)] == [b"", b"b"]


def test_a_truncated_archive_gives_what_is_whole(tmp_path):
    path = write(tmp_path / "d.tar", ("a.jpg", b"a" * 1000), ("b.jpg", b"b" * 1000))
    path.write_bytes(path.read_bytes()[: 512 + 1024 + 512 + 700])
    found = find(path)
    assert found.keys == ["d.tar#a.jpg"]
    assert reasons(found) == [("d.tar#b.jpg", "cut off by the end of the archive")]


@pytest.mark.parametrize("end", [1024 + 200, 1024 + 512 + 100])
def test_an_end_within_a_header_or_its_content_costs_the_rest_only(tmp_path, end):
    path = write(tmp_path / "d.tar", ("a.jpg", b"a"), ("b.jpg", b"b" * 600))
    path.write_bytes(path.read_bytes()[:end])
    found = find(path)
    assert found.keys == ["d.tar#a.jpg"]
    assert len(found.refused) == 1


def test_an_end_between_two_members_is_told(tmp_path):
    path = write(tmp_path / "d.tar", ("a.jpg", b"a"), ("b.jpg", b"b" * 600))
    path.write_bytes(path.read_bytes()[:1024])
    found = find(path)
    assert found.keys == ["d.tar#a.jpg"]
    assert reasons(found) == [("d.tar", "no mark of its end: it may be cut off")]


def test_after_damage_in_the_middle_the_rest_is_read(tmp_path):
    path = write(tmp_path / "d.tar", *((f"{i}.jpg", b"%d" % i) for i in range(5)))
    content = bytearray(path.read_bytes())
    content[2 * 1024 : 2 * 1024 + 512] = b"\xa5" * 512
    path.write_bytes(content)
    found = find(path)
    assert found.keys == [f"d.tar#{i}.jpg" for i in (0, 1, 3, 4)]
    assert [found.bytes(i) for i in range(4)] == [b"0", b"1", b"3", b"4"]
    assert reasons(found) == [("d.tar", "damaged from byte 2048 on: 1024 bytes are passed over")]


def test_a_shard_of_garbage_is_listed_and_the_others_are_read(tmp_path):
    write(tmp_path / "s-0.tar", ("a.jpg", b"a"))
    (tmp_path / "s-1.tar").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "s-2.tar").write_bytes(b"")
    write(tmp_path / "s-3.tar", ("b.jpg", b"b"))
    found = find(tmp_path)
    assert found.keys == ["s-0.tar#a.jpg", "s-3.tar#b.jpg"]
    assert reasons(found) == [("s-1.tar", "not a tar archive"), ("s-2.tar", "an empty file")]


def test_archives_written_behind_one_another_are_read_through(tmp_path):
    one = write(tmp_path / "a.tar", ("a.jpg", b"a")).read_bytes()
    path = tmp_path / "d.tar"
    path.write_bytes(one + write(tmp_path / "b.tar", ("b.jpg", b"b")).read_bytes())
    found = find(path)
    assert found.keys == ["d.tar#a.jpg", "d.tar#b.jpg"]
    assert not found.refused


def test_random_damage_never_raises_anything_else(tmp_path):
    whole = write(
        tmp_path / "w.tar", *((f"{'n' * 40 * (i % 4)}{i}.jpg", b"%d" % i * 99) for i in range(12))
    ).read_bytes()
    rng = np.random.default_rng(0)
    for trial in range(150):
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


def test_a_compressed_archive_says_what_to_do(tmp_path):
    with tarfile.open(tmp_path / "d.tar", "w:gz") as archive:
        archive.addfile(*(part if i == 0 else io.BytesIO(part) for i, part in enumerate(member("a.jpg", b"a"))))
    with pytest.raises(DataError, match="compressed: unpack it to a plain"):
        find(tmp_path / "d.tar")


def test_an_archive_without_samples_says_what_it_holds(tmp_path):
    with pytest.raises(DataError, match=r"found 2 \.wav files, which are sounds\."):
        find(write(tmp_path / "d.tar", ("a.wav", b"a"), ("b.wav", b"b")))
    with pytest.raises(DataError, match="it is empty"):
        find(write(tmp_path / "e.tar"))


def test_an_archive_that_became_shorter_is_an_unreadable_sample(tmp_path):
    path = write(tmp_path / "d.tar", ("a.jpg", b"a" * 600))
    found = find(path)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(OSError, match="cut off"):
        found.bytes(0)


def test_a_changed_archive_is_indexed_again(tmp_path):
    path = write(tmp_path / "d.tar", ("a.jpg", b"a"))
    assert len(find(path)) == 1
    write(path, *((f"{i}.jpg", b"%d" % i) for i in range(30)))
    assert len(find(path)) == 30


def test_common_headers_are_read_as_python_reads_them(tmp_path):
    path = write(tmp_path / "d.tar", *((f"{'d/' * (i % 3)}{'n' * 9 * i}.jpg", b"x" * i * 100) for i in range(1, 14)))
    found = tar_index.index(path)
    with tarfile.open(path) as archive:
        wanted = [(one.name, one.offset_data, one.size) for one in archive]
    assert list(zip(found.names, found.offsets.tolist(), found.sizes.tolist(), strict=True)) == wanted


def test_probes_spread_over_all_shards(tmp_path):
    for i, count in enumerate((10, 30, 60)):
        write(tmp_path / f"s-{i}.tar", *((f"{i}-{j}.jpg", b"x") for j in range(count)))
    found = find(tmp_path)
    probed = found.probe(20)
    assert len(set(probed.tolist())) == 20
    assert np.bincount(found.shards[probed]).tolist() == [2, 6, 12]
    some = found.take(np.arange(99, -1, -3))
    assert len(some.probe(1000)) == len(some)


def test_an_archive_that_ends_within_its_last_header_keeps_what_is_before(tmp_path):
    path = write(tmp_path / "d.tar", ("a.jpg", b"A"), ("b.jpg", b""))
    whole = path.read_bytes()
    for length in range(1024, 1536):
        header = bytearray(whole[1024:length])
        if len(header) > 156:  # its sum counts what is there
            header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * ord(" "))
        path.write_bytes(whole[:1024] + header)
        assert find(path).keys == ["d.tar#a.jpg"]
