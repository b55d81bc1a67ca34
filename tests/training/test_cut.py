"""The cut at the embedding changes no gradient, and keeps the loss out of the encoder's arithmetic."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Views, Wants
from nearfar.methods.simclr import SimCLR, SimCLROptions
from nearfar.training import cut


class Flat(Encoder):
    """A small network over vectors of four numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.dim = 6
        self.network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 6))

    def features(self, inputs: Any) -> Tensor:
        return self.network(inputs)  # type: ignore[no-any-return]


class Toy(Method):
    """Two latents of one graph and one that gets no gradient, targets, and a loss stage that owns weights."""

    wants = Wants(wide=2)

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
    found, _ = cut.step(method, views, batch)
    expected = uncut(plain, views, batch)
    torch.testing.assert_close(found.total, expected.total, rtol=1e-12, atol=0)
    for (key, own), other in zip(method.named_parameters(), plain.parameters(), strict=True):
        assert (own.grad is None) == (other.grad is None), key
        if own.grad is not None and other.grad is not None:
            torch.testing.assert_close(own.grad, other.grad, rtol=1e-11, atol=1e-12, msg=key)


def test_what_the_loss_owns_gets_its_gradient() -> None:
    method = method_of("toy")
    cut.step(method, *pair())
    assert isinstance(method, Toy)
    assert method.prototypes.grad is not None
    assert method.prototypes.grad.abs().sum() > 0


def test_targets_get_no_gradient() -> None:
    method = method_of("toy")
    assert isinstance(method, Toy)
    cut.step(method, *pair())
    assert method.seen["grad"] is False
    assert method.tower.weight.grad is None


def test_leaves_want_gradients_where_their_latents_do() -> None:
    method = method_of("toy")
    assert isinstance(method, Toy)
    cut.step(method, *pair())
    assert method.seen["wants"] == {"z": True, "square": True, "idle": True, "fixed": False, "goal": False}


def test_the_loss_is_computed_in_fp32_under_autocast() -> None:
    method = method_of("toy").float()
    assert isinstance(method, Toy)
    views, batch = pair(torch.float32)
    cut.step(method, views, batch, autocast=torch.bfloat16)
    assert set(method.seen["types"].values()) == {torch.float32}
    assert method.seen["autocast"] is False


def test_autocast_gradients_are_near_those_of_full_precision() -> None:
    method = method_of("simclr").float()
    exact = copy.deepcopy(method)
    views, batch = pair(torch.float32)
    cut.step(method, views, batch, autocast=torch.bfloat16)
    cut.step(exact, views, batch)
    own, other = (torch.cat([p.grad.flatten() for p in m.parameters() if p.grad is not None]) for m in (method, exact))
    assert torch.nn.functional.cosine_similarity(own, other, dim=0) > 0.98


def test_latents_come_back_detached_with_the_features() -> None:
    method = method_of("toy")
    _, latents = cut.step(method, *pair())
    assert list(latents) == ["z", "square", "idle", "fixed", "goal"]
    assert not any(value.requires_grad for value in latents.values())
    assert latents.features is not None
    assert latents.features.shape == (2, 7, 6)
    assert not latents.features.requires_grad


def test_a_loss_of_its_own_weights_alone_trains_them() -> None:
    class Own(Toy):
        def loss(self, z: Latents, batch: Batch) -> Losses:
            return Losses(self.prototypes.square().sum())

    torch.manual_seed(0)
    method = Own(Flat())
    cut.step(method, *pair(torch.float32))
    torch.testing.assert_close(method.prototypes.grad, 2 * method.prototypes.detach())
    assert all(parameter.grad is None for parameter in method.encoder.parameters())
