"""The lasso, and the scales of its lambda."""

import itertools
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

import textbook
from pruning.ledger.core import Form, Formula, Statement

Three: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]
Pair: TypeAlias = tuple[np.ndarray, np.ndarray]


def by_signs(X: np.ndarray, y: np.ndarray, lam: float, weight: float) -> np.ndarray:
    """Minimise weight ||y - X beta||^2 + lam ||beta||_1: solve a linear system for each pattern of signs, 3^p in all.

    Were the signs s of the minimiser known, 2 weight X_A^T (y - X_A beta_A) = lam s_A would give its nonzeros.  So it
    is among the solutions, and it is the one with the lowest objective.
    """
    signs = np.array(list(itertools.product((0.0, 1.0, -1.0), repeat=X.shape[1])))
    active = (signs != 0).astype(float)
    systems = active[:, :, None] * (X.T @ X) * active[:, None, :]
    systems += (1 - active)[:, :, None] * np.eye(X.shape[1])
    beta = np.linalg.solve(systems, (active * (X.T @ y) - lam / (2 * weight) * signs)[:, :, None])[:, :, 0]
    objective = weight * np.sum((y - beta @ X.T) ** 2, axis=1) + lam * np.sum(np.abs(beta), axis=1)
    best: np.ndarray = beta[np.argmin(objective)]
    return best


def draw_problem(rng: np.random.Generator, n: int = 11) -> Pair:
    """Return correlated columns in different units, and a y that needs two of the four and is not soon zero."""
    while True:
        X = (rng.standard_normal((n, 4)) + 0.7 * rng.standard_normal((n, 1))) * rng.uniform(0.5, 2, 4)
        y = X @ np.array([2.0, 0, 0, -1.5]) + 0.5 * rng.standard_normal(n)
        if np.abs(X.T @ y).max() / n > 0.5:
            return X, y


def _draw_scales(rng: np.random.Generator) -> dict[str, np.ndarray]:
    X, y = draw_problem(rng)
    stacked, target = draw_problem(rng, n=7 * 3)
    return {"X": X, "y": y, "Z": stacked.T.reshape(4, 7, 3), "Y": target.reshape(7, 3)}


LAM, LAM_DESCENT, LAM_HE = 5.0, 0.25, 0.6  # one for each of the three objectives, as it is printed


def _with_factors(sse: Callable[[int], float], he: Callable[[int, int], float]) -> Callable[..., Three]:
    """Return a form that solves all three by `textbook.lasso`, with lam times these factors of n, and of N and n."""

    def form(X: np.ndarray, y: np.ndarray, Z: np.ndarray, Y: np.ndarray) -> Three:
        N, n_out = Y.shape
        slide = textbook.lasso(X, y, LAM * sse(len(y))).beta
        descent = textbook.lasso(X, y, LAM_DESCENT).beta
        return slide, descent, textbook.lasso(Z.reshape(len(Z), -1).T, Y.ravel(), LAM_HE * he(N, n_out)).beta

    return form


def _each_as_it_stands(X: np.ndarray, y: np.ndarray, Z: np.ndarray, Y: np.ndarray) -> Three:
    channels = by_signs(Z.reshape(len(Z), -1).T, Y.ravel(), LAM_HE, 1 / (2 * len(Y)))
    return by_signs(X, y, LAM, 1.0), by_signs(X, y, LAM_DESCENT, 1 / (2 * len(y))), channels


def _draw_slide(rng: np.random.Generator) -> dict[str, Any]:
    """Draw until the column that correlates most with y does so negatively."""
    while True:
        X, y = draw_problem(rng)
        c = X.T @ y
        if c.max() < 0.9 * -c.min():
            return {"X": X, "y": y, "lam": LAM}


def _lasso(X: np.ndarray, y: np.ndarray, lam: float) -> tuple[np.ndarray, float]:
    n = len(y)
    return textbook.lasso(X, y, lam / (2 * n)).beta, 2 * n * textbook.lasso_lambda_max(X, y)


def _slopes_at_zero(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The derivatives of ||y - X beta||^2 at beta = 0, by complex steps."""
    step = 1e-30
    return np.array([np.imag(np.sum((y - 1j * step * column) ** 2)) / step for column in X.T])


def _signs_and_slopes(X: np.ndarray, y: np.ndarray, lam: float) -> tuple[np.ndarray, float]:
    # Zero is the minimiser as long as no slope of the squares is steeper than that of lam |beta_j|.
    return by_signs(X, y, lam, 1.0), float(np.max(np.abs(_slopes_at_zero(X, y))))


def _slide_with(
    beta: Callable[[np.ndarray, np.ndarray, float], np.ndarray] | None = None,
    largest: Callable[[np.ndarray, np.ndarray], float] | None = None,
) -> Callable[..., tuple[np.ndarray, float]]:
    """Return the right form, but with other coefficients, or another lam_max."""

    def form(X: np.ndarray, y: np.ndarray, lam: float) -> tuple[np.ndarray, float]:
        right = _signs_and_slopes(X, y, lam)
        return beta(X, y, lam) if beta else right[0], largest(X, y) if largest else right[1]

    return form


def _shrunk_least_squares(X: np.ndarray, y: np.ndarray, lam: float) -> np.ndarray:
    w = np.linalg.pinv(X) @ y
    return np.sign(w) * np.maximum(np.abs(w) - lam / (2 * len(y)), 0)


def _draw_zeros(rng: np.random.Generator) -> dict[str, Any]:
    """Draw until the minimiser has a zero, and no nonzero that is hardly one."""
    while True:
        X, y = draw_problem(rng)
        sizes = np.abs(by_signs(X, y, LAM, 1.0))
        if 0 < np.sum(sizes == 0) < 4 and sizes[sizes > 0].min() > 1e-3:
            return {"X": X, "y": y, "lam": LAM}


STATEMENTS: tuple[Statement, ...] = (
    Formula(
        id="C3",
        title="three lassos, three scales of lambda",
        printed=r"\|y-X\beta\|_2^2+\lambda\|\beta\|_1,\quad\frac1{2n}\|y-X\beta\|^2+\lambda\|\beta\|_1,\quad"
        r"\frac1{2N}\Bigl\|Y-\sum_i\beta_iZ_i\Bigr\|_F^2+\lambda\|\beta\|_1",
        verdict="scale",
        remark="The first lambda over 2n, and He's over the n columns of his Y, are lambdas of the second objective.",
        where="S1, the slides on the lasso, on coordinate descent and on channel pruning",
        code="textbook.lasso",
        notebook="05, section 5",
        draw=_draw_scales,
        right=_with_factors(lambda n: 1 / (2 * n), lambda N, n_out: 1 / n_out),
        referees=(Form("3^p sign patterns of each objective", _each_as_it_stands),),
        wrong=(
            Form(
                "first lam unchanged",
                _with_factors(lambda n: 1, lambda N, n_out: 1 / n_out),
                "Without the 1/2n the squares are 2n times as large, and lam with them.",
            ),
            Form(
                "first lam / n",
                _with_factors(lambda n: 1 / n, lambda N, n_out: 1 / n_out),
                "The half is forgotten: the objective has 1/2n in front of the squares.",
            ),
            Form(
                "He's lam unchanged",
                _with_factors(lambda n: 1 / (2 * n), lambda N, n_out: 1),
                "His matrices have N n numbers, but he divides by 2N only.",
            ),
            Form(
                "He's lam / 2N n",
                _with_factors(lambda n: 1 / (2 * n), lambda N, n_out: 1 / (2 * N * n_out)),
                "He has divided by 2N already; only the n columns are left.",
            ),
        ),
    ),
    Formula(
        id="S1-F10",
        title="the lasso, and the lambda from which on it is zero",
        printed=r"\arg\min_\beta\|y-X\beta\|_2^2+\lambda\sum_{j=1}^p|\beta_j|",
        verdict="scale",
        remark="It is zero from lam = 2 max |x_j^T y| on, and with 1/2n before the squares from max |x_j^T y| / n on.",
        where='S1, the slide "l1 penalty (Lasso)"',
        code="textbook.lasso, textbook.lasso_lambda_max",
        notebook="05, section 5",
        draw=_draw_slide,
        right=_lasso,
        referees=(Form("3^p sign patterns, complex step at zero", _signs_and_slopes),),
        wrong=(
            Form(
                "squares in the penalty",
                _slide_with(lambda X, y, lam: textbook.ridge(X, y, lam / (2 * len(y))).beta),
                "That is ridge, which shrinks every coefficient and deletes none.",
            ),
            Form(
                "least squares, thresholded",
                _slide_with(_shrunk_least_squares),
                "That is the lasso only where X^T X = n I: otherwise the columns share the work anew.",
            ),
            Form(
                "lam_max = max |x_j^T y|",
                _slide_with(largest=lambda X, y: float(np.abs(X.T @ y).max())),
                "The derivative of a square brings a factor 2, unless a half takes it away.",
            ),
            Form(
                "lam_max = max |x_j^T y| / n",
                _slide_with(largest=lambda X, y: float(np.abs(X.T @ y).max()) / len(y)),
                "That is the lam_max of the objective with 1/2n.",
            ),
            Form(
                "lam_max without |.|",
                _slide_with(largest=lambda X, y: 2 * float((X.T @ y).max())),
                "A column that correlates negatively with y enters as well.",
            ),
        ),
    ),
    Formula(
        id="S1-Q3",
        title="quiz: which penalty introduces sparsity?",
        printed=r"\text{A. L1}\quad\text{B. L2}\quad\text{C. both of them}\quad\text{D. None of them}",
        verdict="lost",
        remark="The slide does not print its answer, A: the zeros of the lasso are exact, and ridge has none.",
        where='S1, the quiz "Which of the following regularization term can introduce sparsity?"',
        code="textbook.lasso, textbook.ridge",
        notebook="04, section 7",
        tolerance=0,
        draw=_draw_zeros,
        right=lambda X, y, lam: textbook.lasso(X, y, lam / (2 * len(y))).beta == 0,
        referees=(Form("zeros of 3^p sign patterns", lambda X, y, lam: by_signs(X, y, lam, 1.0) == 0),),
        wrong=(
            Form(
                "B: L2",
                lambda X, y, lam: textbook.ridge(X, y, lam / (2 * len(y))).beta == 0,
                "The slope of a square is zero at zero: there is nothing that holds a coefficient there.",
            ),
            Form(
                "B: L2, 1000 lam",
                lambda X, y, lam: textbook.ridge(X, y, 1000 * lam / (2 * len(y))).beta == 0,
                "A larger lam makes small coefficients, not zeros.",
            ),
            Form(
                "D: none",
                lambda X, y, lam: np.zeros(len(X.T)),
                "The slope of |x| jumps at zero, and that holds small coefficients there.",
            ),
        ),
    ),
)
