"""SupCon as a method: its loss, the mix for data labelled in part, and its settings."""

import dataclasses

import pytest
import torch
from torch.nn.functional import normalize

from nearfar.contract import Batch, Latents
from nearfar.methods.supcon import SupCon, SupConOptions
from nearfar.options import UNKNOWN, Facts
from tests.methods.toys import Toy

FACTS = Facts(samples=1000, labelled=800, held=200, device="cpu", threads=1, steps=3)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def method(**options):
    return SupCon(Toy(), SupConOptions(temperature=0.5, **options))


def batch_of(labels):
    return Batch(ids=torch.arange(len(labels)), labels=torch.tensor(labels))


def by_hand(z, names, temperature):
    """The mean over views i of mean_p [log sum_{a != i} e^{s_ia / t} - s_ip / t], p the other views of equal name."""
    u = normalize(z.flatten(0, 1), dim=-1)
    names = list(names) * len(z)
    s = (u @ u.T) / temperature
    losses = []
    for i in range(len(u)):
        others = [a for a in range(len(u)) if a != i]
        positives = [a for a in others if names[a] == names[i]]
        losses.append(s[i, others].exp().sum().log() - s[i, positives].mean())
    return torch.stack(losses).mean()


def test_all_views_of_a_class_are_positives():
    z, labels = torch.randn(2, 5, 8), [0, 1, 0, 1, 1]
    found = method().loss(Latents(z=z), batch_of(labels)).total
    torch.testing.assert_close(found, by_hand(z, labels, 0.5))


def test_samples_without_a_label_have_no_part_in_the_loss_of_labels():
    z, labels = torch.randn(2, 5, 8, requires_grad=True), [0, -1, 0, 1, -1]
    found = method().loss(Latents(z=z), batch_of(labels)).total
    torch.testing.assert_close(found, by_hand(z[:, [0, 2, 3]], [0, 0, 1], 0.5))
    found.backward()
    assert (z.grad[:, [1, 4]] == 0).all()
    assert (z.grad[:, [0, 2, 3]] != 0).any()


@pytest.mark.parametrize("weight", [0.35, 0.8])
def test_the_mix_is_the_weighted_sum_over_all_and_over_the_labelled(weight):
    z, labels = torch.randn(2, 5, 8), [0, -1, 0, 1, -1]
    found = method(supervised_weight=weight).loss(Latents(z=z), batch_of(labels))
    every, labelled = by_hand(z, range(5), 0.5), by_hand(z[:, [0, 2, 3]], [0, 0, 1], 0.5)
    torch.testing.assert_close(found.total, (1 - weight) * every + weight * labelled)
    torch.testing.assert_close(found.parts["unsupervised_loss"], every)
    torch.testing.assert_close(found.parts["supervised_loss"], labelled)


def test_a_batch_without_labels_still_learns_from_views():
    z = torch.randn(2, 5, 8, requires_grad=True)
    batch = batch_of([-1] * 5)
    found = method(supervised_weight=0.35).loss(Latents(z=z), batch).total
    torch.testing.assert_close(found, 0.65 * by_hand(z, range(5), 0.5))
    assert method().loss(Latents(z=z), batch).total == 0


def test_the_shares_of_ranks_sum_to_the_loss_where_some_have_no_labelled_rows():
    z, batch = torch.randn(2, 7, 8, dtype=torch.float64), batch_of([0, 1, 0, -1, -1, 1, -1])
    model = method(supervised_weight=0.35)
    parts = [slice(0, 3), slice(3, 5), slice(5, 5), slice(5, 7)]
    shares = [model.loss(Latents(z=z), dataclasses.replace(batch, rows=rows, world=4)).total for rows in parts]
    torch.testing.assert_close(sum(shares), model.loss(Latents(z=z), batch).total)


@pytest.mark.parametrize(
    ("facts", "weight"),
    [
        (UNKNOWN, 1.0),
        (FACTS, 1.0),  # those held back to judge are labelled, too
        (dataclasses.replace(FACTS, labelled=80, held=20), 0.35),
        (dataclasses.replace(FACTS, labelled=600, held=0), 0.6),
        (dataclasses.replace(FACTS, samples=1_000_000, labelled=8000, held=2000), 0.35),
    ],
)
def test_the_weight_of_labels_follows_how_many_there_are(facts, weight):
    options, choices = SupCon.settle(SupConOptions(), facts, Toy())
    assert options.supervised_weight == weight
    assert [choice.value for choice in choices if choice.name == "supervised_weight"] == [weight]


def test_samples_without_a_label_are_wanted_where_a_term_is_there_for_them():
    assert not method(supervised_weight=1.0).requires.unlabelled
    assert method(supervised_weight=0.35).requires.unlabelled
    assert method(samples_per_class=4).requires.samples_per_class == 4
    part = dataclasses.replace(FACTS, labelled=80, held=20)
    assert SupCon.settle(SupConOptions(samples_per_class=4), part, Toy())[0].supervised_weight == 1
