"""What the README shows can be done."""

import ast
import re
import shlex
from pathlib import Path

import pytest

import nearfar
from nearfar.cli import COMMANDS
from nearfar.cli.parsing import parse

HERE = Path(__file__).parents[1]
README = (HERE / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
LINES = [line for kind, block in BLOCKS if kind == "" for line in block.splitlines()]
COMMAND_LINES = [line for line in LINES if line.startswith("nearfar ")]


def test_the_readme_shows_commands():
    assert len(COMMAND_LINES) >= 5


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_a_command_line_can_be_read(line):
    words = shlex.split(line, comments=True)[1:]
    assert parse(words).name == words[0]


def test_the_table_of_commands_is_that_of_the_program():
    assert set(re.findall(r"^\| `nearfar (\w+)", README, flags=re.MULTILINE)) == set(COMMANDS)


@pytest.mark.parametrize("target", re.findall(r"^make \w+$", "\n".join(LINES), flags=re.MULTILINE))
def test_a_make_target_exists(target):
    makefile = (HERE / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target.split()[1]}:", makefile, flags=re.MULTILINE)


@pytest.mark.parametrize("code", [block for kind, block in BLOCKS if kind == "python"])
def test_the_python_names_what_there_is(code):
    used = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Attribute)]
    names = {node.attr for node in used if isinstance(node.value, ast.Name) and node.value.id == "nf"}
    assert names <= set(nearfar.__all__)


def test_methods_and_modalities_are_those_there_are():
    from nearfar.methods.registry import METHODS
    from nearfar.modalities.registry import MODALITIES

    for row, names in (("methods", METHODS), ("modalities", MODALITIES)):
        shown = re.search(rf"^\| {row} \| (.*) \|$", README, flags=re.MULTILINE).group(1)
        assert set(re.findall(r"`(\w+)`", shown)) == set(names)


def test_the_layout_names_what_is_there():
    layout = next(block for _, block in BLOCKS if block.startswith("src/nearfar/"))
    named = re.findall(r"^  (\S+)", layout, flags=re.MULTILINE)
    missing = [name for name in named if not (HERE / "src" / "nearfar" / name).exists()]
    assert missing == []
