"""SimCLR as a method: its settings, its loss, and that it learns."""

import json
import math
from functools import partial

import pytest
import torch
from torch import nn

import nearfar as nf
from nearfar.contract import Batch, Encoder, Latents, Views
from nearfar.losses import dcl, debiased, hcl, nt_xent
from nearfar.methods.simclr import SimCLR, SimCLROptions
from nearfar.options import UNKNOWN


class Toy(Encoder):
    def __init__(self):
        super().__init__()
        self.dim = 12
        self.layer = nn.Linear(6, 12)

    def features(self, inputs):
        return self.layer(inputs)


def views_of(x):
    return Views(lambda number, start, stop: x[number, start:stop], range(len(x)), 0, x.shape[1], wide=2)


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


@pytest.mark.parametrize(
    ("variant", "names"),
    [("nt_xent", set()), ("decoupled", set()), ("debiased", {"tau_plus"}), ("hard", {"tau_plus", "beta"})],
)
def test_only_what_a_variant_uses_is_chosen(variant, names):
    options, choices = SimCLR.settle(SimCLROptions(variant=variant), UNKNOWN, Toy())
    assert {choice.name for choice in choices} == {"temperature", "projector_hidden"} | names
    assert {name for name in ("tau_plus", "beta") if getattr(options, name)} == names


def test_what_is_not_given_is_chosen_and_said():
    options, choices = SimCLR.settle(SimCLROptions(), UNKNOWN, Toy())
    assert options.temperature is not None
    assert options.projector_hidden is not None
    assert {choice.name for choice in choices} == {"temperature", "projector_hidden"}


def test_what_is_given_stays():
    given = SimCLROptions(temperature=0.07, projector_hidden=33, variant="hard", tau_plus=0.0, beta=2.0)
    assert SimCLR.settle(given, UNKNOWN, Toy()) == (given, [])


def test_a_picture_is_compared_with_its_masked_self(tmp_path):
    """All other operations are off, so that the two views differ by the mask alone."""
    bare = {"flip": 0.0, "crop_scale": 1.0, "jitter": 0.0, "greyscale": 0.0, "blur": 0.0, "image_size": 16}
    records = {}
    for mask in (0.0, 1.0):
        run = nf.train(
            "digits", out=tmp_path / str(mask), steps=2, batch_size=64, encoder="small_cnn", width=8, precision="fp32",
            threads=1, knn_every=0.0, health_every=1, quiet=True, mask=mask, mask_views="later", **bare,
        )  # fmt: skip
        lines = (run.path / "metrics.jsonl").read_text().splitlines()
        records[mask] = [json.loads(line) for line in lines]
    assert records[0.0][0]["alignment"] == pytest.approx(0, abs=1e-5)
    assert all(record["alignment"] > 1e-3 and math.isfinite(record["loss"]) for record in records[1.0])
