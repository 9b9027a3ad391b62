"""Newton's method for the lasso on a few columns: hold the signs, solve, drop what crosses zero.

On the columns X of a working set, times n and with L = n lam, the lasso is to

    minimise over w   (1/2) ||y - X w||^2 + L ||w||_1,        G = X^T X,    g = X^T (y - X w).

Where the signs s of the coefficients A in use stay the same this is a quadratic, and one Newton step solves it:

    G_AA d = g_A - L s_A.

A is the support and the newcomers: the zeros with |g_j| > L, which lower the objective by moving with the sign of g_j.
What is left to decide is which coefficients leave their sign on the way.  The bold step drops all that do, many at a
time, and is taken if the objective falls; the careful step admits one newcomer and goes to the lowest point of a ray.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpotrf, dpotrs

FEWER = 4  # a bold step that fails is tried again with this share of its newcomers
DEPENDENT = 1e-10  # squared distance of a column to the span of those before it, relative: below, G lacks the digits
JITTER = 1e-12  # lets the factorisation pass them all, relative
SAME = 1e-11  # distance of a column to that span, relative: below, it is taken to lie in it
TIED = 1e-13  # zeros of coefficients that are reached at the same point of a ray, relative


@dataclass
class Restriction:
    """The lasso on the columns X (n, k) of a working set: its data, and the state w and g = X^T (y - X w)."""

    X: np.ndarray
    y: np.ndarray
    G: np.ndarray
    w: np.ndarray
    g: np.ndarray

    def residual(self) -> np.ndarray:
        """Return y - X w."""
        return self.y - self.X @ self.w


def newton(problem: Restriction, L: float, slack: float, steps: int) -> None:
    """Lower the objective by at most `steps` Newton steps; by fewer if w becomes optimal within `slack` of g."""
    batch = len(problem.w)
    for _ in range(steps):
        w, g = problem.w, problem.g
        zero = w == 0
        s = np.sign(np.where(zero, g, w))
        support, new = np.flatnonzero(w), np.flatnonzero(zero & (np.abs(g) > L + slack))
        if not new.size and (np.abs(g - L * s)[support] <= slack).all():
            return
        new = new[np.argsort(-np.abs(g[new]))]
        count = min(batch, len(new), max(1, len(problem.y) - len(support)))
        while not _bold_step(problem, np.concatenate((support, new[:count])), s, L):
            if count <= 1:
                _careful_step(problem, support, new[:1], s, L)
                break
            count = batch = max(1, count // FEWER)
        batch = max(batch, 2 * count)


def _bold_step(problem: Restriction, A: np.ndarray, s: np.ndarray, L: float) -> bool:
    """Solve with the signs s, set to zero what crosses it, solve again; stop when the objective has fallen."""
    w, g = problem.w.copy(), problem.g
    dropped = False
    while True:
        A, R = _independent(problem.G, A, w)
        if R is None:
            return False
        d = dpotrs(R, (g - L * s)[A])[0]  # G_AA d = g_A - L s_A
        inside = (w[A] + d) * s[A] > 0
        d = np.where(inside, d, -w[A])
        w[A] = np.where(inside, w[A] + d, 0.0)
        g = g - d @ problem.G[A]
        dropped = dropped or not inside.all()
        # Without a drop this is the minimum for these signs, even where rounding hides the descent.
        if not dropped or _change(problem, w, g, L) < 0:
            problem.w, problem.g = w, g
            return True
        if inside.all():
            return False
        A = A[inside]


def _independent(G: np.ndarray, A: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return A less the newcomers that depend on its other columns, and R with R^T R = G_AA (None if none is left)."""
    while A.size:
        G_AA = G.take(A, axis=0).take(A, axis=1)
        R, failed = dpotrf(G_AA.T, lower=0, clean=0)
        # R_kk^2 is the squared distance of column k to the span of those before it, G_kk that to zero.
        size = G_AA.diagonal()
        if not failed and (R.diagonal() ** 2 >= DEPENDENT * size).all():
            return A, R
        R, failed = dpotrf(G_AA + np.diag(JITTER * size), lower=0, clean=0)
        weak, newcomer = R.diagonal() ** 2 < DEPENDENT * size, w[A] == 0
        if failed or not (weak & newcomer).any() or (weak >= newcomer).all():
            break
        A = A[~(weak & newcomer)]
    return A, None


def _change(before: Restriction, w: np.ndarray, g: np.ndarray, L: float) -> float:
    """Return by how much the objective changes: -g^T d + (1/2) d^T G d, the mean of both slopes, and the penalty's."""
    d = w - before.w
    return float(-0.5 * d @ (before.g + g) + L * (np.abs(w).sum() - np.abs(before.w).sum()))


def _careful_step(problem: Restriction, support: np.ndarray, newcomer: np.ndarray, s: np.ndarray, L: float) -> None:
    """Go to the lowest point of the ray of the support; if no sign changes there, to that with one newcomer."""
    for A in (support, np.append(support, newcomer)):
        if A.size and (problem.w[support] * s[support] > 0).all():
            A, d, slope, curvature = _ray(problem, A, s, L)
            if (d * s[A] > 0)[problem.w[A] == 0].all():
                problem.w[A] = _lowest_point(problem.w[A], d, slope, curvature, L)
                problem.g = problem.X.T @ problem.residual()


def _ray(problem: Restriction, A: np.ndarray, s: np.ndarray, L: float) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Return columns, a direction d on which the objective falls, and its slope and curvature there at w.

    X_A = Q R turns G_AA d = g_A - L s_A into R d = z, z = Q^T r - L R^{-T} s_A: its condition is not squared.
    But where a column lies in the span of those before it, x_k = X_B u, the direction u on B and -1 on k leaves the fit
    as it is, and the objective is linear there.
    """
    Q, R = np.linalg.qr(problem.X[:, A])
    distance = np.zeros(len(A))  # of each column to the span of those before it; there is none in n dimensions
    distance[: len(R)] = np.abs(np.diagonal(R))
    dependent = np.flatnonzero(distance <= SAME * np.sqrt(np.diagonal(problem.G)[A]))
    if dependent.size:
        k = dependent[0]
        A, d = A[: k + 1], np.append(solve_triangular(R[:k, :k], R[:k, k]), -1.0)
        slope = L * float(s[A] @ d)
        return A, -np.copysign(1.0, slope) * d, -abs(slope), 0.0
    z = Q.T @ problem.residual() - L * solve_triangular(R, s[A], trans="T")
    return A, solve_triangular(R, z), -float(z @ z), float(z @ z)


def _lowest_point(w: np.ndarray, d: np.ndarray, slope: float, curvature: float, L: float) -> np.ndarray:
    """Return w + t d at the t > 0 where the objective, quadratic but for a kink at every zero, is smallest."""
    crosses = w * d < 0
    zero = np.full(len(w), np.inf)
    zero[crosses] = -w[crosses] / d[crosses]
    order = np.argsort(zero)[: np.count_nonzero(crosses)]
    t, jumps = zero[order], np.cumsum(2 * L * np.abs(d[order]))  # of the slope
    k = int(np.argmax(np.append(slope + curvature * t + jumps >= 0, True)))  # the first zero behind which it rises
    slope += jumps[k - 1] if k else 0.0
    best = -slope / curvature if curvature > 0 else np.inf
    best = min(best, t[k]) if k < len(t) else best
    if best == np.inf:  # no curvature and no kink ahead: the slope was rounding
        return w
    return np.where(np.abs(zero - best) <= TIED * best, 0.0, w + best * d)
