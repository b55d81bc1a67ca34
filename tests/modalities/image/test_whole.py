"""Whole pictures for maps: all of each, in its own shape."""

import torch

from nearfar.modalities.image.encoder import build
from nearfar.modalities.image.pictures import Pictures


def encoder(name="small_cnn", size=64):
    config = {"modality": "image", "encoder": name, "width": 8, "channels": 3, "image_size": size, "stem": "imagenet"}
    made = build({**config, "pool": "last"})
    made.config["mean"], made.config["std"] = [0.0] * 3, [1.0] * 3
    return made.eval()


def test_pictures_of_one_shape_go_together_and_keep_it():
    pixels = torch.randint(0, 256, (3, 3, 48, 48), dtype=torch.uint8)
    found = encoder().whole(Pictures(pixels, torch.tensor([1.0, 4.0, 1.0])))
    assert [(list(members), tuple(x.shape[-2:])) for members, x in found] == [([0, 2], (64, 64)), ([1], (32, 128))]
    for _, x in found:
        assert 0 <= x.min() <= x.max() <= 1.01


def test_what_is_at_the_border_is_there():
    pixels = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    pixels[..., -4:] = 255
    (_, x), = encoder().whole(Pictures(pixels, torch.tensor([2.0])))  # fmt: skip
    assert x[0, 0, :, -1].mean() > 0.9
    assert x[0, 0, :, :-16].max() < 0.1


def test_shapes_are_those_of_the_maps_and_looking_changes_nothing():
    made = encoder("resnet10")
    before = {name: value.clone() for name, value in made.state_dict().items()}
    made.train()
    shapes = made.map_shapes()
    assert shapes == [(8, 4), (16, 8), (32, 16), (64, 32)]
    assert made.training
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    maps = made.eval().maps(torch.zeros(1, 3, 64, 96))
    assert [(one.values.shape[1], one.values.shape[-1]) for one in maps] == [(8, 24), (16, 12), (32, 6), (64, 3)]
