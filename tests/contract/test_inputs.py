"""Inputs: a tensor, and a mapping of tensors, are counted, cut, joined and told apart alike."""

import pytest
import torch

from nearfar.contract import inputs

TENSOR = torch.arange(12.0).view(4, 3)
MAPPING = {"ids": torch.arange(8).view(4, 2), "length": torch.tensor([1, 2, 3, 4])}


@pytest.mark.parametrize("x", [TENSOR, MAPPING], ids=["tensor", "mapping"])
def test_samples_are_counted_cut_picked_and_put_together_again(x):
    assert inputs.count(x) == 4
    parts = [inputs.part(x, 0, 1), inputs.part(x, 1, 4)]
    assert [inputs.count(part) for part in parts] == [1, 3]
    for same in (
        inputs.join(parts),
        inputs.stack(inputs.unstack(x)),
        inputs.take(x, torch.arange(4)),
        inputs.move(x, "cpu"),
    ):
        assert inputs.signature(same) == inputs.signature(x)
        assert [inputs.digest(one) for one in inputs.unstack(same)] == [inputs.digest(one) for one in inputs.unstack(x)]
    picked = inputs.unstack(inputs.take(x, torch.tensor([3, 0])))
    assert [inputs.digest(one) for one in picked] == [inputs.digest(inputs.unstack(x)[i]) for i in (3, 0)]
    assert inputs.join([x]) is x


def test_signatures_tell_names_types_and_shapes_apart_and_not_how_many():
    others = [MAPPING, TENSOR.double(), TENSOR[:, :2], {"ids": MAPPING["ids"]}, {**MAPPING, "length": TENSOR}]
    assert len({inputs.signature(x) for x in (TENSOR, *others)}) == 6
    assert inputs.signature(TENSOR[:1]) == inputs.signature(TENSOR)
    assert inputs.signature(dict(reversed(MAPPING.items()))) == inputs.signature(MAPPING)


def test_digests_are_those_of_the_content_and_never_row_numbers():
    same = {name: values.clone() for name, values in MAPPING.items()}
    assert inputs.digest(MAPPING) == inputs.digest(same) < 0
    same["length"][0] = 9
    assert inputs.digest(MAPPING) != inputs.digest(same)
