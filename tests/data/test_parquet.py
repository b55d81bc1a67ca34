import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearfar.data import row_groups
from nearfar.data.reader import open_samples, splits_of
from nearfar.errors import DataError

CIFAR = Path(__file__).parents[3] / "shared" / "data" / "cifar10-train.parquet"


def find(data, **more):
    return open_samples(str(data), extensions=frozenset({".jpg"}), columns=("image", "path"), **more)


def hugging_face(path, rows, labels, names=("cat", "dog"), **more):
    table = pa.table(
        {"image": pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())])), "label": labels}
    )
    features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
    said = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(said), path, **more)
    return path


def images(*contents_):
    return [{"bytes": c, "path": None} for c in contents_]


def test_the_hugging_face_layout_is_read_with_its_class_names(tmp_path):
    found = find(hugging_face(tmp_path / "d.parquet", images(b"a", b"b", b"c"), [1, 0, -1]))
    assert [found.bytes(i) for i in range(3)] == [b"a", b"b", b"c"]
    assert (found.labels.tolist(), found.label_names) == ([1, 0, -1], ("cat", "dog"))
    assert found.keys == ["d.parquet#0", "d.parquet#1", "d.parquet#2"]


def test_a_folder_with_a_colon_is_a_path_and_no_web_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data:v1").mkdir()
    hugging_face(tmp_path / "data:v1" / "d.parquet", images(b"a", b"b"), [1, 0])
    found = find("data:v1/d.parquet")
    assert [found.bytes(i) for i in range(2)] == [b"a", b"b"]


def test_classes_are_found_by_what_the_metadata_says(tmp_path):
    table = pa.table({"image": pa.array([b"a", b"b"]), "fine_label": [1, 0]})
    features = {"fine_label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    said = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(said), tmp_path / "d.parquet")
    found = find(tmp_path / "d.parquet")
    assert (found.labels.tolist(), found.label_names, found.label_column) == ([1, 0], ("cat", "dog"), "fine_label")


def test_null_labels_are_minus_one(tmp_path):
    assert find(hugging_face(tmp_path / "d.parquet", images(b"a", b"b"), [None, 1])).labels.tolist() == [-1, 1]


def test_a_row_without_bytes_is_the_file_that_it_names(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"x")
    rows = [{"bytes": None, "path": "x.jpg"}, {"bytes": None, "path": None}, None]
    found = find(hugging_face(tmp_path / "d.parquet", rows, [0, 0, 0]))
    assert found.bytes(0) == b"x"
    for row in (1, 2):
        with pytest.raises(OSError, match="empty cell"):
            found.bytes(row)


def test_rows_are_right_in_any_order_across_row_groups(tmp_path):
    rows = images(*(str(i).encode() for i in range(100)))
    found = find(hugging_face(tmp_path / "d.parquet", rows, [0] * 100, row_group_size=7))
    order = np.random.default_rng(0).permutation(100)
    assert [int(found.bytes(i)) for i in order] == order.tolist()


def test_a_small_cache_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(row_groups, "CACHE_BYTES", 20)
    found = find(hugging_face(tmp_path / "d.parquet", images(b"a", b"b", b"c", b"d"), [0] * 4, row_group_size=1))
    assert [found.bytes(i) for i in (3, 0, 2, 1, 3)] == [b"d", b"a", b"c", b"b", b"d"]
    assert len(found.contents._kept) < 4


def test_large_data_is_probed_in_few_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(row_groups, "CACHE_BYTES", 1)
    rows = images(*(b"x" for _ in range(1000)))
    found = find(hugging_face(tmp_path / "d.parquet", rows, [0] * 1000, row_group_size=10))
    probed = found.probe(100)
    assert len(probed) == 100
    assert len(set(probed // 10)) == 16


def test_a_folder_of_shards_is_one_data_set(tmp_path):
    hugging_face(tmp_path / "a.parquet", images(b"a"), [0])
    hugging_face(tmp_path / "b.parquet", images(b"b", b"c"), [1, 1])
    found = find(tmp_path)
    assert [found.bytes(i) for i in range(3)] == [b"a", b"b", b"c"]
    assert found.keys == ["a.parquet#0", "b.parquet#0", "b.parquet#1"]


def test_shards_named_by_split_are_splits(tmp_path):
    (tmp_path / "data").mkdir()
    hugging_face(tmp_path / "data" / "train-00000-of-00002.parquet", images(b"a"), [0])
    hugging_face(tmp_path / "data" / "train-00001-of-00002-0123abcd.parquet", images(b"b"), [1])
    hugging_face(tmp_path / "data" / "test-00000-of-00001.parquet", images(b"c"), [1])
    assert splits_of(str(tmp_path)) == ["test", "train"]
    assert [find(tmp_path).bytes(i) for i in range(2)] == [b"a", b"b"]
    assert find(f"{tmp_path}:test").labels.tolist() == [1]


def test_a_pattern_joins_shards(tmp_path):
    for name in "ab":
        hugging_face(tmp_path / f"{name}.parquet", images(name.encode()), [0])
    assert find(tmp_path / "*.parquet").bytes(1) == b"b"


def test_row_groups_are_shards_across_files(tmp_path):
    hugging_face(tmp_path / "a.parquet", images(b"a", b"b", b"c"), [0] * 3, row_group_size=2)
    hugging_face(tmp_path / "b.parquet", images(b"d", b"e"), [0] * 2, row_group_size=2)
    found = find(tmp_path / "{a,b}.parquet")
    assert found.shards.tolist() == [0, 0, 1, 2, 2]
    assert found.size == sum(file.stat().st_size for file in tmp_path.iterdir())
    assert [found.bytes(i) for i in range(5)] == [b"a", b"b", b"c", b"d", b"e"]


def test_a_column_of_positives_tells_nulls_from_pictures(tmp_path):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"bytes": b"p", "path": None}, None, {"bytes": None, "path": None}, {"bytes": None, "path": "x.jpg"}]
    table = pa.table({"image": pa.array(images(b"a", b"b", b"c", b"d"), kind), "positive": pa.array(rows, kind)})
    pq.write_table(table, tmp_path / "d.parquet")
    found = find(tmp_path / "d.parquet").positives
    assert [found.has(i) for i in range(4)] == [True, False, False, True]
    assert found.bytes(0) == b"p"


def test_a_column_of_paths_is_files(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"x")
    pq.write_table(pa.table({"Path": ["x.jpg"], "split": ["test"]}), tmp_path / "d.parquet")
    found = find(tmp_path / "d.parquet")
    assert (found.keys, found.split, found.bytes(0)) == (["x.jpg"], "test", b"x")


def test_a_column_of_texts_is_read_inline(tmp_path):
    pq.write_table(pa.table({"text": ["häm", None]}), tmp_path / "d.parquet")
    found = open_samples(str(tmp_path / "d.parquet"), extensions=frozenset(), columns=("text",), inline=True)
    assert found.bytes(0).decode() == "häm"


def test_a_column_of_numbers_is_no_column_of_samples(tmp_path):
    pq.write_table(pa.table({"image": [1, 2]}), tmp_path / "d.parquet")
    with pytest.raises(DataError, match="holds int64"):
        find(tmp_path / "d.parquet")


def test_a_cut_file_is_an_error_that_names_it(tmp_path):
    file = hugging_face(tmp_path / "d.parquet", images(b"a"), [0])
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"d\.parquet' is not a whole parquet file"):
        find(file)


def test_a_damaged_row_group_is_an_unreadable_row(tmp_path):
    file = hugging_face(tmp_path / "d.parquet", images(b"a" * 100), [0])
    raw = bytearray(file.read_bytes())
    raw[4:40] = b"\xff" * 36
    file.write_bytes(raw)
    with pytest.raises(OSError, match="damaged"):
        find(file).bytes(0)


@pytest.mark.skipif(not CIFAR.exists(), reason="needs the CIFAR-10 parquet file beside the repository")
def test_cifar10_is_listed_with_its_names():
    found = find(CIFAR)
    assert len(found) == 50_000
    assert found.label_names[0] == "airplane"
    assert np.bincount(found.labels).tolist() == [5_000] * 10
    assert found.bytes(49_999)[:2] == b"\xff\xd8"


def no_utf8(*cells):
    raw = pa.array(cells, pa.binary())
    return pa.Array.from_buffers(pa.string(), len(cells), raw.buffers())


def test_a_text_that_is_no_utf8_costs_its_row_alone(tmp_path):
    cells = no_utf8(b"\xff.jpg", b"b.jpg")
    (tmp_path / "b.jpg").write_bytes(b"x")
    pq.write_table(pa.table({"path": cells, "label": cells}), tmp_path / "d.parquet")
    found = find(tmp_path / "d.parquet")
    assert found.keys == [r"\xff.jpg", "b.jpg"]
    assert found.bytes(1) == b"x"
    with pytest.raises(OSError, match="No such file"):
        found.bytes(0)


def test_a_path_beside_bytes_that_is_no_utf8_is_an_unreadable_row(tmp_path):
    cells = pa.StructArray.from_arrays([pa.nulls(1, pa.binary()), no_utf8(b"\xff.jpg")], ["bytes", "path"])
    pq.write_table(pa.table({"image": cells}), tmp_path / "d.parquet")
    with pytest.raises(OSError, match="No such file"):
        find(tmp_path / "d.parquet").bytes(0)


@pytest.mark.parametrize(
    "cells",
    [[{"bytes": 10**9}], [{"bytes": b"x", "path": 5}], [{"bytes": "text"}]],
    ids=["a number", "a number as path", "a text"],
)
def test_a_struct_of_something_else_is_no_column_of_samples(tmp_path, cells):
    pq.write_table(pa.table({"image": cells}), tmp_path / "d.parquet")
    with pytest.raises(DataError, match=r"holds struct<bytes: .*: give paths, bytes, or struct"):
        find(tmp_path / "d.parquet")


def test_paths_in_bytes_are_paths(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"x")
    pq.write_table(pa.table({"path": pa.array([b"x.jpg", b"y.jpg"])}), tmp_path / "d.parquet")
    found = find(tmp_path / "d.parquet")
    assert (found.keys, found.bytes(0)) == (["x.jpg", "y.jpg"], b"x")


def test_more_rows_than_memory_holds_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("nearfar.data.parquet.available_memory", lambda: 30)
    pq.write_table(pa.table({"path": ["a", "b"]}), tmp_path / "d.parquet")
    with pytest.raises(DataError, match="it speaks of 2 rows"):
        find(tmp_path / "d.parquet")


def test_a_column_that_stands_twice_is_refused(tmp_path):
    pq.write_table(pa.Table.from_arrays([pa.array(["a"])] * 2, ["path", "path"]), tmp_path / "d.parquet")
    with pytest.raises(DataError, match="has the column 'path' twice"):
        find(tmp_path / "d.parquet")
