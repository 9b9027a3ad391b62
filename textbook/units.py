"""Powers of two, which change the unit of numbers and none of their digits; and means, which take the digits off."""

import math
from typing import Any

import numpy as np

from nn.backend import Array, get_array_module


def leading_exponent(array: Array) -> int:
    """Return the k with 2^k <= max |x_i| < 2^(k+1), 0 for zeros.

    Multiplying by 2^-k changes no digit and leaves max |x_i| between 1 and 2, so that its square is a float.

    Raises
    ------
    TypeError
        If it is no array.
    """
    xp = get_array_module(array)
    largest = max(float(xp.max(array)), -float(xp.min(array)))
    return math.frexp(largest)[1] - 1 if largest else 0


def scaled(values: Any, exponent: int) -> Any:
    """Return values * 2^exponent, exactly; what is too large for a float becomes infinite, what is too small zero."""
    with np.errstate(over="ignore", under="ignore"):
        while exponent:  # 2^exponent itself need not be a float
            step = max(-1000, min(1000, exponent))
            values, exponent = values * 2.0**step, exponent - step
    return values


def centred(array: Array) -> tuple[Array, Array]:
    """Return the columns of X (n, p), or the vector y (n,), less their means; and the means.

    The mean of a constant is rounded, and what is left of the constant after it would count as a column: a column
    whose numbers differ by no more than four units in the last place becomes zero.
    """
    xp = get_array_module(array)
    means = xp.mean(array, axis=0)
    high, low = xp.max(array, axis=0), xp.min(array, axis=0)
    noise = 4 * xp.finfo(array.dtype).eps * xp.maximum(xp.abs(high), xp.abs(low))
    return xp.where(high - low <= noise, xp.zeros_like(array), array - means), means
