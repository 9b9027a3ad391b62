"""Pooling: the largest, the mean, or LeCun's trained multiple of the mean of each window."""

import math
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nn.backend import Array, dtype_name, get_array_module, sum_positions, sum_rows, zeros
from nn.channelwise import Channelwise
from nn.checks import check_floating, check_input, check_signal
from nn.conv import BLOCK
from nn.initializers import draw, ones
from nn.initializers import zeros as all_zeros
from nn.module import Module, Parameter
from nn.windows import Geometry, Padding, Pair


def check_images(layer: Module, shape: Sequence[int], channels: int | None = None) -> None:
    """Raise a ValueError unless the shape is that of images (C, H, W), with the given number of channels if any."""
    if len(shape) != 3 or channels not in (None, shape[0]):
        given = ", ".join(map(str, (*shape, "N")))
        expected = "C" if channels is None else channels
        raise ValueError(f"{type(layer).__name__} expected images ({expected}, H, W, N), got ({given})")
    if min(shape[1:]) < 1:
        raise ValueError(f"{type(layer).__name__} expected images of at least one pixel, got {shape[1]} x {shape[2]}")


def total(parts: Sequence[Array]) -> Array:
    """Return the sum of the arrays, of many by halves: the error of a large window then does not grow with its size."""
    half = len(parts) // 2
    return sum(parts) if len(parts) <= 9 else total(parts[:half]) + total(parts[half:])


class Pool2d(Module):
    """What the pools share: windows of k pixels (int or pair), `stride` apart (k unless told), over a padded image."""

    def __init__(self, k: int | Pair, stride: int | Pair | None = None, padding: Padding = 0):
        self.geometry = Geometry.of(k, k if stride is None else stride, padding)
        for size, (before, after) in zip(self.geometry.kernel, self.geometry.padding):
            if max(before, after) >= size:
                raise ValueError(f"expected a padding smaller than the window {k}, got {padding}")

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        geometry = self.geometry
        padding = [list(side) for side in geometry.padding]
        return {"k": list(geometry.kernel), "stride": list(geometry.stride), "padding": padding}

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(C, H, W) -> (C, OH, OW)."""
        check_images(self, shape)
        return (shape[0], *self.geometry.output(*shape[1:]))

    def windows(self, padded: Array, OH: int, OW: int) -> Iterator[Array]:
        """Yield one strided view (C, OH, OW, N) per position in the window, row by row."""
        for i, j in self.geometry.positions():
            rows, columns = self.geometry.window(i, j, 0, OH, OW)
            yield padded[:, rows, columns, :]

    def scatter(self, parts: Sequence[Array], shape: Sequence[int]) -> Array:
        """Add one part per position in the window to the pixels it came from: the adjoint of ``windows``."""
        padded = zeros(shape, like=parts[0])
        self.add_parts(parts, padded)
        return self.geometry.unpad(padded)

    def add_parts(self, parts: Sequence[Array], padded: Array) -> None:
        """Add the parts to ``padded``, in place.

        The last position comes first: a pixel adds up its windows in reading order (PyTorch's, to the bit).
        """
        for (i, j), part in reversed(list(zip(self.geometry.positions(), parts))):
            rows, columns = self.geometry.window(i, j, 0, *part.shape[1:3])
            padded[:, rows, columns, :] += part


class MaxPool2d(Pool2d):
    """y = the largest pixel of each window; of equal ones the first, row by row.  Padding never wins.

    Exact in both derivatives where windows do not overlap: it routes them.  Where they do, ``backward_hessian`` drops
    the terms d2E/dy_p dy_q of two windows with the same winner (none, directly under a squared error).

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> pool = nn.MaxPool2d(2)
    >>> pool.forward(np.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    >>> pool.backward(np.ones((1, 2, 2, 1)))[0, :, :, 0]
    array([[0., 0., 0., 0.],
           [0., 1., 0., 1.],
           [0., 0., 0., 0.],
           [0., 1., 0., 1.]])
    """

    def forward(self, x: Array) -> Array:
        """Return the maxima, by comparing the strided views of the image."""
        xp = get_array_module(x)
        check_floating(self, x)
        _, OH, OW, _ = check_input(self, x)
        self.padded = self.geometry.pad(x, -math.inf)
        first, *others = self.windows(self.padded, OH, OW)
        self.y = first
        for window in others:
            self.y = xp.maximum(self.y, window)
        return self.y

    def backward(self, gy: Array) -> Array:
        """dE/dy -> dE/dx, to the first winner of each window; made in blocks of channels, which stay in the cache."""
        check_signal(self, gy)
        padded = zeros(self.padded.shape, like=gy)
        C, *image = padded.shape
        step = max(1, BLOCK // max(1, math.prod(image)))
        for first in range(0, C, step):
            arrays = (self.padded, self.y, gy, padded)
            x, y, g, gx = (array[first : min(first + step, C), :, :, :] for array in arrays)
            self.add_parts(self.routed(x, y, g), gx)
        return self.geometry.unpad(padded)

    def backward_hessian(self, gy: Array, hy: Array) -> tuple[Array, Array]:
        """d2E/dy2 -> d2E/dx2, the same way."""
        return self.backward(gy), self.backward(hy)

    def routed(self, x: Array, y: Array, gy: Array) -> list[Array]:
        """Return one part per position in the window: gy where it is the first in the padded x to hold the maximum y.

        One of them does, if not an earlier one then the last.
        """
        xp, parts, left = get_array_module(gy), [], gy
        *others, _ = self.windows(x, *gy.shape[1:3])
        for window in others:
            part = left * xp.astype(window == y, gy.dtype)
            left = left - part
            parts.append(part)
        return [*parts, left]


class AvgPool2d(Pool2d):
    """y = the mean of each window.

    With ``count_padding`` (PyTorch's default) the zeros of the border count as pixels; without, a window at the border
    is divided by the number of real pixels in it.

    Exact in both derivatives where windows do not overlap; where they do, ``backward_hessian`` drops the terms
    d2E/dy_p dy_q of two windows that share a pixel (none, directly under a squared error).

    Parameters
    ----------
    k : height and width of the windows, or one number for both.
    stride, padding : as for `nn.Conv2d`; without a stride windows lie side by side.
    count_padding : whether zeros of the border count as pixels.
    """

    def __init__(
        self, k: int | Pair, stride: int | Pair | None = None, padding: Padding = 0, count_padding: bool = True
    ):
        super().__init__(k, stride, padding)
        self.count_padding = count_padding

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().config(), "count_padding": self.count_padding}

    def forward(self, x: Array) -> Array:
        """Return the sums of the strided views, divided by the number of pixels."""
        check_floating(self, x)
        _, OH, OW, _ = check_input(self, x)
        self.padded = self.geometry.pad(x)
        self.share = self._share(x, OH, OW)
        return self.share * total(list(self.windows(self.padded, OH, OW)))

    def backward(self, gy: Array) -> Array:
        """dE/dy -> dE/dx, an equal share to every pixel."""
        check_signal(self, gy)
        return self._spread(self.share * gy)

    def backward_hessian(self, gy: Array, hy: Array) -> tuple[Array, Array]:
        """d2E/dy2 -> d2E/dx2, the share squared to every pixel."""
        check_signal(self, hy)
        return self.backward(gy), self._spread(self.share * self.share * hy)

    def _spread(self, g: Array) -> Array:
        return self.scatter([g for _ in self.geometry.positions()], self.padded.shape)

    def _share(self, x: Array, OH: int, OW: int) -> Any:
        if self.count_padding:
            return 1 / math.prod(self.geometry.kernel)
        real = self.geometry.pad(zeros((1, *x.shape[1:3], 1), like=x) + 1)
        return 1 / total(list(self.windows(real, OH, OW)))


class GlobalAvgPool2d(Module):
    """y = the mean of each map, (C, H, W, N) -> (C, N).  Exact in both derivatives."""

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(C, H, W) -> (C,)."""
        check_images(self, shape)
        return (shape[0],)

    def forward(self, x: Array) -> Array:
        """Return the means."""
        check_floating(self, x)
        check_input(self, x)
        self.shape = x.shape
        return sum_positions(x) / math.prod(x.shape[1:3])

    def backward(self, gy: Array) -> Array:
        """dE/dy -> dE/dx, an equal share to every pixel."""
        check_signal(self, gy)
        return self._spread(gy, math.prod(self.shape[1:3]))

    def backward_hessian(self, gy: Array, hy: Array) -> tuple[Array, Array]:
        """d2E/dy2 -> d2E/dx2, the share squared to every pixel."""
        check_signal(self, hy)
        return self.backward(gy), self._spread(hy, math.prod(self.shape[1:3]) ** 2)

    def _spread(self, g: Array, parts: int) -> Array:
        return zeros(self.shape, like=g) + g[:, None, None, :] / parts


class Subsampling(Pool2d, Channelwise):
    """LeCun's trainable subsampling: a = c_m mean(window) + b_m, one coefficient and one bias a map.

    Parameters
    ----------
    channels : number of maps.
    k : side of the windows, which do not overlap.
    rng, dtype : as for `nn.Linear`; the coefficients start at 1, the biases at 0.

    Notes
    -----
    c and b are shared by all windows of a map: d2E/dc2 = sum d2E/da2 mean^2 and d2E/db2 = sum d2E/da2 drop the terms
    between two windows.  Towards x exact.
    """

    def __init__(self, channels: int, k: int | Pair, rng: np.random.Generator | None, dtype: Any = np.float64):
        super().__init__(k)
        self.channels = operator.index(channels)
        self.coefficient: Parameter = draw(ones, (channels,), rng, dtype)
        self.b: Parameter = draw(all_zeros, (channels,), rng, dtype)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments; rng is None, so that they build an outline."""
        k, dtype = list(self.geometry.kernel), dtype_name(self.b.dtype)
        return {"channels": self.channels, "k": k, "rng": None, "dtype": dtype}

    def factor(self) -> Array:
        """Return the coefficients c, (C,)."""
        return self.coefficient.data

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(C, H, W) -> (C, OH, OW), with the right number of maps."""
        check_images(self, shape, self.channels)
        return super().output_shape(shape)

    def forward(self, x: Array) -> Array:
        """Return a = c mean(window) + b."""
        check_floating(self, x)
        _, OH, OW, _ = check_input(self, x)
        self.x = x
        self.mean = self.window_mean(x, OH, OW)
        return self.coefficient.data[:, None, None, None] * self.mean + self.b.data[:, None, None, None]

    def backward_parameters(self, ga: Array) -> None:
        """dE/da -> dE/dc, dE/db."""
        check_signal(self, ga)
        self.coefficient.grad = sum_rows(ga * self.mean)
        self.b.grad = sum_rows(ga)

    def backward(self, ga: Array) -> Array:
        """dE/da -> dE/dx = c / k^2 dE/da at every pixel of the window."""
        self.backward_parameters(ga)
        return self.spread(self.share(self.coefficient.data) * ga)

    def backward_hessian(self, ga: Array, ha: Array) -> tuple[Array, Array]:
        """d2E/da2 -> d2E/dx2 = (c / k^2)^2 d2E/da2 at every pixel of the window."""
        check_signal(self, ga, ha)
        self.coefficient.hess_diag = sum_rows(ha * self.mean * self.mean)
        self.b.hess_diag = sum_rows(ha)
        share = self.share(self.coefficient.data)
        return self.backward(ga), self.spread(share * share * ha)

    def window_mean(self, x: Array, OH: int, OW: int) -> Array:
        """Return the mean of each window of x."""
        return total(list(self.windows(x, OH, OW))) / math.prod(self.geometry.kernel)

    def share(self, c: Array) -> Array:
        """Return c / k^2, what a pixel has of its window's mean."""
        return c[:, None, None, None] / math.prod(self.geometry.kernel)

    def spread(self, g: Array) -> Array:
        """Return an image of the size of x that has g at every pixel of the window."""
        return self.scatter([g for _ in self.geometry.positions()], self.x.shape)
