import pytest
import torch

from nearfar.errors import ConfigError
from nearfar.evaluation.split import stratified_split

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
