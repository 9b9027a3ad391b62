"""The lecture's family of "norms", of which those with p >= 1 are norms."""

import math
from typing import Any

import numpy as np

from nn.backend import get_array_module
from textbook.inputs import as_count, as_floats, as_lam

MOST_POINTS = 1_000_000


def lp_norm(x: Any, p: float) -> float:
    """Return ||x||_p = (sum_i |x_i|^p)^(1/p), and its limits: the count of nonzeros for p = 0, max |x_i| for p = inf.

    ============ ==================== ===================================================================
    p            value                norm?
    ============ ==================== ===================================================================
    0            number of x_i != 0   no: ||2 x||_0 = ||x||_0.  It is the limit of sum |x_i|^p, without 1/p
    0 < p < 1    (sum |x_i|^p)^(1/p)  no: ||(1, 1)||_p = 2^(1/p) > 2 = ||(1, 0)||_p + ||(0, 1)||_p
    1            sum |x_i|            yes
    2            sqrt(sum x_i^2)      yes
    p >= 1       (sum |x_i|^p)^(1/p)  yes (Minkowski's inequality)
    inf          max |x_i|            yes
    ============ ==================== ===================================================================

    The entries are divided by the largest first, so that no power overflows or vanishes.  The value itself can be above
    1.8e308 for a very small p; it is inf then.

    Parameters
    ----------
    x : array of any shape (of all of its entries), or a list.
    p : 0, inf, or any number in between.

    Raises
    ------
    ValueError
        If p is negative or NaN, or a number of x is complex, NaN or infinite.
    TypeError
        If p is no real number, or x no array of them.

    Notes
    -----
    The slide with the formula of ||x||_p, and the next four.
    """
    p, magnitude = as_lam(p, "p"), abs(as_floats(x, "x"))
    xp = get_array_module(magnitude)
    if p == 0:
        return float(xp.sum(xp.astype(magnitude > 0, xp.float64)))
    largest = float(xp.max(magnitude)) if 0 not in magnitude.shape else 0.0
    if largest == 0 or p == math.inf:
        return largest
    try:
        return largest * float(xp.sum((magnitude / largest) ** p)) ** (1 / p)
    except OverflowError:
        return math.inf  # n^(1/p) of n equal entries has 302 digits at p = 0.001, n = 2


def unit_ball(p: float, points: int = 400) -> np.ndarray:
    """Return points (2, points) on the curve ||x||_p = 1 in the plane, closed and counterclockwise, for plotting.

    Point number i lies in the direction of the angle 2 pi i / (points - 1).  With points = 8 m + 1 the corners of the
    balls of p <= 1 and of p = inf are among them.

    Parameters
    ----------
    p : above 0; inf is the square.  (||x||_0 = 1 holds on the two axes, but for the origin: it is no curve.)
    points : at least 2, at most a million.

    Raises
    ------
    ValueError
        If p is not above 0, or the number of points is outside its range.
    TypeError
        If p is no real number, or points no integer.
    """
    if as_count(points, "points", most=MOST_POINTS) < 2:
        raise ValueError(f"expected at least 2 points, got {points}")
    if as_lam(p, "p") == 0:
        raise ValueError("expected p above 0, got 0: the vectors with one nonzero are the two axes, not a curve")
    angle = np.linspace(0, 2 * np.pi, points)
    direction = np.array([np.cos(angle), np.sin(angle)])
    # cos(pi/2) is 6e-17: for a small p that would be far from a zero.
    direction[np.abs(direction) < 1e-15] = 0
    return direction / np.array([lp_norm(column, p) for column in direction.T])
