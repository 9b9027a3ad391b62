"""Containers with two or more ways from the input to the output."""

import operator
from collections.abc import Iterator, Sequence
from typing import Any

from nn.backend import Array, asarray, get_array_module, zeros
from nn.checks import check_input, check_signal
from nn.module import Module, check_layers
from nn.pooling import check_images


class Residual(Module):
    """y = body(x) + shortcut(x); without a shortcut, y = body(x) + x.

    ``backward_hessian`` adds the curvatures of both ways and drops the term between them, the diagonal of
    2 J_body^T (d2E/dy2) J_shortcut: two ways to the same output do not act independently.
    """

    exact_diagonal = False

    def __init__(self, body: Module, shortcut: Module | None = None):
        check_layers(body, *([] if shortcut is None else [shortcut]))
        self.body, self.shortcut = body, shortcut

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape that both ways end in; a ValueError if they differ."""
        by_body = self.body.output_shape(shape)
        by_shortcut = shape if self.shortcut is None else self.shortcut.output_shape(shape)
        if tuple(by_body) != tuple(by_shortcut):
            raise ValueError(f"the body ends in {tuple(by_body)} and the shortcut in {tuple(by_shortcut)}: no sum")
        return by_body

    def forward(self, x: Array) -> Array:
        """Return body(x) + shortcut(x)."""
        y, z = self.body.forward(x), x if self.shortcut is None else self.shortcut.forward(x)
        if y.shape != z.shape:
            raise ValueError(f"the body gives {tuple(y.shape)} and the shortcut {tuple(z.shape)}: no sum")
        return y + z

    def backward_parameters(self, gy: Array) -> None:
        """Fill the gradients of both ways."""
        self.body.backward_parameters(gy)
        if self.shortcut is not None:
            self.shortcut.backward_parameters(gy)

    def backward(self, gy: Array) -> Array:
        """dE/dy -> dE/dx, the sum over both ways."""
        gx = self.body.backward(gy)
        return gx + (gy if self.shortcut is None else self.shortcut.backward(gy))

    def backward_hessian(self, gy: Array, hy: Array) -> tuple[Array, Array]:
        """d2E/dy2 -> d2E/dx2, the sum over both ways without the term between them."""
        gx, hx = self.body.backward_hessian(gy, hy)
        gz, hz = (gy, hy) if self.shortcut is None else self.shortcut.backward_hessian(gy, hy)
        return gx + gz, hx + hz


class Concat(Module):
    """y = the outputs of all branches for the same x, one behind the other along the channels (axis 0).

    ``backward_hessian`` adds the curvatures of the branches and drops the terms between them.

    Raises
    ------
    ValueError
        If there is no branch.
    """

    exact_diagonal = False

    def __init__(self, *branches: Module):
        if not branches:
            raise ValueError("Concat expected at least one branch, got none")
        check_layers(*branches)
        self.branches = list(branches)

    def children(self) -> Iterator[tuple[str, Module]]:
        """Yield ("0", first branch), ("1", second branch), ..."""
        for name, branch in super().children():
            yield name.removeprefix("branches."), branch

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the common shape with the channels added up; a ValueError if the branches differ elsewhere."""
        shapes = [tuple(branch.output_shape(shape)) for branch in self.branches]
        _check_stackable(shapes)
        return (sum(each[0] for each in shapes), *shapes[0][1:])

    def forward(self, x: Array) -> Array:
        """Return all branches' outputs, concatenated."""
        outputs = [branch.forward(x) for branch in self.branches]
        _check_stackable([tuple(y.shape) for y in outputs])
        self.channels = [y.shape[0] for y in outputs]
        self.y_shape = (sum(self.channels), *outputs[0].shape[1:])
        return get_array_module(x).concat(outputs, axis=0)

    def backward_parameters(self, gy: Array) -> None:
        """Fill the gradients of all branches."""
        for branch, g in zip(self.branches, self.split(gy)):
            branch.backward_parameters(g)

    def backward(self, gy: Array) -> Array:
        """dE/dy -> dE/dx, the sum over the branches."""
        return sum(branch.backward(g) for branch, g in zip(self.branches, self.split(gy)))

    def backward_hessian(self, gy: Array, hy: Array) -> tuple[Array, Array]:
        """d2E/dy2 -> d2E/dx2, the sum over the branches without the terms between them."""
        pairs = [branch.backward_hessian(g, h) for branch, g, h in zip(self.branches, self.split(gy), self.split(hy))]
        return sum(gx for gx, _ in pairs), sum(hx for _, hx in pairs)

    def split(self, gy: Array) -> list[Array]:
        """Return the channels of each branch."""
        check_signal(self, gy)
        ends = [sum(self.channels[: i + 1]) for i in range(len(self.channels))]
        return [gy[end - size : end, ...] for size, end in zip(self.channels, ends)]


def _check_stackable(shapes: Sequence[tuple[int, ...]]) -> None:
    if len({shape[1:] for shape in shapes}) != 1:
        raise ValueError(f"the branches end in {', '.join(map(str, shapes))}, which differ in more than the channels")


class ZeroPadShortcut(Module):
    """The parameter-free shortcut of CIFAR ResNets: every stride-th pixel, and zeros for the new channels.

    Parameters
    ----------
    new_channels : how many channels of zeros there are.
    stride : which pixels are kept, 0, stride, 2 stride, ...
    positions : which of the C + new_channels output channels are those of x, ascending; None: the first C.

    Exact in both derivatives: every output is one input or a constant.

    Raises
    ------
    ValueError
        If the positions do not ascend, or are not places of C + new_channels channels.
    """

    def __init__(self, new_channels: int, stride: int = 1, positions: Sequence[int] | None = None):
        if new_channels < 0 or stride < 1:
            raise ValueError(
                f"expected new channels of at least 0 and a stride of at least 1, got {new_channels}, {stride}"
            )
        self.new_channels, self.stride = operator.index(new_channels), operator.index(stride)
        self.positions = None if positions is None else [operator.index(position) for position in positions]
        if self.positions is not None:
            C = len(self.positions)
            if self.positions != sorted({*self.positions} & {*range(C + new_channels)}):
                raise ValueError(f"expected ascending places in {C + new_channels} channels, got {self.positions}")

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        places = {} if self.positions is None else {"positions": self.positions}
        return {"new_channels": self.new_channels, "stride": self.stride, **places}

    def sources(self, C: int) -> list[int | None]:
        """Return for every output channel which of the C channels of x it carries, or None for zeros."""
        positions = range(C) if self.positions is None else self.positions
        place = {position: channel for channel, position in enumerate(positions)}
        return [place.get(position) for position in range(C + self.new_channels)]

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(C, H, W) -> (C + new channels, H / stride, W / stride), rounded up."""
        check_images(self, shape, None if self.positions is None else len(self.positions))
        C, H, W = shape
        return (C + self.new_channels, -(-H // self.stride), -(-W // self.stride))

    def forward(self, x: Array) -> Array:
        """Return the kept pixels with the new channels behind them."""
        check_input(self, x)
        self.shape, C = x.shape, x.shape[0]
        kept = x[:, :: self.stride, :: self.stride, :]
        nothing = zeros((self.new_channels, *kept.shape[1:]), like=x)
        y = get_array_module(x).concat([kept, nothing], axis=0)
        return y if self.positions is None else _take(y, [C if i is None else i for i in self.sources(C)])

    def backward(self, gy: Array) -> Array:
        """dE/dy -> dE/dx, zero at the pixels that were left out."""
        check_signal(self, gy)
        gx = zeros(self.shape, like=gy)
        kept = gy[: self.shape[0], :, :, :] if self.positions is None else _take(gy, self.positions)
        gx[:, :: self.stride, :: self.stride, :] = kept
        return gx

    def backward_hessian(self, gy: Array, hy: Array) -> tuple[Array, Array]:
        """d2E/dy2 -> d2E/dx2, the same routing."""
        return self.backward(gy), self.backward(hy)


class Select(Module):
    """y = the channels `indices` of x (axis 0), each at most once.  Exact in both derivatives.

    With `n_in` it says how many channels x has, and refuses any other number.

    Raises
    ------
    ValueError
        If a channel is named twice, or is not below `n_in`.
    """

    def __init__(self, indices: Sequence[int], n_in: int | None = None):
        self.indices = [operator.index(index) for index in indices]
        if not self.indices or min(self.indices) < 0 or len(set(self.indices)) < len(self.indices):
            raise ValueError(f"expected different channel numbers of 0 or more, got {list(indices)}")
        self.n_in = None if n_in is None else operator.index(n_in)
        if n_in is not None and max(self.indices) >= n_in:
            raise ValueError(f"expected channel numbers below {n_in}, got {max(self.indices)}")

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"indices": self.indices} | ({} if self.n_in is None else {"n_in": self.n_in})

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(C, ...) -> (number of indices, ...)."""
        if not shape:
            raise ValueError("expected channels to select from and a batch behind them, got a batch alone")
        if self.n_in not in (None, shape[0]):
            raise ValueError(f"expected {self.n_in} channels to select from, got {shape[0]}")
        if max(self.indices) >= shape[0]:
            raise ValueError(f"expected more than {max(self.indices)} channels to select from, got {shape[0]}")
        return (len(self.indices), *shape[1:])

    def forward(self, x: Array) -> Array:
        """Return the selected channels."""
        check_input(self, x)
        self.shape = x.shape
        return _take(x, self.indices)

    def backward(self, gy: Array) -> Array:
        """dE/dy -> dE/dx, zero at the channels that were left out."""
        check_signal(self, gy)
        gx = zeros(self.shape, like=gy)
        for row, index in enumerate(self.indices):
            gx[index : index + 1, ...] = gy[row : row + 1, ...]
        return gx

    def backward_hessian(self, gy: Array, hy: Array) -> tuple[Array, Array]:
        """d2E/dy2 -> d2E/dx2, the same routing."""
        return self.backward(gy), self.backward(hy)


def _take(x: Array, indices: Sequence[int]) -> Array:
    xp = get_array_module(x)
    return xp.take(x, asarray(list(indices), like=x, dtype=xp.int64), axis=0)
