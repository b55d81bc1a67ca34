"""Records of one size in a file, found by name: any number of processes append to them, and none changes them.

`records` holds the bytes, `index` an entry for each: its name, a digest, and a number that goes with it. The bytes are
written before their entry, and an entry is believed only once its digest is that of the bytes. So a process that is
killed leaves nothing behind that would ever be read, and there is no need to wait for the disk.

Read and written by position, not mapped: filling a batch from the page cache takes the same time, and a file that is
cut short or a disk that is full is then an error to be caught, where a mapping would end the process.
"""

import hashlib
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RECORDS, INDEX = "records", "index"
_ENTRY = np.dtype([("name", "<i8"), ("digest", "<i8"), ("note", "<f8")])
_FOLD = 10_000  # entries that wait in a dictionary before they are sorted in

_NOTHING = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))

Bytes = NDArray[np.uint8]


class InUse(Exception):
    """Other processes hold the records."""


class Records:
    """The records of `size` bytes in a folder, held for use as long as this object lives.

    At most `limit` of them are written. Raises OSError where the folder or its file system cannot be used.
    """

    def __init__(self, folder: Path, size: int, *, limit: int = 0) -> None:
        self.size = size
        self.limit = limit
        self._records, self._index = _opened(folder)
        self._close = weakref.finalize(self, _closed, self._records, self._index)
        self._lock = threading.Lock()
        self._seen = 0
        # Names, sorted, and their slots; of equal names the newest comes last. Replaced as one: others read meanwhile.
        self._sorted = _NOTHING
        self._later: dict[int, int] = {}
        self._damaged: set[int] = set()
        self._catch_up()

    def __len__(self) -> int:
        """How many records were there when last looked."""
        return self._seen

    def slot(self, name: int) -> int | None:
        """Where the newest record of this name lies."""
        found = self._later.get(name)
        if found is None:
            names, slots = self._sorted
            at = int(np.searchsorted(names, name, side="right")) - 1
            found = int(slots[at]) if at >= 0 and names[at] == name else None
        return None if found in self._damaged else found

    def read(self, slot: int, out: Bytes) -> bool:
        """Fill `out` from a record that was checked before; False where it can no longer be read."""
        try:
            return os.preadv(self._records, [out.data], slot * self.size) == self.size
        except OSError:
            return False

    def checked(self, slot: int, out: Bytes) -> tuple[int, float] | None:
        """Fill `out` from a record, and return its digest and its number; None where it is not whole."""
        if self.read(slot, out):
            raw = os.pread(self._index, _ENTRY.itemsize, slot * _ENTRY.itemsize)
            if len(raw) == _ENTRY.itemsize:
                entry = np.frombuffer(raw, _ENTRY)[0]
                note = float(entry["note"])
                if digest(out, note) == entry["digest"]:
                    return int(entry["digest"]), note
        with self._lock:
            self._damaged.add(slot)
        return None

    def append(
        self, names: Sequence[int], records: Sequence[Bytes], notes: Sequence[tuple[int, float]]
    ) -> list[int | None]:
        """Add records with their (digest, number), but for names that are there by now, up to the limit.

        Returns the slots of all, None for those that found no place. Raises OSError where the disk takes no more.
        """
        with self._lock, self._alone():
            self._catch_up()
            new = {name: i for i, name in enumerate(names) if self.slot(name) is None}
            first = self._seen
            some = list(new.items())[: max(0, self.limit - first)]
            for at, (_, i) in enumerate(some, first):
                _write(self._records, records[i].data.cast("B"), at * self.size)
            entries = np.array([(name, *notes[i]) for name, i in some], dtype=_ENTRY)
            _write(self._index, memoryview(entries.tobytes()), first * _ENTRY.itemsize)
            self._catch_up()
        return [self.slot(name) for name in names]

    def clear(self) -> None:
        """Start anew; raises InUse where another process has the records open."""
        import fcntl

        try:
            fcntl.flock(self._records, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(self._records, fcntl.LOCK_SH)
            raise InUse from None
        os.ftruncate(self._index, 0)
        os.ftruncate(self._records, 0)
        self._sorted, self._later, self._damaged, self._seen = _NOTHING, {}, set(), 0
        fcntl.flock(self._records, fcntl.LOCK_SH)

    def close(self) -> None:
        """Let go of the files; garbage collection does the same."""
        self._close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        import fcntl

        fcntl.flock(self._index, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._index, fcntl.LOCK_UN)

    def _catch_up(self) -> None:
        """Take in what was appended since; an entry cut short by the end of its process does not count."""
        raw = b""
        count = os.fstat(self._index).st_size // _ENTRY.itemsize - self._seen
        if count > 0:
            raw = os.pread(self._index, count * _ENTRY.itemsize, self._seen * _ENTRY.itemsize)
        more = np.frombuffer(raw, _ENTRY)["name"].tolist()
        self._later.update(zip(more, range(self._seen, self._seen + len(more)), strict=True))
        self._seen += len(more)
        if len(self._later) > _FOLD + len(self._sorted[0]) // 8:
            added = (np.fromiter(self._later.keys(), np.int64), np.fromiter(self._later.values(), np.int64))
            names, slots = (np.concatenate(pair) for pair in zip(self._sorted, added, strict=True))
            order = np.lexsort((slots, names))
            self._sorted = names[order], slots[order]
            self._later = {}


def digest(record: Bytes, note: float) -> int:
    """64 bits that stand for a record's bytes and its number."""
    found = hashlib.blake2b(record.data, digest_size=8, salt=np.float64(note).tobytes()).digest()
    return int.from_bytes(found, "little", signed=True)


def remove(folder: Path) -> None:
    """Remove a folder of records; raises InUse where a process has them open."""
    import fcntl

    with (folder / RECORDS).open("rb") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse from None
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def _opened(folder: Path) -> tuple[int, int]:
    """Both files of a folder, made where they are not there, and held so that nobody removes them."""
    import fcntl

    while True:
        folder.mkdir(parents=True, exist_ok=True)
        files: list[int] = []
        try:
            for name in (RECORDS, INDEX):
                files.append(os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666))
            fcntl.flock(files[0], fcntl.LOCK_SH)
            if all(os.fstat(file).st_nlink for file in files):
                return files[0], files[1]
        except FileNotFoundError:  # removed in between
            pass
        except OSError:
            _closed(*files)
            raise
        _closed(*files)


def _closed(*files: int) -> None:
    for file in files:
        os.close(file)


def _write(file: int, content: memoryview, at: int) -> None:
    while content:
        written = os.pwrite(file, content, at)
        content, at = content[written:], at + written
