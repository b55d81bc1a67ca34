import sys

import numpy as np
import pytest

from nearfar.data.keys import unique
from nearfar.data.texts import Texts

SOME = ["", "a", "häm", "x" * 5000, "caf\udce9", "a"]


def test_texts_come_back_as_they_were():
    found = Texts.of(SOME)
    assert [found[i] for i in range(len(SOME))] == SOME
    assert list(found) == SOME
    assert found[-2] == SOME[-2]


def test_more_texts_than_a_chunk_keep_their_order():
    texts = [str(i) for i in range(10_001)]
    assert Texts.of(iter(texts)) == texts


def test_texts_are_equal_to_any_sequence_of_the_same():
    assert Texts.of(SOME) == SOME == Texts.of(SOME)
    assert Texts.of(SOME) != SOME[:-1]
    assert Texts.of(["ab"]) != "ab"
    assert Texts.of([]) == []


def test_taken_texts_share_their_bytes():
    found = Texts.of(SOME)
    taken = found.take(np.array([4, 1, 1]))
    assert taken == ["caf\udce9", "a", "a"]
    assert taken._buffer is found._buffer
    assert taken[1:] == ["a", "a"]


def test_parts_are_joined_in_order():
    taken = Texts.of(["c", "b", "a"]).take(np.array([2, 0]))
    assert Texts.joined([Texts.of(["x"]), taken, Texts.of([])]) == ["x", "a", "c"]
    assert Texts.joined([]) == []


def test_a_place_out_of_range_is_an_index_error():
    with pytest.raises(IndexError):
        Texts.of(SOME)[len(SOME)]


def test_a_hundred_thousand_paths_are_few_objects():
    found = Texts.of(f"class/{i:06d}.jpg" for i in range(100_000))
    held = sys.getsizeof(found._buffer) + found._starts.nbytes + found._stops.nbytes
    assert held < 100_000 * (16 + 16 + 1)


def test_keys_that_occur_once_stay():
    assert unique(["a", "b", "c"]) == ["a", "b", "c"]


def test_every_key_that_occurs_twice_gets_its_row():
    assert unique(["a", "b", "a", "c", "b"]) == ["a#0", "b#1", "a#2", "c", "b#4"]
