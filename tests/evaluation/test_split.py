import numpy as np
import pytest
import torch

from nearfar.errors import ConfigError
from nearfar.evaluation.split import grouped_split, linked_split, stratified_split

LABELS = torch.tensor([0] * 50 + [1] * 10 + [2] * 2 + [3] + [-1] * 7)[
    torch.randperm(70, generator=torch.Generator().manual_seed(3))
]


def test_every_labelled_row_is_on_one_side():
    train, test = stratified_split(LABELS)
    assert sorted([*train.tolist(), *test.tolist()]) == (LABELS >= 0).nonzero().flatten().tolist()


def test_each_class_gives_its_share():
    _, test = stratified_split(LABELS)
    assert torch.bincount(LABELS[test], minlength=4).tolist() == [10, 2, 1, 0]


def test_the_seed_decides():
    assert torch.equal(stratified_split(LABELS)[1], stratified_split(LABELS)[1])
    assert not torch.equal(stratified_split(LABELS)[1], stratified_split(LABELS, seed=1)[1])


def test_mistakes_are_explained():
    with pytest.raises(ConfigError, match="share must be in"):
        stratified_split(LABELS, share=1.0)


def test_groups_stand_on_one_side_and_classes_on_both():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(600) % 3
    groups = torch.randint(0, 120, (600,), generator=generator) * 3 + labels
    groups[labels == 2] = 1000 + torch.arange(200) // 90  # a class of three groups of up to 90
    labels[:5] = -1
    train, test = grouped_split(labels, groups)
    assert not set(groups[train].tolist()) & set(groups[test].tolist())
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(5, 600))
    shares = [int((labels[test] == c).sum()) / int((labels == c).sum()) for c in range(3)]
    assert shares[:2] == pytest.approx([0.2, 0.2], abs=0.01)
    assert 0 < shares[2] < 0.2


def test_without_copies_a_grouped_split_has_the_shares_of_a_stratified_one():
    for splitter in (stratified_split, lambda labels: grouped_split(labels, torch.arange(70))):
        assert torch.bincount(LABELS[splitter(LABELS)[1]], minlength=4).tolist() == [10, 2, 1, 0]


def test_rows_that_have_something_in_common_stand_on_one_side() -> None:
    links = np.stack([np.arange(300) // 2, 1000 + np.arange(300) // 3], axis=1)  # chains of six
    first, second = linked_split(links, seed=1)
    assert len(first) + len(second) == 300
    assert 40 <= len(second) <= 60
    assert not set(links[first].ravel().tolist()) & set(links[second].ravel().tolist())


def test_where_all_hang_together_only_equal_rows_do() -> None:
    links = np.stack([np.zeros(100, dtype=np.int64), np.arange(100) // 2], axis=1)
    first, second = linked_split(links)
    assert len(second) == 20
    assert not set(links[first, 1].tolist()) & set(links[second, 1].tolist())
