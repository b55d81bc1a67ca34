"""What the folders in names of samples say: splits, and below them classes."""

from nearfar.data.labels import Column
from nearfar.data.splits import are_splits
from nearfar.data.strings import Strings


def splits_and_classes(names: Strings) -> tuple[Column | None, Column | None]:
    """The split and the class of each name [N], as for a folder that is unpacked: None where nothing says so.

    One folder around all others is passed through.
    """
    depth = 0
    top = _level(names, depth)
    while len(top.values) == 1 and top.values[0] is not None and not are_splits([top.values[0]]):
        below = _level(names, depth + 1)
        if None in below.values:
            break
        top, depth = below, depth + 1
    if are_splits([value for value in top.values if value is not None]):
        classes = _level(names, depth + 1)
        return top, classes if classes.says_anything else None
    return None, top if top.says_anything else None


def _level(names: Strings, depth: int) -> Column:
    """The folder at a depth of each name, None where the file itself stands there."""
    found = Column()
    for name in names:
        parts = name.split("/", depth + 1)
        found.append(parts[depth] if len(parts) > depth + 1 else None)
    return found
