"""The parts of the data that judge."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from nearfar.api.judging import hold_out, parts_of, split_off
from nearfar.evaluation import tasks
from nearfar.modalities.opening import open_source
from tests.toy import Digits


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


class Pairs(tasks.load(["label_free"])[0].__class__):  # type: ignore[misc]
    of_pairs = True


class DigitPairs(Digits):
    tasks: ClassVar = ("pairs",)


def test_a_fifth_of_the_pairs_is_taken_out_with_all_that_shows_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tasks.TASKS, "pairs", "tests.api.test_judging:Pairs")
    lines = [f"{i // 2},{100 + i // 3},{i % 5}" for i in range(60)]
    (tmp_path / "p.csv").write_text("\n".join(["string,positive,score", *lines]), encoding="utf-8")
    whole = open_source(DigitPairs(), str(tmp_path / "p.csv"))
    train, test = split_off(DigitPairs(), whole, None, 0)
    assert test is not None
    assert len(train) + len(test) == 60
    assert 6 <= len(test) <= 12

    def shown(part: object) -> set[str]:
        both = (part, part.positives)  # type: ignore[attr-defined]
        return {one.samples.bytes(i).decode() for one in both for i in range(len(one))}

    assert not shown(train) & shown(test)
    assert train.scores is not None
    assert train.scores.tolist() == [float(i % 5) for i in train.at]
    assert split_off(DigitPairs(), whole, "its own test part", 0)[1] is None
    assert split_off(Digits(), whole, None, 0)[1] is None


def test_no_group_stands_on_both_sides(tmp_path: Path) -> None:
    lines = [f"{i},{i % 3},{i // 8}" for i in range(96)]
    (tmp_path / "g.csv").write_text("\n".join(["string,label,group", *lines]), encoding="utf-8")
    source = open_source(Digits(), str(tmp_path / "g.csv"))
    held = hold_out(source, 0)
    assert held is not None
    assert 16 <= len(held) <= 24
    groups = source.groups
    assert groups is not None
    assert not set(groups[held]) & set(np.delete(groups, held))
