"""Which samples of a batch belong together."""

import torch

from nearfar.contract import Batch
from nearfar.methods.relations import Classes

LABELS = torch.tensor([2, -1, 0, 2, -1, 0])


def batch(ids=(0, 1, 2, 3, 4, 5), rows=slice(None)):
    return Batch(ids=torch.tensor(ids), labels=LABELS, rows=rows)


def test_by_labels_those_without_one_are_left_out():
    found = Classes.of(batch(), supervised=True)
    assert found.at.tolist() == [0, 2, 3, 5]
    assert found.names.tolist() == [2, 0, 2, 0]
    assert found.rows == slice(0, 4)


def test_own_rows_are_counted_among_the_labelled():
    shares = [slice(0, 2), slice(2, 2), slice(2, 5), slice(5, 6)]
    found = [Classes.of(batch(rows=rows), supervised=True).rows for rows in shares]
    assert found == [slice(0, 1), slice(1, 1), slice(1, 3), slice(3, 4)]


def test_equal_content_of_two_labels_is_of_one_class():
    found = Classes.of(batch(ids=(7, 1, 7, 3, 4, 5)), supervised=True)
    assert found.names.tolist() == [0, 0, 2, 0]


def test_without_labels_all_samples_are_their_own():
    found = Classes.of(batch(ids=(9, 8, 7, 9, 5, 4), rows=slice(1, 4)), supervised=False)
    assert found.at.tolist() == list(range(6))
    assert found.names.tolist() == [9, 8, 7, 9, 5, 4]
    assert found.rows == slice(1, 4)


def test_views_are_laid_out_sample_by_sample():
    z = torch.arange(12.0).view(2, 6, 1)
    views, names, rows = Classes.of(batch(rows=slice(2, 5)), supervised=True).flat(z)
    assert views[:, 0].tolist() == [0, 6, 2, 8, 3, 9, 5, 11]
    assert names.tolist() == [2, 2, 0, 0, 2, 2, 0, 0]
    assert rows == slice(2, 6)


def test_nothing_labelled_leaves_nothing():
    none = Batch(ids=torch.arange(3), labels=torch.full((3,), -1))
    assert Classes.of(none, supervised=True).at.tolist() == []
