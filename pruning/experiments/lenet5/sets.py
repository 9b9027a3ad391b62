"""What ADMM may leave of the convolutions of LeNet-5: so many filters, and columns that read one of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

import nn
from nn.backend import Array, to_numpy
from nn.module import Module
from pruning import masks
from pruning.channels import tracing
from pruning.channels.members import consumed, producers
from pruning.penalties import admm


def conv_sets(net: Module, shapes: Mapping[str, list[int]]) -> dict[str, admm.Projection]:
    """Return projections on (filters, columns) of each convolution, {"0.W": [5, 12], "2.W": [20, 60]}.

    A column that reads a map which the first convolution no longer makes is no use: the second one chooses among the
    others.  The projections are called in this order, in every step of ADMM.  A net that has fewer filters or columns
    already, since nobody read them, keeps those that it has.
    """
    if list(shapes) != (convolutions := list(masks.prunable(net))[:2]):
        raise ValueError(f"expected shapes of {' and '.join(convolutions)}, got {', '.join(shapes) or 'none'}")
    first, second = shapes
    trace = tracing.trace(net)
    sites = producers(trace)
    layer: Any = sites[second].layer
    (sees,) = consumed(layer)
    row = {root: j for j, root in enumerate(trace.root(sites[first].outputs))}
    owner = np.array([row[root] for root in trace.root(sites[second].inputs)])[sees]
    has = [W.reshape(W.shape[0], -1).shape for W in (p.data for p in masks.prunable(net, list(shapes)).values())]
    project_first, project_second = (
        admm.filters_and_columns(*map(min, shape, most)) for shape, most in zip(shapes.values(), has)
    )
    alive: list[Any] = []

    def choose_maps(v: Array) -> Array:
        y = project_first(v)
        alive[:] = [to_numpy(y).reshape(y.shape[0], -1).any(axis=1)]
        return y

    def among_their_columns(v: Array) -> Array:
        read = alive[0][owner].astype(to_numpy(v).dtype).reshape(1, *v.shape[1:])
        return project_second(v * nn.backend.asarray(read, like=v))

    return {first: choose_maps, second: among_their_columns}
