"""Proximal operators and projections: the one-line subproblems that sparse methods are made of.

The proximal operator of a penalty is argmin_x  (1/2) ||x - w||^2 + lam * penalty(x), the projection on a set the
nearest point of it (its penalty is 0 inside, infinite outside).  Each function returns a new array of the library,
shape and dtype of w, and what it sets to zero is exactly zero.

============================ ========================================== ==============================================
penalty or set               function                                   solution
============================ ========================================== ==============================================
sum |x_i|                    `soft_threshold`                           sign(w) max(|w| - lam, 0)
number of x_i != 0           `hard_threshold`                           w where |w| > sqrt(2 lam)
sum sqrt(|x_i|)              `half_threshold`                           0 up to 3/2 lam^(2/3), there a jump
||x||                        `group_soft_threshold`                     (1 - lam / ||w||)_+ w
sum |x_i| <= radius          `project_l1_ball`                          sign(w) max(|w| - theta, 0)
at most k entries != 0       `keep_largest`                             the k largest |w_i|
at most k rows, columns != 0 `keep_largest_rows`, `keep_largest_columns` those of the largest norm
============================ ========================================== ==============================================
"""

import math
from typing import Any

import numpy as np

from nn.backend import Array, get_array_module
from textbook.inputs import as_count, as_lam, as_plain
from textbook.norms import lp_norm
from textbook.units import leading_exponent, scaled


def soft_threshold(w: Any, lam: float) -> Array:
    """Return the lasso of one variable, argmin_x (1/2) (x - w)^2 + lam |x|, for every entry of w.

        S(w, lam) = w - lam   if w > lam,
                    w + lam   if w < -lam,
                    0         otherwise,

    that is, sign(w) max(|w| - lam, 0).  On the slide "Note: Lasso solution" the minus sign of w - lam is missing.
    Without the 1/2 the threshold is lam / 2.

    Parameters
    ----------
    w : array of any shape, a list or a number.
    lam : threshold, at least 0; inf gives zeros.

    Raises
    ------
    ValueError
        If lam is negative or NaN.
    TypeError
        If w or lam is no real number.
    """
    w, lam = _floating(w), as_lam(lam)
    xp = get_array_module(w)
    # What is left after the projection on [-lam, lam]: the three cases at once, and never a -0.
    return w - xp.minimum(xp.maximum(w, -lam), lam)


def hard_threshold(w: Any, lam: float) -> Array:
    """Return argmin_x (1/2) (x - w)^2 + lam [x != 0] for every entry of w: w where |w| > sqrt(2 lam), else 0.

    Keeping w costs lam, deleting it w^2 / 2; at equality both are minimisers and 0 is returned.

    Parameters
    ----------
    w, lam : as for `soft_threshold`.

    Raises
    ------
    ValueError, TypeError
        As `soft_threshold`.
    """
    w, lam = _floating(w), as_lam(lam)
    xp = get_array_module(w)
    return xp.where(xp.abs(w) <= math.sqrt(2) * math.sqrt(lam), xp.zeros_like(w), w)


def half_threshold(w: Any, lam: float) -> Array:
    """Return argmin_x (1/2) (x - w)^2 + lam sqrt(|x|) for every entry of w.

    With x = t^2 and w > 0 the derivative is zero where t^3 - w t + lam/2 = 0, whose largest root, by the cosine
    formula of the cubic, gives

        x = (2/3) w (1 + cos(2/3 arccos(-sqrt(1/2) (T / w)^(3/2)))),    T = (3/2) lam^(2/3).

    It is better than x = 0 if and only if |w| > T.  There x jumps from 0 to lam^(2/3): the penalty is not convex, and
    at |w| = T both are minimisers (0 is returned).

    Parameters
    ----------
    w, lam : as for `soft_threshold`.

    Raises
    ------
    ValueError, TypeError
        As `soft_threshold`.

    Notes
    -----
    The slide "Can we introduce a more sparse regularization term?"
    """
    w, lam = _floating(w), as_lam(lam)
    xp = get_array_module(w)
    T = 1.5 * math.cbrt(lam) ** 2
    zero = xp.abs(w) <= T
    ratio = xp.where(zero, xp.ones_like(w), T / xp.where(zero, xp.ones_like(w), xp.abs(w)))
    x = 2 / 3 * w * (1 + xp.cos(2 / 3 * xp.acos(-math.sqrt(0.5) * ratio**1.5)))
    return xp.where(zero, xp.zeros_like(w), x)


def group_soft_threshold(w: Any, lam: float) -> Array:
    """Return argmin_x (1/2) ||x - w||^2 + lam ||x|| for one block w: (1 - lam / ||w||)_+ w.

    The whole block is zero if and only if ||w|| <= lam; otherwise none of it is, and its direction stays.

    Parameters
    ----------
    w : the block, an array of any shape, with ||w|| over all of its entries.
    lam : threshold, at least 0; inf gives zeros.

    Raises
    ------
    ValueError, TypeError
        As `soft_threshold`.
    """
    w, lam = _floating(w), as_lam(lam)
    size = lp_norm(w, 2)
    if size <= lam:
        return get_array_module(w).zeros_like(w)
    return (1 - lam / size) * w


def project_l1_ball(w: Any, radius: float) -> Array:
    """Return the nearest point to w with sum |x_i| <= radius: w itself, or a soft threshold of w.

    x = sign(w) max(|w| - theta, 0), with the theta at which sum |x_i| = radius.  If A is the set of the x_i != 0, then
    theta = (sum_A |w_i| - radius) / |A|.  Starting with all i, the i with |w_i| <= theta leave A, until none does:
    theta only grows on the way, so that none has to come back (Michelot 1986).

    Parameters
    ----------
    w : array of any shape, a list or a number.
    radius : at least 0; inf returns w.

    Raises
    ------
    ValueError
        If the radius is negative or NaN, or a number of w is NaN or infinite.
    TypeError
        If w or the radius is no real number.

    Notes
    -----
    The constraint form |b_1| + |b_2| <= t of the slide with the two contour figures.
    """
    w, radius = _finite(_floating(w)), as_lam(radius, "radius")
    xp = get_array_module(w)
    if lp_norm(w, 1) <= radius:
        return 1 * w
    unit = leading_exponent(w)
    w, radius = scaled(w, -unit), scaled(radius, -unit)  # so that no sum overflows
    # Counted from the largest: a radius far below the rounding of |w| still has its digits.
    below = xp.abs(w) - xp.max(xp.abs(w))
    active, count = below <= 0, math.prod(w.shape)
    while True:
        theta = (xp.sum(xp.where(active, below, xp.zeros_like(w))) - radius) / count
        active = active & (below > theta)
        left = int(xp.sum(xp.astype(active, xp.int64)))
        if left in (0, count):  # 0 where the radius is nothing beside the rounding of w
            return scaled(xp.where(active, xp.sign(w) * (below - theta), xp.zeros_like(w)), unit)
        count = left


def keep_largest(w: Any, k: int) -> Array:
    """Return the nearest point to w with at most k nonzero entries: the k largest |w_i|, the others 0.

    Exactly k entries stay, ties or not: among equals the lowest index (rows first) does.

    Parameters
    ----------
    w : array of any shape, or a list.
    k : 0 to the number of entries.

    Raises
    ------
    ValueError
        If k is outside that range, or a number of w is NaN or infinite.
    TypeError
        If k is no integer, or w holds no real numbers.
    """
    w = _finite(_floating(w))
    xp = get_array_module(w)
    kept = _largest(xp.reshape(xp.abs(w), (-1,)), k)
    return xp.where(xp.reshape(kept, w.shape), w, xp.zeros_like(w))


def keep_largest_rows(w: Any, k: int) -> Array:
    """Return the nearest matrix to w with at most k nonzero rows: those of the largest norm, among equals the first.

    For a weight in its GEMM view (filters, columns) the rows are the filters.

    Parameters
    ----------
    w : matrix (rows, columns).
    k : 0 to the number of rows.

    Raises
    ------
    ValueError
        If w is no matrix, k is outside that range, or a number of w is NaN or infinite.
    TypeError
        If k is no integer, or w holds no real numbers.
    """
    w = _matrix(w)
    return get_array_module(w).where(_largest(_row_norms(w), k)[:, None], w, 0 * w)


def keep_largest_columns(w: Any, k: int) -> Array:
    """Return the nearest matrix to w with at most k nonzero columns: those of the largest norm.

    Parameters, errors and ties are those of `keep_largest_rows`, with columns for rows.
    """
    w = _matrix(w)
    return get_array_module(w).where(_largest(_row_norms(w.T), k)[None, :], w, 0 * w)


def _largest(sizes: Array, k: int) -> Array:
    """Return a mask (n,) of the k largest entries, ties to the lowest index."""
    xp = get_array_module(sizes)
    n = sizes.shape[0]
    if as_count(k, "k", most=n) == 0:
        return sizes < 0
    cutoff = xp.sort(sizes)[n - k]
    above, ties = sizes > cutoff, sizes == cutoff
    room = k - xp.sum(xp.astype(above, xp.int64))
    return above | (ties & (xp.cumulative_sum(xp.astype(ties, xp.int64)) <= room))


def _row_norms(w: Array) -> Array:
    xp = get_array_module(w)
    largest = xp.max(xp.abs(w))
    scale = float(largest) or 1.0  # so that no square overflows or vanishes
    return xp.sum((w / scale) ** 2, axis=1)


def _floating(w: Any) -> Array:
    w = np.asarray(w) if isinstance(w, float | int) else as_plain(w, "w")
    xp = get_array_module(w)
    if xp.isdtype(w.dtype, "real floating"):
        return w
    if not xp.isdtype(w.dtype, ("integral", "bool")):
        raise TypeError(f"expected w to hold real numbers, got dtype {w.dtype}")
    return xp.astype(w, xp.float64)


def _finite(w: Array) -> Array:
    xp = get_array_module(w)
    if 0 in w.shape:
        raise ValueError(f"expected at least one number, got w of shape {tuple(w.shape)}")
    if not bool(xp.all(xp.isfinite(w))):
        raise ValueError("expected finite numbers, got NaN or infinity in w")
    return w


def _matrix(w: Any) -> Array:
    w = _finite(_floating(w))
    if len(w.shape) != 2:
        raise ValueError(f"expected a matrix w, got shape {tuple(w.shape)}")
    return w
