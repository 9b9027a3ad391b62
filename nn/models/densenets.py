"""DenseNet (Huang et al. 2017) for CIFAR: every layer sees the maps of all layers before it."""

from typing import Any

import numpy as np

from nn.activations import Identity, ReLU
from nn.batchnorm import BatchNorm
from nn.branches import Concat
from nn.conv import Conv2d
from nn.linear import Linear
from nn.models.blocks import Rng, bn_relu_conv, check_depth, check_sizes
from nn.module import Module, Sequential
from nn.pooling import AvgPool2d, GlobalAvgPool2d


def densenet(
    depth: int,
    rng: Rng,
    growth: int = 12,
    bottleneck: bool = False,
    channels: int = 3,
    classes: int = 10,
    dtype: Any = np.float64,
) -> Sequential:
    """Return DenseNet-40 (growth 12), or with ``bottleneck`` DenseNet-BC, such as DenseNet-BC-100.

    Three dense blocks of (depth - 4) / 3 convolutions; with bottleneck every second one is 1x1 with 4 growth filters,
    the stem has 2 growth filters and the transitions halve the channels.

    Raises
    ------
    TypeError
        If `bottleneck` is neither True nor False.
    """
    if not isinstance(bottleneck, bool):
        raise TypeError(f"expected bottleneck to be True or False, got {bottleneck!r}")
    n = check_depth(depth, 6 if bottleneck else 3, 4)
    check_sizes(growth=growth, channels=channels, classes=classes)
    c = 2 * growth if bottleneck else 16
    layers: list[Module] = [Conv2d(channels, c, 3, rng, padding=1, bias=False, dtype=dtype)]
    for block in range(3):
        for _ in range(n):
            layers.append(Concat(Identity(), _layer(c, growth, bottleneck, rng, dtype)))
            c += growth
        if block < 2:
            c_out = c // 2 if bottleneck else c
            layers += [*bn_relu_conv(c, c_out, 1, rng, dtype=dtype), AvgPool2d(2)]
            c = c_out
    norm = BatchNorm(c, dtype=dtype, outline=rng is None)
    return Sequential(*layers, norm, ReLU(), GlobalAvgPool2d(), Linear(c, classes, rng, dtype=dtype))


def _layer(c: int, growth: int, bottleneck: bool, rng: Rng, dtype: Any) -> Sequential:
    if not bottleneck:
        return Sequential(*bn_relu_conv(c, growth, 3, rng, dtype=dtype))
    return Sequential(
        *bn_relu_conv(c, 4 * growth, 1, rng, dtype=dtype), *bn_relu_conv(4 * growth, growth, 3, rng, dtype=dtype)
    )
