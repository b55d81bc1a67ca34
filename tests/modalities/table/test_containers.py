"""The same rows are the same samples, whatever file holds them and whatever types it has."""

import csv
import datetime
import decimal
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from nearfar.data.reader import open_samples
from nearfar.modalities.table import MODALITY, TableOptions
from tests.modalities.table.opening import opened

N = 12
BIG = 1234567890123456789
ROWS: dict[str, list[Any]] = {
    "a": [i * 1.1 - 3 for i in range(N)],
    "whole": [None if i == 4 else float(i % 5) for i in range(N)],
    "big": [BIG + i for i in range(N)],
    "flag": [i % 3 == 0 for i in range(N)],
    "word": ["x", "y ", None, "NA"] * (N // 4),
    "day": [datetime.datetime(2020, 1, 1 + i % 2) for i in range(N)],
    "price": [decimal.Decimal(i % 4) / 4 for i in range(N)],
    "rate": [f"{i % 7}%" for i in range(N)],
    "money": [f"\u2212$ {i}" for i in range(N)],
    "group": [BIG + i // 4 for i in range(N)],
}
LABELS: dict[str, list[Any]] = {
    "booleans": [i % 2 == 0 for i in range(N)],
    "floats": [None if i == 3 else float(i % 2) for i in range(N)],
    "-1 and 1": [2 * (i % 2) - 1 for i in range(N)],
    "big": [9007199254740993 + i % 2 for i in range(N)],
    "days": [datetime.date(2020, 1, 1 + i % 2) for i in range(N)],
    "words": ["u", "v"] * (N // 2),
}


def as_csv(path: Path, rows: dict[str, list[Any]]) -> None:
    """As pandas writes it, its index first."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", *rows])
        writer.writerows([i, *cells] for i, cells in enumerate(zip(*rows.values(), strict=True)))


def as_spreadsheet(path: Path, rows: dict[str, list[Any]]) -> None:
    """As a spreadsheet of a country with decimal commas saves it."""

    def spelled(cell: Any) -> str:
        if isinstance(cell, bool):
            return str(cell).upper()
        return (
            ""
            if cell is None
            else str(cell).replace(".", ",")
            if isinstance(cell, float | decimal.Decimal)
            else str(cell)
        )

    lines = [";".join(rows), *(";".join(map(spelled, cells)) for cells in zip(*rows.values(), strict=True))]
    path.write_bytes("\r\n".join(lines).encode("utf-16"))


def as_parquet(path: Path, rows: dict[str, list[Any]]) -> None:
    """As pandas writes it, its index last."""
    pq.write_table(pa.table({**rows, "__index_level_0__": list(range(N))}), path)


def as_other_types(path: Path, rows: dict[str, list[Any]]) -> None:
    """As other programs write it: dictionaries, views, large strings, bytes, unsigned and narrow numbers."""
    kinds = {"whole": pa.float32(), "big": pa.uint64(), "word": pa.large_binary(), "group": pa.uint64()}
    table = {name: pa.array(cells, kinds.get(name)) for name, cells in rows.items()}
    found = {n: c.dictionary_encode() if pa.types.is_string(c.type) else c for n, c in table.items()}
    pq.write_table(pa.table(found), path, row_group_size=5)


def as_json(path: Path, rows: dict[str, list[Any]]) -> None:
    def plain(cell: Any) -> Any:
        return (
            str(cell) if isinstance(cell, datetime.date) else float(cell) if isinstance(cell, decimal.Decimal) else cell
        )

    lines = [dict(zip(rows, map(plain, cells), strict=True)) for cells in zip(*rows.values(), strict=True)]
    path.write_text("\n".join(map(json.dumps, lines)))


FILES: dict[str, Callable[[Path, dict[str, list[Any]]], None]] = {
    "comma.csv": as_csv,
    "pandas.parquet": as_parquet,
    "other.parquet": as_other_types,
    "lines.jsonl": as_json,
    "sheet.csv": as_spreadsheet,
}


@pytest.mark.parametrize("labels", list(LABELS))
def test_all_containers_give_the_same_vectors_classes_and_groups(tmp_path: Path, labels: str) -> None:
    rows = {**ROWS, "label": LABELS[labels]}
    found = {}
    for name, write in FILES.items():
        write(tmp_path / name, rows)
        found[name] = opened(str(tmp_path / name))
    one = found["comma.csv"]
    assert [column.name for column in one.columns] == [*ROWS][:-1]
    assert len(one.label_names) == 2
    assert len(set(one.groups.tolist())) == N // 4
    for name, other in found.items():
        assert [(c.name, c.values, c.origin) for c in other.columns] == [
            (c.name, c.values, c.origin) for c in one.columns
        ]
        torch.testing.assert_close(other.vectors(), one.vectors(), atol=1e-5, rtol=1e-5)
        assert list(other.label_names) == list(one.label_names), name
        assert other.labels.tolist() == one.labels.tolist()
        assert other.groups.tolist() == one.groups.tolist()
        assert other.keys == [f"{name}#{i}" for i in range(N)]


def test_arrays_give_what_their_csv_gives(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).normal(size=(N, 3)), np.arange(N) % 2
    lines = [f"{a!r},{b!r},{c!r},{k}.0" for (a, b, c), k in zip(x.tolist(), y.tolist(), strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["0,1,2,label", *lines]))
    np.savez(tmp_path / "t.npz", x_train=x, y_train=y.astype(float))
    np.save(tmp_path / "t.npy", x)
    named = np.rec.fromarrays([*x.T, y], names="0,1,2,label")
    np.save(tmp_path / "named.npy", np.asarray(named).view(named.dtype.descr))
    one = opened(str(tmp_path / "t.csv"))
    for name in ("t.npz", "t.npy", "named.npy"):
        other = opened(str(tmp_path / name))
        assert torch.equal(other.vectors(), one.vectors())
        assert [c.name for c in other.columns] == ["0", "1", "2"]
        if name != "t.npy":
            assert (other.labels.tolist(), other.label_names) == (y.tolist(), ("0", "1"))


def test_manifests_give_the_same_keys_classes_and_groups(tmp_path: Path) -> None:
    rows = {"path": [f"in/{i}.png" for i in range(N)], "label": LABELS["floats"], "group": ROWS["group"]}
    found = []
    for name, write in FILES.items():
        write(tmp_path / name, rows)
        samples = open_samples(str(tmp_path / name), columns=("path",))
        found.append((list(samples.keys), samples.labels.tolist(), samples.label_names, samples.groups.tolist()))
    assert found == found[:1] * len(FILES)
    assert found[0][2] == ("0", "1")


@pytest.mark.parametrize("large", [1e9, -1e12, 1e15])
def test_numbers_with_a_large_mean_and_a_small_spread_keep_their_spread(tmp_path: Path, large: float) -> None:
    spread = np.random.default_rng(0).normal(size=400) * (1 if abs(large) < 1e13 else 100)
    rows = np.stack([large + spread, spread], axis=1)
    np.save(tmp_path / "t.npy", rows)
    source = opened(str(tmp_path / "t.npy"))
    exact = rows[:, 0].astype(np.longdouble)
    wanted = ((exact - exact.mean()) / exact.std()).astype(np.float64)
    np.testing.assert_allclose(source.vectors()[:, 0].numpy(), wanted, atol=2e-6)
    made = MODALITY.encoder("mlp", source, TableOptions(hidden=4, layers=1))
    again = MODALITY.restore(json.loads(json.dumps(made.config)))
    again.load_state_dict(made.state_dict())
    np.testing.assert_allclose(again.encode(rows[:5]), made.features(source.vectors()[:5]).detach().numpy(), atol=1e-5)
    text = source.cards(np.array([0]))[0].text
    assert text is not None
    assert text.startswith(f"0: {rows[0, 0]:.12g}\n")


def test_of_numbers_that_float32_holds_nothing_is_taken_away(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.random.default_rng(0).normal(loc=[0, 900], size=(50, 2)))
    assert [column.origin for column in opened(str(tmp_path / "t.npy")).columns] == [0.0, 0.0]
