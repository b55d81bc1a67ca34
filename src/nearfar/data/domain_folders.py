"""Folders of domains: the first level says where samples come from.

DATA/DOMAIN/train/CLASS/FILE: the second level says the split. Every folder of the first level must hold folders of
splits, and these must hold folders: so classes that hold their own splits are none.

DATA/DOMAIN/CLASS/FILE, or DATA/DOMAIN/FILE where a domain has no labels: nothing tells such folders from classes, and
so they are domains where the user names one of them.
"""

import os
import re
from collections.abc import Sequence

import numpy as np

from nearfar.data import splits
from nearfar.data.contents import Files
from nearfar.data.folder import folders_at, folders_in, splits_in, unwrap, walk
from nearfar.data.keys import all_printable, printable, unique
from nearfar.data.sample_rows import SampleRows
from nearfar.data.samples import Samples, data_name
from nearfar.data.values import DictionaryBuilder
from nearfar.errors import DataError


def domains_in(root: str, named: str | None = None) -> dict[str, list[str]]:
    """The folders that are domains, and the splits in each; empty where they are something else.

    They may have no splits where one of them is the domain that is `named`; raises DataError where only some have.
    """
    names = folders_in(root)
    if len(names) < 2 or splits.folders_of_splits(names):
        return {}
    found = {name: splits_in(os.path.join(root, name)) for name in names}
    if all(found.values()):
        inner = [os.path.join(root, name, split) for name, own in found.items() for split in own]
        return found if all(folders_in(folder) for folder in inner) else {}
    if named not in [printable(name) for name in names]:
        return {}
    if split := next((name for name, own in found.items() if own), None):
        whole = next(name for name, own in found.items() if not own)
        raise DataError(
            f"{printable(root)!r}: the domain {printable(split)!r} holds splits ({', '.join(found[split])}), and "
            f"{printable(whole)!r} holds none: make folders of splits in all domains, or in none."
        )
    return found


def splits_of_domains(found: dict[str, list[str]]) -> list[str]:
    """The splits that every domain has, by the names that the first gives them."""
    first, *others = found.values()
    there = [{splits.canonical(name) for name in own} for own in others]
    return [name for name in first if all(splits.canonical(name) in own for own in there)]


def list_domains(path: str, found: dict[str, list[str]], extensions: frozenset[str], asked: str | None) -> Samples:
    """The files of the split `asked` of all domains, labelled by the folders in it; raises DataError."""
    root = unwrap(path)
    chosen = splits.pick(path, splits_of_domains(found), asked)
    some = walk(root, extensions)
    wanted = "|".join(re.escape(f"{place}/") for place in _places(found, chosen))
    names = some.names.take(np.flatnonzero(some.names.matching(f"^(?:{wanted})")))
    every = [
        printable(folder)
        for place in _places(found, None)
        for folder in folders_in(os.path.join(root, *place.split("/")))
    ]
    # All splits count the same classes.
    depth = 2 if any(found.values()) else 1
    labels = DictionaryBuilder([*sorted(set(every)), *folders_at(names, depth)]).finish()
    columns = {
        "label": labels[len(labels) - len(names) :],
        "domain": DictionaryBuilder(folders_at(names, 0)).finish(),
    }
    if chosen is None and depth == 2:
        columns["split"] = DictionaryBuilder(folders_at(names, 1)).finish()
    before = "" if root == path else os.path.relpath(root, path).replace(os.sep, "/") + "/"
    return SampleRows(
        keys=unique(all_printable(names, before)),
        contents=Files(names, root),
        columns=columns,
        ignored=some.ignored,
        refused=[(printable(before) + key, reason) for key, reason in some.refused],
    ).samples(data_name(path, chosen), chosen)


def _places(found: dict[str, list[str]], split: str | None) -> Sequence[str]:
    """The folder of each split that is meant, DOMAIN/SPLIT; of domains without splits their own."""
    return [
        f"{domain}/{name}" if name else domain
        for domain, own in found.items()
        for name in own or [""]
        if split is None or splits.canonical(name) == splits.canonical(split)
    ]
