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

from collections.abc import Sequence
from typing import Any

import numpy as np

from nn.backend import Array, get_array_module, to_numpy
from textbook.inputs import as_groups, as_regression, as_weights, power_of_two


def lasso_lambda_max(X: Any, y: Any) -> float:
    """Return the smallest lam at which the lasso's solution is zero: max_j |x_j^T y| / n.

    For (1/2n) ||y - X beta||^2 + lam ||beta||_1.  On the slide's scale, without the 1/2n, it is 2 n times this.

    Raises
    ------
    ValueError, TypeError
        As `lasso` for X and y.
    """
    c, unit = _correlations(X, y)
    return float(np.max(np.abs(c))) * min(unit) * max(unit)


def group_lasso_lambda_max(X: Any, y: Any, groups: Sequence[Any], weights: Any = None) -> float:
    """Return the smallest lam at which the group lasso's solution is zero: max_g ||X_g^T y|| / (n w_g).

    Raises
    ------
    ValueError, TypeError
        As `group_lasso` for X, y, groups and weights.
    """
    c, unit = _correlations(X, y)
    arrays = as_groups(groups, len(c))
    return float(np.max(_norms(c, arrays) / as_weights(weights, arrays))) * min(unit) * max(unit)


def _correlations(X: Any, y: Any) -> tuple[np.ndarray, tuple[float, float]]:
    """Return X^T y / n in units in which its squares are floats, and these units of X and y."""
    X, y = as_regression(X, y)
    x_unit, y_unit = power_of_two(X), power_of_two(y)
    X, y = (a if unit == 1 else a / unit for a, unit in ((X, x_unit), (y, y_unit)))
    return to_numpy(X.T @ y) / X.shape[0], (x_unit, y_unit)


def lasso_objective(X: Array, y: Array, beta: Array, lam: float) -> float:
    """Return (1/2n) ||y - X beta||^2 + lam ||beta||_1."""
    xp = get_array_module(X)
    r = y - X @ beta
    return float(r @ r) / (2 * X.shape[0]) + _penalty(lam, float(xp.sum(xp.abs(beta))))


def group_lasso_objective(
    X: Array, y: Array, beta: Array, groups: Sequence[np.ndarray], lam: float, weights: np.ndarray
) -> float:
    """Return (1/2n) ||y - X beta||^2 + lam sum_g w_g ||beta_g||."""
    r = y - X @ beta
    return float(r @ r) / (2 * X.shape[0]) + _penalty(lam, float(weights @ _norms(to_numpy(beta), groups)))


def lasso_gap(X: Array, y: Array, beta: Array, lam: float) -> float:
    """Return the duality gap of beta, at least objective(beta) - minimum.

    For (1/2n) ||y - X beta||^2 + lam ||beta||_1.  At lam = 0 it is exactly that difference.
    """
    r = y - X @ beta
    return lasso_certificates(X, r, X.T @ r / X.shape[0], beta, lam)[1]


def lasso_kkt(X: Array, y: Array, beta: Array, lam: float) -> float:
    """Return the largest violation of the lasso's optimality conditions (the module's first lines), in units of lam."""
    r = y - X @ beta
    return lasso_certificates(X, r, X.T @ r / X.shape[0], beta, lam)[2]


def lasso_certificates(X: Array, r: Array, c: Array, beta: Array, lam: float) -> tuple[float, float, float]:
    """Return objective, gap and KKT violation of a beta whose r = y - X beta and c = X^T r / n are known already."""
    b, c = to_numpy(beta), to_numpy(c)
    objective = float(r @ r) / (2 * X.shape[0]) + _penalty(lam, float(np.abs(b).sum()))
    gap = _gap(X, r, np.abs(b), b * c, np.abs(c), lam)
    active = b != 0
    return objective, gap, _largest(np.abs(c[~active]) - lam, np.abs(c[active] - lam * np.sign(b[active])))


def lasso_path_certificates(
    X: np.ndarray, y: np.ndarray, beta: np.ndarray, lam: np.ndarray, factor: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return `lasso_gap` and `lasso_kkt` of every column of beta (p, L) at its finite lam (L,), all columns at once.

    `factor` is X or a smaller matrix with the same X^T X: at lam = 0 the gap is that of a projection on the columns,
    and ||P r|| is the length of the shortest w with factor^T w = X^T r.
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
    for i in np.flatnonzero(lam == 0):
        w = np.linalg.lstsq((factor / unit).T, n * c[:, i] / unit, rcond=None)[0]
        gap[i] = w @ w / (2 * n)
    return np.maximum(gap, 0.0), kkt


def group_lasso_gap(
    X: Array, y: Array, beta: Array, groups: Sequence[np.ndarray], lam: float, weights: np.ndarray
) -> float:
    """Return the duality gap of beta for (1/2n) ||y - X beta||^2 + lam sum_g w_g ||beta_g||."""
    r = y - X @ beta
    b, c = to_numpy(beta), to_numpy(X.T @ r) / X.shape[0]
    return _gap(X, r, weights * _norms(b, groups), _dots(b, c, groups), _norms(c, groups) / weights, lam)


def group_lasso_kkt(
    X: Array, y: Array, beta: Array, groups: Sequence[np.ndarray], lam: float, weights: np.ndarray
) -> float:
    """Return the largest violation of the group lasso's optimality conditions, in units of lam times a weight."""
    b, c = to_numpy(beta), to_numpy(X.T @ (y - X @ beta)) / X.shape[0]
    return _group_kkt(b, c, groups, _norms(b, groups), lam, weights)


def group_lasso_certificates(
    X: np.ndarray,
    r: np.ndarray,
    c: np.ndarray,
    beta: np.ndarray,
    groups: Sequence[np.ndarray],
    lam: float,
    weights: np.ndarray,
) -> tuple[float, float, float]:
    """Return objective, gap and KKT violation of NumPy arrays, from r = y - X beta and c = X^T r / n."""
    norms = _norms(beta, groups)
    objective = float(r @ r) / (2 * len(r)) + _penalty(lam, float(weights @ norms))
    gap = _gap(X, r, weights * norms, _dots(beta, c, groups), _norms(c, groups) / weights, lam)
    return objective, gap, _group_kkt(beta, c, groups, norms, lam, weights)


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


def _largest(*violations: np.ndarray) -> float:
    return max([0.0, *(float(v.max()) for v in violations if v.size)])


def _gap(X: Array, r: Array, norms: np.ndarray, products: np.ndarray, dual_norms: np.ndarray, lam: float) -> float:
    n, largest = X.shape[0], float(dual_norms.max())
    if lam == 0:
        # nu must be orthogonal to all columns: the residual less its projection on them, whatever their units are.
        columns = to_numpy(X) / _column_units(to_numpy(X))
        fit = columns @ np.linalg.lstsq(columns, to_numpy(r), rcond=None)[0]
        return float(fit @ fit) / (2 * n)
    s = min(1.0, lam / largest) if largest > 0 else 1.0
    terms = (lam * norms[norms > 0] - s * products[norms > 0]).sum()
    return max(0.0, (1 - s) ** 2 * float(r @ r) / (2 * n) + float(terms))
