"""`nearfar search`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearfar.cli.form import RUN, Form, Result, argument, threads_option
from nearfar.cli.output import columns
from nearfar.errors import ConfigError
from nearfar.options import option

_LINE = 100
"""Characters of a text that are shown."""


@dataclass(frozen=True, kw_only=True)
class Search(Form):
    """The samples most like each query, by cosine similarity."""

    run: str = argument(RUN, needed=True, path="input")
    query: tuple[str, ...] = argument(
        "What to look for: files, FILE#3 for row 3 of a file, rows as JSON, or keys of the embedding.",
        needed=True,
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
    device: str | None = option(None, "auto, cpu, cuda, cuda:1 or mps: for the embedding of data given with --in.")
    threads: int | None = threads_option()

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Search for each query."""
        if self.within is None and Path(self.run).is_dir() and not (Path(self.run) / "embeddings.parquet").is_file():
            raise ConfigError(f"{self.run!r} keeps no embeddings: say where to look by --in FILE.parquet or DATA.")
        found = api.search_run(self.run, self.query, self.k, within=self.within, **given)
        queries, text = [], []
        for query, hits in zip(self.query, found, strict=True):
            queries.append({"query": query, "hits": hits})
            text += [query, columns((f"  {hit.similarity:.3f}", *_shown(hit), hit.label) for hit in hits)]
        return {"run": self.run, "in": self.within, "queries": queries}, "\n".join(text)


def _shown(hit: Any) -> list[str]:
    """A hit's path or key, and what it says in one line."""
    text = " ".join((hit.text or "").split())
    place = hit.path or hit.key
    return [place] if not text else [Path(place).name, text if len(text) <= _LINE else text[: _LINE - 3] + "..."]
