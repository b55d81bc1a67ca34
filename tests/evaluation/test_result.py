import json
from pathlib import Path

import pytest

from nearfar.errors import DataError
from nearfar.evaluation import Evaluation
from nearfar.evaluation.task import RAW, UNTRAINED
from tests.evaluation.systems import evaluation

OLD = Path(__file__).parents[1] / "data_format_1"


def some():
    return evaluation({"kNN": {RAW: 0.1, UNTRAINED: 0.2}})


def test_not_finite_values_become_null():
    found = some()
    found.seconds = float("nan")
    assert found.to_json()["seconds"] is None


def test_json_holds_the_verdict():
    kept = some().to_json()["verdict"]
    assert kept["level"] == "good"
    assert kept["sentence"] == str(some().verdict())
    assert [one["answer"] for one in kept["statements"]] == ["yes", "yes", "yes"]


@pytest.mark.parametrize("plain", [{}, {"format": 99}])
def test_other_formats_are_refused(plain):
    with pytest.raises(DataError, match="cannot be read"):
        Evaluation.from_json(plain)


@pytest.mark.parametrize("number", [1, 2])
def test_damage_is_explained(number):
    plain = some().to_json() if number == 2 else json.loads((OLD / "table" / "evaluation.json").read_text())
    del plain["rows"]
    with pytest.raises(DataError, match="damaged"):
        Evaluation.from_json(plain)


@pytest.mark.parametrize(("name", "linear"), [("digits", 0.8), ("table", 0.8333333333333334)])
def test_format_1_is_read(name, linear):
    plain = json.loads((OLD / name / "evaluation.json").read_text())
    found = Evaluation.from_json(plain)
    assert found.linear is not None
    assert found.linear.mean == next(
        row["accuracy"]["mean"]
        for row in plain["rows"]
        if (row["system"], row["probe"], row["labels_per_class"]) == ("trained encoder", "linear", None)
    )
    assert found.retrieval["map@r"].mean == plain["retrievals"]["trained encoder"]["map@r"]["mean"]
    assert found.label_free["effective rank"].mean == plain["geometries"]["trained encoder"]["effective_rank"]
    assert len(found.judged("raw input")) == 7
    assert found.verdict().level in ("bad", "unclear")
    assert Evaluation.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found
    assert "accuracy" in str(found)
