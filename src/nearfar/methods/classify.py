"""Classify: cross-entropy of a linear layer on the encoder's own vectors, learnt together with the encoder.

Of a sample with the class y, whose vector f the encoder makes of a gently altered view: -log softmax(W s(f) + b)_y, the
mean over two views (Fort et al., "Drawing multiple augmentation samples per image during training efficiently decreases
test error", 2021), where s standardises each dimension by the mean and spread that it has before the first step, or the
usual spread where its own is less. The layer may start as the linear probe of the vectors (Kumar et al., "Fine-tuning
can distort pretrained features", 2022: LP-FT); see `start`.

With `balanced`, the logarithm of each class's frequency is added to its score in training alone (Menon et al.,
"Long-tail learning via logit adjustment", 2021, eq. 10): rare classes then count as much as frequent ones.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Requirements, Views
from nearfar.memory import check_weights
from nearfar.methods.options import ClassifyOptions
from nearfar.options import Facts, Settling

LENGTH = 4.0  # of the head's inputs, in the mean of squares
_UNKNOWN = 10  # classes, where nothing is known of the data


class LinearHead(nn.Module):
    """Scores `[..., K]` of standardised vectors `[..., dim]`: `W ((f - mean) * factor) + b`."""

    mean: Tensor
    factor: Tensor

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        check_weights(dim * classes, "number of classes", trained=True)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("factor", torch.ones(dim))
        self.layer = nn.Linear(dim, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Scores of vectors."""
        found: Tensor = self.layer((features - self.mean) * self.factor)
        return found


class Classify(Method):
    """An encoder with a linear layer of one output a class, under cross-entropy."""

    Options = ClassifyOptions
    requires = Requirements(labels=True, unlabelled=False)
    gentle = True
    downstream = "classify"
    smallest_batch = 16
    largest_batch = 64
    log_prior: Tensor
    options: ClassifyOptions

    def __init__(self, encoder: Encoder, options: ClassifyOptions | None = None) -> None:
        super().__init__(encoder, options)
        encoder.as_used()
        self.head = LinearHead(encoder.dim, self.options.classes)
        self.register_buffer("log_prior", torch.zeros(self.options.classes))
        if self.options.frozen:
            encoder.freeze()

    @classmethod
    def compares_features(cls, options: ClassifyOptions) -> bool:
        """The head is fitted to the encoder's own vectors."""
        return True

    @classmethod
    def choose(cls, settling: Settling[ClassifyOptions], facts: Facts, encoder: Encoder) -> None:
        """One output for each class of the data."""
        settling.choose("classes", facts.classes or _UNKNOWN, "")

    @torch.no_grad()
    def start(self, mean: Tensor, factor: Tensor, weight: Tensor, bias: Tensor, counts: Tensor) -> None:
        """Let the head begin as a linear probe: its standardisation [dim], weight [K, dim] and bias [K].

        `counts` [K] says how many labels each class has; one that has none keeps the weights it is given.
        """
        self.head.mean.copy_(mean)
        # A step moves a score by the rate times the squared length of its input, which of a standardised vector is the
        # number of dimensions: at the usual rates it would overshoot. So inputs are shortened, and weights lengthened.
        shorter = LENGTH / len(mean) ** 0.5
        self.head.factor.copy_(factor * shorter)
        if self.options.balanced:
            self.log_prior.copy_((counts.clamp_min(1) / counts.clamp_min(1).sum()).log())
        self.head.layer.weight.copy_(weight / shorter)
        self.head.layer.bias.copy_(bias - self.log_prior)

    def embed(self, views: Views) -> Latents:
        """The vectors `z` [v b dim] of each view; without gradient where the encoder stays as it is."""
        features = self.encoder(views)
        return Latents(z=features, features=features)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """The cross-entropy of the own labelled rows."""
        labels = batch.labels[batch.rows]
        count = z["z"].shape[0] * int((batch.labels >= 0).sum())
        scores = self.head(z["z"][:, batch.rows]) + self.log_prior  # [v own K]
        total = F.cross_entropy(
            scores.flatten(0, 1),
            labels.repeat(len(scores)),
            ignore_index=-1,
            label_smoothing=self.options.label_smoothing,
            reduction="sum",
        )
        return Losses(total / max(1, count))


METHOD = Classify
