"""NT-Xent: known values, invariances, masks, shares of ranks, half precision, memory."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfar.errors import ConfigError, DataError
from nearfar.losses import NTXentLoss, nt_xent

BOTH = pytest.mark.parametrize("implementation", ["dense", "tiled"])


def views(*shape, count=2, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_() for _ in range(count)]


def by_loops(zs, temperature, ids=None):
    """The mean over anchors, one pair after the other, in float64."""
    rows = [(s, u / u.norm()) for z in zs for s, u in enumerate(z.detach().double())]
    total = 0.0
    for i, (sample, u) in enumerate(rows):
        same = [j for j, (other, _) in enumerate(rows) if other == sample and j != i]
        others = [j for j, (s, _) in enumerate(rows) if s != sample and (ids is None or ids[s] != ids[sample])]
        logit = {j: float(u @ rows[j][1]) / temperature for j in same + others}
        largest = max(logit.values())
        lse = largest + math.log(sum(math.exp(x - largest) for x in logit.values()))
        total += lse - sum(logit[j] for j in same) / len(same)
    return total / len(rows)


@BOTH
@pytest.mark.parametrize("name", ["ntxent_simclr_t0.1", "ntxent_simclr_t0.5"])
def test_published_value_and_numeric_gradient(name, implementation, case):
    known = case(name)
    z1, z2 = (known["inputs"][key].requires_grad_() for key in ("z1", "z2"))
    loss = nt_xent(z1, z2, temperature=known["params"]["temperature"], implementation=implementation)
    loss.backward()
    assert loss.item() == pytest.approx(known["value"], abs=1e-14)
    assert loss.item() != pytest.approx(known["value_if_self_not_masked"], abs=1e-2)
    torch.testing.assert_close(z1.grad, torch.tensor(known["grad_z1"]).double(), rtol=0, atol=3e-8)
    torch.testing.assert_close(z2.grad, torch.tensor(known["grad_z2"]).double(), rtol=0, atol=3e-8)


@BOTH
@pytest.mark.parametrize("count", [2, 3])
def test_value_by_loops(count, implementation):
    zs = views(5, 4, count=count)
    assert nt_xent(*zs, implementation=implementation).item() == pytest.approx(by_loops(zs, 0.1), abs=1e-12)


@BOTH
@pytest.mark.parametrize("count", [2, 3])
def test_equal_ids_are_no_negatives_by_loops(count, implementation):
    zs, ids = views(6, 4, count=count), torch.tensor([7, -3, 7, 5, -3, 0])
    got = nt_xent(*zs, ids=ids, implementation=implementation).item()
    assert got == pytest.approx(by_loops(zs, 0.1, ids.tolist()), abs=1e-12)


@BOTH
@pytest.mark.parametrize(("b", "count"), [(1, 3), (4, 2), (9, 3)])
def test_coinciding_views_give_log_of_the_other_views(b, count, implementation):
    z = torch.ones(b, 8)
    assert nt_xent(*[z] * count, implementation=implementation).item() == pytest.approx(
        math.log(count * b - 1), abs=1e-5
    )


@BOTH
def test_one_pair_alone_has_nothing_to_tell_apart(implementation):
    zs = views(1, 4)
    loss = nt_xent(*zs, implementation=implementation)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-15)
    assert zs[0].grad.abs().max() < 1e-14


@BOTH
@pytest.mark.parametrize("count", [2, 3])
def test_gradcheck(count, implementation):
    ids = torch.tensor([0, 1, 0, 2])
    temperature = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)

    def run(temperature, *zs):
        plain = nt_xent(*zs, temperature=temperature, implementation=implementation)
        return plain, nt_xent(*zs, temperature=temperature, ids=ids, implementation=implementation)

    assert torch.autograd.gradcheck(run, (temperature, *views(4, 3, count=count)))


def test_the_dense_form_can_be_differentiated_twice():
    assert torch.autograd.gradgradcheck(lambda *z: nt_xent(*z, implementation="dense"), views(3, 3))


def test_the_tiled_form_says_that_it_cannot_be_differentiated_twice():
    zs = views(3, 3)
    gradients = torch.autograd.grad(nt_xent(*zs, implementation="tiled"), zs, create_graph=True)
    with pytest.raises(ConfigError, match="no second derivative"):
        gradients[0].square().sum().backward()


def test_a_stack_of_views_unpacks():
    zs = views(5, 4, count=3)
    assert nt_xent(*torch.stack(zs)).equal(nt_xent(*zs))


@settings(max_examples=15, deadline=None)
@given(b=st.integers(1, 40), d=st.integers(1, 9), seed=st.integers(0, 99), t=st.floats(0.01, 2))
def test_dense_and_tiled_agree(b, d, seed, t):
    zs = views(b, d, seed=seed)
    dense, tiled = (nt_xent(*zs, temperature=t, implementation=how) for how in ("dense", "tiled"))
    torch.testing.assert_close(dense, tiled, rtol=1e-11, atol=1e-12)
    for x, y in zip(torch.autograd.grad(dense, zs), torch.autograd.grad(tiled, zs), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-8, atol=1e-10)


@settings(max_examples=15, deadline=None)
@given(b=st.integers(1, 12), seed=st.integers(0, 99))
def test_the_order_of_samples_and_of_views_does_not_matter(b, seed):
    z1, z2 = views(b, 5, seed=seed)
    order = torch.randperm(b, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(nt_xent(z1, z2), nt_xent(z2[order], z1[order]), rtol=1e-12, atol=1e-13)


@settings(max_examples=15, deadline=None)
@given(factor=st.floats(1e-6, 1e6), seed=st.integers(0, 99))
def test_the_length_of_embeddings_does_not_matter(factor, seed):
    z1, z2 = views(6, 5, seed=seed)
    torch.testing.assert_close(nt_xent(z1 * factor, z2), nt_xent(z1, z2), rtol=1e-11, atol=1e-12)


@BOTH
@pytest.mark.parametrize("ids", [None, torch.tensor([0, 1, 2, 0, 1, 5, 6])], ids=["plain", "ids"])
@pytest.mark.parametrize("cuts", [(0, 3, 7), (0, 0, 5, 7)], ids=["two", "one-empty"])
def test_shares_of_ranks_sum_to_the_whole(cuts, ids, implementation):
    zs = views(7, 4)
    whole = nt_xent(*zs, ids=ids, implementation=implementation)
    shares = [
        nt_xent(*zs, ids=ids, rows=slice(i, j), implementation=implementation) for i, j in itertools.pairwise(cuts)
    ]
    torch.testing.assert_close(sum(shares), whole, rtol=1e-13, atol=1e-13)
    expected, got = torch.autograd.grad(whole, zs), torch.autograd.grad(sum(shares), zs)
    torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-13)


@BOTH
@pytest.mark.parametrize("start", range(4))
def test_in_a_gathered_batch_the_anchor_itself_is_left_out_at_its_own_place(start, implementation):
    """Samples start..start+1 belong to this rank: their own columns are not the first ones."""
    zs = views(5, 4)
    rows = slice(start, start + 2)
    each = nt_xent(*zs, rows=rows, reduction="none", implementation=implementation)
    torch.testing.assert_close(each, nt_xent(*zs, reduction="none")[:, rows], rtol=1e-13, atol=1e-13)


def test_reductions_agree():
    zs = views(6, 4)
    each = nt_xent(*zs, reduction="none")
    assert each.shape == (2, 6)
    torch.testing.assert_close(each.mean(), nt_xent(*zs))
    torch.testing.assert_close(each.sum(), nt_xent(*zs, reduction="sum"))
    torch.testing.assert_close(each[:, 2:4], nt_xent(*zs, reduction="none", rows=slice(2, 4)))


@BOTH
def test_a_zero_vector_has_a_finite_loss_and_gradient_zero(implementation):
    z1, z2 = views(5, 4, dtype=torch.float32)
    z1.data[2] = 0
    loss = nt_xent(z1, z2, implementation=implementation)
    loss.backward()
    assert loss.isfinite()
    assert z1.grad[2].eq(0).all()
    assert z2.grad.isfinite().all()


@BOTH
@pytest.mark.parametrize(("dtype", "error"), [(torch.bfloat16, 1e-5), (torch.float16, 1e-5), (torch.float32, 1e-5)])
def test_low_temperature_is_exact_for_the_given_numbers_in_any_precision(dtype, error, implementation):
    zs = [z.detach().to(dtype).requires_grad_() for z in views(50, 16)]
    loss = nt_xent(*zs, temperature=0.01, implementation=implementation)
    loss.backward()
    exact = nt_xent(*[z.detach().double() for z in zs], temperature=0.01)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=error)
    assert all(z.grad.dtype == dtype and z.grad.isfinite().all() for z in zs)


@BOTH
def test_the_worst_pair_keeps_its_loss_and_gradient(implementation):
    """A sum of exp with a constant inside the log would clip this loss near 87 and give gradient 0."""
    z1 = torch.tensor([[1.0, 0.0], [-1.0, 1e-3]], requires_grad=True)
    z2 = torch.tensor([[-1.0, 0.0], [1.0, 1e-3]])
    loss = nt_xent(z1, z2, temperature=0.01, implementation=implementation)
    loss.backward()
    exact = by_loops([z1.detach(), z2], 0.01)
    assert loss.item() == pytest.approx(exact, rel=1e-6)
    assert exact > 190
    assert z1.grad.abs().max() > 1e-2


def test_the_module_is_the_function():
    zs = views(6, 4)
    assert NTXentLoss(temperature=0.5)(*zs).equal(nt_xent(*zs, temperature=0.5))
    assert repr(NTXentLoss(0.5)) == "NTXentLoss(temperature=0.5, reduction='mean')"


@pytest.mark.parametrize("temperature", [0.1, 0.01], ids=["bounded", "online"])
def test_memory_grows_with_the_batch_and_not_with_its_square(temperature, peak_bytes):
    def peak(b):
        zs = views(b, 16, dtype=torch.float32)
        return peak_bytes(lambda: nt_xent(*zs, temperature=temperature).backward())

    small, middle, large = peak(1024), peak(2048), peak(3072)
    assert large - middle < 1.2 * (middle - small) + 1e5
    assert large < 6e6 < (2 * 3072) ** 2 * 4 / 20


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ([(3, 4), (4, 4)], {}, DataError, r"z1 \[3, 4\], z2 \[4, 4\]"),
        ([(3,), (3,)], {}, DataError, r"z1 must be embeddings \[B, D\], got shape \[3\]"),
        ([(0, 4), (0, 4)], {}, DataError, "batch is empty"),
        ([(3, 4), (3, 4)], {"temperature": 0}, ConfigError, "temperature must be > 0, got 0"),
        ([(3, 4), (3, 4)], {"temperature": float("nan")}, ConfigError, "temperature must be > 0, got nan"),
        ([(3, 4), (3, 4)], {"reduction": "avg"}, ConfigError, "'mean', 'sum', 'none', got 'avg'"),
        ([(3, 4), (3, 4)], {"ids": torch.zeros(4, dtype=torch.long)}, DataError, "ids must name each of the 3 samples"),
        ([(3, 4), (3, 4)], {"ids": torch.zeros(3)}, ConfigError, "tensor of integers, got torch.float32"),
        ([(3, 4), (3, 4)], {"rows": slice(2, 5)}, ConfigError, r"range within 0..3"),
    ],
)
def test_mistakes_are_named(arguments, options, error, message):
    with pytest.raises(error, match=message):
        nt_xent(*[torch.zeros(shape) for shape in arguments], **options)


def test_integers_are_refused():
    with pytest.raises(DataError, match="floating point"):
        nt_xent(torch.ones(2, 2, dtype=torch.long), torch.ones(2, 2, dtype=torch.long))
