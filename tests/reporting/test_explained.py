"""Explained pairs on the page: heat over what is seen, coloured names of what is read, and nothing altered gets in."""

import json

import numpy as np
import pytest

from nearfar.contract import Card
from nearfar.errors import DataError
from nearfar.inspection.explain.explanation import explain
from nearfar.reporting import kept, payload
from nearfar.reporting.explained import Explained
from nearfar.reporting.kept import Costs, Kept
from nearfar.reporting.report import Report, write
from tests.inspection.explain.linear import linear
from tests.inspection.explain.test_figure import changed

EVIL = '<img src=x onerror="alert(1)">'


@pytest.fixture
def report():
    seen = explain(*linear(parts=4, grid=(2, 2)))
    seen = changed(seen, backdrop=np.full((8, 8, 3), 99, dtype=np.uint8))
    read = changed(explain(*linear(parts=3)), names=["one", EVIL, "three"], running=True)
    listed = explain(*linear(parts=14))
    cards = [Card(key=f"{name}/{EVIL}") for name in "ab"]
    pairs = [Explained(a=cards[0], b=cards[1], found=found) for found in (seen, read, listed)]
    return Report(title="pairs", explained=pairs)


def test_heat_is_drawn_over_what_is_seen_and_names_have_theirs(report):
    shown = payload.shown(report)
    seen, read, listed = shown["explained"]
    assert shown["samples"][seen["sides"][0]["heat"]][2] is not None
    assert [name for name, _ in read["sides"][0]["parts"]] == ["one", EVIL, "three"]
    assert max(abs(heat) for _, heat in read["sides"][0]["parts"]) == 1
    assert read["method"] == "shares"
    heats = [abs(heat) for _, heat in listed["sides"][0]["parts"]]
    assert heats == sorted(heats, reverse=True)
    assert (len(heats), listed["sides"][0]["more"]) == (10, 4)


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry["sides"][0].update(item=10**6),
        lambda entry: entry["sides"][0].update(heat=-1),
        lambda entry: entry["sides"][0]["parts"].append([1, 2]),
        lambda entry: entry["sides"][0]["parts"].append(["name", "much"]),
        lambda entry: entry.update(cosine="high"),
        lambda entry: entry.pop("sides"),
    ],
)
def test_what_was_altered_is_refused(report, tmp_path, change):
    kept.save(tmp_path, Kept(step=1, facts={}, alarms=[], costs=Costs(), shown=payload.shown(report)))
    assert len(kept.load(tmp_path).shown["explained"]) == 3
    stored = json.loads((tmp_path / kept.PAGE).read_text())
    change(stored["shown"]["explained"][1])
    (tmp_path / kept.PAGE).write_text(json.dumps(stored))
    with pytest.raises(DataError, match=r"page\.json"):
        kept.load(tmp_path)


def test_what_an_earlier_version_kept_has_no_explanations(report, tmp_path):
    shown = {name: value for name, value in payload.shown(report).items() if name != "explained"}
    kept.save(tmp_path, Kept(step=1, facts={}, alarms=[], costs=Costs(), shown=shown))
    assert kept.load(tmp_path).shown["explained"] == []


def test_the_page_shows_them_as_text_alone(report, browser, tmp_path):
    write(report, tmp_path / "page.html")
    page = browser.new_page(viewport={"width": 390, "height": 800})
    errors = []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((tmp_path / "page.html").as_uri())
    section = page.locator("#explained")
    assert section.locator(".explanation").count() == 3
    assert section.locator(".beside img").count() == 2, "one of each side: these samples have no picture of their own"
    assert EVIL in section.locator(".parts").first.inner_text()
    near = section.locator(".part-heat.is-near").first
    assert near.evaluate("node => getComputedStyle(node).backgroundColor") not in ("rgba(0, 0, 0, 0)", "transparent")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
    assert errors == []
