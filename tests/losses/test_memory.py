"""The cross-batch memory: what a batch is compared with, what is kept, what is saved."""

import pytest
import torch

from nearfar.errors import ConfigError, DataError
from nearfar.losses import (
    CircleLoss,
    CrossBatchMemory,
    LabelledContrastiveLoss,
    LabelledTripletLoss,
    MultiSimilarityLoss,
    labelled_triplet,
)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def batches(count, b=4, dim=3, classes=3):
    generator = torch.Generator().manual_seed(9)
    return [(normal(b, dim, seed=k), torch.randint(classes, (b,), generator=generator)) for k in range(count)]


class Recorded(torch.nn.Module):
    """What a loss is asked."""

    def forward(self, z, *, labels, reference, reference_labels, offset):
        self.asked = {"reference": reference, "labels": reference_labels, "offset": offset}
        return z.sum()


def test_the_first_batch_has_the_loss_of_a_batch_alone():
    (z, labels), *_ = batches(1)
    memory = CrossBatchMemory(LabelledTripletLoss(), dim=3, size=8)
    assert memory(z, labels=labels).item() == pytest.approx(labelled_triplet(z, labels=labels).item())


@pytest.mark.parametrize("size", [4, 6, 8, 11, 100])
def test_the_columns_are_the_last_embeddings_each_once_and_the_batch_at_their_end(size):
    memory, seen = CrossBatchMemory(Recorded(), dim=3, size=size), batches(7)
    for step, (z, labels) in enumerate(seen):
        memory(z, labels=labels)
        everything = torch.cat([x for x, _ in seen[: step + 1]])[-size:]
        names = torch.cat([y for _, y in seen[: step + 1]])[-size:]
        asked = memory.loss.asked
        assert asked["reference"].equal(everything)
        assert asked["labels"].equal(names)
        assert asked["offset"] == len(everything) - len(z)


@pytest.mark.parametrize(
    "loss", [LabelledTripletLoss(), LabelledContrastiveLoss(), CircleLoss(gamma=8), MultiSimilarityLoss()]
)
def test_pitfall_1_a_batch_that_was_enqueued_is_not_compared_with_itself(loss):
    """The value is that of the rows of the batch in one large batch, where the self-comparison is left out too."""
    memory, seen = CrossBatchMemory(loss, dim=3, size=12), batches(3)
    for z, labels in seen:
        value = memory(z, labels=labels)
    columns, names = torch.cat([z for z, _ in seen]), torch.cat([y for _, y in seen])
    alone = loss(seen[-1][0], labels=seen[-1][1], reference=columns, reference_labels=names, offset=8)
    torch.testing.assert_close(value, alone)
    with_itself = loss(seen[-1][0], labels=seen[-1][1], reference=columns, reference_labels=names)
    assert (with_itself - value).abs() > 1e-4


def test_gradients_pass_through_the_batch_as_columns_and_not_through_the_memory():
    memory = CrossBatchMemory(LabelledTripletLoss(reduction="sum"), dim=3, size=100)
    (old, old_labels), (z, labels) = batches(2)
    memory(old.requires_grad_(), labels=old_labels)
    memory(z.requires_grad_(), labels=labels).backward()
    assert old.grad is None
    x = z.detach().clone().requires_grad_()
    columns, names = torch.cat([old.detach(), x]), torch.cat([old_labels, labels])
    labelled_triplet(x, labels=labels, reference=columns, reference_labels=names, offset=4, reduction="sum").backward()
    torch.testing.assert_close(z.grad, x.grad)


def test_a_batch_larger_than_the_memory_is_compared_whole_and_its_end_kept():
    memory = CrossBatchMemory(Recorded(), dim=3, size=5)
    z, labels = normal(8, 3), torch.arange(8)
    memory(z, labels=labels)
    assert memory.loss.asked["reference"].equal(z)
    kept, names = memory.last(5)
    assert kept.equal(z[3:])
    assert names.tolist() == [3, 4, 5, 6, 7]


def test_nothing_is_enqueued_in_evaluation_mode():
    memory = CrossBatchMemory(LabelledTripletLoss(), dim=3, size=8).eval()
    (z, labels), *_ = batches(1)
    memory(z, labels=labels)
    assert len(memory.last(8)[0]) == 0


def test_it_goes_on_from_its_state_dict():
    seen = batches(5)
    memory, again = (CrossBatchMemory(LabelledTripletLoss(), dim=3, size=10) for _ in range(2))
    for z, labels in seen[:4]:
        memory(z, labels=labels)
    again.load_state_dict(memory.state_dict())
    z, labels = seen[4]
    assert again(z, labels=labels).equal(memory(z, labels=labels))
    assert again.embeddings.equal(memory.embeddings)


def test_it_can_forget():
    memory = CrossBatchMemory(LabelledTripletLoss(), dim=3, size=8)
    (z, labels), *_ = batches(1)
    memory(z, labels=labels)
    memory.clear()
    assert len(memory.last(8)[0]) == 0


def test_half_precision_batches_are_kept_as_they_are():
    memory = CrossBatchMemory(LabelledTripletLoss(), dim=3, size=8)
    z, labels = batches(1)[0]
    z = z.half().requires_grad_()
    for _ in range(2):
        memory(z, labels=labels).backward()
    assert memory.last(4)[0].equal(z.detach().float())
    assert z.grad.isfinite().all()


def test_mistakes_are_named():
    memory = CrossBatchMemory(LabelledTripletLoss(), dim=3, size=8)
    with pytest.raises(DataError, match=r"z must be embeddings \[N, 3\], got shape \[2, 4\]"):
        memory(torch.ones(2, 4), labels=torch.tensor([0, 1]))
    with pytest.raises(DataError, match=r"labels must be \[2\] integers"):
        memory(torch.ones(2, 3), labels=torch.tensor([0.0, 1.0]))
    with pytest.raises(ConfigError, match="size must be > 0, got 0"):
        CrossBatchMemory(LabelledTripletLoss(), dim=3, size=0)
    with pytest.raises(ConfigError, match="dim must be > 0"):
        CrossBatchMemory(LabelledTripletLoss(), dim=0)
