"""Any options that are valid each by itself: a run of two steps trains, or is refused before any work."""

import io
import random
import tarfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

import nearfar as nf
from nearfar.api import finish
from nearfar.api import options as opts
from nearfar.api.run import Run
from nearfar.config import SECTIONS
from nearfar.errors import ConfigError, UserError
from nearfar.methods import registry as methods
from nearfar.methods import several
from nearfar.modalities import registry
from nearfar.training import checkpoint
from tests.altering import TIMES, named, untouched
from tests.api.conftest import photos_in

WHOLE = (0, 1, 2, 3, 4, 5, 8, 12, 16, 20, 40)
REAL = (0.0, 0.001, 0.01, 0.05, 0.1, 0.2, 0.33, 0.5, 0.75, 0.9, 1.0, 1.5, 2.0, 10.0, 100.0)
NUMBER = {int: WHOLE, float: REAL, bool: (True, False)}

TIMM = ("mobilenetv3_small_050", "levit_128s")

CHOSEN: dict[str, tuple[Any, ...]] = {
    "lr": (1e-4, 0.01, 0.1, 0.5),  # what diverges within two steps is no matter of options
    "precision": ("fp32", "bf16"),
    "encoder": ("small_cnn", "resnet8", "resnet10", "resnet18", *TIMM),
    "width": (1, 2, 4, 8),
    "image_size": (8, 9, 16, 24, 32),
    "stem": ("auto", "cifar", "patch"),
    "cache": ("auto", "off"),
    "device": ("cpu", "auto"),
    "label_column": ("label", "Label", "x"),
    "group_column": ("group", "x"),
    "ignore_columns": ("x", "label,x"),
    "labels": ("1", "3", "50%", "100%", "x"),
    "also": ("simclr:0.5", "supcon:1", "vicreg:0.1,simclr:1", "x"),
    "matryoshka": ("2", "4,2", "x"),
    "normalise": ("data", "imagenet", "0.5/0.2", "x"),
    "seed": (0, 1, 2**31, 2**63 - 1),
    "layers": (1, 2, 3),
    "small_views": (0, 1, 2, 6),
    "max_pixels": (200, 256, 100_000_000, 100_000_000),
}  # fmt: skip
"""Where the type says too little, or the largest would take too long."""

FIXED = {
    "data", "modality", "method", "budget", "steps", "epochs", "threads", "compile", "pretrained", "views", "teacher",
    "sides", "side_columns", "templates", "frozen_sides", "log", "annotations", "domain_column", "source_domain",
}  # fmt: skip


def drawn(rng: random.Random, kind: type, share: float) -> dict[str, Any]:
    """Values for a share of the fields of a dataclass of options, valid together."""
    found: dict[str, Any] = {}
    for name, hint in rng.sample(sorted(get_type_hints(kind).items(), key=lambda item: item[0]), len(fields(kind))):
        if name in FIXED or rng.random() > share:
            continue
        values = [value for value in candidates(name, hint) if holds(kind, found | {name: value})]
        if values:
            found[name] = rng.choice(values)
    return found


def candidates(name: str, hint: Any) -> tuple[Any, ...]:
    if name in CHOSEN:
        return CHOSEN[name]
    if get_origin(hint) is Literal:
        return get_args(hint)
    return NUMBER[hint] if hint in NUMBER else tuple(v for part in get_args(hint) for v in candidates_of(part))


def candidates_of(hint: Any) -> tuple[Any, ...]:
    return () if hint is type(None) else candidates("", hint)


def holds(kind: type, values: dict[str, Any]) -> bool:
    try:
        kind(**values)
    except ConfigError:
        return False
    return True


def shards(folder: Path) -> Path:
    """Two archives of the photos."""
    photos = sorted(photos_in(folder / "photos of shards").rglob("*.png"))
    for number in range(2):
        with tarfile.open(folder / f"shard-{number}.tar", "w") as file:
            for path in photos[number::2]:
                member = tarfile.TarInfo(f"{path.parent.name}/{path.name}")
                member.size = path.stat().st_size
                file.addfile(member, io.BytesIO(path.read_bytes()))
    return folder / "shard-{0..1}.tar"


def pairs(folder: Path) -> Path:
    """A manifest with a positive and a negative for some photos, groups, and labels for half."""
    names = [str(path.relative_to(folder)) for path in sorted(photos_in(folder / "paired").rglob("*.png"))]
    rows = ["path,positive,negative,group,label"]
    for i, name in enumerate(names):
        others = [names[(i + step) % len(names)] if i % 3 else "" for step in (1, 5)]
        rows.append(",".join([name, *others, f"g{i // 2}", "ab"[i % 2] if i % 4 < 2 else ""]))
    (folder / "pairs.csv").write_text("\n".join(rows))
    return folder / "pairs.csv"


def table(folder: Path) -> Path:
    """Numbers, a category, missing cells, groups and labels."""
    rng = random.Random(0)
    rows = [
        f"{rng.gauss(0, 1):.3f},{'' if i % 7 == 0 else i % 5},{'uvw'[i % 3]},{i // 2},{'ab'[i % 2]}" for i in range(40)
    ]
    (folder / "table.csv").write_text("\n".join(["x,y,z,group,label", *rows]))
    return folder / "table.csv"


DATA: dict[str, Callable[[Path], Path]] = {
    "photos": lambda folder: photos_in(folder / "photos"),
    "unlabelled": lambda folder: photos_in(folder / "unlabelled", classes=0),
    "few": lambda folder: photos_in(folder / "few", count=5, classes=2),
    "pairs": pairs,
    "shards": shards,
    "table": table,
    "table again": table,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("fuzz")
    return {name: make(folder) for name, make in DATA.items()}


def options(number: int, method: str, modality: str) -> dict[str, Any]:
    """The options of a run, a function of `number`."""
    rng = random.Random(number)
    share = rng.choice((0.1, 0.3, 0.6))
    given = {"method": method, "threads": 1, "micro_batch": 8, "precision": "fp32", "knn_every": 0.0}
    given |= rng.choice(({"steps": 2}, {"steps": 2}, {"steps": 1}, {"epochs": 1, "batch_size": 20}))
    given |= {"encoder": "small_cnn", "width": 4} if modality == "image" else {}
    for kind in (*SECTIONS.values(), methods.load(method).Options, registry.options(modality)):
        given |= drawn(rng, kind, share)
    if modality == "table":
        given |= {"encoder": None, "width": None}
    elif given["encoder"] in TIMM and rng.random() < 0.9:
        given |= {"width": None, "image_size": 32}
    return given


def unjudged(*_: Any, **__: Any) -> finish.Finished:
    return finish.Finished(None, 0.0)


def check(run: Run, given: dict[str, Any]) -> None:
    """The run is whole, and its settings say what was asked for."""
    saved = checkpoint.latest(run.path / "checkpoint")
    assert saved is not None
    assert saved.state["step"] >= 1
    settled = opts.from_file(run.path / "config.toml")
    parts, asked = (several.parse(options.get("also")) for options in (settled, given))
    assert [(part.name, part.weight) for part in parts] == [(part.name, part.weight) for part in asked]
    for name, value in given.items():
        if value not in (None, "auto") and name != "also":  # which is written with the options that were chosen
            assert settled[name] == value, name
    assert nf.load(run.path).dim == run.encoder.dim
    assert all(bool(weight.isfinite().all()) for weight in run.encoder.parameters())


@pytest.mark.parametrize("method", sorted(methods.METHODS))
def test_any_options_train_or_are_refused_before_any_work(method: str, data: dict[str, Path], tmp_path: Path) -> None:
    place = sorted(methods.METHODS).index(method)
    for turn in range(TIMES):
        number = 100_000 * place + turn
        kind = random.Random(-number).choice(sorted(data))
        given = options(number, method, "table" if kind.startswith("table") else "image")
        with pytest.MonkeyPatch.context() as patch, named(kind, number, given), untouched(data[kind].parent):
            if (place + turn) % 4:  # every fourth is judged, too
                patch.setattr(finish, "finish", unjudged)
            try:
                run = nf.train(data[kind], out=tmp_path / str(number), quiet=True, **given)
            except UserError:
                assert not (tmp_path / str(number)).exists()
                continue
            check(run, given)


def test_all_options_are_drawn() -> None:
    """What the types of options say is understood here, whatever options there will be."""
    kinds = [*SECTIONS.values(), *(methods.load(name).Options for name in methods.METHODS)]
    kinds += [registry.options(name) for name in registry.MODALITIES]
    for kind in kinds:
        for name, hint in get_type_hints(kind).items():
            if name not in FIXED:
                assert candidates(name, hint), name
