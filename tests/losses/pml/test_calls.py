"""The calls: what may be passed, what comes back, and what is said where it cannot be."""

import math

import pytest
import torch

from nearfar.errors import ConfigError, DataError

F64 = torch.float64


def batch(n=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 5, generator=generator), torch.arange(n) % 4


def test_the_import_is_swapped_and_nothing_else():
    from nearfar.losses.pml import distances, losses, miners, reducers

    loss = losses.TripletMarginLoss(margin=0.2, distance=distances.CosineSimilarity(), reducer=reducers.MeanReducer())
    z, labels = batch()
    assert loss(z, labels, miners.BatchHardMiner()(z, labels)).shape == ()


def test_entries_beyond_one_block_are_those_of_the_matrix(ours):
    rows, columns = torch.randn(1500, 4, dtype=F64), torch.randn(1600, 4, dtype=F64)
    i, j = torch.randint(0, 1500, (700,)), torch.randint(0, 1600, (700,))
    weights = torch.randn(700, dtype=F64)
    for distance in (ours.distances.CosineSimilarity(), ours.distances.LpDistance(), ours.distances.LpDistance(p=1)):
        found = []
        for entries in (distance.of_pairs, lambda x, y, i, j, whole=distance: whole(x, y)[i, j]):
            x, y = rows.clone().requires_grad_(), columns.clone().requires_grad_()
            values = entries(x, y, i, j)
            found.append((values, *torch.autograd.grad((values * weights).sum(), (x, y))))
        for block, whole in zip(*found, strict=True):
            torch.testing.assert_close(block, whole, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("references", [False, True])
def test_drawn_triplets_are_triplets_and_every_one_is_drawn(references, ours):
    z, labels = batch(9)
    other, other_labels = batch(14, seed=1) if references else (z, labels)
    kwargs = {"ref_emb": other, "ref_labels": other_labels} if references else {}
    loss = ours.losses.TripletMarginLoss(triplets_per_anchor=500, reducer=ours.reducers.DoNothingReducer())
    a, p, n = loss(z, labels, **kwargs)["loss"]["indices"]
    assert (labels[a] == other_labels[p]).all()
    assert (labels[a] != other_labels[n]).all()
    assert references or (a != p).all()
    assert torch.equal(torch.bincount(a), torch.tensor([500] * 9) * (torch.bincount(labels)[labels] > 1 - references))
    pairs = {(i, j) for i in range(9) for j in range(len(other)) if labels[i] == other_labels[j]}
    pairs -= set() if references else {(i, i) for i in range(9)}
    assert set(zip(a.tolist(), p.tolist(), strict=True)) == pairs
    assert len(set(zip(a.tolist(), n.tolist(), strict=True))) == sum(int((other_labels != k).sum()) for k in labels)


def test_distance_weighted_negatives_are_drawn_by_their_weights(ours):
    angles = torch.tensor([0.0, 3.0, 40, 60, 80, 100]).deg2rad()
    z = torch.stack([angles.cos(), angles.sin(), 0 * angles, 0 * angles, 0 * angles, 0 * angles], 1)
    labels = torch.tensor([0, 0, 1, 2, 3, 4])
    torch.manual_seed(0)
    miner = ours.miners.DistanceWeightedMiner(cutoff=0.8, nonzero_loss_cutoff=1.4)
    a, _, n = (torch.cat(part) for part in zip(*(miner(z, labels) for _ in range(500)), strict=True))
    drawn = torch.bincount(n[a == 0], minlength=6) / (a == 0).sum()
    weights = []
    for other in range(6):
        d = max(0.8, float((z[0] - z[other]).norm()))
        counted = labels[other] != 0 and d < 1.4
        weights.append(1 / (d**4 * (1 - d * d / 4) ** 1.5) if counted else 0)
    torch.testing.assert_close(drawn, torch.tensor(weights) / math.fsum(weights), rtol=0, atol=0.05)


def test_row_i_of_two_views_of_one_labels_tensor_is_no_pair(ours):
    z, labels = batch()
    other = batch(seed=1)[0]
    apart = ~torch.eye(12, dtype=torch.bool)
    same = labels[:, None] == labels
    positives, negatives = (same & apart).nonzero(as_tuple=True), (~same).nonzero(as_tuple=True)
    for name in ("CircleLoss", "ContrastiveLoss", "MultiSimilarityLoss", "NTXentLoss", "SupConLoss"):
        loss = getattr(ours.losses, name)()
        by_labels = loss(z, labels, ref_emb=other, ref_labels=labels)
        by_pairs = loss(z, None, (*positives, *negatives), ref_emb=other)
        with_itself = loss(z, labels, ref_emb=other, ref_labels=labels.clone())
        torch.testing.assert_close(by_labels, by_pairs)
        assert (by_labels - with_itself).abs() > 1e-3


def test_no_losses_are_zero_with_gradient_zero(ours):
    z = batch()[0].requires_grad_()
    for name in ("ContrastiveLoss", "CircleLoss", "NTXentLoss", "NPairsLoss", "SupConLoss", "TripletMarginLoss"):
        loss = getattr(ours.losses, name)()
        apart = {"pos_margin": 2, "neg_margin": 0} if name == "ContrastiveLoss" else {}
        for value in (getattr(ours.losses, name)(**apart)(z, torch.arange(12)), loss(z[:0], torch.zeros(0).long())):
            assert value == 0
            assert not torch.autograd.grad(value, z)[0].any()


PAIRS = ("CircleLoss", "ContrastiveLoss", "MultiSimilarityLoss", "NPairsLoss", "NTXentLoss", "SupConLoss",
         "TripletMarginLoss")  # fmt: skip
CLASSES = ("ArcFaceLoss", "CosFaceLoss", "NormalizedSoftmaxLoss", "ProxyAnchorLoss", "ProxyNCALoss")


@pytest.mark.parametrize("name", PAIRS + CLASSES)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nothing_that_is_not_finite_is_hidden(name, value, ours):
    z, labels = batch()
    z[3, 1] = value
    loss = getattr(ours.losses, name)(*((4, 5) if name in CLASSES else ()))
    listed = (torch.tensor([0, 1]), torch.tensor([4, 5]), torch.tensor([2, 3]))
    assert loss(z, labels).isnan()
    assert loss(z, labels, listed).isnan()
    if name not in (*CLASSES, "NPairsLoss"):
        memory = ours.losses.CrossBatchMemory(loss, 5)
        memory(z, labels)
        assert memory(batch(seed=1)[0], labels).isnan(), "what is remembered is compared with too"


def test_a_reducer_keeps_what_is_no_number(ours):
    losses = torch.tensor([0.0, math.nan, 1.0])
    for reducer in (ours.reducers.AvgNonZeroReducer(), ours.reducers.ThresholdReducer(high=0.5)):
        entry = {"losses": losses, "indices": torch.arange(3), "reduction_type": "element"}
        assert reducer({"loss": entry}, torch.ones(3, 2), None).isnan()


def test_nothing_is_reduced_by_the_reducer_that_does_nothing(ours):
    z, labels = batch()
    losses = ours.losses.ContrastiveLoss(reducer=ours.reducers.DoNothingReducer())(z, labels)
    assert losses.keys() == {"pos_loss", "neg_loss"}
    assert len(losses["pos_loss"]["losses"]) == 12 * 2
    assert len(losses["neg_loss"]["losses"]) == 12 * 9


def test_each_kind_of_pair_may_have_a_reducer_of_its_own(ours):
    z, labels = batch()
    mean, total = ours.reducers.MeanReducer(), ours.reducers.SumReducer()
    parts = ours.losses.ContrastiveLoss(reducer=ours.reducers.DoNothingReducer())(z, labels)
    value = ours.losses.ContrastiveLoss(reducer=ours.reducers.MultipleReducers({"pos_loss": total}, mean))(z, labels)
    expected = parts["pos_loss"]["losses"].sum() + parts["neg_loss"]["losses"].mean()
    torch.testing.assert_close(value, expected)


def test_a_loss_of_ones_own_is_a_subclass(ours):
    class Spread(ours.losses.BaseMetricLossFunction):
        def compute_loss(self, embeddings, labels, indices_tuple, ref_emb, ref_labels):
            losses = self.distance(embeddings, ref_emb).mean(1)
            return {"loss": {"losses": losses, "indices": torch.arange(len(losses)), "reduction_type": "element"}}

        def get_default_distance(self):
            return ours.distances.DotProductSimilarity()

    z, labels = batch()
    expected = torch.nn.functional.normalize(z).mean(0).square().sum()
    torch.testing.assert_close(Spread()(z, labels), expected)
    assert ours.losses.SelfSupervisedLoss(Spread())(z, z).shape == ()


def test_class_vectors_stay_float32_where_embeddings_are_not(ours):
    loss = ours.losses.ArcFaceLoss(4, 5)
    z, labels = batch()
    values = [loss(x, labels) for x in (z, z.double(), z.half())]
    assert [value.dtype for value in values] == [torch.float32, F64, torch.float32]
    torch.testing.assert_close(values[1].float(), values[0])
    assert [torch.autograd.grad(value, loss.W)[0].dtype for value in values] == [torch.float32] * 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a second device")
def test_class_vectors_and_memories_follow_the_embeddings_to_their_device(ours):
    z, labels = batch()
    loss, memory = ours.losses.ArcFaceLoss(4, 5), ours.losses.CrossBatchMemory(ours.losses.NTXentLoss(), 5)
    weight = loss.W
    (loss(z.cuda(), labels) + memory(z.cuda(), labels)).backward()
    assert loss.W is weight
    assert weight.grad.is_cuda


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: m.losses.NTXentLoss()(torch.randn(4, 2), torch.arange(3)), "labels must be [4]"),
        (lambda m: m.losses.NTXentLoss()(torch.randn(4, 2)), "needs labels"),
        (lambda m: m.losses.NTXentLoss()(torch.randn(4, 2, 1), torch.arange(4)), "[M, D]"),
        (lambda m: m.losses.NTXentLoss()(torch.randn(4, 2), torch.arange(4), (torch.arange(3),)), "indices_tuple"),
        (
            lambda m: m.losses.NTXentLoss()(torch.randn(4, 2), torch.arange(4), (torch.tensor([4]),) * 3),
            "must lie in 0..3, got 4..4",
        ),
        (
            lambda m: m.losses.SupConLoss()(
                torch.randn(4, 2), torch.arange(4), (torch.tensor([1]), torch.tensor([2])) * 2
            ),
            "as positive and as negative",
        ),
        (
            lambda m: m.losses.NTXentLoss()(torch.randn(4, 2), torch.arange(4), ref_emb=torch.randn(3, 2)),
            "ref_labels with ref_emb",
        ),
        (lambda m: m.losses.ArcFaceLoss(3, 2)(torch.randn(4, 2), torch.arange(4)), "class numbers in 0..2"),
        (
            lambda m: m.losses.ArcFaceLoss(4, 2)(torch.randn(4, 2), torch.arange(4), ref_emb=torch.randn(4, 2)),
            "takes no ref_emb",
        ),
        (lambda m: m.losses.VICRegLoss()(torch.randn(4, 2), torch.arange(4), ref_emb=torch.randn(4, 2)), "no labels"),
        (
            lambda m: m.losses.CrossBatchMemory(m.losses.NTXentLoss(), 2, 3)(torch.randn(4, 2), torch.arange(4)),
            "raise memory_size",
        ),
        (
            lambda m: m.losses.NTXentLoss()(*batch(), (torch.arange(3), torch.arange(3), torch.arange(4))),
            "got lists of [3, 3, 4]",
        ),
        (lambda m: m.miners.BatchHardMiner()(torch.randn(4, 2), None), "needs labels"),
        (lambda m: m.miners.BatchHardMiner()(*batch(), torch.randn(3, 5)), "ref_labels with ref_emb"),
    ],
)
def test_a_batch_that_does_not_fit_is_named(call, words, ours):
    with pytest.raises(DataError) as error:
        call(ours)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda m: m.losses.NTXentLoss(temperature=0), "temperature must be > 0"),
        (lambda m: m.losses.NTXentLoss(collect_stats=True), "no records are kept"),
        (lambda m: m.losses.NTXentLoss(distance=torch.nn.CosineSimilarity()), "BaseDistance of nearfar.losses.pml"),
        (lambda m: m.losses.NTXentLoss(reducer="mean"), "BaseReducer of nearfar.losses.pml"),
        (lambda m: m.miners.BatchHardMiner(distance="cosine"), "BaseDistance of nearfar.losses.pml"),
        (lambda m: m.losses.CircleLoss(distance=m.distances.LpDistance()), "CosineSimilarity() alone"),
        (lambda m: m.losses.TripletMarginLoss(triplets_per_anchor="most"), "'all' or a number"),
        (lambda m: m.losses.VICRegLoss(reducer=m.reducers.SumReducer()), "leave the reducer out"),
        (lambda m: m.losses.SelfSupervisedLoss(m.losses.ArcFaceLoss(3, 2)), "ArcFaceLoss is none"),
        (lambda m: m.losses.CrossBatchMemory(m.losses.VICRegLoss(), 2), "VICRegLoss is none"),
        (lambda m: m.miners.BatchEasyHardMiner("semihard", "semihard"), "hard or easy"),
        (lambda m: m.miners.BatchEasyHardMiner("hardest"), "pos_strategy must be one of"),
        (lambda m: m.miners.TripletMarginMiner(type_of_triplets="semi"), "type_of_triplets must be one of"),
        (lambda m: m.miners.DistanceWeightedMiner(distance=m.distances.CosineSimilarity()), "LpDistance() of unit"),
        (lambda m: m.reducers.ThresholdReducer(), "low, high or both"),
        (
            lambda m: m.losses.TripletMarginLoss(reducer=m.reducers.PerAnchorReducer())(*batch()),
            "pairs, not triplets",
        ),
        (lambda m: m.losses.SupConLoss(reducer=m.reducers.DivisorReducer())(*batch()), "names its divisor"),
    ],
)
def test_a_setting_that_cannot_be_is_named(make, words, ours):
    with pytest.raises(ConfigError) as error:
        make(ours)
    assert words in str(error.value)
