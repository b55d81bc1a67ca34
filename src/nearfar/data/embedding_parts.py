"""Embeddings of data of any size: written part by part, so that what is done stays done, and joined at the end."""

import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nearfar.contract import Skipped
from nearfar.data.arrow_files import reading, writing
from nearfar.data.embeddings import Embeddings, check_path, keys_file, read_from, repeated, written_of
from nearfar.files import cannot_write, draft_of, from_json, locked, read_json, to_json, write_json

_log = logging.getLogger("nearfar")
_PLAN = "plan.json"
_SKIPPED = b"nearfar.skipped"
_KEPT = "What was embedded is kept; make room and run the same command again."


class Parts:
    """The parts of one file of embeddings, in a hidden folder beside it.

    A part is a parquet file that is written atomically, so work that is killed goes on with the first part that
    is missing. `plan` says what is embedded by what: the parts of another plan are thrown away.
    """

    def __init__(self, out: Path, plan: Mapping[str, Any]) -> None:
        self.out = out
        self.folder = out.absolute().with_name(f".{out.name}.parts")
        self.plan = from_json(to_json(plan))

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the parts for this process; raises RunError when another process has them."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.out, error) from None
        with locked(self.folder / ".lock", what=repr(str(self.out))):
            self._keep_what_fits()
            yield

    def has(self, number: int) -> bool:
        """Whether this part is done."""
        return self._path(number).is_file()

    def put(self, number: int, part: Embeddings, skipped: Iterable[Skipped]) -> None:
        """Write a part, with what could not be read so far."""
        notes = to_json([[one.key, one.reason] for one in skipped])
        part.save(self._path(number), metadata={_SKIPPED: notes.encode("utf-8", "backslashreplace")}, kept=_KEPT)

    def skipped(self) -> list[Skipped]:
        """What could not be read in all parts, each sample once."""
        import pyarrow.parquet as pq

        found: dict[str, Skipped] = {}
        for path in self._paths():
            notes = (pq.read_schema(reading(path)).metadata or {}).get(_SKIPPED, b"[]")
            found.update({key: Skipped(key, reason) for key, reason in from_json(notes)})
        return list(found.values())

    def join(self) -> tuple[int, int]:
        """Write the file from its parts, part by part, and remove them; returns its numbers of vectors and dimensions.

        Where it cannot be written, the parts stay; raises as `files.draft_of`.
        """
        import pyarrow.parquet as pq

        paths = self._paths()
        schema = pq.read_schema(reading(paths[0]))
        rows, dim = (
            sum(pq.read_metadata(reading(path)).num_rows for path in paths),
            schema.field("vector").type.list_size,
        )
        if check_path(self.out) == ".parquet":
            plain = schema.with_metadata(written_of(*read_from(schema.metadata)) or None)
            with (
                draft_of(self.out, kept=_KEPT) as draft,
                writing(draft) as file,
                pq.ParquetWriter(file, plain, use_dictionary=repeated(plain)) as writer,
            ):
                for path in paths:
                    writer.write_table(pq.ParquetFile(reading(path)).read())
        else:
            self._join_npy(paths, rows, dim)
        shutil.rmtree(self.folder)
        return rows, dim

    def _join_npy(self, paths: list[Path], rows: int, dim: int) -> None:
        with (
            draft_of(keys_file(self.out), kept=_KEPT) as beside,
            draft_of(self.out, kept=_KEPT) as draft,
            draft.open("wb") as vectors,  # not mapped: a full disk would end the process
            beside.open("w", encoding="utf-8", newline="") as keys,
        ):
            header = {"descr": "<f4", "fortran_order": False, "shape": (rows, dim)}
            np.lib.format.write_array_header_1_0(vectors, header)
            for number, path in enumerate(paths):
                part = Embeddings.load(path)
                vectors.write(np.ascontiguousarray(part.vectors, dtype="<f4").data)
                part.write_keys(keys, header=number == 0)

    def _keep_what_fits(self) -> None:
        file = self.folder / _PLAN
        try:
            before = read_json(file)
        except (OSError, ValueError):
            before = None
        if before != self.plan:
            if before is not None:
                _log.info("the parts beside %s are of other data or another encoder: starting anew", self.out)
            for path in self.folder.iterdir():
                if path.name != ".lock":
                    path.unlink()
            write_json(file, self.plan)
            return
        self._leave_out_damaged()
        if done := len(self._paths()):
            _log.info("going on with %s: %d parts are done", self.out, done)

    def _leave_out_damaged(self) -> None:
        """Remove parts that are not whole (the disk lost what it was given): they are made again."""
        import pyarrow.parquet as pq

        for path in self._paths():
            try:
                pq.read_metadata(reading(path))
            except Exception as error:
                _log.warning("the part %s is damaged (%s): it is made again", path.name, str(error)[:120])
                path.unlink()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.parquet"

    def _paths(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*.parquet") if not path.name.startswith("."))


def shard_path(out: Path, rank: int, world: int) -> Path:
    """The file that one of several processes writes: `photos.parquet` as `photos-00002-of-00004.parquet`."""
    return out if world == 1 else out.with_name(f"{out.stem}-{rank:05d}-of-{world:05d}{out.suffix}")
