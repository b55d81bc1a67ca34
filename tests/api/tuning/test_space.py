"""The settings that are tried: where the method and the data have them, and nobody has given them."""

import random
from pathlib import Path
from typing import Any

import pytest

from nearfar.api.prepare import assemble
from nearfar.api.tuning import trial
from nearfar.api.tuning.space import Dimension, Space, space_of
from nearfar.errors import ConfigError, UnknownName
from tests.api.conftest import photos_in, table_at


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, tiny_settings: dict[str, Any]) -> Any:
    place = tmp_path_factory.mktemp("space")
    data = {"photos": str(photos_in(place / "photos")), "table": str(table_at(place / "t.csv"))}

    def space(kind: str, given: dict[str, Any] | None = None, **how: Any) -> Space:
        options = {"data": data[kind], **tiny_settings, **(given or {})}
        if kind == "table":
            options = {name: value for name, value in options.items() if name not in ("encoder", "width")}
        options.pop("steps")
        options.pop("batch_size")
        ready = trial.start(trial.Settings(assemble(options)), 200, 40, place / "run")
        return space_of(ready, options, **how)

    return space


def low(one: Dimension) -> Any:
    return one.choices[0] if one.span is None else one.span.low


def test_each_method_has_its_own_settings(prepared: Any) -> None:
    space = prepared("photos")
    assert "temperature" in {one.name for one in space.by_method["simclr"]}
    assert "temperature" not in {one.name for one in space.by_method["vicreg"]}
    drawn = space.drawn(lambda one: "vicreg" if one.name == "method" else low(one))
    assert "temperature" not in drawn


def test_settings_of_views_are_those_of_the_kind_of_data(prepared: Any) -> None:
    assert {"views", "views_strength", "crop_scale"} <= set(prepared("photos").names)
    assert "corruption" in prepared("table").names
    assert "crop_scale" not in prepared("table").names


def test_what_is_given_is_not_tried(prepared: Any) -> None:
    space = prepared("photos", {"temperature": 0.3, "method": "simclr"})
    assert not {"temperature", "method"} & set(space.names)
    assert space.options({})["temperature"] == 0.3


def test_over_leaves_the_others_as_they_are(prepared: Any) -> None:
    assert prepared("photos", over=["temperature", "lr"]).names == ["temperature", "lr"]


def test_an_unknown_setting_is_refused_with_the_nearest(prepared: Any) -> None:
    with pytest.raises(UnknownName, match="temperature"):
        prepared("photos", over=["temprature"])


def test_over_and_given_contradict_each_other(prepared: Any) -> None:
    with pytest.raises(ConfigError, match="temperature is given"):
        prepared("photos", {"temperature": 0.3}, over=["temperature"])


def test_the_defaults_leave_all_open(prepared: Any) -> None:
    space = prepared("photos")
    assert space.options(space.usual) == dict(space.given)


def test_the_rate_is_in_units_of_the_automatic_one(prepared: Any, tmp_path: Path) -> None:
    space = prepared("photos", over=["lr"])
    rates = []
    for times in (1.0, 0.5):
        found = trial.start(space.settings({"lr": times}), 200, 40, tmp_path / "run")
        rates.append(found.plan.lr)
        assert found.plan.optimizer.defaults["lr"] == pytest.approx(found.plan.lr)
    assert rates[1] == pytest.approx(rates[0] / 2)


def test_every_draw_is_a_run_that_can_start(prepared: Any) -> None:
    numbers = random.Random(0)
    for kind in ("photos", "table"):
        space = prepared(kind)
        for _ in range(30):
            space.settings(
                space.drawn(
                    lambda one: (
                        numbers.choice(one.choices)
                        if one.span is None
                        else numbers.uniform(one.span.low, one.span.high)
                    )
                )
            )


def test_options_that_only_the_usual_method_has_stay_with_it(prepared: Any) -> None:
    space = prepared("photos", {"variant": "decoupled"}, tried=["simclr", "vicreg"])
    assert space.options({"method": "simclr"})["variant"] == "decoupled"
    assert "variant" not in space.options({"method": "vicreg"})
