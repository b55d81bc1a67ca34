"""PNG files without what stands beside the pixels: generators of pictures keep texts of megabytes there."""

import zlib
from os import PathLike
from pathlib import Path

from nearfar.data.contents import size_of

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")


def pixels_only(data: bytes | str | PathLike[str]) -> bytes | None:
    """A PNG file, or its content, without texts and colour profile, and without damaged chunks that pixels do not need.

    None where it is no PNG, cannot be read, or has nothing of these.
    """
    try:
        content = data if isinstance(data, bytes) else _content(data)
    except (OSError, ValueError):
        return None
    if not content.startswith(_SIGNATURE):
        return None
    kept, at, dropped = [_SIGNATURE], len(_SIGNATURE), False
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")  # length, name, what it holds, checksum
        name, checksum = content[at + 4 : at + 8], content[end - 4 : end]
        needed = name[:1].isupper()
        if needed or (name not in _TEXTS and zlib.crc32(content[at + 4 : end - 4]).to_bytes(4, "big") == checksum):
            kept.append(content[at:end])
        else:
            dropped = True
        at = end
    return b"".join(kept) if dropped else None


def _content(path: str | PathLike[str]) -> bytes:
    size_of(path)  # it is a plain file
    return Path(path).read_bytes()
