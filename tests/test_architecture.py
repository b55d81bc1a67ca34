"""Imports point one way, and the house rules that a program can hold. Change the table on purpose: it is the design.

cli -> api -> (training, evaluation, inspection, reporting) -> (methods, modalities) -> data -> losses -> kernels
"""

import ast
import functools
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "nearfar"
FILES = sorted(ROOT.rglob("*.py"))

EVERYWHERE = {
    "contract", "errors", "config", "randomness", "progress", "diagnostics", "whitening", "files", "threads", "memory",
    "torchrun", "options", "compiled",
}  # fmt: skip
MAY_IMPORT = {
    "__init__": {"errors", "api", "data.embeddings"},
    "__main__": {"cli", "torchrun"},
    # Help needs the tables of names, which import nothing heavy; a result needs the table that shows it.
    "cli": {
        "cli",
        "",
        "errors",
        "config",
        "progress",
        "torchrun",
        "methods.registry",
        "modalities.registry",
        "evaluation.table",
    },
    "api": {"", "api", "training", "evaluation", "inspection", "reporting", "methods", "modalities", "data", "losses"}
    | EVERYWHERE,
    "training": {"training", "losses", "kernels"} | EVERYWHERE,
    "evaluation": {"evaluation", "losses", "kernels"} | EVERYWHERE,
    "inspection": {"inspection", "evaluation", "losses", "kernels"} | EVERYWHERE,
    "reporting": {"reporting", "evaluation"} | EVERYWHERE,
    "methods": {"methods", "losses", "kernels"} | EVERYWHERE,
    "modalities": {"modalities", "data"} | EVERYWHERE,
    "data": {"data"} | EVERYWHERE,
    "losses": {"losses", "kernels", "errors"},
    "kernels": {"kernels", "errors", "threads"},
    "contract": {"contract", "progress", "errors", "options", "kernels.ring", "data.samples"},  # the last two for types
    "options": set(),
    "compiled": set(),
    "whitening": set(),
    "config": {"errors"},
    "diagnostics": {"losses", "errors"},
    "files": {"errors"},
    "progress": set(),
    "randomness": set(),
    "threads": set(),
    "memory": set(),
    "torchrun": set(),
    "errors": set(),
}
"""What each part may import of nearfar; the empty name is `nearfar` itself, whose names are imported when asked for."""


def name_of(path):
    return str(path.relative_to(ROOT))


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def part_of(path):
    return path.relative_to(ROOT).with_suffix("").parts[0]


def is_module(dotted):
    path = ROOT.parent.joinpath(*dotted.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def imported(tree):
    """Dotted names of all modules that a file imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if is_module(inner) else node.module


def own(tree):
    """The imports from nearfar, without the package's name; its version is a constant that all may read."""
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "nearfar"
    } | {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "nearfar"
        for alias in node.names
        if not is_module(f"nearfar.{alias.name}")
    }
    named = [name for name in imported(tree) if name != "nearfar" or used - {"__version__"}]
    return [name.removeprefix("nearfar").strip(".") for name in named if name.split(".")[0] == "nearfar"]


def allowed(part, target):
    return any(target == may or (may and target.startswith(f"{may}.")) for may in MAY_IMPORT[part])


def test_every_part_has_its_row_in_the_table():
    assert {part_of(path) for path in FILES} - {"__init__"} <= MAY_IMPORT.keys()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_one_way(path):
    part = part_of(path)
    against = [target or "nearfar" for target in own(tree_of(path)) if not allowed(part, target)]
    assert not against, f"{part} must not import {against}"


def test_the_table_forbids_what_it_should():
    tree = ast.parse(
        "from nearfar.modalities.image import options\nimport nearfar.training.loop\nfrom nearfar import cli"
    )
    assert [allowed("methods", target) for target in own(tree)] == [False, False, False]


def test_the_version_is_all_that_a_part_may_take_of_the_face():
    assert own(ast.parse("import nearfar\nprint(nearfar.__version__)")) == []
    assert own(ast.parse("import nearfar\nnearfar.evaluate()")) == [""]
    assert own(ast.parse("from nearfar import __version__, evaluate")) == ["", ""]


@pytest.mark.parametrize("path", [p for p in FILES if part_of(p) in ("losses", "kernels")], ids=name_of)
def test_losses_and_kernels_need_torch_alone(path):
    outside = {name.split(".")[0] for name in imported(tree_of(path))} - set(sys.stdlib_module_names)
    assert outside <= {"torch", "triton", "nearfar"}


@pytest.mark.parametrize("path", [p for p in FILES if part_of(p) != "cli"], ids=name_of)
def test_only_the_command_line_prints(path):
    calls = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_reads_pickles(path):
    tree = tree_of(path)
    assert not {name.split(".")[0] for name in imported(tree)} & {"pickle", "dill", "cloudpickle", "joblib", "shelve"}
    words = [word for node in ast.walk(tree) if isinstance(node, ast.Call) for word in node.keywords]
    said = {word.arg: word.value.value for word in words if isinstance(word.value, ast.Constant)}
    assert said.get("allow_pickle") is not True
    assert said.get("weights_only") is not False


def test_no_file_is_a_drawer_for_everything():
    assert not [name_of(path) for path in FILES if path.stem in ("utils", "util", "helpers", "misc", "common", "tools")]
