"""The windows of an image as the columns of a matrix: im2col, its adjoint col2im, and the geometry behind both.

A column is one window of the padded image, a row is one position (c, kh, kw) of the kernel.  With the batch as the last
axis every copy below moves long contiguous runs.
"""

import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from nn.backend import Array, empty, full, get_array_module, is_floating, zeros

Pair: TypeAlias = tuple[int, int]
Padding: TypeAlias = int | Pair | tuple[Pair, Pair]
Copies: TypeAlias = list[tuple[slice, slice, Pair]]


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
        try:
            rows, columns = _twice(padding)
            sides = _pair(rows), _pair(columns)
            geometry = cls(_pair(kernel), _pair(stride), sides, _pair(dilation))
        except (TypeError, ValueError):
            raise ValueError(
                "expected kernel, stride and dilation such as 3 or (3, 5), padding such as 1, (1, 2) or"
                f" ((1, 0), (0, 2)); got {kernel!r}, {stride!r}, {dilation!r} and {padding!r}"
            ) from None
        sizes = (*geometry.kernel, *geometry.stride, *geometry.dilation)
        if min(sizes) < 1 or min(*sides[0], *sides[1]) < 0:
            raise ValueError(
                "expected kernel, stride and dilation of at least 1 and padding of at least 0,"
                f" got {kernel}, {stride}, {dilation} and {padding}"
            )
        return geometry

    def output(self, H: int, W: int) -> Pair:
        """Return the numbers of windows (OH, OW) in an image of H x W; a ValueError if not even one fits."""
        if min(H, W) < 1:
            raise ValueError(f"expected an image of at least one pixel, got {H} x {W}")
        sizes = []
        for size, k, s, (before, after), d in zip((H, W), self.kernel, self.stride, self.padding, self.dilation):
            room = size + before + after - d * (k - 1) - 1
            if room < 0:
                spread = f" with dilation {self.dilation}" if max(self.dilation) > 1 else ""
                border = f" and a border of {self.padding}" if max(*self.padding[0], *self.padding[1]) else ""
                raise ValueError(f"an image of {H} x {W}{border} is smaller than the kernel {self.kernel}{spread}")
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

    def copies(self, C: int, kept: Sequence[int] | None = None) -> Copies:
        """Return the slice copies (rows of the columns, channels, kernel position) that fill the columns of C channels.

        One copy per position (kh, kw) fills every KH*KW-th row; of the rows `kept`, numbered (c, kh, kw), every row is
        a copy.
        """
        size = self.kernel[0] * self.kernel[1]
        positions = list(self.positions())
        if kept is None:
            return [(slice(k, C * size, size), slice(0, C), position) for k, position in enumerate(positions)]
        return [
            (slice(row, row + 1), slice(k // size, k // size + 1), positions[k % size]) for row, k in enumerate(kept)
        ]

    def columns(self, padded: Array, first: int, last: int, OW: int, kept: Sequence[int] | None = None) -> Array:
        """Return the windows of output rows first..last as columns (C*KH*KW, rows*OW*N), or only the rows `kept`."""
        C, _, _, N = padded.shape
        K = C * self.kernel[0] * self.kernel[1] if kept is None else len(kept)
        cols = empty((K, last - first, OW, N), like=padded)
        for target, channels, (i, j) in self.copies(C, kept):
            rows, columns = self.window(i, j, first, last, OW)
            cols[target, :, :, :] = padded[channels, rows, columns, :]
        return get_array_module(padded).reshape(cols, (K, (last - first) * OW * N))

    def add_columns(
        self, cols: Array, padded: Array, first: int, last: int, OW: int, kept: Sequence[int] | None = None
    ) -> None:
        """Add columns back to where they came from, in place: the adjoint of ``columns``, the same loop mirrored."""
        C, _, _, N = padded.shape
        cols = get_array_module(cols).reshape(cols, (cols.shape[0], last - first, OW, N))
        for target, channels, (i, j) in self.copies(C, kept):
            rows, columns = self.window(i, j, first, last, OW)
            padded[channels, rows, columns, :] += cols[target, :, :, :]


def _twice(value: Any) -> tuple[Any, Any]:
    first, second = (value, value) if hasattr(value, "__index__") else value
    return first, second


def _pair(value: Any) -> Pair:
    first, second = _twice(value)
    return operator.index(first), operator.index(second)


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
    TypeError
        If x is no array.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> image = np.arange(9).reshape(1, 3, 3, 1)
    >>> nn.im2col(image, 2)  # a column is a window, read row by row
    array([[0, 1, 3, 4],
           [1, 2, 4, 5],
           [3, 4, 6, 7],
           [4, 5, 7, 8]])
    """
    get_array_module(x)
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

    Parameters
    ----------
    cols : (C*KH*KW, OH*OW*N), rows (c, kh, kw), columns (oh, ow, n).
    shape : of the image, (C, H, W, N).

    Raises
    ------
    ValueError
        If the columns are not those of an image of this shape, or are integers, whose sums would wrap.
    """
    xp = get_array_module(cols)
    geometry = Geometry.of(kernel, stride, padding, dilation)
    if len(shape) != 4:
        raise ValueError(f"col2im expected the shape (C, H, W, N) of the images, got {tuple(shape)}")
    OH, OW = geometry.output(*shape[1:3])
    expected = shape[0] * math.prod(geometry.kernel), OH * OW * shape[3]
    if tuple(cols.shape) != expected:
        raise ValueError(f"col2im expected columns {expected} for images {tuple(shape)}, got {tuple(cols.shape)}")
    if not is_floating(xp, cols.dtype):
        raise ValueError(f"col2im expected floating-point numbers, got {cols.dtype}")
    padded = geometry.pad(zeros(shape, like=cols))
    geometry.add_columns(cols, padded, 0, OH, OW)
    return geometry.unpad(padded)
