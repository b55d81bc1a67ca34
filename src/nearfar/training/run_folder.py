"""The run folder: who may write into it, and how each of its files is written.

config.toml  environment.json  metrics.jsonl  encoder/  checkpoint/  evaluation.json  per_sample.safetensors
embeddings.parquet  skipped.csv  page.json  report.html
"""

import os
import platform
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from shlex import quote
from typing import Any

from nearfar.config import FORMAT
from nearfar.errors import RunError
from nearfar.files import cannot_write, from_json, locked, read_json, remove_drafts, to_json, write, write_json

CONFIG = "config.toml"
METRICS = "metrics.jsonl"
ENVIRONMENT = "environment.json"
_OURS = (CONFIG, METRICS, "checkpoint", "encoder")
_LOCK = ".lock"
_BEFORE = (_LOCK, "finetune.json")
"""What may lie in a folder before there is a run in it."""
_FREE = ("data", "cache", "budget", "epochs", "steps", "checkpoint_every", "health_every", "knn_every", "log")
"""Settings that a run may be resumed with another value of; samples tell whether the data is another."""
_KEPT = "The last checkpoint is kept; make room and go on with --resume."


class RunFolder:
    """A folder that holds one run."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def is_run(self) -> bool:
        """Whether a run was started here."""
        return any((self.path / name).exists() for name in _OURS)

    def claim(self) -> None:
        """Make the folder for a new run; raises RunError when it is taken."""
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"--out {str(self.path)!r} is a file; name a folder.")
        if self.is_run():
            raise RunError(
                f"{str(self.path)!r} already holds a run. To go on with it: --resume --out {quote(str(self.path))}; "
                "to start another: give a new folder with --out."
            )
        try:
            if self.path.is_dir() and any(path.name not in _BEFORE for path in self.path.iterdir()):
                raise RunError(f"{str(self.path)!r} is not empty and holds no run; give a new folder with --out.")
        except OSError as error:
            raise RunError(f"{str(self.path)!r} cannot be read: {error.strerror}.") from None
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{str(self.path)!r} cannot be made: {error.strerror}.") from None
        except ValueError as error:  # a name with a NUL
            raise RunError(f"{str(self.path)!r} cannot be made: {error}.") from None

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Make and lock the folder for a new run; where none comes to be in it, it is removed again.

        Raises RunError when it is taken or cannot be written to.
        """
        missing = [path for path in (self.path, *self.path.parents) if not os.path.lexists(path)]
        self.claim()
        try:
            with self.locked():
                yield
        finally:
            if not self.is_run():
                with suppress(OSError):
                    (self.path / _LOCK).unlink(missing_ok=True)
                    for path in missing:
                        path.rmdir()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; raises RunError when another process has it."""
        with locked(self.path / _LOCK, what=repr(str(self.path))):
            for folder in (self.path, self.path / "encoder"):
                remove_drafts(folder)
            yield

    def write_config(self, sections: Mapping[str, Mapping[str, Any]], why: Mapping[str, str]) -> None:
        """Write all settings in force; `why` explains those that were chosen automatically."""
        import tomli_w

        plain: dict[str, Any] = {"format": FORMAT}
        for name, section in sections.items():
            plain[name] = {key: value for key, value in section.items() if value is not None}
        plain["chosen"] = dict(why)
        try:
            content = tomli_w.dumps(plain).encode()
        except UnicodeEncodeError:
            raise RunError(
                f"{CONFIG} is UTF-8 text, and a setting is not (an odd file name?): {plain['data']}."
            ) from None
        write(self.path / CONFIG, content)

    def read_config(self) -> dict[str, Any]:
        """The settings as written; raises RunError when there are none or they are of a later format."""
        return read_config(self.path / CONFIG)

    def settings(self) -> dict[str, str]:
        """A digest of each setting in config.toml that decides what the weights become, by its name."""
        if not (self.path / CONFIG).is_file():
            return {}
        config = self.read_config()
        sections = [value for name, value in config.items() if name != "chosen" and isinstance(value, dict)]
        values = {name: repr(value) for section in sections for name, value in section.items() if name not in _FREE}
        return {name: blake2b(text.encode(), digest_size=8).hexdigest() for name, text in values.items()}

    def check_settings(self, before: Any) -> None:
        """Raise RunError where config.toml is not as it was `before`, when a checkpoint was written."""
        if not isinstance(before, dict):  # a checkpoint of an earlier version
            return
        now = self.settings()
        if changed := sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name)):
            raise RunError(
                f"{str(self.path / CONFIG)!r} was changed since the last checkpoint: {', '.join(changed)}. A resumed "
                "run keeps its settings: change them back, or start a new run from this one with --config and --init."
            )

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl; raises as `files.write`."""
        path = self.path / METRICS
        line = to_json(record) + "\n"
        try:
            with path.open("a", encoding="utf-8") as handle:
                handle.write(line)
        except OSError as error:
            raise cannot_write(path, error, _KEPT) from None

    def metrics(self) -> list[dict[str, Any]]:
        """The records so far; lines that are none are left out (the last one may have been cut short by a crash)."""
        path = self.path / METRICS
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        except OSError as error:
            raise RunError(f"{str(path)!r} cannot be read: {error.strerror}.") from None
        found = map(_record, lines)
        return [record for record in found if record is not None]

    def rewind_metrics(self, step: int) -> None:
        """Forget the records after `step`: they will be made again."""
        lines = "".join(to_json(record) + "\n" for record in self.metrics() if record["step"] <= step)
        write(self.path / METRICS, lines)

    def environment(self) -> dict[str, Any]:
        """What `write_environment` wrote; nothing where it can no longer be read."""
        try:
            found = read_json(self.path / ENVIRONMENT)
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write_environment(self, facts: Mapping[str, Any]) -> None:
        """Write what the run depends on: versions, machine, threads."""
        import cv2
        import numpy
        import torch

        import nearfar

        versions = {
            "nearfar": nearfar.__version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": numpy.__version__,
            "opencv": cv2.__version__,
        }
        machine = {"system": platform.platform(), "processor": processor(), "cores": os.cpu_count()}
        write_json(self.path / ENVIRONMENT, {**versions, **machine, **facts})


def read_config(path: Path) -> dict[str, Any]:
    """A config.toml as nested plain values; raises RunError."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"There is no {path.name} in {str(path.parent)!r}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{str(path)!r} cannot be read: {str(error)[:200]}.") from None
    version = found.pop("format", FORMAT)
    if not isinstance(version, int) or version > FORMAT:
        raise RunError(f"{str(path)!r} was written by a later nearfar (format {version}); update nearfar.")
    return found


def _record(line: str) -> dict[str, Any] | None:
    """A line of metrics.jsonl; None where it is not a record of strict json."""
    try:
        found = from_json(line)
    except ValueError:
        return None
    is_record = isinstance(found, dict) and type(found.get("step")) is int
    return found if is_record else None


def processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
