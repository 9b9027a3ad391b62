"""Measuring a vector, and regression with at most k coefficients: all subsets, and the greedy choice."""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import textbook
from pruning.ledger.core import Claim, Form, Formula, Measured, Statement, relative

CLEAR = 1e-3  # by so much at least, relative, the best of two choices has to be better, and a wrong one worse


def _by_sums(x: np.ndarray, p: float) -> float:
    sizes = [abs(float(value)) for value in x]
    if p == math.inf:
        return max(sizes)
    return math.fsum(size**p for size in sizes) ** (1 / p) if p else float(sum(size > 0 for size in sizes))


def _norms(rng: np.random.Generator) -> Iterator[Measured]:
    x, u, v = rng.standard_normal((3, 6))
    x[:2], u[3:], v[:3] = (0.0, -4.0), 0.0, 0.0
    norm = textbook.lp_norm
    for p in (0, 0.5, 1, 2, 3, math.inf):
        yield Measured(f"p = {p}", relative(norm(x, p), _by_sums(x, p)))
    for p in (1.0, 2.0, 3.0, math.inf):
        yield Measured(
            f"||u + x|| above ||u|| + ||x||, p = {p}", max(0.0, norm(u + x, p) / (norm(u, p) + norm(x, p)) - 1)
        )
        yield Measured(f"||3 x|| = 3 ||x||, p = {p}", relative(norm(3 * x, p), 3 * norm(x, p)))
    yield Measured("p = 1e14 is nearly p = inf", relative(norm(x, 1e14), norm(x, math.inf)))
    for name, value, right, message in (
        ("triangle at p = 1/2", norm(u + v, 0.5), norm(u, 0.5) + norm(v, 0.5), "Below p = 1 a detour can be shorter."),
        ("||3 x|| = 3 ||x|| at p = 0", norm(3 * x, 0), 3 * norm(x, 0), "The count does not notice a factor: no norm."),
        ("p = 0.01 for p = 0", norm(x, 0.01), norm(x, 0), "The count is the limit of the sum; its root 1/p explodes."),
        ("root forgotten, p = 2", norm(x, 2) ** 2, norm(x, 2), "Without the root 2 x is four times as long as x."),
        ("max x for max |x|", max(x), norm(x, math.inf), "The largest entry may be negative."),
        ("sum x for sum |x|", sum(x), norm(x, 1), "Without the absolute values entries cancel."),
    ):  # fmt: skip
        yield Measured(name, relative(value, right), wrong=True, message=message)


def _draw_quiz(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"x": rng.permuted(rng.standard_normal(3) * [0, 1, 1])}


def _l0(x: np.ndarray) -> float:
    return textbook.lp_norm(x, 0)


def _fitted(X: np.ndarray, y: np.ndarray, support: Any) -> np.ndarray:
    """Return the least-squares coefficients on these columns, by the normal equations; the others are zero."""
    beta, A = np.zeros(X.shape[1]), X[:, list(support)]
    beta[list(support)] = np.linalg.solve(A.T @ A, A.T @ y)
    return beta


def _error(X: np.ndarray, y: np.ndarray, beta: np.ndarray) -> float:
    return float(np.sum((y - X @ beta) ** 2))


def _by_supports(X: np.ndarray, y: np.ndarray, k: int, weight: float = 0.0) -> np.ndarray:
    """Return the best fit on at most k columns: of ||y - X beta||^2 + weight ||beta||_0."""
    p = X.shape[1]
    supports = [columns for size in range(1, k + 1) for columns in itertools.combinations(range(p), size)]
    fits = [np.zeros(p)] + [_fitted(X, y, columns) for columns in supports]
    return min(fits, key=lambda beta: _error(X, y, beta) + weight * np.count_nonzero(beta))


def _k_as_weight(X: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    return _by_supports(X, y, X.shape[1], weight=float(k))


def _largest_of_all(X: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    beta = _fitted(X, y, range(X.shape[1]))
    return np.where(np.abs(beta) >= np.sort(np.abs(beta))[-k], beta, 0)


def _largest_refitted(X: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    return _fitted(X, y, np.flatnonzero(_largest_of_all(X, y, k)))


def _lasso_refitted(X: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    return _fitted(X, y, np.flatnonzero(textbook.lasso_at_most(X, y, k).beta))


def _worse(X: np.ndarray, y: np.ndarray, beta: np.ndarray, best: np.ndarray) -> bool:
    return relative(beta, best) > CLEAR and _error(X, y, beta) > (1 + CLEAR) * _error(X, y, best)


def _draw_subset(rng: np.random.Generator) -> dict[str, Any]:
    """Draw until no second subset is nearly as good, and until every wrong way chooses another one."""
    n, p, k = 12, 6, 2
    while True:
        X = rng.standard_normal((n, p)) @ rng.standard_normal((p, p))
        y = X @ rng.standard_normal(p) + rng.standard_normal(n)
        best = _by_supports(X, y, k)
        others = [_fitted(X, y, s) for s in itertools.combinations(range(p), k) if not np.all(best[list(s)])]
        wrong = [form(X, y, k) for form in (_largest_refitted, _lasso_refitted, _k_as_weight)]
        different = all(relative(each, best) > CLEAR for each in wrong)
        if different and all(_worse(X, y, each, best) for each in others):
            return {"X": X, "y": y, "k": k}


def _best_subset(X: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    beta: np.ndarray = textbook.best_subset(X, y, k).beta
    return beta


def _pursuit(X: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    beta: np.ndarray = textbook.orthogonal_matching_pursuit(X, y, k).beta
    return beta


def _left_over(X: np.ndarray, r: np.ndarray) -> list[float]:
    """Return the error that each column leaves when it alone is fitted to r."""
    return [_error(X, r, _fitted(X, r, [j])) for j in range(X.shape[1])]


def _step_by_step(X: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    """Try each column on what is left; keep the best one; fit all that are kept by the pseudo-inverse."""
    kept: list[int] = []
    beta = np.zeros(X.shape[1])
    for _ in range(k):
        kept.append(int(np.argmin(_left_over(X, y - X @ beta))))
        beta[kept] = np.linalg.pinv(X[:, kept]) @ y
    return beta


def _pursuit_with(units: bool = True, refit: bool = True) -> Callable[..., np.ndarray]:
    def form(X: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
        beta, norms = np.zeros(X.shape[1]), np.linalg.norm(X, axis=0)
        for _ in range(k):
            c = X.T @ (y - X @ beta)
            j = int(np.argmax(np.abs(c) / (norms if units else 1)))
            beta[j] += c[j] / norms[j] ** 2
            if refit:
                beta = _fitted(X, y, np.flatnonzero(beta))
        return beta

    return form


def _all_at_once(X: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    return _fitted(X, y, np.argsort(_left_over(X, y))[:k])


def _draw_pursuit(rng: np.random.Generator) -> dict[str, Any]:
    """Draw until the choices are clear, until the wrong ways choose otherwise, and until OMP is not the optimum."""
    n, p, k = 12, 6, 2
    while True:
        X = rng.standard_normal((n, p)) @ rng.standard_normal((p, p)) * rng.uniform(0.2, 5, p)
        y = X @ rng.standard_normal(p) + rng.standard_normal(n)
        beta = _step_by_step(X, y, k)
        first = int(np.argmin(_left_over(X, y)))
        steps = [np.sort(_left_over(X, r)) for r in (y, y - X @ _fitted(X, y, [first]))]
        wrong = [form(X, y, k) for form in (_pursuit_with(units=False), _by_supports, _all_at_once)]
        different = all(relative(each, beta) > CLEAR for each in wrong)
        if different and all(errors[1] > (1 + CLEAR) * errors[0] for errors in steps):
            return {"X": X, "y": y, "k": k}


STATEMENTS: tuple[Statement, ...] = (
    Claim(
        id="S1-F5",
        title="the lp norms",
        printed=r"\|x\|_p=\Bigl(\sum_i|x_i|^p\Bigr)^{1/p}",
        verdict="right if",
        remark="It is a norm for p >= 1 only: below, the triangle inequality fails, and the count ignores factors.",
        where="S1, the five slides on norms",
        code="textbook.lp_norm",
        notebook="04, section 4",
        measure=_norms,
        referee="sums, a count and a maximum, number by number",
    ),
    Formula(
        id="S1-Q1",
        title="quiz: which of these is L0?",
        printed=r"\|x\|_0\overset?=x_1+x_2+x_3,\ \max\{x_1,x_2,x_3\},\ |x_1|+|x_2|+|x_3|",
        verdict="lost",
        remark="The slide does not print its answer, D: L0 counts the nonzeros, and none of the three does.",
        where='S1, the quiz "Which of the following is L0?"',
        code="textbook.lp_norm",
        notebook="04, section 4",
        tolerance=0,
        draw=_draw_quiz,
        right=_l0,
        referees=(Form("a count", lambda x: float(sum(value != 0 for value in x))),),
        wrong=(
            Form("A: x1 + x2 + x3", lambda x: float(np.sum(x)), "A sum can be negative, and entries can cancel."),
            Form("B: max x", lambda x: float(np.max(x)), "That is the L-infinity norm, without its absolute values."),
            Form("C: sum |x|", lambda x: float(np.sum(np.abs(x))), "That is L1, which sees how large the entries are."),
        ),
    ),
    Formula(
        id="S1-F6",
        title="at most lambda coefficients",
        printed=r"\text{minimize}\ \|y-X\beta\|,\qquad\text{subject to}\ \|\beta\|_0\le\lambda",
        verdict="right",
        remark="Here lambda is a number of coefficients, not a weight; squared or not, the minimiser is the same.",
        where="S1, the slide with L0 and OMP",
        code="textbook.best_subset",
        notebook="04, section 5",
        draw=_draw_subset,
        right=_best_subset,
        referees=(Form("normal equations on every support", _by_supports),),
        wrong=(
            Form("lambda as a weight", _k_as_weight, "As a price for each coefficient it buys another number of them."),
            Form(
                "largest coefficients",
                _largest_of_all,
                "The others have shared the work: those that stay must be refitted.",
            ),
            Form(
                "largest, refitted",
                _largest_refitted,
                "A large coefficient of the full fit need not be in the best subset.",
            ),
            Form("the lasso's, refitted", _lasso_refitted, "The l1 norm replaces the count, and chooses for itself."),
        ),
    ),
    Formula(
        id="S1-F7",
        title="orthogonal matching pursuit",
        printed=r"j=\arg\max_j\frac{|x_j^\top r|}{\|x_j\|},\quad S\leftarrow S\cup\{j\},\quad"
        r"\beta_S=\arg\min_\beta\|y-X_S\beta\|^2,\quad r=y-X_S\beta_S",
        verdict="lost",
        remark="The slide only names it; it is greedy, and the draws are such that it misses the best subset.",
        where="S1, the slide with L0 and OMP",
        code="textbook.orthogonal_matching_pursuit",
        notebook="04, section 5",
        draw=_draw_pursuit,
        right=_pursuit,
        referees=(Form("each column tried on what is left", _step_by_step),),
        wrong=(
            Form("x_j^T r, not divided", _pursuit_with(units=False), "Then a column wins by its unit alone."),
            Form("no refit", _pursuit_with(refit=False), "That is matching pursuit without orthogonal."),
            Form("k at once", _all_at_once, "The second column has to explain what the first one has left."),
            Form("the best subset", _by_supports, "That is what OMP aims at; a greedy choice need not reach it."),
        ),
    ),
)
