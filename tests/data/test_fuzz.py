"""Damaged files of every kind are read, left out and listed, or refused in plain words; nothing is written or run."""

import io
import itertools
import json
import pickle
import random
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from nearfar.errors import DataError, NearfarError
from nearfar.modalities import registry
from nearfar.modalities.image.source import ImageSource
from nearfar.modalities.opening import open_source, splits
from tests.altering import TIMES, Bomb, altered, named, untouched

N = 6  # samples
Pixels = NDArray[np.uint8]


def pixels() -> Pixels:
    return np.random.default_rng(0).integers(0, 255, (N, 12, 12, 3), dtype=np.uint8)


def encoded(picture: Pixels, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind)
    return file.getvalue()


def pngs() -> list[bytes]:
    return [encoded(picture, "PNG") for picture in pixels()]


def numbers() -> list[list[float]]:
    return [[round(float(x), 3) for x in row] for row in np.random.default_rng(1).normal(size=(N, 3))]


def manifest(path: Path, mark: str = ",") -> None:
    rows = [["path", "label", "group", "split", "positive"]]
    rows += [[f"{i}.png", "ab"[i % 2], f"g{i // 2}", "train", f"{(i + 1) % N}.png"] for i in range(N)]
    path.write_text("\n".join(mark.join(row) for row in rows))


def lines(path: Path) -> None:
    rows = [{"image": f"{i}.png", "label": i % 2, "group": i // 2} for i in range(N)]
    path.write_text("\n".join(map(json.dumps, rows)))


def table(path: Path, mark: str = ",") -> None:
    rows = [["x", "y", "z", "label"], *([*map(str, row), "ab"[i % 2]] for i, row in enumerate(numbers()))]
    path.write_text("\n".join(mark.join(row) for row in rows))


def arrow_table(path: Path) -> None:
    x, y, _ = zip(*numbers(), strict=True)
    pq.write_table(pa.table({"x": x, "y": y, "z": ["u", "v"] * (N // 2), "label": ["a", "b"] * (N // 2)}), path)


def arrow_bytes(path: Path) -> None:
    cells = [{"bytes": content, "path": None} for content in pngs()]
    pq.write_table(pa.table({"image": cells, "label": [0, 1] * (N // 2)}), path, row_group_size=2)


def arrow_paths(path: Path) -> None:
    pq.write_table(pa.table({"path": [f"{i}.png" for i in range(N)], "label": ["a", "b"] * (N // 2)}), path)


def archive(path: Path) -> None:
    with tarfile.open(path, "w") as file:
        for i, content in enumerate(pngs()):
            for name, data in ((f"{i}.png", content), (f"{i}.cls", b"%d" % (i % 2))):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                file.addfile(member, io.BytesIO(data))


FILES: dict[str, Callable[[Path], Any]] = {
    "paths.csv": manifest,
    "paths.tsv": lambda path: manifest(path, "\t"),
    "paths.jsonl": lines,
    "paths.txt": lambda path: path.write_text("\n".join(f"{i}.png" for i in range(N))),
    "paths.parquet": arrow_paths,
    "bytes.parquet": arrow_bytes,
    "pixels.npy": lambda path: np.save(path, pixels()),
    "pixels.npz": lambda path: np.savez(path, x=pixels(), y=np.arange(N) % 2),
    "packed.npz": lambda path: np.savez_compressed(path, x=pixels(), y=np.arange(N) % 2),
    "shard.tar": archive,
    "one.png": lambda path: path.write_bytes(pngs()[0]),
    "one.jpg": lambda path: path.write_bytes(encoded(pixels()[0], "JPEG")),
    "table.csv": table,
    "table.tsv": lambda path: table(path, "\t"),
    "table.parquet": arrow_table,
    "table.npy": lambda path: np.save(path, np.array(numbers())),
    "table.npz": lambda path: np.savez(path, x=np.array(numbers()), y=np.arange(N) % 2),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the pictures that manifests name, within another that nothing may be written to."""
    place = tmp_path / "around" / "data"
    place.mkdir(parents=True)
    for i, content in enumerate(pngs()):
        (place / f"{i}.png").write_bytes(content)
    return place


def read(path: Path) -> None:
    """Open a file as training would and read all of it; what is left out must be listed with a reason."""
    modality = registry.load(registry.find(str(path)))
    splits(modality, str(path))
    source = open_source(modality, str(path), cache="off", threads=1)
    rows = np.arange(len(source))
    if isinstance(source, ImageSource):
        source = source.suited({"stored_size": 8})
        _, kept = source.fetch(rows)
        lost = {source.keys[row] for row in set(rows.tolist()) - set(kept.tolist())}
        assert lost <= {one.key for one in source.skipped}
    else:
        source.fetch(rows)
    source.cards(rows[:3])
    source.vectors()
    assert all(one.key and one.reason for one in source.skipped)


def read_or_refused(path: Path) -> None:
    with suppress(NearfarError):
        read(path)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_that_is_whole_is_read(folder: Path, name: str) -> None:
    FILES[name](folder / name)
    read(folder / name)


@pytest.mark.parametrize("name", sorted(FILES))
def test_an_altered_file_is_read_or_left_out_or_refused(folder: Path, name: str) -> None:
    FILES[name](folder / name)
    whole = (folder / name).read_bytes()
    for number in range(40 * TIMES):
        (folder / name).write_bytes(altered(whole, number))
        with named(name, number), untouched(folder.parent):
            read_or_refused(folder / name)


@pytest.mark.parametrize(
    ("name", "other"), list(itertools.permutations(["pixels.npy", "bytes.parquet", "table.csv"], 2))
)
def test_a_file_with_the_ending_of_another_kind_is_refused(folder: Path, name: str, other: str) -> None:
    path = (folder / name).with_suffix(Path(other).suffix)
    FILES[name](folder / name)
    (folder / name).rename(path)
    with pytest.raises(NearfarError):
        read(path)


ODD = ["a", "1", "-2.5", "é", "\u2028", "\x0b", "\0", '"', '""', ",", ";", "\t", "|", "\n", "\r\n", "\r", " ", "\ufeff",
       "path", "label", "nan", "1e999", "\ud800", "\udcff"]  # fmt: skip


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".txt"])
def test_text_of_any_shape_is_read_or_refused(folder: Path, ending: str) -> None:
    for number in range(80 * TIMES):
        rng = random.Random(number)
        text = rng.choice(["", "path,label\n", "a,b\n1,2\n3,4\n", '{"image": "0.png"}\n{"image": '])
        text += "".join(rng.choices(ODD, k=rng.choice((3, 20, 200))))
        encoding = rng.choice(["utf-8", "utf-8", "latin-1", "utf-16", "utf-16-be", "utf-32"])
        path = folder / f"odd{ending}"
        path.write_bytes(text.encode(encoding, "surrogatepass" if encoding != "latin-1" else "replace"))
        with named(ending, number, text), untouched(folder.parent):
            read_or_refused(path)


def test_pickles_are_never_read(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "was run"
    bomb = np.array([Bomb(mark)] * N, dtype=object)
    np.save(folder / "bomb.npy", bomb, allow_pickle=True)
    np.savez(folder / "bomb.npz", x=bomb)
    np.savez_compressed(folder / "packed.npz", x=pixels(), y=bomb)
    raw = pickle.dumps(Bomb(mark))
    for name in ("raw.npy", "raw.npz", "raw.parquet", "raw.tar", "raw.csv", "raw.png"):
        (folder / name).write_bytes(raw)
    with zipfile.ZipFile(folder / "data.npz", "w") as file:
        file.writestr("x.npy", raw)
    for path in sorted(folder.iterdir()):
        if path.stem in ("bomb", "packed", "raw", "data"):
            with named(path.name), pytest.raises(DataError):
                read(path)
    assert not mark.exists()
    np.load(folder / "bomb.npy", allow_pickle=True)
    assert mark.exists()  # it would have been seen


LINKS = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]


def test_an_archive_that_would_escape_is_read_in_place_and_writes_nothing(folder: Path) -> None:
    path = folder / "hostile.tar"
    with tarfile.open(path, "w") as file:
        for i, content in enumerate(pngs()[:4]):
            for name in (f"{i}.png", f"../{i}.png", f"/tmp/{i}.png", f"a/../../{i}.png"):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                file.addfile(member, io.BytesIO(content))
        for kind in LINKS:
            member = tarfile.TarInfo(f"link{kind.decode()}.png")
            member.type, member.linkname = kind, "/etc/passwd"
            file.addfile(member)
    with untouched(folder.parent):
        source = open_source(registry.load("image"), str(path), cache="off", threads=1)
        source = source.suited({"stored_size": 8})
        assert len(source.fetch(np.arange(len(source)))[1]) == 4
    reasons = [one.reason for one in source.skipped]
    assert len(reasons) == 3 * 4 + len(LINKS)
    assert reasons.count("a name that leads out of the archive") == 3 * 4


def test_thousands_of_columns_are_read(folder: Path) -> None:
    wide = [
        ",".join(f"c{i}" for i in range(3_000)),
        *(",".join(str((i * r) % 7) for i in range(3_000)) for r in range(4)),
    ]
    (folder / "wide.csv").write_text("\n".join(wide))
    read(folder / "wide.csv")
    rows = [{"image": f"{i}.png", **{f"c{i}-{k}": k for k in range(2_000)}} for i in range(N)]
    (folder / "wide.jsonl").write_text("\n".join(map(json.dumps, rows)))
    read(folder / "wide.jsonl")


@pytest.mark.parametrize(
    "name", ["a\0b/c", "{a}" * 1500, "{0.." + "9" * 5000 + "}", "x" * 10_000, "[" * 300, "~" * 300]
)
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=r"No file or folder|more braces"):
        open_source(registry.load("image"), name)
