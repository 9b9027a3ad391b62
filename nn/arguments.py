"""Numbers that a caller gave, as Python's own.

A NumPy scalar (of np.logspace, np.cos, ...) is an array in disguise: a float64 one makes float32 weights float64, and
JSON, where checkpoints keep settings, takes no float32.
"""

import operator
from numbers import Real
from typing import Any


def number(value: Any, what: str) -> float:
    """Return a real number, NumPy's too, as a Python float.

    Raises
    ------
    TypeError
        If it is no real number; truth values and strings are none.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"expected a number for {what}, got {value!r}")
    return float(value)


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
