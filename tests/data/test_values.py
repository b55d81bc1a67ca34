"""One spelling of a value, whatever holds it; numbers are never mistaken for one another."""

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pytest

from nearfar.data.values import DictionaryBuilder, encode, numbers, spelling

DAY = datetime.datetime(2020, 1, 1)
HALF = datetime.datetime(2020, 1, 1, 12, 0, 0, 500_000)
BIG = 9007199254740993
NOT_UTF8 = pa.Array.from_buffers(pa.string(), 2, pa.array([b"a\xe9", "é".encode()]).buffers())


@pytest.mark.parametrize(
    ("cells", "spelled"),
    [
        (pa.array(["True", "TRUE", "true ", "false"]), ["True", "True", "True", "False"]),
        (pa.array([True, None]), ["True", None]),
        (
            pa.array(["1", "1.0", "1.", "1.50", "-0", "007", "+7", "1e3"]),
            ["1", "1", "1", "1.50", "0", "007", "+7", "1e3"],
        ),
        (pa.array([1.0, 1e20, 1e-5, -0.0, float("nan"), None]), ["1", "1e+20", "1e-05", "0", None, None]),
        (pa.array([0.1, 2], pa.float32()), ["0.1", "2"]),
        (pa.array([0.5, 2], pa.float16()), ["0.5", "2"]),
        (pa.array([BIG, BIG + 1]), [str(BIG), str(BIG + 1)]),
        (pa.array([2**64 - 1], pa.uint64()), [str(2**64 - 1)]),
        (pa.array([decimal.Decimal("1.00"), decimal.Decimal("2.50")]), ["1", "2.50"]),
        (pa.array(["", " ", "?", "NA", "n/a", "NaN", "NULL", "<NA>", "#N/A", "none"]), [None] * 9 + ["none"]),
        (pa.array([DAY, HALF], pa.timestamp("ns")), ["2020-01-01", "2020-01-01 12:00:00.5"]),
        (pa.array([DAY], pa.timestamp("us", "UTC")), ["2020-01-01 00:00:00+00:00"]),
        (pa.array([DAY.date()]), ["2020-01-01"]),
        (
            pa.array(
                ["2020-01-01T00:00:00", "2020-01-01 12:00:00.500", "2020-01-01 00:00:00Z", "2020-01-01 01:00:00+0100"]
            ),
            ["2020-01-01", "2020-01-01 12:00:00.5", "2020-01-01 00:00:00+00:00", "2020-01-01 01:00:00+01:00"],
        ),
        (pa.array([b"caf\xe9", "é".encode(), None]), ["café", "é", None]),
        (NOT_UTF8, ["aé", "é"]),
        (pa.array(["a", None], pa.large_string()), ["a", None]),
        (pa.array(["a", None], pa.string_view()), ["a", None]),
        (pa.array([b"a", None], pa.binary_view()), ["a", None]),
        (pa.array([b"ab"], pa.binary(2)), ["ab"]),
        (pa.array([1, None, 1]).dictionary_encode(), ["1", None, "1"]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.chunked_array([["a"], ["b", None]]), ["a", "b", None]),
        (pa.ExtensionArray.from_storage(pa.json_(), pa.array(["x"])), ["x"]),
        (pa.nulls(2), [None, None]),
        (pa.array([], pa.string()), []),
        (pa.array([[1]]), None),
        (pa.array([{"a": 1}]), None),
    ],
    ids=lambda value: str(value.type)[:40] if hasattr(value, "type") else "",
)
def test_a_value_has_one_spelling(cells, spelled):
    found = encode(cells)
    assert (None if found is None else found.to_pylist()) == spelled
    if isinstance(cells, pa.StringArray) and cells is not NOT_UTF8:
        assert [spelling(cell) for cell, text in zip(cells.to_pylist(), spelled, strict=True) if text] == [
            text for text in spelled if text
        ]


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        (pa.array(["1.5", " 2 ", "+3", "x", "?", None, "inf"]), [1.5, 2, 3, np.nan, np.nan, np.nan, np.inf]),
        (pa.array([True, False, None]), [1, 0, np.nan]),
        (pa.array([2**63], pa.uint64()), [2.0**63]),
        (pa.array([decimal.Decimal("1.5")]), [1.5]),
        (pa.array([1, None], pa.int8()).dictionary_encode(), [1, np.nan]),
        (pa.chunked_array([["1"], ["2"]]), [1, 2]),
    ],
    ids=lambda value: str(value.type)[:40] if hasattr(value, "type") else "",
)
def test_cells_are_numbers_where_they_read_as_such(cells, wanted):
    np.testing.assert_array_equal(numbers(cells), np.array(wanted, dtype=np.float64))


def test_cells_taken_one_by_one_are_held_once_each():
    builder = DictionaryBuilder(["b", "a", None, "b"])
    builder.repeat("c", 2)
    assert builder.finish().to_pylist() == ["b", "a", None, "b", "c", "c"]
    assert builder.finish().dictionary.to_pylist() == ["b", "a", "c"]
    assert (builder.different, builder.at(1), builder.at(2)) == (3, "a", None)
    assert DictionaryBuilder([None]).finish().to_pylist() == [None]
