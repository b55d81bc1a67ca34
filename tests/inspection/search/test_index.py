"""An index over a file of embeddings: exact, mapped, kept up to date, limited by conditions, or by FAISS."""

import importlib.util
import json

import numpy as np
import pyarrow as pa
import pytest
import torch

from nearfar.data.embeddings import Embeddings
from nearfar.errors import DataError, MissingExtra
from nearfar.evaluation.knn import nearest
from nearfar.inspection.search import approximate, index, twin
from nearfar.inspection.search.index import index_of, open_index

faiss = pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="faiss-cpu is not installed")


def made(count=500, dim=8, seed=0, **about):
    rng = np.random.default_rng(seed)
    table = pa.table({"part": ["ab"[i % 2] for i in range(count)], **about})
    vectors = 3 * rng.normal(size=(count, dim)).astype(np.float32)
    return Embeddings(vectors, [f"k{i}" for i in range(count)], ["x"] * count, "/data", table)


@pytest.fixture
def mapped(monkeypatch):
    """Every file is large."""
    monkeypatch.setattr(index, "_LARGE", 0)


@pytest.mark.parametrize("ending", [".parquet", ".npy"])
def test_a_large_file_is_mapped_and_found_as_in_memory(tmp_path, mapped, ending):
    embeddings = made()
    path = embeddings.save(tmp_path / f"e{ending}")
    opened = open_index(path)
    assert (twin.folder_of(path) / twin.VECTORS).is_file()
    queries = torch.from_numpy(embeddings.vectors[:20] + 0.1)
    want = nearest(torch.from_numpy(embeddings.vectors), queries, 5)
    for some in (opened, index_of(embeddings)):
        values, rows = some.nearest(queries, 5)
        assert torch.equal(rows, want[1])
        assert torch.allclose(values, want[0], atol=1e-6)
    assert opened.row_of("k7") == 7
    assert opened.row_of("none") is None
    assert opened.rows["label"][3].as_py() == "x"


def test_of_parquet_the_further_columns_and_the_origin_are_kept(tmp_path, mapped):
    opened = open_index(made().save(tmp_path / "e.parquet"))
    assert opened.origin == "/data"
    assert opened.described(np.array([3])) == [{"key": "k3", "label": "x", "part": "b"}]


def test_a_changed_file_is_made_ready_anew(tmp_path, mapped):
    path = made().save(tmp_path / "e.parquet")
    assert len(open_index(path)) == 500
    made(count=300, seed=1).save(path)
    assert not twin.is_current(path)
    assert len(open_index(path)) == 300


def test_an_unchanged_file_is_not_written_again(tmp_path, mapped):
    path = made().save(tmp_path / "e.parquet")
    open_index(path)
    before = (twin.folder_of(path) / twin.VECTORS).stat().st_mtime_ns
    open_index(path)
    assert (twin.folder_of(path) / twin.VECTORS).stat().st_mtime_ns == before


@pytest.mark.parametrize("content", ["", "{", '{"fingerprint": 3}', "[]", '"x"'])
def test_a_damaged_twin_is_made_anew(tmp_path, mapped, content):
    path = made().save(tmp_path / "e.parquet")
    open_index(path)
    (twin.folder_of(path) / twin.ABOUT).write_text(content)
    assert not twin.is_current(path)
    assert len(open_index(path)) == 500


def test_a_small_file_leaves_nothing_beside_it(tmp_path):
    open_index(made().save(tmp_path / "e.parquet"))
    assert [path.name for path in tmp_path.iterdir()] == ["e.parquet"]


def test_where_nothing_can_be_written_the_file_is_read(tmp_path, mapped, monkeypatch):
    path = made().save(tmp_path / "e.parquet")

    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(twin, "make", refuse)
    assert len(open_index(path)) == 500


@pytest.mark.parametrize("piece", [64, 2**16])
def test_only_rows_that_meet_a_condition_are_found(monkeypatch, piece):
    monkeypatch.setattr(index, "_PIECE", piece)
    embeddings = made()
    opened = index_of(embeddings)
    among = opened.where('part == "b"')
    queries = torch.from_numpy(embeddings.vectors[:6])
    values, rows = opened.nearest(queries, 4, among)
    want = nearest(torch.from_numpy(embeddings.vectors[1::2]), queries, 4)
    assert torch.equal(rows, want[1] * 2 + 1)
    assert torch.allclose(values, want[0], atol=1e-6)


def test_a_condition_that_nothing_meets_finds_nothing():
    assert index_of(made()).nearest(torch.ones(2, 8), 3, np.empty(0, dtype=np.int64))[1].shape == (2, 0)


@faiss
@pytest.mark.parametrize("kind", ["hnsw", "ivfpq"])
def test_an_approximate_index_finds_nearly_all_and_is_kept(tmp_path, kind):
    embeddings = made(count=4000, dim=16)
    path = embeddings.save(tmp_path / "e.parquet")
    opened = open_index(path, kind)
    assert opened.approximate is not None
    assert opened.approximate.recall >= approximate.ENOUGH
    queries = torch.randn(50, 16, generator=torch.Generator().manual_seed(1))
    values, rows = opened.nearest(queries, 10)
    exact = nearest(torch.from_numpy(embeddings.vectors), queries, 10)
    share = (rows[:, :, None] == exact[1][:, None]).any(2).float().mean()
    assert share > 0.9
    assert torch.allclose(values[:, 0], exact[0][:, 0], atol=0.05)
    about = json.loads((twin.folder_of(path) / f"{kind}.json").read_text())
    assert about["recall"] == opened.approximate.recall
    again = open_index(path, kind)
    assert torch.equal(again.nearest(queries, 10)[1], rows)


@faiss
def test_an_approximate_index_of_a_changed_file_is_built_anew(tmp_path):
    path = made(count=1200).save(tmp_path / "e.parquet")
    open_index(path, "hnsw")
    made(count=1500, seed=1).save(path)
    opened = open_index(path, "hnsw")
    assert opened.approximate is not None
    assert len(opened.approximate.order) == 1500


def test_without_faiss_the_extra_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "faiss", None)
    path = made(count=1200).save(tmp_path / "e.parquet")
    with pytest.raises(MissingExtra, match=r"nearfar\[search\]"):
        open_index(path, "hnsw")


@faiss
def test_few_vectors_need_no_approximate_index(tmp_path):
    with pytest.raises(DataError, match="exact is faster"):
        open_index(made().save(tmp_path / "e.parquet"), "hnsw")


def test_an_empty_file_has_nothing_to_find(tmp_path, mapped):
    path = Embeddings(np.empty((0, 4), dtype=np.float32), []).save(tmp_path / "e.parquet")
    with pytest.raises(DataError, match="nothing to search"):
        open_index(path).nearest(torch.ones(1, 4), 1)


@pytest.mark.parametrize("content", [b"", b"PAR1 no more"])
def test_a_damaged_file_is_named(tmp_path, mapped, content):
    path = tmp_path / "e.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as embeddings"):
        open_index(path)


def test_a_vector_that_is_not_finite_is_named(tmp_path, mapped):
    vectors = np.ones((3, 2), dtype=np.float32)
    vectors[1, 0] = np.nan
    with pytest.raises(DataError, match="Row 1"):
        open_index(Embeddings(vectors, ["a", "b", "c"]).save(tmp_path / "e.parquet"))
