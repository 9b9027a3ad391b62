"""Hard concrete gates: derivatives at fixed noise, probabilities against draws and quadrature, hardening, bad input."""

import copy

import numpy as np
import pytest
from killing import assert_killed_runs_end_in_the_same_bits

import nn
from nn import backend, gradcheck
from pruning import surgery
from pruning.counts import count
from pruning.penalties.hard_concrete import HardConcrete, HardConcreteLinear

TOLERANCE = 1e-12
SHAPES = [(4, 6), (4, 3, 2, 6)]
SPREAD = np.array([-2.0, 1.5, -0.4, 3.0, 0.7])


def gated(shape, per_sample, seed=0):
    """Gates of inputs and of units or filters, x, t; their noise is fixed, with closed and open gates."""
    rng = np.random.default_rng(seed)
    layer = (
        (lambda i, o: nn.Linear(i, o, rng)) if len(shape) == 2 else (lambda i, o: nn.Conv2d(i, o, 2, rng, padding=1))
    )
    gates = [HardConcrete(4, rng, per_sample=per_sample), HardConcrete(5, rng, 0.3, 0.9, -0.2, 1.3, per_sample)]
    net = nn.Sequential(gates[0], layer(4, 5), nn.Tanh(), gates[1], nn.Flatten())
    net.layers.append(nn.Linear(net.output_shape(shape[:-1])[0], 2, rng))
    for gate in gates:
        gate.log_alpha.data = SPREAD[: gate.channels] + 0.01
        gate.noise = gate.draw(shape[-1])
    return net, rng.standard_normal(shape), rng.standard_normal((2, shape[-1]))


def single_weights(seed=0):
    rng = np.random.default_rng(seed)
    layer = HardConcreteLinear(4, 5, rng)
    layer.noise = rng.uniform(0.02, 0.98, (5, 4))
    net = nn.Sequential(nn.Linear(3, 4, rng), nn.Tanh(), layer, nn.Tanh(), nn.Linear(5, 2, rng))
    return net, rng.standard_normal((3, 6)), rng.standard_normal((2, 6))


CASES = {
    "units, a draw for the batch": lambda: gated(SHAPES[0], False),
    "units, a draw for each pattern": lambda: gated(SHAPES[0], True),
    "filters, a draw for the batch": lambda: gated(SHAPES[1], False),
    "filters, a draw for each pattern": lambda: gated(SHAPES[1], True),
    "single weights": single_weights,
}


def swept(net, x, t):
    loss = nn.SquaredError()
    loss.forward(net.forward(x), t)
    return loss, net.backward(loss.backward())


@pytest.mark.parametrize("case", CASES)
def test_gradients_at_fixed_noise_equal_the_complex_step_and_autograd(case):
    net, x, t = CASES[case]()
    loss, gx = swept(net, x, t)
    zs = np.concatenate([layer.z.ravel() for layer in net.layers if hasattr(layer, "z")])
    assert (zs == 0).any() and (zs == 1).any() and ((zs > 0) & (zs < 1)).any()
    ours = {name: u.grad for name, u in net.named_parameters()}
    gu, gx_step = gradcheck.gradient_by_differences(copy.deepcopy(net), loss, x, t)
    assert gradcheck.relative_error(gradcheck.flat(net, "grad"), gu) <= TOLERANCE
    assert gradcheck.relative_error(gx, gx_step) <= TOLERANCE
    ends = np.cumsum([u.size for u in ours.values()])
    for (name, g), of_all in zip(ours.items(), np.split(gu, ends[:-1])):
        assert g.any() and gradcheck.relative_error(g.ravel(), of_all) <= TOLERANCE, name
    from referees.networks import autograd_gradient

    gu, gx_reference = autograd_gradient(net, loss, x, t)
    assert gradcheck.relative_error(gradcheck.flat(net, "grad"), gu) <= TOLERANCE
    assert gradcheck.relative_error(gx, gx_reference) <= TOLERANCE


def test_the_gate_by_hand():
    """One u, the formula of the paper in plain numbers; a closed and a wholly open gate have no gradient."""
    gate = HardConcrete(3, np.random.default_rng(0))
    gate.log_alpha.data, gate.noise = np.array([0.5, -3.0, 3.0]), np.array([0.4, 0.1, 0.9])
    y = gate.forward(np.ones((3, 1)))
    s = 1 / (1 + np.exp(-(np.log(0.4 / 0.6) + 0.5) / (2 / 3)))
    np.testing.assert_allclose(y[:, 0], [1.2 * s - 0.1, 0, 1], rtol=1e-14)
    gate.backward(np.full((3, 1), 2.0))
    np.testing.assert_allclose(gate.log_alpha.grad, [2 * 1.2 * s * (1 - s) * 1.5, 0, 0], rtol=1e-14)


@pytest.mark.parametrize("case", CASES)
def test_the_same_on_every_library(case, library):
    net, x, t = CASES[case]()
    other = copy.deepcopy(net).to(library.xp)
    z, s = library.xp.asarray(x), library.xp.asarray(t)
    for mode in ("train", "eval"):
        getattr(net, mode)(), getattr(other, mode)()
        loss, gx = swept(net, x, t)
        other_loss, other_gx = swept(other, z, s)
        np.testing.assert_allclose(backend.to_numpy(other_gx), gx, rtol=1e-12, atol=1e-13)
        for p, q in zip(net.parameters(), other.parameters()):
            assert (p.grad is None) == (q.grad is None)
            if p.grad is not None:
                np.testing.assert_allclose(backend.to_numpy(q.grad), p.grad, rtol=1e-12, atol=1e-13)
    for ours, theirs in zip(net.modules(), other.modules()):
        if isinstance(ours, HardConcrete | HardConcreteLinear):
            for name in ("open", "wholly_open", "mean", "factor"):
                found = backend.to_numpy(getattr(theirs, name)())
                np.testing.assert_allclose(found, getattr(ours, name)(), rtol=1e-12)


def test_float32_stays_and_extreme_gates_are_finite():
    for dtype in (np.float32, np.float64):
        gate = HardConcrete(3, np.random.default_rng(0), beta=0.05, per_sample=True, dtype=dtype)
        gate.log_alpha.data = np.array([-4.6, 0, 4.6], dtype)
        x = np.ones((3, 2, 2, 2000), dtype)
        with np.errstate(all="raise", under="ignore"):
            y = gate.forward(x)
            gx = gate.backward(x)
        found = (y, gx, gate.log_alpha.grad, gate.open(), gate.wholly_open(), gate.mean(), gate.eval().forward(x))
        assert {each.dtype for each in found} == {np.dtype(dtype)}
        assert all(np.isfinite(each).all() for each in found) and gate.hardened().s.dtype == dtype
    layer = HardConcreteLinear(3, 2, np.random.default_rng(0), dtype=np.float32)
    y = layer.forward(np.ones((3, 4), np.float32))
    layer.backward(y)
    assert {y.dtype, layer.W.grad.dtype, layer.log_alpha.grad.dtype} == {np.dtype(np.float32)}
    assert surgery.harden(nn.Sequential(layer)).layers[0].W.dtype == np.float32


# ------------------------------------------------------------------------------------------------ probabilities


@pytest.mark.parametrize("beta", [2 / 3, 1.0, 0.3])
def test_probabilities_and_the_mean_against_a_million_draws(beta):
    gate = HardConcrete(4, np.random.default_rng(1), beta=beta, per_sample=True)
    gate.log_alpha.data = np.array([-3.0, -0.5, 1.0, 3.5])
    N = 10**6
    z = gate.gates(gate.draw(N))
    for found, p in (((z == 0).mean(axis=1), 1 - gate.open()), ((z == 1).mean(axis=1), gate.wholly_open())):
        assert np.all(np.abs(found - p) <= 4 * np.sqrt(p * (1 - p) / N))
    assert np.all(np.abs(z.mean(axis=1) - gate.mean()) <= 4 * z.std(axis=1) / np.sqrt(N))


def mean_in_closed_form(alpha, gamma, zeta):
    """E z at beta = 1: the integral of P(s > q) = alpha (1 - q) / (alpha (1 - q) + q) where z is between 0 and 1."""
    low, high = -gamma / (zeta - gamma), (1 - gamma) / (zeta - gamma)
    d = 1 - alpha
    F = lambda q: alpha * (np.log(alpha + d * q) / d**2 - q / d)  # noqa: E731
    return (zeta - gamma) * (F(high) - F(low))


@pytest.mark.parametrize(("gamma", "zeta"), [(-0.1, 1.1), (-0.3, 1.05), (-1.0, 2.0)])
def test_the_mean_at_beta_1_in_closed_form(gamma, zeta):
    a = np.array([-4.6, -2.0, -0.7, 0.6, 2.0, 4.6])
    gate = HardConcrete(6, np.random.default_rng(0), beta=1, gamma=gamma, zeta=zeta)
    gate.log_alpha.data = a
    np.testing.assert_allclose(gate.mean(), mean_in_closed_form(np.exp(a), gamma, zeta), rtol=1e-12)


def toy(log_alpha):
    """E (z_1 w_1 + z_2 w_2 - t)^2 of two gates by quadrature: the masses at 0 and 1, and Gauss points of u between."""
    beta, gamma, zeta = 2 / 3, -0.1, 1.1
    nodes, weights = np.polynomial.legendre.leggauss(60)
    values, masses = [], []
    for a in log_alpha:
        closed = 1 / (1 + np.exp(a - beta * np.log(-gamma / zeta)))
        below = 1 / (1 + np.exp(a - beta * np.log((1 - gamma) / (zeta - 1))))
        u = closed + (below - closed) * (nodes + 1) / 2
        s = 1 / (1 + np.exp(-(np.log(u / (1 - u)) + a) / beta))
        values.append(np.concatenate([[0, 1], s * (zeta - gamma) + gamma]))
        masses.append(np.concatenate([[closed, 1 - below], weights / 2 * (below - closed)]))
    losses = (W[0] * values[0][:, None] + W[1] * values[1] - T) ** 2
    return masses[0] @ losses @ masses[1]


W, T, TOY = (1.2, -0.7), 0.6, np.array([-0.6, 0.9])


def test_the_gradient_along_the_path_against_quadrature():
    """On average over draws, backward gives the derivative of the expected loss: two gates, masses at 0 and 1."""
    assert abs(toy(TOY) - toy(TOY + 1e-30j).real) < 1e-14
    expected = gradcheck.complex_step(toy, TOY)
    rng, batches, N = np.random.default_rng(3), 400, 500
    gate, loss = HardConcrete(2, rng, per_sample=True), nn.SquaredError()
    gate.log_alpha.data = TOY
    net = nn.Sequential(gate, nn.Linear(2, 1, rng))
    net.layers[1].W.data = np.array([W])
    E, g = np.empty(batches), np.empty((batches, 2))
    for k in range(batches):
        E[k] = loss.forward(net.forward(np.ones((2, N))), np.full((1, N), T))
        net.backward(loss.backward())
        g[k] = gate.log_alpha.grad
    for found, exact in ((E, toy(TOY)), (g, expected)):
        error = np.abs(found.mean(axis=0) - exact)
        assert np.all(error <= 4 * found.std(axis=0, ddof=1) / np.sqrt(batches))
    wrong = np.abs(expected) * 0.1  # the test would see a tenth of it
    assert np.all(wrong > 4 * g.std(axis=0, ddof=1) / np.sqrt(batches))


def test_the_gate_of_eval_mode_is_neither_mean_nor_median_and_closes_early():
    a = np.linspace(-4.6, 4.6, 921)
    gate = HardConcrete(a.size, np.random.default_rng(0))
    gate.log_alpha.data = a
    median = np.clip(1.2 / (1 + np.exp(-1.5 * a)) - 0.1, 0, 1)  # u = 1/2
    assert np.abs(gate.factor() - gate.mean()).max() == pytest.approx(0.103, abs=5e-4)
    assert np.abs(gate.factor() - median).max() == pytest.approx(0.108, abs=5e-4)
    gate.log_alpha.data = np.full(a.size, -np.log(11))
    np.testing.assert_allclose(gate.factor(), 0, atol=1e-15)
    np.testing.assert_allclose(gate.open(), 1 / (1 + 11 ** (1 / 3)), rtol=1e-12)
    assert gate.open()[0] == pytest.approx(0.31, abs=0.005) and -np.log(11) == pytest.approx(-2.398, abs=5e-4)
    gate.log_alpha.data -= 1e-9
    assert not gate.factor().any()


# ------------------------------------------------------------------------------------------ a layer among layers


def test_one_draw_for_the_batch_or_one_for_each_pattern_and_none_in_eval_mode():
    gate = HardConcrete(3, np.random.default_rng(0))
    assert gate.draw(7).shape == (3,)
    each = HardConcrete(3, np.random.default_rng(0), per_sample=True)
    assert each.draw(7).shape == (3, 7)
    y = each.forward(np.ones((3, 7)))
    assert len(np.unique(y)) > 7
    for layer in (gate, HardConcreteLinear(3, 2, np.random.default_rng(0))):
        x = np.ones((3, 7))
        assert not np.array_equal(layer.forward(x), layer.forward(x))
        layer.eval()
        state = layer.rng.bit_generator.state
        np.testing.assert_array_equal(layer.forward(x), layer.forward(x))
        layer.backward(layer.forward(x))
        assert layer.rng.bit_generator.state == state and layer.log_alpha.grad is None


def test_where_log_alpha_starts():
    gate = HardConcrete(4000, np.random.default_rng(0), drop_rate=0.2)
    assert gate.log_alpha.data.mean() == pytest.approx(np.log(4), abs=1e-3)
    assert gate.log_alpha.data.std() == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize("shape", [(5,), (5, 3, 2)])
def test_a_gate_passes_the_examination_in_both_modes(shape):
    for per_sample in (False, True):
        gate = HardConcrete(5, np.random.default_rng(0), per_sample=per_sample)
        report = nn.verify(gate, (*shape, 4))
        assert report.ok, str(report)


@pytest.mark.parametrize("name", ["W", "log_alpha", "b"])
def test_second_derivatives_of_single_weights_are_exact_at_fixed_noise(name):
    rng = np.random.default_rng(2)
    layer = single_weights()[0].layers[2]
    x, t, h = rng.standard_normal((4, 7)), rng.standard_normal((5, 7)), rng.standard_normal((5, 7))
    u = getattr(layer, name)
    layer.backward_hessian(h * (layer.forward(x) - t), h)
    ours, at = u.hess_diag, u.data

    def gradient(v):
        u.data = v
        layer.backward(h * (layer.forward(x) - t))
        return u.grad

    H = gradcheck.complex_step(gradient, at).reshape(at.size, at.size)
    assert gradcheck.relative_error(ours.ravel(), np.diag(H)) <= TOLERANCE


def test_second_derivatives_of_gated_weights_are_those_of_the_product():
    net, x, t = single_weights()
    layer = net.layers[2]
    plain = nn.Sequential(*net.layers[:2], nn.Linear(4, 5, np.random.default_rng(0)), *net.layers[3:])
    loss, _ = swept(net, x, t)
    plain.layers[2].W.data, plain.layers[2].b = layer.z * layer.W.data, layer.b
    swept(plain, x, t)
    for sweep in ("diagonal", "full"):
        found = []
        for each in (net, plain):
            if sweep == "diagonal":
                found.append(each.backward_hessian(loss.backward(), loss.backward_hessian())[1])
            else:
                found.append(each.backward_hessian_full(loss.backward(), loss.hessian())[1])
        np.testing.assert_allclose(found[0], found[1], rtol=1e-13)
        np.testing.assert_allclose(layer.W.hess_diag, layer.z**2 * plain.layers[2].W.hess_diag, rtol=1e-13)


def norm(C, rng):
    layer = nn.BatchNorm(C)
    layer.gamma.data, layer.beta.data = rng.standard_normal((2, C))
    layer.running_mean, layer.running_variance = rng.standard_normal(C), rng.uniform(0.5, 2, C)
    return layer


def gate(C, rng, closed=(1,), opened=(0,)):
    layer = HardConcrete(C, rng)
    layer.log_alpha.data[list(closed)], layer.log_alpha.data[list(opened)] = -3.0, 3.0
    return layer


def nets():
    rng = np.random.default_rng(0)
    dense, conv = (lambda i, o: nn.Linear(i, o, rng)), (lambda i, o: nn.Conv2d(i, o, 3, rng, padding=1))
    body = nn.Sequential(conv(4, 6), norm(6, rng), gate(6, rng), nn.ReLU(), conv(6, 4))
    singles = HardConcreteLinear(5, 3, rng)
    singles.log_alpha.data = rng.normal(-2, 2, (3, 5))
    return {
        "chain": ([gate(4, rng), dense(4, 5), nn.ReLU(), gate(5, rng), dense(5, 2)], (4,)),
        "batch norm": ([conv(2, 6), norm(6, rng), gate(6, rng), nn.ReLU(), conv(6, 3), nn.Flatten(), dense(60, 2)],
                       (2, 4, 5)),
        "residual": ([conv(2, 4), nn.ReLU(), nn.Residual(body), nn.ReLU(), nn.Flatten(), dense(80, 3)], (2, 4, 5)),
        "flatten": ([conv(2, 4), nn.ReLU(), gate(4, rng), nn.MaxPool2d(2), nn.Flatten(), gate(16, rng, (0, 3, 9)),
                     dense(16, 3)], (2, 4, 4)),
        "filters": ([conv(2, 4), gate(4, rng), nn.ReLU(), conv(4, 5), gate(5, rng), nn.ReLU(), nn.GlobalAvgPool2d(),
                     dense(5, 2)], (2, 4, 4)),
        "single weights": ([dense(4, 5), nn.Tanh(), singles, nn.Tanh(), dense(3, 2)], (4,)),
    }  # fmt: skip


@pytest.mark.parametrize("name", nets())
def test_the_hardened_net_is_the_gated_net_in_eval_mode_and_zeros_can_be_removed(name):
    layers, shape = nets()[name]
    net = nn.Sequential(*layers).eval()
    x = np.random.default_rng(9).standard_normal((*shape, 5))
    plain = surgery.harden(net)
    y = net.forward(x)
    assert gradcheck.relative_error(plain.forward(x), y) <= TOLERANCE
    assert not any(name.endswith("log_alpha") for name, _ in plain.named_parameters())
    if name == "single weights":
        assert type(plain.layers[2]) is nn.Linear
        np.testing.assert_array_equal(plain.layers[2].W.data == 0, net.layers[2].factor() == 0)
        assert (plain.layers[2].W.data == 0).any()
        return
    small = surgery.remove_unused_paths(plain, shape, border="map")
    assert gradcheck.relative_error(small.forward(x), y) <= TOLERANCE
    assert count(small, shape).parameters < count(plain, shape).parameters


def test_a_net_with_gates_is_saved_and_loaded(tmp_path):
    layers, shape = nets()["single weights"]
    rng = np.random.default_rng(2)
    net = nn.Sequential(*layers, HardConcrete(2, rng, 0.3, 1.0, -0.2, 1.2, True)).eval()
    nn.checkpoint.save(tmp_path / "net.npz", net)
    loaded, x = nn.checkpoint.load(tmp_path / "net.npz"), rng.standard_normal((*shape, 4))
    np.testing.assert_array_equal(loaded.forward(x), net.forward(x))
    last = loaded.layers[-1]
    assert (last.drop_rate, last.beta, last.gamma, last.zeta, last.per_sample) == (0.3, 1.0, -0.2, 1.2, True)
    with pytest.raises(ValueError, match=r"^HardConcreteLinear has no rng to draw gates with"):
        loaded.train().forward(x)
    np.testing.assert_array_equal(surgery.duplicate(net).forward(x), net.forward(x))


@pytest.mark.parametrize("kind", [HardConcrete, HardConcreteLinear])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": 0.0}, "^expected gamma below 0, got 0.0: no gate would ever be closed$"),
        ({"gamma": float("nan")}, "^expected gamma below 0, got nan"),
        ({"zeta": 1.0}, "^expected zeta above 1, got 1.0: no gate would ever be wholly open$"),
        ({"beta": 0}, "^expected a temperature beta above 0, got 0.0$"),
        ({"beta": -1}, "^expected a temperature beta above 0, got -1.0$"),
        ({"drop_rate": 0}, "^expected a drop rate above 0 and below 1, got 0: its log alpha is infinite$"),
        ({"drop_rate": 1}, "^expected a drop rate above 0 and below 1, got 1"),
        ({"drop_rate": "half"}, "^expected a number for the drop rate, got 'half'$"),
        ({"dtype": int}, "^expected the dtype float32 or float64"),
    ],
)
def test_bad_input_is_one_sentence(kind, settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        kind(*(3, 2)[: 1 if kind is HardConcrete else 2], np.random.default_rng(0), **settings)


RUN = """
from pruning.penalties import families, l0

rng = np.random.default_rng(0)
gates = [l0.HardConcrete(40, np.random.default_rng(1)), l0.HardConcrete(4, np.random.default_rng(2), per_sample=True)]
single = l0.HardConcreteLinear(40, 3, np.random.default_rng(3))
net = nn.Sequential(gates[1], nn.Linear(4, 40, rng), nn.Tanh(), gates[0], single)
groups = {"0": families.columns(net, "1.W", 0.1), "3": families.filters(net, "1.W", 0.1)}
groups["4"] = families.Family({"4.W": (0, 1)}, 0.1)
x, t = rng.standard_normal((4, 60)), rng.integers(0, 3, 60)
rates = {gate.log_alpha: 10.0 for gate in l0.gates(net).values()}
optimizer = nn.Adam(net.parameters(), 1e-3, rates=rates)
nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, x, t, 60, 10, np.random.default_rng(4),
                  companions=[l0.ExpectedL0(net, groups, 60, weight_decay=0.1)], checkpoint_path=path,
                  checkpoint_every=2, progress=False)
"""


@pytest.mark.slow
def test_a_killed_run_ends_in_the_same_bits(tmp_path):
    assert_killed_runs_end_in_the_same_bits(RUN, tmp_path)
