"""The lasso for every lam at once: its solution is piecewise linear in lam, and the kinks can be computed.

At a solution of (1/2n) ||y - X beta||^2 + lam ||beta||_1 write L = n lam, A for the active columns and s for their
signs.  The optimality conditions X_A^T (y - X_A beta_A) = L s_A give, with the QR factors X_A = Q R,

    R beta_A = Q^T y - L t,                  R^T t = s_A,
    X^T (y - X beta) = e + L f,              e = X^T (y - Q Q^T y),   f = X^T Q t,

both linear in L for as long as A and s stay.  They stay, as L falls, until the next of

    a column j joins, where |e_j + L f_j| = L:          L = sign e_j / (1 - sign f_j),
    a coefficient i drops, where it reaches zero:       R beta_A = Q^T y - L t has a zero at i.

R is the Cholesky factor of the Gram matrix X_A^T X_A.  A column that joins adds one to R, one that drops is taken out
of it by plane rotations; nothing is factored twice.

Sources: M. Osborne, B. Presnell, B. Turlach, A new approach to variable selection in least squares problems, IMA
Journal of Numerical Analysis 20 (2000); B. Efron et al., Least angle regression, Annals of Statistics 32 (2004).
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy.linalg import lapack, qr, qr_delete

from nn.backend import asarray, get_array_module, to_numpy
from textbook.certificates import lasso_objective, lasso_path_certificates
from textbook.inputs import as_count, as_lam, as_regression, power_of_two
from textbook.solution import Solution, SolutionPath

REFRESH = 10
SIGNS = np.array([[1.0], [-1.0]])
ROUNDING = 1e-14  # of a sum of products, relative to the product of the norms
WELL_CONDITIONED = 1e-10  # reciprocal condition number of the Gram matrix down to which its Cholesky factor is used
TALL = 2  # from so many samples a column on, the data are replaced by their triangular factor


class _Homotopy:
    """The state at one L: the factor of the active columns, their signs and coefficients, and what the others have left.

    For the k active columns, in the order of the factor: their `signs` s, t = R^{-T} s, the sizes s beta of their
    coefficients and the `velocity` s R^{-1} t at which these grow as L falls.  For all columns and both signs, (2, p):
    `slack` = L - s c_j, infinite for the columns that cannot join, and `rate` = 1 - s f_j, at which it falls with L.
    """

    def __init__(self, X: np.ndarray, y: np.ndarray) -> None:
        n, p = X.shape
        most = min(n, p)
        self.X, self.y, self.k = X, y, 0
        self.norms, self.length = np.sqrt(np.einsum("ij,ij->j", X, X)), math.sqrt(y @ y)
        self.Q, self.R = np.empty((n, most), order="F"), np.zeros((most, most), order="F")
        self.all_columns = np.zeros(most, dtype=np.intp)
        self.of_active = np.zeros((4, most))  # rows: signs, t, sizes, velocity
        self.free = self.norms > 0  # columns that may join
        c = SIGNS * (y @ X)
        self.L = float(c.max())
        self.slack, self.rate = np.where(self.free, self.L - c, np.inf), np.ones((2, p))

    @property
    def columns(self) -> np.ndarray:
        """The active columns."""
        return self.all_columns[: self.k]

    @property
    def beta(self) -> np.ndarray:
        """The coefficients of the active columns."""
        return self.of_active[0, : self.k] * self.of_active[2, : self.k]

    def kinks(self) -> Iterator["_Homotopy"]:
        """Yield itself at every kink and at L = 0.

        The active columns are those just below the kink; one that joins there has the coefficient zero.
        """
        end = ROUNDING * self.length * float(self.norms.max())  # X^T y is not known better: L is zero
        for event in itertools.count(1):
            if self.L <= end:
                break
            self.settle()
            _, t, sizes, velocity = self.of_active[:, : self.k]
            drop, i = self.next_drop(sizes, velocity)
            join, row, j = self.next_join(t, sizes)
            step = min(join, drop)
            moved = step * (np.abs(velocity) @ self.norms[self.columns])
            if step > ROUNDING * self.L or moved > ROUNDING * self.length:
                yield self
                self.L -= step
                self.slack -= step * self.rate
                np.maximum(sizes + step * velocity, 0.0, out=sizes)
            if drop <= join and i >= 0:
                self.drop(i)
            if event % REFRESH == 0:
                self.refresh()
            if join < drop:
                self.join(j, 1.0 - 2.0 * row)
        self.L = 0.0
        self.refresh()
        yield self

    def next_join(self, t: np.ndarray, sizes: np.ndarray) -> tuple[float, int, int]:
        """Return by how much L may fall until a column joins, the row of its sign and the column; L if none does."""
        noise = ROUNDING * (self.length + sizes @ self.norms[self.columns])
        slack = np.where(self.slack > noise * self.norms, self.slack, 0.0)
        unsure = ROUNDING + ROUNDING * math.sqrt(t @ t) * self.norms
        steps = np.full(slack.shape, np.inf)
        np.divide(slack, self.rate, out=steps, where=self.rate > unsure)
        row, j = divmod(int(steps.argmin()), slack.shape[1])
        step = float(steps[row, j])
        return (step, row, j) if step < self.L else (self.L, -1, -1)

    def next_drop(self, sizes: np.ndarray, velocity: np.ndarray) -> tuple[float, int]:
        """Return by how much L may fall until an active coefficient is zero, and its place; L if none is."""
        if self.k == 0 or velocity.min() >= 0:
            return self.L, -1
        steps = np.divide(sizes, -velocity, out=np.full(self.k, np.inf), where=velocity < 0)
        i = int(steps.argmin())
        return (float(steps[i]), i) if steps[i] < self.L else (self.L, -1)

    def join(self, j: int, sign: float) -> None:
        """Append column j to the factor, unless it depends on those that are there."""
        k, x = self.k, self.X[:, j]
        self.free[j] = False
        self.slack[:, j] = np.inf
        if k == len(self.all_columns):
            return
        Q = self.Q[:, :k]
        h = x @ Q
        q = x - Q @ h
        correction = q @ Q  # the step of Gram and Schmidt twice: then q is orthogonal to rounding
        q -= Q @ correction
        h += correction
        pivot = math.sqrt(q @ q)
        if pivot <= ROUNDING * self.norms[j]:
            return
        q /= pivot
        t = float(sign - h @ self.of_active[1, :k]) / pivot
        self.Q[:, k], self.R[:k, k], self.R[k, k] = q, h, pivot
        self.all_columns[k], self.of_active[:, k] = j, (sign, t, 0.0, 0.0)
        self.k = k + 1
        self.rate -= SIGNS * (q @ self.X) * t

    def drop(self, i: int) -> None:
        """Take the i-th active column out of the factor, by plane rotations."""
        k = self.k - 1
        Q, R = qr_delete(self.Q[:, : self.k], self.R[: self.k, : self.k], i, which="col", check_finite=False)
        self.Q[:, :k], self.R[:k, :k], self.R[:, k] = Q[:, :k], R[:k, :k], 0.0
        self.all_columns[i:k] = self.all_columns[i + 1 : self.k]
        self.of_active[:, i:k] = self.of_active[:, i + 1 : self.k]
        self.k = k
        self.free = self.norms > 0  # what depended on the columns may do so no longer
        self.free[self.columns] = False
        t = self.of_active[1, :k]
        t[:] = self.solve(self.of_active[0, :k], transposed=True)
        self.rate = 1 - SIGNS * ((self.Q[:, :k] @ t) @ self.X)
        self.refresh()

    def solve(self, b: np.ndarray, transposed: bool = False) -> np.ndarray:
        """Return R^{-1} b, or R^{-T} b."""
        return lapack.dtrtrs(self.R[:, : self.k], b, trans=int(transposed))[0] if self.k else b

    def settle(self) -> None:
        """Find the velocity at which the coefficients leave the kink; drop those that would become negative.

        Only where several columns join or drop at one L is there anything to drop.  The velocity v minimises
        ||X_A v - r / L|| over the v that have the sign of c_j where beta_j = 0, and this is the step of Lawson and
        Hanson's active-set method: from the last one as far towards the unconstrained one as all stay feasible.
        """
        while True:
            signs, t, sizes, velocity = self.of_active[:, : self.k]
            target = signs * self.solve(t)
            wrong = np.flatnonzero((sizes == 0) & (target < 0))
            if wrong.size == 0:
                velocity[:] = target
                return
            shares = velocity[wrong] / (velocity[wrong] - target[wrong])
            velocity += shares.min() * (target - velocity)
            self.drop(int(wrong[shares.argmin()]))

    def refresh(self) -> None:
        """Correct the coefficients by a Newton step on X_A^T (y - X_A beta_A) = L s, and compute the slacks anew."""
        signs, _, sizes, _ = self.of_active[:, : self.k]
        X_A = self.X[:, self.columns]
        c = (self.y - X_A @ (signs * sizes)) @ self.X
        defect = c[self.columns] - self.L * signs
        better = sizes + signs * self.solve(self.solve(defect, transposed=True))
        if (sizes * better > 0).all():
            sizes[:] = better
            c = (self.y - X_A @ (signs * sizes)) @ self.X
        self.slack = np.where(self.free, self.L - SIGNS * c, np.inf)


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
    """
    problem = _Problem(X, y, intercept)
    lam = None if lams is None else -np.sort([-as_lam(each) for each in lams])
    stop = 0.0 if lam is None else problem.levels(lam[-1])
    kinks, columns = [], []
    for state in _Homotopy(*problem.reduced()).kinks():
        kinks.append(state.L)
        columns.append(problem.dense(state))
        if state.L <= stop:
            break
    L, B = np.array(kinks), np.stack(columns, axis=1)
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
    """
    problem = _Problem(X, y, intercept)
    k = as_count(k, "k", most=problem.X.shape[1])
    for passed, state in enumerate(_Homotopy(*problem.reduced()).kinks()):  # noqa: B007
        if state.k > k:
            break
    return problem.solution(state.L, problem.dense(state), passed)


class _Problem:
    """X and y in float64, in units of powers of two, centred if there is an intercept; and the way back."""

    def __init__(self, X: Any, y: Any, intercept: bool) -> None:
        self.given, y = as_regression(X, y)
        X, y = to_numpy(self.given).astype(np.float64, copy=False), to_numpy(y).astype(np.float64, copy=False)
        self.x_unit, self.y_unit = power_of_two(X), power_of_two(y)
        self.X = X if self.x_unit == 1 else X / self.x_unit
        self.y = y if self.y_unit == 1 else y / self.y_unit
        self.x_mean, self.y_mean = np.zeros(X.shape[1]), 0.0
        if intercept:
            self.x_mean, self.y_mean = self.X.mean(axis=0), float(self.y.mean())
            self.X, self.y = self.X - self.x_mean, self.y - self.y_mean

    def levels(self, lams: np.ndarray) -> np.ndarray:
        """Return the L of the lams."""
        return lams / self.x_unit / self.y_unit * self.X.shape[0]

    def reduced(self) -> tuple[np.ndarray, np.ndarray]:
        """Return data with the same X^T X and X^T y, of at most p rows where there are many."""
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
        return R * norms, lapack.dtrtrs(R, q / safe, trans=1)[0]

    def dense(self, state: "_Homotopy") -> np.ndarray:
        """Return all p coefficients."""
        beta = np.zeros(self.X.shape[1])
        beta[state.columns] = state.beta
        return beta

    def path(self, L: np.ndarray, B: np.ndarray, lam: np.ndarray | None = None) -> SolutionPath:
        """Return the solutions B (p, L) at the levels L, their certificates computed from what is returned."""
        like, n, unit = self.given, self.X.shape[0], self.x_unit * self.y_unit
        beta = asarray(B, like=like)  # rounded to the dtype of X
        B = to_numpy(beta).astype(np.float64, copy=False)
        gap, kkt = lasso_path_certificates(self.X, self.y, B, L / n)
        columns = (
            L / n * unit if lam is None else lam,
            gap * self.y_unit * self.y_unit,
            kkt * unit,
            (self.y_mean - self.x_mean @ B) * self.y_unit,
        )
        float64 = get_array_module(like).float64
        return SolutionPath(
            beta * (self.y_unit / self.x_unit), *(asarray(column, like=like, dtype=float64) for column in columns)
        )

    def solution(self, L: float, b: np.ndarray, n_iter: int) -> Solution:
        """Return the solution b (p,) at the level L."""
        path = self.path(np.array([L]), b[:, None])
        rounded = to_numpy(path.beta[:, 0]).astype(np.float64) * (self.x_unit / self.y_unit)
        return Solution(
            beta=path.beta[:, 0],
            objective=lasso_objective(self.X, self.y, rounded, L / self.X.shape[0]) * self.y_unit * self.y_unit,
            gap=float(path.gap[0]),
            kkt=float(path.kkt[0]),
            n_iter=n_iter,
            lam=float(path.lam[0]),
            intercept=float(path.intercept[0]),
        )
