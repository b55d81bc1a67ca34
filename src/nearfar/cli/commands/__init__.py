"""What each command takes and does: a file each, named as the command is."""

from importlib import import_module

from nearfar.cli.form import Form


def form_of(command: str) -> type[Form]:
    """The class of a command of `COMMANDS`."""
    found: type[Form] = getattr(import_module(f"nearfar.cli.commands.{command}"), command.title())
    return found
