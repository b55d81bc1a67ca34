"""Gradient boosting beside the encoder."""

from pathlib import Path

import numpy as np
import torch

from nearfar.modalities.table.baselines import Boosting
from tests.modalities.table.opening import opened


def test_boosting_learns_what_no_line_tells_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [(x, kind, int((x > 0) == (kind == "u"))) for x, kind in zip(rng.normal(size=300), "uv" * 150, strict=True)]
    text = "\n".join(
        f"{f'{x:.3f}' if i % 9 else '?'},{kind if i % 9 != 1 else '?'},{label}"
        for i, (x, kind, label) in enumerate(rows)
    )
    (tmp_path / "t.csv").write_text(f"x,kind,label\n{text}\n")
    source = opened(str(tmp_path / "t.csv"))
    train, test = source.take(np.arange(200)), source.take(np.arange(200, 300))
    labels = torch.from_numpy(source.labels)
    found = Boosting().classify(train, labels[:200], test, 3)  # the third class is never seen
    assert found.shape == (100, 3)
    assert not found[:, 2].any()
    assert (found.argmax(dim=1) == labels[200:]).float().mean() > 0.85
    assert Boosting().classify(train, torch.zeros(200, dtype=torch.int64), test, 2) is None
    assert Boosting().classify(train.take(np.arange(40)), labels[:40], test, 2) is None


def test_columns_without_a_cell_are_no_hindrance(tmp_path: Path) -> None:
    text = "\n".join(f"{'?' if i < 60 else i},{i % 5},{i % 2}" for i in range(130))
    (tmp_path / "t.csv").write_text(f"x,y,label\n{text}\n")
    source = opened(str(tmp_path / "t.csv"))
    found = Boosting().classify(source.take(np.arange(60)), torch.arange(60) % 2, source, 2)
    assert found.shape == (130, 2)
