"""What every solver asks of its arguments: one clear sentence for each thing that can be wrong with them."""

import math
import numbers
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from nn.backend import Array, get_array_module

MOST_ITERATIONS = 10**9


def as_regression(X: Any, y: Any) -> tuple[Array, Array]:
    """Return X (n, p) and y (n,) as float arrays of the library they came in; lists become NumPy arrays.

    float32 and float64 stay what they are (both become float64 if they differ), every other real type becomes float64.
    The arguments are not modified.

    Raises
    ------
    ValueError
        If X is not two-dimensional, y not one-dimensional or of another length, a dimension is empty, or a number is
        complex, NaN or infinite (the message names the first).
    TypeError
        If they are no arrays of numbers, or arrays of two libraries.
    """
    X, y = as_floats(X, "X"), as_floats(y, "y")
    if len(X.shape) != 2:
        raise ValueError(f"expected X of shape (n, p), got shape {tuple(X.shape)}")
    if len(y.shape) != 1:
        raise ValueError(f"expected y of shape (n,), got shape {tuple(y.shape)}; y[:, 0] makes one of a column")
    if 0 in X.shape:
        raise ValueError(f"expected at least one sample and one column, got X of shape {tuple(X.shape)}")
    if X.shape[0] != y.shape[0]:
        raise ValueError(f"expected as many values of y as rows of X, got {y.shape[0]} and {X.shape[0]}")
    xp = get_array_module(X, y)
    if X.dtype != y.dtype:
        X, y = xp.astype(X, xp.float64), xp.astype(y, xp.float64)
    return X, y


def as_floats(array: Any, name: str) -> Array:
    """Return an array of finite real numbers, float32 or float64, in the library it came in; lists become NumPy arrays.

    Raises
    ------
    ValueError
        If a number is complex, NaN or infinite, or a list has rows of unequal length.
    TypeError
        If it is no array of numbers, or one of NumPy's masked arrays or matrices, to which the operators mean
        something else.
    """
    array = _as_real(array, name)
    xp = get_array_module(array)
    with np.errstate(over="ignore", invalid="ignore"):
        total = xp.sum(array)
    # Where the sum is finite all are; it can be infinite where they are huge.
    if not bool(xp.isfinite(total)) and not bool(xp.all(xp.isfinite(array))):
        where = int(xp.argmin(xp.astype(xp.reshape(xp.isfinite(array), (-1,)), xp.int64)))
        index = tuple(int(i) for i in np.unravel_index(where, array.shape))
        at = ", ".join(map(str, index))
        raise ValueError(f"expected finite numbers, got {float(array[index])} at {name}[{at}]")
    return array


def as_coefficients(beta: Any, X: Array, name: str = "beta") -> Array:
    """Return a copy (p,) in float64 of one coefficient for each column of X; NaN and infinity may be among them.

    Raises
    ------
    ValueError
        If their number is another, or they are complex.
    TypeError
        If they are no array of numbers, or one of another library than X.
    """
    beta, p = _as_real(beta, name), X.shape[1]
    if tuple(beta.shape) != (p,):
        raise ValueError(f"expected {name} of shape ({p},), one coefficient a column, got shape {tuple(beta.shape)}")
    xp = get_array_module(X, beta)
    return xp.astype(beta, xp.float64)


def _as_real(array: Any, name: str) -> Array:
    array = as_plain(array, name)
    try:
        xp = get_array_module(array)
    except TypeError:
        raise TypeError(f"expected {name} to be an array, got {type(array).__name__}") from None
    if xp is np and array.dtype.kind not in "biufc":
        raise TypeError(f"expected {name} to hold real numbers, got dtype {array.dtype}")
    if xp.isdtype(array.dtype, "complex floating"):
        raise ValueError(f"expected {name} to hold real numbers, got dtype {array.dtype}")
    return array if array.dtype in (xp.float32, xp.float64) else xp.astype(array, xp.float64)


def as_plain(array: Any, name: str) -> Any:
    """Return a list or tuple as a NumPy array, anything else as it is.

    Raises
    ------
    ValueError
        If a list has rows of unequal length.
    TypeError
        If it is a masked array or a matrix of NumPy.
    """
    if isinstance(array, np.matrix | np.ma.MaskedArray):
        raise TypeError(f"expected {name} to be a plain array, got {type(array).__name__}")
    if not isinstance(array, list | tuple):
        return array
    try:
        return np.asarray(array)
    except ValueError:
        raise ValueError(f"expected {name} to have rows of one length, got a ragged list") from None


def as_lam(lam: Any, name: str = "lam") -> float:
    """Return `lam` as a float; infinity is allowed.

    Raises
    ------
    TypeError
        If it is no real number.
    ValueError
        If it is negative or NaN, or an integer beyond the floats.
    """
    if not isinstance(lam, numbers.Real) or isinstance(lam, bool):
        raise TypeError(f"expected {name} to be a real number, got {type(lam).__name__}")
    try:
        lam = float(lam)
    except OverflowError:
        raise ValueError(f"expected {name} of at most 1.8e308, or math.inf, got a larger integer") from None
    if math.isnan(lam) or lam < 0:
        raise ValueError(f"expected {name} of at least 0, got {lam}")
    return lam


def as_lams(lams: Any, name: str = "lams") -> np.ndarray:
    """Return the numbers `lams` as an array (L,), from the largest to the smallest; infinity is allowed.

    Raises
    ------
    TypeError
        If it is no sequence of real numbers.
    ValueError
        If it is empty, or one is negative or NaN.
    """
    values = [as_lam(lam, f"{name}[{i}]") for i, lam in enumerate(_listed(lams, name, "a sequence of real numbers"))]
    if not values:
        raise ValueError(f"expected at least one number in {name}, got none")
    return np.sort(values)[::-1]


def as_count(count: Any, name: str, least: int = 0, most: int | None = None) -> int:
    """Return `count` as an int.

    Raises
    ------
    TypeError
        If it is no integer.
    ValueError
        If it is below `least` or above `most`.
    """
    if isinstance(count, bool):
        raise TypeError(f"expected {name} to be an integer, got bool")
    try:
        number = operator.index(count)
    except TypeError:
        raise TypeError(f"expected {name} to be an integer, got {type(count).__name__}") from None
    if number < least or (most is not None and number > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"expected {name} {bounds}, got {number}")
    return number


def as_iterations(count: Any, name: str) -> int:
    """Return the bound of an iteration as an int from 1 to a thousand million; ValueError, TypeError as `as_count`."""
    if (number := as_count(count, name, least=1)) > MOST_ITERATIONS:
        raise ValueError(f"expected {name} of at most {MOST_ITERATIONS}, got {number}")
    return number


def as_function(function: Any, name: str, takes: str, optional: bool = False) -> None:
    """Raise a TypeError if it is no function; None will do for one that is optional."""
    if not callable(function) and not (optional and function is None):
        raise TypeError(f"expected {name} to be a function {takes}, got {type(function).__name__}")


def as_flag(flag: Any, name: str) -> bool:
    """Return True or False; TypeError if it is anything else."""
    if not isinstance(flag, bool | np.bool_):
        raise TypeError(f"expected {name} to be True or False, got {type(flag).__name__}")
    return bool(flag)


def as_positive(value: Any, name: str) -> float:
    """Return `value` as a positive finite float.

    Raises
    ------
    TypeError
        If it is no real number.
    ValueError
        If it is not positive, infinite or NaN.
    """
    value = as_lam(value, name)
    if value == 0 or math.isinf(value):
        raise ValueError(f"expected {name} to be positive and finite, got {value}")
    return value


def as_groups(groups: Any, p: int) -> list[np.ndarray]:
    """Return the groups as index arrays, after checking that every one of the p columns is in exactly one of them.

    Labels, one a column, become such a list by ``[np.flatnonzero(labels == g) for g in np.unique(labels)]``.

    Raises
    ------
    TypeError
        If groups is no list or other sequence (None, a number, a string, a dict).
    ValueError
        Naming the group or the column, if a group is empty, holds an index outside 0..p-1 or something else than
        integers, if two groups share a column (overlapping groups are another problem: copy the column), or if a
        column is in no group.
    """
    arrays = [_as_indices(group, g) for g, group in enumerate(_listed(groups, "groups", "a list of index arrays"))]
    if not arrays:
        raise ValueError("expected at least one group, got none")
    columns = np.concatenate(arrays)
    owner = np.repeat(np.arange(len(arrays)), [len(array) for array in arrays])
    outside = np.flatnonzero((columns < 0) | (columns >= p))
    if outside.size:
        j, g = columns[outside[0]], owner[outside[0]]
        raise ValueError(f"expected column indices from 0 to {p - 1}, got {j} in group {g}")
    count = np.bincount(columns, minlength=p)
    if count.max() > 1:
        j = int(np.argmax(count))
        first, second = owner[columns == j][:2]
        raise ValueError(f"expected every column in one group, got column {j} in groups {first} and {second}")
    if count.min() == 0:
        raise ValueError(f"expected every column in a group, got column {int(np.argmin(count))} in none")
    return arrays


def _listed(values: Any, name: str, what: str) -> list[Any]:
    try:
        if isinstance(values, str | dict):
            raise TypeError
        return list(values)
    except TypeError:
        raise TypeError(f"expected {name} to be {what}, got {type(values).__name__}") from None


def _as_indices(group: Any, g: int) -> np.ndarray:
    try:
        indices = np.asarray(group)
    except ValueError:  # a ragged list
        indices = np.empty((0, 0))
    if indices.ndim != 1 or indices.size == 0:
        raise ValueError(f"expected group {g} to be a list of at least one column index, got {group!r}")
    if indices.dtype.kind not in "iu":
        raise ValueError(f"expected group {g} to hold integer column indices, got dtype {indices.dtype}")
    return indices.astype(np.intp)


def as_weights(weights: Any, groups: Sequence[np.ndarray]) -> np.ndarray:
    """Return one positive float64 weight a group; None is 1 for every group.

    Raises
    ------
    TypeError
        If they are no numbers.
    ValueError
        If their number is not that of the groups, or one is not positive and finite.
    """
    if weights is None:
        return np.ones(len(groups))
    try:
        values = np.asarray(weights)
    except ValueError:  # a ragged list
        values = np.asarray(None)
    if values.dtype.kind not in "iuf":
        raise TypeError(f"expected weights to be real numbers, one a group, got {weights!r}")
    values = values.astype(np.float64)
    if values.shape != (len(groups),):
        raise ValueError(f"expected {len(groups)} weights, one a group, got shape {values.shape}")
    bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if bad.size:
        raise ValueError(f"expected positive finite weights, got {values[bad[0]]} for group {bad[0]}")
    return values
