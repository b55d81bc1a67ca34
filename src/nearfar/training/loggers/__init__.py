"""Where the records of a run go beside metrics.jsonl: other people's dashboards, one small file each.

`metrics.jsonl` stays the truth: a logger that fails is dropped with a warning, and the run goes on.
"""

import importlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from nearfar.errors import ConfigError, MissingExtra

IN_EXTRA = ("tensorboard",)
"""Those whose packages the extra `log` brings."""
_log = logging.getLogger("nearfar")


class Logger(Protocol):
    """Takes the records of one run. Any exception means that it can take no more."""

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Take the figures after this step."""

    def close(self) -> None:
        """Send what is left."""


def check(names: Sequence[str]) -> None:
    """Raise MissingExtra or ConfigError where the package of one of these loggers is not installed."""
    for name in names:
        if find_spec(name) is None:
            if name in IN_EXTRA:
                raise MissingExtra(f"--log {name}", name, "log")
            raise ConfigError(f"--log {name} needs the package {name!r}: pip install {name}")


class Loggers:
    """Several loggers as one that never fails."""

    def __init__(self) -> None:
        self._open: dict[str, Logger] = {}

    def open(self, names: Sequence[str], folder: Path, settings: Mapping[str, Any], step: int) -> None:
        """Open these for the run in `folder`, which goes on after `step`."""
        for name in names:
            try:
                module = importlib.import_module(f"{__name__}.{name}")
                self._open[name] = module.open_run(folder.absolute(), settings, step)
            except Exception as error:  # whatever it is, the run is worth more
                _failed(name, error)

    def write(self, record: Mapping[str, Any]) -> None:
        """Hand a record of metrics.jsonl on, its numbers without the step."""
        step = int(record["step"])
        figures = {
            name: float(value)
            for name, value in record.items()
            if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)
        }
        for name in list(self._open):
            try:
                self._open[name].write(step, figures)
            except Exception as error:
                _failed(name, error)
                self._close(name)

    def close(self) -> None:
        """Close all."""
        for name in list(self._open):
            if (error := self._close(name)) is not None:
                _failed(name, error)

    def _close(self, name: str) -> Exception | None:
        try:
            self._open.pop(name).close()
        except Exception as error:
            return error
        return None


@contextmanager
def opened() -> Iterator[Loggers]:
    """Loggers that are closed at the end, however that comes."""
    found = Loggers()
    try:
        yield found
    finally:
        found.close()


def _failed(name: str, error: Exception) -> None:
    text = " ".join(str(error).split())[:300]
    _log.warning("--log %s failed and gets no more: %s: %s. The run goes on.", name, type(error).__name__, text)
