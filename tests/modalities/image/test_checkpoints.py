"""Weights of other training codes, in the layouts that these write, go into encoders as they are."""

import sys
import types

import pytest
import timm
import torch
from torch import nn

from nearfar.errors import ConfigError
from nearfar.modalities.image import published
from nearfar.modalities.image.encoder import build, load_pretrained
from nearfar.modalities.image.resnet import ResNet


def resnet(seed):
    torch.manual_seed(seed)
    return ResNet("resnet10", width=8)


def under(prefix, network):
    return {f"{prefix}{name}": value for name, value in network.state_dict().items()}


def in_sequence(network):
    """As lightly's examples cut it: a sequence of its children."""
    return nn.Sequential(*network.children())


def lightning(weights):
    return {"state_dict": weights, "epoch": 9, "optimizer_states": [], "callbacks": {}, "hyper_parameters": {"lr": 0.1}}


HEADS = {"projector.0.weight": torch.zeros(4, 512), "classifier.weight": torch.zeros(10, 512)}
LAYOUTS = {
    "torchvision": lambda a, b: a.state_dict(),
    "lightly-train, exported": lambda a, b: a.state_dict(),
    "lightly-train": lambda a, b: lightning(under("teacher_embedding_model.wrapped_model._model.", a)),
    "lightly SimCLR": lambda a, b: lightning(under("backbone.", in_sequence(a)) | HEADS),
    "lightly MoCo": lambda a, b: under("backbone.", in_sequence(a)) | under("backbone_momentum.", in_sequence(b)),
    "solo-learn": lambda a, b: lightning(under("backbone.", a) | HEADS),
    "solo-learn BYOL": lambda a, b: lightning(under("backbone.", a) | under("momentum_backbone.", b) | HEADS),
    "byol-pytorch": lambda a, b: under("online_encoder.net.", a) | under("target_encoder.net.", b),
    "BYOL": lambda a, b: {"online_network": under("encoder.", a), "target_network": under("encoder.", b)},
    "DINO": lambda a, b: {"student": under("module.backbone.", b), "teacher": under("backbone.", a)},
    "student and backbone": lambda a, b: under("student.backbone.", a),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_resnet_of_another_code_is_found(layout, tmp_path):
    wanted, other = resnet(1), resnet(2)
    torch.save(LAYOUTS[layout](wanted, other), tmp_path / "file.ckpt")
    config = {"modality": "image", "encoder": "resnet10", "channels": 3, "image_size": 224, "width": 8}
    encoder = build({**config, "stem": "imagenet", "pool": "last"})
    assert load_pretrained(encoder, str(tmp_path / "file.ckpt"), whole=True) == []
    own = encoder.network.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in wanted.state_dict().items())


def test_names_of_a_networks_authors_are_those_that_timm_knows(tmp_path):
    """DINOv2 calls its registers and layer scales otherwise, and has a mask token."""
    network = timm.create_model("vit_small_patch14_reg4_dinov2", depth=1, embed_dim=48, num_heads=2, img_size=56)
    theirs = {name.replace("reg_token", "register_tokens"): one for name, one in network.state_dict().items()}
    theirs |= {
        "mask_token": torch.zeros(1, 48),
        "pos_embed": torch.cat([torch.zeros(1, 1, 48), theirs["pos_embed"]], 1),
    }
    found = published.renamed_by_timm(network, theirs)
    assert found["reg_token"].shape == network.state_dict()["reg_token"].shape
    assert published.renamed_by_timm(network, {"a": torch.zeros(1)}) == {"a": torch.zeros(1)}


def test_a_checkpoint_with_objects_says_where_the_weights_are(tmp_path, monkeypatch):
    module = types.ModuleType("lightly_train")
    module.Model = type("Model", (nn.Linear,), {"__module__": "lightly_train"})
    monkeypatch.setitem(sys.modules, "lightly_train", module)
    torch.save({"model": module.Model(2, 2)}, tmp_path / "last.ckpt")
    encoder = build({"modality": "image", "encoder": "small_cnn", "channels": 3, "image_size": 16, "width": 8})
    with pytest.raises(ConfigError, match=r"could run code.*Of lightly_train, exported_models/exported_last.pt"):
        load_pretrained(encoder, str(tmp_path / "last.ckpt"))
