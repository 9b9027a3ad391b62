"""Operations: what a convolution costs, and what a filter saves in its own layer and in the next one."""

from collections.abc import Callable
from typing import Any

import numpy as np

import nn
from pruning import surgery
from pruning.counts import count
from pruning.ledger.core import Form, Formula


def _multiplied(x: np.ndarray, F: np.ndarray, stride: int = 1, padding: int = 0, groups: int = 1) -> Any:
    # The maps of a convolution in plain loops, and how often it multiplied: the referee of this whole file.
    n_out, channels, kh, kw = F.shape
    x, times = np.pad(x, ((0, 0), (padding, padding), (padding, padding))), 0
    maps = np.zeros((n_out, (x.shape[1] - kh) // stride + 1, (x.shape[2] - kw) // stride + 1))
    for j, row, column, c, u, v in np.ndindex(*maps.shape, channels, kh, kw):
        channel = j * groups // n_out * channels + c
        maps[j, row, column] += F[j, c, u, v] * x[channel, stride * row + u, stride * column + v]
        times += 1
    return maps, times


# ---- C8: what is counted ---------------------------------------------------------------------------------------------
def _draw_net(rng: np.random.Generator) -> dict[str, Any]:
    c, n, k, units = (int(i) for i in rng.integers(2, 5, 4))
    return {"c": c, "n": n, "k": k, "units": units, "size": k + 3}  # maps of 4 x 4, halved by a mean


def _macs(c: int, n: int, k: int, units: int, size: int) -> int:
    norm, mean = nn.BatchNorm(n, outline=True), nn.AvgPool2d(2)
    layers = nn.Conv2d(c, n, k, None), norm, nn.ReLU(), mean, nn.Flatten(), nn.Linear(4 * n, units, None)
    return count(nn.Sequential(*layers), (c, size, size)).macs


def _macs_by_loops(c: int, n: int, k: int, units: int, size: int) -> int:
    # A fully connected layer is a convolution whose kernels are as large as the maps.
    first = _multiplied(np.ones((c, size, size)), np.ones((n, c, k, k)))[1]
    return int(first + _multiplied(np.ones((n, 2, 2)), np.ones((units, n, 2, 2)))[1])


def _macs_and(more: Callable[[int, int], int]) -> Callable[..., int]:
    return lambda **net: _macs_by_loops(**net) + more(net["n"], net["units"])


# ---- S4-F1: shapes ---------------------------------------------------------------------------------------------------
def _draw_maps(rng: np.random.Generator) -> dict[str, Any]:
    n, k = (int(i) for i in rng.integers(2, 4, 2))
    return {"x": rng.standard_normal((n, 5, 6)), "F": rng.standard_normal((n, n, k, k))}


def _maps(x: np.ndarray, F: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    layer = nn.Conv2d(F.shape[1], F.shape[0], F.shape[2], None, bias=False)
    layer.W.data = F
    return layer.forward(x[..., None])[..., 0], layer.output_shape(x.shape)


def _maps_by_loops(x: np.ndarray, F: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    each = [_multiplied(x, F[j : j + 1])[0][0] for j in range(len(F))]  # one filter generates one map
    return np.array(each), (len(F), *each[0].shape)


def _maps_as_typed(x: np.ndarray, F: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    return _maps_by_loops(x, F.swapaxes(0, 1))


def _maps_of_input_size(x: np.ndarray, F: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    return _maps_by_loops(x, F)[0], (len(F), *x.shape[1:])


# ---- S4-F2: operations of one layer ----------------------------------------------------------------------------------
def _draw_layer(rng: np.random.Generator) -> dict[str, Any]:
    groups, stride, kh = 2, 2, int(rng.integers(1, 3))
    n_in, n_out = (2 * int(i) for i in rng.integers(1, 4, 2))
    size = tuple(int(i) for i in rng.integers(5, 8, 2))
    return {"n_in": n_in, "n_out": n_out, "kernel": (kh, kh + 1), "size": size, "stride": stride, "groups": groups}


def _operations(n_in: int, n_out: int, kernel: Any, size: Any, stride: int, groups: int) -> int:
    layer = nn.Conv2d(n_in, n_out, kernel, None, stride, groups=groups)
    return count(layer, (n_in, *size)).macs


def _operations_by_loops(n_in: int, n_out: int, kernel: Any, size: Any, stride: int, groups: int) -> int:
    return int(_multiplied(np.ones((n_in, *size)), np.ones((n_out, n_in // groups, *kernel)), stride, 0, groups)[1])


def _formula(
    factor: int = 1, side: int | None = None, grouped: bool = True, output: bool = True, biases: int = 0
) -> Callable[..., int]:
    def form(n_in: int, n_out: int, kernel: Any, size: Any, stride: int, groups: int) -> int:
        h, w = [(n - k) // stride + 1 for n, k in zip(size, kernel)] if output else size
        kh, kw = kernel if side is None else (kernel[side], kernel[side])
        n_seen = n_in // groups if grouped else n_in
        return int(n_out * (factor * n_seen * kh * kw + biases) * h * w)

    return form


# ---- S4-F3, S4-F4: what is saved -------------------------------------------------------------------------------------
IMAGE, FIRST, SECOND = 11, 5, 2
"""Sides of the image and of the two maps: kernels of 2 or 3 pixels, stride 2, no border."""


def _draw_two(rng: np.random.Generator) -> dict[str, int]:
    n0, k = (int(i) for i in rng.integers(2, 4, 2))
    n1 = n0 + int(rng.integers(1, 3))
    n2 = n1 + int(rng.integers(1, 3))
    return {"n0": n0, "n1": n1, "n2": n2, "k": k, "m": int(rng.integers(1, n1)), "m2": int(rng.integers(1, n2))}


def _saved(layer: int, n0: int, n1: int, n2: int, k: int, m: int, m2: int) -> int:
    # By surgery on an outline, m filters of the first layer and m2 of the second; a third one reads what is left.
    convs = [nn.Conv2d(*ends, k, None, stride=2) for ends in ((n0, n1), (n1, n2))]
    net = nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU(), nn.Conv2d(n2, 1, 1, None))
    small = surgery.remove(net, {"0.W": range(m, n1), "2.W": range(m2, n2)})
    before, after = (count(each, (n0, IMAGE, IMAGE)).layers[layer].macs for each in (net, small))
    return before - after


def _first_saves(m: int, m2: int, **sizes: int) -> int:
    return _saved(0, m=1, m2=0, **sizes)


def _first_saves_by_loops(n0: int, n1: int, n2: int, k: int, m: int, m2: int) -> int:
    x, F = np.ones((n0, IMAGE, IMAGE)), np.ones((n1, n0, k, k))
    return int(_multiplied(x, F, 2)[1] - _multiplied(x, F[1:], 2)[1])


def _first_saves_as(formula: Callable[..., int]) -> Callable[..., int]:
    return lambda n0, n1, n2, k, m, m2: formula(n0, n1, n2, k)


def _second_saves(m: int, m2: int, **sizes: int) -> tuple[int, int]:
    return _saved(1, m=1, m2=0, **sizes), _saved(1, m=m, m2=m2, **sizes)


def _second_saves_by_loops(n0: int, n1: int, n2: int, k: int, m: int, m2: int) -> tuple[int, ...]:
    x, F = np.ones((n1, FIRST, FIRST)), np.ones((n2, n1, k, k))
    whole = _multiplied(x, F, 2)[1]
    return tuple(whole - _multiplied(x[a:], F[b:, a:], 2)[1] for a, b in ((1, 0), (m, m2)))


def _second_saves_as(one: Callable[..., int], both: Callable[..., int], side: int = SECOND) -> Callable[..., Any]:
    def form(n0: int, n1: int, n2: int, k: int, m: int, m2: int) -> tuple[int, int]:
        q = k * k * side * side
        return one(n1, n2) * q, both(n1, n2, m, m2) * q

    return form


STATEMENTS = (
    Formula(
        id="C8",
        title="a FLOP is one multiply-accumulate",
        printed=r"\mathrm{FLOP}=\#\{\text{multiplications with a weight of a convolution or a fully connected layer}\}",
        verdict="lost",
        remark="Table 1 of the paper prints FLOP without a definition; this one gives its numbers.",
        where="S4, Table 1",
        code="pruning.counts.count",
        notebook="11, section 1",
        tolerance=0,
        draw=_draw_net,
        right=_macs,
        referees=(Form("loops that count", _macs_by_loops),),
        wrong=(
            Form("two a MAC", lambda **net: 2 * _macs_by_loops(**net), "Product and sum were counted as two."),
            Form("biases", _macs_and(lambda n, units: 16 * n + units), "A bias is added, and multiplies nothing."),
            Form("batch norm", _macs_and(lambda n, _: 16 * n), "Its scale can be folded into the convolution."),
            Form("pools", _macs_and(lambda n, _: 16 * n), "The mean of a window has no weights."),
        ),
    ),
    Formula(
        id="S4-F1",
        title="shapes of maps, filters and kernels",
        printed=r"x_i\in\mathbb R^{n_i\times h_i\times w_i},\quad\mathcal F_{i,j}\in\mathbb R^{n_i\times k\times k}",
        verdict="right",
        remark="The kernel matrix is printed n_i x n_{i+1} x k x k, but in the code the filters come first.",
        where="S4, section 2",
        code="nn.Conv2d.forward, nn.Conv2d.output_shape",
        notebook="11, section 1",
        draw=_draw_maps,
        right=_maps,
        referees=(Form("one map after the other by loops", _maps_by_loops),),
        wrong=(
            Form("order as typed", _maps_as_typed, "Here the first index of F counts input channels, not filters."),
            Form("maps of the input's size", _maps_of_input_size, "Without a border k - 1 rows and columns are lost."),
        ),
    ),
    Formula(
        id="S4-F2",
        title="operations of a convolution",
        printed=r"n_{i+1}n_ik^2h_{i+1}w_{i+1}",
        verdict="right",
        remark="With g groups n_i / g stands for n_i, and the sides k_h k_w of the kernel for its square.",
        where="S4, section 2",
        code="pruning.counts.count",
        notebook="11, section 1",
        tolerance=0,
        draw=_draw_layer,
        right=_operations,
        referees=(Form("loops that count", _operations_by_loops), Form("the formula with groups", _formula())),
        wrong=(
            Form("input size", _formula(output=False), "A window is multiplied once for every pixel that comes out."),
            Form("groups forgotten", _formula(grouped=False), "A filter sees the channels of its own group only."),
            Form("height squared", _formula(side=0), "The kernel is not square: both of its sides count."),
            Form("width squared", _formula(side=1), "The kernel is not square: both of its sides count."),
            Form("two a MAC", _formula(factor=2), "Product and sum were counted as two."),
            Form("biases", _formula(biases=1), "A bias is added, and multiplies nothing."),
        ),
    ),
    Formula(
        id="S4-F3",
        title="what one filter saves in its own layer",
        printed=r"n_ik^2h_{i+1}w_{i+1}",
        verdict="right",
        remark="It is the cost of the layer over its number of filters.",
        where="S4, section 2",
        code="pruning.surgery.remove, pruning.counts.count",
        notebook="11, section 1",
        tolerance=0,
        draw=_draw_two,
        right=_first_saves,
        referees=(Form("loops that count", _first_saves_by_loops),),
        wrong=(
            Form(
                "input size",
                _first_saves_as(lambda n0, n1, n2, k: n0 * k**2 * IMAGE**2),
                "The lost map has the size of the output.",
            ),
            Form(
                "n_{i+1} for n_i",
                _first_saves_as(lambda n0, n1, n2, k: n1 * k**2 * FIRST**2),
                "A filter has one kernel for every channel that it reads, not for every filter of its layer.",
            ),
            Form(
                "k for k^2",
                _first_saves_as(lambda n0, n1, n2, k: n0 * k * FIRST**2),
                "A kernel has k times k weights.",
            ),
            Form(
                "both layers",
                _first_saves_as(lambda n0, n1, n2, k: n0 * k**2 * FIRST**2 + n2 * k**2 * SECOND**2),
                "The second part is saved too, but by the next layer.",
            ),
        ),
    ),
    Formula(
        id="S4-F4",
        title="what the next layer saves",
        printed=r"n_{i+2}k^2h_{i+2}w_{i+2}",
        verdict="right",
        remark="If m' filters of that layer go as well, it saves m n_{i+2} + m' n_{i+1} - m m' kernels: no sum of two.",
        where="S4, section 2",
        code="pruning.surgery.remove, pruning.counts.count",
        notebook="11, section 1",
        tolerance=0,
        draw=_draw_two,
        right=_second_saves,
        referees=(
            Form("loops that count", _second_saves_by_loops),
            Form(
                "the formula for both",
                _second_saves_as(lambda n1, n2: n2, lambda n1, n2, m, m2: m * n2 + m2 * n1 - m * m2),
            ),
        ),
        wrong=(
            Form(
                "savings add",
                _second_saves_as(lambda n1, n2: n2, lambda n1, n2, m, m2: m * n2 + m2 * n1),
                "Kernels in a removed row and in a removed column are counted twice.",
            ),
            Form(
                "n_{i+1} for n_{i+2}",
                _second_saves_as(lambda n1, n2: n1, lambda n1, n2, m, m2: m * n2 + m2 * n1 - m * m2),
                "Each filter of the next layer loses one kernel.",
            ),
            Form(
                "maps of the first layer",
                _second_saves_as(lambda n1, n2: n2, lambda n1, n2, m, m2: m * n2 + m2 * n1 - m * m2, side=FIRST),
                "The next layer multiplies for each pixel that it makes, not for each that it reads.",
            ),
            Form(
                "kernels stay",
                _second_saves_as(lambda n1, n2: 0, lambda n1, n2, m, m2: m2 * n1),
                "Nothing is left for them to read: they go with the map.",
            ),
        ),
    ),
)
