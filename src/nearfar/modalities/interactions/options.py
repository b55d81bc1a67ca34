"""The options of interactions; imports nothing heavy, so that help stays quick."""

from dataclasses import dataclass
from typing import Literal

from nearfar.options import Options, Span, automatic, option

ENCODERS: dict[str, str] = {
    "lightgcn": "embeddings of users and items, spread over the graph of who had what (He et al., 2020)",
    "embedding": "an embedding of each user and each item",
    "history": "a user is the weighted mean of embeddings of the items that were had",
    "sequence": "a user is what a small transformer makes of the last items in their order",
}
"""Names built in, and a line for each; the first is the usual one."""


@dataclass(frozen=True, kw_only=True)
class InteractionOptions(Options):
    """How interactions are read, split and encoded."""

    min_rating: float | None = option(None, "Interactions that are rated lower are left out; all count when not given.")
    split_by: Literal["time", "random"] = automatic(
        "Which fifth of each user's interactions is held out: the last ones, or some at random; the last ones when not "
        "given and times are known."
    )
    dimensions: int = option(256, "Length of the vectors of users and items.", least=2, most=65_536)
    graph_layers: int = option(2, "How far embeddings spread over the graph, for lightgcn.", least=0, most=16)
    recency: float = automatic(
        "How much more a user's last interactions count than the first: e to this power; 0 is alike. 3 when not given, "
        "where the last ones judge.",
        least=0,
        most=20,
        tuned=Span(0, 6),
    )
    history: int = automatic("Most of a user's items that are looked at, for history and sequence.", least=0)
    forget: float = option(
        0.2, "Share of what a user had that a view forgets, for history and sequence.", least=0, below=1
    )
    graph_noise: float = option(
        0.0, "Length of the noise that is added to each node at each layer in training (SimGCL), for lightgcn.", least=0
    )
    edge_dropout: float = option(
        0.0, "Share of the interactions that are left out of the graph at each step (SGL), for lightgcn.",
        least=0, below=1,
    )  # fmt: skip
