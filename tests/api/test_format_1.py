"""Runs of format 1, made by version 0.1.0, are loaded and give the vectors that they recorded."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import nearfar as nf

OLD = Path(__file__).parents[1] / "data_format_1"


@pytest.mark.parametrize(("name", "data"), [("digits", "digits:train"), ("table", "plants.csv")])
def test_an_old_run_gives_the_vectors_that_it_recorded(
    name: str, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(OLD, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    kept = nf.Embeddings.load(tmp_path / name / "embeddings.parquet")
    found = nf.embed(nf.load(tmp_path / name), data)
    rows = [found.keys.index(key) for key in kept.keys]
    np.testing.assert_allclose(found.vectors[rows], kept.vectors, atol=1e-4)
    assert found.labels is not None
    assert kept.labels is not None
    assert [found.labels[row] for row in rows] == kept.labels
