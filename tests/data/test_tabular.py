"""Manifests: rows of text that name samples, or are samples."""

import json
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from nearfar.data.reader import open_samples, splits_of
from nearfar.errors import DataError

JPG = frozenset({".jpg"})


def find(data, **more):
    return open_samples(str(data), **{"extensions": JPG, "columns": ("image", "path", "file"), **more})


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def refused(found):
    return [(one.key, one.reason) for one in found.skipped]


def test_columns_are_found_by_name_in_any_case(tmp_path):
    found = find(write(tmp_path / "m.csv", "Id,Path,CLASS\n1,a.jpg,dog\n2,b.jpg,cat\n"))
    assert (found.keys, found.labels.tolist(), found.label_names) == (["a.jpg", "b.jpg"], [1, 0], ("cat", "dog"))
    assert found.label_column == "CLASS"


def test_paths_are_relative_to_the_manifest_and_written_as_people_write_them(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ä.jpg").write_bytes(b"x")
    cells = ["in/ä.jpg", "./in/ä.jpg", " in/ä.jpg ", "in\\ä.jpg", f"{tmp_path}/in/ä.jpg"]
    for encoding in ("utf-8", "cp1252"):
        (tmp_path / "m.csv").write_bytes("\n".join(["path", *cells]).encode(encoding))
        found = find(tmp_path / "m.csv")
        assert [found.bytes(i) for i in range(5)] == [b"x"] * 5
    found = find(write(tmp_path / "m.csv", "\n".join(["path", *cells])))
    assert found.keys == ["in/ä.jpg#0", "in/ä.jpg#1", "in/ä.jpg#2", "in\\ä.jpg", "in/ä.jpg#4"]


@pytest.mark.parametrize(("name", "mark"), [("m.csv", ";"), ("m.csv", "\t"), ("m.tsv", "\t"), ("m.csv", "|")])
def test_other_separators_work(tmp_path, name, mark):
    assert find(write(tmp_path / name, f"path{mark}label\na.jpg{mark}x, y\n")).label_names == ("x, y",)


def test_jsonl_rows_are_read(tmp_path):
    rows = [{"image": "a.jpg", "label": 3}, {"image": "b.jpg", "label": None}, {"image": "c.jpg"}]
    found = find(write(tmp_path / "m.jsonl", "\n".join(map(json.dumps, rows))))
    assert (found.label_names, found.labels.tolist()) == (("3",), [0, -1, -1])


def test_a_column_of_groups_is_named_and_never_an_input(tmp_path):
    path = write(tmp_path / "m.csv", "a,group,Who,b\n1,x,u,3\n2,y,u,4\n3,y,w,5\n")
    found = find(path, columns=(), further=None, group_column="who")
    assert (found.groups.tolist(), found.table.column_names) == ([0, 0, 1], ["a", "group", "b"])
    usual = find(path, columns=(), further=None, groups_in="nobody")
    assert usual.groups.tolist() == [0, 1, 1]
    with pytest.raises(DataError, match="no column 'Whoo' for the groups: did you mean 'Who'"):
        find(path, columns=(), group_column="Whoo")


def test_ignored_columns_are_as_if_they_were_not_there(tmp_path):
    path = write(tmp_path / "m.csv", "a,label,group,b\n1,x,u,3\n2,y,u,4\n")
    found = find(path, columns=(), further=None, ignore_columns=("B", "label"), ignored=("group", "elsewhere"))
    assert (found.labels, found.groups, found.table.column_names) == (None, None, ["a"])
    with pytest.raises(DataError, match="no column 'labels' to ignore: did you mean 'label'"):
        find(path, columns=(), ignore_columns=("labels",))


def test_groups_of_a_column_are_refused_where_there_are_no_columns(tmp_path):
    write(tmp_path / "a.jpg", "x")
    with pytest.raises(DataError, match="no groups in a column 'who': leave out --group-column"):
        find(tmp_path, group_column="who")


def test_labels_in_lists_are_told(tmp_path, caplog):
    assert find(write(tmp_path / "m.jsonl", '{"image": "a.jpg", "label": [1, 0]}')).labels is None
    assert "1 cells of 'label' hold lists or objects" in caplog.text
    assert "column 'label' holds nothing: not used" in caplog.text


def test_groups_and_domains_are_numbered(tmp_path):
    found = find(write(tmp_path / "m.csv", "path,group,domain\na,g,photo\nb,g,art\nc,,art\nd,,\n"))
    assert found.groups[0] == found.groups[1]
    assert len(set(found.groups.tolist())) == 3
    assert (found.domains.tolist(), found.domain_names) == ([1, 0, 0, -1], ("art", "photo"))


def test_positives_and_negatives_go_with_their_row(tmp_path):
    (tmp_path / "p.jpg").write_bytes(b"p")
    found = find(write(tmp_path / "m.csv", "path,positive,negative\n,p.jpg,\na,p.jpg,\nb,,n.jpg\n"))
    assert found.positives.bytes(found.rows[0]) == b"p"
    assert found.negatives.path(found.rows[1]) == str(tmp_path / "n.jpg")
    with pytest.raises(OSError, match="no path given"):
        found.positives.bytes(found.rows[1])


def test_scores_of_pairs_are_numbers(tmp_path, caplog):
    found = find(
        write(tmp_path / "m.csv", "path,positive,Score\na.jpg,b.jpg,4.5\nc.jpg,d.jpg,?\ne.jpg,f.jpg,high\n"),
        further=None,
    )
    assert np.array_equal(found.scores, np.array([4.5, np.nan, np.nan], dtype=np.float32), equal_nan=True)
    assert found.table.column_names == []
    assert "scores: 1 of 3 are no numbers" in caplog.text
    alone = find(write(tmp_path / "n.csv", "path,score\na.jpg,1\n"), further=None)
    assert (alone.scores, alone.table.column_names) == (None, ["score"])


def test_a_split_column_picks_rows_and_keeps_class_numbers(tmp_path):
    file = write(tmp_path / "m.csv", "path,label,split\na,cat,train\nb,dog,train\nc,dog,validation\n")
    assert splits_of(str(file)) == ["train", "validation"]
    found = find(f"{file}:val")
    assert (found.keys, found.labels.tolist(), found.label_names) == (["c"], [1], ("cat", "dog"))
    assert find(file).keys == ["a", "b"]
    assert find(f"{file}:all").keys == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["subset", "Set", "usage"])
def test_a_column_of_splits_by_another_name_is_told_by_its_cells(tmp_path, name):
    rows = "".join(f"{i}.png,{'Train' if i % 3 else 'test '}\n" for i in range(9))
    (tmp_path / "m.csv").write_text(f"path,{name}\n{rows}")
    assert len(open_samples(str(tmp_path / "m.csv"), columns=("path",))) == 6
    assert splits_of(str(tmp_path / "m.csv")) == ["test", "Train"]
    (tmp_path / "m.csv").write_text(f"path,{name}\n{rows}x.png,bus\n")
    assert len(open_samples(str(tmp_path / "m.csv"), columns=("path",))) == 10


def test_columns_that_are_passed_over_are_told_where_none_holds_labels(tmp_path, caplog):
    caplog.set_level("INFO", "nearfar")
    assert find(write(tmp_path / "m.csv", "path,species,x\na.jpg,cat,1\n")).labels is None
    assert "no column is named as labels are; 'species', 'x' are passed over (--label-column)" in caplog.text
    assert find(tmp_path / "m.csv", label_column="Species").label_names == ("cat",)


def test_further_columns_are_kept_with_their_rows(tmp_path):
    file = write(tmp_path / "m.csv", "path,Caption,label,x\na.jpg,one,1,5\n,none,1,6\nb.jpg,two,2,7\n")
    assert find(file).table is None
    assert find(file, further=("caption",)).table.to_pydict() == {"Caption": ["one", "two"]}
    assert find(file, further=None).take([1]).table.to_pydict() == {"Caption": ["two"], "x": ["7"]}


def test_rows_that_are_none_are_refused_by_their_number(tmp_path):
    found = find(write(tmp_path / "m.csv", "path,label\na.jpg,cat\nb.jpg\n\nc.jpg,dog,x\n,cat\ne\0.jpg,x\nf.jpg,dog\n"))
    assert found.keys == ["a.jpg", "f.jpg"]
    assert sorted(refused(found)) == [
        ("m.csv#1", "1 fields where the header has 2"),
        ("m.csv#2", "3 fields where the header has 2"),
        ("m.csv#3", "empty cell"),
        ("m.csv#4", "a path with a NUL character"),
    ]
    lines = '{"path": "a"}\n{"path": \n[1]\n' + "[" * 100_000 + '\n{"path": "\\ud800.jpg"}\n'
    found = find(write(tmp_path / "m.jsonl", lines))
    assert found.keys == ["a", "\\ud800.jpg"]
    assert [one.reason for one in found.skipped] == ["not a line of JSON", "not a JSON object", "not a line of JSON"]


def test_a_quote_that_stays_open_swallows_no_rows(tmp_path, caplog):
    rows = ['a.jpg,"19 inch', "b.jpg,cat", 'c.jpg,"dog"', 'd.jpg,5" pipe', "e.jpg,cat"]
    found = find(write(tmp_path / "m.csv", "\n".join(["path,label", *rows])))
    assert found.keys == [f"{name}.jpg" for name in "abcde"]
    assert found.label_names == ('"19 inch', '5" pipe', "cat", "dog")
    assert "a quote is opened and not closed" in caplog.text


def test_cells_in_quotes_may_have_several_lines(tmp_path, caplog):
    found = find(write(tmp_path / "m.csv", 'path,label\na.jpg,"x,\ny"\nb.jpg,"say ""z"""\n'))
    assert (found.keys, found.label_names) == (["a.jpg", "b.jpg"], ('say "z"', "x,\ny"))
    assert "quote" not in caplog.text
    found = find(write(tmp_path / "m.csv", "'path','label'\n'a.jpg','x, y'\n'b.jpg','it''s'\n"))
    assert (found.keys, found.label_names) == (["a.jpg", "b.jpg"], ("it's", "x, y"))
    found = find(write(tmp_path / "m.csv", 'path,label\na.jpg,"say \\"x\\", y"\nb.jpg,z\n'))
    assert (found.keys, found.label_names) == (["a.jpg", "b.jpg"], ('say "x", y', "z"))


def test_a_manifest_without_a_column_of_samples_names_its_columns(tmp_path):
    with pytest.raises(DataError, match="its columns are 'x', 'y'; name one of them image or path or file"):
        find(write(tmp_path / "m.csv", "x,y\n1,2\n"))
    with pytest.raises(DataError, match="has the column 'path' twice"):
        find(write(tmp_path / "m.csv", "path,path\n1,2\n"))


def test_a_list_of_files_is_one_path_a_line(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    found = find(write(tmp_path / "list.txt", "./a.jpg\r\n\n  b/c.jpg \n"))
    assert found.keys == ["a.jpg", "b/c.jpg"]
    assert found.bytes(0) == b"x"
    with pytest.raises(DataError, match=r"is no list of files: none of its lines has one of the endings \.jpg"):
        find(write(tmp_path / "text.txt", "Hello.\nHow are you?\n"))


@pytest.mark.parametrize(
    ("cell", "reason"), [("https://a.org/x.jpg", "web address"), ("in", "a folder"), ("/dev/zero", "not a plain file")]
)
def test_what_is_no_file_is_never_read(tmp_path, cell, reason):
    (tmp_path / "in").mkdir()
    with pytest.raises(OSError, match=reason):
        find(write(tmp_path / "m.csv", f"path\n{cell}\n")).bytes(0)


def test_cells_and_lines_may_be_the_samples(tmp_path):
    text = {"extensions": frozenset({".txt"}), "columns": ("text",), "inline": True, "kind": "text"}
    found = find(write(tmp_path / "t.csv", 'text,category\n"hello, you",x\nbye,y\n'), **text)
    assert (found.bytes(0), found.keys) == (b"hello, you", ["t.csv#0", "t.csv#1"])
    found = find(write(tmp_path / "t.txt", "one\n\n two\n"), **text)
    assert ([found.bytes(i) for i in range(2)], found.keys) == ([b"one", b" two"], ["t.txt#0", "t.txt#2"])


def test_manifests_with_other_columns_are_joined(tmp_path):
    write(tmp_path / "a-1.csv", "path\na\nb\n")
    write(tmp_path / "a-2.csv", "label,path,positive\nx,c,p.jpg\n")
    write(tmp_path / "a-3.csv", "path,group\nd,g\n")
    found = find(tmp_path / "a-*.csv")
    assert (found.keys, found.labels.tolist()) == (["a", "b", "c", "d"], [-1, -1, 0, -1])
    assert len(set(found.groups.tolist())) == 4
    assert [found.positives.has(i) for i in range(4)] == [False, False, True, False]


def test_a_long_manifest_is_not_held_as_objects(tmp_path):
    rows = 100_000
    lines = (f"class {i % 10}/picture {i:07d}.jpg,class {i % 10},{i // 10}\n" for i in range(rows))
    file = write(tmp_path / "m.csv", "path,label,group\n" + "".join(lines))
    find(file)
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        found = find(file)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    text = len("class 0/picture 0000000.jpg")
    assert len(found) == rows
    assert held < rows * 5 * 8  # rows, labels and groups: an object would take 50 and more for each string alone
    assert pa.total_allocated_bytes() - before < rows * 2 * (text + 8) + 2**20  # the paths, which are the keys
    assert peak < held + 12 * 2**20
