"""Does a method keep its promises? On a small encoder, in float64: only the method is judged."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nearfar import randomness
from nearfar.contract import Batch, Encoder, Latents, Map, Method, Requirements, Views
from nearfar.options import Facts
from nearfar.testing.comparing import check
from nearfar.training.step import training_step

_SAMPLES, _WIDTH, _STEPS = 8, 6, 3
_FACTS = Facts(samples=40, labelled=40, device="cpu", threads=1, steps=_STEPS, targets=5)


class _Flat(Encoder):
    """Two layers over vectors; nothing in it depends on who is embedded with whom.

    What the first one gives is also its map, of 2 x 2 cells.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dim, self.config = 8, {}
        self.network = nn.Sequential(nn.Linear(_WIDTH, 12), nn.Tanh(), nn.Linear(12, self.dim))

    def features(self, inputs: Tensor) -> Tensor:
        return self.features_and_maps(inputs)[0]

    def maps(self, inputs: Tensor) -> list[Map]:
        return self.features_and_maps(inputs)[1]

    def features_and_maps(self, inputs: Tensor) -> tuple[Tensor, list[Map]]:
        hidden: Tensor = self.network[:2](inputs)
        return self.network[2](hidden), [Map(hidden.view(-1, 3, 2, 2), 1)]

    def map_shapes(self) -> list[tuple[int, int]]:
        return [(3, 1)]


def check_method(method: type[Method], **options: Any) -> None:
    """Check a method with these options; raises AssertionError with a sentence.

    It must train an encoder without a NaN, the same way each time; its loss must be a pure function whose shares over
    ranks sum to the whole, in value and gradient; and it must not matter how many samples are embedded at a time.
    """
    settled, _ = method.settle(method.Options(**options), _FACTS, _Flat())
    again = method.settle(settled, _FACTS, _Flat())
    check(again == (settled, []), f"Settling settled options again must change nothing, gave {again}.")
    one, losses, largest = _trained(method, settled)
    check(bool(np.isfinite(losses).all()), f"The loss must be finite, got {losses}.")
    still = [name for name, value in largest.items() if value == 0]
    check(not still, f"No gradient reaches the encoder's {', '.join(still)}: does `embed` detach what it should not?")
    other, others, _ = _trained(method, settled)
    equal = all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    check(losses == others and equal, "Training twice must be equal to the bit: take randomness from torch alone.")
    _check_loss(one)
    _check_micro_batches(one)


def _made(method: type[Method], settled: Any) -> Method:
    torch.manual_seed(0)
    made = method(_Flat(), settled)
    for module in made.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None
    return made.double()


def _views(step: int, requires: Requirements) -> Views:
    rows = np.arange(_SAMPLES)
    raw = randomness.uniform(0, "samples", rows, _WIDTH, 0)

    def make(view: int, start: int, stop: int) -> Tensor:
        noise = randomness.uniform(0, "noise", rows[start:stop] + _SAMPLES * step, _WIDTH, view)
        return torch.from_numpy(2 * raw[start:stop] + 0.5 * noise - 1).double()

    wide = requires.wide + requires.negatives
    return Views(make, range(wide + requires.small), 0, _SAMPLES, wide)


def _batch(step: int, requires: Requirements, **more: Any) -> Batch:
    ids = torch.arange(_SAMPLES)
    if requires.negatives:
        present = torch.ones(requires.wide + 1 + requires.small, _SAMPLES, dtype=torch.bool)
        more |= {"negative_ids": ids + 100, "present": present}
    if requires.scores:
        more |= {"scores": (ids * 0.1).where(ids != 2, torch.nan)}
    if requires.targets:
        more |= {"targets": torch.from_numpy(randomness.uniform(0, "targets", ids.numpy(), 5, 0)).double() - 0.5}
    labels = (ids % 3).where(ids % 4 != 3, -1) if requires.mixed else ids % 3
    return Batch(ids=ids, labels=labels, progress=step / _STEPS, **more)


def _trained(method: type[Method], settled: Any) -> tuple[Method, list[float], dict[str, float]]:
    made = _made(method, settled)
    optimizer = torch.optim.SGD([p for p in made.parameters() if p.requires_grad], lr=0.01)
    losses, largest = [], dict.fromkeys([name for name, _ in made.encoder.named_parameters()], 0.0)
    for step in range(_STEPS):
        optimizer.zero_grad()
        torch.manual_seed(step)
        batch = _batch(step, made.requires)
        found, latents = training_step(made, _views(step, made.requires), batch)
        losses.append(float(found.total))
        for name, value in made.encoder.named_parameters():
            if value.grad is not None:
                check(bool(value.grad.isfinite().all()), f"The gradient of the encoder's {name} is not finite.")
                largest[name] = max(largest[name], float(value.grad.abs().max()))
        optimizer.step()
        made.after_step(latents, batch)
    return made, losses, largest


def _check_loss(method: Method) -> None:
    """A pure function of latents, whose shares over ranks sum to the whole: three ragged ranks, one without rows."""
    method.eval()
    views = _views(_STEPS, method.requires)
    with torch.no_grad():
        embedded, fixed = method.embed(views), method.targets(views)
    missing = [name for name, latent in embedded.items() if latent.ndim != 3 or latent.shape[1] != _SAMPLES]
    check(not missing, f"Latents are [v, b, d]: {', '.join(missing)} are not.")
    before = copy.deepcopy(method.state_dict())

    def measured(own: Sequence[slice], world: int) -> tuple[Tensor, dict[str, Tensor]]:
        leaves = {name: latent.double().requires_grad_() for name, latent in embedded.items()}
        method.zero_grad()
        total = torch.zeros((), dtype=torch.float64)
        for rows in own:
            batch = _batch(_STEPS, method.requires, rows=rows, world=world)
            total = total + method.loss(Latents(**leaves, **fixed), batch).total
        total.backward()  # type: ignore[no-untyped-call]
        of_leaves = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
        owned = {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}
        return total.detach(), of_leaves | owned

    whole, gradients = measured([slice(0, _SAMPLES)], 1)
    again, _ = measured([slice(0, _SAMPLES)], 1)
    check(torch.equal(whole, again), "The loss of the same latents must be the same.")
    after = method.state_dict()
    moved = [name for name, value in before.items() if not torch.equal(value, after[name])]
    check(not moved, f"The loss must change no state ({', '.join(moved)}): that is for `after_step`.")
    shares, summed = measured([slice(0, 5), slice(5, 5), slice(5, _SAMPLES)], 3)
    check(
        torch.allclose(shares, whole, rtol=1e-6, atol=1e-9),
        f"The shares of three ranks sum to {shares:.6g}, the whole loss is {whole:.6g}: sum over `batch.rows` and "
        "divide by the number of all rows, or compute the whole and divide it by `batch.world`.",
    )
    check(summed.keys() == gradients.keys(), "The shares of three ranks reach other latents than the whole loss.")
    for name, gradient in gradients.items():
        equal = torch.allclose(summed[name], gradient, rtol=1e-5, atol=1e-8)
        check(equal, f"The shares of three ranks do not sum to the gradient at {name}: does a share see all rows?")


def _check_micro_batches(method: Method) -> None:
    """The same gradients whether a batch is embedded at once or in pieces; norms and dropout in evaluation mode."""
    found = []
    for size in (None, 3):
        made = copy.deepcopy(method).eval()
        made.zero_grad()
        batch, views = _batch(_STEPS, made.requires), _views(_STEPS, made.requires)
        training_step(made, views, batch, micro_batch=size, seed=torch.manual_seed)
        found.append({name: p.grad for name, p in made.named_parameters() if p.grad is not None})
    plain, cached = found
    check(plain.keys() == cached.keys(), "In micro-batches, gradients reach other parameters than at once.")
    for name, gradient in plain.items():
        equal = torch.allclose(cached[name], gradient, rtol=1e-5, atol=1e-8)
        check(equal, f"The gradient of {name} depends on how many samples are embedded at a time.")
