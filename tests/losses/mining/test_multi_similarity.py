"""The multi-similarity miner: loops, blocks, and the loss that takes what it finds."""

import pytest
import torch
from torch.nn import functional as F

from nearfar.errors import ConfigError
from nearfar.losses import multi_similarity
from nearfar.losses.mining import multi_similarity_pairs

LABELS = torch.tensor([0, 0, 1, 1, 1, 2, 0])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loops(z, labels, epsilon):
    u, positives, negatives = F.normalize(z), [], []
    for i in range(len(z)):
        s = {j: float(u[i] @ u[j]) for j in range(len(z)) if j != i}
        same = [j for j in s if labels[j] == labels[i]]
        other = [j for j in s if labels[j] != labels[i]]
        if same and other:
            positives += [[i, j] for j in same if s[j] - epsilon < max(s[k] for k in other)]
            negatives += [[i, j] for j in other if s[j] + epsilon > min(s[k] for k in same)]
    return positives, negatives


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("longest", [None, 2])
def test_pairs_by_loops_in_blocks_of_any_size(epsilon, longest):
    z = normal(7, 3)
    a1, p, a2, n = multi_similarity_pairs(z, labels=LABELS, epsilon=epsilon, longest=longest)
    positives, negatives = by_loops(z, LABELS, epsilon)
    assert torch.stack([a1, p]).T.tolist() == positives
    assert torch.stack([a2, n]).T.tolist() == negatives
    assert 0 < len(negatives) < 7 * 6


def test_pairs_of_separated_classes_are_none():
    z = torch.tensor([[1.0, 0.0], [1.0, 0.01], [-1.0, 0.0], [-1.0, 0.01]])
    mined = multi_similarity_pairs(z, labels=torch.tensor([0, 0, 1, 1]))
    assert [len(index) for index in mined] == [0, 0, 0, 0]
    assert multi_similarity(z, pairs=mined).item() == 0


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [0]])
def test_an_anchor_that_lacks_a_kind_of_pair_gives_none(labels):
    mined = multi_similarity_pairs(normal(len(labels), 2), labels=torch.tensor(labels), epsilon=2)
    assert [len(index) for index in mined] == [0, 0, 0, 0]


def test_a_wide_margin_keeps_all_pairs_and_so_the_loss_of_labels():
    z, labels = normal(6, 3), torch.tensor([0, 0, 1, 1, 1, 0])
    mined = multi_similarity_pairs(z, labels=labels, epsilon=2.5)
    torch.testing.assert_close(multi_similarity(z, pairs=mined), multi_similarity(z, labels=labels))


def test_pairs_with_a_reference_are_its_indices():
    z, columns, names = normal(4, 3), normal(6, 3, seed=1), torch.tensor([0, 0, 1, 1, 2, 2])
    mined = multi_similarity_pairs(z, labels=torch.tensor([0, 1, 2, 5]), reference=columns, reference_labels=names)
    a1, p, a2, n = mined
    assert (names[p] == torch.tensor([0, 1, 2, 5])[a1]).all()
    assert (names[n] != torch.tensor([0, 1, 2, 5])[a2]).all()
    assert 3 not in a1.tolist() + a2.tolist()
    assert multi_similarity(z, pairs=mined, reference=columns).isfinite()


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="epsilon must be >= 0"):
        multi_similarity_pairs(normal(7, 3), labels=LABELS, epsilon=-1)
