"""Health: known figures on known latents, losses and weights."""

import math
from collections.abc import Callable
from dataclasses import fields

import pytest
import torch
from torch import Tensor, nn

from nearfar.contract import Batch, Latents, Losses, Method, Requirements
from nearfar.losses import nt_xent
from nearfar.training import health
from nearfar.training.health import collapse_gain, kernels, update_ratio


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(x, dim=-1)


def batch(ids: torch.Tensor) -> Batch:
    return Batch(ids=ids, labels=torch.full_like(ids, -1))


def figures(z: Latents, of: Batch | None = None) -> dict[str, float]:
    """Those of a batch, or of one whose samples all differ, without saying that they do."""
    if of is not None:
        return health.figures(z, of)
    samples = next(iter([*z.values(), z.features]))
    assert samples is not None
    found = health.figures(z, batch(torch.arange(samples.shape[1])))
    assert found.pop("repeats") == 0
    return found


def test_equal_views_align_and_find_each_other_and_opposite_ones_are_four_apart() -> None:
    one = unit(20, 6)
    found = figures(Latents(z=torch.stack([one, one]), features=torch.stack([one, one])))
    assert found["alignment"] == pytest.approx(0, abs=1e-12)
    assert found["view_retrieval"] == 1
    assert figures(Latents(z=torch.stack([one, -one])))["alignment"] == pytest.approx(4)


def test_uniformity_of_a_square_is_known() -> None:
    corners = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    found = figures(Latents(z=torch.stack([corners, corners])))
    assert found["uniformity"] == pytest.approx(math.log((2 * math.exp(-4) + math.exp(-8)) / 3))


def test_rank_and_dead_dimensions_are_of_the_features() -> None:
    features = torch.zeros(1, 8, 5)
    features[0, range(8), [0, 1, 2, 3] * 2] = 1.0  # four directions of equal strength, the fifth unused
    found = figures(Latents(features=features))
    assert found["effective_rank"] == pytest.approx(4)
    assert found["dead_dimensions"] == pytest.approx(0.2)
    assert found["mean_cosine"] == pytest.approx(8 / 56)  # each has one other of its own direction
    assert set(found) == {"effective_rank", "dead_dimensions", "mean_cosine"}


def test_one_view_has_no_alignment_and_what_is_not_finite_is_no_figure() -> None:
    assert figures(Latents(z=unit(1, 8, 4))) == {}
    broken = torch.full((2, 8, 4), torch.nan)
    found = figures(Latents(z=broken, features=broken))
    assert all(math.isfinite(value) for value in found.values())
    assert "alignment" not in found


def test_big_batches_are_measured_on_some_rows() -> None:
    many = unit(2, 1000, 4)
    few = many[:, :256]
    assert figures(Latents(z=many, features=many)) == figures(Latents(z=few, features=few))


def test_samples_that_show_the_same_are_not_told_apart() -> None:
    one = unit(20, 6)
    twice = torch.stack([one.repeat(2, 1)] * 2)
    found = figures(Latents(z=twice), batch(torch.arange(20).repeat(2)))
    assert found["view_retrieval"] == 1
    assert found["repeats"] == pytest.approx(1 / 39)


class Bare(Method):
    """A loss that is given."""

    requires = Requirements()

    def __init__(self, value: Callable[[Latents], Tensor]) -> None:
        super().__init__(nn.Linear(3, 2))  # type: ignore[arg-type]
        self.value = value

    def loss(self, z: Latents, batch: Batch) -> Losses:
        return Losses(self.value(z))


def gain(value: Callable[[Latents], Tensor], learning: set[str], **latents: Tensor) -> float:
    z = Latents(**latents)
    z.learning = frozenset(learning)
    return collapse_gain(Bare(value), z, batch(torch.arange(6)))


def apart(z: Latents) -> Tensor:
    """How far predictions are from the targets of the other view."""
    return 1 - torch.nn.functional.cosine_similarity(z["p"], z["z"].flip(0), dim=-1).mean()


def test_a_loss_that_only_attracts_gains_all_by_a_collapse() -> None:
    latents = {"p": unit(2, 6, 4), "z": unit(2, 6, 4, seed=1)}
    assert gain(apart, {"p", "z"}, **latents) == pytest.approx(apart(Latents(**latents)).item(), abs=1e-6)


def test_targets_that_stay_where_they_are_hold_samples_apart() -> None:
    z = unit(1, 6, 4).expand(2, 6, 4)
    assert gain(apart, {"p"}, p=z.clone(), z=z) < -0.1


def test_negatives_hold_samples_apart() -> None:
    def loss(z: Latents) -> Tensor:
        return nt_xent(z["z"][0], z["z"][1], temperature=0.2)

    views = unit(1, 6, 4).expand(2, 6, 4).clone()
    assert gain(loss, {"z"}, z=views) == pytest.approx(loss(Latents(z=views)).item() - math.log(11), abs=1e-5)


def test_a_collapse_is_tried_on_some_samples_only() -> None:
    z = Latents(z=unit(2, 1000, 4))
    z.learning = frozenset({"z"})
    few = Latents(z=z["z"][:, :256])
    few.learning = z.learning
    method = Bare(lambda latents: latents["z"].var() + latents["z"].shape[1])
    assert collapse_gain(method, z, batch(torch.arange(1000))) == collapse_gain(method, few, batch(torch.arange(256)))


def test_a_collapse_is_tried_on_copies() -> None:
    p, z = unit(2, 6, 4), unit(2, 6, 4, seed=1)
    before = p.clone(), z.clone()
    gain(apart, {"p", "z"}, p=p, z=z)
    assert torch.equal(p, before[0])
    assert torch.equal(z, before[1])


def test_the_update_ratio_is_the_change_over_the_length_of_the_weights() -> None:
    before = [torch.tensor([[3.0, 0.0]]), torch.tensor([[4.0]])]
    after = [torch.tensor([[3.0, 0.6]]), torch.tensor([[4.8]])]
    assert update_ratio(before, after) == pytest.approx(math.hypot(0.6, 0.8) / 5)
    assert math.isnan(update_ratio([], []))
    assert math.isnan(update_ratio([torch.zeros(1, 1)], [torch.ones(1, 1)]))


def test_a_change_is_of_the_step_between() -> None:
    method = Bare(lambda z: z["z"].sum())
    change = health.Change(method, Latents(z=unit(2, 6, 4)), batch(torch.arange(6)))
    weight = method.encoder.weight
    assert isinstance(weight, Tensor)
    length = weight.norm().item()
    weight.data *= 1.5
    assert change.figures() == pytest.approx({"collapse_gain": 0.0, "update_ratio": 0.5, "weight_norm": length})


def test_norms_biases_and_frozen_weights_are_no_kernels() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    network[2].requires_grad_(False)
    (kernel,) = kernels(network)
    assert kernel.shape == (2, 1, 3, 3)


def test_all_that_is_known_of_a_batch_is_known_of_its_first_samples():
    known = {
        field.name: torch.arange(12.0).view(2, 6) if field.name in ("present", "log_q", "view_ids") else torch.arange(6)
        for field in fields(Batch)
        if "Tensor" in str(field.type)
    }
    first = Batch(**known, progress=0.5).first(4)
    assert first.progress == 0.5
    assert {name: getattr(first, name).shape[-1] for name in known} == dict.fromkeys(known, 4)
