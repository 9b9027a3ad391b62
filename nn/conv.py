"""Convolution as a matrix product: im2col, its adjoint col2im, and the layer that multiplies with both.

A column of the matrix is one window of the padded image, a row is one position (c, kh, kw) of the kernel; filters are
the rows of W.reshape(O, -1).  With the batch as the last axis every copy below moves long contiguous runs.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from nn.backend import Array, empty, full, get_array_module, zeros
from nn.initializers import Initializer, draw, he_normal
from nn.initializers import zeros as all_zeros
from nn.module import Module, Parameter

Pair: TypeAlias = tuple[int, int]
Padding: TypeAlias = int | Pair | tuple[Pair, Pair]

BLOCK = 2**18
"""Numbers in the columns made at a time, 1 MB in float32: they stay in the cache, and no whole matrix is ever kept."""


@dataclass(frozen=True)
class Geometry:
    """Which pixels a window sees: kernel, stride, padding ((top, bottom), (left, right)) and dilation."""

    kernel: Pair
    stride: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair

    @classmethod
    def of(
        cls, kernel: int | Pair, stride: int | Pair = 1, padding: Padding = 0, dilation: int | Pair = 1
    ) -> "Geometry":
        """Return the geometry of arguments that may be single numbers; a ValueError if one makes no sense."""
        rows, columns = _pair(padding)
        sides = _pair(rows), _pair(columns)
        geometry = cls(_pair(kernel), _pair(stride), sides, _pair(dilation))
        sizes = (*geometry.kernel, *geometry.stride, *geometry.dilation)
        if min(sizes) < 1 or min(*sides[0], *sides[1]) < 0:
            raise ValueError(
                "expected kernel, stride and dilation of at least 1 and padding of at least 0,"
                f" got {kernel}, {stride}, {dilation} and {padding}"
            )
        return geometry

    def output(self, H: int, W: int) -> Pair:
        """Return the numbers of windows (OH, OW) in an image of H x W; a ValueError if not even one fits."""
        sizes = []
        for size, k, s, (before, after), d in zip((H, W), self.kernel, self.stride, self.padding, self.dilation):
            room = size + before + after - d * (k - 1) - 1
            if room < 0:
                raise ValueError(
                    f"an image of {H} x {W} is smaller than the kernel {self.kernel} with dilation {self.dilation}"
                    f" and padding {self.padding}"
                )
            sizes.append(room // s + 1)
        return sizes[0], sizes[1]

    def pad(self, x: Array, value: float = 0.0) -> Array:
        """Return x (C, H, W, N) with a border of zeros, or of `value`."""
        (top, bottom), (left, right) = self.padding
        if top == bottom == left == right == 0:
            return x
        C, H, W, N = x.shape
        padded = full((C, H + top + bottom, W + left + right, N), value, like=x)
        padded[:, top : top + H, left : left + W, :] = x
        return padded

    def unpad(self, padded: Array) -> Array:
        """Return the image inside the border: the adjoint of ``pad``."""
        (top, bottom), (left, right) = self.padding
        _, H, W, _ = padded.shape
        return padded[:, top : H - bottom, left : W - right, :]

    def positions(self) -> Iterator[Pair]:
        """Yield the kernel positions (kh, kw), row by row."""
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                yield i, j

    def window(self, i: int, j: int, first: int, last: int, OW: int) -> tuple[slice, slice]:
        """Return the rows and columns of the padded image that position (i, j) meets in output rows first..last."""
        (SH, SW), (DH, DW) = self.stride, self.dilation
        top, left = i * DH + first * SH, j * DW
        return slice(top, top + (last - first - 1) * SH + 1, SH), slice(left, left + (OW - 1) * SW + 1, SW)

    def columns(self, padded: Array, first: int, last: int, OW: int) -> Array:
        """Return the windows of output rows first..last as columns (C*KH*KW, rows*OW*N)."""
        C, _, _, N = padded.shape
        KH, KW = self.kernel
        cols = empty((C, KH, KW, last - first, OW, N), like=padded)
        for i, j in self.positions():
            rows, columns = self.window(i, j, first, last, OW)
            cols[:, i, j, :, :, :] = padded[:, rows, columns, :]
        return get_array_module(padded).reshape(cols, (C * KH * KW, (last - first) * OW * N))

    def add_columns(self, cols: Array, padded: Array, first: int, last: int, OW: int) -> None:
        """Add columns back to where they came from, in place: the adjoint of ``columns``, the same loop mirrored."""
        C, _, _, N = padded.shape
        KH, KW = self.kernel
        cols = get_array_module(cols).reshape(cols, (C, KH, KW, last - first, OW, N))
        for i, j in self.positions():
            rows, columns = self.window(i, j, first, last, OW)
            padded[:, rows, columns, :] += cols[:, i, j, :, :, :]


def _pair(value: Any) -> Any:
    return (value, value) if isinstance(value, int) else tuple(value)


def im2col(
    x: Array, kernel: int | Pair, stride: int | Pair = 1, padding: Padding = 0, dilation: int | Pair = 1
) -> Array:
    """Return the windows of x (C, H, W, N) as a matrix (C*KH*KW, OH*OW*N).

    Rows are numbered (c, kh, kw), columns (oh, ow, n) with n fastest, so that a convolution is W.reshape(O, -1) times
    this matrix.  Slide "im2col".

    Raises
    ------
    ValueError
        If not even one window fits into the image.
    """
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
    """
    geometry = Geometry.of(kernel, stride, padding, dilation)
    OH, OW = geometry.output(*shape[1:3])
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

    Raises
    ------
    ValueError
        If the groups do not divide the channels, or (in forward) channels do not match or no window fits.

    Notes
    -----
    ``backward_hessian`` drops two kinds of terms.  Towards x: those with two different filters, as `nn.Linear` does,
    and those of two windows that share a pixel.  For W: the weight is shared by all windows, and the sum over V_k
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
    ):
        if groups < 1 or c_in % groups or c_out % groups:
            raise ValueError(f"expected groups that divide {c_in} channels and {c_out} filters, got {groups}")
        self.c_in, self.c_out, self.groups = c_in, c_out, groups
        self.geometry = Geometry.of(kernel, stride, padding, dilation)
        self.W = draw(init, (c_out, c_in // groups, *self.geometry.kernel), rng, dtype)
        self.b: Parameter | None = draw(all_zeros, (c_out,), rng, dtype) if bias else None

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments; rng is None, so that they build an outline."""
        geometry = self.geometry
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
        }

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(C, H, W) -> (O, OH, OW)."""
        if len(shape) != 3 or shape[0] != self.c_in:
            raise ValueError(f"Conv2d expected images ({self.c_in}, H, W, N), got ({', '.join(map(str, shape))}, N)")
        return (self.c_out, *self.geometry.output(*shape[1:]))

    def forward(self, x: Array) -> Array:
        """Return a = W cols + b, made block by block of output rows."""
        xp = get_array_module(x)
        O, OH, OW = self.output_shape(x.shape[:-1])
        if xp.isdtype(x.dtype, "integral"):
            raise ValueError(
                f"Conv2d expected floating-point images, got {x.dtype}; convert them, such as images / 255"
            )
        self.padded = self.geometry.pad(x)
        blocks_of_groups = [
            [self._maps(W @ self._columns(padded, rows, OW) + b, OW) for rows in self._blocks(OH, OW)]
            for W, b, padded in zip(self._filters(), self._biases(), self._split(self.padded))
        ]
        maps = [xp.concat(blocks, axis=1) for blocks in blocks_of_groups]
        return xp.concat(maps, axis=0) if self.groups > 1 else maps[0]

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
                self.geometry.add_columns(W.T @ self._matrix(ga_group, rows), target, *rows, OW)
        return self.geometry.unpad(padded)

    def _filters(self) -> list[Array]:
        # One matrix (O/groups, C/groups*KH*KW) a group.
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
        C, _, _, N = self.padded.shape
        step = max(1, BLOCK // (C // self.groups * math.prod(self.geometry.kernel) * OW * N))
        return [(first, min(first + step, OH)) for first in range(0, OH, step)]

    def _columns(self, padded: Array, rows: Pair, OW: int) -> Array:
        # Never bound to a name above: the next block then gets the same memory, which the cache still holds.
        return self.geometry.columns(padded, *rows, OW)

    def _matrix(self, maps: Array, rows: Pair) -> Array:
        return get_array_module(maps).reshape(maps[:, rows[0] : rows[1], :, :], (maps.shape[0], -1))

    def _maps(self, matrix: Array, OW: int) -> Array:
        return get_array_module(matrix).reshape(matrix, (matrix.shape[0], -1, OW, self.padded.shape[-1]))
