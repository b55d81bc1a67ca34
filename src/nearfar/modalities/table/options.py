"""The options of tables; imports nothing heavy, so that help stays quick."""

from dataclasses import dataclass

from nearfar.options import Options, automatic

ENCODERS: dict[str, str] = {
    "mlp": "layers of one width, ReLU between them, on standardised numbers and one-hot categories",
}
"""Names built in, and a line for each."""

MOST_LAYERS = 100


@dataclass(frozen=True, kw_only=True)
class TableOptions(Options):
    """How rows are read and how their views are made."""

    corruption: float = automatic(
        "Share of a row's cells that a view replaces, in (0, 1); 0.6 in SCARF.", above=0, below=1
    )
    hidden: int = automatic("Width of the encoder's layers, and length of its vectors.", least=1, most=65_536)
    layers: int = automatic("Linear layers of the encoder.", least=1, most=MOST_LAYERS)
