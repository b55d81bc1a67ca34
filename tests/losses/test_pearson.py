"""Pearson: numpy's correlation, its ends, and what has no correlation."""

import numpy as np
import pytest
import torch

from nearfar.errors import ConfigError, DataError
from nearfar.losses import pearson
from tests.losses.table import normal


def pairs_of(cosines):
    """Pairs of vectors in the plane that have these cosines."""
    c = torch.as_tensor(cosines, dtype=torch.float64)
    return torch.tensor([[1.0, 0.0]]).double().expand(len(c), 2), torch.stack([c, (1 - c.square()).sqrt()], dim=1)


def test_value_is_one_less_the_correlation():
    z1, z2, scores = normal(9, 5), normal(9, 5, seed=1), torch.tensor([3, 1, 2, 2, 5, 0, 1, 4, 4])
    cosines = torch.cosine_similarity(z1, z2).numpy()
    assert pearson(z1, z2, scores=scores).item() == pytest.approx(1 - np.corrcoef(cosines, scores)[0, 1])


def test_a_rising_line_costs_nothing_and_a_falling_one_2():
    cosines = torch.tensor([-0.5, 0.0, 0.2, 0.9])
    assert pearson(*pairs_of(cosines), scores=5 * cosines + 3).item() == pytest.approx(0, abs=1e-6)
    assert pearson(*pairs_of(cosines), scores=-cosines).item() == pytest.approx(2)


@pytest.mark.parametrize("scores", [[1.0, 1.0, 1.0], [0.0, 1.0, 2.0]])
def test_where_nothing_varies_the_loss_is_1_and_its_gradient_finite(scores):
    z = torch.ones(3, 4, requires_grad=True)
    loss = pearson(z, torch.ones(3, 4), scores=torch.tensor(scores))
    loss.backward()
    assert loss.item() == 1
    assert z.grad.isfinite().all()


def test_scores_that_are_no_numbers_of_these_pairs_are_refused():
    z = torch.ones(3, 4)
    with pytest.raises(ConfigError, match="scores must be a tensor of numbers, got list"):
        pearson(z, z, scores=[1, 2, 3])
    with pytest.raises(DataError, match="each of the 3 pairs"):
        pearson(z, z, scores=torch.arange(2))
