"""The page of a map in a browser: pointing, searching, a lasso, what is saved, and that nothing leaves it."""

import csv
from contextlib import closing

import numpy as np
import pytest

from nearfar.contract import Card
from nearfar.inspection.colours import Colour
from nearfar.reporting import map_page
from tests.reporting.conftest import picture
from tests.reporting.test_page import Opened, fits, new_page


def grid(side=12):
    """Places on a grid, sample 0 in the middle."""
    places = np.stack(np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side)), axis=-1).reshape(-1, 2)
    return np.concatenate([[[0.5, 0.5]], places]).astype(np.float32)


def written(path, cards, **more):
    xy = more.pop("xy", grid())
    n = len(xy)
    cards = cards[:n]
    colours = [Colour("label", [card.label for card in cards]), Colour("size", [float(i) for i in range(n)], True)]
    full = {
        "title": "shapes",
        "facts": {"Samples": str(n)},
        "neighbours": np.array([[(i + 1) % n, (i + 2) % n] for i in range(n)]),
        "colours": colours,
        "chosen": 0,
        "fidelity": "Of the 10 nearest of a sample, 62 % are kept.",
        "notes": ["A part is shown."],
        "origin": "/data/shapes",
    }
    full |= more
    full["chosen"] = full["colours"][full["chosen"]].name
    bare = [Card(key=card.key, label=card.label) for card in cards]
    map_page.write(path, xy=xy, bare=bare, cards=lambda rows: [cards[i] for i in rows], **full)
    return path


CARDS = [Card(key=f"{'abc'[i % 3]}/{i:03}.png", label="abc"[i % 3], image=picture(i, 0.4)) for i in range(145)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return written(tmp_path_factory.mktemp("map") / "map.html", CARDS)


@pytest.fixture
def show(browser):
    opened = []

    def show(path, width=1280, height=1000, **options):
        page = new_page(browser, **options)
        page.set_viewport_size({"width": width, "height": height})
        opened.append(Opened(page))
        page.goto(path.as_uri())
        page.locator("#map canvas").evaluate("node => node.scrollIntoView({block: 'center'})")
        page.wait_for_timeout(60)
        return opened[-1]

    yield show
    for one in opened:
        with closing(one.page.context):
            assert (one.messages, one.outside(), one.dialogs) == ([], [], [])


def middle(page):
    box = page.locator("#map canvas").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def draw(page, reach):
    """A lasso around the middle by Shift and a drag."""
    x, y = middle(page)
    page.keyboard.down("Shift")
    page.mouse.move(x - reach, y - reach)
    page.mouse.down()
    for dx, dy in ((1, -1), (1, 1), (-1, 1), (-1, -0.9)):
        page.mouse.move(x + dx * reach, y + dy * reach, steps=3)
    page.mouse.up()
    page.keyboard.up("Shift")


def test_pointing_shows_a_sample_and_a_click_its_neighbours(show, made):
    page = show(made).page
    page.mouse.move(*middle(page))
    page.locator(".tip").wait_for(state="visible")
    assert "a/000.png" in page.locator(".tip").inner_text()
    page.mouse.click(*middle(page))
    assert page.locator(".pinned .key").inner_text() == "a/000.png"
    names = page.locator(".near button").evaluate_all("all => all.map(one => one.ariaLabel)")
    assert names == ["b/001.png", "c/002.png"]
    page.keyboard.press("Escape")
    assert page.locator(".pinned").count() == 0


def test_a_lasso_selects_what_lies_inside_and_saves_it_as_data(show, made, tmp_path):
    page = show(made).page
    draw(page, 60)
    chosen = page.locator(".near button").evaluate_all("all => all.map(one => one.ariaLabel)")
    assert "a/000.png" in chosen
    assert 2 < len(chosen) < 40
    assert page.locator(".selected").inner_text() == f"{len(chosen)} samples selected"
    with page.expect_download() as waiting:
        page.get_by_text("Save as csv").click()
    waiting.value.save_as(tmp_path / "s.csv")
    with open(tmp_path / "s.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["key"] for row in rows] == chosen
    assert rows[0]["path"] == "/data/shapes/a/000.png"
    assert rows[0]["label"] == "a"
    page.get_by_role("button", name="Clear").click()
    assert page.locator(".selected").count() == 0


def test_a_class_that_is_hidden_is_not_selected(show, made):
    page = show(made).page
    page.locator(".legend button").first.click()
    draw(page, 60)
    assert not [n for n in page.locator(".near button").evaluate_all("all => all.map(o => o.ariaLabel)") if n[0] == "a"]


def test_samples_are_selected_by_text_without_a_mouse(show, made):
    page = show(made).page
    page.get_by_label("Select samples").fill("/01")
    page.keyboard.press("Enter")
    assert page.locator(".selected").inner_text() == "10 samples selected"
    page.get_by_label("Select samples").fill("nowhere")
    page.keyboard.press("Enter")
    assert page.get_by_role("status").inner_text() == "No sample on this map matches."


def test_another_column_colours_the_points(show, made):
    page = show(made).page
    page.get_by_label("Colour").select_option("size")
    assert page.locator(".scale").inner_text().split() == ["0", "144"]
    assert page.locator(".legend").count() == 0


def test_on_a_phone_a_lasso_is_drawn_by_a_finger(show, made):
    opened = show(made, width=390, height=844, is_mobile=True, has_touch=True, color_scheme="dark")
    page = opened.page
    assert fits(page)
    page.get_by_role("button", name="Lasso").tap()
    assert page.get_by_role("button", name="Lasso").get_attribute("aria-pressed") == "true"
    draw(page, 50)
    assert page.locator(".selected").is_visible()
    assert page.get_by_role("button", name="Lasso").get_attribute("aria-pressed") == "false"


def test_hostile_names_are_only_text(show, tmp_path):
    name = '</script><img src=x onerror="alert(1)">'
    cards = [Card(key=f"{name}{i}", label=name, text=name) for i in range(145)]
    page = show(written(tmp_path / "m.html", cards, title=name, notes=[name])).page
    page.mouse.click(*middle(page))
    assert page.locator(".pinned .key").inner_text() == f"{name}0"
    assert page.locator("main img").count() == 0
    assert page.evaluate("window.alerts") == 0


def test_thousands_of_long_texts_and_large_pictures_stay_below_six_megabytes(tmp_path):
    rng = np.random.default_rng(0)
    n = 20_000
    places = {"xy": rng.random((n, 2)).astype(np.float32), "neighbours": rng.integers(0, n, (n, 5))}
    texts = [Card(key=f"rows.csv#{i}", text="\u6f22" * 400) for i in range(n)]
    page = written(tmp_path / "texts.html", texts, colours=[Colour("k", ["a"] * n)], **places)
    assert page.stat().st_size <= map_page.MOST_BYTES
    pictures = [Card(key=f"{i}.png", image=picture(i, 0.5)) for i in range(60)] * 40
    small = {"xy": places["xy"][:2400], "neighbours": places["neighbours"][:2400] % 2400}
    page = written(tmp_path / "pictures.html", pictures, colours=[Colour("k", ["a"] * 2400)], **small)
    assert "To keep this file small 2,000 of 2,400 samples have their picture here." in page.read_text()
