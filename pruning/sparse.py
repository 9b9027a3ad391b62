"""What zeros save: sparse formats, small dense matrices, and a report that keeps four kinds of gain apart.

A layer is a product W X of its matrix W (filters in rows) with the columns X of its input.  Zeros in W save memory only
in a format that leaves them out, and time only if the product with that format beats the dense product, which does
several times more multiplications a second.  Where whole rows and columns are zero there is a third way: a smaller
dense matrix (`compact`).

The slides "Exploring the granularity of sparsity that is hardware-friendly" and "Structured sparsity learning".
"""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse

from nn import checkpoint
from nn.backend import Array, to_numpy
from nn.module import Module
from nn.training import evaluating
from pruning import masks
from pruning.counts import count

INSIDE = {"weight": (), "vector": (3,), "kernel": (2, 3), "filter": (1, 2, 3)}
"""The four granularities: the axes of W (out, in, KH, KW) that are deleted as one, from irregular to regular."""


def granularity_mask(W: Array, granularity: str, sparsity: float) -> Array:
    """Return the 0/1 mask of W (out, in, KH, KW) that deletes the share `sparsity` of its units of smallest norm.

    Raises
    ------
    ValueError
        For another granularity than weight, vector (a row of a kernel), kernel and filter, a W that is no weight of a
        convolution, or a sparsity outside [0, 1].
    """
    if granularity not in INSIDE:
        raise ValueError(f"expected a granularity of {', '.join(INSIDE)}, got {granularity!r}")
    W = to_numpy(W)
    if W.ndim != 4:
        raise ValueError(f"expected a weight (out, in, KH, KW), got shape {W.shape}")
    sizes = np.sum(W * W, axis=INSIDE[granularity], keepdims=True)
    return masks.smallest({"W": sizes}, sparsity)["W"] * np.ones_like(W)


@dataclass(frozen=True, eq=False)
class CSR:
    """Compressed sparse rows: the nonzero values row by row, the column of each, and where every row starts.

    Row i holds ``values[starts[i] : starts[i + 1]]``.  With itemsize b it takes (b + 4) nnz + 4 (rows + 1) bytes, so
    that in float32 it is smaller than the dense matrix only above a sparsity of one half.
    """

    shape: tuple[int, int]
    values: np.ndarray
    columns: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, W: Array) -> "CSR":
        """Return the format of a matrix W (rows, columns)."""
        W = _matrix(W)
        rows, columns = np.nonzero(W)  # row by row
        return cls(W.shape, W[rows, columns], columns.astype(np.int32), _starts(rows, W.shape[0]))

    @property
    def nbytes(self) -> int:
        """Bytes of the three arrays."""
        return self.values.nbytes + self.columns.nbytes + self.starts.nbytes

    def dense(self) -> np.ndarray:
        """Return W."""
        W = np.zeros(self.shape, self.values.dtype)
        W[np.repeat(np.arange(self.shape[0]), np.diff(self.starts)), self.columns] = self.values
        return W

    def compiled(self) -> scipy.sparse.csr_array:
        """Return SciPy's array on the same memory, whose product with a matrix is compiled."""
        return scipy.sparse.csr_array((self.values, self.columns, self.starts), shape=self.shape)


@dataclass(frozen=True, eq=False)
class CSC:
    """Compressed sparse columns: the nonzero values column by column, the row of each, and where columns start."""

    shape: tuple[int, int]
    values: np.ndarray
    rows: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, W: Array) -> "CSC":
        """Return the format of a matrix W (rows, columns)."""
        by_columns = CSR.of(_matrix(W).T)
        return cls(_matrix(W).shape, by_columns.values, by_columns.columns, by_columns.starts)

    @property
    def nbytes(self) -> int:
        """Bytes of the three arrays."""
        return self.values.nbytes + self.rows.nbytes + self.starts.nbytes

    def dense(self) -> np.ndarray:
        """Return W."""
        return CSR(self.shape[::-1], self.values, self.rows, self.starts).dense().T

    def compiled(self) -> scipy.sparse.csc_array:
        """Return SciPy's array on the same memory."""
        return scipy.sparse.csc_array((self.values, self.rows, self.starts), shape=self.shape)


@dataclass(frozen=True, eq=False)
class BSR:
    """Block sparse rows: compressed rows whose entries are the (r, c) blocks that are not all zero, stored densely."""

    shape: tuple[int, int]
    blocks: np.ndarray
    columns: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, W: Array, block: tuple[int, int]) -> "BSR":
        """Return the format of a matrix W (rows, columns).

        Raises
        ------
        ValueError
            If W is no matrix, or the blocks do not tile it.
        """
        W, (r, c) = _matrix(W), block
        if r < 1 or c < 1 or W.shape[0] % r or W.shape[1] % c:
            raise ValueError(f"expected blocks that tile a matrix {W.shape}, got {block}")
        tiles = W.reshape(W.shape[0] // r, r, W.shape[1] // c, c).transpose(0, 2, 1, 3)
        rows, columns = np.nonzero(tiles.any(axis=(2, 3)))
        return cls(W.shape, tiles[rows, columns], columns.astype(np.int32), _starts(rows, W.shape[0] // r))

    @property
    def nbytes(self) -> int:
        """Bytes of the three arrays."""
        return self.blocks.nbytes + self.columns.nbytes + self.starts.nbytes

    def dense(self) -> np.ndarray:
        """Return W."""
        _, r, c = self.blocks.shape
        tiles = np.zeros((self.shape[0] // r, self.shape[1] // c, r, c), self.blocks.dtype)
        tiles[np.repeat(np.arange(len(tiles)), np.diff(self.starts)), self.columns] = self.blocks
        return tiles.transpose(0, 2, 1, 3).reshape(self.shape)

    def compiled(self) -> scipy.sparse.bsr_array:
        """Return SciPy's array on the same memory."""
        return scipy.sparse.bsr_array((self.blocks, self.columns, self.starts), shape=self.shape)


@dataclass(frozen=True, eq=False)
class Compact:
    """The rows and columns of W that are not all zero, as a dense matrix of their own, and which ones they are."""

    shape: tuple[int, int]
    values: np.ndarray
    rows: np.ndarray
    columns: np.ndarray

    @classmethod
    def of(cls, W: Array) -> "Compact":
        """Return the format of a matrix W (rows, columns)."""
        W = _matrix(W)
        rows, columns = np.nonzero(W.any(axis=1))[0], np.nonzero(W.any(axis=0))[0]
        return cls(W.shape, W[np.ix_(rows, columns)], rows.astype(np.int32), columns.astype(np.int32))

    @property
    def nbytes(self) -> int:
        """Bytes of the three arrays."""
        return self.values.nbytes + self.rows.nbytes + self.columns.nbytes

    def dense(self) -> np.ndarray:
        """Return W."""
        W = np.zeros(self.shape, self.values.dtype)
        W[np.ix_(self.rows, self.columns)] = self.values
        return W

    def product(self, X: np.ndarray) -> np.ndarray:
        """Return the rows of W X that are not all zero: gather rows of X, one dense product.

        A network that was made smaller does not even gather: what would be gathered is not computed.
        """
        return self.values @ X[self.columns]


def _matrix(W: Array) -> np.ndarray:
    W = to_numpy(W)
    if W.ndim != 2:
        raise ValueError(f"expected a matrix, such as W.reshape(len(W), -1), got shape {W.shape}")
    return W


def _starts(rows: np.ndarray, n: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))]).astype(np.int32)


@dataclass(frozen=True)
class Row:
    """One weight matrix: its size, its zeros, its bytes in three formats, its multiply-accumulates for one image."""

    name: str
    weights: int
    nonzero: int
    dense_bytes: int
    csr_bytes: int
    compact_bytes: int
    macs: int


@dataclass(frozen=True)
class Report:
    """Four columns that are often taken for one another; `seconds` is a forward pass of the batch, measured."""

    rows: tuple[Row, ...]
    convention: str
    batch: int
    seconds: float

    @property
    def sparsity(self) -> float:
        """Nominal sparsity, the share of weights that are zero: says nothing of bytes or time."""
        return 1 - sum(row.nonzero for row in self.rows) / sum(row.weights for row in self.rows)

    def table(self) -> str:
        """Return a line per weight, a line of totals, and the measured time."""
        lines: list[tuple[str, ...]] = [
            ("weight", "weights", "zeros", "dense bytes", "CSR bytes", "compact bytes", "MACs computed")
        ]
        for row in self.rows:
            lines.append((row.name, f"{row.weights:,}", f"{1 - row.nonzero / row.weights:.1%}", *_numbers(row)))
        total = [sum(column) for column in zip(*(_values(row) for row in self.rows))]
        weights = sum(row.weights for row in self.rows)
        lines.append(("total", f"{weights:,}", f"{self.sparsity:.1%}", *(f"{n:,}" for n in total)))
        widths = [max(map(len, column)) for column in zip(*lines)]
        text = [
            "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:]))]) for line in lines
        ]
        text.append(f"MACs for one image, convention {self.convention}: a dense layer multiplies its zeros too")
        text.append(f"forward pass of {self.batch} images: {1e3 * self.seconds:.2f} ms, measured (median)")
        return "\n".join(text)


def _values(row: Row) -> tuple[int, ...]:
    return row.dense_bytes, row.csr_bytes, row.compact_bytes, row.macs


def _numbers(row: Row) -> list[str]:
    return [f"{n:,}" for n in _values(row)]


def report(net: Module | str | Path, x: Array, convention: str = "li2017", rounds: int = 7) -> Report:
    """Return nominal sparsity, bytes, multiply-accumulates and measured time of a net, or of a checkpoint's.

    Parameters
    ----------
    net : a net, or the path of a checkpoint.
    x : (..., N) the images of the forward pass that is timed, in eval mode.
    convention : of `pruning.counts`; which weights have a row.
    rounds : forward passes, after one that warms up.

    Raises
    ------
    ValueError
        For an unknown convention, no rounds, or what `nn.checkpoint.load` refuses.
    """
    if rounds < 1:
        raise ValueError(f"expected at least one round, got {rounds}")
    net = net if isinstance(net, Module) else checkpoint.load(net)
    parameters = dict(net.named_parameters())
    rows = []
    for layer in count(net, x.shape[:-1], convention).layers:
        name = f"{layer.name}.W" if layer.name else "W"
        if name in parameters:
            W = to_numpy(parameters[name].data)
            matrix = W.reshape(W.shape[0], -1)
            csr, compact = CSR.of(matrix).nbytes, Compact.of(matrix).nbytes
            rows.append(Row(name, W.size, int(np.count_nonzero(W)), W.nbytes, csr, compact, layer.macs))
    return Report(tuple(rows), convention, x.shape[-1], _seconds(net, x, rounds))


def _seconds(net: Module, x: Array, rounds: int) -> float:
    times = []
    with evaluating(net):
        for _ in range(rounds + 1):
            start = time.perf_counter()
            net.forward(x)
            times.append(time.perf_counter() - start)
    return statistics.median(times[1:])
