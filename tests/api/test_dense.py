"""Fine-tuning for masks, as a user meets it, on tiny pictures."""

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


def test_masks_without_a_method_for_them_are_refused(data, tmp_path):
    with pytest.raises(ConfigError, match="annotations is for methods that learn from masks"):
        nf.train(data / "images", annotations=str(data / "masks"), out=tmp_path / "run", steps=2)
    with pytest.raises(ConfigError, match="has no masks, which the method learns from"):
        nf.train(table(tmp_path), method="segment", steps=2, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def table(folder: Path) -> Path:
    (folder / "rows.csv").write_text("a,b\n" + "\n".join(f"{i},{i * i}" for i in range(20)))
    return folder / "rows.csv"
