"""A lasso problem in units of its own: what the splitting methods solve instead of the one given."""

from typing import Any

from nn.backend import Array, get_array_module
from textbook.certificates import lasso_gap, lasso_kkt, lasso_objective
from textbook.inputs import as_lam, as_regression, leading_power
from textbook.solution import Solution


class UnitProblem:
    """(1/2n) ||y/b - X/a beta'||^2 + lam/(ab) ||beta'||_1 in float64, with beta' = beta a/b.

    a and b are the powers of two that bring the largest entries of X and y between 1 and 2: no digit changes, squares
    neither over- nor underflow, and a tolerance means the same whatever the units of X and y are.

    Parameters
    ----------
    X : (n, p).  y : (n,).
    lam : at least 0, may be infinite.

    Raises
    ------
    ValueError, TypeError
        As `as_regression` and `as_lam`.
    """

    def __init__(self, X: Any, y: Any, lam: float):
        self.lam_given = as_lam(lam)
        X, y = as_regression(X, y)
        xp = get_array_module(X)
        self.dtype = X.dtype
        self.a, self.b = leading_power(X), leading_power(y)
        self.X, self.y = xp.astype(X, xp.float64) / self.a, xp.astype(y, xp.float64) / self.b
        self.lam = self.lam_given / self.a / self.b
        self.zero = xp.zeros_like(self.X[0, :])

    def solution(self, beta: Array, n_iter: int) -> Solution:
        """Return beta in the units and the dtype given, certified after it was rounded to that dtype."""
        xp, a, b = get_array_module(beta), self.a, self.b
        beta = xp.astype(beta, self.dtype)
        problem = self.X, self.y, xp.astype(beta, xp.float64), self.lam
        objective, gap, kkt = lasso_objective(*problem), lasso_gap(*problem), lasso_kkt(*problem)
        return Solution(beta * (b / a), objective * b * b, gap * b * b, kkt * a * b, n_iter, self.lam_given)


def small_gram(X: Array) -> Array:
    """Return X^T X / n or X X^T / n, the smaller: their eigenvalues differ in zeros only."""
    n, p = X.shape
    return X.T @ X / n if p <= n else X @ X.T / n
