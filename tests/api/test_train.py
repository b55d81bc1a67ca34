"""Training from end to end: data in, and a run folder that holds all it promises."""

import csv
import json
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import nearfar as nf
from nearfar import progress
from nearfar.api import build
from nearfar.api.run import Run
from nearfar.errors import RunError
from nearfar.modalities.image.source import ImageSource
from nearfar.training import checkpoint
from nearfar.training.run_folder import RunFolder, read_config
from tests.api.conftest import photos_in

Finished = tuple[Path, Run]
Tiny = Callable[..., Run]
Photos = Callable[..., Path]


def strict(text: str) -> Any:
    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "encoder" / "model.safetensors")


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


# What a run folder holds.


def test_a_run_folder_holds_all_its_parts(finished: Finished) -> None:
    _, run = finished
    parts = {".lock", "config.toml", "environment.json", "metrics.jsonl", "encoder", "checkpoint", "evaluation.json"}
    assert {path.name for path in run.path.iterdir()} == parts | {
        *("per_sample.safetensors", "embeddings.parquet", "page.json", "report.html")
    }
    assert {path.name for path in (run.path / "encoder").iterdir()} == {"model.safetensors", "config.json"}


def test_a_run_says_how_it_went(finished: Finished) -> None:
    _, run = finished
    assert run.report == run.path / "report.html"
    assert run.encoder.dim == 32
    assert not run.encoder.training
    assert run.evaluation is not None
    assert run.evaluation.systems == ["raw input", "untrained encoder", "trained encoder"]
    assert run.evaluation.linear is not None
    assert run.verdict == run.evaluation.verdict()
    assert run.seconds > 0
    assert run.after_seconds > 0


def test_its_files_are_strict_json_and_say_what_was_found(finished: Finished) -> None:
    _, run = finished
    records = [strict(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, 9))
    for name in ("epoch", "progress", "seconds", "lr", "loss", "samples_per_second", "data_wait", "alignment"):
        assert all(name in record for record in records), name
    assert sum("knn" in record for record in records) == 2
    assert run.evaluation is not None
    assert strict((run.path / "evaluation.json").read_text()) == json.loads(json.dumps(run.evaluation.to_json()))
    kept = strict((run.path / "environment.json").read_text())
    assert (kept["torch"], kept["device"], kept["threads"], kept["precision"]) == (torch.__version__, "cpu", 1, "fp32")


@pytest.mark.parametrize("kind", ["finished", "finished_table"])
def test_its_vectors_are_those_of_the_loaded_encoder_to_the_bit(kind: str, request: pytest.FixtureRequest) -> None:
    data, run = request.getfixturevalue(kind)
    kept, made = nf.Embeddings.load(run.path / "embeddings.parquet"), nf.embed(run.path, data)
    assert (kept.keys, kept.labels, kept.origin) == (made.keys, made.labels, str(data))
    assert np.array_equal(kept.vectors, made.vectors)
    assert np.array_equal(nf.embed(nf.load(run.path / "encoder"), data).vectors, nf.embed(run.encoder, data).vectors)


def test_every_setting_in_force_is_written(finished: Finished) -> None:
    data, run = finished
    config = read_config(run.path / "config.toml")
    assert config["data"]["data"] == str(data)
    assert (config["length"], config["model"]["width"]) == ({"steps": 8}, 8)
    assert {"batch_size", "optimizer", "lr", "weight_decay", "warmup"} <= config["optimisation"].keys()
    assert "lr" in config["chosen"]
    assert "batch_size" not in config["chosen"]


def test_a_config_gives_the_same_weights_again_and_options_come_before_it(finished: Finished, tmp_path: Path) -> None:
    _, run = finished
    nf.train(config=run.path / "config.toml", out=tmp_path / "again", evaluate=False)
    one, other = (checkpoint.latest(place / "checkpoint") for place in (run.path, tmp_path / "again"))
    assert one is not None
    assert other is not None
    assert equal(one.weights, other.weights)
    assert equal(one.optimizer, other.optimizer)
    nf.train(config=run.path / "config.toml", out=tmp_path / "other", epochs=1, seed=7, evaluate=False)
    assert [record["step"] for record in RunFolder(tmp_path / "other").metrics()] == [1, 2]  # 40 in batches of 16
    assert not equal(weights(run.path), weights(tmp_path / "other"))


def test_without_an_evaluation_there_is_an_encoder_and_the_rest_comes_later(tiny: Tiny, finished: Finished) -> None:
    data, whole = finished
    run = tiny(data, steps=8, evaluate=False)
    assert run.evaluation is run.verdict is None
    assert not {"evaluation.json", "report.html", "embeddings.parquet"} & {path.name for path in run.path.iterdir()}
    assert equal(weights(run.path), weights(whole.path))
    nf.report(run.path)
    assert strict((run.path / "evaluation.json").read_text())["rows"]


# Whose labels judge.


@pytest.mark.parametrize("classes", [0, 1])
def test_without_classes_the_verdict_needs_none(tiny: Tiny, photos: Photos, classes: int) -> None:
    run = tiny(photos(classes=classes))
    assert run.evaluation is not None
    assert run.evaluation.linear is None
    assert "view retrieval" in run.evaluation.label_free
    assert run.report.is_file()
    assert (nf.Embeddings.load(run.path / "embeddings.parquet").labels is None) == (classes == 0)


def test_own_splits_are_kept_apart(tiny: Tiny, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos("data/train", count=32)
    photos("data/test", count=20, seed=9)
    seen: dict[str, set[str]] = {}
    fetch = ImageSource.fetch

    def noted(self: ImageSource, rows: Any) -> Any:
        seen.setdefault(self.name, set()).update(self.keys[row] for row in rows)
        return fetch(self, rows)

    monkeypatch.setattr(ImageSource, "fetch", noted)
    run = tiny(tmp_path / "data")
    assert run.evaluation is not None
    assert (run.evaluation.train, run.evaluation.test) == (32, 20)
    kept = nf.Embeddings.load(run.path / "embeddings.parquet")
    assert len(kept) == 32
    trained_on = next(keys for name, keys in seen.items() if name.endswith("train"))
    assert len(trained_on) == 32
    assert not any("test" in key for key in [*kept.keys, *trained_on])


@pytest.mark.parametrize(("what", "said"), [("broken", "test part cannot be used"), ("unlabelled", "has no labels")])
def test_a_test_part_that_cannot_judge_does_not_cost_the_run(
    tiny: Tiny, photos: Photos, tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str, said: str
) -> None:
    photos("data/train", count=32)
    for path in photos("data/test", count=8, classes=0).rglob("*.png"):
        path.write_bytes(b"" if what == "broken" else path.read_bytes())
    run = tiny(tmp_path / "data")
    assert said in caplog.text
    assert run.evaluation is not None
    assert run.evaluation.train + run.evaluation.test == 32


def test_labels_for_part_of_the_rows_judge_that_part(tiny: Tiny, photos: Photos, tmp_path: Path) -> None:
    data = photos()
    with (tmp_path / "part.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "label"])
        for i, path in enumerate(sorted(data.rglob("*.png"))):
            rows.writerow([path.relative_to(tmp_path), path.parent.name if i % 2 else ""])
    run = tiny(tmp_path / "part.csv")
    assert run.evaluation is not None
    assert run.evaluation.train + run.evaluation.test == 20
    kept = nf.Embeddings.load(run.path / "embeddings.parquet").labels
    assert kept is not None
    assert kept.count(None) == 20


# Names and places.


@pytest.mark.usefixtures("unjudged")
def test_the_digits_need_no_network_whatever_folder_is_called_so(
    tiny: Tiny, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise AssertionError("no network")

    monkeypatch.setattr(socket, "socket", none)
    photos("digits")
    monkeypatch.chdir(tmp_path)
    run = tiny("digits", steps=1)
    assert run.encoder.config["channels"] == 1
    assert 'data = "digits"' in (run.path / "config.toml").read_text()


@pytest.mark.usefixtures("unjudged")
def test_paths_are_written_whole_and_a_run_without_out_gets_a_name_of_its_own(
    tiny_settings: dict[str, Any], photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = photos()
    monkeypatch.chdir(tmp_path)
    names = [nf.train("photos", **tiny_settings | {"steps": 1}).path.as_posix() for _ in range(2)]
    assert names == ["runs/photos-simclr", "runs/photos-simclr-2"]
    assert f'data = "{data}"' in Path(names[0], "config.toml").read_text()


def test_a_budget_is_kept(tiny: Tiny, photos: Photos, caplog: pytest.LogCaptureFixture) -> None:
    run = tiny(photos(), steps=None, budget="2s", started=time.monotonic() - 1, evaluate=False)
    assert run.seconds < 20  # a slow machine may need long for one step, but not for all that would be left
    assert RunFolder(run.path).metrics()
    assert "Start-up took 1 s (imports, reading the data) of the budget of 2 s" in caplog.text


# What is said.


@pytest.mark.usefixtures("unjudged")
@pytest.mark.parametrize("quiet", [True, False])
def test_quiet_holds_in_a_notebook_too_and_only_for_the_run(
    tiny: Tiny, photos: Photos, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], quiet: bool
) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    seen = []
    seed_weights = build.seed_weights
    monkeypatch.setattr(build, "seed_weights", lambda seed: (seen.append(progress.live()), seed_weights(seed)))
    tiny(photos(), quiet=quiet, steps=2)
    assert seen == [not quiet]
    assert progress.live()
    out, err = capfd.readouterr()
    assert out == ""  # the library never prints
    assert not quiet or err == ""


# Starting from another run, or from weights.


@pytest.mark.usefixtures("unjudged")
def test_a_run_starts_from_another_and_takes_its_encoder_and_sizes(finished: Finished, tiny: Tiny) -> None:
    data, before = finished
    run = tiny(data, init=before.path, steps=1, lr=1e-9, encoder=None, width=None)
    assert {run.encoder.config[name] for name in ("encoder", "width")} == {"small_cnn", 8}
    assert run.encoder.config["image_size"] == before.encoder.config["image_size"]
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


def test_a_start_that_cannot_be_is_refused(finished: Finished, tiny: Tiny, tmp_path: Path) -> None:
    data, before = finished
    (tmp_path / "empty").mkdir()
    for start, more, message in (
        (tmp_path / "none", {}, "no run folder at"),
        (tmp_path / "empty", {}, "no encoder in .*empty'"),
        (before.path, {"width": 4}, "another shape"),
    ):
        with pytest.raises(RunError, match=message):
            tiny(data, init=start, **more)
        assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_data_is_read(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot be made|cannot be written|is a file"):
        tiny(tmp_path / "no data here", out=tmp_path / "file" / "run")
    photos_in(tmp_path / "few", count=1)
    with pytest.raises(nf.NearfarError, match="two"):
        tiny(tmp_path / "few", out=tmp_path / "a" / "b", batch_size=None)
    assert not (tmp_path / "a").exists()  # what was made for the run is gone again
