"""Multi-positive InfoNCE: loops from the formula, masks and groups, its relation to InfoNCE."""

import math

import pytest
import torch

from nearfar.errors import ConfigError, DataError
from nearfar.losses import info_nce, multi_positive

# The whole matrix is compared with tiles, for every loss, in `test_every_loss.py`.
TILED = pytest.mark.parametrize("implementation", ["tiled"])
VARIANTS = pytest.mark.parametrize("variant", ["out", "in"])
QUERY_GROUPS, DOCUMENT_GROUPS = torch.tensor([0, 1, 1, -1, 9, 2]), torch.tensor([1, 0, 2, 0, -1, 1, 1, 7])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loops(q, d, mask, temperature, variant):
    q, d = (torch.nn.functional.normalize(z) for z in (q, d))
    losses = []
    for i in range(len(q)):
        t = [float(q[i] @ y) / temperature for y in d]
        own = [x for x, positive in zip(t, mask[i], strict=True) if positive]
        lse = math.log(sum(map(math.exp, t)))
        if not own:
            losses.append(0.0)
        elif variant == "out":
            losses.append(lse - sum(own) / len(own))
        else:
            losses.append(lse - math.log(sum(map(math.exp, own)) / len(own)))
    return losses


@TILED
@VARIANTS
@pytest.mark.parametrize("kind", ["mask", "groups"])
def test_value_by_loops(kind, variant, implementation):
    q, d = normal(6, 4), normal(8, 4, seed=1)
    mask = (QUERY_GROUPS[:, None] == DOCUMENT_GROUPS) & (QUERY_GROUPS[:, None] != -1)
    given = {"mask": mask} if kind == "mask" else {"groups": (QUERY_GROUPS, DOCUMENT_GROUPS)}
    options = {"temperature": 0.3, "variant": variant, "implementation": implementation, **given}
    losses = by_loops(q, d, mask, 0.3, variant)
    expected = torch.tensor(losses, dtype=torch.float64)
    torch.testing.assert_close(multi_positive(q, d, reduction="none", **options), expected, rtol=1e-12, atol=1e-13)
    assert multi_positive(q, d, **options).item() == pytest.approx(sum(losses) / 4, rel=1e-12)
    assert multi_positive(q, d, reduction="mean", **options).item() == pytest.approx(sum(losses) / 6, rel=1e-12)


@TILED
@VARIANTS
@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 7), (7, 1)])
def test_rows_and_columns_may_differ_in_number(m, n, variant, implementation):
    q, d = normal(m, 4).requires_grad_(), normal(n, 4, seed=1).requires_grad_()
    groups = (torch.arange(m) % 2, torch.arange(n) % 2)
    options = {"variant": variant, "implementation": implementation}
    by_group = multi_positive(q, d, groups=groups, **options)
    by_mask = multi_positive(q, d, mask=groups[0][:, None] == groups[1], **options)
    torch.testing.assert_close(by_group, by_mask, rtol=1e-12, atol=1e-13)
    for x, y in zip(torch.autograd.grad(by_group, (q, d)), torch.autograd.grad(by_mask, (q, d)), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-11, atol=1e-13)


@VARIANTS
def test_one_positive_each_is_info_nce(variant):
    q, d = normal(6, 4), normal(6, 4, seed=1)
    expected = info_nce(q, d, temperature=0.2)
    for given in ({"mask": torch.eye(6, dtype=torch.bool)}, {"groups": (torch.arange(6), torch.arange(6))}):
        torch.testing.assert_close(multi_positive(q, d, temperature=0.2, variant=variant, **given), expected)


@VARIANTS
def test_coinciding_embeddings_give_log_of_the_documents(variant):
    got = multi_positive(torch.ones(3, 2), torch.ones(5, 2), mask=torch.eye(3, 5).bool(), variant=variant)
    assert got.item() == pytest.approx(math.log(5))


def test_inside_the_log_one_found_positive_is_enough():
    q, d = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    mask = torch.tensor([[True, True, False]])
    out, inside = (multi_positive(q, d, mask=mask, variant=v, temperature=0.05).item() for v in ("out", "in"))
    assert inside == pytest.approx(math.log(2), abs=1e-6)
    assert out > 19


@VARIANTS
def test_without_any_positive_the_loss_and_its_gradient_are_0(variant):
    q, d = normal(3, 4).requires_grad_(), normal(2, 4, seed=1)
    for given in (
        {"mask": torch.zeros(3, 2, dtype=torch.bool)},
        {"groups": (torch.tensor([-1, -1, 3]), torch.arange(2))},
    ):
        loss = multi_positive(q, d, variant=variant, **given)
        (gradient,) = torch.autograd.grad(loss, q)
        assert loss.item() == 0
        assert gradient.eq(0).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ConfigError, "by mask or by groups: pass one of the two"),
        (
            {"mask": torch.zeros(3, 2).bool(), "groups": (torch.arange(3), torch.arange(2))},
            ConfigError,
            "one of the two",
        ),
        ({"mask": torch.zeros(3, 2)}, ConfigError, r"tensor of booleans, got torch.float32: pass mask.bool\(\)"),
        ({"mask": torch.zeros(3, 3).bool()}, DataError, r"mask must be \[3, 2\]"),
        ({"groups": (torch.arange(3), torch.arange(3))}, DataError, "groups must name each of the 5 samples once"),
    ],
)
def test_mistakes_are_named(options, error, message):
    with pytest.raises(error, match=message):
        multi_positive(torch.ones(3, 4), torch.ones(2, 4), **options)


def test_widths_that_differ_are_named():
    with pytest.raises(DataError, match=r"documents must be embeddings, all of one width D .*got \[2, 5\]"):
        multi_positive(torch.ones(3, 4), torch.ones(2, 5), mask=torch.zeros(3, 2).bool())
