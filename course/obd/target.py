"""The target: three quarters of a small net's weights go, and it reads digits that nobody has shown it before."""

from typing import Any

import numpy as np

import nn
from course.spec import Array, Inputs, Target

UNITS, TRAIN = 20, 1200
KEEP, ACCURACY = 0.25, 0.80
"""The largest share of weights, and the least share of unseen digits that are read right."""


def _digits() -> tuple[Array, Array]:
    (x, t), (more, labels) = (lambda d: (d.train, d.test))(nn.data.load("digits"))
    return np.concatenate([x, more], axis=-1).reshape(64, -1), np.concatenate([t, labels])


def _draw(rng: np.random.Generator) -> Inputs:
    # ReLU units in other scales, alpha on the way in and 1/alpha on the way out, are the same net.
    images, labels = _digits()
    rows = rng.permutation(len(labels))[:TRAIN]
    x, t = images[:, rows], labels[rows]
    net = nn.models.mlp([64, UNITS, 10], rng)
    sgd = nn.SGD(net.parameters(), 0.05, momentum=0.9)
    nn.training.train(net, nn.SoftmaxCrossEntropy(), sgd, x, t, epochs=15, batch_size=32, rng=rng, progress=False)
    W1, b1, W2, b2 = (parameter.data for parameter in net.parameters())
    alpha = rng.permutation(np.geomspace(0.01, 100, UNITS))
    return {"W1": alpha[:, None] * W1, "b1": alpha * b1, "W2": W2 / alpha, "b2": b2, "x": x, "t": t}


def _unseen(x: Array) -> tuple[Array, Array]:
    images, labels = _digits()
    shown = {column.tobytes() for column in np.ascontiguousarray(x.T)}
    rows = [n for n, column in enumerate(np.ascontiguousarray(images.T)) if column.tobytes() not in shown]
    return images[:, rows], labels[rows]


def _measure(inputs: Inputs, result: Any) -> tuple[bool, str]:
    W1, W2 = inputs["W1"], inputs["W2"]
    M1, M2 = _masks(result, (W1.shape, W2.shape))
    x, t = _unseen(inputs["x"])
    y = np.maximum((W1 * M1) @ x + inputs["b1"][:, None], 0)
    accuracy = float(np.mean(np.argmax((W2 * M2) @ y + inputs["b2"][:, None], axis=0) == t))
    share = float(M1.sum() + M2.sum()) / (M1.size + M2.size)
    return share <= KEEP and accuracy >= ACCURACY, (
        f"{share:.1%} of the weights stay (at most {KEEP:.0%}), and {accuracy:.1%} of {len(t)} unseen digits are read"
        f" right (at least {ACCURACY:.0%})"
    )


def _masks(result: Any, shapes: tuple[tuple[int, ...], ...]) -> tuple[Array, Array]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise ValueError("expected two masks, M1 and M2")
    masks = [np.asarray(mask, dtype=np.float64) for mask in result]
    for name, mask, shape in zip(("M1", "M2"), masks, shapes):
        if mask.shape != shape:
            raise ValueError(f"{name} has the shape {mask.shape}, expected {shape}")
        if not np.all((mask == 0) | (mask == 1)):
            raise ValueError(f"{name} holds other numbers than 0 and 1")
    return masks[0], masks[1]


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
