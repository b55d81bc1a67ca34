"""The linear probe: multinomial logistic regression on frozen, standardised features.

The objective is scikit-learn's `LogisticRegression`, minimised by the same L-BFGS-B; the products run in torch, which
is several times faster on tall thin problems and runs where the features are.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nearfar.errors import DataError, must
from nearfar.evaluation.knn import check_labels, full_precision
from nearfar.evaluation.split import grouped_split, stratified_split
from nearfar.evaluation.threads import one_thread

GRID = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 3e-7)
"""L2 strengths, strong to weak: mean cross-entropy + strength / 2 * |w|^2, on features of mean square norm one."""
FOLDED = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 1e-4, 1e-5)
"""The same, tried by cross-validation where there are few labels."""
_CHOOSE_ON = 10_000
_PATIENCE = 2
_SATURATED = 0.99
_NEWTON = 1024
"""Dimensions up to which two classes are told apart by Newton's method."""
_MOST_NEWTON = 30
_GAIN = 1e-7
"""A step that lowers the objective by less is the last."""
_MOST_EXACT = 100_000
"""Samples up to which two classes are."""
_MAX_ITERATIONS = 300
_ONE_THREAD = 2**24
"""Entries of x up to which an iteration is too short to share among threads."""


def fixed_strength(samples: int) -> float:
    """L2 strength where there are too few labels to choose one: 0.1 / samples (`C = 10` in scikit-learn's terms)."""
    return 0.1 / samples


@dataclass(frozen=True)
class Scaler:
    """Standardisation by the statistics of the training set: mean `[D]` and factor `[D]`, 0 for constant dimensions."""

    mean: Tensor
    factor: Tensor

    @classmethod
    def of(cls, train: Tensor, *, least: float = 0.0) -> "Scaler":
        """Measure `train` `[N, D]`; raises DataError where a value is not finite.

        A deviation below the share `least` of their root mean square counts as that.
        """
        x = train.detach().float()
        variance, mean = torch.var_mean(x, dim=0, correction=0)
        bad = ~(variance.isfinite() & mean.isfinite())
        if bool(bad.any()):
            raise DataError(
                f"Dimension {int(bad.nonzero()[0, 0])} of the train vectors is not finite, or overflows fp32."
            )
        deviation = variance.sqrt()
        constant = deviation <= 1e-6 * mean.abs()  # rounding noise about a large mean is not a signal
        spread = deviation.clamp_min(least * float(deviation.square().mean().sqrt()))
        return cls(mean, torch.where(constant | (deviation == 0), 0.0, 1 / spread))

    def apply(self, x: Tensor) -> Tensor:
        """Standardise `[N, D]` in fp32."""
        return (x.detach().float() - self.mean) * self.factor


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe: weight `[K, D]` and bias `[K]` over standardised features for the classes `labels` `[K]`."""

    scaler: Scaler
    weight: Tensor
    bias: Tensor
    labels: Tensor
    strength: float
    chosen: bool
    """Whether the strength was chosen on a validation split (else it is `fixed_strength`, or was given)."""
    converged: bool
    iterations: int

    def predict(self, x: Tensor) -> Tensor:
        """Give the class of each row: `[M, D]` -> `[M]`."""
        return self.predict_standardised(self.scaler.apply(x))

    def predict_standardised(self, x: Tensor) -> Tensor:
        """Give the class of each row of features that `scaler` was applied to already."""
        with full_precision(x.device):
            return self.labels[(x @ self.weight.T + self.bias).argmax(dim=1)]

    def probabilities(self, x: Tensor, classes: int) -> Tensor:
        """The probability of each class for each row: `[M, D]` -> `[M, classes]`; 0 for classes that were not seen."""
        with full_precision(x.device):
            seen = (self.scaler.apply(x) @ self.weight.T + self.bias).softmax(dim=1)
        return seen.new_zeros(len(x), classes).index_copy_(1, self.labels, seen)

    def margin_standardised(self, x: Tensor) -> Tensor:
        """How much class 1 is preferred to class 0 `[M]`, of two classes; 0 where only one was seen."""
        if len(self.labels) < 2:
            return x.new_zeros(len(x))
        with full_precision(x.device):
            scores = x @ self.weight.T + self.bias
        return scores[:, 1] - scores[:, 0]


@torch.no_grad()
def fit_linear(
    train: Tensor,
    labels: Tensor,
    *,
    classes: int,
    seed: int = 0,
    strength: float | None = None,
    scaler: Scaler | None = None,
    groups: Tensor | None = None,
    folds: int = 0,
) -> LinearProbe:
    """Fit multinomial logistic regression on frozen features `[N, D]` with labels `[N]` in [0, classes).

    The L2 strength is the one of `GRID` with the highest accuracy, or of two classes the least cross-entropy, on a
    stratified 20 % of (at most 10,000 samples of) the training set, tried from strong to weak until two in a row are no
    better (equal: the stronger, but above 99 % the one of less cross-entropy); then all of the training set is fitted.
    Two classes of up to 100,000 samples of up to 1,024 dimensions are chosen on all samples, and fitted by Newton's
    method, with the strength scaled by the share of the samples that it was chosen on. With `folds` it is the one of
    `FOLDED` with the least cross-entropy in a cross-validation of so many folds.
    Where the median class has fewer than 5 samples it is `fixed_strength`. With a `scaler` the features are taken as
    standardised by it already. Samples of equal `groups` `[N]` stand on one side of the split. Classes without a sample
    are never predicted.
    """
    labels = check_labels(labels, len(train), classes).to(train.device)
    if not len(train):
        raise DataError("A linear probe needs at least one labelled training sample, got none.")
    must(strength is None or strength > 0, "strength must be > 0", got=strength)
    if scaler is None:
        scaler = Scaler.of(train)
        x = scaler.apply(train)
    else:
        x = train.detach().float()
    names, targets, sizes = torch.unique(labels, return_inverse=True, return_counts=True)
    basis = None
    if len(x) < x.shape[1]:  # the solution lies in the span of the rows, so that fewer dimensions hold all of it
        basis = torch.linalg.qr(x.T).Q
    with full_precision(x.device), one_thread(x.device.type == "cpu" and x.numel() <= _ONE_THREAD):
        problem = _Problem(x if basis is None else x @ basis, targets, len(names), x.shape[1])
        start, chosen = None, False
        if strength is None and folds > 1 and int(sizes.min()) > 1:
            strength, chosen = _cross_validated(problem, min(folds, int(sizes.min())), seed), True
        elif strength is None and int(sizes.median()) >= 5 and len(names) > 1:
            strength, start = _choose(problem, seed, groups)
            chosen = True
        elif strength is None:
            strength = fixed_strength(len(x))
        weight, converged, iterations = problem.solve(strength, start, tolerance=3e-4)
        bias, weight = weight[:, -1], weight[:, :-1]
        if basis is not None:
            weight = weight @ basis.T
    return LinearProbe(scaler, weight, bias, names, strength, chosen, converged, iterations)


def _choose(problem: "_Problem", seed: int, groups: Tensor | None = None) -> tuple[float, Tensor]:
    """Pick the strength of `GRID` on at most `_CHOOSE_ON` samples; its weights are the start of the last fit."""
    targets = problem.targets
    if len(targets) > _CHOOSE_ON and not problem.exact:
        targets = targets.clone()
        left = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))[_CHOOSE_ON:]
        targets[left.to(targets.device)] = -1
    halves = stratified_split(targets, seed=seed)
    if groups is not None and len((apart := grouped_split(targets, groups, seed=seed))[1]):
        halves = apart
    fitted, validation = (i.to(problem.x.device) for i in halves)
    part = _Problem(problem.x[fitted], problem.targets[fitted], problem.classes, problem.width)
    x, targets = problem.x[validation], problem.targets[validation]
    best, chosen, waited = (-torch.inf, -torch.inf), GRID[0], 0
    weight = kept = problem.zeros()
    for strength in GRID:
        weight, _, _ = part.solve(strength, weight, tolerance=1e-3)
        scores = x @ weight[:, :-1].T + weight[:, -1]
        right = float((scores.argmax(dim=1) == targets).sum())
        likely = -float(F.cross_entropy(scores.double(), targets))
        if problem.classes == 2:  # which of them ranks well, too
            score = (0.0, likely)
        else:  # where nearly all are right under any strength, as after learning from these labels, it decides nothing
            score = (right, likely if right >= _SATURATED * len(targets) else 0.0)
        if score > best:
            best, chosen, kept, waited = score, strength, weight, 0
        else:
            waited += 1
            if waited == _PATIENCE:
                break
    if problem.exact:  # the penalty of all samples together is what has proved right, not that of each
        chosen *= len(fitted) / len(problem.targets)
    return chosen, kept


def _cross_validated(problem: "_Problem", folds: int, seed: int) -> float:
    """The strength of `FOLDED` with the least cross-entropy over folds that hold of every class its share."""
    shuffled = torch.randperm(len(problem.targets), generator=torch.Generator().manual_seed(seed))
    shuffled = shuffled.to(problem.x.device)
    order = shuffled[problem.targets[shuffled].argsort(stable=True)]
    fold = torch.empty_like(order)
    fold[order] = torch.arange(len(order), device=order.device) % folds
    costs = dict.fromkeys(FOLDED, 0.0)
    for number in range(folds):
        fitted, left = fold != number, fold == number
        part = _Problem(problem.x[fitted], problem.targets[fitted], problem.classes, problem.width)
        weight = problem.zeros()
        for strength in FOLDED:
            weight, _, _ = part.solve(strength, weight, tolerance=1e-3)
            scores = problem.x[left] @ weight[:, :-1].T + weight[:, -1]
            costs[strength] += float(F.cross_entropy(scores.double(), problem.targets[left], reduction="sum"))
    return min(costs, key=costs.__getitem__)


@dataclass(frozen=True)
class _Problem:
    """Mean cross-entropy of `x @ w + b` plus strength * width / 2 * |w|^2; `width`: dimensions before `basis`.

    The features have unit variance, not unit norm: that is the better conditioned of two equal problems.
    """

    x: Tensor
    targets: Tensor
    classes: int
    width: int

    @property
    def exact(self) -> bool:
        """Whether Newton's method is quick enough to find the minimum itself."""
        return self.classes == 2 and self.x.shape[1] <= _NEWTON < len(self.x) <= _MOST_EXACT

    def zeros(self) -> Tensor:
        return self.x.new_zeros(self.classes, self.x.shape[1] + 1)

    def _newton(self, strength: float, start: Tensor | None) -> tuple[Tensor, bool, int]:
        """The same for two classes by Newton's steps, halved where the objective would rise.

        Features that say much the same let L-BFGS stop long before the minimum. The weights of the two classes are each
        other's negatives there, so that one vector v, their difference, is looked for: its penalty is half as strong.
        """
        x = torch.cat([self.x, self.x.new_ones(len(self.x), 1)], dim=1)
        second = self.targets.to(x.dtype)
        penalty = torch.full((x.shape[1],), strength * self.width / 2, dtype=torch.float64, device=x.device)
        penalty[-1] = 0
        v = x.new_zeros(x.shape[1]).double() if start is None else (start[1] - start[0]).double()

        def cost(v: Tensor) -> tuple[float, Tensor]:
            scores = x @ v.to(x.dtype)
            fit = F.binary_cross_entropy_with_logits(scores, second, reduction="none").double().mean()
            return float(fit + (penalty * v.square()).sum() / 2), scores

        value, scores = cost(v)
        iteration, gained = 0, torch.inf
        while gained >= _GAIN and iteration < _MOST_NEWTON:
            iteration += 1
            p = scores.sigmoid()
            slope = ((p - second) @ x).double() / len(x) + penalty * v
            curved = x * (p * (1 - p)).clamp_min(1e-6)[:, None]
            hessian = (x.T @ curved).double() / len(x) + torch.diag(penalty)
            step = torch.linalg.solve(hessian + 1e-9 * torch.eye(len(v), dtype=v.dtype, device=v.device), slope)
            size = 1.0
            while (found := cost(v - size * step))[0] > value and size > 1e-3:
                size /= 2
            gained = value - found[0]
            if gained > 0:
                v, (value, scores) = v - size * step, found
        half = (v / 2).to(x.dtype)
        return torch.stack([-half, half]), gained < _GAIN, iteration

    def solve(self, strength: float, start: Tensor | None, *, tolerance: float) -> tuple[Tensor, bool, int]:
        """Minimise from `start`: `[K, d + 1]` weights and bias, whether it converged, iterations."""
        from scipy.optimize import minimize

        if self.classes == 1:
            return self.zeros(), True, 0
        if self.exact:
            return self._newton(strength, start)
        x, count = self.x, len(self.x)
        shape = (self.classes, x.shape[1] + 1)
        rows = torch.arange(count, device=x.device)
        penalty = strength * self.width

        def loss(flat: Any) -> tuple[float, Any]:
            w = torch.from_numpy(flat).view(shape).to(x.device, torch.float32)
            scores = torch.addmm(w[:, -1], x, w[:, :-1].T)
            log_p = scores.log_softmax(dim=1)
            value = -log_p[rows, self.targets].double().mean() + penalty / 2 * w[:, :-1].double().square().sum()
            slope = log_p.exp_()
            slope[rows, self.targets] -= 1
            slope /= count
            gradient = torch.cat([slope.T @ x + penalty * w[:, :-1], slope.sum(dim=0)[:, None]], dim=1)
            return float(value), gradient.double().cpu().numpy().ravel()

        first = (self.zeros() if start is None else start).double().cpu().numpy().ravel()
        # steps below fp32's own noise in the loss would only confuse the line search
        options = {"maxiter": _MAX_ITERATIONS, "gtol": tolerance, "ftol": 1e-7, "maxls": 40}
        found = minimize(loss, first, jac=True, method="L-BFGS-B", options=options)
        weight = torch.from_numpy(found.x).view(shape).to(x.device, torch.float32)
        return weight, bool(found.success), int(found.nit)
