"""What all tests share: a cache of their own, a count of the bytes that tensors take, and runs of a second."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before torch is imported: tests run in as many processes as there are cores, so each has one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nearfar.api.run import Run
from nearfar.api.train import train
from nearfar.training.loader import Loader

TINY: dict[str, Any] = {
    "encoder": "small_cnn",
    "width": 8,
    "batch_size": 16,
    "steps": 6,
    "precision": "fp32",
    "threads": 1,
    "knn_every": 0.0,
}


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


@pytest.fixture(scope="session")
def tiny_settings() -> dict[str, Any]:
    """Settings of a run that takes a second."""
    return TINY


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Run]:
    """`nearfar.train` with tiny settings, into `run/`; `out` and all options can be given."""

    def run(data: Any = None, *, out: Any = None, **options: Any) -> Run:
        settings = {name: value for name, value in (TINY | options).items() if value is not None}
        return train(data, out=tmp_path / "run" if out is None else out, **settings)

    return run


@pytest.fixture
def unjudged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end with their last step: no evaluation, no report."""
    from nearfar.api import finish

    monkeypatch.setattr(finish, "finish", lambda *_, **__: finish.Finished(None, 0.0))


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`stop_at(step, how)`: let `how` happen as this step of the next run begins; Ctrl-C when not given."""
    get = Loader.get

    def set_up(step: int, how: Callable[[], None] = press_ctrl_c) -> None:
        def until(self: Any, number: int) -> Any:
            if number == step:
                monkeypatch.setattr(Loader, "get", get)
                how()
            return get(self, number)

        monkeypatch.setattr(Loader, "get", until)

    return set_up


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


class Killed(BaseException):
    """The process is gone: nothing is saved any more."""


def die() -> None:
    raise Killed


@pytest.fixture
def resumes(
    tiny: Callable[..., Run], tmp_path: Path, stop_at: Any, same_end: Any, unjudged: None
) -> Callable[..., Path]:
    """`resumes(data, **options)`: a run that is killed and resumed ends with the bits of one that never was.

    `at` is the step of the death; returns the run that was not killed.
    """

    def check(data: Any, *, at: int = 5, **options: Any) -> Path:
        settings = {"steps": 8, "checkpoint_every": 1e-6} | options
        whole = tiny(data, out=tmp_path / "whole", **settings)
        stop_at(at, die)
        with pytest.raises(Killed):
            tiny(data, out=tmp_path / "killed", **settings)
        train(out=tmp_path / "killed", resume=True)
        same_end(whole.path, tmp_path / "killed")
        return whole.path

    return check


@pytest.fixture
def same_end() -> Callable[[Path, Path], None]:
    """`same_end(one, other)`: two runs have equal weights and optimisers to the bit, and the same records."""
    from nearfar.training import checkpoint
    from nearfar.training.run_folder import RunFolder

    def ends(run: Path) -> Iterator[dict[str, Any]]:
        saved = checkpoint.latest(run / "checkpoint")
        assert saved is not None
        yield from (saved.weights, saved.optimizer)

    def records(run: Path) -> list[dict[str, Any]]:
        timed = ("seconds", "samples_per_second", "data_wait", "processor_wait")
        return [{k: v for k, v in record.items() if k not in timed} for record in RunFolder(run).metrics()]

    def check(one: Path, other: Path) -> None:
        for mine, theirs in zip(ends(one), ends(other), strict=True):
            assert mine.keys() == theirs.keys()
            for name, value in mine.items():
                assert torch.equal(value, theirs[name]), name
        assert records(one) == records(other)

    return check


@pytest.fixture(scope="session")
def browser():
    """The system's Chromium, started once."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((path for path in map(shutil.which, names) if path), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is on the PATH")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield found
        found.close()
