"""What containers do to a signal, against the containers' own sweeps; and a sweep that is written in a test."""

import functools

import numpy as np
import pytest
from cases import LAYERS, TINY, build_layer, build_model

import nn
from nn import gradcheck
from nn.sweeps import Sweep


class Backward(Sweep):
    """Every layer's own first two derivatives, as a sweep of two signals."""

    def __init__(self):
        self.visited = []

    def ahead(self, layer, x):
        return layer.forward(x)

    def fill(self, layer, gy, hy):
        self.visited.append(layer)
        layer.backward_hessian_parameters(gy, hy)

    def back(self, layer, gy, hy):
        return layer.backward_hessian(gy, hy)


class NoCurvature(Backward):
    """One signal alone."""

    def fill(self, layer, gy):
        layer.backward_parameters(gy)

    def back(self, layer, gy):
        return (layer.backward(gy),)


def filled(net):
    arrays = [(p.grad, p.hess_diag) for p in net.parameters()]
    for parameter in net.parameters():
        parameter.grad = parameter.hess_diag = None
    return arrays


def assert_equal(ours, theirs):
    for pair, other in zip(ours, theirs, strict=True):
        for array, reference in zip(pair, other):
            np.testing.assert_array_equal(array, reference)


def first_of_all(kind):
    """Nets whose first trained layer is a container with two ways that both have parameters."""
    rng = np.random.default_rng(0)
    ways = nn.Sequential(nn.Linear(3, 4, rng), nn.Tanh()), nn.Linear(3, 4, rng)
    net = nn.Sequential(nn.Identity(), kind(*ways), nn.Tanh())
    return net, rng.standard_normal((3, 5)), None


NETS = {"residual first": lambda: first_of_all(nn.Residual), "concat first": lambda: first_of_all(nn.Concat)}
NETS |= {name: functools.partial(build_layer, name) for name in LAYERS} | {
    name: functools.partial(build_model, name) for name in TINY
}


@pytest.mark.parametrize("name", NETS)
def test_containers_pass_a_signal_as_their_own_sweeps_do(name):
    net, *_, x, _ = NETS[name]()
    net.eval()
    y = net.forward(x)
    np.testing.assert_array_equal(Backward().forward(net, x), y)
    gy, hy = np.random.default_rng(0).standard_normal((2, *y.shape))
    theirs = net.backward_hessian(gy, hy)
    parameters = filled(net)
    assert_equal([Backward().through(net, gy, hy)], [theirs])
    assert_equal(filled(net), parameters)
    assert Backward().to_parameters(net, gy, hy) is None
    assert_equal(filled(net), parameters)
    gx = net.backward(gy)
    parameters = filled(net)
    np.testing.assert_array_equal(NoCurvature().through(net, gy)[0], gx)
    assert_equal([pair[:1] for pair in filled(net)], [pair[:1] for pair in parameters])


def test_a_sweep_to_the_parameters_leaves_alone_what_stands_in_front_of_them():
    rng = np.random.default_rng(0)
    linear, tanh = nn.Linear(3, 3, rng), nn.Tanh()
    front, ways = nn.ReLU(), nn.Residual(nn.Sequential(nn.Identity(), linear), nn.Sequential(nn.Softplus()))
    net = nn.Sequential(front, ways, nn.Concat(tanh, nn.Identity()))
    y = net.forward(rng.standard_normal((3, 4)))
    sweep = Backward()
    sweep.to_parameters(net, y, y)
    assert front not in sweep.visited and ways.body.layers[0] not in sweep.visited
    assert linear in sweep.visited and tanh in sweep.visited
    assert linear.W.grad is not None


class Importance(Sweep):
    """The importance of a layer's outputs, taken back by |W|: what each input contributes at most."""

    what = "importance"

    @functools.singledispatchmethod
    def fill(self, layer, s):
        layer.importance = s

    @functools.singledispatchmethod
    def back(self, layer, s):
        raise self.unknown(layer)

    @back.register
    def back_linear(self, layer: nn.Linear, s):
        return (np.abs(layer.W.data).T @ s,)

    @back.register
    def back_activation(self, layer: nn.Activation, s):
        return (s,)


def test_another_sweep_needs_one_rule_a_layer():
    rng = np.random.default_rng(0)
    first, second, third = nn.Linear(3, 5, rng), nn.Linear(5, 5, rng), nn.Linear(5, 4, rng)
    net = nn.Sequential(first, nn.ReLU(), nn.Residual(second), nn.ReLU(), third)
    net.forward(np.ones((3, 1)))
    s = rng.uniform(0, 1, (4, 1))
    (front,) = Importance().through(net, s)
    A, B, C = (np.abs(layer.W.data) for layer in (first, second, third))
    assert gradcheck.relative_error(front, A.T @ (np.eye(5) + B.T) @ C.T @ s) <= 1e-15
    assert gradcheck.relative_error(first.importance, (np.eye(5) + B.T) @ C.T @ s) <= 1e-15
    with pytest.raises(ValueError, match="MaxPool2d has no rule for importance"):
        Importance().through(nn.Sequential(nn.MaxPool2d(2)), s)
