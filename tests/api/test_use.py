"""Using a finished run: embed, search, evaluate, report."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nearfar as nf
from nearfar.api import finish
from nearfar.api.baselines import untrained
from nearfar.api.run import Run
from nearfar.api.sources import open_for
from nearfar.errors import ConfigError, DataError, OutputError, RunError
from nearfar.evaluation.embedding import whiten
from nearfar.training import loop
from tests.conftest import Killed, die

Tiny = Callable[..., Run]
Photos = Callable[..., Path]
Finished = tuple[Path, Run]


# Embed.


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
    encoder = nf.load(run.path).train()
    found = nf.embed(encoder, data, out=tmp_path / "out" / "e.parquet", batch_size=7)
    assert encoder.training
    assert len(found) == 40
    assert found.labels == [key.split("/")[0] for key in found.keys]
    assert "class 1/00 broken.png" in (tmp_path / "out" / "skipped.csv").read_text()
    kept = nf.Embeddings.load(tmp_path / "out" / "e.parquet")
    assert kept.keys == found.keys
    assert np.array_equal(kept.vectors, found.vectors)


def test_one_sample_is_enough_to_embed(finished: Finished, photos: Photos) -> None:
    assert len(nf.embed(finished[1].path, photos(count=1))) == 1


def test_embedding_refuses_before_any_work(finished: Finished, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for options, message in (
        ({"out": "e.csv"}, "parquet"),
        ({"batch_size": 0}, "batch_size"),
        ({"precision": "fp16"}, "precision must be fp32 or bf16, got 'fp16'"),
    ):
        with pytest.raises(ConfigError, match=message):
            nf.embed(finished[1].path, "no such data", **options)
    with pytest.raises(OutputError, match="cannot be written"):
        nf.embed(finished[1].path, "no such data", out=tmp_path / "file" / "e.npy")


# Search.


def test_a_sample_is_found_by_its_file_and_by_its_key_and_its_path_opens(finished: Finished) -> None:
    data, run = finished
    key = nf.Embeddings.load(run.path / "embeddings.parquet").keys[17]
    for query in (str(data / key), key):
        for within in (None, data, run.path / "embeddings.parquet"):
            ((hit,),) = nf.search_run(run.path, [query], 1, within=within)
            assert (hit.key, hit.label, hit.path) == (key, key.split("/")[0], str(data / key))
            assert hit.similarity == pytest.approx(1, abs=1e-5)


def test_a_row_is_found_by_its_place_by_its_key_and_as_json(finished_table: Finished) -> None:
    data, run = finished_table
    cells = dict(zip("wxyz", map(float, data.read_text().splitlines()[4].split(",")[:4]), strict=True))
    for query in (f"{data}#3", "table.csv#3", json.dumps(cells), json.dumps(list(cells.values())), cells):
        ((hit,),) = nf.search_run(run.path, [query], 1, within=data)
        assert (hit.key, hit.path) == ("table.csv#3", f"{data}#3"), query
        assert hit.similarity == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("nothing", "'nothing' is neither a key of the embedding nor a sample for its encoder"),
        ('{"w": 1', "is no JSON"),
        ("[[1, 2]]", "is no sample"),
        ("{data}#99", "There is no sample '99' in .*which has 40"),
    ],
)
def test_a_query_that_is_none_is_told_what_one_is(finished_table: Finished, query: str, message: str) -> None:
    data, run = finished_table
    with pytest.raises(DataError, match=message):
        nf.search_run(run.path, [query.replace("{data}", str(data))])


@pytest.mark.parametrize("kind", ["parquet", "npy"])
def test_data_and_embeddings_are_told_apart_by_content(finished_table: Finished, tmp_path: Path, kind: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    data, run = finished_table
    rows = np.array([line.split(",")[:4] for line in data.read_text().splitlines()[1:]], dtype=np.float64)
    if kind == "npy":
        np.save(tmp_path / "rows.npy", rows)
    else:
        pq.write_table(pa.table(dict(zip("wxyz", rows.T, strict=True))), tmp_path / "rows.parquet")
    nf.embed(run.path, data, out=tmp_path / f"e.{kind}")
    ((hit,),) = nf.search_run(run.path, ["table.csv#3"], 1, within=tmp_path / f"e.{kind}")
    assert hit.key == "table.csv#3"
    if kind == "parquet":  # arrays have no names of columns
        ((hit,),) = nf.search_run(run.path, [f"{data}#3"], 1, within=tmp_path / f"rows.{kind}")
        assert hit.key == f"rows.{kind}#3"


# Evaluate.


def test_evaluating_again_finds_the_same(finished: Finished) -> None:
    data, run = finished
    again = nf.evaluate(run.path, data).to_json()
    kept = json.loads((run.path / "evaluation.json").read_text())
    for name in ("rows", "systems", "train", "test", "classes"):
        assert json.loads(json.dumps(again[name])) == kept[name], name


def test_classes_of_the_test_set_go_by_their_names(finished: Finished, photos: Photos) -> None:
    data, run = finished
    other = photos(count=12, seed=4)
    (other / "class 0").rename(other / "unknown")
    found = nf.evaluate(run.encoder, data, other, baselines=False)
    assert (found.train, found.test) == (40, 12)
    assert found.systems == ["trained encoder"]
    assert found.classes == ["class 0", "class 1", "class 2", "class 3", "unknown"]
    assert found.linear is not None
    assert found.linear.mean <= 0.75
    assert any("no training sample has" in note for note in found.notes)


def test_evaluating_without_labels_needs_none_and_says_what_could_not_be_read(
    finished: Finished, photos: Photos, caplog: pytest.LogCaptureFixture
) -> None:
    data = photos(classes=0)
    (data / "00.png").write_bytes(b"")
    found = nf.evaluate(finished[1].path, data)
    assert found.linear is None
    assert {row.system for row in found.rows} == {"raw input", "untrained encoder", "trained encoder"}
    said = "1 sample could not be read and is left out: 00.png (empty file)."
    assert said in found.notes
    assert said in caplog.text


def test_a_run_of_a_few_steps_is_too_short_to_tell(finished: Finished) -> None:
    data, run = finished
    for found in (run.evaluation, nf.evaluate(run.path, data)):
        assert found is not None
        assert (found.steps, found.epochs) == (8, 4.0)  # as --epochs counts them
        assert found.verdict().level != "good"
        assert "Too short to tell (8 steps, 4 epochs)" in str(found.verdict())


def test_a_test_set_without_labels_is_refused(finished: Finished, photos: Photos) -> None:
    data, run = finished
    with pytest.raises(DataError, match="no labels to judge by"):
        nf.evaluate(run.path, data, photos(classes=0))


def test_the_column_of_labels_can_be_named(finished_table: Finished, tmp_path: Path) -> None:
    data, run = finished_table
    other = tmp_path / "other.csv"
    other.write_text(data.read_text().replace("label", "kind", 1))
    found = nf.evaluate(run.path, other, label_column="kind", baselines=False)
    assert found.classes == ["a", "b"]


def test_named_columns_are_remembered_for_other_data(tiny: Tiny, table: Path, tmp_path: Path) -> None:
    lines = table.read_text().replace("label", "kind", 1).splitlines()
    other = tmp_path / "named.csv"
    other.write_text("\n".join([f"{lines[0]},who,note", *(f"{line},{i // 2},1" for i, line in enumerate(lines[1:]))]))
    named = {"label_column": "kind", "group_column": "who", "ignore_columns": ["note"]}
    run = tiny(data=other, encoder="mlp", width=None, evaluate=False, **named)
    source = open_for(nf.load(run.path), str(other))
    assert isinstance(source.groups, np.ndarray)
    assert (list(source.label_names), len(np.unique(source.groups))) == (["a", "b"], len(lines) // 2)
    assert "note" not in source.whole.table.column_names


def test_an_encoder_that_learnt_from_all_labels_is_judged_by_a_test_part_alone(tiny: Tiny, table: Path) -> None:
    run = tiny(data=table, method="supcon", encoder="mlp", width=None, hold_out=False)
    assert run.evaluation is not None
    assert {row.task for row in run.evaluation.rows} == {"label_free"}
    assert "accuracy" in {row.metric for row in nf.evaluate(run.path, table, table, baselines=False).rows}


@pytest.mark.usefixtures("unjudged")
@pytest.mark.parametrize("kind", ["photos", "table"])
def test_the_untrained_baseline_is_what_the_run_started_from(
    tiny: Tiny, photos: Photos, table: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
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
    data, before = finished
    run = tiny(data, init=before.path, evaluate=False)
    encoder = nf.load(run.path)
    start = untrained(encoder, open_for(encoder, str(data)), run.path)
    whiten(start, open_for(encoder, str(data)))
    for name, value in start.named_parameters():
        assert torch.equal(value, dict(before.encoder.named_parameters())[name]), name
    vectors = nf.embed(start, data).vectors
    np.testing.assert_allclose(vectors, nf.embed(before.path, data).vectors, atol=1e-4)


# Report.


@pytest.fixture
def moved(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a finished run, where the data cannot be opened and nothing is judged."""
    monkeypatch.setattr("nearfar.api.prepare.prepare", lambda *_, **__: pytest.fail("the data is opened"))
    return Path(shutil.copytree(finished[1].path, tmp_path / "run"))


def test_a_report_needs_neither_data_nor_encoder(moved: Path) -> None:
    old = (moved / "report.html").read_text()
    for name in ("encoder", "checkpoint"):
        shutil.rmtree(moved / name)
    for name in ("report.html", "embeddings.parquet"):
        (moved / name).unlink()
    assert nf.report(moved).path == moved / "report.html"
    assert (moved / "report.html").read_text() == old


def test_a_report_shows_what_is_in_the_folder_now(moved: Path) -> None:
    (moved / "skipped.csv").write_text("key,reason\n'=gone.png,empty file\n")
    with (moved / "metrics.jsonl").open("a") as file:
        file.write('{"step": 99, "novelty": 0.5}\n')
    text = nf.report(moved).path.read_text()
    assert "=gone.png" in text
    assert '"novelty"' in text


@pytest.mark.parametrize("damage", ["", "[]", '{"format": 1}'])
def test_a_run_of_an_earlier_version_or_with_a_damaged_page_gets_a_new_one(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    run = Path(shutil.copytree(finished[1].path, tmp_path / "run"))
    kept, vectors = json.loads((run / "page.json").read_text()), (run / "embeddings.parquet").read_bytes()
    (run / "page.json").write_text(damage)
    (run / "skipped.csv").write_text("key,reason\n'=gone.png,empty file\n")  # of what that evaluation met
    monkeypatch.setattr(finish, "finish", lambda *_, **__: pytest.fail("it is not judged again"))
    assert "=gone.png" in nf.report(run).path.read_text()
    again = json.loads((run / "page.json").read_text())
    assert again["shown"]["samples"] == kept["shown"]["samples"]
    assert again["costs"] == kept["costs"] | {"memory": None}  # of another process
    assert kept["costs"]["memory"] > 50e6
    assert (run / "embeddings.parquet").read_bytes() == vectors


def test_a_stopped_run_gets_its_report(tiny: Tiny, photos: Photos, tmp_path: Path, stop_at: Any) -> None:
    stop_at(0)
    with pytest.raises(KeyboardInterrupt):
        tiny(photos(classes=0))
    assert nf.report(tmp_path / "run").path.is_file()
    assert nf.load(tmp_path / "run").config["whitened"] is True


def test_a_run_that_saved_nothing_has_no_report(tiny: Tiny, photos: Photos, tmp_path: Path, stop_at: Any) -> None:
    stop_at(0, die)
    with pytest.raises(Killed):
        tiny(photos())
    with pytest.raises(RunError, match="saved nothing yet"):
        nf.report(tmp_path / "run")
    with pytest.raises(RunError, match=r"no encoder in .*run'"):
        nf.load(tmp_path / "run")
