"""densecl against a loop over cells in float64; what a grid is; what is asked of an encoder."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d, cosine_similarity

from nearfar.contract import Encoder, Latents, Map, Views
from nearfar.errors import ConfigError
from nearfar.losses import nt_xent
from nearfar.methods.densecl import DenseCL, DenseCLOptions, grid_of, matches
from nearfar.training.step import training_step
from tests.methods.toys import Mapless, batch_of, normal

IDS = [0, 1, 2, 3, 1]  # one content twice
TEMPERATURE = 0.3


class Seeing(Encoder):
    """Two convolutions over pictures: 8 channels in 6 x 5 cells; `passes` counts how often they ran."""

    def __init__(self):
        super().__init__()
        self.dim, self.config, self.passes = 8, {}, 0
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, 2, 1)

    def features_and_maps(self, inputs):
        self.passes += 1
        fine = self.first(inputs).tanh()
        coarse = self.second(fine).tanh()
        return coarse.mean((2, 3)), [Map(fine, 1), Map(coarse, 2)]

    def map_shapes(self):
        return [(6, 1), (8, 2)]


def made(**options):
    torch.manual_seed(0)
    given = {"temperature": TEMPERATURE, "projector_hidden": 16, "projector_out": 7, "grid": 3, **options}
    return DenseCL(Seeing(), DenseCLOptions(**given)).double().eval()


def pictures():
    """Views `[2, 5, 3, 12, 10]` of which the second is near the first."""
    x = normal(1, len(IDS), 3, 12, 10).double()
    return x + 0.3 * normal(2, len(IDS), 3, 12, 10, seed=1).double()


def views_of(x):
    return Views(lambda view, start, stop: x[view, start:stop], range(2), 0, x.shape[1], 2)


def by_hand(method, x):
    """Equation 2 of the paper, cell by cell, with negatives as the file says."""
    f = [adaptive_avg_pool2d(method.encoder.features_and_maps(view)[1][-1].values, (3, 3)).flatten(2) for view in x]
    r = [method.cell_projector(one.mT).mT for one in f]  # [b d s]
    losses = []
    for one, other in ((0, 1), (1, 0)):
        for i, name in enumerate(IDS):
            others = [r[view][k].mean(-1) for view in (0, 1) for k in range(len(IDS)) if IDS[k] != name]
            for s in range(9):
                near = torch.stack([cosine_similarity(f[one][i, :, s], f[other][i, :, j], 0) for j in range(9)])
                query, key = r[one][i, :, s], r[other][i, :, int(near.argmax())]
                positive = (cosine_similarity(query, key, 0) / TEMPERATURE).exp()
                negatives = [(cosine_similarity(query, vector, 0) / TEMPERATURE).exp() for vector in others]
                losses.append(-(positive / (positive + sum(negatives))).log())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_it_is_nt_xent_of_samples_and_the_papers_loss_of_cells(weight):
    method, x = made(dense_weight=weight), pictures()
    found = method.loss(method.embed(views_of(x)), batch_of(IDS))
    features = torch.stack([method.encoder.features_and_maps(view)[0] for view in x])
    z = method.projector(features.flatten(0, 1)).view(2, len(IDS), -1)
    whole, dense = nt_xent(*z, temperature=TEMPERATURE, ids=torch.tensor(IDS)), by_hand(method, x)
    torch.testing.assert_close(found.parts["dense_loss"], dense)
    torch.testing.assert_close(found.total, (1 - weight) * whole + weight * dense)


def test_its_gradient_is_that_of_the_loop():
    method, x, batch = made(dense_weight=1.0), pictures(), batch_of(IDS)
    training_step(method, views_of(x), batch)
    found = {name: p.grad.clone() for name, p in method.named_parameters() if name.startswith(("encoder", "cell"))}
    method.zero_grad()
    by_hand(method, x).backward()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, method.get_parameter(name).grad)
    assert found["cell_projector.0.weight"].abs().max() > 1e-4


def test_the_network_sees_both_views_in_one_pass():
    method = made()
    method.embed(views_of(pictures()))
    assert method.encoder.passes == 1


def test_a_cell_that_has_moved_is_found_where_it_went():
    cells = torch.eye(4).repeat(3, 1, 1)  # [3 4 4]: cells that have nothing in common
    moved = cells[:, [2, 0, 3, 1]]
    grids = torch.stack([cells, moved])
    assert torch.equal(matches(grids, grids), torch.ones(2, 3, 4))
    vectors = torch.stack([cells, cells])
    assert torch.equal(matches(grids, vectors), torch.zeros(2, 3, 4))


def test_which_cell_is_the_nearest_gets_no_gradient_from_the_map_itself():
    grids = normal(2, 3, 4, 5).requires_grad_()
    cells = normal(2, 3, 4, 6, seed=1).requires_grad_()
    matches(grids, cells).sum().backward()
    assert grids.grad is None
    assert cells.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("shape", "most", "cells"), [((7, 7), 7, 49), ((4, 4), 7, 16), ((12, 9), 7, 49), ((3, 8), 5, 15)]
)
def test_a_grid_has_no_more_cells_than_the_map(shape, most, cells):
    maps = normal(2, 5, *shape)
    grid = grid_of(maps, most)
    assert grid.shape == (2, cells, 5)
    torch.testing.assert_close(adaptive_avg_pool2d(maps, [min(most, side) for side in shape]).flatten(2).mT, grid)


def test_cells_of_samples_that_all_show_the_same_have_nothing_to_tell_apart():
    method, x = made(dense_weight=1.0), pictures()
    assert method.loss(method.embed(views_of(x)), batch_of([7] * len(IDS))).total == 0


def test_where_all_latents_coincide_it_is_the_logarithm_of_the_candidates():
    method = made()
    ones = Latents(z=torch.ones(2, 5, 7), cells=torch.ones(2, 5, 9 * 7), matched=torch.ones(2, 5, 9))
    found = method.loss(ones, batch_of(5)).parts
    assert found["whole_loss"].item() == pytest.approx(math.log(9))  # the other view, and 4 x 2 of other samples
    assert found["dense_loss"].item() == pytest.approx(math.log(9))  # the positive, and as many means


def test_latents_are_named_and_shaped_by_samples():
    method = made()
    z = method.embed(views_of(pictures()))
    assert {name: tuple(latent.shape) for name, latent in z.items()} == {
        "z": (2, 5, 7), "cells": (2, 5, 9 * 7), "matched": (2, 5, 9),
    }  # fmt: skip
    assert z.features.shape == (2, 5, 8)


def test_an_encoder_without_maps_is_refused():
    with pytest.raises(ConfigError, match="has no feature maps"):
        DenseCL(Mapless(), DenseCLOptions())
