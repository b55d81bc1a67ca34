"""What each part adds to a cosine, by removal, as an exact share, and by tokens."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from nearfar.contract import Encoder
from nearfar.errors import ConfigError
from nearfar.inspection.explain.explanation import explain
from nearfar.whitening import Whitening
from tests.inspection.explain.linear import Linear, linear


def cosine(encoder, a, b):
    with torch.no_grad():
        return float(cosine_similarity(encoder.vectors(a), encoder.vectors(b)))


@pytest.fixture
def whitened():
    encoder, a, b = linear()
    encoder.output = Whitening(encoder.dim).fit(torch.randn(50, 4, generator=torch.Generator().manual_seed(1)) + 2)
    return encoder, a, b


def test_occlusion_is_the_loss_of_cosine_without_each_part(whitened):
    encoder, a, b = whitened
    found = explain(encoder, a, b)
    for i in range(6):
        without = a.clone()
        without[0, i] = 0
        assert found.a.heat["occlusion"][i] == pytest.approx(
            cosine(encoder, a, b) - cosine(encoder, without, b), abs=1e-6
        )


def test_shares_add_up_to_the_cosine_behind_a_whitening(whitened):
    encoder, a, b = whitened
    found = explain(encoder, a, b)
    assert found.similarity == pytest.approx(cosine(encoder, a, b), abs=1e-6)
    for side in (found.a, found.b):
        assert side.heat["shares"].sum() == pytest.approx(found.similarity, abs=1e-5)


def test_matches_are_shares_of_pairs_of_parts(whitened):
    found = explain(*whitened)
    assert found.matched_by == "shares"
    np.testing.assert_allclose(found.matches.sum(1), found.a.heat["shares"], atol=1e-5)
    np.testing.assert_allclose(found.matches.sum(0), found.b.heat["shares"], atol=1e-5)


def test_the_share_of_a_part_is_its_inner_product():
    encoder, a, b = linear()
    with torch.no_grad():
        vector, other = encoder.vectors(a)[0], encoder.vectors(b)[0]
        wanted = a[0] * (encoder.weights @ normalize(other, dim=0)) / vector.norm()
    np.testing.assert_allclose(explain(encoder, a, b).a.heat["shares"], wanted.numpy(), atol=1e-6)


def test_best_matches_take_each_part_once_and_fall():
    found = explain(*linear())
    matches = found.best_matches(10)
    assert len(matches) > 1
    assert len({one for one, _, _ in matches}) == len({other for _, other, _ in matches}) == len(matches)
    assert [value for *_, value in matches] == sorted((value for *_, value in matches), reverse=True)
    assert matches[0][2] == pytest.approx(float(found.matches.max()))


class ByTokens(Linear):
    """Its parts have vectors, whose sum is not that of the sample."""

    def parts(self, inputs):
        found = super().parts(inputs)
        return dataclasses.replace(found, terms=None, tokens=found.terms)


def test_without_a_sum_tokens_are_compared():
    encoder, a, b = linear()
    found = explain(ByTokens(encoder.weights.detach()).eval(), a, b)
    tokens = [normalize(x[0, :, None] * encoder.weights.detach(), dim=1) for x in (a, b)]
    np.testing.assert_allclose(found.matches, (tokens[0] @ tokens[1].T).numpy(), atol=1e-6)
    assert found.matched_by == "tokens"
    assert "shares" not in found.a.heat
    np.testing.assert_array_equal(found.b.heat["tokens"], found.matches.max(0))


class OneSide(Linear):
    """Only samples whose first number is above 0 are a sum."""

    def parts(self, inputs):
        found = super().parts(inputs)
        return found if inputs[0, 0] > 0 else dataclasses.replace(found, terms=None)


def test_a_side_that_is_no_sum_leaves_the_other_its_shares():
    encoder, a, b = linear()
    a[0, 0], b[0, 0] = 1.0, -1.0
    found = explain(OneSide(encoder.weights.detach()).eval(), a, b)
    assert found.a.heat["shares"].sum() == pytest.approx(found.similarity, abs=1e-5)
    assert "shares" not in found.b.heat
    assert found.matches is None
    assert found.best_matches(3) == []


def test_json_has_numbers_for_each_part():
    found = explain(*linear(), names=("one", "other")).to_json()
    assert found["a"]["name"] == "one"
    assert len(found["a"]["occlusion"]) == len(found["a"]["shares"]) == len(found["a"]["parts"]) == 6
    assert found["matches"][0].keys() == {"a", "b", "value"}


def test_an_encoder_that_says_nothing_of_parts_is_refused():
    silent = Encoder()
    silent.config = {"encoder": "silent"}
    with pytest.raises(ConfigError, match="'silent' does not say what its inputs are made of"):
        explain(silent, torch.zeros(1, 2), torch.zeros(1, 2))
