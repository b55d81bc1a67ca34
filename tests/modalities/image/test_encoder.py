import io
import logging

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from nearfar.errors import ConfigError, DataError, UnknownName
from nearfar.modalities.image import encoder as encoders
from nearfar.modalities.image import published
from nearfar.modalities.image.encoder import build, load_pretrained, stem_for
from nearfar.modalities.image.pictures import Pictures
from tests.modalities.image.opening import open_images, suited

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def make(name="small_cnn", *, size=16, stored=32, channels=3, seed=0, **more):
    torch.manual_seed(seed)
    config = {
        "encoder": name,
        "width": None,
        "channels": channels,
        "image_size": size,
        "stored_size": stored,
        "stem": "cifar",
        "pool": "last",
        "max_pixels": 10_000,
        "white": None,
        "mean": list(MEAN[:channels]),
        "std": list(STD[:channels]),
    }
    return build({**config, **more}).eval()


def smooth(width, height, seed=0):
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def plain(inputs):
    """Normalised inputs as levels from 0 to 255."""
    channels = inputs.shape[1]
    return 255 * (inputs * torch.tensor(STD[:channels])[:, None, None] + torch.tensor(MEAN[:channels])[:, None, None])


def pictures(count=2, channels=3, side=16):
    pixels = torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8)
    return Pictures(pixels, torch.ones(count))


# From pictures to inputs


def test_a_square_of_the_right_size_is_only_normalised():
    raw = pictures()
    before = raw.pixels.clone()
    assert torch.allclose(plain(make(stored=16).prepare(raw)), before.float(), atol=1e-3)
    assert torch.equal(raw.pixels, before)


@pytest.mark.parametrize(("width", "height"), [(40, 40), (90, 30), (24, 60)])
def test_preparing_is_cropping_the_centre_and_resizing(width, height):
    """At whole pixels of the picture as it is kept, a square of 32."""
    image = smooth(width, height)
    side = min(width, height)
    edges = (width - side) / 2 / width, (height - side) / 2 / height
    left, top = (round(32 * edge) / 32 * size for edge, size in zip(edges, (width, height), strict=True))
    central = image.resize((16, 16), Image.Resampling.BILINEAR, box=(left, top, width - left, height - top))
    expected = torch.from_numpy(np.array(central).transpose(2, 0, 1)).float()
    difference = (plain(make().preprocess([image]))[0] - expected).abs()
    assert difference.mean() < 2.0
    assert difference.max() < 10.0


def test_preparing_large_pictures_is_cropping_the_centre_and_resizing():
    image = smooth(300, 200)
    expected = np.array(image.resize((96, 96), Image.Resampling.BILINEAR, box=(50, 0, 250, 200))).transpose(2, 0, 1)
    found = plain(make(size=96, stored=192, max_pixels=10**6).preprocess([image]))[0]
    difference = (found - torch.from_numpy(expected).float()).abs()
    assert difference.mean() < 3.0
    assert difference.max() < 12.0


def test_preprocessing_paths_is_preparing_what_the_source_fetches(tmp_path):
    for i, (width, height) in enumerate([(20, 20), (40, 20), (20, 30)]):
        smooth(width, height, i).save(tmp_path / f"{i}.png")
    source = open_images(str(tmp_path))
    encoder = make()
    source = suited(source, encoder.config)
    raw, kept = source.fetch(np.arange(3))
    found = encoder.preprocess([tmp_path / source.keys[row] for row in kept])
    assert torch.allclose(found, encoder.prepare(raw), atol=1e-5)


KINDS = {
    "path": lambda folder, image: (image.save(folder / "a.png"), folder / "a.png")[1],
    "text": lambda folder, image: (image.save(folder / "a.png"), str(folder / "a.png"))[1],
    "bytes": lambda folder, image: encoded(image),
    "pil": lambda folder, image: image,
    "array": lambda folder, image: np.asarray(image),
    "tensor": lambda folder, image: torch.from_numpy(np.array(image)),
    "rgba array": lambda folder, image: np.asarray(image.convert("RGBA")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_one_picture_is_the_same_in_every_form(tmp_path, kind):
    image, encoder = smooth(30, 20), make()
    assert encoder.encode(KINDS[kind](tmp_path, image)).shape == (256,)
    assert torch.equal(encoder.preprocess([KINDS[kind](tmp_path, image)]), encoder.preprocess([image]))


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1)])
def test_grey_arrays_serve_an_encoder_of_grey_pictures(shape):
    array = np.full(shape, 200, dtype=np.uint8)
    found = make(channels=1).preprocess([array])
    assert torch.allclose(plain(found), torch.full((1, 1, 16, 16), 200.0), atol=1e-2)


BAD = {
    "float array": (np.zeros((8, 8, 3), np.float32), r"^Input 1: an array of pixels must be uint8.*got float32"),
    "16-bit array": (np.zeros((8, 8), np.uint16), r"^Input 1: an array of pixels must be uint8.*got uint16"),
    "channels first": (np.zeros((3, 8, 9), np.uint8), r"^Input 1: .*\[h, w, c\] with c 1, 3 or 4, got \(3, 8, 9\)"),
    "no pixels": (np.zeros((0, 8, 3), np.uint8), r"^Input 1: .*got \(0, 8, 3\)"),
    "a line": (np.zeros(8, np.uint8), r"^Input 1: .*got \(8,\)"),
    "a number": (7, r"^Input 1 is no image: give a path, bytes, a PIL image or an array, got int"),
    "nothing": (None, r"^Input 1 is no image.*got NoneType"),
    "bytes": (b"no image", r"^Input 1 cannot be read as an image: not an image"),
    "missing file": ("not/there.png", r"'not/there.png' cannot be read as an image"),
    "too large": (np.zeros((101, 100), np.uint8), r"^Input 1 cannot be read as an image: .*megapixels"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_picture_is_refused_by_name(kind):
    given, text = BAD[kind]
    with pytest.raises(DataError, match=text):
        make().preprocess([np.zeros((8, 8, 3), np.uint8), given])


def test_a_broken_file_is_refused_by_its_path(tmp_path):
    (tmp_path / "broken.jpg").write_text("no picture")
    with pytest.raises(DataError, match=r"broken\.jpg' cannot be read as an image: not an image"):
        make().encode(tmp_path / "broken.jpg")


# From inputs to vectors


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_list_gives_a_row_for_each(count):
    given = [smooth(20, 20, i) for i in range(count)]
    found = make().encode(given, batch_size=2)
    assert found.shape == (count, 256)
    if given:
        assert np.allclose(make().encode(np.stack([np.asarray(one) for one in given])), found, atol=1e-5)


# Networks


TINY = {
    "small_cnn": {},
    "resnet18": {"width": 4},
    "resnet50": {"width": 4},
    "test_vit": {"size": 64, "stored": 64},  # timm's smallest of each kind
    "test_convnext": {"size": 64, "stored": 64},
    "mobilenetv3_small_050": {"size": 64, "stored": 64},  # a layer behind the last map: wider than num_features
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", TINY)
def test_dim_is_the_length_of_a_vector(name, channels):
    encoder = make(name, channels=channels, **TINY[name])
    found = encoder.encode([smooth(70, 70, i) for i in range(2)])
    assert found.shape == (2, encoder.dim)
    assert np.isfinite(found).all()


def test_width_is_refused_for_timms_networks():
    with pytest.raises(ConfigError, match="width has no meaning for 'test_vit'"):
        make("test_vit", size=64, width=32)


def test_a_size_that_cuts_patches_in_two_is_refused():
    with pytest.raises(ConfigError, match="--image-size must be a multiple of 16 for timm's 'test_vit', got 56"):
        make("test_vit", size=56)


@pytest.mark.parametrize(
    ("name", "meant"), [("resnt18", "resnet18"), ("smal_cnn", "small_cnn"), ("vit_tiny_patch16", "vit_tiny_patch16_")]
)
def test_an_unknown_name_suggests_the_nearest_timms_included(name, meant):
    with pytest.raises(UnknownName, match=f"No encoder is named '{name}'. Did you mean '{meant}"):
        make(name)


@pytest.mark.parametrize(("size", "stem"), [(32, "cifar"), (96, "cifar"), (97, "imagenet"), (224, "imagenet")])
def test_small_pictures_get_the_cifar_stem(size, stem):
    assert stem_for("resnet18", size) == stem


# Weights


def save(module, path):
    save_file({key: value.contiguous() for key, value in module.state_dict().items()}, path)


def test_weights_of_an_encoder_of_ours_are_taken_whole(tmp_path):
    trained, fresh = make("resnet18", width=4, seed=1), make("resnet18", width=4, seed=2)
    save(trained, tmp_path / "model.safetensors")
    assert load_pretrained(fresh, str(tmp_path / "model.safetensors")) == []
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(fresh(x), trained(x))


@pytest.mark.parametrize("wrapped", [False, True])
def test_weights_of_torchvision_are_taken_whole(tmp_path, wrapped):
    theirs = torchvision.models.resnet18(weights=None).eval()
    state = theirs.state_dict()
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, tmp_path / "resnet18.pth")
    encoder = make("resnet18", stem="imagenet", seed=1)
    assert load_pretrained(encoder, str(tmp_path / "resnet18.pth")) == []
    theirs.fc = nn.Identity()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(encoder(x), theirs(x), atol=1e-5)


def test_another_stem_keeps_its_fresh_weights_and_says_so(tmp_path, caplog):
    save(make("resnet18", width=4, stem="imagenet").network, tmp_path / "a.safetensors")
    encoder = make("resnet18", width=4, stem="cifar", seed=1)
    before = encoder.network.conv1.weight.clone()
    with caplog.at_level(logging.WARNING, "nearfar"):
        assert load_pretrained(encoder, str(tmp_path / "a.safetensors")) == ["conv1.weight"]
    assert torch.equal(encoder.network.conv1.weight, before)
    assert "start fresh: conv1.weight" in caplog.text


def test_an_encoder_of_grey_pictures_sums_the_weights_of_colours(tmp_path):
    coloured, grey = make("resnet18", width=4), make("resnet18", width=4, channels=1, seed=1)
    save(coloured.network, tmp_path / "a.safetensors")
    assert load_pretrained(grey, str(tmp_path / "a.safetensors")) == []
    x = torch.randn(2, 1, 16, 16)
    assert torch.allclose(grey(x), coloured(x.expand(2, 3, 16, 16)), atol=1e-5)


def test_a_resnet_that_was_made_a_sequence_is_taken_whole(tmp_path):
    """As lightly's examples save it: `nn.Sequential(*list(resnet.children())[:-1])`."""
    theirs = torchvision.models.resnet18(weights=None).eval()
    sequence = nn.Sequential(*list(theirs.children())[:-1]).state_dict()
    torch.save({"state_dict": {f"backbone.{key}": value for key, value in sequence.items()}}, tmp_path / "a.pth")
    encoder = make("resnet18", stem="imagenet", seed=1)
    assert load_pretrained(encoder, str(tmp_path / "a.pth")) == []
    assert torch.equal(encoder.network.layer4[1].conv2.weight, theirs.layer4[1].conv2.weight)


def test_weights_of_another_width_are_refused(tmp_path):
    save(make("resnet18", width=8).network, tmp_path / "a.safetensors")
    with pytest.raises(ConfigError, match="Give the same encoder, width and stem"):
        load_pretrained(make("resnet18", width=4), str(tmp_path / "a.safetensors"))


def test_without_a_network_the_hub_is_an_error_that_says_what_to_do(monkeypatch):
    encoder = make("resnet18", width=4)

    def offline(*args, **more):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        ConfigError, match=r"'resnet18' could not be fetched \(OSError: no route to host\).*--pretrained"
    ):
        load_pretrained(encoder, "hub")


def test_the_hub_has_no_weights_for_names_of_ours():
    with pytest.raises(ConfigError, match="The hub has no weights for 'small_cnn'"):
        load_pretrained(make("small_cnn"), "hub")


def test_the_hub_is_asked_for_the_size_and_the_channels_of_the_encoder(monkeypatch):
    """Positions of another size would be left out: timm fits them."""
    asked = {}

    def fetch(name, channels, size, *, published=False):
        asked.update(name=name, channels=channels, size=size, published=published)
        return timm.create_model(name, num_classes=0, in_chans=channels, img_size=size)

    encoder = make("test_vit", size=64, channels=1)
    monkeypatch.setattr(published, "timm_network", fetch)
    assert load_pretrained(encoder, "hub") == []
    assert asked == {"name": "test_vit", "channels": 1, "size": 64, "published": True}


@pytest.mark.parametrize(("side", "samples"), [(32, 256), (128, 256), (224, 83), (2048, 16)])
def test_large_pictures_are_embedded_in_smaller_batches(side, samples):
    assert encoders.ImageEncoder(nn.Identity(), 4, {"image_size": side}).embed_batch == samples


def made(name, **more):
    config = {"encoder": name, "channels": 3, "image_size": 32, "mean": [0.5] * 3, "std": [0.25] * 3, **more}
    if name in encoders.LAYERS:
        config = {"stem": "cifar", "pool": "last"} | config
    return build(config).eval()


@pytest.mark.parametrize(
    ("name", "more", "strides", "channels"),
    [
        ("resnet8", {"width": 8, "stem": "patch", "pool": "stages"}, [2, 4, 8], [8, 16, 32]),
        ("resnet18", {"width": 8}, [1, 2, 4, 8], [8, 16, 32, 64]),
        ("resnet18", {"width": 8, "stem": "imagenet"}, [4, 8, 16, 32], [8, 16, 32, 64]),
        ("small_cnn", {"width": 8}, [2, 4, 8], [8, 16, 32]),
        ("test_efficientnet", {}, [2, 4, 8, 16, 32], None),
        ("test_vit", {}, [16], None),
        ("swin_tiny_patch4_window7_224", {"image_size": 64}, [4, 8, 16, 32], [96, 192, 384, 768]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@torch.no_grad()
def test_maps_have_their_strides_finest_first(name, more, strides, channels):
    encoder = made(name, **more)
    size = encoder.size
    maps = encoder.maps(torch.randn(2, 3, size, size))
    assert [one.stride for one in maps] == strides
    assert all(one.values.shape[0] == 2 and one.values.shape[-1] == size // one.stride for one in maps)
    assert channels is None or [one.values.shape[1] for one in maps] == channels


@torch.no_grad()
def test_pooled_maps_and_tokens_are_the_features():
    for name in ("resnet18", "small_cnn"):
        encoder, x = made(name, width=8), torch.randn(2, 3, 32, 32)
        torch.testing.assert_close(encoder.maps(x)[-1].values.mean((2, 3)), encoder.features(x))
    encoder, x = made("vit_tiny_patch16_224"), torch.randn(2, 3, 32, 32)
    tokens = encoder.tokens(x)
    assert tokens.shape == (2, 4, 192)
    whole = encoder.network.forward_features(x)
    torch.testing.assert_close(tokens, whole[:, 1:])
    torch.testing.assert_close(encoder.maps(x)[-1].values.flatten(2).mT.shape, tokens.shape)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("small_cnn", {"width": 8}),
        ("resnet10", {"width": 8}),
        ("resnet18", {"width": 8, "pool": "last"}),
        ("test_efficientnet", {}),
        ("test_vit", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_features_and_maps_come_from_one_pass(name, more):
    encoder, x = made(name, **more), torch.randn(2, 3, 64, 64)
    expected = encoder.features(x), encoder.maps(x)
    convolution = next(module for module in encoder.modules() if isinstance(module, nn.Conv2d))
    passes = []
    convolution.register_forward_hook(lambda *_: passes.append(1))
    features, maps = encoder.features_and_maps(x)
    assert len(passes) == 1
    torch.testing.assert_close(features, expected[0])
    assert [one.stride for one in maps] == [one.stride for one in expected[1]]
    torch.testing.assert_close(maps[-1].values, expected[1][-1].values)


def test_views_and_their_coarsest_maps_come_together():
    encoder = made("resnet8", width=8)
    x, small = torch.randn(2, 2, 3, 32, 32), torch.randn(2, 3, 16, 16)
    vectors, maps = encoder.with_map([x[0], small, x[1]])
    torch.testing.assert_close(vectors, encoder([x[0], small, x[1]]))
    for one, view in zip(maps, (x[0], small, x[1]), strict=True):
        torch.testing.assert_close(one, encoder.maps(view)[-1].values)


def test_what_an_encoder_does_not_have_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"'resnet18' has no tokens: take a transformer"):
        made("resnet18", width=8).tokens(torch.randn(1, 3, 32, 32))
    with pytest.raises(ConfigError, match=r"has no feature maps"):
        encoders.ImageEncoder(nn.Identity(), 4, {"image_size": 32, "encoder": "mine"}).maps(torch.randn(1, 3, 32, 32))


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("small_cnn", {"image_size": 8192}, "takes about 6. GB in the encoder 'small_cnn'"),
        ("resnet8", {"image_size": 8192, "stem": "patch"}, "take a smaller image_size"),
        ("resnet18", {"image_size": 4096}, "more than 8 are refused"),
        ("resnet18", {"image_size": 512, "width": 8192}, "takes about"),
        ("resnet18", {"image_size": 16384, "stem": "imagenet"}, "image_size must be"),
        ("resnet18", {"image_size": 8192, "channels": 1000, "stem": "imagenet"}, "takes about"),
    ],
)
def test_sizes_that_no_memory_holds_are_refused_at_once(name, more, message):
    with pytest.raises(ConfigError, match=message):
        made(name, **more)
