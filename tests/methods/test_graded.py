"""Methods of pairs with scores: what is compared, which pairs count, and what they refuse."""

from dataclasses import replace

import pytest
import torch

from nearfar import losses
from nearfar.contract import Latents
from nearfar.errors import ConfigError
from nearfar.methods.angle import AnglE, AnglEOptions
from nearfar.methods.cosent import CoSENT, CoSENTOptions
from nearfar.methods.infonce import InfoNCE, InfoNCEOptions
from nearfar.methods.pearson import Pearson
from tests.methods.toys import Toy, batch_of, normal, views_of

KINDS = [
    (CoSENT, CoSENTOptions(scale=7.0), lambda *z, **of: losses.cosent(*z, scale=7.0, **of)),
    (AnglE, AnglEOptions(scale=7.0), lambda *z, **of: losses.angle(*z, scale=7.0, **of)),
    (Pearson, None, losses.pearson),
]
SCORES = torch.tensor([1.0, 5.0, torch.nan, 2.0, 2.0])
KNOWN = [0, 1, 3, 4]


@pytest.mark.parametrize(("kind", "options", "loss"), KINDS)
def test_the_encoders_own_vectors_of_pairs_with_a_score_are_compared(kind, options, loss):
    method, x = kind(Toy(), options), normal(2, 5, 6)
    z = method.embed(views_of(x))["z"]
    torch.testing.assert_close(z, method.encoder(views_of(x)))
    found = method.loss(Latents(z=z), batch_of(5, scores=SCORES)).total
    torch.testing.assert_close(found, loss(*z[:, KNOWN], scores=SCORES[KNOWN]))


@pytest.mark.parametrize(("kind", "options", "loss"), KINDS)
def test_a_batch_without_a_score_costs_nothing(kind, options, loss):
    z = normal(2, 5, 6).requires_grad_()
    for scores in (None, torch.full((5,), torch.nan)):
        total = kind(Toy(), options).loss(Latents(z=z), replace(batch_of(5), scores=scores)).total
        total.backward()
        assert total == 0
        assert not z.grad.any()


def test_angle_needs_an_even_number_of_dimensions():
    with pytest.raises(ConfigError, match="halves the encoder's dimensions, of which there are 13"):
        AnglE(Toy(13))


def test_vectors_that_the_loss_compares_are_not_whitened():
    assert CoSENT.compares_features(CoSENTOptions())
    assert InfoNCE.compares_features(InfoNCEOptions(projector_out=0))
    assert not InfoNCE.compares_features(InfoNCEOptions())
