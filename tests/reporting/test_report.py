"""The page as text: strict JSON, nothing of the user's as markup, small, whole or not written."""

import json
import math
import os
import re

import numpy as np
import pytest

from nearfar.contract import Card
from nearfar.errors import DataError
from nearfar.evaluation import Evaluation, Row
from nearfar.evaluation.intervals import figure
from nearfar.reporting import payload
from nearfar.reporting.report import MapData, Report, ViewsRow, render, write

HOSTILE = [
    '"><img src=x onerror=alert(1)>.jpg',
    "</script><script>alert(1)</script>",
    "<!--<script>",
]
PNG = b"\x89PNG\r\n\x1a\n"


def embedded(page):
    """The page's data, read as strictly as a browser does."""

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1]
    return json.loads(text, parse_constant=refuse)


def minimal(**parts):
    return Report(title="run", **parts)


def test_a_report_of_a_title_alone_renders():
    data = embedded(render(minimal()))
    assert data["verdict"] is None
    assert data["map"] is None
    assert data["evaluation"] is None


def test_the_policy_allows_no_network():
    page = render(minimal())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:;"
    )


def test_the_page_names_no_address_but_the_svg_namespace(make_report):
    assert set(re.findall(r"https?://[^\s\"')]*", render(make_report()))) == {"http://www.w3.org/2000/svg"}


def test_the_script_never_parses_markup(make_report):
    page = render(make_report())
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "srcdoc"):
        assert word not in page


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_never_stand_in_the_page_as_they_are(make_report, name):
    items = [Card(key=name, label=name, text=name), Card(key="other")]
    page = render(
        make_report(
            items=items,
            title=name,
            evaluation=Evaluation(name, [name], [Row(name, name, name, {name: name}, figure(1, 1), fault=name)]),
            config=name,
            facts={name: name},
            environment={name: name},
            skipped=[{"key": name, "reason": name}],
            alarms=[{"step": 1, "name": name, "sentence": name}],
        )
    )
    assert name not in page
    assert embedded(page)["samples"][0] == [name, name, None, name, None]


def test_data_holds_no_character_that_could_end_a_script_or_a_line():
    data = payload.to_json({"x": "<>&\u2028\u2029\x00\n"})
    assert data == '{"x":"\\u003c\\u003e\\u0026\\u2028\\u2029\\u0000\\n"}'


def test_marks_of_the_template_in_user_text_stay_text():
    mark = "<!--nearfar:script--> /*nearfar:style*/ \\g<0> \\1"
    page = render(minimal(config=mark))
    assert embedded(page)["config"] == mark
    assert page.count("const data = JSON.parse") == 1


def test_keys_that_are_not_utf8_can_be_written(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    write(minimal(facts={"Data": name}, skipped=[{"key": name, "reason": "broken"}]), tmp_path / "report.html")
    assert "caf" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_title_that_is_not_utf8_can_be_written(tmp_path):
    write(Report(title=os.fsdecode(b"caf\xe9")), tmp_path / "report.html")
    assert "<title>caf?</title>" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_numbers_that_are_not_finite_never_reach_the_page(make_map, value):
    items = [Card(key=str(i)) for i in range(3)]
    points = make_map(items, k=2)
    similarities = points.similarities.copy()
    similarities[0, 0] = value
    data = embedded(
        render(
            minimal(
                metrics=[{"step": 1, "loss": 2.0}, {"step": 2, "loss": value}],
                map=MapData(xy=points.xy, items=items, neighbours=points.neighbours, similarities=similarities),
                evaluation=Evaluation("", ["a"], [Row("a", "t", "m", {}, figure(value, 1))]),
                environment={"x": value},
                alarms=[{"step": value, "name": "nan", "sentence": "Not a number."}],
            )
        )
    )
    assert data["curves"] == [{"name": "loss", "steps": [1], "values": [2.0], "not_finite": 1}]
    assert data["map"]["similarities"][0][0] is None
    assert data["evaluation"]["sections"][0]["rows"][0]["cells"] == [None]


def test_sparse_fields_keep_their_own_steps():
    metrics = [{"step": s, "loss": float(s)} | ({"knn": 0.5} if s == 70 else {}) for s in range(0, 100, 10)]
    assert [(c["name"], len(c["steps"])) for c in payload.curves(metrics)] == [("loss", 10), ("knn", 1)]


def test_long_curves_are_thinned_but_keep_ends_and_spikes():
    values = [0.0] * 12_345
    values[7_001] = 9.0
    values[9_000] = -9.0
    kept = payload.thin(values, 500)
    assert len(kept) <= 500
    assert {0, 7_001, 9_000, 12_344} <= set(kept)
    assert kept == sorted(set(kept))


def test_the_same_picture_is_stored_once():
    items = [Card(key=str(i), image=PNG + b"same") for i in range(5)]
    xy = np.zeros((5, 2), np.float32)
    none = np.zeros((5, 0), np.int64)
    data = embedded(
        render(minimal(map=MapData(xy=xy, items=items, neighbours=none, similarities=none.astype(np.float32))))
    )
    assert len(data["images"]) == 1
    assert len(data["samples"]) == 5


def test_the_page_stays_small_whatever_the_thumbnails(make_report):
    items = [Card(key=str(i), image=PNG + i.to_bytes(4, "big") + bytes(9_000)) for i in range(1_000)]
    page = render(make_report(items=items))
    data = embedded(page)
    assert len(page) < 6_000_000
    assert data["images_left_out"] == 1_000 - len(data["images"])
    # The galleries keep theirs, and the map's gaps are spread over it.
    assert all(data["samples"][i][2] is not None for row in data["views"] for i in [row["item"], *row["views"]])
    kept = [data["samples"][i][2] is not None for i in data["map"]["items"]]
    assert min(sum(kept[i : i + 100]) for i in range(0, 1_000, 100)) > 10


def test_long_texts_are_cut():
    assert len(payload.build(minimal(map=None, strangest=[]))["samples"]) == 0
    xy = np.full((1, 2), 0.5, np.float32)
    none = np.zeros((1, 0), np.int64)
    points = MapData(
        xy=xy, items=[Card(key="k", text="x" * 9_999)], neighbours=none, similarities=none.astype(np.float32)
    )
    assert payload.build(minimal(map=points))["samples"][0][3] == "x" * 499 + "\u2026"


def test_many_long_texts_are_cut_shorter(make_map, make_report):
    items = [Card(key=str(i), text=f"{i} " + "\u6587" * 600) for i in range(1_500)]
    page = render(make_report(items=items))
    samples = embedded(page)["samples"]
    assert len(page) < 6_000_000
    assert {len(sample[3]) for sample in samples} == {payload.MAX_TEXT, payload.SHORT_TEXT}


def test_the_page_stays_small_with_pictures_and_sounds_and_texts(make_map, make_report):
    sounds = [b"OggS" + i.to_bytes(4, "big") + bytes(5_000) for i in range(1_500)]
    items = [
        Card(key=f"{i}/" + "k" * 90, image=PNG + sound, media=sound, text="\u00e4" * 600)
        for i, sound in enumerate(sounds)
    ]
    assert len(render(make_report(items=items))) < 6_000_000


def test_two_hundred_skipped_inputs_are_listed_and_all_are_counted():
    skipped = [{"key": str(i), "reason": "broken"} for i in range(300)]
    data = payload.build(minimal(skipped=skipped, skipped_total=1_234))
    assert len(data["skipped"]) == 200
    assert data["skipped_total"] == 1_234


def test_figures_stand_by_task_with_a_cell_a_system(make_report):
    found = embedded(render(make_report()))["evaluation"]
    assert [section["task"] for section in found["sections"]] == ["classify", "label free"]
    row = found["sections"][0]["rows"][0]
    assert [cell["mean"] for cell in row["cells"]] == [0.35, 0.4, 0.793]
    assert row["marks"] == [["raw input", "ahead", "+44.3 ± 1.2"], ["untrained encoder", "ahead", "+39.3 ± 1.2"]]
    assert (row["name"], row["words"]) == ("kNN, k = 20, all labels", ["kNN"])
    assert ["Test samples", "10,000"] in found["counts"]


def test_values_of_numpy_in_records_and_environment_are_plain():
    data = payload.build(
        minimal(metrics=[{"step": np.int64(3), "loss": np.float32(0.5)}], environment={"n": np.int64(2)})
    )
    assert data["curves"][0]["values"] == [0.5]
    assert data["environment"] == [["n", "2"]]


def test_nested_environment_is_flattened():
    assert payload.build(minimal(environment={"a": {"b": "1"}, "c": [1, 2]}))["environment"] == [
        ["a.b", "1"],
        ["c", "[1, 2]"],
    ]


def test_writing_replaces_the_old_page_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    write(minimal(), path)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert os.listdir(tmp_path) == ["report.html"]


def test_the_same_report_gives_the_same_page(make_report):
    assert render(make_report()) == render(make_report())


def test_sounds_have_a_budget_of_their_own(make_map, make_report):
    items = [Card(key=str(i), image=PNG, media=b"OggS" + i.to_bytes(4, "big") + bytes(9_000)) for i in range(400)]
    data = embedded(render(make_report(items=items)))
    assert data["media_left_out"] == 400 - len(data["media"]) > 0 == data["images_left_out"]
    assert all(address.startswith("data:audio/ogg;base64,") for address in data["media"])
    assert sum(map(len, data["media"])) <= payload.MEDIA_BUDGET


def test_a_thumbnail_of_another_kind_is_refused():
    card = Card(key="a.svg", image=b"<svg onload=alert(1)>")
    with pytest.raises(DataError, match=r"thumbnail of 'a\.svg' is neither JPEG, PNG nor WebP"):
        render(minimal(views=[ViewsRow(item=card, views=[])]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"xy": np.zeros((2, 2), np.float32)}, r"xy of shape \(3, 2\), got \(2, 2\)"),
        ({"xy": np.full((3, 2), np.nan, np.float32)}, "point of the map is not finite"),
        ({"neighbours": np.zeros((3, 2), np.int64)}, r"must both be \[3, k\]"),
        ({"neighbours": np.full((3, 1), 3)}, "points outside its 3 items"),
    ],
)
def test_a_map_that_does_not_fit_together_is_refused(change, message):
    good = {
        "xy": np.zeros((3, 2), np.float32),
        "items": [Card(key=str(i)) for i in range(3)],
        "neighbours": np.zeros((3, 1), np.int64),
        "similarities": np.zeros((3, 1), np.float32),
    }
    with pytest.raises(DataError, match=message):
        MapData(**{**good, **change})
