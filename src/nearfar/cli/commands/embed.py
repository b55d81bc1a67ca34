"""`nearfar embed`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nearfar.cli.form import RUN, Form, Result, argument, cache_option, compile_option, device_option, threads_option
from nearfar.errors import ConfigError
from nearfar.options import automatic, option


@dataclass(frozen=True, kw_only=True)
class Embed(Form):
    """Write a vector for each sample of DATA.

    Stopped half way, the same command goes on where it was. Under torchrun each process writes a shard.
    """

    run: str = argument(RUN, needed=True, path="input")
    data: str = argument("What is embedded: all that nearfar train takes.", needed=True, path="data")
    out: str = automatic(
        "File of the vectors: .parquet (with keys and labels) or .npy (vectors alone).",
        short="-o", path="output", needed=True, local=True,
    )  # fmt: skip
    batch_size: int | None = option(None, "Samples embedded at once.", least=1)
    precision: Literal["fp32", "bf16"] | None = option(
        None, "Arithmetic of the encoder; when not given, bf16 where that measures faster on much data."
    )
    compile: bool = compile_option()
    cache: str = cache_option()
    device: str | None = device_option()
    threads: int | None = threads_option()

    def check(self) -> None:
        """The file is of a known kind."""
        if self.out is not None and Path(self.out).suffix.lower() not in (".parquet", ".npy"):
            raise ConfigError(f"--out must end in .parquet or .npy, got {self.out!r}.")

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Embed."""
        made = api.embed_file(self.run, self.data, self.out, **given)
        left = f"; {made.skipped} samples could not be read (skipped.csv)" if made.skipped else ""
        text = f"{made.samples} vectors of {made.dim} dimensions in {made.path}{left}"
        return {"out": made.path, "samples": made.samples, "dim": made.dim, "skipped": made.skipped}, text

    def outputs(self) -> list[str]:
        """Where it writes."""
        return [self.out]
