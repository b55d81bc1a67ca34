"""Pairs: samples of two sides, each of any other kind, such as pictures with texts.

A source is a manifest with a column for each side. The first view of a sample shows its first side and the second view
its second one; each side has its own views, and its own encoder ("tower"), whose vectors are projected to one width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from nearfar.contract import Modality
from nearfar.errors import ConfigError, DataError
from nearfar.modalities import registry
from nearfar.modalities.pairs.options import (
    JOINT_WIDTH,
    check_of_sides,
    names_of,
    of_side,
    read_frozen,
    read_kinds,
    read_sides,
    with_sides,
    write_sides,
)
from nearfar.options import declared

if TYPE_CHECKING:
    from nearfar.contract import Baseline, Card, Encoder, Opening, Requirements, Rows, Source, Views
    from nearfar.data.glance import Found
    from nearfar.data.samples import Samples
    from nearfar.modalities.pairs.encoder import Routed
    from nearfar.modalities.pairs.source import OfSide, PairSource
    from nearfar.options import Choice, Facts

__all__ = ["MODALITY", "Pairs"]


class Pairs(Modality):
    """The modality of two sides."""

    name = "pairs"
    asked_by = ("sides", "side_columns")
    encoders: ClassVar[Mapping[str, str]] = {
        "towers": "an encoder of each side, projected to one width: image=resnet18,text=bag says which"
    }
    tasks = ("match", "zero_shot", "classify", "retrieve", "label_free")
    advice: ClassVar[Mapping[str, str]] = {
        "views unrelated": "weaker views of the sides",
        "too easy": "stronger views of the sides",
    }

    @property
    def Options(self) -> type:  # type: ignore[override]
        """The options of pairs and of all kinds of sides."""
        return with_sides({kind: registry.options(kind) for kind in self._kinds})

    @property
    def _kinds(self) -> list[str]:
        return [kind for kind in registry.MODALITIES if kind != self.name]

    def claims(self, found: Found) -> bool:
        """Whether it has columns of two kinds that belong together."""
        return found.kind.name == self.name

    def open(self, data: str, how: Opening) -> Source:
        """The pairs of DATA, or the items of its only side; raises DataError."""
        from nearfar.modalities.pairs.finding import open_pairs

        return open_pairs(data, how, able=self._kinds)

    def source(self, samples: Samples, **how: Any) -> Source:
        """Not for pairs: `open` finds both sides."""
        raise ConfigError("Pairs are opened from data, which has two sides.")

    def settle(self, options: Any, source: Source, encoder: str | None, facts: Facts) -> tuple[Any, str, list[Choice]]:
        """Options of both sides without None, the encoders' names, and what was chosen."""
        from nearfar.options import Choice, Settling

        pairs, settling = _pairs(source), Settling(options)
        names = pairs.first.names
        kinds = [one.inner for one in (pairs.first, pairs.second)]
        facts = replace(facts, paired=True)
        settling.choose("sides", ",".join(pairs.kinds), "the data has columns of both")
        settling.choose("side_columns", pairs.columns, "by their names and first cells")
        settling.choose("joint_width", JOINT_WIDTH, "for both sides")
        read_frozen(options.frozen_sides, names)
        if None in (options.sides, options.side_columns, options.joint_width):  # a run that goes on was checked before
            check_of_sides(options, pairs.kinds)
        asked = {} if encoder in (None, *self.encoders) else read_sides("encoder", encoder, names)
        chosen: dict[str, str] = {}
        for name, kind, inner in zip(names, pairs.kinds, kinds, strict=True):
            side = registry.load(kind)
            own, chosen[name], made = side.settle(
                of_side(side.Options, settling.options), inner, asked.get(name), facts
            )
            values = {one: getattr(own, one) for one in declared(side.Options)}
            settling.options = replace(settling.options, **values)
            settling.choices += [one for one in made if one.name != "encoder"]
        told = write_sides(chosen)
        if told != encoder:
            settling.choices.append(Choice("encoder", told, "the usual ones of their kinds where none is named"))
        return settling.options, told, settling.choices

    def encoder(
        self, name: str, source: Source, options: Any, *, width: int | None = None, pretrained: str | None = None
    ) -> Routed:
        """New towers for both sides; `width` is of the first, `pretrained` says of each what it starts from."""
        from nearfar.modalities.pairs.encoder import Routed

        pairs = _pairs(source)
        names = pairs.first.names
        asked, start = read_sides("encoder", name, names), read_sides("pretrained", pretrained, names)
        towers, sides = list[Any](), [registry.load(kind) for kind in pairs.kinds]
        for one, side, items in zip(names, sides, (pairs.first, pairs.second), strict=True):
            own = of_side(side.Options, options)
            tower = self._named(asked, one)
            own_width = width if one == names[0] else None
            towers.append(side.encoder(tower, items.inner, own, width=own_width, pretrained=start.get(one)))
        files = {
            f"{one}-{name}": text for one, t in zip(names, towers, strict=True) for name, text in _files(t).items()
        }
        config: dict[str, Any] = {
            "modality": self.name,
            "encoder": name,
            "sides": ",".join(pairs.kinds),
            "side_columns": pairs.columns,
            "templates": options.templates,
            "frozen_sides": options.frozen_sides,
            "joint_width": options.joint_width or JOINT_WIDTH,
            "towers": [{name: value for name, value in tower.config.items() if name != "files"} for tower in towers],
        }
        made = Routed(towers, names, sides, config | ({"files": files} if files else {}))
        made.from_weights = bool(start) or any(
            side.weights_of(asked[one]) for one, side in zip(names, sides, strict=True)
        )
        return made

    def restore(self, config: Mapping[str, Any]) -> Routed:
        """The encoder that `config` describes, its weights not yet loaded; raises ConfigError where it is none."""
        from nearfar.modalities.pairs.encoder import Routed
        from nearfar.options import text, whole

        kinds = read_kinds(text(config, "sides"), self._kinds)
        names, towers = names_of(kinds), config.get("towers")
        read_sides("encoder", text(config, "encoder"), names)
        read_sides("side_columns", text(config, "side_columns"), names)
        if config.get("frozen_sides") is not None:
            read_frozen(text(config, "frozen_sides"), names)
        whole(config, "joint_width", most=65_536)
        if not isinstance(towers, list) or len(towers) != 2 or not all(isinstance(one, Mapping) for one in towers):
            raise ConfigError(f"towers must be the configs of two encoders, got {towers!r:.100}.")
        sides = [registry.load(kind) for kind in kinds]
        made = [
            side.restore(_with_files(one, config.get("files"), f"{name}-"))
            for name, side, one in zip(names, sides, towers, strict=True)
        ]
        return Routed(made, names, sides, config)

    def views(
        self, raw: OfSide, draws: Rows, *, requires: Requirements, seed: int, options: Any, encoder: Routed
    ) -> Views:
        """The views of a raw batch of one side, as its own kind makes them; those of a frozen side are all alike."""
        from nearfar.contract import Views
        from nearfar.contract import inputs as samples_of
        from nearfar.modalities.pairs.encoder import marked

        numbers = range(requires.wide + requires.small)
        if raw.items is not None:
            kept = encoder.prepare(raw)
            return Views(
                lambda _, start, stop: samples_of.part(kept, start, stop), numbers, 0, len(draws), requires.wide
            )
        side = encoder.kinds[raw.side]
        own = side.views(
            raw.raw,
            draws,
            requires=requires,
            seed=seed,
            options=of_side(side.Options, options),
            encoder=encoder.tower(raw.side),
        )

        def make(number: int, start: int, stop: int) -> Any:
            return marked(raw.side, own.part(start, stop)[number])

        return Views(make, numbers, 0, len(draws), requires.wide)

    def baselines(self) -> Sequence[Baseline]:
        """The raw input of the first side, and what both sides' raw inputs say of each other by the training pairs."""
        from nearfar.modalities.pairs.baseline import MeetingAtPairs

        return [*super().baselines(), MeetingAtPairs()]

    def plain(self, raw: Any, start: int, stop: int, encoder: Any) -> Any:
        """Raises ConfigError: a function of one's own does not know which side it is given."""
        raise ConfigError("views of one's own are for data of one kind: leave them out for pairs.")

    def show(self, inputs: Any, encoder: Routed) -> list[Card]:
        """One view as its side's kind shows it; of a frozen side, which has none, empty cards."""
        from nearfar.modalities.pairs.encoder import unmarked

        side, own = unmarked(inputs)
        if encoder.frozen[side]:
            return super().show(inputs, encoder)
        return encoder.kinds[side].show(own, encoder.tower(side))

    def _named(self, asked: Mapping[str, str], name: str) -> str:
        if name not in asked:
            raise ConfigError(f"encoder must name one for the side {name!r}, such as {name}=...")
        return asked[name]


def _pairs(source: Source) -> PairSource:
    """The source as one of both sides; raises DataError."""
    from nearfar.modalities.pairs.source import PairSource

    if not isinstance(source, PairSource):
        raise DataError(
            f"{source.name!r} has one side alone: pairs have a column for each, which --side-columns names."
        )
    return source


def _files(tower: Encoder) -> Mapping[str, str]:
    found: Mapping[str, str] = tower.config.get("files", {})
    return found


def _with_files(config: Mapping[str, Any], files: Any, before: str) -> Mapping[str, Any]:
    """A tower's config with its own files among those of both, whose names begin with its side."""
    own = {name.removeprefix(before): text for name, text in (files or {}).items() if name.startswith(before)}
    return {**config, "files": own} if own else config


MODALITY = Pairs()
