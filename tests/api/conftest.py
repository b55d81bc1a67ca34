"""Tiny data, so that whole commands take a second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import nearfar as nf
from nearfar.api.run import Run

Photos = Callable[..., Path]


def photos_in(folder: Path, count: int = 40, classes: int = 4, seed: int = 0) -> Path:
    """PNGs of 16 pixels in one folder a class, or in one folder without classes (`classes=0`)."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        place = folder / f"class {i % classes}" if classes else folder
        place.mkdir(parents=True, exist_ok=True)
        colour = np.array([[[40, 90, 160]]]) + 60 * (i % max(classes, 1))
        pixels: NDArray[np.uint8] = ((colour + rng.integers(0, 60, (16, 16, 3))) % 256).astype(np.uint8)
        Image.fromarray(pixels).save(place / f"{i:02}.png")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Photos:
    """Makes a folder of photos, by default 40 of 4 classes in `photos/`."""

    def made(name: str = "photos", **how: Any) -> Path:
        return photos_in(tmp_path / name, **how)

    return made


def table_at(path: Path) -> Path:
    """A table of 40 labelled rows."""
    rng = np.random.default_rng(0)
    rows = [",".join(f"{x:.3f}" for x in rng.normal(size=4) + i % 2) + f",{'ab'[i % 2]}" for i in range(40)]
    path.write_text("\n".join(["w,x,y,z,label", *rows]))
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of 40 labelled rows."""
    return table_at(tmp_path / "table.csv")


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """No decoded picture fits into memory."""
    from nearfar.data import kept

    monkeypatch.setattr(kept, "available_memory", lambda: 0)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_settings: dict[str, Any]) -> tuple[Path, Run]:
    """A folder of 40 photos and a finished run of 8 steps on it; neither may be changed."""
    folder = tmp_path_factory.mktemp("finished")
    data = photos_in(folder / "photos")
    return data, nf.train(data, out=folder / "run", **(tiny_settings | {"steps": 8, "knn_every": 0.3}))


@pytest.fixture(scope="session")
def finished_table(tmp_path_factory: pytest.TempPathFactory, tiny_settings: dict[str, Any]) -> tuple[Path, Run]:
    """A table of 40 rows and a finished run of 6 steps on it; neither may be changed."""
    folder = tmp_path_factory.mktemp("finished table")
    data = table_at(folder / "table.csv")
    settings = {name: value for name, value in tiny_settings.items() if name not in ("encoder", "width")}
    return data, nf.train(data, out=folder / "run", **settings)
