"""Pictures that are arrays of numbers, of any number of channels: to squares of bytes, as `decode` makes of files."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nearfar.contract import Unreadable

Array = NDArray[Any]
"""A picture `[h, w]` or `[h, w, c]` of numbers."""


def as_picture(array: Array) -> Image.Image | None:
    """The array as PIL knows pictures, where it does: bytes, grey or with three channels."""
    if array.dtype != np.uint8 or channels_of(array) not in (1, 3):
        return None
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2:] == (1,) else array))


def channels_of(array: Array) -> int:
    """The number of channels; raises Unreadable where it is no picture."""
    if array.ndim not in (2, 3) or 0 in array.shape or array.dtype.kind not in "biuf":
        raise Unreadable(f"an array {list(array.shape)} of {array.dtype}, no picture")
    return 1 if array.ndim == 2 else int(array.shape[2])


def largest(array: Array) -> int:
    """The largest value, rounded up, of a picture that is no bytes; 0 where some are below zero."""
    values = array[np.isfinite(array)]
    if array.dtype == np.uint8 or not values.size or values.min() < 0:
        return 0
    return math.ceil(float(values.max()))


def square_of(array: Array, *, size: int | None, channels: int, white: int | None) -> NDArray[np.uint8]:
    """The whole picture as uint8 `[channels, size, size]`; `size=None` keeps its own size.

    Values from 0 to `white` become bytes; without it, those from the smallest to the largest of the picture. Raises
    Unreadable for another number of channels, but for grey where three are wanted.
    """
    own = channels_of(array)
    if own != channels and (own, channels) not in ((1, 3), (3, 1)):
        raise Unreadable(f"{own} channels where {channels} are needed")
    picture = array[..., None] if array.ndim == 2 else array
    if channels == 1 and own == 3:
        picture = picture.astype(np.float32).mean(axis=2, keepdims=True)
    levels = picture if picture.dtype == np.uint8 else to_bytes(picture, 0.0 if white else None, white)
    found = [_resized(levels[..., i], size) for i in range(levels.shape[2])]
    return np.ascontiguousarray(np.stack(found * (channels // len(found)), axis=-1)).transpose(2, 0, 1)


def to_bytes(values: Array, low: float | None, high: float | None) -> NDArray[np.uint8]:
    """Values from `low` to `high` as bytes; None stands for the smallest and largest that is finite.

    What is not finite is as dark or as bright as can be, NaN dark. Raises Unreadable where nothing is finite.
    """
    numbers = values.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    if not finite.size:
        raise Unreadable("no pixel is a finite number")
    bottom = float(finite.min()) if low is None else low
    top = float(finite.max()) if high is None else high
    scaled = np.nan_to_num((numbers - bottom) / ((top - bottom) or 1), nan=0.0, posinf=1.0, neginf=0.0)
    levels: NDArray[np.uint8] = np.rint(255 * scaled).clip(0, 255).astype(np.uint8)
    return levels


def _resized(channel: NDArray[np.uint8], size: int | None) -> NDArray[np.uint8]:
    if size is None or channel.shape == (size, size):
        return channel
    picture = Image.fromarray(np.ascontiguousarray(channel))
    return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC, reducing_gap=2.0))
