import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from nearfar.cli.output import columns
from nearfar.files import plain


@dataclass(frozen=True)
class Interval:
    mean: float
    bounds: tuple[float, float]
    _cache: int = 0


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (0.5, 0.5),
        (float("nan"), None),
        (float("inf"), None),
        (Path("a") / "b", "a/b"),
        (Interval(0.5, (0.4, 0.6)), {"mean": 0.5, "bounds": [0.4, 0.6]}),
        ({1: {"x": np.float32(0.5)}}, {"1": {"x": 0.5}}),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.int64(3), 3),
        (np.array([np.nan, 1.0]), [None, 1.0]),
    ],
)
def test_a_value_becomes_what_json_has(value, shown):
    assert plain(value) == shown
    json.dumps(plain(value), allow_nan=False)


def test_columns_are_aligned_and_none_is_left_empty():
    assert columns([("a", "long", None), ("bcd", "x", "end")]) == "a    long\nbcd  x     end"


def test_no_rows_are_no_text():
    assert columns([]) == ""
