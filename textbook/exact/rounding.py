"""The duality gap where the optimality conditions hold to rounding, and lam is hardly larger than that.

The gap of `textbook.certificates` shrinks the residual until |x_j^T nu| <= n lam, or moves all of X^T nu to where it is
allowed.  Where the rounding errors of x_j^T r are not far below lam, the first leaves little of it, and the second goes
far from r where some columns are not in use, however exact beta is.  But any nu with |x_j^T nu| <= n lam bounds the
minimum.  So move the residual before it is shrunk: with the shortest w that gives the columns A in use what they should
have,

    X_A^T w = n (c_A - lam s_A),        nu = t (r - w),

c_A = lam s_A holds for nu if t = 1, where s is the sign of beta, or of x_j^T nu for zeros that exceed lam without it.
The two objectives then differ by

    ||r - nu||^2 / 2n + (1 - t) lam ||beta||_1,        ||r - nu|| <= (1 - t) ||r|| + t ||w||.

At lam = 0 with all columns in A that is ||w||^2 / 2n, w being the projection of the residual on the columns.
"""

import math
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular

ROUNDING = 1e-14  # what a scalar product is not known better than, relative to the product of the lengths
DEPENDENT = 1e-14  # distance of a column to the span of others, relative to its length
SMALL = 1e-9, 1e-13  # a gap of these shares of the objective and of ||y||^2 / n says enough
ROUNDS = 5  # times that A may grow


def enough(objective: Any, y: np.ndarray) -> Any:
    """Return the gap from which on a smaller one would say no more."""
    return np.minimum(SMALL[0] * objective, SMALL[1] * float(y @ y) / len(y))


def gap_to_rounding(
    X: np.ndarray, y: np.ndarray, r: np.ndarray, c: np.ndarray, beta: np.ndarray, lam: float, gap: float, kkt: float
) -> float:
    """Return the smallest gap of these nu; or `gap` if that is smaller, or kkt not rounding, or lam 0 or infinite.

    X may be replaced by a smaller matrix with the same X^T X.
    """
    n, size, sum_beta = len(r), float(np.linalg.norm(r)), float(np.abs(beta).sum())
    if not 0 < lam < math.inf or gap <= enough(size * size / (2 * n) + lam * sum_beta, y):
        return gap
    largest = np.abs(X).max(axis=0)  # whose squares, unlike the lengths', may be no floats
    lengths = math.sqrt(len(X)) * largest
    if kkt > ROUNDING * float(lengths.max()) * (size + float(lengths @ np.abs(beta))) / n:
        return gap
    goal = lam * np.sign(beta)
    for _ in range(ROUNDS):
        A = np.flatnonzero(goal)
        columns = X[:, A] / largest[A]
        Q, R = np.linalg.qr(columns)
        if len(A) > len(Q) or (np.abs(np.diagonal(R)) <= DEPENDENT * np.linalg.norm(columns, axis=0)).any():
            break
        w = Q @ solve_triangular(R, n * (c - goal)[A] / largest[A], trans="T")
        moved = np.where(goal == 0, c - X.T @ w / n, 0.0)
        t = lam / max(lam, float(np.abs(moved).max()))
        distance = (1 - t) * size + t * float(np.linalg.norm(w))
        gap = min(gap, distance * distance / (2 * n) + (1 - t) * lam * sum_beta)
        if t == 1:
            break
        goal = np.where(np.abs(moved) > lam, lam * np.sign(moved), goal)
    return gap
