"""The target: three quarters of a small net's weights go, and it reads digits that nobody has shown it before."""

from typing import Any

import numpy as np

import nn
from course import digits
from course.spec import Array, Inputs, Target

UNITS = 20
KEEP, ACCURACY = 0.25, 0.80
"""The largest share of weights, and the least share of unseen digits that are read right."""


def _draw(rng: np.random.Generator) -> tuple[Inputs, digits.Labelled]:
    # ReLU units in other scales, alpha on the way in and 1/alpha on the way out, are the same net.
    (x, t), unseen = digits.split(rng)
    W1, b1, W2, b2 = digits.trained(nn.models.mlp([64, UNITS, 10], rng), x, t, rng)
    alpha = rng.permutation(np.geomspace(0.01, 100, UNITS))
    return {"W1": alpha[:, None] * W1, "b1": alpha * b1, "W2": W2 / alpha, "b2": b2, "x": x, "t": t}, unseen


def _measure(inputs: Inputs, unseen: digits.Labelled, result: Any) -> tuple[bool, str]:
    W1, W2 = inputs["W1"], inputs["W2"]
    M1, M2 = digits.masks(result, {"M1": W1.shape, "M2": W2.shape})
    x, t = unseen
    y = np.maximum((W1 * M1) @ x + inputs["b1"][:, None], 0)
    accuracy = digits.read_right((W2 * M2) @ y + inputs["b2"][:, None], t)
    share = float(M1.sum() + M2.sum()) / (M1.size + M2.size)
    return share <= KEEP and accuracy >= ACCURACY, (
        f"{share:.1%} of the weights stay (at most {KEEP:.0%}), and {accuracy:.1%} of {len(t)} unseen digits are read"
        f" right (at least {ACCURACY:.0%})"
    )


# ---- what must not reach it ------------------------------------------------------------------------------------------
def _largest(*scores: Array) -> tuple[Array, ...]:
    flat = np.concatenate([score.ravel() for score in scores])
    keep = np.zeros(len(flat))
    keep[np.argsort(-flat)[: int(KEEP * len(flat))]] = 1
    M1, M2 = np.split(keep, [scores[0].size])
    return M1.reshape(scores[0].shape), M2.reshape(scores[1].shape)


def _chance(W1: Array, W2: Array, **rest: Array) -> tuple[Array, ...]:
    rng = np.random.default_rng(0)
    return _largest(rng.random(W1.shape), rng.random(W2.shape))


def _weighed_with_inputs(W1: Array, b1: Array, W2: Array, x: Array, **rest: Array) -> tuple[Array, ...]:
    y = np.maximum(W1 @ x + b1[:, None], 0)
    return _largest(*(abs(W) * np.sqrt(np.mean(v * v, axis=1)) for W, v in ((W1, x), (W2, y))))


TARGET = Target(
    id="obd.target",
    function="masks",
    points=10,
    minutes=60,
    section="notebook 02, sections 2 and 6",
    goal=f"Keep at most {KEEP:.0%} of the weights, unchanged, and read at least {ACCURACY:.0%} of unseen digits right.",
    draw=_draw,
    measure=_measure,
    blank={
        "everything kept": lambda W1, W2, **rest: (np.ones_like(W1), np.ones_like(W2)),
        "everything deleted": lambda W1, W2, **rest: (np.zeros_like(W1), np.zeros_like(W2)),
        "chance": _chance,
        "magnitude": lambda W1, W2, **rest: _largest(abs(W1), abs(W2)),
        "magnitude times the size of the input": _weighed_with_inputs,
    },
)
