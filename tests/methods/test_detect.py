"""detect: losses of each picture by itself, sizes of anchors, and a head that learns one picture."""

import pytest
import torch

from nearfar.contract import Batch, Map, Views
from nearfar.methods.detect import Detect, DetectOptions
from nearfar.methods.faster_rcnn import LOSSES, DetectorHead
from nearfar.training.step import training_step
from tests.methods.test_segment import Maps
from tests.methods.toys import normal

SIZE = 32
SHAPES = [(6, 2), (8, 4)]


def made(**options):
    torch.manual_seed(0)
    return Detect(Maps(), DetectOptions(classes=2, head_width=8, **options))


def batch(count=4):
    boxes = torch.tensor([[4.0, 4, 20, 20], [10, 2, 30, 24]]).expand(count, 2, 4).clone()
    labels = torch.tensor([[0, 1]]).repeat(count, 1)
    labels[1, 1] = -1
    labels[2] = -1
    return {"inputs": normal(count, 3, SIZE, SIZE), "boxes": boxes, "labels": labels}


def views_of(view):
    return Views(lambda _, a, b: {n: x[a:b] for n, x in view.items()}, range(1), 0, len(view["labels"]), 1)


def known(count=4, **more):
    return Batch(ids=torch.arange(count), labels=torch.zeros(count, dtype=torch.long), **more)


def test_the_loss_is_the_mean_of_all_pictures_losses_and_is_told_in_parts():
    method = made()
    z = method.embed(views_of(batch()))
    assert z["z"].shape == (1, 4, 4)
    found = method.loss(z, known())
    torch.testing.assert_close(found.total, z["z"].sum() / 4)
    assert list(found.parts) == list(LOSSES)
    shares = [method.loss(z, known(rows=rows, world=2)).total for rows in (slice(0, 1), slice(1, 4))]
    torch.testing.assert_close(sum(shares), found.total)


def test_the_losses_of_a_picture_depend_on_no_other():
    method, view = made(), batch()
    torch.manual_seed(1)
    first = method.embed(views_of(view))["z"][:, :1]
    torch.manual_seed(1)
    alone = method.embed(views_of({name: x[:1] for name, x in view.items()}))["z"]
    torch.testing.assert_close(alone, first)


def test_a_piece_that_is_embedded_again_comes_out_the_same():
    found, _ = training_step(made(), views_of(batch()), known(), micro_batch=2, seed=torch.manual_seed)
    assert found.logs["replay_deviation"] == 0


def test_a_picture_without_things_has_no_loss_of_boxes():
    z = made().embed(views_of(batch()))["z"][0, 2]
    assert z[LOSSES.index("boxes")] == 0
    assert z[LOSSES.index("region boxes")] == 0
    assert z[LOSSES.index("classes")] > 0


def test_all_of_encoder_and_head_learn_unless_the_encoder_is_frozen():
    for frozen in (False, True):
        method = made(frozen=frozen)
        training_step(method, views_of(batch()), known())
        assert all((parameter.grad is None) == frozen for parameter in method.encoder.parameters())
        assert all(parameter.grad is not None for parameter in method.head.parameters())


def test_anchors_are_multiples_of_the_strides():
    head = DetectorHead([(4, 2), (4, 4), (4, 8), (4, 16)], 2, width=8)
    assert head.first == 1
    assert head.regions.anchor_generator.sizes == ((16, 23), (32, 45), (64, 91), (128, 181))


def test_a_head_learns_what_is_in_one_picture():
    torch.manual_seed(0)
    head = DetectorHead([(8, 4), (8, 8)], 2, width=16)
    inputs = torch.zeros(1, 3, 64, 64)
    fine, coarse = torch.randn(1, 8, 16, 16), torch.randn(1, 8, 8, 8)
    fine[:, :4, 3:11, 2:8] += 4
    coarse[:, :4, 2:5, 1:4] += 4
    maps = [Map(fine, 4), Map(coarse, 8)]
    boxes, labels = torch.tensor([[[8.0, 12, 32, 44]]]), torch.tensor([[1]])
    optimizer = torch.optim.Adam(head.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        head.losses(head.levels(maps), inputs, boxes, labels).sum().backward()
        optimizer.step()
    found = head.boxes(head.levels(maps), inputs)[0]
    assert found["labels"][0] == 1
    assert found["scores"][0] > 0.5
    assert found["boxes"][0].tolist() == pytest.approx([8, 12, 32, 44], abs=4)
