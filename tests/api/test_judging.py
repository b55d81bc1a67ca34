"""The parts of the data that judge."""

import pytest

from nearfar.api.judging import parts_of


@pytest.mark.parametrize(
    ("splits", "train", "test"),
    [
        (["test", "train", "val"], "d:train", "d:test"),
        (["Train", "VAL"], "d:Train", "d:VAL"),
        (["training_set", "test_set"], "d:training_set", "d:test_set"),
        (["dev", "train"], "d:train", "d:dev"),
        (["evaluation", "train"], "d:train", "d:evaluation"),
        (["train"], "d", None),
        ([], "d", None),
    ],
)
def test_the_own_test_part_is_found_by_any_of_its_names(splits: list[str], train: str, test: str | None) -> None:
    assert parts_of("d", splits) == (train, test)
