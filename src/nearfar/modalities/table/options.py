"""The options of tables; imports nothing heavy, so that help stays quick."""

from dataclasses import dataclass

from nearfar.errors import must

ENCODERS: dict[str, str] = {
    "mlp": "layers of one width, ReLU between them, on standardised numbers and one-hot categories",
}
"""Names built in, and a line for each."""

SUFFIXES = (".csv", ".tsv", ".parquet", ".npy", ".npz")
OTHER_INPUTS = {"image", "path", "text", "audio"}
"""Column names that make a file a manifest of another modality."""

MOST_LAYERS = 100


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """How rows are read and how their views are made."""

    corruption: float | None = None
    """Share of a row's cells that a view replaces, in (0, 1); 0.6 in SCARF."""
    hidden: int | None = None
    """Width of the encoder's layers, and length of its vectors."""
    layers: int | None = None
    """Linear layers of the encoder."""

    def __post_init__(self) -> None:
        must(self.corruption is None or 0 < self.corruption < 1, "corruption must be in (0, 1)", got=self.corruption)
        must(self.hidden is None or self.hidden >= 1, "hidden must be at least 1", got=self.hidden)
        must(
            self.layers is None or 1 <= self.layers <= MOST_LAYERS,
            f"layers must be from 1 to {MOST_LAYERS}",
            got=self.layers,
        )
