"""Gates and taps: derivatives at fixed noise, in all shapes and libraries; modes; noise that resumes; bad input."""

import copy

import numpy as np
import pytest
from killing import assert_killed_runs_end_in_the_same_bits
from noisy_layers import CoinGate, ConcreteGate, Jitter

import nn
from nn import backend, gradcheck
from nn.training import train

TOLERANCE = 1e-12
SHAPES = [(4, 6), (4, 3, 2, 6)]


def gated(shape, by_pattern, seed=0, fixed=True):
    """A net with a gate in front of an activation and one behind, x, t; their noise is fixed."""
    rng = np.random.default_rng(seed)
    layer = (
        (lambda i, o: nn.Linear(i, o, rng)) if len(shape) == 2 else (lambda i, o: nn.Conv2d(i, o, 2, rng, padding=1))
    )
    gates = [ConcreteGate(5, rng, by_pattern), ConcreteGate(3, rng, by_pattern)]
    net = nn.Sequential(layer(4, 5), gates[0], nn.Tanh(), layer(5, 3), nn.Tanh(), gates[1], nn.Flatten())
    net.layers.append(nn.Linear(net.output_shape(shape[:-1])[0], 2, rng))
    for gate in gates if fixed else ():
        gate.noise = gate.draw(shape[-1])
    return net, rng.standard_normal(shape), rng.standard_normal((2, shape[-1]))


def swept(net, x, t):
    loss = nn.SquaredError()
    loss.forward(net.forward(x), t)
    return loss, net.backward(loss.backward())


@pytest.mark.parametrize("by_pattern", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_at_fixed_noise_equal_the_complex_step_and_autograd(shape, by_pattern):
    net, x, t = gated(shape, by_pattern)
    loss, gx = swept(net, x, t)
    ours = gradcheck.flat(net, "grad")
    gu, gx_step = gradcheck.gradient_by_differences(copy.deepcopy(net), loss, x, t)
    assert gradcheck.relative_error(ours, gu) <= TOLERANCE
    assert gradcheck.relative_error(gx, gx_step) <= TOLERANCE
    for name, u in net.named_parameters():
        if name.endswith((".a", ".tilt")):
            place = [n for n, _ in net.named_parameters()].index(name)
            sizes = np.cumsum([0, *(int(np.prod(p.shape)) for p in net.parameters())])
            assert gradcheck.relative_error(u.grad, gu[sizes[place] : sizes[place + 1]]) <= TOLERANCE, name
    from referees.networks import autograd_gradient

    gu, gx_reference = autograd_gradient(net, loss, x, t)
    assert gradcheck.relative_error(ours, gu) <= TOLERANCE
    assert gradcheck.relative_error(gx, gx_reference) <= TOLERANCE


@pytest.mark.parametrize("by_pattern", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_by_loops(shape, by_pattern):
    """z of each channel, or of channel and pattern; dE/dz added up over all that it multiplies."""
    rng = np.random.default_rng(1)
    gate, seen = ConcreteGate(4, rng, by_pattern), []
    gate.backward_gates = seen.append
    x, gy, hy = rng.standard_normal((3, *shape))
    y = gate.forward(x)
    gx, hx = gate.backward_hessian(gy, hy)
    gz = np.zeros(gate.z.shape)
    for index in np.ndindex(shape):
        which = (index[0], index[-1]) if by_pattern else index[0]
        z = gate.z[which]
        assert (y[index], gx[index]) == pytest.approx((z * x[index], z * gy[index]), rel=1e-14)
        assert hx[index] == pytest.approx(z**2 * hy[index], rel=1e-14)
        gz[which] += gy[index] * x[index]
    np.testing.assert_allclose(seen[0], gz, rtol=1e-12)
    assert gate.z.shape == ((4, shape[-1]) if by_pattern else (4,))


@pytest.mark.parametrize("by_pattern", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_diagonal_second_derivative_passes_exactly_at_fixed_noise(shape, by_pattern):
    rng = np.random.default_rng(2)
    gate = ConcreteGate(4, rng, by_pattern)
    gate.noise = gate.draw(shape[-1])
    x, t, h = rng.standard_normal((3, *shape))
    y = gate.forward(x)
    gx, hx = gate.backward_hessian(h * (y - t), h)
    H = gradcheck.complex_step(lambda v: gate.backward(h * (gate.forward(v) - t)), x).reshape(x.size, x.size)
    assert gradcheck.relative_error(hx.ravel(), np.diag(H)) <= TOLERANCE
    assert gate.a.hess_diag is None


@pytest.mark.parametrize("by_pattern", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_on_every_library(shape, by_pattern, library):
    net, x, t = gated(shape, by_pattern)
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
        pairs = [n.backward_hessian(e.backward(), e.backward_hessian()) for n, e in ((net, loss), (other, other_loss))]
        for ours, theirs in zip(*pairs):
            np.testing.assert_allclose(backend.to_numpy(theirs), ours, rtol=1e-12, atol=1e-13)


def test_float32_stays():
    gate = ConcreteGate(4, np.random.default_rng(0), dtype=np.float32)
    x = np.ones((4, 3, 2, 5), np.float32)
    for mode in ("train", "eval"):
        y = getattr(gate, mode)().forward(x)
        gx, hx = gate.backward_hessian(x, x)
        assert {each.dtype for each in (y, gx, hx)} == {np.dtype(np.float32)}
    assert gate.hardened().s.dtype == np.float32


def test_backward_parameters_fills_the_same_and_twice_changes_nothing():
    net, x, t = gated((4, 6), False)
    loss, gx = swept(net, x, t)
    once = gradcheck.flat(net, "grad")
    for sweep in (net.backward_parameters, net.backward, net.backward_parameters):
        sweep(loss.backward())
        np.testing.assert_array_equal(gradcheck.flat(net, "grad"), once)


def test_train_mode_draws_anew_and_eval_mode_neither_draws_nor_has_a_gradient():
    net, x, t = gated((4, 6), False, fixed=False)
    first, second = net.forward(x), net.forward(x)
    assert not np.array_equal(first, second)
    swept(net, x, t)
    gate = net.layers[1]
    state = gate.rng.bit_generator.state
    assert gate.a.grad is not None
    _, gx = swept(net.eval(), x, t)  # an attack between two steps
    assert gate.a.grad is None and gate.rng.bit_generator.state == state
    np.testing.assert_array_equal(net.forward(x), net.forward(x))
    loss = nn.SquaredError()
    slope = gradcheck.complex_step(lambda v: loss.forward(net.forward(v), t), x)
    assert gradcheck.relative_error(gx, slope) <= TOLERANCE
    with pytest.raises(ValueError, match="a parameter has no gradient"):
        nn.SGD(net.parameters(), 0.1).step()
    for ask in (nn.curvature.hess_diag, nn.curvature.gradient):
        with pytest.raises(
            ValueError, match=r"^1\.a has no derivative in eval mode: expected a net without random gates"
        ):
            ask(net, nn.SquaredError(), x, t)


def test_the_mode_of_the_forward_pass_decides():
    """The noise of a pass is there if it was made in train mode, whatever the mode is meanwhile."""
    net, x, t = gated((4, 6), False)
    loss = nn.SquaredError()
    loss.forward(net.forward(x), t)
    net.eval().backward(loss.backward())
    assert net.layers[1].a.grad is not None


def test_a_gate_without_parameters_has_hessian_vector_products():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(4, 3, rng), CoinGate(3, rng), nn.Tanh(), nn.Linear(3, 2, rng))
    x, t = rng.standard_normal((4, 6)), rng.standard_normal((2, 6))
    v = {name: rng.standard_normal(p.shape) for name, p in net.named_parameters()}
    Hv = nn.curvature.hessian_vector_product(net, nn.SquaredError(), x, t, v)
    H = gradcheck.hessian_by_differences(net.eval(), nn.SquaredError(), x, t)
    ours, along = (np.concatenate([np.ravel(each[name]) for name in v]) for each in (Hv, v))
    assert gradcheck.relative_error(ours, H @ along) <= TOLERANCE
    assert net.train().forward(x).shape == (2, 6)


@pytest.mark.parametrize("by_pattern", [False, True])
def test_a_gate_passes_the_examination_in_both_modes_and_a_wrong_one_does_not(by_pattern):
    gate = ConcreteGate(3, np.random.default_rng(0), by_pattern)
    for subject in (gate, CoinGate(3, np.random.default_rng(1)), nn.Sequential(gate, nn.Tanh())):
        report = nn.verify(subject, (3, 5))
        assert report.ok, str(report)
    lines = {(line.mode, line.name) for line in nn.verify(gate, (3, 2, 2, 4)).lines}
    assert {("train", "dE/da"), ("train", "d2E/dx2"), ("eval", "dE/dx")} <= lines and ("eval", "dE/da") not in lines

    class Halved(ConcreteGate):
        def backward_gates(self, gz):
            super().backward_gates(gz / 2)

    assert not nn.verify(Halved(3, np.random.default_rng(0), by_pattern), (3, 5)).ok


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConcreteGate(3, None).forward(np.ones((3, 2))), "^ConcreteGate has no rng to draw gates with"),
        (lambda: ConcreteGate(3, 7), "an np.random.Generator"),
        (lambda: CoinGate(0, None), "^expected at least one channel, got 0$"),
        (lambda: CoinGate(3, None).forward(np.ones((4, 2))), r"^CoinGate\(3\) expected 3 channels, got 4"),
        (lambda: nn.Gate(3, np.random.default_rng(0)).forward(np.ones((3, 2))), "^Gate does not say what it draws"),
        (lambda: nn.Gate(3, None).eval().forward(np.ones((3, 2))), "^Gate does not say what it multiplies"),
        (lambda: CoinGate(3, None).eval().forward(np.ones((3, 2), int)), "^CoinGate expected floating-point numbers"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_noise_and_signals_of_another_shape_are_refused():
    gate = CoinGate(3, np.random.default_rng(0))
    for noise in (np.ones(4), np.ones((3, 5)), np.ones((3, 1))):
        gate.noise = noise
        with pytest.raises(ValueError, match=r"^CoinGate expected gates of shape \(3,\) or \(3, 2\), got"):
            gate.forward(np.ones((3, 2)))
    gate.noise = None
    gate.forward(np.ones((3, 2)))
    with pytest.raises(ValueError, match="expected a derivative of shape"):
        gate.backward(np.ones((3, 4)))


def test_a_tap_shows_a_hidden_layer_to_a_second_loss():
    """E = loss(y) + sum of h^3 over a hidden layer h, against the complex step."""
    rng = np.random.default_rng(0)
    tap = nn.Tap()
    net = nn.Sequential(nn.Linear(4, 5, rng), nn.Tanh(), tap, nn.Linear(5, 2, rng))
    x, t, loss = rng.standard_normal((4, 6)), rng.standard_normal((2, 6)), nn.SquaredError()

    class Both:
        def forward(self, y, t):
            return loss.forward(y, t) + (tap.y**3).sum()

    gu, gx = gradcheck.gradient_by_differences(net, Both(), x, t)
    Both().forward(net.forward(x), t)
    tap.extra = 3 * tap.y**2
    for _ in range(2):
        assert gradcheck.relative_error(net.backward(loss.backward()), gx) <= TOLERANCE
        assert gradcheck.relative_error(gradcheck.flat(net, "grad"), gu) <= TOLERANCE
    np.testing.assert_array_equal(tap.y, tap.a)
    loss.forward(net.forward(x), t)  # extra is of one pass
    plain = gradcheck.gradient_by_differences(copy.deepcopy(net), loss, x, t)[1]
    assert gradcheck.relative_error(net.backward(loss.backward()), plain) <= TOLERANCE
    h, g = rng.standard_normal((2, 5, 6))
    gx, hx = tap.backward_hessian(g, h)
    assert gx is g and hx is h
    tap.extra, H = h, rng.standard_normal((5, 5, 6))
    gx, Hx = tap.backward_hessian_full(g, H)
    assert Hx is H
    np.testing.assert_array_equal(gx, g + h)
    tap.extra = np.ones((5, 1))
    with pytest.raises(ValueError, match=r"Tap expected a derivative of shape \(5, 6\)"):
        tap.backward(g)


def test_generators_under_any_name_are_found():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(4, 3, rng), Jitter(np.random.default_rng(1), np.random.default_rng(2)))
    net.layers.append(nn.Residual(nn.Sequential(ConcreteGate(3, np.random.default_rng(3)), nn.Linear(3, 3, rng))))
    assert [name for name, _ in net.named_generators()] == ["1.dice", "1.decks.0", "2.body.0.rng"]


@pytest.mark.parametrize("place", ["1.dice", r"1\.decks\.0"])
def test_a_generator_that_also_shuffles_is_refused_under_any_name(place):
    rng, own = np.random.default_rng(0), np.random.default_rng(1)
    jitter = Jitter(rng, own) if place == "1.dice" else Jitter(own, np.random.Generator(rng.bit_generator))
    net = nn.Sequential(nn.Linear(4, 3, np.random.default_rng(2)), jitter)
    before, state = gradcheck.flat(net), rng.bit_generator.state
    with pytest.raises(ValueError, match=rf"^expected a generator of its own as {place}, got the one that shuffles"):
        train(net, nn.SquaredError(), nn.SGD(net.parameters(), 0.1), np.ones((4, 6)), np.ones((3, 6)), 1, 2, rng)
    np.testing.assert_array_equal(gradcheck.flat(net), before)
    assert rng.bit_generator.state == state


def run_of(epochs, path=None, every=None):
    rng = np.random.default_rng(0)
    layers = [nn.Linear(4, 5, rng), ConcreteGate(5, np.random.default_rng(1)), nn.Tanh()]
    layers += [Jitter(np.random.default_rng(2), np.random.default_rng(3)), nn.Linear(5, 3, rng)]
    net = nn.Sequential(*layers)
    x, t = rng.standard_normal((4, 12)), rng.integers(0, 3, 12)
    train(net, nn.SoftmaxCrossEntropy(), nn.SGD(net.parameters(), 0.1, 0.9), x, t, epochs, 4, np.random.default_rng(4),
          checkpoint_path=path, checkpoint_every=every, progress=False)  # fmt: skip
    return net, x


def test_checkpoints_hold_all_generators_and_a_run_goes_on_to_the_bit(tmp_path):
    whole, x = run_of(4)
    for epochs in (1, 3, 4):
        net, _ = run_of(epochs, tmp_path / "run.npz", 2)
    np.testing.assert_array_equal(gradcheck.flat(net), gradcheck.flat(whole))
    for (_, a), (_, b) in zip(net.named_generators(), whole.named_generators()):
        assert a.bit_generator.state == b.bit_generator.state
    loaded = nn.checkpoint.load(tmp_path / "run.npz")
    np.testing.assert_array_equal(loaded.forward(x), net.eval().forward(x))
    with pytest.raises(ValueError, match="ConcreteGate has no rng to draw gates with"):
        loaded.train().forward(x)


RUN = """
sys.path.insert(0, "tests")
from noisy_layers import ConcreteGate, Jitter

class Pull(nn.Companion):
    def __init__(self, net, optimizer):
        self.net, self.gate, self.ramp = net, net.layers[1], nn.Ramp(optimizer, 130, start=11)

    def after_backward(self, step):
        self.gate.a.grad = self.gate.a.grad + 0.1 * self.ramp.value

    def penalty(self):
        return 0.1 * self.ramp.value * float(self.gate.a.data.sum())

rng = np.random.default_rng(0)
layers = [nn.Linear(4, 40, rng), ConcreteGate(40, np.random.default_rng(1)), Jitter(np.random.default_rng(2))]
net = nn.Sequential(*layers, nn.Tanh(), nn.Linear(40, 3, rng))
gates = dict.fromkeys(net.layers[1].parameters(), 10.0)
weights = {net.layers[0].W: 0.5, net.layers[4].W: 2.0}
optimizer = nn.Adam(net.parameters(), 1e-3, weight_decay=0.01, decayed=weights, rates=gates)
x, t = rng.standard_normal((4, 60)), rng.integers(0, 3, 60)
nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, x, t, 60, 10, np.random.default_rng(3),
                  nn.cosine_decay(1e-3, 60), companions=[Pull(net, optimizer)], checkpoint_path=path,
                  checkpoint_every=2, progress=False)
"""


@pytest.mark.slow
def test_a_killed_run_with_a_ramp_a_noisy_gate_and_groups_of_rates_ends_in_the_same_bits(tmp_path):
    assert_killed_runs_end_in_the_same_bits(RUN, tmp_path)
