"""CLIP and SigLIP as methods: their latents, their losses by hand, their learned scalars."""

import pytest
import torch
from torch.nn.functional import logsigmoid, normalize

from nearfar.contract import Latents
from nearfar.methods.clip import CLIP, CLIPOptions
from nearfar.methods.siglip import SigLIP, SigLIPOptions
from nearfar.training import optimisers
from nearfar.training.step import training_step
from tests.methods.toys import Toy, batch_of, views_of

METHODS = {"clip": (CLIP, CLIPOptions), "siglip": (SigLIP, SigLIPOptions)}
both = pytest.mark.parametrize("name", METHODS)


def built(name, **options):
    torch.manual_seed(0)
    method, kind = METHODS[name]
    return method(Toy(), kind(projector_out=8, **options))


def logits_of(z, scale):
    return scale * normalize(z[0], dim=-1) @ normalize(z[1], dim=-1).T


def test_one_linear_projection_serves_both_sides_of_clip():
    method, x = built("clip"), torch.randn(2, 5, 6)
    z = method.embed(views_of(x))
    for side in range(2):
        expected = method.encoder.layer(x[side]) @ method.projector[0].weight.T
        assert torch.allclose(z["z"][side], expected, atol=1e-6)
    assert torch.equal(z.features, method.encoder.layer(x).detach())


def test_clip_is_cross_entropy_both_ways_at_its_scale():
    z = torch.randn(2, 7, 8)
    found = built("clip", temperature=0.25).loss(Latents(z=z), batch_of(range(7)))
    logits = logits_of(z, 4.0)
    by_row, by_column = logits.log_softmax(1).diagonal(), logits.log_softmax(0).diagonal()
    assert torch.allclose(found.total, -(by_row + by_column).mean() / 2)
    assert found.logs["temperature"] == pytest.approx(0.25)


def test_siglip_asks_each_pair_at_its_scale_and_bias():
    z = torch.randn(2, 7, 8)
    found = built("siglip", temperature=0.25, bias=-3.0).loss(Latents(z=z), batch_of(range(7)))
    signs = 2 * torch.eye(7) - 1
    assert torch.allclose(found.total, -logsigmoid(signs * (logits_of(z, 4.0) - 3)).sum() / 7)
    assert found.logs["bias"] == -3.0


@both
def test_sides_of_equal_content_are_no_negatives(name):
    z, method = torch.randn(1, 7, 8).repeat(2, 1, 1), built(name)
    z[:, 6] = z[:, 5]
    apart = method.loss(Latents(z=z), batch_of(range(7))).total
    assert method.loss(Latents(z=z), batch_of([0, 1, 2, 3, 4, 5, 5])).total < apart


@both
def test_learned_scalars_get_their_gradient(name):
    method = built(name, temperature=0.5).double()
    x, batch = torch.randn(2, 6, 6, dtype=torch.float64), batch_of(range(6))
    training_step(method, views_of(x), batch)
    for scalar in [p for p in method.parameters() if p.ndim == 0]:
        analytic, values = scalar.grad.item(), []
        for shift in (1e-5, -2e-5):
            with torch.no_grad():
                scalar += shift
                values.append(method.loss(method.embed(views_of(x)), batch).total.item())
        with torch.no_grad():
            scalar += 1e-5
        assert analytic == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "optimizer", "shares"),
    [
        ("clip", "sgd", [0.001]),
        ("siglip", "sgd", [0.001, 0.3]),
        ("clip", "adamw", [1.0]),
        ("siglip", "adamw", [1.0, 1.0]),
    ],
)
def test_learned_scalars_move_at_rates_of_their_own_under_sgd_and_without_decay(name, optimizer, shares):
    method = built(name)
    groups = optimisers.build(method, name=optimizer, lr=0.5, weight_decay=0.1).param_groups
    scalars = [group for group in groups if any(p.ndim == 0 for p in group["params"])]
    assert sum(len(group["params"]) for group in scalars) == sum(p.ndim == 0 for p in method.parameters()) > 0
    found = sorted(group["lr"] for group in scalars for _ in group["params"])
    assert found == [pytest.approx(0.5 * share) for share in shares]
    assert {group["weight_decay"] for group in scalars} == {0.0}


def test_the_scale_of_clip_is_held_at_100_after_a_step_and_can_fall_again():
    method = built("clip")
    z, batch = Latents(z=torch.randn(2, 6, 8)), batch_of(range(6))
    with torch.no_grad():
        method.log_scale.fill_(9.0)
    method.after_step(z, batch)
    assert method.log_scale.exp().item() == pytest.approx(100)
    method.loss(z, batch).total.backward()
    assert method.log_scale.grad > 0  # of sides at random: descent lowers it


def test_siglip_starts_from_centred_sides():
    """An untrained encoder's vectors are nearly alike; a batch norm at the projector's end parts them."""
    method = built("siglip")
    alike = 1 + 0.05 * torch.randn(2, 64, 12)
    assert torch.nn.functional.cosine_similarity(alike[0, :32], alike[0, 32:]).min() > 0.95
    with torch.no_grad():
        z = method.projector(alike.flatten(0, 1))
    assert torch.nn.functional.cosine_similarity(z[:32], z[32:64]).mean().abs() < 0.2


def test_siglip_without_a_projector_compares_the_encoders_own_vectors() -> None:
    encoder = Toy()
    method = SigLIP(encoder, SigLIPOptions(projector_hidden=8, projector_out=0))
    features = torch.randn(2, 3, encoder.dim)
    assert torch.equal(method.projector(features), features)
