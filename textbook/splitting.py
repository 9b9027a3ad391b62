"""ADMM: f and g each get a copy of the variable, and meet only in x = z.

The scaled form of Boyd, Parikh, Chu, Peleato and Eckstein (2011), section 3.1.1.  With u the multiplier of x = z over
rho,

    L(x, z, u) = f(x) + g(z) + (rho/2) ||x - z + u||^2 - (rho/2) ||u||^2,

    x <- argmin_x f(x) + (rho/2) ||x - z + u||^2        = prox_f(z - u, rho)
    z <- argmin_z g(z) + (rho/2) ||x - z + u||^2        = prox_g(x + u, rho)
    u <- u + x - z.

For networks the same three are called W (the weights, x), Y (their pruned copy, z; never Z) and U (u).  Where nothing
moves any more, x = z and grad f(x) + rho u = 0: the loss still has a gradient there, and -rho u is what it is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nn.backend import Array, get_array_module
from textbook.forward_backward import Prox
from textbook.inputs import as_count, as_floats, as_function, as_iterations, as_lam, as_positive
from textbook.proximal import keep_largest, project_l1_ball, soft_threshold
from textbook.solution import Solution
from textbook.unit_problem import UnitProblem, returned, small_gram
from textbook.units import scaled

# rho may change in the first iterations only: convergence is proved for a rho that stays.
BALANCED_ITERATIONS = 200


@dataclass(frozen=True, eq=False)
class SplitSolution:
    """Where ADMM stopped: x = z and grad f(x) + rho u = 0 up to the two residuals.

    Attributes
    ----------
    x, z, u : (p,) the two copies of the variable and the scaled multiplier; z has the structure that g asks for.
    rho : the penalty parameter of the last iteration, the one that u belongs to.
    n_iter : iterations made.
    converged : whether Boyd's stopping rule was met.
    primal, dual : (n_iter,) the residuals ||x - z|| and rho ||z - previous z||.
    """

    x: Array
    z: Array
    u: Array
    rho: float
    n_iter: int
    converged: bool
    primal: np.ndarray
    dual: np.ndarray


def admm(
    prox_f: Prox,
    prox_g: Prox,
    z: Array,
    rho: float = 1.0,
    alpha: float = 1.0,
    balance: float = math.inf,
    tol_abs: float = 1e-10,
    tol_rel: float = 1e-10,
    max_iter: int = 10_000,
    callback: Callable[[Array, Array, Array, float], object] | None = None,
) -> SplitSolution:
    """Minimise f(x) + g(z) subject to x = z, from the given z and u = 0.

    If f and g are convex and closed and a minimiser exists, it converges for every rho > 0 and 0 < alpha < 2.

    Parameters
    ----------
    prox_f, prox_g : functions (v, rho) -> argmin_x f(x) + (rho/2) ||x - v||^2, and g likewise: a step of 1/rho.
    z : where it starts, (p,) or any other shape.
    rho : penalty parameter, in the units of f's curvature.  For convex f and g it decides the speed, not the limit.
    alpha : over-relaxation: the other two steps see alpha x + (1 - alpha) z for x.  1 is none; 1.5 to 1.8 often helps
        (section 3.4.3).
    balance : if one residual, relative to its scale in the stopping rule, is this many times the other, rho is doubled
        or halved, in the first `BALANCED_ITERATIONS` iterations; the multiplier is rho u, so u goes the other way.
        inf keeps rho.  (Section 3.4.1 compares the residuals themselves, whose ratio changes with the units of x.)
    tol_abs, tol_rel : it stops when (section 3.3.1)
        ||x - z|| <= sqrt(p) tol_abs + tol_rel max(||x||, ||z||)   and
        rho ||z - previous z|| <= sqrt(p) tol_abs + tol_rel ||rho u||.
    max_iter : it stops there too, with converged False.
    callback : called with x, z, u, rho after every iteration.

    Raises
    ------
    ValueError, TypeError
        If z is no array of finite real numbers, alpha not between 0 and 2, rho not positive, balance not above 1, a
        tolerance negative, or max_iter no positive integer.
    """
    rho = as_positive(rho, "rho")
    alpha, balance, max_iter = _as_alpha(alpha), _as_balance(balance), as_iterations(max_iter, "max_iter")
    tol_abs, tol_rel = as_lam(tol_abs, "tol_abs"), as_lam(tol_rel, "tol_rel")
    z = as_floats(z, "z")
    for function, name in ((prox_f, "prox_f"), (prox_g, "prox_g")):
        as_function(function, name, "(v, rho) -> array")
    as_function(callback, "callback", "(x, z, u, rho)", optional=True)
    u = get_array_module(z).zeros_like(z)
    floor = math.sqrt(math.prod(z.shape)) * tol_abs
    primal: list[float] = []
    dual: list[float] = []
    converged = False
    while not converged and len(primal) < max_iter:
        x = prox_f(z - u, rho)  # argmin f(x) + (rho/2) ||x - z + u||^2
        relaxed = alpha * x + (1 - alpha) * z
        previous, z = z, prox_g(relaxed + u, rho)  # argmin g(z) + (rho/2) ||relaxed - z + u||^2
        u = u + relaxed - z
        if callback is not None:
            callback(x, z, u, rho)
        r, s = _norm(x - z), rho * _norm(z - previous)
        r_scale, s_scale = max(_norm(x), _norm(z)), rho * _norm(u)
        primal.append(r)
        dual.append(s)
        converged = r <= floor + tol_rel * r_scale and s <= floor + tol_rel * s_scale
        if not converged and len(primal) <= BALANCED_ITERATIONS:
            factor = _rho_factor(r * s_scale, s * r_scale, balance)  # r / r_scale against s / s_scale
            rho, u = rho * factor, u / factor  # the multiplier rho u must not jump
    return SplitSolution(x, z, u, rho, len(primal), converged, np.array(primal), np.array(dual))


def least_squares_prox(X: Array, y: Array) -> Prox:
    """Return the function (v, rho) -> argmin_x (1/2n) ||y - X x||^2 + (rho/2) ||x - v||^2.

    It solves (X^T X / n + rho I) x = X^T y / n + rho v.  The eigenvectors of the smaller of X^T X / n and X X^T / n are
    found once and serve every rho; a Cholesky factor would have to be made anew for each.  X (n, p), y (n,), v (p,).
    """
    xp = get_array_module(X, y)
    n, p = X.shape
    q = X.T @ y / n
    d, V = xp.linalg.eigh(small_gram(X))

    def tall(v: Array, rho: float) -> Array:  # X^T X / n = V diag(d) V^T
        return V @ ((V.T @ (q + rho * v)) / (d + rho))

    # grad f(v) lies in the range of X^T, and (A^T A + rho I)^{-1} A^T = A^T (A A^T + rho I)^{-1}.
    def wide(v: Array, rho: float) -> Array:  # X X^T / n = V diag(d) V^T
        return v - X.T @ (V @ ((V.T @ (X @ v - y)) / (d + rho))) / n

    return tall if p <= n else wide


def lasso_admm(
    X: Any,
    y: Any,
    lam: float,
    rho: float | None = None,
    alpha: float = 1.6,
    balance: float = 3.0,
    tol: float = 1e-12,
    max_iter: int = 10_000,
) -> Solution:
    """Solve the lasso by ADMM; a lesson, not the solver: `lasso` is many times faster and exact.

        min (1/2n) ||y - X x||^2 + lam ||z||_1   subject to x = z

        x <- (X^T X / n + rho I)^{-1} (X^T y / n + rho (z - u))
        z <- S(x + u, lam / rho)
        u <- u + x - z

    On the slide's scale, without the 1/2n, lam_slide = 2 n lam.  beta is z, the copy with exact zeros.

    Parameters
    ----------
    X : (n, p).  y : (n,).
    lam : at least 0; infinity gives zeros.
    rho : where the penalty parameter starts; None is the mean eigenvalue of X^T X / n.
    alpha, balance, max_iter : as in `admm`.
    tol : tol_abs and tol_rel of `admm`, for X and y scaled to largest entries between 1 and 2.

    Raises
    ------
    ValueError, TypeError
        As `lasso` for X, y and lam, as `admm` for the rest.
    """
    problem, tol = UnitProblem(X, y, lam), as_lam(tol, "tol")
    X, y, lam, rho = problem.X, problem.y, problem.lam, _rho(problem, rho)
    split = admm(
        least_squares_prox(X, y), lambda v, rho: soft_threshold(v, lam / rho),
        problem.zero, rho, alpha, balance, tol, tol, max_iter,
    )  # fmt: skip
    return problem.solution(split.z, split.n_iter)


def least_squares_in_l1_ball(X: Any, y: Any, radius: float, rho: float | None = None) -> SplitSolution:
    """Minimise (1/2n) ||y - X beta||^2 subject to ||beta||_1 <= radius by ADMM: the lasso in its constraint form.

    g is zero in the ball and infinite outside, so its prox is the projection on the ball, whatever rho is.  z lies in
    the ball; at the solution rho u = -grad f, whose largest entry is the lam that belongs to this radius.

    Parameters
    ----------
    X : (n, p).  y : (n,).
    radius : at least 0; the t of the slide with the contours of lasso and ridge.
    rho : where the penalty parameter starts; None is the mean eigenvalue of X^T X / n.  Over-relaxation, balancing and
        the tolerance are those of `lasso_admm`.

    Raises
    ------
    ValueError, TypeError
        As `lasso_admm`; if radius is negative or NaN.
    """
    problem = UnitProblem(X, y)
    X, y, rho, radius = problem.X, problem.y, _rho(problem, rho), as_lam(radius, "radius")
    radius = scaled(radius, problem.i - problem.j)
    prox_f = least_squares_prox(X, y)
    split = admm(prox_f, lambda v, _: project_l1_ball(v, radius), problem.zero, rho, 1.6, 3.0, 1e-12, 1e-12)
    return _in_given_units(split, problem)


def least_squares_with_k_nonzeros(
    X: Any, y: Any, k: int, rho: float | None = None, z: Array | None = None, tol: float = 1e-12, max_iter: int = 10_000
) -> SplitSolution:
    """Look for a small (1/2n) ||y - X beta||^2 with at most k nonzero coefficients by ADMM: a heuristic.

    The prox of g is the projection on the vectors with k nonzeros, which keeps the k largest.  That set is not convex:
    nothing guarantees that ADMM converges, nor that what it converges to is the best subset, and both depend on rho
    (which is therefore held) and on the start z (zeros unless given).  What does hold: z has at most k nonzeros, and
    if converged is true it is, up to the residuals, the least-squares fit on its support.  x is not sparse.

    Parameters
    ----------
    X : (n, p).  y : (n,).
    k : 0 to p.
    rho : the penalty parameter; None is the mean eigenvalue of X^T X / n.
    z : (p,) the start; None is zeros.
    tol, max_iter : as in `lasso_admm`.

    Raises
    ------
    ValueError, TypeError
        As `lasso_admm`; if k is no integer from 0 to p, or z has another shape than (p,).
    """
    problem, tol = UnitProblem(X, y), as_lam(tol, "tol")
    X, y, rho, p = problem.X, problem.y, _rho(problem, rho), problem.X.shape[1]
    k = as_count(k, "k", most=p)
    if z is not None and tuple((z := as_floats(z, "z")).shape) != (p,):
        raise ValueError(f"expected z of shape ({p},), got shape {tuple(z.shape)}")
    prox_f = least_squares_prox(X, y)
    split = admm(
        prox_f, lambda v, _: keep_largest(v, k), problem.start(z, "z"), rho, tol_abs=tol, tol_rel=tol, max_iter=max_iter
    )
    return _in_given_units(split, problem)


def _in_given_units(split: SplitSolution, problem: UnitProblem) -> SplitSolution:
    i, j = problem.i, problem.j
    x, z, u = (returned(scaled(v, j - i), problem.X) for v in (split.x, split.z, split.u))
    primal, dual = scaled(split.primal, j - i), scaled(split.dual, j + i)
    return SplitSolution(x, z, u, scaled(split.rho, 2 * i), split.n_iter, split.converged, primal, dual)


def _rho_factor(r: float, s: float, balance: float) -> float:
    return 2.0 if r > balance * s else 0.5 if s > balance * r else 1.0


def _norm(v: Array) -> float:
    with np.errstate(over="ignore"):
        return math.sqrt(float(get_array_module(v).sum(v * v)))


def _rho(problem: UnitProblem, rho: float | None) -> float:
    """Return the rho given, or the mean eigenvalue of X^T X / n, which weighs f and the constraint alike."""
    if rho is not None:
        return float(scaled(as_positive(rho, "rho"), -2 * problem.i))
    X = problem.X
    return float(get_array_module(X).sum(X * X)) / math.prod(X.shape) or 1.0


def _as_alpha(alpha: Any) -> float:
    alpha = as_lam(alpha, "alpha")
    if not 0 < alpha < 2:
        raise ValueError(f"expected alpha between 0 and 2, got {alpha}")
    return alpha


def _as_balance(balance: Any) -> float:
    balance = as_lam(balance, "balance")
    if not balance > 1:
        raise ValueError(f"expected balance above 1, got {balance}")
    return balance
