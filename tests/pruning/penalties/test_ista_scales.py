"""Scales weighed by what their channels cost, and rescaled nets: the same function, and three that are not."""

import copy
import math

import cases
import numpy as np
import pytest

import nn
from nn import gradcheck
from nn.backend import to_numpy
from pruning import counts, surgery
from pruning.penalties import group_lasso
from pruning.penalties.ista_scales import costs, families, rescaled


def drawn(rng, *layers):
    """A net in eval mode, no scale, shift or statistic of which is at its starting value."""
    net = nn.Sequential(*layers).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm):
            C = module.channels
            module.gamma.data, module.beta.data = rng.uniform(0.5, 1.5, C), rng.uniform(-1, 1, C)
            module.running_mean, module.running_variance = rng.uniform(-0.3, 0.3, C), rng.uniform(0.5, 2, C)
    return net


def conv(rng, *sizes, **k):
    return nn.Conv2d(*sizes, rng, **k)


def chain(rng):
    return drawn(rng, conv(rng, 2, 4, 3, padding=1), nn.BatchNorm(4), nn.ReLU(), conv(rng, 4, 5, 3, stride=2),
                 nn.BatchNorm(5), nn.ReLU(), conv(rng, 5, 3, 2))  # fmt: skip


def pooled(rng):
    return drawn(rng, conv(rng, 2, 4, 3), nn.BatchNorm(4), nn.MaxPool2d(3, stride=2, padding=1), nn.ReLU(),
                 nn.AvgPool2d(2), conv(rng, 4, 3, 2, groups=1, padding=1), nn.GlobalAvgPool2d())  # fmt: skip


def flattened(rng):
    return drawn(rng, conv(rng, 2, 4, 3), nn.BatchNorm(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5, rng),
                 nn.Linear(4 * 6 * 5, 6, rng), nn.BatchNorm(6), nn.ReLU(), nn.Linear(6, 3, rng))  # fmt: skip


def residual(rng):
    """The stream has no batch norm, the inside of the block has one."""
    body = [conv(rng, 4, 6, 3, padding=1), nn.BatchNorm(6), nn.ReLU(), conv(rng, 6, 4, 3, padding=1)]
    return drawn(rng, conv(rng, 2, 4, 3), nn.ReLU(), nn.Residual(nn.Sequential(*body)), nn.ReLU(), conv(rng, 4, 3, 3))


def depthwise(rng):
    return drawn(rng, conv(rng, 2, 4, 3), nn.BatchNorm(4), nn.ReLU(), conv(rng, 4, 4, 3, groups=4, padding=1),
                 nn.BatchNorm(4), nn.ReLU(), conv(rng, 4, 6, 1, groups=2), nn.BatchNorm(6), nn.Scale(6, 2), nn.ReLU(),
                 conv(rng, 6, 2, 3, columns=[0, 5, 12, 53]))  # fmt: skip


def selected(rng):
    """Of the rows that the convolution behind reads, some carry the factor and some do not."""
    branch = nn.Sequential(conv(rng, 2, 4, 3, padding=1), nn.BatchNorm(4), nn.ReLU(), nn.Select([3, 0, 2]))
    layers = [nn.Select([4, 1, 2, 0]), conv(rng, 4, 3, 3), nn.Flatten(), nn.Linear(90, 2, rng)]
    return drawn(rng, nn.Concat(nn.Identity(), branch), *layers)


def padded(rng):
    """Rows of zeros carry what the other way does."""
    block = nn.Residual(nn.ZeroPadShortcut(2, 1, [1, 2, 3, 5]), nn.Sequential(conv(rng, 4, 6, 1), nn.BatchNorm(6)))
    return drawn(rng, conv(rng, 2, 4, 3), nn.BatchNorm(4), nn.ReLU(), block, nn.ReLU(), conv(rng, 6, 2, 3))


NETS = [chain, pooled, flattened, residual, depthwise, selected, padded]
IMAGES = (2, 8, 7)


# ---- the same function ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("a", [0.01, 30.0])
@pytest.mark.parametrize("build", NETS, ids=lambda build: build.__name__)
def test_the_function_stays(build, a, mode):
    rng = np.random.default_rng(0)
    net, x = build(rng), rng.standard_normal((*IMAGES, 4))
    before = gradcheck.flat(net).copy()
    other = rescaled(net, a)
    if mode == "train":  # the same draws of dropout, too
        net.train(), other.train()
    assert gradcheck.relative_error(other.forward(x), net.forward(x)) <= 1e-12
    np.testing.assert_array_equal(gradcheck.flat(net), before)
    for name, gamma in named(net, "gamma").items():
        np.testing.assert_allclose(named(other, "gamma")[name], a * gamma, rtol=1e-14)
    back = rescaled(other, 1 / a)
    assert gradcheck.relative_error(gradcheck.flat(back), before) <= 1e-14


NORMED = ["vgg", "resnet_cifar", "preresnet", "densenet", "densenet-bc", "resnet18_cifar", "resnet_imagenet 50"]


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", NORMED)
def test_the_function_of_every_model_with_batch_norm_stays(name, mode):
    """All batch norms at once: what the blocks add up carries the factor on both ways."""
    net, x, _ = cases.build_model(name)
    other = rescaled(net, 0.01)
    assert all((named(other, "gamma")[key] == 0.01 * gamma).all() for key, gamma in named(net, "gamma").items())
    y, z = (getattr(each, mode)().forward(x) for each in (net, other))
    assert gradcheck.relative_error(z, y) <= 1e-12


def named(net, ending):
    return {name: u.data for name, u in net.named_parameters() if name.endswith(ending)}


def test_what_changes_and_what_does_not():
    net = selected(np.random.default_rng(0))
    other = rescaled(net, 0.5)
    changed = {
        name for name, u in net.named_parameters() if (u.data != dict(other.named_parameters())[name].data).any()
    }
    assert changed == {"0.1.1.gamma", "0.1.1.beta", "2.W"}
    W, V = net.layers[2].W.data, other.layers[2].W.data
    np.testing.assert_array_equal(V[:, [0, 2]], W[:, [0, 2]] / 0.5)
    np.testing.assert_array_equal(V[:, [1, 3]], W[:, [1, 3]])  # the input of the net


def test_columns_behind_a_flatten_and_of_a_grouped_convolution():
    rng = np.random.default_rng(1)
    conv_norm = nn.Sequential(conv(rng, 2, 1, 1), nn.BatchNorm(1))
    plain = nn.Sequential(conv(rng, 2, 1, 1))
    both = nn.Concat(conv_norm, plain)
    other = rescaled(drawn(rng, both, nn.Flatten(), linear := nn.Linear(2 * 8 * 7, 3, rng)), 4.0)
    np.testing.assert_array_equal(other.layers[2].W.data[:, :56], linear.W.data[:, :56] / 4)
    np.testing.assert_array_equal(other.layers[2].W.data[:, 56:], linear.W.data[:, 56:])
    both = nn.Concat(copy.deepcopy(conv_norm), copy.deepcopy(plain))
    grouped = conv(rng, 2, 6, 3, groups=2)
    other = rescaled(drawn(rng, both, grouped), 4.0)
    np.testing.assert_array_equal(other.layers[1].W.data[:3], grouped.W.data[:3] / 4)
    np.testing.assert_array_equal(other.layers[1].W.data[3:], grouped.W.data[3:])


@pytest.mark.parametrize("build", NETS, ids=lambda build: build.__name__)
def test_forms_that_are_other_functions(build):
    """gamma alone; gamma and W_next without beta; W_next times a."""
    rng = np.random.default_rng(0)
    net, x = build(rng), rng.standard_normal((*IMAGES, 4))
    y, a = net.forward(x), 0.01
    right = rescaled(net, a)
    for kept, again in ((("W", "beta"), ()), (("beta",), ()), ((), ("W",))):
        wrong = copy.deepcopy(net)
        for (name, u), (_, v) in zip(wrong.named_parameters(), right.named_parameters()):
            if name.endswith(again):
                u.data = u.data * (u.data / v.data)
            elif not name.endswith(kept):
                u.data = v.data
        assert gradcheck.relative_error(wrong.forward(x), y) > 1e-3
    assert gradcheck.relative_error(right.forward(x), y) <= 1e-12


def test_the_gradient_of_a_scale_is_divided():
    rng = np.random.default_rng(0)
    net, x, loss = chain(rng).train(), rng.standard_normal((*IMAGES, 4)), nn.SquaredError()
    other = rescaled(net, 0.1)
    for each in (net, other):
        loss.forward(each.forward(x), np.zeros((3, 2, 2, 4)))
        each.backward_parameters(loss.backward())
    for layer in (1, 4):
        ours, theirs = other.layers[layer].gamma.grad, net.layers[layer].gamma.grad
        assert gradcheck.relative_error(ours, theirs / 0.1) <= 1e-12


def test_some_of_the_scales():
    rng = np.random.default_rng(0)
    net, x = nn.models.resnet_cifar(8, rng), rng.standard_normal((3, 8, 8, 4))
    inside = costs(net, (3, 8, 8))
    other = rescaled(net, 0.1, inside)
    assert gradcheck.relative_error(other.forward(x), net.forward(x)) <= 1e-12
    halves = {name: float(gamma[0]) for name, gamma in named(other, "gamma").items()}
    assert {name for name, value in halves.items() if value == 0.1} == set(inside) < set(halves)
    with pytest.raises(ValueError, match="3 adds channels that carry the factor to channels that do not"):
        rescaled(net, 0.1, ["3.body.4.gamma"])
    tanh = drawn(rng, nn.Linear(3, 4, rng), nn.BatchNorm(4), nn.Tanh(), nn.Linear(4, 5, rng), nn.BatchNorm(5),
                 nn.ReLU(), nn.Linear(5, 2, rng))  # fmt: skip
    x = rng.standard_normal((3, 6))
    assert gradcheck.relative_error(rescaled(tanh, 7, ["4.gamma"]).forward(x), tanh.forward(x)) <= 1e-12


def test_modes_and_masks_come_along():
    net = chain(np.random.default_rng(0))
    net.layers[4].train()
    net.layers[3].W.mask = (np.arange(net.layers[3].W.data.size) % 2).reshape(net.layers[3].W.shape) * 1.0
    other = rescaled(net, 2.0)
    assert [layer.training for layer in other.layers] == [layer.training for layer in net.layers]
    np.testing.assert_array_equal(other.layers[3].W.mask, net.layers[3].W.mask)


def test_every_library_and_float32(library):
    rng = np.random.default_rng(0)
    net, x = flattened(rng), rng.standard_normal((*IMAGES, 4))
    other = rescaled(copy.deepcopy(net).to(library.xp), 0.1)
    assert gradcheck.relative_error(to_numpy(other.forward(library.xp.asarray(x))), net.forward(x)) <= 1e-12
    small = nn.Sequential(nn.Linear(3, 4, rng, dtype=np.float32), nn.BatchNorm(4, dtype=np.float32), nn.ReLU(),
                          nn.Linear(4, 2, rng, dtype=np.float32))  # fmt: skip
    assert {u.data.dtype for u in rescaled(small, np.float64(0.3)).parameters()} == {np.dtype(np.float32)}


def test_the_penalty_goes_to_zero_and_the_function_stays():
    """The escape: nothing but decay on the next layer's weights holds rho sum lambda |gamma| away from zero."""
    rng = np.random.default_rng(0)
    net, x = chain(rng), rng.standard_normal((*IMAGES, 4))
    y, penalty = net.forward(x), group_lasso.value(net, families(net, IMAGES, 0.3))
    for a in (1e-3, 1e-9):
        other = rescaled(net, a)
        assert gradcheck.relative_error(other.forward(x), y) <= 1e-12
        value = group_lasso.value(other, families(other, IMAGES, 0.3))
        assert value == pytest.approx(a * penalty, rel=1e-12) and value < 2e-3 * penalty
        # The other side of it: the weights that read the channels grow by 1 / a.
        norms = [np.linalg.norm(each.layers[6].W.data) for each in (other, net)]
        assert norms[0] == pytest.approx(norms[1] / a, rel=1e-12)


# ---- what a channel costs ------------------------------------------------------------------------------------------
def test_costs_against_loops():
    """Every weight of a chain counted one by one: those of filter 0, those that read it, the pixels of its map."""
    rng = np.random.default_rng(0)
    net, image = chain(rng), (2, 8, 7)
    first, second, third = (net.layers[k] for k in (0, 3, 6))
    sides = {0: (8, 7), 3: (3, 3)}  # padding 1; stride 2 from 8 and 7
    for name, maker, reader, (H, W) in (("1.gamma", first, second, sides[0]), ("4.gamma", second, third, sides[3])):
        count = 0
        for _ in np.ndindex(maker.W.shape[1:]):
            count += 1
        for _, c, _, _ in np.ndindex(reader.W.shape):
            count += c == 0
        for _ in np.ndindex(H, W):
            count += 1
        assert costs(net, image)[name] == count / (8 * 7)
    assert costs(net, image) == {"1.gamma": (18 + 45 + 56) / 56, "4.gamma": (36 + 12 + 9) / 56}


def test_costs_behind_a_flatten_of_features_and_of_chosen_columns():
    rng = np.random.default_rng(0)
    assert costs(flattened(rng), IMAGES) == {"1.gamma": (18 + 30 * 6 + 30) / 56, "6.gamma": (120 + 3 + 1) / 56}
    net = drawn(rng, nn.Linear(7, 5, rng), nn.BatchNorm(5), nn.Linear(5, 3, rng))
    assert costs(net, (7,)) == {"1.gamma": 7 + 3 + 1}
    # On both sides of a depthwise convolution there is a batch norm; a group reads 2 of 4 channels; 4 columns, 2 rows.
    assert costs(depthwise(rng), IMAGES) == {"7.gamma": (2 + 4 * 2 / 6 + 6 * 5) / 56}


def test_scales_that_have_their_channels_not_for_themselves():
    """What a zero-padded shortcut carries on, depthwise filters of the input, pixels behind a flatten, two ways."""
    rng, norm = np.random.default_rng(0), nn.BatchNorm(4)
    block = nn.Residual(conv(rng, 4, 6, 1), nn.ZeroPadShortcut(2))
    carried = drawn(rng, conv(rng, 2, 4, 3), norm, nn.ReLU(), block, nn.ReLU(), conv(rng, 6, 2, 3))
    of_the_input = drawn(rng, conv(rng, 2, 4, 3, groups=2), norm, nn.ReLU(), conv(rng, 4, 2, 3))
    pixels = drawn(rng, conv(rng, 2, 4, 3), nn.Flatten(), nn.BatchNorm(120), nn.ReLU(), nn.Linear(120, 2, rng))
    ways = nn.Concat(nn.Sequential(norm, nn.ReLU()), conv(rng, 4, 2, 1))
    two_ways = drawn(rng, conv(rng, 2, 4, 3), ways, conv(rng, 6, 2, 3))
    for net in (carried, of_the_input, pixels, two_ways):
        with pytest.raises(ValueError, match="expected a batch norm that has its channels for itself"):
            costs(net, IMAGES)


OWN = {
    "vgg": ["1", "5", "8"],
    "resnet_cifar": ["3.body.1", "5.body.1", "7.body.1"],
    # The projection of each block reads what is in front of its first batch norm.
    "preresnet": [f"{block}.body.{k}" for block in (1, 2, 3) for k in (3, 6)],
    "densenet-bc": [f"{layer}.1.3" for layer in (1, 2, 7, 8, 13, 14)],
    "resnet18_cifar": ["1", *(f"{block}.body.1" for block in range(3, 19, 2))],
}


@pytest.mark.parametrize("name", OWN)
def test_a_cost_is_what_surgery_saves(name):
    """One channel at a time: scale at zero, folded and removed; weights and numbers of maps as counted."""
    net, x, _ = cases.build_model(name)
    shape, y = cases.TINY[name][1], net.eval().forward(x)
    found = costs(net, shape)
    assert list(found) == [f"{layer}.gamma" for layer in OWN[name]]
    modules = dict(net.named_modules())
    for gamma, cost in found.items():
        other = copy.deepcopy(net)
        layer = gamma.removesuffix(".gamma")
        front = layer.removesuffix(last := layer.split(".")[-1]) + str(int(last) - 1)
        dict(other.named_parameters())[gamma].data[1] = 0
        y, keep = other.forward(x), {f"{front}.W": [k for k in range(modules[front].W.shape[0]) if k != 1]}
        small = surgery.remove(surgery.fold_constants(other, keep, shape, border="map"), keep)
        assert gradcheck.relative_error(small.forward(x), y) <= 1e-12
        saved = weights(net) - weights(small)
        maps = [counts.count(each, shape, "conv_only") for each in (net, small)]
        saved += maps[0].activations - maps[1].activations
        assert cost * math.prod(shape[1:]) == pytest.approx(saved, rel=1e-14)


def weights(net):
    return sum(W.size for W in named(net, "W").values())


def test_outlines_cost_as_much():
    rng = np.random.default_rng(0)
    image = (3, 32, 32)
    assert costs(nn.models.resnet_cifar(20, None), image) == costs(nn.models.resnet_cifar(20, rng), image)


def test_a_family_for_each_layer():
    net = chain(np.random.default_rng(0))
    found = families(net, IMAGES, np.float32(0.5))
    assert [list(family.axes) for family in found] == [["1.gamma"], ["4.gamma"]]
    assert [family.strength for family in found] == [0.5 * cost for cost in costs(net, IMAGES).values()]
    penalty = sum(0.5 * cost * np.abs(named(net, "gamma")[name]).sum() for name, cost in costs(net, IMAGES).items())
    assert group_lasso.value(net, found) == pytest.approx(penalty, rel=1e-14)
    assert [family.strength for family in families(net, IMAGES, 0)] == [0, 0]


# ---- training ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_where_the_steps_stand_still(momentum):
    """Scales of two layers alone are trained, in front of a fixed convolution: a convex problem with one minimum."""
    rng = np.random.default_rng(3)
    ways = [nn.Sequential(conv(rng, 2, 6, k, padding=k // 2), nn.BatchNorm(6)) for k in (3, 1)]
    net, x = nn.Sequential(nn.Concat(*ways), conv(rng, 12, 8, 1)), rng.standard_normal((2, 5, 4, 30))
    scales = {name: u for name, u in net.named_parameters() if name.endswith("gamma")}
    for gamma in scales.values():
        gamma.data = np.array([1.0, 0, -0.7, 0, 0.5, 0])
    t = net.forward(x) + rng.standard_normal((8, 5, 4, 30))
    for gamma in scales.values():
        gamma.data = np.ones(6)
    found, loss = families(net, (2, 5, 4), 1.0), nn.SquaredError()
    optimizer = nn.SGD(list(scales.values()), 5e-3, momentum)
    companion = group_lasso.ProximalSteps(net, found, optimizer)
    for _ in range(600):
        nn.training.training_step(net, loss, optimizer, x, t, [companion])
    loss.forward(net.forward(x), t)
    net.backward_parameters(loss.backward())
    assert [family.strength for family in found] == [46 / 20, 30 / 20]
    for family in found:
        (name,), lam = family.axes, family.strength
        gamma, slope = scales[name].data, scales[name].grad
        zero = gamma == 0
        assert 0 < zero.sum() < 6
        assert np.abs(slope[zero]).max() <= lam
        np.testing.assert_allclose(slope[~zero], -lam * np.sign(gamma[~zero]), rtol=0, atol=1e-9 * lam)


def test_a_scale_at_zero_has_a_gradient_where_its_shift_is_positive():
    rng = np.random.default_rng(0)
    net, x, loss = chain(rng), rng.standard_normal((*IMAGES, 4)), nn.SquaredError()
    net.layers[1].gamma.data, net.layers[1].beta.data = np.array([0, 0, 0, 1.0]), np.array([-0.3, 0.0, 0.3, -0.3])
    y = net.forward(x)
    loss.forward(y, np.zeros_like(y))
    net.backward_parameters(loss.backward())
    assert (net.layers[1].gamma.grad != 0).tolist() == [False, False, True, True]


def test_channels_die_and_the_rest_is_the_same_function():
    """From the digits to a smaller net; rescaled before and back again afterwards."""
    rng, (x, t) = np.random.default_rng(0), nn.data.load("digits").train
    layers = [conv(rng, 1, 8, 3), nn.BatchNorm(8), nn.ReLU(), conv(rng, 8, 8, 3, stride=2), nn.BatchNorm(8), nn.ReLU()]
    net = rescaled(nn.Sequential(*layers, nn.Flatten(), nn.Linear(32, 10, rng)), 0.1)
    found = families(net, (1, 8, 8), 0.02)
    optimizer = nn.SGD(net.parameters(), 0.02, 0.9, weight_decay=1e-3,
                       decayed=[u for name, u in net.named_parameters() if name.endswith("W")])  # fmt: skip
    companion = group_lasso.ProximalSteps(net, found, optimizer)
    history = nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, x, t, epochs=3, batch_size=64, rng=rng,
                                companions=[companion], progress=False)  # fmt: skip
    net = rescaled(net, 10).eval()
    gammas = named(net, "gamma")
    keep = {f"{k}.W": np.flatnonzero(gammas[f"{k + 1}.gamma"]).tolist() for k in (0, 3)}
    assert all(0 < len(rows) < 8 for rows in keep.values()) and history[-1]["penalty"] > 0
    small = surgery.remove(surgery.fold_constants(net, keep, (1, 8, 8)), keep)
    assert gradcheck.relative_error(small.forward(x[..., :50]), net.forward(x[..., :50])) <= 1e-12


# ---- refusals ------------------------------------------------------------------------------------------------------
def test_bad_input_is_one_sentence():
    rng = np.random.default_rng(0)
    net, plain = chain(rng), nn.models.mlp((3, 4, 2), rng)
    before = gradcheck.flat(net).copy()
    linear = lambda *layers: nn.Sequential(nn.Linear(3, 4, rng), nn.BatchNorm(4), *layers)  # noqa: E731
    last = linear(nn.ReLU())
    twice = linear(nn.BatchNorm(4), nn.Linear(4, 2, rng))
    stream = nn.Sequential(conv(rng, 2, 4, 3), nn.Residual(nn.Sequential(conv(rng, 4, 4, 1), nn.BatchNorm(4))))
    shared = linear(nn.ReLU(), nn.Linear(4, 4, rng), nn.BatchNorm(4), nn.ReLU(), nn.Linear(4, 2, rng))
    shared.layers[4].gamma = shared.layers[1].gamma
    half = "expected layers with f\\(a x\\) = a f\\(x\\) between a batch norm and the weights that read it"
    for call, kind, message in (
        (lambda: rescaled(plain, 2), ValueError, "expected a net with batch norm, whose scales are penalised"),
        (lambda: costs(plain, (3,)), ValueError, "expected a net with batch norm, whose scales are penalised"),
        (lambda: families(plain, (3,), 0.1), ValueError, "expected a net with batch norm"),
        (lambda: rescaled(net, 0), ValueError, "expected a positive, finite factor of the scales, got 0"),
        (lambda: rescaled(net, -1), ValueError, "expected a positive, finite factor of the scales, got -1"),
        (lambda: rescaled(net, math.inf), ValueError, "expected a positive, finite factor of the scales, got inf"),
        (lambda: rescaled(net, math.nan), ValueError, "expected a positive, finite factor of the scales, got nan"),
        (lambda: rescaled(net, "2"), TypeError, "expected a number for the factor of the scales, got '2'"),
        (lambda: rescaled(net, 2, "1.gamma"), ValueError, "expected a list of names, got the string '1.gamma'"),
        (lambda: rescaled(net, 2, ["0.W"]), ValueError, "the scales of batch norms, 1.gamma, 4.gamma; got '0.W'"),
        (lambda: rescaled([net], 2), TypeError, "expected a net, got list"),
        (lambda: rescaled(linear(nn.Tanh(), nn.Linear(4, 2, rng)), 2), ValueError, f"{half}.*; 2 is a Tanh"),
        (lambda: rescaled(linear(nn.Sigmoid(), nn.Linear(4, 2, rng)), 2), ValueError, f"{half}.*; 2 is a Sigmoid"),
        (lambda: rescaled(twice, 2), ValueError, f"{half}.*; 2 is a BatchNorm"),
        (lambda: rescaled(last, 2), ValueError, "the output of the net would carry the factor: leave out"),
        (lambda: rescaled(nn.Sequential(stream, nn.ReLU(), conv(rng, 4, 2, 1)), 2), ValueError,
         "0.1 adds channels that carry the factor to channels that do not: expected the batch norms of both ways"),
        (lambda: rescaled(shared, 2), ValueError, "1.gamma and 4.gamma are one parameter"),
        (lambda: costs(shared, (3,)), ValueError, "1.gamma and 4.gamma are one parameter"),
        (lambda: rescaled(nn.models.resnet_cifar(8, None), 2), ValueError, "expected a net with data, got an outline"),
        (lambda: costs(stream, (2, 5, 5)), ValueError, "expected a batch norm that has its channels for itself"),
        (lambda: costs(last, (3,)), ValueError, "expected a batch norm that has its channels for itself"),
        (lambda: costs(twice, (3,)), ValueError, "expected a batch norm that has its channels for itself"),
        (lambda: costs(net, (3, 8, 7)), ValueError, "expected images .2, H, W, N., got .3, 8, 7, N."),
        (lambda: families(net, IMAGES, -0.1), ValueError, "expected a strength of 0 or more, got -0.1"),
        (lambda: families(net, IMAGES, math.nan), ValueError, "expected a strength of 0 or more, got nan"),
        (lambda: families(net, IMAGES, "0.1"), TypeError, "expected a number for the strength, got '0.1'"),
    ):  # fmt: skip
        with pytest.raises(kind, match=message):
            call()
    np.testing.assert_array_equal(gradcheck.flat(net), before)
