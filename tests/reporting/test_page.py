"""The page in a browser: what is seen, touched and typed, and that nothing leaves it."""

import contextlib
import io
import re

import numpy as np
import pytest

from nearfar.contract import Card
from nearfar.evaluation import Listing, Row
from nearfar.evaluation.intervals import figure
from nearfar.reporting.report import Report, ViewsRow, write
from tests.reporting.conftest import evaluation, picture

SECTIONS = ["verdict", "evaluation", "training", "map", "views", "extremes", "meanings", "settings"]
DESKTOP = {"width": 1280, "height": 900}


class Opened:
    """A page and what it did behind the scenes."""

    def __init__(self, page):
        self.page, self.requests, self.messages, self.dialogs = page, [], [], []
        self.listeners = {
            "request": lambda request: self.requests.append(request.url),
            "console": lambda message: self.messages.append(message.text),
            "pageerror": lambda error: self.messages.append(str(error)),
            "dialog": self.refuse,
        }
        for event, listener in self.listeners.items():
            page.on(event, listener)

    def refuse(self, dialog):
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def leave(self):
        for event, listener in self.listeners.items():
            self.page.remove_listener(event, listener)

    def outside(self):
        return [url for url in self.requests[1:] if not url.startswith("data:")]


def new_page(browser, **options):
    page = browser.new_context(viewport=DESKTOP, reduced_motion="reduce", **options).new_page()
    page.set_default_timeout(10_000)
    page.add_init_script("window.alerts = 0; window.alert = () => { window.alerts += 1; }")
    return page


@pytest.fixture(scope="session")
def desktop(browser):
    """One tab for all reports that ask for nothing special: opening a tab costs more than opening a report."""
    return new_page(browser)


@pytest.fixture
def show(browser, desktop, tmp_path):
    """Write a report and open it."""
    with contextlib.ExitStack() as closing:

        def show(report, *, width=1280, height=900, **options):
            path = tmp_path / "report.html"
            write(report, path)
            page = desktop
            if options:
                page = new_page(browser, **options)
                closing.callback(page.context.close)
            page.set_viewport_size({"width": width, "height": height})
            page.mouse.move(0, 0)
            opened = Opened(page)
            closing.callback(opened.leave)
            page.goto(path.as_uri())
            return opened

        yield show


def centre(page):
    """Scroll to the map; where its middle is, and with it item 0."""
    canvas = page.locator("#map canvas")
    canvas.evaluate("node => node.scrollIntoView({block: 'center'})")
    box = canvas.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_all_parts_are_there_in_order_and_silent(show, make_report):
    opened = show(make_report())
    ids = opened.page.eval_on_selector_all("main > section", "nodes => nodes.map(node => node.id)")
    assert ids == SECTIONS
    assert all(opened.page.locator(f"#{name}").is_visible() for name in SECTIONS)
    assert opened.messages == []
    assert opened.outside() == []


def test_a_report_without_parts_says_that_nothing_was_judged(show):
    opened = show(Report(title="run"))
    assert opened.page.eval_on_selector_all("main > section", "nodes => nodes.map(node => node.id)") == ["verdict"]
    assert opened.page.locator("h1").inner_text() == "This run has not been evaluated."
    assert opened.messages == []


def test_the_verdict_is_a_headline_without_numbers_and_a_line_for_each_question(show, make_report):
    page = show(make_report()).page
    assert page.locator("h1").inner_text() == "Training helps; better than the raw input."
    assert page.locator(".answers li").count() == 3
    assert page.locator(".length").inner_text().split() == ["1,200", "steps", "40", "epochs"]


@pytest.mark.parametrize("missing", ["evaluation", "metrics", "map", "closest"])
def test_any_part_may_be_missing(show, make_report, missing):
    empty = {"evaluation": None, "map": None}.get(missing, [])
    opened = show(make_report(**{missing: empty}))
    assert opened.messages == []
    assert opened.page.locator(".foot").is_visible()


def test_figures_stand_with_their_spread_and_the_best_is_marked(show, make_report):
    page = show(make_report()).page
    rows = page.locator("#evaluation .eval").first.locator("tbody tr")
    assert rows.nth(0).locator("td").nth(2).inner_text().split() == ["79.3", "±", "1.2", "best"]
    assert rows.nth(1).locator("td.is-best").inner_text().split() == ["20.0", "±", "1.2", "best"]
    assert rows.nth(0).locator("[data-mark=ahead]").first.inner_text() == "ahead of raw input"
    assert rows.nth(1).locator("th").inner_text() == "Linear, 1 label per class"


def test_details_fold_away_and_a_name_leads_to_its_meaning(show, make_report):
    opened = show(make_report())
    page = opened.page
    second = page.locator("#evaluation .eval").nth(1)
    assert second.locator("tbody tr").first.locator("td").nth(2).inner_text().split() == ["41", "±", "0.012"]
    assert second.locator("details tbody").is_hidden()
    second.locator("summary").click()
    assert second.locator("details tbody").is_visible()
    page.locator("#evaluation a.term").first.click()
    assert page.locator(":target").inner_text().split("\n")[0] == "kNN"
    assert page.locator(".listing tbody").inner_text().split() == ["circle", "star", "3"]
    assert opened.messages == []


def test_pointing_at_a_chart_reads_all_charts_at_that_step(show, make_report):
    page = show(make_report()).page
    plot = page.locator(".plot").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60)
    readings = page.locator(".curve .reading").all_text_contents()
    assert len(readings) == 10
    assert all("at step" in text for text in readings)


def test_charts_that_are_flat_fold_away(show, make_report):
    page = show(make_report()).page
    summary = page.locator("details.still summary").inner_text()
    assert summary.startswith("6 figures that hardly changed: ")
    assert "Loss" not in summary
    assert page.locator(".curve:visible").count() == 4


def test_arrow_keys_walk_along_a_chart(show, make_report):
    page = show(make_report()).page
    page.locator(".plot").first.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.locator(".curve .reading").first.inner_text().endswith("at step 299")


def test_pointing_at_a_dot_shows_its_sample(show, make_report):
    page = show(make_report()).page
    page.mouse.move(*centre(page))
    tip = page.locator(".tip")
    tip.wait_for(state="visible")
    assert "circle/000.png" in tip.inner_text()
    assert tip.locator("img").evaluate("node => node.decode().then(() => node.naturalWidth)") == 12


def test_clicking_a_dot_pins_it_with_its_neighbours(show, make_report):
    report = make_report()
    page = show(report).page
    page.mouse.click(*centre(page))
    assert page.locator(".pinned .key").inner_text() == "circle/000.png"
    names = [label.split(",")[0] for label in page.locator(".near button").evaluate_all("b => b.map(x => x.ariaLabel)")]
    assert names == [report.map.items[j].key for j in report.map.neighbours[0]]
    assert page.locator(".near img").count() == 4
    shown = [float(text) for text in page.locator(".near .cosine").all_inner_texts()]
    assert shown == pytest.approx(report.map.similarities[0], abs=6e-4)


def test_clicking_a_neighbour_goes_on_to_it(show, make_report):
    report = make_report()
    page = show(report).page
    page.mouse.click(*centre(page))
    page.locator(".near button").first.click()
    assert page.locator(".pinned .key").inner_text() == report.map.items[report.map.neighbours[0][0]].key


def test_clicking_nothing_unpins(show, make_report):
    page = show(make_report()).page
    x, y = centre(page)
    page.mouse.click(x, y)
    page.mouse.click(x + 60, y + 20)
    assert page.locator(".pinned").count() == 0


def test_a_class_can_be_hidden(show, make_report):
    page = show(make_report()).page
    page.locator(".legend button").first.click()
    page.mouse.move(*centre(page))
    page.wait_for_timeout(50)
    assert page.locator(".legend button").first.get_attribute("aria-pressed") == "false"
    assert page.locator(".tip").is_hidden()


def test_a_sample_is_found_by_name_without_a_mouse(show, make_report):
    page = show(make_report()).page
    page.get_by_label("Find a sample").fill("star/005")
    page.keyboard.press("Enter")
    assert page.locator(".pinned .key").inner_text() == "star/005.png"


def test_a_name_that_is_not_there_is_said(show, make_report):
    page = show(make_report()).page
    page.get_by_label("Find a sample").fill("nowhere")
    page.keyboard.press("Enter")
    assert page.get_by_role("status").inner_text() == "No sample on this map matches."


def test_wheel_zooms_drag_pans_and_the_keyboard_resets(show, make_report):
    page = show(make_report()).page
    x, y = centre(page)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    page.mouse.down()
    page.mouse.move(x + 40, y + 30, steps=4)
    page.mouse.up()
    page.mouse.click(x + 40, y + 30)
    assert page.locator(".pinned .key").inner_text() == "circle/000.png"
    page.locator(".unpin").click()
    page.locator("#map canvas").focus()
    page.keyboard.press("0")
    page.wait_for_timeout(50)
    page.mouse.click(x, y)
    assert page.locator(".pinned .key").inner_text() == "circle/000.png"


def test_on_a_phone_nothing_is_wider_than_the_screen(show, make_report):
    opened = show(make_report(), width=360, height=740, is_mobile=True, has_touch=True)
    opened.page.eval_on_selector_all("details", "nodes => nodes.forEach(node => { node.open = true; })")
    assert fits(opened.page)
    assert opened.page.evaluate("innerWidth") == 360


def test_on_a_phone_the_contents_open_behind_a_button(show, make_report):
    page = show(make_report(), width=360, height=740, is_mobile=True, has_touch=True).page
    assert page.locator("#contents").is_hidden()
    page.locator("#menu").tap()
    page.locator("#contents a", has_text="Map").tap()
    assert page.locator("#contents").is_hidden()
    assert page.url.endswith("#map")


def test_a_thumbnail_opens_large_and_closes(show, make_report):
    page = show(make_report()).page
    page.locator("#views .enlarge").first.click()
    assert page.locator("dialog img").bounding_box()["width"] > 300
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="detached")
    assert page.locator("main").is_visible()


def tone(hertz):
    stream = io.BytesIO()
    wave = 0.3 * np.sin(2 * np.pi * hertz * np.arange(2000) / 8000)
    pytest.importorskip("soundfile", reason="soundfile is not installed").write(stream, wave, 8000, format="MP3")
    return stream.getvalue()


def heard(page, start):
    """How many seconds of a sound are played to its end after `start`."""
    page.evaluate(
        "() => { const play = HTMLMediaElement.prototype.play; window.heard = null;"
        " HTMLMediaElement.prototype.play = function () {"
        " this.addEventListener('ended', () => { window.heard = this.currentTime; }); return play.call(this); }; }"
    )
    start()
    return page.wait_for_function("() => window.heard", timeout=20_000).json_value()


def test_a_sound_is_played_in_its_place_and_in_large(show, make_report):
    items = [Card(key=f"{i}.wav", image=picture(i, i / 8), media=tone(300 + 100 * i)) for i in range(8)]
    opened = show(make_report(items))
    page = opened.page
    assert heard(page, page.locator("#views .play").first.click) > 0.2
    page.locator("#views .enlarge").first.click()
    assert heard(page, lambda: page.locator("dialog audio").evaluate("node => { node.play(); }")) > 0.2
    assert (opened.messages, opened.outside()) == ([], [])


def test_many_classes_are_searched(show, make_report):
    items = [Card(key=str(i), label=f"class {i % 40}") for i in range(80)]
    page = show(make_report(items=items)).page
    page.get_by_label("Find a class").fill("class 3")
    assert page.locator(".legend button:visible").count() == 11
    page.get_by_role("button", name="None").click()
    assert page.locator(".legend [aria-pressed=false]").count() == 11


def test_on_paper_it_takes_less_than_six_pages(show, make_report):
    page = show(make_report()).page
    printed = page.pdf(format="A4", print_background=True)
    assert len(re.findall(rb"/Type\s*/Page[^s]", printed)) < 6


def test_on_a_phone_a_tap_pins(show, make_report):
    page = show(make_report(), width=360, height=740, is_mobile=True, has_touch=True).page
    page.touchscreen.tap(*centre(page))
    assert page.locator(".pinned .key").inner_text() == "circle/000.png"


@pytest.mark.parametrize("width", [360, 1280])
def test_texts_take_the_place_of_pictures(show, make_report, width):
    items = [Card(key=f"rows.csv#{i}", text=f"question {i} " + "about a rather long matter " * 9) for i in range(30)]
    opened = show(make_report(items=items), width=width)
    page = opened.page
    page.mouse.click(*centre(page))
    assert page.locator(".pinned .is-text").inner_text().startswith("question 0")
    assert page.locator(".near .is-text").count() == 4
    assert page.locator(".legend").count() == 0
    assert fits(page)
    assert opened.messages == []


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_smallest_maps_are_drawn(show, make_map, make_report, n):
    points = make_map([Card(key=str(i)) for i in range(n)], k=8)
    opened = show(make_report(map=points))
    opened.page.mouse.click(*centre(opened.page))
    assert opened.page.locator(".pinned").count() == 1
    assert opened.messages == []


@pytest.mark.parametrize(
    "name", ['"><img src=x onerror=alert(1)>.jpg', "</script><script>alert(1)</script>", "__proto__", "toString"]
)
def test_hostile_names_are_only_text(show, make_report, name):
    items = [Card(key=name, label=name, text=name if i % 2 else None) for i in range(12)]
    opened = show(
        make_report(
            items=items,
            title=name,
            config=name,
            facts={name: name},
            environment={name: name},
            skipped=[{"key": name, "reason": name}],
            alarms=[{"step": 1, "name": name, "sentence": name}],
            metrics=[{"step": 1, name: 1.0, "loss": 2.0}, {"step": 2, name: 2.0, "loss": 1.0}],
            evaluation=evaluation(
                protocol=name,
                systems=[name, "constructor"],
                notes=[name],
                rows=[Row(name, name, name, {name: name}, figure(0.5, 1), chance=0.5)],
                listings=[Listing(name, [name], [[name]])],
                meanings={name: name},
            ),
        )
    )
    page = opened.page
    page.eval_on_selector_all("details", "nodes => nodes.forEach(node => { node.open = true; })")
    page.mouse.click(*centre(page))
    assert page.locator(".pinned .key").inner_text() == name
    assert page.locator("main img").count() == 0
    assert page.locator("script").count() == 2
    assert page.evaluate("window.alerts") == 0
    assert opened.dialogs == []
    assert opened.messages == []
    assert opened.outside() == []


def test_the_configuration_is_copied(show, make_report):
    page = show(make_report(), permissions=["clipboard-read", "clipboard-write"]).page
    page.locator("#settings .fold summary").first.click()
    page.locator(".copy").click()
    page.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == 'seed = 0\n[method]\nname = "simclr"\n'


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(show, make_report, scheme):
    page = show(make_report(), color_scheme=scheme).page
    colours = page.evaluate(
        "() => ['--text', '--soft', '--accent', '--good', '--unclear', '--bad', '--card'].map("
        "name => getComputedStyle(document.documentElement).getPropertyValue(name).trim())"
    )

    def luminance(colour):
        part = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    *inks, ground = map(luminance, colours)
    # WCAG 2.2, 1.4.3: a contrast of at least 4.5.
    assert min((max(i, ground) + 0.05) / (min(i, ground) + 0.05) for i in inks) >= 4.5


def test_two_thousand_points_are_drawn(show, make_report):
    items = [Card(key=str(i), label=str(i % 12)) for i in range(2_000)]
    opened = show(make_report(items=items))
    page = opened.page
    page.mouse.click(*centre(page))
    assert page.locator(".legend button").count() == 12
    assert page.locator(".pinned .key").inner_text() == "0"
    assert opened.messages == []


def test_the_arrow_keys_walk_through_enlarged_samples_and_escape_closes(show, make_report):
    opened = show(make_report())
    page = opened.page
    buttons = page.locator("#views .enlarge")
    names = [name.removeprefix("Enlarge ") for name in buttons.evaluate_all("all => all.map(one => one.ariaLabel)")]
    buttons.first.focus()
    page.keyboard.press("Enter")
    shown = [page.locator("dialog .key").inner_text().split()[0]]
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
        shown.append(page.locator("dialog .key").inner_text().split()[0])
    assert shown == [names[0], names[1], names[2], names[1]]
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="detached")
    assert page.evaluate("document.activeElement.ariaLabel") == f"Enlarge {names[1]}"
    assert opened.messages == []


def test_the_name_of_an_option_is_not_broken(show, make_report):
    alarm = {"step": 3, "name": "rate", "sentence": "Give --batch-size or <b>--lr</b> a lower value."}
    opened = show(make_report(alarms=[alarm]))
    text = opened.page.locator(".alarms li")
    assert alarm["sentence"] in text.inner_text()
    assert text.locator(".option").all_inner_texts() == ["--batch-size", "--lr"]
    assert text.locator(".option").first.evaluate("node => getComputedStyle(node).whiteSpace") == "nowrap"


def test_what_a_fact_means_is_shown_by_mouse_and_by_keyboard(show, make_report):
    page = show(make_report()).page
    page.locator(".facts dt", has_text="Encoder").hover()
    assert page.locator("#hint").inner_text().startswith("The network that makes the vectors")
    page.locator(".level").focus()
    assert page.locator("#hint").inner_text() == "Every question that was asked is answered yes."
    page.keyboard.press("Escape")
    assert page.locator("#hint").is_hidden()


def test_what_has_the_focus_is_outlined(show, make_report):
    page = show(make_report()).page
    for _ in range(25):
        page.keyboard.press("Tab")
        style = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.evaluate(style) == "solid", page.evaluate("document.activeElement.outerHTML")[:90]


def test_a_system_without_any_figure_of_a_task_has_no_column(show, make_report):
    row = Row("trained encoder", "match", "recall@1", {}, figure(0.5, 9))
    found = evaluation()
    page = show(make_report(evaluation=evaluation(rows=[*found.rows, row]))).page
    assert page.locator("#evaluation .eval").last.locator("thead th").all_inner_texts() == [
        "Match, %",
        "Trained encoder",
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_printed_it_is_black_on_white(show, make_report, scheme):
    page = show(make_report(), color_scheme=scheme).page
    page.emulate_media(media="print")
    style = "node => [getComputedStyle(node).color, getComputedStyle(node).backgroundColor]"
    text, ground = page.locator(".card.eval").first.evaluate(style)
    assert text == "rgb(24, 24, 27)"
    assert ground == "rgb(255, 255, 255)"
    assert page.locator("#contents").is_hidden()


@pytest.mark.parametrize("width", [390, 1280])
def test_texts_and_pictures_in_one_row_are_about_equally_high(show, make_report, width):
    words = [Card(key=f"name {i}", text=f"a circle of the size {i} " * 9) for i in range(6)]
    shapes = [Card(key=f"{i}.png", image=picture(i, 0.3)) for i in range(6)]
    found = [ViewsRow(item=words[0], views=shapes[1:]), ViewsRow(item=shapes[0], views=words[1:])]
    opened = show(make_report(found=found), width=width)
    heights = opened.page.locator("#found .thumb").evaluate_all("all => all.map(one => one.clientHeight)")
    assert len(heights) == 12
    assert all(30 <= height <= 120 for height in heights)
    assert fits(opened.page)
    assert opened.messages == []
