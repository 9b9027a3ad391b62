"""What a rate counts: the filters that stay, shortcuts without weights, and the convolutions alone, as in P-RM."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import nn
from nn.models import lenet5, resnet18_cifar, resnet_imagenet, vgg
from pruning import filters, surgery
from pruning.counts import count
from pruning.ledger.core import Form, Formula


# ---- S4-F10: shortcuts without parameters ----------------------------------------------------------------------------
def _draw_shortcut(rng: np.random.Generator) -> dict[str, Any]:
    return {"x": rng.standard_normal((3, 4, 6, 2)), "new": int(rng.integers(1, 4))}


def _shortcut(x: np.ndarray, new: int) -> tuple[np.ndarray, int]:
    net = nn.models.resnet_cifar(56, None)
    shortcut: np.ndarray = nn.ZeroPadShortcut(new, stride=2).forward(x)
    return shortcut, count(net, (3, 32, 32), "conv_only").parameters


def _shortcut_by_loops(x: np.ndarray, new: int) -> tuple[np.ndarray, int]:
    C, H, W, N = x.shape
    y = np.zeros((C + new, H // 2, W // 2, N))
    for c, h, w, n in np.ndindex(C, H // 2, W // 2, N):
        y[c, h, w, n] = x[c, 2 * h, 2 * w, n]
    # The stem, and three stages of nine blocks: 18 convolutions each, the first of which may widen the maps.
    stages = [18 * 16 * 16, 16 * 32 + 17 * 32 * 32, 32 * 64 + 17 * 64 * 64]
    return y, 9 * (3 * 16 + sum(stages))


def _shortcut_with_projections(x: np.ndarray, new: int) -> tuple[np.ndarray, int]:
    y, weights = _shortcut_by_loops(x, new)
    return y, weights + 16 * 32 + 32 * 64


def _shortcut_of_means(x: np.ndarray, new: int) -> tuple[np.ndarray, int]:
    means = sum(x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
    return np.pad(means, ((0, new), (0, 0), (0, 0), (0, 0))), _shortcut_by_loops(x, new)[1]


def _shortcut_in_front(x: np.ndarray, new: int) -> tuple[np.ndarray, int]:
    y, weights = _shortcut_by_loops(x, new)
    return np.roll(y, new, axis=0), weights


# ---- S4-F11e: how many filters stay ----------------------------------------------------------------------------------
def _draw_kept(rng: np.random.Generator) -> dict[str, list[int]]:
    # n (1 - p) of the first three pairs: 2 but for floating point, 3.6, and 0.03.
    n, percent = rng.integers(1, 513, 20).tolist(), rng.integers(0, 100, 20).tolist()
    return {"n": [20, 6, 3, *n], "percent": [90, 40, 99, *percent]}


def _each(kept: Callable[[int, int], int]) -> Callable[..., np.ndarray]:
    return lambda n, percent: np.array([kept(*pair) for pair in zip(n, percent)])


# ---- S3-A1: the rates of LeNet-5 -------------------------------------------------------------------------------------
RATES = {23.18: (4, 25, 20, 50), 34.46: (4, 20, 22, 30), 45.54: (4, 15, 20, 25), 39.23: (5, 10, 20, 30)}
RATES |= {87.93: (3, 10, 13, 20), 231.82: (2, 5, 10, 10)}
"""Printed rate: filters and columns of the two convolutions, one choice of many with as many weights."""


def _nothing(_: np.random.Generator) -> dict[str, Any]:
    return {}


def _small(f1: int, k1: int, f2: int, k2: int) -> nn.Module:
    fewer = surgery.remove(lenet5(None), {"0.W": range(f1), "2.W": range(f2)})
    small: nn.Module = surgery.remove_columns(fewer, {"0.W": range(k1), "2.W": range(k2)})
    return small


def _rates() -> np.ndarray:
    whole, nets = lenet5(None), [_small(*sizes) for sizes in RATES.values()]
    n, *left = (count(net, (1, 28, 28), "conv_only").parameters for net in (whole, *nets))
    return np.array([round(100 * n / each) for each in left])


def _printed_rates() -> np.ndarray:
    return np.array([round(100 * rate) for rate in RATES])


def _rates_of(whole: int, left: Callable[..., int]) -> Callable[[], np.ndarray]:
    return lambda: np.array([round(100 * whole / left(*sizes)) for sizes in RATES.values()])


# ---- S3-A1b: "numbers of parameter reduced" --------------------------------------------------------------------------
def _reduced(convention: str) -> Callable[[], np.ndarray]:
    def form() -> np.ndarray:
        cifar, imagenet = (3, 32, 32), (3, 224, 224)
        nets = [(vgg(16, None), cifar, 50.02), (resnet18_cifar(None), cifar, 60.11)]
        nets += [(resnet_imagenet(18, None), imagenet, 3.33), (resnet_imagenet(50, None), imagenet, 2.70)]
        counts = [(count(net, shape, convention).parameters, rate) for net, shape, rate in nets]
        return np.array([round(n * (1 - 1 / rate) / 1e4) for n, rate in counts])

    return form


STATEMENTS = (
    Formula(
        id="S4-F11e",
        title="how many of n filters stay",
        printed=r"\lfloor n(1-p)\rfloor",
        verdict="lost",
        remark="The paper gives the shares p; only the floor gives the numbers of its Table 1.",
        where="S4, section 3",
        code="pruning.filters.kept",
        notebook="11, section 5",
        tolerance=0,
        draw=_draw_kept,
        right=_each(lambda n, percent: filters.kept(n, percent / 100)),
        referees=(Form("whole numbers", _each(lambda n, percent: max(1, n * (100 - percent) // 100))),),
        wrong=(
            Form(
                "round for floor",
                _each(lambda n, percent: max(1, round(n * (100 - percent) / 100))),
                "A filter that would stay in part goes.",
            ),
            Form(
                "rounded up",
                _each(lambda n, percent: math.ceil(n * (100 - percent) / 100)),
                "A filter that would stay in part goes.",
            ),
            Form(
                "floor in floating point",
                _each(lambda n, percent: max(1, int(n * (1 - percent / 100)))),
                "20 (1 - 0.9) is 1.9999999999999996 there, and its floor 1.",
            ),
            Form(
                "p kept",
                _each(lambda n, percent: max(1, n * percent // 100)),
                "The share p is that of the filters that go.",
            ),
            Form("none may stay", _each(lambda n, percent: n * (100 - percent) // 100), "A layer cannot be empty."),
        ),
    ),
    Formula(
        id="S4-F10",
        title="shortcuts of the ResNets for CIFAR have no parameters",
        printed=r"\begin{array}{l}\text{When the feature maps increase, the shortcut layer provides}"
        r"\\\text{an identity mapping with an additional zero padding for the increased dimensions.}\end{array}",
        verdict="right",
        remark="Every second pixel stays and empty maps follow: the convolutions of ResNet-56 have 848,304 weights.",
        where="S4, section 3, ResNet-56/110 on CIFAR-10",
        code="nn.ZeroPadShortcut.forward, nn.models.resnet_cifar",
        notebook="11, section 5",
        tolerance=0,
        draw=_draw_shortcut,
        draws=3,
        right=_shortcut,
        referees=(Form("loops over pixels, sums of weights", _shortcut_by_loops),),
        wrong=(
            Form("projections", _shortcut_with_projections, "These are the 1x1 convolutions of option B."),
            Form("means of four pixels", _shortcut_of_means, "The stride leaves pixels out; it adds none of them up."),
            Form("empty maps in front", _shortcut_in_front, "Then the maps are added to those of other filters."),
        ),
    ),
    Formula(
        id="S3-A1",
        title="the rates of LeNet-5 count convolutions only",
        printed=r"23/18,\ 34.46,\ 45.54,\ 39.23,\ 87.93,\ 231.82\times",
        verdict="right if",
        remark="They are 25,500 over 1100 (23/18 is 23.18), 740, 560, 650, 290 and 110: convolutions alone.",
        where="S3, Table 1",
        code="pruning.counts.count, pruning.surgery.remove, pruning.surgery.remove_columns",
        notebook="15, section 5",
        tolerance=0,
        draw=_nothing,
        draws=1,
        right=_rates,
        referees=(Form("printed rates", _printed_rates),),
        wrong=(
            Form(
                "the whole net",
                _rates_of(430_500, lambda f1, k1, f2, k2: 405_000 + f1 * k1 + f2 * k2),
                "With its fully connected layers the net is not even 1.07 times smaller.",
            ),
            Form(
                "430,500 over what is left",
                _rates_of(430_500, lambda f1, k1, f2, k2: f1 * k1 + f2 * k2),
                "Above the line stand weights of layers that were not pruned.",
            ),
            Form(
                "biases",
                _rates_of(25_570, lambda f1, k1, f2, k2: f1 * (k1 + 1) + f2 * (k2 + 1)),
                "The biases of the convolutions are not counted.",
            ),
            Form(
                "columns stay",
                _rates_of(25_500, lambda f1, k1, f2, k2: f1 * 25 + f2 * f1 * 25),
                "Filters and columns of the matrix are pruned, not filters alone.",
            ),
        ),
    ),
    Formula(
        id="S3-A1b",
        title="numbers of parameters reduced",
        printed=r"\begin{array}{l}\text{numbers of parameter reduced on:}"
        r"\\\text{VGG-16: 14.42M , ResNet-18: 10.97M (CIFAR-10);}"
        r"\\\text{ResNet-18: 7.81M , ResNet-50: 14.77M (ImageNet)}\end{array}",
        verdict="right if",
        remark="They are n (1 - 1/rate) if n counts all convolutions, shortcuts too, and nothing else.",
        where="S3, Table 1",
        code="pruning.counts.count, nn.models.vgg, nn.models.resnet18_cifar, nn.models.resnet_imagenet",
        notebook="15, section 5",
        tolerance=0,
        draw=_nothing,
        draws=1,
        right=_reduced("conv_only"),
        referees=(Form("printed numbers", lambda: np.array([1442, 1097, 781, 1477])),),
        wrong=(
            Form("convention of Li et al.", _reduced("li2017"), "Shortcuts count here, fully connected layers do not."),
            Form("all parameters", _reduced("full"), "Only weights of convolutions count here."),
        ),
    ),
)
