"""The lasso's path: how many coefficients it has at which lambda, and the same path by a constraint."""

import itertools
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

import textbook
from pruning.ledger.core import Form, Formula, Statement, relative
from pruning.ledger.lasso import by_signs, draw_problem

Pair: TypeAlias = tuple[np.ndarray, np.ndarray]


def _draw_path(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The first column is nearly the sum of the other two, and needed with the other sign: it comes, goes, comes back.

    Drawn until it does, and until none of the lams is near a kink.
    """
    while True:
        X = rng.standard_normal((9, 3))
        X[:, 0] = 0.8 * (X[:, 1] + X[:, 2]) + 0.3 * X[:, 0]
        y = X @ np.array([-0.3, 1.0, 1.0])
        lams = np.abs(X.T @ y).max() / 9 * 0.7 ** np.arange(1, 20)
        sizes = np.abs([by_signs(X, y, lam, 1 / 18) for lam in lams])
        counts = np.count_nonzero(sizes, axis=1)
        if np.any(np.diff(counts) < 0) and np.min(sizes, where=sizes > 0, initial=1.0) > 1e-5:
            return {"X": X * rng.choice([-1.0, 1.0], 3), "y": y, "lams": lams}  # no count depends on a column's sign


def _counts(X: np.ndarray, y: np.ndarray, lams: np.ndarray) -> np.ndarray:
    return np.count_nonzero(textbook.lasso_path(X, y, list(lams)).beta, axis=0)


def _counts_by_signs(X: np.ndarray, y: np.ndarray, lams: np.ndarray) -> np.ndarray:
    return np.array([np.count_nonzero(by_signs(X, y, lam, 1 / (2 * len(y)))) for lam in lams])


def _only_more(X: np.ndarray, y: np.ndarray, lams: np.ndarray) -> np.ndarray:
    return np.maximum.accumulate(_counts_by_signs(X, y, lams))


def _as_many_as_slopes(X: np.ndarray, y: np.ndarray, lams: np.ndarray) -> np.ndarray:
    return np.sum(np.abs(X.T @ y) / len(y) > lams[:, None], axis=1)


def _draw_constraint(rng: np.random.Generator) -> dict[str, Any]:
    """Draw until the minimiser has two nonzeros or more, and is not simply the nearest point to least squares."""
    while True:
        X, y = draw_problem(rng)
        X, lam = X / np.sqrt(np.mean(X**2, axis=0)), 0.3
        beta = by_signs(X, y, lam, 1 / (2 * len(y)))
        t = float(np.sum(np.abs(beta)))
        nearest = textbook.project_l1_ball(np.linalg.pinv(X) @ y, t)
        if np.count_nonzero(beta) > 1 and relative(nearest, beta) > 1e-3 and abs(t - lam) > 0.1:
            return {"X": X, "y": y, "lam": lam, "t": t}


def _penalty_and_constraint(X: np.ndarray, y: np.ndarray, lam: float, t: float) -> Pair:
    return textbook.lasso(X, y, lam).beta, textbook.least_squares_in_l1_ball(X, y, t).z


def _on_the_faces(X: np.ndarray, y: np.ndarray, t: float) -> np.ndarray:
    """Minimise ||y - X beta||^2 on every face of the ball, where s^T beta = t, and take the best in the ball."""
    p, q = X.shape[1], X.T @ y
    least_squares: np.ndarray = np.linalg.solve(X.T @ X, q)
    if np.sum(np.abs(least_squares)) <= t:
        return least_squares
    signs = np.array([s for s in itertools.product((0.0, 1.0, -1.0), repeat=p) if any(s)])
    active = (signs != 0).astype(float)
    systems = np.zeros((len(signs), p + 1, p + 1))  # X_A^T X_A beta_A + s_A mu = X_A^T y,  s_A^T beta_A = t
    systems[:, :p, :p] = active[:, :, None] * (X.T @ X) * active[:, None, :] + (1 - active)[:, :, None] * np.eye(p)
    systems[:, :p, p] = systems[:, p, :p] = signs
    targets = np.column_stack([active * q, np.full(len(signs), t)])
    beta = np.linalg.solve(systems, targets[:, :, None])[:, :p, 0]
    inside = np.sum(np.abs(beta), axis=1) <= t * (1 + 1e-9)
    best: np.ndarray = beta[np.argmin(np.where(inside, np.sum((y - beta @ X.T) ** 2, axis=1), np.inf))]
    return best


def _in_round_ball(X: np.ndarray, y: np.ndarray, t: float) -> np.ndarray:
    """Minimise ||y - X beta||^2 with ||beta||_2 <= t: ridge, its weight found by halving."""
    values, V = np.linalg.eigh(X.T @ X)
    q, low, high = V.T @ (X.T @ y), 0.0, 1e6
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if np.linalg.norm(q / (values + middle)) > t else (low, middle)
    return V @ (q / (values + high))


def _ball(solve: Callable[[np.ndarray, np.ndarray, float, float], np.ndarray]) -> Callable[..., Pair]:
    def form(X: np.ndarray, y: np.ndarray, lam: float, t: float) -> Pair:
        beta = solve(X, y, lam, t)
        return beta, beta

    return form


STATEMENTS: tuple[Statement, ...] = (
    Formula(
        id="S1-F10b",
        title="more zeros by a larger lambda?",
        printed=r"\text{By increasing }\lambda,\text{ there will be more zero terms in }\beta",
        verdict="wrong",
        remark="On the whole, but not step by step: as lambda rises a coefficient can come back.",
        where="S1, Channel Pruning, below eq. (2)",
        code="textbook.lasso_path",
        notebook="05b, section 3.5",
        tolerance=0,
        draw=_draw_path,
        right=_counts,
        referees=(Form("3^p sign patterns at 19 lambdas", _counts_by_signs),),
        wrong=(
            Form(
                "never fewer as lam falls",
                _only_more,
                "A coefficient may have to pass through zero, and it stays there for a while.",
            ),
            Form(
                "all with |x_j^T y| > n lam",
                _as_many_as_slopes,
                "What y correlates with another column can explain: it is x_j^T r that counts.",
            ),
        ),
    ),
    Formula(
        id="S1-F11",
        title="penalty and constraint",
        printed=r"|\beta_1|+|\beta_2|\le t",
        verdict="right",
        remark="With t = ||beta(lam)||_1 the constraint has the minimiser of the penalty; t is not lam itself.",
        where="S1, the slide with FIGURE 3.11",
        code="textbook.lasso, textbook.least_squares_in_l1_ball",
        notebook="07, section 6",
        tolerance=1e-8,
        draw=_draw_constraint,
        right=_penalty_and_constraint,
        referees=(Form("every face of the ball", _ball(lambda X, y, lam, t: _on_the_faces(X, y, t))),),
        wrong=(
            Form(
                "t = lam",
                _ball(lambda X, y, lam, t: _on_the_faces(X, y, lam)),
                "They are no units of each other: as lam grows t falls.",
            ),
            Form(
                "the round ball",
                _ball(lambda X, y, lam, t: _in_round_ball(X, y, t)),
                "That is the right half of the figure, ridge: a ball without corners.",
            ),
            Form(
                "least squares, projected",
                _ball(lambda X, y, lam, t: textbook.project_l1_ball(np.linalg.pinv(X) @ y, t)),
                "The ellipses decide, not the distance: that is the same only where X^T X is a multiple of I.",
            ),
        ),
    ),
)
