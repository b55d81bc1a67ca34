import json

import pytest
import torch

from nearfar.errors import ConfigError, DataError
from nearfar.evaluation import Evaluation, Row, Task, TaskData, Vectors, judge_systems
from nearfar.evaluation.intervals import figure
from nearfar.evaluation.task import describe
from nearfar.evaluation.tasks import load
from nearfar.evaluation.tasks.classify import draws_of, shares_of
from tests.evaluation.systems import CLASSES, blobs, data_of, labels


@pytest.fixture(scope="module")
def found():
    systems = {"raw input": blobs(2.0), "untrained encoder": blobs(3.0), "trained encoder": blobs(0.5)}
    return judge_systems(systems, data_of())


def test_every_figure_is_there_for_every_system(found):
    judged = [rows for rows in found.figures(["judged"])]
    assert all(list(rows) == found.systems for rows in found.figures())
    assert [(row := rows["raw input"]).metric + " " + describe(row.setting) for rows in judged] == [
        "accuracy kNN, k = 1, 1 label per class",
        "accuracy linear, 1 label per class",
        "accuracy kNN, k = 5, 5 labels per class",
        "accuracy linear, 5 labels per class",
        "accuracy kNN, k = 20, all labels",
        "accuracy kNN, k = 200, all labels",
        "accuracy linear, all labels",
        "precision@1 ",
        "map@r ",
    ]


def test_intervals_are_of_the_stated_kind(found):
    kinds = {(row.setting["labels per class"] == "all", row.value.kind) for row in found.rows if row.task == "classify"}
    assert kinds == {(False, "t over label draws and test samples"), (True, "bootstrap over test samples")}


def test_headline_figures_are_those_of_the_last_system(found):
    assert found.knn.mean > 0.95
    assert found.linear.mean > 0.95
    assert found.retrieval["precision@1"].mean > 0.9
    assert found.label_free["effective rank"].mean > 3
    assert found.knn == found.find("accuracy", "trained encoder", probe="kNN", k=20).value
    assert found.find("accuracy", labels_per_class=7) is None


def test_a_lead_is_the_difference_of_the_values(found):
    for rows in found.figures(["judged"]):
        for row in list(rows.values())[:-1]:
            assert row.lead.mean == pytest.approx(rows["trained encoder"].value.mean - row.value.mean)
        assert rows["trained encoder"].lead is None


def test_a_better_encoder_is_good_and_a_worse_one_bad(found):
    assert found.verdict().level == "good"
    assert judge_systems({"raw input": blobs(0.5), "trained encoder": blobs(3.0)}, data_of()).verdict().level == "bad"


def test_equal_systems_are_neither_ahead_nor_behind():
    same = judge_systems({"raw input": blobs(1.0), "b": blobs(1.0)}, data_of(draws=5))
    assert {row.outcome for row in same.judged("raw input")} == {"unclear"}
    assert same.verdict().level == "unclear"


def test_chance_is_that_of_the_most_frequent_class_or_of_a_random_ranking(found):
    assert {row.chance for row in found.rows if row.task == "classify"} == {0.25}
    assert found.find("precision@1").chance == pytest.approx(29 / 119)


def test_json_is_strict_and_comes_back(found):
    again = Evaluation.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert again == found
    assert again.verdict() == found.verdict()


def test_worst_classes_and_confused_pairs_are_listed():
    train, test = labels()
    x = torch.eye(8)[train], torch.eye(8)[torch.where(test == 2, 3, test)]  # every owl looks like a pig
    classes, confused = judge_systems({"a": Vectors(*x)}, data_of(draws=2)).listings
    assert classes.lines[0] == ["owl", 0.0, 30]
    assert confused.lines == [["owl", "pig", 30, 1.0]]


@pytest.mark.parametrize("vectors", [(torch.full((160, 5), 0.3), torch.full((120, 5), 0.3)), None])
def test_what_knows_nothing_scores_what_chance_does(vectors):
    generator = torch.Generator().manual_seed(1)
    made = vectors or tuple(torch.randn(n, 6, generator=generator) for n in (160, 120))
    found = judge_systems({"trained encoder": Vectors(*made)}, data_of(draws=10))
    assert all(row.value.mean == pytest.approx(0.25, abs=0.12) for row in found.rows if row.task == "classify")
    assert found.verdict().level == "bad"
    collapsed = "100 % of its dimensions never change" in found.verdict().headline
    assert collapsed == (vectors is not None)


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_draws_are_balanced_and_nested(seed):
    drawn = draws_of(torch.tensor([0] * 9 + [2] * 6), (1, 5), 4, seed=seed)
    for one, five in zip(drawn[1], drawn[5], strict=True):
        assert torch.tensor([0] * 9 + [2] * 6)[five].tolist() == [0] * 5 + [2] * 5
        assert set(one.tolist()) < set(five.tolist())
    assert len({tuple(d.tolist()) for d in drawn[5]}) == 4


def test_draws_in_all_hold_of_every_class_its_share_and_are_nested():
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 5)
    drawn = shares_of(labels, (10, 40), 4, seed=0)
    for ten, forty in zip(drawn[10], drawn[40], strict=True):
        assert torch.bincount(labels[ten]).tolist() == [5, 3, 2]
        assert torch.bincount(labels[forty]).tolist() == [25, 13, 2]
        assert set(ten.tolist()) < set(forty.tolist())


def test_numbers_of_labels_in_all_have_rows_of_their_own():
    data = data_of(draws=3)
    data.few_in_all = (12, 10_000)
    found = judge_systems({"a": blobs(2.0), "b": blobs(0.3)}, data)
    rows = [row for row in found.rows if row.setting.get("labels") == 12]
    assert [(row.system, row.setting["probe"]) for row in rows] == [
        ("a", "kNN"), ("b", "kNN"), ("a", "linear"), ("b", "linear")
    ]  # fmt: skip
    assert describe(rows[-1].setting) == "linear, 12 labels"
    assert rows[-1].value.mean > rows[2].value.mean
    assert any("No row with 10000 labels in all" in note for note in found.notes)
    assert "strength chosen by 5-fold cross-validation" in found.protocol


def test_what_few_or_missing_labels_leave_out_is_said():
    train, test = labels()
    train[(train == 2).nonzero().flatten()[3:]] = -1
    found = judge_systems({"a": blobs(1.0)}, TaskData(train, test, CLASSES, draws=3))
    assert {row.setting["labels per class"] for row in found.rows if row.task == "classify"} == {1, "all"}
    assert "No row with 5 labels per class: 'owl' has 3 training samples." in found.notes
    assert "Unlabelled and left out: 37 train and 0 test samples." in found.notes
    few = judge_systems({"a": blobs(0.1, train=12, test=20)}, data_of(12, 20, draws=3))
    assert "There are only 12 training samples: kNN with k = 20 lets all of them vote." in few.notes
    assert "There are only 20 test samples: the intervals are rough." in few.notes
    assert any("Too few labels per class to choose the strength" in note for note in few.notes)


def test_test_labels_never_trained_on_are_wrong_and_said():
    train, test = labels()
    found = judge_systems({"a": blobs(0.1)}, TaskData(torch.where(train == 3, -1, train), test, CLASSES, draws=3))
    assert found.linear.mean == pytest.approx(0.75)
    assert "30 test samples have labels that no training sample has; they count as wrong." in found.notes


def test_one_class_and_one_test_sample_do_not_break():
    one = Vectors(torch.randn(6, 3), torch.randn(1, 3))
    found = judge_systems({"a": one, "b": one}, TaskData(torch.zeros(6), torch.zeros(1), ["only"], draws=2))
    assert found.linear.mean == 1
    assert "No retrieval: no two test samples share a label." in found.notes
    json.dumps(found.to_json(), allow_nan=False)


def test_half_precision_vectors_are_taken():
    full = blobs(0.2)
    half = Vectors(full.train.half(), full.test.half())
    assert judge_systems({"a": half}, data_of(draws=2)).knn.mean > 0.95


def test_without_labels_views_are_judged():
    def views(noise):
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(300, 8, generator=generator)
        return x, x + noise * torch.randn(300, 8, generator=generator)

    def level(before, after):
        pairs = {"untrained encoder": views(before), "trained encoder": views(after)}
        systems = {name: Vectors(pair[0]) for name, pair in pairs.items()}
        return judge_systems(systems, TaskData(views=pairs)).verdict()

    assert [level(*noises).level for noises in ((1.0, 0.2), (0.5, 0.5), (0.2, 1.0))] == ["good", "unclear", "bad"]
    assert "Without labels of two classes nothing can be said about accuracy." in str(level(1.0, 0.2))


def test_without_labels_or_views_nothing_is_claimed():
    bare = judge_systems({"a": Vectors(torch.randn(50, 4)), "b": Vectors(torch.randn(50, 4))}, TaskData())
    assert bare.verdict().level == "unclear"
    broken = judge_systems({"a": Vectors(torch.full((50, 4), torch.nan))}, TaskData())
    assert json.dumps(broken.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (torch.full((30, 4), 0.3), "never change"),
        (torch.zeros(30, 4), "never change"),
        (torch.full((30, 4), torch.nan), "not finite"),
        (torch.ones(30, 4) + 0.01 * torch.randn(30, 4), "point the same way"),
        (torch.randn(30, 1) * torch.ones(1, 4), "effective rank is 1.0 of 4"),
        (torch.randn(100, 8), None),
    ],
)
def test_collapse_is_a_fault(x, words):
    faults = [row.fault for row in judge_systems({"a": Vectors(x)}, TaskData()).rows if row.fault]
    assert [words in fault for fault in faults] == ([] if words is None else [True])


class Length(Task):
    """A task of a user's own: no verdict, table or page knows it."""

    name = "length"

    def applies(self, data):
        return True

    def protocol(self, data):
        return "Mean length."

    def run(self, systems, data):
        return [
            Row(name, "length", "mean length", {"norm": 2}, figure(float(x.train.norm(dim=1).mean()), 1), share=False)
            for name, x in systems.items()
        ]


def test_a_task_of_ones_own_goes_through_table_and_json():
    found = judge_systems({"a": blobs(1.0), "b": blobs(2.0)}, data_of(draws=2), [*load(["retrieve"]), Length()])
    assert "mean length" in str(found)
    assert "Mean length." in found.protocol
    assert Evaluation.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: judge_systems({}, data_of()), DataError, "no system was given"),
        (
            lambda: judge_systems({"a": blobs(1.0)}, TaskData(*labels(), ["x"])),
            DataError,
            "The train labels hold 3, but there are 1 classes",
        ),
        (lambda: judge_systems({"a": blobs(1.0)}, data_of(draws=1)), ConfigError, "draws must be >= 2"),
        (lambda: judge_systems({"a": blobs(1.0)}, data_of(few=(0,))), ConfigError, "few must hold"),
        (
            lambda: judge_systems({"a": blobs(1.0), "b": blobs(1.0, train=80)}, data_of()),
            DataError,
            "There are 160 train labels, but 80 train vectors of 'b'",
        ),
        (
            lambda: judge_systems({"bad": Vectors(torch.full((160, 2), torch.nan), torch.ones(120, 2))}, data_of()),
            DataError,
            "The vectors of 'bad' cannot be evaluated.",
        ),
        (
            lambda: judge_systems({"a": blobs(1.0)}, TaskData(-torch.ones(160), labels()[1], CLASSES)),
            DataError,
            "no labelled train samples",
        ),
        (lambda: Vectors(torch.ones(3, 2), torch.ones(2, 4)), DataError, "2 wide, test vectors 4"),
        (lambda: Vectors(torch.ones(3)), DataError, r"must be \[N, D\]"),
        (lambda: load(["clasify"]), ConfigError, "There is no task 'clasify'"),
    ],
)
def test_mistakes_are_explained(call, error, words):
    with pytest.raises(error, match=words):
        call()
