"""Table 1 of Li et al. (2017): its nets as outlines, our integers, and the cells as printed."""

from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import NamedTuple

import nn
from nn.models import resnet_cifar, resnet_imagenet, vgg

CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)


def kept(n, percent):
    """What is left of n filters when so many percent go: floor(n (1 - p)), in integers."""
    return n * (100 - percent) // 100


def inner(widths, percents, skip, kept=kept):
    """Filters of the first convolution of every block; it is layer 2, 4, ... and stays whole if skipped."""
    return [
        width if layer in skip else kept(width, percent)
        for layer, width, percent in zip(range(2, 2 * len(widths) + 1, 2), widths, percents)
    ]


def thin_vgg16():
    """VGG-16-A: half of the filters of layers 1 and 8 to 13."""
    c, d = kept(64, 50), kept(512, 50)
    return vgg(16, None, filters=(c, 64, 0, 128, 128, 0, 256, 256, 256, 0, d, d, d, 0, d, d, d, 0))


def thin_resnet(depth, percents, skip, kept=kept):
    """A ResNet for CIFAR with so many percent less in each of its three stages."""
    n = (depth - 2) // 6
    each = [(width, percent) for width, percent in zip((16, 32, 64), percents) for _ in range(n)]
    return resnet_cifar(depth, None, inner=inner(*zip(*each), skip, kept))


def thin_resnet34(percents, kept=kept):
    """ResNet-34 with so many percent less in the first three stages, the sensitive layers skipped."""
    each = [
        (width, percent)
        for width, percent, blocks in zip((64, 128, 256, 512), (*percents, 0), (3, 4, 6, 3))
        for _ in range(blocks)
    ]
    return resnet_imagenet(34, None, inner=inner(*zip(*each), {2, 8, 14, 16, 26, 28, 30, 32}, kept))


class Row(NamedTuple):
    """A row of Li et al. (2017), Table 1: our integers, and the four cells as printed."""

    net: nn.Module
    shape: tuple
    whole: str  # the row that this one is pruned from
    macs: int
    weights: int
    printed: tuple  # MACs, percent saved, weights, percent saved


LI = {
    "VGG-16": Row(vgg(16, None), CIFAR, "", 313_463_808, 14_977_728, ("3.13e8", "", "1.5e7", "")),
    "VGG-16-A": Row(thin_vgg16(), CIFAR, "VGG-16", 206_279_680, 5_390_176, ("2.06e8", "34.2", "5.4e6", "64.0")),
    "ResNet-56": Row(resnet_cifar(56, None), CIFAR, "", 125_485_696, 848_944, ("1.25e8", "", "8.5e5", "")),
    "ResNet-56-A": Row(
        thin_resnet(56, (10, 10, 10), {16, 20, 38, 54}),
        CIFAR, "ResNet-56", 112_435_840, 769_456, ("1.12e8", "10.4", "7.7e5", "9.4"),
    ),
    "ResNet-56-B": Row(
        thin_resnet(56, (60, 30, 10), {16, 18, 20, 34, 38, 54}),
        CIFAR, "ResNet-56", 90_907_264, 732_016, ("9.09e7", "27.6", "7.3e5", "13.7"),
    ),
    "ResNet-110": Row(resnet_cifar(110, None), CIFAR, "", 252_887_680, 1_719_856, ("2.53e8", "", "1.72e6", "")),
    "ResNet-110-A": Row(
        thin_resnet(110, (50, 0, 0), {36}),
        CIFAR, "ResNet-110", 212_779_648, 1_680_688, ("2.13e8", "15.9", "1.68e6", "2.3"),
    ),
    "ResNet-110-B": Row(
        thin_resnet(110, (50, 40, 30), {36, 38, 74}),
        CIFAR, "ResNet-110", 155_124_352, 1_161_712, ("1.55e8", "38.6", "1.16e6", "32.4"),
    ),
    "ResNet-34": Row(resnet_imagenet(34, None), IMAGENET, "", 3_644_493_824, 21_607_616, ("3.64e9", "", "2.16e7", "")),
    "ResNet-34-A": Row(
        thin_resnet34((30, 30, 30)),
        IMAGENET, "ResNet-34", 3_080_916_992, 19_962_560, ("3.08e9", "15.5", "1.99e7", "7.6"),
    ),
    "ResNet-34-B": Row(
        thin_resnet34((50, 60, 40)),
        IMAGENET, "ResNet-34", 2_763_001_856, 19_280_576, ("2.76e9", "24.2", "1.93e7", "10.8"),
    ),
    "ResNet-34-C": Row(  # the maps of the third stage's shortcuts, 204 of 256 kept
        resnet_imagenet(34, None, stages=(64, 128, kept(256, 20), 512)),
        IMAGENET, "ResNet-34", 3_374_446_592, 20_050_112, ("3.37e9", "7.5", "2.01e7", "7.2"),
    ),
}  # fmt: skip

CELLS = ("MACs", "MACs saved", "weights", "weights saved")
NOT_ROUNDED = {  # ours, printed, what was done to ours
    ("ResNet-56-B", "weights saved"): ("13.77", "13.7", "truncated"),
    ("ResNet-110-B", "MACs saved"): ("38.66", "38.6", "truncated"),
    ("ResNet-110-B", "weights saved"): ("32.45", "32.4", "truncated"),
    ("ResNet-34-A", "weights"): ("1.996e7", "1.99e7", "truncated"),
    ("ResNet-34-C", "MACs saved"): ("7.41", "7.5", "off"),
}
SAVED = {  # percent of MACs and of weights, one digit more than Table 1 prints
    "VGG-16-A": ("34.19", "64.01"),
    "ResNet-56-A": ("10.40", "9.36"),
    "ResNet-56-B": ("27.56", "13.77"),
    "ResNet-110-A": ("15.86", "2.28"),
    "ResNet-110-B": ("38.66", "32.45"),
    "ResNet-34-A": ("15.46", "7.61"),
    "ResNet-34-B": ("24.19", "10.77"),
    "ResNet-34-C": ("7.41", "7.21"),
}


def printed_as(value, printed):
    """How a number became the printed cell: "rounded", "truncated", or "off" if neither gives it."""
    mantissa, _, exponent = printed.partition("e")
    scaled, unit = Decimal(value).scaleb(-int(exponent or 0)), Decimal(mantissa)
    for name, how in (("rounded", ROUND_HALF_UP), ("truncated", ROUND_DOWN)):
        if scaled.quantize(unit, how) == unit:
            return name
    return "off"
