"""What a run says of itself: broken settings are named in its first tenth, a healthy run is left in peace."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from nearfar.api.run import Run
from nearfar.contract import Losses
from nearfar.errors import TrainingError
from nearfar.methods.simclr import SimCLR
from nearfar.training import checkpoint

Tiny = Callable[..., Run]
STEPS = 40
BATCH = {"batch_size": 64, "steps": STEPS, "image_size": 16}

pytestmark = pytest.mark.usefixtures("unjudged")


def alarms(run: Path) -> list[dict[str, Any]]:
    saved = checkpoint.latest(run / "checkpoint")
    assert saved is not None
    return [alarm for alarm in saved.state["alarms"] if alarm["name"] not in ("too few steps", "processor shared")]


def pictures(folder: Path, make: Callable[[int], Any]) -> Path:
    folder.mkdir()
    for number in range(100):
        Image.fromarray(np.asarray(make(number), np.uint8)).save(folder / f"{number:02}.png")
    return folder


@pytest.mark.parametrize("method", ["simclr", "dino"])
def test_a_healthy_run_raises_none(tiny: Tiny, method: str) -> None:
    assert alarms(tiny("digits", method=method, **BATCH).path) == []


def test_a_healthy_run_with_groups_of_positives_raises_none(tiny: Tiny, tmp_path: Path) -> None:
    digits = load_digits()
    lines = ["image,group"]
    for number in range(0, len(digits.images), 4):
        Image.fromarray((digits.images[number] * 15).astype(np.uint8)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{digits.target[number]}")
    (tmp_path / "groups.csv").write_text("\n".join(lines))
    assert alarms(tiny(tmp_path / "groups.csv", positives="group", **BATCH).path) == []


@pytest.mark.parametrize("method", ["simclr", "swav"])
def test_a_temperature_of_100_is_named_early(tiny: Tiny, method: str) -> None:
    (alarm,) = alarms(tiny("digits", method=method, temperature=100.0, **BATCH).path)
    assert alarm["name"] == "no pull"
    assert alarm["step"] <= STEPS / 10
    assert "lower --temperature" in alarm["sentence"]


@pytest.mark.parametrize("method", ["simclr", "byol"])
def test_a_rate_a_hundred_times_too_high_is_named_early(tiny: Tiny, method: str) -> None:
    found = alarms(tiny("digits", method=method, lr=6.0, **BATCH).path)
    assert found[0]["name"] == "steps too long"
    assert found[0]["step"] <= STEPS / 10
    assert "--lr ten times lower" in found[0]["sentence"]


@pytest.mark.parametrize(("method", "grows", "name"), [("simclr", 0, "samples alike"), ("byol", 1, "inputs alike")])
def test_black_pictures_are_named_early(tiny: Tiny, tmp_path: Path, method: str, grows: int, name: str) -> None:
    black = pictures(tmp_path / "black", lambda number: np.zeros((16 + grows * (number % 9), 16)))
    (alarm,) = alarms(tiny(black, method=method, **BATCH | {"steps": 20}).path)
    assert alarm["name"] == name
    assert alarm["step"] == 1
    assert "Look at the data" in alarm["sentence"]


def test_pictures_that_hardly_differ_are_named_early(tiny: Tiny, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    scene = random.integers(3, 250, (16, 16))
    alike = pictures(tmp_path / "alike", lambda _: scene + random.integers(-2, 3, scene.shape))
    found = alarms(tiny(alike, **BATCH | {"steps": 60}).path)
    alarm = found[0]
    assert alarm["name"] == "views unrelated"
    assert alarm["step"] <= 6


def raised(monkeypatch: pytest.MonkeyPatch, by: Callable[[float], float]) -> None:
    """SimCLR's loss lies higher, its gradient is as before."""
    loss = SimCLR.loss

    def higher(self: SimCLR, z: Any, batch: Any) -> Losses:
        return Losses(loss(self, z, batch).total + by(batch.progress))

    monkeypatch.setattr(SimCLR, "loss", higher)


def test_a_loss_that_explodes_stops_the_run_and_keeps_the_last_good_state(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised(monkeypatch, lambda progress: 1e6 if progress > 0.5 else 0.0)
    with pytest.raises(
        TrainingError, match=r"The loss has exploded to 1e\+06 at step 14\. The last good state is in .*--lr three"
    ):
        tiny("digits", checkpoint_every=1e-9, **BATCH | {"steps": 20})
    saved = checkpoint.latest(tmp_path / "run" / "checkpoint")
    assert saved is not None
    assert saved.state["step"] == 11


def test_a_run_does_not_end_with_a_loss_that_explodes(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised(monkeypatch, lambda progress: 1e6 if progress > 0.9 else 0.0)
    with pytest.raises(TrainingError, match=r"The loss has exploded at step 20\. The last good state is in"):
        tiny("digits", checkpoint_every=1e-9, **BATCH | {"steps": 20})
    saved = checkpoint.latest(tmp_path / "run" / "checkpoint")
    assert saved is not None
    assert saved.state["step"] == 19


def test_a_loss_that_comes_back_stops_nothing(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    raised(monkeypatch, lambda progress: 1e6 if 0.5 < progress < 0.6 else 0.0)
    saved = checkpoint.latest(tiny("digits", **BATCH | {"steps": 20}).path / "checkpoint")
    assert saved is not None
    assert saved.state["step"] == 20
