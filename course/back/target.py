"""The target: a small net has lost three quarters of its weights at random, and learns to read digits again."""

from typing import Any

import numpy as np

import nn
from course.spec import Array, Inputs, Target

UNITS, TRAIN = 20, 1200
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


def _trained(
    net: nn.Sequential, some: tuple[int, ...], x: Array, t: Array, epochs: int, rng: np.random.Generator
) -> None:
    sgd = nn.SGD([list(net.parameters())[k] for k in some], 0.05, momentum=0.9)
    nn.training.train(net, nn.SoftmaxCrossEntropy(), sgd, x, t, epochs=epochs, batch_size=32, rng=rng, progress=False)


def _digits() -> tuple[Array, Array]:
    digits: Any = nn.data.load("digits")
    (x, t), (more, labels) = digits.train, digits.test
    return np.concatenate([x, more], axis=-1).reshape(64, -1), np.concatenate([t, labels])


def _mask(rng: np.random.Generator, rows: int, columns: int) -> Array:
    return rng.permuted(np.tile(np.where(np.arange(columns) < columns // KEPT, 1.0, 0.0), (rows, 1)), axis=1)


def _draw(rng: np.random.Generator) -> Inputs:
    images, labels = _digits()
    rows = rng.permutation(len(labels))[:TRAIN]
    x, t = images[:, rows], labels[rows]
    net = _net(rng)
    _trained(net, (0, 1, 2, 3), x, t, 15, rng)
    arrays = {name: np.asarray(parameter.data) for name, parameter in zip(NAMES, net.parameters())}
    return {**arrays, "M1": _mask(rng, UNITS, 64), "M2": _mask(rng, 10, UNITS), "x": x, "t": t}


def _unseen(x: Array) -> tuple[Array, Array]:
    images, labels = _digits()
    shown = {column.tobytes() for column in np.ascontiguousarray(x.T)}
    rows = [n for n, column in enumerate(np.ascontiguousarray(images.T)) if column.tobytes() not in shown]
    return images[:, rows], labels[rows]


def _measure(inputs: Inputs, result: Any) -> tuple[bool, str]:
    net = _net(None)
    for parameter, array in zip(net.parameters(), _arrays(result, inputs)):
        parameter.data = array
    x, t = _unseen(inputs["x"])
    accuracy = float(np.mean(np.argmax(net.forward(x), axis=0) == t))
    W1, _, W2, _ = (parameter.data for parameter in net.parameters())
    outside = int(np.sum((W1 != 0) & (inputs["M1"] == 0)) + np.sum((W2 != 0) & (inputs["M2"] == 0)))
    return outside == 0 and accuracy >= ACCURACY, (
        f"{outside} weights that the masks delete are not zero (none should be), and {accuracy:.1%} of {len(t)} unseen"
        f" digits are read right (at least {ACCURACY:.0%})"
    )


def _arrays(result: Any, inputs: Inputs) -> list[Array]:
    if not isinstance(result, tuple) or len(result) != len(NAMES):
        raise ValueError("expected four arrays, W1, b1, W2 and b2")
    arrays = [np.asarray(array, dtype=np.float64) for array in result]
    for name, array in zip(NAMES, arrays):
        if array.shape != inputs[name].shape:
            raise ValueError(f"{name} has the shape {array.shape}, expected {inputs[name].shape}")
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{name} holds nan or inf")
    return arrays


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
    _trained(net, some, inputs["x"], inputs["t"], 15, rng)
    W1, b1, W2, b2 = (np.asarray(parameter.data) for parameter in net.parameters())
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
