"""Fine-tuning and prediction as a user meets them, on tables and pictures of a second."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import nearfar as nf
from nearfar.api.arms import PROBE, SCRATCH, TUNED
from nearfar.api.options import from_file
from nearfar.errors import ConfigError, DataError, OutputError, RunError, UnknownName
from tests.conftest import Killed, die

FEW = {"steps": 6, "threads": 1, "precision": "fp32"}


@pytest.fixture(scope="module")
def tuned(finished_table, tmp_path_factory):
    """A table's encoder, fine-tuned with 3 labels a class and with all."""
    data, run = finished_table
    out = tmp_path_factory.mktemp("tuned") / "run"
    return data, nf.finetune(run.path, data, labels="3,100%", draws=2, out=out, **FEW)


def test_each_amount_of_labels_compares_three_systems(tuned):
    _, run = tuned
    found = run.evaluation
    assert found.systems == [SCRATCH, PROBE, TUNED]
    for setting in ({"labels_per_class": 3}, {"labels": "all"}):
        rows = [found.find("accuracy", system, **setting) for system in found.systems]
        assert all(row is not None and 0 <= row.value.mean <= 1 for row in rows)
        assert [row.lead is not None for row in rows] == [True, True, False]
    assert found.find("accuracy", labels_per_class=3).value.count == 2


def test_a_batch_that_is_larger_than_the_labels_of_a_draw_is_all_of_them(finished_table, tmp_path):
    data, run = finished_table
    found = nf.finetune(run.path, data, labels="1,100%", draws=2, out=tmp_path / "run", batch_size=16, **FEW)
    assert found.evaluation.find("accuracy", labels_per_class=1) is not None
    assert from_file(found.path / "config.toml")["batch_size"] == 16
    few = nf.finetune(run.path, data, labels="2", draws=2, compare=False, out=tmp_path / "few", batch_size=16, **FEW)
    assert from_file(few.path / "config.toml")["batch_size"] < 16


def test_the_result_is_a_run(tuned):
    data, run = tuned
    assert (run.path / "report.html").is_file()
    assert nf.evaluate(run.path, data, baselines=False).linear is not None
    assert len(nf.embed(run.path, data).vectors) == 40
    assert not (run.path / "comparison").exists()


def test_predictions_are_those_of_the_head(tuned):
    data, run = tuned
    records = nf.predict(run.path, data)
    assert len(records) == 40
    for record in records:
        shares = {name: record[f"p({name})"] for name in ("a", "b")}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert record["probability"] == max(shares.values())
        assert shares[record["prediction"]] == record["probability"]


def test_norms_of_a_new_encoder_that_stays_as_it_is_know_the_data(finished, tmp_path):
    how = {"method": "classify", "frozen": True, "encoder": "small_cnn", "width": 4, "batch_size": 16, **FEW}
    run = nf.train(finished[0], out=tmp_path / "run", evaluate=False, **how)
    means = [value for name, value in run.encoder.state_dict().items() if name.endswith("running_mean")]
    assert all(mean.abs().max() > 0 for mean in means)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_files_of_predictions_say_what_the_list_says(ending, tuned, tmp_path):
    data, run = tuned
    made = nf.predict_file(run.path, data, tmp_path / f"said.{ending}", batch_size=7)
    assert made.samples == 40 == sum(made.counts.values())
    assert made.accuracy == pytest.approx(np.mean([r["label"] == r["prediction"] for r in nf.predict(run.path, data)]))
    with pytest.raises(OutputError, match="is there already"):
        nf.predict_file(run.path, data, made.path)


def test_a_killed_fine_tuning_goes_on_to_the_same_end(tuned, finished_table, tmp_path, stop_at):
    data, run = tuned
    stop_at(3, die)
    with pytest.raises(Killed):
        nf.finetune(finished_table[1].path, data, labels="3,100%", draws=2, out=tmp_path / "run", **FEW)
    again = nf.finetune(out=tmp_path / "run", resume=True)
    for row, other in zip(run.evaluation.rows, again.evaluation.rows, strict=True):
        assert row.value.mean == other.value.mean, row.key
    with pytest.raises(ConfigError, match="keeps its settings"):
        nf.finetune(out=tmp_path / "run", resume=True, steps=9)


def test_with_how_probe_the_encoder_stays_as_it_was(finished_table, tmp_path):
    data, before = finished_table
    run = nf.finetune(before.path, data, how="probe", compare=False, out=tmp_path / "run", **FEW)
    start = nf.finetune(before.path, data, compare=False, out=tmp_path / "full", **FEW)
    frozen, learnt = run.encoder.state_dict(), start.encoder.state_dict()
    origin = nf.load(before.path).state_dict()
    assert all(torch.equal(value, origin[name]) for name, value in frozen.items())
    assert any(not torch.equal(value, origin[name]) for name, value in learnt.items())


def odd_photos(folder: Path) -> Path:
    """Four classes in training: one of them of one sample; one more in the test part; a broken picture."""
    rng = np.random.default_rng(0)
    for part, classes in (("train", {"a": 12, "b": 12, "c": 4, "lone": 1}), ("test", {"a": 5, "b": 5, "new": 2})):
        for name, count in classes.items():
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 90, (16, 16, 3)) + 80 * (len(name) + ord(name[0])) % 160
                Image.fromarray(pixels.astype(np.uint8)).save(folder / part / name / f"{i}.png")
    (folder / "train" / "a" / "broken.png").write_bytes(b"no picture")
    return folder


def test_odd_classes_are_told(tmp_path, tiny_settings):
    data = odd_photos(tmp_path / "photos")
    before = nf.train(data, out=tmp_path / "before", evaluate=False, **tiny_settings)
    run = nf.finetune(before.path, data, labels="2", draws=2, compare=False, out=tmp_path / "run", **FEW)
    notes = " ".join(run.evaluation.notes)
    assert "2 samples that judge are of classes without a training sample (new)" in notes
    assert "1 class has one training sample: lone" in notes
    assert "probabilities are not calibrated" in notes
    made = nf.predict_file(run.path, data / "train", tmp_path / "said.csv")
    assert made.skipped == 1
    assert "broken.png" in (tmp_path / "skipped.csv").read_text()
    with (tmp_path / "said.csv").open() as file:
        assert {row["prediction"] for row in csv.DictReader(file)} <= {"a", "b", "c", "lone"}


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"labels": "some"}, ConfigError, "labels must be a share"),
        ({"labels": " , "}, ConfigError, "labels must name an amount"),
        ({"task": "clasify"}, UnknownName, "Did you mean 'classify'"),
        ({"how": "half"}, ConfigError, "how must be full or probe"),
        ({"draws": 1}, ConfigError, "draws must be at least 2"),
        ({"lr": -1.0}, ConfigError, "lr must be above 0"),
        ({"method": "simclr"}, ConfigError, "says itself what method is"),
    ],
)
def test_wrong_options_are_refused_before_any_work(options, error, says, finished_table, tmp_path):
    data, run = finished_table
    with pytest.raises(error, match=says):
        nf.finetune(run.path, data, out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_data_without_labels_is_refused(finished_table, tmp_path):
    data, run = finished_table
    rows = [line.rsplit(",", 1)[0] for line in data.read_text().splitlines()]
    (tmp_path / "plain.csv").write_text("\n".join(rows))
    with pytest.raises((ConfigError, DataError), match="learns from labels"):
        nf.finetune(run.path, tmp_path / "plain.csv", out=tmp_path / "run", **FEW)


def test_a_run_without_a_head_predicts_nothing(finished_table, tmp_path):
    data, run = finished_table
    with pytest.raises(RunError, match="nearfar finetune"):
        nf.predict(run.path, data)
    with pytest.raises(RunError, match="no run folder"):
        nf.finetune(tmp_path / "nothing", data)


@pytest.mark.parametrize("content", ["{", "[]", '{"task": "classify", "classes": [], "temperature": 1}'])
def test_an_altered_head_is_refused(content, tuned, tmp_path):
    data, run = tuned
    shutil.copytree(run.path, tmp_path / "run")
    (tmp_path / "run" / "head" / "config.json").write_text(content)
    with pytest.raises(RunError, match="does not describe a head"):
        nf.predict(tmp_path / "run", data)


def test_labels_are_for_methods_that_learn_from_them(tiny: Any, table: Path):
    with pytest.raises(ConfigError, match="--labels is for methods that learn from labels"):
        tiny(table, labels="10%", encoder=None, width=None)


def test_what_was_asked_for_is_kept_as_plain_json(tuned):
    asked = json.loads((tuned[1].path / "finetune.json").read_text())
    assert (asked["labels"], asked["draws"], asked["how"]) == ("3,100%", 2, "full")


def test_several_methods_train_together_and_go_on_to_the_bit(resumes: Any, photos: Any):
    whole = resumes(photos(), method="simclr", also="supcon:0.5,classify:0.2")
    assert "supcon:0.5:" in (whole / "config.toml").read_text()


def test_settings_go_by_a_name_and_options_come_before_them(tiny: Any, photos: Any, unjudged: None):
    run = tiny(photos(), config="fine-grained", crop_scale=0.7)
    config = (run.path / "config.toml").read_text()
    assert 'method = "supcon"' in config
    assert "samples_per_class = 4" in config
    assert "crop_scale = 0.7" in config
    assert "greyscale = 0.0" in config
    assert 'also = "triplet:0.5:' in config


def test_an_unknown_name_of_settings_is_refused(tiny: Any, photos: Any, tmp_path: Path):
    with pytest.raises(UnknownName, match="Did you mean 'fine-grained'"):
        tiny(photos(), config="fine-graned")
    with pytest.raises(ConfigError, match="no file of settings"):
        tiny(photos(), config="none.toml")


def test_several_label_columns_are_judged_in_one_evaluation(finished_table, tmp_path):
    data, run = finished_table
    head, *rows = data.read_text().splitlines()
    lines = [f"{head},side", *(f"{row},{'left' if i % 4 < 2 else 'right'}" for i, row in enumerate(rows))]
    (tmp_path / "two.csv").write_text("\n".join(lines))
    found = nf.evaluate(run.path, tmp_path / "two.csv", label_column="label,side")
    for column in ("label", "side"):
        alone = nf.evaluate(run.path, tmp_path / "two.csv", label_column=column, baselines=False)
        row = found.find("accuracy", probe="linear", labels_per_class="all", column=column)
        assert row.value.mean == alone.linear.mean
    assert len([row for row in found.rows if row.metric == "effective rank" and row.system == found.systems[-1]]) == 1
    assert found.verdict().level in ("good", "mixed", "unclear", "bad")


def test_a_published_encoder_is_fine_tuned_beside_the_same_network_without_weights(photos: Any, tmp_path: Path):
    from safetensors.torch import save_file

    from nearfar.modalities.image.resnet import ResNet

    torch.manual_seed(0)
    network = ResNet("resnet10", channels=3, width=8, stem="cifar", pool="stages")
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    how = {**FEW, "width": 8, "stem": "cifar", "image_size": 16}
    run = nf.finetune(f"resnet10@{tmp_path / 'w.safetensors'}", photos(), out=tmp_path / "run", **how)
    assert run.evaluation.systems == [SCRATCH, PROBE, TUNED]
    assert "pretrained = " in (run.path / "config.toml").read_text()
    assert len(nf.predict(run.path, tmp_path / "photos")) == 40


def test_ctrl_c_says_how_to_go_on(finished_table, tmp_path, stop_at):
    data, run = finished_table
    stop_at(2)
    with pytest.raises(KeyboardInterrupt, match="Go on with: nearfar finetune --resume --out"):
        nf.finetune(run.path, data, compare=False, out=tmp_path / "run", **FEW)
    assert nf.finetune(out=tmp_path / "run", resume=True).encoder.config["steps"] == FEW["steps"]
