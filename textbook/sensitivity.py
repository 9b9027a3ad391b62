"""The one-at-a-time differences that the lecture starts from."""

from collections.abc import Callable
from typing import Any

import numpy as np

from nn.backend import to_numpy
from textbook.inputs import as_floats


def local_sensitivity(f: Callable[[np.ndarray], Any], x: Any, step: Any) -> np.ndarray:
    """Return S_i = (f(x + step_i e_i) - f(x)) / step_i for every parameter i: the forward differences of f at x.

    The error is step/2 times the second derivative, plus the rounding of f divided by the step: a step of 1e-8 times
    the size of x_i is near the best.  The mean of the results for step and -step is the central difference, with an
    error of step^2/6 times the third derivative.

    Parameters
    ----------
    f : function of a vector (K,), to a number; it is called K + 1 times.
    x : nominal value (K,).
    step : a number, or one a parameter (K,); may be negative.

    Raises
    ------
    ValueError
        If x is no vector of finite numbers, the steps do not fit it, or a step is too small to change its parameter.
    TypeError
        If x or step holds no numbers, f is no function, or what it returns is no number.

    Notes
    -----
    The slide with the formula of S_i, "only take into account local variation around nominal value".
    """
    if not callable(f):
        raise TypeError(f"expected a function f, got {type(f).__name__}")
    x = to_numpy(as_floats(x, "x")).astype(np.float64)
    if x.ndim != 1:
        raise ValueError(f"expected a vector x, got shape {x.shape}")
    steps = to_numpy(as_floats(np.asarray(step), "step"))
    if steps.shape not in ((), x.shape):
        raise ValueError(f"expected one step or {x.size} of them, got shape {steps.shape}")
    nominal = _value(f, x.copy())
    S = np.empty_like(x)
    for i, step_i in enumerate(np.broadcast_to(steps, x.shape)):
        moved = x.copy()
        moved[i] += step_i
        taken = moved[i] - x[i]  # x + step is rounded: this is the step that f sees
        if taken == 0:
            raise ValueError(f"expected a step that changes x[{i}] = {x[i]}, got {step_i}")
        S[i] = (_value(f, moved) - nominal) / taken
    return S


def _value(f: Callable[[np.ndarray], Any], x: np.ndarray) -> float:
    value = f(x)
    if np.ndim(value) or np.asarray(value).dtype.kind not in "biuf":
        raise TypeError(f"expected f to return one real number, got {value!r}")
    return float(value)
