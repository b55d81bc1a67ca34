"""Data of several domains: labels of one are learnt from, those of the others are hidden, and judge."""

from dataclasses import replace

import numpy as np

from nearfar.api.judging import Judges, hold_out
from nearfar.config import TrainConfig
from nearfar.contract import Rows, Source
from nearfar.errors import DataError, UnknownName

_SHOWN = 5  # names in a message


def part(config: TrainConfig, train: Source, test: str | None, seed: int) -> tuple[Source, Source | None]:
    """The samples to train on, with the labels that may be known, and those taken out of them to judge by.

    Where the data has no test part, that is a fifth of the labelled samples of the other domains. Without
    `source_domain`, all samples and None. Raises DataError for data without domains, UnknownName for a domain that it
    has not.
    """
    if config.data.source_domain is None:
        return train, None
    others = _others(config, train)
    taken_out = None
    if test is None and config.watch.hold_out and train.labels is not None:
        rows = np.flatnonzero(others)
        held_out = hold_out(train.take(rows), seed)
        if held_out is not None and len(held_out):
            taken_out = train.take(rows[held_out])
            kept = np.delete(np.arange(len(train)), rows[held_out])
            train, others = train.take(kept), others[kept]
    if train.labels is not None and not config.data.every_domain:
        train = train.with_labels(np.where(others, -1, train.labels))
    return train, taken_out


def judging(config: TrainConfig, judges: Judges) -> Judges:
    """Those of the samples that judge that are of the other domains; none where these have no labels."""
    if config.data.source_domain is None:
        return judges
    if judges.test is None:
        return Judges()
    rows = np.flatnonzero(_others(config, judges.test))
    return replace(judges, test=judges.test.take(rows)) if len(rows) else Judges()


def kinds(config: TrainConfig, source: Source, labels: Rows | None) -> Rows | None:
    """[N]: 0 for samples of `labels` [N] that are known, another number for each domain of those without, -1 for none.

    Samples of the source domain without a label are left out. None where all have one.
    """
    if labels is None or (labels >= 0).all():
        return None
    of_domain = np.zeros(len(source), dtype=np.int64) if source.domains is None else source.domains
    found: Rows = np.where(labels >= 0, 0, 2 + of_domain)
    if config.data.source_domain is not None:
        found[(labels < 0) & ~_others(config, source)] = -1
    return found if (found > 0).any() else None


def _others(config: TrainConfig, source: Source) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """[N]: whether samples are of another domain than that of the labels."""
    name, column = str(config.data.source_domain), config.data.domain_column
    if source.domains is None:
        classes = f" Its classes are {', '.join(source.label_names[:_SHOWN])}." if source.label_names else ""
        raise DataError(
            f"{source.name!r} does not say which domain its samples are of, and --source-domain names one: give a "
            f"column {column or 'domain'!r} (--domain-column), or folders DATA/DOMAIN/CLASS or DATA/DOMAIN/train/CLASS "
            f"of which one is {name!r}.{classes}"
        )
    names = list(source.domain_names)
    if name not in names:
        raise UnknownName("domain", name, names)
    others = source.domains != names.index(name)
    if not others.any():
        raise DataError(f"All samples of {source.name!r} are of the domain {name!r}: there is none to adapt to.")
    return np.asarray(others)
