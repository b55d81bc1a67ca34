"""Names of splits: which files and folders belong to one, which exist, and which one is meant."""

import logging
import re
from collections.abc import Sequence

from nearfar.errors import DataError

log = logging.getLogger("nearfar")

_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "eval": "eval",
    "evaluation": "eval",
}
"""Words that name a split, and one word for all that mean the same."""

HELD_OUT = "|".join(word for word, split in _WORDS.items() if split != "train")
"""A pattern of the words for data that is not meant to be trained on."""

ALL = "all"
"""`DATA:all` takes all splits together."""

_SHARD = re.compile(r"([-_.]?\d+)?[-_]\d+(-of-\d+)?(-[0-9a-f]+)?$")


def canonical(split: str) -> str:
    """One name for valid, val, validation and dev, for train and training, ..., in lower case."""
    name = split.strip().lower()
    return _WORDS.get(name) or _WORDS.get(_word(name)[0], name)


def are_splits(names: Sequence[str]) -> bool:
    """Whether all names, of at least one, are names of splits."""
    return bool(names) and all(name.lower() in _WORDS for name in names)


def folders_of_splits(names: Sequence[str]) -> list[str]:
    """Those of sibling folders that hold splits; none where they are classes.

    Either all have names of splits, or two different splits are among them, perhaps in names that are the same but for
    it (`training_set` and `test_set`).
    """
    if are_splits(names):
        return list(names)
    exact = [name for name in names if name.lower() in _WORDS]
    if len({_WORDS[name.lower()] for name in exact}) > 1:
        return exact
    alike: dict[str, list[str]] = {}
    for name in names:
        word, rest = _word(name.lower())
        if word:
            alike.setdefault(rest, []).append(name)
    for found in alike.values():
        if len(found) > 1 and len({canonical(name) for name in found}) == len(found):
            return found
    return []


def files_of_splits(stems: Sequence[str]) -> dict[str, str]:
    """The split of each file by the stem of its name, as in `mnist_test` or `train-00000-of-00002`; none without any.

    Files that say nothing are `train`, where no other is; else they are left out.
    """
    said = {stem: word for stem in stems if (word := _word(_SHARD.sub("", stem.lower()))[0])}
    others = [stem for stem in stems if stem not in said]
    if said and others:
        if any(_WORDS[word] == "train" for word in said.values()):
            log.warning("%d files with no split in their names are left out, the first is %s", len(others), others[0])
        else:
            said |= dict.fromkeys(others, "train")
    return {stem: said[stem] for stem in stems if stem in said}


def pick(data: str, existing: Sequence[str], asked: str | None) -> str | None:
    """The name, among the existing ones, of the split to take; None for everything.

    Nothing asked takes `train`, or the only split there is. Raises DataError where that decides nothing, or the split
    asked for does not exist.
    """
    if asked is None:
        if not existing:
            return None
        chosen = _match("train", existing) or (existing[0] if len(existing) == 1 else None)
        if chosen is None:
            raise DataError(f"{data!r} has splits and none is named train: choose one, such as {data}:{existing[0]}.")
        log.info("%s has the splits %s: taking %s", data, ", ".join(existing), chosen)
        return chosen
    chosen = _match(asked, existing)
    if chosen is not None:
        return chosen
    if asked == ALL:
        return None
    if not existing:
        raise DataError(f"{data!r} has no splits, so there is no {asked!r}: leave out ':{asked}'.")
    raise DataError(f"{data!r} has no split {asked!r}; it has {', '.join(existing)}.")


def _match(asked: str, existing: Sequence[str]) -> str | None:
    if asked in existing:
        return asked
    alike = [name for name in existing if canonical(name) == canonical(asked)]
    return alike[0] if alike else None


def _word(name: str) -> tuple[str, str]:
    """The one word of a name that names a split, and what is left of the name; two empty texts where there is none."""
    parts = re.split(r"([a-z]+)", name)
    found = [i for i, part in enumerate(parts) if part in _WORDS]
    if len(found) != 1:
        return "", ""
    return parts[found[0]], "".join(parts[: found[0]] + parts[found[0] + 1 :])
