"""Classify: kNN and linear probes on frozen vectors, with few labels and with all of them."""

from collections.abc import Iterator, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from nearfar.errors import DataError, must
from nearfar.evaluation.auc import auc_rows
from nearfar.evaluation.probes import ALL, FOLDS, NEIGHBOURS, TEMPERATURE, Count, Setting, judge
from nearfar.evaluation.task import Listing, Row, Systems, Task, TaskData, rows_over_draws, rows_over_samples
from nearfar.progress import track

_PER_CLASS = 200
"""Classes whose accuracy is listed, the worst first."""
_CONFUSED = 12


class Classify(Task):
    """Accuracy of kNN and of a linear probe; every system is given the same labels."""

    name = "classify"
    meanings = MappingProxyType(
        {
            "accuracy": "The share of test samples whose class is named rightly.",
            "kNN": "The k most similar labelled training samples vote for the class. Nothing is fitted, so that it "
            "shows what lies near what.",
            "linear": "A linear classifier fitted to frozen vectors: it shows what can be read out of them. A baseline "
            "that has a classifier of its own is judged by that.",
            "ROC AUC": "How often a sample of the second class is given a higher probability of it than one of the "
            "first: 50 % by chance.",
        }
    )

    def applies(self, data: TaskData) -> bool:
        """Whether both parts have labels."""
        return data.labelled

    def protocol(self, data: TaskData) -> str:
        """How the probes are fitted and judged."""
        few, in_all = (", ".join(map(str, counts)) for counts in (data.few, data.few_in_all))
        said = [
            f"kNN: cosine, k = {' and '.join(map(str, NEIGHBOURS))} with all labels, k = labels per class with few, "
            f"votes weighted by exp(similarity / {TEMPERATURE}).",
            "Linear: multinomial logistic regression on features standardised by the training vectors; L2 strength "
            "chosen on a stratified 20 % of at most 10,000 training samples (by accuracy, of two classes by "
            "cross-entropy and on all of up to 100,000), then fitted on all of them; with few labels a fixed strength "
            "of 0.1 / labels.",
            "All labels: one fit, 95 % interval by bootstrap over test samples.",
        ]
        if few:
            said.append(
                f"Few labels ({few} per class): mean of {data.draws} draws, the same for every system, 95 % interval "
                "over draws and test samples."
            )
        if in_all:
            said.append(
                f"{in_all} labels in all, of every class its share: {data.draws} draws likewise; kNN with k = "
                f"{NEIGHBOURS[0]}, strength chosen by {FOLDS}-fold cross-validation."
            )
        return " ".join(said)

    def run(self, systems: Systems, data: TaskData) -> list[Row]:
        """Accuracy of each probe, few labels first; raises DataError where vectors or settings cannot be used."""
        train_labels, test_labels = data.labels
        must(data.draws >= 2, "draws must be >= 2", got=data.draws)
        for name in ("few", "few_in_all"):
            counts = tuple(getattr(data, name))
            must(all(count >= 1 for count in counts), f"{name} must hold numbers of labels >= 1", got=counts)
        _note_sizes(train_labels, test_labels, data)
        few = draws_of(train_labels, _possible(train_labels, data), data.draws, data.seed)
        in_all = shares_of(train_labels, _possible_in_all(train_labels, data), data.draws, data.seed)
        chosen = {Count(count): rows for count, rows in few.items()}
        chosen |= {Count(count, in_all=True): rows for count, rows in in_all.items()}
        right: dict[Setting, dict[str, Tensor]] = {}
        scores: dict[Setting, dict[str, Tensor]] = {}
        guesses: dict[str, Tensor] = {}
        for name, vectors in track(systems.items(), "evaluate"):
            try:
                found = judge(name, vectors, chosen, data)
            except DataError as error:
                raise DataError(f"The vectors of {name!r} cannot be evaluated. {error}") from error
            for table, of_system in ((right, found.right), (scores, found.scores)):
                for setting, values in of_system.items():
                    table.setdefault(setting, {})[name] = values
            if found.guess is not None:
                guesses[name] = found.guess
        sizes = torch.bincount(train_labels, minlength=len(data.classes))
        majority = float((test_labels == sizes.argmax()).double().mean())
        chance = max(1 / int((sizes > 0).sum()), majority)
        data.listings += _by_class(list(guesses.values())[-1], test_labels, data.classes)
        rows = []
        for setting in sorted(right, key=_order):
            named = _named(setting)
            if setting.given == ALL:
                rows += rows_over_samples(self.name, "accuracy", named, right[setting], chance=chance, seed=data.seed)
            else:
                rows += rows_over_draws(self.name, "accuracy", named, right[setting], chance=chance)
        for setting in sorted(scores, key=_order):
            rows += auc_rows(self.name, _named(setting), scores[setting], test_labels)
        return rows


def _note_sizes(train: Tensor, test: Tensor, data: TaskData) -> None:
    unseen = int((~torch.isin(test, train)).sum())
    if unseen:
        data.note(f"{unseen} test samples have labels that no training sample has; they count as wrong.")
    for k in NEIGHBOURS:
        if k > len(train):
            data.note(f"There are only {len(train)} training samples: kNN with k = {k} lets all of them vote.")


def _possible(labels: Tensor, data: TaskData) -> list[int]:
    """Keep the numbers of labels that every class of the training set has."""
    names, sizes = torch.unique(labels, return_counts=True)
    rarest = int(sizes.argmin())
    least = int(sizes[rarest])
    kept = []
    for count in sorted(set(data.few)):
        if count > least:
            rare = data.classes[int(names[rarest])]
            data.note(f"No row with {count} labels per class: {rare!r} has {least} training samples.")
        elif count * len(names) == len(labels):
            data.note(f"No row with {count} labels per class: that is all of them.")
        else:
            kept.append(count)
    return kept


def _possible_in_all(labels: Tensor, data: TaskData) -> list[int]:
    """Keep the numbers of labels that leave at least two of each class, and others to draw."""
    classes = len(torch.unique(labels))
    kept = []
    for count in sorted(set(data.few_in_all)):
        if 2 * classes <= count < len(labels):
            kept.append(count)
        else:
            data.note(f"No row with {count} labels in all: there are {len(labels)} labels of {classes} classes.")
    return kept


def shares_of(labels: Tensor, counts: Sequence[int], draws: int, seed: int) -> dict[int, list[Tensor]]:
    """Draw rows, `count` in all, of every class its share and at least two where it has them."""
    sizes = torch.unique(labels, return_counts=True)[1]
    starts = sizes.cumsum(0) - sizes
    chosen: dict[int, list[Tensor]] = {count: [] for count in counts}
    for by_class in _shuffled(labels, draws, seed):
        for count in counts:
            shares = (count * sizes / len(labels)).round().long().clamp_min(2).minimum(sizes)
            shares[sizes.argmax()] += count - shares.sum()  # what rounding has left or taken
            parts = zip(starts.tolist(), shares.tolist(), strict=True)
            chosen[count].append(torch.cat([by_class[start : start + share] for start, share in parts]))
    return chosen


def draws_of(labels: Tensor, few: Sequence[int], draws: int, seed: int) -> dict[int, list[Tensor]]:
    """Draw rows, `count` of each class; a draw with more labels holds the same draw with fewer."""
    sizes = torch.unique(labels, return_counts=True)[1]
    starts = sizes.cumsum(0) - sizes
    chosen: dict[int, list[Tensor]] = {count: [] for count in few}
    for by_class in _shuffled(labels, draws, seed):
        for count in few:
            chosen[count].append(by_class[(starts[:, None] + torch.arange(count)).flatten()])
    return chosen


def _shuffled(labels: Tensor, draws: int, seed: int) -> Iterator[Tensor]:
    """The rows of each draw, class by class."""
    for draw in range(draws):
        key = (1_000_003 * (seed + 1) + draw) % 2**63
        shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(key))
        yield shuffled[labels[shuffled].argsort(stable=True)]


def _by_class(guess: Tensor, truth: Tensor, classes: Sequence[str]) -> list[Listing]:
    """The accuracy of each class and the pairs most often confused, by the linear probe of the system in question."""
    right = torch.bincount(truth[guess == truth], minlength=len(classes))
    there = torch.bincount(truth, minlength=len(classes))
    share = right / there.clamp_min(1)
    order = [c for c in share.argsort(stable=True).tolist() if there[c]][:_PER_CLASS]
    wrong = guess != truth
    pairs, times = torch.unique(truth[wrong] * len(classes) + guess[wrong], return_counts=True)
    often = times.argsort(descending=True, stable=True)[:_CONFUSED].tolist()
    confused: list[list[str | int | float]] = []
    for i in often:
        one, other = divmod(int(pairs[i]), len(classes))
        confused.append([classes[one], classes[other], int(times[i]), int(times[i]) / int(there[one])])
    lines = [[classes[c], float(share[c]), int(there[c])] for c in order]
    listings = [Listing("Accuracy of each class, lowest first", ["class", "accuracy", "test samples"], lines)]
    if confused:
        columns = ["class", "taken for", "times", "share of the class"]
        listings.append(Listing("Most often confused", columns, confused))
    return listings


def _named(setting: Setting) -> dict[str, str | int]:
    probe, k, (labels, in_all) = setting
    named: dict[str, str | int] = {"probe": probe} | ({} if k is None else {"k": k})
    return named | {"labels" if in_all else "labels per class": "all" if labels is None else labels}


def _order(setting: Setting) -> tuple[bool, bool, int, bool, int]:
    probe, k, (labels, in_all) = setting
    return (labels is None, in_all, labels or 0, probe == "linear", k or 0)
