"""The cut at the embedding changes no gradient, and keeps the loss out of the encoder's arithmetic."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Requirements, Views
from nearfar.methods.simclr import SimCLR, SimCLROptions
from nearfar.training.ranks import OutOfMemory
from nearfar.training.step import pieces_of, training_step
from tests.training.together import Flat


class Toy(Method):
    """Two latents of one graph and one that gets no gradient, targets, and a loss stage that owns weights."""

    requires = Requirements(wide=2)

    def __init__(self, encoder: Encoder, options: Any = None) -> None:
        super().__init__(encoder)
        self.head = nn.Linear(encoder.dim, 3)
        self.tower = nn.Linear(4, 3)
        self.prototypes = nn.Parameter(torch.randn(5, 3))
        self.seen: dict[str, Any] = {}

    def embed(self, views: Views) -> Latents:
        features = self.encoder(views)
        z = self.head(features)
        return Latents(z=z, square=z.square(), idle=features * 2, fixed=features.detach(), features=features)

    def targets(self, views: Views) -> Latents:
        self.seen["grad"] = torch.is_grad_enabled()
        return Latents(goal=torch.stack([self.tower(view) for view in views]))

    def loss(self, z: Latents, batch: Batch) -> Losses:
        self.seen["types"] = {name: value.dtype for name, value in z.items()}
        self.seen["autocast"] = torch.is_autocast_enabled("cpu")
        self.seen["wants"] = {name: value.requires_grad for name, value in z.items()}
        scores = z["z"] @ self.prototypes.T
        away = (z["z"] - z["goal"]).square().sum()
        return Losses(scores.logsumexp(-1).mean() + away + z["square"].mean() + z["fixed"].sum())


def views_of(*seen: Tensor) -> Views:
    def make(number: int, start: int, stop: int) -> Tensor:
        return seen[number][start:stop]

    return Views(make, range(len(seen)), 0, len(seen[0]), len(seen))


def uncut(method: Method, views: Views, batch: Batch) -> Losses:
    """The computation as one graph, with one backward call."""
    z = method.embed(views)
    with torch.no_grad():
        targets = method.targets(views)
    losses = method.loss(Latents(**z, **targets), batch)
    losses.total.backward()
    return losses


def method_of(name: str) -> Method:
    torch.manual_seed(0)
    encoder = Flat()
    method = Toy(encoder) if name == "toy" else SimCLR(encoder, SimCLROptions(projector_hidden=8, projector_out=5))
    return method.double()


def pair(dtype: torch.dtype = torch.float64) -> tuple[Views, Batch]:
    source = torch.Generator().manual_seed(1)
    views = views_of(*(torch.randn(7, 4, generator=source, dtype=dtype) for _ in range(2)))
    return views, Batch(ids=torch.arange(7), labels=torch.full((7,), -1))


@pytest.mark.parametrize("name", ["simclr", "toy"])
def test_gradients_equal_those_of_the_uncut_computation(name: str) -> None:
    method = method_of(name)
    plain = copy.deepcopy(method)
    views, batch = pair()
    found, _ = training_step(method, views, batch)
    expected = uncut(plain, views, batch)
    torch.testing.assert_close(found.total, expected.total, rtol=1e-12, atol=0)
    for (key, own), other in zip(method.named_parameters(), plain.parameters(), strict=True):
        assert (own.grad is None) == (other.grad is None), key
        if own.grad is not None and other.grad is not None:
            torch.testing.assert_close(own.grad, other.grad, rtol=1e-11, atol=1e-12, msg=key)


def test_targets_have_no_graph_and_leaves_want_gradients_where_their_latents_do() -> None:
    method = method_of("toy")
    assert isinstance(method, Toy)
    _, latents = training_step(method, *pair())
    assert method.seen["grad"] is False
    assert method.tower.weight.grad is None
    assert method.seen["wants"] == {"z": True, "square": True, "idle": True, "fixed": False, "goal": False}
    assert list(latents) == ["z", "square", "idle", "fixed", "goal"]
    assert latents.features is not None
    assert latents.features.shape == (2, 7, 6)
    assert not any(value.requires_grad for value in [*latents.values(), latents.features])


def test_the_loss_is_computed_in_fp32_under_autocast() -> None:
    method = method_of("toy").float()
    assert isinstance(method, Toy)
    training_step(method, *pair(torch.float32), autocast=torch.bfloat16)
    assert set(method.seen["types"].values()) == {torch.float32}
    assert method.seen["autocast"] is False


@pytest.mark.parametrize("micro_batch", [None, 3])
def test_autocast_reaches_every_weight_and_is_near_full_precision(micro_batch: int | None) -> None:
    method = method_of("simclr").float()
    views, batch = pair(torch.float32)
    exact = copy.deepcopy(method)
    training_step(method, views, batch, micro_batch=micro_batch, autocast=torch.bfloat16)
    training_step(exact, views, batch, micro_batch=micro_batch)
    assert all(parameter.grad is not None for parameter in method.parameters())
    own, other = (torch.cat([p.grad.flatten() for p in m.parameters() if p.grad is not None]) for m in (method, exact))
    assert torch.nn.functional.cosine_similarity(own, other, dim=0) > 0.98


def test_a_loss_of_its_own_weights_alone_trains_them() -> None:
    class Own(Toy):
        def loss(self, z: Latents, batch: Batch) -> Losses:
            return Losses(self.prototypes.square().sum())

    torch.manual_seed(0)
    method = Own(Flat())
    training_step(method, *pair(torch.float32))
    torch.testing.assert_close(method.prototypes.grad, 2 * method.prototypes.detach())
    assert all(parameter.grad is None for parameter in method.encoder.parameters())


# In pieces.


class Dropping(Flat):
    """The same network with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.network.append(nn.Dropout(0.5))


def in_pieces(method: Method, views: Views, batch: Batch, pieces: list[slice]) -> Losses:
    """The same computation as one graph of all pieces, each with batch statistics of its own."""
    parts = [method.embed(views.part(piece.start, piece.stop)) for piece in pieces]
    with torch.no_grad():
        targets = [method.targets(views.part(piece.start, piece.stop)) for piece in pieces]
    z = {name: torch.cat([part[name] for part in parts], 1) for name in parts[0]}
    fixed = {name: torch.cat([part[name] for part in targets], 1) for name in targets[0]}
    losses = method.loss(Latents(**z, **fixed), batch)
    losses.total.backward()
    return losses


def same_gradients(one: Method, other: Method) -> None:
    for (key, own), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
        assert (own.grad is None) == (theirs.grad is None), key
        if own.grad is not None:
            torch.testing.assert_close(own.grad, theirs.grad, rtol=1e-11, atol=1e-12, msg=key)


@pytest.mark.parametrize("size", [2, 3, 100])
@pytest.mark.parametrize("name", ["simclr", "toy"])
def test_pieces_give_the_gradients_of_one_graph_of_all_pieces(name: str, size: int) -> None:
    """Batch statistics are those of a piece: this defines what caching computes where there is batch norm."""
    method = method_of(name)
    plain = copy.deepcopy(method)
    views, batch = pair()
    found, _ = training_step(method, views, batch, micro_batch=size)
    expected = in_pieces(plain, views, batch, pieces_of(7, -(-7 // size)))
    torch.testing.assert_close(found.total, expected.total.detach(), rtol=1e-12, atol=0)
    same_gradients(method, plain)


def test_dropout_is_replayed() -> None:
    torch.manual_seed(0)
    method = SimCLR(Dropping(), SimCLROptions(projector_hidden=8, projector_out=5)).double()
    views, batch = pair()
    found, _ = training_step(method, views, batch, micro_batch=3, seed=lambda piece: torch.manual_seed(40 + piece))
    assert float(found.logs["replay_deviation"]) == 0
    first = [parameter.grad.clone() for parameter in method.parameters() if parameter.grad is not None]
    method.zero_grad()
    training_step(method, views, batch, micro_batch=3, seed=lambda piece: torch.manual_seed(40 + piece))
    again = [parameter.grad for parameter in method.parameters() if parameter.grad is not None]
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_randomness_that_is_not_replayed_shows() -> None:
    torch.manual_seed(0)
    method = SimCLR(Dropping(), SimCLROptions(projector_hidden=8, projector_out=5)).double()
    found, _ = training_step(method, *pair(), micro_batch=3)
    assert float(found.logs["replay_deviation"]) > 0.1


def test_an_encoder_that_does_not_split_is_embedded_in_one_piece() -> None:
    method = method_of("simclr")
    method.encoder.splits = False
    plain = copy.deepcopy(method)
    views, batch = pair()
    found, _ = training_step(method, views, batch, micro_batch=2)
    training_step(plain, views, batch)
    assert "replay_deviation" not in found.logs
    same_gradients(method, plain)


def test_pieces_are_nearly_equal() -> None:
    assert pieces_of(7, 3) == [slice(0, 2), slice(2, 4), slice(4, 7)]
    assert pieces_of(7, 1) == [slice(0, 7)]
    assert pieces_of(0, 0) == []


def test_memory_that_runs_out_leaves_all_as_it_was() -> None:
    method = method_of("simclr")
    before = {name: value.clone() for name, value in method.state_dict().items()}
    embed, calls = method.embed, []

    def fails_late(views: Views) -> Latents:
        calls.append(views.samples)
        if len(calls) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return embed(views)

    method.embed = fails_late  # type: ignore[method-assign]
    with pytest.raises(OutOfMemory):
        training_step(method, *pair(), micro_batch=3)
    assert calls == [2, 2, 3]
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
