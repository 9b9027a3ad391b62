"""The group lasso, fast and exact: a growing set of groups, and on it accelerated proximal steps and Newton's method.

Most groups of a sparse solution are zero and never looked at again.  The problem is solved on a few of them, the
correlations of the others with the residual tell which to add, and the duality gap over all groups tells when to stop.
On the working set two methods take turns (`textbook.exact.block_newton`): proximal steps find which groups are zero,
and on the others, where the norms are smooth, Newton's method finds their values to the last digit.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from textbook.certificates import group_lasso_certificates
from textbook.exact.block_newton import Columns, Gram, Quadratic, minimise
from textbook.exact.blocks import Blocks
from textbook.exact.data import BEYOND_FLOATS, Data
from textbook.inputs import as_groups, as_lam, as_weights
from textbook.regression import minimum_norm
from textbook.solution import Solution

FIRST = 16  # groups in the first working set, and the least number by which it grows
ROUNDS = 100
NOTHING = 1e-100  # a penalty of this share of the correlations changes no digit of least squares
PATIENCE = 4  # rounds without a smaller gap, after which rounding errors are all that is left


@BEYOND_FLOATS
def group_lasso(
    X: Any,
    y: Any,
    groups: Sequence[Any],
    lam: float,
    weights: Any = None,
    tol: float = 1e-14,
    intercept: bool = False,
) -> Solution:
    """Minimise (1/2n) ||y - X beta||^2 + lam sum_g w_g ||beta_g|| over beta, to a duality gap near rounding error.

    ||.|| is the plain 2-norm, not squared, so that whole groups are zero: beta_g = 0 if and only if
    ||X_g^T (y - X beta)|| / n <= lam w_g.  With groups of one column it is the lasso.  The slide's objective,
    ||y - X beta||^2 + sum_g lam_g ||beta_g||, is this one with lam w_g = lam_g / (2n).

    Parameters
    ----------
    X, y : (n, p) samples in rows, and (n,).  Computed in float64; float32 gives a float32 beta.
    groups : list of index arrays; every column in exactly one of them, in any order.
    lam : at least 0.  0 gives the least-squares solution of smallest norm, infinity gives zeros.
    weights : (number of groups,) positive; None is 1 for every group, as in the lecture's structured sparsity.  The
        norm of p_g columns of pure noise grows like sqrt(p_g), so that with weights of 1 large groups enter first
        though nothing is in them; ``weights=[math.sqrt(len(g)) for g in groups]`` makes up for it.
    tol : stop at a duality gap of at most tol ||y||^2 / n, or where rounding errors keep it from falling.
    intercept : whether to fit an unpenalised one, by centring the columns of X and y.

    Returns
    -------
    Solution, n_iter being the number of working sets.  beta is unique unless columns of nonzero groups are linearly
    dependent; X beta always is.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; the message names the argument and what was given.

    Source: slides "Group lasso"; M. Yuan, Y. Lin, Model selection and estimation in regression with grouped variables,
    JRSS B 68 (2006).

    Examples
    --------
    Where X^T X = n I, every group is thresholded by its norm:

    >>> import numpy as np
    >>> import textbook
    >>> X, y = 2 * np.eye(4), np.array([6.0, 8.0, 0.6, 0.8])
    >>> textbook.group_lasso(X, y, [[0, 1], [2, 3]], lam=2.5).beta  # norms 5 and 0.5 without the penalty
    array([1.5, 2. , 0. , 0. ])
    """
    data = Data(X, y, intercept)
    arrays, lam, tol = as_groups(groups, data.X.shape[1]), as_lam(lam), as_lam(tol, "tol")
    w, unit_lam = as_weights(weights, arrays), float(data.lam(lam))
    beta, r, c, n_iter = _working_sets(data.X, data.y, arrays, unit_lam, w, tol)
    coefficients, rounded = data.returned(beta)
    if not np.array_equal(rounded, beta):  # the certificates are those of what is returned
        r, c = data.residual(rounded)
    certificates = group_lasso_certificates(data.X, r, c, rounded, arrays, unit_lam, w)
    return data.solution(coefficients, rounded, certificates, n_iter, lam)


def _working_sets(
    X: np.ndarray, y: np.ndarray, groups: list[np.ndarray], lam: float, weights: np.ndarray, tol: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Return beta, the residual r = y - X beta, c = X^T r / n and the number of working sets."""
    n, p = X.shape
    c = X.T @ y / n
    if lam * weights.max() <= NOTHING * np.abs(c).max():
        beta = minimum_norm(X, y)[0]
        r = y - X @ beta
        return beta, r, X.T @ r / n, 0
    order = np.concatenate(groups)
    blocks = Blocks(np.array([len(g) for g in groups]), lam * weights)
    model = _Model(X)
    beta, r = np.zeros(p), y
    unit, least, waited, exact = float(y @ y) / n, math.inf, 0, True
    for n_iter in range(ROUNDS):
        excess = blocks.norms(c[order]) / blocks.lam - 1
        excess[model.groups] = -1
        gap = group_lasso_certificates(X, r, c, beta, groups, lam, weights)[1]
        waited = 0 if gap < 0.5 * least else waited + 1
        if gap < max(least, tol * unit):
            least, best = gap, (beta, r, c, n_iter)
        if (gap <= tol * unit and exact) or waited > PATIENCE:
            break
        norms, outside = blocks.norms(beta[order]), float(excess.max())
        model.grow(_strongest(excess, np.count_nonzero(norms)), groups)
        # While groups are missing, solving far better than that is wasted; the last solve is to the end in any case.
        exact = outside <= 0
        target = 0.1 * outside if not exact else 0.5 * tol * unit / max(float(blocks.lam @ norms), 1e-300)
        quadratic = model.around(beta[model.columns], c[model.columns])
        w = minimise(quadratic, blocks.only(model.groups), beta[model.columns], target)
        beta = np.zeros(p)
        beta[model.columns] = w
        r = y - w @ model.rows
        c = X.T @ r / n
    return best


def _strongest(excess: np.ndarray, active: Any) -> np.ndarray:
    # The set may double: few rounds, and not many groups too many.
    candidates = np.argsort(-excess, kind="stable")[: max(FIRST, active)]
    return candidates[excess[candidates] > 0]


class _Model:
    """The loss on the columns of a working set: their Gram matrix while they are fewer than samples."""

    def __init__(self, X: np.ndarray):
        self.whole = X
        self.groups = np.zeros(0, dtype=np.intp)
        self.columns = np.zeros(0, dtype=np.intp)
        self.rows = np.zeros((0, X.shape[0]))  # the columns of X, lying as rows: they are picked and added as such
        self.G = np.zeros((0, 0))

    def grow(self, new: np.ndarray, groups: list[np.ndarray]) -> None:
        """Add the groups `new`, multiplying only with their columns."""
        if not new.size:
            return
        n = len(self.whole)
        columns = np.concatenate([groups[g] for g in new])
        new_rows = np.ascontiguousarray(self.whole.T[columns])
        if len(self.columns) + len(columns) <= n:
            side = self.rows @ new_rows.T / n
            self.G = np.block([[self.G, side], [side.T, new_rows @ new_rows.T / n]])
        self.rows = np.concatenate([self.rows, new_rows])
        self.groups, self.columns = np.concatenate([self.groups, new]), np.concatenate([self.columns, columns])

    def around(self, w: np.ndarray, c: np.ndarray) -> Quadratic:
        """Return the loss, expanded around w, where X^T r / n of the true residual is c."""
        return Gram(self.G, w, c) if len(self.G) == len(self.columns) else Columns(self.rows, w, c)
