"""Starting values of weights: functions (shape, rng) -> float64 array, all zero-mean.

The fan-in of a weight of shape (out, in, ...) is the product of all axes but the first.  Numbers are drawn in NumPy
and in float64 whatever the net's dtype and device, so that all of them start equal.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from nn.backend import Array
from nn.module import Parameter

Initializer: TypeAlias = Callable[[Sequence[int], np.random.Generator], Array]


def he_normal(shape: Sequence[int], rng: np.random.Generator) -> Array:
    """Normal with variance 2 / fan_in: keeps the size of activations through ReLU layers (He et al. 2015).

    Parameters
    ----------
    shape : of the weight, (out, in) or (out, in, KH, KW).
    """
    return math.sqrt(2 / _fan_in(shape)) * _drawn(rng).standard_normal(shape)


def lecun_normal(shape: Sequence[int], rng: np.random.Generator) -> Array:
    """Normal with variance 1 / fan_in: keeps the size of activations through linear and tanh layers.

    Parameters
    ----------
    shape : of the weight, (out, in) or (out, in, KH, KW).
    """
    return math.sqrt(1 / _fan_in(shape)) * _drawn(rng).standard_normal(shape)


def lecun_uniform_1990(shape: Sequence[int], rng: np.random.Generator) -> Array:
    """Uniform in +-2.4 / fan_in, as LeCun's networks of 1989 and 1990 start.

    Parameters
    ----------
    shape : of the weight, (out, in) or (out, in, KH, KW).
    """
    bound = 2.4 / _fan_in(shape)
    return _drawn(rng).uniform(-bound, bound, shape)


def standard_normal(shape: Sequence[int], rng: np.random.Generator) -> Array:
    """Normal with variance 1: a row of a table is picked, not summed over, so that no fan-in scales it.

    Parameters
    ----------
    shape : of the table, (D, number of symbols).
    """
    return _drawn(rng).standard_normal(shape)


def zeros(shape: Sequence[int], rng: np.random.Generator) -> Array:
    """All zeros; what biases start at.

    Parameters
    ----------
    shape : of the parameter.
    """
    return np.zeros(shape)


def ones(shape: Sequence[int], rng: np.random.Generator) -> Array:
    """All ones; what scales start at.

    Parameters
    ----------
    shape : of the parameter.
    """
    return np.ones(shape)


def draw(init: Initializer, shape: Sequence[int], rng: np.random.Generator | None, dtype: Any) -> Parameter:
    """Return a new parameter: `init` (shape, rng) in the given dtype, or an outline if rng is None.

    Raises
    ------
    ValueError
        If a size is not a positive integer, or the dtype is not float32 or float64.
    TypeError
        If rng is neither None nor an np.random.Generator.
    """
    if dtype not in (np.float32, np.float64, "float32", "float64", np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"expected the dtype float32 or float64, got {dtype!r}")
    dtype = np.dtype(dtype)
    _check_sizes(shape)
    check_generator(rng)
    if rng is None:
        return Parameter(None, shape, dtype)
    return Parameter(init(shape, rng).astype(dtype))


def check_generator(rng: Any, outline: bool = True) -> None:
    """Raise a TypeError unless rng is an np.random.Generator, or None where that builds an outline."""
    if isinstance(rng, np.random.Generator) or (rng is None and outline):
        return
    none = " (or None for an outline)" if outline else ""
    raise TypeError(f"expected an np.random.Generator, for instance np.random.default_rng(0){none}, got {rng!r}")


def _drawn(rng: np.random.Generator) -> np.random.Generator:
    check_generator(rng, outline=False)
    return rng


def _fan_in(shape: Sequence[int]) -> int:
    _check_sizes(shape)
    return math.prod(shape[1:])


def _check_sizes(shape: Sequence[int]) -> None:
    if not all(isinstance(n, int | np.integer) and n > 0 for n in shape):
        raise ValueError(f"expected positive integers as the sizes of a weight, got {tuple(shape)}")
