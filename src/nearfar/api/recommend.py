"""What users may want next."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nearfar.errors import must

if TYPE_CHECKING:
    from nearfar.contract import Encoder, Recommendation


def recommend(
    encoder: "Encoder | str | os.PathLike[str]", queries: Sequence[Any], k: int = 10, *, device: str | None = None
) -> "list[Recommendation]":
    """The `k` items for each user that it has not had, nearest first; `encoder` is one, or the folder of a run.

    A user is a name of the data, or a mapping: `{"history": ["Heat (1995)", "Casino (1995)"]}` of somebody new. Of one
    of whom nothing is known, `note` says so, and the most popular items are given. Each `Recommendation` has .query,
    .items (.key, .title, .score: the cosine), .had, the last first, and .note. Raises UserError.
    """
    from nearfar.api.load import load_on

    must(k >= 1, "k must be at least 1", got=k)
    found, _ = load_on(encoder, device)
    return found.recommend([queries] if isinstance(queries, str) else list(queries), k)
