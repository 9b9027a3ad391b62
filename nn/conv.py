"""Convolution as a matrix product: the layer that multiplies with the columns of `im2col` and adds back by `col2im`.

Filters are the rows of W.reshape(O, -1), windows of the image the columns of the other factor (`nn.windows`).
"""

import math
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nn.backend import Array, get_array_module, zeros
from nn.initializers import Initializer, draw, he_normal
from nn.initializers import zeros as all_zeros
from nn.module import Module, Parameter, check_floating
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
        _, *self.size = self.output_shape(x.shape[:-1])
        check_floating(self, x)
        self.padded = self.geometry.pad(x)
        a = self._correlate(self.W.data, self.padded, None if self.b is None else self.b.data)
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
        return self._to_input(self.W.data, ga)

    def backward_hessian_parameters(self, ga: Array, ha: Array) -> None:
        """d2E/da2 -> d2E/dW2 = ha (cols*cols)^T, d2E/db2: the same with the image squared, and so its windows."""
        self.backward_parameters(ga)
        xp = get_array_module(ha)
        self.W.hess_diag = self._to_weights(ha, self.padded * self.padded)
        if self.b is not None:
            self.b.hess_diag = xp.sum(ha, axis=(1, 2, 3))

    def backward_hessian(self, ga: Array, ha: Array) -> tuple[Array, Array]:
        """d2E/da2 -> d2E/dx2 = col2im((W*W)^T ha): the same with W squared."""
        self.backward_hessian_parameters(ga, ha)
        return self._to_input(self.W.data, ga), self._to_input(self.W.data * self.W.data, ha)

    def backward_squares_parameters(self, ga: Array) -> None:
        """A pattern's gradient ga_n cols_n^T is summed over the windows before it is squared."""
        xp = get_array_module(ga)
        groups = [
            sum(self._squares(g, image) for g, image in self._patterns(ga_group, padded))
            for ga_group, padded in zip(self._split(ga), self._split(self.padded))
        ]
        self.W.hess_diag = xp.reshape(xp.concat(groups, axis=0), self.W.shape)
        if self.b is not None:
            gb = xp.sum(ga, axis=(1, 2))
            self.b.hess_diag = xp.sum(gb * gb, axis=1)

    def backward_squares(self, ga: Array) -> Array:
        """dE/da -> dE/dx."""
        self.backward_squares_parameters(ga)
        return self._to_input(self.W.data, ga)

    def forward_tangent(self, rx: Array) -> Array:
        """R{x} -> R{a} = W R{cols} + V cols + v_b, with the directions V and v_b of W and b."""
        self.rpadded = self.geometry.pad(rx)
        moved = self._correlate(self.W.data, self.rpadded, None)
        return moved + self._correlate(self.W.direction, self.padded, None if self.b is None else self.b.direction)

    def backward_tangent_parameters(self, ga: Array, rga: Array) -> None:
        """R{dE/da} -> R{dE/dW} = R{dE/da} cols^T + ga R{cols}^T, R{dE/db}."""
        self.backward_parameters(ga)
        xp = get_array_module(ga)
        self.W.hess_vector = self._to_weights(rga, self.padded) + self._to_weights(ga, self.rpadded)
        if self.b is not None:
            self.b.hess_vector = xp.sum(rga, axis=(1, 2, 3))

    def backward_tangent(self, ga: Array, rga: Array) -> tuple[Array, Array]:
        """R{dE/da} -> R{dE/dx} = col2im(W^T R{dE/da} + V^T dE/da)."""
        self.backward_tangent_parameters(ga, rga)
        rgx = self._to_input(self.W.data, rga) + self._to_input(self.W.direction, ga)
        return self._to_input(self.W.data, ga), rgx

    def _correlate(self, W: Array, padded: Array, b: Array | None) -> Array:
        xp = get_array_module(padded)
        blocks_of_groups = [
            [self._maps(W_group @ self._columns(image, rows) + b_group, rows) for rows in self._blocks()]
            for W_group, b_group, image in zip(self._filters(W), self._biases(b), self._split(padded))
        ]
        maps = [xp.concat(blocks, axis=1) for blocks in blocks_of_groups]
        return xp.concat(maps, axis=0) if self.groups > 1 else maps[0]

    def _to_weights(self, ga: Array, image: Array) -> Array:
        xp = get_array_module(ga)
        groups = [
            sum(self._matrix(ga_group, rows) @ self._columns(padded, rows).T for rows in self._blocks())
            for ga_group, padded in zip(self._split(ga), self._split(image))
        ]
        return xp.reshape(xp.concat(groups, axis=0), self.W.shape)

    def _to_input(self, W: Array, ga: Array) -> Array:
        padded = zeros(self.padded.shape, like=ga)
        for W_group, ga_group, target in zip(self._filters(W), self._split(ga), self._split(padded)):
            for rows in self._blocks():
                self.geometry.add_columns(
                    W_group.T @ self._matrix(ga_group, rows), target, *rows, self.size[1], self.columns
                )
        return self.geometry.unpad(padded)

    def _squares(self, ga: Array, padded: Array) -> Array:
        # With the pattern as first axis, and as a part of the channel while the columns are made, each pattern is a
        # matrix product of its own.
        xp, (O, OH, OW, n), (C, H, W, _) = get_array_module(ga), ga.shape, padded.shape
        K = C * math.prod(self.geometry.kernel)
        images = xp.reshape(xp.permute_dims(padded, (3, 0, 1, 2)), (n * C, H, W, 1))
        kept = None if self.columns is None else [p * K + k for p in range(n) for k in self.columns]
        cols = xp.reshape(self.geometry.columns(images, 0, OH, OW, kept), (n, -1, OH * OW))
        ga = xp.reshape(xp.reshape(xp.permute_dims(ga, (3, 0, 1, 2)), (n * O, OH * OW)), (n, O, OH * OW))
        gW = ga @ xp.permute_dims(cols, (0, 2, 1))
        return xp.sum(gW * gW, axis=0)

    def _patterns(self, ga: Array, padded: Array) -> Iterator[tuple[Array, Array]]:
        # As many patterns at a time as have their columns in one block.
        step = max(1, BLOCK // self._column_size(math.prod(self.size)))
        for first in range(0, ga.shape[-1], step):
            last = min(first + step, ga.shape[-1])
            yield ga[:, :, :, first:last], padded[:, :, :, first:last]

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

    def _split(self, a: Array) -> list[Array]:
        size = a.shape[0] // self.groups
        return [a[g * size : (g + 1) * size, :, :, :] for g in range(self.groups)]

    def _blocks(self) -> list[Pair]:
        # Output rows first..last at a time.
        (OH, OW), N = self.size, self.padded.shape[-1]
        step = max(1, BLOCK // self._column_size(OW * N))
        return [(first, min(first + step, OH)) for first in range(0, OH, step)]

    def _column_size(self, windows: int) -> int:
        # Numbers in the columns of so many windows.
        return max(1, math.prod(self.W.shape[1:]) * windows)

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
