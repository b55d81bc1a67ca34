"""Losses against class vectors: classes may change places, a sample may lie on its vector, labels are checked."""

import pytest
import torch

from nearfar.errors import ConfigError, DataError
from nearfar.losses import ProxyNCALoss, arc_face, cos_face, proxy_anchor, proxy_nca
from tests.losses.table import normal

EVERY = pytest.mark.parametrize("loss", [arc_face, cos_face, proxy_nca, proxy_anchor])


@EVERY
def test_the_order_of_samples_and_of_classes_does_not_matter(loss):
    z, w, labels = normal(9, 4), normal(5, 4, seed=10), torch.arange(9) * 3 % 4
    generator = torch.Generator().manual_seed(0)
    samples, order = torch.randperm(9, generator=generator), torch.randperm(5, generator=generator)
    renamed = torch.argsort(order)[labels]
    torch.testing.assert_close(loss(z[samples], w[order], labels=renamed[samples]), loss(z, w, labels=labels))


@EVERY
def test_a_sample_on_its_class_vector_or_against_it_has_finite_gradients(loss):
    for implementation in ("dense", "tiled"):
        w = normal(3, 4).requires_grad_()
        z = torch.cat([w.detach(), -w.detach()]).requires_grad_()
        loss(z, w, labels=torch.arange(6) % 3, implementation=implementation).backward()
        assert z.grad.isfinite().all()
        assert w.grad.isfinite().all()


@EVERY
def test_memory_grows_with_samples_and_classes_and_not_with_their_product(loss, peak_bytes, monkeypatch):
    monkeypatch.setattr("nearfar.kernels.tiled._EDGE", {"cpu": 128})
    z, w = normal(512, 8, dtype=torch.float32).requires_grad_(), normal(4096, 8, seed=1, dtype=torch.float32)
    w.requires_grad_()
    labels = torch.arange(512)
    assert peak_bytes(lambda: loss(z, w, labels=labels, implementation="tiled").backward()) < 512 * 4096 * 4 / 4


@pytest.mark.parametrize(
    ("width", "labels", "message"),
    [
        (5, [0, 1, 3], r"class vectors must be embeddings \[N, 2\], got shape \[4, 5\]"),
        (2, [0, 1], r"labels must be \[3\] class numbers"),
        (2, [0.0, 1.0, 3.0], "class numbers, got torch.float32"),
        (2, [True, False, True], "class numbers, got torch.bool"),
        (2, [1, 2, 4], r"class numbers in 0\.\.3, got 1\.\.4"),
        (2, [-1, 0, 2], r"class numbers in 0\.\.3, got -1\.\.2"),
    ],
)
def test_mistakes_are_named(width, labels, message):
    with pytest.raises(DataError, match=message):
        arc_face(torch.ones(3, 2), torch.ones(4, width), labels=torch.tensor(labels))


def test_the_first_form_of_proxy_nca_needs_another_proxy():
    with pytest.raises(ConfigError, match="original needs at least two proxies, got 1"):
        ProxyNCALoss(2, 1, original=True)(torch.ones(3, 2), labels=torch.zeros(3).long())
