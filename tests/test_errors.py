import pytest

from nearfar.errors import (
    ConfigError,
    DataError,
    MachineError,
    MissingExtra,
    NearfarError,
    OutputError,
    RunError,
    TrainingError,
    UnknownName,
    must,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (UnknownName("method", "x", ["y"]), 2),
        (DataError("x"), 2),
        (RunError("x"), 2),
        (OutputError("x"), 2),
        (MachineError("x"), 1),
        (MissingExtra("search", "faiss", "search"), 2),
        (TrainingError("x"), 1),
        (NearfarError("x"), 1),
    ],
)
def test_each_kind_carries_its_exit_code(error, code):
    assert error.exit_code == code


def test_a_mistake_is_a_value_error():
    assert isinstance(DataError("x"), ValueError)


def test_a_missing_extra_is_an_import_error():
    assert isinstance(MissingExtra("search", "faiss", "search"), ImportError)


def test_a_missing_extra_says_how_to_install_it():
    assert str(MissingExtra("search", "faiss", "search")).endswith("pip install 'nearfar[search]'")


def test_unknown_name_suggests_the_nearest():
    error = UnknownName("method", "simlcr", ["simclr", "byol"])
    assert str(error) == "No method is named 'simlcr'. Did you mean 'simclr'?"


def test_unknown_name_lists_all_where_none_is_near():
    error = UnknownName("method", "xyz", ["simclr", "byol"])
    assert str(error) == "No method is named 'xyz'. Choose from: byol, simclr."


def test_must_names_what_holds_and_what_it_got():
    with pytest.raises(ConfigError, match=r"^lr must be above 0, got -1\.$"):
        must(False, "lr must be above 0", got=-1)


def test_must_is_silent_where_it_holds():
    must(True, "lr must be above 0", got=1)


def test_of_a_thousand_names_some_are_shown():
    error = UnknownName("encoder", "xyz", [f"net{i:04}" for i in range(1000)])
    assert str(error).endswith("net0059 and 940 more.")
