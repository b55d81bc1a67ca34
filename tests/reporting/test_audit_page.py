"""The page of an audit in a browser: the samples of each list stand side by side, sounds with their players."""

from contextlib import closing

import numpy as np

from nearfar.contract import Card
from nearfar.inspection.audit.ranking import Note, Ranking
from nearfar.reporting import audit_page
from tests.reporting.conftest import picture
from tests.reporting.test_page import Opened, fits, new_page

CARDS = [
    Card(key=f"{i}.ogg", label="ab"[i % 2], image=picture(i, i / 6), media=b"OggS" + bytes([i]) * 900) for i in range(6)
]


def written(path, cards):
    pairs = Ranking(
        name="duplicates", title="Copies", rows=np.array([0, 2]), scores=np.array([9.0, 3.0]), flagged=1,
        threshold="Said.", others=np.array([1, 3]),
    )  # fmt: skip
    audit_page.write(
        path, title="sounds", facts={"Samples": "6"}, rankings=[pairs],
        sections={"Clusters": [Note(about="a", found="two of them", score=1.0, rows=[4, 5])]},
        defects=[], skipped=[], notes=[],
        card=lambda row: cards[row], names=["a", "b"],
    )  # fmt: skip
    return path


def test_sounds_of_all_lists_are_drawn_with_players(browser, tmp_path):
    page = new_page(browser)
    opened = Opened(page)
    with closing(page.context):
        page.goto(written(tmp_path / "audit.html", CARDS).as_uri())
        assert page.locator(".play").count() == len(CARDS)
        assert fits(page)
        assert (opened.messages, opened.outside(), opened.dialogs) == ([], [], [])
