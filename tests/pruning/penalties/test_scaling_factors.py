"""Scaling factors: APG against closed forms, the clip, and blocks at zero taken out of a net."""

import copy
import itertools

import numpy as np
import pytest
from killing import assert_killed_runs_end_in_the_same_bits

import nn
import textbook
from nn import gradcheck
from nn.backend import to_numpy
from pruning import masks, surgery
from pruning.penalties import group_lasso, scaling_factors
from pruning.penalties.scaling_factors import APG, accelerated_step, factors

GAMMA, MU = 0.3, 0.9


def iterate(gradient, s, step, clip=True, momentum=MU, iterations=4000):
    """Yield the factors after each step: those of `APG`, or those without the clip."""
    net = nn.Sequential(nn.Linear(2, len(s), np.random.default_rng(0)), nn.Scale(len(s), len(s)))
    net.layers[1].s.data, v = s, np.zeros_like(s)
    apg = APG(net, nn.SGD(scaling_factors.others(net), step), GAMMA, momentum)
    for k in range(iterations):
        net.layers[1].s.grad = gradient(s)
        apg.after_step(k + 1)
        unclipped, v = accelerated_step(s, v, gradient(s), step, GAMMA, momentum)
        s = net.layers[1].s.data if clip else unclipped
        net.layers[1].s.data = s
        yield s


def last(iterates):
    *_, s = iterates
    return s


A, C = np.array([0.5, 1.0, 2.0, 3.0, 0.7]), np.array([2.0, 0.2, -1.0, 0.4, -0.1])


def test_a_separable_quadratic_against_the_closed_form():
    """E = sum a (s - c)^2 / 2: the lasso S(c, gamma / a) without the clip, max(0, c - gamma / a) with it."""
    slope = lambda s: A * (s - C)  # noqa: E731
    lasso = np.sign(C) * np.maximum(np.abs(C) - GAMMA / A, 0)
    np.testing.assert_allclose(last(iterate(slope, np.ones(5), 0.05, clip=False)), lasso, rtol=0, atol=1e-10)
    found = last(iterate(slope, np.ones(5), 0.05))
    np.testing.assert_allclose(found, np.maximum(0, C - GAMMA / A), rtol=0, atol=1e-10)
    assert lasso[2] < 0 == found[2]
    plain = last(iterate(slope, np.ones(5), 0.05, momentum=0.0))
    np.testing.assert_allclose(plain, np.maximum(0, C - GAMMA / A), rtol=0, atol=1e-10)


def test_plain_prox_against_the_closed_form_and_against_apg():
    """E = sum (s - c)^2 in a net, one factor a channel: with momentum the threshold is eta gamma / (1 - mu)."""
    net = nn.Sequential(nn.Scale(5, 5))
    optimizer = nn.SGD(net.parameters(), 0.05, MU)
    steps = group_lasso.ProximalSteps(net, scaling_factors.families(net, GAMMA), optimizer)
    for _ in range(2000):
        nn.training.training_step(net, nn.SquaredError(), optimizer, np.ones((5, 3)), C[:, None] * np.ones(3), [steps])
    lasso = np.sign(C) * np.maximum(np.abs(C) - GAMMA / 2, 0)
    np.testing.assert_allclose(net.layers[0].s.data, lasso, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(net.layers[0].s.data == 0, lasso == 0)
    assert steps.penalty() == pytest.approx(GAMMA * np.abs(lasso).sum(), rel=1e-9)
    accelerated = last(iterate(lambda s: 2 * (s - C), np.ones(5), 0.05, clip=False))
    np.testing.assert_allclose(accelerated, lasso, rtol=0, atol=1e-10)


def regression(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((30, 6)) + 0.7 * rng.standard_normal((30, 1))
    y = X @ np.array([1.5, -1.0, 0.4, 0, 0, 0.8]) + 0.3 * rng.standard_normal(30)
    return X, y, 0.5 / np.linalg.eigvalsh(X.T @ X / 30)[-1]


def nonnegative_lasso(X, y):
    """The best of all supports, by the normal equations of each."""
    best, value = np.zeros(6), 0.5 * y @ y / 30
    for size in range(1, 7):
        for support in map(list, itertools.combinations(range(6), size)):
            b = np.linalg.solve(X[:, support].T @ X[:, support] / 30, X[:, support].T @ y / 30 - GAMMA)
            r = y - X[:, support] @ b
            if np.all(b > 0) and 0.5 * r @ r / 30 + GAMMA * b.sum() < value:
                best, value = np.zeros(6), 0.5 * r @ r / 30 + GAMMA * b.sum()
                best[support] = b
    return best


@pytest.mark.parametrize("seed", range(5))
def test_least_squares_against_the_lasso_and_the_lasso_without_negative_coefficients(seed):
    X, y, step = regression(seed)
    slope = lambda s: X.T @ (X @ s - y) / 30  # noqa: E731
    free, clipped = (last(iterate(slope, np.ones(6), step, clip)) for clip in (False, True))
    np.testing.assert_allclose(free, textbook.lasso(X, y, GAMMA).beta, rtol=0, atol=1e-10)
    np.testing.assert_allclose(clipped, nonnegative_lasso(X, y), rtol=0, atol=1e-10)
    assert free.min() < -0.01 and (clipped == 0).any()


def test_the_clip_keeps_zeros_at_zero():
    """Without it z = 0 leaves s = mu v below zero: the factor swings through, and its block changes its sign."""
    paths = {clip: np.stack(list(iterate(lambda s: A * (s - C), np.ones(5), 0.05, clip))) for clip in (True, False)}
    dead = [1, 4]  # |dE/ds| <= gamma at zero: zero is the minimum of both problems
    clipped, free = (paths[clip][:, dead] for clip in (True, False))
    first = (clipped == 0).argmax(axis=0)
    for k in range(2):
        assert 0 < first[k] < 40 and (clipped[first[k] :, k] == 0).all()  # not once does it come back
        crossed = (free[:, k] <= 0).argmax()
        assert free[crossed:, k].min() < -0.1 and (free[crossed:, k] != 0).sum() > 10
    assert paths[True].min() == 0


def test_a_factor_at_zero_comes_back_if_the_loss_asks_for_it():
    s, v = np.zeros(1), np.array([-0.01])
    for _ in range(100):
        s, v = accelerated_step(s, v, np.array([-0.5]), 0.05, GAMMA, MU)
        s = np.maximum(s, 0)
    assert s[0] > 0.1


def test_a_factor_at_zero_with_momentum_left_does_not_stay_there():
    """v > 0 behind the clip: z = 0 and s = mu v.  With v of 0 or less it stays, however large dE/ds is."""
    net = nn.Sequential(nn.Linear(2, 2, np.random.default_rng(0)), nn.Scale(2, 2))
    apg = APG(net, nn.SGD(scaling_factors.others(net), 0.1), GAMMA, MU)
    net.layers[1].s.data, apg.v = np.zeros(2), {"1.s": np.array([0.1, -0.1])}
    for g in (np.zeros(2), np.array([-GAMMA, -GAMMA]), np.array([5.0, 5.0]), np.array([-GAMMA, -GAMMA])):
        net.layers[1].s.grad = g
        apg.after_step(1)
        assert net.layers[1].s.data[1] == 0
        if not g.any():
            np.testing.assert_allclose(net.layers[1].s.data[0], MU * MU * 0.1, rtol=1e-14)


def test_one_step_by_hand():
    """z = S(1 - 0.1 * 0.5, 0.03) = 0.92; v = 0.92 - 1 + 0.9 * 0.2 = 0.1; s = 0.92 + 0.09."""
    s, v = accelerated_step(np.array([1.0]), np.array([0.2]), np.array([0.5]), 0.1, 0.3, 0.9)
    np.testing.assert_allclose((s, v), ([1.01], [0.1]), rtol=1e-14)


# ---- in nets ---------------------------------------------------------------------------------------------------------
def resnet(rng, depth=20, dtype=np.float64):
    return scaling_factors.with_block_factors(nn.models.resnet_cifar(depth, rng, dtype=dtype))


def test_factors_of_blocks_change_nothing_but_what_is_counted():
    rng = np.random.default_rng(0)
    net, x = nn.models.resnet_cifar(8, rng), rng.standard_normal((3, 8, 8, 4))
    with_factors = scaling_factors.with_block_factors(net)
    assert [n for n, _ in with_factors.named_parameters() if not n.endswith(".s")] == [
        n for n, _ in net.named_parameters()
    ]
    for mode in ("train", "eval"):
        ours, theirs = (getattr(each, mode)().forward(x) for each in (with_factors, net))
        np.testing.assert_array_equal(ours, theirs)
    some = scaling_factors.with_block_factors(net, ["5"])
    assert list(factors(some)) == ["5.body.5.s"] and not list(nn.Scale(3).children())
    single = nn.Sequential(nn.Linear(3, 4, rng), nn.Residual(nn.Linear(4, 4, rng, dtype=np.float64)))
    assert list(factors(scaling_factors.with_block_factors(single))) == ["1.body.1.s"]
    parts = [nn.Linear(4, 4, rng), nn.Residual(nn.Residual(nn.Linear(4, 4, rng)), nn.Linear(4, 4, rng))]
    nested, x = nn.Sequential(*parts), rng.standard_normal((4, 3))
    nested.layers[1].body.eval()
    both = scaling_factors.with_block_factors(nested)
    assert list(factors(both)) == ["1.body.0.body.1.s", "1.body.1.s"] and both.layers[1].shortcut is not None
    np.testing.assert_array_equal(both.forward(x), nested.forward(x))
    assert not any(module.training for module in both.layers[1].body.modules()) and both.layers[1].training
    half = scaling_factors.with_block_factors(nn.models.resnet_cifar(8, rng, dtype=np.float32))
    assert {s.dtype for s in factors(half).values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("optimize", ["outline", "real"])
def test_blocks_of_resnet20_at_zero_are_removed_and_the_function_stays(optimize):
    rng = np.random.default_rng(1)
    if optimize == "outline":
        outline = resnet(None)
        assert all(s.is_outline for s in factors(outline).values()) and len(factors(outline)) == 9
        assert len(list(surgery.remove_blocks(outline, ["3", "9"]).named_parameters())) < 9 * 7
        return
    net = resnet(rng)
    for name, u in net.named_parameters():
        if not name.endswith("W"):
            u.data = u.data + 0.3 * rng.standard_normal(u.shape)
    for k, s in enumerate(factors(net).values()):
        s.data = np.array([0.0 if k in (0, 2, 3, 5, 8) else rng.uniform(0.2, 1)])
    dead = scaling_factors.dead_blocks(net)
    assert dead == ["3", "7", "9", "13", "19"]  # 9 and its zero-padded shortcut, too
    small, x = surgery.remove_blocks(net, dead), rng.standard_normal((3, 12, 12, 3))
    folded = surgery.fold_scales(small)
    y = net.eval().forward(x)
    assert gradcheck.relative_error(small.eval().forward(x), y) <= 1e-12
    assert gradcheck.relative_error(folded.eval().forward(x), y) <= 1e-12
    assert not any(isinstance(module, nn.Scale) for module in folded.modules())
    assert sum(isinstance(module, nn.Residual) for module in small.modules()) == 4
    assert scaling_factors.dead_blocks(small) == []
    living = surgery.remove_blocks(net, [*dead, "5"])  # a factor that is not zero
    assert gradcheck.relative_error(living.eval().forward(x), y) > 1e-2


def test_a_block_is_dead_if_all_its_factors_are_zero_at_the_very_end_of_its_body():
    rng = np.random.default_rng(0)
    end = lambda s: nn.Sequential(nn.Linear(3, 3, rng), nn.Sequential(nn.Tanh(), nn.Sequential(scaled(s))))  # noqa: E731

    def scaled(s):
        layer = nn.Scale(3, 3)
        layer.s.data = np.array(s)
        return layer

    bodies = [end([0.0, 0, 0]), end([0.0, 1, 0]), nn.Sequential(scaled([0.0, 0, 0]), nn.Linear(3, 3, rng)), nn.Tanh()]
    net = nn.Sequential(nn.Linear(3, 3, rng), *map(nn.Residual, bodies))
    assert scaling_factors.dead_blocks(net) == ["1"]
    blocks = nn.Sequential(
        nn.Linear(3, 3, rng), nn.Residual(nn.Sequential(nn.Residual(end([0.0] * 3)), scaled([0.0] * 3)))
    )
    dead, x = scaling_factors.dead_blocks(blocks), rng.standard_normal((3, 4))
    assert dead == ["1", "1.body.0"]
    np.testing.assert_array_equal(surgery.remove_blocks(blocks, dead).forward(x), blocks.forward(x))


def test_a_factor_behind_a_folded_batch_norm_folds_into_the_convolution():
    rng = np.random.default_rng(0)
    net = scaling_factors.with_block_factors(surgery.fold_batchnorm(nn.models.resnet_cifar(8, rng).eval()))
    for s in factors(net).values():
        s.data = np.array([-0.4])
    folded, x = surgery.fold_scales(net), rng.standard_normal((3, 8, 8, 2))
    assert not any(isinstance(module, nn.Scale) for module in folded.modules())
    assert gradcheck.relative_error(folded.forward(x), net.forward(x)) <= 1e-12


def problem(seed=0):
    rng = np.random.default_rng(seed)
    block = lambda: nn.Residual(nn.Sequential(nn.Linear(6, 6, rng), nn.Tanh(), nn.Linear(6, 6, rng)))  # noqa: E731
    net = nn.Sequential(nn.Linear(4, 6, rng), nn.Tanh(), block(), block(), nn.Linear(6, 3, rng))
    net = scaling_factors.with_block_factors(net)
    x, t = rng.standard_normal((4, 40)), rng.integers(0, 3, 40)
    optimizer = nn.SGD(scaling_factors.others(net), 0.1, MU, nesterov=True, weight_decay=1e-3)
    return net, optimizer, x, t


def train(net, optimizer, x, t, companions, epochs=8):
    rng = np.random.default_rng(2)
    return nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, x, t, epochs, 8, rng, companions=companions,
                             progress=False)  # fmt: skip


def test_the_companion_is_the_formula_beside_nesterovs_steps():
    """Against the recursion written out, with the gradients of the same net; the optimizer's rate may change."""
    net, optimizer, x, t = problem()
    twin, loss = copy.deepcopy(net), nn.SoftmaxCrossEntropy()
    other = nn.SGD(scaling_factors.others(twin), 0.1, MU, nesterov=True, weight_decay=1e-3)
    gammas = dict(zip(factors(twin), (0.05, 0.02)))
    apg, v = APG(net, optimizer, gammas), dict.fromkeys(factors(twin), 0.0)
    for k in range(30):
        optimizer.learning_rate = other.learning_rate = eta = 0.1 if k < 20 else 0.03
        nn.training.training_step(net, loss, optimizer, x, t, [apg])
        loss.forward(twin.forward(x), t)
        twin.backward(loss.backward())
        other.step()
        for name, s in factors(twin).items():
            z = s.data - eta * s.grad
            z = np.sign(z) * np.maximum(np.abs(z) - eta * gammas[name], 0)
            v[name] = z - s.data + MU * v[name]
            s.data = np.maximum(0, z + MU * v[name])
    assert gradcheck.relative_error(gradcheck.flat(net), gradcheck.flat(twin)) <= 1e-12
    values = {name: float(s.data[0]) for name, s in factors(net).items()}
    assert min(values.values()) > 0
    assert apg.penalty() == pytest.approx(sum(gammas[name] * s for name, s in values.items()), rel=1e-14)


@pytest.mark.parametrize("prox", ["APG", "plain"])
def test_blocks_die_in_training_and_go(prox):
    net, optimizer, x, t = problem()
    if prox == "APG":
        companion = APG(net, optimizer, 0.3)
    else:
        optimizer = nn.SGD(net.parameters(), 0.1, MU, weight_decay=1e-3, decayed=scaling_factors.others(net))
        companion = group_lasso.ProximalSteps(net, scaling_factors.families(net, 0.3), optimizer)
    history = train(net, optimizer, x, t, [companion], 15)
    dead = scaling_factors.dead_blocks(net)
    assert dead and history[-1]["penalty"] >= 0
    small = surgery.remove_blocks(net, dead)
    assert gradcheck.relative_error(small.forward(x), net.forward(x)) <= 1e-12


def test_a_strength_by_name_and_a_mask_that_holds():
    net, optimizer, x, t = problem()
    first, second = factors(net)
    masks.apply(net, {second: np.zeros(1)})
    train(net, optimizer, x, t, [APG(net, optimizer, {first: 0.0, second: 0.0})])
    assert factors(net)[first].data[0] > 0 == factors(net)[second].data[0]
    assert scaling_factors.families(net, {first: 0.1, second: 0.2})[1].strength == 0.2


def test_every_library_takes_the_same_step(library):
    net, optimizer, x, t = problem()
    other = copy.deepcopy(net).to(library.xp)
    beside = nn.SGD(scaling_factors.others(other), 0.1, MU, nesterov=True, weight_decay=1e-3)
    for each, sgd, z, s in ((net, optimizer, x, t), (other, beside, *map(library.xp.asarray, (x, t)))):
        apg = APG(each, sgd, 0.1)
        for _ in range(5):
            nn.training.training_step(each, nn.SoftmaxCrossEntropy(), sgd, z, s, [apg])
        apg.load({name: to_numpy(v) for name, v in apg.state().items()})  # a checkpoint holds NumPy's
        nn.training.training_step(each, nn.SoftmaxCrossEntropy(), sgd, z, s, [apg])
    for ours, theirs in zip(net.parameters(), other.parameters()):
        np.testing.assert_allclose(to_numpy(theirs.data), ours.data, rtol=1e-12, atol=1e-13)
    assert scaling_factors.dead_blocks(other) == []
    folded = scaling_factors.with_block_factors(surgery.fold_scales(other))  # of this library, too
    y = to_numpy(folded.forward(library.xp.asarray(x)))
    assert len(factors(folded)) == 2 and gradcheck.relative_error(y, net.forward(x)) <= 1e-12


def test_float32_stays_float32():
    rng = np.random.default_rng(0)
    net = scaling_factors.with_block_factors(
        nn.Sequential(nn.Linear(3, 3, rng, dtype=np.float32), nn.Residual(nn.Linear(3, 3, rng, dtype=np.float32)))
    )
    optimizer = nn.SGD(scaling_factors.others(net), np.float64(0.1))
    apg = APG(net, optimizer, np.float64(0.1))
    x = rng.standard_normal((3, 4)).astype(np.float32)
    nn.training.training_step(net, nn.SquaredError(), optimizer, x, x, [apg])
    assert {s.data.dtype for s in factors(net).values()} | {v.dtype for v in apg.v.values()} == {np.dtype(np.float32)}


def test_bad_input_is_one_sentence():
    net, optimizer, x, t = problem()
    name = next(iter(factors(net)))
    rng = np.random.default_rng(0)
    plain = nn.models.mlp((3, 2), rng)
    for call, kind, message in (
        (lambda: APG(plain, optimizer, 0.1), ValueError, "expected a net with scaling factors, layers nn.Scale"),
        (lambda: APG(net, nn.Adam(scaling_factors.others(net)), 0.1), TypeError, "APG needs SGD, .*; got Adam"),
        (lambda: APG(net, nn.SGD(net.parameters(), 0.1), 0.1), ValueError, f"leaves the factors .* moves {name}"),
        (lambda: APG(net, optimizer, -0.1), ValueError, f"a strength for {name} of 0 or more, got -0.1"),
        (lambda: APG(net, optimizer, float("nan")), ValueError, f"a strength for {name} of 0 or more, got nan"),
        (lambda: APG(net, optimizer, {name: 0.1}), ValueError, "expected a strength for each of"),
        (lambda: APG(net, optimizer, "0.1"), TypeError, "expected a number for the strength"),
        (lambda: APG(net, nn.SGD(plain.parameters(), 0.1), 0.1), ValueError, "expected an optimizer of this net"),
        (lambda: scaling_factors.with_block_factors(net, 3), ValueError, "expected a list of names, got 3"),
        (lambda: scaling_factors.with_block_factors(nn.Sequential(nn.Residual(nn.Tanh()), nn.Linear(2, 2, rng))),
         ValueError, "a body with a number of channels, and no layer up to 0 says one"),
        (lambda: scaling_factors.dead_blocks([net]), TypeError, "expected a net, got list"),
        (lambda: APG(net, optimizer, 0.1, momentum=1), ValueError, r"a momentum in \[0, 1\), got 1"),
        (lambda: scaling_factors.families(net, -1), ValueError, "of 0 or more, got -1"),
        (lambda: scaling_factors.with_block_factors(net), ValueError, "and the body of 2 ends in one"),
        (lambda: scaling_factors.with_block_factors(plain), ValueError, "at least one residual block to have a factor"),
        (lambda: scaling_factors.with_block_factors(net, "2"), ValueError, "a list of names, got the string '2'"),
        (lambda: scaling_factors.with_block_factors(net, ["0"]), ValueError, "names of residual blocks, 2, 3; got '0'"),
        (lambda: factors([1]), TypeError, "expected a net, got list"),
        (lambda: APG(net, optimizer, 0.1).after_step(1), ValueError, f"{name} has no gradient"),
    ):  # fmt: skip
        with pytest.raises(kind, match=message):
            call()
    *_, second = factors(net).values()
    factors(net)[name].grad = np.ones(1)
    with pytest.raises(ValueError, match=r"3\.body\.3\.s has no gradient"):
        APG(net, optimizer, 0.1).after_step(1)
    assert factors(net)[name].data == second.data == 1  # none has moved
    with pytest.raises(ValueError, match="outline"):
        outline = resnet(None, 8)
        APG(outline, nn.SGD(scaling_factors.others(outline), 0.1), 0.1)
    second = [module for module in net.modules() if isinstance(module, nn.Scale)][1]
    second.s = factors(net)[name]
    with pytest.raises(ValueError, match="are one parameter"):
        APG(net, optimizer, 0.1)


def test_its_state_is_the_momentum_and_no_other_is_taken():
    net, optimizer, x, t = problem()
    apg = APG(net, optimizer, 0.1)
    train(net, optimizer, x, t, [apg], 1)
    state = {name: v.copy() for name, v in apg.state().items()}
    again, name = APG(net, optimizer, 0.1), next(iter(state))
    again.load(state)
    assert all(np.array_equal(again.v[key], state[key]) for key in state) and any(v.any() for v in state.values())
    for wrong, message in (
        ({}, "expected the momenta of .*, got none"),
        ({**state, name: np.zeros(2)}, f"a momentum of float64 \\(1,\\) for {name}, got float64 \\(2,\\)"),
        ({**state, name: 0.0}, f"for {name}, got no array"),
        ({**state, name: np.array([np.nan])}, f"expected a finite momentum for {name}, got"),
    ):
        with pytest.raises(ValueError, match=message):
            again.load(wrong)
    assert all(np.array_equal(again.v[key], state[key]) for key in state)


RUN = """
from pruning.penalties import group_lasso, scaling_factors

rng = np.random.default_rng(0)
block = lambda: nn.Residual(nn.Sequential(nn.Linear(6, 6, rng), nn.Tanh(), nn.Linear(6, 6, rng)))
net = nn.Sequential(nn.Linear(4, 6, rng), nn.Tanh(), block(), block(), nn.Linear(6, 3, rng))
net = scaling_factors.with_block_factors(net)
x, t = rng.standard_normal((4, 60)), rng.integers(0, 3, 60)
{companion}
nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, x, t, 60, 10, np.random.default_rng(1), companions=[steps],
                  checkpoint_path=path, checkpoint_every=2, progress=False, schedule=nn.cosine_decay(0.05, 60))
"""
ACCELERATED = """
optimizer = nn.SGD(scaling_factors.others(net), 0.05, 0.9, nesterov=True)
steps = scaling_factors.APG(net, optimizer, 0.1)
"""
PLAIN = """
optimizer = nn.SGD(net.parameters(), 0.05, 0.9)
steps = group_lasso.ProximalSteps(net, scaling_factors.families(net, 0.1), optimizer)
"""


@pytest.mark.slow
@pytest.mark.parametrize("companion", [ACCELERATED, PLAIN])
def test_kill_9_and_resume_ends_in_the_same_bits(companion, tmp_path):
    assert_killed_runs_end_in_the_same_bits(RUN.format(companion=companion), tmp_path)
