from dataclasses import fields

import pytest

from nearfar.config import SECTIONS, Length, TrainConfig, seconds
from nearfar.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [("90s", 90), ("10m", 600), ("2h", 7200), ("1.5h", 5400), ("1h30m", 5400), ("45", 45), (" 1H 30M ", 5400)],
)
def test_a_duration_is_read_in_seconds(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "ten", "10x", "-5m", "m10", "1h-30m", "1..5h"])
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(ConfigError, match=r"budget must be a time such as 90s, 10m or 2h, got"):
        seconds(text)


def test_no_time_at_all_is_refused():
    with pytest.raises(ConfigError, match="budget must be above 0, got '0s'"):
        seconds("0s")


@pytest.mark.parametrize("both", [("budget", "epochs"), ("budget", "steps"), ("epochs", "steps")])
def test_two_lengths_contradict_each_other(both):
    values = {"budget": "10m", "epochs": 3, "steps": 4}
    with pytest.raises(ConfigError, match=f"--{both[0]} and --{both[1]} contradict each other"):
        Length(**{name: values[name] for name in both})


def test_a_bad_budget_is_found_when_it_is_given():
    with pytest.raises(ConfigError, match="budget must be a time"):
        Length(budget="soon")


def test_the_tree_has_all_sections():
    assert SECTIONS.keys() | {"method_options", "modality_options"} == {f.name for f in fields(TrainConfig)}
