"""The lasso by coordinate descent: its objective of one coefficient, its update, and the loop as it is printed."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

import textbook
from pruning.ledger.core import Form, Formula, Statement
from pruning.ledger.lasso import by_signs, draw_problem

Pair: TypeAlias = tuple[np.ndarray, np.ndarray]


# S1-F15.  One coefficient, all others held where they are.


def _draw_others(rng: np.random.Generator) -> dict[str, Any]:
    """Draw until the first coefficient is neither zero nor nearly so, whichever form finds it."""
    while True:
        X, y = draw_problem(rng)
        inputs = {"X": X, "y": y, "beta": rng.uniform(0.5, 2, 4) * rng.choice([-1.0, 1.0], 4), "lam": 0.1}
        right, *wrong = (abs(_minimiser(part)(**inputs)) for part in (_others, _of_column_j, _with_j))
        if right > 0.1 and min(abs(each / right - 1) for each in wrong) > 1e-3:
            return inputs


def _first_of_a_sweep(X: np.ndarray, y: np.ndarray, beta: np.ndarray, lam: float) -> float:
    # The first update of a sweep sees all other coefficients as they were given.
    return float(textbook.lasso_coordinate_descent(X, y, lam, tol=0, max_sweeps=1, start=beta).beta[0])


def _others(X: np.ndarray, beta: np.ndarray, i: int) -> float:
    return sum(X[i, k] * beta[k] for k in range(1, 4))  # sum over k != j of x_ik beta_k, j being the first


def _of_column_j(X: np.ndarray, beta: np.ndarray, i: int) -> float:
    return sum(X[i, 0] * beta[k] for k in range(1, 4))


def _with_j(X: np.ndarray, beta: np.ndarray, i: int) -> float:
    return sum(X[i, k] * beta[k] for k in range(4))


def _minimiser(part: Callable[..., float], weight: float = 1.0) -> Callable[..., float]:
    """Return what bisects the slope of (1/2n) sum_i (y_i - part_i - x_ij b)^2 + weight lam |b| until b stands still."""

    def form(X: np.ndarray, y: np.ndarray, beta: np.ndarray, lam: float) -> float:
        n, low, high = len(y), -1e3, 1e3
        rest = [y[i] - part(X, beta, i) for i in range(n)]
        for _ in range(80):
            b = (low + high) / 2
            slope = sum(X[i, 0] * (X[i, 0] * b - rest[i]) for i in range(n)) / n + weight * lam * np.sign(b)
            low, high = (low, b) if slope > 0 else (b, high)
        return (low + high) / 2

    return form


# S1-F16.  Without a penalty the update is least squares on one column.


def _draw_one_column(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw until the mean square of the first column is far from 1, and its coefficient from zero."""
    while True:
        X, y = draw_problem(rng)
        beta, a = rng.uniform(0.5, 2, 4), np.mean(X[:, 0] ** 2)
        if abs(a - 1) > 0.1 and abs(_by_lstsq(X, y, beta)) > 0.1:
            return {"X": X, "y": y, "beta": beta}


def _without_penalty(X: np.ndarray, y: np.ndarray, beta: np.ndarray) -> float:
    return _first_of_a_sweep(X, y, beta, 0.0)


def _by_lstsq(X: np.ndarray, y: np.ndarray, beta: np.ndarray) -> float:
    return float(np.linalg.lstsq(X[:, :1], y - X[:, 1:] @ beta[1:], rcond=None)[0][0])


def _partial(X: np.ndarray, y: np.ndarray, beta: np.ndarray) -> float:
    return float(X[:, 0] @ (y - X[:, 1:] @ beta[1:]))


# S1-F17.  The whole loop, on columns of mean square 4 and on the same columns with mean square 0.01.

SWEEPS, STEEP, FLAT = 100, 2.0, 0.1


def _draw_units(rng: np.random.Generator) -> dict[str, Any]:
    """Draw n = 40 until no column needs another much, so that 100 sweeps are enough for the right form."""
    while True:
        X = rng.standard_normal((40, 3))
        X /= np.sqrt(np.mean(X**2, axis=0))
        y = X @ np.array([2.0, -1.0, 0.0]) + 0.3 * rng.standard_normal(40)
        if np.abs(X.T @ X / 40 - np.eye(3)).max() < 0.4:
            return {"X": X, "y": y, "lam": 0.2}


def _both(solve: Callable[[np.ndarray, np.ndarray, float], np.ndarray]) -> Callable[..., Pair]:
    """Return the solutions in both units, each in those of the columns of mean square 1."""

    def form(X: np.ndarray, y: np.ndarray, lam: float) -> Pair:
        steep, flat = (s * solve(s * X, y, s * lam) for s in (STEEP, FLAT))
        return steep, flat

    return form


def _loop(X: np.ndarray, y: np.ndarray, lam: float) -> np.ndarray:
    beta: np.ndarray = textbook.lasso_coordinate_descent(X, y, lam, tol=0, max_sweeps=SWEEPS).beta
    return beta


def _signs(X: np.ndarray, y: np.ndarray, lam: float) -> np.ndarray:
    return by_signs(X, y, lam, 1 / (2 * len(y)))


def _sweeps(update: Callable[[float, float, float, float], float], refreshed: bool = True) -> Callable[..., np.ndarray]:
    """Return a loop whose update is a function of x_j^T r / n, beta_j, a_j and lam."""

    def solve(X: np.ndarray, y: np.ndarray, lam: float) -> np.ndarray:
        n, p = X.shape
        beta, r = np.zeros(p), y.copy()
        for _ in range(SWEEPS):
            for j in range(p):
                new = update(X[:, j] @ r / n, beta[j], np.mean(X[:, j] ** 2), lam)
                r = r - refreshed * (new - beta[j]) * X[:, j]
                beta[j] = new
        return beta

    return solve


def _soft(z: float, lam: float) -> float:
    return float(np.sign(z) * max(abs(z) - lam, 0.0))


def _as_printed(c: float, beta: float, a: float, lam: float) -> float:
    return _soft(c + beta, lam)


def _printed_where(which: float) -> Callable[..., Pair]:
    # As printed on the columns of one size, right on the others.
    def form(X: np.ndarray, y: np.ndarray, lam: float) -> Pair:
        steep, flat = (s * (_sweeps(_as_printed) if s == which else _signs)(s * X, y, s * lam) for s in (STEEP, FLAT))
        return steep, flat

    return form


STATEMENTS: tuple[Statement, ...] = (
    Formula(
        id="S1-F15",
        title="the lasso's objective in one coefficient",
        printed=r"Q(\beta_j|\boldsymbol\beta_{-j})=\frac1{2n}\sum_{i=1}^n\Bigl(y_i-\sum_{k\ne j}x_{ij}\beta_k"
        r"-x_{ij}\beta_j\Bigr)^2+\lambda|\beta_j|+\text{Constant}",
        verdict="slip",
        remark="The sum over the other coefficients needs their own columns, x_ik in the place of x_ij.",
        where="S1, the slide on minimising Q with respect to one coefficient",
        code="textbook.lasso_coordinate_descent",
        notebook="05, section 2",
        draw=_draw_others,
        right=_first_of_a_sweep,
        referees=(Form("bisection of the slope, in loops", _minimiser(_others)),),
        wrong=(
            Form("x_ij beta_k for x_ik beta_k", _minimiser(_of_column_j), "That is the slip of the index as printed."),
            Form("the sum with k = j", _minimiser(_with_j), "The part of the coefficient itself is then taken twice."),
            Form("2 lam for lam", _minimiser(_others, 2.0), "The half before the squares belongs to this lambda."),
        ),
    ),
    Formula(
        id="S1-F16",
        title="z_j as an estimator by least squares",
        printed=r"\tilde z_j\ \text{is the OLS estimator based on}\ \{\tilde r_{ij},x_{ij}\}_{i=1}^n",
        verdict="right if",
        remark="Right if the column has mean square 1: the estimator is x_j^T r / n divided by that mean square.",
        where="S1, the slide on minimising Q with respect to one coefficient",
        code="textbook.lasso_coordinate_descent",
        notebook="05, section 2",
        draw=_draw_one_column,
        right=_without_penalty,
        referees=(Form("least squares on one column", _by_lstsq),),
        wrong=(
            Form(
                "x_j^T r / n, undivided",
                lambda X, y, beta: _partial(X, y, beta) / len(y),
                "That is the estimator times the mean square of the column.",
            ),
            Form(
                "divided by ||x_j||",
                lambda X, y, beta: _partial(X, y, beta) / np.linalg.norm(X[:, 0]),
                "The norm has to be squared.",
            ),
            Form(
                "the whole residual",
                lambda X, y, beta: float(X[:, 0] @ (y - X @ beta) / (X[:, 0] @ X[:, 0])),
                "The part of beta_j has to come back into the residual before its own fit.",
            ),
        ),
        tolerance=1e-11,
    ),
    Formula(
        id="S1-F17",
        title="the loop of coordinate descent",
        printed=r"\tilde z_j=n^{-1}\sum_ix_{ij}r_i+\tilde\beta_j^{(s)},\quad\tilde\beta_j^{(s+1)}\leftarrow"
        r"S(\tilde z_j|\lambda),\quad r_i\leftarrow r_i-(\tilde\beta_j^{(s+1)}-\tilde\beta_j^{(s)})x_{ij}",
        verdict="right if",
        remark="Right if all mean squares a_j are 1; else z_j needs a_j beta_j, and S(z_j, lam) is divided by a_j.",
        where="S1, the slide with the algorithm of coordinate descent",
        code="textbook.lasso_coordinate_descent",
        notebook="05, section 6",
        draw=_draw_units,
        right=_both(_loop),
        referees=(Form("3^p sign patterns", _both(_signs)),),
        wrong=(
            Form("as printed, a = 4", _printed_where(STEEP), "A step of length 1 on a curvature above 2 goes astray."),
            Form("as printed, a = 0.01", _printed_where(FLAT), "The limit is right, and 100 sweeps are far from it."),
            Form(
                "S(z/a, lam) for S(z, lam)/a",
                _both(_sweeps(lambda c, beta, a, lam: _soft(c / a + beta, lam))),
                "The threshold belongs to z, before the division.",
            ),
            Form(
                "a_j beta_j left out of z_j",
                _both(_sweeps(lambda c, beta, a, lam: _soft(c, lam) / a)),
                "Then each sweep fits the residual anew and forgets what it had.",
            ),
            Form(
                "residual not updated",
                _both(_sweeps(lambda c, beta, a, lam: _soft(c + a * beta, lam) / a, refreshed=False)),
                "Every coefficient then fits y as if it had not been fitted yet, again and again.",
            ),
        ),
        tolerance=1e-10,
        draws=2,
    ),
)
