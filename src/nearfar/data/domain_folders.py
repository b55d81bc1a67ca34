"""Folders of domains, DATA/DOMAIN/train/CLASS/FILE: the first level says where samples come from, the second the split.

Every folder of the first level must hold folders of splits, and these must hold folders: so classes that hold their own
splits are none.
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


def domains_in(root: str) -> dict[str, list[str]]:
    """The folders that are domains, and the splits in each; empty where they are something else."""
    names = folders_in(root)
    if len(names) < 2 or splits.folders_of_splits(names):
        return {}
    found = {}
    for name in names:
        own = splits_in(os.path.join(root, name))
        if not own or not all(folders_in(os.path.join(root, name, split)) for split in own):
            return {}
        found[name] = own
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
    wanted = "|".join(re.escape(f"{domain}/{split}/") for domain, split in _chosen(found, chosen))
    names = some.names.take(np.flatnonzero(some.names.matching(f"^(?:{wanted})")))
    every = [
        printable(folder)
        for domain, own in found.items()
        for split in own
        for folder in folders_in(os.path.join(root, domain, split))
    ]
    # All splits count the same classes.
    labels = DictionaryBuilder([*sorted(set(every)), *folders_at(names, 2)]).finish()
    columns = {
        "label": labels[len(labels) - len(names) :],
        "domain": DictionaryBuilder(folders_at(names, 0)).finish(),
    }
    if chosen is None:
        columns["split"] = DictionaryBuilder(folders_at(names, 1)).finish()
    before = "" if root == path else os.path.relpath(root, path).replace(os.sep, "/") + "/"
    return SampleRows(
        keys=unique(all_printable(names, before)),
        contents=Files(names, root),
        columns=columns,
        ignored=some.ignored,
        refused=[(printable(before) + key, reason) for key, reason in some.refused],
    ).samples(data_name(path, chosen), chosen)


def _chosen(found: dict[str, list[str]], split: str | None) -> Sequence[tuple[str, str]]:
    """Domain and folder of each split that is meant."""
    return [
        (domain, name)
        for domain, own in found.items()
        for name in own
        if split is None or splits.canonical(name) == splits.canonical(split)
    ]
