"""classify against the cross-entropy of its definition, and what its head starts from."""

import pytest
import torch
import torch.nn.functional as F

from nearfar.contract import Batch
from nearfar.errors import ConfigError
from nearfar.methods.classify import Classify, ClassifyOptions
from tests.methods.toys import Toy, normal, views_of

X = normal(2, 6, 6)
LABELS = torch.tensor([0, 1, 2, -1, 1, 0])


def made(**options):
    torch.manual_seed(0)
    return Classify(Toy(), ClassifyOptions(classes=3, **options))


def loss_of(method, labels=LABELS, rows=slice(None)):
    z = method.embed(views_of(X))
    return method.loss(z, Batch(ids=torch.arange(6), labels=labels, rows=rows)).total


def test_it_is_the_mean_cross_entropy_of_the_labelled_views():
    method = made()
    scores = method.head(method.encoder(X.flatten(0, 1))).view(2, 6, 3).log_softmax(-1)
    by_hand = [-scores[v, i, LABELS[i]] for v in range(2) for i in range(6) if LABELS[i] >= 0]
    torch.testing.assert_close(loss_of(method), torch.stack(by_hand).mean())


def test_a_batch_without_labels_costs_nothing():
    assert loss_of(made(), torch.full((6,), -1)) == 0


def test_smoothing_spreads_a_share_over_all_classes():
    plain, smooth = loss_of(made()), loss_of(made(label_smoothing=0.3))
    method = made()
    scores = method.head(method.encoder(X.flatten(0, 1))).log_softmax(-1)
    uniform = -scores.mean(-1)[LABELS.repeat(2) >= 0].mean()
    torch.testing.assert_close(smooth, 0.7 * plain + 0.3 * uniform)


def start(method, counts):
    weight, bias = normal(3, 12, seed=1), normal(3, seed=2)
    mean, factor = normal(12, seed=3), normal(12, seed=4).abs()
    method.start(mean, factor, weight, bias, torch.tensor(counts))
    z = normal(5, 12, seed=5)
    return method, z, ((z - mean) * factor) @ weight.T + bias


def test_the_head_starts_as_the_probe_that_it_is_given():
    method, z, expected = start(made(), [5.0, 5.0, 5.0])
    torch.testing.assert_close(method.head(z), expected)


def test_balanced_takes_the_frequency_of_classes_out_of_the_scores():
    method, z, expected = start(made(balanced=True), [8.0, 1.0, 1.0])
    prior = torch.tensor([0.8, 0.1, 0.1]).log()
    torch.testing.assert_close(method.head(z), expected - prior)
    labels = torch.tensor([0, 1, 2, 0, 1])
    found = method.loss({"z": z[None]}, Batch(ids=torch.arange(5), labels=labels)).total
    torch.testing.assert_close(found, F.cross_entropy(expected, labels))


def test_a_frozen_encoder_gets_no_gradient_and_the_head_does():
    method = made(frozen=True)
    loss_of(method).backward()
    assert all(parameter.grad is None for parameter in method.encoder.parameters())
    assert method.head.layer.weight.grad.abs().sum() > 0


def test_one_class_is_refused():
    with pytest.raises(ConfigError, match="classes must be at least 2, got 1"):
        ClassifyOptions(classes=1)
