"""The pieces that convolutional architectures are made of."""

from typing import Any

import numpy as np

from nn.activations import ReLU
from nn.batchnorm import BatchNorm
from nn.conv import Conv2d
from nn.module import Module

Rng = np.random.Generator | None


def conv_bn(c_in: int, c_out: int, kernel: int, rng: Rng, stride: int = 1, dtype: Any = np.float64) -> list[Module]:
    """Return [convolution without bias, batch norm]; the image keeps its size but for the stride."""
    conv = Conv2d(c_in, c_out, kernel, rng, stride, padding=kernel // 2, bias=False, dtype=dtype)
    return [conv, BatchNorm(c_out, dtype=dtype)]


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
    return [BatchNorm(c_in, dtype=dtype), ReLU(), conv]
