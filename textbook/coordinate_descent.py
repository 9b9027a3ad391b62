"""The lecture's loop for the lasso: one coefficient at a time, cyclically, until nothing changes.

Here it stands to be read, stepped through and run on any array library.  `textbook.lasso` gives the same answer
faster, and `textbook.lasso_path` gives it at every lam.
"""

from collections.abc import Callable
from typing import Any

from nn.backend import Array, get_array_module, zeros
from textbook.certificates import lasso_gap, lasso_kkt, lasso_objective
from textbook.inputs import as_count, as_floats, as_lam, as_regression, power_of_two
from textbook.proximal import soft_threshold
from textbook.solution import Solution

REFRESH = 100  # sweeps after which the residual, updated by differences until then, is computed anew


def lasso_coordinate_descent(
    X: Any,
    y: Any,
    lam: float,
    tol: float = 1e-14,
    max_sweeps: int = 10_000,
    start: Any = None,
    callback: Callable[[int, Array], object] | None = None,
) -> Solution:
    """Minimise (1/2n) ||y - X beta||^2 + lam ||beta||_1 by cyclic coordinate descent.

    With r = y - X beta and a_j = x_j^T x_j / n, the minimiser over beta_j, all others held fixed, is

        z_j = x_j^T r / n + a_j beta_j,        beta_j = S(z_j, lam) / a_j,

    and 0 where a_j = 0.  The slide prints it for columns with a_j = 1, where z_j is the least-squares coefficient of
    the partial residual.  On other columns its update is a step of length 1 along a parabola of curvature a_j: slow
    where a_j is small, divergent beyond a_j = 2.  The lam of a slide without the factor 1/2n is 2 n times this one.

    Parameters
    ----------
    X, y : (n, p) samples in rows, and (n,), of any array library.  The loop computes in float64; beta comes back in
        the library and dtype of X.
    lam : at least 0.
    tol : stop at a duality gap of at most tol ||y||^2 / n; 0 means all `max_sweeps`.
    max_sweeps : stop there in any case; the gap of the solution says what was reached.
    start : (p,) coefficients to start from, zeros by default.
    callback : called after every sweep, counted from 1, as callback(sweep, beta), with a copy of beta.

    Returns
    -------
    Solution, n_iter being the number of sweeps.  Where columns are linearly dependent beta need not be unique and
    depends on their order and on `start`; X beta and the objective do not.

    Raises
    ------
    ValueError, TypeError
        If X, y, lam, tol, max_sweeps or start is not as described; the message says what was given.

    Sources: the slides on coordinate descent, with the index of x_ik beta_k put right; J. Friedman et al., Pathwise
    coordinate optimization, Annals of Applied Statistics 1 (2007).
    """
    X, y = as_regression(X, y)
    lam, tol, max_sweeps = as_lam(lam), as_lam(tol, "tol"), as_count(max_sweeps, "max_sweeps", least=1)
    xp, dtype = get_array_module(X), X.dtype
    x_unit, y_unit = power_of_two(X), power_of_two(y)
    X, y, weight = xp.astype(X, xp.float64) / x_unit, xp.astype(y, xp.float64) / y_unit, lam / x_unit / y_unit
    beta = _as_start(start, X) * (x_unit / y_unit)
    enough = tol * float(y @ y) / X.shape[0]
    x = [X[:, j] + 0 for j in range(X.shape[1])]  # copies: a column of its own is contiguous
    for sweep in range(1, max_sweeps + 1):
        if sweep % REFRESH == 1:
            r = y - X @ beta
        gain = _sweep(x, r, beta, weight)
        if callback is not None:
            callback(sweep, xp.astype(beta * (y_unit / x_unit), dtype))
        # A sweep that gains more than `enough` began farther than that from the minimum: no need for the gap yet.
        if gain <= enough and lasso_gap(X, y, beta, weight) <= enough:
            break
    beta = xp.astype(xp.astype(beta, dtype), xp.float64)  # the certificates are those of what is returned
    return Solution(
        beta=xp.astype(beta * (y_unit / x_unit), dtype),
        objective=lasso_objective(X, y, beta, weight) * y_unit * y_unit,
        gap=lasso_gap(X, y, beta, weight) * y_unit * y_unit,
        kkt=lasso_kkt(X, y, beta, weight) * x_unit * y_unit,
        n_iter=sweep,
        lam=lam,
    )


def _sweep(x: list[Array], r: Array, beta: Array, lam: float) -> float:
    """Update every coefficient once, and with it r = y - X beta; return how much the objective fell at least."""
    n, gain = r.shape[0], 0.0
    for j, x_j in enumerate(x):
        a_j = x_j @ x_j / n
        if a_j == 0:
            beta[j] = 0.0
            continue
        z_j = x_j @ r / n + a_j * beta[j]
        new = soft_threshold(z_j, lam) / a_j
        difference = new - beta[j]
        r -= difference * x_j
        beta[j] = new
        gain += float(a_j * difference * difference) / 2
    return gain


def _as_start(start: Any, X: Array) -> Array:
    p = X.shape[1]
    if start is None:
        return zeros((p,), like=X)
    start = as_floats(start, "start")
    if tuple(start.shape) != (p,):
        raise ValueError(f"expected start of shape ({p},), one coefficient a column, got shape {tuple(start.shape)}")
    get_array_module(X, start)
    return get_array_module(X).astype(start, X.dtype)
