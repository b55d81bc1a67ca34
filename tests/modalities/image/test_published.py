import json

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

import nearfar as nf
from nearfar.api.baselines import start_of
from nearfar.errors import ConfigError, UnknownName
from nearfar.modalities.image import MODALITY, published
from nearfar.modalities.image.options import ImageOptions
from nearfar.modalities.image.published import inputs_of, network_of, numbers_of
from nearfar.options import Facts, Settling


def settled(encoder, *, weights="hub", options=None, **more):
    settling = Settling(options or ImageOptions())
    facts = Facts(**{"samples": 100, "device": "cpu", "threads": 1, "weights": weights, **more})
    published.settle(settling, encoder, facts)
    return settling.options, {one.name: one.why for one in settling.choices}


@pytest.mark.parametrize(
    ("name", "weights", "size", "mean"),
    [
        ("tf_efficientnet_lite0", "a.pth", 224, 0.5),
        ("timm:resnet18", "a.pth", 224, 0.485),
        ("torchvision:resnet18", "hub", 224, 0.485),
        ("resnet18", "hub", 224, 0.485),
        ("resnet18", "a.pth", None, 0.485),
    ],
)
def test_size_and_normalisation_are_those_of_the_weights(name, weights, size, mean):
    found = inputs_of(name, weights)
    assert (found.size, found.mean[0]) == (size, mean)


def test_a_config_beside_a_file_says_what_its_weights_were_trained_on(tmp_path):
    config = {"modality": "image", "image_size": 40, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    options, why = settled("resnet18", weights=str(tmp_path / "model.safetensors"))
    assert (options.image_size, options.normalise) == (40, "0.1,0.2,0.3/0.4,0.5,0.6")
    assert "config.json" in why["image_size"]


def test_what_is_given_comes_before_what_the_weights_say():
    options, why = settled("timm:resnet18", options=ImageOptions(image_size=64, normalise="data"))
    assert (options.image_size, options.normalise, why) == (64, "data", {})


def test_a_short_time_on_a_processor_gets_smaller_pictures_and_says_so():
    options, why = settled("timm:test_efficientnet", seconds=1e-3)
    assert options.image_size == published.SMALLEST
    assert "at the 160 px of the weights" in why["image_size"]


def test_the_stem_of_a_resnet_is_that_of_its_weights(tmp_path):
    """Small pictures would get another, and its first layer would start fresh."""
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "w.safetensors")
    options, why = settled("resnet18", weights=str(tmp_path / "w.safetensors"))
    assert (options.stem, options.image_size) == ("imagenet", 224)
    assert why["stem"] == "that of the weights"


def test_other_numbers_of_channels_get_the_average():
    assert numbers_of("0.1,0.2,0.3/0.2,0.3,0.4", 1) == (pytest.approx([0.2]), pytest.approx([0.3]))


@pytest.mark.parametrize("text", ["me", "1,2,3", "0.5/0", "0.5,0.5/0.5", "nan/1"])
def test_what_is_no_normalisation_is_refused_with_an_example(text):
    with pytest.raises(ConfigError, match=r"normalise must be data, imagenet or .*\(0.5,0.5,0.5/0.2,0.2,0.2\)"):
        numbers_of(text, 3)


@pytest.mark.parametrize(("name", "dim"), [("resnet18", 512), ("mobilenet_v3_small", 576), ("convnext_tiny", 768)])
def test_networks_of_torchvision_end_before_their_classifier(name, dim):
    with torch.device("meta"):
        network, found = network_of(f"torchvision:{name}", 3, 64)
    assert found == dim
    with torch.device("meta"):
        assert network.eval()(torch.empty(2, 3, 64, 64)).shape == (2, dim)


def test_an_unknown_network_of_torchvision_suggests_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'torchvision:resnet18'"):
        network_of("torchvision:resnt18", 3, 64)


def pictures(folder):
    for i in range(8):
        pixels = np.random.default_rng(i).integers(0, 255, (40, 40), dtype=np.uint8)
        (folder / str(i % 2)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / str(i % 2) / f"{i}.png")
    return folder


def test_a_run_keeps_what_the_weights_were_trained_on(tmp_path):
    """Grey pictures are shown to torchvision's network in three channels; nothing is whitened."""
    theirs = torchvision.models.mobilenet_v3_small().eval()
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    run = nf.train(
        pictures(tmp_path / "data"), encoder="torchvision:mobilenet_v3_small", pretrained=tmp_path / "w.safetensors",
        image_size=32, steps=1, threads=1, quiet=True, out=tmp_path / "run", precision="fp32", evaluate=False,
    )  # fmt: skip
    assert start_of(run.encoder, run.path) == "published weights"
    assert run.encoder.config["mean"] == [0.485, 0.456, 0.406]
    assert "whitened" not in run.encoder.config
    again = nf.load(run.path)
    picture = np.random.default_rng(9).integers(0, 255, (32, 32), dtype=np.uint8)
    assert np.allclose(again.encode([picture]), run.encoder.encode([picture]), atol=1e-6)


def test_a_folder_of_transformers_starts_from_its_weights(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=8
    )
    theirs = transformers.ViTModel(config).eval()
    theirs.save_pretrained(tmp_path / "vit")
    processor = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(processor))
    run = nf.train(
        pictures(tmp_path / "data"), encoder=f"hf:{tmp_path / 'vit'}", steps=1, lr=1e-9, threads=1, quiet=True,
        out=tmp_path / "run", evaluate=False, precision="fp32",
    )  # fmt: skip
    assert (run.encoder.config["image_size"], run.encoder.config["std"]) == (32, [0.25] * 3)
    (tmp_path / "vit").rename(tmp_path / "gone")
    picture = np.zeros((32, 32, 3), dtype=np.uint8)
    found = nf.load(run.path).encode([picture])[0]
    with torch.no_grad():
        wanted = theirs(pixel_values=torch.full((1, 3, 32, 32), -2.0)).pooler_output[0]
    assert np.allclose(found, wanted, atol=1e-3)


def test_adapters_learn_beside_a_fixed_transformer():
    pytest.importorskip("peft")
    config = {"modality": "image", "encoder": "test_vit", "image_size": 32, "channels": 3, "lora": 2}
    config |= {"mean": [0.5] * 3, "std": [0.5] * 3}
    found = dict(MODALITY.restore(config).named_parameters())
    assert {name for name, one in found.items() if one.requires_grad} == {name for name in found if "lora_" in name}


def test_adapters_are_refused_for_networks_that_convolve(tmp_path):
    with pytest.raises(ConfigError, match="lora is for transformers: 'test_resnet' has no linear layers"):
        nf.train(pictures(tmp_path / "data"), steps=1, encoder="test_resnet", image_size=32, lora=2, quiet=True)
