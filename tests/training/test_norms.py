"""The statistics of batch norms, measured anew on samples."""

import torch
from torch import nn

from nearfar.training.norms import batch_norms, settle_norms
from tests.methods.toys import Toy, normal, normed


class Samples:
    """Rows of a tensor as a source."""

    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def fetch(self, rows):
        return self.x[torch.from_numpy(rows)], rows


def of(x):
    return x.mean(0), x.var(0)


def test_they_are_those_of_all_samples():
    encoder, x = normed(), 3 * normal(200, 6) + 1
    settle_norms(encoder, Samples(x))
    (norm,) = batch_norms(encoder)
    mean, variance = of(encoder.layer[0](x))
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)
    assert not encoder.training
    assert not norm.training
    assert norm.momentum == 0.1


def test_a_later_norm_sees_what_the_first_one_makes_of_them():
    encoder, x = normed(12, nn.ReLU(), nn.Linear(12, 12), nn.BatchNorm1d(12)), normal(200, 6)
    settle_norms(encoder, Samples(x))
    first, second = batch_norms(encoder)
    before = nn.functional.batch_norm(encoder.layer[0](x), None, None, first.weight, first.bias, training=True)
    mean, variance = of(encoder.layer[3](before.relu()))
    torch.testing.assert_close(second.running_mean, mean)
    torch.testing.assert_close(second.running_var, variance)


def test_of_several_batches_it_is_their_mean():
    encoder, x = normed(), normal(600, 6)
    settle_norms(encoder, Samples(x))
    parts = [of(encoder.layer[0](part)) for part in x.split(300)]
    (norm,) = batch_norms(encoder)
    torch.testing.assert_close(norm.running_mean, sum(mean for mean, _ in parts) / 2)
    torch.testing.assert_close(norm.running_var, sum(variance for _, variance in parts) / 2)


def test_fixed_ones_are_measured_too_and_nothing_else_draws():
    encoder, x = normed(12, nn.Dropout(0.5), nn.BatchNorm1d(12)), normal(100, 6)
    encoder.fixed = list(encoder.layer)
    settle_norms(encoder, Samples(x))
    torch.testing.assert_close(batch_norms(encoder)[1].running_var, torch.full((12,), 1.0), atol=0.02, rtol=0)


def test_without_norms_nothing_happens():
    encoder = Toy()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    settle_norms(encoder, Samples(normal(9, 6)))
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
