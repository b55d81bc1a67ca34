"""Encoders by name alone: the weights of others, read from where they lie, and never fetched unasked."""

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

import nearfar as nf
from nearfar.errors import ConfigError, RunError, UnknownName
from nearfar.modalities.image.resnet import ResNet

PICTURES = [np.random.default_rng(i).integers(0, 256, (40, 50, 3), dtype=np.uint8) for i in range(2)]


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine whose caches are empty, and that reaches nothing."""
    for name in ("HF_HOME", "HF_HUB_CACHE", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    monkeypatch.setattr("socket.socket.connect", None)
    return tmp_path


def saved(network, path, seed=0):
    """The file of a network with fresh weights and used batch norms."""
    torch.manual_seed(seed)
    for value in network.state_dict().values():
        if value.is_floating_point() and value.ndim == 1:
            value.uniform_(0.5, 1.5)
    save_file(network.state_dict(), path)
    return network.eval()


def test_a_network_of_timm_gives_the_features_that_it_gives_in_timm(bare):
    network = saved(timm.create_model("test_efficientnet"), bare / "w.safetensors")
    encoder = nf.load(f"timm:test_efficientnet@{bare / 'w.safetensors'}")
    pictures = encoder.preprocess(PICTURES)
    assert pictures.shape[1:] == (3, 160, 160)  # as timm says of its weights
    wanted = network.forward_head(network.forward_features(pictures), pre_logits=True)
    torch.testing.assert_close(encoder.features(pictures), wanted)
    assert not encoder.training


def test_a_network_of_torchvision_and_the_built_in_one_share_their_weights(bare):
    saved(torchvision.models.resnet18(), bare / "w.safetensors")
    theirs = nf.load(f"torchvision:resnet18@{bare / 'w.safetensors'}")
    ours = nf.load(f"resnet18@{bare / 'w.safetensors'}")
    assert ours.config["stem"] == "imagenet"
    assert ours.encode(PICTURES) == pytest.approx(theirs.encode(PICTURES), abs=1e-4)


def test_width_and_channels_of_a_built_in_network_are_those_of_its_weights(bare):
    saved(ResNet("resnet10", channels=1, width=8, stem="cifar", pool="stages"), bare / "w.safetensors")
    config = nf.load(f"resnet10@{bare / 'w.safetensors'}").config
    assert (config["channels"], config["width"], config["stem"], config["image_size"]) == (1, 8, "cifar", 32)


def test_a_folder_of_transformers_holds_pictures_or_texts_by_its_config(bare):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=16
    )
    transformers.ViTModel(config).save_pretrained(bare / "vit")
    encoder = nf.load(f"hf:{bare / 'vit'}")
    assert (encoder.config["modality"], encoder.dim, encoder.config["image_size"]) == ("image", 16, 224)
    assert encoder.encode(PICTURES).shape == (2, 16)


def test_weights_in_the_caches_are_taken_without_a_file(bare):
    cached = bare / "cache/models--timm--test_efficientnet.r160_in1k/snapshots/1"
    cached.mkdir(parents=True)
    network = saved(timm.create_model("test_efficientnet"), cached / "model.safetensors")
    encoder = nf.load("timm:test_efficientnet")
    assert torch.equal(encoder.network.state_dict()["conv_stem.weight"], network.state_dict()["conv_stem.weight"])


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("timm:resnet18", ConfigError, "not on this machine: give a file .*timm:resnet18@weights.* timm:resnet18@hub"),
        ("torchvision:resnet18", ConfigError, "not on this machine"),
        ("hf:no/such", ConfigError, "no folder 'no/such', .*: hf:no/such@hub fetches it"),
        ("timm:resnt18@WEIGHTS", UnknownName, "Did you mean 'resnet18'"),
        ("timm:resnet18@missing.pth", ConfigError, "'missing.pth' is neither 'hub' nor a file of weights"),
        ("timm:resnet18@WEIGHTS", ConfigError, "does not fit the encoder 'timm:resnet18'"),
        ("WEIGHTS", RunError, "is a file. Of a file of weights, name the network: timm:NAME@w.safetensors"),
        ("tim:resnet18", RunError, "Published encoders are timm:, torchvision:"),
        ("hf:FOLDER@WEIGHTS", ConfigError, "has weights of its own: leave out @"),
    ],
)
def test_what_stands_for_no_encoder_is_refused(bare, name, error, message):
    saved(timm.create_model("test_efficientnet"), bare / "w.safetensors")
    (bare / "folder").mkdir()
    with pytest.raises(error, match=message):
        nf.load(name.replace("WEIGHTS", str(bare / "w.safetensors")).replace("FOLDER", str(bare / "folder")))


def test_an_encoder_that_is_used_as_it_came_lacks_nothing(bare):
    network = timm.create_model("test_efficientnet")
    weights = network.state_dict()
    weights["stem.conv.weight"] = weights.pop("conv_stem.weight")
    save_file(weights, bare / "w.safetensors")
    with pytest.raises(ConfigError, match=r"lacks conv_stem.weight \(is its 'stem.conv.weight' meant to be"):
        nf.load(f"timm:test_efficientnet@{bare / 'w.safetensors'}")


def test_a_published_encoder_is_judged_searched_by_and_audits_without_training(bare, monkeypatch):
    saved(ResNet("resnet8", width=8, stem="patch"), bare / "w.safetensors")
    name, data = f"resnet8@{bare / 'w.safetensors'}", str(bare / "photos")
    for i in range(24):
        (bare / "photos" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 128 + 64 * (i % 2), (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(bare / "photos" / "ab"[i % 2] / f"{i}.png")
    monkeypatch.chdir(bare)
    found = nf.embed(name, data)
    assert found.vectors.shape == (24, nf.load(name).dim)
    assert nf.search_run(name, [found.keys[3]], 1, within=data)[0][0].key == found.keys[3]
    assert "trained encoder" in nf.evaluate(name, data).systems
    assert nf.audit(name, data).path.resolve() == bare / "audit"
