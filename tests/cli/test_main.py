"""Help, exit codes, and what is said of errors."""

import os
import subprocess
import sys

import pytest

from nearfar import __version__
from nearfar.cli import COMMANDS, main
from nearfar.errors import DataError, TrainingError


def imported_by(*words):
    """The names of the heavy modules that a command line imports, in a process of its own."""
    code = (
        "import sys; from nearfar.cli import main; main(sys.argv[1:]); "
        "print('IMPORTED', *sorted({'torch', 'numpy', 'rich', 'argparse', 'timm', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return done.stdout.rpartition("IMPORTED")[2].split()


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["--version"]])
def test_root_help_imports_nothing_heavy(words):
    assert imported_by(*words) == []


@pytest.mark.parametrize("words", [["train", "--help"], ["evaluate", "--help"], ["list", "losses"]])
def test_help_of_a_command_needs_no_torch(words):
    assert "torch" not in imported_by(*words)


def test_the_garbage_collector_works_and_leaves_torch_alone():
    code = (
        "import gc; from nearfar.cli import main; assert main(['embed', 'no run', 'x', '-o', 'e.npy']) == 2; "
        "print(gc.isenabled(), gc.get_freeze_count() > 50_000)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_root_help_names_every_command(words, capsys):
    assert main(words) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_help(name, capsys):
    assert main([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"usage: nearfar {name}" in said
    assert main(["help", name]) == 0
    assert capsys.readouterr().out == said


def test_the_version_is_the_package_s(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"nearfar {__version__}\n"


def test_an_unknown_command_is_a_mistake_and_the_nearest_is_suggested(capsys):
    assert main(["trian", "photos"]) == 2
    assert capsys.readouterr().err == "nearfar: No command is named 'trian'. Did you mean 'train'?\n"


def test_a_word_that_is_no_text_is_named(capsys):
    assert main(["list", "\udcff"]) == 2
    assert "No list is named" in capsys.readouterr().err


def test_an_option_before_the_command_is_told_where_it_stands(capsys):
    assert main(["--json", "list", "methods"]) == 2
    assert "options stand after the command" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "code"), [(DataError("no image in x"), 2), (TrainingError("loss is nan"), 1)])
def test_an_error_is_one_line_and_its_exit_code(api, capsys, error, code):
    api.fails = error
    assert main(["train", "x"]) == code
    assert capsys.readouterr().err.splitlines()[-1] == f"nearfar: {error}"


def test_an_error_of_several_lines_is_told_in_one(api, capsys):
    api.fails = DataError("no image\n  in x")
    main(["train", "x", "--quiet"])
    assert capsys.readouterr().err.endswith("nearfar: no image in x\n")


def test_an_unexpected_error_is_told_in_one_line_with_the_way_to_its_traceback(api, capsys):
    api.fails = KeyError("lost")
    assert main(["train", "x"]) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "KeyError: 'lost'" in said.splitlines()[-1]
    assert "NEARFAR_DEBUG=1" in said.splitlines()[-1]


def test_debugging_shows_the_traceback(api, capsys, monkeypatch):
    monkeypatch.setenv("NEARFAR_DEBUG", "1")
    api.fails = DataError("no image in x")
    assert main(["train", "x"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_interruption_exits_with_130_and_says_how_to_go_on(api, capsys):
    api.fails = KeyboardInterrupt("go on with --resume")
    assert main(["train", "x"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "nearfar: go on with --resume"


def test_an_interruption_without_a_word_is_told_too(api, capsys):
    api.fails = KeyboardInterrupt()
    assert main(["train", "x"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "nearfar: interrupted."


def test_a_closed_pipe_is_no_error():
    code = "import sys; from nearfar.cli import main; sys.exit(main())"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "nearfar", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"nearfar {__version__}\n"
