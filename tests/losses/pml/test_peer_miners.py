"""Miners, distances and reducers beside the peer's, one by one."""

import inspect
import itertools

import pytest
import torch

STRATEGIES = [
    pair
    for pair in itertools.product(("hard", "semihard", "easy", "all"), repeat=2)
    if "semihard" not in pair or not {*pair} <= {"semihard", "all"}
]
RANGES = {"allowed_pos_range": (0.2, 0.9), "allowed_neg_range": (0.3, 1.3)}
MINERS = [
    ("BatchHardMiner", {}),
    ("PairMarginMiner", {}),
    ("PairMarginMiner", {"pos_margin": 0.5, "neg_margin": 1.1}),
    ("MultiSimilarityMiner", {}),
    ("MultiSimilarityMiner", {"epsilon": 0.5}),
    *(("TripletMarginMiner", {"type_of_triplets": kind, "margin": m})
      for kind in ("all", "hard", "semihard", "easy") for m in (0.1, 0.4)),
    *(("BatchEasyHardMiner", {"pos_strategy": p, "neg_strategy": n, **more})
      for p, n in STRATEGIES for more in ({}, RANGES)),
]  # fmt: skip
DISTANCES = {
    "default": lambda side: {},
    "cosine": lambda side: {"distance": side.distances.CosineSimilarity()},
    "euclidean": lambda side: {"distance": side.distances.LpDistance()},
    "raw dot product": lambda side: {"distance": side.distances.DotProductSimilarity(normalize_embeddings=False)},
    "signal to noise": lambda side: {"distance": side.distances.SNRDistance()},
}


@pytest.mark.parametrize(("name", "settings"), MINERS)
def test_miners_find_the_peers_tuples_in_its_order(name, settings, batch, ours, peer):
    (z, labels), (other, other_labels) = batch(24), batch(31, seed=1)
    ways = [
        (z, labels),
        (z, labels, other, other_labels),
        (z, torch.arange(24)),
        (z, torch.zeros_like(labels)),
    ]
    if name != "MultiSimilarityMiner":  # see test_differences.py
        ways.append((z, labels, other[:24], labels))
    for distance, way in itertools.product(DISTANCES.values(), ways):
        mine, theirs = (getattr(side.miners, name)(**settings, **distance(side)) for side in (ours, peer))
        for ours_found, theirs_found in zip(mine(*way), theirs(*way), strict=True):
            assert torch.equal(ours_found, theirs_found)


def test_distance_weighted_triplets_are_as_many_and_as_likely_as_the_peers(ours, peer):
    torch.manual_seed(0)
    z = torch.randn(12, 3, dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 4])
    counts = []
    for side in (ours, peer):
        miner, drawn = side.miners.DistanceWeightedMiner(), torch.zeros(3, 12)
        for _ in range(200):
            found = miner(z, labels)
            drawn += torch.stack([torch.bincount(part, minlength=12) for part in found])
            anchors = torch.bincount(found[0], minlength=12)
        counts.append((anchors, drawn / drawn[0].sum()))
    assert torch.equal(counts[0][0], counts[1][0])
    assert (counts[0][1] - counts[1][1]).abs().max() < 0.025


@pytest.mark.parametrize("each", [1, 4])
def test_triplets_drawn_for_each_anchor_are_as_many_as_the_peers(each, batch, ours, peer):
    z, labels = batch(30)
    losses = [
        side.losses.TripletMarginLoss(triplets_per_anchor=each, reducer=side.reducers.DoNothingReducer())(z, labels)
        for side in (ours, peer)
    ]
    anchors, theirs = (torch.bincount(found["loss"]["indices"][0], minlength=30) for found in losses)
    assert torch.equal(anchors, theirs)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("CosineSimilarity", {}), ("CosineSimilarity", {"power": 2}), ("DotProductSimilarity", {}),
        ("DotProductSimilarity", {"normalize_embeddings": False}), ("LpDistance", {}), ("LpDistance", {"power": 2}),
        ("LpDistance", {"p": 1}), ("LpDistance", {"p": 3, "normalize_embeddings": False}), ("SNRDistance", {}),
    ],
)  # fmt: skip
def test_distances_are_the_peers(name, settings, batch, ours, peer):
    z, other = batch()[0], batch(40, seed=1)[0]
    mine, theirs = (getattr(side.distances, name)(**settings) for side in (ours, peer))
    for args in ((z, other), (z,)):
        torch.testing.assert_close(mine(*args), theirs(*args), rtol=1e-9, atol=1e-7 if len(args) == 1 else 1e-11)
    assert mine.is_inverted == theirs.is_inverted
    assert mine.margin(0.3, 0.1) == theirs.margin(0.3, 0.1)
    assert torch.equal(mine.smallest_dist(z, dim=1)[1], theirs.smallest_dist(z, dim=1)[1])
    assert torch.equal(mine.largest_dist(z, dim=1)[1], theirs.largest_dist(z, dim=1)[1])
    torch.testing.assert_close(mine.normalize(z), theirs.normalize(z))
    torch.testing.assert_close(mine.get_norm(z), theirs.get_norm(z))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("MeanReducer", {}), ("SumReducer", {}), ("AvgNonZeroReducer", {}), ("ThresholdReducer", {"low": 0.2}),
        ("ThresholdReducer", {"low": -0.2, "high": 0.5}), ("ThresholdReducer", {"low": 9}), ("DivisorReducer", {}),
        ("ClassWeightedReducer", {"weights": torch.tensor([1.0, 3.0, 0.0])}), ("PerAnchorReducer", {}),
        ("PerAnchorReducer", {"aggregation_func": lambda x, counts: x.sum(1) / (counts + 1)}),
        ("MultipleReducers", {"reducers": {}}),
    ],
)  # fmt: skip
def test_reducers_are_the_peers(name, settings, ours, peer):
    for kind in ("element", "pos_pair", "neg_pair", "triplet", "already_reduced", "nothing"):
        if name != "PerAnchorReducer" or kind != "triplet":  # neither reduces triplets by anchor
            check_reducer(name, settings, kind, ours, peer)


def check_reducer(name, settings, kind, ours, peer):
    torch.manual_seed(0)
    z, labels, losses = torch.randn(6, 2).double(), torch.tensor([0, 0, 1, 1, 2, 2]), torch.randn(9).double()
    anchors, others = torch.tensor([[0, 1], [0, 2], [1, 0], [1, 5], [2, 3], [2, 0], [3, 4], [5, 0], [5, 4]]).T
    indices = {"element": anchors, "triplet": (anchors, others, others)}.get(kind, (anchors, others))
    entry = {"losses": losses, "indices": indices, "reduction_type": kind, "divisor": 4}
    if kind in ("already_reduced", "nothing"):
        value = losses[0] if kind == "already_reduced" else 0
        entry = {"losses": value, "indices": None, "reduction_type": "already_reduced"}
    values = [getattr(side.reducers, name)(**settings)({"loss": dict(entry)}, z, labels) for side in (ours, peer)]
    torch.testing.assert_close(*values, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("part", ["losses", "miners", "reducers", "distances"])
def test_every_name_is_the_peers_with_its_arguments_and_defaults(part, ours, peer):
    modules = {name for name, kind in vars(getattr(ours, part)).items() if inspect.isclass(kind) and is_module(kind)}
    names = modules & set(dir(getattr(peer, part)))
    assert modules - names <= {"BaseMetricLossFunction"}  # which is not at the same place there
    for name in names - {"BaseMiner"}:
        mine, theirs = (arguments(getattr(getattr(side, part), name)) for side in (ours, peer))
        assert {key: mine[key] for key in theirs.keys() - SET_WITHIN} == {
            key: theirs[key] for key in theirs.keys() - SET_WITHIN
        }, name


# What the peer's own classes pass to their bases, and a mean that is a function there and None here.
SET_WITHIN = {"mat_based_loss", "aggregation_func"}


def is_module(kind):
    return issubclass(kind, torch.nn.Module)


def arguments(kind):
    """Names and defaults of what a class is built from, those of its bases where it passes keywords on."""
    found = {}
    for base in kind.__mro__:
        if base.__module__.startswith("torch"):
            break
        for key, parameter in inspect.signature(base.__init__).parameters.items() if "__init__" in vars(base) else ():
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) and key != "self":
                found.setdefault(key, parameter.default)
    return found
