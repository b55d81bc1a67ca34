"""Recommend: full ranking without what was had, values by hand, what nobody can find."""

import math

import numpy as np
import pytest
import torch

from nearfar.contract import Relation, Source
from nearfar.data.contents import Nothing
from nearfar.data.samples import Samples
from nearfar.data.strings import Strings
from nearfar.evaluation.task import TaskData, Vectors
from nearfar.evaluation.tasks.recommend import Recommend


class Things(Source):
    def __init__(self, keys, relation=None):
        super().__init__(
            Samples(name="things", keys=Strings.of(keys), contents=Nothing(len(keys)), rows=np.arange(len(keys)))
        )
        self._relation = relation

    @property
    def relation(self):
        return self._relation


def part(users, items, pairs):
    relation = Relation(Things(users), Things(items), *np.array(pairs).T, "the last of each user's")
    return Things([f"{i}" for i in range(len(pairs))], relation)


def judged(scores, train, test):
    """The values by metric of a system whose scores of users [U] and items [I] of the training part are these."""
    users, items = torch.from_numpy(np.array(scores, dtype=np.float32)), torch.eye(len(scores[0]))

    def embed(source):
        return users if len(source) == len(users) and source is train.relation.queries else items

    data = TaskData(train=train, test=test)
    task = Recommend()
    assert task.applies(data)
    rows = task.run({"one": Vectors(items, embed=embed)}, data)
    return {row.metric: row.value.mean for row in rows}, data


ITEMS = [f"i{n}" for n in range(5)]
TRAIN = part(["a", "b"], ITEMS, [(0, 0), (0, 1), (1, 0), (1, 2), (1, 3), (1, 4)])


def test_values_are_those_by_hand_and_what_was_had_is_left_out():
    test = part(["b", "a"], ["i4", "i1", "i2"], [(1, 0), (1, 2), (0, 1)])  # a: i4 and i2, b: i1
    found, _ = judged([[9, 8, 1, 2, 3], [9, 1, 5, 5, 5]], TRAIN, test)  # a is given i4, i3, i2; b i1
    ideal = 1 + 1 / math.log2(3)
    assert found["recall@20"] == 1
    assert found["NDCG@20"] == pytest.approx(((1 + 1 / 2) / ideal + 1) / 2)
    assert found["MRR"] == 1
    assert found["coverage@20"] == 1
    assert found["popularity@20"] > 0


def test_items_that_training_does_not_have_count_as_missed_and_unknown_users_are_left_out():
    test = part(["a", "new"], ["i4", "i9"], [(0, 0), (0, 1), (1, 0)])
    found, data = judged([[9, 8, 1, 2, 3], [9, 1, 5, 5, 5]], TRAIN, test)
    assert found["recall@20"] == 0.5
    assert [note.split()[0] for note in data.notes] == ["1", "1"]


def test_without_a_known_user_it_does_not_apply_and_says_so():
    data = TaskData(train=TRAIN, test=part(["new"], ["i4"], [(0, 0)]))
    assert not Recommend().applies(data)
    assert "No recommendation" in data.notes[0]
