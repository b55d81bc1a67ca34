"""NT-Xent: known values, masks."""

import math

import pytest
import torch

from nearfar.losses import nt_xent

# The whole matrix is compared with tiles, for every loss, in `test_every_loss.py`.
TILED = pytest.mark.parametrize("implementation", ["tiled"])


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


@TILED
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


@TILED
@pytest.mark.parametrize("count", [2, 3])
def test_value_by_loops(count, implementation):
    zs = views(5, 4, count=count)
    assert nt_xent(*zs, implementation=implementation).item() == pytest.approx(by_loops(zs, 0.1), abs=1e-12)


@TILED
@pytest.mark.parametrize("count", [2, 3])
def test_equal_ids_are_no_negatives_by_loops(count, implementation):
    zs, ids = views(6, 4, count=count), torch.tensor([7, -3, 7, 5, -3, 0])
    got = nt_xent(*zs, ids=ids, implementation=implementation).item()
    assert got == pytest.approx(by_loops(zs, 0.1, ids.tolist()), abs=1e-12)


@TILED
@pytest.mark.parametrize(("b", "count"), [(1, 3), (4, 2), (9, 3)])
def test_coinciding_views_give_log_of_the_other_views(b, count, implementation):
    z = torch.ones(b, 8)
    assert nt_xent(*[z] * count, implementation=implementation).item() == pytest.approx(
        math.log(count * b - 1), abs=1e-5
    )


@TILED
def test_one_pair_alone_has_nothing_to_tell_apart(implementation):
    zs = views(1, 4)
    loss = nt_xent(*zs, implementation=implementation)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-15)
    assert zs[0].grad.abs().max() < 1e-14


def test_a_stack_of_views_unpacks():
    zs = views(5, 4, count=3)
    assert nt_xent(*torch.stack(zs)).equal(nt_xent(*zs))


@TILED
@pytest.mark.parametrize("start", range(4))
def test_in_a_gathered_batch_the_anchor_itself_is_left_out_at_its_own_place(start, implementation):
    """Samples start..start+1 belong to this rank: their own columns are not the first ones."""
    zs = views(5, 4)
    rows = slice(start, start + 2)
    each = nt_xent(*zs, rows=rows, reduction="none", implementation=implementation)
    torch.testing.assert_close(each, nt_xent(*zs, reduction="none")[:, rows], rtol=1e-13, atol=1e-13)


@TILED
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
