"""The target: eight columns of a hundred, among columns that stand in for several of them, on rows that nobody saw."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from course.reg.pursuit import OMP, Fit, with_constant
from course.spec import Array, Inputs, Target, signed

SHOWN, UNSEEN, COLUMNS, K = 90, 1000, 100, 8
NOISE = 0.4
LIKE = 0.7
"""Of a column that stands in for half of the true ones: its correlation with what they add up to."""
GOAL, CLEAR = 1.5, 3.0
"""Times the error of the fit on the true columns: what is allowed, and what every short cut exceeds."""


@dataclass(frozen=True)
class Judge:
    """Rows that no student gets, X (n, p) and y (n,), and the error on them of a fit on the true columns."""

    X: Array
    y: Array
    oracle: float


def _rows(rng: np.random.Generator) -> tuple[Array, Array, Array]:
    n = SHOWN + UNSEEN
    X = rng.standard_normal((n, COLUMNS))
    for j in range(1, COLUMNS):  # neighbours have a correlation of 1/2
        X[:, j] = 0.5 * X[:, j - 1] + np.sqrt(0.75) * X[:, j]
    order = rng.permutation(COLUMNS)
    true, beta = order[:K], signed(rng, 0.8, 1.2, K)
    for j, half in zip(order[K:], (slice(0, K // 2), slice(K // 2, K))):
        part = X[:, true[half]] @ beta[half]
        X[:, j] = LIKE * part / part.std() + np.sqrt(1 - LIKE**2) * X[:, j]
    y = rng.uniform(2, 4) + X[:, true] @ beta + NOISE * rng.standard_normal(n)
    units = rng.permutation(np.geomspace(0.1, 10, COLUMNS))
    return (X + rng.standard_normal(COLUMNS)) * units, y, true


def _draw(rng: np.random.Generator) -> tuple[Inputs, Judge]:
    # Until no short cut comes near the goal by chance.
    while True:
        X, y, true = _rows(rng)
        (x, X), (t, y) = np.split(X, [SHOWN]), np.split(y, [SHOWN])
        oracle = _error(X, y, with_constant(x, t, true.tolist()))
        if all(_error(X, y, f(x, t, K)) > CLEAR * oracle for f in SHORT_CUTS.values()):
            return {"X": x, "y": t, "k": K}, Judge(X, y, oracle)


def _error(X: Array, y: Array, fit: Fit) -> float:
    return float(np.mean((y - X @ fit[0] - fit[1]) ** 2))


def _measure(inputs: Inputs, judge: Judge, result: Any) -> tuple[bool, str]:
    fit = _fit(result, inputs["X"].shape[1])
    error, used = _error(judge.X, judge.y, fit), int(np.count_nonzero(fit[0]))
    return used <= K and error <= GOAL * judge.oracle, (
        f"{used} coefficients are not zero (at most {K}), and the mean squared error of {len(judge.y)} unseen rows is"
        f" {error:.3g}, {error / judge.oracle:.2f} times that of a fit on the true columns (at most {GOAL})"
    )


def _fit(result: Any, columns: int) -> Fit:
    if not isinstance(result, tuple) or len(result) != 2:
        raise ValueError("expected beta and a constant")
    beta, constant = (np.asarray(value, dtype=np.float64) for value in result)
    if beta.shape != (columns,) or constant.size != 1:
        raise ValueError(f"beta and constant have the shapes {beta.shape} and {constant.shape}, expected ({columns},)"
                         " and a number")  # fmt: skip
    if not np.all(np.isfinite(beta)) or not np.all(np.isfinite(constant)):
        raise ValueError("beta or the constant holds nan or inf")
    return beta, float(constant.ravel()[0])


# ---- what must not reach it ------------------------------------------------------------------------------------------
def _by(score: Callable[[Array, Array], Array]) -> Callable[[Array, Array, int], Fit]:
    """Fit a constant and the k columns with the largest scores, functions of the centred X and y."""

    def short_cut(X: Array, y: Array, k: int) -> Fit:
        best = np.argsort(-score(X - X.mean(axis=0), y - y.mean()), kind="stable")[:k]
        return with_constant(X, y, best.tolist())

    return short_cut


def _least_squares(Z: Array, y: Array) -> Array:
    return np.abs(np.linalg.lstsq(Z, y, rcond=None)[0])


def _cut(X: Array, y: Array, k: int) -> Fit:
    beta, constant = with_constant(X, y, range(X.shape[1]))
    return np.where(np.abs(beta) >= np.sort(np.abs(beta))[-k], beta, 0), constant


def _nothing(X: Array, y: Array, k: int) -> Fit:
    none: Sequence[int] = ()
    return with_constant(X, y, none)


SHORT_CUTS: dict[str, Callable[[Array, Array, int], Fit]] = {
    "the mean of y": _nothing,
    "chance": _by(lambda Z, y: np.random.default_rng(0).permutation(Z.shape[1])),
    "least squares, cut at k": _cut,
    "least squares, cut at k, refitted": _by(_least_squares),
    "the same with columns of length 1": _by(lambda Z, y: _least_squares(Z / np.linalg.norm(Z, axis=0), y)),
    "correlation with y": _by(lambda Z, y: np.abs(Z.T @ y) / np.linalg.norm(Z, axis=0)),
    "matching pursuit alone": OMP.referee,
}

TARGET = Target(
    id="reg.target",
    function="sparse_fit",
    points=10,
    minutes=60,
    section="notebook 04, section 5; notebook 10, section 1",
    goal=f"Use at most {K} columns and a constant, and predict unseen rows with a mean squared error of at most {GOAL}"
    " times that of a fit on the true columns.",
    draw=_draw,
    measure=_measure,
    blank={"all columns": lambda X, y, k: with_constant(X, y, range(X.shape[1])), **SHORT_CUTS},
)
