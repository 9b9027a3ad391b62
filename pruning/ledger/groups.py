"""The group lasso: its scale, when a block is zero, one block at a time, and what orthonormal columns change."""

import math
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np

import textbook
from pruning.ledger.core import Form, Formula

Groups: TypeAlias = list[np.ndarray]
SIZES = (2, 3, 4)
NOTHING = 1e-30
"""A length that the referee takes for zero, so that it need not divide by zero."""


def _draw_problem(rng: np.random.Generator) -> dict[str, object]:
    # Columns in units of their own; the second group has no coefficients, and the penalty is far above its noise.
    groups = np.split(np.arange(sum(SIZES)), np.cumsum(SIZES)[:-1])
    X = rng.standard_normal((100, sum(SIZES))) * rng.uniform(0.5, 2.0, sum(SIZES))
    beta = rng.choice([-1.0, 1.0], sum(SIZES)) * rng.uniform(1.0, 2.0, sum(SIZES))
    beta[groups[1]] = 0
    return {"X": X, "y": X @ beta + 0.05 * rng.standard_normal(100), "groups": groups, "lam": np.array([20, 40, 30.0])}


def _draw_fits(rng: np.random.Generator) -> dict[str, object]:
    return _draw_problem(rng) | {"lam": np.array([10, 20, 15.0])}


def _draw_orthonormal(rng: np.random.Generator) -> dict[str, object]:
    # Four pairs of orthonormal columns, whose correlations with y have these lengths in units of lam.
    lam, lengths = rng.uniform(0.5, 2.0), np.array([0.3, 0.7, 1.5, 3.0])
    X, directions = np.linalg.qr(rng.standard_normal((12, 8)))[0], rng.standard_normal((4, 2))
    z = directions / np.linalg.norm(directions, axis=1, keepdims=True) * lengths[:, None] * lam
    noise = rng.standard_normal(12)
    y = X @ z.ravel() + noise - X @ (X.T @ noise)
    return {"X": X, "y": y, "groups": np.split(np.arange(8), 4), "lam": np.full(4, lam)}


def _draw_block(rng: np.random.Generator, p: int = 3) -> dict[str, object]:
    # One block, and a penalty at which it is not zero.
    X = rng.standard_normal((20, p)) * rng.uniform(0.5, 2.0, p)
    r = X @ rng.standard_normal(p) + rng.standard_normal(20)
    return {"X": X, "r": r, "lam": rng.uniform(0.2, 0.6) * float(np.linalg.norm(2 * X.T @ r))}


def _draw_pair(rng: np.random.Generator) -> dict[str, object]:
    return {name: value for name, value in _draw_block(rng, p=2).items() if name != "lam"}


def _reweighted(X: np.ndarray, y: np.ndarray, groups: Groups, lam: np.ndarray, fits: bool = False) -> np.ndarray:
    # ||b|| <= ||b||^2 / (2 t) + t / 2, with equality at t = ||b||: a ridge regression, solved again with the new t.
    metric = [X[:, g].T @ X[:, g] if fits else np.eye(len(g)) for g in groups]  # fits: ||X_j b|| in place of ||b||
    gram, z, beta = 2 * X.T @ X, 2 * X.T @ y, np.linalg.lstsq(X, y)[0]
    for _ in range(150):
        A = gram.copy()
        for g, M, lam_j in zip(groups, metric, lam):
            A[g[0] : g[-1] + 1, g[0] : g[-1] + 1] += lam_j / max(math.sqrt(beta[g] @ M @ beta[g]), NOTHING) * M
        beta = np.linalg.solve(A, z)
    return beta


def _solved(X: np.ndarray, y: np.ndarray, groups: Groups, lam: np.ndarray) -> np.ndarray:
    return textbook.group_lasso(X, y, groups, 1 / (2 * len(y)), weights=lam).beta  # lam w_j = lam_j / (2 n)


def _solved_ridge(X: np.ndarray, y: np.ndarray, groups: Groups, lam: np.ndarray) -> np.ndarray:
    return np.linalg.solve(X.T @ X + np.diag(np.repeat(lam, SIZES)), X.T @ y)


def _solved_lasso(X: np.ndarray, y: np.ndarray, groups: Groups, lam: np.ndarray) -> np.ndarray:
    return _solved(X, y, [np.array([k]) for g in groups for k in g], np.repeat(lam, SIZES))


def _threshold(X: np.ndarray, r: np.ndarray) -> float:
    return 2 * len(r) * textbook.group_lasso_lambda_max(X, r, [range(X.shape[1])])


def _steepest_descent(X: np.ndarray, r: np.ndarray) -> float:
    # The block is zero unless ||r - X b||^2 falls by more than lam a length, from b = 0 in the steepest direction.
    def slope(angle: float) -> float:
        b = 1e-30j * np.array([math.cos(angle), math.sin(angle)])
        return -float(np.imag(np.sum((r - X @ b) ** 2))) / 1e-30

    best = max(np.linspace(0, 2 * math.pi, 100), key=slope)
    low, high = best - 0.1, best + 0.1
    for _ in range(60):  # a ternary search: nothing but comparisons
        a, b = low + (high - low) / 3, high - (high - low) / 3
        low, high = (a, high) if slope(a) < slope(b) else (low, b)
    return slope((low + high) / 2)


def _thresholded(
    share: float = 0.5, threshold: Callable[[np.ndarray, float], np.ndarray] = textbook.group_soft_threshold
) -> Callable[..., np.ndarray]:
    def form(X: np.ndarray, y: np.ndarray, groups: Groups, lam: np.ndarray) -> np.ndarray:
        # Where all of X is orthonormal the other groups take nothing off z_j = X_j^T r_{-j} = X_j^T y.
        return np.concatenate([threshold(X[:, g].T @ y, share * lam_j) for g, lam_j in zip(groups, lam)])

    return form


def _whole_factor(z: np.ndarray, lam: float) -> np.ndarray:
    shrunk: np.ndarray = (1 - lam / np.linalg.norm(z)) * z
    return shrunk


def _block(X: np.ndarray, r: np.ndarray, lam: float) -> np.ndarray:
    n, p = X.shape
    return textbook.group_lasso_coordinate_descent(X, r, [range(p)], lam / (2 * n)).beta


def _ridge(X: np.ndarray, r: np.ndarray, lam: float, t: float) -> np.ndarray:
    # (2 X^T X + lam / t  I) b = 2 X^T r
    return np.linalg.solve(2 * X.T @ X + lam / t * np.eye(X.shape[1]), 2 * X.T @ r)


def _block_by_bisection(X: np.ndarray, r: np.ndarray, lam: float) -> np.ndarray:
    # ||b(t)|| = t at one t only: below it the ridge regression is longer than its t, above it shorter.
    low, high = 1e-9, 1e3
    for _ in range(100):
        t = (low + high) / 2
        low, high = (t, high) if np.linalg.norm(_ridge(X, r, lam, t)) > t else (low, t)
    return _ridge(X, r, lam, low)


def _block_reweighted(X: np.ndarray, r: np.ndarray, lam: float) -> np.ndarray:
    return _reweighted(X, r, [np.arange(X.shape[1])], np.array([lam]))


def _block_least_squares(X: np.ndarray, r: np.ndarray, lam: float) -> np.ndarray:
    return textbook.group_soft_threshold(textbook.least_squares(X, r).beta, lam / 2)


def _orthonormalised(X: np.ndarray, y: np.ndarray, groups: Groups, lam: np.ndarray) -> np.ndarray:
    Q, beta = X.copy(), np.zeros(X.shape[1])
    for g in groups:
        Q[:, g] = np.linalg.qr(X[:, g])[0]
    gamma = _solved(Q, y, groups, lam)
    for g in groups:
        beta[g] = np.linalg.solve(Q[:, g].T @ X[:, g], gamma[g])  # gamma_j = R_j beta_j
    return beta


def _same_share(X: np.ndarray, y: np.ndarray, groups: Groups, lam: np.ndarray) -> np.ndarray:
    # The slide's problem with its lam where, in units of the smallest that makes all zero, that of the other is.
    lengths = [np.linalg.norm(np.linalg.qr(X[:, g])[0].T @ y) for g in groups]
    own = [np.linalg.norm(X[:, g].T @ y) for g in groups]
    return _solved(X, y, groups, lam * max(own) / max(lengths))


STATEMENTS = (
    Formula(
        id="S1-F18",
        title="the group lasso, in the slide's scale",
        printed=r"\arg\min_\beta\|y-\sum_jX_j\beta_j\|_2^2+\sum_j\lambda_j\|\beta_j\|",
        verdict="scale",
        remark="The norms are not squared, the loss has no half: divided by 2n it has the weights lambda_j / (2n).",
        where="S1, Group lasso",
        code="textbook.group_lasso",
        notebook="06, section 1",
        tolerance=1e-9,
        draw=_draw_problem,
        draws=3,
        right=_solved,
        referees=(Form("ridge regressions, reweighted", _reweighted),),
        wrong=(
            Form(
                "lam_j for lam_j / (2n)",
                lambda X, y, groups, lam: textbook.group_lasso(X, y, groups, 1.0, weights=lam).beta,
                "The solver's loss is (1/2n) ||y - X beta||^2, and with lam unchanged everything is zero.",
            ),
            Form(
                "lam_j / n",
                lambda X, y, groups, lam: _solved(X, y, groups, 2 * lam),
                "That belongs to half the sum of squares, which the slide does not halve.",
            ),
            Form("norms squared", _solved_ridge, "With a square it is ridge regression: no group is ever zero."),
            Form("every column a group", _solved_lasso, "That is the lasso, whose zeros are single coefficients."),
        ),
    ),
    Formula(
        id="S1-F18a",
        title="when a group is zero",
        printed=r"\beta_j=0\iff2\|X_j^\top r_{-j}\|\le\lambda_j,\qquad r_{-j}=y-\sum_{k\ne j}X_k\beta_k",
        verdict="lost",
        remark="The zero condition is that of any block, orthonormal or not: the subdifferential at zero is a ball.",
        where="S1, Group lasso",
        code="textbook.group_lasso_lambda_max",
        notebook="06, section 3",
        draw=_draw_pair,
        right=_threshold,
        referees=(Form("steepest of all directions", _steepest_descent),),
        wrong=(
            Form("factor 2 forgotten", lambda X, r: np.linalg.norm(X.T @ r), "The slide's loss has no half."),
            Form(
                "largest single correlation",
                lambda X, r: 2 * np.max(np.abs(X.T @ r)),
                "That is the lasso's condition; all correlations of a group count, by their norm.",
            ),
            Form(
                "norm of the least-squares solution",
                lambda X, r: 2 * np.linalg.norm(np.linalg.lstsq(X, r)[0]),
                "The condition asks for correlations with r, which are coefficients only if X_j^T X_j = I.",
            ),
        ),
    ),
    Formula(
        id="S1-F18b",
        title="block soft threshold, orthonormal block",
        printed=r"\beta_j=\Big(1-\frac{\lambda_j}{2\|z\|}\Big)_+z,\qquad z=X_j^\top r_{-j},\quad X_j^\top X_j=I",
        verdict="lost",
        remark="The threshold is half of lambda_j here; where the loss is over 2n and X'X = nI, it is all of it.",
        where="S1, Group lasso",
        code="textbook.group_soft_threshold",
        notebook="06, section 5",
        draw=_draw_orthonormal,
        draws=3,
        right=_thresholded(),
        referees=(Form("ridge regressions, reweighted", _reweighted),),
        wrong=(
            Form("threshold lam_j", _thresholded(1.0), "That is the threshold of half the sum of squares."),
            Form("no positive part", _thresholded(0.5, _whole_factor), "Below the threshold the factor is negative."),
            Form(
                "every coefficient alone",
                _thresholded(0.5, textbook.soft_threshold),
                "A group keeps its direction: all coefficients shrink by one factor, none by an amount of its own.",
            ),
        ),
    ),
    Formula(
        id="S1-F18c",
        title="one block, not orthonormal",
        printed=r"\Big(2X_j^\top X_j+\frac{\lambda_j}{t}I\Big)\beta_j=2X_j^\top r_{-j},\qquad\|\beta_j\|=t",
        verdict="lost",
        remark="A general block has no closed form; in the eigenvectors of X'X one equation for its length is left.",
        where="S1, Group lasso",
        code="textbook.group_lasso_coordinate_descent, textbook.coordinate_descent.block_minimiser",
        notebook="06, section 4",
        tolerance=1e-10,
        draw=_draw_block,
        draws=3,
        right=_block,
        referees=(
            Form("bisection for the length", _block_by_bisection),
            Form("ridge regressions, reweighted", _block_reweighted),
        ),
        wrong=(
            Form(
                "block soft threshold of X'r",
                lambda X, r, lam: textbook.group_soft_threshold(X.T @ r, lam / 2),
                "It takes X'X for the identity: on long columns the block comes out far too long.",
            ),
            Form(
                "block soft threshold of least squares",
                _block_least_squares,
                "Dividing by X'X first puts lambda_j on a scale of coefficients: here the block is thresholded away.",
            ),
            Form(
                "ridge regression",
                lambda X, r, lam: _ridge(X, r, lam, 1.0),
                "The penalty is lam ||b||, not lam ||b||^2 / 2: the length t belongs under lam.",
            ),
            Form(
                "lam_j / n",
                lambda X, r, lam: _block(X, r, 2 * lam),
                "That belongs to half the sum of squares, which the slide does not halve.",
            ),
        ),
    ),
    Formula(
        id="D8",
        title="orthonormal columns change the problem",
        printed=r"X_j=Q_jR_j,\ \gamma_j=R_j\beta_j:\qquad\sum_j\lambda_j\|\gamma_j\|=\sum_j\lambda_j\|X_j\beta_j\|",
        verdict="lost",
        remark="Orthonormalising first penalises the fit of a group, not its coefficients; no lambda makes up for it.",
        where="S1, Group lasso (derived)",
        code="textbook.group_lasso",
        notebook="06, section 6",
        tolerance=1e-9,
        draw=_draw_fits,
        draws=3,
        right=_orthonormalised,
        referees=(Form("reweighted, with ||X_j b||", partial(_reweighted, fits=True)),),
        wrong=(
            Form("the slide's penalty, same lam", _solved, "||beta_j|| and ||X_j beta_j|| are different penalties."),
            Form(
                "the slide's penalty, same share of lam_max",
                _same_share,
                "No lambda makes up for it: the columns of one group are weighed against each other, too.",
            ),
        ),
    ),
)
