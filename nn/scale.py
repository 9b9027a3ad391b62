"""One trained factor for a whole block, for each group of channels, or for each channel."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

from nn.arguments import whole
from nn.backend import Array, asarray, dtype_name, get_array_module
from nn.batchnorm import dot_rows
from nn.channelwise import Channelwise
from nn.checks import check_floating, check_input, check_signal
from nn.initializers import draw, ones


class Scale(Channelwise):
    """y_c = s_g x_c, with one factor s_g for each group g of neighbouring channels (axis 0) of (C, N) or (C, H, W, N).

    One group is one factor for all that a residual block adds; C groups are one factor a channel.

    Parameters
    ----------
    channels : number C.
    groups : number G of groups of equal size, or the sizes of the groups in order.
    dtype : float64 or float32.
    outline : whether s knows its shape only, as with ``rng=None`` elsewhere; s (G,) starts at 1, nothing is drawn.

    Raises
    ------
    ValueError
        If there is no channel, or the groups are not of one channel at least, or have not C channels together.

    Notes
    -----
    ``backward_hessian`` is exact given a diagonal d2E/dy2.  s_g is shared by all channels and positions of its group,
    and its sum over d2E/dy2 drops the terms between two of them.

    Huang and Wang 2018, Data-driven sparse structure selection for deep neural networks, arXiv:1707.01213.
    """

    def __init__(self, channels: int, groups: int | Sequence[int] = 1, dtype: Any = np.float64, outline: bool = False):
        self.channels = whole(channels, "number of channels", 1)
        self.sizes = _sizes(self.channels, groups)
        rng = None if outline else np.random.default_rng()  # draws nothing: ones
        self.s = draw(ones, (len(self.sizes),), rng, dtype)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, those of a layer at its starting values."""
        G = len(self.sizes)
        groups = G if len(set(self.sizes)) == 1 else self.sizes
        return {"channels": self.channels, "groups": groups, "dtype": dtype_name(self.s.dtype)}

    def group_of(self) -> list[int]:
        """Return the number of the group that each channel is in, C of them."""
        return [group for group, size in enumerate(self.sizes) for _ in range(size)]

    def factor(self) -> Array:
        """Return the factor of each channel, (C,)."""
        return self.membership(self.s.data) @ self.s.data

    def forward(self, x: Array) -> Array:
        """Return y = s_g x."""
        check_floating(self, x)
        shape = check_input(self, x)
        xp = get_array_module(x)
        self.rows = xp.reshape(x, (self.channels, -1))
        return xp.reshape(self.factor()[:, None] * self.rows, shape)

    def backward_parameters(self, gy: Array) -> None:
        """dE/dy -> dE/ds."""
        check_signal(self, gy)
        g = get_array_module(gy).reshape(gy, self.rows.shape)
        self.s.grad = self.membership(g).T @ dot_rows(g, self.rows)  # dE/ds_g = sum over g of dE/dy_c x_c

    def backward(self, gy: Array) -> Array:
        """dE/dy -> dE/dx."""
        self.backward_parameters(gy)
        return self.back(gy, self.factor())

    def backward_hessian(self, gy: Array, hy: Array) -> tuple[Array, Array]:
        """d2E/dy2 -> d2E/dx2 = s^2 d2E/dy2."""
        check_signal(self, gy, hy)
        h = get_array_module(hy).reshape(hy, self.rows.shape)
        self.s.hess_diag = self.membership(h).T @ dot_rows(h, self.rows * self.rows)  # sum of d2E/dy_c2 x_c^2
        return self.backward(gy), self.back(hy, self.factor() * self.factor())

    def back(self, signal: Array, factor: Array) -> Array:
        """Return the signal with each channel multiplied by its factor (C,)."""
        xp = get_array_module(signal)
        return xp.reshape(factor[:, None] * xp.reshape(signal, self.rows.shape), signal.shape)

    def membership(self, like: Array) -> Array:
        """Return the matrix (C, G) of zeros and ones that says which channel is in which group."""
        return asarray(np.eye(len(self.sizes))[self.group_of()], like=like)


def _sizes(channels: int, groups: int | Sequence[int]) -> list[int]:
    given = list(groups) if isinstance(groups, Sequence) else [groups]
    if any(isinstance(each, bool) or not isinstance(each, Integral) for each in given):
        raise ValueError(f"expected a number of groups, or the sizes of the groups, got {groups!r}")
    numbers = [int(each) for each in given]
    if isinstance(groups, Sequence):
        if not numbers or min(numbers) < 1 or sum(numbers) != channels:
            raise ValueError(f"expected groups of one channel at least, {channels} together, got sizes {numbers}")
        return numbers
    if groups < 1 or channels % groups:
        raise ValueError(f"expected a number of groups that divides {channels} channels, got {groups}")
    return [channels // groups] * groups
