"""Fine-tuning that starts from published weights in a file: a small network of timm, its norms settled on noise."""

import json
import math

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import nearfar as nf
from nearfar.training.run_folder import RunFolder
from tests.api.test_dense import farm, street

NAME = "test_efficientnet"
FEW = {"threads": 1, "precision": "fp32", "compare": False}


def noise(rng, label):
    """A noisy picture, darker in one channel."""
    pixels = rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
    pixels[..., label] //= 4
    return pixels


def drawing(rng, label):
    """A line on white, across or down."""
    pixels, at = np.full((48, 48, 3), 255, np.uint8), rng.integers(8, 40)
    pixels[(slice(at, at + 2), slice(None))[:: 1 if label else -1]] = 0
    return pixels


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Weights that know noise well: most of what they see there is nearly the same in all drawings."""
    torch.manual_seed(0)
    network = timm.create_model(NAME)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(np.stack([noise(rng, i % 2) for i in range(64)])).permute(0, 3, 1, 2)
    with torch.no_grad():
        network.train()(pixels / 127.5 - 1)
    path = tmp_path_factory.mktemp("published") / "weights.safetensors"
    save_file(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("domains"), np.random.default_rng(0)
    for name, make in (("drawing", drawing), ("noise", noise)):
        for part, count in (("train", 16), ("test", 4)):
            for label in (0, 1):
                place = folder / name / part / "ab"[label]
                place.mkdir(parents=True)
                for i in range(count):
                    Image.fromarray(make(rng, label)).save(place / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def labelled(domains, tmp_path_factory):
    """Data of each task, and options that it needs."""
    folder = tmp_path_factory.mktemp("labelled")
    masks = street(folder / "street", {"train": 8, "test": 4})
    boxes = farm(folder / "farm", {"train": 8, "test": 4})
    return {
        "classify": (domains / "noise", {}),
        "adapt": (domains, {"source_domain": "drawing"}),
        "segment": (masks, {"head_width": 8}),
        "detect": (boxes, {"head_width": 8}),
    }


@pytest.mark.parametrize("task", ["classify", "adapt", "segment", "detect"])
def test_published_weights_are_kept_whole(task, labelled, published, tmp_path):
    data, more = labelled[task]
    run = nf.finetune(
        f"timm:{NAME}@{published}", data, task=task, out=tmp_path / "run", steps=2, batch_size=4, **more, **FEW
    )
    settings = RunFolder(run.path).read_config()
    rates = {name: settings["optimisation"][name] for name in ("encoder_rate", "layer_decay", "fix_norms")}
    assert rates == {"encoder_rate": 0.1, "layer_decay": 0.9, "fix_norms": True}
    assert settings["modality_options"]["normalise"] == "0.485,0.456,0.406/0.229,0.224,0.225"
    before = load_file(published)
    after = {name.removeprefix("network."): value for name, value in run.encoder.state_dict().items()}
    statistics = [name for name in before if name.endswith(("running_mean", "running_var")) and name in after]
    assert statistics
    assert all(torch.equal(before[name], after[name]) for name in statistics)
    assert not torch.equal(before["conv_stem.weight"], after["conv_stem.weight"])


@pytest.mark.parametrize("align", [None, "none", "coral", "adversarial", "statistics"])
def test_samples_that_are_unlike_the_labelled_ones_do_not_blow_up_the_head(align, domains, published, tmp_path):
    out = tmp_path / "run"
    task = {"task": "classify"} if align is None else {"task": "adapt", "align": align}
    more = {"source_domain": "drawing", "image_size": 32, "health_every": 1, "steps": 12}
    nf.finetune(f"timm:{NAME}@{published}", domains, out=out, **task, **more, **FEW)
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    losses = [record.get("named_loss", record["loss"]) for record in records]
    assert len(losses) == 12
    assert max(losses) < 100  # without a bound it was not finite at the second step
    assert losses[-1] < 3 * math.log(2)
