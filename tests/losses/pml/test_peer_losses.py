"""Losses of pairs and triplets beside the peer's: values and gradients, by labels and by index tuples."""

import pytest
import torch

LOSSES = {
    "ContrastiveLoss": [{}, {"pos_margin": 0.1, "neg_margin": 0.8}],
    "NTXentLoss": [{}, {"temperature": 0.5}],
    "SupConLoss": [{}, {"temperature": 0.3}],
    "MultiSimilarityLoss": [{}, {"alpha": 1.5, "beta": 10, "base": 0.2}],
    "CircleLoss": [{}, {"m": 0.25, "gamma": 32}],
    "TripletMarginLoss": [{}, {"margin": 0.3, "smooth_loss": True}, {"margin": 0.2, "swap": True}],
}
DISTANCES = {
    "default": lambda side: None,
    "cosine": lambda side: side.distances.CosineSimilarity(),
    "euclidean": lambda side: side.distances.LpDistance(),
    "squared": lambda side: side.distances.LpDistance(power=2),
    "raw euclidean": lambda side: side.distances.LpDistance(normalize_embeddings=False),
    "city block": lambda side: side.distances.LpDistance(p=1),
    "raw dot product": lambda side: side.distances.DotProductSimilarity(normalize_embeddings=False),
    "signal to noise": lambda side: side.distances.SNRDistance(),
}
REDUCERS = {
    "default": lambda side: None,
    "mean": lambda side: side.reducers.MeanReducer(),
    "sum": lambda side: side.reducers.SumReducer(),
    "threshold": lambda side: side.reducers.ThresholdReducer(low=0.05, high=2.0),
    "above zero": lambda side: side.reducers.AvgNonZeroReducer(),
    "per anchor": lambda side: side.reducers.PerAnchorReducer(),
    "per anchor above zero": lambda side: side.reducers.PerAnchorReducer(side.reducers.AvgNonZeroReducer()),
    "class weighted": lambda side: side.reducers.ClassWeightedReducer(torch.linspace(0.1, 1, 10)),
}


@pytest.fixture
def ways(batch, peer):
    """Everything that a loss may be called with, by name: (args, kwargs)."""
    (z, labels), (other, other_labels) = batch(), batch(23, seed=1)
    references = {"ref_emb": other, "ref_labels": other_labels}
    triplets = peer.miners.TripletMarginMiner(margin=0.3)
    pairs = peer.miners.PairMarginMiner(pos_margin=0.4, neg_margin=1.2)
    return {
        "labels": ((z, labels), {}),
        "singletons": ((z, torch.arange(len(z))), {}),
        "one class": ((z, torch.zeros_like(labels)), {}),
        "two": ((z[:2], torch.tensor([3, 3])), {}),
        "references": ((z, labels), references),
        "two views of one labels": ((z, labels), {"ref_emb": other[: len(z)], "ref_labels": labels}),
        "itself as reference": ((z, labels), {"ref_emb": z.flip(0), "ref_labels": labels.clone()}),
        "negative labels": ((z, labels - 2), {}),
        "pairs": ((z, labels, pairs(z, labels)), {}),
        "triplets": ((z, labels, triplets(z, labels)), {}),
        "pairs without labels": ((z, None, pairs(z, labels)), {}),
        "pairs among references": ((z, labels, pairs(z, labels, other, other_labels)), references),
        "triplets among references": ((z, labels, triplets(z, labels, other, other_labels)), references),
        "triplets among references without labels": (
            (z, labels, triplets(z, labels, other, other_labels)),
            {"ref_emb": other},
        ),
        "no pairs": ((z, labels, (torch.zeros(0, dtype=torch.long),) * 4), {}),
    }


def apart(name, settings, reducer, way):
    """Where the two are not meant to agree: see `test_differences.py`."""
    by_pair, indexed = name in ("ContrastiveLoss", "NTXentLoss"), "triplets" in way or "references" in way
    return (
        (settings.get("swap") and ("reference" in way or "views" in way))
        or (by_pair and reducer.startswith("per anchor") and indexed)
        or (name in ("CircleLoss", "MultiSimilarityLoss") and reducer == "class weighted")
        or (name == "MultiSimilarityLoss" and reducer.endswith("above zero"))
    )


def unable(name, reducer, way):
    """What neither can do: reduce triplets by anchor, weigh classes that have no weight."""
    no_weight = way in ("singletons", "negative labels", "pairs without labels")
    return (name == "TripletMarginLoss" and "anchor" in reducer) or (reducer == "class weighted" and no_weight)


@pytest.mark.parametrize(
    ("name", "settings", "distance"),
    [
        (name, settings, distance)
        for name, every in LOSSES.items()
        for settings in every
        for distance in (("default", "cosine") if name == "CircleLoss" else DISTANCES)
    ],
)
def test_values_and_gradients_are_the_peers(name, settings, distance, ways, same_value_and_gradients):
    for reducer in REDUCERS if distance == "default" else ("default", "sum"):

        def make(side, reducer=reducer):
            kwargs = {"distance": DISTANCES[distance](side), "reducer": REDUCERS[reducer](side)}
            return getattr(side.losses, name)(**settings, **kwargs)

        for way, (args, kwargs) in ways.items():
            if not (apart(name, settings, reducer, way) or unable(name, reducer, way)):
                same_value_and_gradients(make, *args, **kwargs)
