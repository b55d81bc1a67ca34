"""What losses of labels are compared with: the batch, or a reference in which the batch has its place."""

import pytest
import torch

from nearfar.errors import ConfigError, DataError
from nearfar.losses import circle, labelled_contrastive, labelled_triplet, multi_similarity
from tests.losses.table import LOSSES, normal, tags_of

LABELLED = [name for name, loss in LOSSES.items() if loss.takes("reference") and not name.endswith("referenced")]
EVERY = pytest.mark.parametrize("name", LABELLED)


def value_and_gradient(name, z, labels, **options):
    z = z.detach().clone().requires_grad_()
    value = LOSSES[name].call([z], labels, **options)
    return value.detach(), torch.autograd.grad(value, z)[0]


@EVERY
def test_samples_without_a_class_are_classes_of_their_own_and_names_do_not_matter(name):
    z, labels = normal(12, 5), torch.tensor([0, 1, -1, 0, -1, 1, 2, 2, -1, 0, 1, -1])
    alone = torch.where(labels == -1, torch.arange(12) + 100, 1_000_000_007 - labels)
    for reference in (None, torch.cat([normal(4, 5, seed=1), z])):
        options = {} if reference is None else {"reference": reference, "offset": 4}
        found = []
        for names, more in ((labels, [0, 50, 51, 2]), (alone, [1_000_000_007, 50, 51, 1_000_000_005])):
            columns = {} if reference is None else {"reference_labels": torch.cat([torch.tensor(more), names])}
            found.append(value_and_gradient(name, z, names, **options, **columns))
        torch.testing.assert_close(*found)


@EVERY
def test_pitfall_1_the_own_column_is_found_by_its_offset(name):
    """Rank 1 of 3 compares its rows with the gathered batch: its own columns start at rank * b, not at 0."""
    z, labels, own = normal(12, 4), tags_of(12), slice(4, 8)
    for way in LOSSES[name].ways():
        expected = LOSSES[name].call([z], labels, rows=own, reduction="sum", **way)
        gathered = {"reference": z, "reference_labels": labels, "offset": 4}
        found = LOSSES[name].call([z[own]], labels[own], reduction="sum", **gathered, **way)
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


@EVERY
def test_the_whole_batch_as_its_own_reference_has_the_same_gradient(name):
    z, labels = normal(9, 4).requires_grad_(), tags_of(9)
    plain = LOSSES[name].call([z], labels)
    gathered = LOSSES[name].call([z], labels, reference=z, reference_labels=labels, offset=0)
    torch.testing.assert_close(gathered, plain)
    torch.testing.assert_close(torch.autograd.grad(gathered, z), torch.autograd.grad(plain, z))


ONES, TWO = torch.ones(3, dtype=torch.long), torch.ones(3, 2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"labels": ONES[:2]}, DataError, "labels must name each of the 3 samples once"),
        ({"labels": torch.ones(3)}, ConfigError, "labels must be a tensor of integers"),
        ({"labels": ONES, "reference": TWO}, DataError, "needs reference_labels"),
        ({"labels": ONES, "reference_labels": ONES}, ConfigError, "belong to a reference"),
        ({"labels": ONES, "offset": 0}, ConfigError, "offset is a place in a reference"),
        (
            {"labels": ONES, "reference": torch.ones(3, 5), "reference_labels": ONES},
            DataError,
            r"reference must be embeddings \[N, 2\], got shape \[3, 5\]",
        ),
        (
            {"labels": ONES, "reference": TWO[:0], "reference_labels": ONES[:0]},
            DataError,
            "The reference is empty",
        ),
        (
            {"labels": ONES, "reference": TWO, "reference_labels": ONES[:1]},
            DataError,
            "reference_labels must name each of the 3",
        ),
        (
            {"labels": ONES, "reference": TWO, "reference_labels": ONES, "offset": 1},
            ConfigError,
            r"offset must lie in 0\.\.0 for 3 anchors in 3 columns, got 1",
        ),
    ],
)
def test_mistakes_are_named(options, error, message):
    with pytest.raises(error, match=message):
        labelled_triplet(TWO, **options)


@pytest.mark.parametrize("loss", [labelled_contrastive, labelled_triplet, circle, multi_similarity])
def test_labels_or_tuples_are_needed_and_not_both(loss):
    tuples = {"triplets": (ONES,) * 3} if loss is labelled_triplet else {"pairs": (ONES,) * 4}
    ((name, indices),) = tuples.items()
    for options, error, message in (
        ({}, ConfigError, f"Give labels, or {name}"),
        ({"labels": ONES, **tuples}, ConfigError, "come without labels"),
        ({"rows": slice(0, 1), **tuples}, ConfigError, "come without labels"),
        ({name: indices[1:]}, DataError, f"must be {len(indices)} index vectors"),
        ({name: (ONES + 2, *indices[1:])}, DataError, r"must lie in 0\.\.2, got 3\.\.3"),
        ({name: (ONES.float(), *indices[1:])}, DataError, "must be a vector of integers"),
    ):
        with pytest.raises(error, match=message):
            loss(TWO, **options)
