"""Regression with at most k coefficients: by trying every subset, and by the greedy choice that replaces it."""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular

from nn.backend import Array, to_numpy
from textbook.inputs import as_count, as_regression
from textbook.norms import lp_norm
from textbook.regression import least_squares
from textbook.unit_problem import returned
from textbook.units import leading_exponent, scaled

MOST_SUBSETS = 1_000_000
ROUNDING = 1e-14  # what is left of y by then is its rounding error


@dataclass(frozen=True, eq=False)
class Subset:
    """A least-squares fit on a few columns.

    Attributes
    ----------
    beta : (p,) coefficients, exactly zero outside the support.
    support : (m,) the columns, in the order in which they were chosen; m can be less than was asked for.
    objective : (1/2n) ||y - X beta||^2.
    """

    beta: Array
    support: np.ndarray
    objective: float


def best_subset(X: Any, y: Any, k: int) -> Subset:
    """Minimise (1/2n) ||y - X beta||^2 subject to ||beta||_0 <= k, by a fit on every one of the C(p, k) subsets.

    The problem is NP-hard; this is the oracle for small p.  Among subsets that fit equally well the first in
    lexicographic order is returned.

    Parameters
    ----------
    X : (n, p).  y : (n,).
    k : 1 to p.  (On the slide this budget bears the name lambda.)

    Raises
    ------
    ValueError
        If there are more than a million subsets, k is outside its range, a shape does not fit, or a number is
        complex, NaN or infinite.
    TypeError
        If k is no integer, or X or y holds no numbers.

    Notes
    -----
    The slide "minimize ||y - X beta|| subject to ||beta||_0 <= lambda".
    """
    given, X, y = _float64(X, y)
    n, p = X.shape
    k = as_count(k, "k", 1, p)
    if (count := math.comb(p, k)) > MOST_SUBSETS:
        raise ValueError(f"expected at most {MOST_SUBSETS} subsets to try, got C({p}, {k}) = {count}")
    # X = Q R: ||y - X beta|| and ||Q^T y - R beta|| differ by a constant, and R is small.
    Q, R = np.linalg.qr(_column_norms(X)[0])
    z = Q.T @ scaled(y, -leading_exponent(y))
    support: tuple[int, ...] = ()
    least = math.inf
    for columns in itertools.combinations(range(p), k):
        error = _squared_error(R[:, columns], z)
        if error < least - ROUNDING * float(z @ z):
            support, least = columns, error
    beta = np.zeros(p)
    fit = least_squares(X[:, support], y)
    beta[list(support)] = fit.beta
    return Subset(returned(beta, given), np.array(support), fit.objective)


def _squared_error(X: np.ndarray, y: np.ndarray) -> float:
    r = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    return float(r @ r)


def orthogonal_matching_pursuit(X: Any, y: Any, k: int) -> Subset:
    """Choose k columns one by one, each the one that correlates most with what the others have left of y.

    Aims at min (1/2n) ||y - X beta||^2 subject to ||beta||_0 <= k, and need not reach it.  A step is

        j = argmax |x_j^T r| / ||x_j||,    beta = the least-squares fit on all columns chosen so far,    r = y - X beta.

    The division makes the choice independent of the units of the columns.  The fits share one QR factorisation, to
    which each step adds a column by Gram-Schmidt, done twice so that Q stays orthogonal to rounding.

    It stops early, without a warning, when no column correlates with the residual any more (y is fitted, or zero);
    how many columns it reached is the length of ``support``.  Ties go to the lowest index.  Computed in float64.

    Parameters
    ----------
    X : (n, p).  y : (n,).
    k : 1 to p.

    Raises
    ------
    ValueError
        If k is outside its range, a shape does not fit, or a number is complex, NaN or infinite.
    TypeError
        If k is no integer, or X or y holds no numbers.

    Notes
    -----
    The slide "Orthogonal matching pursuit (OMP): iterative heuristics", which names it only.
    """
    given, X, y = _float64(X, y)
    (n, p), unit = X.shape, leading_exponent(y)
    k = as_count(k, "k", 1, p)
    X, units, norms = _column_norms(X)
    Q, R, z = np.empty((n, k), order="F"), np.zeros((k, k)), np.empty(k)
    r = scaled(y, -unit)
    smallest = ROUNDING * lp_norm(r, 2)
    support: list[int] = []
    for m in range(k):
        criterion = np.abs(X.T @ r) / norms
        criterion[support] = 0
        j = int(np.argmax(criterion))
        if criterion[j] <= smallest:
            break
        q = X[:, j]
        for _ in range(2):
            h = Q[:, :m].T @ q
            q = q - Q[:, :m] @ h
            R[:m, m] += h
        R[m, m] = np.linalg.norm(q)
        Q[:, m] = q / R[m, m]
        z[m] = Q[:, m] @ r
        r = r - z[m] * Q[:, m]
        support.append(j)
    m = len(support)
    beta = np.zeros(p)
    if m:
        with np.errstate(over="ignore"):
            beta[support] = np.ldexp(solve_triangular(R[:m, :m], z[:m]), unit - units[support])
    size = scaled(lp_norm(r, 2), unit)
    return Subset(returned(beta, given), np.array(support, dtype=np.intp), size * size / (2 * n))


def _column_norms(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return X with its columns times powers of two, entries of at most 2; minus the exponents, (p,); and the norms.

    The norm of a zero column is inf, so that nothing correlates with it.
    """
    units = np.array([leading_exponent(column) for column in X.T])
    X = np.ldexp(X, -units)
    squares = np.einsum("ij,ij->j", X, X)
    return X, units, np.where(squares > 0, np.sqrt(squares), np.inf)


def _float64(X: Any, y: Any) -> tuple[Array, np.ndarray, np.ndarray]:
    given, y = as_regression(X, y)
    return given, to_numpy(given).astype(np.float64, copy=False), to_numpy(y).astype(np.float64, copy=False)
