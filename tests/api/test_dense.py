"""Fine-tuning for masks and boxes, as a user meets it, on tiny pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nearfar as nf
from nearfar.api.arms import SCRATCH, TUNED
from nearfar.errors import ConfigError, OutputError
from tests.conftest import Killed, die

FEW = {"steps": 4, "threads": 1, "precision": "fp32", "batch_size": 4, "head_width": 8}


def street(folder: Path, counts: dict[str, int]) -> Path:
    """Pictures of 24 x 16 with a bright part, and masks of where it is."""
    rng = np.random.default_rng(0)
    for part, count in counts.items():
        for name in ("images", "masks"):
            (folder / name / part).mkdir(parents=True)
        for i in range(count):
            mask = np.zeros((16, 24), dtype=np.uint8)
            left, top = rng.integers(0, 12), rng.integers(0, 8)
            mask[top : top + 8, left : left + 12] = 1
            pixels = rng.integers(0, 60, (16, 24, 3)) + 150 * mask[:, :, None]
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / part / f"{i}.png")
            Image.fromarray(mask).save(folder / "masks" / part / f"{i}.png")
    (folder / "classes.txt").write_text("ground\nthing\n")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return street(tmp_path_factory.mktemp("street"), {"train": 8, "test": 4})


@pytest.fixture(scope="module")
def before(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("before") / "run"
    how = {"encoder": "small_cnn", "width": 8, "image_size": 16, "steps": 2, "batch_size": 4}
    return nf.train(data / "images", out=out, evaluate=False, threads=1, precision="fp32", **how).path


@pytest.fixture(scope="module")
def tuned(data, before, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned") / "run"
    return nf.finetune(before, data, task="segment", labels="50%,100%", draws=2, out=out, **FEW)


def test_each_amount_of_masks_is_compared_with_training_from_scratch(tuned):
    found = tuned.evaluation
    assert found.systems == [SCRATCH, TUNED]
    for labels in ("50 % of the labels", "all"):
        for system in found.systems:
            assert 0 <= found.find("mean IoU", system, labels=labels).value.mean <= 1
    assert "report.html" in {path.name for path in tuned.path.iterdir()}
    assert '"predicted":[{' in (tuned.path / "report.html").read_text()


def test_predictions_are_masks_of_the_pictures_size(tuned, data, tmp_path):
    made = nf.predict_file(tuned.path, data / "images:test", tmp_path / "masks")
    assert made.samples == 4
    assert set(made.counts) <= {"ground", "thing"}
    assert (tmp_path / "masks" / "classes.txt").read_text() == "ground\nthing\n"
    records = {record["key"]: record for record in nf.predict(tuned.path, data / "images:test")}
    for key, record in records.items():
        with Image.open(tmp_path / "masks" / Path(key).with_suffix(".png")) as image:
            assert image.mode == "P"
            assert (np.asarray(image) == record["mask"]).all()
        assert record["mask"].shape == (16, 24)
        assert record["share of thing"] == pytest.approx((record["mask"] == 1).mean(), abs=1e-6)
    with pytest.raises(OutputError, match="is there already"):
        nf.predict_file(tuned.path, data / "images", tmp_path / "masks")
    with pytest.raises(ConfigError, match="written into a folder"):
        nf.predict_file(tuned.path, data / "images", tmp_path / "masks.csv")


def test_a_killed_training_goes_on_to_the_same_weights(tuned, data, before, tmp_path, stop_at):
    how = {"task": "segment", "compare": False, **FEW}
    stop_at(2, die)
    with pytest.raises(Killed):
        nf.finetune(before, data, out=tmp_path / "run", **how)
    again = nf.finetune(out=tmp_path / "run", resume=True)
    one, other = tuned.encoder.state_dict(), again.encoder.state_dict()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def farm(folder: Path, counts: dict[str, int]) -> Path:
    """Pictures of 40 x 32 with a bright or a dark thing, and COCO files of where they are."""
    rng = np.random.default_rng(1)
    (folder / "images").mkdir(parents=True)
    for part, count in counts.items():
        images, things = [], []
        for i in range(count):
            name, kind = f"{part}{i}.png", i % 2
            pixels = rng.integers(80, 140, (32, 40, 3))
            left, top = int(rng.integers(0, 20)), int(rng.integers(0, 14))
            pixels[top : top + 16, left : left + 18] = 250 if kind else 5
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / name)
            images.append({"id": 100 + i, "file_name": name, "width": 40, "height": 32})
            box = [left, top, 18, 16] if i else [left, top, 0, 16]
            things.append({"id": i, "image_id": 100 + i, "category_id": [4, 9][kind], "bbox": box})
        categories = [{"id": 4, "name": "cow"}, {"id": 9, "name": "hen"}]
        document = {"images": images, "annotations": things, "categories": categories}
        (folder / f"coco_{part}.json").write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="module")
def detector(before, tmp_path_factory):
    data = farm(tmp_path_factory.mktemp("farm"), {"train": 8, "test": 4})
    out = tmp_path_factory.mktemp("detector") / "run"
    return data, nf.finetune(before, data, task="detect", image_size=32, labels="100%", out=out, **FEW)


def test_a_detector_is_judged_by_mean_average_precision(detector):
    _, run = detector
    assert run.evaluation.systems == [SCRATCH, TUNED]
    for metric in ("mAP", "mAP50"):
        assert 0 <= run.evaluation.find(metric, labels="all").value.mean <= 1
    assert "2 annotations are wrong" in " ".join(run.evaluation.notes)
    assert "its box has no area" in (run.path / "annotations_skipped.csv").read_text()
    assert '"predicted":[{' in (run.path / "report.html").read_text()
    metrics = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert {"objectness", "classes", "boxes"} <= metrics[-1].keys()


def test_boxes_are_written_as_results_of_coco(detector, tmp_path):
    data, run = detector
    made = nf.predict_file(run.path, data, tmp_path / "boxes")
    assert made.samples == 12
    results = json.loads((tmp_path / "boxes" / "results.json").read_text())
    assert len(list((tmp_path / "boxes" / "pictures").iterdir())) == 12
    for one in results:
        assert {"image_id", "category_id", "bbox", "score"} <= one.keys()
        assert one["category_id"] == {"cow": 4, "hen": 9}[one["category_name"]]
        assert 100 <= one["image_id"] < 108
        assert one["bbox"][0] + one["bbox"][2] <= 40.5
    records = {record["key"]: record for record in nf.predict(run.path, data)}
    assert sum(len(record["boxes"]) for record in records.values()) == len(results)
    with pytest.raises(ConfigError, match=r"written into a .json file, or into a folder"):
        nf.predict_file(run.path, data, tmp_path / "boxes.csv")
    with pytest.raises(OutputError, match="is there already"):
        nf.predict_file(run.path, data, tmp_path / "boxes")


def test_a_killed_detector_goes_on_to_the_same_weights(detector, before, tmp_path, stop_at):
    data, run = detector
    how = {"task": "detect", "image_size": 32, "compare": False, **FEW}
    stop_at(2, die)
    with pytest.raises(Killed):
        nf.finetune(before, data, out=tmp_path / "run", **how)
    again = nf.finetune(out=tmp_path / "run", resume=True)
    one, other = run.encoder.state_dict(), again.encoder.state_dict()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_masks_without_a_method_for_them_are_refused(data, tmp_path):
    with pytest.raises(ConfigError, match="annotations is for methods that learn from masks"):
        nf.train(data / "images", annotations=str(data / "masks"), out=tmp_path / "run", steps=2)
    with pytest.raises(ConfigError, match="has no masks, which the method learns from"):
        nf.train(table(tmp_path), method="segment", steps=2, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def table(folder: Path) -> Path:
    (folder / "rows.csv").write_text("a,b\n" + "\n".join(f"{i},{i * i}" for i in range(20)))
    return folder / "rows.csv"


@pytest.mark.parametrize("hold_out", [True, False])
def test_without_a_test_part_a_fifth_is_held_out_unless_all_is_to_be_learnt_from(tmp_path, hold_out):
    data = street(tmp_path / "street", {"train": 8})
    how = {"method": "segment", "encoder": "small_cnn", "width": 8, "image_size": 16}
    run = nf.train(data, out=tmp_path / "run", hold_out=hold_out, **how, **{**FEW, "steps": 1})
    assert (run.path / "head" / "judged.json").is_file() == hold_out
    assert len(nf.Embeddings.load(run.path / "embeddings.parquet").keys) == (6 if hold_out else 8)


def test_pairs_may_all_be_learnt_from(tmp_path):
    rows = "\n".join(f"text {i % 7} of {i},words {i % 7} and {i}" for i in range(40))
    (tmp_path / "pairs.csv").write_text("anchor,positive\n" + rows)
    how = {"encoder": "bag", "width": 8, "steps": 2, "batch_size": 8, "threads": 1, "precision": "fp32"}
    run = nf.train(tmp_path / "pairs.csv", out=tmp_path / "run", hold_out=False, **how)
    assert len(nf.Embeddings.load(run.path / "embeddings.parquet").keys) == 40
    assert not [row for row in run.evaluation.rows if row.task in ("match", "similarity")]
