"""Convolution as a matrix product: im2col, its adjoint col2im, and the layer that multiplies with both.

A column of the matrix is one window of the padded image, a row is one position (c, kh, kw) of the kernel; filters are
the rows of W.reshape(O, -1).  With the batch as the last axis every copy below moves long contiguous runs.
"""

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from nn.backend import Array, get_array_module, zeros
from nn.initializers import Initializer, draw, he_normal
from nn.initializers import zeros as all_zeros
from nn.module import Module, Parameter, check_floating
from nn.windows import Geometry, Padding, Pair

BLOCK = 2**18
"""Numbers in the columns made at a time, 1 MB in float32: they stay in the cache, and no whole matrix is ever kept."""


def im2col(
    x: Array, kernel: int | Pair, stride: int | Pair = 1, padding: Padding = 0, dilation: int | Pair = 1
) -> Array:
    """Return the windows of x (C, H, W, N) as a matrix (C*KH*KW, OH*OW*N).

    Rows are numbered (c, kh, kw), columns (oh, ow, n) with n fastest, so that a convolution is W.reshape(O, -1) times
    this matrix.  Slide "im2col".

    Raises
    ------
    ValueError
        If x has not four axes, or not even one window fits into the image.
    """
    if len(x.shape) != 4:
        raise ValueError(f"im2col expected images (C, H, W, N), got shape {tuple(x.shape)}")
    geometry = Geometry.of(kernel, stride, padding, dilation)
    OH, OW = geometry.output(*x.shape[1:3])
    return geometry.columns(geometry.pad(x), 0, OH, OW)


def col2im(
    cols: Array,
    shape: tuple[int, ...],
    kernel: int | Pair,
    stride: int | Pair = 1,
    padding: Padding = 0,
    dilation: int | Pair = 1,
) -> Array:
    """Return the image (C, H, W, N) of the given shape in which every column is added to the pixels it came from.

    The adjoint of `im2col`, <im2col(x), c> = <x, col2im(c)>, and not its inverse: a pixel in several windows is summed.

    Raises
    ------
    ValueError
        If the columns are not those of an image of this shape.
    """
    geometry = Geometry.of(kernel, stride, padding, dilation)
    if len(shape) != 4:
        raise ValueError(f"col2im expected the shape (C, H, W, N) of the images, got {tuple(shape)}")
    OH, OW = geometry.output(*shape[1:3])
    expected = shape[0] * math.prod(geometry.kernel), OH * OW * shape[3]
    if tuple(cols.shape) != expected:
        raise ValueError(f"col2im expected columns {expected} for images {tuple(shape)}, got {tuple(cols.shape)}")
    padded = geometry.pad(zeros(shape, like=cols))
    geometry.add_columns(cols, padded, 0, OH, OW)
    return geometry.unpad(padded)


class Conv2d(Module):
    """Convolution (no flip: a correlation) a = W * x + b of images with the batch last.

    Parameters
    ----------
    c_in, c_out : channels C and filters O.  Shapes: x (C, H, W, N), W (O, C/groups, KH, KW), b (O,), a (O, OH, OW, N).
    kernel : int or (KH, KW).  stride, dilation : int or a pair.
    padding : int, (PH, PW) or ((top, bottom), (left, right)); zeros.
    groups : filters and channels are split into this many independent convolutions.
    rng, bias, init, dtype : as for `nn.Linear`.
    columns : which K of the C/groups*KH*KW columns of the matrix product there are, the same in every group, numbered
        (c, kh, kw); W is then (O, K), and only these rows of the windows are copied.  None: all of them.
    bias_map : (OH, OW), the only size of a that there then is: a fixed map (O, OH, OW), at first zero, is added to a.
        What the constant channels of a zero-padded image add to a is no constant, but this: less at the border.

    Raises
    ------
    ValueError
        If the groups do not divide the channels, a column is none or is named twice, or (in forward) channels do not
        match, no window fits, or the size is not that of the map.

    Notes
    -----
    ``backward_hessian`` drops two kinds of terms.  Towards x: those with two different filters, as `nn.Linear` does,
    and those of two windows that share a pixel.  For W and b: they are shared by all windows, and the sum over V_k
    keeps d2E/da_p2 and drops d2E/da_p da_q of two windows p != q (slide "Computing the second derivative").
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int | Pair,
        rng: np.random.Generator | None,
        stride: int | Pair = 1,
        padding: Padding = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        init: Initializer = he_normal,
        dtype: Any = np.float64,
        columns: Sequence[int] | None = None,
        bias_map: Pair | None = None,
    ):
        if groups < 1 or c_in % groups or c_out % groups:
            raise ValueError(f"expected groups that divide {c_in} channels and {c_out} filters, got {groups}")
        self.c_in, self.c_out, self.groups = c_in, c_out, groups
        self.geometry = Geometry.of(kernel, stride, padding, dilation)
        shape = c_in // groups, *self.geometry.kernel
        self.columns = None if columns is None else _checked(columns, math.prod(shape))
        self.W = draw(init, (c_out, *(shape if self.columns is None else [len(self.columns)])), rng, dtype)
        self.b: Parameter | None = draw(all_zeros, (c_out,), rng, dtype) if bias else None
        self.bias_map: Array = None
        if bias_map is not None:
            self.buffers, self.bias_map = ("bias_map",), np.zeros((c_out, *bias_map), np.dtype(dtype))

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments; rng is None, so that they build an outline."""
        geometry = self.geometry
        extra: dict[str, Any] = {} if self.columns is None else {"columns": self.columns}
        if self.bias_map is not None:
            extra["bias_map"] = list(self.bias_map.shape[1:])
        return {
            "c_in": self.c_in,
            "c_out": self.c_out,
            "kernel": list(geometry.kernel),
            "rng": None,
            "stride": list(geometry.stride),
            "padding": [list(side) for side in geometry.padding],
            "dilation": list(geometry.dilation),
            "groups": self.groups,
            "bias": self.b is not None,
            "dtype": str(self.W.dtype).rpartition(".")[2],
            **extra,
        }

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(C, H, W) -> (O, OH, OW)."""
        if len(shape) != 3 or shape[0] != self.c_in:
            raise ValueError(f"Conv2d expected images ({self.c_in}, H, W, N), got ({', '.join(map(str, shape))}, N)")
        size = self.geometry.output(*shape[1:])
        if self.bias_map is not None and size != tuple(self.bias_map.shape[1:]):
            made = tuple(self.bias_map.shape[1:])
            raise ValueError(f"Conv2d has a bias map for outputs of size {made}, got an image that gives {size}")
        return (self.c_out, *size)

    def forward(self, x: Array) -> Array:
        """Return a = W cols + b, made block by block of output rows."""
        xp = get_array_module(x)
        O, OH, OW = self.output_shape(x.shape[:-1])
        check_floating(self, x)
        self.padded = self.geometry.pad(x)
        blocks_of_groups = [
            [self._maps(W @ self._columns(padded, rows, OW) + b, rows, OW) for rows in self._blocks(OH, OW)]
            for W, b, padded in zip(self._filters(), self._biases(), self._split(self.padded))
        ]
        maps = [xp.concat(blocks, axis=1) for blocks in blocks_of_groups]
        a = xp.concat(maps, axis=0) if self.groups > 1 else maps[0]
        return a if self.bias_map is None else a + self.bias_map[:, :, :, None]

    def backward_parameters(self, ga: Array) -> None:
        """dE/da -> dE/dW = ga cols^T, dE/db."""
        xp = get_array_module(ga)
        self.W.grad = self._to_weights(ga, self.padded)
        if self.b is not None:
            self.b.grad = xp.sum(ga, axis=(1, 2, 3))

    def backward(self, ga: Array) -> Array:
        """dE/da -> dE/dx = col2im(W^T ga)."""
        self.backward_parameters(ga)
        return self._to_input(self._filters(), ga)

    def backward_hessian(self, ga: Array, ha: Array) -> tuple[Array, Array]:
        """d2E/da2 -> d2E/dx2 = col2im((W*W)^T ha): the same with W and the image squared (its windows: cols*cols)."""
        xp = get_array_module(ha)
        self.W.hess_diag = self._to_weights(ha, self.padded * self.padded)
        if self.b is not None:
            self.b.hess_diag = xp.sum(ha, axis=(1, 2, 3))
        return self.backward(ga), self._to_input([W * W for W in self._filters()], ha)

    def _to_weights(self, ga: Array, image: Array) -> Array:
        xp, (_, OH, OW, _) = get_array_module(ga), ga.shape
        groups = [
            sum(self._matrix(ga_group, rows) @ self._columns(padded, rows, OW).T for rows in self._blocks(OH, OW))
            for ga_group, padded in zip(self._split(ga), self._split(image))
        ]
        return xp.reshape(xp.concat(groups, axis=0), self.W.shape)

    def _to_input(self, filters: list[Array], ga: Array) -> Array:
        _, OH, OW, _ = ga.shape
        padded = zeros(self.padded.shape, like=ga)
        for W, ga_group, target in zip(filters, self._split(ga), self._split(padded)):
            for rows in self._blocks(OH, OW):
                self.geometry.add_columns(W.T @ self._matrix(ga_group, rows), target, *rows, OW, self.columns)
        return self.geometry.unpad(padded)

    def _filters(self) -> list[Array]:
        # One matrix (O/groups, K) a group, K = C/groups*KH*KW or the number of kept columns.
        xp, per_group = get_array_module(self.W.data), self.c_out // self.groups
        W = xp.reshape(self.W.data, (self.c_out, -1))
        return [W[g * per_group : (g + 1) * per_group, :] for g in range(self.groups)]

    def _biases(self) -> list[Any]:
        # Added while the block is still in the cache.
        per_group = self.c_out // self.groups
        b = None if self.b is None else self.b.data[:, None]
        return [0.0 if b is None else b[g * per_group : (g + 1) * per_group, :] for g in range(self.groups)]

    def _split(self, a: Array) -> list[Array]:
        size = a.shape[0] // self.groups
        return [a[g * size : (g + 1) * size, :, :, :] for g in range(self.groups)]

    def _blocks(self, OH: int, OW: int) -> list[Pair]:
        # Output rows first..last at a time.
        step = max(1, BLOCK // max(1, math.prod(self.W.shape[1:]) * OW * self.padded.shape[-1]))
        return [(first, min(first + step, OH)) for first in range(0, OH, step)]

    def _columns(self, padded: Array, rows: Pair, OW: int) -> Array:
        # Never bound to a name above: the next block then gets the same memory, which the cache still holds.
        return self.geometry.columns(padded, *rows, OW, self.columns)

    def _matrix(self, maps: Array, rows: Pair) -> Array:
        return get_array_module(maps).reshape(maps[:, rows[0] : rows[1], :, :], (maps.shape[0], -1))

    def _maps(self, matrix: Array, rows: Pair, OW: int) -> Array:
        shape = matrix.shape[0], rows[1] - rows[0], OW, self.padded.shape[-1]
        return get_array_module(matrix).reshape(matrix, shape)


def _checked(columns: Sequence[int], n: int) -> list[int]:
    numbers = [operator.index(k) for k in columns]
    if not numbers or min(numbers) < 0 or max(numbers) >= n or len(set(numbers)) < len(numbers):
        raise ValueError(f"expected different columns from 0 to {n - 1}, at least one, got {list(columns)}")
    return numbers
