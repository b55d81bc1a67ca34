import numpy as np
import pytest

from nearfar.data.keys import unique
from nearfar.data.strings import Strings

SOME = ["", "a", "häm", "x" * 5000, "caf\udce9", "a"]


def test_texts_come_back_as_they_were():
    found = Strings.of(SOME)
    assert [found[i] for i in range(len(SOME))] == SOME
    assert list(found) == SOME
    assert found[-2] == SOME[-2]


def test_more_texts_than_a_chunk_keep_their_order():
    texts = [str(i) for i in range(10_001)]
    assert Strings.of(iter(texts)) == texts


def test_texts_are_equal_to_any_sequence_of_the_same():
    assert Strings.of(SOME) == SOME == Strings.of(SOME)
    assert Strings.of(SOME) != SOME[:-1]
    assert Strings.of(["ab"]) != "ab"
    assert Strings.of([]) == []


def test_some_are_taken_in_any_order():
    taken = Strings.of(SOME).take(np.array([4, 1, 1]))
    assert taken == ["caf\udce9", "a", "a"]
    assert taken[1:] == ["a", "a"]


def test_parts_are_joined_in_order():
    taken = Strings.of(["c", "b", "a"]).take(np.array([2, 0]))
    assert Strings.joined([Strings.of(["x"]), taken, Strings.of([])]) == ["x", "a", "c"]
    assert Strings.joined([]) == []


def test_a_place_out_of_range_is_an_index_error():
    with pytest.raises(IndexError):
        Strings.of(SOME)[len(SOME)]


def test_a_hundred_thousand_paths_are_few_objects():
    found = Strings.of(f"class/{i:06d}.jpg" for i in range(100_000))
    assert found.array.nbytes < 100_000 * (16 + 8 + 1)


def test_keys_that_occur_once_stay():
    assert unique(["a", "b", "c"]) == ["a", "b", "c"]


def test_every_key_that_occurs_twice_gets_its_row():
    assert unique(["a", "b", "a", "c", "b"]) == ["a#0", "b#1", "a#2", "c", "b#4"]
