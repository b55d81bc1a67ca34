"""What is held at one time: nothing of the size of all pairs by labels, and no more than what is listed else."""

import pytest
import torch


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr("nearfar.kernels.rows._ENTRIES", 2**17)
    monkeypatch.setattr("nearfar.kernels.tiled._EDGE", {"cpu": 256})


LOSSES = ("CircleLoss", "ContrastiveLoss", "MultiSimilarityLoss", "NPairsLoss", "NTXentLoss", "SupConLoss")


def batch(n):
    return torch.randn(n, 8, requires_grad=True), torch.arange(n) // 4


@pytest.mark.parametrize("name", LOSSES)
def test_all_pairs_of_labels_are_never_held(name, ours, peak_bytes):
    loss = getattr(ours.losses, name)()

    def peak(n):
        z, labels = batch(n)
        return peak_bytes(lambda: loss(z, labels).backward())

    small = 3072 if name == "NPairsLoss" else 1152  # of which a quarter is compared
    assert peak(2 * small) < 2.2 * peak(small)


def test_all_triplets_of_labels_are_never_held(ours, peak_bytes):
    z = torch.randn(256, 8, requires_grad=True)
    triplets = 256 * 63 * 192
    loss = ours.losses.TripletMarginLoss()
    assert peak_bytes(lambda: loss(z, torch.arange(256) // 64).backward()) < 4 * triplets


@pytest.mark.parametrize("name", ["NTXentLoss", "SupConLoss", "TripletMarginLoss"])
def test_comparing_with_a_memory_is_linear_in_its_size(name, ours, peak_bytes):
    def peak(size):
        z, labels = batch(size)[0], torch.arange(size) % 2
        memory = ours.losses.CrossBatchMemory(getattr(ours.losses, name)(), 8, size)
        memory(z.detach(), labels)
        return peak_bytes(lambda: memory(z[:64], labels[:64]).backward())

    assert peak(2048) < 2.2 * peak(1024)


@pytest.mark.parametrize("name", ["ContrastiveLoss", "NTXentLoss", "SupConLoss", "TripletMarginLoss"])
def test_listed_tuples_are_held_and_not_pairs_by_negatives(name, ours, peak_bytes):
    loss = getattr(ours.losses, name)()

    def peak(n):
        z, labels = batch(n)
        found = ours.miners.BatchHardMiner()(z, labels)
        return peak_bytes(lambda: loss(z, labels, found).backward())

    assert peak(2048) < 1.3 * peak(1024)


@pytest.mark.parametrize("miner", ["BatchHardMiner", "PairMarginMiner", "TripletMarginMiner"])
def test_miners_hold_a_block_of_distances_and_what_they_find(miner, ours, peak_bytes):
    settings = {
        "TripletMarginMiner": {"type_of_triplets": "semihard", "margin": 1e-4},
        "PairMarginMiner": {"pos_margin": 1.9, "neg_margin": 0.01},
    }

    def peak(n):
        z, labels = batch(n)
        return peak_bytes(lambda: getattr(ours.miners, miner)(**settings.get(miner, {}))(z, labels))

    assert peak(2048) < 1.5 * peak(1024)
