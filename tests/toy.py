"""A modality in few lines: short strings of digits, one a row of a manifest, as a mapping of tensors."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nearfar import randomness
from nearfar.contract import Card, Encoder, Modality, Parts, Source, Unreadable, Views
from nearfar.contract.parts import packed

LENGTH, EMPTY = 8, 10  # digits of a string, and what stands where there is none


@dataclass(frozen=True, kw_only=True)
class DigitsOptions:
    forget: float = 0.3
    """Share of the digits that a view forgets."""


def inputs_of(text: str) -> dict[str, Tensor]:
    if not text.isdigit() or len(text) > LENGTH:
        raise Unreadable("no string of up to eight digits")
    digits = [int(digit) for digit in text]
    return {"digits": torch.tensor(digits + [EMPTY] * (LENGTH - len(text))), "length": torch.tensor(len(text))}


class Strings(Source):
    def read(self, row: int) -> dict[str, Tensor]:
        return inputs_of(self.samples.bytes(row).decode())

    def cards(self, rows: Any) -> list[Card]:
        cards = zip(super().cards(rows), rows, strict=True)
        return [replace(card, text=self.samples.bytes(int(row)).decode()) for card, row in cards]

    def vectors(self) -> Tensor:
        return nn.functional.one_hot(self.fetch(np.arange(len(self)))[0]["digits"], 11).flatten(1).float()


class Bag(Encoder):
    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config, self.dim = dict(config), int(config["width"])
        self.places = nn.Embedding(LENGTH * (EMPTY + 1), 32)
        self.network = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, self.dim))

    def features(self, inputs: dict[str, Tensor]) -> Tensor:
        at = inputs["digits"] + (EMPTY + 1) * torch.arange(LENGTH, device=self.device)
        return self.network(self.places(at).sum(1) / inputs["length"].clamp_min(1)[:, None])

    def parts(self, inputs: Any) -> Parts:
        digits = inputs["digits"][0, : int(inputs["length"][0])]

        def without(kept: Tensor) -> dict[str, Tensor]:
            found, length = packed(digits, kept, EMPTY)
            return {"digits": nn.functional.pad(found, (0, LENGTH - len(digits)), value=EMPTY), "length": length}

        return Parts(names=[str(digit) for digit in digits.tolist()], without=without, running=True)

    def preprocess(self, inputs: Any) -> dict[str, Tensor]:
        read = [inputs_of(text) for text in inputs]
        return {name: torch.stack([one[name] for one in read]) for name in ("digits", "length")}


class Digits(Modality):
    """Strings of digits."""

    name, Options, encoders = "digit-strings", DigitsOptions, {"bag": "a sum of embeddings, and two layers"}
    columns, inline = ("string",), True

    def source(self, samples: Any, **how: Any) -> Strings:
        return Strings(samples)

    def encoder(self, name: str, source: Any, options: Any, *, width: Any = None, pretrained: Any = None) -> Bag:
        return self.restore({"modality": self.name, "encoder": name, "width": width or 16})

    def restore(self, config: Any) -> Bag:
        return Bag(config)

    def views(self, raw: Any, draws: Any, *, requires: Any, seed: int, options: Any, encoder: Any) -> Views:
        def make(view: int, start: int, stop: int) -> dict[str, Tensor]:
            drawn = torch.from_numpy(randomness.uniform(seed, "forget", draws[start:stop], LENGTH, view))
            digits = raw["digits"][start:stop].masked_fill(drawn < options.forget, EMPTY)
            return encoder.prepare({"digits": digits, "length": (digits < EMPTY).sum(1)})

        return Views(make, range(requires.wide + requires.small), 0, len(draws), requires.wide)
