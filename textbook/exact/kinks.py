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

Where several columns join or drop at one L, they do so one by one while L stays, of those that would go on with the
wrong sign the lowest first: on independent columns this order is known to end (Murty).

The coefficients are moved along v, and not solved for anew from X_A^T X_A beta_A = X_A^T y - L s.  Where columns are
nearly dependent that decides: a rounding error in c stays as small as it is, while the solution multiplies it by the
square of the condition number.

How far down the path is known depends on the column, not on the longest of them: an active column has c_j = L s_j
whatever its length, and the others have c_j = x_j^T r, known to the rounding of ||x_j|| ||r||.  So r is brought back
to Q^T r = L t, together with beta, and c computed from it, whenever L has fallen to a hundredth; and a column joins
only if its c_j would not be zero to rounding at L = 0.  Polynomials, whose columns differ by 1e10 in length, need both.

Sources: M. Osborne, B. Presnell, B. Turlach, A new approach to variable selection in least squares problems, IMA
Journal of Numerical Analysis 20 (2000); B. Efron et al., Least angle regression, Annals of Statistics 32 (2004);
K. Murty, Note on a Bard-type scheme for solving the complementarity problem, Opsearch 11 (1974).
"""

import math
from collections.abc import Iterator

import numpy as np
from scipy.linalg import lapack, qr_delete

EPSILON = float(np.finfo(float).eps)
ROUNDING = 1e-14  # what a scalar product is not known better than, relative to the product of the lengths
DEPENDENT = 1e-11  # distance of a column to the span of others, relative to its length: below, it is taken to lie in it
FALLEN = 0.01  # share of L after which c is computed anew
KNOWN = 1e-11  # what changes coefficients by more, relative to their fit, is no correction of rounding errors
PATIENCE = 10  # times p events without a change of L are enough; from then on no column joins twice
SIGNS = np.array([1.0, -1.0])


def both_signs(c: np.ndarray) -> np.ndarray:
    """Return (p, 2): c and -c."""
    return c[:, None] * SIGNS


class Homotopy:
    """The solution at one L, which only falls, with what is needed to go on.

    Attributes
    ----------
    columns : (k,) the active columns, in the order of the factor.
    of_active : (4, k) of them: signs s; t = R^{-T} s; sizes s beta >= 0, which grow at the rate s v as L falls; norms.
    slack, rate : (p, 2) of all columns, for s = 1 and s = -1: L - s c_j and 1 - s f_j, at which it falls.  The slack of
        columns that cannot join is infinite.
    """

    def __init__(self, X: np.ndarray, y: np.ndarray) -> None:
        n, p = X.shape
        most = min(n, p)
        self.X, self.y, self.k = X, y, 0
        self.norms, self.length = np.sqrt(np.einsum("ij,ij->j", X, X)), math.sqrt(y @ y)
        self.Q, self.R = np.empty((n, most), order="F"), np.zeros((most, most), order="F")
        self.all_columns = np.zeros(most, dtype=np.intp)
        self.of_active = np.zeros((4, most))  # rows: signs, t, sizes, norms
        self.free = self.norms > 0  # columns that may join
        self.waited = 0  # events since L fell last
        c = y @ X
        c = both_signs(np.where(np.abs(c) > ROUNDING * self.norms * self.length, c, 0.0))
        self.L = self.renewed = float(c.max())  # renewed: the L at which c was computed last
        self.r, self.size, self.lost = self.length, self.length, 0.0  # ||y - X beta||, scale() and what is lost there
        self.slack, self.rate = np.where(self.free[:, None], self.L - c, np.inf), np.ones((p, 2))

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
        kink = True
        while self.L > self.lost:
            signs, t, sizes, _ = self.of_active[:, : self.k]
            velocity = signs * self.solve(t)
            drop, i = self.next_drop(sizes, velocity)
            join, j, sign = self.next_join(t)
            step, drops, newcomer = min(join, drop), drop < join or (drop == join and i < j), None
            far = 0 < self.L - step < FALLEN * self.L
            if far:  # stop before the kink, where c can be computed anew
                step -= self.L - step
            elif j >= 0 and not drops and (newcomer := self.newcomer(j, sign, self.L - join)) is None:
                continue
            self.waited += 1
            if step > ROUNDING * self.L or self.moves(step, velocity):
                self.waited = 0
                if kink:
                    yield self
                self.L -= max(step, 0.1 * ROUNDING * self.L)  # so that no two kinks are at the same number
                self.slack -= step * self.rate
                np.maximum(sizes + step * velocity, 0.0, out=sizes)
            kink = not far
            if far:
                self.renew()
            elif drops:
                self.drop(i)
            elif newcomer:
                self.join(j, sign, *newcomer)
        self.L = 0.0
        self.renew()
        yield self

    def scale(self) -> float:
        """Return ||y|| + sum_j ||x_j beta_j||, the size of the numbers of which the residual is the difference."""
        _, _, sizes, norms = self.of_active[:, : self.k]
        return self.length + float(sizes @ norms)

    def moves(self, step: float, velocity: np.ndarray) -> bool:
        """Whether coefficients change by more than rounding while L falls by a step that is too small for it."""
        return step * float(np.abs(velocity) @ self.of_active[3, : self.k]) > ROUNDING * self.scale()

    def next_join(self, t: np.ndarray) -> tuple[float, int, float]:
        """Return by how much L may fall until a column joins, the column and its sign; L and -1 if none does."""
        if self.k == len(self.all_columns):
            return self.L, -1, 0.0
        unsure = ROUNDING * (1.0 + math.sqrt(t @ t) * self.norms)
        steps = np.full(self.slack.shape, np.inf)
        np.divide(self.slack, self.rate, out=steps, where=self.rate > unsure[:, None])
        j, place = divmod(int(steps.argmin()), 2)
        step = float(steps[j, place])
        return (step, j, SIGNS[place]) if step < self.L else (self.L, -1, 0.0)

    def next_drop(self, sizes: np.ndarray, velocity: np.ndarray) -> tuple[float, int]:
        """Return by how much L may fall until an active coefficient is zero, and its column; L and -1 if none is."""
        if self.k == 0 or velocity.min() >= 0:
            return self.L, -1
        steps = np.divide(sizes, -velocity, out=np.full(self.k, np.inf), where=velocity < 0)
        step = float(steps.min())
        return (step, int(self.columns[steps == step].min())) if step < self.L else (self.L, -1)

    def newcomer(self, j: int, sign: float, L: float) -> tuple[np.ndarray, np.ndarray, float] | None:
        """Return h, q and the pivot with x_j = Q h + pivot q, the column that joining at L appends to the factor.

        None, and the column is passed over until another one drops, if it lies in the span of those that are there, or
        if the c_j that it would have at L = 0, as large as what its slack lacks there, is zero to rounding.
        """
        Q, x = self.Q[:, : self.k], self.X[:, j]
        h = x @ Q
        q = x - Q @ h
        q -= Q @ (q @ Q)  # the step of Gram and Schmidt twice: then q is orthogonal to rounding
        pivot = math.sqrt(q @ q)
        unsure = ROUNDING * (self.norms[j] * self.r + pivot * self.size)
        if pivot > DEPENDENT * self.norms[j] and L * self.rate[j, int(sign < 0)] > unsure:
            return h, q / pivot, pivot
        self.free[j], self.slack[j] = False, np.inf
        return None

    def join(self, j: int, sign: float, h: np.ndarray, q: np.ndarray, pivot: float) -> None:
        """Append column j = Q h + pivot q to the factor."""
        if self.L < FALLEN * self.renewed:
            self.renew()
        k = self.k
        t = float(sign - h @ self.of_active[1, :k]) / pivot
        self.Q[:, k], self.R[:k, k], self.R[k, k] = q, h, pivot
        self.all_columns[k], self.of_active[:, k] = j, (sign, t, 0.0, self.norms[j])
        self.k = k + 1
        self.free[j], self.slack[j] = False, np.inf
        self.rate -= both_signs(t * (q @ self.X))

    def drop(self, column: int) -> None:
        """Take an active column out of the factor, by plane rotations."""
        k, i = self.k - 1, int(np.flatnonzero(self.columns == column)[0])
        Q, R = qr_delete(self.Q[:, : self.k], self.R[: self.k, : self.k], i, which="col", check_finite=False)
        sign = self.of_active[0, i]
        self.Q[:, :k], self.R[:k, :k], self.R[:, k] = Q[:, :k], R[:k, :k], 0.0
        self.all_columns[i:k] = self.all_columns[i + 1 : self.k]
        self.of_active[:, i:k] = self.of_active[:, i + 1 : self.k]
        self.k = k
        if self.waited <= PATIENCE * len(self.norms):
            self.free = self.norms > 0  # what depended on the columns may do so no longer
            self.free[self.columns] = False
        t = self.of_active[1, :k]
        t[:] = self.solve(self.of_active[0, :k], transposed=True)
        self.rate = 1 - both_signs((self.Q[:, :k] @ t) @ self.X)
        self.renew()
        if self.free[column]:
            self.slack[column] = np.where(SIGNS == sign, 0.0, 2 * self.L)  # c = L s, as long as it was active

    def renew(self) -> None:
        """Compute the slack anew from r = y - X beta, after a correction of beta to Q^T r = L t.

        Not where coefficients change sign by it, or by more than the sum of many rounding errors: where columns are so
        dependent beta is no better known.
        """
        signs, t, sizes, norms = self.of_active[:, : self.k]
        Q = self.Q[:, : self.k]
        r = self.y - self.X[:, self.columns] @ self.beta
        missing = r @ Q - self.L * t
        change = signs * self.solve(missing)
        if (np.minimum(sizes, sizes + change) > 0).all() and norms @ np.abs(change) <= KNOWN * self.scale():
            sizes += change
            r -= Q @ missing
        self.slack = np.where(self.free[:, None], self.L - both_signs(r @ self.X), np.inf)
        self.renewed, self.r = self.L, math.sqrt(r @ r)
        self.size = self.scale()
        self.lost = EPSILON * self.size * float(self.norms.min(where=self.norms > 0, initial=np.inf))

    def solve(self, b: np.ndarray, transposed: bool = False) -> np.ndarray:
        """Return R^{-1} b, or R^{-T} b."""
        return lapack.dtrtrs(self.R[:, : self.k], b, trans=int(transposed))[0] if self.k else b
