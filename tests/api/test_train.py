"""Training from end to end: data in, and a run folder that holds all it promises."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import nearfar as nf
from nearfar.api.run import Run
from nearfar.errors import RunError

Finished = tuple[Path, Run]
Tiny = Callable[..., Run]
Photos = Callable[..., Path]


def strict(text: str) -> Any:
    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def steps_of(run: Path) -> list[int]:
    return [strict(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "encoder" / "model.safetensors")


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_run_folder_holds_all_its_parts(finished: Finished) -> None:
    _, run = finished
    assert {path.name for path in run.path.iterdir()} == {
        ".lock",
        "config.toml",
        "environment.json",
        "metrics.jsonl",
        "encoder",
        "checkpoint",
        "evaluation.json",
        "embeddings.parquet",
        "report.html",
    }
    assert {path.name for path in (run.path / "encoder").iterdir()} == {"model.safetensors", "config.json"}


def test_a_run_says_how_it_went(finished: Finished) -> None:
    _, run = finished
    assert run.report == run.path / "report.html"
    assert run.encoder.dim == 32
    assert not run.encoder.training
    assert run.evaluation.systems == ["raw input", "untrained encoder", "trained encoder"]
    assert run.evaluation.linear is not None
    assert run.verdict == run.evaluation.verdict()
    assert run.seconds > 0
    assert run.after_seconds > 0


def test_metrics_are_strict_and_their_steps_rise(finished: Finished) -> None:
    _, run = finished
    records = [strict(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, 9))
    for name in ("epoch", "progress", "seconds", "lr", "loss", "samples_per_second", "data_wait", "alignment"):
        assert all(name in record for record in records), name
    assert sum("knn" in record for record in records) == 2


def test_the_evaluation_is_kept(finished: Finished) -> None:
    _, run = finished
    kept = strict((run.path / "evaluation.json").read_text())
    assert kept == json.loads(json.dumps(run.evaluation.to_json()))


def test_the_environment_is_kept(finished: Finished) -> None:
    _, run = finished
    kept = strict((run.path / "environment.json").read_text())
    assert (kept["torch"], kept["device"], kept["threads"], kept["precision"]) == (torch.__version__, "cpu", 1, "fp32")


def test_the_embeddings_are_kept(finished: Finished) -> None:
    data, run = finished
    kept = nf.Embeddings.load(run.path / "embeddings.parquet")
    made = nf.embed(run.path, data)
    assert kept.keys == made.keys
    assert kept.labels == made.labels
    assert np.array_equal(kept.vectors, made.vectors)


def test_a_loaded_encoder_gives_the_same_vectors_to_the_bit(finished: Finished) -> None:
    data, run = finished
    paths = sorted(data.rglob("*.png"))
    assert np.array_equal(nf.load(run.path).encode(paths), run.encoder.encode(paths))
    assert np.array_equal(nf.load(run.path / "encoder").encode(paths), run.encoder.encode(paths))


def test_every_setting_in_force_is_written(finished: Finished) -> None:
    data, run = finished
    from nearfar.training.run_folder import read_config

    config = read_config(run.path / "config.toml")
    assert config["data"]["data"] == str(data)
    assert (config["length"], config["model"]["width"]) == ({"steps": 8}, 8)
    assert {"batch_size", "optimizer", "lr", "weight_decay", "warmup"} <= config["optimisation"].keys()
    assert "lr" in config["chosen"]
    assert "batch_size" not in config["chosen"]


@pytest.mark.usefixtures("unjudged")
def test_a_config_gives_the_same_weights_again(finished: Finished, tmp_path: Path) -> None:
    from nearfar.training import checkpoint

    _, run = finished
    nf.train(config=run.path / "config.toml", out=tmp_path / "again")
    one, other = (checkpoint.latest(place / "checkpoint") for place in (run.path, tmp_path / "again"))
    assert one is not None
    assert other is not None
    assert equal(one.weights, other.weights)
    assert equal(one.optimizer, other.optimizer)


@pytest.mark.usefixtures("unjudged")
def test_options_come_before_the_config(finished: Finished, tmp_path: Path) -> None:
    _, run = finished
    nf.train(config=run.path / "config.toml", out=tmp_path / "again", epochs=1, seed=7)
    assert steps_of(tmp_path / "again") == [1, 2]  # 40 samples in batches of 16
    assert not equal(weights(run.path), weights(tmp_path / "again"))


@pytest.mark.usefixtures("unjudged")
def test_the_seed_decides_the_weights(tiny: Tiny, photos: Photos, tmp_path: Path) -> None:
    data = photos()
    found = [weights(tiny(data, out=tmp_path / f"run{i}", seed=seed, steps=2).path) for i, seed in enumerate((0, 0, 1))]
    assert equal(found[0], found[1])
    assert not equal(found[0], found[2])


def test_without_labels_the_verdict_needs_none(tiny: Tiny, photos: Photos) -> None:
    run = tiny(photos(classes=0))
    assert run.evaluation.linear is None
    assert "view retrieval" in run.evaluation.label_free
    assert run.report.is_file()
    assert nf.Embeddings.load(run.path / "embeddings.parquet").labels is None


def test_one_class_is_as_good_as_none(tiny: Tiny, photos: Photos) -> None:
    run = tiny(photos(classes=1))
    assert run.evaluation.linear is None
    assert "view retrieval" in run.evaluation.label_free


def test_own_splits_are_kept_apart(tiny: Tiny, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nearfar.modalities.image.source import ImageSource

    photos("data/train", count=32)
    photos("data/test", count=20, seed=9)
    seen: dict[str, set[str]] = {}
    fetch = ImageSource.fetch

    def noted(self: ImageSource, rows: Any) -> Any:
        seen.setdefault(self.name, set()).update(self.keys[row] for row in rows)
        return fetch(self, rows)

    monkeypatch.setattr(ImageSource, "fetch", noted)
    run = tiny(tmp_path / "data")
    assert (run.evaluation.train, run.evaluation.test) == (32, 20)
    kept = nf.Embeddings.load(run.path / "embeddings.parquet")
    assert len(kept) == 32
    assert not any("test" in key for key in kept.keys)
    trained_on = next(keys for name, keys in seen.items() if name.endswith("train"))
    assert len(trained_on) == 32
    assert not any("test" in key for key in trained_on)


def test_a_test_part_that_cannot_be_read_does_not_cost_the_run(
    tiny: Tiny, photos: Photos, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos("data/train", count=32)
    (tmp_path / "data" / "test").mkdir()
    for i in range(3):
        (tmp_path / "data" / "test" / f"{i}.png").write_bytes(b"")
    run = tiny(tmp_path / "data")
    assert "test part cannot be used" in caplog.text
    assert run.evaluation.train + run.evaluation.test == 32


def test_a_test_part_without_labels_does_not_judge(
    tiny: Tiny, photos: Photos, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos("data/train", count=32)
    photos("data/test", count=8, classes=0)
    run = tiny(tmp_path / "data")
    assert "has no labels" in caplog.text
    assert run.evaluation.train + run.evaluation.test == 32


def test_labels_for_part_of_the_rows_judge_that_part(tiny: Tiny, photos: Photos, tmp_path: Path) -> None:
    data = photos()
    with (tmp_path / "part.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "label"])
        for i, path in enumerate(sorted(data.rglob("*.png"))):
            rows.writerow([path.relative_to(tmp_path), path.parent.name if i % 2 else ""])
    run = tiny(tmp_path / "part.csv")
    assert run.evaluation.train + run.evaluation.test == 20
    kept = nf.Embeddings.load(run.path / "embeddings.parquet").labels
    assert kept is not None
    assert kept.count(None) == 20


def test_a_table_is_trained_on_too(tiny: Tiny, table: Path) -> None:
    run = tiny(table, encoder=None, width=None)
    assert run.encoder.config["modality"] == "table"
    assert run.evaluation.linear is not None
    assert np.array_equal(nf.embed(nf.load(run.path), table).vectors, nf.embed(run.encoder, table).vectors)


def test_the_digits_need_no_network(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def none(*_: Any, **__: Any) -> None:
        raise AssertionError("no network")

    monkeypatch.setattr(socket, "socket", none)
    run = tiny("digits:test", steps=2)
    assert run.evaluation.classes == list("0123456789")


@pytest.mark.usefixtures("unjudged")
def test_a_folder_of_the_name_of_built_in_data_changes_nothing(
    tiny: Tiny, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos("digits")
    monkeypatch.chdir(tmp_path)
    run = tiny("digits", steps=1)
    assert run.encoder.config["channels"] == 1
    assert 'data = "digits"' in (run.path / "config.toml").read_text()


@pytest.mark.usefixtures("unjudged")
def test_a_relative_path_is_written_whole(
    tiny: Tiny, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = photos()
    monkeypatch.chdir(tmp_path)
    run = tiny("photos", steps=1)
    assert f'data = "{data}"' in (run.path / "config.toml").read_text()


@pytest.mark.usefixtures("unjudged")
def test_without_out_a_run_gets_a_name_of_its_own(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = photos()
    monkeypatch.chdir(tmp_path)
    settings = {"encoder": "small_cnn", "width": 8, "batch_size": 16, "steps": 1, "precision": "fp32", "threads": 1}
    names = [nf.train(data, **settings).path.as_posix() for _ in range(2)]
    assert names == ["runs/photos-simclr", "runs/photos-simclr-2"]


def test_a_budget_is_kept(tiny: Tiny, photos: Photos) -> None:
    import time

    began = time.monotonic()
    run = tiny(photos(), steps=None, budget="2s", started=began)
    assert run.seconds < 20  # a slow machine may need long for one step, but not for all that would be left
    assert steps_of(run.path)


@pytest.mark.usefixtures("unjudged")
def test_quiet_is_silent(tiny: Tiny, photos: Photos, capfd: pytest.CaptureFixture[str]) -> None:
    tiny(photos(), quiet=True, steps=2)
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("unjudged")
@pytest.mark.parametrize("quiet", [True, False])
def test_quiet_holds_in_a_notebook_and_only_for_the_run(
    tiny: Tiny, photos: Photos, monkeypatch: pytest.MonkeyPatch, quiet: bool
) -> None:
    from nearfar import progress
    from nearfar.api import build

    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    seen = []
    seed_weights = build.seed_weights
    monkeypatch.setattr(build, "seed_weights", lambda seed: (seen.append(progress.live()), seed_weights(seed)))
    tiny(photos(), quiet=quiet, steps=2)
    assert seen == [not quiet]
    assert progress.live()


def test_nothing_is_printed(tiny: Tiny, photos: Photos, capsys: pytest.CaptureFixture[str]) -> None:
    tiny(photos(), steps=2)
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("unjudged")
def test_a_run_starts_from_another(finished: Finished, tiny: Tiny) -> None:
    from nearfar.training import checkpoint

    data, before = finished
    run = tiny(data, init=before.path, steps=1, lr=1e-9)
    started = load_file(run.path / "encoder" / "start.safetensors")
    saved = checkpoint.latest(before.path / "checkpoint")
    assert saved is not None
    for name, value in started.items():
        assert torch.equal(value, saved.weights[f"encoder.{name}"]), name
    for name, parameter in run.encoder.named_parameters():
        torch.testing.assert_close(parameter, started[name], rtol=1e-5, atol=1e-7)


@pytest.mark.usefixtures("unjudged")
def test_a_run_starts_from_a_file_of_weights(finished: Finished, tiny: Tiny) -> None:
    data, before = finished
    file = before.path / "encoder" / "model.safetensors"
    run = tiny(data, pretrained=file, steps=1, lr=1e-9)
    kept = load_file(file)
    for name, value in load_file(run.path / "encoder" / "start.safetensors").items():
        assert torch.equal(value, kept[name]), name


def test_a_run_cannot_start_from_nothing(finished: Finished, tiny: Tiny, tmp_path: Path) -> None:
    data, _ = finished
    with pytest.raises(RunError, match="no run folder at"):
        tiny(data, init=tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="no encoder in"):
        tiny(data, init=tmp_path / "empty")


def test_a_run_of_another_shape_is_refused(finished: Finished, tiny: Tiny) -> None:
    data, before = finished
    with pytest.raises(RunError, match="another shape"):
        tiny(data, init=before.path, width=4)
