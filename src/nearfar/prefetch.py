"""The next work is begun in a thread while the present result is used."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import torch

Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found")


class Prefetcher(Generic[Key, Found]):
    """Calls `fetch(key)` in one thread, ahead of being asked for; close it, or use it as a context."""

    def __init__(self, fetch: Callable[[Key], Found]) -> None:
        self._fetch = fetch
        # One thread for its tensor operations too: a second team of threads beside the caller's, on the same cores,
        # makes every training step a fifth slower.
        self._pool = ThreadPoolExecutor(1, "nearfar-prefetch", initializer=torch.set_num_threads, initargs=(1,))
        self._ahead: dict[Key, Future[Found]] = {}

    def get(self, key: Key, following: Sequence[Key] = ()) -> Found:
        """The result of a key; the `following` ones are begun, and others that were begun are given up."""
        future = self._begun(key)
        ahead = {k: self._begun(k) for k in following}
        for dropped in self._ahead.values():
            dropped.cancel()
        self._ahead = ahead
        return future.result()

    def _begun(self, key: Key) -> Future[Found]:
        return self._ahead.pop(key) if key in self._ahead else self._pool.submit(self._fetch, key)

    def walk(self, keys: Sequence[Key], ahead: int = 2) -> Iterator[Found]:
        """The results of keys in order, `ahead` of them begun before they are asked for."""
        for i, key in enumerate(keys):
            yield self.get(key, keys[i + 1 : i + 1 + ahead])

    def close(self) -> None:
        """Wait for what is running, and give up the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> "Prefetcher[Key, Found]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
