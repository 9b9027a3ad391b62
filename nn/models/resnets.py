"""Residual networks (He et al. 2016) for CIFAR and ImageNet, and their pre-activation form."""

from typing import Any

import numpy as np

from nn.activations import ReLU
from nn.batchnorm import BatchNorm
from nn.branches import Residual, ZeroPadShortcut
from nn.linear import Linear
from nn.models.blocks import Rng, bn_relu_conv, conv_bn, conv_bn_relu
from nn.module import Module, Sequential
from nn.pooling import GlobalAvgPool2d, MaxPool2d

IMAGENET_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


def resnet_cifar(depth: int, rng: Rng, channels: int = 3, classes: int = 10, dtype: Any = np.float64) -> Sequential:
    """Return ResNet-20, -32, -44, -56 or -110: three stages of 16, 32, 64 channels, zero-padded shortcuts.

    Depth is 6 n + 2; every block is two 3x3 convolutions with batch norm.
    """
    n = _blocks(depth, 6)
    layers, c_in = conv_bn_relu(channels, 16, 3, rng, dtype=dtype), 16
    for c_out in (16, 32, 64):
        for block in range(n):
            stride = 2 if block == 0 and c_out > 16 else 1
            shortcut = ZeroPadShortcut(c_out - c_in, stride) if c_out > c_in else None
            layers += _basic(c_in, c_out, stride, shortcut, rng, dtype)
            c_in = c_out
    return Sequential(*layers, GlobalAvgPool2d(), Linear(64, classes, rng, dtype=dtype))


def preresnet(depth: int, rng: Rng, channels: int = 3, classes: int = 10, dtype: Any = np.float64) -> Sequential:
    """Return PreResNet-164 (or any depth 9 n + 2): bottleneck blocks of batch norm, ReLU, convolution; CIFAR.

    Where the channels change, a strided 1x1 convolution is the shortcut, as in the code of network slimming.
    """
    n = _blocks(depth, 9)
    layers: list[Module] = [conv_bn(channels, 16, 3, rng, dtype=dtype)[0]]
    c_in = 16
    for width in (16, 32, 64):
        for block in range(n):
            stride = 2 if block == 0 and width > 16 else 1
            body = Sequential(
                *bn_relu_conv(c_in, width, 1, rng, dtype=dtype),
                *bn_relu_conv(width, width, 3, rng, stride, dtype=dtype),
                *bn_relu_conv(width, 4 * width, 1, rng, dtype=dtype),
            )
            shortcut = conv_bn(c_in, 4 * width, 1, rng, stride, dtype)[0] if block == 0 else None
            layers.append(Residual(body, shortcut))
            c_in = 4 * width
    layers += [BatchNorm(c_in, dtype=dtype), ReLU(), GlobalAvgPool2d(), Linear(c_in, classes, rng, dtype=dtype)]
    return Sequential(*layers)


def resnet_imagenet(depth: int, rng: Rng, classes: int = 1000, dtype: Any = np.float64) -> Sequential:
    """Return ResNet-18, -34 (basic blocks) or -50 (bottlenecks, the stride in the 3x3) for 224 x 224 images.

    Where the shape changes, a strided 1x1 convolution with batch norm is the shortcut.
    """
    stem = [*conv_bn_relu(3, 64, 7, rng, 2, dtype), MaxPool2d(3, stride=2, padding=1)]
    return _four_stages(depth, stem, rng, classes, dtype)


def resnet18_cifar(rng: Rng, classes: int = 10, dtype: Any = np.float64) -> Sequential:
    """Return ResNet-18 with a 3x3 stem and no pool for CIFAR: 64 to 512 channels, 1x1 convolutions as shortcuts."""
    return _four_stages(18, conv_bn_relu(3, 64, 3, rng, dtype=dtype), rng, classes, dtype)


def _four_stages(depth: int, stem: list[Module], rng: Rng, classes: int, dtype: Any) -> Sequential:
    if depth not in IMAGENET_BLOCKS:
        raise ValueError(f"expected a ResNet of depth {', '.join(map(str, IMAGENET_BLOCKS))}, got {depth}")
    layers, c_in, block_of = stem, 64, _bottleneck if depth == 50 else _basic
    for width, blocks in zip((64, 128, 256, 512), IMAGENET_BLOCKS[depth]):
        c_out = 4 * width if depth == 50 else width
        for block in range(blocks):
            stride = 2 if block == 0 and width > 64 else 1
            changes = stride > 1 or c_in != c_out
            shortcut = Sequential(*conv_bn(c_in, c_out, 1, rng, stride, dtype)) if changes else None
            layers += block_of(c_in, c_out, stride, shortcut, rng, dtype)
            c_in = c_out
    return Sequential(*layers, GlobalAvgPool2d(), Linear(c_in, classes, rng, dtype=dtype))


def _basic(c_in: int, c_out: int, stride: int, shortcut: Module | None, rng: Rng, dtype: Any) -> list[Module]:
    body = Sequential(
        *conv_bn_relu(c_in, c_out, 3, rng, stride, dtype),
        *conv_bn(c_out, c_out, 3, rng, dtype=dtype),
    )
    return [Residual(body, shortcut), ReLU()]


def _bottleneck(c_in: int, c_out: int, stride: int, shortcut: Module | None, rng: Rng, dtype: Any) -> list[Module]:
    width = c_out // 4
    body = Sequential(
        *conv_bn_relu(c_in, width, 1, rng, dtype=dtype),
        *conv_bn_relu(width, width, 3, rng, stride, dtype),
        *conv_bn(width, c_out, 1, rng, dtype=dtype),
    )
    return [Residual(body, shortcut), ReLU()]


def _blocks(depth: int, per_stage: int) -> int:
    if depth < per_stage + 2 or (depth - 2) % per_stage:
        raise ValueError(f"expected a depth of {per_stage} n + 2, such as {per_stage * 3 + 2}, got {depth}")
    return (depth - 2) // per_stage
