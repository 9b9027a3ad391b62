"""The sets that weights are constrained to, as the maps to their nearest points; the maps are what `admm` works with.

A weight stands as its matrix, a row for a filter (GEMM view, `textbook.proximal`).

Zhang et al. 2018, arXiv:1804.03294, for single weights; Ma et al. 2019, arXiv:1905.00136, for
filters and columns.
"""

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

from nn.arguments import number
from nn.backend import Array, get_array_module
from pruning import masks
from textbook.proximal import keep_largest, keep_largest_columns, keep_largest_rows

Projection: TypeAlias = Callable[[Array], Array]
"""V, a weight of any shape -> the nearest point of the set, of the same shape."""


def matrix(w: Array) -> Array:
    """Return a weight (out, ...) as its matrix (out, K).

    Parameters
    ----------
    w : (out, in) or (out, in, KH, KW).
    """
    return get_array_module(w).reshape(w, (w.shape[0], -1))


def weights(k: int) -> Projection:
    """Return the projection on at most k nonzero weights."""
    _at_least_one(k)
    return lambda v: keep_largest(v, k)


def largest_of_all(values: Mapping[str, Array], k: int) -> dict[str, Projection]:
    """Return sets whose projections keep, of these values, the k largest of all layers together: one budget.

    How many of them each layer has is read off here, so that W + U wants its sets anew before every `ADMM.update`, and
    W before `ADMM.project`.

    Raises
    ------
    ValueError
        If k is not at least one for each layer and at most the number of weights, or a layer has none of the largest.
    """
    sizes = {name: math.prod(v.shape) for name, v in values.items()}
    if not len(sizes) <= number(k, "how many to keep") <= sum(sizes.values()):
        raise ValueError(f"expected to keep {len(sizes)} to {sum(sizes.values())} weights of these layers, got {k}")
    scores = {name: v * v for name, v in values.items()}
    kept = masks.smallest(scores, 1 - k / sum(sizes.values()))
    each = {name: int(get_array_module(mask).sum(mask)) for name, mask in kept.items()}
    empty = [name for name, n in each.items() if n == 0]
    if empty:
        raise ValueError(f"{empty[0]} has none of the {k} largest weights: a layer without weights cuts the net in two")
    return {name: weights(n) for name, n in each.items()}


def filters(k: int) -> Projection:
    """Return the projection on at most k nonzero filters, the rows of the matrix."""
    _at_least_one(k)
    return lambda v: _like(keep_largest_rows(matrix(v), k), v)


def columns(k: int) -> Projection:
    """Return the projection on at most k nonzero columns of the matrix, positions (channel, i, j) of all filters."""
    _at_least_one(k)
    return lambda v: _like(keep_largest_columns(matrix(v), k), v)


def channels(k: int) -> Projection:
    """Return the projection on at most k nonzero input channels W[:, c], blocks of columns of the matrix.

    Not for a linear layer behind a flatten, where W[:, c] is one of the H*W columns of a channel, and not for a
    convolution that lost columns (`pruning.surgery.remove_columns`), where it is one of those that are left.
    """
    _at_least_one(k)

    def project(v: Array) -> Array:
        if len(v.shape) < 2:
            raise ValueError(f"expected a weight with input channels, (out, in, ...), got shape {tuple(v.shape)}")
        xp = get_array_module(v)
        C = v.shape[1]
        blocks = xp.reshape(matrix(v), (v.shape[0], C, -1))
        by_channel = xp.reshape(xp.permute_dims(blocks, (1, 0, 2)), (C, -1))
        kept = xp.reshape(keep_largest_rows(by_channel, k), (C, v.shape[0], -1))
        return _like(xp.permute_dims(kept, (1, 0, 2)), v)

    return project


def filters_and_columns(rows: int, cols: int) -> Projection:
    """Return a map to matrices with at most `rows` nonzero rows and `cols` nonzero columns, near the nearest one.

    The nearest one is a choice of rows and columns together, one of binomial(R, rows) x binomial(C, cols).  Rows first
    and columns first are both tried, each then improved in turns (the best columns for these rows, the best rows for
    those columns) until nothing changes, and the one that keeps more energy is taken.
    """
    _at_least_one(rows)
    _at_least_one(cols)

    def project(v: Array) -> Array:
        V = matrix(v)
        xp = get_array_module(V)
        found = [
            _improved(V, rows, cols, start) for start in (keep_largest_rows(V, rows), keep_largest_columns(V, cols))
        ]
        energies = [float(xp.sum(f * f)) for f in found]
        return _like(found[energies.index(max(energies))], v)

    return project


def _improved(V: Array, rows: int, cols: int, start: Array) -> Array:
    xp = get_array_module(V)
    kept, energy = start, -1.0
    while True:
        kept_columns = xp.any(keep_largest_columns(kept, cols) != 0, axis=0)
        by_rows = keep_largest_rows(xp.where(kept_columns[None, :], V, xp.zeros_like(V)), rows)
        kept_rows = xp.any(by_rows != 0, axis=1)
        kept = xp.where(kept_rows[:, None], V, xp.zeros_like(V))
        found = xp.where(kept_columns[None, :], by_rows, xp.zeros_like(V))
        now = float(xp.sum(found * found))
        if now <= energy:
            return found
        energy = now


def _at_least_one(k: int) -> None:
    if number(k, "how many to keep") < 1:
        raise ValueError(f"expected to keep at least one, got {k}: a layer without weights cuts the net in two")


def _like(values: Array, v: Array) -> Array:
    return get_array_module(values).reshape(values, v.shape)
