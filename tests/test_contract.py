"""The contract: every modality and every method passes the public checks, and every method trains every encoder.

A modality joins by being listed, with a toy below; a method joins by being listed.
"""

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nearfar
from nearfar import losses
from nearfar.contract import Batch, Encoder, Modality, Source
from nearfar.errors import ConfigError
from nearfar.methods import registry as methods
from nearfar.modalities import registry as modalities
from nearfar.modalities.opening import open_source
from nearfar.options import Facts
from nearfar.testing import check_loss, check_method, check_modality
from nearfar.training.positives import Given, views_of
from nearfar.training.step import training_step
from tests.methods.toys import OF_SAMPLES
from tests.toy import Digits

PACKAGE = Path(nearfar.__file__).parent
FACTS = Facts(samples=12, device="cpu", threads=1, steps=3)
BATCH = 8


@dataclass
class Toy:
    """Data of at least twelve labelled samples, what a user would encode for some of its keys, and a small encoder."""

    data: str
    encoder: str
    options: dict[str, Any]
    samples: Callable[[Sequence[str]], list[Any]]


def image_toy(folder: Path) -> Toy:
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(12):
        place = folder / ("bright" if i % 2 else "dark")
        place.mkdir(exist_ok=True)
        pixels = rng.integers(0, 128, (16, 16, 3)) + 100 * (i % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(place / f"{i:02}.png")
    return Toy(str(folder), "small_cnn", {"image_size": 16}, lambda keys: [folder / key for key in keys])


def table_toy(folder: Path) -> Toy:
    rng = np.random.default_rng(0)
    rows = [[f"{x:.4f}" for x in rng.normal(size=4)] + [("red", "blue", "green")[i % 3]] for i in range(40)]
    lines = [",".join([*row, "even" if i % 2 == 0 else "odd"]) for i, row in enumerate(rows)]
    (folder / "toy.csv").write_text("\n".join(["a,b,c,d,colour,label", *lines]))
    options = {"hidden": 16, "layers": 2}
    return Toy(str(folder / "toy.csv"), "mlp", options, lambda keys: [rows[int(key.split("#")[1])] for key in keys])


def text_toy(folder: Path) -> Toy:
    rng = np.random.default_rng(0)
    words = [f"word{i}" for i in range(30)]
    texts = [" ".join(rng.choice(words, 5 + i % 4)) for i in range(24)]
    (folder / "toy.csv").write_text("\n".join(["text,label", *(f"{text},{i % 2}" for i, text in enumerate(texts))]))
    return Toy(
        str(folder / "toy.csv"), "bag", {"buckets": 512}, lambda keys: [texts[int(k.split("#")[1])] for k in keys]
    )


def audio_toy(folder: Path) -> Toy:
    import soundfile

    rng = np.random.default_rng(0)
    for i in range(12):
        place = folder / ("high" if i % 2 else "low")
        place.mkdir(exist_ok=True)
        time = np.arange(800 + 100 * i) / 4000
        wave = 0.3 * np.sin(2 * np.pi * (300 + 900 * (i % 2)) * time) + 0.05 * rng.normal(size=len(time))
        soundfile.write(place / f"{i:02}.wav", wave, 4000)
    return Toy(str(folder), "spectrogram_cnn", {"bands": 16}, lambda keys: [folder / key for key in keys])


def digits_toy(folder: Path) -> Toy:
    rng = np.random.default_rng(0)
    texts = ["".join(map(str, rng.integers(0, 10, 3 + i % 6))) for i in range(24)]
    lines = [f"{text},{i % 2}" for i, text in enumerate(texts)]
    (folder / "toy.csv").write_text("\n".join(["string,label", *lines]))
    return Toy(str(folder / "toy.csv"), "bag", {}, lambda keys: [texts[int(key.split("#")[1])] for key in keys])


def pairs_toy(folder: Path) -> Toy:
    toy = image_toy(folder)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*.png"))
    rows = [f"{name},a {'light' if 'bright' in name else 'night'} thing no {i},{i % 2}" for i, name in enumerate(names)]
    (folder / "toy.csv").write_text("\n".join(["image,caption,label", *rows]))
    options = {**toy.options, "buckets": 512, "joint_width": 16}
    return Toy(str(folder / "toy.csv"), "image=small_cnn,text=bag", options, toy.samples)


def interactions_toy(folder: Path) -> Toy:
    rows = [(f"u{user}", f"i{(user * 7 + n * 5) % 11}", user % 2) for user in range(6) for n in range(5)]
    lines = [f"{user},{item},{label}" for user, item, label in rows]
    (folder / "toy.csv").write_text("\n".join(["user,item,label", *lines]))
    options = {"dimensions": 8}
    return Toy(str(folder / "toy.csv"), "history", options, lambda keys: [rows[int(k.split("#")[1])][1] for k in keys])


TOYS: dict[str, Callable[[Path], Toy]] = {
    "image": image_toy,
    "pairs": pairs_toy,
    "table": table_toy,
    "text": text_toy,
    "audio": audio_toy,
    "interactions": interactions_toy,
    "digit-strings": digits_toy,
}
MODALITIES = sorted({*modalities.MODALITIES, "digit-strings"})


def modality_of(name: str) -> Modality:
    return Digits() if name == "digit-strings" else modalities.load(name)


def listed(name: str, paths: Sequence[Path]) -> set[str]:
    """The files among these that assign `name` at their top."""
    found = set()
    for path in paths:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                found.add(path.stem)
    return found


def test_every_method_and_every_modality_is_listed() -> None:
    assert listed("METHOD", sorted((PACKAGE / "methods").glob("*.py"))) == set(methods.METHODS)
    folders = {path.parent.name for path in (PACKAGE / "modalities").glob("*/__init__.py")}
    assert folders == set(modalities.MODALITIES) <= set(TOYS)


@pytest.mark.parametrize("name", MODALITIES)
def test_every_modality_keeps_its_promises(name: str, tmp_path: Path) -> None:
    toy = TOYS[name](tmp_path)
    check_modality(modality_of(name), toy.data, encoder=toy.encoder, samples=toy.samples, **toy.options)


@pytest.mark.parametrize("name", OF_SAMPLES)
def test_every_method_keeps_its_promises(name: str) -> None:
    check_method(methods.load(name))


TWO_VIEWS = ("nt_xent", "info_nce", "dcl", "debiased", "hcl", "siglip", "vicreg", "barlow_twins", "alignment")


@pytest.mark.parametrize("name", TWO_VIEWS)
def test_losses_of_two_views_keep_their_promises(name: str) -> None:
    check_loss(getattr(losses, name))


@dataclass
class Ground:
    """A modality on its toy, ready to train."""

    modality: Modality
    source: Source
    options: Any
    encoder: Callable[[], Encoder]


@pytest.fixture(scope="module", params=MODALITIES)
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    modality = modality_of(request.param)
    toy = TOYS[request.param](tmp_path_factory.mktemp("toy"))
    source = open_source(modality, toy.data, options=modality.Options(**toy.options), least=2)
    options, name, _ = modality.settle(modality.Options(**toy.options), source, toy.encoder, FACTS)

    def encoder() -> Encoder:
        torch.manual_seed(0)
        return modality.encoder(name, source, options)

    return Ground(modality, source.suited(encoder().config), options, encoder)


@pytest.mark.parametrize("name", OF_SAMPLES)
def test_every_method_trains_every_encoder_or_refuses_one_without_maps(name: str, ground: Ground) -> None:
    kind = methods.load(name)
    encoder = ground.encoder()
    if kind.requires.maps and not ground.modality.with_maps:
        with pytest.raises(ConfigError, match="has no feature maps"):
            kind(encoder, kind.settle(kind.Options(), FACTS, encoder)[0])
        return
    method = kind(encoder, kind.settle(kind.Options(), FACTS, encoder)[0])
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.01)
    labels = ground.source.labels
    assert labels is not None
    reached: set[str] = set()
    for step in range(3):
        rows = (step * BATCH + np.arange(BATCH)) % len(ground.source)
        raw, _ = ground.source.fetch(rows)
        draws = rows + 100 * step
        if ground.source.positives is not None:
            raw = Given(ground.source).beside(raw, rows, draws)
        make = partial(ground.modality.views, seed=0, options=ground.options, encoder=encoder)
        views = views_of(make, raw, draws, method.requires)
        scores = torch.arange(BATCH) / BATCH if method.requires.scores else None
        ids = torch.from_numpy(ground.source.ids[rows])
        targets = torch.randn(BATCH, encoder.dim) if method.requires.targets else None
        batch = Batch(ids=ids, labels=torch.from_numpy(labels[rows]), scores=scores, targets=targets)
        optimizer.zero_grad()
        found, latents = training_step(method, views, batch)
        assert found.total.isfinite()
        gradients = {key: p.grad for key, p in encoder.named_parameters() if p.grad is not None}
        assert all(bool(gradient.isfinite().all()) for gradient in gradients.values())
        reached |= {key for key, gradient in gradients.items() if gradient.any()}
        optimizer.step()
        method.after_step(latents, batch)
    assert reached == {key for key, _ in encoder.named_parameters()}
