"""A parsed command becomes one call of the api, and its result text or JSON."""

import contextlib
import gc
import importlib
import json
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

import nearfar
from nearfar import progress, torchrun
from nearfar.cli.parsing import Command
from nearfar.cli.streams import lenient
from nearfar.files import check_writable, plain
from nearfar.threads import sleep_where_busy


def run(command: Command) -> None:
    """Do what the command says and print its result on standard output."""
    sleep_where_busy()
    form, trains = command.form, command.form.trains
    threads = getattr(form, "threads", None)
    if threads is not None and not trains:
        # Read by torch and scikit-learn when they are first imported, which is later.
        os.environ["OMP_NUM_THREADS"] = str(threads)
    for path in form.outputs():
        check_writable(path)
    follows = torchrun.place().rank > 0 and trains  # of the ranks that train together, the first prints
    with _progress_on_stderr(form.quiet or follows):
        if form.torch:
            _import_torch()
        found, text = form.call(nearfar, command.given)
    if follows:
        return
    if form.json:
        print(_to_json({"command": command.name} | found))
    elif text:
        print(text)


@contextlib.contextmanager
def _progress_on_stderr(quiet: bool) -> Iterator[None]:
    """Progress goes to standard error, whoever speaks: standard output is for results."""
    stderr = sys.stderr
    sys.stderr = lenient(stderr)
    level = logging.WARNING if quiet else logging.INFO
    try:
        with (
            progress.logged(level, sys.stderr),
            progress.silenced(quiet),
            contextlib.redirect_stdout(sys.stderr),
        ):
            yield
    finally:
        sys.stderr = stderr


def _import_torch() -> None:
    """Import torch, for the commands that need it.

    What torch makes meanwhile lives as long as the process. The garbage collector would look all of it over many times
    while it grows, and once more at exit: together a third of the time that `import torch` takes in a process of its
    own.
    """
    if "torch" not in sys.modules:
        gc.disable()
        try:
            importlib.import_module("torch")
            gc.freeze()
        finally:
            gc.enable()


def _to_json(found: dict[str, Any]) -> str:
    """One line of JSON, in letters that standard output has."""
    text = json.dumps(plain(found), ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return json.dumps(plain(found), allow_nan=False)
    return text
