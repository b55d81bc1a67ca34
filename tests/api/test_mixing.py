"""What a run from published weights ends with, by labels of its training part or without."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import nearfar as nf
from nearfar.api import mixing
from nearfar.api.run import Run
from nearfar.evaluation.cross_validation import cross_validated

Tiny = Callable[..., Run]


@pytest.fixture
def weights(tiny: Tiny, tmp_path: Path) -> Path:
    return tiny("digits:test", out=tmp_path / "first", image_size=8, evaluate=False).path / "encoder/model.safetensors"


def ended(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What training itself ended with."""
    found: dict[str, Any] = {}
    settle = mixing.settle

    def noted(ready: Any, start: Any) -> str:
        found["end"] = {name: value.clone() for name, value in ready.encoder.state_dict().items()}
        found["held_out"], found["rows"] = ready.judges.held_out, mixing._labelled(ready)
        return settle(ready, start)

    monkeypatch.setattr(mixing, "settle", noted)
    return found


@pytest.mark.parametrize("best", [0.0, 0.25, 1.0])
def test_weights_lie_where_labels_of_the_training_part_say(
    tiny: Tiny, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, best: float
) -> None:
    before = ended(monkeypatch)
    scores = iter([0.9 if share == best else 0.5 for share in mixing.SHARES])
    monkeypatch.setattr(mixing, "cross_validated", lambda *_, **__: next(scores))
    run = tiny("digits:test", pretrained=weights, image_size=8, out=tmp_path / "run", evaluate=False)
    start = load_file(run.path / "encoder" / "start.safetensors")
    for name, value in nf.load(run.path).state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, torch.lerp(start[name], before["end"][name], best), msg=name)
    assert run.encoder.config["mixed"] == best
    assert not set(before["rows"]) & set(before["held_out"])


def test_what_was_learnt_from_labels_is_kept(tiny: Tiny, weights: Path, tmp_path: Path) -> None:
    options = {"pretrained": weights, "image_size": 8, "method": "supcon", "evaluate": False}
    run = tiny("digits:test", out=tmp_path / "run", **options)
    assert "mixed" not in run.encoder.config


def test_a_run_without_labels_to_go_by_takes_the_mean_of_both(
    tiny: Tiny,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(mixing, "_LEAST", 1_000)
    with caplog.at_level("INFO", "nearfar"):
        run = tiny("digits:test", pretrained=weights, image_size=8, out=tmp_path / "run", evaluate=False)
    assert run.encoder.config["mixed"] == 0.5
    assert "50 % those after training and 50 % those from the start; no labels" in caplog.text


def test_weights_after_training_are_kept_on_demand(tiny: Tiny, weights: Path, tmp_path: Path) -> None:
    run = tiny("digits:test", pretrained=weights, image_size=8, out=tmp_path / "run", keep_start=False, evaluate=False)
    assert "mixed" not in run.encoder.config


def test_cross_validation_tells_vectors_that_know_the_classes() -> None:
    labels = torch.arange(80) % 4
    known = torch.nn.functional.one_hot(labels, 8).float() + 0.01 * torch.randn(80, 8)
    assert cross_validated(known, labels) > 0.95 > 0.6 > cross_validated(torch.randn(80, 8), labels)


def test_cross_validation_never_asks_for_the_group_it_has_seen() -> None:
    """Each group of two shares a vector of its own and a label at random: only a seen partner tells."""
    torch.manual_seed(0)
    groups = torch.arange(80) // 2
    vectors, labels = torch.randn(40, 64)[groups], torch.randint(0, 2, (40,))[groups]
    assert cross_validated(vectors, labels) > 0.85
    assert cross_validated(vectors, labels, groups=groups) < 0.7


@pytest.mark.parametrize(("before", "after", "kept"), [(0.8, 0.5, True), (0.51, 0.5, False), (0.5, 0.8, False)])
def test_training_that_made_neighbours_worse_is_undone(
    tiny: Tiny, photos: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any, before: float, after: float, kept: bool
) -> None:
    shares = iter([before, after])

    def told(encoder: Any, source: Any, *, whiten: bool) -> Any:
        return (torch.arange(len(source)) < next(shares) * len(source)).double()

    monkeypatch.setattr(mixing, "told_by_neighbours", told)
    run = tiny(photos(count=200), views="colours-change", evaluate=False)
    untrained = mixing.untrained(
        nf.load(run.path), nf.api.sources.open_for(run.encoder, str(run.path.parent / "photos"))
    )
    weights = {name: value for name, value in untrained.state_dict().items() if name.endswith("weight")}
    found = nf.load(run.path).state_dict()
    assert all(torch.equal(found[name], value) for name, value in weights.items()) is kept
    assert any("weights are those from the start" in text for text in caplog.messages) is kept


def test_training_is_not_undone_where_that_is_switched_off(
    tiny: Tiny, photos: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixing, "told_by_neighbours", lambda *_, **__: pytest.fail("looked at labels"))
    tiny(photos(count=200), views="colours-change", keep_start=False, evaluate=False)
