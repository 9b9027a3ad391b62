"""The pieces that convolutional architectures are made of."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nn.activations import ReLU
from nn.batchnorm import BatchNorm
from nn.conv import Conv2d
from nn.linear import Flatten
from nn.module import Module, Sequential

Rng = np.random.Generator | None


def check_filters(filters: Sequence[int], convolutions: int) -> None:
    """Raise a ValueError unless there is one number of filters for every convolution."""
    if len(filters) != convolutions:
        raise ValueError(f"expected {convolutions} numbers of filters, one a convolution, got {len(filters)}")


def flattened(name: str, layers: Sequence[Module], channels: int, size: int) -> int:
    """Return how many numbers the layers make of one image (channels, size, size), all maps flattened.

    Raises
    ------
    ValueError
        If the image is too small; the sentence names the architecture and the smallest image that is not.
    """
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
