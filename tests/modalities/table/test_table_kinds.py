"""Kinds of columns: dates, sentences, numbers in pieces, what is missing."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from nearfar.errors import ConfigError
from nearfar.modalities.table import MODALITY, TableOptions, dates
from nearfar.modalities.table.columns import Column, from_config, measure, same_layout, to_config
from nearfar.modalities.table.encoding import Inputs
from tests.modalities.table.opening import opened

Caplog = pytest.LogCaptureFixture


def written(folder: Path, text: str) -> str:
    (folder / "t.csv").write_text(text)
    return str(folder / "t.csv")


@pytest.mark.parametrize(
    ("texts", "form"),
    [
        (["2024-03-01", "2024-03-02 10:30", "2024-03-03T10:30:00+02:00"], "year first"),
        (["2024/3/1", "2024/12/31"], "year first"),
        (["31.12.2023", "01.02.2024 9:05"], "day first"),
        (["12/31/2023", "1/2/2024"], "month first"),
        (["1/2/2024", "3/4/2024"], "day first"),  # either would do
        (["12-34", "red"], None),
        (["1.2.3", "2.10.11"], None),  # versions
    ],
)
def test_dates_are_known_by_how_they_are_written(texts: list[str], form: str | None) -> None:
    assert dates.form_of(texts) == form


def test_days_count_from_1970_in_utc() -> None:
    texts = ["1970-01-02", "1970-01-01 12:00", "1970-01-01T02:00:00+02:00", "1970-02-30", "never"]
    np.testing.assert_array_equal(dates.days(texts, "year first"), [1, 0.5, 0, np.nan, np.nan])
    assert dates.days(["2.1.1970 6:00"], "day first")[0] == 1.25


def test_a_column_of_dates_is_a_number_and_parts_of_the_week_and_year(tmp_path: Path, caplog: Caplog) -> None:
    caplog.set_level(logging.INFO, "nearfar")
    days = [str(np.datetime64("2024-01-01") + i) for i in range(0, 70, 7)]  # Mondays
    source = opened(written(tmp_path, "when,n\n" + "".join(f"{day},{i % 3}\n" for i, day in enumerate(days)) + "?,1\n"))
    when = source.columns[0]
    assert (when.dates, when.periods, when.origin) == ("year first", (7.0, 365.2425), 19754.0)
    assert "column 'when' holds dates, written with the year first" in caplog.text
    assert "when: 2024-01-01" in (source.cards(np.array([0]))[0].text or "")
    encoder = MODALITY.encoder("mlp", source, TableOptions(bins=4))
    inputs = encoder.prepare(source.fetch(np.arange(10))[0])
    week = inputs[:, encoder.inputs.column == 0][:, 5:7]  # behind the number and its four pieces
    torch.testing.assert_close(week, week[:1].expand(10, -1), atol=1e-4, rtol=0)
    torch.testing.assert_close(week.square().sum(1), torch.ones(10))
    vectors = encoder.features(inputs).detach().numpy()
    row = {"when": np.datetime64("2024-01-15"), "n": 2}
    np.testing.assert_allclose(encoder.encode(row), vectors[2], atol=1e-6)


def test_times_of_a_day_are_a_period_too(tmp_path: Path) -> None:
    source = opened(written(tmp_path, "when,n\n2024-01-01 06:00,1\n2024-01-02 18:00,2\n"))
    assert source.columns[0].periods == (1.0, 7.0, 365.2425)


def test_dates_may_be_categories_as_they_once_were(tmp_path: Path) -> None:
    path = written(tmp_path, "when,n\n2024-01-01,1\n2024-01-01,2\n")
    assert opened(path, options=TableOptions(dates=False)).columns[0].values == ("2024-01-01",)


def test_columns_of_sentences_are_left_out_and_told(tmp_path: Path, caplog: Caplog) -> None:
    notes = [f"the customer wrote number {i} to us" for i in (1, 2, 3, 1)]
    path = written(tmp_path, "a,note,b\n" + "".join(f"{i},{note},{i % 2}\n" for i, note in enumerate(notes)))
    assert [column.name for column in opened(path).columns] == ["a", "b"]
    assert "column 'note' holds sentences and is left out" in caplog.text


def test_pieces_hold_equally_many_rows_and_frequent_numbers_leave_room_for_others() -> None:
    rng = np.random.default_rng(0)
    even, spiked = rng.random(1000), np.where(np.arange(1000) < 900, 0.0, 1 + rng.random(1000))
    columns = [Column("even"), Column("spiked"), Column("two")]
    table = np.stack([even, spiked, np.arange(1000) % 2], axis=1).astype(np.float32)
    one, other, two = measure(columns, table, 10)
    assert np.histogram(table[:, 0], one.edges)[0].tolist() == pytest.approx([100] * 10, abs=2)
    assert len(other.edges) >= 6
    assert two.edges == (0.0, 1.0)
    assert same_layout(columns, (one, other, two))


def test_numbers_are_seen_whole_in_pieces_and_as_missing() -> None:
    column = Column("x", median=1.0, mean=1.0, scale=0.5, edges=(0.0, 2.0, 3.0), gaps=True)
    inputs = Inputs([column, Column("kind", ("u", "v"))])
    cells = torch.tensor([[1.0, 0.0], [2.5, 1.0], [9.0, 5.0], [float("nan"), float("nan")]])
    wanted = [[0, 0.5, 0, 0, 1, 0], [0.75, 1, 0.5, 0, 0, 1], [4, 1, 1, 0, 0, 0], [0, 0.5, 0, 1, 0, 0]]
    assert inputs(cells).tolist() == wanted
    assert inputs.column.tolist() == [0, 0, 0, 0, 1, 1]
    nan = float("nan")
    torch.testing.assert_close(
        inputs.cells(inputs(cells)), torch.tensor([[1, 0], [2.5, 1], [9, nan], [1, nan]]), equal_nan=True
    )


@pytest.mark.parametrize(
    "wrong", [{"edges": [1.0, 1.0]}, {"edges": "none"}, {"gaps": 1}, {"periods": [0.0]}, {"dates": 3}]
)
def test_altered_columns_are_refused(wrong: dict[str, object]) -> None:
    config = to_config([Column("x", edges=(0.0, 1.0), dates="day first", periods=(7.0,), gaps=True)])
    assert to_config(from_config(config)) == config
    with pytest.raises(ConfigError):
        from_config([config[0] | wrong])


def test_masked_cells_are_seen_as_missing(tmp_path: Path) -> None:
    source = opened(written(tmp_path, "a,b\n1,2\n3,4\n5,7\n"))
    encoder = MODALITY.encoder("mlp", source, TableOptions(bins=0, replace_by="nothing"))
    assert [column.gaps for column in encoder.columns] == [True, True]


@pytest.mark.parametrize("name", ["wide", "mlp", "transformer"])
def test_every_encoder_gives_rows_of_its_own_alone(tmp_path: Path, name: str) -> None:
    source = opened(written(tmp_path, "a,kind,b\n1,u,2\n3,v,4\n5,u,7\n2,v,9\n"))
    torch.manual_seed(0)
    encoder = MODALITY.encoder(name, source, TableOptions(hidden=16, layers=2, bins=3)).eval()
    again = MODALITY.restore(encoder.config)
    again.load_state_dict(encoder.state_dict())
    whole = encoder.encode([[1, "u", 2], [3, "v", 4]])
    assert whole.shape == (2, encoder.dim)
    assert encoder.dim == (16 + encoder.inputs.width if name == "wide" else 16)
    np.testing.assert_allclose(again.eval().encode([3, "v", 4]), whole[1], atol=1e-6)


def test_the_transformer_has_a_token_for_each_column(tmp_path: Path) -> None:
    source = opened(written(tmp_path, "a,kind,b\n1,u,2\n3,v,4\n5,u,7\n"))
    encoder = MODALITY.encoder("transformer", source, TableOptions(hidden=12, layers=1))
    inputs = encoder.prepare(source.fetch(np.arange(3))[0])
    assert encoder.tokens(inputs).shape == (3, 3, 12)
    with pytest.raises(ConfigError, match="take the transformer"):
        MODALITY.encoder("mlp", source, TableOptions()).tokens(inputs)


def test_the_loss_of_a_wide_encoder_sees_what_its_network_has_found_alone(tmp_path: Path) -> None:
    source = opened(written(tmp_path, "a,kind,b\n1,u,2\n3,v,4\n5,u,7\n"))
    encoder = MODALITY.encoder("wide", source, TableOptions(hidden=4, layers=1, bins=0))
    inputs = encoder.prepare(source.fetch(np.arange(3))[0])
    found, judged = encoder.train()(inputs), encoder.eval()(inputs)
    assert torch.equal(found[:, :4], judged[:, :4])
    assert torch.equal(found[:, 4:], found[:, :3])
    assert torch.equal(judged[:, 4:], inputs)
