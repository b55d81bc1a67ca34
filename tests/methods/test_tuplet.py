"""Tuplet: an anchor's own candidates alone, given and mined."""

import math

import torch
from torch.nn.functional import normalize

from nearfar.contract import Latents
from nearfar.methods.tuplet import Tuplet, TupletOptions
from tests.methods.toys import Toy, batch_of, normal

GIVEN = [True, False, True, True, False]


def with_negatives(rows=slice(None), negative_ids=(90, 91, 92, 1, 94)):
    present = torch.ones(3, 5, dtype=torch.bool)
    present[2] = torch.tensor(GIVEN)
    return batch_of([0, 0, 2, 1, 4], present=present, negative_ids=torch.tensor(negative_ids), rows=rows)


def by_hand(z, mined, given, ids, t=0.3):
    u = normalize(z, dim=-1)
    losses = []
    for i in range(len(ids)):
        others = sorted(((u[0, i] @ u[1, j]).item() for j in range(len(ids)) if ids[j] != ids[i]), reverse=True)[:mined]
        others += [(u[0, i] @ u[2, i]).item()] if given[i] else []
        positive = (u[0, i] @ u[1, i]).item()
        losses.append(math.log(1 + sum(math.exp((s - positive) / t) for s in others)))
    return torch.tensor(sum(losses) / len(losses))


def test_each_anchor_has_its_nearest_candidates_and_its_given_negative():
    z = normal(3, 5, 8)
    for mined in (0, 2, 9):
        method = Tuplet(Toy(), TupletOptions(temperature=0.3, mined=mined))
        # The negative of sample 3 shows the same as sample 3: it is none.
        expected = by_hand(z, mined, [True, False, True, False, False], [0, 0, 2, 1, 4])
        torch.testing.assert_close(method.loss(Latents(z=z), with_negatives()).total, expected)


def test_a_sample_without_a_negative_says_nothing_by_its_third_view():
    z = normal(3, 5, 8).requires_grad_()
    Tuplet(Toy()).loss(Latents(z=z), with_negatives(negative_ids=(90, 91, 92, 93, 94))).total.backward()
    assert z.grad[2].any(dim=1).tolist() == GIVEN


def test_the_shares_of_ranks_sum_to_the_whole():
    z, method = normal(3, 5, 8), Tuplet(Toy())
    parts = [method.loss(Latents(z=z), with_negatives(rows)).total for rows in (slice(0, 3), slice(3, 3), slice(3, 5))]
    torch.testing.assert_close(sum(parts), method.loss(Latents(z=z), with_negatives()).total)
