import logging

import pytest

from nearfar.data.labels import are_measurements, classes, groups
from nearfar.data.values import DictionaryBuilder


def column(*cells):
    return DictionaryBuilder(cells).finish()


@pytest.mark.parametrize(
    ("cells", "codes", "names"),
    [
        (["10", "9", None], [1, 0, -1], ("9", "10")),
        (["010", "9", "10"], [0, 2, 1], ("010", "10", "9")),
        (["1", "-1", "1"], [1, 0, 1], ("-1", "1")),
        (["0", "-1"], [1, 0], ("-1", "0")),
        (["-2", "-1", "3"], [0, 1, 2], ("-2", "-1", "3")),
        (["-1", "0", "1"], [-1, 0, 1], ("0", "1")),
        (["cat", "-1"], [0, -1], ("cat",)),
        (["x", "x"], [0, 0], ("x",)),
        (["9007199254740993", "9007199254740992"], [1, 0], ("9007199254740992", "9007199254740993")),
        (["-1", None], None, ()),
        ([None], None, ()),
        ([], None, ()),
    ],
)
def test_classes_are_numbered_in_their_order_and_minus_one_is_one_unless_it_says_none(cells, codes, names):
    found = classes(column(*cells))
    assert (None if found[0] is None else found[0].tolist(), found[1]) == (codes, names)


def test_numbers_are_class_numbers_where_names_are_given():
    codes, names = classes(column("1", "0", "7", "-1", None), ["cat", "dog"])
    assert (codes.tolist(), names) == ([1, 0, -1, -1, -1], ("cat", "dog"))


def test_labels_that_are_left_out_are_counted(caplog):
    caplog.set_level(logging.WARNING, "nearfar")
    classes(column("0", "1", "-1", "-1"), what="d: column 'label'")
    assert "d: column 'label': 2 of 4 are -1, which is taken for none given" in caplog.text


def test_groups_of_missing_cells_are_all_different():
    found = groups(column("g", None, "g", None)).tolist()
    assert found[0] == found[2]
    assert len(set(found)) == 3
    assert groups(column(None)) is None


@pytest.mark.parametrize(
    ("cells", "many", "measured"),
    [
        (["0.5", "1"], False, True),
        (["0", "1"], True, False),
        (map(str, range(40)), True, True),
        (map(str, range(40)), False, False),
        ((str(i % 40) for i in range(200)), True, False),
        (["a", "0.5"], True, False),
    ],
)
def test_fractions_and_many_different_numbers_are_measurements(cells, many, measured):
    assert are_measurements(column(*cells), many=many) is measured
