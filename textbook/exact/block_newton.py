"""The group lasso on a working set: accelerated proximal steps and Newton's method on the nonzero blocks, in turns.

The problem is to minimise f(w) + sum_g lam_g ||w_g|| with

    f(w) = (1/2) (w - w0)^T G (w - w0) - c^T (w - w0),        G = X^T X / n,    c = X^T (y - X w0) / n,

which is (1/2n) ||y - X w||^2 up to a constant.  Expanded around a w0 that is nearly the solution, its gradient is free
of the rounding errors of X^T y - X^T X w.

A proximal step sets to zero the groups that belong there, and says nothing exact about the others.  On those,
||w_g|| is smooth: with u_g = w_g / ||w_g|| and k_g = lam_g / ||w_g|| it has the gradient lam_g u_g and the Hessian
k_g (I - u_g u_g^T), and Newton's method ends in a few steps.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
from scipy.linalg import lapack

from textbook.exact import dual_newton
from textbook.exact.blocks import Blocks

NEWTON_STEPS = 8
POWER_STEPS = 12
ROUNDS = 4
BISECTIONS = 20
SINGULAR = 1e-15  # squared distance of a column of a root of H to the span of others, relative: below, it lies in it


class Quadratic(ABC):
    """f of the module's first lines."""

    proximal_steps: int
    """As many as cost about one Newton step or two."""

    def __init__(self, w0: np.ndarray, c: np.ndarray):
        self.w0, self.c = w0, c

    def gradient(self, w: np.ndarray) -> np.ndarray:
        """Return G (w - w0) - c."""
        return self.product(w - self.w0) - self.c

    @abstractmethod
    def product(self, d: np.ndarray) -> np.ndarray:
        """Return G d."""

    @abstractmethod
    def diagonal(self) -> np.ndarray:
        """Return the diagonal of G."""

    @abstractmethod
    def newton(self, at: np.ndarray, blocks: Blocks, k: np.ndarray, u: np.ndarray, g: np.ndarray) -> np.ndarray | None:
        """Return d with (G + P) d = -g on the indices `at`, P = blockdiag(k_g (I - u_g u_g^T)); None if singular."""

    @abstractmethod
    def root(self) -> tuple[np.ndarray, np.ndarray]:
        """Return Z^T and b with Z^T Z = G and Z^T b = c, Z having as many rows as G its rank."""


class Gram(Quadratic):
    """f by the matrix G: where there are fewer columns than samples."""

    proximal_steps = 20

    def __init__(self, G: np.ndarray, w0: np.ndarray, c: np.ndarray):
        super().__init__(w0, c)
        self.G = G

    def product(self, d: np.ndarray) -> np.ndarray:
        """Return G d."""
        return self.G @ d

    def diagonal(self) -> np.ndarray:
        """Return the diagonal of G."""
        return np.diagonal(self.G)

    def newton(self, at: np.ndarray, blocks: Blocks, k: np.ndarray, u: np.ndarray, g: np.ndarray) -> np.ndarray | None:
        """Return d with (G + P) d = -g by Cholesky."""
        return _newton_by_gram(self.G[np.ix_(at, at)], blocks, k, u, g)

    def root(self) -> tuple[np.ndarray, np.ndarray]:
        """Return Z^T and b by the eigenvectors of G, found with a diagonal of ones."""
        scale = np.sqrt(np.diagonal(self.G))
        scale = np.where(scale > 0, scale, 1.0)
        values, V = np.linalg.eigh(self.G / np.outer(scale, scale))
        kept = values > values[-1] * len(values) * np.finfo(float).eps
        root, V = np.sqrt(values[kept]), V[:, kept]
        return scale[:, None] * V * root, (self.c / scale) @ V / root


class Columns(Quadratic):
    """f by X itself: where it has more columns than rows, two products with X cost less than one with G.

    `columns` is X^T (p, n), whose rows are picked faster than columns of X.
    """

    proximal_steps = 60

    def __init__(self, columns: np.ndarray, w0: np.ndarray, c: np.ndarray):
        super().__init__(w0, c)
        self.columns, self.n = columns, columns.shape[1]

    def product(self, d: np.ndarray) -> np.ndarray:
        """Return X^T X d / n."""
        return self.columns @ (d @ self.columns) / self.n

    def diagonal(self) -> np.ndarray:
        """Return ||x_j||^2 / n."""
        return np.einsum("ji,ji->j", self.columns, self.columns) / self.n

    def newton(self, at: np.ndarray, blocks: Blocks, k: np.ndarray, u: np.ndarray, g: np.ndarray) -> np.ndarray | None:
        """Return d with (G + P) d = -g by a system of the size of the samples.

        With K = diag(k) and U = blockdiag(u_g), G + P = M - U K U^T where M = K + G.  So for t = U^T d, the steps
        along the w_g,

            d = M^-1 (U K t - g)        and        U^T d = t.

        By Woodbury's identity M^-1 = K^-1 - K^-1 Z^T S^-1 Z K^-1, with Z = X / sqrt(n) and S = I + Z K^-1 Z^T.  Since
        U^T K^-1 U = K^-1, the second equation becomes B^T S^-1 B t = -K U^T M^-1 g with B = Z U.
        """
        ZT = self.columns[at] / np.sqrt(self.n)
        if len(at) <= self.n:
            return _newton_by_gram(ZT @ ZT.T, blocks, k, u, g)
        K = blocks.spread(k)
        root = ZT / np.sqrt(K)[:, None]
        S = root.T @ root
        S[np.diag_indices_from(S)] += 1
        factor = lapack.dpotrf(S.T, lower=1, clean=0)[0]

        def inverse(v: np.ndarray) -> np.ndarray:
            return (v - ZT @ lapack.dpotrs(factor, (v / K) @ ZT, lower=1)[0]) / K

        BT = np.add.reduceat(ZT * u[:, None], blocks.starts)
        half = lapack.dtrtrs(factor, BT.T, lower=1)[0]
        C, Mg = half.T @ half, inverse(g)
        t = _solve(C, -k * blocks.dots(u, Mg))
        return None if t is None else inverse(blocks.spread(k * t) * u) - Mg

    def root(self) -> tuple[np.ndarray, np.ndarray]:
        """Return Z^T and b: Z is X / sqrt(n) in its row space, found with all columns of the same size."""
        scale = np.sqrt(self.diagonal() * self.n)
        scale[scale == 0] = 1
        U, s, V = np.linalg.svd(self.columns / scale[:, None], full_matrices=False)
        kept = s > s[0] * max(self.columns.shape) * np.finfo(float).eps
        return self.columns @ V[kept].T / np.sqrt(self.n), (self.c / scale) @ U[:, kept] / s[kept] * np.sqrt(self.n)


def _newton_by_gram(H: np.ndarray, blocks: Blocks, k: np.ndarray, u: np.ndarray, g: np.ndarray) -> np.ndarray | None:
    for start, size, k_g in zip(blocks.starts, blocks.sizes, k):
        g_ = slice(start, start + size)
        H[g_, g_] -= np.outer(k_g * u[g_], u[g_])
    H[np.diag_indices_from(H)] += blocks.spread(k)
    return _solve(H, -g)


def _solve(H: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """Return d with H d = b by Cholesky; None if H is singular to rounding."""
    factor, failed = lapack.dpotrf(H.T, lower=1, clean=0)
    if failed or (np.diagonal(factor) ** 2 <= SINGULAR * np.diagonal(H)).any():
        return None
    return lapack.dpotrs(factor, b, lower=1)[0]


def violation(f: Quadratic, blocks: Blocks, w: np.ndarray) -> float:
    """Return how far the optimality conditions are from holding, the largest over the blocks, relative to lam_g."""
    g, norms = f.gradient(w), blocks.norms(w)
    u = w / blocks.spread(np.where(norms > 0, norms, 1))
    active = blocks.norms(g + blocks.spread(blocks.lam) * u)
    return float(np.max(np.where(norms > 0, active, blocks.norms(g) - blocks.lam) / blocks.lam))


def minimise(f: Quadratic, blocks: Blocks, w: np.ndarray, target: float) -> np.ndarray:
    """Return w with a `violation` of at most `target`, or the best where rounding errors allow no better."""
    step = _steps(f, blocks)
    best, least = w, violation(f, blocks, w)
    for _ in range(ROUNDS):
        w, unique = _newton(f, blocks, _accelerated(f, blocks, w, step), target)
        reached = violation(f, blocks, w)
        if reached < least:
            best, least = w, reached
        if least <= target:
            return best
        if not unique:
            break
    ZT, b = f.root()
    return dual_newton.minimise(ZT, b, blocks, f.w0, best, lambda w: violation(f, blocks, w), target)


def _steps(f: Quadratic, blocks: Blocks) -> np.ndarray:
    """Return a step length a block such that f(w + d) <= f(w) + grad^T d + sum_g ||d_g||^2 / (2 step_g)."""
    trace = np.add.reduceat(f.diagonal(), blocks.starts)
    trace[trace == 0] = 1
    scale = blocks.spread(np.sqrt(trace))
    # Largest eigenvalue of G, every block scaled to the same size, by the power method.
    v = np.cos(np.arange(len(scale)))
    for _ in range(POWER_STEPS):
        v = f.product(v / scale) / scale
        largest = float(np.linalg.norm(v))
        if largest == 0:
            return 1 / trace
        v /= largest
    return 1 / (1.05 * largest * trace)


def _accelerated(f: Quadratic, blocks: Blocks, w: np.ndarray, step: np.ndarray) -> np.ndarray:
    """FISTA, restarted where its momentum points uphill; one step length a block leaves the proximal step exact."""
    lengths, threshold = blocks.spread(step), blocks.lam * step
    v, t = w, 1.0
    for _ in range(f.proximal_steps):
        z = v - lengths * f.gradient(v)
        norms = blocks.norms(z)
        new = z * blocks.spread(np.maximum(0, 1 - threshold / np.where(norms > 0, norms, 1)))
        if (v - new) @ ((new - w) / lengths) > 0:
            v, t = new, 1.0
        else:
            t_new = (1 + np.sqrt(1 + 4 * t * t)) / 2
            v, t = new + (t - 1) / t_new * (new - w), t_new
        w = new
    return w


def _newton(f: Quadratic, blocks: Blocks, w: np.ndarray, target: float) -> tuple[np.ndarray, bool]:
    """Newton's method on the nonzero blocks, and whether they are unique.

    A step that sets blocks to zero is not counted, as that must end.
    """
    steps = 0
    while steps < NEWTON_STEPS:
        norms = blocks.norms(w)
        chosen = np.flatnonzero(norms > 0)
        if not chosen.size:
            break
        at, active = np.flatnonzero(blocks.spread(norms > 0)), blocks.only(chosen)
        u, gradient = w[at] / active.spread(norms[chosen]), f.gradient(w)
        g = gradient[at] + active.spread(active.lam) * u
        if (active.norms(g) <= 0.1 * target * active.lam).all():
            break
        direction = f.newton(at, active, active.lam / norms[chosen], u, g)
        if direction is None:
            return w, False
        d = np.zeros_like(w)
        d[at] = direction
        w = _along(f, blocks, w, d, gradient)
        steps += np.count_nonzero(blocks.norms(w)) == chosen.size
    return w, True


def _along(f: Quadratic, blocks: Blocks, w: np.ndarray, d: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Return a point where the objective is lower than at w: w + d, or less far, or with groups set to zero."""
    change = _change(f, blocks, w, d, gradient)
    turns = blocks.dots(w, w + d) < 0
    if not turns.any() and change(1.0) < 0:
        return w + d
    # Groups that turn round belong at zero, where the Hessian knows nothing of the kink: all of them at once,
    # or those that the lowest point of the segment comes nearest to.
    new = (w + d) * blocks.spread(~turns)
    if _change(f, blocks, w, new - w, gradient)(1.0) < 0:
        return new
    kinks = -blocks.dots(w, d)[turns] / blocks.dots(d, d)[turns]
    length = _lowest(f, blocks, w, d, gradient, kinks)
    near = blocks.norms(w + length * d) <= 1e-3 * blocks.norms(w)
    new = (w + length * d) * blocks.spread(~near)
    lower = _change(f, blocks, w, new - w, gradient)(1.0) <= change(length)
    return new if lower else w + length * d


def _lowest(
    f: Quadratic, blocks: Blocks, w: np.ndarray, d: np.ndarray, gradient: np.ndarray, kinks: np.ndarray
) -> float:
    """Return the t in 0..1 where the objective at w + t d is lowest, by bisection, first between the kinks."""
    slope, curvature = gradient @ d, d @ f.product(d)

    def rises(t: float) -> bool:
        v = w + t * d
        norms = blocks.norms(v)
        return slope + t * curvature + blocks.lam @ (blocks.dots(v, d) / np.where(norms > 0, norms, 1)) > 0

    ends = np.concatenate([[0.0], np.sort(kinks), [1.0]])
    low, high = 0, len(ends) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if rises(ends[middle]) else (middle, high)
    start, end = float(ends[low]), float(ends[high])
    for _ in range(BISECTIONS):
        t = (start + end) / 2
        start, end = (start, t) if rises(t) else (t, end)
    # The end that did not move is a kink.
    return end if end == ends[high] else start


def _change(
    f: Quadratic, blocks: Blocks, w: np.ndarray, d: np.ndarray, gradient: np.ndarray
) -> Callable[[float], float]:
    """Return the function t -> objective(w + t d) - objective(w)."""
    slope, curvature, norms = gradient @ d, d @ f.product(d), blocks.norms(w)
    return lambda t: t * slope + t * t * curvature / 2 + blocks.lam @ (blocks.norms(w + t * d) - norms)
