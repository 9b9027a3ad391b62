"""Runtime pruning: what a sequence of actions computes and costs, against nets from which the rest is cut away."""

import itertools

import numpy as np
import pytest

import nn
from pruning.dynamic import runtime
from pruning.dynamic.runtime import FirstGroups

K = 2


def net_of(seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    first, second = (FirstGroups(C, np.random.default_rng([seed, C]), K, dtype) for C in (6, 4))
    return nn.Sequential(
        *(nn.Conv2d(1, 3, 3, rng, padding=1, dtype=dtype), nn.ReLU()),
        *(nn.Conv2d(3, 6, 3, rng, stride=2, padding=1, dtype=dtype), first, nn.ReLU()),
        *(nn.Conv2d(6, 4, 3, rng, dtype=dtype), second, nn.ReLU(), nn.GlobalAvgPool2d()),
        nn.Linear(4, 5, rng, dtype=dtype),
    )


def images(N=9, dtype=np.float64):
    rng = np.random.default_rng(7)
    return rng.standard_normal((1, 8, 8, N)).astype(dtype), rng.integers(0, 5, N)


def by_cutting(net, a, b, x, t):
    """What the second and third convolution see, and the losses, of weights cut to a and b groups, in plain NumPy."""

    def conv(x, W, bias, stride, padding):
        x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::stride, ::stride]
        return np.einsum("chwnij,ocij->ohwn", windows, W) + bias[:, None, None, None]

    layers, c, d = net.layers, a * 6 // K, b * 4 // K
    one = np.maximum(conv(x, layers[0].W.data, layers[0].b.data, 1, 1), 0)
    two = np.maximum(conv(one, layers[2].W.data[:c], layers[2].b.data[:c], 2, 1), 0)
    three = np.maximum(conv(two, layers[5].W.data[:d, :c], layers[5].b.data[:d], 1, 0), 0)
    z = layers[9].W.data[:, :d] @ three.mean(axis=(1, 2)) + layers[9].b.data[:, None]
    p = np.exp(z) / np.exp(z).sum(axis=0)
    return one.mean(axis=(0, 1, 2)), two.sum(axis=(0, 1, 2)) / (6 * 16), -np.log(p[t, np.arange(t.size)])


def test_every_sequence_computes_what_the_net_does_from_which_the_rest_is_cut():
    net, (x, t) = net_of(), images()
    looks, losses = runtime.enumerated(net, x, t)
    assert [each.shape for each in looks] == [(9,), (2, 9)] and losses.shape == (2, 2, 9)
    for a, b in itertools.product(range(K), repeat=2):
        for found, expected in zip((looks[0], looks[1][a], losses[a, b]), by_cutting(net, a + 1, b + 1, x, t)):
            np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_net_is_left_as_it_was():
    net, (x, t) = net_of(), images()
    before = net.eval().forward(x)
    net.train()
    runtime.enumerated(net, x, t)
    assert net.training and all(gate.computed == K for _, gate in runtime.decided(net))
    np.testing.assert_array_equal(net.eval().forward(x), before)


def test_the_cost_counts_multiplications_one_by_one():
    """Of the weights that are not left out, every one once for each position of the output."""
    net = net_of()
    costs, W, V = runtime.macs(net, (1, 8, 8)), net.layers[2].W.data, net.layers[5].W.data
    for a, b in itertools.product(range(K), repeat=2):
        c, d = 3 * (a + 1), 2 * (b + 1)
        assert costs[0][a] == sum(1 for _ in itertools.product(range(4), range(4), W[:c].flat))
        assert costs[1][a, b] == sum(1 for _ in itertools.product(range(2), range(2), V[:d, :c].flat))


def test_the_reward_is_minus_the_price_of_the_share_and_minus_the_loss():
    net, (x, t) = net_of(), images()
    looks, losses = runtime.enumerated(net, x, t)
    costs = runtime.macs(net, (1, 8, 8))
    process = runtime.decisions(looks, losses, runtime.quantiles(looks, 3), costs, 0.7)
    full = 16 * 9 * 3 * 6 + 4 * 9 * 6 * 4
    assert costs[0][-1] + costs[1][-1, -1] == full
    for a, b in itertools.product(range(K), repeat=2):
        share = (16 * 9 * 3 * (3 * a + 3) + 4 * 9 * (3 * a + 3) * (2 * b + 2)) / full
        np.testing.assert_allclose(process.totals()[a, b], -0.7 * share - losses[a, b], rtol=1e-12)
        np.testing.assert_allclose(process.rewards[0][a], -0.7 * 16 * 9 * 3 * (3 * a + 3) / full)


def test_bins_hold_equally_many_images_after_every_action():
    looks = (np.arange(12.0), np.stack([np.arange(12.0)[::-1], np.arange(12.0) ** 2]))
    edges = runtime.quantiles(looks, 3)
    process = runtime.decisions(looks, np.zeros((2, 2, 12)), edges, [np.ones(2), np.ones((2, 2))], 0.0)
    assert process.seen[0].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert process.seen[1].tolist() == [[2] * 4 + [1] * 4 + [0] * 4, [0] * 4 + [1] * 4 + [2] * 4]


def test_in_train_mode_every_image_has_its_own_number_of_groups_and_the_gradient_stops_at_the_others():
    gate, x = FirstGroups(6, np.random.default_rng(0), 3), np.ones((6, 1, 1, 600))
    y = gate.forward(x)
    sizes = y.sum(axis=(0, 1, 2))
    assert sorted(set(sizes)) == [2, 4, 6] and np.abs(sizes.mean() - 4) < 0.3
    assert ((y[:-1] >= y[1:]).all()) and (gate.backward(x) == y).all()
    gate.eval().computed = 2
    assert gate.forward(x[..., :1]).ravel().tolist() == [1, 1, 1, 1, 0, 0]


def test_dtypes_outlines_and_checkpoints():
    net = net_of(dtype=np.float32)
    x, t = images(dtype=np.float32)
    assert net.forward(x).dtype == np.float32 and net.eval().forward(x).dtype == np.float32
    gate = net.layers[3]
    assert FirstGroups(**gate.config()).groups == K and gate.config()["dtype"] == "float32"
    assert runtime.enumerated(net, x, t)[1].dtype == np.float64


def outline(*layers):
    return nn.Sequential(*layers)


X, T = images()
REFUSED = {
    "three groups of four channels": (lambda: FirstGroups(4, None, 3), "divides 4 channels, got 3"),
    "no groups": (lambda: FirstGroups(4, None, 0), "number of groups of at least 1"),
    "no gates": (lambda: runtime.decided(outline(nn.Conv2d(1, 4, 3, None))), "FirstGroups"),
    "no chain": (lambda: runtime.decided(nn.Conv2d(1, 4, 3, None)), "expected a Sequential"),
    "behind an activation": (
        lambda: runtime.decided(outline(nn.Conv2d(1, 4, 3, None), nn.ReLU(), FirstGroups(4, None))),
        "behind them",
    ),
    "a convolution behind the last": (
        lambda: runtime.decided(outline(nn.Conv2d(1, 4, 3, None), FirstGroups(4, None), nn.Conv2d(4, 4, 3, None))),
        "last convolutions",
    ),
    "two numbers of groups": (
        lambda: runtime.decided(
            outline(
                *(nn.Conv2d(1, 4, 3, None), FirstGroups(4, None, 2)),
                *(nn.Conv2d(4, 4, 3, None), FirstGroups(4, None, 4)),
            )
        ),
        "one number",
    ),
    "a negative price": (lambda: runtime.decisions((X,), X, (X,), [X], -1.0), "price of 0 or more"),
    "no bins": (lambda: runtime.quantiles((X,), 0), "number of bins"),
    "fewer labels": (lambda: runtime.enumerated(net_of(), X, T[1:]), "8"),
}


@pytest.mark.parametrize("call, message", REFUSED.values(), ids=REFUSED)
def test_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
