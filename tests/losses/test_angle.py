"""AnglE: the angle of a complex quotient, and the ranking of CoSENT."""

import math

import pytest
import torch

from nearfar.errors import DataError
from nearfar.losses import angle, cosent
from tests.losses.table import normal


def by_loops(z1, z2, scores, scale):
    """The quotient of each pair as complex numbers, then one pair of pairs after the other."""
    half = z1.shape[1] // 2
    found = []
    for x, y in zip(z1, z2, strict=True):
        a, b = torch.complex(x[:half], x[half:]), torch.complex(y[:half], y[half:])
        quotient = a * b.conj() / (x.norm() * y.norm())
        found.append(abs(float((quotient.real + quotient.imag).sum())))
    terms = [
        math.exp(scale * (found[j] - found[i]))
        for i in range(len(found)) for j in range(len(found)) if scores[i] > scores[j]
    ]  # fmt: skip
    return math.log1p(sum(terms))


def test_value_by_loops():
    z1, z2, scores = normal(7, 6), normal(7, 6, seed=1), torch.tensor([3, 1, 2, 2, 5, 0, 1])
    for scale in (1.0, 20.0):
        assert angle(z1, z2, scores=scores, scale=scale).item() == pytest.approx(by_loops(z1, z2, scores, scale))


def test_embeddings_without_imaginary_parts_are_compared_by_the_size_of_their_cosine():
    z1, z2, scores = normal(5, 4).abs(), normal(5, 4, seed=1).abs(), torch.arange(5)
    zeros = torch.zeros(5, 4)
    found = angle(torch.cat([z1, zeros], 1), torch.cat([z2, zeros], 1), scores=scores)
    torch.testing.assert_close(found, cosent(z1, z2, scores=scores))


def test_the_right_order_costs_nothing_and_equal_pairs_the_log_of_their_number():
    z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    assert angle(z, z, scores=torch.arange(3)).item() == pytest.approx(math.log(4))
    far = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    near = torch.tensor([[1.0, 1.0], [1.0, 0.0]])  # the first quotient has re + im = 0
    assert angle(far, near, scores=torch.tensor([0, 1]), scale=100.0).item() == pytest.approx(0, abs=1e-6)


def test_an_odd_number_of_dimensions_is_refused():
    with pytest.raises(DataError, match="must be even, got 3"):
        angle(torch.ones(2, 3), torch.ones(2, 3), scores=torch.arange(2))
