"""Two encoders that meet: each kind of input is sent to its own tower, and projected to one width."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from nearfar.contract import Encoder, Map, Modality, Parts
from nearfar.contract.inputs import Inputs
from nearfar.contract.parts import through
from nearfar.contract.program import Behind, Program
from nearfar.data.folder import extension_of
from nearfar.errors import ConfigError, DataError
from nearfar.modalities.pairs.options import read_frozen
from nearfar.modalities.pairs.source import OfSide

_FROZEN = "vectors of a frozen tower"


class Routed(Encoder):
    """Towers for two kinds of inputs, each followed by a linear projection without bias to `dim`.

    One view's inputs are of one side, whose number stands before their names. Towers that `config["frozen_sides"]`
    names do not learn, and stay in evaluation mode; they are given their own vectors, where the source keeps these.
    """

    whitens = False
    projected = False
    cheaper = "smaller encoders of the sides (--encoder)"

    def __init__(
        self, towers: Sequence[Encoder], names: Sequence[str], kinds: Sequence[Modality], config: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.config = dict(config)
        self.dim = int(config["joint_width"])
        self.names = tuple(names)
        self.kinds = tuple(kinds)
        self.towers = nn.ModuleList(towers)
        self.projections = nn.ModuleList(nn.Linear(tower.dim, self.dim, bias=False) for tower in towers)
        self.splits = all(tower.splits for tower in towers)
        self.embed_batch = min(tower.embed_batch for tower in towers)
        frozen = read_frozen(config.get("frozen_sides"), names)
        self.files = frozenset().union(*(tower.files for tower in towers))
        self.frozen = tuple(name in frozen for name in names)
        for tower, still in zip(towers, self.frozen, strict=True):
            if still:
                tower.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Routed:
        """Set the mode of all but the frozen towers."""
        super().train(mode)
        for i, still in enumerate(self.frozen):
            if still:
                self.tower(i).eval()
        return self

    def tower(self, side: int) -> Encoder:
        """The encoder of a side."""
        found = self.towers[side]
        assert isinstance(found, Encoder)
        return found

    def features(self, inputs: Any) -> Tensor:
        """One view's inputs of one side `[n, ...]` to vectors `[n, dim]`."""
        side, own = unmarked(inputs)
        if isinstance(own, Mapping) and _FROZEN in own:
            return self.projections[side](own[_FROZEN])  # type: ignore[no-any-return]
        return self.projections[side](self.tower(side).vectors(own))  # type: ignore[no-any-return]

    def programs(self, *, preprocessing: bool) -> dict[str, Program]:
        """One of each side, by the side's name: its tower, and the projection behind it."""
        return {
            name: self._program(side, tower.programs(preprocessing=preprocessing))
            for side, name in enumerate(self.names)
            if isinstance(tower := self.towers[side], Encoder)
        }

    def _program(self, side: int, of_tower: Mapping[str, Program]) -> Program:
        (found,) = of_tower.values()
        preparing = found.preparing.replace('"tokenizer.json"', f'"{self.names[side]}-tokenizer.json"')
        return replace(
            found, preparing=preparing, module=Behind(found.module, self.tower(side).output, self.projections[side])
        )

    def maps(self, inputs: Any) -> list[Map]:
        """The feature maps of the side's tower; raises ConfigError where it has none."""
        side, own = unmarked(inputs)
        return self.tower(side).maps(own)

    def tokens(self, inputs: Any) -> Tensor:
        """The tokens of the side's tower; raises ConfigError where it has none."""
        side, own = unmarked(inputs)
        return self.tower(side).tokens(own)

    def parts(self, inputs: Any) -> Parts:
        """The parts of the side's own kind; raises ConfigError where its tower does not say, or is not asked."""
        side, own = unmarked(inputs)
        if isinstance(own, Mapping) and _FROZEN in own:
            raise ConfigError("Of a sample there is its vector alone: give the sample itself.")
        tower, projection = self.tower(side), self.projections[side]
        found = tower.parts(own)
        terms = None if found.terms is None else through(through(found.terms, tower.output), projection)

        def without(kept: Tensor) -> Inputs:
            return marked(side, found.without(kept))

        return replace(found, without=without, terms=terms)

    def prepare(self, raw: OfSide) -> Inputs:
        """A raw batch of one side to its tower's inputs, or to the vectors that are kept of a frozen tower."""
        tower = self.tower(raw.side)
        if raw.source is not None and raw.items is not None:
            return marked(raw.side, {_FROZEN: raw.source.vectors_of(tower, raw.items)})
        return marked(raw.side, tower.prepare(raw.raw))

    def preprocess(self, inputs: Sequence[Any]) -> Inputs:
        """Samples of one side as its tower takes them; raises DataError where they are of both."""
        sides = {self.side_of(one) for one in inputs}
        if len(sides) > 1:
            raise DataError(f"The samples are of both sides, {' and '.join(self.names)}: give those of one at a time.")
        side = sides.pop() if sides else 0
        return marked(side, self.tower(side).preprocess([self._bare(one) for one in inputs]))

    def is_sample(self, inputs: Any) -> bool:
        """Whether it is one sample of either side, or `{side: sample}`."""
        return self._named(inputs) is not None or any(self.tower(i).is_sample(inputs) for i in range(len(self.towers)))

    def typed(self, words: str) -> Any | None:
        """The sample of the first side that takes typed words."""
        for name, tower in zip(self.names, map(self.tower, range(len(self.towers))), strict=False):
            if (sample := tower.typed(words)) is not None:
                return {name: sample}
        return None

    def side_of(self, sample: Any) -> int:
        """The side that a sample as a user has it is of.

        Text that is a file's name, or ends as such files do, is of the side that reads files; `{"text": "a.png"}` says
        which side is meant. Raises DataError.
        """
        named = self._named(sample)
        if named is not None:
            return named
        able = [side for side in range(len(self.towers)) if self.tower(side).is_sample(sample)]
        if isinstance(sample, str | os.PathLike) and able:
            path = os.fspath(sample)
            file = os.path.isfile(path) if isinstance(sample, str) else True
            for side in able:
                kind = self.kinds[side]
                if not kind.inline and (file or extension_of(str(path)) in kind.extensions):
                    return side
            able = [side for side in able if self.kinds[side].inline] or able
        if not able:
            raise DataError(f"{sample!r:.100} is a sample of neither side, {' nor '.join(self.names)}.")
        return able[0]

    def _named(self, sample: Any) -> int | None:
        if isinstance(sample, Mapping) and len(sample) == 1 and (name := next(iter(sample))) in self.names:
            return self.names.index(name)
        return None

    def _bare(self, sample: Any) -> Any:
        return sample if self._named(sample) is None else next(iter(sample.values()))


def marked(side: int, own: Inputs) -> dict[str, Tensor]:
    """Inputs of one side with its number before their names."""
    if isinstance(own, Tensor):
        return {f"{side}": own}
    return {f"{side}:{name}": values for name, values in own.items()}


def unmarked(x: Any) -> tuple[int, Inputs]:
    """The side, and its inputs as its own tower takes them; raises ConfigError where they are not of one side."""
    if not isinstance(x, Mapping) or not x:
        raise ConfigError("The inputs of an encoder of pairs are those of one side, as its prepare gives them.")
    sides = {name.partition(":")[0] for name in x}
    if len(sides) > 1:
        raise ConfigError("One view is of one side: its inputs are of both.")
    side = sides.pop()
    if list(x) == [side]:
        return int(side), x[side]
    return int(side), {name.partition(":")[2]: values for name, values in x.items()}
