"""Cosines of vectors, as users of sentence-transformers know them."""

import numpy as np
import pytest

import nearfar
from nearfar.errors import DataError


def test_similarity_is_the_cosine_of_all_pairs():
    one, other = np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([4.0, 3.0])
    assert nearfar.similarity(one, other) == pytest.approx(np.array([[0.96], [0.0]]))
    assert nearfar.similarity(one) == pytest.approx(np.array([[1.0, 0.0], [0.0, 0.0]]))


@pytest.mark.parametrize(("one", "other"), [("a text", None), ([[1.0, 2.0]], [[1.0]])])
def test_what_is_no_vectors_is_told(one, other):
    with pytest.raises(DataError, match="similarity compares vectors"):
        nearfar.similarity(one, other)
