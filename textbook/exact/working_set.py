"""The lasso, exactly: a working set of columns, and Newton's method on them (`textbook.exact.sign_fixed`).

At the minimum of (1/2n) ||y - X beta||^2 + lam ||beta||_1 most columns have |x_j^T r| < n lam and a zero coefficient:
they need not be in the problem.  So solve it on a few columns, take in those of the others that have the largest
|x_j^T r| > n lam, and go on until there are none.  While there are many, the small problem is not solved to the end.
"""

import math
from typing import Any

import numpy as np

from textbook.certificates import lasso_certificates
from textbook.exact.data import BEYOND_FLOATS, Data
from textbook.exact.rounding import gap_to_rounding
from textbook.exact.sign_fixed import Restriction, newton
from textbook.inputs import as_lam
from textbook.regression import minimum_norm
from textbook.solution import Solution

TALL = 256  # with as few columns as that, and no fewer rows, all of them are in the working set from the start
FIRST = 48  # columns that may come in at a time: this number, or half that of the nonzeros where that is more
UNFINISHED, STEPS = 2, 100  # Newton steps a round: while columns wait to come in, and when none does
STALLS = 3  # so many rounds in a row that gain nothing, and rounding has been reached
EXACT, ROUNDING = 1e-13, 2e-15  # conditions hold if they do to this share of n lam, or of max |x_j^T y|


@BEYOND_FLOATS
def lasso(X: Any, y: Any, lam: float, tol: float = 0.0, intercept: bool = False) -> Solution:
    """Minimise (1/2n) ||y - X beta||^2 + lam ||beta||_1, to rounding.

    Parameters
    ----------
    X : (n, p).
    y : (n,).
    lam : weight of the penalty, at least 0.  The slide writes ||y - X beta||^2 + lam_slide ||beta||_1: there
        lam = lam_slide / (2n).  0 is least squares (the solution of smallest norm), infinity gives zeros.
    tol : stop as soon as the duality gap is at most tol ||y||^2 / n.  0 goes on until the optimality conditions hold
        to rounding, which is seldom slower: every Newton step that changes no sign lands on the minimum.
    intercept : add an unpenalised constant, by centring X and y.

    Returns
    -------
    Solution whose beta has the library and dtype of X, with n_iter the number of working sets.  Where columns are
    equal the coefficients are not unique; beta is then one of the minimisers.

    Raises
    ------
    ValueError
        If shapes do not fit, a number is NaN, infinite or complex, lam or tol is negative or NaN, or a coefficient is
        too large for the dtype of X.
    TypeError
        If X or y is no array of numbers, or lam no real number.

    Notes
    -----
    Computed in float64.  The optimality conditions hold to the rounding of X^T (y - X beta).  Where lam is no larger
    than that, the gap is still as small as beta is exact, by moving the dual point (`textbook.exact.rounding`): for
    powers of x to degree 10 and a lam of 7e-9 it is below 1e-12 of the objective, where `lasso_gap` says 3e-4.  Not so
    where columns in use are linearly dependent: there the gap is a bound, and says nothing.

    Source: slides "Lasso" to "Coordinate Descent"; that loop is `lasso_coordinate_descent`.

    Examples
    --------
    Where X^T X = n I, it is soft thresholding of X^T y / n:

    >>> import numpy as np
    >>> import textbook
    >>> X, y = 2 * np.eye(4), np.array([6.0, -4.0, 1.0, 0.0])
    >>> solution = textbook.lasso(X, y, lam=1.0)
    >>> solution.beta  # S(3, 1), S(-2, 1), S(0.5, 1), S(0, 1)
    array([ 2., -1.,  0.,  0.])
    >>> solution.gap <= 1e-15
    True
    """
    data, lam, tol = Data(X, y, intercept), as_lam(lam), as_lam(tol, "tol")
    A, b, weight = data.X, data.y, float(data.lam(lam))
    # From lam_max on, all lam have the solution zero: an infinite one need not be calculated with.
    finite = weight if weight < math.inf else 1.0 + 2 * float(np.abs(A.T @ b).max()) / len(b)
    if weight > 0:
        beta, r, c, rounds = _solve(A, b, finite, tol)
    else:
        beta, rounds = minimum_norm(A, b)[0], 1
        r, c = data.residual(beta)
    coefficients, rounded = data.returned(beta)
    if not np.array_equal(rounded, beta):  # the certificates are those of what is returned
        r, c = data.residual(rounded)
    objective, gap, kkt = lasso_certificates(A, r, c, rounded, weight)
    gap = gap_to_rounding(A, b, r, c, rounded, weight, gap, kkt)
    return data.solution(coefficients, rounded, (objective, gap, kkt), rounds, lam)


def _solve(X: np.ndarray, y: np.ndarray, lam: float, tol: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Return beta, r = y - X beta, c = X^T r / n and the number of rounds."""
    n, p = X.shape
    L, r, q = n * lam, y, X.T @ y  # the objective times n; q is X^T r throughout
    slack = max(EXACT * L, ROUNDING * float(np.abs(q).max()))
    columns = WorkingSet(X, y, q)
    beta, rounds, stalls, lowest, smallest = np.zeros(p), 0, 0, np.inf, np.inf
    while stalls < STALLS and (violation := _violation(q, beta, L)) > slack:
        if tol and lasso_certificates(X, r, q / n, beta, lam)[1] <= tol * float(y @ y) / n:
            break
        most = max(FIRST, int(np.count_nonzero(columns.problem.w)) // 2)
        wanted, waiting = _strongest(q, columns.W, L + slack, most)
        if wanted.size:
            columns.add(wanted, q)
        problem = columns.problem
        newton(problem, L, slack, UNFINISHED if waiting else STEPS)
        r = problem.residual()
        q = X.T @ r
        problem.g, beta[columns.W] = q[columns.W], problem.w
        objective = 0.5 * float(r @ r) + L * float(np.abs(problem.w).sum())
        gained = wanted.size or objective < lowest * (1 - ROUNDING) or violation < 0.5 * smallest
        stalls = 0 if gained else stalls + 1
        lowest, smallest, rounds = min(lowest, objective), min(smallest, violation), rounds + 1
    return beta, r, q / n, rounds


def _violation(q: np.ndarray, beta: np.ndarray, L: float) -> float:
    """Return the largest violation of |q_j| <= L where beta_j = 0, q_j = L sign(beta_j) elsewhere."""
    return float((np.abs(q - L * np.sign(beta)) - L * (beta == 0)).max())


def _strongest(q: np.ndarray, W: np.ndarray, threshold: float, most: int) -> tuple[np.ndarray, bool]:
    """Return at most so many columns outside W, those with the largest |q_j| > threshold, and if there are more."""
    strength = np.abs(q)
    strength[W] = 0.0
    wanted = np.flatnonzero(strength > threshold)
    if wanted.size <= most:
        return wanted, False
    return wanted[np.argpartition(-strength[wanted], most)[:most]], True


class WorkingSet:
    """The indices W of the columns in use, in the order in which they came, and the lasso on them."""

    def __init__(self, X: np.ndarray, y: np.ndarray, q: np.ndarray):
        n, p = X.shape
        self.all = X
        self.W = np.arange(p if p <= min(n, TALL) else 0)
        self.room = X if self.W.size else np.empty((n, 4 * FIRST), order="F")
        X_W = self.room[:, : self.W.size]
        self.problem = Restriction(X_W, y, X_W.T @ X_W, np.zeros(self.W.size), q[self.W])

    def add(self, wanted: np.ndarray, q: np.ndarray) -> None:
        """Take in the columns `wanted`; of G only what is new is multiplied."""
        old, k = self.problem, self.W.size
        self.W = np.concatenate((self.W, wanted))
        if self.W.size > self.room.shape[1]:  # twice as large, so that a column is copied twice in the mean at most
            self.room = np.empty((len(self.room), 2 * self.W.size), order="F")
            self.room[:, :k] = old.X
        self.room[:, k : self.W.size] = self.all[:, wanted]
        X_W = self.room[:, : self.W.size]
        G = np.empty((self.W.size, self.W.size))
        G[:k, :k] = old.G
        G[k:] = X_W[:, k:].T @ X_W
        G[:k, k:] = G[k:, :k].T
        self.problem = Restriction(X_W, old.y, G, np.concatenate((old.w, np.zeros(len(wanted)))), q[self.W])
