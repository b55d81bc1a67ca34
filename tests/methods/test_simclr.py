"""SimCLR as a method: its settings, its loss, and that it learns."""

from functools import partial

import pytest
import torch

from nearfar.contract import Batch, Latents
from nearfar.losses import dcl, debiased, hcl, nt_xent
from nearfar.methods.simclr import SimCLR, SimCLROptions
from tests.methods.toys import Toy, views_of


@pytest.fixture
def method():
    torch.manual_seed(0)
    return SimCLR(Toy(), SimCLROptions(temperature=0.5, projector_hidden=16, projector_out=8)).eval()


def test_latents_are_the_projected_features_of_each_view(method):
    x = torch.randn(2, 5, 6)
    z = method.embed(views_of(x))
    assert torch.allclose(z["z"][1], method.projector(method.encoder.layer(x[1])), atol=1e-6)
    assert torch.equal(z.features[0], method.encoder.layer(x[0]).detach())


def test_views_share_batch_statistics(method):
    method.train()
    x = torch.randn(2, 5, 6)
    together = method.projector(method.encoder.layer(x.flatten(0, 1))).view(2, 5, -1)
    assert torch.allclose(method.embed(views_of(x))["z"], together, atol=1e-5)


def test_the_loss_is_nt_xent_at_the_temperature(method):
    z = torch.randn(2, 7, 8)
    batch = Batch(ids=torch.arange(7), labels=torch.full((7,), -1))
    assert torch.allclose(method.loss(Latents(z=z), batch).total, nt_xent(z[0], z[1], temperature=0.5))


def test_samples_of_equal_content_are_no_negatives(method):
    z = torch.randn(2, 7, 8)
    ids = torch.tensor([0, 1, 2, 3, 4, 5, 5])
    found = method.loss(Latents(z=z), Batch(ids=ids, labels=torch.full((7,), -1))).total
    assert torch.allclose(found, nt_xent(z[0], z[1], temperature=0.5, ids=ids))
    assert found < nt_xent(z[0], z[1], temperature=0.5)


@pytest.mark.parametrize(
    ("options", "loss"),
    [
        ({"variant": "decoupled"}, dcl),
        ({"variant": "debiased"}, partial(debiased, tau_plus=0.1)),
        ({"variant": "debiased", "tau_plus": 0.2}, partial(debiased, tau_plus=0.2)),
        ({"variant": "hard"}, partial(hcl, tau_plus=0.1, beta=1.0)),
        ({"variant": "hard", "tau_plus": 0.0, "beta": 0.5}, partial(hcl, tau_plus=0.0, beta=0.5)),
    ],
)
def test_a_variant_is_its_loss_of_the_own_rows(options, loss):
    torch.manual_seed(0)
    method = SimCLR(Toy(), SimCLROptions(temperature=0.5, **options))
    z, ids, own = torch.randn(2, 7, 8), torch.tensor([0, 1, 2, 3, 4, 5, 5]), slice(2, 6)
    batch = Batch(ids=ids, labels=torch.full((7,), -1), rows=own)
    expected = loss(z[0], z[1], temperature=0.5, ids=ids, rows=own)
    assert torch.equal(method.loss(Latents(z=z), batch).total, expected)
    assert not torch.allclose(expected, nt_xent(z[0], z[1], temperature=0.5, ids=ids, rows=own))
