"""What all tests share: a cache of their own, and a count of the bytes that tensors take."""

from collections.abc import Iterator

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode


@pytest.fixture(scope="session", autouse=True)
def cache_apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a test decodes is kept in a folder of this session; commands that a test starts inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEARFAR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


class Peak(TorchDispatchMode):
    """The largest number of bytes of tensors made inside and alive at one time."""

    def __init__(self):
        super().__init__()
        self.alive, self.peak = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.alive[storage.data_ptr()] = (
                    torch.multiprocessing.reductions.StorageWeakRef(storage),
                    len(storage),
                )
        self.alive = {at: (ref, size) for at, (ref, size) in self.alive.items() if not ref.expired()}
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return out


@pytest.fixture
def peak_bytes():
    """`peak_bytes(f)`: the most bytes of tensors that f() makes and holds at one time."""
    # Tensors made on other threads would not be counted.
    before = torch.get_num_threads()
    torch.set_num_threads(1)

    def count(f):
        with Peak() as counter:
            f()
        return counter.peak

    yield count
    torch.set_num_threads(before)
