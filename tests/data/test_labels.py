import numpy as np
import pytest

from nearfar.data.labels import Column, encode, groups


def test_a_column_holds_each_different_cell_once():
    column = Column(["b", "a", "b", None, "a"])
    assert column.values == ["b", "a", None]
    assert list(column) == ["b", "a", "b", None, "a"]
    assert column.numbers.tolist() == [0, 1, 0, 2, 1]


def test_cells_that_a_file_keeps_as_numbers_are_as_written():
    assert list(Column([1.0, 2, float("nan"), True, 0.5])) == ["1", "2", None, "True", "0.5"]


def test_a_column_is_compared_without_spaces_around_it():
    assert Column([" train", "test", None, "train "]).is_("train").tolist() == [True, False, False, True]
    assert Column().is_("train").shape == (0,)


@pytest.mark.parametrize(("cells", "said"), [([], False), ([None, ""], False), ([None, "x"], True)])
def test_a_column_of_nothing_says_nothing(cells, said):
    assert Column(cells).says_anything is said


def test_numbers_are_class_numbers_where_names_are_given():
    codes, names = encode(Column([1, 0, 7, None]), ["cat", "dog"])
    assert codes.tolist() == [1, 0, -1, -1]
    assert names == ("cat", "dog")


def test_numbers_with_zeros_in_front_are_names():
    assert encode(Column(["010", "9", "10"]))[1] == ("010", "10", "9")


def test_groups_of_missing_cells_are_all_different():
    found = groups(Column(["g", None, "g", "", "-1"]))
    assert found[0] == found[2]
    assert len(np.unique(found)) == 4
    assert groups(Column([None, ""])) is None
