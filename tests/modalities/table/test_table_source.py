"""Tables as a source: what is an input, what is left out, and what the numbers become."""

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from nearfar.errors import DataError
from nearfar.modalities.table import MODALITY, TableOptions
from tests.modalities.table.opening import opened

Caplog = pytest.LogCaptureFixture


def written(folder: Path, text: str, name: str = "t.csv") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def lost(source: object) -> list[tuple[str, str]]:
    return [(one.key, one.reason) for one in source.skipped]  # type: ignore[attr-defined]


def test_numbers_are_standardised_and_categories_one_hot(tmp_path: Path) -> None:
    source = opened(written(tmp_path, "a,colour\n1,red\n3,blue\n5,red\n7,blue\n"))
    expected = torch.tensor([[-3.0, 0, 1], [-1, 1, 0], [1, 0, 1], [3, 1, 0]]) / torch.tensor([5**0.5, 1, 1])
    torch.testing.assert_close(source.vectors(), expected)


def test_missing_cells_stand_at_the_median_and_are_counted(tmp_path: Path) -> None:
    source = opened(written(tmp_path, "a,b\n1,1\n2,2\n?,3\n9,NA\n, \n4,nan\n"))
    assert source.missing == 3  # the row without any cell is no row
    a = source.columns[0]
    assert a.median == 3.0
    assert float(source.vectors()[2, 0]) == pytest.approx((3.0 - a.mean) * a.scale)
    assert lost(source) == [("t.csv#4", "no cell is filled")]


def test_a_category_that_is_missing_or_rare_is_all_zeros(tmp_path: Path) -> None:
    source = opened(written(tmp_path, "a,c\n1,x\n2,x\n3,y\n4,y\n5,?\n6,once\n"))
    assert source.columns[1].values == ("x", "y")
    assert source.vectors()[4:, 1:].abs().sum() == 0


def test_only_the_most_frequent_values_are_known(tmp_path: Path) -> None:
    rows = [f"{i},v{i:02}" for i in range(40)] * 2 + ["0,v39"] * 3
    values = opened(written(tmp_path, "a,c\n" + "\n".join(rows))).columns[1].values
    assert values is not None
    assert (len(values), "v39" in values) == (32, True)


def test_numbers_with_marks_between_thousands_and_decimal_commas_are_numbers(tmp_path: Path) -> None:
    for text in ('a,b\n"1,234.5",1\n"22,000.25",2\n7,3\n', "a;b\n1.234,5;1\n22 000,25;2\n7;3\n"):
        source = opened(written(tmp_path, text))
        assert source.fetch(np.arange(3))[0].rows[:, 0].tolist() == [1234.5, 22000.25, 7.0]


def test_percent_and_money_are_numbers(tmp_path: Path) -> None:
    lines = "".join(f"{i},5 %;{i}.234,50 €;-{i}%\n" for i in range(1, 9))
    source = opened(written(tmp_path, "a;b;c\n" + lines))
    assert [column.values for column in source.columns] == [None] * 3
    assert source._table[0].tolist() == [1.5, 1234.5, -1]


@pytest.mark.parametrize("mark", ["-", "unknown", "None", ".", "#DIV/0!"])
def test_one_text_among_measured_numbers_is_a_missing_number(tmp_path: Path, mark: str) -> None:
    cells = [str(i) if i % 3 == 0 else mark for i in range(60)]
    source = opened(written(tmp_path, "a,b\n" + "".join(f"{cell},{i}\n" for i, cell in enumerate(cells))))
    assert [column.values for column in source.columns] == [None, None]
    assert source.missing == 40


def test_rows_that_cannot_be_used_are_listed_by_their_number(tmp_path: Path) -> None:
    source = opened(written(tmp_path, 'a,b\n1,2\n\n3\n4,"5"\n6,7,8\ninf,3\n4,1e300\na,b\n9,10\n8,7\n6,5\n'))
    assert lost(source) == [
        ("t.csv#1", "1 fields where the header has 2"),
        ("t.csv#3", "3 fields where the header has 2"),
        ("t.csv#6", "the header once more"),
        ("t.csv#4", "column 'a' is infinite"),
        ("t.csv#5", "column 'b' is infinite"),
    ]
    assert source.keys == [f"t.csv#{i}" for i in (0, 2, 7, 8, 9)]
    with pytest.raises(DataError, match=r"1 of 3 rows can be used \(the first of 2 unusable ones: t\.csv#0: 1 fields"):
        opened(written(tmp_path, "a,b\n1\n2\n3,4\n"))


def test_columns_that_change_by_next_to_nothing_are_zeros_even_in_other_data(tmp_path: Path) -> None:
    source = opened(written(tmp_path, "a,b,c\n1,7,1e-44\n2,7,3e-44\n3,7,5e-44\n"))
    encoder = MODALITY.encoder("mlp", source, TableOptions(hidden=4, layers=2))
    other = opened(written(tmp_path, "a,b,c\n1,7,1\n2,1e9,2\n", "other.csv"), config=encoder.config)
    assert not source.vectors()[:, 1:].any()
    assert not other.vectors()[:, 1:].any()


def test_labels_are_found_by_name_or_by_the_column_that_is_given(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "nearfar")
    path = written(tmp_path, "a,TARGET,b,income\n1,cat,2,low\n3,,4,high\n5,ant,6,low\n7,cat,9,high\n")
    source = opened(path)
    assert [c.name for c in source.columns] == ["a", "b", "income"]
    assert (source.label_names, source.labels.tolist()) == (("ant", "cat"), [1, -1, 0, 1])
    assert "1 of 4 samples have no label" in caplog.text
    source = opened(path, label_column="Income")
    assert (source.label_names, source.label_column) == (("high", "low"), "income")
    with pytest.raises(DataError, match="no column 'incme' for the labels: did you mean 'income'"):
        opened(path, label_column="incme")
    with pytest.raises(
        DataError, match="no column 'wage' for the labels: its columns are 'a', 'TARGET', 'b', 'income'"
    ):
        opened(path, label_column="wage")


def test_a_table_without_labels_says_what_its_inputs_are(tmp_path: Path, caplog: Caplog) -> None:
    caplog.set_level(logging.INFO, "nearfar")
    assert opened(written(tmp_path, "a;b\n1,5;2\n3;4\n")).labels is None
    assert "separated by semicolons, with a header, with decimal commas" in caplog.text
    assert "inputs are a, b" in caplog.text
    assert "--label-column NAME" in caplog.text


@pytest.mark.parametrize(
    "rows", ["1,2,0.5\n3,4,1.5\n5,6,0.5\n", "".join(f"{i},2,{i}\n" for i in range(40))], ids=["fractions", "all differ"]
)
def test_a_target_that_is_measured_gives_no_labels(tmp_path: Path, caplog: Caplog, rows: str) -> None:
    source = opened(written(tmp_path, f"a,b,target\n{rows}"))
    assert source.labels is None
    assert [c.name for c in source.columns] == ["a", "b"]
    assert "holds measurements, not classes" in caplog.text


def test_reserved_columns_are_no_inputs(tmp_path: Path) -> None:
    header = "Unnamed: 0,id,index,a,b,group,split,domain"
    source = opened(written(tmp_path, f"{header}\n0,9,4,1,2,x,train,u\n1,8,5,3,4,x,test,u\n2,7,6,5,6,y,train,v\n"))
    assert [c.name for c in source.columns] == ["a", "b"]
    assert source.keys == ["t.csv#0", "t.csv#2"]
    assert source.groups.tolist() == [0, 1]
    assert opened(written(tmp_path, "a,index\n1,2\n3,2\n")).columns[1].name == "index"


def test_class_numbers_agree_across_splits(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b,label,split\n1,2,x,train\n3,4,y,test\n5,6,x,train\n")
    assert opened(path).keys == ["t.csv#0", "t.csv#2"]
    assert (opened(f"{path}:test").label_names, opened(f"{path}:test").labels.tolist()) == (("x", "y"), [1])


def test_a_folder_of_tables_named_as_splits_is_one_data_set(tmp_path: Path) -> None:
    for name, rows in (("train", "1,2\n3,4\n"), ("test", "5,6\n"), ("sample_submission", "7,8\n")):
        written(tmp_path, f"a,b\n{rows}", f"{name}.csv")
    assert opened(str(tmp_path)).keys == ["train.csv#0", "train.csv#1"]
    assert opened(f"{tmp_path}:test").keys == ["test.csv#0"]
    with pytest.raises(DataError, match="lacks the column 'c' of the others"):
        opened(written(tmp_path, "a,c\n1,2\n", "train2.csv").replace("train2", "train*"))


def test_columns_are_matched_by_name(tmp_path: Path) -> None:
    one = opened(written(tmp_path, "a,c,b\n1,x,20\n2,y,30\n3,x,10\n4,y,5\n"))
    encoder = MODALITY.encoder("mlp", one, TableOptions(hidden=4, layers=2))
    other = opened(written(tmp_path, "extra,b,c,a\n9,20,x,1\n8,5,z,4\n7,10,x,3\n", "other.csv"))
    with pytest.raises(DataError, match=r"source\.suited"):
        encoder.prepare(other.fetch(np.arange(2))[0])
    suited = other.suited(encoder.config)
    expected = one.vectors()[[0, 3, 2]].clone()
    expected[1, 1:3] = 0  # z was never seen in training
    assert torch.equal(suited.vectors(), expected)
    assert torch.equal(encoder.prepare(suited.fetch(np.arange(3))[0]), expected)
    with pytest.raises(DataError, match=r"lacking\.csv: the column 'b' that the encoder was trained on is not in the"):
        opened(written(tmp_path, "a,c\n1,2\n3,4\n", "lacking.csv")).suited(encoder.config)


def test_the_trained_label_column_is_no_input_of_other_files_and_need_not_be_there(tmp_path: Path) -> None:
    text = "a,b,income\n1,2,low\n3,4,high\n5,6,low\n7,8,high\n"
    labelled = opened(written(tmp_path, text), label_column="income")
    encoder = MODALITY.encoder("mlp", labelled, TableOptions())
    encoder.config["labels_in"] = "income"  # as a run notes it
    same = opened(written(tmp_path, text, "other.csv"), config=encoder.config)
    assert same.labels.tolist() == [1, 0, 1, 0]
    bare = opened(written(tmp_path, "b,a\n2,1\n4,3\n6,5\n8,7\n", "bare.csv"), config=encoder.config)
    assert bare.labels is None
    assert torch.equal(bare.vectors(), same.vectors())


def test_ids_are_equal_for_equal_rows_alone(tmp_path: Path) -> None:
    source = opened(written(tmp_path, "a,b,c\n1,2,u\n1,2,v\n1.0,2,u\n-0,2,u\n0,2,u\n1,?,u\n1,,u\n1,2,w\n1,2,once\n"))
    equal = {(i, j) for i in range(9) for j in range(i) if source.ids[i] == source.ids[j]}
    assert equal == {(2, 0), (4, 3), (6, 5)}  # v, w and once are no known values, and told apart


def test_taken_rows_keep_keys_labels_and_ids_and_measure_themselves(tmp_path: Path) -> None:
    source = opened(written(tmp_path, "a,b,label\n1,2,x\n3,4,y\n5,6,x\n100,8,y\n"))
    some = source.take(np.array([2, 0]))
    assert some.keys == ["t.csv#2", "t.csv#0"]
    assert some.labels.tolist() == [0, 0]
    assert some.ids.tolist() == source.ids[[2, 0]].tolist()
    assert some.columns[0].mean == 3.0


def test_cards_read_as_the_row(tmp_path: Path) -> None:
    source = opened(written(tmp_path, "a,b,c,label\n1,2.25,red,x\n?,4,red,y\n100000,4,odd,y\n"))
    cards = source.cards(np.array([0, 1, 2]))
    assert [card.text for card in cards] == [
        "a: 1\nb: 2.25\nc: red",
        "a: missing\nb: 4\nc: red",
        "a: 100000\nb: 4\nc: another value",
    ]
    assert [card.label for card in cards] == ["x", "y", "y"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n", "it is empty"),
        ("a,a\n1,2\n", "the column 'a' twice"),
        ("a\n1\n2\n", "at least two columns"),
        ("a,b\nu,v\nw,x\n", "at least two columns of numbers or categories, found \\[\\]"),
    ],
)
def test_what_is_no_table_is_refused_with_a_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        opened(written(tmp_path, text))


def test_columns_of_lists_and_of_bytes_that_are_no_text_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = {"a": [1, 2], "b": [3.0, 4], "list": [[1], [2]], "blob": [b"\xff\0", b"\xfe\1"], "label": [[1, 0], [0, 1]]}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    source = opened(str(tmp_path / "t.parquet"))
    assert ([c.name for c in source.columns], source.labels) == (["a", "b"], None)
    assert "column 'list' holds list<element: int64>" in caplog.text
    assert "column 'label' holds lists or structures: not used" in caplog.text


def test_arrays_may_have_nan_and_skip_infinities(tmp_path: Path) -> None:
    cells = np.array([[1.0, np.nan], [2.0, 3.0], [np.inf, 1.0], [3.0, 4.0]])
    cells.view(np.uint64)[0, 1] = 0x7FF0000000000001  # one that signals
    np.save(tmp_path / "t.npy", cells)
    source = opened(str(tmp_path / "t.npy"))
    assert (lost(source), source.missing) == ([("t.npy#2", "column '0' is infinite")], 1)


def test_columns_that_tell_nothing_are_defects(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=200)
    kind = ["xyz"[i % 3] for i in range(200)]
    table = {
        "a": a,
        "ten_a": [f"{10 * x:.6f}" for x in a],
        "fixed": [4.5] * 200,
        "kind": kind,
        "code": [{"x": "q", "y": "r", "z": "s"}[one] for one in kind],
        "rare": [3.5 if i < 2 else "" for i in range(200)],
        "free": rng.normal(size=200),
    }
    rows = [",".join(table), *(",".join(str(column[i]) for column in table.values()) for i in range(200))]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    source = opened(str(tmp_path / "t.csv"))
    found = {one.key: one.reason for one in source.defects(np.arange(len(source)))}
    assert found["column 'fixed'"] == "all cells hold the same value"
    assert found["column 'code'"] == "tells the same as the column 'kind'"
    assert found["column 'rare'"] == "198 of 200 cells are empty"
    assert found["column 'ten_a'"] == "tells the same as the column 'a'"
    assert "column 'free'" not in found
    assert "column 'a'" not in found
