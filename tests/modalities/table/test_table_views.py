"""Views of rows: how many cells, from where, and by which key."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nearfar.contract import Requirements
from nearfar.errors import ConfigError
from nearfar.modalities.table import MODALITY, TableOptions
from nearfar.modalities.table.source import Cells
from nearfar.modalities.table.views import corrupt, donors, replaced
from tests.modalities.table.opening import opened


@pytest.fixture
def cells(tmp_path: Path) -> Cells:
    """Sixty rows of ten columns in which every cell tells its row and column."""
    np.save(tmp_path / "t.npy", np.arange(600).reshape(60, 10))
    return opened(str(tmp_path / "t.npy")).fetch(np.arange(60))[0]


def test_exactly_the_asked_share_of_cells_is_replaced(cells: Cells) -> None:
    view = corrupt(cells, np.arange(60), view=0, seed=0, share=0.6)
    assert (view != cells.rows).sum(1).tolist() == [6] * 60


def test_replaced_cells_come_from_their_own_column(cells: Cells) -> None:
    view = corrupt(cells, np.arange(60), view=0, seed=0, share=0.6)
    assert torch.equal(view % 10, cells.rows % 10)


def test_donors_are_all_other_rows_alike() -> None:
    numbers = np.random.default_rng(0).random((4, 50_000), dtype=np.float32)
    at = np.array([0, 2, 4, 1])
    drawn = donors(numbers, at, 5)
    for row in range(4):
        counts = np.bincount(drawn[row], minlength=5)
        assert counts[at[row]] == 0
        np.testing.assert_allclose(np.delete(counts, at[row]) / 50_000, 0.25, atol=0.01)


def test_the_largest_uniform_number_is_still_a_row() -> None:
    assert donors(np.array([[1 - 2**-24]], dtype=np.float32), np.array([0]), 10**9).max() < 10**9


@pytest.mark.parametrize(("columns", "share", "count"), [(10, 0.6, 6), (2, 0.9, 1), (3, 0.01, 1), (14, 0.6, 8)])
def test_at_least_one_cell_is_replaced_and_one_is_kept(columns: int, share: float, count: int) -> None:
    assert replaced(columns, share) == count


def test_donors_come_from_the_table_and_not_from_the_batch(cells: Cells) -> None:
    alone = replace(cells, rows=cells.rows[:1], at=cells.at[:1])
    views = [corrupt(alone, np.array([draw]), view=0, seed=0, share=0.6) for draw in range(40)]
    assert len({int(value) // 10 for view in views for value in view[0]}) > 30


def test_small_views_keep_half_as_many_cells(cells: Cells, tmp_path: Path) -> None:
    source = opened(str(tmp_path / "t.npy"))
    encoder = MODALITY.encoder("mlp", source, TableOptions(hidden=4, layers=2))
    views = MODALITY.views(
        cells,
        np.arange(60),
        requires=Requirements(wide=2, small=2),
        seed=0,
        options=TableOptions(corruption=0.6),
        encoder=encoder,
    )
    plain = encoder.prepare(cells)
    assert [int((view != plain).sum(1).max()) for view in views] == [6, 6, 8, 8]


def test_views_are_shown_as_rows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,colour,c,b\n1,red,7,2\n3,blue,7,5.5\n?,odd,7,1\n4,blue,7,7\n6,red,7,1\n")
    source = opened(str(tmp_path / "t.csv"))
    encoder = MODALITY.encoder("mlp", source, TableOptions())
    cards = MODALITY.show(encoder.prepare(source.fetch(np.arange(5))[0]), encoder)
    assert cards[1].text == "a: 3\ncolour: blue\nc: 7\nb: 5.5"
    assert cards[2].text == "a: 3.5\ncolour: missing\nc: 7\nb: 1"


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_corruption_is_a_share(share: float) -> None:
    with pytest.raises(ConfigError, match=r"corruption must be in \(0, 1\)"):
        TableOptions(corruption=share)
