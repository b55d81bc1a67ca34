"""`nearfar map`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nearfar.cli.form import Form, Result, argument, device_option, threads_option
from nearfar.errors import ConfigError
from nearfar.options import option


@dataclass(frozen=True, kw_only=True)
class Map(Form):
    """Lay vectors out in two dimensions: a page to zoom, search and select in, and a file with their places.

    The file is that of the vectors with columns x, y, cluster and neighbors, for pandas, embedding-atlas and others.
    """

    embeddings: str = argument(
        "File of nearfar embed (.parquet, .npy), a run, or with --in a published encoder.", needed=True, path="input"
    )
    within: str | None = option(
        None,
        "Data that is embedded by the run; when not given, its own embeddings are mapped.",
        spelled="in",
        path="data",
    )
    out: str | None = option(
        None,
        "The page (.html) or the file (.parquet); the other stands beside it. When not given, beside the vectors.",
        short="-o",
        path="output",
    )
    colour: str | None = option(
        None, "What colours the points at first: label, cluster or a column of the file.", basic=True
    )
    by: Literal["umap", "tsne", "pca"] | None = option(
        None, "How they are laid out; when not given, umap where umap-learn is installed, else tsne."
    )
    seed: int = option(0, "Key of all randomness.", least=0)
    device: str | None = device_option()
    threads: int | None = threads_option()

    def check(self) -> None:
        """The output is a page or a file of vectors."""
        if self.out is not None and Path(self.out).suffix.lower() not in (".html", ".parquet"):
            raise ConfigError(f"--out must end in .html or .parquet, got {self.out!r}.")

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Make the map."""
        made = api.map(self.embeddings, **given)
        groups = int(made.clusters.max(initial=-1)) + 1
        text = [f"{len(made.xy)} samples by {made.by}, {groups} clusters, coloured by {made.colour}"]
        text += [str(made.fidelity)] if made.fidelity is not None else []
        text += [*made.notes, f"vectors {made.path}", f"page    {made.page}"]
        return {
            "page": made.page,
            "out": made.path,
            "samples": len(made.xy),
            "shown": made.shown,
            "by": made.by,
            "colour": made.colour,
            "clusters": groups,
            "fidelity": made.fidelity,
            "notes": made.notes,
        }, "\n".join(text)

    def outputs(self) -> list[str]:
        """Where it writes."""
        return [] if self.out is None else [self.out]
