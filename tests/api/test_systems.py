"""What an evaluation compares: copies on one side, a part of the data where time is short."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nearfar as nf
from nearfar.api import systems
from nearfar.api.judging import Judges, hold_out
from nearfar.api.run import Run
from nearfar.api.sources import open_for

Finished = tuple[Path, Run]
Photos = Callable[..., Path]


@pytest.fixture
def copied(photos: Photos) -> Path:
    """Forty pictures, every second of them there three times."""
    data = photos()
    for path in sorted(data.rglob("*.png"))[::2]:
        for name in ("again", "once more"):
            shutil.copy(path, path.with_name(f"{path.stem} {name}.png"))
    return data


def measured(encoder: Any, data: Path, **how: Any) -> systems.Measured:
    source = open_for(encoder, str(data), cache="off")
    return systems.measure(encoder, source, Judges(held_out=hold_out(source, 0)), **how)


def stems(found: systems.Measured, rows: Any) -> set[str]:
    return {Path(found.train.keys[row]).stem.split()[0] for row in rows.tolist()}


@pytest.mark.parametrize("labels_used", [False, True])
def test_copies_stand_on_one_side(finished: Finished, copied: Path, labels_used: bool) -> None:
    encoder = nf.load(finished[1].path)
    assert encoder.config["labels_used"] is False
    encoder.config["labels_used"] = labels_used
    found = measured(encoder, copied, baselines=False)
    assert found.learnt is not None
    assert found.held_out is not None
    assert not stems(found, found.learnt) & stems(found, found.held_out)
    if labels_used:  # the samples whose labels were not seen stay as they were chosen
        source = open_for(encoder, str(copied), cache="off")
        assert found.held_out.tolist() == hold_out(source, 0).tolist()  # type: ignore[union-attr]
        assert "they are left out" in found.notes[0]
    else:
        assert len(found.learnt) + len(found.held_out) == 80
        assert "stand on one side of the split" in found.notes[0]


def test_without_copies_the_split_stays(finished: Finished) -> None:
    data, run = finished
    found = measured(run.encoder, data, baselines=False)
    assert found.notes == []
    assert found.held_out is not None
    assert len(found.held_out) == 8


def test_where_time_is_short_a_part_is_judged_and_said(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systems, "_LEAST_JUDGED", 20)
    data, run = finished
    found = measured(run.encoder, data, seconds=1e-6)
    assert found.notes == ["To stay within 0 s, 20 of 40 samples of the training part were used."]
    assert {name: len(one.train) for name, one in found.systems.items()} == dict.fromkeys(found.systems, 20)
    assert len(found.train) == 20
    assert found.held_out is not None
    assert len(found.held_out) == 4
    assert len(found.vectors) == len(found.source) == 40
