"""Tables from files: what is an input, what is left out, and what the numbers become."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from nearfar.contract import Skipped
from nearfar.data.glance import glance
from nearfar.errors import DataError
from nearfar.modalities.opening import splits
from nearfar.modalities.table import MODALITY, TableOptions
from tests.modalities.table.opening import opened


def claims(data: str) -> bool:
    return MODALITY.claims(glance(data))


def written(folder: Path, text: str, name: str = "t.csv", encoding: str = "utf-8") -> str:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return str(path)


def test_numbers_are_standardised_and_categories_one_hot(tmp_path: Path) -> None:
    source = opened(written(tmp_path, "a,colour\n1,red\n3,blue\n5,red\n7,blue\n"))
    expected = [[-3, 0, 1], [-1, 1, 0], [1, 0, 1], [3, 1, 0]]
    torch.testing.assert_close(
        source.vectors(), torch.tensor(expected, dtype=torch.float32) / torch.tensor([5**0.5, 1, 1])
    )


def test_missing_cells_stand_at_the_median_and_are_counted(tmp_path: Path) -> None:
    source = opened(written(tmp_path, "a,b\n1,1\n2,2\n?,3\n9,NA\n, \n4,nan\n"))
    assert source.missing == 3  # the row without any cell is no row
    assert source.columns[0].median == 3.0
    a = source.columns[0]
    assert float(source.vectors()[2, 0]) == pytest.approx((3.0 - a.mean) * a.scale)
    assert source.skipped == [Skipped("t.csv#4", "no cell is filled")]


def test_a_category_that_is_missing_or_rare_is_all_zeros(tmp_path: Path) -> None:
    source = opened(written(tmp_path, "a,c\n1,x\n2,x\n3,y\n4,y\n5,?\n6,once\n"))
    assert source.columns[1].values == ("x", "y")
    assert source.vectors()[4:, 1:].abs().sum() == 0


def test_only_the_most_frequent_values_are_known(tmp_path: Path) -> None:
    rows = [f"{i},v{i:02}" for i in range(40)] * 2 + ["0,v39"] * 3
    source = opened(written(tmp_path, "a,c\n" + "\n".join(rows)))
    values = source.columns[1].values
    assert values is not None
    assert len(values) == 32
    assert "v39" in values


def test_rows_with_another_number_of_fields_are_skipped_by_number(tmp_path: Path) -> None:
    source = opened(written(tmp_path, 'a,b\n1,2\n\n3\n4,"5"\n6,7,8\n9,10\n'))
    assert source.skipped == [
        Skipped("t.csv#1", "1 fields where the header has 2"),
        Skipped("t.csv#3", "3 fields where the header has 2"),
    ]
    assert source.keys == ["t.csv#0", "t.csv#2", "t.csv#4"]


def test_infinite_rows_are_skipped_with_their_column(tmp_path: Path) -> None:
    source = opened(written(tmp_path, "a,b\n1,2\ninf,3\n4,1e300\n5,6\n7,8\n"))
    assert source.skipped == [
        Skipped("t.csv#1", "column 'a' is infinite"),
        Skipped("t.csv#2", "column 'b' is infinite"),
    ]
    assert source.vectors().isfinite().all()


def test_a_file_of_mostly_broken_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 of 3 rows can be used \(the first of 2 unusable ones: t\.csv#0: 1 fields"):
        opened(written(tmp_path, "a,b\n1\n2\n3,4\n"))


def test_constant_columns_are_zeros_even_in_other_data(tmp_path: Path) -> None:
    source = opened(written(tmp_path, "a,b\n1,7\n2,7\n3,7\n"))
    encoder = MODALITY.encoder("mlp", source, TableOptions(hidden=4, layers=2))
    other = opened(written(tmp_path, "a,b\n1,7\n2,1e9\n", "other.csv"))
    other = other.suited(encoder.config)
    assert other.vectors()[:, 1].tolist() == [0.0, 0.0]


def test_columns_that_change_by_next_to_nothing_are_zeros(tmp_path: Path) -> None:
    source = opened(written(tmp_path, "a,b\n1e-44,1\n3e-44,2\n5e-44,3\n"))
    assert source.vectors()[:, 0].tolist() == [0.0, 0.0, 0.0]
    assert source.columns[0].scale == 0


@pytest.mark.parametrize("header", ["label", "Class", "TARGET", "category"])
def test_labels_are_found_by_name_and_are_no_input(tmp_path: Path, header: str) -> None:
    source = opened(written(tmp_path, f"a,{header},b\n1,cat,2\n3,,4\n5,ant,6\n7,cat,9\n"))
    assert [c.name for c in source.columns] == ["a", "b"]
    assert source.label_names == ("ant", "cat")
    assert source.labels.tolist() == [1, -1, 0, 1]


def test_the_label_column_may_be_given(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b,income\n1,2,low\n3,4,high\n5,6,low\n7,8,high\n")
    source = opened(path, label_column="income")
    assert source.label_names == ("high", "low")
    with pytest.raises(DataError, match="no column 'wage' for the labels"):
        opened(path, label_column="wage")


def test_number_labels_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    source = opened(written(tmp_path, "a,b,label\n1,2,10\n3,4,9\n5,6,10\n7,8,9\n9,9,-1\n"))
    assert source.label_names == ("9", "10")
    assert source.labels.tolist() == [1, 0, 1, 0, -1]


@pytest.mark.parametrize(
    "rows", ["1,2,0.5\n3,4,1.5\n5,6,0.5\n", "".join(f"{i},2,{i}\n" for i in range(40))], ids=["fractions", "all differ"]
)
def test_a_target_that_is_measured_gives_no_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture, rows: str) -> None:
    with caplog.at_level(logging.WARNING, "nearfar"):
        source = opened(written(tmp_path, f"a,b,target\n{rows}"))
    assert source.labels is None
    assert [c.name for c in source.columns] == ["a", "b"]
    assert "holds measurements, not classes" in caplog.text


def test_reserved_columns_are_no_inputs(tmp_path: Path) -> None:
    source = opened(written(tmp_path, ",id,a,b,group,split\n0,9,1,2,x,train\n1,8,3,4,x,test\n2,7,5,6,y,train\n"))
    assert [c.name for c in source.columns] == ["a", "b"]
    assert source.keys == ["t.csv#0", "t.csv#2"]
    assert source.groups.tolist() == [0, 1]


def test_a_split_is_picked_by_its_column(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b,label,split\n1,2,x,train\n3,4,y,test\n5,6,x,train\n")
    assert opened(path + ":train").keys == ["t.csv#0", "t.csv#2"]
    assert opened(path + ":test").label_names == ("x", "y")
    with pytest.raises(DataError, match="has no split 'val'; it has train, test"):
        opened(path + ":val")


def test_splits_are_listed(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b,split\n1,2,train\n3,4,test\n5,6,train\n")
    assert splits(MODALITY, path) == ["train", "test"]
    assert splits(MODALITY, path + ":test") == []
    assert splits(MODALITY, written(tmp_path, "a,b\n1,2\n", "plain.csv")) == []


def test_columns_are_matched_by_name(tmp_path: Path) -> None:
    one = opened(written(tmp_path, "a,c,b\n1,x,20\n2,y,30\n3,x,10\n4,y,5\n"))
    encoder = MODALITY.encoder("mlp", one, TableOptions(hidden=4, layers=2))
    other = opened(written(tmp_path, "extra,b,c,a\n9,20,x,1\n8,5,z,4\n7,10,x,3\n", "other.csv"))
    other = other.suited(encoder.config)
    expected = one.vectors()[[0, 3, 2]].clone()
    expected[1, 1:3] = 0  # z was never seen in training
    assert torch.equal(other.vectors(), expected)
    assert torch.equal(encoder.prepare(other.fetch(np.arange(3))[0]), expected)


def test_a_lacking_column_is_named(tmp_path: Path) -> None:
    one = opened(written(tmp_path, "a,b,c\n1,2,3\n4,5,6\n"))
    encoder = MODALITY.encoder("mlp", one, TableOptions(hidden=4, layers=2))
    other = opened(written(tmp_path, "a,c\n1,2\n3,4\n", "other.csv"))
    with pytest.raises(
        DataError, match=r"other\.csv: the column 'b' that the encoder was trained on is not in the file"
    ):
        other = other.suited(encoder.config)


def test_rows_not_laid_out_for_the_encoder_are_refused(tmp_path: Path) -> None:
    one = opened(written(tmp_path, "a,b\n1,2\n4,5\n"))
    encoder = MODALITY.encoder("mlp", one, TableOptions(hidden=4, layers=2))
    other = opened(written(tmp_path, "b,a\n1,2\n3,4\n", "other.csv"))
    with pytest.raises(DataError, match=r"source\.suited"):
        encoder.prepare(other.fetch(np.arange(2))[0])


def test_the_trained_label_column_is_no_input_of_other_files(tmp_path: Path) -> None:
    text = "a,b,income\n1,2,low\n3,4,high\n5,6,low\n7,8,high\n"
    encoder = MODALITY.encoder("mlp", opened(written(tmp_path, text), label_column="income"), TableOptions())
    other = opened(written(tmp_path, text, "other.csv"), config=encoder.config)
    assert other.vectors().shape == (4, 2)
    assert other.labels.tolist() == [1, 0, 1, 0]


def test_other_files_need_no_labels(tmp_path: Path) -> None:
    labelled = opened(written(tmp_path, "a,b,income\n1,2,x\n3,4,y\n5,6,x\n7,8,y\n"), label_column="income")
    encoder = MODALITY.encoder("mlp", labelled, TableOptions())
    other = opened(written(tmp_path, "b,a\n2,1\n4,3\n6,5\n8,7\n", "other.csv"))
    other = other.suited(encoder.config)
    assert other.labels is None
    assert torch.equal(other.vectors(), labelled.vectors())


def test_ids_are_equal_for_equal_rows_alone(tmp_path: Path) -> None:
    source = opened(written(tmp_path, "a,b,c\n1,2,u\n1,2,v\n1.0,2,u\n-0,2,u\n0,2,u\n1,?,u\n1,,u\n1,2,v\n"))
    ids = source.ids
    equal = {(i, j) for i in range(8) for j in range(i) if ids[i] == ids[j]}
    assert equal == {(2, 0), (4, 3), (6, 5), (7, 1)}


def test_values_unknown_to_the_encoder_are_still_told_apart_by_ids(tmp_path: Path) -> None:
    source = opened(written(tmp_path, "a,b,c\n1,2,u\n1,2,u\n1,2,v\n1,2,w\n"))
    assert len(set(source.ids.tolist())) == 3


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
    assert cards[0].text == "a: 1\nb: 2.25\nc: red"
    assert cards[1].text == "a: missing\nb: 4\nc: red"
    assert cards[2].text == "a: 100000\nb: 4\nc: another value"
    assert [card.label for card in cards] == ["x", "y", "y"]


@pytest.mark.parametrize(
    ("text", "name", "encoding"),
    [
        ("a;b\n1,5;2\n2,5;3\n", "t.csv", "utf-8"),
        ("a\tb\n1.5\t2\n2.5\t3\n", "t.tsv", "utf-8"),
        ("\ufeffa,b\n+1.5, 2\n2.5,3 \n", "t.csv", "utf-8"),
        ("a,b,\u00e9t\u00e9\n1.5,2,\u00e9\n2.5,3,\u00e9\n", "t.csv", "latin-1"),
        ("1.5,2\n2.5,3\n", "t.csv", "utf-8"),
        ("a,b\r\n1.5,2\r\n2.5,3\r\n", "t.csv", "utf-8"),
    ],
    ids=["semicolons", "tabs", "bom", "latin-1", "headless", "crlf"],
)
def test_dialects(tmp_path: Path, text: str, name: str, encoding: str) -> None:
    source = opened(written(tmp_path, text, name, encoding))
    assert source.fetch(np.arange(2))[0].rows[:, :2].tolist() == [[1.5, 2.0], [2.5, 3.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("a,b\n", "it is empty"),
        ("a,a\n1,2\n", "the column 'a' twice"),
        ("a\n1\n2\n", "at least two columns"),
        ("\0\1\2,\0\n", "not text"),
    ],
)
def test_what_is_no_table_is_refused_with_a_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        opened(written(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No file or folder .*none\.csv"):
        opened(str(tmp_path / "none.csv"))


def test_arrays_are_tables(tmp_path: Path) -> None:
    x = np.arange(12).reshape(4, 3)
    np.save(tmp_path / "t.npy", x)
    np.savez(tmp_path / "t.npz", X=x.astype(float), y=np.array(["u", "v", "u", "v"]))
    plain, labelled = opened(str(tmp_path / "t.npy")), opened(str(tmp_path / "t.npz"))
    assert plain.keys == ["t.npy#0", "t.npy#1", "t.npy#2", "t.npy#3"]
    assert plain.labels is None
    assert labelled.label_names == ("u", "v")
    assert torch.equal(plain.vectors(), labelled.vectors())


def test_parquet_reads_as_the_same_rows(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = "a,c,label,on\n1,x,2,true\n,y,2,false\n3,x,5,true\n4,?,5,false\n"
    columns = {
        "a": [1, None, 3, 4],
        "c": pa.array(["x", "y", "x", "?"]).dictionary_encode(),
        "label": [2, 2, 5, 5],
        "on": [True, False, True, False],
        "blob": [b"\xff", b"\xfe", b"\xfd", b"\xfc"],
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    assert claims(str(tmp_path / "t.parquet"))
    one, other = opened(written(tmp_path, text)), opened(str(tmp_path / "t.parquet"))
    assert torch.equal(one.vectors(), other.vectors())
    assert other.label_names == ("2", "5")
    assert other.labels.tolist() == one.labels.tolist() == [0, 0, 1, 1]


def test_arrays_may_have_nan_and_skip_infinities(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.array([[1.0, np.nan], [2.0, 3.0], [np.inf, 1.0], [3.0, 4.0]]))
    source = opened(str(tmp_path / "t.npy"))
    assert source.skipped == [Skipped("t.npy#2", "column '0' is infinite")]
    assert source.missing == 1


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.array([[{}, 1]], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="without pickle"):
        opened(str(tmp_path / "t.npy"))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.ones((2, 2)), "b": np.ones((2, 2))}, "holds the arrays a, b: which are the samples"),
        ({"x": np.ones((2, 2, 2))}, r"its arrays are x float64 \[2, 2, 2\]"),
    ],
)
def test_archives_that_are_no_table_are_refused(tmp_path: Path, arrays: dict, message: str) -> None:
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(DataError, match=message):
        opened(str(tmp_path / "t.npz"))


def test_claims_tables_and_leaves_manifests_to_others(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.ones((4, 3)))
    np.save(tmp_path / "pictures.npy", np.ones((4, 3, 8, 8)))
    np.savez(tmp_path / "rows.npz", x=np.ones((4, 3)), y=np.ones(4))
    table, manifest = written(tmp_path, "a,b\n1,2\n"), written(tmp_path, "Image,label\nx.png,1\n", "m.csv")
    assert claims(table)
    assert claims(table + ":train")
    assert claims(str(tmp_path / "rows.npy"))
    assert claims(str(tmp_path / "rows.npz"))
    assert not claims(manifest)
    assert not claims(str(tmp_path / "pictures.npy"))
    assert not claims(str(tmp_path))
    assert not claims("digits")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("a,b\n1.5,2\n2.5,3\n", "utf-16"),
        ('"a\nb",c\n1.5,2\n2.5,3\n', "utf-8"),
        ("a\x0cb,c\u2028\n1.5,2\n2.5,3\n", "utf-8"),
        ("a,b\r1.5,2\r2.5,3\r", "utf-8"),
    ],
    ids=["utf-16", "two lines", "odd spaces", "old mac"],
)
def test_odd_headers_are_read_as_their_rows(tmp_path: Path, text: str, encoding: str) -> None:
    path = written(tmp_path, text, encoding=encoding)
    assert claims(path)
    assert opened(path).fetch(np.arange(2))[0].rows.tolist() == [[1.5, 2.0], [2.5, 3.0]]


def test_one_odd_byte_far_down_leaves_the_header_as_it_is(tmp_path: Path) -> None:
    text = "a,é\n" + "".join(f"{i},{i % 7}\n" for i in range(200_000))
    (tmp_path / "t.csv").write_bytes(text.encode() + b"1,\xe9\n")
    assert [column.name for column in opened(str(tmp_path / "t.csv")).columns] == ["a", "é"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"a,{'x' * 200_000}\n1,2\n", "its header is no row of a table"),
    ],
    ids=["huge field"],
)
def test_a_header_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        opened(written(tmp_path, text))


def test_a_parquet_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    twice = pa.Table.from_arrays([pa.array([1.0, 2.0])] * 3, ["a", "b", "a"])
    pq.write_table(twice, tmp_path / "twice.parquet")
    with pytest.raises(DataError, match="the column 'a' twice"):
        opened(str(tmp_path / "twice.parquet"))


def test_a_nan_that_signals_is_a_missing_cell(tmp_path: Path) -> None:
    cells = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    cells.view(np.uint64)[1, 1] = 0x7FF0000000000001
    np.save(tmp_path / "t.npy", cells)
    assert opened(str(tmp_path / "t.npy")).missing == 1
