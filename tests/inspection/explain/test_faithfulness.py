"""Orders that the cosine follows are told from orders that it does not."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from nearfar.inspection.explain.explanation import explain
from nearfar.inspection.explain.faithfulness import by_position, follow
from nearfar.inspection.explain.sanity import randomised, rank_correlation
from tests.inspection.explain.linear import linear


def test_deletion_and_insertion_are_areas_under_the_cosine():
    encoder, a, b = linear(parts=3)
    with torch.no_grad():
        other = encoder.vectors(b)[0]
        found = follow(encoder, encoder.parts(a), other, [0.1, 0.3, 0.2])  # 1, then 2, then 0

        def at(*kept):
            mask = torch.tensor([[float(i in kept) for i in range(3)]])
            return float(cosine_similarity(encoder.vectors(a * mask), other[None]))

        deletion = [at(0, 1, 2), at(0, 2), at(0), at()]
        insertion = [at(), at(1), at(1, 2), at(0, 1, 2)]
    assert found.deletion == pytest.approx(np.trapezoid(deletion) / 3, abs=1e-6)
    assert found.insertion == pytest.approx(np.trapezoid(insertion) / 3, abs=1e-6)


def test_an_order_and_its_reverse_change_places():
    encoder, a, b = linear(parts=5)
    with torch.no_grad():
        parts, other = encoder.parts(a), encoder.vectors(b)[0]
        one, reverse = (follow(encoder, parts, other, heat) for heat in ([5, 4, 3, 2, 1], [1, 2, 3, 4, 5]))
    assert one.deletion == pytest.approx(reverse.insertion, abs=1e-6)
    assert one.gap == pytest.approx(-reverse.gap, abs=1e-6)


def test_what_asks_the_encoder_leads_orders_that_know_nothing():
    gaps = {"occlusion": [], "shares": [], "random": [], "position": []}
    for seed in range(12):
        for name, measured in explain(*linear(parts=12, dim=8, seed=seed), faithfulness=True).faithfulness.items():
            gaps[name].append(measured.gap)
    means = {name: np.mean(values) for name, values in gaps.items()}
    assert min(means["occlusion"], means["shares"]) > 0.3
    assert max(abs(means["random"]), abs(means["position"])) < 0.2


def test_the_random_order_is_keyed_by_the_seed():
    samples = linear(parts=12)
    one, same, other = (explain(*samples, faithfulness=True, seed=seed).faithfulness["random"] for seed in (0, 0, 1))
    assert one == same
    assert one != other


def test_a_grid_is_gone_through_from_its_middle():
    encoder, a, _ = linear(parts=9, grid=(3, 3))
    assert by_position(encoder.parts(a)).argmax() == 4
    encoder, a, _ = linear(parts=9)
    assert by_position(encoder.parts(a)).argmax() == 0


def test_a_randomised_encoder_keeps_the_values_of_its_weights_and_not_their_places():
    encoder, a, b = linear(parts=24, dim=16)
    other = randomised(encoder, seed=1)
    assert not torch.equal(other.weights, encoder.weights)
    torch.testing.assert_close(other.weights.flatten().sort().values, encoder.weights.flatten().sort().values)
    torch.testing.assert_close(randomised(encoder, seed=1).weights, other.weights)
    heats = [explain(one, a, b).a.heat["shares"] for one in (encoder, other)]
    assert abs(rank_correlation(*heats)) < 0.5


def test_an_explanation_says_how_much_of_it_stays_with_shuffled_weights():
    samples = linear(parts=24, dim=16)
    found = explain(*samples, faithfulness=True, seed=1)
    other = explain(randomised(samples[0], seed=1), *samples[1:])
    sides = (found.a, other.a), (found.b, other.b)
    wanted = np.mean([rank_correlation(one.heat["shares"], two.heat["shares"]) for one, two in sides])
    assert found.unlearnt["shares"] == pytest.approx(wanted)
    assert set(found.unlearnt) == {"occlusion", "shares"}
    assert explain(*samples).unlearnt == {}


def test_rank_correlation_is_spearmans():
    scipy = pytest.importorskip("scipy.stats")
    x, y = np.random.default_rng(0).integers(0, 6, (2, 20)).astype(np.float32)
    assert rank_correlation(x, y) == pytest.approx(scipy.spearmanr(x, y).statistic)
    assert rank_correlation(x, np.zeros(20, dtype=np.float32)) == 0
