"""Where values are not the peer's, and why: ours are those of a loop in float64, and the peer's are not.

Each case is a row of the table in docs/pytorch-metric-learning.md.
"""

from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).parents[3] / "docs" / "pytorch-metric-learning.md"
F64 = torch.float64


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def unit(z):
    return z / z.norm(dim=-1, keepdim=True)


def pairs_of(labels, ref_labels, *, itself):
    """Positive and negative pairs by a loop."""
    positives, negatives = [], []
    for i, mine in enumerate(labels.tolist()):
        for j, theirs in enumerate(ref_labels.tolist()):
            if mine != theirs:
                negatives.append((i, j))
            elif not (itself and i == j):
                positives.append((i, j))
    return positives, negatives


def nt_xent(z, labels, temperature):
    """The loss of every positive pair, by a loop."""
    s = unit(z) @ unit(z).T / temperature
    positives, negatives = pairs_of(labels, labels, itself=True)
    return [torch.stack([s[i, p], *(s[a, n] for a, n in negatives if a == i)]).logsumexp(0) - s[i, p]
            for i, p in positives]  # fmt: skip


def with_gradient(loss, z):
    """The value and the gradient, end to end."""
    z = z.clone().requires_grad_()
    value = loss(z)
    (grad,) = torch.autograd.grad(value, z)
    return torch.cat([value.detach().reshape(1), grad.flatten()])


def listed(*indices):
    return tuple(torch.tensor(part, dtype=torch.long) for part in indices)


OPPOSED = torch.tensor([[1.0, 0.0], [-1.0, 0.1], [1.0, 0.2], [0.0, 1.0]]), torch.tensor([0, 0, 1, 2])


class WorstPairs:
    """NTXentLoss keeps the value and the gradient of the pairs that are most wrong."""

    def run(self, side):
        z, labels = OPPOSED
        loss = side.losses.NTXentLoss(temperature=0.01)
        return with_gradient(lambda z: loss(z, labels), z)

    def truth(self):
        z, labels = OPPOSED
        return with_gradient(lambda z: torch.stack(nt_xent(z, labels, 0.01)).mean(), z.double())


class HalfPrecision:
    """Half precision is compared in float32, where NTXentLoss ends at 9.7 with gradient 0."""

    digits = 5e-3  # of the gradient, which is half again

    def run(self, side):
        z, labels = OPPOSED
        loss = side.losses.NTXentLoss(temperature=0.05)
        return with_gradient(lambda z: loss(z, labels).float(), z.half())

    def truth(self):
        z, labels = OPPOSED
        return with_gradient(lambda z: torch.stack(nt_xent(z, labels, 0.05)).mean(), z.half().double())


class SmallLosses:
    """Losses so small that 1 + loss rounds to 1 are above zero, and counted as such."""

    z = torch.tensor([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0], [0.0, -1.0]], dtype=F64)
    labels = torch.tensor([0, 0, 1, 1])

    def run(self, side):
        loss = side.losses.NTXentLoss(temperature=0.02, reducer=side.reducers.AvgNonZeroReducer())
        return loss(self.z, self.labels)

    def truth(self):
        s = unit(self.z) @ unit(self.z).T / 0.02
        pairs = ((0, 1, 2, 3), (1, 0, 2, 3), (2, 3, 0, 1), (3, 2, 0, 1))
        losses = [((s[a, n] - s[a, p]).exp() + (s[a, m] - s[a, p]).exp()).log1p() for a, p, n, m in pairs]
        assert all(loss > 0 for loss in losses)
        return torch.stack(losses).mean()


class OnePairOfEach:
    """A single positive and a single negative pair have a loss."""

    z = normal(3, 4)

    def run(self, side):
        loss = side.losses.ContrastiveLoss(neg_margin=2.5)
        return loss(self.z, indices_tuple=listed([0], [1], [0], [2]))

    def truth(self):
        u = unit(self.z)
        return (u[0] - u[1]).norm() + 2.5 - (u[0] - u[2]).norm()


class SwapAmongReferences:
    """TripletMarginLoss(swap=True) compares the positive and the negative that the triplet names."""

    z, other = normal(3, 4), normal(3, 4, seed=1)
    labels = torch.tensor([0, 0, 1])

    def run(self, side):
        loss = side.losses.TripletMarginLoss(margin=1.0, swap=True, reducer=side.reducers.MeanReducer())
        return loss(self.z, self.labels, ref_emb=self.other, ref_labels=self.labels.clone())

    def truth(self):
        u, v = unit(self.z), unit(self.other)
        positives, negatives = pairs_of(self.labels, self.labels, itself=False)
        hinges = []
        for a, p in positives:
            for n in [n for i, n in negatives if i == a]:
                far = min((u[a] - v[n]).norm(), (v[p] - v[n]).norm())
                hinges.append(((u[a] - v[p]).norm() - far + 1.0).relu())
        return torch.stack(hinges).mean()


class PerAnchorAmongReferences:
    """PerAnchorReducer takes more references than anchors."""

    z, other = normal(2, 3), normal(6, 3, seed=1)
    labels, other_labels = torch.tensor([0, 1]), torch.tensor([0, 0, 1, 1, 1, 0])

    def run(self, side):
        loss = side.losses.ContrastiveLoss(neg_margin=2.5, reducer=side.reducers.PerAnchorReducer())
        return loss(self.z, self.labels, ref_emb=self.other, ref_labels=self.other_labels)

    def truth(self):
        d = torch.cdist(unit(self.z), unit(self.other))
        total = 0
        for kind in (0, 1):
            pairs = pairs_of(self.labels, self.other_labels, itself=False)[kind]
            for anchor in (0, 1):
                own = [d[i, j] if kind == 0 else 2.5 - d[i, j] for i, j in pairs if i == anchor]
                total += torch.stack(own).mean() / 2
        return total


class PairsListedAgain:
    """PerAnchorReducer gives the gradient of its value where triplets list a pair more than once."""

    z = normal(4, 3)

    def run(self, side):
        loss = side.losses.ContrastiveLoss(neg_margin=2.5, reducer=side.reducers.PerAnchorReducer())
        triplets = listed([0, 0], [1, 1], [2, 3])
        return with_gradient(lambda z: loss(z, torch.tensor([0, 0, 1, 1]), triplets), self.z)

    def truth(self):
        def loss(z):
            u = unit(z)
            pull = (u[0] - u[1]).norm()
            push = (2.5 - (u[0] - u[2]).norm() + 2.5 - (u[0] - u[3]).norm()) / 2
            return (pull + push) / 4

        return with_gradient(loss, self.z)


class WeighedClasses:
    """ClassWeightedReducer weighs each anchor of MultiSimilarityLoss and CircleLoss by its own class."""

    z, labels, weights = normal(6, 3), torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([1.0, 5.0, 0.2], dtype=F64)

    def run(self, side):
        reducer = side.reducers.ClassWeightedReducer(self.weights)
        kinds = (side.losses.MultiSimilarityLoss, side.losses.CircleLoss)
        return torch.stack([kind(reducer=reducer)(self.z, self.labels) for kind in kinds])

    def truth(self):
        s = unit(self.z) @ unit(self.z).T
        positives, negatives = pairs_of(self.labels, self.labels, itself=True)
        similarity, circle = [], []
        for i, label in enumerate(self.labels.tolist()):
            p, n = (torch.stack([s[a, j] for a, j in pairs if a == i]) for pairs in (positives, negatives))
            both = (1 + (-2 * (p - 0.5)).exp().sum()).log() / 2 + (1 + (50 * (n - 0.5)).exp().sum()).log() / 50
            similarity.append(self.weights[label] * both)
            pull = (-80 * (1.4 - p).relu() * (p - 0.6)).exp().sum()
            push = (80 * (n + 0.4).relu() * (n - 0.4)).exp().sum()
            circle.append(self.weights[label] * (1 + pull * push).log())
        return torch.stack([torch.stack(similarity).mean(), torch.stack(circle).mean()])


class FarFromItsProxy:
    """ProxyNCALoss keeps the samples that are farthest from their proxy."""

    proxies = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    z, labels = torch.tensor([[-1.0, 0.1], [0.1, 1.0]]), torch.tensor([0, 2])

    def run(self, side):
        loss = side.losses.ProxyNCALoss(3, 2, softmax_scale=64)
        loss.load_state_dict({"proxies": self.proxies})
        return with_gradient(lambda z: loss(z, self.labels), self.z)

    def truth(self):
        def loss(z):
            squares = (unit(z)[:, None] - self.proxies.double()).square().sum(2)
            terms = [(-64 * d).logsumexp(0) + 64 * d[k] for d, k in zip(squares, self.labels.tolist(), strict=True)]
            return torch.stack(terms).mean()

        return with_gradient(loss, self.z.double())


class ZeroRow:
    """An embedding of length 0 has no direction, and gets gradient 0."""

    def run(self, side):
        z = normal(4, 3)
        z[0] = 0
        loss = side.losses.NTXentLoss()
        return with_gradient(lambda z: loss(z, torch.tensor([0, 0, 1, 1])), z)[1:4]

    def truth(self):
        return torch.zeros(3, dtype=F64)


class MemoryOfSingles:
    """CrossBatchMemory compares no sample with itself, also in a batch of one."""

    z = normal(2, 3)

    def run(self, side):
        memory = side.losses.CrossBatchMemory(side.losses.ContrastiveLoss(reducer=side.reducers.MeanReducer()), 3, 8)
        return [memory(row[None], torch.tensor([0])) for row in self.z][-1]

    def truth(self):
        u = unit(self.z)
        return (u[0] - u[1]).norm()


class MinedInTheBatch:
    """CrossBatchMemory takes a miner's tuple as of the batch, wherever the batch is in the memory."""

    z = normal(4, 3)

    def run(self, side):
        memory = side.losses.CrossBatchMemory(side.losses.ContrastiveLoss(reducer=side.reducers.SumReducer()), 3, 8)
        memory(self.z[:2], torch.tensor([0, 1]))
        return memory(self.z[2:], torch.tensor([2, 2]), listed([0], [1], [], []))

    def truth(self):
        u = unit(self.z)
        # Both positive pairs of the batch, one of them once more; and every hinge with the first batch.
        return 3 * (u[2] - u[3]).norm() + (1 - torch.cdist(u[2:], u[:2])).relu().sum()


class NothingEnqueued:
    """A batch of which nothing is enqueued leaves an empty memory empty."""

    def run(self, side):
        memory = side.losses.CrossBatchMemory(side.losses.ContrastiveLoss(), 3, 8)
        return memory(normal(2, 3), torch.tensor([0, 1]), enqueue_mask=torch.tensor([False, False]))

    def truth(self):
        return torch.tensor(0.0, dtype=F64)


class MemoryReadBack:
    """A memory that is read back from its state goes on where it was."""

    z = normal(3, 3)

    def run(self, side):
        def made():
            return side.losses.CrossBatchMemory(side.losses.ContrastiveLoss(), 3, 8).double()

        before, after = made(), made()
        before(self.z[:2], torch.tensor([0, 0]))
        after.load_state_dict(before.state_dict())
        return after(self.z[2:], torch.tensor([1]))

    def truth(self):
        hinges = (1 - torch.cdist(unit(self.z[2:]), unit(self.z[:2]))).relu()
        return hinges[hinges > 0].mean() if (hinges > 0).any() else torch.tensor(0.0, dtype=F64)


class MinedBetweenViews:
    """MultiSimilarityMiner takes row i of both views, of one labels tensor, for no pair, and never for a negative."""

    z = normal(4, 3)
    other, labels = z + 0.1 * normal(4, 3, seed=1), torch.tensor([0, 0, 1, 1])

    def run(self, side):
        found = side.miners.MultiSimilarityMiner()(self.z, self.labels, self.other, self.labels)
        return torch.tensor([[*pair] for pair in sorted(zip(found[2].tolist(), found[3].tolist(), strict=True))])

    def truth(self):
        s = unit(self.z) @ unit(self.other).T
        positives, negatives = pairs_of(self.labels, self.labels, itself=True)
        kept = [(i, n) for i, n in negatives if s[i, n] + 0.1 > min(s[a, p] for a, p in positives if a == i)]
        return torch.tensor([[*pair] for pair in kept])


class AnchorsWithoutNearNegatives:
    """DistanceWeightedMiner draws for every anchor, also beside others that have far nearer negatives."""

    z, labels = normal(16, 512).float(), torch.arange(16) // 2

    def run(self, side):
        z = self.z.clone()
        z[15] = z[0] + 0.02 * z[1]
        return side.miners.DistanceWeightedMiner(nonzero_loss_cutoff=1.9)(z, self.labels)[0].unique()

    def truth(self):
        return torch.arange(16)


class DistanceOfPairs:
    """LpDistance.pairwise_distance is the distance, without 1e-6 added to each difference."""

    z = normal(2, 3)

    def run(self, side):
        return side.distances.LpDistance().pairwise_distance(self.z, self.z)

    def truth(self):
        return torch.zeros(2, dtype=F64)


class NotFinite:
    """An embedding that is not finite makes the loss NaN."""

    def run(self, side):
        z, labels = OPPOSED[0].clone(), torch.tensor([0, 0, 1, 1])
        z[0, 0] = torch.nan
        return side.losses.ContrastiveLoss(pos_margin=-1, neg_margin=3)(z, labels).isnan().double()

    def truth(self):
        return torch.ones((), dtype=F64)


CASES = [
    WorstPairs, HalfPrecision, SmallLosses, OnePairOfEach, SwapAmongReferences, PerAnchorAmongReferences,
    PairsListedAgain, WeighedClasses, FarFromItsProxy, ZeroRow, MemoryOfSingles, MinedInTheBatch, NothingEnqueued,
    MemoryReadBack, MinedBetweenViews, AnchorsWithoutNearNegatives, DistanceOfPairs, NotFinite,
]  # fmt: skip


def same(case, value):
    truth = case().truth()
    if value.shape != truth.shape:
        return False
    digits = getattr(case, "digits", 1e-4 if value.dtype == torch.float32 else 1e-10)
    return torch.allclose(value.double(), truth.double(), rtol=digits, atol=digits)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_ours_is_the_truth(case, ours):
    assert same(case, case().run(ours))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_the_peers_is_not(case, peer):
    try:
        value = case().run(peer)
    except IndexError:  # of PerAnchorReducer
        return
    assert not same(case, value)


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not here")
def test_the_table_of_differences_has_a_row_for_each_case_and_no_other():
    table = PAGE.read_text(encoding="utf-8").split("## Where values differ")[1].split("\n\n")[2]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()[2:]]
    assert rows == [case.__doc__.splitlines()[0] for case in CASES]
