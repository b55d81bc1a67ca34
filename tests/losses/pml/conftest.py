"""The two packages side by side: ours, and pytorch-metric-learning where it is installed (compared with 2.9.0)."""

from types import SimpleNamespace

import pytest
import torch

PARTS = ("losses", "miners", "distances", "reducers")


@pytest.fixture(scope="session")
def ours():
    from nearfar.losses.pml import distances, losses, miners, reducers

    return SimpleNamespace(losses=losses, miners=miners, distances=distances, reducers=reducers)


@pytest.fixture(scope="session")
def peer():
    reason = "pytorch-metric-learning is not installed: no values to compare with"
    package = pytest.importorskip("pytorch_metric_learning", reason=reason)
    from pytorch_metric_learning import distances, losses, miners, reducers

    assert package.__version__.split(".")[0] == "2"
    return SimpleNamespace(losses=losses, miners=miners, distances=distances, reducers=reducers)


@pytest.fixture(scope="session")
def same_value_and_gradients(ours, peer):
    """`check(make, *args, **kwargs)`: the losses `make(ours)` and `make(peer)` agree on these inputs to 1e-10."""

    def check(make, *args, **kwargs):
        torch.manual_seed(0)
        mine = make(ours).double()
        torch.manual_seed(0)
        theirs = make(peer).double()
        value, grads = value_and_gradients(mine, args, kwargs)
        expected, expected_grads = value_and_gradients(theirs, args, kwargs)
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)
        for grad, other in zip(grads, expected_grads, strict=True):
            torch.testing.assert_close(grad, other, rtol=1e-9, atol=1e-11)

    return check


def value_and_gradients(loss, args, kwargs):
    """The value, and the gradients of all floating-point inputs and of the loss's own parameters."""

    def leaf(x):
        return x.clone().requires_grad_() if isinstance(x, torch.Tensor) and x.is_floating_point() else x

    inputs, named = [leaf(x) for x in args], {key: leaf(x) for key, x in kwargs.items()}
    leaves = [x for x in (*inputs, *named.values()) if isinstance(x, torch.Tensor) and x.requires_grad]
    leaves += list(loss.parameters())
    value = loss(*inputs, **named)
    grads = torch.autograd.grad(value, leaves, allow_unused=True) if value.requires_grad else [None] * len(leaves)
    return value.detach().reshape(()), [
        torch.zeros_like(x) if g is None else g for x, g in zip(leaves, grads, strict=True)
    ]


@pytest.fixture(scope="session")
def batch():
    """`batch(n, seed=...)`: embeddings [n, 7] in float64 and labels [n] of five classes, the first a class of one."""

    def made(n=18, *, seed=0):
        generator = torch.Generator().manual_seed(seed)
        labels = torch.randint(0, 5, (n,), generator=generator)
        labels[0] = 9
        return torch.randn(n, 7, generator=generator, dtype=torch.float64), labels

    return made
