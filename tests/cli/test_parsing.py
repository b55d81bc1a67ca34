"""From words to a form and to the options that were given."""

import re
from dataclasses import fields

import pytest

from nearfar.cli.parsing import parse
from nearfar.config import SECTIONS
from nearfar.errors import ConfigError, UnknownName
from nearfar.methods import registry as methods
from nearfar.methods.registry import METHODS


def given(line):
    return parse(line.split()).given


def test_only_what_is_said_is_given():
    assert given("train photos --lr 0.1 --budget 10m") == {"lr": 0.1, "budget": "10m"}


def test_nothing_said_is_nothing_given():
    assert given("train photos") == {}


def test_data_is_positional_wherever_it_stands():
    assert parse("train --lr 0.1 photos".split()).form.data == "photos"


@pytest.mark.parametrize("word", ["--batch-size 8", "--batch_size 8", "--batch-size=8", "--batch_size=8"])
def test_hyphens_underscores_and_equal_signs_are_all_read(word):
    assert given(f"train photos {word}") == {"batch_size": 8}


def test_an_option_said_with_its_default_is_given():
    assert given("train photos --seed 0") == {"seed": 0}


def test_the_last_word_counts():
    assert given("train photos --seed 1 --seed 2") == {"seed": 2}


def test_every_setting_of_a_run_has_a_flag(capsys):
    assert parse(["train", "--help"]) is None
    said = capsys.readouterr().out
    settings = {f.name: f for section in SECTIONS.values() for f in fields(section) if f.name != "data"}
    # What is on by default has the flag that switches it off.
    flags = {name: f"--{'no-' if f.default is True else ''}{name.replace('_', '-')}" for name, f in settings.items()}
    assert [name for name, flag in flags.items() if flag not in said] == []


def test_options_of_modalities_are_flags_too():
    assert given("train photos --image-size 64 --corruption 0.4") == {"image_size": 64, "corruption": 0.4}


def test_a_modality_that_is_named_leaves_the_others_options_out():
    with pytest.raises(UnknownName, match="'--image-size'"):
        given("train rows.csv --modality table --image-size 64")


def test_options_of_the_method_are_flags_too():
    assert given("train photos --temperature 0.2") == {"temperature": 0.2}


def test_help_says_how_to_see_the_options_of_a_method(capsys):
    parse(["train", "--help"])
    assert "nearfar train --method NAME --help" in capsys.readouterr().out


def test_help_of_a_method_shows_its_options(capsys):
    assert parse(["train", "--method", "simclr", "--help"]) is None
    assert "--temperature" in capsys.readouterr().out


def test_help_of_a_method_says_what_is_automatic_and_the_defaults_of_the_rest(capsys):
    parse(["train", "--method", "simclr", "--help"])
    own = " ".join(capsys.readouterr().out.replace("│", "").split("simclr options")[1].split())
    assert "--temperature FLOAT Softmax temperature; lower weighs the hardest negatives more. (automatic)" in own
    assert "--projector-out INT Dimensions of the space the loss is computed in. (default: 128)" in own
    assert "--variant {nt_xent,decoupled,debiased,hard}" in own


@pytest.mark.parametrize("method", METHODS)
def test_help_of_a_method_has_a_line_on_each_of_its_options_and_on_none_of_another(method, capsys):
    parse(["train", "--method", method, "--help"])
    own = capsys.readouterr().out.split(f"{method} options")[1]
    shown = re.findall(r"^[│| ]*(--[a-z][\w-]*)", own, flags=re.MULTILINE)
    named = {f.name: f for f in fields(methods.load(method).Options)}
    flags = [f"--{'no-' if f.default is True else ''}{name.replace('_', '-')}" for name, f in named.items()]
    assert shown == flags
    assert own.count("(automatic)") == sum(f.default is None for f in named.values())


def test_help_names_the_methods(capsys):
    parse(["train", "--help"])
    assert f"methods: {', '.join(METHODS)}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train x --bias -10", "bias is no option of the method simclr, but of siglip:"),
        ("train x --method clip --variant hard", "variant is no option of the method clip, but of simclr:"),
    ],
)
def test_an_option_of_another_method_names_those_that_have_it(line, says):
    with pytest.raises(ConfigError) as error:
        parse(line.split())
    assert says in str(error.value)


def test_the_method_of_a_config_file_decides_which_options_are_known(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text('[model]\nmethod = "simlcr"\n')
    with pytest.raises(UnknownName, match="Did you mean 'simclr'"):
        given(f"train photos --config {file} --temperature 0.2")


@pytest.mark.parametrize("content", ["[model\n", "a = " + "[" * 100_000], ids=["cut", "deep"])
def test_a_damaged_config_file_is_named(tmp_path, content):
    file = tmp_path / "config.toml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"config\.toml is no readable config\.toml"):
        given(f"train photos --config {file}")


def test_a_switch_that_is_off_by_flag_is_given():
    assert given("evaluate run data --no-baselines") == {"baselines": False}


@pytest.mark.parametrize("word", ["-o", "--out"])
def test_short_flags_are_the_long_ones(word):
    assert given(f"embed run data {word} v.npy") == {"out": "v.npy"}


def test_in_is_where_to_look():
    assert given("search run query.png --in v.npy -k 3") == {"within": "v.npy", "k": 3}


def test_several_queries_are_read():
    assert parse("search run a b c".split()).form.query == ("a", "b", "c")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train x --batch-siz 3", "No option of `nearfar train` is named '--batch-siz'. Did you mean '--batch-size'?"),
        (
            "train x --temprature 1",
            "No option of `nearfar train` is named '--temprature'. Did you mean '--temperature'",
        ),
        ("train x --method simlcr", "No method is named 'simlcr'. Did you mean 'simclr'?"),
        ("train x --modality imge", "No modality is named 'imge'. Did you mean 'image'?"),
        ("train x --lr abc", "--lr must be a number, got 'abc'."),
        ("train x --epochs 1.5", "--epochs must be a whole number, got '1.5'."),
        ("train x --optimizer adam", "--optimizer must be one of sgd, lars, adamw; got 'adam'."),
        ("train x --lr -1", "lr must be above 0, got -1.0."),
        ("train x --image-size 4", "image_size must be at least 8, got 4."),
        ("train x --epochs 3 --steps 4", "--epochs and --steps contradict each other"),
        ("train x --lr", "--lr"),
        ("train x y", "y"),
        ("evaluate run", "nearfar evaluate needs RUN TRAIN"),
        ("embed run data", "nearfar embed needs RUN DATA -o FILE"),
        ("list", "nearfar list needs WHAT"),
    ],
)
def test_a_mistake_is_named(line, says):
    with pytest.raises(ConfigError) as error:
        parse(line.split())
    assert says in str(error.value)
    assert not set("╭│╰\n") & set(str(error.value))
