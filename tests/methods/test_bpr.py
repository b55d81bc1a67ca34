"""BPR as a method: its loss is the mean over triples, and shares of ranks sum to it."""

import torch
from torch.nn.functional import normalize

from nearfar.contract import Batch, Latents
from nearfar.methods.bpr import BPR, BPROptions
from tests.methods.toys import Toy


def loss_of(z, ids, rows=slice(None), negatives=3):
    method = BPR(Toy(), BPROptions(projector_hidden=8, temperature=0.5, negatives=negatives))
    batch = Batch(ids=torch.tensor(ids), labels=torch.full((len(ids),), -1), rows=rows)
    return method.loss(Latents(z=z), batch).total


def test_each_positive_is_to_score_above_those_behind_it_but_for_its_own_kind():
    z, ids = torch.randn(2, 5, 4, dtype=torch.float64), [0, 1, 0, 2, 3]
    users, items = normalize(z, dim=-1)
    wanted = 0.0
    for i in range(5):
        for j in ((i + k) % 5 for k in (1, 2, 3)):
            if ids[i] != ids[j]:
                wanted -= torch.log(torch.sigmoid(users[i] @ (items[i] - items[j]) / 0.5)) / 15
    torch.testing.assert_close(loss_of(z, ids), wanted)


def test_shares_sum_to_the_loss():
    z = torch.randn(2, 5, 4)
    whole = loss_of(z, range(5))
    torch.testing.assert_close(loss_of(z, range(5), slice(0, 2)) + loss_of(z, range(5), slice(2, 5)), whole)
