"""Groups that stand in the names of files: `{label}_{group}_{index}` says that 7_theo_3.wav belongs to theo."""

import re
from collections.abc import Sequence

import numpy as np

from nearfar.data.samples import Rows
from nearfar.errors import ConfigError, DataError

_GROUP = "{group}"


def is_pattern(text: str | None) -> bool:
    """Whether a text is a pattern, and not the name of a column."""
    return text is not None and _GROUP in text


def groups_by(pattern: str, keys: Sequence[str], name: str, *, must: bool = True) -> Rows | None:
    """The groups of samples [N] by their files' names without folder and ending; a name that does not fit is alone.

    Each `{word}` of the pattern stands for one character or more. Raises ConfigError where `{group}` is there twice,
    and DataError where no name fits, or gives None without `must`.
    """
    if pattern.count(_GROUP) != 1:
        raise ConfigError(f"group_column must have {_GROUP} once, got {pattern!r}.")
    parts = re.split(r"(\{\w+\})", pattern)
    found = re.compile("".join(_expression(part) for part in parts), re.DOTALL)
    stems = [_stem(key) for key in keys]
    matches = [found.fullmatch(stem) for stem in stems]
    if not any(matches):
        if not must:
            return None
        example = f" (the first is {stems[0]!r})" if stems else ""
        raise DataError(f"No file of {name!r} is named as the pattern {pattern!r} says{example}.")
    numbers: dict[str, int] = {}
    groups = [
        len(keys) + i if one is None else numbers.setdefault(one["group"], len(numbers))
        for i, one in enumerate(matches)
    ]
    return np.array(groups, dtype=np.int64)


def _expression(part: str) -> str:
    if part == _GROUP:
        return "(?P<group>.+?)"
    return ".+?" if re.fullmatch(r"\{\w+\}", part) else re.escape(part)


def _stem(key: str) -> str:
    """`7_theo_3` for `digits/7/7_theo_3.wav` and `digits.tar#7/7_theo_3.wav`."""
    last = re.split(r"[/#]", key)[-1]
    return last.rsplit(".", 1)[0] if "." in last[1:] else last
