"""What maps inputs to vectors."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nearfar.compiled import compile_network
from nearfar.contract import inputs as samples_of
from nearfar.contract.inputs import Inputs
from nearfar.errors import ConfigError

if TYPE_CHECKING:
    from nearfar.contract.parts import Parts
    from nearfar.contract.program import Program
    from nearfar.contract.source import Source


@dataclass(frozen=True)
class Map:
    """A feature map `values` `[n, c, h, w]`; one of its cells stands for `stride` x `stride` cells of the input."""

    values: Tensor
    stride: int


@dataclass(frozen=True)
class Recommended:
    """An answer by its `key`, what it is called where that is known, and its score where it has one."""

    key: str
    title: str | None = None
    score: float | None = None


@dataclass(frozen=True)
class Recommendation:
    """What is recommended to a `query`, best first, and what it `had`, the last first; `note` adds what matters."""

    query: str
    items: Sequence[Recommended]
    had: Sequence[Recommended] = ()
    note: str = ""


class Encoder(nn.Module):
    """Maps inputs to vectors; `dim` is their length.

    A modality's encoder defines `features`, one view's inputs `[n, ...]` to `[n, dim]`; `prepare`, what a source
    fetches to such inputs; and `preprocess`, what a user has (paths, arrays, ...) to such inputs. `config` is all that
    is needed to build it again, as plain values. With `splits = False` the frame embeds a batch in one piece.
    """

    dim: int
    config: dict[str, Any]
    splits: bool = True
    optimizer: str = "adamw"
    """What trains it best where nothing is asked for: `sgd` for convolutions with batch norm, else `adamw`."""
    rate: float = 1.0
    """Its learning rate where none is given, in units of the optimiser's usual one."""
    smallest_batch: int = 2
    """The smallest batch that is chosen to train it, where the method does not want a larger one."""
    whitens: bool = True
    """Whether a whitening may follow its features: not where those of inputs of several kinds lie in one space."""
    from_weights: bool = False
    """Whether some of its weights came from elsewhere, so that it cannot be made again from its seed alone."""
    projected: bool = True
    """Whether methods put a projector behind its features: not where its own vectors are what is to be compared."""
    embed_batch: int = 256
    """Samples a batch that it embeds at a time, so that a batch takes much the same memory for all encoders."""
    files: frozenset[str] = frozenset()
    """Endings of files that hold one sample each, which `encode` takes by their paths."""
    cheaper: str = "a smaller encoder"
    """What to take where memory does not suffice, with the options for it."""

    def __init__(self) -> None:
        super().__init__()
        self.output: nn.Module = nn.Identity()
        """What follows the features in a finished encoder: nothing, or a `Whitening`."""
        self.fixed: list[nn.Module] = []
        """Parts that stay as they are when the others learn: norms of them keep their statistics."""

    def train(self, mode: bool = True) -> Encoder:
        """As of any module; what is `fixed` stays in evaluation mode."""
        super().train(mode)
        for module in self.fixed:
            module.eval()
        return self

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        tensor = next(chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if tensor is None else tensor.device

    def fingerprint(self) -> str:
        """What tells this encoder from others: a hash of all that `state_dict` holds, 32 hexadecimal digits."""
        found = blake2b(digest_size=16)
        for name, value in sorted(self.state_dict().items()):
            found.update(name.encode())
            found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return found.hexdigest()

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the networks in it, not what makes or prepares their inputs; see `nearfar.compiled`.

        The arguments are those of `torch.compile`.
        """
        compile_network(self, *args, **kwargs)

    def as_used(self) -> None:
        """Make in training the vectors that are made in use, for a head that is put on them; by default it does."""

    def freeze(self) -> None:
        """Keep all of it as it is: no weight learns, and no statistics follow what it sees."""
        self.requires_grad_(False)
        self.fixed = list(self.children())

    def features(self, inputs: Any) -> Tensor:
        """One view's inputs `[n, ...]` to vectors `[n, dim]`."""
        raise NotImplementedError

    def vectors(self, inputs: Any) -> Tensor:
        """One view's inputs `[n, ...]` to the encoder's vectors `[n, dim]`: its features, whitened once finished."""
        found: Tensor = self.output(self.features(inputs))
        return found

    def maps(self, inputs: Any) -> list[Map]:
        """Feature maps of one view's inputs, finest first; raises ConfigError where the encoder has none."""
        raise ConfigError(f"The encoder {self._name!r} has no feature maps: take one that convolves, such as a resnet.")

    def map_shapes(self) -> list[tuple[int, int]]:
        """Channels and stride of each of the `maps`, finest first; raises ConfigError where the encoder has none."""
        raise ConfigError(f"The encoder {self._name!r} has no feature maps: take one that convolves, such as a resnet.")

    def features_and_maps(self, inputs: Any) -> tuple[Tensor, list[Map]]:
        """`features` and `maps` of one view's inputs; by default two passes, where an encoder does not say how in one.

        Raises ConfigError where the encoder has no maps.
        """
        maps = self.maps(inputs)
        return self.features(inputs), maps

    def tokens(self, inputs: Any) -> Tensor:
        """A vector for each part of each input `[n, t, d]`; raises ConfigError where the encoder has none."""
        raise ConfigError(f"The encoder {self._name!r} has no tokens: take a transformer.")

    def parts(self, inputs: Any) -> Parts:
        """What one sample, as inputs `[1, ...]`, is made of; raises ConfigError where the encoder does not say."""
        raise ConfigError(f"The encoder {self._name!r} does not say what its inputs are made of: define its `parts`.")

    def programs(self, *, preprocessing: bool) -> dict[str, Program]:
        """What `features` computes as networks that stand alone, by names for their files.

        Their inputs are those of `features`, or with `preprocessing` what is nearest to what a user has. Raises
        ConfigError where there is no such form.
        """
        raise ConfigError(f"The encoder {self._name!r} has no form without nearfar: export it --to safetensors.")

    def recommend(self, queries: Sequence[Any], k: int) -> list[Recommendation]:
        """The `k` answers nearest to each query that it has not had; raises ConfigError where samples join nothing."""
        raise ConfigError(f"The encoder {self._name!r} recommends nothing: that is for data of users and items.")

    def prepare(self, raw: Any) -> Inputs:
        """A batch as `Source.fetch` gives it to the inputs of `features`, on the encoder's device, without randomness.

        By default the batch is taken to be such inputs already.
        """
        return samples_of.move(raw, self.device)

    def whole(self, raw: Any) -> Sequence[tuple[Sequence[int], Inputs]]:
        """All of each sample of a raw batch as inputs of `maps`: which samples, and their inputs, one signature each.

        `prepare` may leave out what lies at the border. By default it leaves out nothing.
        """
        made = self.prepare(raw)
        return [(list(range(samples_of.count(made))), made)]

    def acquaint(self, source: Source) -> None:
        """Take from the data what needs no training, such as how frequent words are; by default nothing."""

    def preprocess(self, inputs: Sequence[Any]) -> Inputs:
        """A list of samples as a user has them (paths, arrays, ...) to the inputs of `features`, without randomness."""
        raise NotImplementedError

    def is_sample(self, inputs: Any) -> bool:
        """Whether `inputs` is one sample, not a list of them."""
        return isinstance(inputs, str | PathLike)

    def typed(self, words: str) -> Any | None:
        """The sample that typed words are or say: never one that is read from a file. None where only files are."""
        return None

    def forward(self, views: Sequence[Inputs] | Inputs) -> Tensor:
        """Views to `[v, b, dim]`; bare inputs are one view, to `[b, dim]`.

        Views of one signature (type and shape) pass through the network together, and so share batch statistics.
        """
        if isinstance(views, Tensor | Mapping):
            return self.vectors(views)
        return torch.stack([vectors for (vectors,) in _by_view(views, lambda inputs: (self.vectors(inputs),))])

    def with_map(self, views: Sequence[Inputs]) -> tuple[Tensor, list[Tensor]]:
        """As `forward`, and the coarsest map of each view `[b, c, h, w]` beside it, by one pass of the network.

        Raises ConfigError where the encoder has no maps.
        """

        def both(inputs: Inputs) -> tuple[Tensor, Tensor]:
            features, maps = self.features_and_maps(inputs)
            return self.output(features), maps[-1].values

        found = _by_view(views, both)
        return torch.stack([vectors for vectors, _ in found]), [coarsest for _, coarsest in found]

    @torch.no_grad()
    def encode(
        self,
        inputs: Any,
        batch_size: int = 64,
        normalize_embeddings: bool = False,
        show_progress_bar: bool | None = None,
    ) -> NDArray[np.float32]:
        """Raw samples (paths, arrays, ...) to vectors `[N, dim]`; one bare sample to `[dim]`.

        Runs in evaluation mode on the encoder's own device; `show_progress_bar=None` shows one in a terminal when
        there are many batches.
        """
        from nearfar.progress import track

        single = self.is_sample(inputs)
        samples = [inputs] if single else _listed(inputs)
        was_training = self.training
        self.eval()
        try:
            vectors = [torch.empty(0, self.dim)]
            for start in track(range(0, len(samples), batch_size), "encode", show=show_progress_bar):
                batch = samples_of.move(self.preprocess(samples[start : start + batch_size]), self.device)
                vectors.append(self.vectors(batch).float().cpu())
        finally:
            self.train(was_training)
        found = torch.cat(vectors)
        if normalize_embeddings:
            found = nn.functional.normalize(found, dim=-1)
        return (found[0] if single else found).numpy()

    @property
    def _name(self) -> str:
        config: Mapping[str, Any] = getattr(self, "config", {})
        return str(config.get("encoder", type(self).__name__))


def _by_view(views: Sequence[Inputs], made: Callable[[Inputs], tuple[Tensor, ...]]) -> list[tuple[Tensor, ...]]:
    """What is `made` of each view, those of one signature together; a sample is a row of all that is made."""
    given = [views[i] for i in range(len(views))]
    found: list[tuple[Tensor, ...]] = [()] * len(given)
    alike: dict[Hashable, list[int]] = {}
    for i, view in enumerate(given):
        alike.setdefault(samples_of.signature(view), []).append(i)
    for members in alike.values():
        counts = [samples_of.count(given[i]) for i in members]
        parts = [torch.split(one, counts) for one in made(samples_of.join([given[i] for i in members]))]
        for i, own in zip(members, zip(*parts, strict=True), strict=True):
            found[i] = own
    return found


def _listed(inputs: Any) -> list[Any]:
    """Samples as a list; of a pandas data frame or a pyarrow table, its rows by the names of their columns."""
    if hasattr(inputs, "to_pylist"):
        return list(inputs.to_pylist())
    if hasattr(inputs, "to_dict"):
        return [{str(name): cell for name, cell in row.items()} for row in inputs.to_dict("records")]
    return list(inputs)
