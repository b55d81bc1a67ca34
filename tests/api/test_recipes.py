"""The recipe of the views: named, chosen by trials, or the usual one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import nearfar as nf
from nearfar.api import judge, recipes
from nearfar.api.options import from_file
from nearfar.errors import UnknownName
from nearfar.training import pilot
from tests.api.conftest import Photos

NAMES = ("colours-change", "colours-both", "colours-stay")


def config_of(run: Path) -> dict[str, Any]:
    return dict(from_file(run / "config.toml"))


pytestmark = pytest.mark.usefixtures("unjudged")


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Lets trials end with these shares of neighbours told right; gives the numbers of steps that they were made of."""

    def of(*shares: float) -> list[int]:
        left, made = list(shares), list[int]()

        def train(plan: Any, steps: int, optimizer: Any) -> tuple[Any, float]:
            made.append(steps)
            return plan.method.encoder, 0.01

        def right(encoder: Any, source: Any, *, whiten: bool) -> Any:
            return (torch.arange(len(source)) < left.pop(0) * len(source)).double()

        monkeypatch.setattr(pilot, "train", train)
        monkeypatch.setattr(judge, "told_by_neighbours", right)
        monkeypatch.setattr(recipes, "LEAST_STEPS", 1)
        monkeypatch.setattr(recipes, "SHARE", 3.0)
        return made

    return of


@pytest.mark.parametrize(
    ("shares", "taken"), [((0.2, 0.5, 0.9), 2), ((0.2, 0.9, 0.5), 1), ((0.9, 0.5, 0.2), 0), ((0.50, 0.51, 0.50), 0)]
)
def test_a_recipe_that_is_ahead_by_more_than_chance_is_taken(
    tiny: Any, photos: Photos, trials: Any, shares: Sequence[float], taken: int
) -> None:
    made = trials(*shares)
    config = config_of(tiny(photos(count=200), views_strength=None).path)
    assert config["views"] == NAMES[taken]
    assert config["keep_colours"] == (0.0, 0.5, 1.0)[taken]
    assert config["labels_chose_views"]
    assert len(set(made)) == 1


def test_without_labels_nothing_is_tried(tiny: Any, photos: Photos, trials: Any) -> None:
    made = trials(0.2, 0.5, 0.9)
    assert config_of(tiny(photos(count=200, classes=0)).path)["views"] == NAMES[0]
    assert not made


def test_norms_over_all_processes_are_not_tried_by_one_of_them(
    tiny: Any, photos: Photos, trials: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trials(0.2, 0.5, 0.9)
    monkeypatch.setattr(recipes, "synchronised", lambda method: True)
    assert config_of(tiny(photos(count=200)).path)["views"] == NAMES[0]
    assert not made


def test_a_run_of_few_steps_tries_nothing(tiny: Any, photos: Photos) -> None:
    config = config_of(tiny(photos(count=200)).path)
    assert config["views"] == NAMES[0]
    assert not config["labels_chose_views"]


@pytest.mark.parametrize("given", [{"hue": 0.1}, {"keep_colours": 0.2}, {"views": "colours-stay"}])
def test_what_is_given_is_not_tried(tiny: Any, photos: Photos, trials: Any, given: dict[str, Any]) -> None:
    made = trials(0.2, 0.5, 0.9)
    config = config_of(tiny(photos(count=200), **given).path)
    assert all(config[name] == value for name, value in given.items())
    assert not made


def test_a_named_recipe_fills_what_is_open(tiny: Any, photos: Photos) -> None:
    assert config_of(tiny(photos(), views="colours-stay").path)["keep_colours"] == 1.0


def test_an_unknown_recipe_is_refused(tiny: Any, photos: Photos) -> None:
    with pytest.raises(UnknownName, match="colours-stay"):
        tiny(photos(), views="colour-stay")


def test_a_run_that_goes_on_keeps_its_recipe(tiny: Any, photos: Photos, trials: Any) -> None:
    made = trials(0.2, 0.5, 0.9)
    run = tiny(photos(count=200))
    before, count = config_of(run.path), len(made)
    nf.train(out=run.path, resume=True, steps=before["steps"] + 1)
    assert config_of(run.path)["views"] == before["views"]
    assert len(made) == count


def test_a_trial_leaves_no_trace_on_the_run(tiny: Any, photos: Photos, tmp_path: Path, monkeypatch: Any) -> None:
    data = photos(count=200)
    monkeypatch.setattr(recipes, "LEAST_STEPS", 1)
    monkeypatch.setattr(recipes, "SHARE", 3.0)
    tried = tiny(data)
    config = config_of(tried.path)
    assert config["labels_chose_views"]
    plain = tiny(data, out=tmp_path / "plain", views=config["views"])
    ours, theirs = tried.encoder.state_dict(), plain.encoder.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
