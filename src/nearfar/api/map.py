"""A map of an embedding: two dimensions to look at, saved with the vectors, and a page."""

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.embeddings import Embeddings
from nearfar.errors import ConfigError, DataError, UnknownName
from nearfar.files import check_writable

if TYPE_CHECKING:
    from nearfar.contract import Encoder
    from nearfar.inspection.colours import Colour
    from nearfar.inspection.fidelity import Fidelity

LABEL, CLUSTER = "label", "cluster"
_MADE = b"nearfar.map"
_COLUMNS = ("x", "y", CLUSTER, "neighbors")
_NEIGHBOURS = 10
_ALL_NEIGHBOURS = 50_000
_SHOWN = 20_000
_OFFERED = 8
_log = logging.getLogger("nearfar")


@dataclass(frozen=True)
class Map:
    """Where the samples lie: `xy` [N, 2] in [0, 1] and `clusters` [N], -1 between them, in the order of the vectors."""

    page: Path
    """The page to look at."""
    path: Path
    """The parquet file: the columns of the embedding with x, y, cluster and neighbors."""
    xy: NDArray[np.float32]
    clusters: NDArray[np.int64]
    by: str
    colour: str
    shown: int
    """Points that are on the page."""
    fidelity: "Fidelity | None"
    """How much of the neighbourhoods it keeps; None for very few samples."""
    notes: list[str] = field(default_factory=list)


def map(
    embeddings: "Embeddings | Encoder | str | os.PathLike[str]",
    *,
    within: Any = None,
    out: str | os.PathLike[str] | None = None,
    by: str | None = None,
    colour: str | None = None,
    seed: int = 0,
    device: str | None = None,
) -> Map:
    """Lay an embedding out in two dimensions; writes a page, and the vectors with their places as parquet.

    `embeddings` are a file of `nearfar embed`, a run folder, which keeps one, `Embeddings`, or with data as `within` an
    encoder or a run. `by` is umap (where umap-learn is installed, the default), tsne or pca. `colour` is label, cluster
    or a column of the file; the page offers the others too. `out` is the page (.html) or the parquet file; the other
    one stands beside it. Raises UserError.
    """
    from nearfar.inspection import fidelity, map_clusters, projection

    by = projection.usual_way(by)
    given = _opened(embeddings, within, device)
    page, target = _places(out, given.file, given.folder)
    colours = _columns(given, colour)
    vectors = given.embeddings.vectors
    if len(vectors) < 2:
        raise DataError(f"There are {len(vectors)} vectors: a map needs two at least.")
    _log.info("laying out %d samples by %s", len(vectors), by)
    xy = projection.project(vectors, seed=seed, by=by)
    clusters = map_clusters.clusters_of(xy, seed=seed)
    kept = fidelity.fidelity(vectors, xy, seed=seed)
    notes = []
    if len(vectors) > projection.MOST.get(by, len(vectors)):
        notes.append(
            f"{projection.MOST[by]:,} of {len(vectors):,} samples were laid out; each other one lies at the median of "
            "its nearest of them."
        )
    _write_parquet(given, target, xy, clusters)
    colours.insert(1 if colours and colours[0].name == LABEL else 0, _clusters(clusters))
    wanted = colour or (LABEL if given.embeddings.labels is not None else CLUSTER)
    made = Map(page, target, xy, clusters, by, wanted, min(len(xy), _SHOWN), kept, notes)
    _write_page(made, given, colours, seed)
    return made


@dataclass(frozen=True)
class _Given:
    """Embeddings, the file and folder that they came from, and the encoder and data that made them, where known."""

    embeddings: Embeddings
    file: Path | None
    folder: Path
    name: str
    encoder: "Encoder | None" = None
    data: str | None = None


def _opened(given: Any, within: Any, device: str | None) -> _Given:
    """What is mapped; raises UserError."""
    from nearfar.api.embed import embed
    from nearfar.api.load import load_on
    from nearfar.training.run_folder import CONFIG, read_config

    if isinstance(given, Embeddings):
        return _Given(given, None, Path(), "embedding", data=given.origin)
    if isinstance(given, str | os.PathLike) and Path(given).suffix.lower() in (".parquet", ".npy"):
        if within is not None:
            raise ConfigError("--in is for a run: a file of embeddings is mapped as it is.")
        file, found = Path(given), Embeddings.load(given)
        return _Given(found, file, file.parent, file.stem, data=found.origin)
    encoder, run = load_on(given, device)
    folder = run if run is not None and run.is_dir() else Path()
    if within is not None:
        place = os.fspath(within) if isinstance(within, str | os.PathLike) else None
        name = "data" if place is None else Path(place).name
        return _Given(embed(encoder, within), None, folder, name, encoder, place)
    file = folder / "embeddings.parquet"
    if not file.is_file():
        raise ConfigError(f"{os.fspath(given)!r} keeps no embeddings: say what to map by --in DATA.")
    found = Embeddings.load(file)
    data = found.origin or read_config(folder / CONFIG).get("data", {}).get("data")
    return _Given(found, file, folder, folder.resolve().name, encoder, data)


def _places(out: Any, file: Path | None, folder: Path) -> tuple[Path, Path]:
    """The page and the parquet file; raises ConfigError for names that cannot be meant, else as `check_writable`."""
    if out is None:
        own = file is None or file.name == "embeddings.parquet"
        page = folder / ("map.html" if own else f"{file.stem}.html" if file is not None else "")
        target = page.with_name("map.parquet" if own else f"{page.stem}.map.parquet")
    else:
        place = Path(out)
        if place.suffix.lower() not in (".html", ".parquet"):
            raise ConfigError(f"--out must end in .html or .parquet, got {os.fspath(out)!r}.")
        page = place.with_suffix(".html")
        target = place if place.suffix.lower() == ".parquet" else place.with_suffix(".map.parquet")
    if target.exists():
        own = file is not None and target.samefile(file)
        if own or not _is_map(target):
            why = "holds what is mapped" if own else "is there and is no map"
            raise ConfigError(f"{str(target)!r} {why}: give another name with --out.")
    check_writable(page)
    check_writable(target)
    return page, target


def _is_map(path: Path) -> bool:
    import pyarrow.parquet as pq

    from nearfar.data.arrow_files import reading

    try:
        return _MADE in (pq.read_schema(reading(path)).metadata or {})
    except Exception:  # whatever arrow raises of a file that is none
        return False


def _columns(given: _Given, wanted: str | None) -> "list[Colour]":
    """What the points can be coloured by, beside clusters: the label, the column that was asked for, a few others."""
    from nearfar.data.embedding_columns import further_columns
    from nearfar.inspection.colours import colour_of, tells

    labels = given.embeddings.labels
    found: list[Colour] = []
    if labels is not None:
        found.append(colour_of(LABEL, labels))
    elif wanted == LABEL:
        raise ConfigError("There are no labels to colour by: --colour cluster, or a column of the file.")
    parquet = given.file is not None and given.file.suffix.lower() == ".parquet" and given.file.is_file()
    more = further_columns(given.file) if parquet and given.file is not None else {}
    names = [name for name in more if name not in _COLUMNS]
    if wanted is not None and wanted not in (LABEL, CLUSTER, *names):
        raise UnknownName("column", wanted, [*([LABEL] if labels is not None else []), CLUSTER, *names])
    for name in names:
        if name == wanted or (len(found) < _OFFERED and tells(more[name])):
            found.append(colour_of(name, more[name]))
    return found


def _clusters(clusters: NDArray[np.int64]) -> "Colour":
    from nearfar.inspection.colours import Colour

    width = len(str(clusters.max(initial=0) + 1))
    names: list[str | None] = [None if one < 0 else f"cluster {one + 1:0{width}d}" for one in clusters.tolist()]
    return Colour(CLUSTER, names)


def _write_parquet(given: _Given, target: Path, xy: NDArray[np.float32], clusters: NDArray[np.int64]) -> None:
    """The columns of the embedding with x, y, cluster and, of not too many samples, neighbors."""
    import tempfile

    import pyarrow as pa

    from nearfar.data.embedding_columns import write_with

    columns: dict[str, pa.Array] = {
        "x": pa.array(xy[:, 0]),
        "y": pa.array(xy[:, 1]),
        CLUSTER: pa.array(clusters),
    }
    if len(xy) <= _ALL_NEIGHBOURS:
        similar, near = _nearest(given.embeddings.vectors, _NEIGHBOURS)
        k = near.shape[1]
        parts = [pa.array(part.reshape(-1)) for part in (near, 1 - similar)]
        offsets = pa.array(np.arange(len(xy) + 1, dtype=np.int32) * k)
        lists = [pa.ListArray.from_arrays(offsets, part) for part in parts]
        columns["neighbors"] = pa.StructArray.from_arrays(lists, names=["ids", "distances"])
    with tempfile.TemporaryDirectory() as temporary:
        file = given.file
        if file is None or file.suffix.lower() != ".parquet" or not file.is_file():
            file = given.embeddings.save(Path(temporary) / "embeddings.parquet")
        write_with(file, target, columns, {_MADE: b"1"})


def _nearest(vectors: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Similarities and rows `[N, k]` of the nearest others."""
    import torch

    from nearfar.evaluation.knn import nearest

    rows = torch.from_numpy(vectors)
    similar, near = nearest(rows, rows, k, exclude_self=True)
    return similar.numpy(), near.long().numpy()


def _write_page(made: Map, given: _Given, colours: "list[Colour]", seed: int) -> None:
    """The page: of many samples a part, evenly."""
    from nearfar.api.map_cards import Cards
    from nearfar.inspection.projection import sample_evenly
    from nearfar.reporting import map_page

    rows = sample_evenly(len(made.xy), _SHOWN, seed)
    facts = {
        "Samples": f"{len(made.xy):,}",
        "Dimensions": str(given.embeddings.vectors.shape[1]),
        "Laid out by": made.by,
    }
    if len(rows) < len(made.xy):
        made.notes.append(
            f"{len(rows):,} of {len(made.xy):,} samples are shown, evenly chosen; all are in {made.path.name}."
        )
    cards = Cards(given.embeddings, given.data, given.encoder)
    _, near = _nearest(given.embeddings.vectors[rows], _NEIGHBOURS // 2)
    map_page.write(
        made.page,
        title=given.name,
        facts=facts,
        xy=made.xy[rows],
        neighbours=near,
        colours=[_of_rows(one, rows) for one in colours],
        chosen=made.colour,
        bare=cards.bare(rows),
        cards=lambda some: cards.of(rows[some]),
        fidelity=None if made.fidelity is None else str(made.fidelity),
        notes=made.notes + cards.notes,
        origin=cards.folder,
    )
    _log.info("wrote %s", made.page)


def _of_rows(colour: "Colour", rows: NDArray[np.int64]) -> "Colour":
    from nearfar.inspection.colours import Colour

    return Colour(colour.name, [colour.values[row] for row in rows.tolist()], colour.numbers)
