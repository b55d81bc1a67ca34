import io
import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from PIL import Image

from nearfar.contract import Requirements
from nearfar.errors import UnknownName
from nearfar.modalities.image import at_hand
from nearfar.modalities.image.decode import decode
from nearfar.modalities.image.encoder import pool_for, stem_for
from nearfar.modalities.image.modality import MODALITY
from nearfar.modalities.image.options import STRENGTH, ImageOptions
from nearfar.modalities.image.pictures import Pictures
from nearfar.modalities.image.resnet import LAYERS
from nearfar.modalities.image.sizes import statistics, stored_size
from nearfar.modalities.image.views.crop import crop_boxes
from nearfar.options import Facts
from tests.modalities.image.opening import open_images, suited

AUTOMATIC = [field.name for field in fields(ImageOptions) if field.default is None and field.name not in STRENGTH]
GIVEN = ImageOptions(
    image_size=24,
    normalise="imagenet",
    views_strength=0.3,
    brightness=0.1,
    contrast=0.2,
    saturation=0.4,
    hue=0.05,
    crop_scale=0.3,
    flip=0.1,
    rotate=5.0,
    greyscale=0.05,
    keep_colours=0.0,
    blur=0.15,
    jitter=0.35,
    stem="imagenet",
    pool="last",
)


def facts(device="cpu"):
    return Facts(samples=8, device=device, threads=1, steps=10)


@pytest.fixture
def source(tmp_path):
    """Makes a source of eight pictures."""

    def opened(side=20, mode="RGB"):
        for i in range(8):
            pixels = np.random.default_rng(i).integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(tmp_path / f"{i}.png")
        return open_images(str(tmp_path))

    return opened


def nothing_at_hand(monkeypatch, folder):
    for name in ("HF_HUB_CACHE", "TORCH_HOME"):
        monkeypatch.setenv(name, str(folder))


@pytest.mark.parametrize(("device", "name"), [("cpu", "timm:small.a1"), ("cuda", "torchvision:resnet50")])
def test_weights_at_hand_are_suggested_as_suits_the_device(source, device, name, monkeypatch, tmp_path):
    nothing_at_hand(monkeypatch, tmp_path)
    monkeypatch.setattr(at_hand, "SUITED", {"cpu": 10, "": 100})
    files = {
        "models--timm--small.a1/snapshots/0/model.safetensors": 9,
        "models--timm--huge/snapshots/0/model.safetensors": 999,
    }
    files |= {"models--timm--gone/refs/main": 1, "hub/checkpoints/resnet50-11ad3fa6.pth": 90}
    for file, size in files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(bytes(size))
    choices = MODALITY.settle(ImageOptions(), source(), None, facts(device))[2]
    assert f"--encoder {name} --pretrained hub" in next(one.why for one in choices if one.name == "pretrained")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_choice_is_told_with_its_reason(source, device, monkeypatch, tmp_path):
    nothing_at_hand(monkeypatch, tmp_path)
    options, encoder, choices = MODALITY.settle(ImageOptions(), source(), None, facts(device))
    assert all(getattr(options, name) is not None for name in AUTOMATIC)
    told = {choice.name: choice.value for choice in choices}
    chosen = [*AUTOMATIC, "stem", "pool"] if encoder in LAYERS else [*AUTOMATIC]
    chosen.remove("keep_colours")  # told by the recipe that is chosen
    assert told == {**{name: getattr(options, name) for name in chosen}, "encoder": encoder}
    assert all(choice.why for choice in choices)


def test_what_is_given_is_kept(source):
    options, encoder, choices = MODALITY.settle(GIVEN, source(), "resnet18", facts())
    assert (options, encoder, choices) == (GIVEN, "resnet18", [])


@pytest.mark.parametrize("size", [32, 224])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_the_stem_of_a_resnet_is_told(source, name, size):
    options, _, choices = MODALITY.settle(ImageOptions(image_size=size), source(), name, facts())
    told = {choice.name: choice.value for choice in choices}
    assert told["stem"] == options.stem == stem_for(name, size)
    assert told["pool"] == options.pool == pool_for(name)


def test_only_resnets_have_a_stem_to_choose(source):
    options, _, choices = MODALITY.settle(ImageOptions(), source(), "small_cnn", facts())
    assert options.stem == options.pool == "auto"
    assert not {"stem", "pool"} & {choice.name for choice in choices}


@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
@pytest.mark.parametrize("side", [9, 20, 52])
def test_sizes_chosen_for_timms_networks_are_ones_they_take(source, name, side):
    opened = source(side)
    options, _, _ = MODALITY.settle(ImageOptions(), opened, name, facts())
    encoder = MODALITY.encoder(name, opened, options).eval()
    raw, _ = opened.fetch(np.arange(2))
    assert encoder.features(encoder.prepare(raw)).shape == (2, encoder.dim)


COLOURS = ("saturation", "hue", "greyscale")


@pytest.mark.parametrize("given", [{}, {"saturation": 0.3, "hue": 0.1, "greyscale": 0.5}])
def test_grey_pictures_lose_no_colours_and_it_is_told(source, given):
    options, _, choices = MODALITY.settle(ImageOptions(**given), source(mode="L"), None, facts())
    told = {choice.name: choice for choice in choices}
    for name in COLOURS:
        assert getattr(options, name) == told[name].value == 0
        assert told[name].why == "grey pictures have no colours to lose"


@pytest.mark.parametrize("given", [{}, {"hue": 0.1}])
def test_pictures_of_many_channels_have_no_hue_and_it_is_told(source, given):
    opened = source()
    opened.channels = 13
    options, _, choices = MODALITY.settle(ImageOptions(**given), opened, None, facts())
    told = {choice.name: choice.why for choice in choices}
    assert options.hue == 0
    assert told["hue"] == "hue is that of three channels; saturation and greyscale blend 13 with their mean"
    assert options.greyscale == 0.2
    assert MODALITY.settle(options, opened, "resnet8", facts()) == (options, "resnet8", [])


def test_changes_of_colour_follow_the_strength_where_they_are_not_given(source):
    options, _, _ = MODALITY.settle(ImageOptions(views_strength=0.25, contrast=0.7), source(), None, facts())
    for strength in (0.25, 1.0):  # as when a later run takes the options of this one and another strength
        found = {name: replace(options, views_strength=strength).largest(name) for name in STRENGTH}
        assert found == {
            "brightness": 0.8 * strength,
            "contrast": 0.7,
            "saturation": 0.8 * strength,
            "hue": 0.2 * strength,
        }


@pytest.mark.parametrize("channels", [1, 3, 13])
def test_views_are_made_of_any_number_of_channels(source, channels):
    opened = source()
    opened.channels = channels
    options, name, _ = MODALITY.settle(ImageOptions(image_size=16), opened, "small_cnn", facts())
    pixels = torch.randint(0, 256, (4, channels, 20, 20), dtype=torch.uint8)
    config = {
        "encoder": name,
        "channels": channels,
        "image_size": 16,
        "mean": [0.5] * channels,
        "std": [0.2] * channels,
    }
    encoder, raw = MODALITY.restore(config), Pictures(pixels, torch.ones(4))
    found = MODALITY.views(raw, np.arange(4), requires=Requirements(), seed=0, options=options, encoder=encoder)
    assert found[0].shape == (4, channels, 16, 16)
    assert encoder(found).isfinite().all()


@pytest.mark.parametrize(("native", "size", "expected"), [(28, 32, 28), (500, 32, 96), (50, 32, 50), (4, 32, 8)])
def test_pictures_are_kept_at_their_own_size_or_what_a_view_needs(native, size, expected):
    assert stored_size(native, size, 0.15) == expected


@pytest.mark.parametrize("crop_scale", [0.08, 0.15, 0.6])
def test_every_crop_of_a_large_square_picture_is_kept_at_the_encoder_s_resolution(crop_scale):
    numbers = np.random.default_rng(0).random((20_000, 22), dtype=np.float32)
    boxes = crop_boxes(numbers, np.ones(20_000, np.float32), (crop_scale, 1.0))
    shortest = boxes[:, 2:].min() * stored_size(5000, 224, crop_scale)
    assert shortest + 0.01 >= 224
    assert shortest < 1.1 * 224


def resampling(boxes, axis, size_in, size_out):
    """Matrices [b, out, in] of PIL's BILINEAR on the boxes, which may lie between pixels."""
    start, length = (boxes[:, i, None] * size_in for i in (axis, axis + 2))
    centre = start + (torch.arange(size_out) + 0.5) / size_out * length
    support = (length / size_out).clamp_min(1)[:, :, None]
    weights = (1 - (centre[:, :, None] - torch.arange(size_in) - 0.5).abs() / support).clamp_min(0)
    return weights / weights.sum(2, keepdim=True)


def test_views_of_what_is_kept_are_those_of_the_original():
    """Of a picture with waves of all lengths from 5 pixels on, to a PSNR of 44 dB: far more than at twice the size."""
    x, y = np.meshgrid(np.arange(520), np.arange(400))
    waves = [np.sin(2 * np.pi * (x * np.cos(a) + y * np.sin(a)) / (5 * 1.5**a)) for a in range(10)]
    pixels = np.stack([sum(waves[c::3]) for c in range(3)], axis=2)
    image = Image.fromarray((128 + 25 * pixels).clip(0, 255).astype(np.uint8))
    boxes = crop_boxes(
        np.random.default_rng(0).random((64, 22), dtype=np.float32), np.full(64, 1.3, np.float32), (0.15, 1.0)
    )
    placed = torch.from_numpy(boxes)

    def views(planes):
        whole = torch.from_numpy(planes)[None].float()
        across, down = (resampling(placed, i, planes.shape[2 - i], 64) for i in (0, 1))
        return down[:, None] @ whole @ across[:, None].transpose(2, 3)

    def psnr(side):
        lost = views(decode(image, size=None, channels=3)[0]) - views(decode(image, size=side, channels=3)[0])
        return 20 * math.log10(255) - 10 * math.log10(lost.square().mean().item())

    assert psnr(stored_size(400, 64, 0.15)) > 44
    assert psnr(stored_size(400, 64, 0.15)) > psnr(2 * 64) + 5


def settled(source, name="small_cnn", **options):
    options, name, _ = MODALITY.settle(ImageOptions(image_size=16, **options), source, name, facts())
    return options, MODALITY.encoder(name, source, options)


def test_statistics_are_those_of_the_pixels(source):
    opened = source(16)
    opened = suited(opened, {"image_size": 16})
    raw, _ = opened.fetch(np.arange(8))
    pixels = raw.pixels.double() / 255
    mean, std = statistics(opened)
    assert mean == pytest.approx(pixels.mean((0, 2, 3)).tolist(), abs=1e-5)
    assert std == pytest.approx(pixels.std((0, 2, 3)).tolist(), abs=1e-5)


def test_an_unknown_encoder_is_refused_before_any_picture_is_decoded(source):
    opened = source()
    options, name, _ = MODALITY.settle(ImageOptions(), opened, "resnt18", facts())
    opened.suited = lambda config: pytest.fail("decoded")
    with pytest.raises(UnknownName, match="Did you mean 'resnet18'"):
        MODALITY.encoder(name, opened, options)


def test_views_are_laid_out_as_the_encoder_reads_them(source):
    opened = source()
    options, encoder = settled(opened)
    raw, _ = opened.fetch(np.arange(4))
    found = MODALITY.views(raw, np.arange(4), requires=Requirements(), seed=0, options=options, encoder=encoder)
    assert found[0].is_contiguous(memory_format=torch.channels_last)


def test_shown_views_have_the_colours_of_the_pictures(source):
    opened = source(16)
    _, encoder = settled(opened)
    raw, _ = opened.fetch(np.arange(2))
    cards = MODALITY.show(encoder.prepare(raw), encoder)
    for card, pixels in zip(cards, raw.pixels, strict=True):
        with Image.open(io.BytesIO(card.image)) as image:
            assert np.array_equal(np.asarray(image).transpose(2, 0, 1), pixels.numpy())
