"""Distillation as a method: each form is its loss, and what the teacher knows comes across."""

import pytest
import torch
from torch.nn.functional import normalize

from nearfar.contract import Batch, Latents
from nearfar.errors import ConfigError
from nearfar.losses import info_nce, seed_distill
from nearfar.methods.distill import Distill, DistillOptions
from nearfar.options import Facts
from tests.methods.toys import Toy, views_of


def made(**options):
    torch.manual_seed(0)
    return Distill(Toy(), DistillOptions(target_dim=5, **options)).eval()


def batch_of(targets, **more):
    return Batch(ids=torch.arange(len(targets)), labels=torch.full((len(targets),), -1), targets=targets, **more)


@pytest.mark.parametrize(
    ("options", "loss"),
    [
        ({}, lambda z, t: info_nce(z, t, temperature=0.1)),
        ({"form": "similarity"}, lambda z, t: seed_distill(z, t, temperature=0.1, teacher_temperature=0.05)),
        ({"form": "cosine"}, lambda z, t: (1 - (normalize(z, dim=-1) * normalize(t, dim=-1)).sum(-1)).mean()),
        ({"form": "mse"}, lambda z, t: (z - t).square().mean()),
    ],
)
def test_a_form_is_the_mean_of_its_loss_over_views(options, loss):
    z, targets = torch.randn(2, 7, 5), torch.randn(7, 5)
    found = made(**options).loss(Latents(z=z), batch_of(targets)).total
    torch.testing.assert_close(found, (loss(z[0], targets) + loss(z[1], targets)) / 2)


def test_samples_of_equal_content_are_no_negatives():
    z, targets = torch.randn(2, 4, 5), torch.randn(4, 5)
    ids = torch.tensor([0, 1, 2, 2])
    batch = Batch(ids=ids, labels=torch.full((4,), -1), targets=targets)
    wanted = torch.stack([info_nce(view, targets, temperature=0.1, ids=ids) for view in z]).mean()
    torch.testing.assert_close(made().loss(Latents(z=z), batch).total, wanted)


def test_the_map_is_as_wide_as_the_teacher_says():
    options, _ = Distill.settle(DistillOptions(), Facts(samples=9, device="cpu", threads=1, targets=11), Toy())
    assert Distill(Toy(), options).embed(views_of(torch.randn(2, 3, 6)))["z"].shape == (2, 3, 11)


def test_without_a_teacher_the_loss_says_what_is_missing():
    batch = Batch(ids=torch.arange(3), labels=torch.full((3,), -1))
    with pytest.raises(ConfigError, match="distill learns from a teacher"):
        made().loss(Latents(z=torch.randn(2, 3, 5)), batch)
