"""The contract: every modality keeps its promises, every method runs on every modality.

A modality joins by being listed, with a toy below; a method joins by being listed.
"""

import ast
import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nearfar
from nearfar.contract import Batch, Card, Encoder, Latents, Method, Modality, Requirements, Source, Views
from nearfar.errors import DataError, UnknownName
from nearfar.methods import registry as methods
from nearfar.modalities import registry as modalities
from nearfar.modalities.opening import open_source
from nearfar.options import Facts
from nearfar.training.step import training_step

PACKAGE = Path(nearfar.__file__).parent
FACTS = Facts(samples=12, device="cpu", threads=1, steps=3)
BATCH = 8
FIGURES = {"rtol": 1e-4, "atol": 1e-5}
"""Equal up to the order of sums, which follows the shape of a batch."""


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

    def samples(keys: Sequence[str]) -> list[Any]:
        return [rows[int(key.split("#")[1])] for key in keys]

    return Toy(str(folder / "toy.csv"), "mlp", {"hidden": 16, "layers": 2}, samples)


TOYS: dict[str, Callable[[Path], Toy]] = {"image": image_toy, "table": table_toy}


@dataclass
class Ground:
    """A modality on its toy, ready to train."""

    toy: Toy
    modality: Modality
    source: Source
    options: Any
    encoder: Encoder

    def views(
        self, rows: Sequence[int], draws: Sequence[int], seed: int = 0, requires: Requirements | None = None
    ) -> Views:
        raw, there = self.source.fetch(np.array(rows))
        assert there.tolist() == list(rows)
        return self.modality.views(
            raw,
            np.array(draws),
            requires=requires or Requirements(),
            seed=seed,
            options=self.options,
            encoder=self.encoder,
        )

    def whole(self) -> torch.Tensor:
        raw, _ = self.source.fetch(np.arange(len(self.source)))
        self.encoder.eval()
        with torch.no_grad():
            return self.encoder.features(self.encoder.prepare(raw))


def prepared(name: str, folder: Path) -> Ground:
    folder.mkdir(parents=True)
    toy = TOYS[name](folder)
    modality = modalities.load(name)
    source = open_source(modality, toy.data, least=2)
    options, encoder_name, _ = modality.settle(modality.Options(**toy.options), source, toy.encoder, FACTS)
    torch.manual_seed(0)
    encoder = modality.encoder(encoder_name, source, options)
    return Ground(toy, modality, source.suited(encoder.config), options, encoder)


@pytest.fixture(scope="module", params=sorted(modalities.MODALITIES))
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return prepared(request.param, tmp_path_factory.mktemp("toy") / request.param)


@pytest.fixture
def ground(shared: Ground) -> Ground:
    """The modality with an encoder of its own, free to be trained."""
    return Ground(shared.toy, shared.modality, shared.source, shared.options, copy.deepcopy(shared.encoder))


# Listed is what is there.


def defining(name: str, paths: Sequence[Path]) -> set[str]:
    """The files among these that assign `name` at their top."""
    found = set()
    for path in paths:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                found.add(path.parent.name if path.name == "__init__.py" else path.stem)
    return found


def test_every_method_file_is_listed() -> None:
    assert defining("METHOD", sorted((PACKAGE / "methods").glob("*.py"))) == set(methods.METHODS)


def test_every_modality_folder_is_listed() -> None:
    folders = {path.parent.name for path in (PACKAGE / "modalities").glob("*/__init__.py")}
    assert folders == set(modalities.MODALITIES)


def test_every_modality_has_a_toy() -> None:
    assert set(TOYS) == set(modalities.MODALITIES)


# Sources.


def test_a_source_knows_its_samples(ground: Ground) -> None:
    source = ground.source
    n = len(source)
    assert n >= 12
    assert len(source.keys) == len(set(source.keys)) == n
    assert source.ids.shape == (n,)
    assert source.labels is not None
    assert source.labels.shape == (n,)
    assert len(source.label_names) == 2
    assert source.skipped == []
    for said in (
        source.groups,
        source.positives,
        source.negatives,
        source.shards,
    ):  # by columns and containers that the toys lack
        assert said is None


def test_taken_rows_are_these_rows_in_this_order(ground: Ground) -> None:
    rows = np.array([7, 2, 5])
    some = ground.source.take(rows)
    assert list(some.keys) == [ground.source.keys[i] for i in rows]
    assert ground.source.labels is not None
    assert some.labels is not None
    assert some.labels.tolist() == ground.source.labels[rows].tolist()
    ground.encoder.eval()
    with torch.no_grad():
        taken = ground.encoder.features(ground.encoder.prepare(some.fetch(np.arange(3))[0]))
    torch.testing.assert_close(taken, ground.whole()[torch.from_numpy(rows)], **FIGURES)


def test_raw_vectors_are_finite(ground: Ground) -> None:
    vectors = ground.source.vectors()
    assert vectors.dtype == torch.float32
    assert vectors.ndim == 2
    assert len(vectors) == len(ground.source)
    assert bool(vectors.isfinite().all())


def test_every_sample_has_a_card(ground: Ground) -> None:
    cards = ground.source.cards(np.arange(len(ground.source)))
    assert [card.key for card in cards] == list(ground.source.keys)
    assert all(isinstance(card, Card) and (card.image or card.text) for card in cards)
    assert {card.label for card in cards} == set(ground.source.label_names)


def test_data_that_is_not_there_is_refused(ground: Ground, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        open_source(ground.modality, str(tmp_path / "nothing" / "here"), least=2)


# Views.


def test_a_view_belongs_to_its_draw_and_not_to_its_place(ground: Ground) -> None:
    one = ground.views([3, 1, 4, 5], [10, 11, 12, 13])
    other = ground.views([5, 9, 3], [13, 20, 10])
    for i in range(2):
        torch.testing.assert_close(other[i][0], one[i][3], **FIGURES)
        torch.testing.assert_close(other[i][2], one[i][0], **FIGURES)


def test_views_repeat_to_the_bit(ground: Ground) -> None:
    one, other = ground.views([0, 1], [5, 6]), ground.views([0, 1], [5, 6])
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])


@pytest.mark.parametrize("changed", ["view", "draw", "seed"])
def test_views_differ(ground: Ground, changed: str) -> None:
    rows = list(range(6))
    views = ground.views(rows, rows)
    others = {
        "view": views[1],
        "draw": ground.views(rows, [row + 100 for row in rows])[0],
        "seed": ground.views(rows, rows, seed=1)[0],
    }
    same = [torch.allclose(a, b, atol=1e-4) for a, b in zip(views[0], others[changed], strict=True)]
    assert not any(same)


def test_views_are_made_when_asked_for(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    views = ground.views([0, 1], [0, 1])
    made: list[int] = []
    make = views._make
    monkeypatch.setattr(views, "_make", lambda view, start, stop: made.append(view) or make(view, start, stop))
    views[1]
    views[1]
    assert made == [1]


def test_a_part_of_views_is_their_slice(ground: Ground) -> None:
    views = ground.views([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
    part = views.part(1, 4)
    assert part.samples == 3
    for i in range(2):
        torch.testing.assert_close(part[i], views[i][1:4], **FIGURES)


def test_taken_samples_of_views_are_these_in_this_order(ground: Ground) -> None:
    views = ground.views([0, 1, 2, 3, 4], [0, 1, 2, 3, 4], requires=Requirements(wide=2, small=1))
    at = torch.tensor([4, 0, 3])
    taken = views.take(at)
    assert (taken.samples, taken.numbers, taken.wide) == (3, (0, 1, 2), 2)
    for i in range(3):
        assert torch.equal(taken[i], views[i][at])
        assert torch.equal(views[i:].take(at).part(1, 3)[0], views[i][at[1:]])


def test_wide_views_come_first(ground: Ground) -> None:
    views = ground.views([0, 1, 2], [0, 1, 2], requires=Requirements(wide=2, small=2))
    wide = ground.views([0, 1, 2], [0, 1, 2])
    assert (len(views), views.wide) == (4, 2)
    torch.testing.assert_close(views[1], wide[1], **FIGURES)
    assert views[3].shape == views[2].shape
    assert ground.encoder(views).shape == (4, 3, ground.encoder.dim)


# Encoders.


def test_an_encoder_maps_views_to_vectors(ground: Ground) -> None:
    views = ground.views([0, 1, 2], [0, 1, 2])
    vectors = ground.encoder(views)
    assert vectors.shape == (2, 3, ground.encoder.dim)
    assert bool(vectors.isfinite().all())
    assert ground.encoder(views[0]).shape == (3, ground.encoder.dim)


def test_an_encoder_comes_back_from_its_config(ground: Ground) -> None:
    config = json.loads(json.dumps(ground.encoder.config, allow_nan=False))
    assert config["modality"] == ground.modality.name
    again = ground.modality.restore(config)
    again.load_state_dict(ground.encoder.state_dict())
    assert again.dim == ground.encoder.dim
    expected = ground.whole()
    assert torch.equal(Ground(ground.toy, ground.modality, ground.source, ground.options, again).whole(), expected)


def test_encode_takes_what_users_have(ground: Ground) -> None:
    samples = ground.toy.samples(ground.source.keys)
    vectors = ground.encoder.encode(samples, batch_size=5, show_progress_bar=False)
    assert vectors.shape == (len(samples), ground.encoder.dim)
    torch.testing.assert_close(torch.from_numpy(vectors), ground.whole(), **FIGURES)
    one = ground.encoder.encode(samples[3], show_progress_bar=False)
    torch.testing.assert_close(torch.from_numpy(one), torch.from_numpy(vectors[3]), **FIGURES)


def test_encode_leaves_the_mode_as_it_was(ground: Ground) -> None:
    samples = ground.toy.samples(ground.source.keys[:2])
    ground.encoder.train()
    normed = ground.encoder.encode(samples, normalize_embeddings=True)
    assert ground.encoder.training
    np.testing.assert_allclose(np.linalg.norm(normed, axis=1), 1, rtol=1e-5)


def test_an_unknown_encoder_is_refused_by_name(ground: Ground) -> None:
    nearly = ground.toy.encoder[:-1]
    with pytest.raises(UnknownName, match=f"No encoder is named '{nearly}'. Did you mean '{ground.toy.encoder}'"):
        ground.modality.encoder(nearly, ground.source, ground.options)


def test_settled_options_stay_settled(ground: Ground) -> None:
    options, encoder, choices = ground.modality.settle(ground.options, ground.source, ground.toy.encoder, FACTS)
    assert (options, encoder, choices) == (ground.options, ground.toy.encoder, [])


def test_a_modality_describes_its_encoders(ground: Ground) -> None:
    assert ground.modality.encoders == modalities.encoders(ground.modality.name)
    assert ground.modality.Options is modalities.options(ground.modality.name)
    assert all(name and line for name, line in ground.modality.encoders.items())


# Methods on modalities.


def built(name: str, ground: Ground) -> Method:
    kind = methods.load(name)
    options, _ = kind.settle(kind.Options(), FACTS, ground.encoder)
    torch.manual_seed(0)
    return kind(ground.encoder, options)


def batch_of(ground: Ground, step: int) -> tuple[Batch, list[int]]:
    rows = [(step * BATCH + i) % len(ground.source) for i in range(BATCH)]
    labels = ground.source.labels
    assert labels is not None
    batch = Batch(
        ids=torch.from_numpy(ground.source.ids[rows]), labels=torch.from_numpy(labels[rows]), progress=step / 3
    )
    return batch, rows


def trained(name: str, ground: Ground, steps: int = 3) -> tuple[Method, list[float], dict[str, float]]:
    """Plain SGD for a few steps: the method, its losses, and each encoder parameter's largest gradient."""
    method = built(name, ground)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.01)
    losses, largest = [], dict.fromkeys([name for name, _ in method.encoder.named_parameters()], 0.0)
    for step in range(steps):
        batch, rows = batch_of(ground, step)
        views = ground.views(rows, [step * BATCH + i for i in range(BATCH)], requires=method.requires)
        optimizer.zero_grad()
        torch.manual_seed(step)
        found, latents = training_step(method, views, batch)
        losses.append(float(found.total.detach()))
        for parameter, value in method.encoder.named_parameters():
            if value.grad is not None:
                assert bool(value.grad.isfinite().all()), parameter
                largest[parameter] = max(largest[parameter], float(value.grad.abs().max()))
        optimizer.step()
        method.after_step(latents, batch)
    return method, losses, largest


every_method = pytest.mark.parametrize("name", sorted(methods.METHODS))


@every_method
def test_every_method_trains_every_encoder(name: str, ground: Ground) -> None:
    _, losses, largest = trained(name, ground)
    assert np.isfinite(losses).all()
    assert [parameter for parameter, value in largest.items() if value == 0] == []


@every_method
def test_training_twice_is_equal_to_the_bit(name: str, ground: Ground) -> None:
    again = Ground(ground.toy, ground.modality, ground.source, ground.options, copy.deepcopy(ground.encoder))
    one, losses, _ = trained(name, ground)
    other, others, _ = trained(name, again)
    assert losses == others
    for (key, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), key


@every_method
def test_the_shares_of_ranks_sum_to_the_loss_and_its_gradient(name: str, ground: Ground) -> None:
    """Three ragged ranks, one of them without rows, in float64."""
    method, _, _ = trained(name, ground)
    method.eval()
    batch, rows = batch_of(ground, 3)
    views = ground.views(rows, rows, requires=method.requires)
    with torch.no_grad():
        wanted, fixed = method.embed(views), method.targets(views)
    method.double()

    def value_and_gradients(own: Sequence[slice], world: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        leaves = {key: value.double().requires_grad_() for key, value in wanted.items()}
        given = {key: value.double() for key, value in fixed.items()}
        method.zero_grad()
        total = torch.zeros((), dtype=torch.float64)
        for part in own:
            share = Batch(ids=batch.ids, labels=batch.labels, progress=batch.progress, rows=part, world=world)
            total = total + method.loss(Latents(**leaves, **given), share).total
        total.backward()
        gradients = {key: leaf.grad for key, leaf in leaves.items() if leaf.grad is not None}
        owned = {key: p.grad.clone() for key, p in method.named_parameters() if p.grad is not None}
        return total.detach(), {**gradients, **owned}

    whole, gradients = value_and_gradients([slice(0, BATCH)], 1)
    shares, summed = value_and_gradients([slice(0, 5), slice(5, 5), slice(5, BATCH)], 3)
    torch.testing.assert_close(shares, whole, rtol=1e-6, atol=1e-9)
    assert summed.keys() == gradients.keys()
    for key, gradient in gradients.items():
        torch.testing.assert_close(
            summed[key], gradient, rtol=1e-5, atol=1e-8, msg=lambda text, key=key: f"{key}: {text}"
        )


@every_method
def test_the_loss_changes_no_state(name: str, ground: Ground) -> None:
    method, _, _ = trained(name, ground)
    batch, rows = batch_of(ground, 3)
    views = ground.views(rows, rows, requires=method.requires)
    with torch.no_grad():
        embedded = Latents(**method.embed(views), **method.targets(views))
        before = {key: value.clone() for key, value in method.state_dict().items()}
        one, other = method.loss(embedded, batch).total, method.loss(embedded, batch).total
    assert torch.equal(one, other)
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())


@every_method
def test_settled_method_options_stay_settled(name: str, ground: Ground) -> None:
    kind = methods.load(name)
    options, _ = kind.settle(kind.Options(), FACTS, ground.encoder)
    assert kind.settle(options, FACTS, ground.encoder) == (options, [])
    assert [field.name for field in fields(options) if getattr(options, field.name) is None] == []


def test_an_unknown_method_is_refused_by_name() -> None:
    with pytest.raises(UnknownName, match=r"No method is named 'simclear'\. Did you mean 'simclr'"):
        methods.load("simclear")
