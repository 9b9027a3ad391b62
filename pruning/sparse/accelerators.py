r"""Cycles of two accelerators that skip zeros, of weights or of activations, and the bits that say where weights are.

Cambricon-X (Zhang et al. 2016) skips weights that are zero.  16 units have one filter each, and do up to 16
multiplications a cycle.  For one column of X, with n_ij nonzero weights among inputs 256 j to 256 j + 255 of filter i,

    cycles = max_u sum_{i mod 16 = u} sum_j max(1, ceil(n_ij / 16))         asynchronous
    cycles = sum_{16 filters at a time} sum_j max_i max(1, ceil(n_ij / 16))  in lockstep

Cnvlutin (Albericio et al. 2016) skips activations that are zero.  A brick has 16 channels at one place.  The baseline
takes a brick a cycle, all 16 numbers at once; here each of 16 lanes takes every 16th brick of the window, one nonzero a
cycle.  With n_b nonzeros in brick b, and 256 filters at a time,

    cycles of a window = max_l sum_{b mod 16 = l} max(1, n_b),   against the number of its bricks.

From the papers' abstracts are what is skipped, 16 units that work asynchronously, lanes that go on mostly
independently, and what is printed: 7.23 times as fast on average, and 1.24 to 1.55 times, 1.37 on average.  From
memory, and so assumed here: the 256 inputs among which a unit of Cambricon-X chooses, in the order of W.reshape(O, -1),
and the cycle that they take when no weight is left; of Cnvlutin the 256 filters, bricks dealt to the lanes in turn,
lanes that wait at the end of a window, the cycle that an empty brick takes, the first layer as in the baseline, and a
fully connected layer as one window.  Memory, the time until the first result, and area are left out: a machine with
these rules can only be slower.

References
----------
Zhang et al. 2016, Cambricon-X, doi:10.1109/MICRO.2016.7783723; Albericio et al. 2016, Cnvlutin,
doi:10.1109/ISCA.2016.11.  Steps of 4 bits: Han et al. 2016, EIE, arXiv:1602.01528.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nn.backend import Array, get_array_module, to_numpy
from nn.batches import evaluating
from nn.conv import Conv2d
from nn.linear import Linear
from nn.module import Module, check_net
from nn.recording import record
from pruning.counts import checked_shape, walk
from pruning.sparse.savings import INSIDE

UNITS = 16
"""Units of Cambricon-X, multipliers of each; lanes of Cnvlutin, channels of a brick."""
CHOICE = 256
"""Inputs among which a unit of Cambricon-X chooses."""
FILTERS = 256
"""Filters that Cnvlutin and its baseline work on at a time."""
FURTHEST = 16
"""A step of 4 bits goes at most so far; a zero is stored where the next unit is further away."""


@dataclass(frozen=True)
class Layer:
    """One layer for one image: the multiplications that are not skipped, cycles without skipping and with it."""

    name: str
    macs: float
    dense: int
    cycles: float

    @property
    def speedup(self) -> float:
        """Cycles without skipping over those with it."""
        return self.dense / self.cycles


@dataclass(frozen=True)
class Cycles:
    """All layers of a net on one machine, for one image."""

    layers: tuple[Layer, ...]

    @property
    def macs(self) -> float:
        """Multiplications that are not skipped."""
        return sum(layer.macs for layer in self.layers)

    @property
    def dense(self) -> int:
        """Cycles if nothing is skipped."""
        return sum(layer.dense for layer in self.layers)

    @property
    def cycles(self) -> float:
        """Cycles."""
        return sum(layer.cycles for layer in self.layers)

    @property
    def speedup(self) -> float:
        """Cycles without skipping over those with it."""
        return self.dense / self.cycles


# ---- Cambricon-X: the zeros of weights -------------------------------------------------------------------------------
def dense(W: Array) -> int:
    """Return the cycles of W (O, ...) for one column of X with all its zeros: 16 filters and 16 inputs at a time."""
    full = np.ones(_matrix(W).shape)
    return -(-len(full) // UNITS) * int(_chosen(full)[0].sum())


def asynchronous(W: Array) -> int:
    """Return the cycles of W (O, ...) for one column of X if a unit starts its next filter when it is ready.

    Units take every 16th filter.  At most as many as in `lockstep`, and at least a 16th of `dense`.
    """
    own = _by_unit(_chosen(_matrix(W)).sum(axis=1))
    return int(own.sum(axis=0).max())


def lockstep(W: Array) -> int:
    """Return the cycles of W (O, ...) for one column of X if all units go on to the next 256 inputs together."""
    own = _by_unit(_chosen(_matrix(W)))
    return int(own.max(axis=1).sum())


def _chosen(W: np.ndarray) -> np.ndarray:
    # max(1, ceil(n_ij / 16)) (O, J): n_ij weights are left among the inputs 256 j to 256 j + 255.
    left = np.add.reduceat(W != 0, np.arange(0, W.shape[1], CHOICE), axis=1, dtype=np.int64)
    return np.maximum(1, -(-left // UNITS))


def _by_unit(numbers: np.ndarray) -> np.ndarray:
    # (n, ...) -> (rounds, 16, ...): number k belongs to unit k mod 16; in the last round some have nothing to do.
    rounds = -(-len(numbers) // UNITS)
    padded = np.zeros((rounds * UNITS, *numbers.shape[1:]), np.int64)
    padded[: len(numbers)] = numbers
    return padded.reshape(rounds, UNITS, *numbers.shape[1:])


def _matrix(W: Array) -> np.ndarray:
    get_array_module(W)  # a TypeError for what is no array
    W = to_numpy(W)
    if W.ndim < 2 or 0 in W.shape:
        raise ValueError(f"expected a weight (O, ...) of at least two axes and one entry, got shape {W.shape}")
    return np.reshape(W, (len(W), -1))


def cambricon_x(net: Module, input_shape: Sequence[int], rule: Callable[[Array], int] = asynchronous) -> Cycles:
    """Return the cycles of a net's convolutions and fully connected layers on Cambricon-X, for one image.

    Parameters
    ----------
    net : what is skipped are the zeros of its weights.
    input_shape : of one image, such as (1, 28, 28).
    rule : `asynchronous`, the machine of the paper, or `lockstep`.

    Raises
    ------
    TypeError
        If this is no net.
    ValueError
        For an input that the net cannot take, or a net without weights, or an outline.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> from pruning.sparse import cambricon_x
    >>> cambricon_x(nn.models.lenet5(np.random.default_rng(0)), (1, 28, 28)).dense
    12128
    """
    layers = []
    for name, module, shape in _weighted(net, checked_shape(net, input_shape)):
        positions, matrices = math.prod(module.output_shape(shape)[1:]), _by_group(module)
        layers.append(
            Layer(
                name,
                positions * sum(int(np.count_nonzero(W)) for W in matrices),
                positions * sum(dense(W) for W in matrices),
                positions * sum(rule(W) for W in matrices),
            )
        )
    return Cycles(tuple(layers))


# ---- Cnvlutin: the zeros of activations ------------------------------------------------------------------------------
def bricks(x: Array) -> np.ndarray:
    """Return the numbers of nonzeros in the bricks of x (C, ...), (ceil(C / 16), ...): 16 channels at one place."""
    get_array_module(x)
    x = to_numpy(x)
    return np.add.reduceat(x != 0, np.arange(0, x.shape[0], UNITS), axis=0, dtype=np.int64)


def slowest_lane(nonzeros: Array) -> np.ndarray:
    """Return the cycles (P,) of P windows whose bricks have so many nonzeros (B, P): those of the slowest of 16 lanes.

    Lane l takes the bricks b with b mod 16 = l.  With 16 k full bricks these are B cycles, as many as in the baseline.
    """
    return np.asarray(_by_unit(np.maximum(1, to_numpy(nonzeros))).sum(axis=0).max(axis=0))


def cnvlutin(net: Module, x: Array) -> Cycles:
    """Return the cycles of a net's convolutions and fully connected layers on Cnvlutin, the mean over images x.

    Parameters
    ----------
    net : run in eval mode; its weights may be zero or not: that is not seen.  A convolution that reads only some
        columns of its windows gets them whole.
    x : (..., N) images.  What is skipped are the zeros of what they become in front of each layer but the first.

    Raises
    ------
    TypeError
        If this is no net, or x no array.
    ValueError
        For an input that the net cannot take, a net without weights, or an outline.
    """
    check_net(net)
    get_array_module(x)
    layers = {name: module for name, module, _ in _weighted(net, checked_shape(net, x.shape[:-1]))}
    with evaluating(net), record(net, list(layers)) as seen:
        net.forward(x)
    first = next(iter(layers))
    return Cycles(tuple(_on_cnvlutin(name, layers[name], seen[name][0][0], name != first) for name in layers))


def _on_cnvlutin(name: str, layer: Conv2d | Linear, x: Array, skips: bool) -> Layer:
    macs, whole, cycles, N = 0.0, 0, 0.0, x.shape[-1]
    parts = layer.split(x) if isinstance(layer, Conv2d) else [x]
    filters = layer.W.shape[0] // len(parts)
    turns = -(-filters // FILTERS)
    for part in parts:
        nonzeros = _windows(layer, bricks(part if skips else np.ones(part.shape)))
        whole += turns * nonzeros.size // N
        cycles += turns * (float(slowest_lane(nonzeros).sum()) if skips else nonzeros.size) / N
        macs += filters * float(nonzeros.sum()) / N
    return Layer(name, macs, whole, cycles)


def _windows(layer: Conv2d | Linear, nonzeros: np.ndarray) -> np.ndarray:
    # The bricks of every window, one window a column, P windows an image; the border's bricks are empty.
    if isinstance(layer, Linear):
        return nonzeros
    padded = layer.geometry.pad(nonzeros)
    OH, OW = layer.geometry.output(*nonzeros.shape[1:3])
    return np.asarray(layer.geometry.columns(padded, 0, OH, OW))


def _weighted(net: Module, shape: tuple[int, ...]) -> Iterator[tuple[str, Conv2d | Linear, tuple[int, ...]]]:
    found = [(name, layer, inner) for name, layer, inner, _ in walk(net, shape) if isinstance(layer, Conv2d | Linear)]
    if not found or any(layer.W.is_outline for _, layer, _ in found):
        raise ValueError("expected a net with weights in convolutions or affine layers, got none or an outline")
    yield from found


def _by_group(layer: Conv2d | Linear) -> list[np.ndarray]:
    return list(np.split(_matrix(layer.W.data), getattr(layer, "groups", 1)))


# ---- where the weights are that are left -----------------------------------------------------------------------------
@dataclass(frozen=True)
class IndexBits:
    """Bits of index for each weight that is kept, in three codes, and how many units there are and are kept.

    bitmap : one bit a unit.  steps : 4 bits a kept unit, the distance from the last one, and 4 more for each zero that
    is stored because the next is more than 16 away.  entropy : log2 of the number of ways to keep so many of the units;
    no code needs fewer bits on average if all of them are equally likely.
    """

    units: int
    kept: int
    bitmap: float
    steps: float
    entropy: float


def index_bits(W: Array, granularity: str) -> IndexBits:
    """Return the bits of index for each kept weight of W (out, in, KH, KW), whose units of this granularity are kept.

    A unit is kept if not all of its weights are zero, and then as a whole.

    Raises
    ------
    TypeError
        If W is no array.
    ValueError
        For another granularity than weight, vector, kernel and filter, a W that is no weight of a convolution, or one
        that is zero.
    """
    if granularity not in list(INSIDE):
        raise ValueError(f"expected a granularity of {', '.join(INSIDE)}, got {granularity!r}")
    get_array_module(W)
    W = to_numpy(W)
    if W.ndim != 4 or not W.any():
        raise ValueError(f"expected a weight (out, in, KH, KW) that is not all zero, got one of shape {W.shape}")
    alive = np.any(W != 0, axis=INSIDE[granularity]).ravel()
    n, k = alive.size, int(alive.sum())
    steps = np.diff(np.flatnonzero(alive), prepend=-1)
    entries = int(np.sum((steps - 1) // FURTHEST + 1))
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    weights = k * (W.size // n)
    return IndexBits(n, k, n / weights, 4 * entries / weights, ways / math.log(2) / weights)
