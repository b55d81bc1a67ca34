"""Towers: LightGCN is its paper's formula, histories are sums, padding says nothing."""

import pytest
import torch

from nearfar.modalities.interactions.graph import Graph
from nearfar.modalities.interactions.towers import TOWERS

EDGES = torch.tensor([[0, 0, 1, 2, 2], [0, 1, 1, 0, 3]])


def tower(name, **more):
    torch.manual_seed(0)
    config = {"users": ["a", "b", "c"], "items": ["w", "x", "y", "z"], "dimensions": 6, "history": 4}
    config |= {"graph_layers": 2, "graph_noise": 0.0, "edge_dropout": 0.0, "edges": EDGES.shape[1]}
    made = TOWERS[name](config | more)
    if name == "lightgcn":
        made.edges.copy_(EDGES)
    return made


def adjacency():
    matrix = torch.zeros(7, 7, dtype=torch.float64)
    matrix[EDGES[0], EDGES[1] + 3] = 1
    matrix += matrix.T.clone()
    degrees = matrix.sum(1).clamp_min(1)
    return matrix / (degrees[:, None] * degrees).sqrt()


def test_spreading_is_the_normalised_adjacency_and_so_is_its_gradient():
    graph, x = Graph(EDGES[0], EDGES[1] + 3, 7), torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(graph.spread(x), adjacency() @ x, rtol=1e-6, atol=1e-7)
    weigh = torch.randn(7, 3, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((graph.spread(x) * weigh).sum(), x)
    torch.testing.assert_close(gradient, adjacency().T @ weigh, rtol=1e-6, atol=1e-7)


def test_lightgcn_is_the_mean_of_its_layers():
    made = tower("lightgcn").eval()
    x, a = made.nodes.weight.detach(), adjacency().float()
    wanted = (x + a @ x + a @ a @ x) / 3
    torch.testing.assert_close(made.of_items(torch.tensor([3, 0])).detach(), wanted[[6, 3]])
    history = torch.full((2, 1), -1)
    torch.testing.assert_close(made.of_users(torch.tensor([2, 0]), history).detach(), wanted[[2, 0]])


def test_vectors_that_are_kept_follow_the_weights():
    made, item = tower("lightgcn").eval(), torch.tensor([1])
    with torch.no_grad():
        before = made.of_items(item)
        made.nodes.weight.mul_(2)
        torch.testing.assert_close(made.of_items(item), 2 * before)


@pytest.mark.parametrize("option", ["graph_noise", "edge_dropout"])
def test_noise_and_left_out_edges_are_there_in_training_alone_and_one_pass_serves_both_sides(option):
    made, item = tower("lightgcn", **{option: 0.5}), torch.arange(4)
    with made.once():
        assert torch.equal(made.of_items(item), made.of_items(item))
    assert not torch.equal(made.of_items(item), made.of_items(item))
    made.eval()
    assert torch.equal(made.of_items(item), made.of_items(item))


def test_a_user_that_is_not_known_lies_between_what_was_had():
    made = tower("embedding")
    found = made.of_users(torch.tensor([3, 1]), torch.tensor([[0, 2], [-1, -1]]))
    had = torch.nn.functional.normalize(made.of_items(torch.tensor([0, 2])), dim=-1)
    torch.testing.assert_close(found[0], had.mean(0))
    torch.testing.assert_close(found[1], made.nodes.weight[1])


def test_a_history_is_the_weighted_sum_of_its_items():
    made = tower("history")
    made.often.copy_(torch.tensor([1, 4, 9, 0]))
    found = made.of_users(torch.zeros(3, dtype=torch.long), torch.tensor([[1, 2, -1], [-1, -1, -1], [0, 3, 1]]))
    had = made.had.weight
    torch.testing.assert_close(found[0], had[1] / 2 + had[2] / 3)
    torch.testing.assert_close(found[1], torch.zeros(6))
    torch.testing.assert_close(found[2], had[0] + had[3] + had[1] / 2)


@pytest.mark.parametrize("name", ["history", "sequence"])
def test_padding_says_nothing_and_order_counts_for_sequences(name):
    made = tower(name).eval()
    user = torch.zeros(1, dtype=torch.long)
    short, longer, turned = (torch.tensor([had]) for had in ([1, 2], [1, 2, -1, -1], [2, 1]))
    with torch.no_grad():
        torch.testing.assert_close(made.of_users(user, short), made.of_users(user, longer))
        same = torch.allclose(made.of_users(user, short), made.of_users(user, turned), atol=1e-5)
        assert same == (name == "history")
        assert not made.of_users(user, torch.full((1, 2), -1)).any()


def test_views_of_one_pair_come_of_one_pass_over_the_graph_and_those_of_another_of_another():
    from nearfar.contract import Views
    from nearfar.modalities.interactions.encoder import InteractionEncoder

    config = {
        "users": ["a", "b", "c"],
        "items": ["w", "x", "y", "z"],
        "dimensions": 6,
        "history": 0,
        "encoder": "lightgcn",
    }
    config |= {"graph_layers": 1, "graph_noise": 0.5, "edge_dropout": 0.0, "edges": EDGES.shape[1], "seen": 5}
    encoder = InteractionEncoder(config)
    encoder.tower.edges.copy_(EDGES)
    item = {"item": torch.arange(4)}
    views = Views(lambda number, start, stop: item, range(4), 0, 4, wide=4)
    z = encoder(views)
    assert torch.equal(z[0], z[1])
    assert torch.equal(z[2], z[3])
    assert not torch.equal(z[0], z[2])
