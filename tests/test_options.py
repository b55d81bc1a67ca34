"""Options declare their type, range and choices once; one checker holds every option class to them."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from nearfar.config import SECTIONS
from nearfar.errors import ConfigError, UnknownName
from nearfar.methods.registry import METHODS, options_of
from nearfar.modalities import registry as modalities
from nearfar.options import Options, Settling, automatic, declared, listed, numbers, option, text, whole


@dataclass(frozen=True, kw_only=True)
class Toy(Options):
    count: int = automatic("Things.", least=2, most=9, reason=" (one is none)")
    share: float = option(0.5, "Part of them.", above=0, below=1)
    rate: float | None = option(None, "Speed; off when not given.", above=0)
    kind: Literal["red", "green"] = option("red", "Colour.")
    pieces: int | Literal["auto"] | None = option(None, "How many at once.", least=1)
    name: str = option("x", "A name.")
    on: bool = option(True, "Whether at all.", off="Not at all.")

    def check(self) -> None:
        if self.kind == "green" and self.count == 3:
            raise ConfigError("three are never green.")


def test_names_are_listed_by_commas_or_given_as_a_list():
    @dataclass(frozen=True, kw_only=True)
    class Named(Options):
        names: str | None = option(None, "Names.", listed=True)

    assert listed(Named(names="a, b").names) == ("a", "b")
    assert listed(Named(names=["a", "b, c", 'd"']).names) == ("a", "b, c", 'd"')
    assert listed(Named(names=[]).names) == listed(None) == ()
    with pytest.raises(ConfigError, match="names must be text"):
        Named(names=[1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"count": 1}, r"^count must be at least 2 \(one is none\), got 1\.$"),
        ({"count": 10}, r"^count must be at most 9 \(one is none\), got 10\.$"),
        ({"count": 10**30}, r"^count must be below 2\^63"),
        ({"count": 3.0}, "count must be a whole number, got 3.0"),
        ({"count": True}, "count must be a whole number, got True"),
        ({"count": "3"}, "count must be a whole number, got '3'"),
        ({"share": 1.0}, r"^share must be in \(0, 1\), got 1\.0\.$"),
        ({"share": math.nan}, "share must be a finite number, got nan"),
        ({"share": None}, "share must be a number, got None"),
        ({"rate": math.inf}, "rate must be a finite number, got inf"),
        ({"rate": 10**400}, "rate must be a finite number"),
        ({"rate": 0}, r"^rate must be above 0, got 0\.0\.$"),
        ({"rate": [1.0]}, r"rate must be a number, got \[1\.0\]"),
        ({"kind": 3}, "No choice for kind is named '3'. Choose from: green, red"),
        ({"kind": None}, "No choice for kind is named 'None'"),
        ({"pieces": "many"}, "pieces must be auto or a whole number, got 'many'"),
        ({"pieces": 0}, "pieces must be at least 1"),
        ({"name": 5}, "name must be text, got 5"),
        ({"name": "a\0b"}, "name must be text without a NUL"),
        ({"on": "yes"}, "on must be true or false, got 'yes'"),
        ({"on": 1}, "on must be true or false, got 1"),
        ({"kind": "green", "count": 3}, "three are never green"),
    ],
)
def test_a_bad_value_is_named_with_what_it_must_be(given, message):
    with pytest.raises(ConfigError, match=message):
        Toy(**given)


def test_a_wrong_choice_suggests_the_nearest():
    with pytest.raises(UnknownName, match=r"No choice for kind is named 'gren'\. Did you mean 'green'"):
        Toy(kind="gren")


def test_numbers_and_paths_become_plain_values():
    toy = Toy(count=np.int64(4), share=np.float32(0.25), rate=1, name=Path("a/b"), pieces="auto")
    assert (toy.count, toy.share, toy.rate, toy.name, toy.pieces) == (4, 0.25, 1.0, "a/b", "auto")
    assert [type(value) for value in (toy.count, toy.share, toy.rate)] == [int, float, float]


@pytest.mark.parametrize(
    ("name", "word", "value"),
    [("count", "4", 4), ("rate", "1e-3", 1e-3), ("pieces", "auto", "auto"), ("pieces", "3", 3), ("kind", "red", "red")],
)
def test_a_word_is_read_as_the_option_s_value(name, word, value):
    assert declared(Toy)[name].parse(word) == value


@pytest.mark.parametrize(("name", "word"), [("count", "4.5"), ("rate", "fast"), ("kind", "blue"), ("pieces", "all")])
def test_a_word_that_is_no_value_is_refused(name, word):
    with pytest.raises(ConfigError, match=name):
        declared(Toy)[name].parse(word)


def test_an_automatic_option_is_open_until_it_is_settled():
    settling = Settling(Toy())
    assert not settling.options.settled
    settling.choose("count", 4, "four fit")
    settling.choose("count", 5, "it is settled already")
    settling.put("kind", "green", "")
    assert settling.options == Toy(count=4, kind="green")
    assert settling.options.settled
    assert [(choice.name, choice.value) for choice in settling.choices] == [("count", 4)]


def classes():
    kinds = [*SECTIONS.values(), *map(options_of, METHODS), *map(modalities.options, modalities.MODALITIES)]
    return dict.fromkeys(kinds)


def test_every_option_has_its_help_and_one_name_in_a_run():
    for kind in classes():
        assert [name for name, one in declared(kind).items() if not one.about.get("help", "").endswith(".")] == []
        assert [name for name, one in declared(kind).items() if one.default is True and not one.about["off"]] == []
    shared = [set(declared(kind)) for kind in SECTIONS.values()]
    for group in (map(options_of, METHODS), map(modalities.options, modalities.MODALITIES)):
        assert not set.union(*map(set, map(declared, group))) & set.union(*shared)
    assert sum(map(len, shared)) == len(set.union(*shared))


def test_every_option_of_every_class_keeps_to_its_range():
    for kind in classes():
        for name, one in declared(kind).items():
            low = [one.about[end] - step for end, step in (("least", 1), ("above", 0)) if one.about[end] is not None]
            high = [one.about[end] + step for end, step in (("most", 1), ("below", 0)) if one.about[end] is not None]
            wrong = [*low, *high, *([math.nan, math.inf] if float in one.kinds else [])]
            for value in [*wrong, object()]:
                with pytest.raises(ConfigError, match=f"(^|No choice for ){name} "):
                    kind(**{name: value})


def test_defaults_are_allowed_in_every_class():
    for kind in classes():
        kind()


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("simclr", {"tau_plus": 0.1}, "tau_plus needs variant debiased or hard, not nt_xent"),
        ("simclr", {"variant": "debiased", "beta": 1.0}, "beta needs variant hard, not debiased"),
        ("triplet", {"samples_per_class": 2}, "samples_per_class goes with supervised"),
        ("moco", {"norm_group": 1}, "norm_group must be 0 or at least 2"),
    ],
)
def test_options_of_a_method_that_contradict_each_other_are_named(method, given, message):
    with pytest.raises(ConfigError, match=message):
        options_of(method)(**given)


@pytest.mark.parametrize(
    "read",
    [
        lambda config: text(config, "text"),
        lambda config: text(config, "word", among=("a", "b")),
        lambda config: whole(config, "text"),
        lambda config: whole(config, "whole", most=3),
        lambda config: whole(config, "on"),
        lambda config: whole(config, "none"),
        lambda config: numbers(config, "numbers", 3),
        lambda config: numbers(config, "strange", 2),
    ],
)
def test_an_altered_config_of_an_encoder_is_refused(read):
    config = {"text": 3.5, "word": "c", "whole": 4, "on": True, "none": None, "numbers": [1, 2.5], "strange": [1, "2"]}
    with pytest.raises(ConfigError, match=r"must be|is named"):
        read(config)


def test_a_config_of_an_encoder_is_read():
    config = {"word": "b", "whole": 4, "numbers": [1, 2.5]}
    assert text(config, "word") == text(config, "word", among=("a", "b")) == "b"
    assert whole(config, "whole", least=4) == 4
    assert numbers(config, "numbers", 2) == [1, 2.5]
