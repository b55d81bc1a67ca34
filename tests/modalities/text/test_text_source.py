"""Texts in all the forms that people keep them in, and what their columns mean."""

import numpy as np
import pytest

from nearfar.errors import DataError
from nearfar.modalities import registry
from nearfar.modalities.opening import open_source

TEXTS = [
    "The card was declined twice today",
    "Where is my new card now",
    "我今天早上喝了一杯咖啡",
    "A cat sits on the mat",
]
OTHERS = ["My card did not work today", "When does my card arrive", "他昨天晚上没有睡好觉", "A dog lies on the rug"]


def opened(path, **more):
    assert registry.find(str(path)) == "text"
    return open_source(registry.load("text"), str(path), least=2, **more)


def strings(source):
    return list(source.fetch(np.arange(len(source)))[0].strings)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_line_is_a_text_in_any_encoding_that_says_itself(tmp_path, encoding):
    (tmp_path / "lines.txt").write_text("\n\n".join(TEXTS), encoding=encoding)
    assert strings(opened(tmp_path / "lines.txt")) == TEXTS


def test_a_folder_of_files_has_a_text_a_file_and_classes(tmp_path):
    for i, text in enumerate(TEXTS):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        (tmp_path / "ab"[i % 2] / f"{i}.txt").write_text(text, encoding="utf-8")
    source = opened(tmp_path)
    assert strings(source) == [TEXTS[i] for i in (0, 2, 1, 3)]
    assert source.label_names == ("a", "b")


@pytest.mark.parametrize(
    ("header", "positive", "negative", "scores"),
    [
        ("sentence1,sentence2,score", True, False, True),
        ("sentence_a,sentence_b,relatedness", True, False, True),
        ("sentence1,sentence2,label", True, False, True),
        ("anchor,positive,negative", True, True, False),
        ("question,answer,topic", True, False, False),
        ("text,topic,label", False, False, False),
        (None, True, False, True),
    ],
)
def test_columns_are_known_by_their_names_or_their_cells(tmp_path, header, positive, negative, scores):
    third = OTHERS[::-1] if negative else [f"{i}.5" for i in range(4)]
    rows = [",".join(row) for row in zip(TEXTS, OTHERS, third, strict=True)]
    (tmp_path / "d.csv").write_text("\n".join([header] * (header is not None) + rows), encoding="utf-8")
    source = opened(tmp_path / "d.csv")
    assert strings(source) == TEXTS
    assert (source.positives is not None, source.negatives is not None) == (positive, negative)
    assert (source.scores is not None) == scores
    if positive:
        assert strings(source.positives) == OTHERS


def test_one_of_several_negatives_is_drawn_by_key(tmp_path):
    names = [f"negative_{i}" for i in range(3)]
    rows = [[text, "so it is", *(f"not {i} of {text}" for i in range(3))] for text in TEXTS]
    rows[3][2:4] = ["", ""]
    lines = [",".join(row) for row in [["anchor", "positive", *names], *rows]]
    (tmp_path / "d.csv").write_text("\n".join(lines), encoding="utf-8")
    source, at = opened(tmp_path / "d.csv"), np.arange(4)
    seen = set()
    for draw in range(20):
        others, rows_in = source.drawn_negatives(at, np.full(4, draw), seed=0)
        again = source.drawn_negatives(at[::-1], np.full(4, draw), seed=0)
        found = list(others.fetch(rows_in)[0].strings)
        assert list(again[0].fetch(again[1])[0].strings) == found[::-1]
        assert found[3] == f"not 2 of {TEXTS[3]}"
        seen.add(found[0])
    assert seen == {f"not {i} of {TEXTS[0]}" for i in range(3)}


def test_a_file_without_a_header_has_labels_where_few_words_come_again(tmp_path):
    (tmp_path / "d.csv").write_text("\n".join(f"{text},{'xy'[i % 2]}" for i, text in enumerate([*TEXTS, *OTHERS])))
    source = opened(tmp_path / "d.csv")
    assert source.label_names == ("x", "y")
    assert len(source) == 8


def test_a_line_of_texts_over_texts_is_no_header(tmp_path):
    (tmp_path / "d.tsv").write_text("\n".join(map("\t".join, zip(TEXTS, OTHERS, strict=True))))
    assert strings(opened(tmp_path / "d.tsv")) == TEXTS


def test_empty_texts_are_listed(tmp_path):
    (tmp_path / "d.csv").write_text("text,label\n" + "".join(f'"{text}",a\n' for text in ["one two", " ", *TEXTS]))
    source = opened(tmp_path / "d.csv")
    assert len(strings(source)) == 5
    assert [(one.key, one.reason) for one in source.skipped] == [("d.csv#1", "empty cell")]


def test_an_empty_file_of_a_folder_is_listed_when_it_is_read(tmp_path):
    for i, text in enumerate([*TEXTS, "", "  "]):
        (tmp_path / f"{i}.txt").write_text(text, encoding="utf-8")
    source = opened(tmp_path)
    assert strings(source) == TEXTS
    assert [one.reason for one in source.skipped] == ["no text in it"] * 2


def test_what_is_no_utf8_is_read_and_told(tmp_path, caplog):
    for i, text in enumerate(["un café au lait", "une tasse de thé", "du pain et du beurre"]):
        (tmp_path / f"{i}.txt").write_bytes(text.encode("cp1252"))
    assert strings(opened(tmp_path))[0] == "un café au lait"
    assert "is no UTF-8" in caplog.text


def test_equal_texts_have_equal_ids(tmp_path):
    (tmp_path / "lines.txt").write_text("\n".join([TEXTS[0], TEXTS[1], TEXTS[0]]), encoding="utf-8")
    source = opened(tmp_path / "lines.txt")
    strings(source)
    assert source.ids[0] == source.ids[2] != source.ids[1]


def test_cards_carry_the_text(tmp_path):
    (tmp_path / "lines.txt").write_text("\n".join([*TEXTS, "long " * 1000]), encoding="utf-8")
    cards = opened(tmp_path / "lines.txt").cards(np.arange(5))
    assert cards[0].text == TEXTS[0]
    assert len(cards[4].text) <= 400


def test_a_file_of_nothing_is_an_error(tmp_path):
    (tmp_path / "lines.txt").write_text("\n \n")
    with pytest.raises(DataError, match=r"lines\.txt"):
        open_source(registry.load("text"), str(tmp_path / "lines.txt"), least=2)


def test_texts_without_a_letter_or_a_digit_are_defects(tmp_path):
    (tmp_path / "lines.txt").write_text("\n".join([*TEXTS, "...", "?!", "7"]), encoding="utf-8")
    source = opened(tmp_path / "lines.txt")
    found = source.defects(np.arange(len(source)))
    assert [one.reason for one in found] == ["no letter and no digit in it: ...", "no letter and no digit in it: ?!"]


def test_a_text_that_lacks_a_word_is_near_by_its_content_and_two_sources_agree(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join([*TEXTS, "The card was declined twice"]), encoding="utf-8")
    (tmp_path / "b.txt").write_text("\n".join([*OTHERS, TEXTS[0]]), encoding="utf-8")
    one, other = (opened(tmp_path / name).content() for name in ("a.txt", "b.txt"))
    assert one.shape == (5, 2048)
    assert (one @ one[0]).argsort().tolist()[-2:] == [4, 0]
    assert (one[0] == other[4]).all()
