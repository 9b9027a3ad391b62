"""A matrix without its zeros: compressed rows, columns and blocks, and a smaller dense matrix.

Every class has ``of(W)``, ``dense()`` (W again) and ``nbytes``; the first three have ``compiled()``, SciPy's array.
The slides "Sparse DNN" and "Structured sparse DNN".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import scipy.sparse

from nn.backend import Array, get_array_module, to_numpy


class Format:
    """What the four formats share: the shape of W, and arrays that say the rest."""

    shape: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in vars(self).values() if isinstance(array, np.ndarray))


@dataclass(frozen=True, eq=False)
class CSR(Format):
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

    def dense(self) -> np.ndarray:
        """Return W."""
        W = np.zeros(self.shape, self.values.dtype)
        W[np.repeat(np.arange(self.shape[0]), np.diff(self.starts)), self.columns] = self.values
        return W

    def compiled(self) -> scipy.sparse.csr_array:
        """Return SciPy's array on the same memory, whose product with a matrix is compiled."""
        return scipy.sparse.csr_array((self.values, self.columns, self.starts), shape=self.shape)


@dataclass(frozen=True, eq=False)
class CSC(Format):
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

    def dense(self) -> np.ndarray:
        """Return W."""
        return CSR(self.shape[::-1], self.values, self.rows, self.starts).dense().T

    def compiled(self) -> scipy.sparse.csc_array:
        """Return SciPy's array on the same memory."""
        return scipy.sparse.csc_array((self.values, self.rows, self.starts), shape=self.shape)


@dataclass(frozen=True, eq=False)
class BSR(Format):
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
        TypeError
            If W is no array.
        ValueError
            If W is no matrix, or the blocks do not tile it.
        """
        W = _matrix(W)
        pair = isinstance(block, Sequence) and [isinstance(n, Integral) and n >= 1 for n in block] == [True, True]
        if not pair or W.shape[0] % block[0] or W.shape[1] % block[1]:
            raise ValueError(f"expected blocks (r, c) that tile a matrix {W.shape}, got {block!r}")
        r, c = block
        tiles = W.reshape(W.shape[0] // r, r, W.shape[1] // c, c).transpose(0, 2, 1, 3)
        rows, columns = np.nonzero(tiles.any(axis=(2, 3)))
        return cls(W.shape, tiles[rows, columns], columns.astype(np.int32), _starts(rows, W.shape[0] // r))

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
class Compact(Format):
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

    def dense(self) -> np.ndarray:
        """Return W."""
        W = np.zeros(self.shape, self.values.dtype)
        W[np.ix_(self.rows, self.columns)] = self.values
        return W

    def product(self, X: np.ndarray) -> np.ndarray:
        """Return the rows of W X that are not all zero: gather rows of X, one dense product.

        A network that was made smaller does not even gather: what would be gathered is not computed.

        Raises
        ------
        ValueError
            If X has another number of rows than W has columns: gathering would not notice more of them.
        """
        get_array_module(X)  # a TypeError for what is no array
        if X.shape[:1] != self.shape[1:]:
            raise ValueError(f"expected {self.shape[1]} rows of X, as many as W has columns, got shape {X.shape}")
        return self.values @ np.take(X, self.columns, axis=0)


def _matrix(W: Array) -> np.ndarray:
    get_array_module(W)  # a TypeError for what is no array
    W = to_numpy(W)
    if W.ndim != 2:
        raise ValueError(f"expected a matrix, such as W.reshape(len(W), -1), got shape {W.shape}")
    return W


def _starts(rows: np.ndarray, n: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))]).astype(np.int32)
