"""InfoNCE: known values, negatives, ids, both directions."""

import math

import pytest
import torch
from torch.nn import functional as F

from nearfar.errors import DataError
from nearfar.losses import clip, info_nce

# The whole matrix is compared with tiles, for every loss, in `test_every_loss.py`.
TILED = pytest.mark.parametrize("implementation", ["tiled"])


def inputs(known):
    return [known["inputs"][key].requires_grad_() for key in ("z1", "z2")]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_cross_entropy(queries, documents, temperature, ruled_out=None):
    logits = F.normalize(queries) @ F.normalize(documents).T / temperature
    logits = logits if ruled_out is None else logits.masked_fill(ruled_out, -torch.inf)
    return F.cross_entropy(logits, torch.arange(len(queries)))


@TILED
@pytest.mark.parametrize("name", ["infonce_query_to_doc_t0.07", "infonce_query_to_doc_t0.5"])
def test_published_value_and_numeric_gradient(name, implementation, case):
    known = case(name)
    q, d = inputs(known)
    loss = info_nce(q, d, temperature=known["params"]["temperature"], implementation=implementation)
    loss.backward()
    assert loss.item() == pytest.approx(known["value"], abs=1e-14)
    torch.testing.assert_close(q.grad, torch.tensor(known["grad_z1"]).double(), rtol=0, atol=3e-8)
    torch.testing.assert_close(d.grad, torch.tensor(known["grad_z2"]).double(), rtol=0, atol=3e-8)


@TILED
def test_a_duplicate_positive_is_masked_by_its_id(implementation, case):
    known = case("infonce_duplicate_positive_t0.07")
    q, d = inputs(known)
    options = {"temperature": 0.07, "implementation": implementation}
    assert info_nce(q, d, **options).item() == pytest.approx(known["value"], abs=1e-13)
    masked = info_nce(q, d, ids=torch.tensor([0, 1, 2, 0]), **options)
    assert masked.item() == pytest.approx(known["value_with_duplicates_masked"], abs=1e-13)


def test_shares_of_two_ranks_have_the_exact_gradient(case):
    known = case("ddp_gather_world2_t0.5")
    q, d = inputs(known)
    share = [info_nce(q, d, temperature=0.5, rows=rows) for rows in (slice(0, 2), slice(2, 4))]
    assert sum(share).item() == pytest.approx(known["value"], abs=1e-14)
    sum(share).backward()
    torch.testing.assert_close(d.grad, torch.tensor(known["grad_z2_exact"]).double(), rtol=0, atol=3e-8)


@TILED
def test_symmetric_is_the_mean_of_both_directions(implementation):
    q, d = normal(9, 4), normal(9, 4, seed=1)
    both = info_nce(q, d, symmetric=True, implementation=implementation)
    torch.testing.assert_close(both, (info_nce(q, d) + info_nce(d, q)) / 2)
    torch.testing.assert_close(both, clip(q, d, scale=10.0, implementation=implementation))


@TILED
@pytest.mark.parametrize("own", [False, True], ids=["shared", "of-each-query"])
def test_negatives_are_columns_for_every_query(own, implementation):
    q, d, more = normal(5, 4), normal(5, 4, seed=1), normal(10, 4, seed=2)
    got = info_nce(q, d, negatives=more.view(5, 2, 4) if own else more, implementation=implementation)
    torch.testing.assert_close(got, by_cross_entropy(q, torch.cat([d, more]), 0.1))


@TILED
def test_negatives_have_no_part_in_the_other_direction(implementation):
    q, d, more = normal(5, 4), normal(5, 4, seed=1), normal(10, 4, seed=2)
    options = {"symmetric": True, "negatives": more, "implementation": implementation}
    expected = (by_cross_entropy(q, torch.cat([d, more]), 0.1) + by_cross_entropy(d, q, 0.1)) / 2
    torch.testing.assert_close(info_nce(q, d, **options), expected)
    shares = sum(info_nce(q, d, rows=rows, **options) for rows in (slice(0, 2), slice(2, 5)))
    torch.testing.assert_close(shares, expected)


@TILED
def test_negatives_that_are_a_querys_own_document_are_masked_by_id(implementation):
    q, d, more = normal(4, 4), normal(4, 4, seed=1), normal(3, 4, seed=2)
    ids, negative_ids = torch.tensor([10, 11, 12, 11]), torch.tensor([12, 10, 99])
    ruled_out = ids[:, None] == torch.cat([ids, negative_ids])
    ruled_out[range(4), range(4)] = False
    got = info_nce(q, d, negatives=more, ids=ids, negative_ids=negative_ids, implementation=implementation)
    torch.testing.assert_close(got, by_cross_entropy(q, torch.cat([d, more]), 0.1, ruled_out))


def test_negatives_without_ids_are_never_masked():
    q, d, more = normal(4, 4), normal(4, 4, seed=1), normal(3, 4, seed=2)
    ids = torch.tensor([0, 1, 2, 3])
    torch.testing.assert_close(info_nce(q, d, negatives=more, ids=ids), info_nce(q, d, negatives=more))


@TILED
def test_coinciding_embeddings_give_log_of_the_documents(implementation):
    ones = torch.ones(6, 3)
    got = info_nce(ones, ones, negatives=ones, implementation=implementation)
    assert got.item() == pytest.approx(math.log(12))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"negatives": torch.zeros(2, 5)}, DataError, r"negatives must be \[K, 4\] or \[3, K, 4\]"),
        ({"negatives": torch.zeros(2, 2, 4)}, DataError, r"got shape \[2, 2, 4\]"),
        ({"negative_ids": torch.zeros(2, dtype=torch.long)}, DataError, "without ids"),
    ],
)
def test_mistakes_are_named(options, error, message):
    with pytest.raises(error, match=message):
        info_nce(torch.ones(3, 4), torch.ones(3, 4), **options)


@pytest.mark.parametrize("symmetric", [False, True])
def test_how_often_things_come_is_taken_from_their_logits_as_candidates(symmetric):
    q, d, log_q = normal(6, 3), normal(6, 3, seed=1), normal(2, 6, seed=2)
    logits = F.normalize(q) @ F.normalize(d).T / 0.3
    wanted = [
        F.cross_entropy(logits - log_q[1], torch.arange(6)),
        F.cross_entropy(logits.T - log_q[0], torch.arange(6)),
    ]
    found = info_nce(q, d, temperature=0.3, symmetric=symmetric, log_q=log_q)
    torch.testing.assert_close(found, torch.stack(wanted[: 1 + symmetric]).mean())
    halves = [
        info_nce(q, d, temperature=0.3, symmetric=symmetric, log_q=log_q, rows=r) for r in (slice(4), slice(4, 6))
    ]
    torch.testing.assert_close(sum(halves), found)


def test_things_of_one_id_that_come_often_are_still_no_negatives_of_each_other():
    q, d, log_q = normal(4, 3), normal(4, 3, seed=1), normal(2, 4, seed=2)
    logits = F.normalize(q) @ F.normalize(d).T / 0.1 - log_q[1]
    ids = torch.tensor([5, 7, 5, 8])
    same = (ids[:, None] == ids) & ~torch.eye(4, dtype=torch.bool)
    wanted = F.cross_entropy(logits.masked_fill(same, -torch.inf), torch.arange(4))
    torch.testing.assert_close(info_nce(q, d, ids=ids, log_q=log_q), wanted)
