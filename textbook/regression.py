"""Least squares and ridge."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import lapack

from nn.backend import Array, asarray, to_numpy
from textbook.certificates import lasso_certificates
from textbook.inputs import as_lam, as_regression
from textbook.norms import lp_norm
from textbook.solution import Solution
from textbook.unit_problem import UnitProblem, returned
from textbook.units import leading_exponent, scaled

SAME_FIT = 1 + 1e-6  # a residual at most so much longer is that of the same fit
ILL_CONDITIONED = 1e-8  # of a Gram matrix: half of the digits of the solution are gone
ONE_UNIT = 1e-3  # directions of the coefficients are decided together down to this relative weight


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
    problem = UnitProblem(X, y, intercept=intercept)
    X, y = to_numpy(problem.X), to_numpy(problem.y)
    beta, rank = minimum_norm(X, y)
    beta, rounded = _rounded(beta, problem)
    r = y - X @ rounded
    size, kkt = scaled(lp_norm(r, 2), problem.j), lp_norm(X.T @ r, math.inf) / len(y)
    return LeastSquares(
        beta=beta,
        objective=size * size / (2 * len(y)),
        kkt=scaled(kkt, problem.i + problem.j),
        rank=rank,
        intercept=problem.constant(rounded),
    )


def minimum_norm(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the beta of smallest norm among those of smallest ||y - X beta||, and the rank of X.

    What the rank is, and so the fit, does not depend on the units of the columns; which beta is the smallest does.
    Where columns are so nearly dependent that the smallest one does not fit, it is the smallest 2^units beta.
    """
    units = np.array([leading_exponent(column) for column in X.T])
    Z = np.ldexp(X, -units)  # X beta = Z gamma with gamma = 2^units beta
    gamma, _, rank, _ = np.linalg.lstsq(Z, y, rcond=None)
    with np.errstate(over="ignore", invalid="ignore"):  # of a beta that is no number, which is refused later
        if rank in (0, X.shape[1]):
            return np.ldexp(gamma, -units), int(rank)
        U, s, V = np.linalg.svd(Z, full_matrices=False)  # all solutions have V gamma = S^{-1} U^T y
        noise = 100 * np.finfo(np.float64).eps * s[0] / s[rank - 1]
        beta = _shortest(V[:rank], U[:, :rank].T @ y / s[:rank], units, noise)
        least = np.linalg.norm(y - Z @ gamma)
        fits = np.linalg.norm(y - X @ beta) <= SAME_FIT * least + 1e-12 * np.linalg.norm(y)
        return (beta if fits else np.ldexp(gamma, -units)), int(rank)


def _shortest(V: np.ndarray, c: np.ndarray, units: np.ndarray, noise: float) -> np.ndarray:
    """Return the shortest beta with V 2^units beta = c, for independent rows V; what is below `noise` in V is zero.

    The columns in the largest units decide about the directions in which they have a part.  In the others V is zero
    there but for rounding, and the columns in smaller units decide: those come first, and the large ones fill up.
    """
    beta = np.zeros(len(units))
    if not len(c):
        return beta
    used = np.linalg.norm(V, axis=0) > noise
    if not used.any():
        return beta
    largest = units[used].max()
    Q, S, P = np.linalg.svd(V[:, used] * np.ldexp(1.0, units[used] - largest), full_matrices=False)
    sure = S > ONE_UNIT * S[0]
    beta = _shortest(Q[:, ~sure].T @ V, Q[:, ~sure].T @ c, units, noise)
    rest = Q[:, sure].T @ (c - V @ np.ldexp(beta, units))
    beta[used] += np.ldexp(P[sure].T @ (rest / S[sure]), -largest)
    return beta


def normal_equations(X: Any, y: Any) -> Array:
    """Return the beta of X^T X beta = X^T y, the slide's formula as it stands: a lesson, not a solver.

    X^T X has the condition number cond(X)^2: of the 16 digits of a float, 2 log10 cond(X) are lost, where
    `least_squares` loses log10 cond(X).

    Raises
    ------
    ValueError
        As `least_squares`, and if X^T X is singular in floating point.
    """
    given, y = as_regression(X, y)
    X, y = to_numpy(given).astype(np.float64, copy=False), to_numpy(y).astype(np.float64, copy=False)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            return returned(np.linalg.solve(X.T @ X, X.T @ y), given)
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

    Examples
    --------
    >>> import numpy as np
    >>> import textbook
    >>> X, y = 2 * np.eye(4), np.array([6.0, -4.0, 2.0, 0.0])
    >>> textbook.ridge(X, y, lam=0.5).beta  # X^T y / (4 + 2 n lam), n = 4
    array([ 1.5, -1. ,  0.5,  0. ])
    """
    lam = as_lam(lam)
    problem = UnitProblem(X, y, intercept=intercept)
    X, y = to_numpy(problem.X), to_numpy(problem.y)
    # lam is in the units of X^2, which need not be floats; root I are the rows below X that make least squares of it.
    unit_lam, root = scaled(lam, -2 * problem.i), scaled(math.sqrt(lam), -problem.i) * math.sqrt(2 * len(y))
    beta, rounded = _rounded(_ridge(X, y, unit_lam, root), problem)
    objective, gap, kkt = _certify_ridge(X, y, rounded, unit_lam, root)
    return Solution(
        beta=beta,
        objective=scaled(objective, 2 * problem.j),
        gap=scaled(gap, 2 * problem.j),
        kkt=scaled(kkt, problem.i + problem.j),
        n_iter=1,
        lam=lam,
        intercept=problem.constant(rounded),
    )


def _ridge(X: np.ndarray, y: np.ndarray, lam: float, root: float) -> np.ndarray:
    n, p = X.shape
    if math.isinf(2 * n * lam):
        return np.zeros(p)
    if root == 0:
        return minimum_norm(X, y)[0]
    G = X.T @ X if p <= n else X @ X.T
    system = G + 2 * n * lam * np.eye(len(G))
    factor, failed = lapack.dpotrf(system)
    if failed or lapack.dpocon(factor, np.abs(system).sum(axis=0).max())[0] < ILL_CONDITIONED:
        if _units_differ(X):
            return minimum_norm(*_with_rows_below(X, y, root))[0]
        U, s, V = _singular_values(X)
        used = s > 0  # lam itself can be 0 by now, in the units of X^2
        return V[used].T @ (s[used] / (s[used] ** 2 + 2 * n * lam) * (U[:, used].T @ y))
    if p <= n:
        return lapack.dpotrs(factor, X.T @ y)[0]
    return X.T @ lapack.dpotrs(factor, y)[0]


def _units_differ(X: np.ndarray) -> bool:
    """Whether a column is so small beside another that, among singular values, it would be rounding noise."""
    sizes = np.abs(X).max(axis=0)
    return bool(np.min(sizes, where=sizes > 0, initial=np.inf) < ILL_CONDITIONED * sizes.max())


def _with_rows_below(X: np.ndarray, y: np.ndarray, root: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (X; root I) and (y; 0): ||y - X beta||^2 + root^2 ||beta||^2 is a sum of squares too."""
    p = X.shape[1]
    return np.concatenate([X, root * np.eye(p)]), np.concatenate([y, np.zeros(p)])


def _singular_values(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    U, s, V = np.linalg.svd(X, full_matrices=False)
    s[s <= s[0] * max(X.shape) * np.finfo(np.float64).eps] = 0
    return U, s, V


def _certify_ridge(
    X: np.ndarray, y: np.ndarray, beta: np.ndarray, lam: float, root: float
) -> tuple[float, float, float]:
    """Return objective, duality gap, and the largest entry of the gradient; root is sqrt(2 n lam)."""
    n = len(y)
    if math.isinf(2 * n * lam):
        return float(y @ y) / (2 * n), 0.0, 0.0
    # Divided by too small a lam, the rounding errors of the gradient would be no certificate.
    small = 2 * lam <= ILL_CONDITIONED * float((X * X).sum()) / n
    if small and _units_differ(X):
        A, b = _with_rows_below(X, y, root)
        r = b - A @ beta
        objective, gap, kkt = (value * len(b) / n for value in lasso_certificates(A, r, A.T @ r / len(b), beta, 0.0))
        return objective, gap, kkt
    r = y - X @ beta
    gradient = X.T @ r / n - 2 * lam * beta
    gap = _excess(X, r, beta, lam) if small else float(gradient @ gradient) / (4 * lam)
    return float(r @ r) / (2 * n) + lam * float(beta @ beta), gap, lp_norm(gradient, math.inf)


def _excess(X: np.ndarray, r: np.ndarray, beta: np.ndarray, lam: float) -> float:
    """Return (1/2) g^T (X^T X / n + 2 lam I)^{-1} g, g = X^T r / n - 2 lam beta: by how much beta is above the minimum.

    On the row space of X, in its singular vectors, the curvature is s^2 / n + 2 lam; outside, g is -2 lam beta.
    """
    U, s, V = _singular_values(X)
    n, along = len(r), V @ beta
    outside = beta - V.T @ along
    slope, curvature = s * (U.T @ r) / n - 2 * lam * along, s * s / n + 2 * lam
    known = curvature > 0
    return float((slope[known] ** 2 / curvature[known]).sum()) / 2 + lam * float(outside @ outside)


def _rounded(beta: np.ndarray, problem: UnitProblem) -> tuple[Array, np.ndarray]:
    """Return beta as given back, and that again in the problem's own units: certified is what is returned."""
    given = problem.given_units(asarray(beta, like=problem.zero))
    return given, to_numpy(problem.start(given, "beta"))
