"""Every gradient, of every layer and loss and with respect to x too, against autograd and the complex step."""

import numpy as np
import pytest
from cases import CASES, Case

import nn
from nn import gradcheck

TOLERANCE = 1e-12


def gradients(case):
    net, loss, x, t = case.build()
    loss.forward(net.forward(x), t)
    gx = net.backward(loss.backward())
    return net, loss, x, t, gx


def assert_close(net, ours, reference, what):
    """Over the vector of all parameters, and per tensor wherever that tensor's norm is above 1e-3 of the whole."""
    assert gradcheck.relative_error(ours, reference) <= TOLERANCE, what
    whole = np.linalg.norm(reference)
    sizes = [int(np.prod(p.shape)) for p in net.parameters()]
    pieces = zip(np.split(ours, np.cumsum(sizes)[:-1]), np.split(reference, np.cumsum(sizes)[:-1]))
    for (name, _), (a, b) in zip(net.named_parameters(), pieces):
        if np.linalg.norm(b) > 1e-3 * whole:
            assert gradcheck.relative_error(a, b) <= TOLERANCE, (what, name)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gradients_equal_autograd_through_our_own_forward(case):
    from referees.networks import autograd_gradient

    net, loss, x, t, gx = gradients(case)
    gu_reference, gx_reference = autograd_gradient(net, loss, x, t)
    assert_close(net, gradcheck.flat(net, "grad"), gu_reference, "parameters")
    assert gradcheck.relative_error(gx, gx_reference) <= TOLERANCE


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gradients_equal_the_complex_step(case):
    net, loss, x, t, gx = gradients(case)
    ours = gradcheck.flat(net, "grad")
    gu_reference, gx_reference = gradcheck.gradient_by_differences(net, loss, x, t)
    assert_close(net, ours, gu_reference, "parameters")
    assert gradcheck.relative_error(gx, gx_reference) <= TOLERANCE


@pytest.mark.parametrize("activation", [nn.Identity, nn.ReLU, nn.Sigmoid, nn.Tanh, nn.ScaledTanh, nn.Softplus])
@pytest.mark.parametrize("loss", [nn.SquaredError, nn.SoftmaxCrossEntropy])
def test_every_activation_with_every_loss_between_two_layers(activation, loss):
    from referees.networks import autograd_gradient

    net, loss, x, t, gx = gradients(Case("", (3, 5, 4), activation, activation, loss))
    gu_reference, gx_reference = autograd_gradient(net, loss, x, t)
    assert_close(net, gradcheck.flat(net, "grad"), gu_reference, "parameters")
    assert gradcheck.relative_error(gx, gx_reference) <= TOLERANCE


def test_soft_labels_that_do_not_sum_to_one():
    from referees.networks import autograd_gradient

    net, loss, x, _ = Case("", (3, 5, 4), nn.Tanh, nn.Identity, nn.SoftmaxCrossEntropy).build()
    t = np.random.default_rng(1).uniform(0, 2, (4, 6))
    loss.forward(net.forward(x), t)
    net.backward(loss.backward())
    gu_reference, _ = autograd_gradient(net, loss, x, t)
    assert_close(net, gradcheck.flat(net, "grad"), gu_reference, "parameters")


def test_exact_zeros_at_a_relu_have_slope_zero_in_both_sweeps_and_in_autograd():
    from referees.networks import autograd_gradient

    net, loss, _, t = Case("", (3, 5, 4), nn.ReLU, nn.Identity, nn.SquaredError).build()
    for parameter in net.parameters():
        parameter.data = np.rint(3 * parameter.data)
    x = np.random.default_rng(2).integers(-1, 2, (3, 6)).astype(float)
    assert np.any(net.layers[1].forward(x) == 0)
    loss.forward(net.forward(x), t)
    gx = net.backward(loss.backward())
    gu_reference, gx_reference = autograd_gradient(net, loss, x, t)
    assert_close(net, gradcheck.flat(net, "grad"), gu_reference, "parameters")
    assert gradcheck.relative_error(gx, gx_reference) <= TOLERANCE


def test_backward_parameters_fills_the_gradients_of_backward_and_returns_nothing():
    net, loss, x, t, _ = gradients(CASES[7])
    everything = gradcheck.flat(net, "grad")
    for parameter in net.parameters():
        parameter.grad = None
    assert net.backward_parameters(loss.backward()) is None
    np.testing.assert_array_equal(gradcheck.flat(net, "grad"), everything)


def test_backward_parameters_of_a_net_without_parameters_does_nothing():
    net = nn.Sequential(nn.Flatten(), nn.Tanh())
    net.forward(np.ones((2, 3)))
    assert net.backward_parameters(np.ones((2, 3))) is None


def test_backward_twice_changes_nothing():
    net, loss, x, t, gx = gradients(CASES[7])
    once = gradcheck.flat(net, "grad")
    np.testing.assert_array_equal(net.backward(loss.backward()), gx)
    np.testing.assert_array_equal(gradcheck.flat(net, "grad"), once)


def test_layers_without_bias():
    rng = np.random.default_rng(3)
    net = nn.Sequential(nn.Linear(3, 5, rng, bias=False), nn.Tanh(), nn.Linear(5, 4, rng, bias=False))
    x, t, loss = rng.standard_normal((3, 6)), rng.standard_normal((4, 6)), nn.SquaredError()
    assert [name for name, _ in net.named_parameters()] == ["0.W", "2.W"]
    loss.forward(net.forward(x), t)
    gx = net.backward(loss.backward())
    ours = gradcheck.flat(net, "grad")
    gu_reference, gx_reference = gradcheck.gradient_by_differences(net, loss, x, t)
    assert_close(net, ours, gu_reference, "parameters")
    assert gradcheck.relative_error(gx, gx_reference) <= TOLERANCE


def test_images_pass_through_flatten_in_the_order_c_h_w():
    x = np.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    flatten = nn.Flatten()
    y = flatten.forward(x)
    assert y.shape == (24, 5)
    assert y[1 * 12 + 2 * 4 + 3, 4] == x[1, 2, 3, 4]
    np.testing.assert_array_equal(flatten.backward(y), x)
    gx, hx = flatten.backward_hessian(y, 2 * y)
    np.testing.assert_array_equal(hx, 2 * x)
