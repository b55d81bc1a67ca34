"""What a run keeps for its page: read back as written, and refused where it was altered."""

import json

import pytest

from nearfar.contract import Card
from nearfar.errors import DataError
from nearfar.reporting import kept, payload
from nearfar.reporting.kept import Costs, Kept
from nearfar.reporting.report import Report, ViewsRow, render


@pytest.fixture
def saved(make_report, tmp_path):
    found = Kept(
        step=7,
        facts={"Method": "SimCLR"},
        alarms=[{"step": 1, "name": "slow_data", "sentence": "It waited."}],
        costs=Costs(seconds=12.5, steps=7, memory=10**9),
        shown=payload.shown(make_report()),
    )
    kept.save(tmp_path, found)
    return found


def test_what_is_kept_is_read_back(saved, tmp_path):
    assert kept.load(tmp_path) == saved


def test_the_page_of_what_is_kept_is_the_page_that_it_was_made_with(saved, tmp_path, make_report):
    whole = make_report()
    parts = {"map": None, "views": [], "found": [], "closest": [], "strangest": []}
    again = make_report(**parts, shown=kept.load(tmp_path).shown)
    assert render(again) == render(whole)


def altered(path, change):
    stored = json.loads((path / kept.PAGE).read_text())
    change(stored)
    (path / kept.PAGE).write_text(json.dumps(stored))


@pytest.mark.parametrize(
    "change",
    [
        lambda stored: stored.update(format=2),
        lambda stored: stored.pop("shown"),
        lambda stored: stored["costs"].update(memory="much"),
        lambda stored: stored["shown"]["images"].append("https://example.org/a.png"),
        lambda stored: stored["shown"]["images"].append("data:image/svg+xml;base64,AA=="),
        lambda stored: stored["shown"]["samples"][0].__setitem__(2, 10**6),
        lambda stored: stored["shown"]["samples"][0].__setitem__(0, ["no", "text"]),
        lambda stored: stored["shown"]["closest"][0].__setitem__(0, 10**6),
        lambda stored: stored["shown"]["map"]["neighbours"][0].__setitem__(0, -1),
        lambda stored: stored["shown"]["map"]["xy"].pop(),
    ],
)
def test_what_was_altered_is_refused(saved, tmp_path, change):
    altered(tmp_path, change)
    with pytest.raises(DataError, match=r"page\.json"):
        kept.load(tmp_path)


def test_what_it_does_not_know_never_reaches_the_page(saved, tmp_path):
    altered(tmp_path, lambda stored: stored["shown"].update(title="another", verdict=None))
    assert "title" not in kept.load(tmp_path).shown


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(DataError, match=r"page\.json.*cannot be read"):
        kept.load(tmp_path)


def test_a_kept_run_stays_as_small_as_its_page(tmp_path):
    png = b"\x89PNG\r\n\x1a\n"
    cards = [Card(key=str(i), image=png + i.to_bytes(4, "big") + bytes(9_000)) for i in range(1_000)]
    shown = payload.shown(Report(title="", views=[ViewsRow(item=card, views=[]) for card in cards]))
    kept.save(tmp_path, Kept(step=1, facts={}, alarms=[], costs=Costs(), shown=shown))
    assert (tmp_path / kept.PAGE).stat().st_size < 6_000_000
