"""The target: the few groups that matter among many, found from the rows of a training set."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from course.spec import Array, Inputs, Target, signed

GROUPS, ACTIVE, TRAIN, TEST = 80, 6, 250, 2000
WORST = 1.2
"""The largest error on rows that nobody has seen, as a multiple of that of least squares on the right groups."""


@dataclass(frozen=True)
class Judge:
    """Rows that no student gets, X (n, p) and y (n,), and the error on them of least squares on the right groups."""

    X: Array
    y: Array
    least: float


def _draw(rng: np.random.Generator) -> tuple[Inputs, Judge]:
    rng = np.random.default_rng(int(rng.integers(2**62)))  # so that a key keeps the data that it has drawn so far
    sizes, order = rng.integers(2, 11, GROUPS), rng.permutation(GROUPS)
    active, others = order[:ACTIVE], order[ACTIVE:]
    sizes[active] = rng.integers(3, 7, ACTIVE)
    owner = np.repeat(np.arange(GROUPS), sizes)
    groups = [np.flatnonzero(owner == g) for g in range(GROUPS)]
    # Three factors go through all columns, and each active group has two look-alikes that y does not depend on.
    factors = rng.standard_normal((TRAIN + TEST, 3)) @ rng.standard_normal((3, GROUPS)) / np.sqrt(3)
    X = np.sqrt(0.3) * factors[:, owner] + np.sqrt(0.7) * rng.standard_normal((TRAIN + TEST, len(owner)))
    for a, b in zip(np.repeat(active, 2), others):
        mix = rng.standard_normal((sizes[a], sizes[b]))
        X[:, groups[b]] = 0.8 * X[:, groups[a]] @ (mix / np.linalg.norm(mix, axis=0)) + 0.6 * X[:, groups[b]]
    beta = np.zeros(len(owner))
    for a in active:
        b = signed(rng, 0.5, 1, sizes[a])
        beta[groups[a]] = 1.2 * b / np.linalg.norm(b)
    y = X @ beta + rng.standard_normal(len(X))
    X = X * 10 ** rng.uniform(-1, 1, GROUPS)[owner]  # every group in a unit of its own
    columns = rng.permutation(len(owner))
    groups = [np.sort(np.argsort(columns)[g]) for g in groups]
    X = np.ascontiguousarray(X[:, columns])
    (X, X_test), (y, y_test) = np.split(X, [TRAIN]), np.split(y, [TRAIN])
    least = _error(X_test, y_test, _refit(X, y, groups, active))
    return {"X": X, "y": y, "groups": groups, "k": ACTIVE}, Judge(X_test, y_test, least)


def _error(X: Array, y: Array, beta: Array) -> float:
    return float(np.mean((y - X @ beta) ** 2))


def _refit(X: Array, y: Array, groups: list[Array], chosen: Any) -> Array:
    beta = np.zeros(X.shape[1])
    columns = np.concatenate([groups[g] for g in chosen])
    beta[columns] = np.linalg.lstsq(X[:, columns], y, rcond=None)[0]
    return beta


def _measure(inputs: Inputs, judge: Judge, result: Any) -> tuple[bool, str]:
    beta = np.asarray(result, dtype=np.float64)
    if beta.shape != (inputs["X"].shape[1],):
        raise ValueError(f"beta has the shape {beta.shape}, expected {(inputs['X'].shape[1],)}")
    if not np.all(np.isfinite(beta)):
        raise ValueError("beta holds nan or inf")
    number = sum(bool(np.any(beta[g])) for g in inputs["groups"])
    ratio = _error(judge.X, judge.y, beta) / judge.least
    return number <= ACTIVE and ratio <= WORST, (
        f"{number} groups are active (at most {ACTIVE}), and the mean squared error on {TEST} unseen rows is"
        f" {ratio:.2f} times that of least squares on the right groups (at most {WORST})"
    )


# ---- what must not reach it ------------------------------------------------------------------------------------------
def _longest(lengths: Callable[[Array, Array, list[Array]], Any]) -> Callable[..., Array]:
    def form(X: Array, y: Array, groups: list[Array], k: int) -> Array:
        return _refit(X, y, groups, np.argsort(lengths(X, y, groups))[-k:])

    return form


def _coefficients(X: Array, y: Array, groups: list[Array]) -> list[float]:
    beta = np.linalg.lstsq(X, y, rcond=None)[0]
    return [float(np.linalg.norm(beta[g])) for g in groups]


def _correlations(X: Array, y: Array, groups: list[Array]) -> list[float]:
    z = X.T @ y / np.linalg.norm(X, axis=0)
    return [float(np.linalg.norm(z[g])) / len(g) ** 0.5 for g in groups]


def _lasso(X: Array, y: Array, groups: list[Array], k: int) -> Array:
    # Single coefficients, by proximal steps down a path, until more than k groups are touched; then least squares.
    Z = X / np.linalg.norm(X, axis=0)
    step, lam, beta = 1 / np.linalg.norm(Z, 2) ** 2, float(np.max(np.abs(Z.T @ y))), np.zeros(Z.shape[1])
    chosen: list[int] = []
    touched: list[int] = []
    while len(touched) <= k:
        chosen, lam = touched, 0.85 * lam
        for _ in range(100):
            v = beta + step * Z.T @ (y - Z @ beta)
            beta = v - np.clip(v, -step * lam, step * lam)
        touched = [j for j, g in enumerate(groups) if np.any(beta[g])]
    return _refit(X, y, groups, chosen) if chosen else np.zeros_like(beta)


TARGET = Target(
    id="group.target",
    function="few_groups",
    points=10,
    minutes=60,
    section="notebook 06, sections 3, 7 and 9",
    goal=f"Find coefficients in at most {ACTIVE} of {GROUPS} groups whose mean squared error on unseen rows is at most"
    f" {WORST} times that of least squares on the right groups.",
    draw=_draw,
    measure=_measure,
    blank={
        "nothing": lambda X, y, groups, k: np.zeros(X.shape[1]),
        "least squares": lambda X, y, groups, k: np.linalg.lstsq(X, y, rcond=None)[0],
        "least squares, the longest groups": _longest(_coefficients),
        "the largest correlations": _longest(_correlations),
        "random groups": _longest(lambda X, y, groups: np.random.default_rng(0).random(len(groups))),
        "lasso of single coefficients": _lasso,
    },
)
