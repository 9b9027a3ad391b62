"""Least squares, ridge, and the one-at-a-time differences that the lecture starts from."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import lapack

from nn.backend import Array, asarray, to_numpy
from textbook.certificates import lasso_gap
from textbook.inputs import as_floats, as_lam, as_regression, leading_power
from textbook.norms import lp_norm
from textbook.solution import Solution

SMALL, LARGE = 1e-100, 1e100  # between these no entry of X^T X over- or underflows
ILL_CONDITIONED = 1e-8  # of a Gram matrix: half of the digits of the solution are gone


def local_sensitivity(f: Callable[[np.ndarray], Any], x: Any, step: Any) -> np.ndarray:
    """Return S_i = (f(x + step_i e_i) - f(x)) / step_i for every parameter i: the forward differences of f at x.

    The error is step/2 times the second derivative, plus the rounding of f divided by the step: a step of 1e-8 times
    the size of x_i is near the best.  The mean of the results for step and -step is the central difference, with an
    error of step^2/6 times the third derivative.

    Parameters
    ----------
    f : function of a vector (K,), to a number; it is called K + 1 times.
    x : nominal value (K,).
    step : a number, or one a parameter (K,); may be negative.

    Raises
    ------
    ValueError
        If x is no vector of finite numbers, the steps do not fit it, or a step is too small to change its parameter.
    TypeError
        If x or step holds no numbers.

    Notes
    -----
    The slide with the formula of S_i, "only take into account local variation around nominal value".
    """
    x = to_numpy(as_floats(x, "x")).astype(np.float64)
    if x.ndim != 1:
        raise ValueError(f"expected a vector x, got shape {x.shape}")
    steps = to_numpy(as_floats(np.asarray(step), "step"))
    if steps.shape not in ((), x.shape):
        raise ValueError(f"expected one step or {x.size} of them, got shape {steps.shape}")
    nominal = float(f(x.copy()))
    S = np.empty_like(x)
    for i, step_i in enumerate(np.broadcast_to(steps, x.shape)):
        moved = x.copy()
        moved[i] += step_i
        taken = moved[i] - x[i]  # x + step is rounded: this is the step that f sees
        if taken == 0:
            raise ValueError(f"expected a step that changes x[{i}] = {x[i]}, got {step_i}")
        S[i] = (float(f(moved)) - nominal) / taken
    return S


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """A minimiser of (1/2n) ||y - X beta - intercept||^2.

    Attributes
    ----------
    beta : (p,) coefficients; of all minimisers the one of the smallest ||beta||.
    objective : value at beta.
    kkt : max_j |x_j^T r| / n, zero at a minimum.
    rank : numerical rank of X (of the centred X with an intercept); below p the minimiser is not unique.
    intercept : 0 unless it was asked for.
    """

    beta: Array
    objective: float
    kkt: float
    rank: int
    intercept: float = 0.0


def least_squares(X: Any, y: Any, intercept: bool = False) -> LeastSquares:
    """Minimise (1/2n) ||y - X beta||^2 by the singular value decomposition of X, with the numerical rank.

    Where X^T X is invertible this is the slide's beta = (X^T X)^{-1} X^T y, with cond(X) where the formula has
    cond(X)^2; otherwise it is the minimiser of minimum norm, X^+ y, and the rank says so.  Computed in float64.

    Parameters
    ----------
    X : (n, p).  y : (n,).
    intercept : minimise over an unpenalised constant too, by centring X and y.

    Raises
    ------
    ValueError
        If a shape does not fit, a dimension is empty, or a number is complex, NaN or infinite.
    TypeError
        If X or y holds no numbers.

    Notes
    -----
    The slide "min ||y - X beta||^2 -> beta = (X^T X)^{-1} X^T y".  Whether a column counts for the rank does not
    depend on its unit: the columns are brought to one scale first.
    """
    given, X, y, x_mean, y_mean = _float64(X, y, intercept)
    a, b = leading_power(X), leading_power(y)
    X, y = X / a, y / b
    beta, rank = minimum_norm(X, y)
    beta = _rounded(beta, given)
    r = y - X @ beta
    size, kkt = lp_norm(r, 2), lp_norm(X.T @ r, math.inf)
    beta = beta * (b / a)
    return LeastSquares(
        beta=asarray(beta, like=given),
        objective=(size * b) * (size * b) / (2 * len(y)),
        kkt=kkt / len(y) * a * b,
        rank=rank,
        intercept=float(y_mean - x_mean @ beta),
    )


def minimum_norm(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the beta of smallest norm among those of smallest ||y - X beta||, and the rank of X."""
    columns = np.array([leading_power(column) for column in X.T])
    beta, _, rank, _ = np.linalg.lstsq(X / columns, y, rcond=None)
    if rank < X.shape[1]:
        # The smallest ||beta|| of the columns as given, not of the scaled ones.
        columns = np.ones(X.shape[1])
        beta, _, rank, _ = np.linalg.lstsq(X, y, rcond=None)
        beta[~X.any(axis=0)] = 0
    return beta / columns, int(rank)


def normal_equations(X: Any, y: Any) -> Array:
    """Return the beta of X^T X beta = X^T y, the slide's formula as it stands: a lesson, not a solver.

    X^T X has the condition number cond(X)^2: of the 16 digits of a float, 2 log10 cond(X) are lost, where
    `least_squares` loses log10 cond(X).

    Raises
    ------
    ValueError
        As `least_squares`, and if X^T X is singular in floating point.
    """
    given, X, y, _, _ = _float64(X, y, False)
    try:
        return asarray(np.linalg.solve(X.T @ X, X.T @ y), like=given)
    except np.linalg.LinAlgError:
        raise ValueError("expected columns that are not linearly dependent: X^T X is singular") from None


def ridge(X: Any, y: Any, lam: float, intercept: bool = False) -> Solution:
    """Minimise (1/2n) ||y - X beta||^2 + lam ||beta||^2.

    The gradient is zero where (X^T X + 2 n lam I) beta = X^T y.  The same objective up to a factor, in other scales:

    ============================================== ============================ =====================
    objective                                      system                       lam of this function
    ============================================== ============================ =====================
    slide: ||y - X beta||^2 + m ||beta||^2         X^T X + m I                  m / (2n)
    (1/2n) ||y - X beta||^2 + (m/2) ||beta||^2     X^T X + n m I                m / 2
    ============================================== ============================ =====================

    For n < p the dual form beta = X^T (X X^T + 2 n lam I)^{-1} y has the smaller system.  Where it is so
    ill-conditioned that half of the digits would be lost, the singular values of X are used: beta = V diag(s_i /
    (s_i^2 + 2 n lam)) U^T y.  lam = 0 is `least_squares`.  Computed in float64; ``n_iter`` is 1.

    Parameters
    ----------
    X : (n, p).  y : (n,).
    lam : at least 0; inf gives zeros.
    intercept : minimise over an unpenalised constant too, by centring X and y.

    Raises
    ------
    ValueError
        If a shape does not fit, a dimension is empty, a number is complex, NaN or infinite, or lam is negative or NaN.
    TypeError
        If an argument holds no real numbers.

    Notes
    -----
    The two ridge slides.  With r = y - X beta and c = X^T r / n, the duality gap at beta is ||c - 2 lam beta||^2 /
    (4 lam) and ``kkt`` is the largest entry of |c - 2 lam beta|.
    """
    lam = as_lam(lam)
    given, X, y, x_mean, y_mean = _float64(X, y, intercept)
    a, b = 1.0, leading_power(y)
    with np.errstate(over="ignore"):
        G = _small_gram(X)
    if not SMALL < G.diagonal().max() < LARGE:
        a = leading_power(X)
        X = X / a
        G = _small_gram(X)
    y, scaled_lam = y / b, lam / a / a
    beta = _rounded(_ridge(X, y, scaled_lam, G), given)
    objective, gap, kkt = _certify_ridge(X, y, beta, scaled_lam)
    beta = beta * (b / a)
    return Solution(
        beta=asarray(beta, like=given),
        objective=objective * b * b,
        gap=gap * b * b,
        kkt=kkt * a * b,
        n_iter=1,
        lam=lam,
        intercept=float(y_mean - x_mean @ beta),
    )


def _ridge(X: np.ndarray, y: np.ndarray, lam: float, G: np.ndarray) -> np.ndarray:
    n, p = X.shape
    if math.isinf(lam):
        return np.zeros(p)
    if lam == 0:
        return minimum_norm(X, y)[0]
    system = G + 2 * n * lam * np.eye(len(G))
    factor, failed = lapack.dpotrf(system)
    if failed or lapack.dpocon(factor, np.abs(system).sum(axis=0).max())[0] < ILL_CONDITIONED:
        U, s, V = np.linalg.svd(X, full_matrices=False)
        s[s <= s[0] * max(n, p) * np.finfo(np.float64).eps] = 0
        return V.T @ (s / (s * s + 2 * n * lam) * (U.T @ y))
    if p <= n:
        return lapack.dpotrs(factor, X.T @ y)[0]
    return X.T @ lapack.dpotrs(factor, y)[0]


def _small_gram(X: np.ndarray) -> np.ndarray:
    n, p = X.shape
    return X.T @ X if p <= n else X @ X.T


def _certify_ridge(X: np.ndarray, y: np.ndarray, beta: np.ndarray, lam: float) -> tuple[float, float, float]:
    """Return objective, duality gap, and the largest entry of the gradient."""
    n = len(y)
    r = y - X @ beta
    c = X.T @ r / n
    objective = float(r @ r) / (2 * n)
    if lam == 0:
        return objective, lasso_gap(X, y, beta, 0), lp_norm(c, math.inf)
    if math.isinf(lam):
        return objective, 0.0, 0.0
    gradient = c - 2 * lam * beta
    return objective + lam * float(beta @ beta), float(gradient @ gradient) / (4 * lam), lp_norm(gradient, math.inf)


def _float64(X: Any, y: Any, intercept: bool) -> tuple[Array, np.ndarray, np.ndarray, np.ndarray, float]:
    """Return X as given, X and y as NumPy float64, centred if there is an intercept, and their means (or zeros)."""
    given, y = as_regression(X, y)
    X, y = to_numpy(given).astype(np.float64, copy=False), to_numpy(y).astype(np.float64, copy=False)
    if not intercept:
        return given, X, y, np.zeros(X.shape[1]), 0.0
    x_mean, y_mean = X.mean(axis=0), float(y.mean())
    return given, X - x_mean, y - y_mean, x_mean, y_mean


def _rounded(beta: np.ndarray, like: Array) -> np.ndarray:
    """Return beta as the dtype of `like` will hold it: what is certified is what is returned."""
    return to_numpy(asarray(beta, like=like)).astype(np.float64)
