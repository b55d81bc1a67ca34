"""Options by name find their section, with the right kind of value, or are refused in plain words."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from nearfar.api import options as opts
from nearfar.config import TrainConfig
from nearfar.errors import ConfigError, UnknownName
from nearfar.training.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    temperature: float | None = None


@dataclass(frozen=True, kw_only=True)
class ModalityOptions:
    image_size: int | None = None
    stem: Literal["auto", "patch"] = "auto"


def assembled(**given: Any) -> TrainConfig:
    return opts.assemble(given, MethodOptions, ModalityOptions)


def test_each_option_finds_its_section() -> None:
    config = assembled(data="d", width=8, steps=3, lr=0.1, seed=4, knn_every=0.5, temperature=0.2, image_size=32)
    assert (config.data.data, config.model.width, config.length.steps) == ("d", 8, 3)
    assert (config.optimisation.lr, config.machine.seed, config.watch.knn_every) == (0.1, 4, 0.5)
    assert (config.method_options.temperature, config.modality_options.image_size) == (0.2, 32)


def test_none_stands_for_automatic() -> None:
    assert assembled(lr=None, batch_size=None, temperature=None) == assembled()


def test_an_unknown_option_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"No option is named 'temprature'. Did you mean 'temperature'"):
        assembled(temprature=0.1)


@pytest.mark.parametrize("given", [{}, {"method": "simclr"}])
def test_an_option_of_another_method_names_those_that_have_it(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"bias is no option of the method simclr, but of siglip"):
        assembled(bias=-10.0, **given)


def test_an_option_of_another_kind_of_data_names_those_that_have_it() -> None:
    with pytest.raises(ConfigError, match=r"corruption is an option of data of the kind table: leave it out for data"):
        assembled(modality="image", corruption=0.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": "12"}, "steps must be a whole number, got '12'"),
        ({"optimizer": "adam"}, "No choice for optimizer is named 'adam'. Did you mean 'adamw'"),
        ({"temperature": "hot"}, "temperature must be a number, got 'hot'"),
        ({"stem": 3}, "No choice for stem is named '3'. Choose from: auto, patch"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_a_bad_value_of_any_section_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        assembled(**given)


def test_lengths_contradict_each_other() -> None:
    with pytest.raises(ConfigError, match="--epochs and --steps contradict each other"):
        assembled(epochs=2, steps=3)


def test_ten_minutes_are_the_default_length() -> None:
    assert opts.with_default_length(assembled()).length.budget == "10m"
    assert opts.with_default_length(assembled(steps=3)).length.budget is None


def test_a_config_file_gives_its_options_back(tmp_path: Path) -> None:
    settled = {"encoder_rate": 1.0, "layer_decay": 1.0, "freeze": 0, "fix_norms": False, "keep_start": True}
    config = assembled(data="d", steps=3, lr=0.3, temperature=0.2, stem="patch", optimizer="sgd", **settled)
    RunFolder(tmp_path).write_config(asdict(config), {"lr": "a reason"})
    assert assembled(**opts.from_file(tmp_path / "config.toml")) == config


def test_a_config_file_with_a_loose_value_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("lr = 3\n")
    with pytest.raises(ConfigError, match="lr stands outside of any section"):
        opts.from_file(tmp_path / "c.toml")


def test_what_is_given_comes_before_the_file() -> None:
    assert opts.overlay({"lr": 1.0, "seed": 3}, {"lr": 2.0, "seed": None}) == {"lr": 2.0, "seed": 3}


def test_a_length_that_is_given_replaces_the_file_s() -> None:
    assert opts.overlay({"steps": 9, "lr": 1.0}, {"budget": "1m"}) == {"lr": 1.0, "budget": "1m"}


def test_of_a_run_of_an_earlier_version_what_came_since_is_as_it_was():
    old = opts.from_file(Path(__file__).parents[1] / "data_format_1" / "digits" / "config.toml")
    new = {"normalise": "data", "encoder_rate": 1.0, "layer_decay": 1.0, "freeze": 0, "fix_norms": False}
    assert {name: old[name] for name in new} == new
    assert old["keep_start"] is False
