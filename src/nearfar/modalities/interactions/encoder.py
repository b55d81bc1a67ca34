"""The encoder of users and items: which side inputs are of, and what is known of users beside the weights."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nearfar.contract import Card, Encoder, Parts, Recommendation, Recommended
from nearfar.contract.parts import packed
from nearfar.data.keys import printable
from nearfar.errors import ConfigError, DataError
from nearfar.modalities.interactions.source import NONE, InteractionSource
from nearfar.modalities.interactions.towers import TOWERS, LightGCN
from nearfar.options import text, whole

if TYPE_CHECKING:
    from nearfar.contract import Inputs, Rows, Source

_SHOWN = 8
HISTORY = ("history", "items")
"""What a mapping calls the items that a user had."""


class InteractionEncoder(Encoder):
    """Vectors of users and of items in one space; `config` names both, and `seen` [2, N] is who had what, by time.

    Inputs of items are `item` [n]; those of users `user` [n], a number beyond the last one for a user that is not
    known, and what they had: `history` [n, L], -1 behind its end.
    """

    whitens = False
    projected = False
    rate = 7.0
    smallest_batch = 2048
    cheaper = "a smaller encoder (--dimensions)"

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = dict(config)
        for what in ("users", "items"):
            names = config.get(what)
            if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
                raise ConfigError(f"{what} must be a list of names.")
        if config.get("titles") is not None and len(config["titles"]) != len(config["items"]):
            raise ConfigError("titles must be as many as items.")
        self.dim = whole(config, "dimensions")
        self.tower = TOWERS[text(config, "encoder", TOWERS)](config)
        self.splits = not isinstance(self.tower, LightGCN)
        self.register_buffer("seen", torch.zeros(2, whole(config, "seen"), dtype=torch.int32))
        self.seen: Tensor
        self._items: dict[str, int] | None = None
        self._users: dict[str, int] | None = None

    def acquaint(self, source: Source) -> None:
        """Take in who had what: all that was opened has been seen, and the samples of this source are learnt from."""
        assert isinstance(source, InteractionSource)
        found, known = source.log, source.user < len(self.config["users"])
        order = np.lexsort((found.time, found.user))
        order = order[(found.user[order] < len(self.config["users"])) & (found.item[order] >= 0)]
        self.seen = _pairs(found.user[order], found.item[order]).to(self.device)
        edges = _pairs(source.user[known], source.item[known]).to(self.device)
        self.tower.often = torch.bincount(edges[1], minlength=self.tower.items).int()
        if isinstance(self.tower, LightGCN):
            self.tower.edges = edges

    def features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """One side's inputs to vectors `[n, dim]`."""
        if "item" in inputs:
            return self.tower.of_items(inputs["item"])
        return self.tower.of_users(inputs["user"], inputs["history"])

    def forward(self, views: Sequence[Inputs] | Inputs) -> Tensor:
        """As all encoders; a graph is spread over once for each two views, a user's side and an item's."""
        if isinstance(views, Tensor | Mapping) or not isinstance(self.tower, LightGCN):
            return super().forward(views)
        numbers = list(getattr(views, "numbers", range(len(views))))
        vectors: dict[int, Tensor] = {}
        for pair in sorted({number // 2 for number in numbers}):
            with self.tower.once():
                vectors |= {i: self.vectors(views[i]) for i, number in enumerate(numbers) if number // 2 == pair}
        return torch.stack([vectors[i] for i in range(len(numbers))])

    def prepare(self, raw: Mapping[str, Tensor]) -> Inputs:
        """The item's side of interactions and of items, that of the user of users."""
        return self.side(raw, "item" if "item" in raw else "user")

    def side(self, raw: Mapping[str, Tensor], which: str) -> dict[str, Tensor]:
        """The inputs of the items or of the users of a raw batch."""
        names = ("item",) if which == "item" else ("user", "history")
        return {name: raw[name].to(self.device) for name in names}

    def parts(self, inputs: Mapping[str, Tensor]) -> Parts:
        """What one user had, an item a part; an item is one part, which cannot be taken away.

        A user is explained as somebody who had the same, also where the encoder has a vector of that user alone.
        """
        if "item" in inputs:
            whole = self.features(inputs)
            return Parts(
                names=[self.title(int(inputs["item"]))],
                without=lambda kept: {"item": inputs["item"].expand(len(kept))},
                terms=whole,
            )
        history = inputs["history"][0]
        history = history[history >= 0]
        known = int(inputs["user"]) < len(self.config["users"])

        def without(kept: Tensor) -> dict[str, Tensor]:
            return self._strangers(packed(history, kept, NONE)[0])

        return Parts(
            names=[self.title(item) for item in history.tolist()],
            without=without,
            terms=self._terms(history) if len(history) else None,
            note="the user is explained as somebody who had the same" if known else "",
        )

    def _terms(self, history: Tensor) -> Tensor | None:
        """What each item adds to the vector of one who had them `[L]`; None where that is no sum or mean."""
        each = self.features(self._strangers(history[:, None]))
        features = self.features(self._strangers(history[None]))[0]
        for terms in (each, each / len(each)):
            if torch.allclose(terms.sum(0), features, rtol=1e-3, atol=1e-6):
                return terms
        return None

    def _strangers(self, history: Tensor) -> dict[str, Tensor]:
        """Inputs of users that are not known, by what they had `[m, L]`."""
        history = history if history.shape[1] else F.pad(history, (0, 1), value=NONE)
        users = torch.full((len(history),), len(self.config["users"]), device=history.device)
        return {"user": users, "history": history}

    def typed(self, words: str) -> Any:
        """A user as JSON, or the name of an item."""
        try:
            row = json.loads(words)
        except (ValueError, RecursionError):
            return words
        return row if isinstance(row, dict) else words

    def is_sample(self, inputs: Any) -> bool:
        """Whether `inputs` is one item, or one user as a mapping."""
        return isinstance(inputs, str | int | Mapping)

    def preprocess(self, inputs: Sequence[Any]) -> dict[str, Tensor]:
        """Items by their names or titles, or users as mappings: `{"user": "42"}`, `{"history": ["Heat (1995)"]}`.

        Raises DataError where a name is not known, or items and users are mixed.
        """
        if not any(isinstance(one, Mapping) for one in inputs):
            return {"item": torch.tensor([self.item(one) for one in inputs])}
        if not all(isinstance(one, Mapping) for one in inputs):
            raise DataError("Users, which are mappings, and items are to be encoded apart.")
        found = [self._user(one) for one in inputs]
        most = self.config.get("history") or max((len(history) for _, history in found), default=1)
        width = max(1, min(most, max((len(history) for _, history in found), default=1)))
        histories = [([*history[-width:]] + [NONE] * width)[:width] for _, history in found]
        return {"user": torch.tensor([user for user, _ in found]), "history": torch.tensor(histories)}

    def item(self, name: Any) -> int:
        """The number of an item by its name or its title; raises DataError for one that is not known."""
        if self._items is None:
            titles = self.config.get("titles") or []
            self._items = {title.lower(): i for i, title in reversed(list(enumerate(titles)))}
            self._items |= {item.lower(): i for i, item in enumerate(self.config["items"])}
        found = self._items.get(str(name).strip().lower())
        if found is None:
            close = difflib.get_close_matches(str(name).lower(), self._items, n=1, cutoff=0.5)
            meant = f": did you mean {self.title(self._items[close[0]])!r}?" if close else "."
            raise DataError(f"{str(name)!r:.100} is none of the {len(self.config['items'])} items{meant}")
        return found

    def _user(self, given: Mapping[str, Any]) -> tuple[int, list[int]]:
        """The number of a user, beyond the last one where it is not known, and what was had."""
        items = next((given[name] for name in HISTORY if name in given), None)
        if items is not None:
            return len(self.config["users"]), [self.item(one) for one in items]
        if "user" not in given:
            raise DataError(f"A user is a mapping with 'user' or 'history', got {', '.join(map(repr, given))}.")
        number = self.user(str(given["user"]))
        if number is None:
            raise DataError(f"The user {given['user']!r} is not known: give what was had, as 'history'.")
        return number, self._had(number)

    def user(self, name: str) -> int | None:
        """The number of a user; None for one that is not known."""
        if self._users is None:
            self._users = {user: i for i, user in enumerate(self.config["users"])}
        return self._users.get(name.strip())

    def cards(self, inputs: Mapping[str, Tensor]) -> list[Card]:
        """What a report shows of one side's inputs: an item by its title, a user by what was had last."""
        if "item" in inputs:
            return [Card(key="", text=self.title(item)) for item in inputs["item"].tolist()]
        rows = [[item for item in had if item >= 0][-_SHOWN:] for had in inputs["history"].tolist()]
        names = [self.config["users"][user] if user < len(self.config["users"]) else "?" for user in inputs["user"]]
        texts = ["\n".join(map(self.title, reversed(had))) for had in rows]
        return [Card(key="", text=text or f"user {name}") for name, text in zip(names, texts, strict=True)]

    def title(self, item: int) -> str:
        """What an item is called."""
        found = self._named(item)
        return printable(found.title or found.key)

    @torch.no_grad()
    def recommend(self, queries: Sequence[Any], k: int) -> list[Recommendation]:
        """What users may want next, each a name or a mapping as `preprocess` takes it: items that they have not had.

        Only items that were learnt from are recommended. Of a user of whom nothing is known, the most popular ones.
        """
        self.eval()
        often = self.tower.often
        items = F.normalize(self.vectors({"item": torch.arange(len(often), device=self.device)}), dim=-1)
        found = []
        for given in queries:
            query = given if isinstance(given, Mapping) else {"user": str(given)}
            name = str(query.get("user", "a user who had what is given"))
            stranger = not any(key in query for key in HISTORY) and self.user(name) is None
            had = [] if stranger else self._user(query)[1]
            if not had:
                scores = often / len(self.config["users"])
                note = "nothing is known of this user: these are the items that most users had, and how many of them"
            else:
                vectors = self.vectors({n: x.to(self.device) for n, x in self.preprocess([query]).items()})
                scores, note = items @ F.normalize(vectors[0], dim=-1), ""
            scores = scores.masked_fill(often == 0, -torch.inf)
            scores[had] = -torch.inf
            best = scores.topk(min(k, int(scores.isfinite().sum())))
            places, values = best.indices.tolist(), best.values.tolist()
            made = [self._named(item, score) for item, score in zip(places, values, strict=True)]
            found.append(Recommendation(name, made, [self._named(item) for item in reversed(had)], note))
        return found

    def _named(self, item: int, score: float | None = None) -> Recommended:
        titles = self.config.get("titles")
        return Recommended(self.config["items"][item], titles[item] if titles else None, score)

    def _had(self, user: int) -> list[int]:
        users, items = self.seen
        start, stop = torch.searchsorted(users, torch.tensor([user, user + 1], dtype=users.dtype)).tolist()
        return [int(item) for item in items[start:stop].tolist()]


def _pairs(user: Rows, item: Rows) -> Tensor:
    return torch.from_numpy(np.stack([user, item]).astype(np.int32))
