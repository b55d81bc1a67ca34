"""SigLIP: known value and all gradients, loops, its divisor, ids, the learned scale and bias."""

import math

import pytest
import torch
from torch.nn import functional as F

from nearfar.losses import SigLIPLoss, siglip

# The whole matrix is compared with tiles, for every loss, in `test_every_loss.py`.
TILED = pytest.mark.parametrize("implementation", ["tiled"])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loops(images, texts, scale, bias, ids=None):
    u, v = F.normalize(images), F.normalize(texts)
    total = 0.0
    for i in range(len(u)):
        for j in range(len(v)):
            x = float(u[i] @ v[j]) * scale + bias
            if i == j:
                total -= math.log(1 / (1 + math.exp(-x)))
            elif ids is None or ids[i] != ids[j]:
                total -= math.log(1 / (1 + math.exp(x)))
    return total / len(u)


@TILED
def test_known_value_and_gradients_of_embeddings_scale_and_bias(implementation, case):
    known = case("siglip_t10_b-10")
    images, texts = known["inputs"]["z1"].requires_grad_(), known["inputs"]["z2"]
    scale, bias = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (10.0, -10.0))
    loss = siglip(images, texts, scale=scale, bias=bias, implementation=implementation)
    loss.backward()
    assert loss.item() == pytest.approx(known["value"], abs=1e-13)
    torch.testing.assert_close(images.grad, torch.tensor(known["grad_z1"]).double(), rtol=0, atol=3e-8)
    assert scale.grad.item() == pytest.approx(known["grad_logit_scale"], abs=3e-8)
    assert bias.grad.item() == pytest.approx(known["grad_logit_bias"], abs=3e-8)


@TILED
@pytest.mark.parametrize("ids", [None, [0, 1, 0, 2, 3, 1]], ids=["plain", "ids"])
def test_value_by_loops(ids, implementation):
    images, texts = normal(6, 4), normal(6, 4, seed=1)
    tensor = None if ids is None else torch.tensor(ids)
    got = siglip(images, texts, scale=4.0, bias=-1.5, ids=tensor, implementation=implementation)
    assert got.item() == pytest.approx(by_loops(images, texts, 4.0, -1.5, ids), rel=1e-13)


def test_the_sum_over_all_pairs_is_divided_by_the_number_of_images_and_not_of_pairs():
    images, texts = normal(6, 4), normal(6, 4, seed=1)
    total = siglip(images, texts, reduction="sum")
    torch.testing.assert_close(siglip(images, texts), total / 6)


@TILED
@pytest.mark.parametrize("bias", [-10.0, -60.0], ids=["bounded", "unbounded"])
def test_coinciding_embeddings_give_the_closed_form(bias, implementation):
    x = 10 + bias
    expected = math.log1p(math.exp(-x)) + 4 * math.log1p(math.exp(x))
    got = siglip(torch.ones(5, 3).double(), torch.ones(5, 3).double(), bias=bias, implementation=implementation)
    assert got.item() == pytest.approx(expected, rel=1e-13)


@TILED
def test_large_logits_neither_overflow_nor_lose_their_gradient(implementation):
    images = torch.tensor([[1.0, 0.1], [-1.0, 0.1]], requires_grad=True)
    texts = torch.tensor([[-1.0, 0.01], [1.0, 0.01]])
    loss = siglip(images, texts, scale=200.0, bias=0.0, implementation=implementation)
    loss.backward()
    assert loss.item() == pytest.approx(400, rel=1e-2)
    assert images.grad.abs().max() > 1e-2


def test_the_learned_scale_starts_at_10_and_the_bias_at_minus_10_and_both_get_gradients():
    images, texts = normal(6, 4).float(), normal(6, 4, seed=1).float()
    loss = SigLIPLoss()
    value = loss(images, texts)
    value.backward()
    assert loss.log_scale.item() == pytest.approx(math.log(10))
    assert loss.bias.item() == -10
    torch.testing.assert_close(value, siglip(images, texts))
    assert loss.log_scale.grad.abs() > 0
    assert loss.bias.grad.abs() > 0


def test_the_module_passes_ids_on():
    images, texts, ids = normal(6, 4).float(), normal(6, 4, seed=1).float(), torch.arange(6) // 2
    torch.testing.assert_close(
        SigLIPLoss(5.0, -2.0)(images, texts, ids=ids), siglip(images, texts, scale=5.0, bias=-2.0, ids=ids)
    )
