"""A run stops at the first step whose loss, gradients or weights are not finite, whatever the method's loss hides."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nearfar.api.run import Run
from nearfar.errors import TrainingError
from nearfar.methods import registry
from nearfar.training import checkpoint
from nearfar.training.finite import Finite, norm_of
from tests.api.conftest import photos_in


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("gradients", [True, False])
def test_one_number_that_is_not_finite_is_seen(bad: float, gradients: bool) -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    network[0](torch.ones(1, 3)).sum().backward()  # the last layer has no gradient
    parameters = list(network.parameters())
    assert Finite().broken({"The norm": norm_of(parameters, gradients=gradients)}) is None
    (network[0].weight.grad if gradients else network[0].weight.data)[1, 2] = bad
    scalars = {"The loss": torch.tensor(1.0), "The norm": norm_of(parameters, gradients=gradients)}
    assert Finite().broken(scalars) == f"The norm is {bad}"


@pytest.mark.usefixtures("unjudged")
@pytest.mark.parametrize("method", ["triplet", "siamese"])
def test_a_gradient_that_is_not_finite_stops_at_once_and_keeps_the_last_checkpoint(
    tiny: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    kind = registry.load(method)
    loss = kind.loss

    def burst(self: Any, z: Any, batch: Any) -> Any:
        if batch.progress > 0.5:
            for latent in z.values():
                latent.register_hook(lambda gradient: gradient * torch.nan)
        return loss(self, z, batch)

    monkeypatch.setattr(kind, "loss", burst)
    with pytest.raises(
        TrainingError, match=r"The gradient is nan at step 4\. The last good state is in .*checkpoint.*learning rate"
    ):
        tiny(photos_in(tmp_path / "photos"), method=method, supervised=True, checkpoint_every=1e-9)
    saved = checkpoint.latest(tmp_path / "run" / "checkpoint")
    assert saved is not None
    assert saved.state["step"] == 4
    assert all(bool(value.isfinite().all()) for value in saved.weights.values() if value.is_floating_point())
