"""`nearfar search`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nearfar.cli.form import RUN, Form, Result, argument, threads_option
from nearfar.cli.output import columns
from nearfar.errors import ConfigError
from nearfar.options import option

_LINE = 100
"""Characters of a text that are shown."""
_FORMS = (".png", ".html", ".csv")


@dataclass(frozen=True, kw_only=True)
class Search(Form):
    """The samples most like each query, by cosine similarity; or a page to search by.

    A file of nearfar embed is an index: large ones are searched without being read, exactly up to a million vectors.
    """

    run: str = argument(RUN, needed=True, path="input")
    query: tuple[str, ...] = argument(
        "What to look for: files, FILE#3 for row 3 of a file, rows as JSON, texts, keys of the embedding, or vectors "
        "as JSON or .npy.",
        many=True,
        path="input",
    )
    k: int = option(10, "Samples shown for each query.", short="-k", least=1, local=True)
    within: str | None = option(
        None,
        "Where to look: a file of nearfar embed, or data; when not given, embeddings.parquet in the run's folder.",
        spelled="in",
        path="data",
        local=True,
    )
    where: str | None = option(
        None, """Find only samples that meet a condition: 'split == "test" and label != "rose"'.""", local=True
    )
    index: Literal["auto", "exact", "hnsw", "ivfpq"] = option(
        "auto",
        "How a file is searched: exact, or by FAISS, kept beside the file; auto is exact up to a million vectors.",
        local=True,
    )
    out: str | None = option(
        None, "Write what is found: .png (a sheet), .html or .csv.", short="-o", path="output", local=True
    )
    serve: bool = option(False, "Serve a page to search by, for this machine alone.", local=True)
    port: int | None = option(None, "Port of that page.", least=1, most=65535, local=True)
    add: str | None = option(
        None, "Embed this data and add it to the file of --in; equal keys are replaced.", path="data", local=True
    )
    delete: bool = option(
        False, "Delete the samples with the keys QUERY, or those of --where, from the file of --in.", local=True
    )
    device: str | None = option(None, "auto, cpu, cuda, cuda:1 or mps: for the embedding of data given with --in.")
    threads: int | None = threads_option()

    def check(self) -> None:
        """One thing is asked for, with what it needs."""
        modes = [name for name, on in (("--serve", self.serve), ("--add", self.add), ("--delete", self.delete)) if on]
        if len(modes) > 1:
            raise ConfigError(f"{' and '.join(modes)} are different things: give one of them.")
        if not modes and not self.query:
            raise ConfigError("nearfar search needs RUN QUERY..., or --serve for a page to search by.")
        if modes and modes != ["--delete"] and self.query:
            raise ConfigError(f"{modes[0]} takes no QUERY, got {self.query[0]!r}.")
        if modes and modes != ["--serve"] and self.within is None:
            raise ConfigError(f"{modes[0]} changes a file of embeddings: name it by --in FILE.parquet.")
        if self.delete and not self.query and self.where is None:
            raise ConfigError("--delete needs keys as QUERY, or --where.")
        if self.where is not None and self.query and self.delete:
            raise ConfigError("--delete takes keys or --where, not both.")
        if self.where is not None and modes in (["--serve"], ["--add"]):
            raise ConfigError(f"--where does not go with {modes[0]}.")
        if self.port is not None and not self.serve:
            raise ConfigError("--port is for --serve.")
        if self.out is not None and modes:
            raise ConfigError(f"--out does not go with {modes[0]}.")
        if self.out is not None and Path(self.out).suffix.lower() not in _FORMS:
            raise ConfigError(f"--out must end in {', '.join(_FORMS)}, got {self.out!r}.")

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Search for each query, or do what stands in place of it."""
        if self.add is not None or self.delete:
            return self._changed(api, given)
        run = Path(self.run)
        if self.within is None and run.is_dir() and not (run / "embeddings.parquet").is_file():
            raise ConfigError(f"{self.run!r} keeps no embeddings: say where to look by --in FILE.parquet or DATA.")
        if self.serve:
            api.serve(self.run, self.within, port=self.port, index=self.index, **given)
            return {"run": self.run, "in": self.within}, ""
        found = api.search_run(
            self.run, self.query, self.k, within=self.within, where=self.where, index=self.index, out=self.out, **given
        )
        queries, text = [], []
        for hits in found:
            queries.append({"query": hits.query, "hits": hits})
            text += [
                _cut(hits.query),
                columns((f"  {hit.similarity:.3f}", *_shown(hit), hit.label) for hit in hits) if hits else "  nothing",
            ]
        if self.out is not None:
            text.append(f"written to {self.out}")
        return {"run": self.run, "in": self.within, "out": self.out, "queries": queries}, "\n".join(text)

    def outputs(self) -> list[str]:
        """Where it writes."""
        return [] if self.out is None else [self.out]

    def _changed(self, api: Any, given: dict[str, Any]) -> Result:
        made = (
            api.add(self.run, self.within, self.add, **given)
            if self.add is not None
            else api.delete(self.within, keys=self.query, where=self.where)
        )
        counts = {name: getattr(made, name) for name in ("added", "replaced", "deleted") if getattr(made, name)}
        did = ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing changed"
        return {"in": self.within, **made._asdict()}, f"{did}; {made.path} has {made.samples} samples"


def _shown(hit: Any) -> list[str]:
    """A hit's path or key, and what it says in one line."""
    text = " ".join((hit.text or "").split())
    place = hit.path or hit.key
    return [place] if not text else [Path(place).name, _cut(text)]


def _cut(text: str) -> str:
    return text if len(text) <= _LINE else text[: _LINE - 3] + "..."
