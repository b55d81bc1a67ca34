"""Several: one encoder under the losses of several methods, each with a weight: loss + w_1 loss_1 + w_2 loss_2 + ...

`--also supcon:0.5,vicreg:0.1` names the further methods. All see the same views, which the encoder embeds once for all
that ask for the same; each has heads, slow copies and queues of its own. The first method says how samples are drawn,
and its latents come first.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

from torch import Tensor, nn

from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Requirements, Views
from nearfar.errors import ConfigError
from nearfar.methods import registry
from nearfar.options import Choice, Facts, Options, declared


@dataclass(frozen=True)
class Part:
    """A further method, the weight of its loss, and its options."""

    name: str
    weight: float
    options: Options

    @property
    def kind(self) -> type[Method]:
        """The class of the method."""
        return registry.load(self.name)

    def __str__(self) -> str:
        """As `parse` reads it: options that are settled with it."""
        own = [(f.name, value) for f in fields(self.options) if (value := getattr(self.options, f.name)) is not None]
        said = ";".join(f"{name}={value}" for name, value in own)
        return f"{self.name}:{self.weight:g}" + (f":{said}" if self.options.settled else "")


def parse(text: str | None) -> list[Part]:
    """`supcon:0.5,vicreg:0.1:variance=10;covariance=1` as parts; raises ConfigError and UnknownName."""
    found = []
    for word in (text or "").split(","):
        if not word.strip():
            continue
        name, _, rest = word.strip().partition(":")
        weight, _, said = rest.partition(":")
        kind = registry.options_of(name)
        try:
            share = float(weight or 1)
        except ValueError:
            share = 0.0
        if not 0 < share < float("inf"):
            raise ConfigError(f"also must name methods with weights above 0, such as supcon:0.5, got {word.strip()!r}.")
        found.append(Part(name, share, kind(**_options(kind, said))))
    if len({part.name for part in found}) < len(found):
        raise ConfigError(f"also must name each method once, got {text!r}.")
    return found


def _options(kind: type[Options], said: str) -> dict[str, Any]:
    known, found = declared(kind), {}
    for word in filter(None, said.split(";")):
        name, _, value = word.partition("=")
        if name not in known:
            raise ConfigError(f"{name!r} is no option of a method in also; it has {', '.join(known)}.")
        is_switch = bool in known[name].kinds and value in ("True", "False")
        found[name] = value == "True" if is_switch else known[name].parse(value)
    return found


def required(kind: type[Method], options: Any, parts: Sequence[Part]) -> Requirements:
    """What the first method, under these options, and the further ones ask for together.

    Raises ConfigError where they ask for other views.
    """
    first = kind.required(options)
    for part in parts:
        own = part.kind.required(part.options)
        shape = ("wide", "small", "negatives", "scores", "targets", "annotations")
        if differing := [name for name in shape if getattr(own, name) != getattr(first, name)]:
            raise ConfigError(
                f"also {part.name} wants other views than the method beside it ({', '.join(differing)}): they cannot "
                "be trained together."
            )
        first = replace(first, labels=first.labels or own.labels, maps=first.maps or own.maps)
    return first


def settle(parts: Sequence[Part], facts: Facts, encoder: Encoder) -> tuple[list[Part], list[Choice]]:
    """The parts with options without None, and what was chosen."""
    settled, choices = [], []
    for part in parts:
        options, chosen = part.kind.settle(part.options, facts, encoder)
        settled.append(replace(part, options=options))
        choices += [replace(choice, name=f"{part.name} {choice.name}") for choice in chosen]
    return settled, choices


class Several(Method):
    """A method, and others beside it on the same encoder."""

    def __init__(self, first: Method, parts: Sequence[Part]) -> None:
        nn.Module.__init__(self)
        self.method = first
        self.options = first.options
        self.requires = required(type(first), first.options, parts)
        self.weights = {part.name: part.weight for part in parts}
        self.others = nn.ModuleDict({part.name: part.kind(first.encoder, part.options) for part in parts})

    @property
    def encoder(self) -> Encoder:  # type: ignore[override]
        """The encoder of all."""
        return self.method.encoder

    @property
    def rate(self) -> float:  # type: ignore[override]
        """That of the first."""
        return self.method.rate

    @property
    def smallest_batch(self) -> int:  # type: ignore[override]
        """The largest that any wants at least."""
        return max(one.smallest_batch for _, one in self._all())

    @property
    def downstream(self) -> str | None:  # type: ignore[override]
        """The head that any of them trains."""
        return next((one.downstream for _, one in self._all() if one.downstream is not None), None)

    def embed(self, views: Views) -> Latents:
        """The latents of the first by their names, and those of another method M as `M.name`."""
        with self._embedded_once():
            return self._joined(lambda one: one.embed(views))

    def targets(self, views: Views) -> Latents:
        """As `embed`, of latents without gradients."""
        return self._joined(lambda one: one.targets(views))

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """The weighted sum; logs and parts of another method M are `M name`, and its loss is a part."""
        found = self.method.loss(self._of(z, ""), batch)
        total, logs, parts = found.total, dict(found.logs), dict(found.parts)
        parts["first_loss"] = found.total.detach()
        for name, other in self._all()[1:]:
            own = other.loss(self._of(z, name), batch)
            total = total + self.weights[name] * own.total
            logs |= {f"{name} {key}": value for key, value in own.logs.items()}
            parts |= {f"{name} {key}": value for key, value in own.parts.items()}
            parts[f"{name}_loss"] = own.total.detach()
        return Losses(total, logs, parts)

    def after_step(self, z: Latents, batch: Batch) -> None:
        """Each method's own state follows its own latents."""
        for name, one in self._all():
            one.after_step(self._of(z, name), batch)

    def _all(self) -> list[tuple[str, Method]]:
        others = [(name, one) for name, one in self.others.items() if isinstance(one, Method)]
        return [("", self.method), *others]

    def _of(self, z: Latents, name: str) -> Latents:
        start = f"{name}." if name else ""
        own = [key for key in z if (key.startswith(start) if name else "." not in key)]
        found = Latents(**{key.removeprefix(start): z[key] for key in own})
        found.features = z.features
        found.learning = frozenset(key.removeprefix(start) for key in z.learning & set(own))
        return found

    def _joined(self, made: Callable[[Method], Latents]) -> Latents:
        whole = Latents()
        for name, one in self._all():
            some = made(one)
            whole.update({f"{name}.{key}" if name else key: value for key, value in some.items()})
            if whole.features is None:
                whole.features = some.features
        return whole

    @contextmanager
    def _embedded_once(self) -> Iterator[None]:
        """Let the encoder give what it gave before where it is asked for the same views again."""
        given: dict[tuple[int, tuple[int, ...]], tuple[Views, tuple[Tensor, list[Tensor]]]] = {}
        plain, mapped = self.encoder.forward, self.encoder.with_map

        def with_map(views: Views) -> tuple[Tensor, list[Tensor]]:
            # Slices of one batch share what was made of it, so that this tells batches apart; samples taken out do not.
            key = id(views.made), views.numbers
            if key not in given:
                given[key] = views, mapped(views) if self.requires.maps else (plain(views), [])
            return given[key][1]

        def forward(views: Any) -> Tensor:
            return with_map(views)[0] if isinstance(views, Views) else plain(views)

        own = {"forward": forward, "with_map": with_map}
        vars(self.encoder).update(own)
        try:
            yield
        finally:
            for name in own:
                del vars(self.encoder)[name]
