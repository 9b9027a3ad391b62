"""Residual networks (He et al. 2016) for CIFAR and ImageNet, and their pre-activation form."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nn.activations import ReLU
from nn.batchnorm import BatchNorm
from nn.branches import Residual, Select, ZeroPadShortcut
from nn.linear import Linear
from nn.models.blocks import Rng, bn_relu_conv, check_depth, check_known, check_list, check_sizes, conv_bn, conv_bn_relu
from nn.module import Module, Sequential
from nn.pooling import GlobalAvgPool2d, MaxPool2d

IMAGENET_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
IMAGENET_WIDTHS = (64, 128, 256, 512)


def resnet_cifar(
    depth: int,
    rng: Rng,
    channels: int = 3,
    classes: int = 10,
    dtype: Any = np.float64,
    inner: Sequence[int] | None = None,
) -> Sequential:
    """Return ResNet-20, -32, -44, -56 or -110: three stages of 16, 32, 64 channels, zero-padded shortcuts.

    Depth is 6 n + 2; every block is two 3x3 convolutions with batch norm.

    Parameters
    ----------
    channels, classes : of the images (channels, H, W), of any size.
    inner : numbers of filters of the first convolution of each of the 3 n blocks, in the place of 16, ..., 64.
    depth, rng, dtype : as above, and as for `nn.Linear`.
    """
    n = check_depth(depth, 6, 2)
    check_sizes(channels=channels, classes=classes)
    widths = [width for width in (16, 32, 64) for _ in range(n)]
    layers, c_in = conv_bn_relu(channels, 16, 3, rng, dtype=dtype), 16
    for c_out, width in zip(widths, _or_usual(inner, widths, "numbers of inner filters, one a block")):
        stride = 2 if c_out > c_in else 1
        shortcut = ZeroPadShortcut(c_out - c_in, stride) if c_out > c_in else None
        layers += _basic(c_in, width, c_out, stride, shortcut, rng, dtype)
        c_in = c_out
    return Sequential(*layers, GlobalAvgPool2d(), Linear(64, classes, rng, dtype=dtype))


def preresnet(
    depth: int,
    rng: Rng,
    channels: int = 3,
    classes: int = 10,
    dtype: Any = np.float64,
    inner: Sequence[int] | None = None,
    seen: Sequence[int] | None = None,
) -> Sequential:
    """Return PreResNet-164 (or any depth 9 n + 2): bottleneck blocks of batch norm, ReLU, convolution; CIFAR.

    Where the channels change, a strided 1x1 convolution is the shortcut, as in the code of network slimming.

    Parameters
    ----------
    channels, classes : of the images (channels, H, W), of any size.
    inner : numbers of filters of the first two convolutions of each of the 3 n blocks, in the place of 16, 32, 64.
    seen : numbers of channels that the 3 n blocks and the last batch norm read, the first ones of the 16, 64, 128 or
        256 that are there; the sums keep them all.  This is how network slimming narrows a sum that it cannot cut.
    depth, rng, dtype : as above, and as for `nn.Linear`.
    """
    n = check_depth(depth, 9, 2)
    check_sizes(channels=channels, classes=classes)
    usual = [width for width in (16, 32, 64) for _ in range(n)]
    there = [16, *(4 * width for width in usual)]
    widths = _or_usual(inner, usual, "numbers of inner filters, one a block")
    reads = _or_usual(seen, there, "numbers of channels read, one a block and one at the end")
    layers: list[Module] = [conv_bn(channels, 16, 3, rng, dtype=dtype)[0]]
    for block, (c_in, c_out, width, read) in enumerate(zip(there, there[1:], widths, reads)):
        stride = 2 if block in (n, 2 * n) else 1
        body = Sequential(
            *_first(read, c_in),
            *bn_relu_conv(read, width, 1, rng, dtype=dtype),
            *bn_relu_conv(width, width, 3, rng, stride, dtype=dtype),
            *bn_relu_conv(width, c_out, 1, rng, dtype=dtype),
        )
        shortcut = conv_bn(c_in, c_out, 1, rng, stride, dtype)[0] if block % n == 0 else None
        layers.append(Residual(body, shortcut))
    last = [*_first(reads[-1], there[-1]), BatchNorm(reads[-1], dtype=dtype, outline=rng is None), ReLU()]
    return Sequential(*layers, *last, GlobalAvgPool2d(), Linear(reads[-1], classes, rng, dtype=dtype))


def _first(read: int, there: int) -> list[Module]:
    if read > there:
        raise ValueError(f"expected to read at most {there} channels, got {read}")
    return [Select(range(read), n_in=there)] if read < there else []


def resnet_imagenet(
    depth: int,
    rng: Rng,
    classes: int = 1000,
    dtype: Any = np.float64,
    inner: Sequence[int] | None = None,
    stages: Sequence[int] | None = None,
) -> Sequential:
    """Return ResNet-18, -34 (basic blocks) or -50 (bottlenecks, the stride in the 3x3) for 224 x 224 images.

    Where the shape changes, a strided 1x1 convolution with batch norm is the shortcut.

    Parameters
    ----------
    inner : numbers of filters inside each block (of the first convolution, of the first two in a bottleneck), in the
        place of 64, ..., 512.
    stages : numbers of channels that the blocks of the four stages end in, in the place of 64, 128, 256, 512 (four
        times as many with bottlenecks).
    depth, rng, classes, dtype : as above, and as for `nn.Linear`.
    """
    check_known(depth, IMAGENET_BLOCKS, "ResNet")
    stem = [*conv_bn_relu(3, 64, 7, rng, 2, dtype), MaxPool2d(3, stride=2, padding=1)]
    return _four_stages(depth, stem, rng, classes, dtype, inner, stages)


def resnet18_cifar(
    rng: Rng,
    classes: int = 10,
    dtype: Any = np.float64,
    inner: Sequence[int] | None = None,
    stages: Sequence[int] | None = None,
) -> Sequential:
    """Return ResNet-18 with a 3x3 stem and no pool for CIFAR; arguments as for `resnet_imagenet`."""
    return _four_stages(18, conv_bn_relu(3, 64, 3, rng, dtype=dtype), rng, classes, dtype, inner, stages)


def _four_stages(
    depth: int,
    layers: list[Module],
    rng: Rng,
    classes: int,
    dtype: Any,
    inner: Sequence[int] | None,
    stages: Sequence[int] | None,
) -> Sequential:
    check_sizes(classes=classes)
    block_of, expansion = (_bottleneck, 4) if depth == 50 else (_basic, 1)
    ends = _or_usual(stages, [expansion * width for width in IMAGENET_WIDTHS], "numbers of channels, one a stage")
    place = [(stage, block) for stage, blocks in enumerate(IMAGENET_BLOCKS[depth]) for block in range(blocks)]
    widths = _or_usual(inner, [IMAGENET_WIDTHS[stage] for stage, _ in place], "numbers of inner filters, one a block")
    c_in = 64
    for (stage, block), width in zip(place, widths):
        c_out, stride = ends[stage], 2 if block == 0 and stage > 0 else 1
        changes = stride > 1 or c_in != c_out
        shortcut = Sequential(*conv_bn(c_in, c_out, 1, rng, stride, dtype)) if changes else None
        layers += block_of(c_in, width, c_out, stride, shortcut, rng, dtype)
        c_in = c_out
    return Sequential(*layers, GlobalAvgPool2d(), Linear(c_in, classes, rng, dtype=dtype))


def _basic(
    c_in: int, width: int, c_out: int, stride: int, shortcut: Module | None, rng: Rng, dtype: Any
) -> list[Module]:
    body = Sequential(
        *conv_bn_relu(c_in, width, 3, rng, stride, dtype),
        *conv_bn(width, c_out, 3, rng, dtype=dtype),
    )
    return [Residual(body, shortcut), ReLU()]


def _bottleneck(
    c_in: int, width: int, c_out: int, stride: int, shortcut: Module | None, rng: Rng, dtype: Any
) -> list[Module]:
    body = Sequential(
        *conv_bn_relu(c_in, width, 1, rng, dtype=dtype),
        *conv_bn_relu(width, width, 3, rng, stride, dtype),
        *conv_bn(width, c_out, 1, rng, dtype=dtype),
    )
    return [Residual(body, shortcut), ReLU()]


def _or_usual(given: Sequence[int] | None, usual: list[int], what: str) -> Sequence[int]:
    if given is None:
        return usual
    check_list(given, what, len(usual))
    return given
