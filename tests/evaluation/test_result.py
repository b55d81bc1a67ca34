import json

import pytest

from nearfar.diagnostics import Geometry
from nearfar.errors import DataError
from nearfar.evaluation import Evaluation, Interval, Row


def small():
    value = Interval(0.5, 0.4, 0.6, "bootstrap over test samples", 10)
    return Evaluation(
        "protocol",
        ["a", "b"],
        [Row("a", "knn", 20, None, value, value), Row("b", "knn", 20, None, value)],
        {"b": {"mrr": value}},
        {"b": Geometry(10, 3, 2.0, -1.0, 0.1, 0.0)},
        chance=0.5,
    )


def test_json_comes_back_equal():
    assert Evaluation.from_json(json.loads(json.dumps(small().to_json(), allow_nan=False))) == small()


def test_not_finite_values_become_null():
    found = small()
    found.seconds = float("nan")
    assert found.to_json()["seconds"] is None


def test_json_holds_the_verdict():
    assert small().to_json()["verdict"]["level"] == small().verdict()[0]


@pytest.mark.parametrize("plain", [{}, {"format": 99}])
def test_other_formats_are_refused(plain):
    with pytest.raises(DataError, match="cannot be read"):
        Evaluation.from_json(plain)


def test_damage_is_explained():
    plain = small().to_json()
    del plain["rows"]
    with pytest.raises(DataError, match="damaged"):
        Evaluation.from_json(plain)
