"""Beta-Bernoulli gates: derivatives at fixed noise, means against draws, KL against quadrature, modes, bad input."""

import copy
import decimal
from decimal import Decimal

import numpy as np
import pytest

import nn
from nn import backend, gradcheck
from pruning import surgery
from pruning.counts import count
from pruning.penalties import beta_bernoulli
from pruning.penalties.beta_bernoulli import BetaBernoulli, Divergence

TOLERANCE = 1e-12
SHAPES = [(4, 6), (4, 3, 2, 6)]
# a is e^-5 to e^2 and b e^-2 to e^3 about: pi from nearly 0 to nearly 1.
A, B = np.array([-5.0, -1.0, 0.5, 3.0, 1.0]), np.array([0.3, -2.0, 2.0, 1.0, 4.0])


def softplus(raw):
    return np.log1p(np.exp(raw))


def gate_of(a_raw, b_raw, rng=None, **settings):
    gate = BetaBernoulli(len(a_raw), np.random.default_rng(0) if rng is None else rng, **settings)
    gate.a_raw.data, gate.b_raw.data = np.array(a_raw, float), np.array(b_raw, float)
    return gate


def gated(shape, seed=0, tau=0.7):
    rng = np.random.default_rng(seed)
    layer = (
        (lambda i, o: nn.Linear(i, o, rng)) if len(shape) == 2 else (lambda i, o: nn.Conv2d(i, o, 2, rng, padding=1))
    )
    gates = [gate_of(A[:4], B[:4], tau=tau), gate_of(A, B, tau=2 * tau)]
    net = nn.Sequential(gates[0], layer(4, 5), nn.Tanh(), gates[1], nn.Flatten())
    net.layers.append(nn.Linear(net.output_shape(shape[:-1])[0], 2, rng))
    for gate in gates:
        gate.noise = rng.uniform(0.02, 0.98, (2, gate.channels, shape[-1]))
    return net, rng.standard_normal(shape), rng.standard_normal((2, shape[-1]))


def swept(net, x, t):
    loss = nn.SquaredError()
    loss.forward(net.forward(x), t)
    return loss, net.backward(loss.backward())


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_at_fixed_noise_equal_the_complex_step_and_autograd(shape):
    net, x, t = gated(shape)
    loss, gx = swept(net, x, t)
    ours = {name: u.grad for name, u in net.named_parameters()}
    gu, gx_step = gradcheck.gradient_by_differences(copy.deepcopy(net), loss, x, t)
    ends = np.cumsum([u.size for u in ours.values()])
    for (name, g), of_all in zip(ours.items(), np.split(gu, ends[:-1])):
        assert g.any() and gradcheck.relative_error(g.ravel(), of_all) <= TOLERANCE, name
    assert gradcheck.relative_error(gx, gx_step) <= TOLERANCE
    from referees.networks import autograd_gradient

    gu, gx_reference = autograd_gradient(net, loss, x, t)
    assert gradcheck.relative_error(gradcheck.flat(net, "grad"), gu) <= TOLERANCE
    assert gradcheck.relative_error(gx, gx_reference) <= TOLERANCE


def test_the_gate_by_hand():
    """One pair u, v, the formulas in plain numbers."""
    gate = gate_of([0.5], [-0.3], tau=0.4)
    gate.noise = np.array([[[0.3]], [[0.6]]])
    y = gate.forward(np.ones((1, 1)))
    a, b = softplus(0.5), softplus(-0.3)
    pi = (1 - 0.3 ** (1 / b)) ** (1 / a)
    z = 1 / (1 + np.exp(-(np.log(pi / (1 - pi)) + np.log(0.6 / 0.4)) / 0.4))
    np.testing.assert_allclose(y[0, 0], z, rtol=1e-14)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_on_every_library(shape, library):
    net, x, t = gated(shape)
    other = copy.deepcopy(net).to(library.xp)
    z, s = library.xp.asarray(x), library.xp.asarray(t)
    for mode in ("train", "eval"):
        getattr(net, mode)(), getattr(other, mode)()
        _, gx = swept(net, x, t)
        _, other_gx = swept(other, z, s)
        np.testing.assert_allclose(backend.to_numpy(other_gx), gx, rtol=1e-12, atol=1e-13)
        for p, q in zip(net.parameters(), other.parameters()):
            assert (p.grad is None) == (q.grad is None)
            if p.grad is not None:
                np.testing.assert_allclose(backend.to_numpy(q.grad), p.grad, rtol=1e-12, atol=1e-13)
    swept(net.train(), x, t), swept(other.train(), z, s)
    for each in (net, other):
        Divergence(each, 2.0, 10).after_backward(1)
    for name in ("a_raw", "b_raw"):
        found = backend.to_numpy(getattr(other.layers[3], name).grad)
        np.testing.assert_allclose(found, getattr(net.layers[3], name).grad, rtol=1e-12)
    for name in ("mean", "factor", "divergence"):
        found = backend.to_numpy(getattr(other.layers[3], name)())
        np.testing.assert_allclose(found, getattr(net.layers[3], name)(), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("tau", [0.02, 0.1, 5.0])
def test_float32_stays_and_extreme_gates_are_finite(dtype, tau):
    """a and b of 1e-6 to 1e3: pi is 0 or 1 to all digits, and neither z nor a gradient leaves the finite numbers."""
    raw = np.array([-13.8, -3.0, 0.0, 7.0, 1000.0])
    a, b = (each.ravel().astype(dtype) for each in np.meshgrid(raw, raw))
    gate = BetaBernoulli(25, np.random.default_rng(0), tau=tau, dtype=dtype)
    gate.a_raw.data, gate.b_raw.data = a, b
    noise = gate.draw(500)
    noise[:, :, :4] = np.array([[1e-6, 1e-6, 1 - 1e-6, 1 - 1e-6], [1e-6, 1 - 1e-6, 1e-6, 1 - 1e-6]])[:, None]
    gate.noise = noise
    x = np.ones((25, 500), dtype)
    with np.errstate(all="raise", under="ignore"):
        y = gate.forward(x)
        gx = gate.backward(x)
        found = (y, gx, gate.a_raw.grad, gate.b_raw.grad, gate.mean(), gate.factor(), gate.divergence())
        found += gate.divergence_slopes()
    assert {each.dtype for each in found} == {np.dtype(dtype)}
    assert all(np.isfinite(each).all() for each in found)
    assert y.min() >= 0 and y.max() <= 1 and gate.hardened().s.dtype == dtype


def test_the_logarithm_of_a_complement_keeps_its_digits():
    with decimal.localcontext() as context:
        context.prec = 400
        for q in (1e-300, 1e-20, 1e-8, 0.3, 0.999999, 1.0, 5.0, 40.0, 700.0):
            exp = Decimal(q).exp()
            exact, slope = float((1 - 1 / exp).ln()), float(1 / (exp - 1))
            for ours, theirs in zip(beta_bernoulli._log_complement(np.array(q)), (exact, slope)):
                assert abs(float(ours) / theirs - 1) < 1e-15


# ------------------------------------------------------------------------------------------------- distributions


CASES = [(0.05, 1.0), (0.3132616875, 1.0), (1.0, 2.5), (3.0, 0.4), (0.7, 6.0)]


def raw_of(value):
    return value + np.log(-np.expm1(-value))


def integral(f, a, b):
    """The mean of f(log pi, log(1 - pi^a)) over u, by Gauss's rule in log u below 1/2 and in log(1 - u) above."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    edges = np.linspace(-80, np.log(0.5), 81)
    half = np.diff(edges)[:, None] / 2
    s = (edges[:-1, None] + half * (nodes + 1)).ravel()
    weight = (half * weights).ravel() * np.exp(s)
    total = 0.0
    for log_u in (s, np.log1p(-np.exp(s))):
        log_complement = log_u / b  # pi^a = 1 - u^(1/b)
        total += weight @ f(np.log(-np.expm1(log_complement)) / a, log_complement)
    return total


@pytest.mark.parametrize(("a", "b"), CASES)
def test_the_mean_and_the_divergence_by_quadrature(a, b):
    gate = gate_of([raw_of(a)], [raw_of(b)], alpha=0.01)
    assert abs(integral(lambda log_pi, _: np.ones_like(log_pi), a, b) - 1) < 1e-12
    assert abs(gate.mean()[0] - integral(lambda log_pi, _: np.exp(log_pi), a, b)) < 1e-10

    def log_ratio(log_pi, log_complement):
        """log of a b pi^(a-1) (1 - pi^a)^(b-1) over 0.01 pi^(0.01 - 1)."""
        ours = np.log(a * b) + (a - 1) * log_pi + (b - 1) * log_complement
        return ours - np.log(0.01) - (0.01 - 1) * log_pi

    assert abs(gate.divergence()[0] / integral(log_ratio, a, b) - 1) < 1e-10


@pytest.mark.parametrize(("a", "b"), CASES)
def test_the_slopes_of_the_divergence(a, b):
    gate, h = gate_of([raw_of(a)], [raw_of(b)]), 1e-4
    for raw, slope in zip((gate.a_raw, gate.b_raw), gate.divergence_slopes()):
        at, values = raw.data, []
        for k in (-2, -1, 1, 2):
            raw.data = at + k * h
            values.append(gate.divergence()[0])
        raw.data = at
        stencil = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
        assert abs(stencil - slope[0]) <= 1e-9 * max(1, abs(slope[0]))


def test_the_divergence_is_zero_at_the_prior_alone():
    gate = gate_of([raw_of(1e-4)], [raw_of(1.0)])
    assert abs(gate.divergence()[0]) < 1e-12
    assert max(abs(each[0]) for each in gate.divergence_slopes()) < 1e-12
    rng = np.random.default_rng(0)
    assert gate_of(rng.uniform(-9, 5, 200), rng.uniform(-5, 5, 200)).divergence().min() > 0


def test_means_against_draws():
    """E pi, and that z is above one half in a share E pi of the draws, at any temperature."""
    N = 400_000
    for tau in (0.1, 3.0):
        gate = gate_of(A, B, rng=np.random.default_rng(1), tau=tau)
        z = gate.gates(gate.draw(N))
        mean = gate.mean()
        share = (z > 0.5).mean(axis=1)
        assert np.all(np.abs(share - mean) <= 4.5 * np.sqrt(mean * (1 - mean) / N) + 2e-6)
        pi = np.exp(-gate.p)
        assert np.all(np.abs(pi.mean(axis=1) - mean) <= 4.5 * pi.std(axis=1) / np.sqrt(N) + 2e-6)
    assert mean.min() < 0.02 and mean.max() > 0.7


def test_a_and_b_have_their_places():
    """With b = 1 the mean is a / (1 + a), with a = 1 it is 1 / (1 + b): the swap is not the same."""
    x = np.array([0.1, 0.5, 4.0])
    one = np.full(3, raw_of(1.0))
    np.testing.assert_allclose(gate_of(raw_of(x), one).mean(), x / (1 + x), rtol=1e-12)
    np.testing.assert_allclose(gate_of(one, raw_of(x)).mean(), 1 / (1 + x), rtol=1e-12)
    start = BetaBernoulli(2, np.random.default_rng(0))
    np.testing.assert_allclose(start.a_raw.data, -1, rtol=1e-12)
    np.testing.assert_allclose(start.b_raw.data, 0.5413, rtol=1e-4)


def test_a_gate_is_closed_in_eval_mode_up_to_a_thousandth():
    a = np.array([0.9e-3, 0.999e-3, 1.003e-3, 1.1e-3])
    gate = gate_of(raw_of(a), np.full(4, raw_of(1.0))).eval()
    np.testing.assert_array_equal(gate.factor() > 0, [False, False, True, True])
    np.testing.assert_array_equal(gate.forward(np.ones((4, 2)))[:, 0], gate.factor())


# ------------------------------------------------------------------------------------------- a layer among layers


def test_every_pattern_has_draws_of_its_own_and_eval_mode_has_none():
    gate, x = BetaBernoulli(3, np.random.default_rng(0)), np.ones((3, 50))
    y = gate.forward(x)
    assert len(np.unique(y)) > 100 and not np.array_equal(gate.forward(x), y)
    gate.eval()
    state = gate.rng.bit_generator.state
    np.testing.assert_array_equal(gate.forward(x), gate.forward(x))
    gate.backward(x)
    assert gate.rng.bit_generator.state == state and gate.a_raw.grad is gate.b_raw.grad is None


@pytest.mark.parametrize("shape", [(5,), (5, 3, 2)])
def test_a_gate_passes_the_examination_in_both_modes(shape):
    gate = BetaBernoulli(5, np.random.default_rng(0), tau=1.0)
    report = nn.verify(gate, (*shape, 4))
    assert report.ok, str(report)


def test_the_hardened_net_is_the_gated_net_in_eval_mode_and_what_is_closed_can_be_removed():
    rng = np.random.default_rng(0)
    layers = [
        nn.Linear(4, 5, rng),
        nn.ReLU(),
        gate_of(np.where(A < 0, -9, A), np.where(A < 0, 1, B)),
        nn.Tap(),
        nn.Linear(5, 2, rng),
    ]
    net, x = nn.Sequential(*layers).eval(), rng.standard_normal((4, 7))
    plain = surgery.harden(net)
    assert gradcheck.relative_error(plain.forward(x), net.forward(x)) <= TOLERANCE
    small = surgery.remove_unused_paths(plain, (4,))
    assert gradcheck.relative_error(small.forward(x), net.forward(x)) <= TOLERANCE
    assert count(small, (4,)).parameters == 3 * 4 + 2 * 3


def test_a_net_with_gates_is_saved_and_loaded(tmp_path):
    net = nn.Sequential(BetaBernoulli(3, np.random.default_rng(0), 0.5, 2.0, 0.3, 1e-3)).eval()
    nn.checkpoint.save(tmp_path / "net.npz", net)
    loaded, x = nn.checkpoint.load(tmp_path / "net.npz"), np.ones((3, 4))
    np.testing.assert_array_equal(loaded.forward(x), net.forward(x))
    assert loaded.layers[0].config() == net.layers[0].config()
    with pytest.raises(ValueError, match=r"^BetaBernoulli has no rng to draw gates with"):
        loaded.train().forward(x)


# ------------------------------------------------------------------------------------------------- the companion


def test_the_companion_adds_beta_over_N_times_the_slopes():
    """N is that of the training patterns: another batch, the same pull."""
    for batch in (6, 12):
        net, x, t = gated((4, batch))
        swept(net, x, t)
        before = [gate.a_raw.grad for gate in net.layers if isinstance(gate, BetaBernoulli)]
        companion = Divergence(net, 3.0, 50)
        companion.after_backward(1)
        gates = [gate for gate in net.layers if isinstance(gate, BetaBernoulli)]
        for gate, old in zip(gates, before):
            np.testing.assert_allclose(gate.a_raw.grad - old, 3 / 50 * gate.divergence_slopes()[0], rtol=1e-9)
        assert companion.penalty() == pytest.approx(3 / 50 * sum(gate.divergence().sum() for gate in gates))
    assert sorted(beta_bernoulli.gates(net)) == ["0", "3"]


def test_a_strong_prior_closes_all_and_none_closes_nothing():
    opened = []
    for beta in (0.0, 1000.0):
        rng = np.random.default_rng(0)
        gate = BetaBernoulli(20, np.random.default_rng(1))
        net = nn.Sequential(nn.Linear(3, 20, rng), nn.ReLU(), gate, nn.Linear(20, 2, rng))
        x, t = rng.standard_normal((3, 40)), rng.integers(0, 2, 40)
        optimizer = nn.Adam(net.parameters(), 1e-2, rates=dict.fromkeys(gate.parameters(), 10))
        nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, x, t, 100, 40, np.random.default_rng(2),
                          companions=[Divergence(net, beta, 40)], progress=False)  # fmt: skip
        opened.append(int((gate.factor() > 0).sum()))
    assert opened == [20, 0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tau": 0}, "^expected a temperature tau above 0, got 0$"),
        ({"tau": -0.1}, "^expected a temperature tau above 0, got -0.1$"),
        ({"tau": float("inf")}, "^expected a temperature tau above 0, got inf$"),
        ({"a": 0}, "^expected a above 0, got 0$"),
        ({"b": float("nan")}, "^expected b above 0, got nan$"),
        ({"alpha": 0}, "^expected a prior with an alpha above 0, got 0$"),
        ({"tau": "warm"}, "^expected a number for a temperature tau, got 'warm'$"),
        ({"dtype": int}, "^expected the dtype float32 or float64"),
    ],
)
def test_bad_input_is_one_sentence(settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        BetaBernoulli(3, np.random.default_rng(0), **settings)


def test_the_companion_refuses_what_it_cannot_use():
    net, _, _ = gated((4, 6))
    with pytest.raises(ValueError, match=r"^expected a strength beta of 0 or more, got -1$"):
        Divergence(net, -1, 10)
    with pytest.raises(ValueError, match=r"^expected a whole N of at least 1, got 0$"):
        Divergence(net, 1, 0)
    with pytest.raises(ValueError, match=r"^expected a net with beta-Bernoulli gates, got one without$"):
        Divergence(nn.Sequential(nn.ReLU()), 1, 10)
    with pytest.raises(TypeError, match=r"^expected a net, got int$"):
        beta_bernoulli.gates(3)
    with pytest.raises(ValueError, match=r"^a gate has no gradient to add to"):
        Divergence(net, 1, 10).after_backward(1)
