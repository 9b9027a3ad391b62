"""Counts against the tables that papers print, and against counting one multiplication at a time."""

import copy
import math
from collections import Counter
from decimal import Decimal

import numpy as np
import pytest
from referees.li2017 import (
    CELLS,
    CIFAR,
    IMAGENET,
    LI,
    NOT_ROUNDED,
    SAVED,
    printed_as,
    thin_resnet,
)

import nn
from nn.models import (
    alexnet,
    densenet,
    lenet5,
    lenet300,
    lenet1990,
    mlp,
    preresnet,
    resnet18_cifar,
    resnet_cifar,
    resnet_imagenet,
    vgg,
    vgg_imagenet,
    vgg_thinet,
)
from pruning import masks
from pruning.counts import CONVENTIONS, connections_per_parameter, count, live_connections, walk


def saved(ours, whole):
    """Percent of `whole` that is gone."""
    return 100 * (1 - Decimal(ours) / Decimal(whole))


def conv_biases(row):
    """How many biases its convolutions would have: one a filter (those of Li et al. have batch norm instead)."""
    return sum(layer.output[0] for layer in count(row.net, row.shape).layers if layer.kind == "Conv2d")


def li_cells(parameters=lambda row: row.weights):
    """((row, cell), our number, printed) of every printed cell of Table 1."""
    for name, row in LI.items():
        whole = LI.get(row.whole, row)
        ours, of = parameters(row), parameters(whole)
        numbers = (row.macs, saved(row.macs, whole.macs), ours, saved(ours, of))
        for cell, number, printed in zip(CELLS, numbers, row.printed):
            if printed:
                yield (name, cell), number, printed


@pytest.mark.parametrize("name", LI)
def test_filter_pruning_table_1(name):
    """Li et al. (2017), Table 1: MACs and weights of convolutions and FC layers, without projections."""
    row = LI[name]
    ours = count(row.net, row.shape, "li2017")
    assert (ours.macs, ours.parameters) == (row.macs, row.weights)


def test_filter_pruning_table_1_score():
    """Of the 40 printed cells 35 are our numbers rounded, 4 are truncated, and 1 is off by 0.09 points."""
    verdicts = {cell: printed_as(number, printed) for cell, number, printed in li_cells()}
    assert Counter(verdicts.values()) == {"rounded": 35, "truncated": 4, "off": 1}
    for cell, number, printed in li_cells():
        if verdicts[cell] != "rounded":
            ours, *rest = NOT_ROUNDED[cell]
            assert printed_as(number, ours) == "rounded"
            assert [printed, verdicts[cell]] == rest


FULL = {  # MACs and parameters with batch norm, biases and the global mean
    "VGG-16-A": (206_508_554, 5_396_010),
    "ResNet-56-A": (112_944_714, 773_336),
    "ResNet-56-B": (91_351_114, 735_712),
    "ResNet-110-A": (213_693_066, 1_688_522),
    "ResNet-110-B": (155_959_434, 1_168_424),
}


@pytest.mark.parametrize("name", FULL)
def test_all_parameters_and_operations_of_the_small_nets_for_cifar(name):
    """The nets that Liu et al. (2019) train from scratch: two numbers of batch norm a filter, and the last biases."""
    row = LI[name]
    full, maps = count(row.net, row.shape, "full"), count(row.net, row.shape).layers
    outputs = sum(math.prod(layer.output) for layer in maps if layer.kind == "Conv2d")
    biases, mean = (512 + 10, 0) if name.startswith("VGG") else (10, 64 * 8 * 8)
    assert full.parameters == row.weights + 2 * conv_biases(row) + biases == FULL[name][1]
    assert full.macs == row.macs + outputs + biases + mean == FULL[name][0]


@pytest.mark.parametrize("name", SAVED)
def test_filter_pruning_table_1_savings(name):
    row, whole = LI[name], LI[LI[name].whole]
    numbers = saved(row.macs, whole.macs), saved(row.weights, whole.weights)
    assert [printed_as(number, cell) for number, cell in zip(numbers, SAVED[name])] == ["rounded", "rounded"]


def test_filter_pruning_table_1_may_count_biases():
    """With one bias a filter another cell is truncated, and as many are rounded: the digits do not decide."""
    with_biases = lambda row: row.weights + conv_biases(row)  # noqa: E731
    whole, thin = LI["ResNet-56"], LI["ResNet-56-B"]
    assert (conv_biases(whole), with_biases(whole)) == (2_032, 850_976)
    assert printed_as(with_biases(whole), "8.5e5") == "rounded"
    percent = saved(with_biases(thin), with_biases(whole))
    assert (printed_as(percent, "13.76"), printed_as(percent, "13.7")) == ("rounded", "truncated")
    percent = saved(with_biases(LI["ResNet-110-B"]), with_biases(LI["ResNet-110"]))
    assert (printed_as(percent, "32.42"), printed_as(percent, "32.4")) == ("rounded", "rounded")
    verdicts = {cell: printed_as(number, printed) for cell, number, printed in li_cells(with_biases)}
    expected = {cell: verdict for cell, (_, _, verdict) in NOT_ROUNDED.items()}
    expected["ResNet-110-B", "weights"] = expected.pop(("ResNet-110-B", "weights saved"))  # 1.165e6 printed as 1.16e6
    assert {cell: verdict for cell, verdict in verdicts.items() if verdict != "rounded"} == expected


@pytest.mark.parametrize(
    ("other", "percent"),
    [(lambda n, p: math.ceil(n * (100 - p) / 100), "7.17"), (lambda n, p: round(n * (100 - p) / 100), "9.05")],
    ids=["ceil", "round"],
)
def test_filter_pruning_table_1_keeps_floor(other, percent):
    """ResNet-56-A, printed 10.4: kept filters rounded up, or to the nearest, save less than is printed."""
    macs = count(thin_resnet(56, (10, 10, 10), {16, 20, 38, 54}, other), CIFAR).macs
    ours = saved(macs, LI["ResNet-56"].macs)
    assert (printed_as(ours, percent), printed_as(ours, "10.4")) == ("rounded", "off")


def test_filter_pruning_table_1_leaves_projections_out():
    """ResNet-34 with its 1x1 shortcuts would print 3.66e9 and 2.18e7."""
    convolutions = count(LI["ResNet-34"].net, IMAGENET, "conv_only")
    macs, weights = convolutions.macs + 512_000, convolutions.parameters + 512_000
    assert (macs, weights) == (3_663_761_408, 21_779_648)
    assert (printed_as(macs, "3.64e9"), printed_as(weights, "2.16e7")) == ("off", "off")


def test_filter_pruning_table_1_has_two_fully_connected_layers():
    """VGG-16 with one layer 512-10 behind the convolutions would save 64.28 percent, printed 64.0."""
    whole = count(LI["VGG-16"].net, CIFAR, "conv_only").parameters + 512 * 10
    thin = count(LI["VGG-16-A"].net, CIFAR, "conv_only").parameters + 256 * 10
    assert whole == 14_715_584
    assert (printed_as(saved(thin, whole), "64.28"), printed_as(saved(thin, whole), "64.0")) == ("rounded", "off")


def test_filter_pruning_table_1_leaves_batch_norm_out():
    """ResNet-110 with batch norm would print 1.73e6, not 1.72e6."""
    weights = count(LI["ResNet-110"].net, CIFAR, "full").parameters
    assert weights == 1_719_856 + 8_096 + 10  # ..., batch norm, biases of the last layer
    assert (printed_as(weights, "1.73e6"), printed_as(weights, "1.72e6")) == ("rounded", "truncated")


def test_filter_pruning_table_1_leaves_biases_with_batch_norm_out():
    """ResNet-56 with a bias and two numbers of batch norm a filter, 855,040, would print 8.6e5, not 8.5e5."""
    row = LI["ResNet-56"]
    parameters = row.weights + 3 * conv_biases(row)
    assert parameters == 855_040
    assert (printed_as(parameters, "8.6e5"), printed_as(parameters, "8.5e5")) == ("rounded", "truncated")


RATES = {"23.18": 1100, "34.46": 740, "45.54": 560, "39.23": 650, "87.93": 290, "231.82": 110}


@pytest.mark.parametrize("printed", RATES)
def test_structured_admm_rates_on_lenet5_count_convolutions_only(printed):
    """Every rate of the P-RM paper is 25,500 over a whole number, and that number a multiple of ten."""
    total = count(lenet5(None), (1, 28, 28), "conv_only").parameters
    assert total == 25_500
    fits = [n for n in range(1, total) if printed_as(Decimal(total) / n, printed) == "rounded"]
    assert RATES[printed] in fits
    assert [n for n in fits if n % 10 == 0] == [RATES[printed]]
    # Over the whole net the best of them would be less than 1.07 times smaller: the FC weights are not in the rate.
    whole = count(lenet5(None), (1, 28, 28)).parameters
    assert whole / (whole - total + RATES[printed]) < 1.07


def test_structured_admm_removed_weights_of_lenet5():
    assert 25_500 - RATES["87.93"] == 25_210
    assert printed_as(25_210, "25.2e3") == "rounded"


def test_the_rate_quoted_for_structured_sparsity_learning_is_not_that_of_its_table():
    """The P-RM paper quotes 26.10 for SSL; the net of Wen et al.'s row (3 and 12 filters) has 975 weights: 26.15."""
    thin = count(lenet5(None, filters=(3, 12)), (1, 28, 28), "conv_only").parameters
    assert thin == 3 * 25 + 12 * 3 * 25 == 975
    assert printed_as(Decimal(25_500) / thin, "26.15") == "rounded"
    assert printed_as(Decimal(25_500) / thin, "26.10") == "off"
    assert [n for n in range(1, 25_500) if printed_as(Decimal(25_500) / n, "26.10") == "rounded"] == [977]


@pytest.mark.parametrize(
    ("net", "shape", "total", "rate", "ours", "printed", "verdict"),
    [
        (vgg(16, None), CIFAR, 14_710_464, "50.02", "14.416e6", "14.42e6", "rounded"),
        (resnet18_cifar(None), CIFAR, 11_159_232, "60.11", "10.974e6", "10.97e6", "rounded"),
        (resnet_imagenet(18, None), IMAGENET, 11_166_912, "3.33", "7.813e6", "7.81e6", "rounded"),
        (resnet_imagenet(50, None), IMAGENET, 23_454_912, "2.70", "14.768e6", "14.77e6", "rounded"),
        (alexnet(None), (3, 227, 227), 2_332_704, "5.13", "1.878e6", "1.66e6", "off"),
    ],
    ids=["VGG-16 CIFAR", "ResNet-18 CIFAR", "ResNet-18 ImageNet", "ResNet-50 ImageNet", "AlexNet"],
)
def test_structured_admm_parameters_reduced(net, shape, total, rate, ours, printed, verdict):
    """The P-RM paper's "parameters reduced" is total (1 - 1 / rate) of the convolutions, shortcuts included."""
    assert count(net, shape, "conv_only").parameters == total
    reduced = total * (1 - 1 / Decimal(rate))
    assert (printed_as(reduced, ours), printed_as(reduced, printed)) == ("rounded", verdict)


def test_structured_admm_alexnet_fits_no_choice_of_layers():
    """1.66 million fewer at a rate of 5.13 is a total of 2.062 million, which no layers of AlexNet add up to."""
    assert printed_as(Decimal("1.66e6") / (1 - 1 / Decimal("5.13")), "2.062e6") == "rounded"
    layers = count(alexnet(None), (3, 227, 227)).layers
    grouped = [layer.parameters for layer in layers]
    whole = [n * (2 if layer.name in {"3", "8", "10"} else 1) for n, layer in zip(grouped, layers)]
    assert (sum(grouped[:5]), sum(whole[:5])) == (2_332_704, 3_745_824)
    for parameters in (grouped, whole):
        for chosen in range(1, 2 ** len(parameters)):
            total = sum(n for index, n in enumerate(parameters) if chosen >> index & 1)
            assert printed_as(total * (1 - 1 / Decimal("5.13")), "1.66e6") == "off"


@pytest.mark.parametrize(
    ("filters", "columns", "printed"),
    [
        ((20, 50), (25, 500), ("100", "100")),
        ((5, 19), (25, 100), ("25", "7.6")),
        ((3, 12), (25, 75), ("15", "3.6")),
        ((2, 50), (21, 41), ("8.4", "8.2")),  # the filters' shape: 21 of 25 and 41 of 2 x 25 weights are left
        ((1, 50), (7, 14), ("1.4", "2.8")),
    ],
)
def test_structured_sparsity_learning_lenet(filters, columns, printed):
    """Wen et al. (2016), LeNet: MACs of the two convolutions in percent of the baseline's."""
    base = count(lenet5(None), (1, 28, 28), "conv_only").layers
    thin = count(lenet5(None, filters=filters), (1, 28, 28), "conv_only").layers
    for before, after, left, whole, cell in zip(base, thin, columns, (25, 25 * filters[0]), printed):
        assert printed_as(Decimal(100 * after.macs * left) / (before.macs * whole), cell) == "rounded"


@pytest.mark.parametrize(
    ("sizes", "printed"),
    [((469, 294, 166, 10), ("35.18", "32.54", "55.33")), ((434, 174, 78, 10), ("19.26", "9.05", "26.00"))],
)
def test_structured_sparsity_learning_perceptron(sizes, printed):
    """Wen et al. (2016), perceptron 784-500-300-10: MACs of the layers in percent of the baseline's."""
    base, thin = (count(mlp(each, None), each[:1]).layers for each in ((784, 500, 300, 10), sizes))
    for before, after, cell in zip(base, thin, printed):
        assert printed_as(Decimal(100 * after.macs) / before.macs, cell) == "rounded"


def test_lenet_of_optimal_brain_damage():
    """2,578 parameters, 98,442 connections (a bias is one), 4,635 units (image and bias unit are units)."""
    net = lenet1990(None)
    ours = count(net, (1, 28, 28), "full")
    units = 28 * 28 + ours.activations + 1
    assert (ours.parameters, ours.macs, units) == (2_578, 98_442, 4_635)
    by_place = {}
    for layer in ours.layers:
        place = layer.name.partition(".")[0]
        before = by_place.get(place, (0, 0, 0))
        by_place[place] = tuple(a + b for a, b in zip(before, (layer.parameters, layer.macs, layer.activations)))
    assert by_place == {
        "0": (104, 59_904, 2_304),  # H1
        "2": (8, 2_880, 576),  # H2
        "4": (512, 32_768, 768),  # H3
        "6": (24, 960, 192),  # H4
        "9": (1_930, 1_930, 10),  # output
    }
    links = [module.W.shape[:2] for module in net.layers[4].modules() if isinstance(module, nn.Conv2d)]
    assert (sum(maps * seen for maps, seen in links), sum(maps for maps, _ in links)) == (20, 12)


def test_lenet5():
    ours, whole = (count(lenet5(None), (1, 28, 28), convention) for convention in ("li2017", "full"))
    assert [layer.parameters for layer in ours.layers] == [500, 25_000, 400_000, 5_000]
    assert [layer.macs for layer in ours.layers] == [288_000, 1_600_000, 400_000, 5_000]
    assert (ours.parameters, ours.macs, whole.parameters) == (430_500, 2_293_000, 431_080)
    assert whole.parameters - ours.parameters == 20 + 50 + 500 + 10
    assert printed_as(whole.parameters, "431e3") == "rounded"
    assert printed_as(Decimal(ours.parameters) / 6050, "71.2") == "rounded"  # unstructured ADMM: 6.05K are left


def test_lenet300():
    ours, whole = (count(lenet300(None), (784,), convention) for convention in ("li2017", "full"))
    assert (ours.parameters, ours.macs, whole.parameters) == (266_200, 266_200, 266_610)
    assert printed_as(whole.parameters, "267e3") == "rounded"
    assert count(lenet300(None), (1, 28, 28)).layers == ours.layers


@pytest.mark.parametrize(
    ("net", "shape", "in_last_layers", "macs", "published"),
    [
        (alexnet(None), (3, 227, 227), 58_621_952, 724_406_816, "724e6"),
        (vgg_imagenet(16, None), IMAGENET, 123_633_664, 15_470_264_320, "15.5e9"),
        (resnet_imagenet(18, None), IMAGENET, 512_000, 1_814_073_344, "1.8e9"),
        (resnet_imagenet(50, None), IMAGENET, 2_048_000, 4_089_184_256, "4.1e9"),
    ],
    ids=["AlexNet", "VGG-16", "ResNet-18", "ResNet-50"],
)
def test_published_macs_of_imagenet_nets(net, shape, in_last_layers, macs, published):
    """Weights of all convolutions, shortcuts too, and of the fully connected layers."""
    assert count(net, shape, "conv_only").macs + in_last_layers == macs
    assert printed_as(macs, published) == "rounded"


@pytest.mark.parametrize(
    ("net", "exact", "macs", "parameters", "operations"),
    [
        (vgg_imagenet(16, None), 138_344_128, 15_470_264_320, "138.34e6", "30.94e9"),
        (vgg_thinet("Conv", None), 131_440_480, 4_791_205_888, "131.44e6", "9.58e9"),
        (vgg_thinet("GAP", None), 8_318_816, 4_668_084_224, "8.32e6", "9.34e9"),
        (vgg_thinet("Tiny", None), 1_323_184, 1_004_578_816, "1.32e6", "2.01e9"),
    ],
    ids=["VGG-16", "Conv", "GAP", "Tiny"],
)
def test_thinet_as_its_paper_counts(net, exact, macs, parameters, operations):
    """Luo et al. 2017: weights without biases; a multiplication and its addition are two operations."""
    ours = count(net, IMAGENET)
    assert (ours.parameters, ours.macs) == (exact, macs)
    assert printed_as(ours.parameters, parameters) == "rounded"
    assert printed_as(2 * ours.macs, operations) == "rounded"
    assert printed_as(ours.macs, operations) != "rounded"


def counted_convolution(x, W, stride, pads, dilation, groups):
    """A convolution in seven loops (and one over the groups), and how often it multiplied."""
    O, C, KH, KW = W.shape
    padded = np.pad(x, ((0, 0), *pads))
    size = [(n - d * (k - 1) - 1) // s + 1 for n, d, k, s in zip(padded.shape[1:3], dilation, (KH, KW), stride)]
    a, multiplications = np.zeros((O, *size)), 0
    for group in range(groups):
        for filter in range(group * O // groups, (group + 1) * O // groups):
            for h in range(size[0]):
                for w in range(size[1]):
                    for c in range(C):
                        for i in range(KH):
                            for j in range(KW):
                                row, column = h * stride[0] + i * dilation[0], w * stride[1] + j * dilation[1]
                                a[filter, h, w] += W[filter, c, i, j] * padded[group * C + c, row, column]
                                multiplications += 1
    return a, multiplications


@pytest.mark.parametrize("seed", range(30))
def test_convolution_multiplies_as_often_as_counted(seed):
    rng = np.random.default_rng(seed)
    pair = lambda low, high: tuple(int(n) for n in rng.integers(low, high + 1, 2))  # noqa: E731
    kernel, stride, pads, dilation, groups = pair(1, 3), pair(1, 3), (pair(0, 2), pair(0, 2)), pair(1, 2), 1 + seed % 3
    c_in, c_out = groups * int(rng.integers(1, 3)), groups * int(rng.integers(1, 3))
    conv = nn.Conv2d(c_in, c_out, kernel, rng, stride, pads, dilation, groups, bias=False)
    x = rng.standard_normal((c_in, *pair(5, 7)))
    a, multiplications = counted_convolution(x, conv.W.data, stride, pads, dilation, groups)
    np.testing.assert_allclose(conv.forward(x[..., None])[..., 0], a, rtol=1e-12, atol=1e-13)
    for convention in CONVENTIONS:
        ours = count(conv, x.shape, convention)
        assert (ours.macs, ours.parameters, ours.activations) == (multiplications, conv.W.data.size, a.size)


@pytest.mark.parametrize("seed", range(20))
def test_savings_of_two_pruned_layers_do_not_add(seed):
    """m filters less save n_i k^2 h w each there and n_{i+2} k^2 h w in the next layer, but see m m2 twice."""
    rng = np.random.default_rng(seed)
    n0, n1, n2, n3 = (int(n) for n in rng.integers(4, 9, 4))
    m1, m2 = (int(n) for n in rng.integers(1, 4, 2))

    def macs(n1, n2):
        convs = [nn.Conv2d(a, b, 3, None, padding=1) for a, b in ((n0, n1), (n1, n2), (n2, n3))]
        return np.array([layer.macs for layer in count(nn.Sequential(*convs), (n0, 6, 5)).layers])

    unit = 9 * 6 * 5
    np.testing.assert_array_equal(macs(n1, n2) - macs(n1 - m1, n2), [m1 * n0 * unit, m1 * n2 * unit, 0])
    both = macs(n1, n2) - macs(n1 - m1, n2 - m2)
    np.testing.assert_array_equal(both, np.array([m1 * n0, m1 * n2 + m2 * n1 - m1 * m2, m2 * n3]) * unit)


OUTLINES = {
    "ResNet-18": (resnet_imagenet(18, None), IMAGENET),
    "ResNet-34": (resnet_imagenet(34, None), IMAGENET),
    "ResNet-50": (resnet_imagenet(50, None), IMAGENET),
    "VGG-11": (vgg_imagenet(11, None), IMAGENET),
    "VGG-16": (vgg_imagenet(16, None), IMAGENET),
    "VGG-19": (vgg_imagenet(19, None), IMAGENET),
    "AlexNet": (alexnet(None), (3, 227, 227)),
}


@pytest.mark.parametrize("name", OUTLINES)
def test_outlines_of_imagenet_nets_hold_no_data(name):
    net, shape = OUTLINES[name]
    assert all(parameter.is_outline for parameter in net.parameters())
    assert count(net, shape).macs > 5e8
    assert all(parameter.is_outline for parameter in net.parameters())


SMALL = {
    "mlp": (lambda rng: mlp((12, 5, 4), rng), (3, 2, 2)),
    "lenet1990": (lenet1990, (1, 28, 28)),
    "resnet_cifar": (lambda rng: resnet_cifar(8, rng, inner=(3, 4, 5)), (3, 8, 8)),
    "preresnet": (lambda rng: preresnet(11, rng), (3, 8, 8)),
    "densenet": (lambda rng: densenet(10, rng, growth=3, bottleneck=True), (3, 8, 8)),
}


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("name", SMALL)
def test_an_outline_counts_as_the_net_does(name, convention):
    build, shape = SMALL[name]
    net = build(np.random.default_rng(0))
    ours = count(net, shape, convention)
    assert ours == count(build(None), shape, convention)
    for parameter in net.parameters():
        parameter.mask = np.zeros_like(parameter.data)
    assert ours == count(net, shape, convention)  # what is masked still costs


@pytest.mark.parametrize("name", SMALL)
def test_full_counts_every_parameter(name):
    build, shape = SMALL[name]
    net = build(None)
    assert count(net, shape, "full").parameters == sum(math.prod(p.shape) for p in net.parameters())


def test_counts_do_not_depend_on_the_library(library):
    build, shape = SMALL["resnet_cifar"]
    net = build(np.random.default_rng(0))
    assert count(copy.deepcopy(net).to(library.xp), shape, "full") == count(net, shape, "full")


def test_macs_of_layers_without_weights():
    """Under "full": a mean has one MAC an input, batch norm one an output; max-pools and shortcuts have none."""
    macs = lambda layer: count(layer, (4, 6, 8), "full").macs  # noqa: E731
    assert macs(nn.GlobalAvgPool2d()) == macs(nn.AvgPool2d(2)) == macs(nn.AvgPool2d((6, 8))) == 4 * 6 * 8
    assert macs(nn.AvgPool2d(3, stride=1)) == 9 * 4 * 4 * 6
    assert macs(nn.BatchNorm(4)) == 4 * 6 * 8
    assert macs(nn.MaxPool2d(2)) == macs(nn.ReLU()) == macs(nn.ZeroPadShortcut(2, 2)) == 0
    assert [count(nn.AvgPool2d(2), (4, 6, 8), name).macs for name in ("li2017", "conv_only")] == [0, 0]


def test_activations_and_bytes():
    double, single = (count(lenet5(None, dtype=dtype), (1, 28, 28), "full") for dtype in (np.float64, np.float32))
    assert double.bytes == 8 * 431_080 == 2 * single.bytes
    assert double.activations == single.activations == 20 * 24 * 24 + 50 * 8 * 8 + 500 + 10
    assert [layer.bytes for layer in single.layers] == [4 * n for n in (520, 25_050, 400_500, 5_010)]


def test_table_is_aligned_and_ends_in_totals():
    ours = count(resnet_cifar(8, None), CIFAR, "full")
    title, header, *rows, total = ours.table().splitlines()
    assert title == "convention full: all parameters and all multiply-accumulates"
    assert header.split() == ["layer", "kind", "output", "parameters", "MACs", "activations", "bytes"]
    assert [row.split()[0] for row in rows] == [layer.name for layer in ours.layers]
    assert rows[0].split() == ["0", "Conv2d", "16x32x32", "432", "442,368", "16,384", "3,456"]
    assert total.split() == ["total", *(f"{n:,}" for n in (ours.parameters, ours.macs, ours.activations, ours.bytes))]
    assert len({len(line) for line in (header, *rows, total)}) == 1
    for name in ("parameters", "MACs", "activations", "bytes"):  # every number ends where its heading ends
        end = header.index(name) + len(name)
        assert all(line[end - 1].isdigit() and line[end : end + 1].strip() == "" for line in (*rows, total))
    kind = header.index("kind")
    assert all(row[kind - 1] == " " and row[kind].isalpha() for row in rows)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_table_of_a_net_without_counted_layers(convention):
    ours = count(nn.Sequential(nn.ReLU()), (3,), convention)
    assert (ours.parameters, ours.macs, ours.activations, ours.bytes, ours.layers) == (0, 0, 0, 0, ())
    assert ours.table().splitlines()[-1].split() == ["total", "0", "0", "0", "0"]


def test_everything_in_a_projection_is_left_out():
    conv = lambda: nn.Conv2d(4, 4, 3, None, padding=1)  # noqa: E731
    net = nn.Residual(conv(), nn.Sequential(nn.Residual(conv(), conv()), nn.Concat(conv())))
    assert [layer.name for layer in count(net, (4, 5, 6), "li2017").layers] == ["body"]
    assert len(count(net, (4, 5, 6), "conv_only").layers) == 4


def test_unknown_convention():
    with pytest.raises(ValueError, match="expected a convention of li2017, conv_only, full, got 'flops'"):
        count(lenet5(None), (1, 28, 28), "flops")


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(
    ("net", "shape", "message"),
    [
        (lenet5(None), (1, 32, 32), r"Linear\(800, 500\) expected inputs \(800, N\), got \(1250, N\)"),
        (lenet5(None), (3, 28, 28), r"expected images \(1, H, W, N\), got \(3, 28, 28, N\)"),
        (lenet5(None), (28, 28), r"expected images \(1, H, W, N\), got \(28, 28, N\)"),
        (lenet5(None), (1, 28, 28, 1), r"expected images \(1, H, W, N\), got \(1, 28, 28, 1, N\)"),
        (lenet5(None), (1, 4, 4), "image of 4 x 4 is smaller than the kernel"),
        (mlp((3, 2), None), (4,), r"expected inputs \(3, N\), got \(4, N\)"),
        (mlp((3, 2), None), (), r"expected the shape of one input, such as \(3, 32, 32\), got \(\)"),
        (mlp((3, 2), None), None, r"expected the shape of one input, such as \(3, 32, 32\), got None"),
        (mlp((3, 2), None), 3, r"expected the shape of one input, such as \(3, 32, 32\), got 3"),
        (mlp((3, 2), None), "3", r"expected the shape of one input, such as \(3, 32, 32\), got \('3',\)"),
        (resnet_cifar(8, None), (3, 0, 32), r"the shape of one input, such as \(3, 32, 32\), got \(3, 0, 32\)"),
        (resnet_cifar(8, None), (3, 32.0, 32), r"the shape of one input, such as \(3, 32, 32\), got \(3, 32.0, 32\)"),
        (resnet_cifar(8, None), "cat", "the shape of one input, such as"),
        (nn.Linear(3, 2, None), (4,), r"expected inputs \(3, N\), got \(4, N\)"),
        (nn.Residual(nn.Conv2d(3, 4, 1, None)), (3, 5, 5), "no sum"),
    ],
)  # fmt: skip
def test_inputs_that_the_net_cannot_take(net, shape, message, convention):
    with pytest.raises(ValueError, match=message) as error:
        count(net, shape, convention)
    assert "\n" not in str(error.value)


def test_a_container_of_another_kind_is_refused():
    class Twice(nn.Module):
        def __init__(self, inside):
            self.inside = inside

    with pytest.raises(ValueError, match="Twice is a container that cannot be counted"):
        count(Twice(nn.ReLU()), (3,))


@pytest.mark.parametrize("ask", [count, connections_per_parameter, live_connections])
@pytest.mark.parametrize("shape", [None, 3, (), (3.0,), (-3,), ("3",)])
def test_every_count_refuses_a_shape_that_is_none(ask, shape):
    with pytest.raises(ValueError, match=r"^expected the shape of one input, such as \(3, 32, 32\), got "):
        ask(mlp((3, 2), None), shape)
    assert ask(mlp((3, 2), None), iter([3])) == ask(mlp((3, 2), None), (3,))


def connections_by_brute_force(module, shape):
    """Leaf layer by leaf layer: the nonzero entries of its matrix, and the nonzero biases of its outputs."""
    total = 0
    for _, layer, at, _ in walk(module, shape):
        if list(layer.named_parameters()):
            basis = np.eye(math.prod(at)).reshape(*at, -1)
            biases = layer.forward(np.zeros((*at, 1)))
            total += np.count_nonzero(layer.forward(basis) - biases) + np.count_nonzero(biases)
    return total


def test_connections_under_masks_are_those_of_the_matrices():
    """A shared weight takes all of its connections with it, a coefficient all pixels of all windows."""
    rng = np.random.default_rng(0)
    net = lenet1990(rng)
    for u in net.parameters():
        u.data = rng.standard_normal(u.shape)
    assert live_connections(net, (1, 28, 28)) == connections_by_brute_force(net, (1, 28, 28)) == 98_442
    masks.apply(net, {name: rng.integers(0, 2, u.shape).astype(float) for name, u in net.named_parameters()})
    left = live_connections(net, (1, 28, 28))
    assert left == connections_by_brute_force(net, (1, 28, 28)) < 60_000


def test_how_many_connections_an_entry_controls():
    uses = connections_per_parameter(lenet1990(None), (1, 28, 28))
    expected = {"0.W": 576, "2.coefficient": 576, "2.b": 144, "4.5.1.W": 64, "4.5.1.b": 64, "6.b": 16, "9.W": 1}
    assert {name: uses[name] for name in expected} == expected
    with pytest.raises(
        ValueError, match=r"expected parameters of Conv2d, Linear or Subsampling, got those of BatchNorm"
    ):
        connections_per_parameter(resnet_cifar(20, None), CIFAR)


def test_bias_maps_are_stored_and_added_but_not_trained():
    plain, mapped = (nn.Conv2d(2, 3, 3, None, padding=1, bias_map=size) for size in (None, (5, 4)))
    for convention, more in (("full", 1), ("conv_only", 0)):
        before, after = (count(net, (2, 5, 4), convention) for net in (plain, mapped))
        outputs = 3 * 5 * 4
        assert after.parameters == before.parameters
        assert (after.macs - before.macs, after.bytes - before.bytes) == (more * outputs, more * outputs * 8)


def test_a_convolution_of_some_columns_has_a_macs_share():
    few = count(nn.Conv2d(2, 3, 3, None, padding=1, columns=[0, 7, 9, 17]), (2, 5, 4))
    assert (few.parameters, few.macs) == (3 * 4, 3 * 4 * 5 * 4)
