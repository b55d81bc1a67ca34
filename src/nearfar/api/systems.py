"""The systems that an evaluation compares: vectors of the trained encoder, of the untrained one, and the raw input."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nearfar.api.baselines import start_of, untrained
from nearfar.api.judging import Judges
from nearfar.contract import Baseline, Encoder, Modality, RawInput, Rows, Source
from nearfar.errors import DataError
from nearfar.evaluation.copies import near_copies
from nearfar.evaluation.embedding import embed_source, whiten
from nearfar.evaluation.split import grouped_split, stratified_split
from nearfar.evaluation.task import PUBLISHED, TRAINED, Vectors
from nearfar.modalities import registry as modalities

_TIMED = 512
_LEAST_JUDGED = 2_000


@dataclass(frozen=True)
class Measured:
    """Systems, the trained encoder last, on the readable samples of two sources.

    Without a `test`, the samples `held_out` [M] of `train` judge; where none are, labels cannot. `learnt` [L] are the
    samples of `train` that probes are given.
    """

    systems: dict[str, Vectors]
    train: Source
    test: Source | None
    held_out: Rows | None
    learnt: Rows | None
    encoders: Mapping[str, Encoder]
    """Of those systems that are encoders."""
    vectors: Tensor
    """The trained encoder's vectors of all readable samples of the training part, `source`."""
    source: Source
    tasks: Sequence[str]
    """Names of the tasks that judge this kind of data."""
    raw: str
    """The name of the raw baseline."""
    notes: list[str] = field(default_factory=list)

    @property
    def has_labels(self) -> bool:
        """Whether labels can judge: two classes to tell apart, and labelled samples to test on."""
        labels = self.train.labels
        if labels is None:
            return False
        sizes = np.unique(labels[labels >= 0], return_counts=True)[1]
        if self.test is None:
            return len(sizes) >= 2 and self.held_out is not None and 0 < len(self.held_out) < sizes.sum()
        return len(sizes) >= 2 and self.test.labels is not None and bool((self.test.labels >= 0).any())


def measure(
    encoder: Encoder,
    train: Source,
    judges: Judges,
    *,
    seed: int = 0,
    baselines: bool = True,
    run: Path | None = None,
    embedded: tuple[Tensor, Rows] | None = None,
    seconds: float | None = None,
) -> Measured:
    """Embed sources by the encoder, and by what it must beat; `embedded` are the vectors of `train` if known.

    With `seconds`, no more samples are judged than the baselines can embed in about half of them.
    """
    kind = modalities.load(encoder.config["modality"])
    if train.relation is not None:
        return _of_relation(encoder, kind, train, judges.test, baselines=baselines, run=run)
    test, held_out = judges.test, judges.held_out
    first, rows = embedded or embed_source(encoder, train)
    train = source = train.take(rows)
    if held_out is not None:
        held_out = np.flatnonzero(np.isin(rows, held_out))
    second = None
    if test is not None:
        second, rows = embed_source(encoder, test)
        test = test.take(rows)
    notes: list[str] = []
    vectors, learnt = first, None
    if held_out is not None:
        learnt, held_out = _split(encoder, source, first, held_out, seed, notes)
    systems: dict[str, Vectors] = {}
    encoders = {TRAINED: encoder}
    if baselines:
        before = untrained(encoder, train, run)
        share = 1.0 if seconds is None else _affordable(before, train, test, seconds / 2)
        if share < 1:
            chosen = _some(train, share, held_out, seed)
            said = f"{len(chosen)} of {len(train)} samples of the training part"
            if held_out is not None and learnt is not None:
                learnt, held_out = (np.flatnonzero(np.isin(chosen, part)) for part in (learnt, held_out))
            train, first = train.take(chosen), first[chosen]
            if test is not None and second is not None:
                tested = _some(test, share, None, seed)
                said += f" and {len(tested)} of {len(test)} test samples"
                test, second = test.take(tested), second[tested]
            notes.append(f"To stay within {seconds:.0f} s, {said} were used.")
        for baseline in kind.baselines():
            systems[baseline.name] = _answers(baseline, train, test)
        start = start_of(encoder, run)
        encoders = {start: before, TRAINED: encoder}
        whitened = encoder.config.get("whitened") and start != PUBLISHED  # those are judged as they came
        theirs, _ = whiten(before, train) if whitened else embed_source(before, train)
        others = None if test is None else embed_source(before, test)[0]
        systems[start] = Vectors(theirs, others, embed=partial(_embed, before))
    systems[TRAINED] = Vectors(first, second, embed=partial(_embed, encoder))
    # A baseline without anything that can be compared is none.
    systems = {name: one for name, one in systems.items() if one.known or one.baseline is not None}
    return Measured(
        systems, train, test, held_out, learnt, encoders, vectors, source, kind.tasks, kind.raw_baseline, notes
    )


def _of_relation(
    encoder: Encoder, kind: Modality, train: Source, test: Source | None, *, baselines: bool, run: Path | None
) -> Measured:
    """Systems of samples that join things: the vectors are those of the answers, each once."""
    assert train.relation is not None
    answers = train.relation.answers
    systems: dict[str, Vectors] = {}
    encoders = {TRAINED: encoder}
    if baselines:
        systems = {baseline.name: _answers(baseline, train, test) for baseline in kind.baselines()}
        encoders = {start_of(encoder, run): untrained(encoder, train, run), TRAINED: encoder}
    for name, one in encoders.items():
        systems[name] = Vectors(_embed(one, answers), embed=partial(_embed, one))
    vectors = systems[TRAINED].train
    return Measured(systems, train, test, None, None, encoders, vectors, answers, kind.tasks, kind.raw_baseline)


def _answers(baseline: Baseline, train: Source, test: Source | None) -> Vectors:
    """A baseline that has learnt from the training part; one that gives no vectors may answer tasks itself."""
    baseline.fit(train)
    first = baseline.vectors(train)
    second = None if first is None or test is None else baseline.vectors(test)

    def embed(source: Source) -> Tensor:
        found = baseline.vectors(source)
        if found is None:
            raise DataError(f"The baseline {baseline.name!r} has no vectors.")
        return found

    if type(baseline) is RawInput:
        return Vectors(first, second, embed=embed) if first is not None else Vectors(None)
    return Vectors(first, second, embed=embed, baseline=baseline)


def _embed(encoder: Encoder, source: Source) -> Tensor:
    """The encoder's vectors of all samples `[N, dim]`; NaN where one cannot be read."""
    vectors, rows = embed_source(encoder, source)
    if len(rows) == len(source):
        return vectors
    found = torch.full((len(source), vectors.shape[1]), torch.nan)
    found[torch.from_numpy(rows)] = vectors
    return found


def _split(
    encoder: Encoder, train: Source, vectors: Tensor, held_out: Rows, seed: int, notes: list[str]
) -> tuple[Rows, Rows]:
    """The samples that probes are given and those that judge: copies and near-copies stand on one side.

    Where the encoder has learnt from labels, it never saw those of the held-out samples alone: they stay, and their
    copies are left out.
    """
    labels = train.labels
    assert labels is not None
    given = [] if train.groups is None else [train.groups]
    copies = near_copies(vectors, train.ids, *given, classes=len(np.unique(labels[labels >= 0])))
    learnt = np.setdiff1d(np.flatnonzero(labels >= 0), held_out)
    if not copies.count:
        return learnt, held_out
    if encoder.config.get("labels_used", True):
        kept = learnt[~np.isin(copies.groups[learnt], copies.groups[held_out])]
        if len(kept) < len(learnt):
            notes.append(
                f"{len(learnt) - len(kept)} training samples are copies or near-copies of test samples, by the "
                "encoder's own measure: they are left out."
            )
        return kept, held_out
    notes.append(
        f"{copies.count} of {len(vectors)} samples are copies or near-copies of others, by the encoder's own measure: "
        "those of each other stand on one side of the split."
    )
    first, second = grouped_split(torch.from_numpy(labels), torch.from_numpy(copies.groups), seed=seed)
    return first.numpy(), second.numpy()


def _affordable(encoder: Encoder, train: Source, test: Source | None, seconds: float) -> float:
    """The share of the samples that the encoder can embed in the time, by what a few of them take."""
    total = len(train) + (0 if test is None else len(test))
    began = time.perf_counter()
    few = train.take(np.arange(min(len(train), _TIMED), dtype=np.int64))
    embed_source(encoder, few, show=False)
    rate = len(few) / (time.perf_counter() - began)
    return min(1.0, max(rate * seconds, _LEAST_JUDGED) / max(total, 1))


def _some(part: Source, share: float, held_out: Rows | None, seed: int) -> Rows:
    """A share of the samples, of every class its own, and of those that judge."""
    labels = np.zeros(len(part), dtype=np.int64) if part.labels is None else part.labels - part.labels.min()
    if held_out is not None and part.labels is not None:
        labels = labels + np.isin(np.arange(len(part)), held_out) * (labels.max() + 1)
    return stratified_split(torch.from_numpy(labels), share=share, seed=seed)[1].numpy()
