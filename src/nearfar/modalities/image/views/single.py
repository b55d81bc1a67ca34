"""Views on a CPU: one picture at a time by OpenCV, whose kernels skip what matrices would multiply by zero.

The same as `batched` makes, but that pictures of bytes are rounded to bytes where they shrink.
"""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from nearfar.modalities.image.views.blur import reach

Picture = NDArray[np.generic]  # [h w c]

MOST_CHANNELS = 128
"""Channels that OpenCV's pictures may have."""


def placed(
    pictures: Tensor,
    corners: Tensor,
    out: Tensor,
    *,
    flipped: Tensor | None = None,
    inverted: Tensor | None = None,
    sigmas: Tensor | None = None,
    turns: Tensor | None = None,
) -> None:
    """Fill `out` `[b, c, size, size]` with the boxes of pictures `[b, c, h, w]`, resized; as `batched.placed`."""
    nothing = [None] * len(out)
    widths = nothing if sigmas is None else sigmas.tolist()
    affine = nothing if turns is None else turns.double().numpy()
    sources, views = (x.permute(0, 2, 3, 1).numpy() for x in (pictures, out))
    boxes = corners.tolist()
    size = out.shape[-1]
    codes = _codes(flipped, inverted, len(out))
    for picture, view, (left, top, right, bottom), code, sigma, turn in zip(
        sources, views, boxes, codes, widths, affine, strict=True
    ):
        whole = picture if turn is None else turned(picture, turn)
        part = whole[top:bottom, left:right]
        resized(part if code is None else cv2.flip(part, code).reshape(part.shape), view)
        if sigma:
            taps = 2 * min(reach(sigma), size - 1) + 1
            cv2.GaussianBlur(view, (taps, taps), sigma, dst=view, borderType=cv2.BORDER_REFLECT_101)


def resized(part: Picture, view: NDArray[np.float32]) -> None:
    """Fill the view `[size, size, c]` with a picture `[h, w, c]`, antialiased where it shrinks."""
    high, wide, size = *part.shape[:2], len(view)
    if high == wide == size:
        np.copyto(view, part)
    elif max(high, wide) > size:  # OpenCV's linear filter leaves pixels out, torch's does not
        given = torch.from_numpy(np.ascontiguousarray(part)).view(1, high, wide, -1).permute(0, 3, 1, 2)
        found = interpolate(given, size=(size, size), mode="bilinear", antialias=True)
        np.copyto(view, found[0].permute(1, 2, 0).numpy())
    else:
        cv2.resize(part.astype(np.float32), (size, size), dst=view, interpolation=cv2.INTER_LINEAR)


def mixed(views: Tensor, matrices: Tensor, offsets: Tensor) -> None:
    """Make each colour of views `[b, c, h, w]` the matrix `[b, c, c]` times it plus the offset `[b, c]`, in place."""
    both = torch.cat([matrices, offsets[:, :, None]], dim=2).numpy()
    for view, matrix in zip(views.permute(0, 2, 3, 1).numpy(), both, strict=True):
        cv2.transform(view, matrix, dst=view)


def turned(picture: Picture, turn: NDArray[np.float64]) -> NDArray[np.float32]:
    """A picture `[h, w, c]` under an affine map `[2, 3]` of its pixels' places, its border repeated outside."""
    given = picture.astype(np.float32)
    high, wide, channels = given.shape
    # OpenCV rounds places to a 32nd of a pixel unless there are one, three or four channels.
    parts = [given] if channels in (1, 3, 4) else np.split(given, channels, axis=2)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    found = [cv2.warpAffine(part, turn, (wide, high), flags=flags, borderMode=cv2.BORDER_REPLICATE) for part in parts]
    return np.asarray(np.stack(found, axis=2).reshape(given.shape), dtype=np.float32)


def _codes(flipped: Tensor | None, inverted: Tensor | None, count: int) -> list[int | None]:
    """OpenCV's word for each mirroring: 1 left to right, 0 upside down, -1 both."""
    across, down = ([False] * count if asked is None else asked.tolist() for asked in (flipped, inverted))
    names = {(False, False): None, (True, False): 1, (False, True): 0, (True, True): -1}
    return [names[both] for both in zip(across, down, strict=True)]
