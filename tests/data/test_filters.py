"""Conditions on columns: what they mean, and that nothing of them is run."""

import datetime

import pyarrow as pa
import pytest

from nearfar.data.filters import matching
from nearfar.errors import ConfigError

ROWS = pa.table(
    {
        "label": ["rose", "tulip", None, "lily"],
        "n": [1, 2, 3, None],
        "split": pa.array(["train", "test", "test", "test"]).dictionary_encode(),
        "my col": [0.5, 1.5, 2.5, 3.5],
        "ok": [True, False, None, True],
        "day": [datetime.date(2024, 1, day) for day in (1, 2, 3, 4)],
        "text": ["The Big dog", "cat", "DOG", None],
    }
)


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ('split == "test" and label != "rose"', [1, 3]),
        ('split == "train" or n == 3', [0, 2]),
        ('not split == "test"', [0]),
        ("n > 1.5", [1, 2]),
        ("3 > n", [0, 1]),
        ("1 < n <= 3", [1, 2]),
        ("-1 < n", [0, 1, 2]),
        ('label in ["rose", "lily"]', [0, 3]),
        ('label not in ("rose",)', [1, 2, 3]),
        ('"dog" in text', [0, 2]),
        ("label is None", [2]),
        ("label == None", [2]),
        ("n is not None and n != 2", [0, 2]),
        ('column("my col") >= 2', [2, 3]),
        ("ok", [0, 3]),
        ("not ok", [1, 2]),
        ("ok == True", [0, 3]),
        ('day > "2024-01-02"', [2, 3]),
        ("text == text", [0, 1, 2]),
    ],
)
def test_a_condition_is_met_by_these_rows(condition, rows):
    assert matching(ROWS, condition).nonzero()[0].tolist() == rows


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ('lable == "x"', "no column 'lable'. Did you mean 'label'"),
        ("label == rose", "A text stands in quotes"),
        ("label == 3", "holds texts, 3 is something else: write '3' in quotes"),
        ('n == "3"', "'n' holds int64, '3' is something else"),
        ('day > "soon"', "'day' holds date32"),
        ("split", "compare it"),
        ("n < label", "cannot be met"),
        ("label ==", "not understood: write it such as"),
        ("", "not understood"),
        ('__import__("os").system("true")', "not understood"),
        ("label.upper() == 'A'", "not understood"),
        ("n + 1 == 2", "'n [+] 1' is not understood"),
        ("(lambda: 1)()", "not understood"),
        ('"a" in n', "only texts can hold a word"),
        ("(" * 900, "not understood"),
        ("x" * 3000, "at most 2000"),
    ],
)
def test_mistakes_are_explained_and_nothing_is_run(condition, words):
    with pytest.raises(ConfigError, match=words):
        matching(ROWS, condition)
