"""SimCLR as a method: its settings, its loss, and that it learns."""

import pytest
import torch
from torch import nn

import nearfar as nf
from nearfar.contract import Batch, Encoder, Latents, Views
from nearfar.errors import ConfigError
from nearfar.losses import nt_xent
from nearfar.methods.simclr import SimCLR, SimCLROptions


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


def test_what_is_not_given_is_chosen_and_said():
    options, choices = SimCLR.settle(SimCLROptions(), None, Toy())
    assert options.temperature is not None
    assert options.projector_hidden is not None
    assert {choice.name for choice in choices} == {"temperature", "projector_hidden"}


def test_what_is_given_stays():
    given = SimCLROptions(temperature=0.07, projector_hidden=33)
    assert SimCLR.settle(given, None, Toy()) == (given, [])


@pytest.mark.parametrize(
    ("options", "said"),
    [({"temperature": 0.0}, "temperature must be above 0"), ({"projector_out": 1}, "projector_out must be at least 2")],
)
def test_a_bad_option_is_named(options, said):
    with pytest.raises(ConfigError, match=said):
        SimCLROptions(**options)


def test_it_learns_digits(tmp_path):
    run = nf.train(
        "digits", out=tmp_path / "run", steps=90, batch_size=128, encoder="small_cnn", width=16, image_size=16,
        precision="fp32", threads=1, flip=0.0, crop_scale=0.4, knn_every=0.0, quiet=True,
    )  # fmt: skip
    leads = {
        row.probe: row.lead
        for row in run.evaluation.rows
        if row.system == "untrained encoder" and row.labels_per_class == 5
    }
    assert leads["knn"].low > 0
    assert leads["linear"].low > 0
