"""Separated values as spreadsheets, pandas, R and people write them: header, separator, decimal sign."""

import csv
import io

import numpy as np
import pytest

from nearfar.data.dialect import find_dialect, plain_number
from nearfar.errors import DataError
from nearfar.modalities import registry
from nearfar.modalities.opening import open_source

KNOWN = {"path", "label", "split"}
RNG = np.random.default_rng(0)
FLOATS, INTS = RNG.normal(size=(40, 4)), RNG.integers(0, 9, size=(40, 4))
NUMBERS = {
    "floats": FLOATS,
    "ints": INTS,
    "sorted": np.sort(FLOATS, axis=0),
    "climbing floats": np.cumsum(abs(FLOATS), axis=1),
    "climbing ints": np.cumsum(INTS + 1, axis=1),
}


def found(tmp_path, text, name="t.csv", encoding="utf-8"):
    (tmp_path / name).write_bytes(text.encode(encoding))
    return find_dialect(tmp_path / name, KNOWN)


def table(rows, header=None, index=False):
    """As `DataFrame.to_csv` writes it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header is not None:
        writer.writerow([*([""] if index else []), *header])
    writer.writerows([*([i] if index else []), *row] for i, row in enumerate(rows.tolist()))
    return text.getvalue()


@pytest.mark.parametrize("rows", list(NUMBERS), ids=str)
@pytest.mark.parametrize("index", [False, True], ids=["", "index"])
@pytest.mark.parametrize(
    "header", [range(4), [2019, 2020, 2021, 2022], [400.5, 410.5, 420.5, 430.5], [2010, 2015, 2022, 2023]], ids=str
)
def test_a_header_of_numbers_is_a_header(tmp_path, rows, index, header):
    names = tuple(map(str, header))
    assert found(tmp_path, table(NUMBERS[rows], header, index)).names == (("",) if index else ()) + names


@pytest.mark.parametrize("rows", list(NUMBERS), ids=str)
def test_rows_of_numbers_are_no_header(tmp_path, rows):
    dialect = found(tmp_path, table(NUMBERS[rows]))
    assert (dialect.has_header, dialect.names, dialect.skip) == (False, ("0", "1", "2", "3"), 0)


@pytest.mark.parametrize(
    "text",
    [
        "1.5,2\n2.5,3\n",
        "0,1\n0,2\n1,2\n2,3\n",
        "5.1,3.5,Iris-setosa\n4.9,3,Iris-setosa\n6,3,Iris-virginica\n",
        "39, State-gov, 77516\n50, Self, 83311\n38, State-gov, 215646\n",
        "A plane.,An air plane.,5.0\nB.,C.,3.0\nD.,E.,1.0\n",
        "img/1.png,cat\nimg/2.png,dog\nimg/3.png,cat\n",
        "p,x,s\ne,x,s\np,b,y\n",
        "2020-01-01,1.5\n2020-01-02,2.5\n",
        "Mazda,21.0\nDatsun,22.8\nHornet,18.7\nValiant,18.1\n",
    ],
)
def test_a_first_row_of_data_is_no_header(tmp_path, text):
    assert not found(tmp_path, text).has_header


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("class,shape\np,x\ne,x\np,x\ne,b\n", ("class", "shape")),
        ("country,2019,2020\n" + "".join(f"c{i},{60 + i},{70 + i % 7}\n" for i in range(20)), None),
        ("path\na.jpg\nb.jpg\n", ("path",)),
        ("name,2020\nFrance,67\nItaly,60\nSpain,47\nMalta,1\n", ("name", "2020")),
        ("path,1\na.jpg,2\n", ("path", "1")),
        ("a,b\n", ("a", "b")),
        ("x,y\n1,2\nx,y\n3,4\n", ("x", "y")),
        ('"","a","b"\n"1",1,2\n', ("", "a", "b")),
        ("a b,c\nx,1,2\ny,3,4\n", ("", "a b", "c")),
        ("a,b\n1,2,\n3,4,\n", ("a", "b", "")),
        ('\n\n"a\nz",b\n1,2\n', ("a\nz", "b")),
        ('a,"b\n1,2\n3,4\n', ("a", '"b')),
        ("'a','b'\n'1','2'\n", ("a", "b")),
        ('"a \\"x\\", y","b"\n"1","2"\n', ('a "x", y', "b")),
    ],
)
def test_names_over_what_they_name_are_a_header(tmp_path, text, names):
    assert found(tmp_path, text).names == (names or ("country", "2019", "2020"))


@pytest.mark.parametrize(
    ("text", "separator", "decimal"),
    [
        ("a;b\n1,5;2\n", ";", ","),
        ("1,5;2,5\n2,25;3,75\n3,125;4\n", ";", ","),
        ("a;b\n1.234,5;2\n2.300,1;3\n", ";", ","),
        ("a;b\n1.5;2\n2.25;3\n", ";", "."),
        ("a;b\n1.234;5.678\n", ";", "."),
        ('a,b\n"1,234.5",2\n"2,300.1",3\n', ",", "."),
        ('a,b\n"1,5",2\n"2,5",3\n', ",", ","),
        ("a\tb\n1\tx, y\n", "\t", "."),
        ("a|b\n1|x, y\n2|z\n", "|", "."),
        ("sep=;\na;b\n1;2\n", ";", "."),
        ("name;value\nx, y;1\nz, w;2\n", ";", "."),
    ],
)
def test_separator_and_decimal_sign_are_those_that_fit_all_cells(tmp_path, text, separator, decimal):
    dialect = found(tmp_path, text)
    assert (dialect.separator, dialect.decimal) == (separator, decimal)


ROWS = "a,b,c\n1,2,x\n3,4,y\n5,6,x\n"


@pytest.mark.parametrize(
    "before",
    ["# by X\n", "# by X\n# a, b\n#\n", "My export of 2020\n\n", "My export\nby X\n", "My export,,\n,,\n", '"A, b"\n'],
)
def test_comments_and_titles_before_a_table_are_passed_over(tmp_path, before):
    dialect = found(tmp_path, before + ROWS)
    assert (dialect.names, dialect.skip) == (("a", "b", "c"), before.count("\n") + 1)
    assert dialect.before == before.count("\n")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("#a,b,c\n1,2,x\n3,4,y\n", ("#a", "b", "c")),
        ("path\na b, c, d.jpg\ne, f, g.jpg\n", ("path",)),
        ('"a\nz",b,c\n1,2,x\n3,4,y\n', ("a\nz", "b", "c")),
        ("a,,\n1,2,\n3,4,\n", ("a", "", "")),
    ],
)
def test_a_header_is_no_comment_and_no_title(tmp_path, text, names):
    assert found(tmp_path, text).names == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('"a" "b" "l"\n"1" 1.5 2 "x"\n"2" 2.5 3 "y"\n', ("", "a", "b", "l")),
        ("a b l\n1.5 2 x\n2.5 3 y\n", ("a", "b", "l")),
        ("n\n1 234\n2 345\n", ("n",)),
        ("text\nit is so\nit was so\n", ("text",)),
    ],
)
def test_spaces_separate_numbers_and_not_words(tmp_path, text, names):
    assert found(tmp_path, text).names == names


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_of_spreadsheets_are_read(tmp_path, encoding):
    assert found(tmp_path, "größe,label\n1,é\n", encoding=encoding).names == ("größe", "label")


@pytest.mark.parametrize(
    ("cell", "decimal", "plain"),
    [
        ("1.234,5", ",", "1234.5"),
        ("1.5", ",", "1.5"),
        ("-1,5e3", ",", "-1.5e3"),
        ("1,234,567.8", ".", "1234567.8"),
        ("1 234", ".", "1234"),
        ("1\u00a0234,5", ",", "1234.5"),
        ("1'234.5", ".", "1234.5"),
        ("12 34", ".", "12 34"),
        ("1,23", ".", "1,23"),
        ("a,b", ",", "a,b"),
    ],
)
def test_marks_between_thousands_are_taken_out(cell, decimal, plain):
    assert plain_number(cell, decimal) == plain


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "the file is empty"), ("\0\1,\0\n", "not text"), (f"a,{'x' * 200_000}\n1,2\n", "its header is no row")],
)
def test_what_is_no_table_is_refused(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        found(tmp_path, text)


def test_a_broken_character_in_a_row_of_a_wrong_length_costs_that_row(tmp_path):
    (tmp_path / "odd.csv").write_bytes(b"a,b,label\n1,2,x\n3,4,y\n5,6,y,\xed\xb2\x80z\n7,8,x\n")
    found = open_source(registry.load("table"), str(tmp_path / "odd.csv"))
    assert len(found) == 3
    assert [one.key for one in found.skipped] == ["odd.csv#2"]
