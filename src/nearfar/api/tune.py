"""Choose settings by short trainings: temperature, views, learning rate, batch size, method."""

import logging
import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from nearfar.errors import ConfigError, RunError, must

if TYPE_CHECKING:
    from nearfar.api.tuning.outcome import Tuned

TIME = "30m"
_log = logging.getLogger("nearfar")


def tune(
    data: Any = None,
    *,
    time: str | None = None,
    trials: int | None = None,
    over: str | Sequence[str] | None = None,
    methods: str | Sequence[str] | None = None,
    seeds: int = 3,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    init: str | os.PathLike[str] | None = None,
    config: str | os.PathLike[str] | None = None,
    quiet: bool = False,
    started: float | None = None,
    **options: Any,
) -> "Tuned":
    """Try settings of `train` on `data` by short trainings, and say which to take; all is written to the folder `out`.

    For `time` (such as "30m", the default), or `trials` trainings, which with a seed are always the same. Each sees as
    many samples; `steps` or `epochs` say how many (those of the automatic batch), where they do not follow from the
    time. Tried is all that suits the method and the data, or the settings `over`; of methods those named by `methods`.
    What is given among `options`, those of `train`, stays. Labels of training samples judge where there are enough,
    held-out pairs or interactions where these are learnt, else figures that need no labels. The best settings are
    trained again beside the defaults on so many fresh `seeds`, and recommended where they are ahead by more than
    chance: `.best` are options for `train`, `.config` the same as a file, `.advice` a sentence. What is stopped goes on
    with `resume`. Raises UserError before any work for what cannot be.
    """
    from nearfar import given, torchrun
    from nearfar.api.tuning import search, study
    from nearfar.api.tuning.record import FILE, Record, load
    from nearfar.config import seconds
    from nearfar.files import locked
    from nearfar.modalities import registry as modalities
    from nearfar.progress import heard

    search.check()
    if torchrun.place().world > 1:
        raise ConfigError("nearfar tune runs alone: start it without torchrun.")
    if resume:
        if out is None:
            raise ConfigError("--resume goes on with the tuning in --out; name that folder.")
        said = {"over": over, "methods": methods, "init": init, "config": config, **options}
        if any(value is not None for value in said.values()) or isinstance(data, str | os.PathLike):
            raise ConfigError("A tuning that goes on keeps its settings: give --out, and --time or --trials for more.")
        folder = Path(out)
        record = load(folder)
        longer = {"time": time, "trials": trials}
        if any(value is not None for value in longer.values()):
            record.asked |= longer
    else:
        if data is None and config is None:
            raise ConfigError("Tuning needs data: a folder, a manifest, tar shards, an array, or `digits`.")
        if isinstance(data, str | os.PathLike):
            data = modalities.lasting(os.fspath(data))
        record = Record({
            "options": {"data": data, **options}, "init": _place(init), "config": _place(config),
            "time": time, "trials": trials, "over": _listed(over), "methods": _listed(methods), "seeds": seeds,
        })  # fmt: skip
        folder = Path(out) if out is not None else _free(data)
    asked = record.asked
    if asked["time"] is None and asked["trials"] is None:
        asked["time"] = TIME
    if asked["time"] is not None:
        try:
            seconds(asked["time"])
        except ConfigError as error:
            raise ConfigError(str(error).replace("budget", "time", 1)) from None
    must(asked["trials"] is None or _whole(asked["trials"], 2), "trials must be at least 2", got=asked["trials"])
    must(_whole(asked["seeds"], 2), "seeds must be at least 2", got=asked["seeds"])
    if asked["options"].get("budget") is not None:
        raise ConfigError("--budget is for a run; --time says how long tuning goes on, --steps how long each trial.")
    with given.holding() as hold, heard(quiet=quiet):
        asked["options"] = given.adopted(
            {**asked["options"], "data": data if resume and data is not None else asked["options"]["data"]}, hold
        )
        if not resume:
            _claim(folder)
        with locked(folder / ".lock", what=repr(str(folder))):
            try:
                return study.run(record, folder, quiet=quiet, started=started)
            except KeyboardInterrupt:
                again = f"nearfar tune --resume --out {quote(str(folder))}"
                raise KeyboardInterrupt(f"Stopped; what is done is kept. Go on with: {again}") from None
            finally:
                shutil.rmtree(folder / study.TRIAL, ignore_errors=True)
                if not (folder / FILE).is_file():
                    with suppress(OSError):
                        (folder / ".lock").unlink(missing_ok=True)
                        folder.rmdir()


def _listed(names: str | Sequence[str] | None) -> str | None:
    return names if names is None or isinstance(names, str) else ",".join(map(str, names))


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _place(path: str | os.PathLike[str] | None) -> str | None:
    """A path that lasts; a name stays as it is."""
    if path is None:
        return None
    return os.path.abspath(path) if os.path.exists(path) else os.fspath(path)


def _claim(folder: Path) -> None:
    """Make the folder, which must be new or empty; raises RunError."""
    from nearfar.api.tuning.record import FILE

    if (folder / FILE).is_file():
        raise RunError(
            f"{str(folder)!r} already holds a tuning. To go on with it: --resume --out {quote(str(folder))}; to start "
            "another: give a new folder with --out."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise RunError(f"{str(folder)!r} is not empty and holds no tuning; give a new folder with --out.")
    except OSError as error:
        raise RunError(f"{str(folder)!r} cannot be made: {error.strerror}.") from None


def _free(data: Any) -> Path:
    """`runs/<data>-tune`, with a number where that is taken."""
    stem = "data" if not isinstance(data, str | os.PathLike) else re.sub(r"[^\w.-]+", "-", Path(data).name)
    base = path = Path("runs") / f"{stem.strip('-.') or 'data'}-tune"
    number = 1
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path
