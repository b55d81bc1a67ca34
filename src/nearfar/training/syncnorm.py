"""Batch norm over the samples of all ranks.

mean = sum x / N, variance = sum (x - mean)^2 / N, over the N values of a channel on all ranks (Ioffe and Szegedy,
"Batch normalization", 2015, algorithm 1). On GPUs this is torch's SyncBatchNorm, which has no form for CPUs:
there the sums are reduced here. Every rank must make the same calls, each with samples of its own.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def convert(module: nn.Module, device: str) -> None:
    """Replace all batch norms below `module` by synchronised ones with their weights and statistics."""
    for name, child in list(module.named_children()):
        if isinstance(child, _BatchNorm) and not isinstance(child, SyncNorm | nn.SyncBatchNorm):
            on_gpus = nn.SyncBatchNorm.convert_sync_batchnorm
            setattr(module, name, on_gpus(child) if device == "cuda" else SyncNorm(child))  # type: ignore[no-untyped-call]
        else:
            convert(child, device)


def synchronised(module: nn.Module) -> bool:
    """Whether it has a synchronised norm."""
    return any(isinstance(one, SyncNorm | nn.SyncBatchNorm) for one in module.modules())


class SyncNorm(_BatchNorm):
    """A batch norm `[n, c, ...]` over all ranks in training, with the weights and statistics of `norm`."""

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        if norm.affine:
            self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.train(norm.training)

    def forward(self, input: Tensor) -> Tensor:
        """`[n, c, ...]`, normalised."""
        if not self.training or not dist.is_initialized():
            return super().forward(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        dims = [0, *range(2, x.ndim)]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        count = torch.tensor([x.numel() / x.shape[1]], dtype=torch.float64)
        dist.all_reduce(count)
        mean = _summed(x.sum(dims)) / count.item()
        x = x - mean.view(shape)
        variance = _summed(x.square().sum(dims)) / count.item()
        self._track(mean.detach(), variance.detach(), count.item())
        x = x * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            x = x * self.weight.view(shape) + self.bias.view(shape)
        return x.to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: float) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        unbiased = variance * (count / max(1.0, count - 1))
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of axes."""


def _summed(values: Tensor) -> Tensor:
    found: Tensor = _Sum.apply(values)
    return found


class _Sum(torch.autograd.Function):
    """The sum over all ranks; the loss of each depends on the values of all, so that gradients are summed too."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        """The sum."""
        total = values.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """The sum of all ranks' gradients."""
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total
