"""The digits behind most targets: those that are shown, those that the judge keeps, and nets that learn the first."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

import nn
from course.spec import Array

SHOWN = 1200
"""Of the 1797 digits; the others are unseen."""
Labelled: TypeAlias = tuple[Array, Array]
"""Images (64, N), one a column, and their labels (N,)."""


def split(rng: np.random.Generator) -> tuple[Labelled, Labelled]:
    """Return the digits that are shown, and those that are not."""
    digits: Any = nn.data.load("digits")
    (x, t), (more, labels) = digits.train, digits.test
    x, t = np.concatenate([x, more], axis=-1).reshape(64, -1), np.concatenate([t, labels])
    order = rng.permutation(len(t))
    shown, unseen = order[:SHOWN], np.sort(order[SHOWN:])
    return (x[:, shown], t[shown]), (x[:, unseen], t[unseen])


def trained(
    net: nn.Sequential,
    x: Array,
    t: Array,
    rng: np.random.Generator,
    rate: float = 0.05,
    epochs: int = 15,
    batch_size: int = 32,
    only: Sequence[nn.Parameter] | None = None,
) -> list[Array]:
    """Train a net, or `only` some of its parameters, on the cross-entropy; return the arrays of all of them."""
    sgd = nn.SGD(net.parameters() if only is None else only, rate, momentum=0.9)
    nn.training.train(
        net, nn.SoftmaxCrossEntropy(), sgd, x, t, epochs=epochs, batch_size=batch_size, rng=rng, progress=False
    )
    return [np.asarray(parameter.data) for parameter in net.parameters()]


def read_right(logits: Array, t: Array) -> float:
    """Return the share of the columns whose largest logit is that of the label."""
    return float(np.mean(np.argmax(logits, axis=0) == t))


def arrays(result: Any, shapes: Mapping[str, tuple[int, ...]]) -> list[Array]:
    """Return the arrays of a result, as float64, in the order of their names.

    Raises
    ------
    ValueError
        If they are more or fewer, of another shape, or not finite.
    """
    if not isinstance(result, tuple) or len(result) != len(shapes):
        raise ValueError(f"expected {len(shapes)} arrays, {', '.join(shapes)}")
    found = [np.asarray(array, dtype=np.float64) for array in result]
    for (name, shape), array in zip(shapes.items(), found):
        if array.shape != shape:
            raise ValueError(f"{name} has the shape {array.shape}, expected {shape}")
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{name} holds nan or inf")
    return found


def masks(result: Any, shapes: Mapping[str, tuple[int, ...]]) -> list[Array]:
    """Return the masks of a result, as `arrays`, and raise a ValueError if one holds other numbers than 0 and 1."""
    found = arrays(result, shapes)
    for name, mask in zip(shapes, found):
        if not np.all((mask == 0) | (mask == 1)):
            raise ValueError(f"{name} holds other numbers than 0 and 1")
    return found
