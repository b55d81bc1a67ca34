"""Imports point one way, and the house rules that a program can hold. Change the table on purpose: it is the design.

cli -> api -> (training, evaluation, inspection, reporting, downstream) -> (methods, modalities) -> data -> losses
-> kernels
"""

import ast
import dataclasses
import functools
import re
import sys
from pathlib import Path

from nearfar.modalities import registry

ROOT = Path(__file__).parents[1] / "src" / "nearfar"
FILES = sorted(ROOT.rglob("*.py"))

EVERYWHERE = {
    "contract", "errors", "config", "randomness", "progress", "diagnostics", "whitening", "files", "threads", "memory",
    "torchrun", "options", "prefetch", "compiled", "given",
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
        "options",
        "files",
        "progress",
        "torchrun",
        "threads",
        "data.location",
        "methods.registry",
        "modalities.registry",
        "downstream.registry",
        "exporting.registry",
        "evaluation.table",
    },
    "api": {
        *("", "api", "training", "evaluation", "inspection", "reporting", "exporting", "downstream"),
        *("methods", "modalities", "data", "losses"),
    }
    | EVERYWHERE,
    "sklearn": {"api", "methods.registry", "training.encoder_folder", "contract"},
    "training": {"training", "losses", "kernels"} | EVERYWHERE,
    "evaluation": {"evaluation", "losses", "kernels"} | EVERYWHERE,
    "downstream": {"downstream", "training", "evaluation", "methods", "losses", "kernels"} | EVERYWHERE,
    "inspection": {"inspection", "evaluation", "losses", "kernels", "data"} | EVERYWHERE,
    "reporting": {"reporting", "evaluation", "inspection"} | EVERYWHERE,
    "exporting": {"", "exporting", "training.encoder_folder", "modalities"} | EVERYWHERE,
    "methods": {"methods", "losses", "kernels"} | EVERYWHERE,
    "modalities": {"modalities", "data"} | EVERYWHERE,
    "testing": {"testing", "training", "modalities", "methods", "losses", "data"} | EVERYWHERE,
    "data": {"data"} | EVERYWHERE,
    "losses": {"losses", "kernels", "errors"},
    "kernels": {"kernels", "errors", "threads"},
    # What data it is about, the contract says by types alone.
    "contract": {
        "compiled",
        "contract",
        "progress",
        "randomness",
        "errors",
        "options",
        "kernels.ring",
        "data.samples",
        "data.glance",
    },
    "options": {"errors"},
    "compiled": set(),
    "whitening": set(),
    "config": {"errors", "options"},
    "diagnostics": {"losses", "errors"},
    "files": {"errors"},
    "progress": set(),
    "randomness": set(),
    "threads": set(),
    "given": {"errors"},
    "memory": {"errors"},
    "torchrun": set(),
    "prefetch": set(),
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


def test_imports_point_one_way():
    against = {
        name_of(path): found
        for path in FILES
        if (found := [target or "nearfar" for target in own(tree_of(path)) if not allowed(part_of(path), target)])
    }
    assert not against, "imports that the table forbids"


def test_the_table_forbids_what_it_should():
    tree = ast.parse(
        "from nearfar.modalities.image import options\nimport nearfar.training.loop\nfrom nearfar import cli"
    )
    assert [allowed("methods", target) for target in own(tree)] == [False, False, False]
    assert own(ast.parse("import nearfar\nprint(nearfar.__version__)")) == []
    assert own(ast.parse("import nearfar\nnearfar.evaluate()")) == [""]
    assert own(ast.parse("from nearfar import __version__, evaluate")) == ["", ""]


def test_losses_and_kernels_need_torch_alone():
    outside = {
        name.split(".")[0]
        for path in FILES
        if part_of(path) in ("losses", "kernels")
        for name in imported(tree_of(path))
    }
    assert outside - set(sys.stdlib_module_names) <= {"torch", "triton", "nearfar"}


def test_only_the_command_line_prints():
    calls = [
        (name_of(path), node.lineno)
        for path in FILES
        if part_of(path) != "cli"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not calls


def test_nothing_reads_pickles():
    for path in FILES:
        tree = tree_of(path)
        roots = {name.split(".")[0] for name in imported(tree)}
        assert not roots & {"pickle", "dill", "cloudpickle", "joblib", "shelve"}, name_of(path)
        words = [word for node in ast.walk(tree) if isinstance(node, ast.Call) for word in node.keywords]
        said = {(word.arg, word.value.value) for word in words if isinstance(word.value, ast.Constant)}
        assert not said & {("allow_pickle", True), ("weights_only", False)}, name_of(path)


def test_no_file_is_a_drawer_for_everything():
    assert not [name_of(path) for path in FILES if path.stem in ("utils", "util", "helpers", "misc", "common", "tools")]


FRAME = ("api", "training", "evaluation", "inspection", "reporting", "cli", "config", "options", "contract")
KINDS = re.compile(r"(?i:image|picture|pixel|photo)|[\"'`]tables?\b|\btables:")
MEANT_OTHERWISE = {
    "api/options.py": ("max_pixels",),  # all runs of format 1 had it
    "api/demo.py": ("image_size=16",),  # the demonstration trains on images
    "api/train.py": ("photos",),
    "inspection/explain/figure.py": ("Image",),  # what PIL draws a figure of any kind on  # a folder in an example
    "contract/source.py": ("picture", "image"),  # what a card shows of a sample of any kind
    "evaluation/retrieval.py": ("text to image",),  # an example of pairs
}
"""Words in these files that do not ask what kind of data it is. Reports show cards, and so images."""


def test_the_frame_names_no_kind_of_data():
    flags = {
        f"--{field.name.replace('_', '-')}"
        for modality in registry.MODALITIES
        for field in dataclasses.fields(registry.options(modality))
    }
    found = []
    for path in (path for path in FILES if part_of(path) in FRAME):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            words = line
            for word in MEANT_OTHERWISE.get(name_of(path), ()):
                words = words.replace(word, "")
            said = KINDS.search(words) and part_of(path) != "reporting"
            if said or flags & set(re.findall(r"--[a-z-]+", line)):
                found.append(f"{name_of(path)}:{number}: {line.strip()}")
    assert not found


def test_the_frame_leaves_inputs_to_the_contract():
    """`Views`, raw batches and inputs are counted, cut, joined and moved by `contract.inputs` and by encoders."""
    names = {"raw", "inputs", "views", "view"}
    touched = [
        f"{name_of(path)}:{node.lineno}"
        for path in FILES
        if part_of(path) in ("api", "training", "evaluation")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute)
        and node.attr in ("shape", "to", "size", "dtype", "device")
        and isinstance(node.value, ast.Name)
        and node.value.id in names
    ]
    assert not touched
