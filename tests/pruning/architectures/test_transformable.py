"""The search of widths: two steps by hand, the band, what is returned, exact costs, bad input."""

import copy

import numpy as np
import pytest

import nn
from pruning.architectures.transformable import Band, Search, narrowed
from pruning.architectures.width_cost import WidthCost
from pruning.architectures.width_mix import WidthMix, mixes
from pruning.counts import count

BAND = Band(0.5, 0.15)


def wide(seed=0, noise=False):
    rng = np.random.default_rng(seed)
    layers = [nn.Linear(4, 8, rng), WidthMix(*map(nn.BatchNorm, (2, 4, 6, 8)), rng=np.random.default_rng([seed, 1]))]
    layers += [nn.ReLU(), nn.Linear(8, 6, rng)]
    layers += [WidthMix(*map(nn.BatchNorm, (2, 3, 6)), rng=np.random.default_rng([seed, 2]))]
    net = nn.Sequential(*layers, nn.ReLU(), nn.Linear(6, 3, rng))
    if noise:
        for mix in mixes(net).values():
            mix.noise = rng.gumbel(size=(2, len(mix.widths)))
    return net


def search(net, rate=0.1, band=BAND, **settings):
    logits = [mix.logits for mix in mixes(net).values()]
    weights = [u for u in net.parameters() if u not in logits]
    optimizers = nn.SGD(weights, 0.05, 0.9), nn.Adam(logits, rate)
    return Search(net, nn.SoftmaxCrossEntropy(), *optimizers, band, (4,), **settings)


def patterns(N=60, seed=4):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((4, N))
    return x, np.argmax(rng.standard_normal((3, 4)) @ x, axis=0)


def run(net, epochs=6, rate=0.1, **settings):
    (x, t), s = patterns(), search(net, rate, **settings)
    return s, s.run((x[:, :30], t[:30]), (x[:, 30:], t[30:]), epochs, 10, np.random.default_rng(7))


# --------------------------------------------------------------------------------------------------- the cost term


@pytest.mark.parametrize("side", [1, 0, -1])
def test_the_cost_term_is_the_derivative_of_the_log_of_the_expected_macs(side):
    """The branch asks the net of the largest logits, and what is differentiated is the expectation."""
    net, (x, t) = wide(noise=True), patterns(10)
    one, other = mixes(net).values()
    one.logits.data = np.array({1: [0.0, 0, 0, 1], 0: [0.0, 1, 0, 0], -1: [1.0, 0, 0, 0]}[side])
    other.logits.data = np.array({1: [0.0, 0, 1], 0: [0.0, 1, 0], -1: [1.0, 0, 0]}[side])
    s, plain = search(net, strength=2.0), copy.deepcopy(net)
    assert s.side() == side
    loss = nn.SoftmaxCrossEntropy()
    loss.forward(plain.forward(x), t)
    plain.backward(loss.backward())
    moved = {name: mix.logits.data.copy() for name, mix in mixes(net).items()}
    s.step_logits(x, t)
    cost = WidthCost(plain, (4,))
    for name, mix in mixes(plain).items():
        a, by_cost = moved[name], np.zeros(len(mix.widths))
        for k in range(len(a)):
            mix.logits.data = a + 1e-30j * np.eye(len(a))[k]
            by_cost[k] = np.log(cost.expected()).imag / 1e-30
        mix.logits.data = a
        expected = mix.logits.grad + side * 2.0 * by_cost
        np.testing.assert_allclose(mixes(net)[name].logits.grad, expected, rtol=1e-11, atol=1e-15)
    assert (s.found is not None) == (side == 0)


def test_weights_and_logits_move_in_turn():
    net, (x, t) = wide(), patterns(20)
    s = search(net)
    before = {name: u.data.copy() for name, u in net.named_parameters()}
    s.step_weights(x, t)
    changed = {name for name, u in net.named_parameters() if (u.data != before[name]).any()}
    assert "0.W" in changed and not changed & {"1.logits", "4.logits"}
    before = {name: u.data.copy() for name, u in net.named_parameters()}
    s.step_logits(x, t)
    changed = {name for name, u in net.named_parameters() if (u.data != before[name]).any()}
    assert changed == {"1.logits", "4.logits"}


def test_the_band_has_its_ends_and_is_of_the_most_macs():
    band = Band(0.5, 0.05)
    assert [band.direction(share) for share in (0.44, 0.45, 0.5, 0.51)] == [-1, 0, 0, 1]
    for target, tolerance in ((0, 0.05), (0.5, 0), (0.5, 0.5), (1.2, 0.1), (np.nan, 0.1)):
        with pytest.raises(ValueError, match=r"^expected 0 < tolerance < target <= 1, got"):
            Band(target, tolerance)


# --------------------------------------------------------------------------------------------------- whole searches


@pytest.mark.parametrize("seed", range(5))
def test_what_is_returned_is_in_the_band(seed):
    net = wide(seed)
    s, found = run(net, 8)
    assert BAND.direction(found.macs / found.most) == 0
    assert count(narrowed(net, found.widths, (4,)), (4,)).macs == found.macs == s.cost.macs(found.widths)
    assert found.last == s.widths() and len(found.history) == 8
    if BAND.direction(s.cost.macs(found.last) / found.most) == 0:
        assert found.widths == found.last  # the last ones in the band, not the first


def test_the_widths_that_were_in_the_band_last_are_returned_and_not_the_last_ones():
    net = wide()
    s = search(net)
    one, other = s.cost.mixes["1"].logits, s.cost.mixes["4"].logits
    course = [([0, 1.0, 0, 0], [0, 1.0, 0]), ([0, 0, 1.0, 0], [1.0, 0, 0]), ([0, 0, 0, 1.0], [1.0, 0, 0])]
    sides = []
    for one.data, other.data in [tuple(map(np.array, each)) for each in course]:
        sides.append(s.side())
    assert sides == [0, 0, 1] and s.found == {"1": 6, "4": 2} and s.widths() == {"1": 8, "4": 2}


def test_a_search_is_a_pure_function_of_its_generators_and_cools_down():
    nets = wide(3), wide(3)
    one, other = (run(net, 4)[1] for net in nets)
    assert one == other
    for u, v in zip(nets[0].parameters(), nets[1].parameters()):
        np.testing.assert_array_equal(u.data, v.data)
    assert {mix.temperature for mix in mixes(nets[0]).values()} == {0.1}
    assert [sorted(row) for row in one.history] == 4 * [sorted(one.history[0])]


def test_outside_of_the_band_the_cost_goes_to_it():
    for start, band in ((np.array([0.0, 0, 0, 2]), BAND), (np.array([2.0, 0, 0, 0]), Band(0.9, 0.15))):
        net = wide(noise=False)
        mixes(net)["1"].logits.data = start
        s = search(net, band=band, strength=50.0)
        side, before = s.side(), float(s.cost.expected())
        for _ in range(5):
            s.step_logits(*patterns(20))
        assert side and np.sign(before - float(s.cost.expected())) == side


def test_what_does_not_fit_is_one_sentence():
    net, (x, t) = wide(), patterns()
    logits = [mix.logits for mix in mixes(net).values()]
    weights = [u for u in net.parameters() if u not in logits]
    loss, sgd = nn.SoftmaxCrossEntropy(), nn.SGD(weights, 0.1)
    for pair in ((nn.SGD(net.parameters(), 0.1), nn.Adam(logits)), (sgd, nn.Adam(logits[:1]))):
        with pytest.raises(ValueError, match=r"^expected one optimizer of all logits, and one of all other parameters"):
            Search(net, loss, *pair, BAND, (4,))
    for temperatures in ((5, 0), (-1, 0.1), (5,)):
        with pytest.raises(ValueError, match=r"^expected two temperatures above 0, got"):
            search(net, temperatures=temperatures)
    with pytest.raises(ValueError, match=r"^no widths of the mixes have MACs in the band below 0.02 of the most$"):
        search(net, band=Band(0.02, 0.01))
    with pytest.raises(ValueError, match=r"^expected one of the widths of each of 1, 4, got \{'1': 5, '4': 3\}$"):
        narrowed(net, {"1": 5, "4": 3}, (4,))
    for epochs, size in ((0, 10), (2, 1)):
        with pytest.raises(ValueError, match=r"^expected a whole"):
            search(net).run((x, t), (x, t), epochs, size, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"^expected at least one batch of 100 patterns in both parts$"):
        search(net).run((x, t), (x, t), 1, 100, np.random.default_rng(0))
    never = search(net, rate=0.0)
    for mix in mixes(net).values():
        mix.logits.data = np.arange(len(mix.widths)) * 1.0
    with pytest.raises(ValueError, match=r"^the net of the largest logits was never in the band, 0\.35 to 0\.50 of"):
        never.run((x, t), (x, t), 1, 10, np.random.default_rng(0))
    net.layers[0].W.data[:] = np.nan
    with pytest.raises((ValueError, FloatingPointError), match=r"nan|NaN"):
        search(net).run((x, t), (x, t), 1, 10, np.random.default_rng(0))
