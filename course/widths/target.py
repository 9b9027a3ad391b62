"""The target: a quarter of a net's multiply-accumulates, in widths that it does not show at once."""

from typing import Any

import numpy as np

import nn
from course import digits
from course.spec import Array, Inputs, Target

HIDDEN = (18, 14)
COPIES, CONSTANTS = (4, 16), (14, 6)
MACS, LOSS = 1000, 0.05
"""The most multiply-accumulates, and how many of the unseen digits may be lost, as a share of all."""
NAMES = ("W1", "b1", "W2", "b2", "W3", "b3")


def _draw(rng: np.random.Generator) -> tuple[Inputs, digits.Labelled]:
    (x, t), unseen = digits.split(rng)
    W1, b1, W2, b2, W3, b3 = digits.trained(nn.models.mlp([64, *HIDDEN, 10], rng), x, t, rng, epochs=20)
    W2, b2, W3, b3 = _grown(W2, b2, W3, b3, COPIES[1], CONSTANTS[1], rng)
    W1, b1, W2, b2 = _grown(W1, b1, W2, b2, COPIES[0], CONSTANTS[0], rng)
    return dict(zip(NAMES, (W1, b1, W2, b2, W3, b3))) | {"x": x}, unseen


def _grown(
    W: Array, b: Array, V: Array, c: Array, copies: int, constants: int, rng: np.random.Generator
) -> tuple[Array, Array, Array, Array]:
    # The same function with more units: shares of a unit, and constants that the next bias takes back.
    n, V = len(W), V.copy()
    twins, columns = rng.integers(0, n, copies), []
    for unit in twins:
        share = rng.uniform(0.3, 0.7)
        columns.append(share * V[:, unit])
        V[:, unit] *= 1 - share
    heights, loud = rng.uniform(0.5, 1.5, constants), 2 * abs(V).mean() * rng.standard_normal((len(V), constants))
    W = np.concatenate([W, W[twins], np.zeros((constants, W.shape[1]))])
    b, c = np.concatenate([b, b[twins], heights]), c - loud @ heights
    V = np.column_stack([V, *columns, loud])
    # Units in other scales, alpha on the way in and 1/alpha on the way out, and in another order.
    alpha, order = np.geomspace(0.1, 10, len(W)), rng.permutation(len(W))
    alpha = rng.permutation(alpha)
    return (alpha[:, None] * W)[order], (alpha * b)[order], (V / alpha)[:, order], c


def _read_right(weights: tuple[Array, ...], x: Array, t: Array) -> float:
    W1, b1, W2, b2, W3, b3 = weights
    y = np.maximum(W1 @ x + b1[:, None], 0)
    y = np.maximum(W2 @ y + b2[:, None], 0)
    return digits.read_right(W3 @ y + b3[:, None], t)


def _measure(inputs: Inputs, unseen: digits.Labelled, result: Any) -> tuple[bool, str]:
    small = _weights(result)
    right, whole = (_read_right(each, *unseen) for each in (small, tuple(inputs[name] for name in NAMES)))
    macs = sum(W.size for W in small[::2])
    return macs <= MACS and right >= whole - LOSS, (
        f"{macs} multiply-accumulates (at most {MACS}), widths {len(small[1])} and {len(small[3])}, and {right:.1%} of"
        f" {len(unseen[1])} unseen digits are read right (at least {whole - LOSS:.1%}; the net that was given:"
        f" {whole:.1%})"
    )


def _weights(result: Any) -> tuple[Array, ...]:
    if not isinstance(result, tuple) or len(result) != 6:
        raise ValueError("expected six arrays, W1, b1, W2, b2, W3 and b3")
    small = tuple(np.asarray(each, dtype=np.float64) for each in result)
    n, m = (each.shape[0] if each.ndim else 0 for each in (small[0], small[2]))
    for name, each, shape in zip(NAMES, small, ((n, 64), (n,), (m, n), (m,), (10, m), (10,))):
        if each.shape != shape or 0 in shape:
            raise ValueError(f"{name} has the shape {each.shape}, expected {shape} with at least one unit a layer")
        if not np.all(np.isfinite(each)):
            raise ValueError(f"{name} holds nan or inf")
    return small


# ---- what must not reach it ------------------------------------------------------------------------------------------
def _uniform(sizes: tuple[int, int]) -> tuple[int, int]:
    shares = np.linspace(1, 0, 201)
    widths = [tuple(max(1, int(share * n)) for n in sizes) for share in shares]
    return next((n, m) for n, m in widths if 64 * n + n * m + 10 * m <= MACS)


def _cut(S: Array, R: Array, W1: Array, b1: Array, W2: Array, b2: Array, W3: Array, b3: Array) -> tuple[Array, ...]:
    return W1[S], b1[S], W2[np.ix_(R, S)], b2[R], W3[:, R], b3


def _refitted(S: Array, R: Array, x: Array, **weights: Array) -> tuple[Array, ...]:
    # Least squares for what each layer computed, bias included.
    small = list(_cut(S, R, **weights))
    y = np.maximum(weights["W1"] @ x + weights["b1"][:, None], 0)
    a = weights["W2"] @ y + weights["b2"][:, None]
    goals, y = (a[R], weights["W3"] @ np.maximum(a, 0) + weights["b3"][:, None]), y[S]
    for k, goal in zip((2, 4), goals):
        found = np.linalg.lstsq(np.vstack([y, np.ones(y.shape[1])]).T, goal.T, rcond=1e-9)[0].T
        small[k], small[k + 1] = found[:, :-1], found[:, -1]
        y = np.maximum(small[k] @ y + small[k + 1][:, None], 0)
    return tuple(small)


def _chosen(scores: tuple[Array, Array]) -> tuple[Array, Array]:
    n, m = _uniform((len(scores[0]), len(scores[1])))
    return np.argsort(-scores[0])[:n], np.argsort(-scores[1])[:m]


def _chance(W1: Array, W2: Array, **rest: Array) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return _chosen((rng.random(len(W1)), rng.random(len(W2))))


def _largest(W1: Array, W2: Array, **rest: Array) -> tuple[Array, Array]:
    return _chosen((abs(W1).sum(axis=1), abs(W2).sum(axis=1)))


def _loudest(W1: Array, b1: Array, W2: Array, b2: Array, W3: Array, x: Array, **rest: Array) -> tuple[Array, Array]:
    # How much a unit moves what reads it.
    y = np.maximum(W1 @ x + b1[:, None], 0)
    z = np.maximum(W2 @ y + b2[:, None], 0)
    first, second = (v.std(axis=1) * np.linalg.norm(V, axis=0) for v, V in ((y, W2), (z, W3)))
    return _chosen((first, second))


def _without_x(x: Array, **weights: Array) -> dict[str, Array]:
    return weights


TARGET = Target(
    id="widths.target",
    function="small_net",
    points=10,
    minutes=60,
    section="notebook 16, sections 6 and 9, and notebook 17, section 5",
    goal=f"Return a net of at most {MACS} multiply-accumulates that reads at most {LOSS:.0%} fewer of the unseen digits"
    " right than the net that was given.",
    draw=_draw,
    measure=_measure,
    blank={
        "everything kept": lambda x, **weights: tuple(weights.values()),
        "units by chance": lambda **inputs: _cut(*_chance(**inputs), **_without_x(**inputs)),
        "units by chance, refitted": lambda **inputs: _refitted(*_chance(**inputs), **inputs),
        "largest weights": lambda **inputs: _cut(*_largest(**inputs), **_without_x(**inputs)),
        "units that move most, not refitted": lambda **inputs: _cut(*_loudest(**inputs), **_without_x(**inputs)),
    },
)
