"""Table 1 of Li et al., digit by digit: which filters go, which layers count, and how numbers are rounded.

The error of a wrong form is the number of printed cells that it does not give.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

import nn
from nn.models import resnet_cifar, resnet_imagenet, vgg
from pruning import filters, surgery
from pruning.counts import count
from pruning.ledger.core import Claim, Measured, relative

CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)
Numbers = list[tuple[int, int]]
"""(MACs, weights) of a net, and of those that were pruned from it."""
Cells = tuple[tuple[str, ...], ...]
"""The same as printed, and behind them for the pruned ones what is saved, in percent."""
Layers = list[tuple[int, int, int, int]]
"""(channels, filters, side of the maps, side of the kernels) of each layer; the sides are 1 if fully connected."""
Kept = Callable[[int, int], int]
"""(number of filters, percent that go) -> how many stay."""


def _counted(nets: Sequence[nn.Module], shape: tuple[int, ...], convention: str = "li2017") -> Numbers:
    counts = [count(net, shape, convention) for net in nets]
    return [(each.macs, each.parameters) for each in counts]


def _sums(layers: Layers) -> tuple[int, int]:
    macs = sum(c * n * k * k * side * side for c, n, side, k in layers)
    return macs, sum(c * n * k * k for c, n, _, k in layers)


def _prints(number: int | Fraction, cell: str) -> bool:
    # Whether the cell is the number rounded to its digits, or cut off behind them, as four cells of the table are.
    mantissa, _, exponent = cell.partition("e")
    units = Fraction(number) * 10 ** len(mantissa.partition(".")[2]) / 10 ** int(exponent or 0)
    return int(mantissa.replace(".", "")) in (math.floor(units), math.floor(units + Fraction(1, 2)))


def _missed(numbers: Numbers, cells: Cells) -> int:
    # How many of the printed cells are not these numbers.
    found = 0
    for row, printed in zip(numbers, cells):
        ours: list[int | Fraction] = [*row, *(100 * (1 - Fraction(a, b)) for a, b in zip(row, numbers[0]))]
        found += sum(not _prints(number, cell) for number, cell in zip(ours, printed) if cell)
    return found


def _judged(ours: Numbers, plain: Numbers, cells: Cells) -> Iterator[Measured]:
    yield Measured("MACs and weights", relative(ours, plain))
    yield Measured("printed cells", _missed(ours, cells))


def _wrong(name: str, numbers: Numbers, cells: Cells, message: str) -> Measured:
    return Measured(name, _missed(numbers, cells), wrong=True, message=message)


# ---- VGG-16: half of the filters of layers 1 and 8 to 13 -------------------------------------------------------------
WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
SIDES = (32, 32, 16, 16, 8, 8, 8, 4, 4, 4, 2, 2, 2)
VGG_CELLS = ("3.13e8", "1.5e7"), ("2.06e8", "5.4e6", "34.2", "64.0")


def _thin(kept: Kept, percent: int = 50) -> list[int]:
    return [kept(n, percent) if layer in (1, *range(8, 14)) else n for layer, n in enumerate(WIDTHS, 1)]


def _vgg_layers(widths: Sequence[int], seen: Sequence[int], head: Layers) -> Layers:
    return [(c, n, side, 3) for c, n, side in zip((3, *seen), widths, SIDES)] + head


def _head(inputs: int) -> Layers:
    return [(inputs, 512, 1, 1), (512, 10, 1, 1)]


def _vgg_sums(kept: Kept, percent: int = 50) -> Numbers:
    both = WIDTHS, _thin(kept, percent)
    return [_sums(_vgg_layers(widths, widths, _head(widths[-1]))) for widths in both]


def _vgg(_: np.random.Generator) -> Iterator[Measured]:
    n = _thin(_ours)
    thin = vgg(16, None, filters=(*n[:2], 0, *n[2:4], 0, *n[4:7], 0, *n[7:10], 0, *n[10:], 0))
    ours = _counted([vgg(16, None), thin], CIFAR)
    yield from _judged(ours, _vgg_sums(_floor), VGG_CELLS)
    whole, half = _vgg_sums(_floor)[0], _thin(_floor)
    twice = [(2 * macs, weights) for macs, weights in ours]
    yield _wrong("two a MAC", twice, VGG_CELLS, "One multiply-accumulate is one FLOP in this table.")
    single = [_sums(_vgg_layers(w, w, [(w[-1], 10, 1, 1)])) for w in (WIDTHS, half)]
    yield _wrong("one layer 512-10", single, VGG_CELLS, "Two fully connected layers, 512-512-10, follow.")
    stay = [whole, _sums(_vgg_layers(half, WIDTHS, _head(512)))]
    yield _wrong("kernels stay", stay, VGG_CELLS, "The kernels that read a removed map go with it.")
    stay = [whole, _sums(_vgg_layers(half, half, _head(512)))]
    yield _wrong("inputs stay", stay, VGG_CELLS, "The layer behind the last convolution loses its inputs, too.")


# ---- residual nets: the first convolutions of the blocks, which are layers 2, 4, 6, ... ------------------------------
class Family(NamedTuple):
    """What a ResNet is made of: the stem, and stages of blocks of two 3 x 3 convolutions."""

    stem: tuple[int, int, int, int]
    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    sides: tuple[int, ...]
    classes: int


class Cut(NamedTuple):
    """Percent of the first convolutions, by stage; the layers that are skipped; percent of the maps behind the sums."""

    percents: tuple[int, ...] = (0, 0, 0, 0)
    skip: tuple[int, ...] = ()
    ends: tuple[int, ...] = (0, 0, 0, 0)


FAMILIES = {
    56: Family((3, 16, 32, 3), (9, 9, 9), (16, 32, 64), (32, 16, 8), 10),
    110: Family((3, 16, 32, 3), (18, 18, 18), (16, 32, 64), (32, 16, 8), 10),
    34: Family((3, 64, 112, 7), (3, 4, 6, 3), (64, 128, 256, 512), (56, 28, 14, 7), 1000),
}
SKIPPED_34 = (2, 8, 14, 16, 26, 28, 30, 32)
CUTS = {
    56: (Cut(), Cut((10, 10, 10), (16, 20, 38, 54)), Cut((60, 30, 10), (16, 18, 20, 34, 38, 54))),
    110: (Cut(), Cut((50, 0, 0), (36,)), Cut((50, 40, 30), (36, 38, 74))),
    34: (Cut(), Cut((30, 30, 30, 0), SKIPPED_34), Cut((50, 60, 40, 0), SKIPPED_34), Cut(ends=(0, 0, 20, 0))),
}
CELLS: dict[int, Cells] = {
    56: (("1.25e8", "8.5e5"), ("1.12e8", "7.7e5", "10.4", "9.4"), ("9.09e7", "7.3e5", "27.6", "13.7")),
    110: (("2.53e8", "1.72e6"), ("2.13e8", "1.68e6", "15.9", "2.3"), ("1.55e8", "1.16e6", "38.6", "32.4")),
    34: (
        ("3.64e9", "2.16e7"),
        ("3.08e9", "1.99e7", "15.5", "7.6"),
        ("2.76e9", "1.93e7", "24.2", "10.8"),
        ("3.37e9", "2.01e7", "", "7.2"),  # 7.5 is printed, and 7.41 is what its own MACs save
    ),
}


def _ours(n: int, percent: int) -> int:
    return filters.kept(n, percent / 100)


def _floor(n: int, percent: int) -> int:
    return n * (100 - percent) // 100


def _inner(depth: int, cut: Cut, kept: Kept) -> list[int]:
    blocks, widths = FAMILIES[depth].blocks, FAMILIES[depth].widths
    each = [(n, percent) for times, n, percent in zip(blocks, widths, cut.percents) for _ in range(times)]
    return [n if 2 * i in cut.skip else kept(n, percent) for i, (n, percent) in enumerate(each, 1)]


def _net(depth: int, cut: Cut) -> nn.Module:
    inner = _inner(depth, cut, _ours)
    if depth == 34:
        stages = [_ours(n, percent) for n, percent in zip(FAMILIES[34].widths, cut.ends)]
        return resnet_imagenet(34, None, inner=inner, stages=stages)
    return resnet_cifar(depth, None, inner=inner)


def _layers(depth: int, cut: Cut, kept: Kept, projections: bool = False) -> Layers:
    stem, blocks, widths, sides, classes = FAMILIES[depth]
    layers, c = [stem], stem[1]
    inner = iter(_inner(depth, cut, kept))
    for stage, (times, side) in enumerate(zip(blocks, sides)):
        end = kept(widths[stage], cut.ends[stage])
        layers += [(c, end, side, 1)] if projections and stage else []
        for _ in range(times):
            n = next(inner)
            layers += [(c, n, side, 3), (n, end, side, 3)]
            c = end
    return [*layers, (c, classes, 1, 1)]


def _plain(depth: int, kept: Kept = _floor, projections: bool = False, skip: bool = True) -> Numbers:
    cuts = [cut if skip else cut._replace(skip=()) for cut in CUTS[depth]]
    return [_sums(_layers(depth, cut, kept, projections)) for cut in cuts]


def _resnets(depth: int, shape: tuple[int, ...]) -> Callable[[np.random.Generator], Iterator[Measured]]:
    cells = CELLS[depth]

    def measure(_: np.random.Generator) -> Iterator[Measured]:
        nets = [_net(depth, cut) for cut in CUTS[depth]]
        yield from _judged(_counted(nets, shape), _plain(depth), cells)
        nearest = _plain(depth, lambda n, percent: round(n * (100 - percent) / 100))
        yield _wrong("round for floor", nearest, cells, "A filter that would stay in part goes.")
        up = _plain(depth, lambda n, percent: math.ceil(n * (100 - percent) / 100))
        yield _wrong("rounded up", up, cells, "A filter that would stay in part goes.")
        yield _wrong("nothing skipped", _plain(depth, skip=False), cells, "The sensitive layers stay whole.")
        message = (
            "The convolutions in the shortcuts are left out." if depth == 34 else "These shortcuts have no weights."
        )
        yield _wrong("projections counted", _plain(depth, projections=True), cells, message)
        if depth == 34:
            convolutions = _counted(nets, shape, "conv_only")
            heads = [_sums([layer[-1]]) for layer in (_layers(34, cut, _floor) for cut in CUTS[34])]
            both = [(a + c, b + d) for (a, b), (c, d) in zip(convolutions, heads)]
            yield Measured("with projections", relative(both, _plain(34, projections=True)))

    return measure


# ---- S0-A2: shares by layer, cut by surgery --------------------------------------------------------------------------
def _shares(_: np.random.Generator) -> Iterator[Measured]:
    net = resnet_cifar(56, None)
    first = {name: np.zeros(u.shape[0]) for name, u in net.named_parameters() if name.endswith("body.0.W")}
    nets: list[nn.Module] = [net]
    for cut in CUTS[56][1:]:
        percents = [0 if 2 * i in cut.skip else cut.percents[(i - 1) // 9] for i in range(1, 28)]
        keep = filters.largest(first, {name: percent / 100 for name, percent in zip(first, percents)})
        nets.append(surgery.remove(net, keep))
    yield from _judged(_counted(nets, CIFAR), _plain(56), CELLS[56])
    yield _wrong("nothing skipped", _plain(56, skip=False), CELLS[56], "The sensitive layers stay whole.")
    whole, one = Cut(), Cut((33, 33, 33), CUTS[56][2].skip)
    mean = [_sums(_layers(56, cut, _floor)) for cut in (whole, CUTS[56][1], one)]
    yield _wrong("one share for all stages of B", mean, CELLS[56], "The stages lose 60, 30 and 10 percent.")
    tenth = _vgg_sums(_floor, percent=10)
    yield _wrong("a tenth of VGG-16, too", tenth, VGG_CELLS, "VGG-16-A loses half of the filters of seven layers.")


STATEMENTS = (
    Claim(
        id="S4-F11a",
        title="Table 1, VGG-16",
        printed=r"3.13\times10^8\to2.06\times10^8\ (34.2\%),\quad1.5\times10^7\to5.4\times10^6\ (64.0\%)",
        verdict="right",
        remark="Of 313,463,808 operations 206,279,680 are left, and of 14,977,728 weights 5,390,176.",
        where="S4, Table 1",
        code="pruning.counts.count, nn.models.vgg",
        notebook="11, section 5",
        tolerance=0,
        measure=_vgg,
        referee="printed cells, plain sums",
    ),
    Claim(
        id="S4-F11b",
        title="Table 1, ResNet-56",
        printed=r"1.25\times10^8\to1.12\times10^8\ (10.4\%),\ 9.09\times10^7\ (27.6\%)",
        verdict="right",
        remark="Layer 1 is the stem, and of the weights of B 13.77 percent are gone, printed as 13.7.",
        where="S4, Table 1 and section 3",
        code="pruning.counts.count, pruning.filters.kept, nn.models.resnet_cifar",
        notebook="11, section 5",
        tolerance=0,
        measure=_resnets(56, CIFAR),
        referee="printed cells, plain sums",
    ),
    Claim(
        id="S4-F11c",
        title="Table 1, ResNet-110",
        printed=r"2.53\times10^8\to2.13\times10^8\ (15.9\%),\ 1.55\times10^8\ (38.6\%)",
        verdict="right",
        remark="B saves 38.66 percent of the operations and 32.45 of the weights, printed as 38.6 and 32.4.",
        where="S4, Table 1 and section 3",
        code="pruning.counts.count, pruning.filters.kept, nn.models.resnet_cifar",
        notebook="11, section 5",
        tolerance=0,
        measure=_resnets(110, CIFAR),
        referee="printed cells, plain sums",
    ),
    Claim(
        id="S4-F11d",
        title="Table 1, ResNet-34",
        printed=r"3.64\times10^9\to3.08\times10^9\ (15.5\%),\ 2.76\times10^9\ (24.2\%),\ 3.37\times10^9\ (7.5\%)",
        verdict="right if",
        remark="It holds only without the projections in the shortcuts; and C saves 7.41 percent where 7.5 is printed.",
        where="S4, Table 1 and section 3",
        code="pruning.counts.count, pruning.filters.kept, nn.models.resnet_imagenet",
        notebook="11, section 5",
        tolerance=0,
        measure=_resnets(34, IMAGENET),
        referee="printed cells, plain sums",
    ),
    Claim(
        id="S0-A2",
        title="predefined shares: A a tenth, B by stage",
        printed=r"\begin{array}{l}\text{A is }10\%\text{ of filters skipping sensitive layers.}"
        r"\\\text{B uses different pruning rates per layer (stage).}\end{array}",
        verdict="right if",
        remark="This is A of ResNet-56 only: VGG-16-A and ResNet-110-A lose half of the filters of some layers.",
        where="S0, Predefined structured",
        code="pruning.filters.largest, pruning.surgery.remove, pruning.counts.count",
        notebook="11, section 5",
        tolerance=0,
        measure=_shares,
        referee="printed cells, plain sums",
    ),
)
