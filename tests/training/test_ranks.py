"""Any number of ranks, with gradient caching or without, makes the steps that one process alone makes.

The one exhaustive layer for all methods: losses, gradients, weights, queues and centres of several steps.
"""

import functools
import os
import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor

import nearfar
from nearfar import torchrun
from nearfar.contract import Latents, Views
from nearfar.errors import DataError
from nearfar.training import failures
from nearfar.training.ranks import ALONE, OutOfMemory, Shares
from tests.training import together

ROOT = Path(nearfar.__file__).parents[2]


def start(program: Sequence[str], world: int) -> list[subprocess.CompletedProcess[str]]:
    """Run a program as so many ranks, as torchrun would start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world), "OMP_NUM_THREADS": "1"}
    started = []
    for rank in range(world):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(world)}
        environment = os.environ | shared | own | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
        started.append(
            subprocess.Popen(
                [sys.executable, *program], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True,
            )
        )  # fmt: skip
    said = [process.communicate(timeout=300)[0] for process in started]
    return [
        subprocess.CompletedProcess(program, process.returncode, text)
        for process, text in zip(started, said, strict=True)
    ]


@functools.cache
def alone(name: str) -> dict[str, Tensor]:
    """What one process makes of a case, in one piece."""
    return together.train(together.cases()[name])


@pytest.fixture(scope="module", params=[2, 3])
def ranks_made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    """Files that all ranks of a world wrote: one start for all cases."""
    folder = tmp_path_factory.mktemp(f"world-{request.param}")
    for done in start(["-m", "tests.training.together", str(folder)], request.param):
        assert done.returncode == 0, done.stdout
    return request.param, folder


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], what: str) -> None:
    assert found.keys() == expected.keys(), what
    for key, value in expected.items():
        torch.testing.assert_close(
            found[key], value, rtol=1e-9, atol=1e-11, msg=lambda text, key=key: f"{what}, {key}: {text}"
        )


@pytest.mark.parametrize("name", list(together.cases()))
def test_gradient_caching_alone_changes_nothing(name: str) -> None:
    assert_same(together.train(together.cases()[name], micro_batch=together.CACHED), alone(name), "cached")


@pytest.mark.parametrize("name", list(together.cases()))
def test_ranks_together_equal_one_alone(ranks_made: tuple[int, Path], name: str) -> None:
    """Plain and with gradient caching, gathered and, where a method can, on a ring."""
    world, folder = ranks_made
    number = list(together.cases()).index(name)
    for micro_batch, gather, rank in product((None, together.CACHED), together.gathers(name), range(world)):
        found = load_file(folder / f"{number}-{micro_batch}-{gather}-{rank}.safetensors")
        assert_same(found, alone(name), f"micro-batch {micro_batch}, {gather}, rank {rank}")


@pytest.mark.parametrize("name", list(together.cases()))
def test_a_case_learns_something(name: str) -> None:
    found = alone(name)
    gradients = [value for key, value in found.items() if key.startswith("grad encoder")]
    assert gradients
    assert all(bool(value.isfinite().all()) for value in gradients)
    assert sum(float(value.abs().sum()) for value in gradients) > 0


def test_a_ring_is_for_some_methods() -> None:
    ringed = [name for name in together.cases() if "ring" in together.gathers(name)]
    assert ringed == ["simclr", "infonce", "densecl", "clip", "siglip", "moco, v3"]


def test_shares_say_whose_rows_are_whose() -> None:
    shares = Shares((6, 0, 5), 2)
    assert shares.samples == 11
    assert shares.rows == slice(6, 11)
    assert Shares((6, 0, 5), 1).rows == slice(6, 6)


def test_alone_every_answer_is_ones_own() -> None:
    x = torch.randn(2, 3)
    assert ALONE.broadcast_numbers(0.5, 1) == (0.5, 1)
    assert ALONE.broadcast({"a": 1}) == {"a": 1}
    assert ALONE.any(True)
    assert not ALONE.any(False)
    assert ALONE.gather_objects([1, 2]) == [1, 2]
    assert ALONE.on_first(lambda: 7) == 7
    assert ALONE.shares(5) == Shares((5,))
    assert Shares((3,)).gather(x, 1) is x
    assert Shares((3,)).reduce_scatter(x, 1) is x


def test_memory_that_runs_out_is_known_and_other_errors_pass() -> None:
    with pytest.raises(OutOfMemory), ALONE.together():
        raise MemoryError
    with pytest.raises(RuntimeError, match="shapes"), ALONE.together():
        raise RuntimeError("shapes do not fit")
    with pytest.raises(DataError), ALONE.together():
        raise DataError("no such file")


@pytest.mark.parametrize("ranks_made", [2], indirect=True)
def test_synchronised_norms_are_those_of_one_process(ranks_made: tuple[int, Path]) -> None:
    _, folder = ranks_made
    expected = together.normalised(ALONE, None)
    for rank in range(2):
        assert_same(load_file(folder / f"norm-None-{rank}.safetensors"), expected, f"rank {rank}")


@pytest.mark.parametrize("ranks_made", [2], indirect=True)
def test_synchronised_norms_of_pieces_are_those_of_the_ranks_pieces(ranks_made: tuple[int, Path]) -> None:
    """In two pieces of 3 and 3, 2 and 3 samples: as one graph of the pieces that meet."""
    _, folder = ranks_made
    method = together.made("simclr").train()
    x, batch = together.drawn(0, 2)
    at = [torch.tensor(rows) for rows in ([0, 1, 2, 6, 7], [3, 4, 5, 8, 9, 10])]
    views = [Views(lambda i, a, b, rows=rows: x[i, rows][a:b], range(2), 0, len(rows), 2) for rows in at]
    z = torch.cat([method.embed(some)["z"] for some in views], 1)[:, torch.cat(at).argsort()]
    method.loss(Latents(z=z), batch).total.backward()
    for rank in range(2):
        found = load_file(folder / f"norm-3-{rank}.safetensors")
        for key, value in method.named_parameters():
            assert value.grad is not None
            torch.testing.assert_close(found[f"grad {key}"], value.grad, rtol=1e-9, atol=1e-11)


def test_a_rank_that_fails_alone_says_why_and_the_launcher_ends_with_it() -> None:
    launcher = ["torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-m", *launcher, "-m", "tests.training.failing"], cwd=ROOT, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    ours = sorted(line for line in done.stdout.splitlines() if line.startswith("nearfar: "))
    assert len(ours) == 2, done.stdout
    assert ours[0].startswith("nearfar: Rank 1 of 2 failed: KeyError: 'weights'. What was saved is kept")
    assert ours[1].startswith("nearfar: rank 1 of 2: sorry, this should not have happened: KeyError: 'weights'")
    assert re.search("traceback : .*ank 1 of 2.* KeyError: 'weights'", done.stdout.rpartition("Root Cause")[2])


def failed(*errors: tuple[int, Exception]) -> tuple[list[str | None], str]:
    """Which ranks of two speak where these fail in turn, and what one that lost them says."""
    store = dist.HashStore()
    places = [torchrun.Place(rank, 2) for rank in range(2)]
    for rank, error in errors:
        failures.tell(error, store, places[rank])
    return [torchrun.marked(error) for _, error in errors], str(failures.lost(store, places[0]))


def test_errors_that_all_ranks_have_are_said_by_the_first_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_PATIENCE", 0.1)
    spoken, _ = failed((0, DataError("nothing there")), (1, DataError("nothing there")))
    assert spoken == [None, None]
    spoken, said = failed((1, DataError("shard 7 is\nnot here.")))
    assert spoken == ["rank 1 of 2"]
    assert said.startswith("Rank 1 of 2 failed: shard 7 is not here. What was saved is kept")
    spoken, said = failed((1, OSError("disk")), (0, DataError("other")))
    assert spoken == ["rank 1 of 2", None]
    assert "failed: OSError: disk." in said
    assert failed((0, KeyError("x")))[0] == ["rank 0 of 2"]
    assert failed()[1].startswith("Another of the 2 ranks is gone. What was saved")
