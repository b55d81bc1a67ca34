"""Interactions: which user had which item, perhaps rated, perhaps at a time.

A sample is an interaction; its two views are its sides, the user's and the item's, so that `infonce`, `clip` or `bpr`
learn vectors of both in one space.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from nearfar import given
from nearfar.contract import Modality
from nearfar.errors import ConfigError, UnknownName
from nearfar.modalities.interactions.columns import ITEMS, RATINGS, TIMES, TITLES, USERS
from nearfar.modalities.interactions.options import ENCODERS, InteractionOptions

if TYPE_CHECKING:
    from torch import Tensor

    from nearfar.contract import Baseline, Card, Opening, Requirements, Rows, Source, Views
    from nearfar.data.glance import Found
    from nearfar.data.samples import Samples
    from nearfar.modalities.interactions.encoder import InteractionEncoder
    from nearfar.modalities.interactions.source import InteractionSource
    from nearfar.options import Choice, Facts

__all__ = ["MODALITY", "Interactions"]

log = logging.getLogger("nearfar")

_LAST = 50
"""Items of a sequence, as SASRec has it for sparse data."""
_MOST = 512
_RECENCY = 3.0
"""Chosen on MovieLens-small, by the last fifth of what each user has in the training part."""


class Interactions(Modality):
    """The modality `interactions`."""

    name = "interactions"
    Options = InteractionOptions
    encoders = ENCODERS
    columns, inline = USERS, True
    further = (*USERS, *ITEMS, *RATINGS, *TIMES, *TITLES)
    method: ClassVar[str] = "infonce"
    tasks: ClassVar[Sequence[str]] = ("recommend", "label_free")
    advice: ClassVar[Mapping[str, str]] = {"views unrelated": "lower --forget"}

    def claims(self, found: Found) -> bool:
        """Whether there is a table of users and items, alone or in a folder with others."""
        from nearfar.modalities.interactions.titles import TABLES, interactions_in

        if found.kind.name in ("", "table") and found.files and set(found.files) <= {*TABLES, ".txt", ".md"}:
            folder = Path(found.path)
            return folder.is_dir() and interactions_in(folder) is not None
        return found.kind.name == self.name

    def open(self, data: str, how: Opening) -> Source | None:
        """The interactions of a folder that holds other tables, too."""
        from nearfar.modalities.interactions.titles import interactions_in
        from nearfar.modalities.opening import found

        folder = None if given.is_given(data) else Path(data)
        file = interactions_in(folder) if folder is not None and folder.is_dir() else None
        if file is None:
            return None
        log.info("%s: the interactions are those of %s", data, file.name)
        samples = found(self, str(file), **how.columns)
        return self.source(samples, options=how.options)

    def source(self, samples: Samples, *, options: Any = None, **reading: Any) -> InteractionSource:
        """The interactions, and a line that says how many; raises DataError where none can be used."""
        from nearfar.modalities.interactions.source import InteractionSource
        from nearfar.modalities.interactions.titles import titles_beside, titles_of

        assert samples.table is not None
        titles = titles_of(samples.table) or titles_beside(Path(samples.origin))
        source = InteractionSource(samples, options or InteractionOptions(), titles)
        named = sum(item in titles for item in source.log.items)
        log.info(
            "%s: %d interactions of %d users with %d items%s",
            source.name, len(source), len(source.log.users), len(source.log.items),
            f", {named} of which have titles" if titles else "",
        )  # fmt: skip
        return source

    def settle(
        self, options: InteractionOptions, source: InteractionSource, encoder: str | None, facts: Facts
    ) -> tuple[InteractionOptions, str, list[Choice]]:
        """Options without None, the encoder's name, and what was chosen."""
        from nearfar.options import Choice, Settling

        settling, name = Settling(options), encoder or next(iter(self.encoders))
        self._check(name)
        if not encoder:
            settling.choices.append(Choice("encoder", name, "the usual one for interactions"))
        timed = source.log.stamped
        settling.choose("split_by", "time" if timed else "random", "times are known" if timed else "no times are known")
        settling.choose(
            "recency", _RECENCY if settling.options.split_by == "time" else 0.0, "for what is held out of each user"
        )
        most = {"sequence": _LAST, "history": _MOST}.get(name, 0)
        settling.choose("history", most, "" if not most else f"the usual number for {name}")
        return settling.options, name, settling.choices

    def encoder(
        self,
        name: str,
        source: InteractionSource,
        options: InteractionOptions,
        *,
        width: int | None = None,
        pretrained: str | None = None,
    ) -> InteractionEncoder:
        """A new encoder for these users and items; `width` stands for `dimensions`. Raises UnknownName, ConfigError."""
        from nearfar.modalities.interactions.encoder import InteractionEncoder

        self._check(name)
        if pretrained is not None:
            raise ConfigError("pretrained has no meaning for interactions: no published weights know their items.")
        found = source.log
        config: dict[str, Any] = {"modality": self.name, "encoder": name, "dimensions": width or options.dimensions}
        config |= {"users": list(found.users), "items": list(found.items), "seen": len(found.user)}
        config["titles"] = [found.title(i) for i in range(len(found.items))] if found.titles else None
        config |= {"history": options.history or 0, "recency": options.recency or 0.0}
        config |= {"split_by": options.split_by, "min_rating": options.min_rating}
        if name == "lightgcn":
            config |= {one: getattr(options, one) for one in ("graph_layers", "graph_noise", "edge_dropout")}
            config["edges"] = len(source)
        made = InteractionEncoder(config)
        made.acquaint(source)
        return made

    def restore(self, config: Mapping[str, Any]) -> InteractionEncoder:
        """The encoder that `config` describes, its weights not yet loaded; raises ConfigError where it is none."""
        from nearfar.modalities.interactions.encoder import InteractionEncoder
        from nearfar.options import text

        self._check(text(config, "encoder"))
        return InteractionEncoder(config)

    def views(
        self,
        raw: Mapping[str, Tensor],
        draws: Rows,
        *,
        requires: Requirements,
        seed: int,
        options: InteractionOptions,
        encoder: InteractionEncoder,
    ) -> Views:
        """The sides of a raw batch, sample i keyed by (seed, draws[i], view), on the encoder's device."""
        from nearfar.modalities.interactions.views import make_views

        return make_views(raw, draws, requires=requires, seed=seed, forget=options.forget, encoder=encoder)

    def show(self, inputs: Mapping[str, Tensor], encoder: InteractionEncoder) -> list[Card]:
        """An item by its title, a user by what was had last."""
        return encoder.cards(inputs)

    def baselines(self) -> Sequence[Baseline]:
        """Popularity, item-kNN and EASE."""
        from nearfar.modalities.interactions.baselines import EASE, ItemKNN, Popularity

        return [Popularity(), ItemKNN(), EASE()]

    def _check(self, encoder: str) -> None:
        if given.is_given(encoder):
            raise ConfigError("A network of your own does not fit interactions: name one of the encoders.")
        if encoder not in self.encoders:
            raise UnknownName("encoder", encoder, self.encoders)


MODALITY = Interactions()
