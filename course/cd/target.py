"""The target: a path of the lasso on many correlated columns of different lengths, each solution with a certificate."""

from collections.abc import Callable
from typing import Any

import numpy as np

import textbook
from course.spec import Array, Inputs, Target, signed

ROWS, COLUMNS, TRUE, CORRELATION = 100, 2000, 12, 0.95
SHARES = np.geomspace(0.8, 0.02, 12)
GOAL = 1e-6
"""The largest duality gap, as a share of the objective of beta = 0."""


def _draw(rng: np.random.Generator) -> tuple[Inputs, None]:
    # Each column is correlated with its neighbours; twelve of them make y, and noise.
    X = rng.standard_normal((ROWS, COLUMNS))
    for j in range(1, COLUMNS):
        X[:, j] = CORRELATION * X[:, j - 1] + np.sqrt(1 - CORRELATION**2) * X[:, j]
    chosen = rng.permutation(COLUMNS)[:TRUE]
    signal = X[:, chosen] @ signed(rng, 1, 3, TRUE)
    X *= 2.0 ** rng.uniform(-2, 2, COLUMNS)
    y = signal + 0.3 * np.std(signal) * rng.standard_normal(ROWS)
    return {"X": X, "y": y, "lams": SHARES * float(textbook.lasso_lambda_max(X, y))}, None


def _measure(inputs: Inputs, hidden: None, result: Any) -> tuple[bool, str]:
    X, y, lams = inputs["X"], inputs["y"], inputs["lams"]
    try:
        betas = np.asarray(result, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError("expected one array, the solutions in its columns") from None
    if betas.shape != (COLUMNS, len(lams)):
        raise ValueError(f"expected the shape {(COLUMNS, len(lams))}, one solution a column, got {betas.shape}")
    unit = float(y @ y) / (2 * len(y))
    gaps = [textbook.lasso_gap(X, y, beta, lam) / unit for beta, lam in zip(betas.T, lams.tolist())]
    good, worst = sum(gap <= GOAL for gap in gaps), max(gaps)
    return good == len(gaps), (
        f"{good} of {len(gaps)} solutions have a duality gap of at most {GOAL:.0e} of the objective at zero; the"
        f" largest is {worst:.0e}"
    )


# ---- what must not reach it ------------------------------------------------------------------------------------------
def _sweeps(number: int, warm: bool = True) -> Callable[..., Array]:
    # Sweeps over all columns, from the solution before or from zero.
    def path(X: Array, y: Array, lams: Array) -> Array:
        solutions: list[Array] = []
        for lam in lams.tolist():
            start = solutions[-1] if warm and solutions else None
            found = textbook.lasso_coordinate_descent(X, y, lam, tol=0, max_sweeps=number, start=start)
            solutions.append(found.beta)
        return np.stack(solutions, axis=1)

    return path


def _zeros(X: Array, y: Array, lams: Array) -> Array:
    return np.zeros((X.shape[1], len(lams)))


def _least_squares(X: Array, y: Array, lams: Array) -> Array:
    return np.tile((np.linalg.pinv(X) @ y)[:, None], (1, len(lams)))


def _thresholded(X: Array, y: Array, lams: Array) -> Array:
    z, a = X.T @ y / len(y), np.mean(X * X, axis=0)
    return np.sign(z)[:, None] * np.maximum(abs(z)[:, None] - lams, 0) / a[:, None]


TARGET = Target(
    id="cd.target",
    function="path",
    points=10,
    minutes=60,
    section="notebook 05, sections 2 and 4; notebook 05b, section 2",
    goal=f"Solve the lasso at 12 values of λ, each to a duality gap of at most {GOAL:.0e} of the objective at β = 0.",
    draw=_draw,
    measure=_measure,
    blank={
        "zeros": _zeros,
        "least squares": _least_squares,
        "each column alone": _thresholded,
        "5 sweeps from zero": _sweeps(5, warm=False),
        "10 sweeps from the solution before": _sweeps(10),
    },
)
