"""Does a modality keep its promises? Its source, its encoder and its views, on data that the user has."""

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nearfar.contract import Encoder, Modality, Requirements, Rows, Source, Views, inputs
from nearfar.errors import DataError, UserError
from nearfar.modalities.opening import open_source, suited
from nearfar.options import Facts, declared
from nearfar.testing.comparing import check, same, sample
from nearfar.testing.parts import check_parts

_FACTS = Facts(samples=12, device="cpu", threads=1, steps=3)
_NEAR = {"rtol": 1e-4, "atol": 1e-5}  # the order of sums follows the shape of a batch


@dataclass
class _Ground:
    """A modality on its data, with an encoder."""

    modality: Modality
    source: Source
    options: Any
    encoder: Encoder

    def views(
        self, rows: Sequence[int], draws: Sequence[int], *, seed: int = 0, small: int = 0, wide: int = 2
    ) -> Views:
        raw, kept = self.source.fetch(np.array(rows, dtype=np.int64))
        check(
            kept.tolist() == list(rows), f"fetch({list(rows)}) gave the rows {kept.tolist()}: give them in that order."
        )
        requires = Requirements(wide=2, small=small)
        return self.modality.views(
            raw,
            np.array(draws, dtype=np.int64),
            requires=requires,
            seed=seed,
            options=self.options,
            encoder=self.encoder,
        )

    @torch.no_grad()
    def features(self, source: Source, rows: Rows, encoder: Encoder | None = None) -> Tensor:
        encoder = (encoder or self.encoder).eval()
        return encoder.features(encoder.prepare(source.fetch(rows)[0]))


def check_modality(
    modality: Modality,
    data: str,
    *,
    encoder: str | None = None,
    samples: Callable[[Sequence[str]], list[Any]] | None = None,
    **options: Any,
) -> None:
    """Check a modality on `data` of at least twelve samples that differ; raises AssertionError with a sentence.

    `encoder` and `options` are as for `nearfar.train`. `samples` turns keys into what a user would give to `encode`
    (paths, texts, rows): with it, `encode` must give the vectors that the source gives.
    """
    _check_recipes(modality)
    ground = _made(modality, data, encoder, options)
    for one in (_check_source, _check_encoder, _check_views):
        one(ground)
    _check_refusals(modality, ground)
    if samples is not None:
        _check_encode(ground, samples)


def _check_recipes(modality: Modality) -> None:
    open_ones = {name for name, one in declared(modality.Options).items() if one.default is None}
    for recipe, values in modality.recipes.items():
        for option in values:
            check(
                option in open_ones and option in modality.recipe_options,
                f"The recipe {recipe!r} sets {option!r}, which must be an option that is None until it is settled, and "
                "stand in recipe_options.",
            )
            modality.Options(**{option: values[option]})


def _made(modality: Modality, data: str, encoder: str | None, options: dict[str, Any]) -> _Ground:
    check(bool(modality.name) and bool(modality.encoders), "A modality has a name, and at least one encoder.")
    source = open_source(modality, data, options=modality.Options(**options), least=2)
    check(len(source) >= 12, f"{data!r} has {len(source)} samples: give at least twelve.")
    raw, kept = source.fetch(np.arange(2))
    check(raw is not None and len(kept) > 0, "fetch gives nothing: it must work as soon as data is opened.")
    settled, name, _ = modality.settle(modality.Options(**options), source, encoder, _FACTS)
    again = modality.settle(settled, source, name, _FACTS)
    check(again == (settled, name, []), f"Settling settled options again must change nothing, gave {again}.")
    torch.manual_seed(0)
    made = modality.encoder(name, source, settled)
    return _Ground(modality, suited(source, made.config, least=2), settled, made)


def _check_source(ground: _Ground) -> None:
    source = ground.source
    n = len(source)
    check(len(source.keys) == len(set(source.keys)) == n, "Each sample has a key, and no two have the same.")
    for name in ("labels", "groups", "domains"):
        said = getattr(source, name)
        check(said is None or said.shape == (n,), f"source.{name} must be [N] or None.")
    check(source.labels is None or source.labels.max() < len(source.label_names), "Each label has its name.")
    every = np.arange(n)
    source.fetch(every)
    check(source.ids.shape == (n,), "source.ids must be [N].")
    usable = source.usable
    rows = usable[[7, 2, 5]]
    some = source.take(rows)
    check(list(some.keys) == [source.keys[i] for i in rows], "take(rows) must show these rows in this order.")
    check(source.labels is None or some.labels.tolist() == source.labels[rows].tolist(), "take(rows) mixes up labels.")  # type: ignore[union-attr]
    one, other = ground.features(some, np.arange(3)), ground.features(source, rows)
    check(_near(one, other), "What take(rows) fetches is not what fetch(rows) fetches.")
    vectors = source.vectors()
    if vectors is not None:
        check(vectors.dtype == torch.float32 and vectors.ndim == 2, "source.vectors() must be [N, D] float32, or None.")
        check(
            len(vectors) == len(usable), f"source.vectors() has {len(vectors)} rows for {len(usable)} usable samples."
        )
        check(bool(vectors.isfinite().all()), "source.vectors() must be finite.")
    cards = source.cards(usable)
    check([card.key for card in cards] == [source.keys[i] for i in usable], "A card has its sample's key.")


def _check_encoder(ground: _Ground) -> None:
    encoder, rows = ground.encoder, ground.source.usable[:6]
    prepared = encoder.prepare(ground.source.fetch(rows)[0])
    check(inputs.count(prepared) == len(rows), "prepare gives a row for each sample of the raw batch.")
    check(inputs.device(prepared) == encoder.device, "prepare must put its inputs on the encoder's device.")
    features = ground.features(ground.source, rows)
    check(
        features.shape == (len(rows), encoder.dim), f"features must be [n, {encoder.dim}], got {list(features.shape)}."
    )
    check(bool(features.isfinite().all()), "features must be finite.")
    check(torch.equal(features, ground.features(ground.source, rows)), "In evaluation mode features must repeat.")
    parts = [ground.features(ground.source, rows[i : i + 1]) for i in range(len(rows))]
    check(_near(torch.cat(parts), features), "In evaluation mode a sample must not depend on others.")
    try:
        config = json.loads(json.dumps(encoder.config, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"encoder.config must hold plain values that JSON can hold: {error}.") from None
    check(config.get("modality") == ground.modality.name, 'encoder.config["modality"] must be the modality\'s name.')
    again = ground.modality.restore(config)
    again.load_state_dict(encoder.state_dict())
    found = ground.features(suited(ground.source, config), rows, again)
    check(torch.equal(found, features), "restore(config) with the encoder's weights must give the same features.")
    check_parts(encoder, inputs.part(prepared, 0, 1))


def _check_views(ground: _Ground) -> None:
    views = ground.views([3, 1, 4, 5], [10, 11, 12, 13], small=1)
    check((len(views), views.wide, views.samples) == (3, 2, 4), "views must be as many, and as wide, as is required.")
    other = ground.views([5, 9, 3], [13, 20, 10], small=1)
    for number in range(3):
        check(inputs.count(views[number]) == 4, f"View {number} must have a row for each sample.")
        check(inputs.device(views[number]) == ground.encoder.device, "Views must be on the encoder's device.")
        pairs = [(sample(other[number], i), sample(views[number], j)) for i, j in ((0, 3), (2, 0))]
        check(
            all(same(one, two, **_NEAR) for one, two in pairs),
            f"View {number} of a sample depends on its place in the batch, or on the other samples: make it a function "
            "of (seed, draw, view).",
        )
    torch.manual_seed(1)
    again = ground.views([3, 1, 4, 5], [10, 11, 12, 13], small=1)
    repeats = all(same(again[number], views[number]) for number in range(3))
    check(repeats, "Views must repeat to the bit: take randomness from (seed, draw, view) alone.")
    part, whole = views.part(1, 3), ground.views([1, 4], [11, 12], small=1)
    check(same(part[0], whole[0], **_NEAR), "views.part must give the views of these samples.")
    wide = ground.views([3, 1, 4, 5], [10, 11, 12, 13])
    check(same(wide[1], views[1], **_NEAR), "A wide view must be the same whether or not there are small ones.")
    rows = list(range(6))
    plain = ground.views(rows, rows)
    for what, changed in {
        "view": plain[1],
        "draw": ground.views(rows, [row + 100 for row in rows])[0],
        "seed": ground.views(rows, rows, seed=1)[0],
    }.items():
        alike = sum(same(sample(plain[0], i), sample(changed, i), **_NEAR) for i in rows)
        check(alike < len(rows), f"Another {what} must give other views.")
    vectors = ground.encoder(views)
    check(vectors.shape == (3, 4, ground.encoder.dim), "The encoder must take the list of views, to [v, b, dim].")
    shown = ground.modality.show(plain[0], ground.encoder)
    check(len(shown) == len(rows), "show must give a card for each sample of a view.")


def _check_refusals(modality: Modality, ground: _Ground) -> None:
    try:
        open_source(modality, "there is no such data at all", least=2)
    except DataError:
        pass
    else:
        raise AssertionError("Data that is not there must raise DataError.")
    try:
        modality.settle(modality.Options(), ground.source, "no such encoder", _FACTS)
        modality.encoder("no such encoder", ground.source, ground.options)
    except UserError:
        return
    raise AssertionError("The name of an encoder that there is not must raise UnknownName.")


def _near(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=_NEAR["rtol"], atol=_NEAR["atol"])


def _check_encode(ground: _Ground, samples: Callable[[Sequence[str]], list[Any]]) -> None:
    rows = ground.source.usable[:5]
    given = samples([ground.source.keys[i] for i in rows])
    encoder = copy.deepcopy(ground.encoder).train()
    found = encoder.encode(given, batch_size=2, show_progress_bar=False)
    check(encoder.training, "encode must leave the encoder's mode as it was.")
    wanted = ground.features(ground.source, rows)
    check(
        _near(torch.from_numpy(found), wanted),
        "encode(samples) must give the vectors that the source's batches give: preprocess and prepare differ.",
    )
    one = torch.from_numpy(encoder.encode(given[3], show_progress_bar=False))
    check(one.shape == (encoder.dim,), "encode of one bare sample must be [dim]: see is_sample.")
    check(_near(one, wanted[3]), "encode of one bare sample must be its vector.")
