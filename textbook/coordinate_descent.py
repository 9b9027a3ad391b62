"""The lecture's loops: one coefficient, or one group of them, at a time, cyclically, until nothing changes.

Here they stand to be read, stepped through and run on any array library.  `textbook.lasso` and `textbook.group_lasso`
give the same answers faster.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nn.backend import Array, asarray, get_array_module, zeros
from textbook.inputs import as_function, as_iterations, as_lam
from textbook.norms import lp_norm
from textbook.proximal import soft_threshold
from textbook.solution import Solution
from textbook.unit_problem import GroupedUnitProblem, UnitProblem

NOTHING = 1e-100  # times ||z||: a lam that changes no digit of the block, and squares of z / lam would overflow
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
    tol : stop at a duality gap of at most tol ||y||^2 / n, or where rounding lets nothing fall any more; 0 means all
        `max_sweeps`.
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
        If X, y, lam, tol, max_sweeps or start is not as described, or a coefficient is too large for the dtype of X;
        the message says what was given.

    Sources: the slides on coordinate descent, with the index of x_ik beta_k put right; J. Friedman et al., Pathwise
    coordinate optimization, Annals of Applied Statistics 1 (2007).
    """
    problem, tol, max_sweeps = UnitProblem(X, y, lam), as_lam(tol, "tol"), as_iterations(max_sweeps, "max_sweeps")
    as_function(callback, "callback", "(sweep, beta)", optional=True)
    X, y, lam, beta = problem.X, problem.y, problem.lam, problem.start(start, "start")
    n, p = X.shape
    enough = tol * float(y @ y) / n
    x = [X[:, j] + 0 for j in range(p)]  # copies: a column of its own is contiguous
    for sweep in range(1, max_sweeps + 1):
        if sweep % REFRESH == 1:
            r = y - X @ beta
        gain = _sweep_columns(x, r, beta, lam)
        if callback is not None:
            callback(sweep, problem.given_units(beta))
        # A sweep that gains more than `enough` began farther than that from the minimum: no need for the gap yet.
        if gain <= enough and problem.finished(beta, tol):
            break
    return problem.solution(beta, sweep)


def _sweep_columns(x: list[Array], r: Array, beta: Array, lam: float) -> float:
    """Update every coefficient once, and with it r = y - X beta; return how much the objective fell at least."""
    n, gain = r.shape[0], 0.0
    for j, x_j in enumerate(x):
        a_j = x_j @ x_j / n
        if a_j == 0:
            beta[j] = 0.0
            continue
        z_j = x_j @ r / n + a_j * beta[j]  # z_j = x_j^T r / n + beta_j where a_j = 1
        new = soft_threshold(z_j, lam) / a_j  # beta_j <- S(z_j | lam)
        difference = new - beta[j]
        r -= difference * x_j  # r <- r - (new beta_j - beta_j) x_j
        beta[j] = new
        gain += float(a_j) * float(difference) * float(difference) / 2
    return gain


def group_lasso_coordinate_descent(
    X: Any,
    y: Any,
    groups: Sequence[Any],
    lam: float,
    weights: Any = None,
    tol: float = 1e-14,
    max_sweeps: int = 10_000,
    callback: Callable[[int, Array], object] | None = None,
) -> Solution:
    """Minimise (1/2n) ||y - X beta||^2 + lam sum_g w_g ||beta_g|| by cyclic block coordinate descent.

    With r = y - X beta, M_g = X_g^T X_g / n and z_g = X_g^T r / n + M_g beta_g, the minimiser over the block beta_g,
    all others held fixed, is zero if and only if ||z_g|| <= lam w_g, and otherwise solves

        (M_g + lam w_g / ||beta_g||  I) beta_g = z_g.

    In the eigenvectors of M_g only the number ||beta_g|| is unknown, and `block_minimiser` finds it.  Where M_g = I it
    is 1 - lam w_g / ||z_g|| times z_g, the block soft threshold; on other blocks that formula is a proximal step of
    length 1, slow where the curvatures are small, and free to diverge where one is beyond 2.  The slide's objective,
    ||y - X beta||^2 + sum_g lam_g ||beta_g||, is this one with lam w_g = lam_g / (2n).

    Parameters
    ----------
    X, y : (n, p) samples in rows, and (n,), of any array library.  The loop computes in float64; beta comes back in
        the library and dtype of X.
    groups : list of index arrays; every column in exactly one of them.
    lam : at least 0.
    weights : (number of groups,) positive; None is 1 for every group, see `group_lasso`.
    tol : stop at a duality gap of at most tol ||y||^2 / n, or where rounding lets nothing fall any more; 0 means all
        `max_sweeps`.
    max_sweeps : stop there in any case; the gap of the solution says what was reached.
    callback : called after every sweep, counted from 1, as callback(sweep, beta).

    Returns
    -------
    Solution, n_iter being the number of sweeps.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; the message says what was given.

    Sources: slide "Group lasso"; Z. Qin, K. Scheinberg, D. Goldfarb, Efficient block-coordinate descent algorithms for
    the group lasso, Mathematical Programming Computation 5 (2013).
    """
    problem, tol = GroupedUnitProblem(X, y, groups, lam, weights), as_lam(tol, "tol")
    X, y, lam, max_sweeps = problem.X, problem.y, problem.lam, as_iterations(max_sweeps, "max_sweeps")
    as_function(callback, "callback", "(sweep, beta)", optional=True)
    enough = tol * float(y @ y) / X.shape[0]
    rotated, rotations, curvatures = _rotate(X, problem.groups)
    blocks = [zeros((d.shape[0],), like=X) for d in curvatures]
    for sweep in range(1, max_sweeps + 1):
        if sweep % REFRESH == 1:
            r = y - sum(X_g @ b for X_g, b in zip(rotated, blocks))
        r, gain = _sweep(rotated, curvatures, r, blocks, lam * problem.weights)
        if callback is not None:
            callback(sweep, problem.given_units(_join(blocks, rotations, problem.groups)))
        # A sweep that gains more than `enough` began farther than that from the minimum: no need for the gap yet.
        if gain <= enough and problem.finished(_join(blocks, rotations, problem.groups), tol):
            break
    return problem.solution(_join(blocks, rotations, problem.groups), sweep)


def block_minimiser(d: Array, z: Array, lam: float) -> Array:
    """Return argmin_b (1/2) sum_i d_i b_i^2 - z^T b + lam ||b||: the update of one block, in M_g's eigenvectors.

    It is 0 if ||z|| <= lam.  Otherwise, with v = ||b||, it is b_i = z_i v / (d_i v + lam), and v is the root of the
    secular equation

        psi(v) = ( sum_i z_i^2 / (d_i v + lam)^2 )^(-1/2) = 1.

    psi grows, is concave and is psi(0) = lam / ||z|| < 1 at 0, so Newton's method started there climbs to the root
    without ever passing it; if all d_i are equal psi is a straight line and the first step is exact.

    Parameters
    ----------
    d : (p_g,) eigenvalues of M_g, at least 0.
    z : (p_g,) in the basis of the eigenvectors; z_i = 0 where d_i = 0.
    lam : at least 0.
    """
    xp = get_array_module(d, z)
    size = lp_norm(z, 2)
    if size <= lam:
        return xp.zeros_like(z)
    if lam <= NOTHING * size:
        return z / xp.where(d > 0, d, xp.ones_like(d))
    v, step = 0.0, 1.0
    while step > 1e-16 * v:
        q = z / (d * v + lam)
        psi = float(xp.sum(q * q)) ** -0.5
        slope = psi**3 * float(xp.sum(q * q * d / (d * v + lam)))
        step = (1 - psi) / slope
        v += max(step, 0.0)
    return z * v / (d * v + lam)


def _rotate(X: Array, groups: list[np.ndarray]) -> tuple[list[Array], list[Array], list[Array]]:
    """Return X_g V_g, V_g and d_g for every group, with M_g = V_g diag(d_g) V_g^T.

    A rotation inside a group changes neither X_g beta_g nor ||beta_g||.  From X_g = U S V^T, d = S^2 / n: small d
    keep digits that the matrix X_g^T X_g no longer has.
    """
    xp, n = get_array_module(X), X.shape[0]
    rotated, rotations, curvatures = [], [], []
    for g in groups:
        U, S, VT = xp.linalg.svd(xp.take(X, _indices(g, X), axis=1), full_matrices=False)
        # Singular values that are rounding errors: the block has no coefficients along them, not even at lam = 0.
        S = xp.where(S > 1e-15 * max(X.shape) * xp.max(S), S, xp.zeros_like(S))
        rotated.append(U * S)
        rotations.append(VT.T)
        curvatures.append(S * S / n)
    return rotated, rotations, curvatures


def _sweep(
    rotated: list[Array], curvatures: list[Array], r: Array, blocks: list[Array], lam: np.ndarray
) -> tuple[Array, float]:
    """Update every block once; return r = y - X beta and how much the objective fell at least."""
    n, gain = r.shape[0], 0.0
    for g, (X_g, d) in enumerate(zip(rotated, curvatures)):
        z = X_g.T @ r / n + d * blocks[g]
        new = block_minimiser(d, z, float(lam[g]))
        difference = new - blocks[g]
        r = r - X_g @ difference
        blocks[g] = new
        gain += float(d @ (difference * difference)) / 2
    return r, gain


def _join(blocks: list[Array], rotations: list[Array], groups: list[np.ndarray]) -> Array:
    xp = get_array_module(*blocks)
    beta = xp.concat([V @ b for V, b in zip(rotations, blocks)], axis=0)
    return xp.take(beta, _indices(np.argsort(np.concatenate(groups)), beta), axis=0)


def _indices(g: np.ndarray, like: Array) -> Array:
    return asarray(g, like=like, dtype=get_array_module(like).int64)
