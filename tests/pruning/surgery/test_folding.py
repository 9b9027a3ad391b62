"""A pruned map is a constant, not zero: what happens to it when its channel goes."""

import math

import numpy as np
import pytest

import nn
import pruning
from nn import gradcheck
from pruning import surgery

KEEP = [0, 2, 3, 5]
TOLERANCE = 1e-12
ACT = {"relu": (nn.ReLU, lambda a: max(a, 0.0)), "tanh": (nn.Tanh, math.tanh),
       "sigmoid": (nn.Sigmoid, lambda a: 1 / (1 + math.exp(-a))),
       "softplus": (nn.Softplus, lambda a: math.log(1 + math.exp(a)))}  # fmt: skip


def two_convolutions(bias, norm, act, pad, seed, scale=0.1):
    """conv, perhaps batch norm, activation, conv; filters 1 and 4 of the first six have no weights.  3x3 kernels."""
    rng = np.random.default_rng(seed)
    first, second = (nn.Conv2d(c, o, 3, rng, padding=pad, bias=bias) for c, o in ((3, 6), (6, 4)))
    first.W.data[[1, 4]] = 0
    layers, norms = [first], []
    if bias:
        first.b.data, second.b.data = scale * rng.standard_normal(6), scale * rng.standard_normal(4)
    if norm:
        norms = [nn.BatchNorm(6)]
        norms[0].gamma.data, norms[0].beta.data = rng.uniform(0.5, 1.5, 6), rng.standard_normal(6)
        norms[0].running_mean, norms[0].running_variance = scale * rng.standard_normal(6), rng.uniform(0.5, 2, 6)
    return nn.Sequential(*layers, *norms, ACT[act][0](), second).eval()


def constants(net, act):
    """c = act(gamma (b - mean) / sqrt(variance + eps) + beta) of the two dead maps, by hand."""
    first, norm = net.layers[0], net.layers[1] if len(net.layers) == 4 else None
    c = {}
    for m in (1, 4):
        a = 0.0 if first.b is None else first.b.data[m]
        if norm:
            a = norm.gamma.data[m] * (a - norm.running_mean[m])
            a = a / math.sqrt(norm.running_variance[m] + norm.eps) + norm.beta.data[m]
        c[m] = ACT[act][1](a)
    return c


def plain_fold(net, act):
    """b' = b + sum c W in plain loops, whatever the padding; then the channels are dropped."""
    small = surgery.remove(net, {"0.W": KEEP})
    last = small.layers[-1]
    b = np.zeros(4) if last.b is None else last.b.data.copy()
    for m, c in constants(net, act).items():
        for o in range(4):
            b[o] += c * math.fsum(net.layers[-1].W.data[o, m].ravel())
    return small, b[:, None, None, None] - (0 if last.b is None else last.b.data[:, None, None, None])


# bias, batch norm, activation, padding, seed of a draw whose errors have the size that was measured first;
# the error of dropping the channels as they are, and of the plain fold at the border (0: exact).
TABLE = [
    (False, False, "relu", 0, 0, 0, 0),
    (False, False, "relu", 1, 0, 0, 0),
    (False, False, "tanh", 0, 0, 0, 0),
    (False, False, "tanh", 1, 0, 0, 0),
    (False, False, "sigmoid", 0, 354, 0.32, 0),
    (False, False, "softplus", 0, 57, 0.36, 0),
    (True, False, "relu", 0, 214, 0.031, 0),
    (True, False, "relu", 1, 151, 0.045, 0.035),
    (False, True, "relu", 0, 311, 0.048, 0),
    (False, True, "relu", 1, 383, 1.4, 0.94),
    (True, True, "relu", 1, 22, 1.1, 1.3),
]


@pytest.mark.parametrize(("bias", "norm", "act", "pad", "seed", "naive", "border"), TABLE)
def test_what_becomes_of_the_constant(bias, norm, act, pad, seed, naive, border):
    """Dropped, it is missing; in the bias it is exact but at a border; in a bias map it is exact everywhere."""
    net, keep = two_convolutions(bias, norm, act, pad, seed), {"0.W": KEEP}
    x = np.random.default_rng(1).standard_normal((3, 8, 7, 4))
    y = net.forward(x)

    def error(net, extra=0.0):
        return np.abs(net.forward(x) + extra - y)

    def of_size(found, stated):
        return stated / 1.25 < found < stated * 1.25 if stated else found <= TOLERANCE

    assert of_size(error(surgery.remove(net, keep)).max(), naive)
    plain = error(*plain_fold(net, act))
    assert plain[:, 1:-1, 1:-1].max() <= TOLERANCE and of_size(plain.max(), border)
    mapped = surgery.remove(surgery.fold_constants(net, keep, (3, 8, 7), border="map"), keep)
    assert error(mapped).max() <= TOLERANCE
    assert (mapped.layers[-1].bias_map is not None) == bool(border)
    if border:
        with pytest.raises(ValueError, match=r"row [14] of 0.W emits a constant .* and \d reads it over a border"):
            surgery.fold_constants(net, keep, (3, 8, 7))
    else:
        assert error(surgery.remove(surgery.fold_constants(net, keep, (3, 8, 7)), keep)).max() <= TOLERANCE


@pytest.mark.parametrize("act", ACT)
def test_zeros_everywhere_first_help_if_the_activation_is_zero_at_zero(act):
    net, keep = two_convolutions(True, True, act, 1, 3), {"0.W": KEEP}
    for parameter in (net.layers[0].b, net.layers[1].gamma, net.layers[1].beta):
        parameter.data[[1, 4]] = 0
    x = np.random.default_rng(1).standard_normal((3, 8, 7, 4))
    error = np.abs(surgery.remove(net, keep).forward(x) - net.forward(x)).max()
    assert error <= TOLERANCE if act in ("relu", "tanh") else error > 0.1


def test_the_other_direction_is_always_exact():
    """A channel that the next convolution does not read can go, whatever it emits and however it is padded."""
    for bias, norm, act, pad, seed, _, _ in TABLE:
        net = two_convolutions(bias, norm, act, pad, seed)
        net.layers[0].W.data[[1, 4]] = 1
        net.layers[-1].W.data[:, [1, 4]] = 0
        x = np.random.default_rng(1).standard_normal((3, 8, 7, 4))
        small = surgery.remove(net, {"0.W": KEEP})
        assert gradcheck.relative_error(small.forward(x), net.forward(x)) <= TOLERANCE


def test_behind_a_flatten_the_fold_is_exact_though_the_map_is_no_constant():
    """A padded mean turns 0.7 into 0.311 in the corner; every pixel has its own column in the next layer."""
    rng = np.random.default_rng(0)
    mean = nn.AvgPool2d(3, stride=1, padding=1)
    assert mean.forward(np.full((1, 5, 5, 1), 0.7))[0, 0, 0, 0] == pytest.approx(0.311, abs=1e-3)
    net = nn.Sequential(nn.Conv2d(2, 3, 3, rng), nn.Sigmoid(), mean, nn.Flatten(), nn.Linear(75, 4, rng)).eval()
    net.layers[0].W.data[1] = 0
    x = rng.standard_normal((2, 7, 7, 3))
    folded = surgery.fold_constants(net, {"0.W": [0, 2]}, (2, 7, 7))
    small = surgery.remove(folded, {"0.W": [0, 2]})
    assert gradcheck.relative_error(folded.forward(x), net.forward(x)) <= TOLERANCE
    assert gradcheck.relative_error(small.forward(x), net.forward(x)) <= TOLERANCE
    naive = surgery.remove(net, {"0.W": [0, 2]})
    assert gradcheck.relative_error(naive.forward(x), net.forward(x)) > 0.01


@pytest.mark.parametrize(("pool", "uneven"), [
    (nn.AvgPool2d(3, 1, 1), True), (nn.AvgPool2d(3, 1, 1, count_padding=False), False), (nn.MaxPool2d(3, 1, 1), False),
])  # fmt: skip
def test_a_mean_that_counts_its_padding_makes_a_constant_uneven(pool, uneven):
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 1, rng), nn.Sigmoid(), pool, nn.Conv2d(3, 2, 2, rng)).eval()
    net.layers[0].W.data[1] = 0
    keep, x = {"0.W": [0, 2]}, rng.standard_normal((2, 5, 4, 3))
    folded = surgery.fold_constants(net, keep, (2, 5, 4), border="map")
    assert (folded.layers[3].bias_map is not None) == uneven
    assert gradcheck.relative_error(surgery.remove(folded, keep).forward(x), net.forward(x)) <= TOLERANCE
    if uneven:
        with pytest.raises(ValueError, match=r"row 1 of 0.W emits a constant"):
            surgery.fold_constants(net, keep, (2, 5, 4))


def test_a_folded_net_computes_the_same_and_reads_the_channels_no_longer():
    net, keep = two_convolutions(True, True, "sigmoid", 1, 0), {"0.W": KEEP}
    before, x = gradcheck.flat(net), np.random.default_rng(1).standard_normal((3, 8, 7, 4))
    y = net.forward(x)
    folded = surgery.fold_constants(net, keep, (3, 8, 7), "map")
    assert gradcheck.relative_error(folded.forward(x), y) <= TOLERANCE
    assert not folded.layers[-1].W.data[:, [1, 4]].any() and net.layers[-1].W.data[:, [1, 4]].all()
    np.testing.assert_array_equal(gradcheck.flat(net), before)
    again = surgery.fold_constants(folded, keep, (3, 8, 7))  # nothing is left to fold
    np.testing.assert_array_equal(again.forward(x), folded.forward(x))
    np.testing.assert_array_equal(again.layers[-1].bias_map, folded.layers[-1].bias_map)


def test_maps_add_up_and_pass_through_later_cuts(tmp_path):
    """Two folds in turn, then filters of the convolution that has the map: its rows go too."""
    net = two_convolutions(True, False, "sigmoid", 1, 5)
    rng = np.random.default_rng(2)
    net = nn.Sequential(*net.layers, nn.ReLU(), nn.Conv2d(4, 2, 3, rng)).eval()
    x = rng.standard_normal((3, 8, 7, 4))
    once = surgery.fold_constants(net, {"0.W": [0, 1, 2, 3, 5]}, (3, 8, 7), "map")
    twice = surgery.fold_constants(once, {"0.W": KEEP}, (3, 8, 7), "map")
    assert gradcheck.relative_error(twice.forward(x), net.forward(x)) <= TOLERANCE
    small = surgery.remove(twice, {"0.W": KEEP, "2.W": [0, 3]})
    net.layers[4].W.data[:, [1, 2]] = 0
    assert gradcheck.relative_error(small.forward(x), net.forward(x)) <= TOLERANCE
    nn.checkpoint.save(tmp_path / "small.npz", small)
    loaded = nn.checkpoint.load(tmp_path / "small.npz")
    np.testing.assert_array_equal(loaded.forward(x), small.forward(x))
    with pytest.raises(ValueError, match=r"bias map for outputs of size \(8, 7\), got an image that gives \(9, 9\)"):
        loaded.forward(np.zeros((3, 9, 9, 1)))


@pytest.mark.parametrize(("b", "expected"), [([0.0, 1.0], None), ([0.0, 0.0], [1, 0])])
def test_a_constant_in_a_masked_bias_outlives_a_step(b, expected):
    """sigmoid(0.3) goes into b_0 alone, which was deleted: it lives again, and a step of rate 0 changes nothing."""
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(3, 4, rng), nn.Sigmoid(), nn.Linear(4, 2, rng)).eval()
    net.layers[0].W.data[1], net.layers[0].b.data[1], net.layers[2].W.data[1, 1] = 0, 0.3, 0
    pruning.masks.apply(net, {"2.b": np.array(b)})
    before = nn.SGD(net.parameters(), 0.0)
    small, optimizer = surgery.remove_unused_paths(net, (3,), optimizer=before)
    x, t = rng.standard_normal((3, 5)), rng.standard_normal((2, 5))
    y, mask = small.forward(x), small.layers[2].b.mask
    assert gradcheck.relative_error(y, net.forward(x)) <= TOLERANCE
    assert mask is None if expected is None else mask.tolist() == expected
    nn.training.training_step(small, nn.SquaredError(), optimizer, x, t)
    np.testing.assert_array_equal(small.forward(x), y)


def test_a_shift_in_a_masked_bias_outlives_a_step():
    """What batch norm adds goes into a bias of which half was deleted; the weights stay deleted."""
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(3, 4, rng), nn.BatchNorm(4), nn.ReLU(), nn.Linear(4, 2, rng)).eval()
    net.layers[1].beta.data = rng.standard_normal(4)
    pruning.masks.apply(net, {"0.W": np.array([1, 0, 1, 1]), "0.b": np.array([0, 0, 1, 1])})
    small, x = surgery.fold_batchnorm(net), rng.standard_normal((3, 5))
    y = small.forward(x)
    nn.training.training_step(small, nn.SquaredError(), nn.SGD(small.parameters(), 0.0), x, np.zeros((2, 5)))
    np.testing.assert_array_equal(small.forward(x), y)
    np.testing.assert_array_equal(small.layers[0].W.mask, net.layers[0].W.mask)


def test_what_cannot_be_folded():
    net = two_convolutions(True, True, "relu", 0, 0)
    with pytest.raises(
        ValueError, match=r"row 5 of 0.W is read by 3 and is not constant there: neither the weights of all that adds"
    ):
        surgery.fold_constants(net, {"0.W": [0, 2, 3]}, (3, 8, 7))
    with pytest.raises(ValueError, match="expected border 'refuse' or 'map', got 'ignore'"):
        surgery.fold_constants(net, {"0.W": KEEP}, (3, 8, 7), "ignore")
    with pytest.raises(ValueError, match="outline"):
        surgery.fold_constants(nn.models.lenet5(None), {"0.W": [1]}, (1, 28, 28))


@pytest.mark.parametrize("make", ["lenet", "residual", "grouped"])
def test_batch_norm_folds_to_rounding_and_eps_counts(make):
    rng = np.random.default_rng(4)
    conv = lambda *a, **k: nn.Conv2d(*a, rng, **k)  # noqa: E731
    body = nn.Sequential(
        conv(4, 4, 3, padding=1, bias=False), nn.BatchNorm(4), nn.ReLU(), conv(4, 4, 1), nn.BatchNorm(4)
    )
    layers = {
        "lenet": [conv(2, 4, 3), nn.BatchNorm(4), nn.Tanh(), nn.Flatten(), nn.Linear(48, 5, rng), nn.BatchNorm(5)],
        "residual": [conv(2, 4, 3, bias_map=(3, 4)), nn.BatchNorm(4), nn.Residual(body), nn.BatchNorm(4), nn.ReLU()],
        "grouped": [conv(2, 4, 3, groups=2, columns=[0, 5, 7]), nn.BatchNorm(4), nn.MaxPool2d(2)],
    }[make]
    net = nn.Sequential(*layers).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm):
            module.gamma.data, module.beta.data = rng.standard_normal((2, module.channels))
            module.running_mean = rng.standard_normal(module.channels)
            module.running_variance = rng.uniform(0.01, 0.1, module.channels)
        elif isinstance(module, nn.Conv2d):
            module.W.data *= 0.1
            module.W.data[0, 0] = 0
            module.W.mask = (module.W.data != 0) * 1.0
            if module.bias_map is not None:
                module.bias_map = rng.standard_normal(module.bias_map.shape)
    x, before = rng.standard_normal((2, 5, 6, 3)), gradcheck.flat(net)
    folded, y = surgery.fold_batchnorm(net), net.forward(x)
    assert gradcheck.relative_error(folded.forward(x), y) <= 1e-14
    assert all(not module.training for module in folded.modules())
    assert all(module.training for module in surgery.fold_batchnorm(net.train()).modules())
    net.eval()
    left = [name for name, _ in folded.named_buffers() if name.endswith("mean")]
    assert left == {"lenet": [], "residual": ["3.running_mean"], "grouped": []}[make]  # 3 follows a sum
    weights, theirs = (
        {name: parameter.mask for name, parameter in each.named_parameters() if name.endswith("W")}
        for each in (folded, net)
    )
    assert weights.keys() == theirs.keys()
    assert all(mask is None or np.array_equal(mask, weights[name]) for name, mask in theirs.items())
    np.testing.assert_array_equal(gradcheck.flat(net), before)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm):
            module.eps = 0.0
    assert 1e-6 < gradcheck.relative_error(surgery.fold_batchnorm(net).forward(x), y) < 1e-2


def test_pre_activation_norms_stay_for_a_border_of_zeros_would_miss_their_shift():
    rng = np.random.default_rng(0)
    norm, conv = nn.BatchNorm(3), nn.Conv2d(3, 2, 3, rng, padding=1, bias=False)
    norm.running_mean, norm.beta.data = rng.standard_normal((2, 3))
    net = nn.Sequential(norm, conv).eval()
    x = rng.standard_normal((3, 6, 5, 2))
    folded = surgery.fold_batchnorm(net)
    assert [type(layer) for layer in folded.layers] == [nn.BatchNorm, nn.Conv2d]
    np.testing.assert_array_equal(folded.forward(x), net.forward(x))
    wrong = nn.Conv2d(3, 2, 3, rng, padding=1)
    scale = norm.gamma.data / np.sqrt(norm.running_variance + norm.eps)
    shift = norm.beta.data - scale * norm.running_mean
    wrong.W.data = conv.W.data * scale[:, None, None]
    wrong.b.data = np.einsum("ocij,c->o", conv.W.data, shift)
    error = np.abs(wrong.forward(x) - net.forward(x))
    assert error[:, 1:-1, 1:-1].max() <= TOLERANCE and error.max() > 0.5


def test_a_map_in_front_makes_a_constant_uneven():
    """Filter 1 has no weights, but a bias map; the next convolution pads nothing, and no bias makes up for the map."""
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3, rng, bias_map=(4, 5)), nn.ReLU(), nn.Conv2d(3, 2, 2, rng)).eval()
    net.layers[0].bias_map = rng.standard_normal((3, 4, 5))
    net.layers[0].W.data[1] = 0
    keep, x = {"0.W": [0, 2]}, rng.standard_normal((2, 6, 7, 3))
    with pytest.raises(ValueError, match=r"row 1 of 0.W emits a constant"):
        surgery.fold_constants(net, keep, (2, 6, 7))
    small = surgery.remove(surgery.fold_constants(net, keep, (2, 6, 7), "map"), keep)
    assert gradcheck.relative_error(small.forward(x), net.forward(x)) <= TOLERANCE


def test_a_constant_stays_uneven_through_convolutions_and_sums():
    """Zero padding makes it uneven; a filter that reads constants only, a sum and a zero-padded shortcut pass it on."""
    rng = np.random.default_rng(0)
    conv = lambda *a, **k: nn.Conv2d(*a, rng, **k)  # noqa: E731
    block = nn.Residual(conv(3, 4, 1), nn.ZeroPadShortcut(1))
    net = nn.Sequential(conv(2, 3, 1), nn.Sigmoid(), conv(3, 3, 3, padding=1), block, conv(4, 2, 2)).eval()
    net.layers[0].W.data[1] = 0
    net.layers[2].W.data[0, [0, 2]] = 0  # reads the constant alone
    net.layers[3].body.W.data[0] = 0
    keep, x = {"0.W": [0, 1, 2], "2.W": [1, 2]}, rng.standard_normal((2, 5, 4, 3))
    with pytest.raises(ValueError, match=r"row 0 of 2.W emits a constant .* and \d\S* reads it over a border"):
        surgery.fold_constants(net, keep, (2, 5, 4))
    small = surgery.remove(surgery.fold_constants(net, keep, (2, 5, 4), "map"), keep)
    assert small.layers[4].bias_map is not None
    assert gradcheck.relative_error(small.forward(x), net.forward(x)) <= TOLERANCE


@pytest.mark.parametrize("border", ["refuse", "map"])
def test_what_a_zero_padded_shortcut_carries_into_a_channel_that_stays(border):
    """Without channel 1 the shortcut would put zeros there: right for a constant zero, and for nothing else."""
    rng = np.random.default_rng(0)
    block = nn.Residual(nn.Conv2d(4, 6, 3, rng, padding=1), nn.ZeroPadShortcut(2))
    head = [nn.ReLU(), nn.GlobalAvgPool2d(), nn.Linear(6, 3, rng)]
    net = nn.Sequential(nn.Conv2d(2, 4, 3, rng, padding=1), nn.ReLU(), block, *head).eval()
    keep, x = {"0.W": [0, 2, 3], "2.body.W": range(6)}, rng.standard_normal((2, 6, 5, 3))
    block.body.W.data[:, 1] = 0
    with pytest.raises(ValueError, match=r"row 1 of 0.W is read by 2.shortcut and is not constant"):
        surgery.fold_constants(net, keep, (2, 6, 5), border)
    net.layers[0].W.data[1], net.layers[0].b.data[1] = 0, 0.5
    with pytest.raises(ValueError, match=r"row 1 of 0.W emits a constant .* 2.shortcut carries it into a channel that"):
        surgery.fold_constants(net, keep, (2, 6, 5), border)
    net.layers[0].b.data[1] = -0.5
    small = surgery.remove(surgery.fold_constants(net, keep, (2, 6, 5), border), keep)
    assert small.layers[2].shortcut.positions == [0, 2, 3]
    assert gradcheck.relative_error(small.forward(x), net.forward(x)) <= TOLERANCE


def test_a_subsampling_is_not_folded():
    """It has one factor and one shift a channel as batch norm has, but takes means first."""
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 1, rng), nn.Subsampling(4, 2, rng), nn.Conv2d(4, 2, 1, rng)).eval()
    net.layers[1].coefficient.data = rng.standard_normal(4)
    folded, x = surgery.fold_batchnorm(net), rng.standard_normal((2, 6, 4, 3))
    assert isinstance(folded.layers[1], nn.Subsampling)
    np.testing.assert_array_equal(folded.forward(x), net.forward(x))


@pytest.mark.parametrize("shape", [None, 5, (), (2, 6.0, 5), (2, -6, 5)])
def test_a_shape_that_is_none_is_one_sentence(shape):
    net = nn.Sequential(nn.Conv2d(2, 4, 1, np.random.default_rng(0)), nn.ReLU(), nn.Conv2d(4, 2, 1, None))
    for cut in (
        lambda: surgery.fold_constants(net, {"0.W": [0]}, shape),
        lambda: surgery.remove_unused_paths(net, shape),
    ):
        with pytest.raises(ValueError, match=r"^expected the shape of one input, such as \(3, 32, 32\), got "):
            cut()
