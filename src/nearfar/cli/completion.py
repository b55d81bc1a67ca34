"""Completion of commands, options and names in a shell, by shtab."""

import argparse

from nearfar.cli import COMMANDS
from nearfar.cli.commands import form_of
from nearfar.cli.flags import build
from nearfar.cli.listing import KINDS, names
from nearfar.cli.parsing import EVERY
from nearfar.downstream.registry import DOWNSTREAM
from nearfar.errors import UnknownName
from nearfar.modalities.registry import MODALITIES

SHELLS = ("bash", "zsh", "fish")


def script(shell: str) -> str:
    """The script that completes `nearfar` in a shell of `SHELLS`; raises UnknownName."""
    import shtab

    if shell not in SHELLS:
        raise UnknownName("shell", shell, SHELLS)
    root = argparse.ArgumentParser(prog="nearfar", add_help=False)
    commands = root.add_subparsers()
    values = {"method": names("methods"), "encoder": names("encoders"), "modality": MODALITIES, "task": DOWNSTREAM}
    places = {"what": KINDS, "shell": SHELLS}
    for name, (_, line) in COMMANDS.items():
        form = form_of(name)
        parser = build(name, [("options", form), *(EVERY if form.of_a_run else [])], every=form.of_a_run)
        for action in parser._actions:
            choices = places.get(action.dest) or (form.of_a_run and values.get(action.dest))
            if choices:
                action.choices = list(choices)
            elif action.metavar in ("DATA", "PATH", "RUN", "TRAIN", "QUERY"):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        commands.add_parser(name, parents=[parser], add_help=False, help=line)
    return str(shtab.complete(root, shell))
