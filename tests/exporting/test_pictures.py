"""timm and torchvision load an export strictly, and give the encoder's vectors by it."""

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file

import nearfar
from nearfar.errors import ConfigError
from nearfar.modalities.image.encoder import build
from tests.exporting.test_programs import finished, of_rows, run_card

CONFIG = {"modality": "image", "channels": 3, "image_size": 32, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)


def of(name, **more):
    return build({**CONFIG, "encoder": name, "stem": "imagenet", "pool": "last", "width": None, **more})


@pytest.mark.parametrize(
    ("to", "name", "whitened", "more"),
    [
        ("timm", "resnet18", True, {"stem": "cifar", "channels": 1, "mean": [0.5], "std": [0.3]}),
        ("timm", "timm:test_vit", True, {}),
        ("timm", "timm:test_vit", False, {}),
        ("torchvision", "resnet18", True, {"stem": "cifar"}),
        ("torchvision", "torchvision:mobilenet_v3_small", True, {}),
        ("torchvision", "torchvision:mobilenet_v3_small", False, {}),
    ],
)
def test_its_own_library_loads_an_export(to, name, whitened, more, tmp_path, monkeypatch):
    encoder = finished(of(name, **more), whitened=whitened)
    made = nearfar.export(encoder, to, tmp_path / "out")
    assert "load strictly" in made.notes[0]
    found = run_card(tmp_path / "out", monkeypatch)
    with torch.no_grad():
        torch.testing.assert_close(found["vectors"], encoder.vectors(found["pictures"]), rtol=1e-3, atol=1e-3)


def test_standard_networks_need_nothing_but_their_name(tmp_path):
    encoder = finished(of("resnet18"))
    nearfar.export(encoder, "torchvision", tmp_path / "tv", inside=["none"])
    torchvision.models.resnet18().load_state_dict(load_file(tmp_path / "tv" / "model.safetensors"), strict=False)
    nearfar.export(encoder, "timm", tmp_path / "timm")
    model = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True).eval()
    pictures = encoder.preprocess(PIXELS)
    torch.testing.assert_close(model(pictures), encoder.vectors(pictures), rtol=1e-3, atol=1e-3)
    assert model.pretrained_cfg["mean"] == [0.4, 0.5, 0.6]
    back = nearfar.load(f"timm:resnet18@{tmp_path / 'timm' / 'model.safetensors'}")
    assert (back.config["image_size"], back.config["mean"]) == (32, pytest.approx([0.4, 0.5, 0.6]))


@pytest.mark.parametrize(
    ("encoder", "to", "message"),
    [
        (
            lambda: of("resnet8", stem="patch"),
            "timm",
            "resnet8 has 3 stages, its resnets have four",
        ),
        (lambda: of("resnet18", pool="stages"), "torchvision", "pooled from all stages"),
        (lambda: of("resnet18", width=16), "timm", "16 channels wide at first"),
        (lambda: of("small_cnn", width=8), "timm", "timm has no network 'small_cnn'"),
        (lambda: of("timm:test_vit"), "torchvision", "torchvision has no network 'test_vit'"),
        (of_rows, "timm", "of the kind table: export it --to torch"),
    ],
)
def test_what_a_library_has_not_is_refused_with_the_reason(encoder, to, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        nearfar.export(encoder().eval(), to, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
