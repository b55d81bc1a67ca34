"""The stated protocol: kNN and linear probes of frozen vectors with few labels and with all, systems side by side."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nearfar.diagnostics import geometry
from nearfar.errors import DataError, must
from nearfar.evaluation.intervals import Interval, bootstrap_columns, over_draws
from nearfar.evaluation.knn import full_precision, nearest, unit_rows, vote
from nearfar.evaluation.linear import Scaler, fit_linear, fixed_strength
from nearfar.evaluation.result import Evaluation, Row
from nearfar.evaluation.retrieval import retrieve
from nearfar.evaluation.split import Split
from nearfar.evaluation.threads import one_thread

NEIGHBOURS = (20, 200)
TEMPERATURE = 0.1
QUERIES = 2000
_FEW_TEST = 100
_SMALL = 2**32
"""Multiplications of one kNN up to which one thread is as good as many: a few tenths of a second."""

_Probe = tuple[str, int | None, int | None]  # probe, k, labels per class


@dataclass
class _Labels:
    """What all systems share: which rows count, and their labels, on the CPU."""

    train_rows: Tensor
    train: Tensor
    test_rows: Tensor
    test: Tensor
    notes: list[str] = field(default_factory=list)


def compare(
    systems: Mapping[str, Split],
    *,
    classes: Sequence[str],
    draws: int = 20,
    few: Sequence[int] = (1, 5),
    seed: int = 0,
) -> Evaluation:
    """Evaluate systems (name -> vectors; baselines first, the one in question last) on the same labels.

    Labels index `classes`; -1 is unlabelled and dropped. Few-label rows are means over `draws` draws, the same draws
    for every system; rows with all labels are one fit. The protocol in full stands in the result.
    Raises DataError where labels differ between systems or are out of range, or where nothing is left to evaluate.
    """
    work = max((split.train.numel() * len(split.test) for split in systems.values()), default=0)
    with one_thread(work <= _SMALL and all(split.train.device.type == "cpu" for split in systems.values())):
        return _compare(systems, classes, draws, few, seed)


def _compare(
    systems: Mapping[str, Split], classes: Sequence[str], draws: int, few: Sequence[int], seed: int
) -> Evaluation:
    began = time.perf_counter()
    must(draws >= 2, "draws must be >= 2", got=draws)
    must(all(count >= 1 for count in few), "few must hold numbers of labels >= 1", got=tuple(few))
    labels = _shared_labels(systems, len(classes))
    notes = labels.notes
    chosen = _draws(labels.train, _possible(few, labels.train, classes, notes), draws, seed)
    names = list(systems)
    found = Evaluation(
        protocol=_protocol(draws, list(chosen), seed),
        systems=names,
        train=len(labels.train),
        test=len(labels.test),
        classes=list(classes),
        seed=seed,
        notes=notes,
    )
    sizes = torch.bincount(labels.train, minlength=len(classes))
    found.chance = 1 / int((sizes > 0).sum())
    found.majority = float((labels.test == sizes.argmax()).double().mean())
    results: dict[_Probe, list[Tensor]] = {}
    for name, split in systems.items():
        train, test = (
            v[rows.to(v.device)].detach().float()
            for v, rows in ((split.train, labels.train_rows), (split.test, labels.test_rows))
        )
        try:
            probes = _few_labels(train, test, labels, chosen, len(classes)) | _all_labels(
                name, train, test, labels, len(classes), seed, notes
            )
        except DataError as error:
            raise DataError(f"The vectors of {name!r} cannot be evaluated. {error}") from error
        for probe, values in probes.items():
            results.setdefault(probe, []).append(values)
        found.geometries[name] = geometry(train)
        found.retrievals[name] = _retrieval(test, labels.test, seed, notes)
    found.rows = _rows(results, names, seed)
    found.seconds = time.perf_counter() - began
    return found


def label_free(
    systems: Mapping[str, Tensor], *, view_retrieval: Mapping[str, float] | None = None, limit: int = 2048
) -> Evaluation:
    """Evaluate systems (name -> vectors `[N, D]`, the one in question last) where there are no labels.

    `view_retrieval` is, for some of the systems, how often a view finds its own other view among `limit` or N samples
    (`nearfar.diagnostics.view_retrieval`). At most `limit` rows are measured.
    """
    began = time.perf_counter()
    if not systems:
        raise DataError("There is nothing to evaluate: no system was given.")
    views = view_retrieval or {}
    found = Evaluation(
        protocol="Without labels: effective rank, uniformity, mean cosine and dead dimensions of at most "
        + f"{limit} samples"
        + ("; how often a view of a sample finds its other view." if views else "."),
        systems=list(systems),
        test=len(next(iter(systems.values()))),
        notes=["There are no labels, so that there is no accuracy."],
    )
    found.geometries = {name: geometry(x, view_retrieval=views.get(name), limit=limit) for name, x in systems.items()}
    found.seconds = time.perf_counter() - began
    return found


def _protocol(draws: int, few: list[int], seed: int) -> str:
    text = (
        f"Frozen vectors. kNN: cosine, k = {' and '.join(map(str, NEIGHBOURS))} with all labels, k = labels a class "
        f"with few, votes weighted by exp(similarity / {TEMPERATURE}). Linear: multinomial logistic regression on "
        "features standardised by the training vectors; L2 strength chosen on a stratified 20 % of the training set, "
        "then refitted on all of it; with few labels a fixed strength of 0.1 / labels. All labels: one fit, 95 % "
        "interval by bootstrap over test samples. "
    )
    if few:
        text += (
            f"Few labels ({', '.join(map(str, few))} a class): mean of {draws} draws, the same for every system, 95 % "
            "t interval over draws. "
        )
    return (
        f"{text}Ahead: the paired 95 % interval of the difference excludes zero. Retrieval: at most {QUERIES} test "
        f"samples search the test set. Seed {seed}."
    )


def _shared_labels(systems: Mapping[str, Split], classes: int) -> _Labels:
    """Check that all systems have the same labels, and drop unlabelled rows."""
    if not systems:
        raise DataError("There is nothing to evaluate: no system was given.")
    first, *others = systems.items()
    parts = []
    for part in ("train", "test"):
        labels: Tensor = getattr(first[1], f"{part}_labels").detach().cpu().long()
        for name, split in others:
            if not torch.equal(labels, getattr(split, f"{part}_labels").detach().cpu().long()):
                raise DataError(
                    f"All systems must share the {part} labels, but those of {name!r} and {first[0]!r} differ."
                )
        if len(labels) and int(labels.max()) >= classes:
            raise DataError(
                f"The {part} labels hold {int(labels.max())}, but there are {classes} classes (0..{classes - 1})."
            )
        rows = (labels >= 0).nonzero().flatten()
        if not len(rows):
            raise DataError(f"There are no labelled {part} samples; give labelled data, or evaluate without labels.")
        parts.append((rows, labels[rows], len(labels) - len(rows)))
    (train_rows, train, train_lost), (test_rows, test, test_lost) = parts
    shared = _Labels(train_rows, train, test_rows, test)
    if train_lost or test_lost:
        shared.notes.append(f"Unlabelled and left out: {train_lost} train and {test_lost} test samples.")
    unseen = ~torch.isin(test, train)
    if bool(unseen.any()):
        shared.notes.append(
            f"{int(unseen.sum())} test samples have labels that no training sample has; they count as wrong."
        )
    if len(test) < _FEW_TEST:
        shared.notes.append(f"There are only {len(test)} test samples: the intervals are rough.")
    return shared


def _possible(few: Sequence[int], labels: Tensor, classes: Sequence[str], notes: list[str]) -> list[int]:
    """Keep the numbers of labels that every class of the training set has."""
    names, sizes = torch.unique(labels, return_counts=True)
    rarest = int(sizes.argmin())
    least = int(sizes[rarest])
    kept = []
    for count in sorted(set(few)):
        if count > least:
            rare = classes[int(names[rarest])]
            notes.append(f"No row with {count} labels a class: {rare!r} has {least} training samples.")
        elif count * len(names) == len(labels):
            notes.append(f"No row with {count} labels a class: that is all of them.")
        else:
            kept.append(count)
    return kept


def _draws(labels: Tensor, few: Sequence[int], draws: int, seed: int) -> dict[int, list[Tensor]]:
    """Draw rows, `count` of each class; a draw with more labels holds the same draw with fewer."""
    sizes = torch.unique(labels, return_counts=True)[1]
    starts = sizes.cumsum(0) - sizes
    chosen: dict[int, list[Tensor]] = {count: [] for count in few}
    for draw in range(draws):
        shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1_000_003 * (seed + 1) + draw))
        by_class = shuffled[labels[shuffled].argsort(stable=True)]
        for count in few:
            chosen[count].append(by_class[(starts[:, None] + torch.arange(count)).flatten()])
    return chosen


def _few_labels(
    train: Tensor, test: Tensor, labels: _Labels, chosen: dict[int, list[Tensor]], classes: int
) -> dict[_Probe, Tensor]:
    """Accuracies `[draws]` of both probes for each number of labels."""
    found: dict[_Probe, Tensor] = {}
    if not chosen:
        return found
    bank, queries = unit_rows(train), unit_rows(test)
    scaler = Scaler.of(train)
    scaled, scaled_test = scaler.apply(train), scaler.apply(test)
    truth, names = labels.test.to(test.device), labels.train.to(train.device)
    for count, draws in chosen.items():
        right: dict[str, list[Tensor]] = {"knn": [], "linear": []}
        with one_thread(test.device.type == "cpu"), full_precision(test.device):
            for rows in (r.to(train.device) for r in draws):
                similarities, near = (queries @ bank[rows].T).topk(min(count, len(rows)), dim=1)
                guess = vote(similarities, names[rows][near], classes=classes, temperature=TEMPERATURE)
                right["knn"].append((guess == truth).double().mean())
                probe = fit_linear(
                    scaled[rows], names[rows], classes=classes, strength=fixed_strength(len(rows)), scaler=scaler
                )
                right["linear"].append((probe.predict_standardised(scaled_test) == truth).double().mean())
        found["knn", count, count] = torch.stack(right["knn"]).cpu()
        found["linear", None, count] = torch.stack(right["linear"]).cpu()
    return found


def _all_labels(
    name: str, train: Tensor, test: Tensor, labels: _Labels, classes: int, seed: int, notes: list[str]
) -> dict[_Probe, Tensor]:
    """Which test samples `[M]` each probe gets right with all labels."""
    found: dict[_Probe, Tensor] = {}
    truth, names = labels.test.to(test.device), labels.train.to(train.device)
    similarities, near = nearest(train, test, max(NEIGHBOURS))
    for k in NEIGHBOURS:
        if k > len(train):
            note = f"There are only {len(train)} training samples: kNN with k = {k} lets all of them vote."
            if note not in notes:
                notes.append(note)
        guess = vote(similarities[:, :k], names[near[:, :k]], classes=classes, temperature=TEMPERATURE)
        found["knn", k, None] = (guess == truth).double().cpu()
    probe = fit_linear(train, names, classes=classes, seed=seed)
    if not probe.converged:
        notes.append(f"The linear probe of {name!r} had not converged after {probe.iterations} iterations.")
    if not probe.chosen and len(probe.labels) > 1:
        note = "Too few labels a class to choose the strength of the linear probe: it is 0.1 / labels."
        if note not in notes:
            notes.append(note)
    found["linear", None, None] = (probe.predict(test) == truth).double().cpu()
    return found


def _retrieval(test: Tensor, labels: Tensor, seed: int, notes: list[str]) -> dict[str, Interval]:
    if int(torch.unique(labels, return_counts=True)[1].max()) < 2:
        note = "No retrieval: no two test samples share a label."
        if note not in notes:
            notes.append(note)
        return {}
    scores = retrieve(test, labels, limit=QUERIES, seed=seed).scores
    intervals = bootstrap_columns(torch.stack(list(scores.values()), dim=1), seed=seed)
    return dict(zip(scores, intervals, strict=True))


def _rows(results: dict[_Probe, list[Tensor]], names: list[str], seed: int) -> list[Row]:
    """Turn what was right into rows, fewest labels first, with the last system's lead over each other one."""
    rows = []
    for (probe, k, count), values in sorted(results.items(), key=lambda item: _order(item[0])):
        columns = [*values, *(values[-1] - other for other in values[:-1])]
        if count is None:
            intervals = bootstrap_columns(torch.stack(columns, dim=1), seed=seed)
        else:
            intervals = [over_draws(column) for column in columns]
        leads = [*intervals[len(names) :], None]
        rows += [Row(n, probe, k, count, a, lead) for n, a, lead in zip(names, intervals, leads, strict=False)]
    return rows


def _order(probe: _Probe) -> tuple[float, bool, int]:
    name, k, count = probe
    return (float("inf") if count is None else count, name == "linear", k or 0)
