"""What users had: items that can be taken away, and vectors that are sums or means over them."""

import pytest
import torch

from nearfar.modalities.interactions.encoder import InteractionEncoder
from nearfar.modalities.interactions.towers import TOWERS
from nearfar.testing.parts import check_parts

CONFIG = {
    "users": ["a", "b", "c"], "items": ["w", "x", "y", "z"], "titles": ["Wild", "Xerxes", "Yes", "Zoo"],
    "dimensions": 6, "history": 4, "graph_layers": 1, "graph_noise": 0.0, "edge_dropout": 0.0, "edges": 2, "seen": 3,
}  # fmt: skip


@pytest.fixture(params=sorted(TOWERS))
def encoder(request):
    torch.manual_seed(0)
    made = InteractionEncoder(CONFIG | {"encoder": request.param}).eval()
    made.seen.copy_(torch.tensor([[0, 0, 1], [2, 0, 1]]))
    return made


def test_a_user_is_made_of_what_was_had(encoder):
    inputs = encoder.preprocess([{"history": ["Yes", "Wild", "Zoo"]}])
    with torch.no_grad():
        parts = encoder.parts(inputs)
        assert list(parts.names) == ["Yes", "Wild", "Zoo"]
        found = encoder.vectors(parts.without(torch.tensor([[True, False, True]])))
        torch.testing.assert_close(found, encoder.vectors(encoder.preprocess([{"history": ["Yes", "Zoo"]}])))
    assert (parts.terms is None) == (encoder.config["encoder"] == "sequence")
    check_parts(encoder, inputs)


def test_a_known_user_is_explained_as_one_who_had_the_same_and_that_is_said(encoder):
    with torch.no_grad():
        parts = encoder.parts(encoder.preprocess([{"user": "a"}]))
    assert list(parts.names) == ["Yes", "Wild"]
    assert "somebody who had the same" in parts.note


def test_an_item_is_one_part_that_stays(encoder):
    inputs = encoder.preprocess(["Zoo"])
    with torch.no_grad():
        parts = encoder.parts(inputs)
    assert list(parts.names) == ["Zoo"]
    assert parts.without(torch.zeros(2, 1, dtype=torch.bool))["item"].tolist() == [3, 3]
    check_parts(encoder, inputs)


def test_who_had_nothing_has_no_parts(encoder):
    with torch.no_grad():
        parts = encoder.parts(encoder.preprocess([{"history": []}]))
        assert len(parts) == 0
        assert encoder.vectors(parts.without(torch.ones(1, 0, dtype=torch.bool))).isfinite().all()
