"""The target: nine of 120 hidden units read digits that nobody has shown them before."""

from typing import Any

import numpy as np

import nn
from course import digits
from course.spec import Array, Inputs, Target, signed

UNITS, COPIES, CONSTANT = 12, 2, 96
"""Units that were trained, how often each of them is there, and units that hardly move."""
SHARE, ACCURACY = 0.08, 0.86
"""The largest share of the weights, and the least share of unseen digits that are read right.

Under 60 keys the solution reads 91.0 to 96.3 %, and nine units by chance, refitted, 52.3 to 79.6 %."""


def _draw(rng: np.random.Generator) -> tuple[Inputs, digits.Labelled]:
    # Copies with either sign, for tanh is odd, share what their unit sends. Units that hardly move have the largest
    # weights, and the bias takes off what they send.
    (x, t), unseen = digits.split(rng)
    W1, b1, W2, b2 = digits.trained(nn.models.mlp([64, UNITS, 10], rng, nn.Tanh), x, t, rng, rate=0.1)
    sign = rng.choice([-1.0, 1.0], (COPIES, UNITS))
    part = rng.uniform(0.3, 0.7, UNITS)
    sent = sign * np.stack([part, 1 - part])
    c1 = 0.06 * rng.standard_normal((CONSTANT, 64))
    cb = signed(rng, 2.5, 3.5, CONSTANT)
    c2 = 10 * rng.standard_normal((10, CONSTANT))
    order = rng.permutation(COPIES * UNITS + CONSTANT)
    inputs = {
        "W1": np.concatenate([*(sign[:, :, None] * W1), c1])[order],
        "b1": np.concatenate([*(sign * b1), cb])[order],
        "W2": np.concatenate([*(sent[:, None, :] * W2), c2], axis=1)[:, order],
        "b2": b2 - c2 @ np.tanh(cb),
        "x": x,
        "t": t,
    }
    return inputs, unseen


def _measure(inputs: Inputs, unseen: digits.Labelled, result: Any) -> tuple[bool, str]:
    W1, b1 = inputs["W1"], inputs["b1"]
    units, W2, b2 = _small(result, len(b1))
    x, t = unseen
    y = np.tanh(W1[units] @ x + b1[units][:, None])
    accuracy = digits.read_right(W2 @ y + b2[:, None], t)
    share = len(units) / len(b1)  # of the weights as well: 64 in, 10 out
    return share <= SHARE and accuracy >= ACCURACY, (
        f"{len(units)} of {len(b1)} units stay, {share:.1%} of the weights (at most {SHARE:.0%}), and {accuracy:.1%} of"
        f" {len(t)} unseen digits are read right (at least {ACCURACY:.0%})"
    )


def _small(result: Any, n: int) -> tuple[Array, Array, Array]:
    if not isinstance(result, tuple) or len(result) != 3:
        raise ValueError("expected three arrays, units, W2 and b2")
    units, W2, b2 = (np.asarray(each, dtype=np.float64) for each in result)
    if units.ndim != 1 or not np.all(np.isin(units, np.arange(n))) or len(np.unique(units)) != len(units):
        raise ValueError(f"units are no list of different numbers from 0 to {n - 1}")
    if W2.shape != (10, len(units)) or b2.shape != (10,):
        raise ValueError(f"W2 and b2 have the shapes {W2.shape} and {b2.shape}, expected (10, {len(units)}) and (10,)")
    if not (np.all(np.isfinite(W2)) and np.all(np.isfinite(b2))):
        raise ValueError("W2 or b2 holds nan or inf")
    return units.astype(np.int64), W2, b2


# ---- what must not reach it ------------------------------------------------------------------------------------------
def _most(scores: Array) -> Array:
    return np.sort(np.argsort(-scores)[: int(SHARE * len(scores))])


def _dropped(units: Array, W2: Array, b2: Array) -> tuple[Array, Array, Array]:
    return units, W2[:, units], b2


def _refitted(units: Array, W1: Array, b1: Array, W2: Array, b2: Array, x: Array) -> tuple[Array, Array, Array]:
    y = np.tanh(W1 @ x + b1[:, None])
    seen = np.concatenate([y[units], np.ones((1, x.shape[1]))])
    new = np.linalg.lstsq(seen.T, (W2 @ y).T, rcond=None)[0].T
    return units, new[:, :-1], b2 + new[:, -1]


def _product(W1: Array, W2: Array) -> Array:
    lengths: Array = np.linalg.norm(W1, axis=1) * np.linalg.norm(W2, axis=0)
    return lengths


def _folded(units: Array, W1: Array, b1: Array, W2: Array, b2: Array, x: Array) -> tuple[Array, Array, Array]:
    gone = np.setdiff1d(np.arange(len(b1)), units)
    return units, W2[:, units], b2 + W2[:, gone] @ np.tanh(W1 @ x + b1[:, None])[gone].mean(axis=1)


def _by_chance(n: int) -> Array:
    return _most(np.random.default_rng(0).random(n))


TARGET = Target(
    id="surgery.target",
    function="operate",
    points=10,
    minutes=60,
    section="notebook 16, section 5",
    goal=f"Keep hidden units with at most {SHARE:.0%} of the weights, and read at least {ACCURACY:.0%} of unseen digits"
    " right.",
    draw=_draw,
    measure=_measure,
    blank={
        "everything kept": lambda W1, b1, W2, b2, x, t: (np.arange(len(b1)), W2, b2),
        "magnitude of what comes in": lambda W1, b1, W2, b2, x, t: _dropped(_most(np.linalg.norm(W1, axis=1)), W2, b2),
        "magnitude of what goes out": lambda W1, b1, W2, b2, x, t: _dropped(_most(np.linalg.norm(W2, axis=0)), W2, b2),
        "magnitude of both": lambda W1, b1, W2, b2, x, t: _dropped(_most(_product(W1, W2)), W2, b2),
        "what goes out, refitted": lambda W1, b1, W2, b2, x, t: _refitted(
            _most(np.linalg.norm(W2, axis=0)), W1, b1, W2, b2, x
        ),
        "magnitude of both, refitted": lambda W1, b1, W2, b2, x, t: _refitted(
            _most(_product(W1, W2)), W1, b1, W2, b2, x
        ),
        "chance": lambda W1, b1, W2, b2, x, t: _dropped(_by_chance(len(b1)), W2, b2),
        "chance, folded": lambda W1, b1, W2, b2, x, t: _folded(_by_chance(len(b1)), W1, b1, W2, b2, x),
        "chance, refitted": lambda W1, b1, W2, b2, x, t: _refitted(_by_chance(len(b1)), W1, b1, W2, b2, x),
    },
)
