"""The target: a small net has lost three quarters of its weights at random, and learns to read digits again."""

from typing import Any

import numpy as np

import nn
from course import digits
from course.spec import Array, Inputs, Target

UNITS = 20
KEPT, ACCURACY = 4, 0.85
"""One weight in so many stays, and the least share of unseen digits that are read right."""
NAMES = ("W1", "b1", "W2", "b2")


class Swish(nn.Activation):
    """f(a) = a sigma(a)."""

    def f(self, a: Array) -> Array:
        """A sigma(a)."""
        return a * nn.Sigmoid().f(a)

    def df(self, a: Array) -> Array:
        """sigma(a) + a sigma'(a)."""
        return nn.Sigmoid().f(a) + a * nn.Sigmoid().df(a)


def _net(rng: np.random.Generator | None) -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, UNITS, rng), Swish(), nn.Linear(UNITS, 10, rng))


def _mask(rng: np.random.Generator, rows: int, columns: int) -> Array:
    return rng.permuted(np.tile(np.where(np.arange(columns) < columns // KEPT, 1.0, 0.0), (rows, 1)), axis=1)


def _draw(rng: np.random.Generator) -> tuple[Inputs, digits.Labelled]:
    (x, t), unseen = digits.split(rng)
    arrays = dict(zip(NAMES, digits.trained(_net(rng), x, t, rng)))
    return {**arrays, "M1": _mask(rng, UNITS, 64), "M2": _mask(rng, 10, UNITS), "x": x, "t": t}, unseen


def _measure(inputs: Inputs, unseen: digits.Labelled, result: Any) -> tuple[bool, str]:
    arrays = digits.arrays(result, {name: inputs[name].shape for name in NAMES})
    net, (x, t) = _net(None), unseen
    for parameter, array in zip(net.parameters(), arrays):
        parameter.data = array
    accuracy = digits.read_right(net.forward(x), t)
    outside = sum(int(np.sum((W != 0) & (inputs[M] == 0))) for W, M in zip(arrays[::2], ("M1", "M2")))
    return outside == 0 and accuracy >= ACCURACY, (
        f"{outside} weights that the masks delete are not zero (none should be), and {accuracy:.1%} of {len(t)} unseen"
        f" digits are read right (at least {ACCURACY:.0%})"
    )


# ---- what must not reach it ------------------------------------------------------------------------------------------
def _masked(W1: Array, b1: Array, W2: Array, b2: Array, M1: Array, M2: Array, **rest: Array) -> tuple[Array, ...]:
    return W1 * M1, b1, W2 * M2, b2


def _retrained(some: tuple[int, ...], inputs: Inputs, under_masks: bool = True) -> tuple[Array, ...]:
    # Training goes on from the masked net; without masks they come back at the end only.
    rng = np.random.default_rng(0)
    net = _net(rng)
    for parameter, array in zip(net.parameters(), _masked(**inputs)):
        parameter.data = array.copy()
        parameter.mask = (array != 0) * 1.0 if under_masks and array.ndim == 2 else None
    only = [list(net.parameters())[k] for k in some]
    W1, b1, W2, b2 = digits.trained(net, inputs["x"], inputs["t"], rng, only=only)
    return W1 * inputs["M1"], b1, W2 * inputs["M2"], b2


TARGET = Target(
    id="back.target",
    function="retrain",
    points=10,
    minutes=60,
    section="notebook 01, sections 4, 6 and 7.3",
    goal=f"Train the quarter of the weights that the masks leave until at least {ACCURACY:.0%} of unseen digits are"
    " read right.",
    draw=_draw,
    measure=_measure,
    blank={
        "the dense net": lambda W1, b1, W2, b2, **rest: (W1, b1, W2, b2),
        "the masked net": _masked,
        "everything zero": lambda W1, b1, W2, b2, **rest: (0 * W1, 0 * b1, 0 * W2, 0 * b2),
        "only biases trained": lambda **inputs: _retrained((1, 3), inputs),
        "masks at the end only": lambda **inputs: _retrained((0, 1, 2, 3), inputs, under_masks=False),
        "only the last layer trained": lambda **inputs: _retrained((2, 3), inputs),
    },
)
