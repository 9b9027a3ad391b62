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
from collections.abc import Sequence
from typing import Any

import numpy as np

from nn.backend import Array, get_array_module, to_numpy
from textbook.inputs import as_coefficients, as_flag, as_groups, as_lam, as_regression, as_weights
from textbook.units import centred, in_units, scaled

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
    gap = _gap(X, r, np.abs(b), b * c, np.abs(c), lam)
    shrunk = _shrunk(np.abs(c), lam)
    gap = _smaller_gap(gap, X, r, c, np.abs(b), shrunk * b * c, shrunk, lam)
    active = b != 0
    kkt = _largest(np.abs(c[~active]) - lam, np.abs(c[active] - lam * np.sign(b[active])))
    return _number(objective), gap, kkt


def lasso_path_certificates(
    X: np.ndarray, y: np.ndarray, beta: np.ndarray, lam: np.ndarray, factor: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return `lasso_gap` and `lasso_kkt` of every column of beta (p, L) at its finite lam (L,), all columns at once.

    `factor` is X or a smaller matrix with the same X^T X: for small lam the gap is that of a projection on the columns,
    and ||q|| is the length of the shortest q with factor^T q = n (c - allowed), see `_smaller_gap`.
    """
    n = X.shape[0]
    r = y[:, None] - X @ beta
    c = X.T @ r / n
    sizes = np.abs(c)
    kkt = np.max(np.where(beta == 0, sizes - lam, np.abs(c - lam * np.sign(beta))), axis=0, initial=0.0)
    s = lam / np.maximum(np.max(sizes, axis=0), lam, where=lam > 0, out=np.ones_like(lam))
    squares = np.einsum("ij,ij->j", r, r)
    gap = (1 - s) ** 2 * squares / (2 * n) + np.sum(lam * np.abs(beta) - s * (beta * c), axis=0)
    unit = _column_units(factor)
    size = np.sqrt(np.einsum("ij,ij->j", X, X).max(initial=0.0)) * np.sqrt(squares) / n
    for i in np.flatnonzero(lam <= SMALL * size):
        allowed = np.clip(c[:, i], -lam[i], lam[i])
        q = np.linalg.lstsq((factor / unit).T, n * (c[:, i] - allowed) / unit, rcond=None)[0]
        gap[i] = min(gap[i], q @ q / (2 * n) + np.sum(lam[i] * np.abs(beta[:, i]) - beta[:, i] * allowed))
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
    products, dual_norms, shrunk = _dots(b, c, groups), _norms(c, groups) / weights, np.empty(len(c))
    gap = _gap(X, r, weights * norms, products, dual_norms, lam)
    of_groups = _shrunk(dual_norms, lam)
    shrunk[np.concatenate(groups)] = np.repeat(of_groups, [len(g) for g in groups])
    gap = _smaller_gap(gap, X, r, c, weights * norms, of_groups * products, shrunk, lam)
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


def _column_units(X: np.ndarray) -> np.ndarray:
    largest = np.abs(X).max(axis=0)
    return np.where(largest > 0, largest, 1.0)


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


def _shrunk(dual_norms: np.ndarray, lam: float) -> np.ndarray:
    return np.minimum(1.0, lam / np.where(dual_norms > 0, dual_norms, 1.0))


def _smaller_gap(
    gap: float,
    X: Array,
    r: Array,
    c: np.ndarray,
    norms: np.ndarray,
    products: np.ndarray,
    shrunk: np.ndarray,
    lam: float,
) -> float:
    """Return the gap, or where lam is as small as the rounding errors of c that at a better point of the dual.

    In the dual's set the c_g are to be no longer than lam w_g: times `shrunk` (p,) they are.  nu = r - q with
    X^T q / n = c - shrunk c is such a point, and the gap there is ||q||^2 / 2n + sum_g (lam w_g ||beta_g|| - beta_g^T
    (shrunk c)_g).  For lam = 0 it is half the squared projection of r on the columns over n, whatever their units are.
    """
    if not math.isfinite(gap) or lam > SMALL * _correlation_size(X, r):
        return gap
    terms = (lam * norms[norms > 0]).sum() - products.sum()
    return min(gap, max(0.0, _number(_squared_projection(X, r, shrunk * c) / (2 * X.shape[0]) + float(terms))))


def _correlation_size(X: Array, r: Array) -> float:
    """Return max_j ||x_j|| ||r|| / n, of which every |c_j| has the rounding errors."""
    largest = float(np.einsum("ij,ij->j", to_numpy(X), to_numpy(X)).max())
    return math.sqrt(largest) * math.sqrt(float(r @ r)) / X.shape[0]


def _squared_projection(X: Array, r: Array, allowed: np.ndarray) -> float:
    """Return ||q||^2 of the shortest q with X^T (r - q) / n = allowed: q = U (U^T r - n S^{-1} V allowed), X = U S V."""
    n, A = X.shape[0], to_numpy(X)
    units = _column_units(A)
    U, S, V = np.linalg.svd(A / units, full_matrices=False)
    known = S > max(A.shape) * np.finfo(np.float64).eps * S[0]
    q = U[:, known].T @ to_numpy(r) - n * (V[known] @ (allowed / units)) / S[known]
    return float(q @ q)
