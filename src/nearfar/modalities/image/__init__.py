"""Images: folders, manifests and parquet of pictures; crops and colour changes as views; convolutional encoders."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "MODALITY":  # needs torch, which the options beside it do without
        from nearfar.modalities.image.modality import MODALITY

        return MODALITY
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
