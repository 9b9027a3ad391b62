"""The lasso at every lam: its solution is piecewise linear in lam, and the kinks can be computed exactly.

Osborne, Presnell, Turlach 2000; Efron et al. 2004 (in full in `textbook.exact.kinks`); the slides on the lasso.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.linalg import lapack, qr

from nn.backend import asarray, get_array_module
from textbook.certificates import lasso_path_certificates
from textbook.exact.data import BEYOND_FLOATS, Data
from textbook.exact.kinks import ROUNDING, Homotopy
from textbook.exact.rounding import enough, gap_to_rounding
from textbook.inputs import as_count, as_lams
from textbook.regression import minimum_norm
from textbook.solution import Solution, SolutionPath
from textbook.units import scaled

TALL = 2  # from so many samples a column on, the data are replaced by a triangular factor
EXCESS = 1e-9  # by so much more than that of least squares the residual at lam = 0 may be
WELL_CONDITIONED = 1e-10  # the reciprocal condition number down to which it comes from the Gram matrix


@BEYOND_FLOATS
def lasso_path(X: Any, y: Any, lams: Sequence[float] | None = None, intercept: bool = False) -> SolutionPath:
    """Return the minimisers of (1/2n) ||y - X beta||^2 + lam ||beta||_1 at every kink of lam, or at the given lams.

    Between two kinks every coefficient is a straight line in lam, so that the kinks are the whole path and a lam
    between them is an interpolation, without iteration.

    Parameters
    ----------
    X, y : (n, p) samples in rows, and (n,).  float32 is computed in float64 and returned as float32.
    lams : numbers >= 0 in any order; they are returned in decreasing order.  None is the kinks, from
        `lasso_lambda_max` to 0: a coefficient that joins at a kink is still zero there, one that drops is zero.
    intercept : minimise over an unpenalised constant too, by centring X and y.

    Returns
    -------
    SolutionPath, with gap and KKT violation of every column, computed from X and y.  At lam = 0 it holds the limit of
    the path: of all least-squares solutions the one with the smallest ||beta||_1, or one of them.

    Raises
    ------
    ValueError, TypeError
        As `lasso` for X, y and each of the lams.

    Notes
    -----
    Data with at least twice as many samples as columns are first replaced by a triangular factor with the same X^T X
    and X^T y: the rest then costs the same for all n.
    The path is followed as long as a column's x_j^T (y - X beta) is known better than lam: to the end, unless columns
    are dependent to 1e-11 of their length or coefficients very large.  From the last sure kink on it is a straight line
    to least squares, of dependent columns the solution of smallest ||beta||_2.  The gap says how good that is.

    Examples
    --------
    >>> import numpy as np
    >>> import textbook
    >>> path = textbook.lasso_path(2 * np.eye(3), np.array([6.0, -4.0, 1.0]))
    >>> path.lam  # a coefficient joins at each |X^T y| / n, and then the path ends
    array([4.        , 2.66666667, 0.66666667, 0.        ])
    >>> path.beta[:, -1]
    array([ 3. , -2. ,  0.5])
    """
    problem = _Problem(X, y, intercept)
    lam = None if lams is None else as_lams(lams)
    stop = 0.0 if lam is None else problem.levels(lam[-1:])[0]
    kinks, columns = [], []
    for state in Homotopy(problem.factor, problem.target).kinks():
        kinks.append(state.L)
        columns.append(problem.dense(state))
        if state.L <= stop:
            break
    if kinks[-1] == 0:
        columns[-1] = problem.end(columns[-1])
    L, B = np.array(kinks), np.array(columns).T
    if lam is None:
        return problem.path(L, B)
    wanted = np.minimum(problem.levels(lam), L[0])
    return problem.path(wanted, _interpolated(wanted, L, B), lam)


def _interpolated(wanted: np.ndarray, lam: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Return the (p, L) coefficients at the wanted lams from those at the kinks, both in decreasing order."""
    before = np.clip(np.searchsorted(-lam, -wanted, side="right") - 1, 0, max(0, len(lam) - 2))
    after = np.minimum(before + 1, len(lam) - 1)
    width = lam[before] - lam[after]
    share = np.clip((lam[before] - wanted) / np.where(width > 0, width, 1.0), 0.0, 1.0)
    return (1 - share) * B[:, before] + share * B[:, after]


@BEYOND_FLOATS
def lasso_at_most(X: Any, y: Any, k: int, intercept: bool = False) -> Solution:
    """Return, coming down from `lasso_lambda_max`, the lasso at the last lam before a (k+1)-th coefficient would enter.

    It is a minimiser of (1/2n) ||y - X beta||^2 + lam ||beta||_1 with at most k nonzero coefficients.  lam is the kink
    itself, at which the next coefficient is still zero; where the number of active columns never exceeds k, lam is 0.
    Where several enter at the same kink there may be fewer than k.

    It is not the smallest lam with at most k nonzeros: as lam falls on, coefficients also leave, and the number of
    nonzeros may come back to k or below (n = 10, p = 6 is enough to see 5, 6 and 5 of them).

    Parameters
    ----------
    X, y, intercept : as for `lasso_path`.
    k : from 0 to p.

    Returns
    -------
    Solution, n_iter being the number of kinks passed.

    Raises
    ------
    ValueError, TypeError
        As `lasso_path` for X and y, and if k is no integer from 0 to p.

    Examples
    --------
    >>> import numpy as np
    >>> import textbook
    >>> solution = textbook.lasso_at_most(2 * np.eye(3), np.array([6.0, 3.0, 1.5]), k=1)
    >>> solution.lam  # the second one joins at |x_2^T y| / n = 2
    2.0
    >>> solution.beta
    array([1.5, 0. , 0. ])
    """
    problem = _Problem(X, y, intercept)
    k = as_count(k, "k", most=problem.X.shape[1])
    for passed, state in enumerate(Homotopy(problem.factor, problem.target).kinks()):  # noqa: B007
        if state.k > k:
            break
    beta = problem.dense(state)
    end = beta if state.L else problem.end(beta)
    return problem.solution_at(state.L, end if np.count_nonzero(end) <= k else beta, passed)


class _Problem(Data):
    """The data, and a smaller triangular factor of them."""

    def __init__(self, X: Any, y: Any, intercept: bool) -> None:
        super().__init__(X, y, intercept)
        self.factor, self.target = self._reduce()

    def levels(self, lams: np.ndarray) -> np.ndarray:
        """Return the L = n lam of the lams, in the units of the problem."""
        return self.lam(lams) * self.X.shape[0]

    def _reduce(self) -> tuple[np.ndarray, np.ndarray]:
        """Return data with the same X^T X and X^T y, of no more than p + 1 rows where there are many."""
        n, p = self.X.shape
        if n < TALL * p:
            return np.asfortranarray(self.X), self.y
        G, q = self.X.T @ self.X, self.X.T @ self.y
        norms = np.sqrt(np.diagonal(G))
        safe = np.where(norms > 0, norms, 1.0)
        G = G / np.outer(safe, safe) + np.diag(norms == 0)
        R, failed = lapack.dpotrf(G, clean=1)
        if failed or lapack.dpocon(R, np.linalg.norm(G, 1))[0] < WELL_CONDITIONED:
            R = qr(np.column_stack([self.X, self.y]), mode="r", check_finite=False)[0][: p + 1]
            return np.asfortranarray(R[:, :p]), R[:, p]
        t = lapack.dtrtrs(R, q / safe, trans=1)[0]
        rest = math.sqrt(max(0.0, float(self.y @ self.y - t @ t)))  # of y, orthogonal to all columns
        return np.asfortranarray(np.vstack([R * norms, np.zeros(p)])), np.append(t, rest)

    def dense(self, state: Homotopy) -> np.ndarray:
        """Return all p coefficients."""
        beta = np.zeros(self.X.shape[1])
        beta[state.columns] = state.beta
        return beta

    def end(self, beta: np.ndarray) -> np.ndarray:
        """Return beta if it is least squares to rounding, and the solution of least squares that is if it is not."""
        length, size = np.linalg.norm(self.target - self.factor @ beta), np.linalg.norm(self.target)
        if length <= ROUNDING * size:
            return beta
        other = minimum_norm(self.factor, self.target)[0]
        rounding = ROUNDING * (size + np.linalg.norm(self.factor, axis=0) @ np.abs(other))
        return other if np.linalg.norm(self.target - self.factor @ other) < (1 - EXCESS) * length - rounding else beta

    def path(self, L: np.ndarray, B: np.ndarray, lam: np.ndarray | None = None) -> SolutionPath:
        """Return the solutions B (p, L) at the levels L, their certificates computed from what is returned."""
        n, xp = self.X.shape[0], get_array_module(self.given)
        beta, B = self.returned(B)
        gap, kkt = lasso_path_certificates(self.X, self.y, B, L / n, self.factor)
        penalties = (L / n) * np.abs(B).sum(axis=0)  # the objectives are larger
        for i in np.flatnonzero(gap > enough(penalties, self.y)):
            r, c = self.residual(B[:, i])
            gap[i] = gap_to_rounding(self.factor, self.y, r, c, B[:, i], L[i] / n, gap[i], kkt[i])
        columns = (
            scaled(L / n, self.i + self.j) if lam is None else lam,
            scaled(gap, 2 * self.j),
            scaled(kkt, self.i + self.j),
            self.intercept(B),
        )
        return SolutionPath(beta, *(asarray(column, like=self.given, dtype=xp.float64) for column in columns))

    def solution_at(self, L: float, beta: np.ndarray, n_iter: int) -> Solution:
        """Return the solution beta (p,) at the level L."""
        path = self.path(np.array([L]), beta[:, None])
        b = self.returned(beta)[1]
        r, _ = self.residual(b)
        objective = float(r @ r) / (2 * len(r)) + L / len(r) * float(np.abs(b).sum())
        return Solution(
            beta=path.beta[:, 0],
            objective=float(scaled(objective, 2 * self.j)),
            gap=float(path.gap[0]),
            kkt=float(path.kkt[0]),
            n_iter=n_iter,
            lam=float(path.lam[0]),
            intercept=float(path.intercept[0]),
        )
