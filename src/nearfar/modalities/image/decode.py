"""An encoded picture -> a square of bytes and its aspect ratio; whatever is wrong becomes one short reason.

The square holds the whole picture, its two sides scaled apart: the views undo that, for they crop in the
coordinates of the original.
"""

import importlib
import io
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from os import PathLike
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from nearfar.contract import Unreadable
from nearfar.data.contents import reason_of, size_of
from nearfar.modalities.image import array
from nearfar.modalities.image.png import pixels_only

Stored = bytes | str | PathLike[str] | Image.Image
"""A file's content, its path, or a picture that PIL has opened."""

Encoded = Stored | array.Array
"""What can be decoded: a picture that is stored, or an array `[h, w]` or `[h, w, c]` of numbers."""

# No format that runs a program (EPS) or is rarely a photograph: what cannot be opened cannot be attacked.
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "PPM", "AVIF", "JPEG2000")
_PLUGINS = ("WebP", "Tiff", "Avif", "Jpeg2K", "Mpo")

T = TypeVar("T")

_GREY = ("1", "L", "LA", "La", "F")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
_STREAMED = 2**20
"""A file of at most so many bytes is read at once: a tenth of the time that a small picture takes."""


@dataclass(frozen=True)
class Header:
    """What a file says of its picture before it is decoded: size in pixels as displayed, 1 or 3 channels.

    `deep` pictures are grey with more than 8 bits, or arrays of other than bytes, which may have more channels.
    """

    width: int
    height: int
    channels: int
    deep: bool = False


def header(data: Encoded, *, max_pixels: int | None = None) -> Header:
    """Read the size without decoding. Raises Unreadable."""
    if isinstance(data, np.ndarray):
        channels = array.channels_of(data)
        _check((data.shape[1], data.shape[0]), max_pixels)
        return Header(data.shape[1], data.shape[0], channels, data.dtype != np.uint8)
    return _tried_again(_header, data, max_pixels)


def _header(data: Stored, max_pixels: int | None) -> Header:
    with _opened(data, max_pixels) as image:
        width, height = image.size
        if _orientation(image) >= 5:
            width, height = height, width
        grey = image.mode in _GREY or image.mode.startswith("I")
        return Header(width, height, 1 if grey else 3, image.mode == "F" or image.mode.startswith("I"))


def decode(
    data: Encoded, *, size: int | None, channels: int, max_pixels: int | None = None, white: int | None = None
) -> tuple[NDArray[np.uint8], float]:
    """The whole picture as uint8 `[channels, size, size]`, and its width over height; `size=None` keeps its own size.

    Its channels are innermost in memory. Turned as its EXIF data says; transparency lies on white; of several frames
    the first. Scaled with antialiasing (bicubic, after a box filter for more than twofold reduction; JPEG by its own
    transform as far as that goes). Grey with more than 8 bits becomes 8 bits such that `white` is 255; None stands for
    the range of the file's type.
    More than `max_pixels` are refused before any decoder runs. Raises Unreadable.
    """
    if isinstance(data, np.ndarray):
        _check((data.shape[1], data.shape[0]), max_pixels)
        picture = array.as_picture(data)
        if picture is None:
            square = array.square_of(data, size=size, channels=channels, white=white)
            return square, data.shape[1] / data.shape[0]
        data = picture
    return _tried_again(_decoded, data, max_pixels, size, channels, white)


def _decoded(
    data: Stored, max_pixels: int | None, size: int | None, channels: int, white: int | None
) -> tuple[NDArray[np.uint8], float]:
    with _opened(data, max_pixels) as image:
        width, height = image.size
        if size is not None and min(width, height) >= 2 * size and image.format in ("JPEG", "MPO"):
            image.draft("L" if channels == 1 else image.mode, (size, size))  # never smaller than wanted
        image.load()
        orientation = _orientation(image)
        flat = _converted(image, channels, white)
        if size is not None and flat.size != (size, size):
            flat = flat.resize((size, size), Image.Resampling.BICUBIC, reducing_gap=2.0)
        if orientation in _TURNS:
            flat = flat.transpose(_TURNS[orientation])
            if orientation >= 5:
                width, height = height, width
        pixels = np.array(flat)
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1), width / height


def brightest(data: Encoded, *, max_pixels: int | None = None) -> int:
    """The largest value in a grey picture with more than 8 bits, or an array; 0 for any other. Raises Unreadable."""
    if isinstance(data, np.ndarray):
        return array.largest(data)
    with _opened(data, max_pixels) as image:
        return int(np.asarray(image).max()) if image.mode.startswith("I") else 0


def white_level(largest: int) -> int:
    """The largest value of the fewest bits that hold `largest`: 3000 gives 4095, for 12 bits."""
    return (1 << max(8, largest.bit_length())) - 1


def _tried_again(read: Callable[..., T], data: Stored, *how: Any) -> T:
    """What is read of a picture; of a PNG that fails, without what stands beside its pixels."""
    try:
        return read(data, *how)
    except Unreadable:
        bare = None if isinstance(data, Image.Image) else pixels_only(data)
        if bare is None:
            raise
        with suppress(Unreadable):
            return read(bare, *how)
        raise


@contextmanager
def _opened(data: Stored, max_pixels: int | None) -> Iterator[Image.Image]:
    """The picture, its header read and its size within bounds; all that goes wrong inside becomes Unreadable."""
    file: BinaryIO | None = None
    try:
        with _LIMITS:
            if isinstance(data, Image.Image):
                image = data
            else:
                file = _file(data)
                _check(_webp_size(file), max_pixels)
                image = Image.open(file, formats=_formats())
            _check(image.size, max_pixels)
            yield image
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(_reason(error)) from None
    finally:
        if file is not None:
            file.close()


def _file(data: bytes | str | PathLike[str]) -> BinaryIO:
    if isinstance(data, bytes):
        if not data:
            raise Unreadable("empty file")
        return io.BytesIO(data)
    if size_of(data) > _STREAMED:
        return open(data, "rb")
    with open(data, "rb", buffering=0) as file:
        content = file.read()
    if not content:
        raise Unreadable("empty file")
    return io.BytesIO(content)


def _check(size: tuple[int, int], max_pixels: int | None) -> None:
    width, height = size
    if max_pixels is not None and width * height > max_pixels:
        raise Unreadable(f"{width * height / 1e6:,.0f} megapixels, more than --max-pixels {max_pixels}")


def _webp_size(file: BinaryIO) -> tuple[int, int]:
    """The size in a WebP header, (0, 0) for other formats: PIL makes the whole canvas as soon as it opens one."""
    head = file.read(30)
    file.seek(0)
    if len(head) < 30 or head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return 0, 0
    if head[12:16] == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", head[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _orientation(image: Image.Image) -> int:
    # PIL itself turns a TIFF; and where no EXIF data is in the header, asking a PNG for it would decode the picture.
    if image.format == "TIFF" or "exif" not in image.info:
        return 1
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF data beside a sound picture
        return 1
    return found if isinstance(found, int) else 1


def _converted(image: Image.Image, channels: int, white: int | None) -> Image.Image:
    wanted = "L" if channels == 1 else "RGB"
    if image.mode == wanted and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        image = Image.fromarray(_eight_bits(np.asarray(image), white))
    elif image.has_transparency_data:
        above = image.convert("RGBA")
        image = Image.new("RGBA", above.size, "white")
        image.alpha_composite(above)
    if image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    return image if image.mode == wanted else image.convert(wanted)


def _eight_bits(values: NDArray[Any], white: int | None) -> NDArray[np.uint8]:
    if values.dtype.kind == "f":
        return array.to_bytes(values, None, None)
    low, high = float(values.min()), float(values.max())
    if low >= 0:
        low, high = 0.0, float(white or max(65535, white_level(int(high))))
    scaled = (values.astype(np.float32) - low) * np.float32(255 / ((high - low) or 1))
    levels: NDArray[np.uint8] = np.rint(scaled).clip(0, 255).astype(np.uint8)
    return levels


def _reason(error: Exception) -> str:
    text = str(error)
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, MemoryError):
        return "too large for the memory"
    if isinstance(error, OSError) and error.errno is not None:
        return reason_of(error)
    if "create decoder" in text:  # all that PIL says of a damaged WebP
        return "truncated or damaged"
    if isinstance(error, EOFError) or any(
        word in text.lower() for word in ("truncated", "data stream", "not enough image data", "unexpected end")
    ):
        return "truncated"
    if isinstance(error, OSError) and "decod" not in text and "image" not in text:
        return text[:120] or "cannot be read"
    return f"cannot be decoded: {text[:80] or type(error).__name__}"


@cache
def _formats() -> tuple[str, ...]:
    """The formats that this PIL can open, their plugins imported."""
    Image.preinit()
    for plugin in _PLUGINS:
        with suppress(ImportError):
            importlib.import_module(f"PIL.{plugin}ImagePlugin")
    return tuple(name for name in _FORMATS if name in Image.OPEN)


class _Limits:
    """While any picture is open here, our bound on pixels holds instead of PIL's, and cut files are errors.

    PIL keeps both settings in globals; they are put back as the last picture is closed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._kept: tuple[int | None, bool] = (None, False)

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._kept = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
                Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = self._kept


_LIMITS = _Limits()
