"""Using a finished run: embed, search, evaluate, report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nearfar as nf
from nearfar.api.run import Run
from nearfar.errors import ConfigError, DataError, RunError
from tests.conftest import Killed, die

Tiny = Callable[..., Run]
Photos = Callable[..., Path]
Finished = tuple[Path, Run]


def test_embedding_keeps_keys_and_labels_with_their_vectors(finished: Finished) -> None:
    data, run = finished
    found = nf.embed(run.encoder, data)
    assert len(found) == 40
    assert found.labels == [key.split("/")[0] for key in found.keys]
    own = run.encoder.encode([data / key for key in found.keys[5:7]])
    np.testing.assert_allclose(found.vectors[5:7], own, atol=1e-5)


def test_embedding_leaves_broken_files_out_and_lists_them(finished: Finished, photos: Photos, tmp_path: Path) -> None:
    _, run = finished
    data = photos()
    (data / "class 1" / "00 broken.png").write_bytes(b"")
    found = nf.embed(run.encoder, data, out=tmp_path / "out" / "e.parquet", batch_size=7)
    assert len(found) == 40
    assert found.labels == [key.split("/")[0] for key in found.keys]
    assert "class 1/00 broken.png" in (tmp_path / "out" / "skipped.csv").read_text()
    kept = nf.Embeddings.load(tmp_path / "out" / "e.parquet")
    assert kept.keys == found.keys
    assert np.array_equal(kept.vectors, found.vectors)


def test_embedding_one_picture_is_fine(finished: Finished, photos: Photos) -> None:
    assert len(nf.embed(finished[1].path, photos(count=1))) == 1


@pytest.mark.parametrize(("options", "message"), [({"out": "e.csv"}, "parquet"), ({"batch_size": 0}, "batch_size")])
def test_embedding_refuses_before_any_work(finished: Finished, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        nf.embed(finished[1].path, "no such data", **options)


def test_embedding_leaves_the_mode(finished: Finished) -> None:
    data, run = finished
    encoder = nf.load(run.path).train()
    nf.embed(encoder, data)
    assert encoder.training


def test_a_picture_finds_itself_first(finished: Finished) -> None:
    data, run = finished
    found = nf.Embeddings.load(run.path / "embeddings.parquet")
    key = found.keys[17]
    (hit,) = nf.search(found, data / key, k=1, encoder=run.encoder)
    assert (hit.key, hit.label) == (key, key.split("/")[0])
    assert hit.similarity == pytest.approx(1, abs=1e-5)


def test_evaluating_again_finds_the_same(finished: Finished) -> None:
    data, run = finished
    again = nf.evaluate(run.path, data).to_json()
    kept = json.loads((run.path / "evaluation.json").read_text())
    for name in ("rows", "systems", "train", "test", "classes"):
        assert json.loads(json.dumps(again[name])) == kept[name], name


def test_evaluating_with_a_test_set(finished: Finished, photos: Photos) -> None:
    data, run = finished
    found = nf.evaluate(run.encoder, data, photos(count=12, seed=4), baselines=False)
    assert (found.train, found.test) == (40, 12)
    assert found.systems == ["trained encoder"]


def test_classes_of_the_test_set_go_by_their_names(finished: Finished, photos: Photos, tmp_path: Path) -> None:
    data, run = finished
    other = photos(count=12, seed=4)
    (other / "class 0").rename(other / "unknown")
    found = nf.evaluate(run.encoder, data, other, baselines=False)
    assert found.classes == ["class 0", "class 1", "class 2", "class 3", "unknown"]
    assert found.linear is not None
    assert found.linear.mean <= 0.75
    assert any("no training sample has" in note for note in found.notes)


def test_evaluating_without_labels_needs_none(finished: Finished, photos: Photos) -> None:
    found = nf.evaluate(finished[1].path, photos(classes=0))
    assert found.linear is None
    assert {row.system for row in found.rows} == {"raw input", "untrained encoder", "trained encoder"}


def test_a_test_set_without_labels_is_refused(finished: Finished, photos: Photos) -> None:
    data, run = finished
    with pytest.raises(DataError, match="no labels to judge by"):
        nf.evaluate(run.path, data, photos(classes=0))


@pytest.mark.usefixtures("unjudged")
@pytest.mark.parametrize("kind", ["photos", "table"])
def test_the_untrained_baseline_is_what_the_run_started_from(
    tiny: Tiny, photos: Photos, table: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    from nearfar.api.baselines import untrained
    from nearfar.api.sources import open_for
    from nearfar.training import loop

    begun: dict[str, torch.Tensor] = {}
    fit = loop.fit

    def noted(plan: Any, *rest: Any) -> Any:
        begun.update({name: value.clone() for name, value in plan.method.encoder.named_parameters()})
        return fit(plan, *rest)

    monkeypatch.setattr(loop, "fit", noted)
    data = photos() if kind == "photos" else table
    run = tiny(data, seed=3, **({} if kind == "photos" else {"encoder": None, "width": None}))
    encoder = nf.load(run.path)
    before = dict(untrained(encoder, open_for(encoder, str(data)), run.path).named_parameters())
    assert before.keys() == begun.keys()
    assert all(torch.equal(before[name], value) for name, value in begun.items())
    assert any(not torch.equal(value, begun[name]) for name, value in encoder.named_parameters())


def test_the_untrained_baseline_of_a_continued_run_is_its_start(finished: Finished, tiny: Tiny) -> None:
    from nearfar.api.baselines import untrained
    from nearfar.api.sources import open_for
    from nearfar.evaluation.embedding import whiten

    data, before = finished
    run = tiny(data, init=before.path)
    encoder = nf.load(run.path)
    start = untrained(encoder, open_for(encoder, str(data)), run.path)
    whiten(start, open_for(encoder, str(data)))
    for name, value in start.named_parameters():
        assert torch.equal(value, dict(before.encoder.named_parameters())[name]), name
    vectors = nf.embed(start, data).vectors
    np.testing.assert_allclose(vectors, nf.embed(before.path, data).vectors, atol=1e-4)


def test_a_report_is_made_again(finished: Finished, tmp_path: Path) -> None:
    import shutil

    _, run = finished
    shutil.copytree(run.path, tmp_path / "run")
    old = (tmp_path / "run" / "report.html").read_text()
    vectors = (tmp_path / "run" / "embeddings.parquet").read_bytes()
    (tmp_path / "run" / "report.html").unlink()
    assert nf.report(tmp_path / "run") == [tmp_path / "run" / "report.html"]
    assert len((tmp_path / "run" / "report.html").read_text()) == pytest.approx(len(old), rel=0.01)
    assert (tmp_path / "run" / "embeddings.parquet").read_bytes() == vectors


def test_a_stopped_run_gets_its_report(tiny: Tiny, photos: Photos, tmp_path: Path, stop_at: Any) -> None:
    stop_at(0)
    with pytest.raises(KeyboardInterrupt):
        tiny(photos(classes=0))
    (page,) = nf.report(tmp_path / "run")
    assert page.is_file()
    assert nf.load(tmp_path / "run").config["whitened"] is True


def test_a_run_that_saved_nothing_has_no_report(tiny: Tiny, photos: Photos, tmp_path: Path, stop_at: Any) -> None:
    stop_at(0, die)
    with pytest.raises(Killed):
        tiny(photos())
    with pytest.raises(RunError, match="saved nothing yet"):
        nf.report(tmp_path / "run")
    with pytest.raises(RunError, match="no encoder"):
        nf.load(tmp_path / "run")
