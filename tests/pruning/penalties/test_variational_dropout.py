"""Variational dropout: gradients at fixed noise, KL by three ways, what stays, modes, runs that resume, bad input."""

import copy
import math
from itertools import pairwise

import numpy as np
import pytest
from killing import assert_killed_runs_end_in_the_same_bits
from scipy.integrate import quad
from scipy.special import digamma, gammaln

import nn
from nn import backend, gradcheck
from nn.training import train
from pruning import channels, masks, surgery
from pruning.channels.tracing import trace
from pruning.counts import count
from pruning.penalties import variational_dropout as vd
from pruning.penalties.variational_dropout import EXACT, FITTED, LogUniformPrior, VariationalConv2d, VariationalLinear

TOLERANCE = 1e-12


def spread(net, rng, low=-3.0, high=3.0):
    """The net with theta of size 1/2, biases, and log alpha spread over a range on both sides of the threshold."""
    for layer in net.modules():
        if isinstance(layer, vd.Variational):
            layer.W.data = rng.choice([-1.0, 1.0], layer.W.shape) * rng.uniform(0.2, 0.8, layer.W.shape)
            layer.rho.data = rng.uniform(low, high, layer.W.shape) + np.log(abs(layer.W.data))
            if layer.b is not None:
                layer.b.data = rng.standard_normal(layer.b.shape)
    return net


def dense(rng):
    return nn.Sequential(VariationalLinear(4, 5, rng), nn.Tanh(), VariationalLinear(5, 3, rng)), (4, 6)


def convolutions(rng):
    layers = [VariationalConv2d(2, 4, 2, rng, padding=((1, 0), (0, 1)), stride=(1, 2)), nn.Tanh()]
    layers += [VariationalConv2d(4, 6, 2, rng, groups=2, bias=False, columns=[0, 3, 5, 6]), nn.Tanh(), nn.Flatten()]
    return nn.Sequential(*layers, VariationalLinear(24, 3, rng)), (2, 3, 5, 6)


def mapped(rng):
    layers = [VariationalConv2d(2, 3, 3, rng, padding=1, bias_map=(3, 4)), nn.Tanh(), nn.Flatten()]
    net = nn.Sequential(*layers, VariationalLinear(36, 3, rng))
    net.layers[0].bias_map = rng.standard_normal((3, 3, 4))
    return net, (2, 3, 4, 6)


NETS = {f.__name__: f for f in (dense, convolutions, mapped)}


def noisy(name, seed=0, fixed=True):
    """The net in train mode, x and t; its noise is fixed."""
    rng = np.random.default_rng(seed)
    net, shape = NETS[name](rng)
    spread(net, rng, -2.0, 5.0)
    x, t = rng.standard_normal(shape), rng.standard_normal((3, shape[-1]))
    net.forward(x)
    for layer in net.layers if fixed else ():
        if isinstance(layer, vd.Variational):
            layer.noise = rng.standard_normal(layer.y_shape)
    return net, x, t


def swept(net, x, t):
    loss = nn.SquaredError()
    loss.forward(net.forward(x), t)
    return loss, net.backward(loss.backward())


# ---- the layers ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NETS)
def test_gradients_at_fixed_noise_equal_the_complex_step_and_autograd(name):
    net, x, t = noisy(name)
    loss, gx = swept(net, x, t)
    ours, sizes = gradcheck.flat(net, "grad"), np.cumsum([math.prod(u.shape) for u in net.parameters()])
    gu, gx_step = gradcheck.gradient_by_differences(copy.deepcopy(net), loss, x, t)
    from referees.networks import autograd_gradient

    for reference, gx_reference in ((gu, gx_step), autograd_gradient(net, loss, x, t)):
        assert gradcheck.relative_error(gx, gx_reference) <= TOLERANCE
        for (place, _), one, other in zip(
            net.named_parameters(), np.split(ours, sizes[:-1]), np.split(reference, sizes[:-1])
        ):
            assert gradcheck.relative_error(one, other) <= TOLERANCE, place


@pytest.mark.parametrize("name", NETS)
def test_in_eval_mode_the_gradients_are_those_of_the_weights_that_stay(name):
    net, x, t = noisy(name)
    loss, gx = swept(net.eval(), x, t)
    assert all(u.grad is None for place, u in net.named_parameters() if place.endswith("rho"))
    gu, gx_step = gradcheck.gradient_by_differences(copy.deepcopy(net), loss, x, t)
    assert gradcheck.relative_error(gx, gx_step) <= TOLERANCE
    for _, u in net.named_parameters():
        u.grad = np.zeros(u.shape) if u.grad is None else u.grad
    assert gradcheck.relative_error(gradcheck.flat(net, "grad"), gu) <= TOLERANCE
    assert not all(layer.kept().all() for layer in net.layers if isinstance(layer, vd.Variational))


@pytest.mark.parametrize("conv", [False, True])
def test_the_layers_pass_the_examination_and_a_wrong_one_does_not(conv):
    rng = np.random.default_rng(0)
    layer = VariationalConv2d(2, 3, 2, rng, padding=1) if conv else VariationalLinear(4, 3, rng)
    shape = (2, 3, 4, 5) if conv else (4, 5)
    report = nn.verify(spread(layer, rng), shape)
    assert report.ok, str(report)
    assert {("train", "dE/drho"), ("train", "dE/dx"), ("eval", "dE/dx")} <= {(n.mode, n.name) for n in report.lines}

    class Halved(type(layer)):
        def backward_parameters(self, ga):
            super().backward_parameters(ga)
            if self.training:
                self.rho.grad = self.rho.grad / 2

    layer.__class__ = Halved
    assert not nn.verify(layer, shape).ok


def test_by_loops():
    """a_in = sum_j w_ij x_jn + b_i + sqrt(sum_j sigma_ij^2 x_jn^2 + 1e-8) eps_in, and the gradients of its terms."""
    rng = np.random.default_rng(1)
    layer = spread(VariationalLinear(4, 3, rng), rng)
    x, ga, layer.noise = rng.standard_normal((4, 5)), rng.standard_normal((3, 5)), rng.standard_normal((3, 5))
    a, gx = layer.forward(x), layer.backward(ga)
    W, sigma, grho, expected = layer.W.data, np.exp(layer.rho.data), np.zeros((3, 4)), np.zeros((4, 5))
    for i, n in np.ndindex(3, 5):
        v = sum(sigma[i, j] ** 2 * x[j, n] ** 2 for j in range(4)) + 1e-8
        made = sum(W[i, j] * x[j, n] for j in range(4)) + layer.b.data[i] + math.sqrt(v) * layer.noise[i, n]
        assert a[i, n] == pytest.approx(made, rel=1e-13)
        for j in range(4):
            # d sqrt(v) / d rho = sigma^2 x^2 / sqrt(v),  d sqrt(v) / dx = sigma^2 x / sqrt(v)
            grho[i, j] += ga[i, n] * layer.noise[i, n] * sigma[i, j] ** 2 * x[j, n] ** 2 / math.sqrt(v)
            slope = W[i, j] + layer.noise[i, n] * sigma[i, j] ** 2 * x[j, n] / math.sqrt(v)
            expected[j, n] += ga[i, n] * slope
    np.testing.assert_allclose(layer.rho.grad, grho, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(gx, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("conv", [False, True])
def test_mean_and_variance_of_the_outputs_are_those_of_drawn_weights(conv):
    rng = np.random.default_rng(2)
    layer = VariationalConv2d(2, 3, 2, rng, padding=1) if conv else VariationalLinear(4, 3, rng)
    spread(layer, rng)
    x = rng.standard_normal((2, 2, 3, 1) if conv else (4, 1))
    N = 4000
    a = layer.forward(np.repeat(x, N, axis=-1))
    mean = a.mean(axis=-1)
    plain = surgery.harden(nn.Sequential(layer)).layers[0]  # for its bias and shape; W is all that there is
    plain.W.data, b = layer.W.data, layer.b.data
    mu = plain.forward(x)[..., 0]
    plain.W.data, plain.b.data = np.exp(2 * layer.rho.data), 0 * b
    v = plain.forward(x * x)[..., 0] + 1e-8
    assert np.abs((mean - mu) / np.sqrt(v / N)).max() <= 4
    assert np.abs(a.var(axis=-1) / v - 1).max() <= 4 * math.sqrt(2 / N)


def test_local_noise_makes_gradients_that_vary_less_and_ever_less_in_large_batches():
    """The variance of dE/drho: one draw of weights for a batch, over one draw for each output of each pattern."""
    rng = np.random.default_rng(3)
    ratios, draws = [], 100
    layer = VariationalLinear(6, 2, rng, bias=False)
    theta, loss = rng.standard_normal((2, 6)), nn.SquaredError()
    layer.W.data, layer.rho.data = theta, np.log(0.5 * np.abs(theta))
    sigma, plain = np.exp(layer.rho.data), nn.Linear(6, 2, rng, bias=False)
    for N in (1, 10, 100, 1000):
        local, shared = [], []
        x = rng.standard_normal((6, N))
        t = 0.5 * theta @ x + rng.standard_normal((2, N))
        for _ in range(draws):
            loss.forward(layer.forward(x), t)
            layer.backward_parameters(loss.backward())
            local.append(layer.rho.grad)
            eps = rng.standard_normal(theta.shape)
            plain.W.data = theta + sigma * eps
            loss.forward(plain.forward(x), t)
            plain.backward_parameters(loss.backward())
            shared.append(plain.W.grad * sigma * eps)
        one, other = np.array(shared), np.array(local)
        error = (one.mean(axis=0) - other.mean(axis=0)) / np.sqrt((one.var(axis=0) + other.var(axis=0)) / draws)
        assert np.abs(error).max() <= 4  # both are unbiased
        ratios.append(one.var(axis=0).sum() / other.var(axis=0).sum())
    assert all(a < b for a, b in pairwise(ratios)), ratios
    assert ratios[0] > 1 and ratios[-1] >= 50, ratios


@pytest.mark.parametrize("name", NETS)
def test_the_same_on_every_library(name, library):
    net, x, t = noisy(name)
    other, asarray = copy.deepcopy(net).to(library.xp), library.xp.asarray
    companions = [LogUniformPrior(each, 100, divergence=d) for each, d in ((net, EXACT), (other, EXACT))]
    for mode in ("train", "eval"):
        getattr(net, mode)(), getattr(other, mode)()
        _, gx = swept(net, x, t)
        _, other_gx = swept(other, asarray(x), asarray(t))
        if mode == "train":
            for each in companions:
                each.after_backward(1)
                each.divergence = FITTED
                each.after_backward(1)
            assert companions[0].penalty() == pytest.approx(companions[1].penalty(), rel=1e-12)
        np.testing.assert_allclose(backend.to_numpy(other_gx), gx, rtol=1e-12, atol=1e-13)
        for p, q in zip(net.parameters(), other.parameters()):
            assert (p.grad is None) == (q.grad is None)
            if p.grad is not None:
                np.testing.assert_allclose(backend.to_numpy(q.grad), p.grad, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(
        backend.to_numpy(surgery.harden(other).forward(asarray(x))), net.forward(x), rtol=1e-12, atol=1e-13
    )


def test_float32_stays():
    rng = np.random.default_rng(0)
    layers = [
        VariationalConv2d(2, 3, 2, rng, dtype=np.float32),
        nn.Flatten(),
        VariationalLinear(12, 2, rng, dtype="float32"),
    ]
    net, x = nn.Sequential(*layers), np.ones((2, 3, 3, 4), np.float32)
    y = net.forward(x)
    assert y.dtype == net.backward(y).dtype == np.float32
    for divergence in (FITTED, EXACT):
        LogUniformPrior(net, 10, divergence=divergence).after_backward(1)
        assert {u.grad.dtype for u in net.parameters()} == {np.dtype(np.float32)}
    assert net.eval().forward(x).dtype == surgery.harden(net).forward(x).dtype == np.float32


def test_train_mode_draws_anew_and_eval_mode_draws_nothing():
    net, x, _ = noisy("dense", fixed=False)
    assert not np.array_equal(net.forward(x), net.forward(x))
    state = net.layers[0].rng.bit_generator.state
    np.testing.assert_array_equal(net.eval().forward(x), net.forward(x))
    assert net.layers[0].rng.bit_generator.state == state
    assert [name for name, _ in net.named_generators()] == ["0.rng", "2.rng"]


def test_layers_of_one_generator_draw_noise_of_their_own():
    rng = np.random.default_rng(0)
    before = np.random.default_rng(0)
    first, second = (VariationalLinear(3, 3, rng, bias=False) for _ in range(2))
    assert first.rng.random() != second.rng.random()
    np.testing.assert_array_equal([first.W.data, second.W.data], 0.02 * before.standard_normal((2, 3, 3)))
    assert rng.bit_generator.state == before.bit_generator.state


# ---- KL --------------------------------------------------------------------------------------------------------------
GRID = np.linspace(-9, 10, 39)


def by_series(log_alpha):
    """KL and its derivative as means over J, Poisson of mean u: (E psi(J + 1/2) - psi(1/2)) / 2, -u E 1/(2 J + 1)."""
    u = math.exp(-log_alpha) / 2
    j = np.arange(int(u + 12 * math.sqrt(u) + 40))
    p = np.exp(-u + j * math.log(u) - gammaln(j + 1))
    return p @ (digamma(j + 0.5) - digamma(0.5)) / 2, -u * (p @ (1 / (2 * j + 1)))


def by_quadrature(log_alpha):
    """-log alpha / 2 + E log|1 + sqrt(alpha) eps| - (psi(1/2) + log 2) / 2: the definition, 0 at infinity."""
    a = math.exp(log_alpha / 2)
    density = lambda e: math.log(abs(1 + a * e)) * math.exp(-e * e / 2) / math.sqrt(2 * math.pi)  # noqa: E731
    ends = sorted({-40.0, 0.0, 40.0, max(-40.0, -1 / a)})
    total = sum(quad(density, p, q, epsabs=1e-12, epsrel=1e-12, limit=400)[0] for p, q in pairwise(ends))
    return -log_alpha / 2 + total - (digamma(0.5) + math.log(2)) / 2


@pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")
def test_kl_by_dawson_by_the_series_and_by_quadrature():
    ours, slope = vd.exact(GRID), vd.exact_slope(GRID)
    series = np.array([by_series(each) for each in GRID])
    assert np.abs(ours - series[:, 0]).max() <= 1e-10
    assert np.abs(slope - series[:, 1]).max() <= 1e-10
    assert np.abs(ours - [by_quadrature(each) for each in GRID]).max() <= 1e-10


def test_the_two_pieces_of_the_exact_form_meet():
    at = -2 * math.log(vd.FAR) - math.log(2)
    low, high = vd.exact(np.array([at - 1e-9, at + 1e-9]))
    assert abs(low - high + 2e-9 * vd.exact_slope(np.array(at))) <= 1e-13


def test_the_fit_is_as_near_as_it_is():
    grid = np.linspace(-10, 10, 4001)
    off, slope = vd.fitted(grid) - vd.exact(grid), vd.fitted_slope(grid) - vd.exact_slope(grid)
    assert 0.009 <= np.abs(off).max() <= 0.0096 and grid[np.abs(off).argmax()] == pytest.approx(-3.51, abs=0.01)
    assert 0.0135 <= np.abs(slope).max() <= 0.0139
    step = gradcheck.complex_step(lambda v: vd.fitted(v).sum(), grid[::200])
    np.testing.assert_allclose(vd.fitted_slope(grid[::200]), step, rtol=1e-12)


@pytest.mark.parametrize("divergence", [FITTED, EXACT], ids=["fitted", "exact"])
def test_kl_at_the_ends(divergence):
    ends = np.array([1e5, 800.0, -800.0, -1e5])
    with np.errstate(all="raise", under="ignore"):
        value, slope = divergence.value(ends), divergence.slope(ends)
    assert value[0] == value[1] == 0 and value[3] == pytest.approx(5e4, rel=1e-4)
    np.testing.assert_allclose(slope, [0, 0, -0.5, -0.5], atol=1e-15)


def test_log_alpha():
    theta, rho = np.array([2.0, -2.0, 0.0, 1e-8]), np.array([1.0, 1.0, 1.0, 0.0])
    expected = [2 - math.log(4), 2 - math.log(4), 2 + 37 * math.log(10), 16 * math.log(10)]
    with np.errstate(all="raise"):
        np.testing.assert_allclose(vd.log_alpha(theta, rho), expected, rtol=1e-14)


def test_the_prior_adds_the_gradient_of_its_penalty():
    """dE/dtheta and dE/drho of (kappa/N) sum KL, by the complex step for the fit, by the series for the exact form."""
    net, _, _ = noisy("dense")
    steps = nn.SGD(net.parameters(), 0.1)
    steps.steps = 30
    for divergence in (FITTED, EXACT):
        prior = LogUniformPrior(net, 50, nn.Ramp(steps, 40), divergence)
        for u in net.parameters():
            u.grad = np.zeros(u.shape)
        prior.after_backward(31)
        total = 0.0
        for _, layer in prior.layers():
            theta, rho = layer.W.data, layer.rho.data
            if divergence is FITTED:

                def kl(theta, rho):
                    la = 2 * rho - np.log(theta * theta)
                    logistic = 1 / (1 + np.exp(-(1.87320 + 1.48695 * la)))
                    return np.sum(0.63576 * (1 - logistic) + 0.5 * np.log(1 + np.exp(-la)))

                by_theta = gradcheck.complex_step(lambda v, rho=rho: kl(v, rho), theta)
                by_rho = gradcheck.complex_step(lambda v, theta=theta: kl(theta, v), rho)
                total += kl(theta, rho)
            else:
                pairs = [by_series(each) for each in np.ravel(2 * rho - np.log(theta**2))]
                slope = np.reshape([pair[1] for pair in pairs], theta.shape)
                by_theta, by_rho = -2 * slope / theta, 2 * slope
                total += sum(pair[0] for pair in pairs)
            np.testing.assert_allclose(layer.W.grad, 0.75 / 50 * by_theta, rtol=1e-10, atol=1e-13)
            np.testing.assert_allclose(layer.rho.grad, 0.75 / 50 * by_rho, rtol=1e-10, atol=1e-13)
        assert prior.penalty() == pytest.approx(0.75 / 50 * total, rel=1e-12)


def test_the_ramp():
    net, x, t = noisy("dense")
    optimizer = nn.SGD(net.parameters(), 0.0)
    prior, whole = LogUniformPrior(net, 10, nn.Ramp(optimizer, 4, start=1)), LogUniformPrior(net, 10)
    found = []
    for step in range(1, 8):
        swept(net, x, t)
        prior.after_backward(step)
        found.append(prior.penalty())
        optimizer.step()
    np.testing.assert_allclose(found, whole.penalty() * np.array([0, 0, 0.25, 0.5, 0.75, 1, 1]), rtol=1e-13)


def test_a_weight_at_zero_gets_no_gradient_of_kl_and_no_warning():
    rng = np.random.default_rng(0)
    net = nn.Sequential(VariationalLinear(3, 2, rng))
    prior = LogUniformPrior(net, 10)
    net.layers[0].W.data[0, 1] = 0
    with np.errstate(all="raise", under="ignore"):
        for divergence in (FITTED, EXACT):
            prior.divergence = divergence
            swept(net, np.zeros((3, 4)), np.zeros((2, 4)))
            prior.after_backward(1)
            assert net.layers[0].W.grad[0, 1] == 0 and abs(net.layers[0].rho.grad[0, 1]) <= 1e-30
            assert math.isfinite(prior.penalty())
        assert net.layers[0].kept()[0, 1] == 0


# ---- what stays ------------------------------------------------------------------------------------------------------
def norm(C, rng):
    layer = nn.BatchNorm(C)
    layer.gamma.data, layer.beta.data = rng.standard_normal((2, C))
    layer.running_mean, layer.running_variance = rng.standard_normal(C), rng.uniform(0.5, 2, C)
    return layer


def chain(rng):
    return [VariationalLinear(5, 4, rng), nn.ReLU(), VariationalLinear(4, 3, rng)], (5,)


def batch_norm(rng):
    layers = [VariationalConv2d(2, 4, 3, rng, padding=1, bias=False), norm(4, rng), nn.ReLU()]
    return [*layers, VariationalConv2d(4, 3, 2, rng), norm(3, rng), nn.GlobalAvgPool2d(), nn.Linear(3, 2, rng)], (
        2,
        4,
        5,
    )


def residual(rng):
    body = nn.Sequential(VariationalConv2d(3, 4, 3, rng, padding=1), nn.ReLU(), VariationalConv2d(4, 3, 1, rng))
    return [VariationalConv2d(2, 3, 1, rng), nn.Residual(body), nn.ReLU(), nn.GlobalAvgPool2d()], (2, 4, 5)


def flatten(rng):
    return [VariationalConv2d(2, 3, 2, rng), nn.MaxPool2d(2), nn.Flatten(), VariationalLinear(6, 2, rng)], (2, 3, 5)


HARDENED = {f.__name__: f for f in (chain, batch_norm, residual, flatten)}


@pytest.mark.parametrize("name", HARDENED)
def test_the_hardened_net_is_plain_and_the_noisy_net_in_eval_mode(name):
    rng = np.random.default_rng(list(HARDENED).index(name))
    layers, shape = HARDENED[name](rng)
    net = spread(nn.Sequential(*layers), rng, 0.0, 3.0).eval()
    x, before = rng.standard_normal((*shape, 5)), gradcheck.flat(net)
    plain = surgery.harden(net)
    assert gradcheck.relative_error(plain.forward(x), net.forward(x)) <= TOLERANCE
    np.testing.assert_array_equal(gradcheck.flat(net), before)
    twins, left = dict(plain.named_modules()), 0
    for place, layer in net.named_modules():
        if isinstance(layer, vd.Variational):
            twin = twins[place]
            assert type(twin) is (nn.Conv2d if isinstance(layer, nn.Conv2d) else nn.Linear)
            stays = np.exp(2 * layer.rho.data) / layer.W.data**2 < math.exp(3)
            assert 0 < stays.sum() < stays.size
            np.testing.assert_array_equal(twin.W.mask, stays * 1.0)
            np.testing.assert_array_equal(twin.W.data, np.where(stays, layer.W.data, 0.0))
            left += int(stays.sum())
        else:
            assert type(twins[place]) is type(layer)
    names = [key for key, u in plain.named_parameters() if u.mask is not None]
    assert masks.counts(plain, names)[0] == left
    assert not any(key.endswith("rho") for key, _ in plain.named_parameters())
    small = surgery.remove_unused_paths(plain, shape, border="map")
    assert gradcheck.relative_error(small.forward(x), net.forward(x)) <= TOLERANCE


def test_the_threshold_is_the_layers_own_and_strict():
    rng = np.random.default_rng(0)
    layer = VariationalLinear(3, 1, rng, threshold=1.5)
    layer.W.data, layer.rho.data = np.array([[1.0, -1.0, 1.0]]), np.array([[0.5, 0.75, 1.0]])
    assert layer.kept().tolist() == [[1, 0, 0]]
    layer.threshold = 3
    assert layer.kept().tolist() == [[1, 1, 1]]
    layer.threshold = -math.inf
    assert layer.kept().tolist() == [[0, 0, 0]]


def test_what_is_masked_has_no_noise_no_prior_and_stays_masked():
    net, x, t = noisy("dense", fixed=False)
    layer = net.layers[0]
    masks.apply(net, {"0.W": np.array([[1.0, 0, 0, 1]] * 5)})
    prior = LogUniformPrior(net, 10)
    state = layer.rng.bit_generator.state
    y = layer.forward(x)
    layer.rng.bit_generator.state = state
    x[1:3] = np.random.default_rng(1).standard_normal((2, 6))
    np.testing.assert_allclose(layer.forward(x), y, rtol=1e-14)
    swept(net, x, t)
    prior.after_backward(1)
    assert np.abs(layer.rho.grad[:, 1:3]).max() <= 1e-30
    rest = prior.penalty()
    layer.W.data = np.where(layer.W.mask == 0, 1.0, layer.W.data)  # as if it were not masked
    assert prior.penalty() > rest
    assert not layer.kept()[:, 1:3].any() and not surgery.harden(net).layers[0].W.data[:, 1:3].any()


def test_counts_and_tracing_know_the_layers_and_surgery_refuses_them():
    rng = np.random.default_rng(0)
    net = nn.Sequential(*flatten(rng)[0])
    plain = surgery.harden(net)
    assert count(net, (2, 3, 5)).macs == count(plain, (2, 3, 5)).macs == 24 * 8 + 12
    assert count(net, (2, 3, 5)).parameters == count(plain, (2, 3, 5)).parameters == 24 + 12
    extra = count(net, (2, 3, 5), "full").parameters - count(plain, (2, 3, 5), "full").parameters
    assert extra == 24 + 12  # rho is counted as all parameters are: harden first
    assert trace(net).outputs["0"] == trace(plain).outputs["0"] and "VariationalConv2d" in channels.table(net)
    message = (
        r"^0 is a VariationalConv2d, which draws noise in training: expected the net that pruning\.surgery\.harden"
    )
    with pytest.raises(ValueError, match=message):
        surgery.remove(net, {"0.W": [0, 1]})
    assert surgery.remove(plain, {"0.W": [0, 1]}).layers[3].n_in == 4


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_plain_net_becomes_one_that_learns_its_noise(dtype):
    rng = np.random.default_rng(0)
    body = nn.Sequential(
        nn.Conv2d(3, 4, 3, rng, padding=1, dtype=dtype), nn.ReLU(), nn.Conv2d(4, 3, 1, rng, dtype=dtype)
    )
    mapped = nn.Conv2d(2, 3, 1, rng, dtype=dtype, bias_map=(4, 5))
    mapped.bias_map = rng.standard_normal((3, 4, 5)).astype(dtype)
    net = nn.Sequential(
        mapped, nn.BatchNorm(3, dtype=dtype), nn.Residual(body), nn.Flatten(), nn.Linear(60, 2, rng, dtype=dtype)
    )
    masks.apply(net, {"4.W": (rng.random((2, 60)) < 0.5) * 1.0})
    noisy_net, x = vd.variational(net.eval(), rng, log_sigma=-20), rng.standard_normal((2, 4, 5, 6)).astype(dtype)
    kinds = [type(layer) for layer in noisy_net.modules() if isinstance(layer, vd.Variational)]
    assert kinds == [VariationalConv2d] * 3 + [VariationalLinear]
    np.testing.assert_array_equal(noisy_net.forward(x), net.forward(x))  # next to no noise: all weights stay
    assert {u.dtype for u in noisy_net.parameters()} == {np.dtype(dtype)}
    assert noisy_net.layers[4].W.data is not net.layers[4].W.data
    again = surgery.harden(noisy_net)
    assert [type(layer) for layer in again.modules()] == [type(layer) for layer in net.modules()]
    for (name, u), (_, v) in zip(net.named_parameters(), again.named_parameters()):
        np.testing.assert_array_equal(v.data, u.data, name)
    with pytest.raises(TypeError, match=r"an np.random.Generator"):
        vd.variational(net, None)
    with pytest.raises(ValueError, match="outline"):
        vd.variational(nn.Sequential(nn.Linear(2, 3, None)), rng)


def test_a_copy_draws_the_same():
    net, x, _ = noisy("convolutions", fixed=False)
    again = surgery.duplicate(net)
    assert again.layers[0].rng is not net.layers[0].rng
    for _ in range(2):
        np.testing.assert_array_equal(again.forward(x), net.forward(x))


@pytest.mark.parametrize("ask", [nn.curvature.hess_diag, nn.curvature.gradient], ids=["hess_diag", "gradient"])
def test_second_derivatives_are_refused(ask):
    net, x, t = noisy("dense")
    with pytest.raises(ValueError, match=r"VariationalLinear has no rule for|no derivative in eval"):
        ask(net, nn.SquaredError(), x, t)
    for layer in (net.layers[0], noisy("convolutions")[0].layers[0]):
        for rule in (layer.backward_hessian, layer.backward_hessian_parameters, layer.backward_hessian_full):
            with pytest.raises(
                ValueError,
                match=r"^Variational(Linear|Conv2d) has no (rule for the diagonal|full second-derivative rule)",
            ):
                rule(x, x)


def test_the_sweeps_of_whole_nets_refuse_the_layers():
    net, x, t = noisy("dense")
    v = {name: u.data for name, u in net.named_parameters()}
    with pytest.raises(ValueError, match="VariationalLinear has no"):
        nn.curvature.hessian_vector_product(net, nn.SquaredError(), x, t, v)
    for rule in ("ggn", "fisher"):
        with pytest.raises(ValueError, match="VariationalLinear has no"):
            nn.curvature.hess_diag(net, nn.SquaredError(), x, t, rule=rule)


# ---- runs ------------------------------------------------------------------------------------------------------------
def run_of(epochs, path=None):
    rng = np.random.default_rng(0)
    net = nn.Sequential(VariationalConv2d(1, 3, 2, rng), nn.Tanh(), nn.Flatten(), VariationalLinear(12, 3, rng))
    x, t, optimizer = rng.standard_normal((1, 3, 3, 12)), rng.integers(0, 3, 12), nn.Adam(net.parameters(), 0.01)
    prior = LogUniformPrior(net, 12, nn.Ramp(optimizer, 9), EXACT)
    history = train(net, nn.SoftmaxCrossEntropy(), optimizer, x, t, epochs, 4, rng, companions=[prior],
                    checkpoint_path=path, checkpoint_every=2, progress=False)  # fmt: skip
    return net, x, history


def test_checkpoints_know_the_layers_and_a_run_goes_on_to_the_bit(tmp_path):
    whole, x, history = run_of(4)
    for epochs in (1, 3, 4):
        net, _, resumed = run_of(epochs, tmp_path / "run.npz")
    np.testing.assert_array_equal(gradcheck.flat(net), gradcheck.flat(whole))
    assert resumed == history and history[0]["penalty"] > 0
    loaded = nn.checkpoint.load(tmp_path / "run.npz")
    np.testing.assert_array_equal(loaded.forward(x), net.eval().forward(x))
    assert loaded.layers[3].threshold == 3 and loaded.layers[0].log_sigma == -5
    with pytest.raises(ValueError, match=r"^VariationalConv2d has no rng to draw noise with"):
        loaded.train().forward(x)


RUN = """
from pruning.penalties.variational_dropout import LogUniformPrior, VariationalConv2d, VariationalLinear

rng = np.random.default_rng(0)
layers = [VariationalConv2d(1, 6, 2, rng), nn.Tanh(), nn.Flatten(), VariationalLinear(54, 20, rng), nn.Tanh()]
net = nn.Sequential(*layers, VariationalLinear(20, 3, rng))
optimizer = nn.Adam(net.parameters(), 1e-3)
x, t = rng.standard_normal((1, 4, 4, 60)), rng.integers(0, 3, 60)
nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, x, t, 60, 10, rng,
                  companions=[LogUniformPrior(net, 60, nn.Ramp(optimizer, 200, start=11))], checkpoint_path=path,
                  checkpoint_every=2, progress=False)
"""


@pytest.mark.slow
def test_a_killed_run_ends_in_the_same_bits(tmp_path):
    assert_killed_runs_end_in_the_same_bits(RUN, tmp_path)


# ---- bad input -------------------------------------------------------------------------------------------------------
def with_data(**data):
    net = nn.Sequential(VariationalLinear(3, 2, np.random.default_rng(0)))
    for name, change in data.items():
        change(getattr(net.layers[0], name).data)
    return net


def set_at(value):
    def change(array):
        array[0, 1] = value

    return change


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda rng: LogUniformPrior(with_data(W=set_at(0)), 10), r"^expected no weight of 0 in 0\.W, .*, got 1$"),
        (lambda rng: LogUniformPrior(with_data(rho=set_at(-math.inf)), 10), r"^expected finite log sigma in 0\.rho"),
        (lambda rng: LogUniformPrior(with_data(rho=set_at(math.nan)), 10), r"^expected finite log sigma in 0\.rho"),
        (lambda rng: LogUniformPrior(with_data(), 0), "^expected a whole number of training patterns of at least 1"),
        (lambda rng: LogUniformPrior(with_data(), -5), "^expected a whole number of training patterns of at least 1"),
        (lambda rng: LogUniformPrior(with_data(), 2.5), "^expected a whole number of training patterns of at least 1"),
        (lambda rng: LogUniformPrior(with_data(), 10, ramp=0.5), "^expected a ramp such as .*, got float$"),
        (lambda rng: LogUniformPrior(with_data(), 10, divergence="exact"), "^expected the divergence .*, got str$"),
        (lambda rng: LogUniformPrior([], 10), "^expected a net, got list$"),
        (lambda rng: LogUniformPrior(nn.Sequential(nn.Linear(2, 2, rng)), 10), "^expected a net with a Variational"),
        (lambda rng: VariationalLinear(3, 2, rng, threshold=math.nan), "^expected a threshold of log alpha, .*got NaN"),
        (lambda rng: VariationalLinear(3, 2, rng, threshold="3"), "^expected a number for the threshold"),
        (lambda rng: VariationalLinear(3, 2, rng, log_sigma=-math.inf), "^expected a finite log sigma, got -inf$"),
        (lambda rng: VariationalConv2d(3, 2, 1, rng, log_sigma=math.nan), "^expected a finite log sigma, got nan$"),
        (lambda rng: VariationalLinear(3, 2, 7), "an np.random.Generator"),
        (lambda rng: surgery.harden(nn.Sequential(VariationalLinear(3, 2, None))), "outline"),
        (lambda rng: VariationalLinear(3, 2, rng).forward(np.ones((4, 5))), r"expected inputs \(3, N\), got \(4, N\)"),
        (lambda rng: VariationalLinear(3, 2, rng).forward(np.ones((3, 5), int)), "^VariationalLinear expected flo"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make(np.random.default_rng(0))


def test_noise_and_signals_of_another_shape_are_refused():
    layer = VariationalLinear(3, 2, np.random.default_rng(0))
    layer.noise = np.ones((2, 1))
    with pytest.raises(ValueError, match=r"^VariationalLinear expected noise of shape \(2, 5\), got \(2, 1\)$"):
        layer.forward(np.ones((3, 5)))
    layer.noise = None
    for mode in ("train", "eval"):
        getattr(layer, mode)().forward(np.ones((3, 5)))
        with pytest.raises(ValueError, match=r"^VariationalLinear expected a derivative of shape"):
            layer.backward(np.ones((2, 4)))
