"""What all commands have in common: their places and flags as fields, and the options that several take."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from nearfar.config import MOST_THREADS
from nearfar.options import Options, option

Result = tuple[dict[str, Any], str]
"""The JSON object, and the text."""

DATA = (
    "Folder, manifest (.csv .tsv .jsonl .parquet), list of files (.txt), .tar or shards 's-{000..099}.tar', .npy or "
    ".npz, hf:NAME, or digits; DATA:split picks a split."
)

RUN = (
    "Folder of a run, or a published encoder: timm:NAME, torchvision:NAME, hf:NAME, st:FOLDER, static:FILE; "
    "NAME@FILE takes its weights from a file, NAME@hub fetches them."
)


def argument(help: str, *, many: bool = False, **more: Any) -> Any:
    """A field that is a place in the line."""
    return option(() if many else None, help, argument=True, local=True, many=many, **more)


def device_option() -> Any:
    """The device that computes."""
    return option(None, "auto, cpu, cuda, cuda:1 or mps.")


def threads_option(*, local: bool = True) -> Any:
    """Where it is `local`, it is set for the whole process; else the api has it."""
    return option(None, "Threads of the processor.", least=1, most=MOST_THREADS, local=local)


def compile_option() -> Any:
    """Whether the encoder is compiled."""
    return option(False, "Compile the encoder with torch.compile: slow to start, then often faster on much data.")


def cache_option() -> Any:
    """Where decoded samples are kept."""
    return option("auto", "Where decoded samples are kept: auto, off, or the folder of the run.", path="cache")


def label_column_option(*, several: bool = False) -> Any:
    """The column of the classes, or `several`."""
    text = "Column of the classes; when not given: that of the run, else one with a usual name."
    return option(None, f"{text} Several are parted by commas." if several else text)


@dataclass(frozen=True, kw_only=True)
class Form(Options):
    """What all commands take: a field is a place in the line or a flag; `call` is one call of the api."""

    torch: ClassVar[bool] = True
    """Whether it needs torch."""
    of_a_run: ClassVar[bool] = False
    """Whether it takes the options of a run, too."""
    says: ClassVar[frozenset[str]] = frozenset()
    """Options of that run that the command says itself: its help leaves them out."""
    trains: ClassVar[bool] = False
    """Whether ranks of torchrun do it together, and threads are set by the api."""

    quiet: bool = option(False, "Print results only, no progress.", common=True, local=True)
    json: bool = option(
        False, "Print one JSON object on standard output, and nothing else there.", common=True, local=True
    )

    @classmethod
    def method_of(cls, typed: Mapping[str, Any]) -> str | None:
        """The method of that run by the words that were `typed`, where the command says it."""
        return None

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Do it: `api` is the package, `given` are the options that stand in the line. Returns the result."""
        raise NotImplementedError

    def outputs(self) -> list[str]:
        """The places that are written to, as they are tried before the work starts."""
        return []
