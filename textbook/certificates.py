"""How near a vector is to the minimum, computed from the problem alone: duality gap and KKT violation.

Both penalties are sums of norms over blocks of coefficients, the lasso's blocks being single ones, so one derivation
serves them.  With r = y - X beta, c = X^T r / n and weights w_g, beta is optimal if and only if

    ||c_g|| <= lam w_g                       where beta_g = 0,
    c_g = lam w_g beta_g / ||beta_g||        elsewhere.

The dual of (1/2n) ||y - X beta||^2 + lam sum_g w_g ||beta_g|| is to maximise (||y||^2 - ||y - nu||^2) / 2n over the nu
with ||X_g^T nu|| <= n lam w_g.  nu = s r with s = min(1, min_g lam w_g / ||c_g||) is such a one, and the difference
of the two objectives there is

    gap = (1 - s)^2 ||r||^2 / 2n  +  sum_g ( lam w_g ||beta_g|| - s beta_g^T c_g ),

a sum of terms that are all >= 0.  Each is a small difference, known to about 1e-17 ||y||^2 / n: no gap means less.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from nn.backend import Array, get_array_module, to_numpy
from textbook.inputs import as_coefficients, as_flag, as_groups, as_lam, as_regression, as_weights
from textbook.units import centred, in_units, scaled

Sizes: TypeAlias = Callable[[np.ndarray], np.ndarray]

SMALL = 1e-8  # a lam below this share of the largest possible |c_j| is near the rounding errors of the others


def lasso_lambda_max(X: Any, y: Any, intercept: bool = False) -> float:
    """Return the smallest lam at which the lasso's solution is zero: max_j |x_j^T y| / n.

    For (1/2n) ||y - X beta||^2 + lam ||beta||_1.  On the slide's scale, without the 1/2n, it is 2 n times this.  With
    an unpenalised intercept it is that of the centred X and y, which can be many times smaller.

    Raises
    ------
    ValueError, TypeError
        As `lasso` for X and y.
    """
    c, exponent = _correlations(X, y, intercept)
    return float(scaled(float(np.max(np.abs(c))), exponent))


def group_lasso_lambda_max(
    X: Any, y: Any, groups: Sequence[Any], weights: Any = None, intercept: bool = False
) -> float:
    """Return the smallest lam at which the group lasso's solution is zero: max_g ||X_g^T y|| / (n w_g).

    Parameters
    ----------
    groups, weights : as for `group_lasso`.
    intercept : whether a constant is fitted, too.

    Raises
    ------
    ValueError, TypeError
        As `group_lasso` for X, y, groups and weights.
    """
    c, exponent = _correlations(X, y, intercept)
    arrays = as_groups(groups, len(c))
    return float(scaled(float(np.max(_norms(c, arrays) / as_weights(weights, arrays))), exponent))


def _correlations(X: Any, y: Any, intercept: bool) -> tuple[np.ndarray, int]:
    """Return X^T y / n less a power of two, such that its squares are floats, and the exponent of that."""
    X, y = as_regression(X, y)
    xp, intercept = get_array_module(X), as_flag(intercept, "intercept")
    (X, _, i), (y, _, j) = (in_units(xp.astype(a, xp.float64), intercept) for a in (X, y))
    return to_numpy(X.T @ y) / X.shape[0], i + j


def lasso_objective(X: Any, y: Any, beta: Any, lam: float, intercept: bool = False) -> float:
    """Return (1/2n) ||y - X beta||^2 + lam ||beta||_1.  Arguments and errors as for `lasso_gap`."""
    return _certified(X, y, beta, lam, intercept)[0]


def group_lasso_objective(
    X: Any, y: Any, beta: Any, groups: Sequence[Any], lam: float, weights: Any = None, intercept: bool = False
) -> float:
    """Return (1/2n) ||y - X beta||^2 + lam sum_g w_g ||beta_g||.  Arguments and errors as for `group_lasso_gap`."""
    return _certified(X, y, beta, lam, intercept, groups, weights)[0]


def lasso_gap(X: Any, y: Any, beta: Any, lam: float, intercept: bool = False) -> float:
    """Return the duality gap of beta, at least objective(beta) - minimum.

    For (1/2n) ||y - X beta||^2 + lam ||beta||_1.  At lam = 0 it is exactly that difference.

    Parameters
    ----------
    X : (n, p).  y : (n,).  Computed in float64.
    beta : (p,); the gap of one that is not finite, or with squares beyond the floats, is infinite.
    lam : at least 0; infinity allows zeros only.
    intercept : certify beta beside the best unpenalised constant, by centring X and y.

    Raises
    ------
    ValueError, TypeError
        As `lasso` for X, y and lam; if beta is no vector of p real numbers.
    """
    return _certified(X, y, beta, lam, intercept)[1]


def lasso_kkt(X: Any, y: Any, beta: Any, lam: float, intercept: bool = False) -> float:
    """Return the largest violation of the lasso's optimality conditions (the module's first lines), in units of lam.

    Arguments and errors as for `lasso_gap`; infinite where beta is not finite.
    """
    return _certified(X, y, beta, lam, intercept)[2]


def group_lasso_gap(
    X: Any, y: Any, beta: Any, groups: Sequence[Any], lam: float, weights: Any = None, intercept: bool = False
) -> float:
    """Return the duality gap of beta for (1/2n) ||y - X beta||^2 + lam sum_g w_g ||beta_g||.

    Arguments and errors as for `lasso_gap`, and as `group_lasso` for groups and weights.
    """
    return _certified(X, y, beta, lam, intercept, groups, weights)[1]


def group_lasso_kkt(
    X: Any, y: Any, beta: Any, groups: Sequence[Any], lam: float, weights: Any = None, intercept: bool = False
) -> float:
    """Return the largest violation of the group lasso's optimality conditions, in units of lam times a weight.

    Arguments and errors as for `group_lasso_gap`; infinite where beta is not finite.
    """
    return _certified(X, y, beta, lam, intercept, groups, weights)[2]


def _certified(
    X: Any, y: Any, beta: Any, lam: float, intercept: bool, groups: Sequence[Any] | None = None, weights: Any = None
) -> tuple[float, float, float]:
    """Check the arguments of the functions above; return objective, gap and KKT violation."""
    X, y = as_regression(X, y)
    beta, lam, xp = as_coefficients(beta, X), as_lam(lam), get_array_module(X)
    X, y = xp.astype(X, xp.float64), xp.astype(y, xp.float64)
    if as_flag(intercept, "intercept"):
        X, y = centred(X)[0], centred(y)[0]
    with np.errstate(over="ignore", invalid="ignore"):  # of a beta that diverged
        r = y - X @ beta
        c = X.T @ r / X.shape[0]
        if groups is None:
            return lasso_certificates(X, r, c, beta, lam)
        arrays = as_groups(groups, X.shape[1])
        return group_lasso_certificates(X, r, c, beta, arrays, lam, as_weights(weights, arrays))


@np.errstate(over="ignore", invalid="ignore")  # of a beta that diverged
def lasso_certificates(X: Array, r: Array, c: Array, beta: Array, lam: float) -> tuple[float, float, float]:
    """Return objective, gap and KKT violation of a beta whose r = y - X beta and c = X^T r / n are known already."""
    b, c = to_numpy(beta), to_numpy(c)
    objective = float(r @ r) / (2 * X.shape[0]) + _penalty(lam, float(np.abs(b).sum()))
    gap = _smaller(_gap(X, r, np.abs(b), b * c, np.abs(c), lam), X, r, b, c, lam, float(np.abs(b).sum()), np.abs)
    active = b != 0
    kkt = _largest(np.abs(c[~active]) - lam, np.abs(c[active] - lam * np.sign(b[active])))
    return _number(objective), gap, kkt


def lasso_path_certificates(
    X: np.ndarray, y: np.ndarray, beta: np.ndarray, lam: np.ndarray, factor: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return `lasso_gap` and `lasso_kkt` of every column of beta (p, L) at its finite lam (L,), all columns at once.

    `factor` is X or a smaller matrix with the same X^T X: for small lam the gap is that of a projection on the columns,
    which does not depend on which of the two it is.
    """
    n = X.shape[0]
    r = y[:, None] - X @ beta
    c = X.T @ r / n
    sizes = np.abs(c)
    kkt = np.max(np.where(beta == 0, sizes - lam, np.abs(c - lam * np.sign(beta))), axis=0, initial=0.0)
    s = lam / np.maximum(np.max(sizes, axis=0), lam, where=lam > 0, out=np.ones_like(lam))
    squares = np.einsum("ij,ij->j", r, r)
    gap = (1 - s) ** 2 * squares / (2 * n) + np.sum(lam * np.abs(beta) - s * (beta * c), axis=0)
    small = np.flatnonzero(lam <= SMALL * _correlation_size(X, squares))
    if small.size:
        columns = _Range(factor)
        for i in small:
            t, norm = n * columns.along(c[:, i]), float(np.abs(beta[:, i]).sum())
            gap[i] = min(gap[i], columns.gap(t, n, beta[:, i], c[:, i], float(lam[i]), norm, np.abs))
    gap, kkt = (np.where(np.isfinite(bound), bound, np.inf) for bound in (gap, kkt))
    return np.maximum(gap, 0.0), kkt


@np.errstate(over="ignore", invalid="ignore")
def group_lasso_certificates(
    X: Array, r: Array, c: Array, beta: Array, groups: Sequence[np.ndarray], lam: float, weights: np.ndarray
) -> tuple[float, float, float]:
    """Return objective, gap and KKT violation of a beta whose r = y - X beta and c = X^T r / n are known already."""
    b, c = to_numpy(beta), to_numpy(c)
    norms = _norms(b, groups)
    objective = float(r @ r) / (2 * X.shape[0]) + _penalty(lam, float(weights @ norms))
    order, lengths = np.concatenate(groups), [len(g) for g in groups]

    def sizes(c: np.ndarray) -> np.ndarray:
        of_coefficients = np.empty(len(c))
        of_coefficients[order] = np.repeat(_norms(c, groups) / weights, lengths)
        return of_coefficients

    gap = _gap(X, r, weights * norms, _dots(b, c, groups), _norms(c, groups) / weights, lam)
    gap = _smaller(gap, X, r, b, c, lam, float(weights @ norms), sizes)
    return _number(objective), gap, _group_kkt(b, c, groups, norms, lam, weights)


def _norms(v: np.ndarray, groups: Sequence[np.ndarray]) -> np.ndarray:
    return np.sqrt(_dots(v, v, groups))


def _dots(a: np.ndarray, b: np.ndarray, groups: Sequence[np.ndarray]) -> np.ndarray:
    # a_g^T b_g of every group: sums over consecutive stretches, once the coefficients stand group by group.
    order, sizes = np.concatenate(groups), np.array([len(g) for g in groups])
    return np.add.reduceat(a[order] * b[order], np.cumsum(sizes) - sizes)


def _group_kkt(
    beta: np.ndarray, c: np.ndarray, groups: Sequence[np.ndarray], norms: np.ndarray, lam: float, weights: np.ndarray
) -> float:
    target = np.zeros_like(beta)
    for g, size, weight in zip(groups, norms, weights):
        if size > 0:
            target[g] = lam * weight * beta[g] / size
    violations = _norms(c - target, groups)
    return _largest(np.where(norms > 0, violations, violations - lam * weights))


def _penalty(lam: float, norm: float) -> float:
    return lam * norm if norm else 0.0  # lam may be infinite


def _number(value: float) -> float:
    # What is no number, or too large for one, certifies nothing; and Python's max(0.0, nan) is 0.0.
    return value if math.isfinite(value) else math.inf


def _largest(*violations: np.ndarray) -> float:
    return _number(float(np.max(np.concatenate(violations), initial=0.0)))


def _gap(X: Array, r: Array, norms: np.ndarray, products: np.ndarray, dual_norms: np.ndarray, lam: float) -> float:
    n, largest, square = X.shape[0], float(dual_norms.max()), float(r @ r)
    if not math.isfinite(square + largest + float(norms.sum())):
        return math.inf
    s = min(1.0, lam / largest) if largest > 0 else 1.0
    terms = (lam * norms[norms > 0] - s * products[norms > 0]).sum()
    return max(0.0, _number((1 - s) ** 2 * square / (2 * n) + float(terms)))


def _smaller(
    gap: float, X: Array, r: Array, b: np.ndarray, c: np.ndarray, lam: float, norm: float, sizes: Sizes
) -> float:
    """Return the gap, or that of `_Range` where lam is small and that is smaller."""
    A, residual = to_numpy(X), to_numpy(r)
    if not math.isfinite(gap) or lam > SMALL * _correlation_size(A, float(residual @ residual)):
        return gap
    columns = _Range(A)
    return min(gap, columns.gap(columns.U.T @ residual, len(residual), b, c, lam, norm, sizes))


def _correlation_size(X: np.ndarray, square: Any) -> Any:
    """Return max_j ||x_j|| ||r|| / n, of which every |c_j| has the rounding errors, from ||r||^2."""
    return math.sqrt(float(np.einsum("ij,ij->j", X, X).max())) * np.sqrt(square) / X.shape[0]


class _Range:
    """The dual for a lam as small as the rounding errors of c, where s r is far from its best point.

    For every nu in the dual's set, with a = X^T nu / n, the gap is

        ||r - nu||^2 / 2n + sum_g (lam w_g ||beta_g|| - beta_g^T a_g).

    Here a is chosen first: c with every block shortened to lam w_g, and what a_g should be where beta_g is not zero,
    lam w_g beta_g / ||beta_g||; each taken to the range of X^T and shortened again, and the better of the two.  Of the
    nu that belong to it, nu = r - U (U^T r - n S^{-1} V a), with X = U S V, is nearest to r; for lam = 0 it is r less
    its projection on the columns.  They are brought to one unit first, so that none is lost.
    """

    def __init__(self, X: np.ndarray):
        largest = np.abs(X).max(axis=0)
        self.units = np.where(largest > 0, largest, 1.0)
        U, S, V = np.linalg.svd(X / self.units, full_matrices=False)
        rank = int(np.count_nonzero(S > max(X.shape) * np.finfo(np.float64).eps * S[0]))
        self.U, self.S, self.V = U[:, :rank], S[:rank], V[:rank]

    def along(self, c: np.ndarray) -> np.ndarray:
        """Return S^{-1} V c, which is U^T r if c = X^T r."""
        return self.V @ (c / self.units) / self.S

    def gap(self, t: np.ndarray, n: int, b: np.ndarray, c: np.ndarray, lam: float, norm: float, sizes: Sizes) -> float:
        """Return the gap from t = U^T r, norm = sum_g w_g ||beta_g|| and the dual norms that belong to coefficients."""
        of_c, of_b = sizes(c), sizes(b)
        shortened = c * np.minimum(1.0, lam / np.where(of_c > 0, of_c, 1.0))
        ideal = np.where(of_b > 0, lam * b / np.where(of_b > 0, of_b, 1.0), shortened)
        return min(self._gap_at(a, t, n, b, lam, norm, sizes) for a in (shortened, ideal))

    def _gap_at(
        self, a: np.ndarray, t: np.ndarray, n: int, b: np.ndarray, lam: float, norm: float, sizes: Sizes
    ) -> float:
        a = self.units * (self.V.T @ (self.V @ (a / self.units)))
        largest = float(sizes(a).max())
        a = a * min(1.0, lam / largest) if largest > 0 else a
        q = t - n * self.along(a)
        return max(0.0, _number(float(q @ q) / (2 * n) + lam * norm - float(b @ a)))
