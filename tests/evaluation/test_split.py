import pytest
import torch

from nearfar.errors import ConfigError, DataError
from nearfar.evaluation.split import Split, stratified_split

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


def test_split_of_one_set_keeps_vectors_with_their_labels():
    found = Split.of(LABELS[:, None].float(), LABELS)
    assert torch.equal(found.train[:, 0].long(), found.train_labels)
    assert torch.equal(found.test[:, 0].long(), found.test_labels)


def test_mistakes_are_explained():
    with pytest.raises(ConfigError, match="share must be in"):
        stratified_split(LABELS, share=1.0)
    with pytest.raises(DataError, match="The test vectors must be"):
        Split(torch.ones(3, 2), torch.ones(3), torch.ones(3, 2), torch.ones(2))
    with pytest.raises(DataError, match="2 wide, test vectors 4"):
        Split(torch.ones(3, 2), torch.ones(3), torch.ones(3, 4), torch.ones(3))
