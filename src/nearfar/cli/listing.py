"""`nearfar list`: what there is, read without importing torch."""

import ast
from pathlib import Path

import nearfar
from nearfar.errors import UnknownName
from nearfar.methods.registry import METHODS
from nearfar.modalities.registry import MODALITIES, encoders

KINDS = ("methods", "encoders", "losses", "modalities")


def names(what: str) -> dict[str, str]:
    """The names of a kind, and a line about each; raises UnknownName."""
    if what == "methods":
        return METHODS
    if what == "modalities":
        return MODALITIES
    if what == "encoders":
        return {name: f"{modality}: {line}" for modality in MODALITIES for name, line in encoders(modality).items()}
    if what == "losses":
        return _losses()
    raise UnknownName("list", what, KINDS)


def _losses() -> dict[str, str]:
    """What `nearfar.losses` exports, each with the first line of its docstring, read from the source."""
    package = Path(nearfar.__file__).parent
    exported = ast.parse((package / "losses" / "__init__.py").read_text(encoding="utf-8"))
    lines: dict[str, str] = {}
    for node in exported.body:
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        file = package.joinpath(*node.module.split(".")[1:]).with_suffix(".py")
        for part in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(part, ast.FunctionDef | ast.ClassDef) and part.name in {alias.name for alias in node.names}:
                lines[part.name] = (ast.get_docstring(part) or "").split("\n")[0]
    return dict(sorted(lines.items(), key=lambda item: item[0].lower()))
