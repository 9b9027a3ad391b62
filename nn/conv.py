"""Convolution as a matrix product: the layer that multiplies with the columns of `im2col` and adds back by `col2im`.

Filters are the rows of W.reshape(O, -1), windows of the image the columns of the other factor (`nn.windows`).
"""

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from nn.backend import Array, dtype_name, get_array_module, sum_rows, zeros
from nn.checks import check_floating, check_input, check_signal
from nn.initializers import Initializer, draw, he_normal
from nn.initializers import zeros as all_zeros
from nn.module import Module, Parameter
from nn.windows import Geometry, Padding, Pair

BLOCK = 2**18
"""Numbers in the columns made at a time, 1 MB in float32: they stay in the cache, and no whole matrix is ever kept."""


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

    Examples
    --------
    A kernel of ones adds up its windows:

    >>> import numpy as np
    >>> import nn
    >>> layer = nn.Conv2d(1, 1, 2, np.random.default_rng(0))
    >>> layer.W.data = np.ones((1, 1, 2, 2))
    >>> image = np.arange(9.0).reshape(1, 3, 3, 1)
    >>> layer.forward(image)[0, :, :, 0]
    array([[ 8., 12.],
           [20., 24.]])
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
        self.c_in, self.c_out, self.groups = operator.index(c_in), operator.index(c_out), operator.index(groups)
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
            "dtype": dtype_name(self.W.dtype),
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
        check_floating(self, x)
        _, *self.size, _ = check_input(self, x)
        self.padded = self.geometry.pad(x)
        a = self.product(self.W.data, self.padded, None if self.b is None else self.b.data)
        return a if self.bias_map is None else a + self.bias_map[:, :, :, None]

    def backward_parameters(self, ga: Array) -> None:
        """dE/da -> dE/dW = ga cols^T, dE/db."""
        check_signal(self, ga)
        self.W.grad = self.to_weights(ga, self.padded)
        if self.b is not None:
            self.b.grad = sum_rows(ga)

    def backward(self, ga: Array) -> Array:
        """dE/da -> dE/dx = col2im(W^T ga)."""
        self.backward_parameters(ga)
        return self.to_input(self.W.data, ga)

    def backward_hessian_parameters(self, ga: Array, ha: Array) -> None:
        """d2E/da2 -> d2E/dW2 = ha (cols*cols)^T, d2E/db2: the same with the image squared, and so its windows."""
        check_signal(self, ha)
        self.backward_parameters(ga)
        self.W.hess_diag = self.to_weights(ha, self.padded * self.padded)
        if self.b is not None:
            self.b.hess_diag = sum_rows(ha)

    def backward_hessian(self, ga: Array, ha: Array) -> tuple[Array, Array]:
        """d2E/da2 -> d2E/dx2 = col2im((W*W)^T ha): the same with W squared."""
        self.backward_hessian_parameters(ga, ha)
        return self.to_input(self.W.data, ga), self.to_input(self.W.data * self.W.data, ha)

    def product(self, W: Array, padded: Array, b: Array | None) -> Array:
        """Return W cols + b (O, OH, OW, N), cols the windows of a padded image: the convolution itself."""
        xp = get_array_module(padded)
        blocks_of_groups = [
            [self._maps(W_group @ self._columns(image, rows) + b_group, rows) for rows in self._blocks()]
            for W_group, b_group, image in zip(self._filters(W), self._biases(b), self.split(padded))
        ]
        maps = [xp.concat(blocks, axis=1) for blocks in blocks_of_groups]
        return xp.concat(maps, axis=0) if self.groups > 1 else maps[0]

    def to_weights(self, ga: Array, padded: Array) -> Array:
        """Return ga cols^T in the shape of W: the adjoint of ``product`` towards W."""
        xp = get_array_module(ga)
        groups = [
            sum(self._matrix(ga_group, rows) @ self._columns(image, rows).T for rows in self._blocks())
            for ga_group, image in zip(self.split(ga), self.split(padded))
        ]
        return xp.reshape(xp.concat(groups, axis=0), self.W.shape)

    def to_input(self, W: Array, ga: Array) -> Array:
        """Return col2im(W^T ga) without its border, an image as x: the adjoint of ``product`` towards x."""
        padded = zeros(self.padded.shape, like=ga)
        for W_group, ga_group, target in zip(self._filters(W), self.split(ga), self.split(padded)):
            for rows in self._blocks():
                self.geometry.add_columns(
                    W_group.T @ self._matrix(ga_group, rows), target, *rows, self.size[1], self.columns
                )
        return self.geometry.unpad(padded)

    def split(self, maps: Array) -> list[Array]:
        """Return the channels of each group."""
        size = maps.shape[0] // self.groups
        return [maps[g * size : (g + 1) * size, :, :, :] for g in range(self.groups)]

    def column_size(self, windows: int) -> int:
        """Return how many numbers the columns of so many windows hold, at least 1."""
        return max(1, math.prod(self.W.shape[1:]) * windows)

    def _filters(self, W: Array) -> list[Array]:
        # One matrix (O/groups, K) a group, K = C/groups*KH*KW or the number of kept columns.
        per_group = self.c_out // self.groups
        rows = get_array_module(W).reshape(W, (self.c_out, -1))
        return [rows[g * per_group : (g + 1) * per_group, :] for g in range(self.groups)]

    def _biases(self, b: Array | None) -> list[Any]:
        # Added while the block is still in the cache.
        per_group = self.c_out // self.groups
        column = None if b is None else b[:, None]
        return [0.0 if column is None else column[g * per_group : (g + 1) * per_group, :] for g in range(self.groups)]

    def _blocks(self) -> list[Pair]:
        # Output rows first..last at a time.
        (OH, OW), N = self.size, self.padded.shape[-1]
        step = max(1, BLOCK // self.column_size(OW * N))
        return [(first, min(first + step, OH)) for first in range(0, OH, step)]

    def _columns(self, padded: Array, rows: Pair) -> Array:
        # Never bound to a name above: the next block then gets the same memory, which the cache still holds.
        return self.geometry.columns(padded, *rows, self.size[1], self.columns)

    def _matrix(self, maps: Array, rows: Pair) -> Array:
        return get_array_module(maps).reshape(maps[:, rows[0] : rows[1], :, :], (maps.shape[0], -1))

    def _maps(self, matrix: Array, rows: Pair) -> Array:
        shape = matrix.shape[0], rows[1] - rows[0], self.size[1], self.padded.shape[-1]
        return get_array_module(matrix).reshape(matrix, shape)


def _checked(columns: Sequence[int], n: int) -> list[int]:
    numbers = [operator.index(k) for k in columns]
    if not numbers or min(numbers) < 0 or max(numbers) >= n or len(set(numbers)) < len(numbers):
        raise ValueError(f"expected different columns from 0 to {n - 1}, at least one, got {list(columns)}")
    return numbers
