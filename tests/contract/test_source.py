"""What a source has by default: it writes `read`, and everything else comes of the samples."""

import numpy as np
import pytest
import torch

from nearfar.contract import Source, Unreadable
from nearfar.data.contents import Cells
from nearfar.data.samples import Samples
from nearfar.data.strings import Strings
from nearfar.errors import DataError


class Numbers(Source):
    """Texts that are numbers."""

    def read(self, row):
        text = self.samples.bytes(row).decode()
        if not text.isdigit():
            raise Unreadable("no number")
        return torch.tensor([float(text)])


def numbers(texts, labels=None):
    return Numbers(
        Samples(
            name="numbers",
            keys=Strings.of(f"n{i}" for i in range(len(texts))),
            contents=Cells(texts),
            rows=np.arange(len(texts)),
            labels=labels,
            label_names=("a", "b"),
        )
    )


def test_what_is_read_is_stacked_and_what_is_not_is_listed_once():
    source = numbers(["5", "x", "7", "5"], np.array([0, 1, -1, 1]))
    for _ in range(2):
        raw, kept = source.fetch(np.arange(4))
        assert raw.tolist() == [[5.0], [7.0], [5.0]]
        assert kept.tolist() == source.usable.tolist() == [0, 2, 3]
    assert [(one.key, one.reason) for one in source.skipped] == [("n1", "no number")]
    assert source.ids[0] == source.ids[3] != source.ids[2]
    assert [(card.key, card.label) for card in source.cards(np.arange(4))] == [
        ("n0", "a"), ("n1", "b"), ("n2", None), ("n3", "b"),
    ]  # fmt: skip
    assert source.fetch(np.array([1]))[0] is None


def test_taken_rows_share_what_was_found_and_show_their_own():
    source = numbers(["5", "x", "7", "8"], np.array([0, 1, -1, 1]))
    some = source.take(np.array([3, 1])).take(np.array([1, 0]))
    assert (list(some.keys), some.labels.tolist(), len(some)) == (["n1", "n3"], [1, 1], 2)
    assert some.fetch(np.arange(2))[0].tolist() == [[8.0]]
    assert source.usable.tolist() == [0, 2, 3]


def test_partners_stand_behind_the_samples_and_give_way_where_they_cannot_be_read():
    source = numbers(["1", "2", "x", "9"]).with_partners(2, np.array([3, 2]), None)
    assert (len(source), source.negatives) == (2, None)
    assert source.positives.fetch(np.arange(2))[0].tolist() == [[9.0]]
    assert source.positives.fetch(np.arange(2))[0].tolist() == [[9.0], [2.0]]  # the sample itself
    assert source.take(np.array([1])).positives.fetch(np.array([0]))[0].tolist() == [[2.0]]


@pytest.mark.parametrize(("bad", "refused"), [(9, False), (11, True)])
def test_data_is_refused_where_more_than_half_of_twenty_or_more_cannot_be_read(bad, refused):
    source = numbers(["x"] * bad + ["1"] * (20 - bad))
    if refused:
        with pytest.raises(DataError, match=r"11 of 20 samples of 'numbers' cannot be read: 'n0' \(no number\)"):
            source.fetch(np.arange(20))
    else:
        assert len(source.fetch(np.arange(20))[1]) == 11
