"""The public checks find what is wrong, and say it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nearfar import losses
from nearfar.contract import Latents, Losses, Views
from nearfar.methods.simclr import SimCLR
from nearfar.testing import check_loss, check_method, check_modality
from tests import toy


def broken(base: type, **members: Any) -> Any:
    return type(base.__name__, (base,), members)


def drawn_anew(self: Any, raw: Any, draws: Any, *, requires: Any, **more: Any) -> Views:
    made = toy.Digits.views(self, raw, draws, requires=requires, **more)

    def make(view: int, start: int, stop: int) -> Any:
        one = made.part(start, stop)[view]
        return one | {"digits": one["digits"].masked_fill(torch.rand(one["digits"].shape) < 0.3, toy.EMPTY)}

    return Views(make, range(len(made)), 0, len(draws), requires.wide)


def by_place(self: Any, raw: Any, draws: Any, **more: Any) -> Views:
    return toy.Digits.views(self, raw, np.arange(len(draws)), **more)


def of_one_seed(self: Any, raw: Any, draws: Any, *, seed: int, **more: Any) -> Views:
    return toy.Digits.views(self, raw, draws, seed=0, **more)


def reversed_rows(self: Any, rows: Any) -> Any:
    raw, kept = super(toy.Strings, self).fetch(rows)
    return raw, kept[::-1]


class Leaning(toy.Bag):
    """Its features depend on who is embedded with whom."""

    def features(self, inputs: Any) -> Any:
        found = super().features(inputs)
        return found - found.mean(0)


class Otherwise(toy.Bag):
    """What it makes of a user's sample is not what it makes of a source's."""

    def preprocess(self, inputs: Any) -> Any:
        return super().preprocess([text[::-1] for text in inputs])


def offering(encoder: type) -> Any:
    return broken(toy.Digits, restore=lambda self, config: encoder(config))


def with_source(**members: Any) -> Any:
    return broken(toy.Digits, source=lambda self, samples, **how: broken(toy.Strings, **members)(samples))


@pytest.mark.parametrize(
    ("modality", "sentence"),
    [
        (broken(toy.Digits, views=drawn_anew), "place in the batch|repeat to the bit"),
        (broken(toy.Digits, views=by_place), "place in the batch"),
        (broken(toy.Digits, views=of_one_seed), "Another seed must give other views"),
        (broken(toy.Digits, show=lambda *_: []), "a card for each sample"),
        (broken(toy.Digits, recipes={"half": {"half": 0.5}}), "stand in recipe_options"),
        (with_source(fetch=reversed_rows), "in that order"),
        (with_source(vectors=lambda self: torch.full((24, 2), torch.nan)), "must be finite"),
        (with_source(keys=["one"] * 24), "no two have the same"),
        (offering(Leaning), "a sample must not depend on others"),
        (offering(Otherwise), "preprocess and prepare differ"),
    ],
    ids=["drawn anew", "by place", "one seed", "no cards", "recipe", "rows", "nan", "keys", "leaning", "otherwise"],
)
def test_a_broken_modality_is_told_what_is_wrong(modality: Any, sentence: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texts = ["".join(map(str, rng.integers(0, 10, 8))) for _ in range(24)]
    (tmp_path / "t.csv").write_text("\n".join(["string,label", *(f"{text},{i % 2}" for i, text in enumerate(texts))]))
    with pytest.raises(AssertionError, match=sentence):
        check_modality(
            modality(), str(tmp_path / "t.csv"), samples=lambda keys: [texts[int(key.split("#")[1])] for key in keys]
        )


def every_row(self: Any, z: Any, batch: Any) -> Losses:
    return Losses(losses.nt_xent(z["z"][0], z["z"][1]))


def own_columns(self: Any, z: Any, batch: Any) -> Losses:
    one, two = z["z"][0][batch.rows], z["z"][1][batch.rows]
    share = len(one) / z["z"].shape[1]
    return Losses(losses.nt_xent(one, two) * share if len(one) > 1 else z["z"].sum() * 0)


def counting(self: Any, z: Any, batch: Any) -> Losses:
    next(self.projector.parameters()).data.mul_(0.99)
    return SimCLR.loss(self, z, batch)


def random_noise(self: Any, z: Any, batch: Any) -> Losses:
    return Losses(losses.nt_xent(z["z"][0] + 0.1 * torch.randn(z["z"][0].shape), z["z"][1], rows=batch.rows))


def cut_off(self: Any, views: Any) -> Latents:
    with torch.no_grad():
        features = self.encoder(views)
    return Latents(z=features.requires_grad_(), features=features)


@pytest.mark.parametrize(
    ("member", "sentence"),
    [
        ({"loss": every_row}, "divide it by `batch.world`"),
        ({"loss": own_columns}, "shares of three ranks"),
        ({"loss": counting}, "must change no state|must be the same"),
        ({"loss": random_noise}, "must be the same"),
        ({"embed": cut_off}, "No gradient reaches the encoder"),
    ],
    ids=["every row", "own columns", "state", "noise", "cut off"],
)
def test_a_broken_method_is_told_what_is_wrong(member: dict[str, Any], sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_method(broken(SimCLR, **member))


@pytest.mark.parametrize(
    ("loss", "sentence"),
    [
        (lambda a, b: (a - b).square().sum(1), "one finite number"),
        (lambda a, b: (a - b).detach().square().mean(), "has no gradient"),
        (lambda a, b: (a - b).square().mean() + 0 * torch.rand(()) + torch.rand(()), "must be the same"),
        (lambda a, b: ((a - b).detach() * (a - b)).mean(), "not the slope"),
        (lambda a, b: (a - b).square().sum(1).sqrt().mean(), "With rows of zeros"),
        (lambda a, b: (a - b).square().nan_to_num().mean(), "NaN in argument 0"),
        (lambda a, b: (a[1:] - b[:-1]).square().mean(), "order of the samples"),
        (lambda a, b: (a.bfloat16() @ b.bfloat16().T).exp().log1p().mean(), "not the slope"),
    ],
    ids=["rows", "detached", "random", "slope", "zeros", "nan", "order", "low"],
)
def test_a_broken_loss_is_told_what_is_wrong(loss: Any, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_loss(loss)
