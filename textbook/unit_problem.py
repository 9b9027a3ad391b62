"""A regression problem in units of its own: what the loops solve instead of the one given.

This is the one place where data are scaled.  A loop begins with `UnitProblem(X, y, lam)`, is written for its X, y and
lam as if nothing were ever too large or too small, and ends with `problem.solution(beta, n_iter)`.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nn.backend import Array, asarray, get_array_module, to_numpy
from textbook.certificates import group_lasso_certificates, lasso_certificates
from textbook.inputs import (
    as_coefficients,
    as_flag,
    as_floats,
    as_groups,
    as_lam,
    as_regression,
    as_weights,
)
from textbook.solution import Solution
from textbook.units import in_units, scaled

PATIENCE = 100  # certificates in a row that are no better


class UnitProblem:
    """(1/2n) ||y/b - X/a beta'||^2 + lam/(ab) ||beta'||_1 in float64, with beta' = beta a/b.

    a = 2^i and b = 2^j are the powers of two that bring the largest entries of X and y between 1 and 2: no digit
    changes, squares neither over- nor underflow, and a tolerance means the same whatever the units of X and y are.

    Parameters
    ----------
    X : (n, p).  y : (n,).
    lam : at least 0, may be infinite.
    intercept : whether X and y are centred, so that beta is that of the problem with an unpenalised constant.

    Attributes
    ----------
    X, y, lam : in its own units, X and y in float64 and of the library given.
    i, j : the exponents.
    zero : zeros (p,), like X.

    Raises
    ------
    ValueError, TypeError
        As `as_regression` and `as_lam`.
    """

    def __init__(self, X: Any, y: Any, lam: float = 0.0, intercept: bool = False):
        self.lam_given = as_lam(lam)
        self.given, y = as_regression(X, y)
        intercept = as_flag(intercept, "intercept")
        xp = get_array_module(y)
        self.X, self.x_mean, self.i = in_units(xp.astype(self.given, xp.float64), intercept)
        self.y, self.y_mean, self.j = in_units(xp.astype(y, xp.float64), intercept)
        self.lam = scaled(self.lam_given, -self.i - self.j)
        self.zero = xp.zeros_like(self.X[0, :])
        self.least, self.waited = (math.inf, math.inf), 0

    def start(self, beta: Any, name: str) -> Array:
        """Return coefficients (p,), given in the units and the library of X, in those of this problem; None is zeros.

        Raises
        ------
        ValueError, TypeError
            If they are not p finite real numbers, or X beta is beyond the floats beside y; naming the argument.
        """
        if beta is None:
            return self.zero + 0
        beta = scaled(as_coefficients(as_floats(beta, name), self.X, name), self.i - self.j)
        if not bool(get_array_module(beta).all(get_array_module(beta).isfinite(beta))):
            raise ValueError(f"expected {name} in the units of y over X, got numbers far beyond them")
        return beta

    def given_units(self, beta: Array) -> Array:
        """Return a copy of beta in the units, the library and the dtype of the X given; ValueError as `returned`."""
        return returned(scaled(1 * beta, self.j - self.i), self.given)

    def certificates(self, beta: Array) -> tuple[float, float, float]:
        """Return objective, duality gap and KKT violation at beta, in this problem's units."""
        r = self.y - self.X @ beta
        return lasso_certificates(self.X, r, self.X.T @ r / self.X.shape[0], beta, self.lam)

    def finished(self, beta: Array, tol: float) -> bool:
        """Whether a loop may end at beta: at a gap of at most tol ||y||^2 / n, or where no more is to be gained.

        That is where neither gap nor objective have fallen the last `PATIENCE` times that it was asked (never if tol
        is 0): columns in units far apart can take more steps than there is time for.
        """
        objective, gap, _ = self.certificates(beta)
        progress = gap < self.least[0] * (1 - 1e-9) or objective < self.least[1] * (1 - 1e-12)
        self.least = min(gap, self.least[0]), min(objective, self.least[1])
        self.waited = 0 if progress else self.waited + 1
        enough = tol * float(self.y @ self.y) / self.X.shape[0]
        return gap <= enough or (enough > 0 and self.waited >= PATIENCE)

    def solution(self, beta: Array, n_iter: int) -> Solution:
        """Return beta in the units and the dtype given, certified after it was rounded to that dtype."""
        rounded = self.given_units(beta)
        beta = self.start(rounded, "beta")
        objective, gap, kkt = self.certificates(beta)
        return Solution(
            beta=rounded,
            objective=scaled(objective, 2 * self.j),
            gap=scaled(gap, 2 * self.j),
            kkt=scaled(kkt, self.i + self.j),
            n_iter=n_iter,
            lam=self.lam_given,
            intercept=self.constant(beta),
        )

    def constant(self, beta: Array) -> float:
        """Return the unpenalised constant that goes with beta, in the units of y; 0 unless there is one."""
        means = float(to_numpy(self.x_mean) @ to_numpy(beta))
        return float(scaled(float(self.y_mean) - means, self.j))


class GroupedUnitProblem(UnitProblem):
    """The same with the group lasso's penalty, lam/(ab) sum_g w_g ||beta'_g||.

    Parameters
    ----------
    groups, weights : as `as_groups` and `as_weights` take them, which check them; attributes too.
    """

    def __init__(self, X: Any, y: Any, groups: Sequence[Any], lam: float, weights: Any = None, intercept: bool = False):
        super().__init__(X, y, lam, intercept)
        self.groups = as_groups(groups, self.X.shape[1])
        self.weights = as_weights(weights, self.groups)

    def certificates(self, beta: Array) -> tuple[float, float, float]:
        """Return objective, duality gap and KKT violation at beta, in this problem's units."""
        r = self.y - self.X @ beta
        c = self.X.T @ r / self.X.shape[0]
        return group_lasso_certificates(self.X, r, c, beta, self.groups, self.lam, self.weights)


def returned(beta: Array, like: Array) -> Array:
    """Return coefficients as they go back to the caller: in the library and the dtype of `like`.

    Raises
    ------
    ValueError
        If one of them is too large for that dtype: it would be infinite.
    """
    with np.errstate(over="ignore"):
        result = asarray(beta, like=like)
    xp = get_array_module(result)
    if not bool(xp.all(xp.isfinite(result))):
        dtype, largest = to_numpy(result).dtype, float(np.abs(to_numpy(beta)).max())
        raise ValueError(
            f"expected units of X and y in which the coefficients are numbers of {dtype}, at most "
            f"{np.finfo(dtype).max:.1e}, got one of {largest:.1e}"
        )
    return result


def small_gram(X: Array) -> Array:
    """Return X^T X / n or X X^T / n, the smaller: their eigenvalues differ in zeros only."""
    n, p = X.shape
    return X.T @ X / n if p <= n else X @ X.T / n
