"""FLOP: derivatives, the ascent of the multipliers, exact cuts, nets of the same function, resuming; bad input."""

import copy
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from killing import assert_killed_runs_end_in_the_same_bits

import nn
from nn import backend, gradcheck
from nn.training import training_step
from pruning.penalties import factorised_l0
from pruning.penalties.hard_concrete import HardConcrete

TOLERANCE = 1e-12
D, T, N, K = 5, 4, 3, 6


def recurrent(seed=0, fixed=True, spread=1.0):
    """Two recurrences of factorised matrices, r = 3, sequences and labels; log alpha far apart."""
    rng = np.random.default_rng(seed)
    net = nn.Sequential(*(nn.SRU(factorised_l0.factorised(D, 3 * D, rng), D) for _ in range(2)))
    net.layers.append(nn.Positionwise(nn.Linear(D, K, rng)))
    for gate in gates(net):
        gate.log_alpha.data = spread * rng.standard_normal(gate.channels)
        gate.noise = np.clip(gate.draw(N * T), 0.2, 0.8) if fixed else None
    return net, rng.standard_normal((D, T, N)), rng.integers(0, K, (T, N))


def two_sizes(seed=0, gated=True):
    """A chain whose two matrices have components of 7 + 9 and of 9 + 4 weights, 3 and 2 of them."""
    rng = np.random.default_rng(seed)
    first = factorised_l0.factorised(7, 9, rng, gated=gated)
    net = nn.Sequential(first, nn.Tanh(), factorised_l0.factorised(9, 4, rng, gated=gated))
    for gate in gates(net):
        gate.log_alpha.data = 2 * rng.standard_normal(gate.channels)
    return net, rng


def gates(net):
    return [layer for layer in net.modules() if isinstance(layer, HardConcrete)]


def probability(log_alpha):
    """P(z != 0) = P(s > 1/12) = 1 - P(logistic noise < logit(1/12) - log alpha), beta = 1, (-0.1, 1.1)."""
    return 1 / (1 + np.exp(-(log_alpha - math.log(0.1 / 1.1))))


def test_gradients_through_two_recurrences_and_gates_equal_the_complex_step_and_autograd():
    net, x, t = recurrent()
    loss = nn.SoftmaxCrossEntropy()
    loss.forward(net.forward(x), t)
    gx, ours = net.backward(loss.backward()), gradcheck.flat(net, "grad")
    assert all(np.count_nonzero(gate.log_alpha.grad) >= 2 for gate in gates(net))
    gu, gx_step = gradcheck.gradient_by_differences(copy.deepcopy(net), loss, x, t)
    assert gradcheck.relative_error(ours, gu) <= TOLERANCE
    assert gradcheck.relative_error(gx, gx_step) <= TOLERANCE
    from referees.networks import autograd_gradient

    gu, gx_reference = autograd_gradient(net, loss, x, t)
    assert gradcheck.relative_error(ours, gu) <= TOLERANCE
    assert gradcheck.relative_error(gx, gx_reference) <= TOLERANCE


@pytest.mark.parametrize(
    ("n_in", "n_out", "r"), [(96, 288, 72), (3, 5, 1), (2, 2, 1), (7, 9, 3), (100, 1000, 90), (1, 3, 0)]
)
def test_the_rank_neither_wins_nor_loses_a_component_of_weights(n_in, n_out, r):
    if r == 0:
        with pytest.raises(ValueError, match=r"^expected a matrix that a component is smaller than, .* of 3 x 1"):
            factorised_l0.rank(n_in, n_out)
        return
    assert factorised_l0.rank(n_in, n_out) == r
    assert n_in * n_out - (n_in + n_out) < r * (n_in + n_out) <= n_in * n_out


def test_the_product_of_the_factors_is_the_matrix():
    net, rng = two_sizes()
    front, gate, behind = net.layers[0].layers
    gate.noise = gate.draw(4)
    x = rng.standard_normal((7, 4))
    W = behind.W.data @ np.diag(gate.gates(gate.noise)) @ front.W.data
    np.testing.assert_allclose(net.layers[0].forward(x), W @ x, rtol=1e-12)
    assert gate.beta == 1 and gate.rng is not rng


def test_the_expected_share_is_that_of_all_sets_of_open_gates():
    """The mean over 2^5 outcomes, each with the weights that are left."""
    net, _ = two_sizes()
    p = np.concatenate([probability(gate.log_alpha.data) for gate in gates(net)])
    size, total = np.array([16, 16, 16, 13, 13]), 3 * 16 + 2 * 13
    assert factorised_l0.weights(net) == total
    mean = 0.0
    for outcome in np.ndindex(2, 2, 2, 2, 2):
        is_open = np.array(outcome)
        mean += np.prod(np.where(is_open, p, 1 - p)) * (is_open @ size)
    assert factorised_l0.expected_share(net) == pytest.approx(1 - mean / total, rel=1e-13)
    pull = factorised_l0.Lagrangian(net, 0.25)
    assert pull.excess() == pytest.approx(1 - mean / total - 0.25, rel=1e-12)
    plain, _ = two_sizes(gated=False)
    assert factorised_l0.expected_share(plain) == 0


@pytest.mark.parametrize(("l1", "l2"), [(-0.7, 0.0), (0.0, 1.3), (0.4, 2.1)])
def test_the_gradient_of_the_constraint_equals_the_complex_step(l1, l2):
    net, _ = two_sizes()
    pull = factorised_l0.Lagrangian(net, 0.6)
    pull.multipliers.data = np.array([l1, l2])
    log_alpha, size = np.concatenate([gate.log_alpha.data for gate in gates(net)]), np.array([16, 16, 16, 13, 13])

    def constraint(a):
        excess = 1 - (size * probability(a)).sum() / (3 * 16 + 2 * 13) - 0.6
        return l1 * excess + l2 * excess**2

    assert pull.penalty() == pytest.approx(constraint(log_alpha), rel=1e-12)
    for gate in gates(net):
        gate.log_alpha.grad = np.full(gate.channels, 0.5)
    pull.after_backward(1)
    added = np.concatenate([gate.log_alpha.grad for gate in gates(net)]) - 0.5
    assert gradcheck.relative_error(added, gradcheck.complex_step(constraint, log_alpha)) <= TOLERANCE


def ascended(net, pull, steps, move=None):
    """The multipliers after each of these steps, the gates moved by `move` in between."""
    found = []
    for step in range(steps):
        for gate in gates(net):
            gate.log_alpha.grad = np.zeros(gate.channels)
        pull.after_backward(step + 1)
        found.append(pull.multipliers.data.copy())
        for gate in gates(net) if move else ():
            gate.log_alpha.data = gate.log_alpha.data + move(step)
    return np.array(found)


def test_the_multipliers_ascend():
    """While too little goes, l1 falls: l1 (s - t) pays for more; l2 rises. By Adam, written out."""
    net, _ = two_sizes()
    pull = factorised_l0.Lagrangian(net, 0.9, rate=0.05)
    excess, m, v, u = pull.excess(), np.zeros(2), np.zeros(2), np.zeros(2)
    assert excess < 0
    found = ascended(net, pull, 4)
    for k in range(1, 5):
        g = np.array([excess, excess**2])
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        u = u + 0.05 * (m / (1 - 0.9**k)) / (np.sqrt(v / (1 - 0.999**k)) + 1e-8)
        np.testing.assert_allclose(found[k - 1], u, rtol=1e-12)
    assert found[-1, 0] < 0 < found[-1, 1]


def test_the_second_multiplier_can_only_grow_and_the_first_turns_round():
    net, _ = two_sizes()
    pull = factorised_l0.Lagrangian(net, 0.5)
    found = ascended(net, pull, 400, lambda step: -0.1 if step < 100 else 0.0)
    steps = np.diff(found, axis=0)
    assert pull.excess() > 0 and (steps[:, 1] >= 0).all()
    assert (steps[:20, 0] < 0).all() and (steps[-100:, 0] > 0).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_ascent_drives_the_share_to_its_target_on_a_toy(seed):
    """E = -sum a_k z_k / r wants every gate open; on the way the share lags behind the ramp."""
    rng = np.random.default_rng(seed)
    net = nn.Sequential(factorised_l0.factorised(500, 500, rng))
    (gate,) = gates(net)
    a = rng.uniform(0, 2, (250, 1)) / 250
    optimizer = nn.Adam([gate.log_alpha], 3e-3)
    pull, lag = factorised_l0.Lagrangian(net, 0.8, ramp=nn.Ramp(optimizer, 1000)), 0.0
    for step in range(4000):
        gate.forward(np.ones((250, 1)))
        gate.backward(-a)
        pull.after_backward(step + 1)
        optimizer.step()
        pull.after_step(step + 1)
        lag = max(lag, -pull.excess())
    assert abs(factorised_l0.expected_share(net) - 0.8) <= 0.01
    assert 0.1 < lag < 0.4


def test_log_alpha_stays_where_a_gate_has_a_gradient():
    net, _ = two_sizes()
    pull = factorised_l0.Lagrangian(net, 0.95)
    gates(net)[0].log_alpha.data = np.array([-60.0, 0.5, 60.0])
    pull.after_step(1)
    a = gates(net)[0].log_alpha.data
    assert a[1] == 0.5 and a[2] == math.log(100)
    assert probability(a)[0] == pytest.approx(1 / 101, rel=1e-12)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0, 0.99), st.lists(st.tuples(st.integers(3, 9), st.integers(3, 9)), min_size=1,
                                                           max_size=3))  # fmt: skip
def test_a_cut_comes_within_half_a_component_and_takes_the_smallest(seed, share, shapes):
    rng = np.random.default_rng(seed)
    net = nn.Sequential(*(nn.Sequential(factorised_l0.factorised(i, o, rng), nn.Tanh()) for i, o in shapes))
    for gate in gates(net):
        gate.log_alpha.data = np.round(2 * rng.standard_normal(gate.channels), 1)
    sizes = [i + o for i, o in shapes]
    total, goal = factorised_l0.weights(net), (1 - share) * factorised_l0.weights(net)
    assert total == sum(gate.channels * size for gate, size in zip(gates(net), sizes))
    scores = factorised_l0.log_alphas(net)
    try:
        kept = factorised_l0.kept(net, scores, share)
    except ValueError:
        assert sum(sizes) > goal
        return
    left = sum(len(rows) * size for rows, size in zip(kept.values(), sizes))
    assert abs(left - goal) <= max(sizes) / 2 + 1e-9
    gone = [v for name, rows in kept.items() for k, v in enumerate(scores[name]) if k not in rows]
    for name, rows in kept.items():
        stay = np.sort(scores[name][rows])
        assert len(stay) and max(gone, default=-np.inf) <= min(stay[:-1], default=np.inf)
        others = [v for k, v in enumerate(scores[name]) if k not in rows]
        assert max(others, default=-np.inf) <= stay[0]


def test_among_equals_the_first_stay_and_the_last_of_a_matrix_never_goes():
    net, _ = two_sizes()
    equal = {"0": np.zeros(3), "2": np.zeros(2)}
    assert factorised_l0.kept(net, equal, 0.0) == {"0": [0, 1, 2], "2": [0, 1]}
    assert factorised_l0.kept(net, equal, 0.4) == {"0": [0, 1], "2": [0]}  # 45 of 74 weights, 44.4 wanted
    assert factorised_l0.kept(net, {"0": np.full(3, 9.0), "2": np.zeros(2)}, 0.55) == {"0": [0], "2": [0]}
    with pytest.raises(ValueError, match=r"^expected a share that leaves a component of each .*, 29 weights"):
        factorised_l0.kept(net, equal, 0.9)


def test_the_small_net_computes_what_the_gated_one_does_with_each_open_gate_at_its_mean():
    net, x, _ = recurrent(spread=3.0)
    keep = factorised_l0.kept(net, factorised_l0.log_alphas(net), 0.5)
    small = factorised_l0.cut_to(net, 0.5).eval()
    for name, gate in zip(keep, gates(net)):
        gate.noise = None
        z = gate.mean()
        gate.gates, gate.draw = lambda noise: noise, lambda N, z=z, k=keep[name]: np.isin(np.arange(len(z)), k) * z
    np.testing.assert_allclose(small.forward(x), net.forward(x), rtol=1e-12, atol=1e-13)
    assert not gates(small) and sum(map(len, keep.values())) == 3
    assert factorised_l0.weights(small) == 3 * 4 * D
    found = {name: matrix.r for name, matrix in factorised_l0.matrices(small).items()}
    assert found == {name: len(rows) for name, rows in keep.items()}
    small.train()
    assert small.forward(x).shape == (K, T, N)


def test_a_cut_leaves_the_net_as_it_was_and_shares_no_array_with_it():
    net, x, _ = recurrent()
    before = gradcheck.flat(net)
    small = factorised_l0.cut_to(net, 0.3)
    for u in small.parameters():
        u.data[...] = 7.0
    np.testing.assert_array_equal(gradcheck.flat(net), before)


def test_components_by_magnitude_are_norms_of_matrices_of_rank_one():
    for gated in (True, False):
        net, _ = two_sizes(gated=gated)
        found = factorised_l0.magnitudes(net)
        for name, (front, _, behind) in factorised_l0.matrices(net).items():
            norms = [np.linalg.norm(np.outer(behind.W.data[:, k], front.W.data[k])) for k in range(front.n_out)]
            np.testing.assert_allclose(found[name], norms, rtol=1e-12)
    small = factorised_l0.cut(net, factorised_l0.kept(net, found, 0.5))
    best = {name: np.argsort(-norms)[: factorised_l0.matrices(small)[name].r] for name, norms in found.items()}
    for name, (front, _, _) in factorised_l0.matrices(small).items():
        np.testing.assert_array_equal(front.W.data, factorised_l0.matrices(net)[name].front.W.data[sorted(best[name])])


def test_the_same_on_every_library(library):
    net, x, t = recurrent(spread=2.0)
    other = copy.deepcopy(net).to(library.xp)
    made = []
    for each, (z, s) in ((net, (x, t)), (other, (library.xp.asarray(x), library.xp.asarray(t)))):
        pull = factorised_l0.Lagrangian(each, 0.6)
        pull.multipliers.data = np.array([0.3, 0.7])
        rates = {gate.log_alpha: 10.0 for gate in gates(each)}
        training_step(each, nn.SoftmaxCrossEntropy(), nn.Adam(each.parameters(), 0.1, rates=rates), z, s, [pull])
        small = factorised_l0.cut_to(each, 0.5).eval()
        made.append((pull.multipliers.data, pull.penalty(), each, small, backend.to_numpy(small.forward(z))))
    np.testing.assert_allclose(made[1][0], made[0][0], rtol=1e-12)
    assert made[1][1] == pytest.approx(made[0][1], rel=1e-12)
    for ours, theirs in zip(net.parameters(), other.parameters()):
        np.testing.assert_allclose(backend.to_numpy(theirs.data), ours.data, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(made[1][4], made[0][4], rtol=1e-9, atol=1e-12)


def test_float32_stays():
    rng = np.random.default_rng(0)
    net = nn.Sequential(factorised_l0.factorised(7, 9, rng, dtype=np.float32))
    pull, optimizer = factorised_l0.Lagrangian(net, 0.5), nn.Adam(net.parameters(), 0.01)
    x = rng.standard_normal((7, 6)).astype(np.float32)
    for _ in range(3):
        training_step(net, nn.SquaredError(), optimizer, x, np.ones((9, 6), np.float32), [pull])
    assert {u.data.dtype for u in net.parameters()} == {np.dtype(np.float32)}
    assert {u.data.dtype for u in factorised_l0.cut_to(net, 0.5).parameters()} == {np.dtype(np.float32)}


def run_of(epochs, path=None):
    rng = np.random.default_rng(3)
    net, _, _ = recurrent(3, fixed=False)
    x, t = rng.standard_normal((D, T, 12)), rng.integers(0, K, (T, 12))
    optimizer = nn.Adam(net.parameters(), 0.01, rates={gate.log_alpha: 10.0 for gate in gates(net)})
    pull = factorised_l0.Lagrangian(net, 0.5, ramp=nn.Ramp(optimizer, 8))
    settings = {"companions": [pull], "checkpoint_path": path, "checkpoint_every": 2, "progress": False}
    shuffled = np.random.default_rng(4)
    history = nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, x, t, epochs, 4, shuffled, **settings)
    return net, pull, history


def test_a_run_goes_on_with_its_multipliers_to_the_bit(tmp_path):
    whole, pull, history = run_of(5)
    for epochs in (2, 5):
        net, again, found = run_of(epochs, tmp_path / "run.npz")
    np.testing.assert_array_equal(gradcheck.flat(net), gradcheck.flat(whole))
    np.testing.assert_array_equal(again.multipliers.data, pull.multipliers.data)
    assert found == history and history[-1]["penalty"] == pytest.approx(pull.penalty(), rel=1e-15)
    assert again.ascent.steps == pull.ascent.steps == 15


RUN = """
from pruning.penalties import factorised_l0

rng = np.random.default_rng(0)
layers = [nn.Embedding(9, 12, rng), nn.SRU(factorised_l0.factorised(12, 36, rng), 12)]
net = nn.Sequential(*layers, nn.Positionwise(nn.Linear(12, 9, rng)))
gates = {net.layers[1].inner.layers[1].log_alpha: 10.0}
optimizer = nn.Adam(net.parameters(), 1e-3, rates=gates)
pull = factorised_l0.Lagrangian(net, 0.7, ramp=nn.Ramp(optimizer, 130, start=11))
x = rng.integers(0, 9, (8, 60))
nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, x[:-1], x[1:], 60, 10, np.random.default_rng(3),
                  companions=[pull], checkpoint_path=path, checkpoint_every=2, progress=False)
"""


@pytest.mark.slow
def test_a_killed_run_ends_in_the_same_bits(tmp_path):
    assert_killed_runs_end_in_the_same_bits(RUN, tmp_path)


def no_gates():
    return two_sizes(gated=False)[0]


def gated():
    return two_sizes()[0]


RANGE = "^expected a share that goes of 0 or more, below 1, got "


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: factorised_l0.Lagrangian(gated(), 1.0), RANGE + "1.0$"),
        (lambda: factorised_l0.Lagrangian(gated(), -0.1), RANGE + "-0.1$"),
        (lambda: factorised_l0.Lagrangian(gated(), math.nan), RANGE + "nan$"),
        (lambda: factorised_l0.cut_to(gated(), 1), RANGE + "1$"),
        (lambda: factorised_l0.Lagrangian(gated(), "half"), "^expected a number for a share that goes, got 'half'$"),
        (lambda: factorised_l0.Lagrangian(gated(), 0.5, rate=-1), "learning rate of 0 or more, got -1"),
        (lambda: factorised_l0.Lagrangian(gated(), 0.5, ramp=3), "^expected an nn.Ramp or None, got int$"),
        (lambda: factorised_l0.Lagrangian(no_gates(), 0.5), "^expected gates in all factorised matrices, and 0 has"),
        (lambda: factorised_l0.cut_to(no_gates(), 0.5), "^expected gates in all factorised matrices, and 0 has none$"),
        (lambda: factorised_l0.Lagrangian([], 0.5), "^expected a net, got list$"),
        (lambda: factorised_l0.weights(nn.Sequential(nn.ReLU())), "^expected a net with factorised matrices"),
        (lambda: factorised_l0.factorised(7, 9, None, r=0), "^expected a whole number of components of at least 1"),
        (lambda: factorised_l0.factorised(1, 9, None), "^expected a matrix that a component is smaller"),
        (lambda: factorised_l0.rank(0, 9), "^expected a whole number of inputs of at least 1, got 0$"),
        (lambda: factorised_l0.Lagrangian(gated(), 0.5).after_backward(1), "^log alpha has no gradient to add to"),
        (lambda: factorised_l0.kept(gated(), {}, 0.5), "^expected a finite score for each .*, 3 for 0, 2 for 2$"),
        (lambda: factorised_l0.kept(gated(), {"0": np.ones(3), "2": np.ones(3)}, 0.5), "^expected a finite score"),
        (lambda: factorised_l0.kept(gated(), {"0": np.full(3, np.nan), "2": np.ones(2)}, 0.5), "^expected a finite"),
        (lambda: factorised_l0.cut(gated(), {"0": [0]}), "^expected the components of 0, 2 that stay, got those of 0$"),
        (lambda: factorised_l0.cut(gated(), {"0": [3], "2": [0]}), "has indices 0 to 2, got 3"),
        (lambda: factorised_l0.Lagrangian(gated(), 0.5).load({}), "^expected two multipliers and what Adam remembers"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
