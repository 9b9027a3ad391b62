"""Powers of two, which change the unit of numbers and none of their digits; and means, which take the digits off."""

import math
from typing import Any

import numpy as np

from nn.backend import Array, get_array_module

COUNTS = 1e-13  # what is left of a mean, relative to the spread: below, it is that of any mean


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
        while exponent:  # 2^exponent itself need not be a float, nor a float32
            step = max(-120, min(120, exponent))
            values, exponent = values * 2.0**step, exponent - step
    return values


def centred(array: Array) -> tuple[Array, Array]:
    """Return the columns of X (n, p), or the vector y (n,), less their means; and the means.

    A mean is rounded.  Where the numbers lie close together what is left of it after one subtraction counts, and is
    taken off in a second; and a column whose numbers differ by no more than four units in the last place is a constant,
    which becomes zero.
    """
    xp = get_array_module(array)
    means = xp.mean(array, axis=0)
    high, low = xp.max(array, axis=0), xp.min(array, axis=0)
    left = xp.mean(array - means, axis=0)
    left = xp.where(xp.abs(left) > COUNTS * (high - low), left, xp.zeros_like(left))
    constant = high - low <= 4 * xp.finfo(array.dtype).eps * xp.maximum(xp.abs(high), xp.abs(low))
    return xp.where(constant, xp.zeros_like(array), array - means - left), means + left


def in_units(array: Array, intercept: bool) -> tuple[Array, Array, int]:
    """Return X (n, p) or y (n,) times 2^-k, its means if there is an intercept and it is centred (or zeros), and k.

    The largest number of what is returned lies between 1 and 2.
    """
    k = leading_exponent(array)
    array = scaled(array, -k)
    if not intercept:
        return array, get_array_module(array).zeros_like(array[0, ...]), k
    array, means = centred(array)
    more = leading_exponent(array)  # centring can take the largest numbers away
    return scaled(array, -more), scaled(means, -more), k + more
