"""The arrays of a layer: converted, copied, and its random generators found."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nn.backend import Array, get_array_module
from nn.module import Module


def cast_layer(layer: Module, dtype: Any) -> None:
    """Convert parameters, buffers and constant arrays of a layer to another floating dtype, in place."""
    for parameter in layer.parameters():
        for what in ("data", "grad", "hess_diag", "mask"):
            setattr(parameter, what, cast(getattr(parameter, what), dtype))
    for module in layer.modules():
        for name, value in vars(module).items():
            if type(value) in (np.ndarray, list, tuple, dict):
                vars(module)[name] = cast(value, dtype)


def cast(value: Any, dtype: Any) -> Any:
    """Return arrays of real floating-point numbers, also in lists, tuples and dicts, in another dtype."""
    return mapped(value, lambda array: array.astype(dtype) if _may_be_cast(array) else array)


def _may_be_cast(array: np.ndarray) -> bool:
    # Not a number without axes: a layer that keeps one makes float64 of float32, which is to be seen.
    return array.ndim > 0 and np.issubdtype(array.dtype, np.floating)


def generators(value: Any) -> Iterator[np.random.Generator]:
    """Yield the random generators in lists, tuples and dicts."""
    if isinstance(value, np.random.Generator):
        yield value
    elif type(value) in (list, tuple, dict):
        for each in value.values() if type(value) is dict else value:
            yield from generators(each)


def mapped(value: Any, f: Callable[[np.ndarray], Any]) -> Any:
    """Return f of an array; lists, tuples and dicts are gone through, everything else comes back as it is."""
    if isinstance(value, np.ndarray):
        return f(value)
    if type(value) in (list, tuple):
        return type(value)(mapped(each, f) for each in value)
    return {key: mapped(each, f) for key, each in value.items()} if type(value) is dict else value


def fresh(array: Array) -> Array:
    """Return a copy, for a subject that might change it in place; in torch a step of the graph."""
    xp = get_array_module(array)
    return array.copy() if xp is np else array + 0
