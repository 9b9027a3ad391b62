"""Channels that weights of zero, or scales of zero, make constant: where they are, and what surgery makes of it."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from random_nets import RandomNet, choices

import nn
from nn import gradcheck
from pruning import surgery
from pruning.channels.tracing import trace
from pruning.surgery.constants import Emitted

TOLERANCE = 1e-12
SHAPE = (2, 6, 5)


def norm(channels, rng, stopped=(), beta=None):
    """A batch norm whose scale is zero on some channels, with these shifts there."""
    layer = nn.BatchNorm(channels)
    layer.gamma.data, layer.beta.data = rng.uniform(0.5, 1.5, channels), rng.standard_normal(channels)
    layer.running_mean, layer.running_variance = rng.standard_normal(channels), rng.uniform(0.5, 2, channels)
    layer.gamma.data[list(stopped)] = 0
    if beta is not None:
        layer.beta.data[list(stopped)] = beta
    return layer


def filters(net, border="refuse"):
    """{name: how many filters are left} of the convolutions, in a net that computes the same."""
    x = np.random.default_rng(9).standard_normal((*SHAPE, 3))
    small = surgery.remove_unused_paths(net.eval(), SHAPE, border)
    assert gradcheck.relative_error(small.forward(x), net.forward(x)) <= TOLERANCE
    return {name: module.c_out for name, module in small.named_modules() if isinstance(module, nn.Conv2d)}


def chain(padding, stopped, beta):
    rng = np.random.default_rng(0)
    layers = [nn.Conv2d(2, 5, 3, rng), norm(5, rng, stopped, beta), nn.ReLU(), nn.Conv2d(5, 3, 2, rng, padding=padding)]
    return nn.Sequential(*layers).eval()


def test_a_chain():
    """0.4 behind the norm is 0.4 behind the ReLU and no bias makes up for it at a border of zeros; -0.2 is 0."""
    for padding, border, left in ((0, "refuse", 3), (0, "map", 3), (1, "refuse", 4), (1, "map", 3)):
        assert filters(chain(padding, [1, 3], [0.4, -0.2]), border) == {"0": left, "3": 3}
    assert filters(chain(1, range(5), 0.0)) == {"0": 1, "3": 3}
    net, x = chain(0, [1], 0.4), np.random.default_rng(9).standard_normal((*SHAPE, 3))
    keep = {"0.W": [0, 2, 3, 4]}
    small = surgery.remove(surgery.fold_constants(net, keep, SHAPE), keep)
    assert gradcheck.relative_error(small.forward(x), net.forward(x)) <= TOLERANCE
    with pytest.raises(ValueError, match=r"row 0 of 0.W is read by 3 and is not constant there: neither the weights"):
        surgery.fold_constants(net, {"0.W": [1, 2, 3, 4]}, SHAPE)


def test_a_subsampling():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3, rng), nn.Subsampling(4, 2, rng), nn.Tanh(), nn.Conv2d(4, 3, 1, rng))
    net.layers[1].coefficient.data[[0, 2]], net.layers[1].b.data[[0, 2]] = 0, 0.7
    assert filters(net) == {"0": 2, "3": 3}


def block(shortcut, stopped_in, stopped_body, stopped_way):
    """A stem, a residual block of two convolutions with norms, a head; where a scale is zero, the shift is 0.3."""
    rng = np.random.default_rng(0)
    body = nn.Sequential(
        nn.Conv2d(4, 3, 1, rng), norm(3, rng, stopped_in, 0.3), nn.ReLU(), nn.Conv2d(3, 4, 1, rng),
        norm(4, rng, stopped_body, 0.3),
    )  # fmt: skip
    way = norm(4, rng, stopped_way, 0.3)
    stem = [nn.Conv2d(2, 4, 3, rng)] if shortcut else [nn.Conv2d(2, 4, 3, rng), way]
    end = nn.Residual(body, nn.Sequential(nn.Conv2d(4, 4, 1, rng), way) if shortcut else None)
    return nn.Sequential(*stem, end, nn.ReLU(), nn.Conv2d(4, 3, 2, rng))


def test_residual_blocks():
    """In a sum, both summands have to be constant: channel 1; inside the body, the norm alone decides."""
    assert filters(block(False, [0], [1, 2], [1, 3])) == {"0": 3, "2.body.0": 2, "2.body.3": 3, "4": 3}
    assert filters(block(True, [0], [1, 2], [1, 3])) == {
        "0": 4, "1.body.0": 2, "1.body.3": 3, "1.shortcut.0": 3, "3": 3
    }  # fmt: skip


def test_what_is_seen_before_the_norm_too():
    """The shortcut around a norm carries what the norm stops, and so does the other branch of a concatenation."""
    rng = np.random.default_rng(0)
    before = nn.Residual(nn.Sequential(norm(4, rng, [1], 0.3), nn.ReLU(), nn.Conv2d(4, 4, 1, rng)))
    net = nn.Sequential(nn.Conv2d(2, 4, 3, rng), before, nn.Conv2d(4, 3, 1, rng))
    assert filters(net) == {"0": 4, "1.body.2": 4, "2": 3}
    both = nn.Concat(nn.Sequential(norm(4, rng, [1, 2], 0.3), nn.ReLU()), nn.Identity())
    net = nn.Sequential(nn.Conv2d(2, 4, 3, rng), both, nn.Conv2d(8, 3, 1, rng))
    assert filters(net) == {"0": 4, "2": 3}
    net.layers[2].W.data[:, 4 + 2] = 0  # channel 2 is read behind the norm alone
    assert filters(net) == {"0": 3, "2": 3}


def test_a_norm_behind_a_concatenation():
    rng = np.random.default_rng(0)
    branches = nn.Concat(nn.Conv2d(2, 3, 1, rng), nn.Conv2d(2, 4, 1, rng))
    net = nn.Sequential(branches, norm(7, rng, [1, 3, 4], 0.3), nn.ReLU(), nn.Conv2d(7, 2, 2, rng))
    assert filters(net) == {"0.0": 2, "0.1": 2, "3": 2}


@pytest.mark.slow
@settings(max_examples=40)
@given(*choices())
def test_random_nets_with_scales_and_weights_of_zero(blocks, activation, flatten, seed):
    """A channel is constant exactly if no input changes it, and the small net computes the same."""
    rng = np.random.default_rng(seed)
    built = RandomNet(blocks, activation, flatten, rng)
    net, shape = built.net, built.input_shape
    for name, parameter in net.named_parameters():
        if name.endswith(("gamma", "coefficient", "W")):
            parameter.data[rng.random(parameter.shape[0]) < 0.3] = 0
        if name.endswith("W"):
            parameter.data[:, rng.random(parameter.shape[1]) < 0.3] = 0
    emitted, seen, watched = Emitted(net, trace(net), shape), {}, copy.deepcopy(net)
    for name, module in watched.named_modules():
        module.forward = lambda x, name=name, forward=module.forward: seen.setdefault(name, forward(x))
    watched.forward(rng.standard_normal((*shape, 6)))
    for name, out in seen.items():
        rows, found = out.reshape(len(out), -1, 6), emitted.outputs[name]
        steady = np.ptp(rows, axis=2).max(axis=1) <= TOLERANCE
        assert np.all(steady[found.constant])
        np.testing.assert_allclose(out[found.constant, ..., :1], found.x[found.constant], rtol=0, atol=TOLERANCE)
        assert np.all(np.ptp(rows, axis=1).max(axis=1)[found.constant & ~found.uneven] <= TOLERANCE)
        if out.ndim == 4 and activation != "relu":  # a single pixel may be steady, and a ReLU may be shut
            assert np.all(found.constant[steady])
    for border in ("refuse", "map"):
        small = surgery.remove_unused_paths(net, shape, border)
        x = rng.standard_normal((*shape, 3))
        assert gradcheck.relative_error(small.forward(x), net.forward(x)) <= TOLERANCE
        again = surgery.remove_unused_paths(small, shape, border)
        assert nn.checkpoint.architecture(again) == nn.checkpoint.architecture(small)


def dead(layer, row, b):
    """The layer with one row of weights at zero, and this bias there."""
    layer.W.data[row], layer.b.data[row] = 0, b
    return layer


@pytest.mark.parametrize("padding", [((0, 1), (0, 0)), ((0, 0), (0, 1)), ((0, 0), (1, 0)), ((1, 0), (0, 0))])
def test_a_border_on_one_side(padding):
    rng = np.random.default_rng(0)
    net = nn.Sequential(dead(nn.Conv2d(2, 4, 3, rng), 1, 0.4), nn.ReLU(), nn.Conv2d(4, 3, 2, rng, padding=padding))
    assert filters(net) == {"0": 4, "2": 3} and filters(net, "map") == {"0": 3, "2": 3}


def uneven(rng):
    """A constant of 0.5, and a padded convolution whose first row reads nothing else, the others anything else."""
    padded = nn.Conv2d(3, 3, 3, rng, padding=1)
    padded.W.data[0], padded.W.data[1:, 0], padded.W.data[0, 0], padded.b.data[0] = 0, 0, 1, 0
    return [dead(nn.Conv2d(2, 3, 3, rng), 0, 0.5), nn.ReLU(), padded]


def test_a_scale_of_zero_makes_an_uneven_constant_even():
    rng = np.random.default_rng(0)
    net = nn.Sequential(*uneven(rng), norm(3, rng, [0], 0.3), nn.ReLU(), nn.Conv2d(3, 3, 2, rng))
    assert filters(net) == {"0": 2, "2": 2, "5": 3}


def test_an_uneven_constant_of_which_the_activation_leaves_zero_is_nothing_at_a_border():
    rng = np.random.default_rng(0)
    layers = uneven(rng)
    layers[2].W.data[0, 0] = -1
    assert filters(nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(3, 3, 2, rng))) == {"0": 2, "2": 2, "4": 3}


def test_an_uneven_constant_is_followed_through_a_choice_of_channels():
    rng = np.random.default_rng(0)
    for indices in ([2, 0, 1], [0, 1, 2]):
        net = nn.Sequential(*uneven(rng), nn.Select(indices), nn.Conv2d(3, 3, 2, rng))
        assert filters(net) == {"0": 3, "2": 3, "4": 3}


def test_who_does_not_read_an_uneven_constant_stays_even():
    rng = np.random.default_rng(0)
    layers = uneven(rng)
    layers[2].W.data[1], layers[2].b.data[1] = 0, 0.3
    assert filters(nn.Sequential(*layers, nn.Conv2d(3, 3, 2, rng))) == {"0": 3, "2": 2, "3": 3}


@pytest.mark.parametrize(
    ("layers", "b", "left"),
    [
        ([nn.AvgPool2d(2, stride=1)], 0.5, 2),
        ([nn.AvgPool2d(3, stride=1, padding=1)], 0.0, 2),  # zeros are zeros at every border
        ([nn.AvgPool2d(3, stride=1, padding=1), nn.Sigmoid()], 0.0, 2),
        ([nn.AvgPool2d(3, stride=1, padding=1)], 0.5, 3),
        ([nn.AvgPool2d(3, stride=1, padding=1, count_padding=False)], 0.5, 2),
    ],
)
def test_means(layers, b, left):
    rng = np.random.default_rng(0)
    net = nn.Sequential(dead(nn.Conv2d(2, 3, 3, rng), 0, b), *layers, nn.Conv2d(3, 2, 2, rng))
    assert list(filters(net).values()) == [left, 2]


def test_a_constant_through_the_positions_of_a_zero_padded_shortcut():
    rng = np.random.default_rng(0)
    body = dead(nn.Conv2d(3, 5, 1, rng), 2, 0.3)
    end = nn.Residual(body, nn.ZeroPadShortcut(2, positions=[1, 2, 4]))
    net = nn.Sequential(dead(nn.Conv2d(2, 3, 1, rng), 1, 0.4), end, nn.ReLU(), nn.Conv2d(5, 2, 2, rng))
    assert filters(net) == {"0": 2, "1.body": 4, "3": 2}


def test_the_new_channels_of_a_zero_padded_shortcut_are_even():
    rng = np.random.default_rng(0)
    stem = uneven(rng)
    body = dead(nn.Conv2d(3, 4, 1, rng), 3, 0.3)
    net = nn.Sequential(*stem, nn.Residual(body, nn.ZeroPadShortcut(1)), nn.Conv2d(4, 2, 2, rng))
    assert filters(net)["3.body"] == 3


def test_layers_that_would_be_emptied_keep_no_more_than_one_filter():
    """A net of zeros: every layer keeps one, and the one that it reads is the one that is kept."""
    rng = np.random.default_rng(0)
    last = nn.Conv2d(4, 3, 2, rng)
    last.W.data[:] = 0
    net = nn.Sequential(nn.Conv2d(2, 5, 3, rng), nn.ReLU(), nn.Conv2d(5, 4, 2, rng), nn.ReLU(), last)
    net.layers[2].W.data[0, :4] = 0  # the first of the second layer reads the last of the first
    assert filters(net) == {"0": 1, "2": 1, "4": 3}
