"""From words to a form and to the options that were given."""

import re
from dataclasses import fields

import pytest

from nearfar.cli.flags import flag_of
from nearfar.cli.parsing import EVERY, parse
from nearfar.config import SECTIONS
from nearfar.errors import ConfigError, UnknownName
from nearfar.methods.registry import METHODS, options_of
from nearfar.modalities import registry as modalities
from nearfar.options import declared


@pytest.fixture(autouse=True)
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n3,4\n")


def given(line):
    return parse(line.split()).given


def shown(capsys, *words):
    assert parse([*words]) is None
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("train digits", {}),
        ("train digits --lr 0.1 --budget 10m", {"lr": 0.1, "budget": "10m"}),
        ("train digits --batch-size 8", {"batch_size": 8}),
        ("train digits --batch_size=8", {"batch_size": 8}),
        ("train digits --seed 0", {"seed": 0}),
        ("train digits --seed 1 --seed 2", {"seed": 2}),
        ("train digits --micro-batch auto", {"micro_batch": "auto"}),
        ("train digits --temperature 0.2 --image-size 64", {"temperature": 0.2, "image_size": 64}),
        ("train rows.csv --corruption 0.4", {"corruption": 0.4}),
        ("train --corruption 0.4 --modality table", {"corruption": 0.4, "modality": "table"}),
        ("train digits --method siglip --bias -1e-3", {"method": "siglip", "bias": -1e-3}),
        ("train digits --whiten", {"whiten": True}),
        ("train digits --no-whiten --no-evaluate --compile", {"whiten": False, "evaluate": False, "compile": True}),
        ("evaluate run digits --no-baselines --label-column c", {"baselines": False, "label_column": "c"}),
        ("embed run digits -o v.npy --threads 2 --quiet", {}),
        ("search run a --in v.npy -k 3 --device cpu", {"device": "cpu"}),
    ],
)
def test_only_what_is_typed_is_given_to_the_api(line, options):
    assert given(line) == options


@pytest.mark.parametrize("line", ["search run a b c -k 3", "search run -k 3 a b c", "search -k=3 run a --json b c"])
def test_places_may_stand_before_and_behind_options(line):
    form = parse(line.split()).form
    assert (form.run, form.query, form.k) == ("run", ("a", "b", "c"), 3)


def test_options_are_those_of_the_method_that_is_usual_for_the_data(tmp_path):
    (tmp_path / "seen.csv").write_text("user,item\na,x\nb,y\n")
    assert given("train seen.csv --guard self") == {"guard": "self"}
    with pytest.raises(ConfigError, match="guard is no option of the method simclr"):
        given("train rows.csv --guard self")


def test_the_method_and_the_kind_of_a_config_file_decide_which_options_are_known(tmp_path):
    (tmp_path / "config.toml").write_text('[model]\nmethod = "siglip"\n[data]\nmodality = "table"\n')
    options = given("train --config config.toml --bias -9 --hidden 8")
    assert options == {"config": str(tmp_path / "config.toml"), "bias": -9.0, "hidden": 8}
    with pytest.raises(ConfigError, match="image_size is an option of data of the kind image"):
        given(f"train --resume --out {tmp_path} --image-size 8")


@pytest.mark.parametrize("content", ["[model\n", "a = " + "[" * 100_000], ids=["cut", "deep"])
def test_a_damaged_config_file_is_named(tmp_path, content):
    (tmp_path / "config.toml").write_text(content)
    with pytest.raises(ConfigError, match=r"config\.toml' is no readable config\.toml"):
        given("train digits --config config.toml --bias 1")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train x --batch-siz 3", "No option of `nearfar train` is named '--batch-siz'. Did you mean '--batch-size'?"),
        ("train x --temprature 1", "is named '--temprature'. Did you mean '--temperature'"),
        ("train x --qqq 1", "No option of `nearfar train` is named '--qqq'. `nearfar train --help-all` shows all."),
        ("train x --method simlcr", "No method is named 'simlcr'. Did you mean 'simclr'?"),
        ("train x --modality imge", "No modality is named 'imge'. Did you mean 'image'?"),
        ("train x --bias -10", "bias is no option of the method simclr, but of siglip:"),
        ("train x --method clip --variant hard", "variant is no option of the method clip, but of simclr:"),
        ("train rows.csv --image-size 64", "image_size is an option of data of the kind image: leave it out for data"),
        ("train digits --hidden 64", "hidden is an option of data of the kind table: leave it out for data"),
        ("train --resume --hidden 64", "hidden is an option of data of the kind table: give DATA or --modality"),
        ("train x --lr abc", "--lr must be a number, got 'abc'."),
        ("train x --epochs 1.5", "--epochs must be a whole number, got '1.5'."),
        ("train x --optimizer adam", "No choice for optimizer is named 'adam'. Did you mean 'adamw'?"),
        ("train x --lr -1", "--lr must be above 0, got -1.0."),
        ("train x --lr inf", "--lr must be a finite number, got inf."),
        ("train digits --image-size 4", "--image-size must be at least 8, got 4."),
        ("train x --epochs 3 --steps 4", "--epochs and --steps contradict each other"),
        ("train x --lr", "--lr: expected one argument (nearfar train --help)."),
        ("train x --lr --seed 3", "--lr: expected one argument"),
        ("train x y", "nearfar train takes DATA: 'y' is too many."),
        ("demo x", "nearfar demo takes no argument: 'x' is too many."),
        ("evaluate run", "nearfar evaluate needs RUN TRAIN"),
        ("embed run data", "nearfar embed needs RUN DATA -o FILE"),
        ("embed run data -o v.txt", "--out must end in .parquet or .npy, got"),
        ("search run", "nearfar search needs RUN QUERY..."),
        ("report", "nearfar report needs RUN..."),
        ("list", "nearfar list needs WHAT"),
    ],
)
def test_a_mistake_is_named(line, says):
    with pytest.raises(ConfigError) as error:
        parse(line.split())
    assert says in str(error.value)


def test_short_help_shows_ten_options_and_help_all_shows_every_one(capsys):
    short, every = shown(capsys, "train", "--help"), shown(capsys, "train", "digits", "--help-all")
    flags = re.findall(r"(?:^| )(--[a-z][\w-]*)(?= [A-Z{])", short.split("of all commands")[0])
    assert len(flags) == 10
    kinds = [*SECTIONS.values(), options_of("simclr"), modalities.options("image")]
    own = [one for kind in kinds for one in declared(kind).values()]
    own = [one for one in own if one.name != "data" and not one.about.get("python")]
    assert [flag_of(one) for one in own if not re.search(f"{flag_of(one)}[ ,]", every)] == []
    assert "--micro-batch auto|INT Samples" in every
    assert "--gather {all,ring} What" in every
    assert "--whiten, --no-whiten Whiten the finished encoder's vectors" in every
    assert all(name in short for name in METHODS)


def test_help_shows_the_options_of_the_data_and_of_the_method_that_are_named(capsys):
    assert "--corruption" in shown(capsys, "train", "rows.csv", "-h")
    assert "--image-size" in shown(capsys, "train", "--modality", "image", "-h")
    with_method = shown(capsys, "train", "rows.csv", "--method", "siglip", "-h")
    assert "--bias FLOAT What is added to each pair's logit at the start;" in with_method
    assert "(default: 0.1)" in with_method
    assert "--projector-hidden INT Width of the projector's hidden layer. (automatic)" in with_method
    assert "--image-size" not in with_method
    assert "--variant" not in with_method


def test_help_is_there_for_data_that_is_not(capsys):
    assert "--budget" in shown(capsys, "train", "nowhere.csv", "--help")


def test_options_of_one_name_are_all_switches_or_all_take_a_value():
    kinds: dict[str, set[bool]] = {}
    for _, group in EVERY:
        for f in fields(group):
            kinds.setdefault(f.name, set()).add(bool in declared(group)[f.name].kinds)
    assert {name: found for name, found in kinds.items() if len(found) > 1} == {}


def test_an_unknown_option_is_an_unknown_name():
    with pytest.raises(UnknownName):
        parse(["list", "--wat"])
