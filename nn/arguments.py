"""Numbers that a caller gave, as Python's own.

A NumPy scalar (of np.logspace, np.cos, ...) is an array in disguise: a float64 one makes float32 weights float64, and
JSON, where checkpoints keep settings, takes no float32.
"""

import math
import operator
from numbers import Real
from typing import Any

import numpy as np


def number(value: Any, what: str) -> float:
    """Return a real number, NumPy's and its arrays without axes too, as a Python float.

    Raises
    ------
    TypeError
        If it is no real number; truth values and strings are none.
    """
    found = value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if isinstance(found, bool) or not isinstance(found, Real):
        raise TypeError(f"expected a number for {what}, got {value!r}")
    return float(found)


def nonnegative(value: Any, what: str) -> float:
    """Return a finite number of 0 or more, NumPy's too, as a Python float.

    Raises
    ------
    TypeError
        As `number`.
    ValueError
        If it is below 0, infinite or NaN.
    """
    found = number(value, f"the {what}")
    if not 0 <= found < math.inf:
        raise ValueError(f"expected a {what} of 0 or more, got {value!r}")
    return found


def whole(value: Any, what: str, least: int) -> int:
    """Return a whole number of at least `least`, NumPy's too, as a Python int.

    Raises
    ------
    ValueError
        If it is smaller, or no integer: 1.5, infinity, a truth value.
    """
    try:
        if isinstance(value, bool) or (found := operator.index(value)) < least:
            raise TypeError
    except TypeError:
        raise ValueError(f"expected a whole {what} of at least {least}, got {value!r}") from None
    return found
