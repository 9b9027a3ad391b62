"""Second derivatives of shared weights: what the sum over V_k is, and what it is not.

The untied network gives every instance of a shared weight a weight of its own: a convolution becomes a dense matrix.
`curvature_recursion`, which knows nothing of nn, computes its curvature; summed over the instances it must be ours.
"""

import numpy as np
import pytest

import nn
from nn import gradcheck

TOLERANCE = 1e-12


def dense(conv, shape):
    """The matrix of a convolution on flat images, and for each entry the number of its weight plus one (0: none)."""
    basis = np.eye(int(np.prod(shape))).reshape(*shape, -1)
    numbered = nn.Conv2d(**{**conv.config(), "bias": False})
    numbered.W.data = np.arange(1.0, conv.W.data.size + 1).reshape(conv.W.shape)
    index = numbered.forward(basis).reshape(-1, basis.shape[-1]).astype(int)
    M = np.concatenate([[0.0], conv.W.data.ravel()])[index]
    positions = M.shape[0] // conv.c_out
    return M, np.repeat(conv.b.data, positions), index


def untied(net, loss_name, x, t, drop):
    """{name: d2E/du2} of the untied net, summed over the instances of every shared weight."""
    from referees.networks import curvature_recursion

    weights, activations, indices, shape = [], [], [], x.shape[:-1]
    for layer in net.layers:
        if isinstance(layer, nn.Conv2d):
            M, b, index = dense(layer, shape)
            weights.append((M, b))
            indices.append(index)
        elif isinstance(layer, nn.Linear):
            weights.append((layer.W.data, layer.b.data))
            indices.append(None)
        elif isinstance(layer, nn.Activation):
            activations.append(type(layer).__name__)
        shape = layer.output_shape(shape)
    activations += ["Identity"] * (len(weights) - len(activations))
    pairs, _ = curvature_recursion(weights, activations, loss_name, x.reshape(-1, x.shape[-1]), t, drop)
    layers = [layer for layer in net.layers if isinstance(layer, nn.Conv2d | nn.Linear)]
    h = {}
    for layer, (hM, hb), index in zip(layers, pairs, indices):
        if index is not None:
            hM = np.bincount(index.ravel(), hM.ravel(), layer.W.data.size + 1)[1:].reshape(layer.W.shape)
            hb = hb.reshape(layer.c_out, -1).sum(axis=1)
        h[id(layer.W)], h[id(layer.b)] = hM, hb
    return {name: h[id(parameter)] for name, parameter in net.named_parameters()}


def problem(convolutions, loss, activation=nn.Tanh):
    rng = np.random.default_rng(0)
    layers = [nn.Conv2d(2, 3, (2, 3), rng, stride=(1, 2), padding=((1, 0), (0, 1))), activation()]
    if convolutions == 2:
        layers += [nn.Conv2d(3, 2, 2, rng), activation()]
    flat = nn.Sequential(*layers, nn.Flatten()).output_shape((2, 4, 5))[0]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, 4, rng))
    for parameter in net.parameters():
        parameter.data = parameter.data + 0.2 * rng.standard_normal(parameter.shape)
    x = rng.standard_normal((2, 4, 5, 3))
    t = rng.standard_normal((4, 3)) if loss is nn.SquaredError else rng.integers(0, 4, 3)
    return net, loss(), x, t


def error(a, b, names):
    return gradcheck.relative_error(*(np.concatenate([h[name].ravel() for name in names]) for h in (a, b)))


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.Softplus])
@pytest.mark.parametrize("loss", [nn.SquaredError, nn.SoftmaxCrossEntropy])
@pytest.mark.parametrize("convolutions", [1, 2])
def test_the_curvature_of_a_convolutional_net_is_the_recursion_on_the_untied_net(convolutions, loss, activation):
    net, E, x, t = problem(convolutions, loss, activation)
    ours = nn.curvature.hess_diag(net, E, x, t)
    reference = untied(net, loss.__name__, x, t, drop=True)
    for name in ours:
        assert gradcheck.relative_error(ours[name], reference[name]) <= TOLERANCE, name


def test_right_under_the_last_layer_it_is_the_untied_hessian_and_not_the_tied_one():
    net, E, x, t = problem(1, nn.SquaredError)
    ours = nn.curvature.hess_diag(net, E, x, t)
    exact = untied(net, "SquaredError", x, t, drop=False)
    names = ["0.W", "0.b"]
    assert error(ours, exact, names) <= TOLERANCE
    H = np.diag(gradcheck.hessian_by_differences(net, E, x, t))
    tied = {"0.W": H[:36], "0.b": H[36:39]}
    assert error(ours, tied, names) > 1e-2


@pytest.mark.parametrize(("convolutions", "loss"), [(1, nn.SoftmaxCrossEntropy), (2, nn.SquaredError)])
def test_deeper_or_with_softmax_it_is_not_the_untied_hessian(convolutions, loss):
    net, E, x, t = problem(convolutions, loss)
    ours = nn.curvature.hess_diag(net, E, x, t)
    assert error(ours, untied(net, loss.__name__, x, t, drop=False), ["0.W", "0.b"]) > 1e-2


def test_a_convolution_as_the_last_layer_is_exact():
    """Every instance feeds another output unit and the loss is separable: no cross terms."""
    rng = np.random.default_rng(1)
    net = nn.Sequential(nn.Conv2d(2, 3, 2, rng), nn.Flatten())
    x, t = rng.standard_normal((2, 4, 3, 5)), rng.standard_normal((18, 5))
    ours = nn.curvature.hess_diag(net, nn.SquaredError(), x, t)
    H = np.diag(gradcheck.hessian_by_differences(net, nn.SquaredError(), x, t))
    assert gradcheck.relative_error(np.concatenate([ours["0.W"].ravel(), ours["0.b"]]), H) <= TOLERANCE


def test_what_a_residual_sum_drops():
    """y = x + f(x): the curvature rule keeps 1 + f'^2 and drops 2 f' (elementwise body, so nothing else is lost)."""
    rng = np.random.default_rng(2)
    a, t = rng.standard_normal((6, 4)), rng.standard_normal((6, 4))
    net, loss = nn.Sequential(nn.Residual(nn.Tanh())), nn.SquaredError()
    loss.forward(net.forward(a), t)
    gy, hy = loss.backward(), loss.backward_hessian()
    _, hx = net.backward_hessian(gy, hy)

    def gradient(z):
        loss.forward(net.forward(z), t)
        return net.backward(loss.backward())

    exact = np.diag(gradcheck.complex_step(gradient, a).reshape(24, 24)).reshape(6, 4)
    dropped = 2 * nn.Tanh().df(a) * hy
    assert gradcheck.relative_error(hx + dropped, exact) <= TOLERANCE
    assert gradcheck.relative_error(hx, exact) > 0.1


def test_the_curvature_of_a_subsampling_coefficient_is_the_sum_over_its_windows():
    """Right under the last layer the untied Hessian is exact: one coefficient and one bias for every window."""
    torch = pytest.importorskip("torch", reason="torch is not installed (extra verify)")
    rng = np.random.default_rng(3)
    net = nn.Sequential(nn.Subsampling(2, 2, rng), nn.ScaledTanh(), nn.Flatten(), nn.Linear(8, 3, rng), nn.ScaledTanh())
    for parameter in net.parameters():
        parameter.data = parameter.data + 0.3 * rng.standard_normal(parameter.shape)
    x, t = rng.standard_normal((2, 4, 4, 5)), rng.standard_normal((3, 5))
    ours = nn.curvature.hess_diag(net, nn.SquaredError(), x, t)
    means = torch.from_numpy(x.reshape(2, 2, 2, 2, 2, 5)).mean(dim=(2, 4))
    W, b, target = (torch.from_numpy(v) for v in (net.layers[3].W.data, net.layers[3].b.data, t))

    def E(coefficients, biases):
        y = 1.7159 * torch.tanh(2 / 3 * (coefficients[..., None] * means + biases[..., None]))
        out = 1.7159 * torch.tanh(2 / 3 * (W @ y.reshape(8, 5) + b[:, None]))
        return torch.sum((target - out) ** 2) / 5

    ones = torch.ones((1, 2, 2), dtype=torch.float64)
    untied = [ones * torch.from_numpy(p.data)[:, None, None] for p in (net.layers[0].coefficient, net.layers[0].b)]
    for k, name in enumerate(("0.coefficient", "0.b")):
        H = torch.func.hessian(E, argnums=k)(*untied).reshape(8, 8)
        assert gradcheck.relative_error(ours[name], torch.diag(H).reshape(2, 4).sum(dim=1).numpy()) <= TOLERANCE
        assert gradcheck.relative_error(ours[name], H.reshape(2, 4, 2, 4).sum(dim=(1, 3)).diag().numpy()) > 1e-2
