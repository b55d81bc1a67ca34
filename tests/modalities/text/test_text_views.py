"""Views of texts: what they leave out, and that they depend on their key alone."""

import numpy as np
import pytest

from nearfar.modalities.text.encoder import Tokens
from nearfar.modalities.text.views import altered

LENGTHS = np.array([1, 2, 30, 100])
ROWS = [np.arange(1, n + 1) for n in LENGTHS]
NOTHING = {"deletion": 0.0, "span": 1.0, "shuffle": 0}


def view(rows=ROWS, draws=None, **changes):
    draws = np.arange(len(rows)) if draws is None else draws
    return altered(Tokens.of(rows), draws, **{"view": 0, "seed": 0, **NOTHING, **changes})


def texts(tokens):
    return [tokens.ids[i, :n].tolist() for i, n in enumerate(tokens.lengths)]


def test_without_changes_a_view_is_the_text():
    assert texts(view()) == [row.tolist() for row in ROWS]


def test_deletion_leaves_its_share_and_never_nothing():
    lengths = np.mean([view(deletion=0.9, view=i).lengths for i in range(200)], axis=0)
    assert view(deletion=0.99).lengths.min() == 1
    assert lengths[3] == pytest.approx(10, abs=1)
    assert texts(view(deletion=0.5))[3] == sorted(texts(view(deletion=0.5))[3])


def test_a_span_is_a_run_of_at_least_its_share():
    for i in range(50):
        found = texts(view(span=0.4, view=i))
        assert all(np.diff(row).max(initial=1) == 1 for row in found)
        assert len(found[3]) >= 40


def test_order_moves_words_by_few_places():
    found = texts(view(shuffle=3))[3]
    assert sorted(found) == ROWS[3].tolist() != found
    assert max(abs(at + 1 - word) for at, word in enumerate(found)) <= 3


def test_a_view_depends_on_its_key_alone():
    everything = {"deletion": 0.3, "span": 0.5, "shuffle": 2}
    whole = texts(view(draws=np.array([5, 6, 7, 8]), **everything))
    assert texts(view([ROWS[2]], np.array([7]), **everything)) == [whole[2]]
    assert texts(view([ROWS[3], ROWS[2]], np.array([8, 7]), **everything)) == [whole[3], whole[2]]
