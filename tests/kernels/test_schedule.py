"""Tiles cover what they should, and threads change neither the result nor torch's own settings."""

import itertools
import os
import signal
import threading
import time

import pytest
import torch

from nearfar.kernels.pairs import Pairs
from nearfar.kernels.schedule import oblong_tiles, run, square_tiles
from nearfar.kernels.tiled import tiled_lse


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def cells(tile):
    return itertools.product(range(tile.rows.start, tile.rows.stop), range(tile.columns.start, tile.columns.stop))


@pytest.mark.parametrize("n", [0, 1, 5, 8, 21])
def test_square_tiles_and_their_mirrors_cover_each_pair_once(n):
    covered = [cell for tile in square_tiles(n, 4) for cell in cells(tile)]
    covered += [(j, i) for tile in square_tiles(n, 4) if tile.mirrored for i, j in cells(tile)]
    assert sorted(covered) == list(itertools.product(range(n), range(n)))


@pytest.mark.parametrize(("m", "n"), [(0, 3), (3, 0), (1, 9), (9, 1), (10, 21)])
def test_oblong_tiles_cover_each_pair_once(m, n):
    covered = [cell for tile in oblong_tiles(m, n, 4, 3) for cell in cells(tile)]
    assert sorted(covered) == list(itertools.product(range(m), range(n)))


@pytest.mark.parametrize("symmetric", [True, False])
def test_tiles_sharing_an_accumulator_run_in_the_order_of_the_list(symmetric, four_threads):
    tiles = square_tiles(40, 4) if symmetric else oblong_tiles(40, 24, 4, 4)
    seen, lock = {}, threading.Lock()

    def work(tile):
        time.sleep(0.0005 * (tile.rows.start % 3))
        with lock:
            for key in set(tile.keys(symmetric)):
                seen.setdefault(key, []).append(tile)

    run(tiles, [work] * 4, symmetric=symmetric)
    expected = {key: [t for t in tiles if key in t.keys(symmetric)] for key in seen}
    assert seen == expected


def test_results_do_not_depend_on_threads(four_threads):
    z = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))

    def once():
        leaf = z.clone().requires_grad_()
        lse = tiled_lse(leaf, None, torch.tensor(9.0), None, Pairs(0), columns=False, edge=16)[0]
        lse.sum().backward()
        return lse.detach(), leaf.grad

    many = [once() for _ in range(5)]
    torch.set_num_threads(1)
    alone = once()
    assert all(lse.equal(alone[0]) and grad.equal(alone[1]) for lse, grad in many)


def test_an_error_in_one_thread_reaches_the_caller(four_threads):
    def work(tile):
        if tile.rows.start == 8:
            raise ValueError("in a thread")

    with pytest.raises(ValueError, match="in a thread"):
        run(square_tiles(40, 4), [work] * 4, symmetric=True)
    assert torch.get_num_threads() == 4


def test_the_number_of_threads_and_denormals_are_as_before(four_threads):
    run(square_tiles(40, 4), [lambda tile: None] * 4, symmetric=True)
    assert torch.get_num_threads() == 4
    assert (torch.tensor(1e-40) * 1).item() != 0


def test_sweeps_at_the_same_time_do_not_wait_for_each_other(four_threads):
    done, begun = [], threading.Barrier(3)

    def sweep():
        counted = itertools.count()
        begun.wait()
        run(square_tiles(40, 4), [lambda tile: next(counted)] * 4, symmetric=True)
        done.append(next(counted))

    others = [threading.Thread(target=sweep) for _ in range(3)]
    for other in others:
        other.start()
    for other in others:
        other.join(timeout=30)
    assert done == [len(square_tiles(40, 4))] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
def test_a_forked_process_has_threads_of_its_own(four_threads):
    run(square_tiles(40, 4), [lambda tile: None] * 4, symmetric=True)
    child = os.fork()
    if child == 0:
        run(square_tiles(40, 4), [lambda tile: None] * 4, symmetric=True)
        os._exit(7)
    deadline = time.monotonic() + 30
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    if ended[0] == 0:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(ended[1]) == 7
