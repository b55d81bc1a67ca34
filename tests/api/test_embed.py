"""Embedding into a file: the same vectors whatever the way, going on after a stop, a shard for each process."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import nearfar as nf
from nearfar.api import embed as embed_module
from nearfar.api.run import Run
from nearfar.evaluation import embedding

Photos = Callable[..., Path]
Finished = tuple[Path, Run]


@pytest.mark.parametrize("name", ["e.parquet", "e.npy"])
def test_the_file_holds_what_memory_would(
    finished: Finished, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, run = finished
    monkeypatch.setattr(embed_module, "_PART", 16)
    made = nf.embed_file(run.path, data, tmp_path / name, batch_size=8, precision="fp32")
    found, memory = nf.Embeddings.load(tmp_path / name), nf.embed(run.path, data, batch_size=8)
    assert made == (tmp_path / name, 40, run.encoder.dim, 0)
    assert np.array_equal(found.vectors, memory.vectors)
    assert found.keys == memory.keys
    assert found.labels == memory.labels


def test_stopped_work_goes_on_and_ends_the_same(
    finished: Finished, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = photos()
    (data / "class 1" / "00 broken.png").write_bytes(b"")
    monkeypatch.setattr(embed_module, "_PART", 16)
    whole = nf.embed(finished[1].path, data, batch_size=8)
    make, calls = embedding._vectors, []

    def stopping(*given):
        calls.append(given)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return make(*given)

    monkeypatch.setattr(embedding, "_vectors", stopping)
    with pytest.raises(KeyboardInterrupt):
        nf.embed_file(finished[1].path, data, tmp_path / "e.parquet", batch_size=8)
    assert not (tmp_path / "e.parquet").exists()
    made = nf.embed_file(finished[1].path, data, tmp_path / "e.parquet", batch_size=8)
    assert len(calls) == 4 + 4  # 41 samples are six batches, and two of them were kept
    assert (made.samples, made.skipped) == (40, 1)
    assert np.array_equal(nf.Embeddings.load(made.path).vectors, whole.vectors)


def test_each_process_writes_its_shard(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, run = finished
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        made = nf.embed_file(run.path, data, tmp_path / "e.parquet")
        assert made.path.name == f"e-0000{rank}-of-00003.parquet"
        assert made.samples in (13, 14)
    found = nf.Embeddings.load(tmp_path / "e.parquet")
    assert found.keys == nf.embed(run.path, data).keys


def test_a_process_without_samples_writes_an_empty_shard(
    finished: Finished, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        nf.embed_file(finished[1].path, photos(count=1), tmp_path / "e.parquet")
    assert len(nf.Embeddings.load(tmp_path / "e.parquet")) == 1


def test_bf16_stays_near_full_precision(finished: Finished) -> None:
    data, run = finished
    full, half = (nf.embed(run.path, data, precision=kind).vectors for kind in ("fp32", "bf16"))
    assert not np.array_equal(half, full)
    cosine = (full * half).sum(1) / np.linalg.norm(full, axis=1) / np.linalg.norm(half, axis=1)
    assert cosine.min() > 0.99
