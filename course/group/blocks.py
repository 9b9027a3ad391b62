"""One block: where it lands when it is shrunk (group.1), and at the minimum of a regression (group.2).

The first is judged by a search that compares values of the objective; the second by ridge regressions whose penalty
touches the norm from above at the last answer, and which are solved again until nothing moves.
"""

from collections.abc import Callable

import numpy as np

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong, signed

Lengths = Callable[[Array], Array]
NOTHING = 1e-30
"""A length that a referee takes for zero, so that it need not divide by zero."""


def directions(rng: np.random.Generator, p: int, N: int) -> Array:
    """Return N columns (p, N) of length 1; no number is near zero, where wrong forms meet."""
    u = signed(rng, 0.5, 2, (p, N))
    return u / np.linalg.norm(u, axis=0)


def along_the_ray(w: Array, t: float, mu: float = 0.0) -> Array:
    """Return argmin_x ||x - w||^2 / 2 + t ||x|| + mu ||x||^2 / 2 by a ternary search of a in x = a w.

    Only values are compared: no slope, and no root.
    """
    square = float(np.sum(w * w))
    low, high = 0.0, 1.0

    def higher(a: float, b: float) -> bool:  # at a than at b, both 0 or more
        return (a - b) * ((a + b - 2 + mu * (a + b)) / 2 * square + t * square**0.5) > 0

    for _ in range(120):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        low, high = (a, high) if higher(a, b) else (low, b)
    return low * w


# ---- group.1: the columns of a matrix --------------------------------------------------------------------------------
def _columns(decay: bool = True, special: bool = False) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        p, N = int(rng.integers(3, 6)), int(rng.integers(4, 8))
        t, mu = float(rng.uniform(1.5, 3)), float(rng.uniform(0.3, 1)) if decay else 0.0
        lengths = t * rng.uniform(1.7, 4, N)
        lengths[0] = t * rng.uniform(0.3, 0.4)
        lengths[1:3] = np.array([0, t]) if special else lengths[1:3]
        return {"W": directions(rng, p, N) * rng.permutation(lengths), "t": t, "mu": mu}

    return draw


def _three_columns(rng: np.random.Generator) -> Inputs:
    return {"W": directions(rng, 2, 3) * np.array([4.0, 0.7, 5.0]), "t": 2.0, "mu": 0.0}


def _column_by_column(W: Array, t: float, mu: float) -> Array:
    return np.stack([along_the_ray(w, t, mu) for w in W.T], axis=1)


def _shrunk(
    lengths: Lengths = lambda W: np.linalg.norm(W, axis=0, keepdims=True),
    threshold: float = 1.0,
    before: bool = False,
    decay: bool = True,
) -> Callable[..., Array]:
    # The factor by these lengths; `before`: the decay comes first.
    def form(W: Array, t: float, mu: float) -> Array:
        W, scale = (W / (1 + mu), 1.0) if before else (W, 1 + mu if decay else 1.0)
        n = lengths(W)
        return W / scale * np.maximum(1 - threshold * t / np.where(n > 0, n, 1), 0)

    return form


def _divided(W: Array, t: float, mu: float) -> Array:
    n = np.linalg.norm(W, axis=0)
    return np.maximum(n - t, 0) * (W / n) / (1 + mu)


SHRINK = Exercise(
    id="group.1",
    function="block_soft",
    outputs=("X",),
    formula="argmin ½‖x − w‖² + t‖x‖ + ½μ‖x‖² = (1 − t/‖w‖)₊ w / (1 + μ), for every column w",
    slide="S1, Group Lasso Regularization",
    ledger="D10a, S1-F18b",
    section="notebook 06, section 3",
    minutes=15,
    referee=_column_by_column,
    cases=(
        Case("three columns without decay", 1, _three_columns, public=True),
        Case("with decay", 2, _columns(), draws=3),
        Case("a column of zeros, and one of the length t", 1, _columns(special=True), draws=2),
    ),
    wrong=(
        Wrong(
            "coordinate by coordinate",
            _shrunk(np.abs),
            "This is the soft threshold of single numbers, the lasso's. A block keeps its direction: one factor for all"
            " of it (D10).",
        ),
        Wrong(
            "squared norm",
            _shrunk(lambda W: np.sum(W * W, axis=0, keepdims=True)),
            "This divides t by ‖w‖². The penalty is the norm, not squared (S1-F23, D10).",
        ),
        Wrong(
            "half the threshold",
            _shrunk(threshold=0.5),
            "This has the threshold t/2, which belongs to ‖x − w‖² without the half in front (S1-F18).",
        ),
        Wrong(
            "decay first",
            _shrunk(before=True),
            "This shrinks w by 1 + μ first, and then by the block. The condition for zero at x = 0 knows nothing of the"
            " decay, whose slope is zero there.",
        ),
        Wrong(
            "no decay",
            _shrunk(decay=False),
            "This is the block soft threshold alone, as textbook.group_soft_threshold has it. The square with μ asks"
            " for more.",
        ),
        Wrong(
            "one norm of all columns",
            _shrunk(lambda W: np.full((1, W.shape[1]), np.linalg.norm(W))),
            "This takes one norm of the whole matrix. Every column is a block with a norm of its own.",
        ),
        Wrong(
            "rows for columns",
            _shrunk(lambda W: np.linalg.norm(W, axis=1, keepdims=True)),
            "This takes the rows for blocks. The batch is the last axis: every column is a block.",
        ),
        Wrong(
            "0 / 0",
            _divided,
            "This divides a column by its length, also where that is 0, and is nan there. The nearest point to zero is"
            " zero.",
        ),
    ),
    hint="Where is the objective's slope zero, and on which ray? Look at x = 0 apart from all other x.",
    package="textbook.group_soft_threshold, pruning.penalties.group_lasso.shrink",
)


# ---- group.2: one block of a regression with weighted samples --------------------------------------------------------
def _orthonormal(rng: np.random.Generator) -> Inputs:
    X = np.array([[0.6, -0.8], [0.0, 0.0], [0.8, 0.6]])
    return {"X": X, "r": np.array([3.0, 1.5, -1.0]), "v": np.ones(3), "lam": 2.0}


def _problem(p: int, rank: int = 0, n: int = 12, share: tuple[float, float] = (0.2, 0.5), light: bool = False) -> Draw:
    # lam as a share of the smallest one at which the block is zero.  All samples weigh more than 1, light ones less: no
    # form that loses the weights comes near.
    def draw(rng: np.random.Generator) -> Inputs:
        X = rng.standard_normal((n, rank or p)) * rng.uniform(0.5, 2, rank or p)
        r = X @ signed(rng, 4, 6, rank or p) + 0.3 * rng.standard_normal(n)
        X = X @ np.linalg.qr(rng.standard_normal((p, rank)))[0].T if rank else X
        v = rng.permutation(np.linspace(0.1, 0.4, n) if light else np.geomspace(1.5, 6, n))
        return {"X": X, "r": r, "v": v, "lam": float(rng.uniform(*share) * 2 * np.linalg.norm(X.T @ (v * r)))}

    return draw


def _reweighted(X: Array, r: Array, v: Array, lam: float) -> Array:
    # ||b|| <= ||b||^2 / (2 s) + s / 2, with equality at s = ||b||: a ridge regression, solved again with the new s.
    return _lowest(2 * (X.T * v) @ X, 2 * (X.T * v) @ r, lam)


def _lowest(A: Array, z: Array, lam: float) -> Array:
    b, size, one = np.zeros(len(z)), float(np.linalg.norm(np.linalg.lstsq(A, z)[0])), np.eye(len(z))
    for _ in range(1000):
        before, b = b, np.linalg.solve(A + lam / size * one, z)
        size = float(np.linalg.norm(b))
        if size < NOTHING:
            return np.zeros(len(z))
        if np.linalg.norm(b - before) <= 1e-16 * size:
            break
    return b


def _solved(factor: float = 1.0, weights: Callable[[Array], Array] = lambda v: v) -> Callable[..., Array]:
    return lambda X, r, v, lam: _reweighted(X, r, weights(v), factor * lam)


def _soft(z: Array, t: float) -> Array:
    size = float(np.linalg.norm(z))
    return z * max(1 - t / size, 0.0) if size > 0 else z


def _of_least_squares(X: Array, r: Array, v: Array, lam: float) -> Array:
    root = np.sqrt(v)
    return _soft(np.linalg.lstsq(X * root[:, None], r * root)[0], lam / 2)


def _orthonormalised(X: Array, r: Array, v: Array, lam: float) -> Array:
    # On an orthonormal basis of the columns; least squares is the way back.
    root = np.sqrt(v)[:, None]
    U, s, VT = np.linalg.svd(X * root, full_matrices=False)
    U, s, VT = (U[:, s > 1e-10 * s[0]], s[s > 1e-10 * s[0]], VT[s > 1e-10 * s[0]])
    return VT.T @ (_soft(U.T @ (root[:, 0] * r), lam / 2) / s)


def _ridge(X: Array, r: Array, v: Array, lam: float) -> Array:
    return np.linalg.solve(2 * (X.T * v) @ X + lam * np.eye(X.shape[1]), 2 * (X.T * v) @ r)


BLOCK = Exercise(
    id="group.2",
    function="block_update",
    outputs=("b",),
    formula="argmin Σ vᵢ (rᵢ − xᵢ·b)² + λ‖b‖ is 0 where 2‖XᵀVr‖ ≤ λ; else (2XᵀVX + (λ/s) I) b = 2XᵀVr with s = ‖b‖, one"
    " root in the eigenvectors of XᵀVX",
    slide="S1, Group lasso",
    ledger="S1-F18a, S1-F18b, S1-F18c, D8",
    section="notebook 06, section 4",
    minutes=45,
    referee=_reweighted,
    cases=(
        Case("orthonormal columns and equal weights", 1, _orthonormal, public=True),
        Case("any columns and any weights", 1, _problem(3), draws=3),
        Case("columns that depend on each other", 1, _problem(5, rank=2), draws=2),
        Case("one column", 1, _problem(1), draws=2),
        Case("a block that is zero", 1, _problem(3, share=(1.3, 1.6), light=True), draws=2),
    ),
    wrong=(
        Wrong(
            "block soft threshold of least squares",
            _of_least_squares,
            "This is the block soft threshold of the least-squares solution. It is right for orthonormal columns only;"
            " in general λ is no scale of coefficients (S1-F18).",
        ),
        Wrong(
            "block soft threshold of XᵀVr",
            lambda X, r, v, lam: _soft((X.T * v) @ r, lam / 2),
            "This takes XᵀVX for the identity (S1-F18).",
        ),
        Wrong(
            "half a sum of squares",
            _solved(factor=2.0),
            "This is right for half the sum of squares. The slide has no half, so that the threshold is λ/2 where the"
            " half makes it λ (S1-F18).",
        ),
        Wrong(
            "orthonormalised first",
            _orthonormalised,
            "This makes the columns of √V X orthonormal first, and so penalises ‖√V Xb‖, the length of the fit, instead"
            " of ‖b‖ (D8).",
        ),
        Wrong(
            "ridge",
            _ridge,
            "This is a ridge regression with λ. The penalty is λ‖b‖, not λ‖b‖²/2: the unknown length stands under λ"
            " (S1-F18).",
        ),
        Wrong(
            "samples not weighed",
            _solved(weights=np.ones_like),
            "This is right for equal weights, as textbook.group_lasso_coordinate_descent has it. Here sample i counts"
            " vᵢ times.",
        ),
        Wrong(
            "weights squared",
            _solved(weights=np.square),
            "This has vᵢ² for vᵢ. What is multiplied into X and r is squared with the residual.",
        ),
        Wrong(
            "weights in the fit only",
            lambda X, r, v, lam: _lowest(2 * X.T @ X, 2 * (X.T * v) @ r, lam),
            "This weighs XᵀVr and forgets the weights in XᵀX.",
        ),
    ),
    hint="Fix the length s of b for a moment: what is left is a ridge regression. Which s gives a b of the length s?",
    package="textbook.coordinate_descent.block_minimiser, textbook.group_lasso_coordinate_descent",
)
