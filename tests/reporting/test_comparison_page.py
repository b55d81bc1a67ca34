"""The page of several runs: what it shows, that names stay text, and how it is used."""

import json
import re

import pytest

from nearfar.evaluation import Row
from nearfar.evaluation.comparison import Judged
from nearfar.evaluation.intervals import figure
from nearfar.reporting.comparison_page import Compared, build, write
from nearfar.reporting.kept import Costs
from tests.reporting.conftest import evaluation, figure_rows, records

KNN = {"probe": "kNN", "k": 20, "labels per class": "all"}


def compared(name, accuracy, *, seconds=100.0, config=None, metrics=None, **more):
    rows = [
        *figure_rows("accuracy", KNN, (0.35, 0.4, accuracy)),
        *figure_rows("effective rank", {}, (30.0, 12.0, 41.0), role="shown", share=False, leads=False),
    ]
    return Compared(
        judged=Judged(name, evaluation(rows=rows, **more), {}),
        costs=Costs(seconds=seconds, steps=1200, seen=64_000, memory=2_000_000_000, parameters=11_000_000),
        metrics=list(records()) if metrics is None else metrics,
        config={"format": 1, "chosen": {"lr": "usual"}, "model": {"method": "simclr"}, **(config or {})},
        environment={"processor": "Xeon"},
    )


@pytest.fixture
def runs():
    return [
        compared("first", 0.6, config={"optimisation": {"lr": 0.1}}),
        compared("second", 0.8, seconds=250.0, config={"optimisation": {"lr": 0.2}}),
    ]


def embedded(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_it_holds_the_verdict_costs_settings_and_curves(runs, tmp_path):
    found = write(tmp_path / "c.html", runs)
    data = embedded(tmp_path / "c.html")
    assert found.headline == data["headline"] == "second is better than first."
    assert data["best"] == 1
    assert data["costs"][0] == ["Training time", ["1 min 40 s", "4 min 10 s"], [0.4, 1.0]]
    assert ["Samples a second", ["640", "256"], [None, None]] in data["costs"]
    assert ["Memory, at most", ["2.00 GB", "2.00 GB"], [1.0, 1.0]] in data["costs"]
    assert data["differing"] == [["lr", ["0.1", "0.2"]]]
    assert data["machines"] == []
    assert [line["run"] for line in data["curves"][0]["lines"]] == [0, 1]
    assert data["evaluation"]["sections"][0]["rows"][0]["marks"] == [["first", "ahead", "+20.0 ± 1.7"]]


def test_a_figure_that_one_run_lacks_is_left_empty(runs):
    odd = compared("odd", 0.5)
    odd.judged.evaluation.rows.append(Row("trained encoder", "retrieve", "mrr", {}, figure(0.5, 9)))
    rows = build_of([runs[0], odd])["evaluation"]["sections"][-1]["rows"]
    assert [row["cells"] for row in rows if row["metric"] == "mrr"] == [
        [None, {"mean": 0.5, "low": None, "high": None}]
    ]


def build_of(runs):
    from nearfar.evaluation.comparison import compare

    return build(compare([run.judged for run in runs]), runs)


def test_other_machines_are_said(runs):
    other = compared("third", 0.8)
    object.__setattr__(other, "environment", {"processor": "Apple"})
    data = build_of([runs[0], other])
    assert data["machines"] == [["processor", ["Xeon", "Apple"]]]
    assert "different machines" in data["costs_note"]


def test_costs_that_nobody_knows_have_no_line(runs):
    bare = [Compared(judged=run.judged) for run in runs]
    data = build_of(bare)
    assert data["costs"] == data["curves"] == data["differing"] == []


@pytest.fixture
def show(browser, tmp_path):
    """Write a comparison and open it; at the end nothing was said on the console."""
    opened = []

    def show(runs, *, width=1280, **options):
        write(tmp_path / "c.html", runs)
        page = browser.new_context(
            viewport={"width": width, "height": 900}, reduced_motion="reduce", **options
        ).new_page()
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((tmp_path / "c.html").as_uri())
        opened.append((page, said, asked))
        return page

    yield show
    for page, said, asked in opened:
        page.context.close()
        assert said == []
        assert [url for url in asked[1:] if not url.startswith("data:")] == []


@pytest.mark.parametrize("width", [390, 1280])
def test_it_is_drawn_whole_and_no_wider_than_the_screen(show, runs, width):
    page = show(runs, width=width)
    ids = page.eval_on_selector_all("main > section", "nodes => nodes.map(node => node.id)")
    assert ids == ["verdict", "evaluation", "costs", "differences", "training", "meanings"]
    assert page.locator("h1").inner_text() == "second is better than first."
    assert page.locator("#training .plot path.end").count() >= 2
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_pointing_at_a_chart_reads_all_runs_there(show, runs):
    page = show(runs)
    plot = page.locator(".plot").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60)
    assert "at step" in page.locator(".reading").first.inner_text()
    assert page.locator(".readings").first.locator("b").count() == 2


def test_curves_are_drawn_along_time_where_it_is_known(show, runs):
    metrics = [{"step": s, "seconds": 2.0 * s, "loss": 5 - s / 10} for s in range(1, 20)]
    page = show([runs[0], compared("timed", 0.7, metrics=metrics)])
    page.get_by_role("button", name="By time").click()
    page.locator(".plot").first.focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator(".reading").first.inner_text() == "at 38 s"
    assert page.locator("#training .readings .name").all_inner_texts() == ["timed"]


def test_what_a_figure_means_is_shown_by_keyboard_and_goes_by_escape(show, runs):
    page = show(runs)
    page.locator("a.term").first.focus()
    assert page.locator("#hint").inner_text() == "The nearest vote."
    assert page.locator("a.term").first.get_attribute("aria-describedby") == "hint"
    page.keyboard.press("Escape")
    assert page.locator("#hint").is_hidden()


@pytest.mark.parametrize("name", ['"><img src=x onerror=alert(1)>', "</script><script>alert(1)</script>", "__proto__"])
def test_hostile_names_are_only_text(show, runs, name):
    odd = compared(
        name, 0.9, config={"data": {"data": name, name: name}}, metrics=[{"step": 1, name: 1.0, "loss": 2.0}]
    )
    object.__setattr__(odd, "environment", {name: name})
    page = show([runs[0], odd])
    page.eval_on_selector_all("details", "nodes => nodes.forEach(node => { node.open = true; })")
    assert page.locator("h1").inner_text() == f"{name} is better than first."
    assert page.locator("main img").count() == 0
    assert page.locator("script").count() == 2


def test_eight_runs_are_told_apart(show):
    page = show([compared(f"run {i}", 0.5 + i / 100) for i in range(8)])
    styles = page.eval_on_selector_all(
        ".runs .line-sample", "n => n.map(x => x.style.cssText + [...x.children].map(c => c.outerHTML).join())"
    )
    assert len(set(styles)) == 8
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
