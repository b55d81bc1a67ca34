"""Losses that gather over two processes, of unequal batches, against one process that has all samples."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nearfar import losses as L
from tests.losses.ranks import COUNTS, IDS, LOSSES, OF_CODES, results
from tests.losses.table import embeddings

EACH = [slice(0, 3), slice(3, 8)]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of the two processes found."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "tests.losses.ranks", str(folder)]
    root = Path(__file__).parents[2]
    ranks = [
        subprocess.Popen([*command, str(rank)], cwd=root, stderr=subprocess.PIPE, text=True)
        for rank in range(len(COUNTS))
    ]
    for rank in ranks:
        _, errors = rank.communicate(timeout=120)
        assert rank.returncode == 0, errors
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(len(COUNTS))]


@pytest.fixture(scope="module")
def z():
    return embeddings(sum(COUNTS), 8)


@pytest.mark.parametrize("name", LOSSES)
def test_the_mean_over_processes_is_the_loss_of_all_samples_with_its_gradient(name, found, z):
    """DistributedDataParallel takes the mean of gradients over processes."""
    value, *grads = results(LOSSES[name], z, IDS)
    mine = [rank[name] for rank in found]
    torch.testing.assert_close(sum(part[0] for part in mine) / 2, value, rtol=1e-12, atol=1e-12)
    for part, own in zip(mine, EACH, strict=True):
        for grad, expected in zip(part[1:], grads, strict=True):
            torch.testing.assert_close(grad / 2, expected[own], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", OF_CODES)
def test_codes_are_those_of_the_samples_of_all_processes(name, found, z):
    value, *grads = results(OF_CODES[name], z)
    mine = [rank[name] for rank in found]
    total = sum(count * part[0] for count, part in zip(COUNTS, mine, strict=True)) / sum(COUNTS)
    torch.testing.assert_close(total, value, rtol=1e-12, atol=1e-12)
    for part, own, count in zip(mine, EACH, COUNTS, strict=True):
        for grad, expected in zip(part[1:], grads, strict=True):
            torch.testing.assert_close(grad * count / sum(COUNTS), expected[own], rtol=1e-9, atol=1e-12)


def test_a_centre_moves_by_the_mean_over_processes(found, z):
    centres = []
    for own in EACH:
        loss = L.DINOLoss(8).double()
        loss([x.detach()[own] for x in z[:2]], [x.detach()[own] for x in z])
        centres.append(loss.center)
    assert torch.equal(found[0]["centre"][0], found[1]["centre"][0])
    torch.testing.assert_close(found[0]["centre"][0], sum(centres) / 2)
