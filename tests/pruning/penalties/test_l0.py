"""The expected number of weights that are not zero: its value, its gradients, what it leaves, and how it is counted."""

import copy
import itertools
import math

import numpy as np
import pytest

import nn
from nn import backend, gradcheck
from pruning import surgery
from pruning.counts import count
from pruning.penalties import families, l0
from pruning.penalties.families import Family

N = 50


def net_with_gates(seed=0, dtype=np.float64):
    """Gates of 4 inputs and of 5 units, and of 10 single weights; lam 0.7, 0.2, 0.4 for groups of 5, 4, 1."""
    rng = np.random.default_rng(seed)
    layers = [l0.HardConcrete(4, rng, dtype=dtype), nn.Linear(4, 5, rng, dtype=dtype), nn.Tanh()]
    layers += [l0.HardConcrete(5, rng, per_sample=True, dtype=dtype), l0.HardConcreteLinear(5, 2, rng, dtype=dtype)]
    net = nn.Sequential(*layers)
    for gate in l0.gates(net).values():
        gate.log_alpha.data = rng.normal(0, 2, gate.log_alpha.shape).astype(dtype)
    groups = {
        "0": families.columns(net, "1.W", 0.7),
        "3": families.filters(net, "1.W", 0.2),
        "4": Family({"4.W": (0, 1)}, 0.4),
    }
    return net, groups


def by_hand(net, weight_decay):
    """The penalty as a sum over gates in plain Python."""
    P = lambda a: 1 / (1 + np.exp(-(a - 2 / 3 * math.log(0.1 / 1.1))))  # noqa: E731
    W, V = net.layers[1].W.data, net.layers[4].W.data
    total = 0
    for j, a in enumerate(net.layers[0].log_alpha.data):
        total += P(a) * (0.7 * 5 + weight_decay / 2 * sum(w * w for w in W[:, j]))
    for i, a in enumerate(net.layers[3].log_alpha.data):
        total += P(a) * (0.2 * 4 + weight_decay / 2 * sum(w * w for w in W[i]))
    for index, a in np.ndenumerate(net.layers[4].log_alpha.data):
        total += P(a) * (0.4 + weight_decay / 2 * V[index] ** 2)
    return total / N


def added(net, penalty):
    for u in net.parameters():
        u.grad = 0 * u.data
    penalty.after_backward(1)
    return {name: u.grad for name, u in net.named_parameters()}


@pytest.mark.parametrize("weight_decay", [0, 0.3])
def test_the_penalty_and_its_gradients_by_hand_and_by_the_complex_step(weight_decay):
    net, groups = net_with_gates()
    penalty = l0.ExpectedL0(net, groups, N, weight_decay)
    assert penalty.penalty() == pytest.approx(by_hand(net, weight_decay), rel=1e-14)
    for name, found in added(net, penalty).items():
        u = dict(net.named_parameters())[name]
        at = u.data

        def value(v, u=u):
            u.data = v
            return np.asarray(by_hand(net, weight_decay))

        expected = gradcheck.complex_step(value, at)
        u.data = at
        np.testing.assert_allclose(found, np.reshape(expected, found.shape), rtol=1e-12, atol=1e-17, err_msg=name)
        assert found.any() == (name.endswith("log_alpha") or (weight_decay > 0 and name.endswith("W")))


def test_a_filter_takes_its_batch_norm_along():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3, rng), nn.BatchNorm(3), l0.HardConcrete(3, rng), nn.Conv2d(3, 2, 3, rng))
    penalty = l0.ExpectedL0(net, {"2": families.filters(net, "0.W", 2.0)}, 1)
    assert penalty.penalty() == pytest.approx(2 * (18 + 2) * net.layers[2].open().sum(), rel=1e-14)


def test_the_same_on_every_library(library):
    net, groups = net_with_gates()
    other = copy.deepcopy(net).to(library.xp)
    for each in (net, other):
        each.layers[0].log_alpha.data[0] = 7.0
    ours, theirs = (l0.ExpectedL0(each, groups, N, 0.3) for each in (net, other))
    assert theirs.penalty() == pytest.approx(ours.penalty(), rel=1e-13)
    expected = added(net, ours)
    for name, found in added(other, theirs).items():
        np.testing.assert_allclose(backend.to_numpy(found), expected[name], rtol=1e-12, atol=1e-16)
    ours.after_step(1), theirs.after_step(1)
    for p, q in zip(net.parameters(), other.parameters()):
        np.testing.assert_allclose(backend.to_numpy(q.data), p.data, rtol=1e-15)
    assert l0.expected_weights(other) == pytest.approx(l0.expected_weights(net), rel=1e-13)


def test_float32_stays():
    net, groups = net_with_gates(dtype=np.float32)
    penalty = l0.ExpectedL0(net, groups, np.int64(N), np.float64(0.3))
    assert {g.dtype for g in added(net, penalty).values()} == {np.dtype(np.float32)}
    penalty.after_step(1)
    assert {u.dtype for u in net.parameters()} == {np.dtype(np.float32)}
    assert isinstance(penalty.penalty(), float)


def test_log_alpha_stays_within_log_100():
    net, groups = net_with_gates()
    net.layers[0].log_alpha.data = np.array([-9.0, 4.6, 5.0, -4.7])
    l0.ExpectedL0(net, groups, N).after_step(1)
    np.testing.assert_array_equal(net.layers[0].log_alpha.data, [-l0.LIMIT, 4.6, l0.LIMIT, -l0.LIMIT])
    assert math.log(100) == l0.LIMIT


# ------------------------------------------------------------------------------------------------- expected size


def enumerated(net, size):
    """E of the number of weights left, over all patterns of open and closed gates."""
    gates = [(name, gate.open().ravel()) for name, gate in l0.gates(net).items()]
    total = 0.0
    for pattern in itertools.product((0, 1), repeat=sum(p.size for _, p in gates)):
        bits, chance, opened = np.array(pattern), 1.0, {}
        for name, p in gates:
            opened[name], bits = bits[: p.size], bits[p.size :]
            chance *= np.prod(np.where(opened[name], p, 1 - p))
        total += chance * size(opened)
    return total


def test_expected_weights_of_units_and_inputs_against_all_patterns():
    rng = np.random.default_rng(1)
    net = nn.Sequential(l0.HardConcrete(3, rng), nn.Linear(3, 4, rng), nn.ReLU(), l0.HardConcrete(4, rng),
                        nn.Linear(4, 5, rng))  # fmt: skip
    for gate in l0.gates(net).values():
        gate.log_alpha.data = rng.normal(-1, 1.5, gate.channels)
    product = enumerated(net, lambda z: z["0"].sum() * z["3"].sum() + z["3"].sum() * 5)
    assert l0.expected_weights(net) == pytest.approx(product, rel=1e-12)
    groups = {"0": families.columns(net, "1.W", 1.0), "3": families.columns(net, "4.W", 1.0)}
    own = l0.ExpectedL0(net, groups, 1).penalty()
    assert own > 1.1 * product  # gates of W's columns count what closed units make


def test_expected_weights_of_a_convolutional_net_against_all_patterns():
    """Filters, positions behind a flatten, units, single weights, and a convolution with groups."""
    rng = np.random.default_rng(1)
    grouped = nn.Conv2d(4, 2, 2, rng, groups=2)
    single = l0.HardConcreteLinear(2, 2, rng)
    layers = [nn.Conv2d(1, 4, 2, rng), l0.HardConcrete(4, rng), nn.ReLU(), grouped, l0.HardConcrete(2, rng)]
    layers += [
        nn.MaxPool2d(2, 1),
        nn.Flatten(),
        l0.HardConcrete(4, rng),
        nn.Sequential(nn.Linear(4, 2, rng), nn.Tanh()),
    ]
    net = nn.Sequential(*layers, single)
    for gate in l0.gates(net).values():
        gate.log_alpha.data = rng.normal(-1, 1.5, gate.log_alpha.shape)

    def size(z):
        filters, maps, flat, weights = z["1"], z["4"], z["7"], z["9"]
        alive = [maps[c] * max(flat[2 * c : 2 * c + 2]) for c in range(2)]
        first = filters.sum() * 4
        second = sum(alive[g] * filters[2 * g : 2 * g + 2].sum() * 4 for g in range(2))
        return first + second + sum(maps[j // 2] * flat[j] for j in range(4)) * 2 + weights.sum()

    assert l0.expected_weights(net) == pytest.approx(enumerated(net, size), rel=1e-12)


def test_all_open_is_the_count_and_a_sum_is_refused():
    net, _ = net_with_gates()
    for gate in l0.gates(net).values():
        gate.log_alpha.data[:] = 60.0
    assert l0.expected_weights(net) == count(surgery.harden(net.eval()), (4,)).parameters == 30
    rng = np.random.default_rng(0)
    block = nn.Residual(nn.Linear(3, 3, rng))
    with pytest.raises(ValueError, match=r"^expected a chain of layers, and 1 is a Residual$"):
        l0.expected_weights(nn.Sequential(l0.HardConcrete(3, rng), block))


# ------------------------------------------------------------------------------------------------------- removal


def test_what_is_closed_is_removed_inputs_and_positions_too():
    """Two of 3 filters, of the 8 positions behind them 3, and 2 of 4 units are left."""
    rng = np.random.default_rng(0)
    layers = [nn.Conv2d(1, 3, 2, rng), l0.HardConcrete(3, rng), nn.Flatten(), l0.HardConcrete(12, rng)]
    net = nn.Sequential(*layers, nn.Linear(12, 4, rng), nn.ReLU(), l0.HardConcrete(4, rng), nn.Linear(4, 2, rng))
    for place, opened in ((1, [0, 2]), (3, [1, 2, 5, 9]), (6, [0, 3])):  # position 5 is of the closed filter
        gate = net.layers[place]
        gate.log_alpha.data = np.where(np.isin(np.arange(gate.channels), opened), 1.0, -3.0)
    net.layers[0].b.data += 0.5
    small, x = l0.removed(net.eval(), (1, 3, 3)), rng.standard_normal((1, 3, 3, 5))
    assert gradcheck.relative_error(small.forward(x), net.forward(x)) <= 1e-12
    assert [u.shape for name, u in small.named_parameters() if name.endswith("W")] == [(2, 1, 2, 2), (2, 3), (2, 2)]
    assert small.layers[4].layers[0].indices == [1, 2, 5] and not small.training
    assert count(small, (1, 3, 3)).parameters == 8 + 6 + 4


def test_closed_inputs_are_not_selected():
    rng = np.random.default_rng(0)
    net = nn.Sequential(l0.HardConcrete(4, rng), nn.Linear(4, 3, rng)).eval()
    net.layers[0].log_alpha.data = np.array([3.0, -3.0, 3.0, -3.0])
    small, x = l0.removed(net, (4,)), rng.standard_normal((4, 5))
    assert small.layers[1].layers[0].indices == [0, 2] and small.layers[1].layers[1].W.shape == (3, 2)
    assert gradcheck.relative_error(small.forward(x), net.forward(x)) <= 1e-12
    net.layers[0].log_alpha.data[:] = 3.0
    assert l0.removed(net, (4,)).layers[1].W.shape == (3, 4)


# ------------------------------------------------------------------------------------------------------- training


def trained(lam, seed=0):
    """Ten inputs, of which two tell the class; gates on inputs and units."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((10, 600))
    t = (x[0] + x[1] > 0).astype(int)
    gates = [l0.HardConcrete(10, np.random.default_rng(1), 0.2), l0.HardConcrete(12, np.random.default_rng(2))]
    net = nn.Sequential(gates[0], nn.Linear(10, 12, rng), nn.ReLU(), gates[1], nn.Linear(12, 2, rng))
    groups = {"0": families.columns(net, "1.W", lam), "3": families.columns(net, "4.W", lam)}
    penalty = l0.ExpectedL0(net, groups, 600)
    optimizer = nn.Adam(net.parameters(), 1e-2, rates={gate.log_alpha: 5.0 for gate in gates})
    history = nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, x, t, 25, 50, rng, progress=False,
                                companions=[penalty])  # fmt: skip
    return net.eval(), history, x, t


@pytest.mark.parametrize("seed", range(2))
def test_training_closes_the_inputs_that_say_nothing_and_removal_leaves_the_function(seed):
    net, history, x, t = trained(1.0, seed)
    inputs = net.layers[0].factor()
    assert inputs[:2].min() > 0 and (inputs[2:] == 0).sum() >= 7
    small = surgery.remove_unused_paths(surgery.harden(net), (10,))
    assert gradcheck.relative_error(small.forward(x), net.forward(x)) <= 1e-12
    assert count(small, (10,)).parameters < count(surgery.harden(net), (10,)).parameters
    assert (net.forward(x).argmax(axis=0) == t).mean() > 0.95
    assert not (trained(0.0, seed)[0].layers[0].factor() == 0).any()


# ------------------------------------------------------------------------------------------------------ bad input


def of(*groups, patterns=N, **settings):
    """What makes the penalty with the groups of these gates, each given to the gate before the colon."""
    return lambda net, g: l0.ExpectedL0(net, {each[0]: g[each[-1]] for each in groups}, patterns, **settings)


def columns(**settings):
    return lambda net, g: l0.ExpectedL0(net, {"0": families.columns(net, "1.W", **settings)}, N)


BAD = [
    (of("1:0"), "^expected the gates 0, 3, 4, got '1'$"),
    (of(), "^expected families of groups by the name of gates, got {}$"),
    (lambda net, g: l0.ExpectedL0(net, [g["0"]], N), "^expected families of groups by the name of gates, got"),
    (lambda net, g: l0.ExpectedL0(net, {"0": 0.1}, N), "^expected families of groups"),
    (of("0:3"), r"^expected plain groups \(4,\) for the gates 0, got \(5,\)$"),
    (columns(strength=1, weighted=True), "got weighted ones$"),
    (columns(strength=-1), r"^expected a strength of 0 or more for 1\.W, got -1$"),
    (of("0", patterns=0), "^expected a whole number of patterns of at least 1, got 0$"),
    (of("0", weight_decay=-0.1), r"^expected a weight decay of 0 or more, got -0\.1$"),
    (lambda net, g: l0.ExpectedL0(nn.Tanh(), g, N), "^expected a net with hard concrete gates, got one without$"),
    (lambda net, g: l0.expected_weights(nn.Tanh()), "^expected a net with hard concrete gates, got one without$"),
    (lambda net, g: l0.gates([net]), "^expected a net, got list$"),
    (lambda net, g: l0.ExpectedL0(net, g, N).after_backward(1), "^log alpha has no gradient to add to"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_bad_input_is_one_sentence(make, message):
    net, groups = net_with_gates()
    with pytest.raises((ValueError, TypeError), match=message):
        make(net, groups)
