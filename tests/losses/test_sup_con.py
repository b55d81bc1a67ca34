"""SupCon: known values of both variants, loops from the paper, classes, views as its authors call it."""

import math

import pytest
import torch

from nearfar.errors import ConfigError, DataError
from nearfar.losses import SupConLoss, nt_xent, sup_con

# The whole matrix is compared with tiles, for every loss, in `test_every_loss.py`.
TILED = pytest.mark.parametrize("implementation", ["tiled"])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loops(z, labels, temperature, variant, ids=None):
    """The loss of each anchor, pair by pair; None for an anchor without a positive."""
    u = torch.nn.functional.normalize(z.detach())
    losses = []
    for i in range(len(u)):
        t = {a: float(u[i] @ u[a]) / temperature for a in range(len(u)) if a != i}
        positives = [a for a in t if labels[a] == labels[i] != -1]
        candidates = [a for a in t if a in positives or ids is None or ids[a] != ids[i]]
        if not positives:
            losses.append(None)
            continue
        lse = math.log(sum(math.exp(t[a]) for a in candidates))
        if variant == "out":
            losses.append(sum(lse - t[p] for p in positives) / len(positives))
        else:
            losses.append(-math.log(sum(math.exp(t[p] - lse) for p in positives) / len(positives)))
    return losses


@TILED
@pytest.mark.parametrize("variant", ["out", "in"])
def test_known_value_over_the_anchors_that_have_a_positive(variant, implementation, case):
    known = case(f"supcon_{variant}_t0.1_valid_anchors")
    z = known["inputs"]["angles_deg"].requires_grad_()
    loss = sup_con(z, labels=known["inputs"]["labels"], variant=variant, implementation=implementation)
    loss.backward()
    assert loss.item() == pytest.approx(known["value"], abs=1e-13)
    torch.testing.assert_close(z.grad, torch.tensor(known["grad_raw"]).double(), rtol=0, atol=3e-8)


def test_anchors_without_a_positive_count_for_nothing_or_as_0(case):
    known, others = case("supcon_out_t0.1_all_anchors"), case("supcon_out_t0.1_valid_anchors")
    z, labels = known["inputs"]["angles_deg"], known["inputs"]["labels"]
    counted = sup_con(z, labels=labels, reduction="mean")
    assert counted.item() == pytest.approx(known["value"], abs=1e-13)
    assert sup_con(z, labels=labels).item() == pytest.approx(others["value"], abs=1e-13)
    each = sup_con(z, labels=labels, reduction="none")
    assert each[-1] == 0
    assert each[:-1].gt(0).all()


@TILED
@pytest.mark.parametrize("variant", ["out", "in"])
def test_where_no_anchor_has_a_positive_the_loss_is_0_and_so_is_its_gradient(variant, implementation):
    z = normal(5, 3).requires_grad_()
    for labels in (torch.arange(5), torch.full((5,), -1)):
        for reduction in ("mean", "mean_active"):
            loss = sup_con(z, labels=labels, variant=variant, reduction=reduction, implementation=implementation)
            (gradient,) = torch.autograd.grad(loss, z)
            assert loss.item() == 0
            assert gradient.eq(0).all()


def test_base_temperature_is_an_option_and_no_hidden_factor(case):
    known = case("supcon_out_t0.1_base0.07_all")
    z, labels = known["inputs"]["angles_deg"], known["inputs"]["labels"]
    options = {"labels": labels, "temperature": 0.1, "reduction": "mean"}
    assert sup_con(z, base_temperature=0.07, **options).item() == pytest.approx(known["value"], abs=1e-13)
    assert sup_con(z, **options).item() == pytest.approx(known["value"] * 0.7, abs=1e-13)
    temperature = torch.tensor(0.1, dtype=torch.float64)
    learned = sup_con(z, labels=labels, temperature=temperature, reduction="mean", base_temperature=0.07)
    assert learned.item() == pytest.approx(known["value"], abs=1e-13)


@TILED
@pytest.mark.parametrize("variant", ["out", "in"])
@pytest.mark.parametrize("ids", [None, [0, 1, 2, 0, 1, 5, 2, 0, 3]], ids=["plain", "ids"])
def test_value_by_loops(variant, ids, implementation):
    z, labels = normal(9, 4), torch.tensor([3, 3, -1, 7, 3, 7, -1, 3, 5])
    losses = sup_con(
        z, labels=labels, temperature=0.3, variant=variant, ids=None if ids is None else torch.tensor(ids),
        reduction="none", implementation=implementation,
    )  # fmt: skip
    expected = [loss or 0.0 for loss in by_loops(z, labels.tolist(), 0.3, variant, ids)]
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-13)


@TILED
@pytest.mark.parametrize("variant", ["out", "in"])
def test_coinciding_embeddings_give_log_of_the_others(variant, implementation):
    z, labels = torch.ones(8, 3).double(), torch.tensor([0, 0, 0, 1, 1, 1, 1, -1])
    got = sup_con(z, labels=labels, variant=variant, implementation=implementation)
    assert got.item() == pytest.approx(math.log(7))


def test_the_mean_inside_the_log_is_never_more():
    z, labels = normal(30, 4), torch.arange(30) % 4
    out, inside = (sup_con(z, labels=labels, variant=v, reduction="none") for v in ("out", "in"))
    assert (inside <= out + 1e-12).all()
    assert (inside < out - 1e-3).any()


@pytest.mark.parametrize("variant", ["out", "in"])
def test_with_samples_as_classes_of_two_views_it_is_nt_xent(variant):
    z1, z2 = normal(6, 4), normal(6, 4, seed=1)
    got = sup_con(torch.cat([z1, z2]), labels=torch.arange(6).repeat(2), variant=variant)
    torch.testing.assert_close(got, nt_xent(z1, z2))


def test_rows_without_a_class_are_negatives_of_all():
    z, labels = normal(6, 4), torch.tensor([0, 0, 1, 1, -1, -1])
    each = sup_con(z, labels=labels, reduction="none")
    assert each[4:].eq(0).all()
    alone = sup_con(z[:4], labels=labels[:4], reduction="none")
    assert (each[:4] > alone).all()


@TILED
@pytest.mark.parametrize("variant", ["out", "in"])
@pytest.mark.parametrize("start", range(4))
def test_in_a_gathered_batch_the_anchor_itself_is_left_out_at_its_own_place(start, variant, implementation):
    z, labels = normal(6, 4), torch.tensor([0, 1, 0, 1, 0, -1])
    rows, options = slice(start, start + 2), {"labels": labels, "variant": variant, "reduction": "none"}
    each = sup_con(z, rows=rows, implementation=implementation, **options)
    torch.testing.assert_close(each, sup_con(z, **options)[rows], rtol=1e-13, atol=1e-13)


def features_by_loops(features, positive, temperature, anchors):
    """L_out over views, with any relation between samples, in float64."""
    b, v = features.shape[:2]
    u = torch.nn.functional.normalize(features.detach(), dim=-1)
    losses = []
    for w in range(anchors):
        for i in range(b):
            others = [(x, j) for x in range(v) for j in range(b) if (x, j) != (w, i)]
            t = {(x, j): float(u[i, w] @ u[j, x]) / temperature for x, j in others}
            lse = math.log(sum(math.exp(x) for x in t.values()))
            own = [t[x, j] for x, j in others if positive(i, j)]
            losses.append(lse - sum(own) / len(own) if own else 0.0)
    return losses


@pytest.mark.parametrize(("mode", "anchors"), [("all", 3), ("one", 1)])
def test_features_of_views_by_loops(mode, anchors):
    features, labels = normal(5, 3, 4), [0, 1, 0, -1, -1]
    loss = SupConLoss(0.3, contrast_mode=mode, base_temperature=0.07)
    for given, positive in [
        (torch.tensor(labels), lambda i, j: i == j or labels[i] == labels[j] != -1),
        (None, lambda i, j: i == j),
    ]:
        losses = features_by_loops(features, positive, 0.3, anchors)
        expected = sum(losses) / len(losses) * 0.3 / 0.07
        assert loss(features, given).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("mode", "anchors"), [("all", 2), ("one", 1)])
def test_features_with_a_mask_that_need_not_be_symmetric_by_loops(mode, anchors):
    features = normal(4, 2, 3)
    mask = torch.tensor([[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 1, 1], [0, 0, 0, 0]])
    losses = features_by_loops(features, lambda i, j: bool(mask[i, j]), 0.3, anchors)
    for given in (mask, mask.float()):
        got = SupConLoss(0.3, contrast_mode=mode, base_temperature=None)(features, mask=given)
        assert got.item() == pytest.approx(sum(losses) / len(losses), rel=1e-12)
    active = sum(loss > 0 for loss in losses)
    got = SupConLoss(0.3, contrast_mode=mode, base_temperature=None, reduction="mean_active")(features, mask=mask)
    assert got.item() == pytest.approx(sum(losses) / active, rel=1e-12)


@pytest.mark.parametrize("variant", ["out", "in"])
def test_a_mask_of_equal_labels_is_labels(variant):
    features, labels = normal(6, 2, 3).requires_grad_(), torch.tensor([0, 1, 0, 2, 1, 0])
    loss = SupConLoss(variant=variant)
    by_label, by_mask = loss(features, labels), loss(features, mask=labels[:, None] == labels)
    torch.testing.assert_close(by_mask, by_label, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(x, features)[0] for x in (by_label, by_mask)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


def test_the_module_has_the_values_of_the_authors_repository(case):
    known = case("supcon_out_t0.1_base0.07_all")
    z, labels = known["inputs"]["angles_deg"], known["inputs"]["labels"]
    for features in (z, z[:, None], z[:, None, :, None]):  # one view, and dimensions that are flattened
        assert SupConLoss(temperature=0.1)(features, labels).item() == pytest.approx(known["value"], abs=1e-13)
    out = SupConLoss(0.1, base_temperature=None, reduction="mean_active")(z, labels)
    assert out.item() == pytest.approx(sup_con(z, labels=labels).item(), abs=1e-15)


def test_one_sample_in_one_view_has_a_loss_of_0():
    features = normal(1, 1, 3).requires_grad_()
    for given in ({}, {"mask": torch.ones(1, 1)}, {"labels": torch.zeros(1, dtype=torch.long)}):
        loss = SupConLoss()(features, **given)
        (gradient,) = torch.autograd.grad(loss, features)
        assert loss.item() == 0
        assert gradient.eq(0).all()


def test_the_losses_of_views_keep_their_places():
    features, labels = normal(5, 3, 4), torch.tensor([0, 1, 0, 1, 2])
    assert SupConLoss(reduction="none")(features, labels).shape == (3, 5)
    assert SupConLoss(reduction="none", contrast_mode="one")(features, labels).shape == (5,)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda z: sup_con(z, labels=torch.zeros(3, dtype=torch.long)), DataError, "labels must name each of the 4"),
        (lambda z: sup_con(z, labels=torch.zeros(4)), ConfigError, "labels must be a tensor of integers"),
        (lambda z: sup_con(z[0], labels=torch.arange(4)), DataError, r"z must be embeddings \[B, D\]"),
        (lambda z: SupConLoss()(z[0]), DataError, r"features must be \[B, V, D\]"),
        (lambda z: SupConLoss()(z, torch.arange(4), torch.eye(4)), ConfigError, "labels or by mask"),
        (lambda z: SupConLoss()(z, mask=torch.eye(3)), DataError, r"mask must be \[4, 4\]"),
    ],
)
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call(normal(4, 3))
