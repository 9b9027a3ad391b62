"""Expected costs: against enumeration, counts of real nets, autograd; what is no chain is refused."""

import math

import numpy as np
import pytest

import nn
from pruning.architectures.transformable import narrowed
from pruning.architectures.width_cost import WidthCost
from pruning.architectures.width_mix import WidthMix
from pruning.counts import count


def mix(rng, *widths):
    layer = WidthMix(*map(nn.BatchNorm, widths), rng=rng)
    layer.logits.data = rng.standard_normal(len(widths))
    return layer


def images(rng):
    """Three mixes, a convolution without one, a pool, means, and a Linear behind a flatten."""
    layers = [nn.Conv2d(2, 5, 3, rng, padding=1), mix(rng, 2, 3, 5), nn.ReLU(), nn.Conv2d(5, 4, (3, 2), rng)]
    layers += [nn.ReLU(), nn.Conv2d(4, 6, 2, rng, stride=2), mix(rng, 1, 4, 6), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(nn.Sequential(*layers), nn.Linear(24, 7, rng), mix(rng, 3, 7), nn.ReLU(), nn.Linear(7, 3, rng))


def test_expected_macs_equal_enumeration():
    for seed in range(2):
        cost = WidthCost(net := images(np.random.default_rng(seed)), (2, 6, 6))
        p = {name: layer.probabilities() for name, layer in cost.mixes.items()}
        total, sure = 0.0, 0.0
        for widths in cost.architectures():
            chance = math.prod(p[name][cost.mixes[name].widths.index(c)] for name, c in widths.items())
            total, sure = total + chance * count(narrowed(net, widths, (2, 6, 6)), (2, 6, 6)).macs, sure + chance
        assert sure == pytest.approx(1, rel=1e-14)
        assert float(cost.expected()) == pytest.approx(total, rel=1e-14)


def test_macs_of_all_widths_are_those_of_the_plain_nets_and_compute_the_same():
    rng = np.random.default_rng(0)
    cost, x = WidthCost(net := images(rng), (2, 6, 6)), rng.standard_normal((2, 6, 6, 4))
    assert cost.most == count(narrowed(net, {"0.1": 5, "0.6": 6, "2": 7}, (2, 6, 6)), (2, 6, 6)).macs
    for widths in cost.architectures():
        small = narrowed(net, widths, (2, 6, 6)).eval()
        assert count(small, (2, 6, 6)).macs == cost.macs(widths)
        for name, layer in cost.mixes.items():
            layer.logits.data = np.array([float(c == widths[name]) for c in layer.widths])
        np.testing.assert_allclose(small.forward(x), net.eval().forward(x), rtol=1e-12, atol=1e-13)
        assert cost.chosen() == cost.macs(widths)


def test_the_gradient_of_the_expected_macs_equals_the_complex_step_and_autograd():
    cost = WidthCost(images(np.random.default_rng(1)), (2, 6, 6))
    found = cost.gradient()
    for name, layer in cost.mixes.items():
        a = layer.logits.data
        for k in range(len(a)):
            layer.logits.data = a + 1e-30j * np.eye(len(a))[k]
            assert found[name][k] == pytest.approx(cost.expected().imag / 1e-30, rel=1e-12)
        layer.logits.data = a
    torch = pytest.importorskip("torch", reason="torch is not installed (extra verify)")
    logits = {name: torch.from_numpy(layer.logits.data).requires_grad_() for name, layer in cost.mixes.items()}
    for name, layer in cost.mixes.items():
        layer.logits.data = logits[name]
    cost.expected().backward()
    for name, a in logits.items():
        np.testing.assert_allclose(found[name], a.grad.numpy(), rtol=1e-12)


def test_the_same_on_every_library(library):
    net = images(np.random.default_rng(2))
    ours = WidthCost(net, (2, 6, 6))
    expected, gradient = float(ours.expected()), ours.gradient()
    theirs = WidthCost(net.to(library.xp), (2, 6, 6))
    assert float(theirs.expected()) == pytest.approx(expected, rel=1e-14)
    for name, g in theirs.gradient().items():
        np.testing.assert_allclose(nn.backend.to_numpy(g), gradient[name], rtol=1e-13)


def test_one_channel_more_of_the_shared_width_costs_both_neighbours():
    rng = np.random.default_rng(0)
    layers = [nn.Conv2d(1, 4, 3, rng, padding=1), mix(rng, 2, 4), nn.ReLU(), nn.Conv2d(4, 6, 3, rng, padding=1)]
    cost = WidthCost(nn.Sequential(*layers, mix(rng, 3, 6), nn.GlobalAvgPool2d(), nn.Linear(6, 10, rng)), (1, 5, 5))
    assert cost.macs({"1": 3, "4": 5}) - cost.macs({"1": 2, "4": 5}) == 9 * 25 * (1 + 5)
    assert cost.macs({"1": 2, "4": 5}) - cost.macs({"1": 2, "4": 4}) == 9 * 25 * 2 + 10


def test_what_is_no_chain_of_mixes_is_one_sentence():
    rng = np.random.default_rng(0)
    conv = lambda i, o, **more: nn.Conv2d(i, o, 3, rng, padding=1, **more)  # noqa: E731
    refused = [
        (nn.Sequential(conv(2, 4)), "^expected a net with layers that mix widths, got none$"),
        (nn.Sequential(conv(2, 4), nn.ReLU(), mix(rng, 2, 4)), "^expected 2 directly behind the layer"),
        (nn.Sequential(mix(rng, 1, 2)), "^expected 0 directly behind the layer whose channels it mixes$"),
        (nn.Sequential(conv(2, 4, groups=2), mix(rng, 2, 4)), "^expected a convolution of all channels, got 0"),
        (
            nn.Sequential(conv(2, 4), mix(rng, 2, 4), nn.Residual(conv(4, 4))),
            "^expected a chain of layers, got the Residual 2",
        ),
        (
            nn.Sequential(conv(2, 4), mix(rng, 2, 4), nn.Select([0, 1])),
            "^expected layers that keep their channels, got the Select 2$",
        ),
    ]
    for net, message in refused:
        with pytest.raises(ValueError, match=message):
            WidthCost(net, (2, 5, 5))
    with pytest.raises(ValueError, match="expected the shape of one input"):
        WidthCost(images(rng), 7)
    with pytest.raises(TypeError, match="expected a net, got list"):
        WidthCost([], (2, 6, 6))
