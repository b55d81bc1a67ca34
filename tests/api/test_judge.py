"""Who judges short trainings: labels of the training part, a held-out part, or views."""

from pathlib import Path
from typing import Any

import numpy as np

from nearfar.api import judge
from nearfar.api.prepare import assemble, prepare
from nearfar.modalities.opening import open_source
from tests.api.conftest import Photos
from tests.toy import Digits


def labelled(tmp_path: Path, count: int, classes: int = 2) -> Any:
    lines = [f"{i},{i % classes}" for i in range(count)]
    (tmp_path / "d.csv").write_text("\n".join(["string,label", *lines]), encoding="utf-8")
    return open_source(Digits(), str(tmp_path / "d.csv"))


def test_samples_that_judge_the_finished_encoder_are_not_asked(tmp_path: Path) -> None:
    left_out = np.arange(0, 300, 3)
    found = judge.by_labels(labelled(tmp_path, 300), left_out)
    assert found is not None
    assert not np.isin(found.rows, left_out).any()
    assert len(found.rows) == 200


def test_few_labels_or_one_class_do_not_judge(tmp_path: Path) -> None:
    assert judge.by_labels(labelled(tmp_path, judge.LEAST - 1), None) is None
    assert judge.by_labels(labelled(tmp_path, 300, classes=1), None) is None


def test_no_more_are_asked_than_tell(tmp_path: Path) -> None:
    found = judge.by_labels(labelled(tmp_path, 4 * judge.MOST), None)
    assert found is not None
    assert len(found.rows) == judge.MOST


def ready(data: Path, tmp_path: Path, tiny_settings: dict[str, Any], **more: Any) -> Any:
    return prepare(assemble({"data": str(data), **tiny_settings, **more}), run=tmp_path / "run", inner=True)


def test_without_labels_views_judge_and_give_a_number(
    photos: Photos, tmp_path: Path, tiny_settings: dict[str, Any]
) -> None:
    found = ready(photos(classes=0), tmp_path, tiny_settings)
    asked = judge.of(found)
    assert asked.kind == "views"
    first, again = (judge.ask(asked, found) for _ in range(2))
    assert first is not None
    assert again is not None
    assert first.figures == again.figures


def test_labels_that_a_method_has_seen_do_not_judge_it(
    photos: Photos, tmp_path: Path, tiny_settings: dict[str, Any]
) -> None:
    found = ready(photos(count=300), tmp_path, tiny_settings, method="supcon", labels="50%")
    asked = judge.of(found)
    assert asked.kind == "labels"
    assert found.plan.labels is not None
    assert (found.plan.labels[asked.rows] < 0).all()
    assert not np.isin(asked.rows, found.judges.held_out).any()
