"""The group lasso where its solution is not unique: Newton's method for the residual instead of the coefficients.

Many equal columns leave directions in which the loss does not change, and the Hessian in the coefficients is singular.
The residual u is unique all the same.  With Z^T Z = G and Z^T b = c the problem of `textbook.exact.block_newton` is to

    minimise   (1/2) ||b - Z (w - w0)||^2 + sum_g lam_g ||w_g||,

and the proximal point method adds sum_g ||w_g - v_g||^2 / (2 step_g), v being the point before.  For u = b - Z (w - w0)
the optimality conditions are then those of w = prox(v + step Z^T u), one equation in as many unknowns as Z has rows:

    F(u) = u - b + Z (w - w0) = 0,        prox_g(z) = max(0, 1 - step_g lam_g / ||z_g||) z_g.

It is the gradient of a convex function, and its derivative I + Z P Z^T, P = blockdiag(step_g ((1 - a_g) I + a_g n n^T))
over the groups with a_g = step_g lam_g / ||z_g|| < 1, n = z_g / ||z_g||, is never singular: Newton's method takes a few
steps.  Large steps find the groups, and lose digits in w = v + step Z^T u; smaller ones give these back.

Sources: X. Li, D. Sun, K.-C. Toh, A highly efficient semismooth Newton augmented Lagrangian method for solving Lasso
problems, SIAM Journal on Optimization 28 (2018); Y. Zhang, N. Zhang, D. Sun, K.-C. Toh, An efficient Hessian based
algorithm for solving large-scale sparse group Lasso problems, Mathematical Programming 179 (2020).
"""

from collections.abc import Callable

import numpy as np
from scipy.linalg import lapack

from textbook.exact.blocks import Blocks

LONGER, SHORTER = 10.0, 30.0  # factors of the steps from one proximal point to the next
POINTS = 60  # proximal points, at most
NEWTON_STEPS = 30  # for one of them
SHORTEST = 1e-9  # share of a Newton step
ROUNDING = 1e-15


def minimise(
    ZT: np.ndarray,
    b: np.ndarray,
    blocks: Blocks,
    w0: np.ndarray,
    w: np.ndarray,
    violation: Callable[[np.ndarray], float],
    target: float,
) -> np.ndarray:
    """Return w with violation(w) <= target, or the best where rounding errors allow no better."""
    traces = np.add.reduceat(np.einsum("ij,ij->i", ZT, ZT), blocks.starts)
    steps = 1 / np.where(traces > 0, traces, 1.0)
    factor, best, least = LONGER, w, violation(w)
    u, before, turned = b - (w - w0) @ ZT, np.inf, np.inf
    for _ in range(POINTS):
        u, w = _proximal_point(ZT, b, blocks, w0, w, u, steps)
        reached = violation(w)
        if reached < least:
            best, least = w, reached
        if least <= target:
            break
        if factor > 1 and reached > 2 * before:
            factor = 1 / SHORTER
        elif factor < 1 and reached > 0.5 * before:  # once more up and down, if the last time was of use
            if least > 0.5 * turned:
                break
            factor, turned = LONGER, least
        before, steps = reached, steps * factor
    return best


def _proximal_point(
    ZT: np.ndarray, b: np.ndarray, blocks: Blocks, w0: np.ndarray, v: np.ndarray, u: np.ndarray, steps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return u with F(u) = 0, by Newton's method from u, and the w that belongs to it."""
    lengths, sizes = blocks.spread(steps), np.sqrt(np.einsum("ij,ij->i", ZT, ZT))

    def at(u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        z = v + lengths * (ZT @ u)
        norms = blocks.norms(z)
        shrunk = np.minimum(1.0, steps * blocks.lam / np.where(norms > 0, norms, np.inf))
        shrunk[norms == 0] = 1.0
        return z, shrunk, z * blocks.spread(1 - shrunk)

    b0 = b + w0 @ ZT

    def height(u: np.ndarray, w: np.ndarray) -> float:  # F is its gradient
        return float(u @ (0.5 * u - b0) + 0.5 * w @ (w / lengths))

    z, shrunk, w = at(u)
    before, known = np.inf, True
    for _ in range(NEWTON_STEPS):
        F = u - b0 + w @ ZT
        size = float(np.linalg.norm(F))
        if size <= ROUNDING * (np.linalg.norm(b0) + sizes @ np.abs(w)) or (not known and size > 0.5 * before):
            break
        d, before = _direction(ZT, blocks, z, shrunk, steps, F), size
        now, falls, length = height(u, w), float(F @ d), 1.0
        known = -falls > ROUNDING * (abs(now) + float(u @ u))  # otherwise no height would tell: the end is near
        z, shrunk, w = at(u + d)
        while known and length > SHORTEST and height(u + length * d, w) > now + 1e-4 * length * falls:
            length /= 2
            z, shrunk, w = at(u + length * d)
        u = u + length * d
    return u, w


def _direction(
    ZT: np.ndarray, blocks: Blocks, z: np.ndarray, shrunk: np.ndarray, steps: np.ndarray, F: np.ndarray
) -> np.ndarray:
    """Return d with (I + Z P Z^T) d = -F."""
    chosen = np.flatnonzero(shrunk < 1)
    H = np.eye(len(F))
    if chosen.size:
        at, active = np.flatnonzero(blocks.spread(shrunk < 1)), blocks.only(chosen)
        a, step, rows, z = shrunk[chosen], steps[chosen], ZT[at], z[at]
        normal = np.add.reduceat(rows * (z / active.spread(active.norms(z)))[:, None], active.starts)
        H += (rows * active.spread(step * (1 - a))[:, None]).T @ rows + (normal * (step * a)[:, None]).T @ normal
    return lapack.dposv(H, -F, lower=1)[1]
