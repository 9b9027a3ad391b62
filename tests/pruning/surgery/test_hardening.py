"""Random gates become factors of the weights around them, what is closed goes, and what draws noise is not cut."""

import numpy as np
import pytest
from noisy_layers import CoinGate, ConcreteGate, Jitter

import nn
from nn import gradcheck
from pruning import channels, surgery
from pruning.channels.tracing import trace
from pruning.counts import count

TOLERANCE = 1e-12
CLOSED, OPEN = -5.0, 5.0


def gate(C, rng, closed=(1,), opened=(0,)):
    layer = ConcreteGate(C, rng)
    layer.a.data[list(closed)], layer.a.data[list(opened)] = CLOSED, OPEN
    return layer


def norm(C, rng):
    layer = nn.BatchNorm(C)
    layer.gamma.data, layer.beta.data = rng.standard_normal((2, C))
    layer.running_mean, layer.running_variance = rng.standard_normal(C), rng.uniform(0.5, 2, C)
    return layer


def nets(name):
    """The net, the shape of an input, and what stands in the places of its gates afterwards."""
    rng = np.random.default_rng(list(NETS).index(name))
    dense, conv = (lambda i, o: nn.Linear(i, o, rng)), (lambda i, o, k=2: nn.Conv2d(i, o, k, rng, padding=k // 2))
    layers, shape, kinds = NETS[name](rng, dense, conv)
    for layer in layers:
        for name_, u in layer.named_parameters():
            u.data = u.data + 0.1 if name_ in ("b", "body.b") else u.data
    return nn.Sequential(*layers).eval(), shape, kinds


def chain(rng, dense, conv):
    return [dense(4, 5), gate(5, rng), nn.Tanh(), dense(5, 3), nn.ReLU(), gate(3, rng), dense(3, 2)], (4,), {}


def inputs(rng, dense, conv):
    return [gate(4, rng), dense(4, 5), nn.Tanh(), gate(5, rng), nn.Dropout(0.5, rng), dense(5, 2)], (4,), {}


def batch_norm(rng, dense, conv):
    layers = [conv(2, 6), norm(6, rng), gate(6, rng), nn.ReLU(), conv(6, 4, 3), gate(4, rng), norm(4, rng), nn.ReLU()]
    return [*layers, nn.GlobalAvgPool2d(), gate(4, rng, (3,)), dense(4, 2)], (2, 5, 6), {}


def flatten(rng, dense, conv):
    layers = [conv(2, 4), nn.ReLU(), gate(4, rng), nn.ReLU(), nn.MaxPool2d(2), nn.AvgPool2d(2, 1), nn.Flatten()]
    return [*layers, dense(8, 3), nn.Tanh(), gate(3, rng), dense(3, 2)], (2, 4, 5), {}


def residual(rng, dense, conv):
    body = nn.Sequential(conv(4, 6, 3), norm(6, rng), gate(6, rng), nn.ReLU(), conv(6, 4, 3), gate(4, rng, (2,)))
    layers = [conv(2, 4), nn.ReLU(), gate(4, rng, (), (0,)), nn.Residual(body), nn.ReLU(), nn.Flatten(), dense(80, 3)]
    return layers, (2, 3, 4), {"2": nn.Scale}  # in front of a block there are no weights to take it up


def grouped(rng, dense, conv):
    behind = nn.Conv2d(6, 4, (2, 3), rng, groups=2, padding=1)
    return [conv(2, 6), nn.Tanh(), gate(6, rng, (1, 4)), behind, nn.Flatten(), dense(96, 2)], (2, 4, 3), {}


def some_columns(rng, dense, conv):
    behind = nn.Conv2d(6, 4, (2, 3), rng, groups=2, padding=1, columns=[0, 3, 5, 7, 8, 11, 17])
    only = nn.Conv2d(4, 5, 2, rng, columns=[0, 2, 4, 7, 8, 9, 15])
    layers = [conv(2, 6), nn.Tanh(), gate(6, rng, (1, 4)), behind, nn.Tanh(), gate(4, rng), only, nn.Flatten()]
    return [*layers, dense(75, 2)], (2, 4, 3), {"5": nn.Identity}


def tapped(rng, dense, conv):
    layers = [dense(4, 5), nn.Tanh(), gate(5, rng), nn.Tap(), dense(5, 3), nn.Tanh(), gate(3, rng), nn.Tanh()]
    return [*layers, dense(3, 2)], (4,), {"2": nn.Scale, "6": nn.Scale}


def concatenated(rng, dense, conv):
    branches = nn.Concat(gate(4, rng), nn.Sequential(conv(4, 3, 3), gate(3, rng)))
    return [conv(2, 4), nn.ReLU(), branches, nn.Flatten(), dense(84, 2)], (2, 2, 3), {"2.0": nn.Scale}


NETS = {
    f.__name__: f for f in (chain, inputs, batch_norm, flatten, residual, grouped, some_columns, tapped, concatenated)
}


@pytest.mark.parametrize("name", NETS)
def test_the_hardened_net_is_the_gated_net_in_eval_mode(name):
    net, shape, kinds = nets(name)
    x = np.random.default_rng(9).standard_normal((*shape, 5))
    before = gradcheck.flat(net)
    plain = surgery.harden(net)
    assert gradcheck.relative_error(plain.forward(x), net.forward(x)) <= TOLERANCE
    np.testing.assert_array_equal(gradcheck.flat(net), before)
    layers = dict(plain.named_modules())
    for place, layer in net.named_modules():
        if isinstance(layer, nn.Gate):
            assert type(layers[place]) is kinds.get(place, nn.Identity), place
        else:
            assert type(layers[place]) is type(layer)
    assert not any(key.endswith((".a", ".tilt")) for key, _ in plain.named_parameters())
    assert plain.train().forward(x).shape == net.forward(x).shape


@pytest.mark.parametrize("name", sorted(NETS.keys() - {"some_columns"}))  # those of a group with columns all stay
def test_what_is_closed_is_removed_and_the_counts_are_of_what_is_left(name):
    net, shape, _ = nets(name)
    x = np.random.default_rng(9).standard_normal((*shape, 5))
    plain = surgery.harden(net)
    small = surgery.remove_unused_paths(plain, shape, border="map")
    assert gradcheck.relative_error(small.forward(x), net.forward(x)) <= TOLERANCE
    assert count(small, shape).macs < count(plain, shape).macs == count(net, shape).macs
    assert count(small, shape, "full").parameters < count(net, shape, "full").parameters


def test_a_closed_channel_leaves_zeros_in_front_or_behind():
    net, shape, _ = nets("chain")
    plain = surgery.harden(net)
    assert not plain.layers[0].W.data[1].any() and plain.layers[0].b.data[1] == 0
    np.testing.assert_array_equal(plain.layers[0].W.data[0], net.layers[0].W.data[0])  # open: exactly 1
    assert not plain.layers[6].W.data[:, 1].any()
    small = surgery.remove(plain, {"0.W": [0, 2, 3, 4], "3.W": [0, 2]})
    x = np.random.default_rng(9).standard_normal((4, 5))
    assert gradcheck.relative_error(small.forward(x), net.forward(x)) <= TOLERANCE
    assert count(small, shape).parameters == 4 * 4 + 4 * 2 + 2 * 2


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_a_negative_gate_passes_no_kink(activation):
    class Negative(ConcreteGate):
        def factor(self):
            return -1.0 * self.a.data

    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Tanh(), Negative(4, rng), activation(), nn.Linear(4, 2, rng)).eval()
    net.layers[1].a.data = np.array([1.0, -1.0, 0.5, 2.0])
    plain, x = surgery.harden(net), rng.standard_normal((4, 6))
    assert type(plain.layers[1]) is nn.Scale
    assert gradcheck.relative_error(plain.forward(x), net.forward(x)) <= TOLERANCE


def test_scales_that_were_no_gates_and_masks_stay():
    rng = np.random.default_rng(0)
    layers = [nn.Linear(4, 3, rng), nn.Scale(3), gate(3, rng), nn.Linear(3, 2, rng), nn.Scale(2), gate(2, rng)]
    net = nn.Sequential(*layers, nn.Tanh(), nn.Scale(2), nn.Linear(2, 2, rng))
    net.layers[0].W.mask = np.array([[1.0, 0, 1, 0]] * 3)
    net.layers[1].s.data[:] = 0.7
    plain, x = surgery.harden(net.eval()), rng.standard_normal((4, 5))
    kinds = [nn.Linear, nn.Scale, nn.Identity, nn.Linear, nn.Scale, nn.Scale, nn.Tanh, nn.Scale, nn.Linear]
    assert [type(layer) for layer in plain.layers] == kinds
    np.testing.assert_array_equal(plain.layers[0].W.mask, net.layers[0].W.mask)
    assert gradcheck.relative_error(plain.forward(x), net.forward(x)) <= TOLERANCE


def test_other_layers_with_noise_say_what_is_left_of_them():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(4, 3, rng), Jitter(rng), nn.Linear(3, 2, rng)).eval()
    plain = surgery.harden(net)
    assert type(plain.layers[1]) is nn.Identity
    assert surgery.remove(plain, {"0.W": [0, 1]}).layers[2].n_in == 2


def test_a_gate_follows_its_channels_and_is_counted():
    net, shape, _ = nets("batch_norm")
    walked = trace(net)
    assert walked.outputs["2"] == walked.outputs["0"] and "follower  2" in channels.table(net)
    full = {layer.name: layer for layer in count(net, shape, "full").layers}
    assert (full["2"].kind, full["2"].parameters, full["2"].macs) == ("ConcreteGate", 7, 6 * 6 * 7)
    assert count(nn.Tap(), shape, "full").macs == 0 and trace(nets("tapped")[0]).outputs["3"]
    assert channels.maps.emitters(net)["0.W"] == "3"


CUTS = {
    "remove": lambda net: surgery.remove(net, {"0.W": [0, 2]}),
    "preview": lambda net: surgery.preview(net, {"0.W": [0, 2]}),
    "fold_constants": lambda net: surgery.fold_constants(net, {"0.W": [0, 2, 3, 4]}, (4,)),
    "fold_batchnorm": surgery.fold_batchnorm,
    "remove_unused_paths": lambda net: surgery.remove_unused_paths(net, (4,)),
}


@pytest.mark.parametrize("cut", CUTS)
def test_a_net_with_random_gates_is_not_cut(cut):
    net, _, _ = nets("chain")
    message = (
        r"^1 is a ConcreteGate, which draws noise in training: expected the net that pruning\.surgery\.harden makes"
    )
    with pytest.raises(ValueError, match=message):
        CUTS[cut](net)
    CUTS[cut](surgery.harden(net))


def test_a_copy_draws_the_same_under_any_name():
    rng = np.random.default_rng(0)
    jitter = Jitter(np.random.default_rng(1), np.random.default_rng(2))
    net = nn.Sequential(nn.Linear(4, 3, rng), jitter, CoinGate(3, np.random.default_rng(3)), nn.Linear(3, 2, rng))
    again, x = surgery.duplicate(net), rng.standard_normal((4, 5))
    assert again.layers[1].dice is not jitter.dice and again.layers[1].decks[0] is not jitter.decks[0]
    np.testing.assert_array_equal(again.forward(x), net.forward(x))
    np.testing.assert_array_equal(again.forward(x), net.forward(x))


def test_bad_input_is_one_sentence():
    rng = np.random.default_rng(0)
    with pytest.raises(TypeError, match=r"^expected a net, got list$"):
        surgery.harden([CoinGate(3, rng)])
    one, other = ConcreteGate(3, rng), ConcreteGate(3, rng)
    other.a = one.a
    with pytest.raises(ValueError, match=r"^0\.a and 2\.a are one parameter"):
        surgery.harden(nn.Sequential(one, nn.Linear(3, 3, rng), other))
    with pytest.raises(ValueError, match="outline"):
        surgery.harden(nn.Sequential(nn.Linear(2, 3, None), ConcreteGate(3, None)))


def test_hardened_on_every_library(library):
    net, shape, _ = nets("batch_norm")
    x = np.random.default_rng(9).standard_normal((*shape, 5))
    expected = net.forward(x)
    y = surgery.harden(net.to(library.xp)).forward(library.xp.asarray(x))
    assert gradcheck.relative_error(nn.backend.to_numpy(y), expected) <= TOLERANCE
