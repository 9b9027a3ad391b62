"""Where ADMM comes to rest: at the constrained minimum if the set is convex, and somewhere if it counts."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import textbook
from pruning.ledger.core import Claim, Form, Formula, Measured, relative
from textbook.splitting import least_squares_prox

RHOS = (1.0, 10.0, 100.0)
Points = tuple[np.ndarray, ...]


def draw_ball(rng: np.random.Generator) -> dict[str, Any]:
    """Draw a regression whose least-squares solution lies well outside the l1 ball of this radius."""
    X = rng.standard_normal((60, 5))
    y = X @ np.array([2.0, -1.5, 1.0, 0.5, 0.0]) + 0.1 * rng.standard_normal(60)
    return {"X": X, "y": y, "radius": 0.6 * float(np.abs(np.linalg.lstsq(X, y, rcond=None)[0]).sum())}


def best_on_faces(X: np.ndarray, y: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the minimum of f = (1/2n) ||y - X w||^2 on the l1 ball, and -grad f there, by trying all of its faces.

    A face has its signs s: on it sum s_i w_i = radius, which makes one linear system (Lagrange) for each face.
    """
    H, q = X.T @ X / len(y), X.T @ y / len(y)
    signs = np.array([s for s in itertools.product((-1.0, 0.0, 1.0), repeat=len(q)) if any(s)])
    M = np.zeros((len(signs), len(q) + 1, len(q) + 1))
    on = signs != 0
    M[:, :-1, :-1] = H * on[:, :, None] * on[:, None, :] + np.eye(len(q)) * ~on[:, :, None]
    M[:, :-1, -1] = M[:, -1, :-1] = signs
    right = np.concatenate([q * on, np.full((len(signs), 1), radius)], axis=1)
    w = np.linalg.solve(M, right[:, :, None])[:, :-1, 0]
    w = w[np.all(w * signs >= 0, axis=1)]  # those that lie on their face
    best = w[np.argmin(np.sum((w @ H) * w, axis=1) / 2 - w @ q)]
    return best, q - H @ best


def nearest_in_ball(v: np.ndarray, radius: float) -> np.ndarray:
    """Return the point of the l1 ball nearest to v, by sorting: the largest theta of all k largest |v_i|."""
    sizes = np.sort(np.abs(v))[::-1]
    theta = np.max((np.cumsum(sizes) - radius) / np.arange(1, len(v) + 1))
    return np.sign(v) * np.maximum(np.abs(v) - max(theta, 0.0), 0)


# D14: the l1 ball.


def _at_rest(X: np.ndarray, y: np.ndarray, radius: float) -> Points:
    found = [textbook.least_squares_in_l1_ball(X, y, radius, rho) for rho in RHOS]
    return (*(each.z for each in found), *(each.rho * each.u for each in found))


def _at_rest_by_faces(X: np.ndarray, y: np.ndarray, radius: float) -> Points:
    w, force = best_on_faces(X, y, radius)
    return (*(w for _ in RHOS), *(force for _ in RHOS))


def _at_rest_by_gradients(X: np.ndarray, y: np.ndarray, radius: float) -> Points:
    n, w = len(y), np.zeros(X.shape[1])
    step = n / np.linalg.norm(X, 2) ** 2
    for _ in range(200):
        w = nearest_in_ball(w + step * X.T @ (y - X @ w) / n, radius)
    force = X.T @ (y - X @ w) / n
    return (*(w for _ in RHOS), *(force for _ in RHOS))


def _iterated(
    prox_g: Callable[[np.ndarray, float, float], np.ndarray], **options: Any
) -> Callable[[np.ndarray, np.ndarray, float], Points]:
    def form(X: np.ndarray, y: np.ndarray, radius: float) -> Points:
        start = np.zeros(X.shape[1])
        found = [
            textbook.admm(least_squares_prox(X, y), lambda v, rho: prox_g(v, rho, radius), start, rho, **options)
            for rho in RHOS
        ]
        return (*(each.z for each in found), *(each.rho * each.u for each in found))

    return form


def _rho_forgotten(X: np.ndarray, y: np.ndarray, radius: float) -> Points:
    found = [textbook.least_squares_in_l1_ball(X, y, radius, rho) for rho in RHOS]
    return (*(each.z for each in found), *(each.u for each in found))


# D15: at most k nonzeros.


def _draw_decoy(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    # The third column is much like the sum of the first two, which y is made of.
    X = rng.standard_normal((40, 8))
    X[:, 2] = rng.uniform(0.7, 0.75) * (X[:, 0] + X[:, 1]) + 0.3 * rng.standard_normal(40)
    return X, X[:, 0] + X[:, 1] + 0.1 * rng.standard_normal(40)


def _fit(X: np.ndarray, y: np.ndarray, kept: Any) -> tuple[np.ndarray, float]:
    w = np.zeros(X.shape[1])
    w[kept] = np.linalg.lstsq(X[:, kept], y, rcond=None)[0]
    return w, float(np.sum((y - X @ w) ** 2))


def _counted(rng: np.random.Generator) -> Iterator[Measured]:
    X, y = _draw_decoy(rng)
    best = min(_fit(X, y, list(kept))[1] for kept in itertools.combinations(range(8), 2))
    found = {rho: textbook.least_squares_with_k_nonzeros(X, y, 2, rho, max_iter=500) for rho in (3.0, 0.1)}
    for split in found.values():
        fit, rest = _fit(X, y, split.z != 0)
        yield Measured("at most two", max(np.count_nonzero(split.z) - 2.0, 0.0))
        yield Measured("no better than the best two", max(best / rest - 1, 0.0))
        if split.converged:
            yield Measured("at rest, least squares on its support", relative(split.z, fit))
    stuck, searching = found[3.0], textbook.least_squares_with_k_nonzeros(X, y, 2, 0.3, max_iter=200)
    for name, error, message in (
        ("called the best two", _fit(X, y, stuck.z != 0)[1] / best - 1, "It came to rest on a support of its own."),
        ("rho decides the speed only", relative(stuck.z, found[0.1].z), "It decides the support as well."),
        ("comes to rest for every rho", float(searching.primal[-1]), "With rho = 0.3, x and z still are apart."),
        ("x is sparse", np.count_nonzero(stuck.x) - 2.0, "Only z is: x has no zero at all, not even at rest."),
    ):
        yield Measured(name, error, wrong=True, message=message)


STATEMENTS = (
    Formula(
        id="D14",
        title="convergence on the l1 ball, for every rho",
        printed=r"W=Y=\arg\min_{\|Y\|_1\le t}f(Y),\qquad\nabla f(W)+\rho\,U=0",
        verdict="lost",
        remark="For a convex f and a convex set the limit does not depend on rho; the gradient there is what U holds.",
        where="S3, equations (5) to (7), and Boyd et al. 2011, section 3.2",
        code="textbook.least_squares_in_l1_ball",
        notebook="07, section 6",
        tolerance=1e-8,
        draw=draw_ball,
        draws=1,
        right=_at_rest,
        referees=(
            Form("all faces of the ball", _at_rest_by_faces),
            Form("projected gradient", _at_rest_by_gradients),
        ),
        wrong=(
            Form("grad f + U = 0", _rho_forgotten, "U is scaled: the multiplier is rho U."),
            Form(
                "projection on the ball of radius/rho",
                _iterated(lambda v, rho, radius: textbook.project_l1_ball(v, radius / rho), max_iter=30),
                "A projection has no step; only the threshold of a penalty is divided by rho.",
            ),
            Form(
                "the radius for lambda",
                _iterated(lambda v, rho, radius: textbook.soft_threshold(v, radius / rho), max_iter=30),
                "That is the lasso with lambda = t, another point of the same path.",
            ),
            Form(
                "ten iterations",
                _iterated(lambda v, rho, radius: textbook.project_l1_ball(v, radius), max_iter=10),
                "The limit does not depend on rho, but the way to it does.",
            ),
        ),
    ),
    Claim(
        id="D15",
        title="at most k nonzeros: a heuristic",
        printed=r"\min_w\tfrac1{2n}\|y-Xw\|^2\quad\text{subject to}\quad\mathrm{card}(\mathrm{supp}(w))\le k",
        verdict="lost",
        remark="If it comes to rest, z is the least-squares fit on its support; rho decides on which, and whether.",
        where="S3, section 2, below equation (7)",
        code="textbook.least_squares_with_k_nonzeros",
        notebook="07, section 7",
        tolerance=1e-8,
        measure=_counted,
        referee="all supports, least squares",
    ),
)
