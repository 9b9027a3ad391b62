"""Attack, vulnerability, and the two gradients: by hand and by autograd; runs that resume; bad input."""

import copy

import numpy as np
import pytest
from killing import assert_killed_runs_end_in_the_same_bits

import nn
from nn import backend, gradcheck
from nn.training import train
from pruning.penalties.adversarial import PGD, AdversarialGradients, taps, vulnerability
from pruning.penalties.beta_bernoulli import BetaBernoulli, Divergence, gates

TOLERANCE = 1e-12
LOSS = nn.SoftmaxCrossEntropy()


def net_of(gated=True, conv=False, tap=lambda place: nn.Tap(), tau=0.5):
    """A net with two hidden layers, gates and taps behind them."""
    rng = np.random.default_rng(0)
    first = [nn.Conv2d(1, 5, 2, rng), nn.Tanh()] if conv else [nn.Flatten(), nn.Linear(9, 5, rng), nn.Tanh()]
    layers = [*first, *([BetaBernoulli(5, rng, 1.0, tau=tau)] if gated else []), tap(0)]
    layers += [nn.Flatten(), nn.Linear(20 if conv else 5, 6, rng), nn.ReLU()]
    layers += [*([BetaBernoulli(6, rng, 2.0, 0.7, tau=tau)] if gated else []), tap(1), nn.Linear(6, 3, rng)]
    return nn.Sequential(*layers)


def data(N=7, seed=3):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 1, (1, 3, 3, N))
    x.ravel()[:4] = [0, 1, 0.01, 0.99]
    return x, rng.integers(0, 3, N)


# ------------------------------------------------------------------------------------------------------ the attack


@pytest.mark.parametrize("eps", [0.0, 0.05, 0.3, 2.0])
def test_the_attack_stays_in_the_ball_and_in_the_box(eps):
    net, (x, t) = net_of(), data()
    for rng in (None, np.random.default_rng(0)):
        attacked = PGD(eps, 0.4 * eps, 7)(net, LOSS, x, t, rng)
        assert np.abs(attacked - x).max() <= eps + 1e-15 and attacked.min() >= 0 and attacked.max() <= 1
        assert eps == 0 or np.abs(attacked - x).max() > min(0.9 * eps, 0.5)


def test_one_step_at_a_time_as_the_formula_says():
    """Projection after the step, on the ball of the first image and not of the last point."""
    net, (x, t) = net_of(gated=False), data()
    net.eval()
    eps, step = 0.1, 0.07
    point = np.array(x)
    for _ in range(3):
        gx = gradcheck.gradient_by_differences(copy.deepcopy(net), LOSS, point, t)[1]
        point = np.clip(np.clip(point + step * np.sign(gx), x - eps, x + eps), 0, 1)
    found = PGD(eps, step, 3)(net, LOSS, x, t, None)
    np.testing.assert_allclose(found, point, rtol=0, atol=1e-15)
    assert (np.abs(found - x) > 0.09).any()


def test_where_nothing_pulls_nothing_moves():
    """sign(0) = 0: a pixel that the net does not read stays where it is."""
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(4, 3, rng))
    net.layers[0].W.data[:, [0, 2]] = 0
    x = np.full((4, 5), 0.5)
    attacked = PGD(0.2, 0.1, 3)(net, LOSS, x, rng.integers(0, 3, 5), None)
    np.testing.assert_array_equal(attacked[[0, 2]], 0.5)
    assert (attacked[[1, 3]] != 0.5).all()


def test_of_a_linear_loss_the_attack_finds_the_maximum():
    """Two classes and one affine layer: the loss falls with the margin, whose least value is known."""
    rng = np.random.default_rng(0)
    net, eps = nn.Sequential(nn.Linear(6, 2, rng)), 0.05
    x, t = rng.uniform(0.1, 0.9, (6, 20)), rng.integers(0, 2, 20)
    attacked = PGD(eps, eps / 4, 20)(net, LOSS, x, t, rng)
    margin = lambda points: (2 * t - 1) * (np.array([-1, 1]) @ net.forward(points))  # noqa: E731
    w = net.layers[0].W.data[1] - net.layers[0].W.data[0]
    np.testing.assert_allclose(margin(attacked), margin(x) - eps * np.abs(w).sum(), rtol=1e-12)


def test_it_starts_in_the_ball_where_the_generator_says_and_leaves_the_net_as_it_was():
    net, (x, t) = net_of(), data()
    start = PGD(0.1, 0.1, 0)(net, LOSS, x, t, np.random.default_rng(5))
    u = np.random.default_rng(5).uniform(-0.1, 0.1, x.shape)
    np.testing.assert_allclose(start, np.clip(x + u, 0, 1), atol=1e-15)
    net.forward(x)
    net.backward(np.ones((3, 7)))
    grads, states = [u.grad for u in net.parameters()], [rng.bit_generator.state for _, rng in net.named_generators()]
    PGD(0.1, 0.1, 2)(net, LOSS, x, t, None)
    assert all(u.grad is grad for u, grad in zip(net.parameters(), grads))
    assert [rng.bit_generator.state for _, rng in net.named_generators()] == states
    assert all(module.training for module in net.modules())


def test_it_attacks_the_net_of_eval_mode():
    net, (x, t) = net_of(), data()
    np.testing.assert_array_equal(PGD(0.1, 0.05, 4)(net, LOSS, x, t, None), PGD(0.1, 0.05, 4)(net, LOSS, x, t, None))
    still = copy.deepcopy(net).eval()
    np.testing.assert_array_equal(PGD(0.1, 0.05, 4)(net, LOSS, x, t, None), PGD(0.1, 0.05, 4)(still, LOSS, x, t, None))


# ------------------------------------------------------------------------------------------------- vulnerability


def test_the_vulnerability_by_hand():
    net, (x, t) = net_of(gated=False), data()
    attacked = PGD(0.2, 0.1, 3)(net, LOSS, x, t, None)

    def hidden(images):
        first = np.tanh(net.layers[1].W.data @ images.reshape(9, -1) + net.layers[1].b.data[:, None])
        return first, np.maximum(net.layers[5].W.data @ first + net.layers[5].b.data[:, None], 0)

    expected = np.mean([np.mean(np.abs(a - b)) for a, b in zip(hidden(attacked), hidden(x))])
    assert expected > 0.01
    assert vulnerability(net, x, attacked) == pytest.approx(expected, rel=1e-13)
    assert vulnerability(net, x, x) < 1e-15  # halves of one product differ by its rounding


def test_of_identical_images_it_is_not_zero_in_train_mode():
    """Each half draws masks of its own; in eval mode, without draws, it is zero."""
    net, (x, _) = net_of(), data()
    assert vulnerability(net, x, x) > 0.02
    assert vulnerability(net.eval(), x, x) < 1e-15
    assert len(taps(net)) == 2


def test_it_is_not_invariant_under_rescaling():
    """Weights in front of a ReLU times c, those behind it by 1/c: the same function, attack and accuracy, another V."""
    net, (x, t) = net_of(gated=False), data()
    attacked = PGD(0.2, 0.1, 3)(net, LOSS, x, t, None)
    other = copy.deepcopy(net)
    for u in (other.layers[5].W, other.layers[5].b):
        u.data = u.data / 4
    other.layers[8].W.data = other.layers[8].W.data * 4
    np.testing.assert_allclose(other.forward(x), net.forward(x), rtol=1e-12)
    np.testing.assert_array_equal(PGD(0.2, 0.1, 3)(other, LOSS, x, t, None), attacked)
    assert vulnerability(other, x, attacked) < 0.9 * vulnerability(net, x, attacked)


# ----------------------------------------------------------------------------------------------------- gradients


class Kept(nn.Tap):
    """A tap whose outputs can be found outside, of copies of the net too."""

    seen = {}

    def __init__(self, place):
        self.place = place

    def forward(self, a):
        self.seen[self.place] = super().forward(a)
        return self.y


class Objective:
    """w_0 E(x) + w_1 E(x') + lam V of one forward pass over both halves, for autograd through our forward alone."""

    def __init__(self, t, shares, strength):
        self.t, self.shares, self.strength = t, shares, strength

    def forward(self, y, _):
        xp, N = backend.get_array_module(y), self.t.shape[0]
        t = backend.asarray(self.t, like=y, dtype=xp.int64)
        E = sum(share * LOSS.forward(part, t) for share, part in zip(self.shares, (y[:, :N], y[:, N:])))
        found = [Kept.seen[0], Kept.seen[1]]
        V = sum(abs(f[..., N:] - f[..., :N]).mean() for f in found) / len(found)
        return E + self.strength * V


@pytest.mark.parametrize("conv", [False, True])
@pytest.mark.parametrize("strength", [0.0, 0.7])
@pytest.mark.parametrize("masks", [(0.0, 1.0), (0.25, 0.5)])
def test_both_gradients_equal_autograd_at_fixed_noise(conv, strength, masks):
    from referees.networks import autograd_gradient

    net, (x, t) = net_of(conv=conv, tap=Kept), data()
    attack = PGD(0.2, 0.1, 3)
    attacked = attack(net, LOSS, x, t, np.random.default_rng(9))
    for gate in gates(net).values():
        gate.noise = np.random.default_rng(1).uniform(0.02, 0.98, (2, gate.channels, 14))
    weights = (1 / 3, 2 / 3)
    step = AdversarialGradients(net, attack, np.random.default_rng(9), weights, masks, strength)
    E = step.gradients(net, LOSS, x, t)
    ours = {name: u.grad for name, u in net.named_parameters()}
    both = np.concatenate([x, attacked], axis=-1)
    names, ends = list(ours), np.cumsum([g.size for g in ours.values()])[:-1]
    of = {}
    for what, shares, lam in (("weights", weights, strength), ("masks", masks, 0.0)):
        objective = Objective(t, shares, lam)
        if what == "weights":
            net.forward(both)
            assert float(E) == pytest.approx(float(objective.forward(net.forward(both), t)), rel=1e-13)
        flat, _ = autograd_gradient(net, objective, both, t)
        of[what] = dict(zip(names, np.split(flat, ends)))
    for name, grad in ours.items():
        what = "masks" if name.endswith("_raw") else "weights"
        assert grad.any()
        assert gradcheck.relative_error(grad.ravel(), of[what][name]) <= TOLERANCE, name
        other = of["weights" if what == "masks" else "masks"][name]
        assert gradcheck.relative_error(grad.ravel(), other) > 1e-3, name


def test_without_gates_and_taps_it_is_adversarial_training():
    rng = np.random.default_rng(0)
    net, (x, t) = nn.models.mlp((9, 4, 3), rng), data()
    attacked = PGD(0.2, 0.1, 3)(net, LOSS, x, t, np.random.default_rng(9))
    step = AdversarialGradients(net, PGD(0.2, 0.1, 3), np.random.default_rng(9))
    E = step.gradients(net, LOSS, x, t)
    found, values, expected = gradcheck.flat(net, "grad"), [], []
    for images in (x, attacked):
        values.append(LOSS.forward(net.forward(images), t))
        net.backward_parameters(LOSS.backward())
        expected.append(gradcheck.flat(net, "grad"))
    np.testing.assert_allclose(E, values[0] / 3 + 2 * values[1] / 3, rtol=1e-13)
    np.testing.assert_allclose(found, expected[0] / 3 + 2 * expected[1] / 3, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("conv", [False, True])
def test_the_same_on_every_library(library, conv):
    net, (x, t) = net_of(conv=conv), data()
    for gate in gates(net).values():
        gate.noise = np.random.default_rng(1).uniform(0.02, 0.98, (2, gate.channels, 14))
    found = []
    for each, images, labels in ((net, x, t), (copy.deepcopy(net).to(library.xp), *map(library.xp.asarray, (x, t)))):
        step = AdversarialGradients(each, PGD(0.2, 0.1, 3), np.random.default_rng(9), strength=0.5)
        E = step.gradients(each, LOSS, images, labels)
        attacked = PGD(0.2, 0.1, 3)(each, LOSS, images, labels, np.random.default_rng(2))
        V = vulnerability(each.eval(), images, attacked)
        found.append([float(E), V, backend.to_numpy(attacked), *(backend.to_numpy(u.grad) for u in each.parameters())])
    for ours, theirs in zip(*found):
        np.testing.assert_allclose(theirs, ours, rtol=1e-11, atol=1e-13)


def test_training_makes_a_net_robust_and_float32_stays():
    accuracy = []
    digits = nn.data.load("digits", dtype=np.float32)
    for robust in (False, True):
        rng = np.random.default_rng(0)
        net = nn.models.mlp((64, 30, 10), rng, dtype=np.float32)
        companions = [AdversarialGradients(net, PGD(0.1, 0.03, 4), np.random.default_rng(1))] if robust else []
        train(net, LOSS, nn.Adam(net.parameters(), 1e-2), *digits.train, 10, 128, rng, companions=companions,
              progress=False)  # fmt: skip
        attacked = PGD(0.1, 0.02, 10)(net, LOSS, *digits.test, np.random.default_rng(2))
        assert {attacked.dtype, *(u.dtype for u in net.parameters())} == {np.dtype(np.float32)}
        assert np.abs(attacked - digits.test[0]).max() <= 0.1 + 1e-7
        accuracy.append(nn.batches.evaluate(net, LOSS, attacked, digits.test[1])[1])
    assert accuracy[1] > accuracy[0] + 0.15


RUN = """
from pruning.penalties import adversarial, beta_bernoulli

rng = np.random.default_rng(0)
gate = beta_bernoulli.BetaBernoulli(8, np.random.default_rng(1))
net = nn.Sequential(nn.Linear(4, 8, rng), nn.ReLU(), gate, nn.Tap(), nn.Linear(8, 3, rng))
x, t = rng.uniform(0, 1, (4, 60)), rng.integers(0, 3, 60)
robust = adversarial.AdversarialGradients(net, adversarial.PGD(0.1, 0.05, 2), np.random.default_rng(2), strength=0.1)
nn.training.train(net, nn.SoftmaxCrossEntropy(), nn.Adam(net.parameters(), 1e-2), x, t, 60, 10,
                  np.random.default_rng(4), companions=[robust, beta_bernoulli.Divergence(net, 1.0, 60)],
                  checkpoint_path=path, checkpoint_every=2, progress=False)
"""


@pytest.mark.slow
def test_a_killed_run_ends_in_the_same_bits(tmp_path):
    assert_killed_runs_end_in_the_same_bits(RUN, tmp_path)


@pytest.mark.parametrize("killed_after", [1, 4, 5, 7])
def test_a_run_that_stopped_goes_on_to_the_bit(tmp_path, monkeypatch, killed_after):
    def run(path):
        net, (x, t) = net_of(), data(20)
        robust = AdversarialGradients(net, PGD(0.1, 0.05, 2), np.random.default_rng(2), strength=0.1)
        companions = [robust, Divergence(net, 1.0, 20)]
        history = train(net, LOSS, nn.Adam(net.parameters(), 1e-2), x, t, 3, 5, np.random.default_rng(4),
                        companions=companions, checkpoint_path=path, checkpoint_every=1, progress=False)  # fmt: skip
        return gradcheck.flat(net), history

    whole, history = run(None)
    step, calls = nn.Adam.step, []

    def killed(self):
        calls.append(1)
        if len(calls) > killed_after:
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(nn.Adam, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run.npz")
    monkeypatch.setattr(nn.Adam, "step", step)
    again, same_history = run(tmp_path / "run.npz")
    np.testing.assert_array_equal(again, whole)
    assert same_history == history and history[0]["penalty"] > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net, x, t: PGD(-0.1, 0.1, 3), "^expected a radius eps of 0 or more, got -0.1$"),
        (lambda net, x, t: PGD(0.1, -0.1, 3), "^expected a step of the attack of 0 or more, got -0.1$"),
        (lambda net, x, t: PGD(0.1, 0.1, 1.5), "^expected a whole number of steps of at least 0, got 1.5$"),
        (lambda net, x, t: PGD("far", 0.1, 3), "^expected a number for the radius eps, got 'far'$"),
        (lambda net, x, t: PGD(0.1, 0.1, 3)(net, LOSS, 16 * x, t, None),
         r"^expected pixels in \[0, 1\], the box of the attack, got from 0 to 16$"),
        (lambda net, x, t: PGD(0.1, 0.1, 3)(net, LOSS, x - 0.5, t, None), "got from -0.5 to 0.5$"),
        (lambda net, x, t: PGD(0.1, 0.1, 3)(net, LOSS, x * np.nan, t, None), "got from nan to nan$"),
        (lambda net, x, t: vulnerability(nn.models.mlp((9, 3), np.random.default_rng(0)), x, x),
         "^expected a net with an nn.Tap behind every hidden layer that V looks at, got one without$"),
        (lambda net, x, t: vulnerability(net, x, x[..., :3]), "^expected attacked images of shape .*7.*, got .*3"),
        (lambda net, x, t: taps([]), "^expected a net, got list$"),
        (lambda net, x, t: robust(net, rng=3), "^expected an np.random.Generator, for instance .*, got 3$"),
        (lambda net, x, t: robust(net, weights=(1,)), "^expected two shares of the weights"),
        (lambda net, x, t: robust(net, masks=(0, -1)), "^expected a share of the masks of 0 or more, got -1$"),
        (lambda net, x, t: robust(net, strength=-1), "^expected a strength of V of 0 or more, got -1$"),
        (lambda net, x, t: robust(net).load({}), r"^expected the state of a generator, got \[\]$"),
        (lambda net, x, t: robust(net).load({"rng": {"state": 3}}), "^the run holds no state of the random generator"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(net_of(), *data())


def robust(net, rng=None, **settings):
    return AdversarialGradients(net, PGD(0.1, 0.1, 1), np.random.default_rng(0) if rng is None else rng, **settings)


def test_train_takes_one_companion_with_gradients_of_its_own():
    net, (x, t) = net_of(), data()
    companions = [robust(net), robust(net)]
    with pytest.raises(ValueError, match=r"^expected at most one companion with gradients of its own, got Adversarial"):
        train(net, LOSS, nn.SGD(net.parameters(), 0.1), x, t, 1, 7, np.random.default_rng(0), companions=companions)
    with pytest.raises(ValueError, match=r"^OwnGradients does not say what it differentiates"):
        nn.OwnGradients().gradients(net, LOSS, x, t)
