import json
import tracemalloc

import pyarrow as pa
import pytest

from nearfar.data.reader import open_samples, splits_of
from nearfar.errors import DataError

JPG = frozenset({".jpg"})


def find(data, **more):
    return open_samples(str(data), extensions=JPG, columns=("image", "path", "file"), **more)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def reasons(found):
    return [(one.key, one.reason) for one in found.skipped]


def test_columns_are_found_by_name_in_any_case(tmp_path):
    found = find(write(tmp_path / "m.csv", "Id,Path,CLASS\n1,a.jpg,cat\n2,b.jpg,dog\n"))
    assert found.keys == ["a.jpg", "b.jpg"]
    assert found.labels.tolist() == [0, 1]
    assert found.label_names == ("cat", "dog")


def test_paths_are_relative_to_the_manifest(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"x")
    found = find(write(tmp_path / "m.csv", "path\nin/a.jpg\n"))
    assert found.bytes(0) == b"x"
    assert found.keys == ["in/a.jpg"]


def test_an_absolute_path_below_the_manifest_gets_a_relative_key(tmp_path):
    assert find(write(tmp_path / "m.csv", f"path\n{tmp_path}/a.jpg\n")).keys == ["a.jpg"]


def test_a_path_twice_gives_two_keys(tmp_path):
    assert find(write(tmp_path / "m.csv", "path\na.jpg\na.jpg\nb.jpg\n")).keys == ["a.jpg#0", "a.jpg#1", "b.jpg"]


@pytest.mark.parametrize(("name", "mark"), [("m.csv", ";"), ("m.csv", "\t"), ("m.tsv", "\t")])
def test_other_separators_work(tmp_path, name, mark):
    found = find(write(tmp_path / name, f"path{mark}label\na.jpg{mark}x, y\n"))
    assert found.label_names == ("x, y",)


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path):
    (tmp_path / "m.csv").write_bytes(b"\xef\xbb\xbfpath\na.jpg\n")
    assert find(tmp_path / "m.csv").keys == ["a.jpg"]


def test_utf16_of_spreadsheets_is_read(tmp_path):
    (tmp_path / "m.csv").write_bytes("path,label\na.jpg,käfer\n".encode("utf-16"))
    assert find(tmp_path / "m.csv").label_names == ("käfer",)


def test_jsonl_rows_are_read(tmp_path):
    rows = [{"image": "a.jpg", "label": 3}, {"image": "b.jpg", "label": None}, {"image": "c.jpg"}]
    found = find(write(tmp_path / "m.jsonl", "\n".join(map(json.dumps, rows))))
    assert found.label_names == ("3",)
    assert found.labels.tolist() == [0, -1, -1]


def test_missing_labels_are_minus_one(tmp_path):
    found = find(write(tmp_path / "m.csv", "path,label\na.jpg,\nb.jpg,-1\nc.jpg,7\nd.jpg,3\n"))
    assert found.labels.tolist() == [-1, -1, 1, 0]


def test_labels_that_are_all_missing_are_no_labels(tmp_path):
    assert find(write(tmp_path / "m.csv", "path,label\na.jpg,\nb.jpg,-1\n")).labels is None


def test_whole_numbers_are_ordered_as_numbers(tmp_path):
    assert find(write(tmp_path / "m.csv", "path,label\na.jpg,10\nb.jpg,9\n")).label_names == ("9", "10")


def test_a_missing_group_is_a_group_of_its_own(tmp_path):
    groups = find(write(tmp_path / "m.csv", "path,group\na,g\nb,g\nc,\nd,\n")).groups
    assert groups[0] == groups[1]
    assert len(set(groups.tolist())) == 3


def test_domains_are_numbered(tmp_path):
    found = find(write(tmp_path / "m.csv", "path,domain\na,photo\nb,art\n"))
    assert (found.domains.tolist(), found.domain_names) == ([1, 0], ("art", "photo"))


def test_positives_and_negatives_go_with_their_row(tmp_path):
    (tmp_path / "p.jpg").write_bytes(b"p")
    found = find(write(tmp_path / "m.csv", "path,positive,negative\na,p.jpg,\nb,,n.jpg\n"))
    assert found.positives.bytes(0) == b"p"
    assert found.negatives.path(1) == str(tmp_path / "n.jpg")
    with pytest.raises(OSError, match="no path given"):
        found.positives.bytes(1)


def test_a_split_column_picks_rows_and_keeps_class_numbers(tmp_path):
    file = write(tmp_path / "m.csv", "path,label,split\na,cat,train\nb,dog,train\nc,dog,validation\n")
    assert splits_of(str(file)) == ["train", "validation"]
    found = find(f"{file}:val")
    assert (found.keys, found.labels.tolist(), found.label_names) == (["c"], [1], ("cat", "dog"))
    assert find(file).keys == ["a", "b"]
    assert find(f"{file}:all").keys == ["a", "b", "c"]


def test_a_row_with_the_wrong_number_of_fields_is_skipped(tmp_path):
    found = find(write(tmp_path / "m.csv", "path,label\na.jpg,cat\nb.jpg\nc.jpg,dog,x\nd.jpg,dog\n"))
    assert found.keys == ["a.jpg", "d.jpg"]
    assert reasons(found) == [
        ("m.csv#1", "1 fields where the header has 2"),
        ("m.csv#2", "3 fields where the header has 2"),
    ]


def test_a_nul_character_in_a_path_is_skipped(tmp_path):
    found = find(write(tmp_path / "m.csv", "path\na.jpg\nb\0.jpg\n"))
    assert found.keys == ["a.jpg"]
    assert reasons(found) == [("m.csv#1", "a path with a NUL character")]


def test_an_empty_cell_is_skipped(tmp_path):
    assert reasons(find(write(tmp_path / "m.csv", "path,label\n,cat\na.jpg,dog\n"))) == [("m.csv#0", "empty cell")]


def test_a_damaged_line_of_json_is_skipped(tmp_path):
    found = find(write(tmp_path / "m.jsonl", '{"path": "a"}\n{"path": \n[1]\n' + "[" * 100_000 + "\n"))
    assert found.keys == ["a"]
    assert [one.reason for one in found.skipped] == ["not a line of JSON", "not a JSON object", "not a line of JSON"]


def test_a_manifest_without_a_column_of_samples_names_its_columns(tmp_path):
    with pytest.raises(DataError, match="its columns are 'x', 'y'; name one of them image or path or file"):
        find(write(tmp_path / "m.csv", "x,y\n1,2\n"))


def test_an_empty_manifest_is_an_error(tmp_path):
    with pytest.raises(DataError, match="the file is empty"):
        find(write(tmp_path / "m.csv", ""))


def test_a_list_of_files_is_one_path_a_line(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    found = find(write(tmp_path / "list.txt", "./a.jpg\r\n\n  b/c.jpg \n"))
    assert found.keys == ["a.jpg", "b/c.jpg"]
    assert found.bytes(0) == b"x"


def test_windows_paths_are_found_elsewhere(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"x")
    assert find(write(tmp_path / "m.csv", "path\nin\\a.jpg\n")).bytes(0) == b"x"


@pytest.mark.parametrize(
    ("cell", "reason"), [("https://a.org/x.jpg", "web address"), ("in", "a folder"), ("/dev/zero", "not a plain file")]
)
def test_what_is_no_file_is_never_read(tmp_path, cell, reason):
    (tmp_path / "in").mkdir()
    with pytest.raises(OSError, match=reason):
        find(write(tmp_path / "m.csv", f"path\n{cell}\n")).bytes(0)


def test_inline_cells_are_the_samples(tmp_path):
    file = write(tmp_path / "t.csv", 'text,category\n"hello, you",x\nbye,y\n')
    found = open_samples(str(file), extensions=frozenset({".txt"}), columns=("text",), inline=True, kind="text")
    assert found.bytes(0) == b"hello, you"
    assert found.keys == ["t.csv#0", "t.csv#1"]


def test_inline_lines_of_a_text_file_are_the_samples(tmp_path):
    file = write(tmp_path / "t.txt", "one\n\n two\n")
    found = open_samples(str(file), extensions=frozenset({".txt"}), columns=("text",), inline=True, kind="text")
    assert [found.bytes(i) for i in range(2)] == [b"one", b" two"]
    assert found.keys == ["t.txt#0", "t.txt#2"]


def test_a_folder_of_tables_named_as_splits_has_these_splits(tmp_path):
    write(tmp_path / "train.csv", "text,label\na,x\n")
    write(tmp_path / "test.csv", "text,label\nb,x\n")
    found = open_samples(f"{tmp_path}:test", extensions=frozenset({".txt"}), columns=("text",), inline=True)
    assert found.keys == ["test.csv#0"]
    assert splits_of(str(tmp_path)) == ["test", "train"]


def test_a_pattern_joins_manifests(tmp_path):
    write(tmp_path / "a-1.csv", "path,label\na,x\n")
    write(tmp_path / "a-2.csv", "label,path\ny,b\n")
    found = find(tmp_path / "a-*.csv")
    assert (found.keys, found.labels.tolist()) == (["a", "b"], [0, 1])


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


def test_manifests_with_other_columns_are_joined(tmp_path):
    write(tmp_path / "a-1.csv", "path\na\nb\n")
    write(tmp_path / "a-2.csv", "path,label,positive\nc,x,p.jpg\n")
    write(tmp_path / "a-3.csv", "path,group\nd,g\n")
    found = find(tmp_path / "a-*.csv")
    assert found.labels.tolist() == [-1, -1, 0, -1]
    assert len(set(found.groups.tolist())) == 4
    assert [found.positives.has(i) for i in range(4)] == [False, False, True, False]


def test_a_header_may_have_several_lines(tmp_path):
    found = find(write(tmp_path / "m.csv", '\n"path","a\nb",label\n0.jpg,1,cat\n'))
    assert (found.keys, found.label_names) == (["0.jpg"], ("cat",))


def test_a_header_with_a_huge_field_is_refused(tmp_path):
    with pytest.raises(DataError, match="its header is no row of a table: field larger than field limit"):
        find(write(tmp_path / "m.csv", f"path,{'x' * 200_000}\na.jpg,b\n"))


def test_half_a_character_in_json_costs_its_row_alone(tmp_path):
    (tmp_path / "b.jpg").write_bytes(b"x")
    rows = ['{"image": "\\ud800.jpg", "label": "\\udfff", "positive": "\\ud800"}', '{"image": "b.jpg"}']
    found = find(write(tmp_path / "m.jsonl", "\n".join(rows)))
    assert found.keys == ["\\ud800.jpg", "b.jpg"]
    assert found.bytes(1) == b"x"
    with pytest.raises(OSError, match="No such file"):
        found.bytes(0)
