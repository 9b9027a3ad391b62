"""The pieces that convolutional architectures are made of."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from nn.activations import ReLU
from nn.batchnorm import BatchNorm
from nn.conv import Conv2d
from nn.linear import Flatten
from nn.module import Module, Sequential

Rng = np.random.Generator | None
DEEPEST = 2000


def check_sizes(**sizes: Any) -> None:
    """Raise a ValueError unless every one of them is an integer from 1 to below 2**31."""
    for name, size in sizes.items():
        if not _is_size(size):
            raise ValueError(f"expected a positive integer as {name}, got {size!r}")


def check_list(values: Any, what: str, length: int | None = None, lowest: int = 1) -> None:
    """Raise a ValueError unless the values are `length` (None: any number of) integers of at least `lowest`."""
    several = isinstance(values, list | tuple) or (isinstance(values, np.ndarray) and values.ndim == 1)
    if not several or not all(_is_size(value, lowest) for value in values):
        shown = " ".join(repr(values).split())  # an array fills several lines
        raise ValueError(f"expected a list of {what}, integers of at least {lowest}, got {shown}")
    if length is not None and len(values) != length:
        raise ValueError(f"expected {length} {what}, got {len(values)}")


def check_depth(depth: Any, step: int, rest: int) -> int:
    """Return n of depth = step n + rest; a ValueError unless it is a whole number from 1 on, and not absurd.

    The deepest nets that were published have 1,202 layers; a number with six digits was meant as something else, and
    would keep the machine busy for hours.
    """
    if not _is_size(depth) or depth < step + rest or (depth - rest) % step:
        raise ValueError(f"expected a depth of {step} n + {rest}, such as {3 * step + rest}, got {depth!r}")
    if depth > DEEPEST:
        raise ValueError(f"expected a depth of at most {DEEPEST}, got {depth}")
    return int(depth - rest) // step


def check_known(depth: Any, known: Collection[int], name: str) -> None:
    """Raise a ValueError unless there is an architecture of this depth."""
    if not _is_size(depth) or depth not in known:
        raise ValueError(f"expected a {name} of depth {', '.join(map(str, known))}, got {depth!r}")


def check_initializer(init: Any) -> None:
    """Raise a TypeError unless it can be called; an outline, which draws nothing, would else not notice."""
    if not callable(init):
        raise TypeError(f"expected an initializer such as nn.initializers.he_normal, got {init!r}")


def _is_size(value: Any, lowest: int = 1) -> bool:
    return _is_whole(value) and bool(lowest <= value < 2**31)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def flattened(name: str, layers: Sequence[Module], channels: int, size: int) -> int:
    """Return how many numbers the layers make of one image (channels, size, size), all maps flattened.

    Raises
    ------
    ValueError
        If the size is no integer or the image is too small; the sentence names the architecture and the smallest image
        that is not.
    """
    if not _is_whole(size) or size >= 2**31:
        raise ValueError(f"expected a positive integer as size, got {size!r}")
    features = Sequential(*layers, Flatten())
    smallest = next((n for n in range(1, 1025) if _fits(features, channels, n)), size)
    if size < smallest:
        raise ValueError(f"{name} needs images of at least {smallest} x {smallest} pixels, got {size} x {size}")
    return features.output_shape((channels, size, size))[0]


def _fits(features: Module, channels: int, size: int) -> bool:
    try:
        features.output_shape((channels, size, size))
    except ValueError:
        return False
    return True


def conv_bn(c_in: int, c_out: int, kernel: int, rng: Rng, stride: int = 1, dtype: Any = np.float64) -> list[Module]:
    """Return [convolution without bias, batch norm]; the image keeps its size but for the stride."""
    conv = Conv2d(c_in, c_out, kernel, rng, stride, padding=kernel // 2, bias=False, dtype=dtype)
    return [conv, BatchNorm(c_out, dtype=dtype, outline=rng is None)]


def conv_bn_relu(
    c_in: int, c_out: int, kernel: int, rng: Rng, stride: int = 1, dtype: Any = np.float64
) -> list[Module]:
    """Return [convolution without bias, batch norm, ReLU]."""
    return [*conv_bn(c_in, c_out, kernel, rng, stride, dtype), ReLU()]


def bn_relu_conv(
    c_in: int, c_out: int, kernel: int, rng: Rng, stride: int = 1, dtype: Any = np.float64
) -> list[Module]:
    """Return [batch norm, ReLU, convolution without bias]: the pre-activation order."""
    conv = Conv2d(c_in, c_out, kernel, rng, stride, padding=kernel // 2, bias=False, dtype=dtype)
    return [BatchNorm(c_in, dtype=dtype, outline=rng is None), ReLU(), conv]
