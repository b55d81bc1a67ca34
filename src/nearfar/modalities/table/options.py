"""The options of tables; imports nothing heavy, so that help stays quick."""

from dataclasses import dataclass
from typing import Literal

from nearfar.options import Options, Span, automatic, option

ENCODERS: dict[str, str] = {
    "wide": "the mlp's vector, and behind it the row itself: what columns say alone, and together",
    "mlp": "layers of one width, ReLU between them, on numbers in pieces and one-hot categories",
    "transformer": "attention among the columns of a row, each a token (FT-Transformer)",
}
"""Names built in, and a line for each."""

MOST_LAYERS = 100


@dataclass(frozen=True, kw_only=True)
class TableOptions(Options):
    """How rows are read and how their views are made."""

    corruption: float = automatic(
        "Share of a row's cells that a view replaces, in (0, 1); 0.6 in SCARF, of one view of two.",
        above=0,
        below=1,
        tuned=Span(0.1, 0.9),
    )
    replace_by: Literal["others", "nothing"] = option(
        "others", "What a view puts there: cells of the column in other rows (SCARF), or nothing, as if missing."
    )
    hidden: int = automatic("Width of the encoder's layers, and length of its vectors.", least=1, most=65_536)
    layers: int = automatic("Layers of the encoder.", least=1, most=MOST_LAYERS)
    bins: int = automatic(
        "Pieces that numbers are cut into, of equally many rows each, so that an encoder sees more than a straight "
        "line; 0 for none.",
        least=0,
        most=1024,
        before=0,
    )
    dates: bool = option(
        True,
        "Read dates as such, and leave columns of sentences out.",
        off="Take dates and sentences for categories; by default dates are numbers and parts of the day, week and "
        "year, and sentences are left out.",
        before=False,
    )
