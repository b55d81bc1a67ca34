"""Distance-weighted negatives: their frequencies, their keys, no overflow."""

import math

import pytest
import torch
from torch.nn import functional as F

from nearfar.errors import ConfigError
from nearfar.losses import labelled_triplet
from nearfar.losses.mining import distance_weighted_triplets


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def circle_of(degrees):
    angle = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle), torch.zeros_like(angle)], 1)


def test_negatives_are_drawn_as_often_as_their_weights_say():
    """An anchor among 4,000 copies of its positive, and four negatives: the frequencies of 4,001 draws."""
    degrees = [0.0] * 4001 + [15.0, 40.0, 60.0, 75.0]
    z, labels = circle_of(degrees), torch.tensor([0] * 4001 + [1, 2, 3, 4])
    columns = torch.cat([z[:1], z])
    names = torch.cat([labels[:1], labels])
    a, p, n = distance_weighted_triplets(
        z[:1], labels=labels[:1], reference=columns, reference_labels=names, offset=0, generator=generator()
    )
    assert a.eq(0).all()
    assert p.tolist() == list(range(1, 4002))
    weights = []
    for degree in degrees[-4:]:
        d = max(0.5, 2 * math.sin(math.radians(degree) / 2))
        weights.append(1 / (d**2 * math.sqrt(1 - d * d / 4)))
    drawn = torch.bincount(n - 4002, minlength=4) / len(n)
    for frequency, weight in zip(drawn.tolist(), weights, strict=True):
        expected = weight / sum(weights)
        assert frequency == pytest.approx(expected, abs=4 * math.sqrt(expected / 4001))


def test_every_positive_pair_gets_one_negative_of_another_class():
    z, labels = normal(40, 16), torch.arange(40) % 5
    a, p, n = distance_weighted_triplets(z, labels=labels, farthest=2.1, generator=generator())
    same = (labels[:, None] == labels) & ~torch.eye(40, dtype=torch.bool)
    assert torch.stack([a, p]).equal(same.nonzero().T)
    assert (labels[a] != labels[n]).all()
    assert labelled_triplet(z, triplets=(a, p, n)).isfinite()


def test_the_same_generator_draws_the_same_whatever_the_blocks():
    z, labels = normal(40, 16), torch.arange(40) % 5
    mined = [
        torch.stack(distance_weighted_triplets(z, labels=labels, generator=generator(3), longest=longest))
        for longest in (None, 1, 7)
    ]
    assert mined[0].equal(mined[1])
    assert mined[0].equal(mined[2])
    other = torch.stack(distance_weighted_triplets(z, labels=labels, generator=generator(4)))
    assert not mined[0].equal(other)


def test_negatives_beyond_the_farthest_are_not_drawn_and_anchors_without_others_are_left_out():
    z = circle_of([0.0, 1.0, 30.0, 120.0, 121.0])
    labels = torch.tensor([0, 0, 1, 2, 2])
    a, p, n = distance_weighted_triplets(z, labels=labels, farthest=1.4, generator=generator())
    assert torch.stack([a, p, n]).T.tolist() == [[0, 1, 2], [1, 0, 2]]
    assert len(distance_weighted_triplets(z, labels=labels, farthest=0.1, generator=generator())[0]) == 0


@pytest.mark.parametrize("dim", [1, 2, 3, 128, 20_000])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("spread", [0.0, 1e-3, 1.0])
def test_no_dimension_and_no_distance_overflows(dim, dtype, spread):
    """Coinciding, very near and opposite points: 1 / q(d) of 20,000 dimensions would pass 1e5000."""
    points = torch.ones(1, dim) + spread * normal(6, dim).float()
    z = torch.cat([points, -points]).to(dtype)
    labels = torch.arange(12) % 3
    a, p, n = distance_weighted_triplets(z, labels=labels, farthest=2.1, generator=generator())
    assert len(a) == 12 * 3
    assert (labels[a] == labels[p]).all()
    assert (labels[a] != labels[n]).all()


def test_in_many_dimensions_the_nearest_are_drawn_and_those_below_the_cutoff_evenly():
    z = F.pad(circle_of([0.0, 0.0, 5.0, 10.0, 60.0, 70.0]), (0, 508))
    labels = torch.tensor([0, 0, 1, 2, 3, 4])
    drawn = torch.cat([distance_weighted_triplets(z, labels=labels, generator=generator(k))[2] for k in range(200)])
    counts = torch.bincount(drawn, minlength=6).tolist()
    assert counts[4] == counts[5] == 0
    assert 140 < counts[2] < 260
    assert counts[2] + counts[3] == 400


def test_mistakes_are_named():
    z, labels = normal(4, 3), torch.arange(4) % 2
    with pytest.raises(ConfigError, match="cutoff must lie in"):
        distance_weighted_triplets(z, labels=labels, cutoff=0)
    with pytest.raises(ConfigError, match="farthest must be > 0"):
        distance_weighted_triplets(z, labels=labels, farthest=0)
