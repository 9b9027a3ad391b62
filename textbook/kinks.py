"""The algorithm behind `lasso_path`: from one kink of the lasso's solution path to the next.

At a solution of (1/2n) ||y - X beta||^2 + lam ||beta||_1 write L = n lam, A for the k active columns, s for their
signs and c = X^T (y - X beta).  With the QR factors X_A = Q R, the optimality conditions c_A = L s say that, as L falls
by one,

    beta_A grows by v,      R v = t,      R^T t = s,
    c falls by f,           f = X^T Q t,

for as long as A and s stay.  They stay until the next of these two:

    a column j joins:          L - s c_j, for one of the signs, is used up; it falls at the rate 1 - s f_j;
    a coefficient i drops:     beta_i is used up.

R is the Cholesky factor of the Gram matrix X_A^T X_A.  A column that joins adds one column to it, one that drops is
taken out by plane rotations; nothing is factored twice.

Where several columns join or drop at one L, A is not yet what it will be below it.  Then v minimises
||X_A v - (y - X beta) / L|| over the v with s_j v_j >= 0 where beta_j = 0, a problem of non-negative least squares.

Sources: M. Osborne, B. Presnell, B. Turlach, A new approach to variable selection in least squares problems, IMA
Journal of Numerical Analysis 20 (2000); B. Efron et al., Least angle regression, Annals of Statistics 32 (2004);
C. Lawson, R. Hanson, Solving Least Squares Problems (1974), chapter 23.
"""

import itertools
import math
from collections.abc import Iterator

import numpy as np
from scipy.linalg import lapack, qr_delete

ROUNDING = 1e-14  # what a scalar product is not known better than, relative to the product of the lengths
REFRESH = 10  # events after which everything that was updated by differences is computed anew
SIGNS = np.array([[1.0], [-1.0]])


class Homotopy:
    """The solution at one L, which only falls, with what is needed to go on.

    columns : (k,) the active columns, in the order of the factor.
    of_active : (4, k) of them: signs s; t = R^{-T} s; sizes s beta >= 0; velocity s v at which the sizes grow.
    slack, rate : (2, p) of all columns, for s = 1 and s = -1: L - s c_j and 1 - s f_j, at which it falls.  The slack of
        columns that cannot join is infinite.
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

    def kinks(self) -> Iterator["Homotopy"]:
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
            if step > ROUNDING * self.L or self.moves(step, velocity):
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

    def moves(self, step: float, velocity: np.ndarray) -> bool:
        """Whether coefficients change by more than rounding while L falls by a step below its own rounding."""
        return bool(step * (np.abs(velocity) @ self.norms[self.columns]) > ROUNDING * self.length)

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
            tied = self.k - np.count_nonzero(sizes)  # one alone has joined with the sign that it will have
            wrong = np.flatnonzero((sizes == 0) & (target < 0)) if tied > 1 else ()
            if len(wrong) == 0:
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
