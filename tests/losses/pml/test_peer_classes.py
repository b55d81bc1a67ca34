"""Losses against one vector a class, N-pairs, VICReg and the wrappers beside the peer's: values and gradients."""

import itertools

import pytest
import torch

CLASS_LOSSES = {
    "ArcFaceLoss": [{}, {"margin": 70, "scale": 8}],
    "CosFaceLoss": [{}, {"margin": 0.1, "scale": 8}],
    "NormalizedSoftmaxLoss": [{}, {"temperature": 0.5}],
    "ProxyNCALoss": [{}, {"softmax_scale": 8}],
    "ProxyAnchorLoss": [{}, {"margin": 0.3, "alpha": 8}],
}
DISTANCES = {
    "default": lambda side: None,
    "cosine": lambda side: side.distances.CosineSimilarity(),
    "euclidean": lambda side: side.distances.LpDistance(),
    "raw dot product": lambda side: side.distances.DotProductSimilarity(normalize_embeddings=False),
}
REDUCERS = {
    "default": lambda side: None,
    "mean": lambda side: side.reducers.MeanReducer(),
    "sum": lambda side: side.reducers.SumReducer(),
    "threshold": lambda side: side.reducers.ThresholdReducer(high=3.0),
    "per anchor": lambda side: side.reducers.PerAnchorReducer(),
    "class weighted": lambda side: side.reducers.ClassWeightedReducer(torch.linspace(0.1, 1, 10)),
    "divisor": lambda side: side.reducers.DivisorReducer(),
}
PAIR_LOSSES = (
    "CircleLoss", "ContrastiveLoss", "MultiSimilarityLoss", "NTXentLoss", "SupConLoss", "TripletMarginLoss",
)  # fmt: skip


@pytest.fixture
def classes(batch):
    z, labels = batch(20)
    return z, labels % 5  # of six: one has no sample


@pytest.fixture
def ways(classes, peer):
    empty = (torch.zeros(0, dtype=torch.long),) * 3
    found = (peer.miners.TripletMarginMiner(margin=0.3), peer.miners.MultiSimilarityMiner())
    return [classes, (*classes, empty), *((*classes, miner(*classes)) for miner in found)]


@pytest.mark.parametrize(("name", "settings"), [(name, s) for name, every in CLASS_LOSSES.items() for s in every])
def test_class_losses_are_the_peers(name, settings, ways, same_value_and_gradients):
    distances = ("cosine",) if name in ("ArcFaceLoss", "CosFaceLoss") else DISTANCES  # the former take no other
    for distance, reducer in itertools.product(distances, REDUCERS):
        if reducer == "divisor" and name != "ProxyAnchorLoss":
            continue  # no other names its divisor

        def make(side, distance=distance, reducer=reducer):
            kwargs = {"distance": DISTANCES[distance](side), "reducer": REDUCERS[reducer](side)}
            return getattr(side.losses, name)(num_classes=6, embedding_size=7, **settings, **kwargs)

        for args in ways:
            same_value_and_gradients(make, *args)


@pytest.mark.parametrize("name", CLASS_LOSSES)
def test_class_vectors_start_and_are_saved_as_the_peers(name, ours, peer):
    states = []
    for side in (ours, peer):
        torch.manual_seed(3)
        states.append(getattr(side.losses, name)(num_classes=4, embedding_size=5).state_dict())
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key])


@pytest.mark.parametrize("name", CLASS_LOSSES)
def test_logits_are_the_peers(name, classes, ours, peer):
    logits = []
    for side in (ours, peer):
        torch.manual_seed(3)
        logits.append(getattr(side.losses, name)(num_classes=6, embedding_size=7).double().get_logits(classes[0]))
    torch.testing.assert_close(*logits, rtol=1e-12, atol=1e-12)


def test_regularizers_of_vectors_and_embeddings_are_added_as_the_peers(classes, same_value_and_gradients):
    def make(side):
        weighed = {"weight_regularizer": lambda w: w.norm(dim=1).mean(), "weight_reg_weight": 0.3}
        added = {"embedding_regularizer": lambda z: z.square().mean(), "embedding_reg_weight": 2}
        return side.losses.ProxyAnchorLoss(num_classes=6, embedding_size=7, **weighed, **added)

    same_value_and_gradients(make, *classes)


@pytest.mark.parametrize("distance", DISTANCES)
def test_n_pairs_is_the_peers(distance, ways, same_value_and_gradients):
    for reducer in REDUCERS.keys() - {"divisor"}:

        def make(side, reducer=reducer):
            return side.losses.NPairsLoss(distance=DISTANCES[distance](side), reducer=REDUCERS[reducer](side))

        for args in (*ways, (ways[0][0], torch.arange(20))):
            if reducer != "class weighted" or len(args) > 2:
                same_value_and_gradients(make, *args)


@pytest.mark.parametrize("settings", [{}, {"invariance_lambda": 10, "variance_mu": 3, "covariance_v": 2, "eps": 1e-3}])
def test_vicreg_is_the_peers(settings, batch, same_value_and_gradients):
    z, other = batch()[0], batch(seed=1)[0]
    same_value_and_gradients(lambda side: side.losses.VICRegLoss(**settings), z, ref_emb=0.3 * other)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_self_supervised_losses_are_the_peers(name, symmetric, batch, same_value_and_gradients):
    def make(side):
        return side.losses.SelfSupervisedLoss(getattr(side.losses, name)(), symmetric=symmetric)

    same_value_and_gradients(make, batch()[0], batch(seed=1)[0])


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("miner", [None, "TripletMarginMiner", "MultiSimilarityMiner", "BatchHardMiner"])
@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_a_cross_batch_memory_is_the_peers_batch_after_batch(name, miner, masked, ours, peer):
    memories = []
    for side in (ours, peer):
        mine = None if miner is None else getattr(side.miners, miner)()
        memories.append(side.losses.CrossBatchMemory(getattr(side.losses, name)(), 7, 30, miner=mine))
    torch.manual_seed(0)
    for _ in range(7):  # it is full in the fourth, or with the mask in the sixth
        z, labels = torch.randn(8, 7, dtype=torch.float64), torch.randint(0, 4, (8,))
        kwargs = {"enqueue_mask": torch.arange(8) % 3 > 0} if masked else {}
        inputs = [z.clone().requires_grad_() for _ in memories]
        values = [memory(x, labels, **kwargs) for memory, x in zip(memories, inputs, strict=True)]
        torch.testing.assert_close(*values, rtol=1e-10, atol=1e-12)
        grads = [
            torch.autograd.grad(v, x)[0] if v.requires_grad else x * 0 for v, x in zip(values, inputs, strict=True)
        ]
        torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-11)


def test_the_first_batch_of_a_memory_takes_a_miners_tuple_as_the_peers(batch, ours, peer):
    z, labels = batch()
    values = []
    for side in (ours, peer):
        memory = side.losses.CrossBatchMemory(side.losses.ContrastiveLoss(), 7, 50)
        values.append(memory(z, labels, side.miners.MultiSimilarityMiner()(z, labels)))
    torch.testing.assert_close(*values, rtol=1e-12, atol=1e-12)


def test_a_memory_saved_by_the_peer_is_read_where_missing_places_are_allowed(ours, peer):
    theirs, mine = (side.losses.CrossBatchMemory(side.losses.NTXentLoss(), 3, 4) for side in (peer, ours))
    theirs(torch.randn(2, 3), torch.tensor([0, 1]))
    mine.load_state_dict(theirs.state_dict(), strict=False)
    assert torch.equal(mine.embedding_memory, theirs.embedding_memory)
