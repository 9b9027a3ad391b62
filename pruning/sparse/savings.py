"""The report that keeps four kinds of gain apart, and the masks of four granularities."""

import statistics
import time
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

from nn import checkpoint
from nn.backend import Array, get_array_module, to_numpy
from nn.batches import evaluating
from nn.module import Module
from pruning import masks
from pruning.counts import CONVENTIONS, Layer, count
from pruning.sparse.formats import CSR, Compact

INSIDE = {"weight": (), "vector": (3,), "kernel": (2, 3), "filter": (1, 2, 3)}
"""The four granularities: the axes of W (out, in, KH, KW) that are deleted as one, from irregular to regular."""


def granularity_mask(W: Array, granularity: str, sparsity: float) -> Array:
    """Return the 0/1 mask of W (out, in, KH, KW) that deletes the share `sparsity` of its units of smallest norm.

    Raises
    ------
    TypeError
        If W is no array.
    ValueError
        For another granularity than weight, vector (a row of a kernel), kernel and filter, a W that is no weight of a
        convolution, or a sparsity outside [0, 1].
    """
    if granularity not in list(INSIDE):
        raise ValueError(f"expected a granularity of {', '.join(INSIDE)}, got {granularity!r}")
    get_array_module(W)  # a TypeError for what is no array
    W = to_numpy(W)
    if W.ndim != 4:
        raise ValueError(f"expected a weight (out, in, KH, KW), got shape {W.shape}")
    sizes = np.sum(W * W, axis=INSIDE[granularity], keepdims=True)
    return masks.smallest({"W": sizes}, sparsity)["W"] * np.ones_like(W)


MOST_ROUNDS = 10_000
"""A median of more forward passes than this cannot be meant."""


@dataclass(frozen=True)
class Row:
    """One counted layer: its weights, its bytes in three formats, its multiply-accumulates for one image.

    Where a layer has a matrix W, it is W that is in the format; the other counted parameters stay dense.
    """

    name: str
    weights: int
    nonzero: int
    dense_bytes: int
    csr_bytes: int
    compact_bytes: int
    macs: int


@dataclass(frozen=True)
class Report:
    """Nominal sparsity, stored bytes, multiply-accumulates and time: four numbers that are often taken for one another.

    `stored_bytes` are those of all arrays in a checkpoint: parameters, masks, buffers.  `seconds` is the median of
    measured forward passes of `batch` images; `machine` names the BLAS kernels and the number of threads.
    """

    rows: tuple[Row, ...]
    convention: str
    stored_bytes: int
    batch: int
    seconds: float
    machine: str

    @property
    def sparsity(self) -> float:
        """Nominal sparsity, the share of counted weights that are zero: says nothing of bytes or time."""
        return 1 - sum(row.nonzero for row in self.rows) / sum(row.weights for row in self.rows)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image that the layers carry out: a dense layer multiplies its zeros too."""
        return sum(row.macs for row in self.rows)

    def table(self) -> str:
        """Return a line per layer, a line of totals, and the four numbers with what they mean."""
        lines: list[tuple[str, ...]] = [
            ("layer", "weights", "zeros", "dense bytes", "CSR bytes", "compact bytes", "MACs")
        ]
        named = [(row.name, _numbers(row)) for row in self.rows]
        total = "total", tuple(sum(column) for column in zip(*(numbers for _, numbers in named)))
        for name, (weights, nonzero, *others) in (*named, total):
            zeros = f"{1 - nonzero / weights:.1%}" if weights else ""
            lines.append((name, f"{weights:,}", zeros, *(f"{n:,}" for n in others)))
        widths = [max(map(len, column)) for column in zip(*lines)]
        text = ["  ".join([name.ljust(widths[0]), *map(str.rjust, cells, widths[1:])]) for name, *cells in lines]
        return "\n".join(
            [
                *text,
                f"nominal sparsity  {self.sparsity:.1%} of the weights that convention {self.convention} counts",
                f"stored            {self.stored_bytes:,} bytes: all parameters, masks and buffers, dense",
                f"MACs              {self.macs:,} for one image, convention {self.convention}, zeros multiplied too",
                f"measured time     {1e3 * self.seconds:.2f} ms, median forward pass of {self.batch} images,"
                f" {self.machine}",
            ]
        )


def _numbers(row: Row) -> tuple[int, ...]:
    return row.weights, row.nonzero, row.dense_bytes, row.csr_bytes, row.compact_bytes, row.macs


def report(net: Module | str | Path, x: Array, convention: str = "li2017", rounds: int = 7) -> Report:
    """Return nominal sparsity, bytes, multiply-accumulates and measured time of a net, or of a checkpoint's.

    Parameters
    ----------
    net : a net, or the path of a checkpoint.
    x : (..., N) the images of the forward pass that is timed, in eval mode.
    convention : of `pruning.counts`: which layers have a row, and what counts as a weight.
    rounds : forward passes, after one that warms up.

    Raises
    ------
    TypeError
        If this is no net and no path, or x is no array.
    ValueError
        For an unknown convention, no rounds or more than `MOST_ROUNDS`, an outline, a net of which the convention
        counts nothing, or what `nn.checkpoint.load` refuses.
    """
    if not (isinstance(rounds, Integral) and 1 <= rounds <= MOST_ROUNDS):
        raise ValueError(f"expected at least one round, at most {MOST_ROUNDS}, got {rounds!r}")
    if not isinstance(net, Module | str | Path):
        raise TypeError(f"expected a net or the path of a checkpoint, got {type(net).__name__}")
    get_array_module(x)  # a TypeError for what is no array
    net = net if isinstance(net, Module) else checkpoint.load(net)
    counted = count(net, x.shape[:-1], convention).layers
    if not any(layer.parameters for layer in counted):
        raise ValueError(f"expected a net with weights that convention {convention} counts, got one without")
    data = {name: to_numpy(parameter.data) for name, parameter in net.named_parameters()}
    rows = tuple(_row(layer, data, CONVENTIONS[convention].biases) for layer in counted)
    return Report(rows, convention, _stored_bytes(net), x.shape[-1], _seconds(net, x, rounds), machine())


def _row(layer: Layer, parameters: dict[str, Array], all_of_them: bool) -> Row:
    own = {name.rpartition(".")[2]: data for name, data in parameters.items() if name.rpartition(".")[0] == layer.name}
    counted = {name: data for name, data in own.items() if all_of_them or name == "W"}
    nonzero = sum(int(np.count_nonzero(data)) for data in counted.values())
    csr = compact = layer.bytes
    if "W" in counted:
        matrix = counted["W"].reshape(len(counted["W"]), -1)
        csr += CSR.of(matrix).nbytes - matrix.nbytes
        compact += Compact.of(matrix).nbytes - matrix.nbytes
    return Row(layer.name, layer.parameters, nonzero, layer.bytes, csr, compact, layer.macs)


def _stored_bytes(net: Module) -> int:
    arrays = [array for p in net.parameters() for array in (p.data, p.mask) if array is not None]
    return sum(to_numpy(array).nbytes for array in (*arrays, *(buffer for _, buffer in net.named_buffers())))


def _seconds(net: Module, x: Array, rounds: int) -> float:
    times = []
    with evaluating(net):
        for _ in range(rounds + 1):
            start = time.perf_counter()
            to_numpy(net.forward(x))  # a GPU is done only when its result is here
            times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def machine() -> str:
    """Return the names of the BLAS kernels and their number of threads: no time means anything without them."""
    threads = max((each["num_threads"] for each in _blas()), default=1)
    return f"{kernels()}, {threads} thread{'s' if threads > 1 else ''}"


def kernels() -> str:
    """Return the names of the BLAS kernels: other kernels add in another order, and give other last digits."""
    names = {f"{each['internal_api']} {each.get('architecture', '')}".strip() for each in _blas()}
    return ", ".join(sorted(names))


def _blas() -> list[dict[str, Any]]:
    return [library for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]
