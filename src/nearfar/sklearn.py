"""A scikit-learn transformer: `fit` trains an encoder by contrast, `transform` gives its vectors.

from nearfar.sklearn import ContrastiveEncoder

model = make_pipeline(ContrastiveEncoder(random_state=0), LogisticRegression())
"""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_feature_names, _check_n_features, check_is_fitted, validate_data

if TYPE_CHECKING:
    from sklearn.utils import Tags

    from nearfar.contract import Encoder

__all__ = ["ContrastiveEncoder"]

_ONE_AT_A_TIME = threading.RLock()  # a run sets the number of threads and torch's generators of its process
_PIECE = 4096


class ContrastiveEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Vectors `[N, dim]` by an encoder that was trained on the rows of X by contrast, without labels.

    X is an array of numbers `[N, D]` or a data frame, whose columns may be numbers, categories, dates and booleans; NaN
    is missing. With `modality="image"` it is an array of images `[N, H, W]`, `[N, H, W, C]` or `[N, C, H, W]`. A method
    that learns from labels, such as `supcon`, learns from y: all of it; others leave it aside.

    `steps` of `batch_size` samples are made. `options` are further options of `nearfar.train`, such as
    `{"corruption": 0.4, "bins": 16}`. The same `random_state` gives the same vectors, on one machine. Its `encoder_` is
    a `nearfar` encoder. Pickles hold its weights in the safetensors format.
    """

    def __init__(
        self,
        *,
        modality: str = "table",
        method: str = "simclr",
        encoder: str | None = None,
        steps: int = 200,
        batch_size: int | None = None,
        lr: float | None = None,
        options: Mapping[str, Any] | None = None,
        device: str = "cpu",
        random_state: Any = None,
    ) -> None:
        self.modality = modality
        self.method = method
        self.encoder = encoder
        self.steps = steps
        self.batch_size = batch_size
        self.lr = lr
        self.options = options
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train the encoder; raises ValueError for X and for options that cannot be."""
        X, y = self._checked(X, y)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        self.encoder_ = self._trained(X, y, seed)
        self._n_features_out = self.encoder_.dim
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        """The vectors of X `[N, dim]`, float32 where X is, else float64."""
        import torch

        check_is_fitted(self)
        X = self._read(X, reset=False)
        kind = np.float32 if getattr(X, "dtype", None) == np.float32 else np.float64
        # Of rows in double precision, so that a vector does not depend on the rows beside it.
        exact = torch.float64 if self.modality == "table" and self.device == "cpu" else torch.float32
        encoder = deepcopy(self.encoder_).to(exact)
        found = np.empty((len(X), encoder.dim), dtype=kind)
        with torch.no_grad():
            for start in range(0, len(X), _PIECE):
                inputs = encoder.preprocess(_rows(X[start : start + _PIECE], encoder))
                assert isinstance(inputs, torch.Tensor)
                found[start : start + _PIECE] = encoder.vectors(inputs.to(encoder.device, exact)).cpu().numpy()
        return found

    def _checked(self, X: Any, y: Any) -> tuple[Any, Any]:
        from nearfar.methods import registry

        method = registry.load(self.method)
        X = self._read(X, reset=True)
        if not method.requires.labels and not method.requires.samples_per_class:
            return X, None
        if y is None:
            raise ValueError(
                f"The method {self.method!r} learns from labels and requires y to be passed, but it is None"
            )
        y = np.asarray(y)
        if y.shape[:1] != (len(X),):
            raise ValueError(f"X has {len(X)} samples, y has {y.shape[:1]}.")
        return X, y

    def _read(self, X: Any, *, reset: bool) -> Any:
        """X as `nearfar` takes it, with the checks that scikit-learn makes."""
        least = {"ensure_min_samples": 2, "ensure_min_features": 2} if reset else {}
        if self.modality != "table":
            X = validate_data(self, X, reset=reset, allow_nd=True, dtype="numeric", **least)
            if X.ndim < 3:
                raise ValueError(f"Images are arrays [N, H, W], [N, H, W, C] or [N, C, H, W], got {list(X.shape)}.")
            return X
        if _is_mixed(X):
            _check_feature_names(self, X, reset=reset)
            _check_n_features(self, X, reset=reset)
            return X
        X = validate_data(self, X, reset=reset, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan", **least)
        limit = np.finfo(np.float32).max
        if X.size and (np.nanmax(np.abs(X), initial=0.0) > limit):
            raise ValueError("Input X contains infinity or a value too large for dtype('float32').")
        return X

    def _trained(self, X: Any, y: Any, seed: int) -> Encoder:
        import torch

        from nearfar.api.train import train

        if not isinstance(self.steps, Integral) or self.steps < 1:
            raise ValueError(f"steps must be a whole number >= 1, got {self.steps!r}.")
        quick = {"precision": "fp32", "threads": 1, "knn_every": 0.0, "checkpoint_every": 1e9, "cache": "off"}
        most = min(256, len(X))
        options = quick | {"batch_size": self.batch_size or most, "micro_batch": self.batch_size or most}
        threads = torch.get_num_threads()
        with _ONE_AT_A_TIME, _unheard(), tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
            try:
                run = train(
                    **_data(X, y),
                    out=Path(folder) / "run",
                    modality=self.modality,
                    method=self.method,
                    encoder=self.encoder,
                    steps=int(self.steps),
                    lr=self.lr,
                    device=self.device,
                    seed=seed,
                    hold_out=False,
                    evaluate=False,
                    quiet=True,
                    **(options | dict(self.options or {})),
                )
            finally:
                torch.set_num_threads(threads)
        return run.encoder.eval()

    def __getstate__(self) -> dict[str, Any]:
        from nearfar.training.encoder_folder import packed

        state: dict[str, Any] = dict(super().__getstate__())
        if "encoder_" in state:
            encoder = state.pop("encoder_")
            state["_saved"] = (encoder.config, packed(encoder.state_dict()))
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        saved = state.pop("_saved", None)
        super().__setstate__(state)
        if saved is None:
            return
        from safetensors.torch import load

        from nearfar.api.load import restored

        config, weights = saved
        encoder = restored(config)
        encoder.load_state_dict(load(weights))
        self.encoder_ = encoder.to(self.device).eval()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.allow_nan = self.modality == "table"
        tags.input_tags.three_d_array = self.modality == "image"
        tags.input_tags.two_d_array = self.modality == "table"
        return tags


@contextmanager
def _unheard() -> Iterator[None]:
    """What is logged goes to those who have set up logging, and not to standard error."""
    logger, nowhere = logging.getLogger("nearfar"), logging.NullHandler()
    logger.addHandler(nowhere)
    try:
        yield
    finally:
        logger.removeHandler(nowhere)


def _is_mixed(X: Any) -> bool:
    """Whether X is a data frame in which some column holds no numbers."""
    return (
        hasattr(X, "iloc")
        and hasattr(X, "dtypes")
        and any(getattr(kind, "kind", "O") not in "iuf" for kind in X.dtypes)
    )


def _data(X: Any, y: NDArray[Any] | None) -> dict[str, Any]:
    """What `nearfar.train` is given: of a data frame, columns whose names mean nothing but which they are."""
    if not hasattr(X, "iloc"):
        return {"data": X if y is None else (X, y)}
    frame = _numbered(X)
    return {"data": frame} if y is None else {"data": frame.assign(label=y), "label_column": "label"}


def _rows(X: Any, encoder: Encoder) -> Any:
    """Samples as the encoder takes them."""
    if hasattr(X, "iloc"):
        import pyarrow as pa

        return pa.Table.from_pandas(_numbered(X), preserve_index=False)
    columns = encoder.config.get("columns")
    return list(X) if columns is None else X[:, [int(column["name"]) for column in columns]]


def _numbered(X: Any) -> Any:
    return X.set_axis([f"{i}: {name}" for i, name in enumerate(X.columns)], axis=1)
