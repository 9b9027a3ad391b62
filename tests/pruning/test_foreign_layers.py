"""Layers that are written elsewhere: cut, folded and counted where they say what they do to a channel, or refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from random_nets import RandomNet, choices

import nn
from nn import gradcheck
from nn.initializers import draw, ones
from pruning import channels, surgery
from pruning.channels.tracing import trace
from pruning.counts import CONVENTIONS, count

SHAPE = (2, 6, 5)


class Scale(nn.Channelwise):
    """y_c = s_c x_c."""

    def __init__(self, channels):
        self.channels = channels
        self.s = draw(ones, (channels,), np.random.default_rng(0), np.float64)

    def forward(self, x):
        return (self.s.data * x.T).T

    def factor(self):
        return self.s.data


class Gate(nn.Channelwise):
    """y_c = z_c x_c, z_c drawn in train mode; a temperature for all channels, and a floor for each."""

    buffers = ("temperature", "floor")

    def __init__(self, channels, rng, dtype=np.float64):
        self.channels, self.rng, self.dtype = channels, rng, dtype
        self.logit = draw(ones, (channels,), np.random.default_rng(0), dtype)
        self.temperature, self.floor = np.asarray(0.5, dtype), np.zeros(channels, dtype)

    def config(self):
        return {"channels": self.channels, "rng": None, "dtype": self.dtype}

    def forward(self, x):
        z = self.rng.random(self.channels) if self.training else self.factor()
        return (z * x.T).T

    def factor(self):
        return np.maximum(self.logit.data / self.temperature, self.floor)


class VariationalLinear(nn.Linear):
    """A Linear with a second number for each weight, and one for the layer."""

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        self.log_sigma = draw(ones, self.W.shape, np.random.default_rng(0), np.float64)
        self.rate = draw(ones, (1,), np.random.default_rng(0), np.float64)


class VariationalConv2d(nn.Conv2d):
    """A Conv2d with a second number for each weight."""

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        self.log_sigma = draw(ones, self.W.shape, np.random.default_rng(0), np.float64)


class Strange(nn.Module):
    """A layer of which nobody knows anything, without parameters."""

    def forward(self, x):
        return x


class StrangeWithWeights(Strange):
    """The same with a parameter."""

    def __init__(self):
        self.w = draw(ones, (3,), np.random.default_rng(0), np.float64)


def integers(net, rng):
    """The net with small whole numbers everywhere, on which no sum is rounded."""
    for parameter in net.parameters():
        parameter.data = rng.integers(-3, 4, parameter.shape) * 1.0
    return net


def scaled(rng):
    """Two convolutions, each with a scale behind it, and a flatten."""
    layers = [nn.Conv2d(2, 5, 3, rng), Scale(5), nn.ReLU(), nn.Conv2d(5, 4, 2, rng), Scale(4), nn.ReLU(), nn.Flatten()]
    return integers(nn.Sequential(*layers, nn.Linear(24, 3, rng)), rng).eval()


def test_a_scale_is_cut():
    rng = np.random.default_rng(0)
    net, x = scaled(rng), rng.integers(-3, 4, (*SHAPE, 4)) * 1.0
    before = net.layers[1].s.data.copy()
    small = surgery.remove(net, {"0.W": [0, 2, 4], "3.W": [1, 3]})
    np.testing.assert_array_equal(small.layers[1].s.data, before[[0, 2, 4]])
    assert (small.layers[1].channels, small.layers[4].channels) == (3, 2)
    for layer, gone in ((0, [1, 3]), (3, [0, 2])):
        net.layers[layer].W.data[gone], net.layers[layer].b.data[gone] = 0, 0
    np.testing.assert_array_equal(small.forward(x), net.forward(x))
    text = surgery.preview(net, {"0.W": [0, 2, 4]})
    assert "1      Scale   s       5        3        2 rows: 1, 3" in text
    assert "follower  1      Scale   s 0-4" in channels.table(net)


def test_what_a_scale_of_zero_stops_goes():
    rng = np.random.default_rng(0)
    net, x = scaled(rng), rng.integers(-3, 4, (*SHAPE, 4)) * 1.0
    net.layers[1].s.data[:], net.layers[4].s.data[:] = [1, 0, 2, 0, 1], [2, 1, 0, 1]
    small = surgery.remove_unused_paths(net, SHAPE)
    assert (small.layers[0].c_out, small.layers[3].c_out) == (3, 3)
    np.testing.assert_array_equal(small.forward(x), net.forward(x))
    net.layers[1].s.data[0] = 0
    assert surgery.remove_unused_paths(net, SHAPE).layers[0].c_out == 2


def test_a_scale_is_folded_into_the_layer_in_front():
    rng = np.random.default_rng(0)
    net, x = scaled(rng), rng.integers(-3, 4, (*SHAPE, 4)) * 1.0
    folded = surgery.fold_batchnorm(net)
    assert [type(folded.layers[i]) for i in (1, 4)] == [nn.Identity, nn.Identity]
    np.testing.assert_array_equal(folded.forward(x), net.forward(x))
    s = net.layers[1].s.data
    np.testing.assert_array_equal(folded.layers[0].W.data, s[:, None, None, None] * net.layers[0].W.data)
    net.layers[1].s.data[2] = 0
    constants = surgery.fold_constants(net, {"0.W": [0, 1, 3, 4]}, SHAPE)
    assert not constants.layers[3].W.data[:, 2].any()
    np.testing.assert_array_equal(constants.forward(x), net.forward(x))


def test_a_scale_is_counted():
    net = scaled(np.random.default_rng(0))
    full = {layer.name: layer for layer in count(net, SHAPE, "full").layers}
    assert (full["1"].kind, full["1"].macs, full["1"].parameters) == ("Scale", 5 * 4 * 3, 5)
    assert {layer.kind for layer in count(net, SHAPE).layers} == {"Conv2d", "Linear"}


@settings(max_examples=25)
@given(*choices())
def test_random_nets_with_a_scale_in_the_place_of_every_norm(blocks, activation, flatten, seed):
    """Cut by `remove` it is the masked net, as with batch norm."""
    rng = np.random.default_rng(seed)
    built = RandomNet(blocks, activation, flatten, rng)
    for module in built.net.modules():
        for index, layer in enumerate(getattr(module, "layers", [])):
            if isinstance(layer, nn.BatchNorm):
                module.layers[index] = Scale(layer.channels)
                module.layers[index].s.data = rng.standard_normal(layer.channels)
                for members in built.members.values():
                    members[:] = [(module.layers[index] if each is layer else each, row) for each, row in members]
    keep, gone = built.cut()
    twin = built.masked(gone)
    if built.reasons(gone):
        return
    small = surgery.remove(surgery.fold_constants(twin, keep, built.input_shape, "map"), keep)
    x = rng.standard_normal((*built.input_shape, 3))
    assert gradcheck.relative_error(small.eval().forward(x), twin.eval().forward(x)) <= 1e-12
    sizes = {name: module.channels for name, module in twin.named_modules() if isinstance(module, Scale)}
    assert all(module.channels <= sizes[name] for name, module in small.named_modules() if isinstance(module, Scale))


def test_a_gate_keeps_its_generator_and_what_all_channels_share():
    rng = np.random.default_rng(0)
    gate = Gate(4, np.random.default_rng(5), np.float32)
    gate.logit.data, gate.floor = np.arange(4, dtype=np.float32), np.arange(4, dtype=np.float32)
    net = nn.Sequential(nn.Conv2d(2, 4, 1, rng), gate, nn.Conv2d(4, 2, 1, rng))
    small = surgery.remove(net, {"0.W": [1, 3]}).layers[1]
    assert small.logit.data.tolist() == small.floor.tolist() == [1, 3] and small.temperature == 0.5
    assert {a.dtype for a in (small.logit.data, small.floor, small.temperature)} == {np.dtype(np.float32)}
    assert small.rng is not gate.rng and small.rng.random() == np.random.default_rng(5).random()
    assert surgery.fold_batchnorm(net).layers[0].W.data[0].any() == 0  # the factor of channel 0 is zero


def test_what_a_subclass_has_for_each_weight_is_cut_with_it():
    rng = np.random.default_rng(0)
    grouped = VariationalConv2d(6, 4, 2, rng, groups=2)
    layers = [VariationalConv2d(2, 6, 3, rng), nn.ReLU(), grouped, nn.Flatten(), VariationalLinear(24, 3, rng)]
    net = nn.Sequential(*layers)
    for layer in (layers[0], grouped, layers[4]):
        layer.log_sigma.data = layer.W.data + 1
        layer.log_sigma.mask = layer.W.mask = (layer.W.data > 0) * 1.0
    net.layers[4].rate.data[:] = 7
    small = surgery.remove(net, {"0.W": [0, 2, 3, 4], "2.W": [1, 3]})
    columns = surgery.remove_columns(net, {"4.W": [0, 5, 7], "2.W": [1, 2]})
    for cut, name in ((small, "0"), (small, "2"), (small, "4"), (columns, "2"), (columns, "4.1")):
        layer = dict(cut.named_modules())[name]
        np.testing.assert_array_equal(layer.log_sigma.data, layer.W.data + 1)
        np.testing.assert_array_equal(layer.log_sigma.mask, layer.W.mask)
    assert small.layers[2].log_sigma.shape == (2, 2, 2, 2) and small.layers[4].rate.data.tolist() == [7]
    assert count(small, SHAPE).macs == 4 * 18 * 12 + 2 * 8 * 6 + 3 * 12
    assert "consumer  4      VariationalLinear  W, log_sigma" in channels.table(net)
    assert "VariationalLinear  W, log_sigma  3x24     3x12     12 columns:" in surgery.preview(net, {"2.W": [1, 3]})


@pytest.mark.parametrize("strange", [Strange, StrangeWithWeights])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_an_unknown_layer_is_counted_under_no_convention(strange, convention):
    net = nn.Sequential(nn.Conv2d(2, 3, 3, None), nn.Sequential(strange()))
    message = rf"^1\.0 is a {strange.__name__}, of which it is not known how many multiply-accumulates it has$"
    with pytest.raises(ValueError, match=message):
        count(net, SHAPE, convention)
    with pytest.raises(ValueError, match=f"^the net is a {strange.__name__}, of which"):
        count(strange(), SHAPE, convention)


def test_an_unknown_layer_is_not_traced():
    net = nn.Sequential(nn.Conv2d(2, 3, 3, None), Strange(), nn.Conv2d(3, 2, 1, None))
    for ask in (trace, channels.groups, channels.table, lambda n: surgery.preview(n, {"0.W": [0]})):
        with pytest.raises(ValueError, match=r"^1 is a Strange, of which it is not known what becomes of a channel$"):
            ask(net)


def test_layers_without_a_multiplication_count_as_such():
    """Every layer of nn has a number; zero only for those that multiply nothing."""
    rng = np.random.default_rng(0)
    free = [nn.ReLU(), nn.Tanh(), nn.Identity(), nn.MaxPool2d(2), nn.Dropout(0.5, rng), nn.Flatten()]
    free += [nn.Select([0]), nn.ZeroPadShortcut(1)]
    costly = [
        nn.AvgPool2d(2),
        nn.GlobalAvgPool2d(),
        nn.BatchNorm(2),
        nn.Subsampling(2, 2, rng),
        nn.Conv2d(2, 1, 1, rng),
    ]
    assert [count(layer, SHAPE, "full").macs for layer in free] == [0] * len(free)
    assert all(count(layer, SHAPE, "full").macs > 0 for layer in costly)


def test_a_layer_that_cannot_be_built_again_is_refused_in_one_sentence():
    class Forgetful(Scale):
        def __init__(self, channels, strength):
            super().__init__(channels)
            self.strength = strength

    net = nn.Sequential(nn.Conv2d(2, 4, 1, np.random.default_rng(0)), Forgetful(4, 0.5), nn.Conv2d(4, 2, 1, None))
    with pytest.raises(ValueError, match=r"^a Forgetful cannot be built again from its config\(\).*strength"):
        surgery.remove(net, {"0.W": [0, 1]})
