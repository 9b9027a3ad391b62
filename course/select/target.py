"""The target: a small net keeps one weight of every eight neighbours, and reads digits that it has not seen."""

from typing import Any

import numpy as np

import nn
from course import digits
from course.spec import Array, Inputs, Target

UNITS, BLOCK = 16, 8
ACCURACY = 0.84
"""The least share of unseen digits that are read right.

With the keys "key 0" to "key 11" the solution reads 89.6 to 95.1 %, the blanks with the right zeros at most 54.1 %.
"""
NAMES = ("W1", "b1", "W2", "b2")


def _draw(rng: np.random.Generator) -> tuple[Inputs, digits.Labelled]:
    (x, t), unseen = digits.split(rng)
    weights = digits.trained(nn.models.mlp([64, UNITS, 10], rng), x, t, rng)
    return {**dict(zip(NAMES, weights)), "x": x, "t": t}, unseen


def _measure(inputs: Inputs, unseen: digits.Labelled, result: Any) -> tuple[bool, str]:
    W1, b1, W2, b2 = digits.arrays(result, {name: inputs[name].shape for name in NAMES})
    x, t = unseen
    y = np.maximum(W1 @ x + b1[:, None], 0)
    accuracy = digits.read_right(W2 @ y + b2[:, None], t)
    live = np.concatenate([np.count_nonzero(W.reshape(-1, BLOCK), axis=1) for W in (W1, W2)])
    return bool(live.max() <= 1 and accuracy >= ACCURACY), (
        f"the fullest block of {BLOCK} has {live.max()} weights that are not zero (at most 1), and {accuracy:.1%} of"
        f" {len(t)} unseen digits are read right (at least {ACCURACY:.0%})"
    )


# ---- what must not reach it --------------------------------------------------------------------------------------
def _one_of_eight(W: Array, score: Array) -> Array:
    blocks = score.reshape(-1, BLOCK)
    best = blocks == blocks.max(axis=1, keepdims=True)
    return W * best.reshape(W.shape)


def _at_once(W1: Array, b1: Array, W2: Array, b2: Array, **rest: Array) -> tuple[Array, ...]:
    return _one_of_eight(W1, abs(W1)), b1, _one_of_eight(W2, abs(W2)), b2


def _chance(W1: Array, b1: Array, W2: Array, b2: Array, **rest: Array) -> tuple[Array, ...]:
    rng = np.random.default_rng(0)
    return _one_of_eight(W1, rng.random(W1.shape)), b1, _one_of_eight(W2, rng.random(W2.shape)), b2


def _damage_of_inputs(W1: Array, b1: Array, W2: Array, b2: Array, x: Array, **rest: Array) -> tuple[Array, ...]:
    # Magnitude times the size of what the weight reads, and the mean of what goes into the biases.
    y = np.maximum(W1 @ x + b1[:, None], 0)
    V1, V2 = (_one_of_eight(W, abs(W) * v.std(axis=1)) for W, v in ((W1, x), (W2, y)))
    c1 = b1 + (W1 - V1) @ x.mean(axis=1)
    z = np.maximum(V1 @ x + c1[:, None], 0)
    return V1, c1, V2, b2 + W2 @ y.mean(axis=1) - V2 @ z.mean(axis=1)


TARGET = Target(
    id="select.target",
    function="one_of_eight",
    points=10,
    minutes=60,
    section="notebook 14, section 5",
    goal=f"Of every {BLOCK} neighbours in a row one weight at most is not zero, and at least {ACCURACY:.0%} of unseen"
    " digits are read right.",
    draw=_draw,
    measure=_measure,
    blank={
        "everything kept": lambda W1, b1, W2, b2, **rest: (W1, b1, W2, b2),
        "everything deleted": lambda W1, b1, W2, b2, **rest: (0 * W1, b1, 0 * W2, b2),
        "chance": _chance,
        "projection at once": _at_once,
        "projection by inputs, means into the biases": _damage_of_inputs,
    },
)
