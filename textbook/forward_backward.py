"""ISTA and FISTA: a step along the gradient of f, then the prox of g.

Neither is the solver to use for the lasso (`lasso` is).  They ask so little, a gradient and a prox, that they serve
where nothing better exists, as for networks.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from nn.backend import Array, get_array_module
from textbook.inputs import as_floats, as_function, as_iterations, as_lam, as_positive
from textbook.proximal import soft_threshold
from textbook.solution import Solution
from textbook.unit_problem import UnitProblem, small_gram

Prox: TypeAlias = Callable[[Array, float], Array]
Iterates: TypeAlias = Iterator[Array]

GAP_EVERY = 10  # iterations; a gap costs as much as one


def proximal_gradient(gradient: Callable[[Array], Array], prox: Prox, x: Array, step: float) -> Iterates:
    """Yield x_1, x_2, ... with x <- prox(x - step grad f(x), step), for min f(x) + g(x).

    ``prox(v, step)`` is argmin_x (1/2) ||x - v||^2 + step g(x).  If grad f is L-Lipschitz, f and g convex and
    step <= 1/L, then F = f + g never rises and F(x_k) - F* <= ||x_0 - x*||^2 / (2 step k); it converges for every
    step below 2/L.

    Raises
    ------
    ValueError, TypeError
        If step is not a positive finite number, x no array of finite ones, or gradient or prox no function.
    """
    x, step = _checked(gradient, prox, x, step)
    while True:
        x = prox(x - step * gradient(x), step)
        yield x


def accelerated_proximal_gradient(
    gradient: Callable[[Array], Array], prox: Prox, x: Array, step: float, restart: bool = True
) -> Iterates:
    """Yield the iterates of FISTA: the proximal gradient step is taken from a point v beyond x.

        x_k     = prox(v_k - step grad f(v_k), step)
        t_{k+1} = (1 + sqrt(1 + 4 t_k^2)) / 2
        v_{k+1} = x_k + (t_k - 1) / t_{k+1} (x_k - x_{k-1})

    Without restart it is Beck and Teboulle's (2009), with F(x_k) - F* <= 2 ||x_0 - x*||^2 / (step (k + 1)^2) for
    step <= 1/L.  It then swings past the minimum and back; the gradient rule of O'Donoghue and Candes (2015) forgets
    the momentum (t = 1) whenever (v_k - x_k)^T (x_k - x_{k-1}) > 0, that is when it points uphill.

    Raises
    ------
    ValueError, TypeError
        If step is not a positive finite number, x no array of finite ones, or gradient or prox no function.
    """
    x, step = _checked(gradient, prox, x, step)
    xp = get_array_module(x)
    v, t = x, 1.0
    while True:
        previous, x = x, prox(v - step * gradient(v), step)
        if restart and float(xp.sum((v - x) * (x - previous))) > 0:
            t = 1.0
        t_next = (1 + math.sqrt(1 + 4 * t * t)) / 2
        v = x + (t - 1) / t_next * (x - previous)
        t = t_next
        yield x


def _checked(gradient: Any, prox: Any, x: Any, step: Any) -> tuple[Array, float]:
    as_function(gradient, "gradient", "x -> array")
    as_function(prox, "prox", "(v, step) -> array")
    return as_floats(x, "x"), as_positive(step, "step")


def ista(
    X: Any,
    y: Any,
    lam: float,
    tol: float = 1e-8,
    max_iter: int = 100_000,
    callback: Callable[[int, Array], object] | None = None,
) -> Solution:
    """Solve the lasso by proximal gradient steps from zero, with the fixed step 1/L.

        min (1/2n) ||y - X beta||^2 + lam ||beta||_1
        beta <- S(beta + X^T (y - X beta) / (n L), lam / L),     L = largest eigenvalue of X^T X / n

    On the slide's scale, without the 1/2n, lam_slide = 2 n lam.

    Parameters
    ----------
    X : (n, p).  y : (n,).
    lam : at least 0; infinity gives zeros.
    tol : it stops when the duality gap, looked at every tenth iteration, is at most tol ||y||^2 / n, or when neither
        gap nor objective have fallen in a thousand iterations; 0 means all `max_iter`.
    max_iter : it stops there too; the gap of the solution tells how far it came.
    callback : called as callback(iteration, beta) after every iteration.

    Raises
    ------
    ValueError, TypeError
        As `lasso` for X, y and lam; if tol is negative or max_iter no positive integer.
    """
    return _lasso(proximal_gradient, X, y, lam, tol, max_iter, callback)


def fista(
    X: Any,
    y: Any,
    lam: float,
    tol: float = 1e-8,
    max_iter: int = 100_000,
    callback: Callable[[int, Array], object] | None = None,
) -> Solution:
    """Solve the lasso by accelerated proximal gradient steps from zero, with the fixed step 1/L and gradient restart.

        min (1/2n) ||y - X beta||^2 + lam ||beta||_1

    The iteration and the restart rule stand in `accelerated_proximal_gradient`, the arguments in `ista`.
    """
    return _lasso(accelerated_proximal_gradient, X, y, lam, tol, max_iter, callback)


def _lasso(
    method: Callable[..., Iterates],
    X: Any,
    y: Any,
    lam: float,
    tol: float,
    max_iter: int,
    callback: Callable[[int, Array], object] | None,
) -> Solution:
    problem, tol, max_iter = UnitProblem(X, y, lam), as_lam(tol, "tol"), as_iterations(max_iter, "max_iter")
    as_function(callback, "callback", "(iteration, beta)", optional=True)
    X, y, lam, n = problem.X, problem.y, problem.lam, problem.X.shape[0]
    xp = get_array_module(X)
    L = float(xp.max(xp.linalg.eigvalsh(small_gram(X)))) or 1.0

    def gradient(beta: Array) -> Array:
        return X.T @ (X @ beta - y) / n

    def prox(v: Array, step: float) -> Array:
        return soft_threshold(v, lam * step)

    for n_iter, beta in zip(range(1, max_iter + 1), method(gradient, prox, problem.zero, 1 / L)):
        if callback is not None:
            callback(n_iter, problem.given_units(beta))
        if n_iter % GAP_EVERY == 0 and problem.finished(beta, tol):
            break
    return problem.solution(beta, n_iter)
