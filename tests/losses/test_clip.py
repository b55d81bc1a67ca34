"""CLIP: known values and gradients, ragged tiles, the learned scale."""

import math

import pytest
import torch
from torch.nn import functional as F

from nearfar.losses import CLIPLoss, clip, info_nce

# The whole matrix is compared with tiles, for every loss, in `test_every_loss.py`.
TILED = pytest.mark.parametrize("implementation", ["tiled"])


def inputs(known):
    return [known["inputs"][key].requires_grad_() for key in ("z1", "z2")]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@TILED
def test_clip_value_and_gradients_at_scale_100(implementation, case):
    known = case("clip_symmetric_scale100")
    images, texts = inputs(known)
    scale = torch.tensor(100.0, dtype=torch.float64, requires_grad=True)
    loss = clip(images, texts, scale=scale, implementation=implementation)
    loss.backward()
    assert loss.item() == pytest.approx(known["value"], abs=1e-13)
    assert scale.grad.item() == pytest.approx(known["grad_logit_scale"], abs=1e-10)
    torch.testing.assert_close(images.grad, torch.tensor(known["grad_z1"]).double(), rtol=0, atol=3e-8)


@TILED
def test_ragged_tiles_of_a_clip_batch_equal_the_published_value(implementation, case):
    known = case("tiled_clip_37x8_scale100")
    images, texts = (F.normalize(z.detach()).requires_grad_() for z in inputs(known))
    scale = torch.tensor(100.0, dtype=torch.float64, requires_grad=True)
    loss = clip(images, texts, scale=scale, implementation=implementation)
    loss.backward()
    assert loss.item() == pytest.approx(known["value"], rel=1e-14)
    assert scale.grad.item() == pytest.approx(known["grad_logit_scale"], rel=1e-9)
    # The published gradient is that of the unit vectors; ours has lost its part along them.
    expected = torch.tensor(known["grad_unit_z1_first_row"], dtype=torch.float64)
    expected = expected - images[0].detach() * (expected @ images[0].detach())
    torch.testing.assert_close(images.grad[0], expected, rtol=1e-9, atol=1e-12)


def test_the_learned_scale_starts_at_one_over_007_and_gets_a_gradient():
    loss = CLIPLoss()
    q, d = normal(6, 4).float(), normal(6, 4, seed=1).float()
    value = loss(q, d)
    value.backward()
    torch.testing.assert_close(value, clip(q, d, scale=1 / 0.07))
    assert loss.log_scale.grad.abs() > 0


def test_the_learned_scale_is_held_at_100_and_can_come_back():
    loss = CLIPLoss()
    with torch.no_grad():
        loss.log_scale.fill_(9.0)
    loss(normal(6, 4).float(), normal(6, 4, seed=1).float()).backward()
    assert loss.log_scale.exp().item() == pytest.approx(100, rel=1e-5)
    assert loss.log_scale.grad.abs() > 0


@TILED
def test_coinciding_embeddings_give_log_of_the_batch(implementation):
    ones = torch.ones(7, 3).double()
    assert clip(ones, ones, scale=100.0, implementation=implementation).item() == pytest.approx(math.log(7))


def test_equal_ids_are_masked_in_both_directions():
    images, texts, ids = normal(6, 4), normal(6, 4, seed=1), torch.tensor([0, 1, 0, 2, 3, 1])
    expected = info_nce(images, texts, ids=ids) + info_nce(texts, images, ids=ids)
    torch.testing.assert_close(clip(images, texts, scale=10.0, ids=ids), expected / 2)
    loss = CLIPLoss(10.0)(images.float(), texts.float(), ids=ids)
    torch.testing.assert_close(loss, clip(images.float(), texts.float(), scale=10.0, ids=ids))
