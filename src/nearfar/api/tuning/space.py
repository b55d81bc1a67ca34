"""The settings that are tried: of the method, the views and the steps, each where the method and the data have it.

An option says itself what of it is worth trying (`Span`, where it is declared).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nearfar.api.prepare import Ready, assemble
from nearfar.api.tuning.trial import Settings
from nearfar.config import Optimisation
from nearfar.errors import ConfigError, UnknownName
from nearfar.methods import registry as methods
from nearfar.options import Span, declared

if TYPE_CHECKING:
    from nearfar.contract import Requirements

METHOD, VIEWS, RATE, BATCH = "method", "views", "lr", "batch_size"


@dataclass(frozen=True)
class Dimension:
    """One setting: the values of `choices`, or a `span` of numbers."""

    name: str
    span: Span | None = None
    choices: tuple[Any, ...] = ()
    usual: Any = None
    """What it is where it is not given, for the usual method."""


@dataclass(frozen=True)
class Space:
    """All settings that are tried, over `given` ones that stay."""

    given: Mapping[str, Any]
    method: str
    """That of the defaults."""
    shared: Sequence[Dimension]
    by_method: Mapping[str, Sequence[Dimension]]
    """Those of each method that is tried."""

    @property
    def names(self) -> list[str]:
        """The settings in the order in which they are shown."""
        return list(self.by_name)

    @property
    def by_name(self) -> dict[str, Dimension]:
        """All settings by name; of one that several methods have, as the first of them has it."""
        found = {} if len(self.by_method) < 2 else {METHOD: self._of_method}
        for one in (*(one for own in self.by_method.values() for one in own), *self.shared):
            found.setdefault(one.name, one)
        return found

    @property
    def _of_method(self) -> Dimension:
        return Dimension(METHOD, choices=tuple(self.by_method), usual=self.method)

    @property
    def usual(self) -> dict[str, Any]:
        """The defaults as values of the settings."""
        found = {METHOD: self.method} if len(self.by_method) > 1 else {}
        return found | {one.name: one.usual for one in (*self.by_method[self.method], *self.shared)}

    def drawn(self, pick: Callable[[Dimension], Any]) -> dict[str, Any]:
        """Values by name, each as `pick` has it; which settings there are depends on the method."""
        values: dict[str, Any] = {}
        method = self.method
        if len(self.by_method) > 1:
            method = values[METHOD] = pick(self._of_method)
        return values | {one.name: pick(one) for one in (*self.by_method[method], *self.shared)}

    def options(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a run with these values, but for the learning rate, which is in units of the automatic one."""
        changed = {name: value for name, value in values.items() if name != RATE}
        method = values.get(METHOD, self.method)
        if method == self.method:
            changed = {name: value for name, value in changed.items() if value != self.usual.get(name)}
            return {**self.given, **changed}
        other = declared(methods.load(self.method).Options).keys() - declared(methods.load(method).Options).keys()
        return {**{name: value for name, value in self.given.items() if name not in other}, **changed}

    def required(self, method: str) -> "Requirements":
        """What a method asks for, with the options that are given."""
        kind = methods.load(method)
        given = {name: value for name, value in self.given.items() if name in declared(kind.Options)}
        return kind.required(kind.Options(**given))

    def settings(self, values: Mapping[str, Any], *, settled: Mapping[str, Any] | None = None, **more: Any) -> Settings:
        """The settings of a short training with these values, over what is `settled`, and `more` options over all."""
        return Settings(assemble({**(settled or {}), **self.options(values), **more}), float(values.get(RATE, 1.0)))


def space_of(ready: Ready, given: Mapping[str, Any], *, over: Sequence[str] = (), tried: Sequence[str] = ()) -> Space:
    """What is tried beside the defaults `ready`, where options are `given`: all there is, or the settings `over`.

    `tried` are methods; where none are named and no method is given, those of `methods.registry.TRIED`. Raises
    UnknownName for a setting that there is not, and ConfigError for one that is given, or where nothing is left.
    """
    method = ready.config.model.method
    names = _methods(ready, given, tried, over)
    own = {name: _of(methods.load(name).Options, _settled(ready, name)) for name in names}
    shared = []
    if not given.keys() & {VIEWS, *ready.modality.recipe_options}:
        recipes = tuple(ready.modality.recipes_for(ready.source))
        if len(recipes) > 1:
            shared.append(Dimension(VIEWS, choices=recipes, usual=ready.config.model.views or recipes[0]))
    shared += _of(ready.modality.Options, ready.config.modality_options)
    shared += [_steps(ready, one) for one in _of(Optimisation, ready.config.optimisation)]
    known = dict.fromkeys([METHOD, *(one.name for every in own.values() for one in every), *(d.name for d in shared)])
    for name in over:
        if name not in known:
            raise UnknownName("setting to tune", name, known)
        if given.get(name) is not None:
            raise ConfigError(f"{name} is given, and over names it: leave it out of one of them.")

    def left(some: Sequence[Dimension]) -> list[Dimension]:
        return [one for one in some if given.get(one.name) is None and (not over or one.name in over)]

    found = Space(given, method, left(shared), {name: left(every) for name, every in own.items()})
    if not found.names:
        raise ConfigError("Nothing is left to tune: all settings are given.")
    return found


def _methods(ready: Ready, given: Mapping[str, Any], tried: Sequence[str], over: Sequence[str]) -> list[str]:
    """The methods that are tried, that of the defaults first."""
    method = ready.config.model.method
    for name in tried:
        methods.known(name)
    others = tried
    if not tried:
        free = given.get(METHOD) is None and (not over or METHOD in over)
        usual = ready.modality.method == methods.TRIED[0] == method
        others = methods.TRIED if free and usual else ()
    return list(dict.fromkeys([method, *others]))


def _settled(ready: Ready, method: str) -> Any:
    """Options of a method as the defaults have them; of another method, as they are where they are not given."""
    return ready.config.method_options if method == ready.config.model.method else methods.load(method).Options()


def _of(kind: type, settled: Any) -> list[Dimension]:
    """What of an option class is worth trying, and what is now."""
    found = []
    for name, one in declared(kind).items():
        span = one.about.get("tuned")
        if isinstance(span, Span):
            found.append(Dimension(name, span, usual=1.0 if span.times else getattr(settled, name)))
    return found


def _steps(ready: Ready, one: Dimension) -> Dimension:
    """A setting of the optimiser; batches are powers of two around the automatic one."""
    if one.name != BATCH or one.span is None:
        return one
    size, most = ready.config.optimisation.batch_size, len(ready.source) // 2
    sizes, times = [], one.span.low
    while times <= one.span.high:
        sizes.append(int(size * times))
        times *= 2
    return Dimension(BATCH, choices=tuple(n for n in sizes if n == size or 8 <= n <= most), usual=size)
