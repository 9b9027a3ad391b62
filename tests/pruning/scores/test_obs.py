"""Optimal Brain Surgeon against the linear system of its constrained problem, refits, and brute force."""

import copy
import itertools

import numpy as np
import pytest
from cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st

import nn
from nn import gradcheck
from nn.curvature import matrix as hessian
from pruning import masks
from pruning.pipeline import Objective, prune_and_retrain
from pruning.scores import magnitude, obd, obs

TOLERANCE = 1e-10


def parabola(seed, K, condition=1e4):
    """A positive definite H with this condition number, and u."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((K, K)))[0]
    H = Q * np.geomspace(1, condition, K) @ Q.T
    return (H + H.T) / 2, rng.standard_normal(K)


def kkt(H, u, Q):
    """The minimiser of 1/2 du^T H du subject to du_Q = -u_Q, from the linear system of its Lagrangian."""
    K, m = len(u), len(Q)
    E = np.eye(K)[:, list(Q)]
    system = np.block([[H, E], [E.T, np.zeros((m, m))]])
    return np.linalg.solve(system, np.concatenate([np.zeros(K), -u[list(Q)]]))[:K]


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 12), st.floats(1, 1e4), st.data())
def test_the_update_solves_the_constrained_problem_and_the_saliency_is_its_value(seed, K, condition, data):
    H, u = parabola(seed, K, condition)
    Q = data.draw(st.lists(st.integers(0, K - 1), min_size=1, max_size=K, unique=True))
    Hinv = hessian.invert(H)
    du = kkt(H, u, Q)
    new, downdated = obs.delete(u, Hinv, Q)
    assert gradcheck.relative_error(new - u, du) <= TOLERANCE
    assert not new[Q].any()
    assert obs.block_saliency(u, Hinv, Q) == pytest.approx(du @ H @ du / 2, rel=1e-9)
    rest = np.setdiff1d(np.arange(K), Q)
    expected = np.zeros((K, K))
    expected[np.ix_(rest, rest)] = np.linalg.inv(H[np.ix_(rest, rest)])
    assert np.linalg.norm(downdated - expected) <= TOLERANCE * np.linalg.norm(Hinv)
    assert not downdated[Q].any() and not downdated[:, Q].any()


@pytest.mark.parametrize("seed", range(5))
def test_one_after_the_other_in_any_order_equals_all_at_once(seed):
    H, u = parabola(seed, 9)
    Hinv, Q = hessian.invert(H), [1, 4, 6]
    block_u, block_Hinv = obs.delete(u, Hinv, Q)
    for order in itertools.permutations(Q):
        v, A, cost = u, Hinv, 0.0
        for q in order:
            cost += obs.saliencies(v, A)[q]
            v, A = obs.delete(v, A, [q])
        assert gradcheck.relative_error(v, block_u) <= TOLERANCE
        assert gradcheck.relative_error(A, block_Hinv) <= TOLERANCE
        assert cost == pytest.approx(obs.block_saliency(u, Hinv, Q), rel=1e-10)


def test_the_forms_that_are_not_the_surgeon():
    """Without the 1/2, with the other sign, without the downdate, with [H]_qq instead of 1 / [H^-1]_qq."""
    H, u = parabola(0, 8, 100)
    Hinv, q, p = hessian.invert(H), 2, 5
    column = Hinv[:, q] / Hinv[q, q]
    rise = lambda v: (v - u) @ H @ (v - u) / 2  # noqa: E731
    new, downdated = obs.delete(u, Hinv, [q])
    assert rise(new) == pytest.approx(obs.saliencies(u, Hinv)[q], rel=1e-12)
    assert u[q] ** 2 / Hinv[q, q] == pytest.approx(2 * rise(new), rel=1e-12)
    assert (u + u[q] * column)[q] == pytest.approx(2 * u[q])  # the other sign doubles the weight
    both = obs.delete(new, downdated, [p])[0]
    revived = new - new[p] / Hinv[p, p] * Hinv[:, p]
    assert abs(both[q]) == 0 and abs(revived[q]) > 0.05
    assert H[q, q] * u[q] ** 2 / 2 > 1.1 * rise(new)


def test_obd_is_the_special_case_of_a_diagonal_hessian_and_never_below():
    for seed in range(5):
        H, u = parabola(seed, 8)
        assert np.all(obs.saliencies(u, hessian.invert(H)) <= np.diag(H) * u * u / 2 * (1 + 1e-12))
    H = np.diag(np.diag(H))
    np.testing.assert_allclose(obs.saliencies(u, hessian.invert(H)), np.diag(H) * u * u / 2, rtol=1e-12)
    new = obs.delete(u, hessian.invert(H), [3])[0]
    np.testing.assert_array_equal(np.delete(new, 3), np.delete(u, 3))


def least_squares_net(seed=0, condition=1e3, O=4, I=5, N=20):
    """A linear layer with bias at the minimum of squared error; its inputs have about this condition number."""
    rng = np.random.default_rng(seed)
    x = np.linalg.qr(rng.standard_normal((N, I)))[0].T * np.geomspace(1, condition, I)[:, None]
    x = np.linalg.qr(rng.standard_normal((I, I)))[0] @ x + 0.3
    t = rng.standard_normal((O, N))
    net = nn.Sequential(nn.Linear(I, O, rng))
    solution = np.linalg.lstsq(np.vstack([x, np.ones(N)]).T, t.T, rcond=None)[0].T
    net.layers[0].W.data, net.layers[0].b.data = solution[:, :-1].copy(), solution[:, -1].copy()
    return net, nn.SquaredError(), x, t


def refit(x, t, mask):
    """Row by row the least-squares fit of t on the inputs that the mask keeps and a constant; W and b."""
    W, b = np.zeros(mask.shape), np.zeros(len(mask))
    for i, row in enumerate(mask):
        kept = np.flatnonzero(row)
        columns = np.vstack([x[kept], np.ones(x.shape[1])]).T
        *W[i, kept], b[i] = np.linalg.lstsq(columns, t[i], rcond=None)[0]
    return W, b


@pytest.mark.parametrize("seed", range(4))
def test_pruning_a_least_squares_net_is_the_refit_on_what_is_left(seed):
    net, loss, x, t = least_squares_net(seed, condition=10)
    E = loss.forward(net.forward(x), t)
    Hinv, predicted = obs.prune(net, hessian.inverse(net, loss, x, t), 0.6)
    layer = net.layers[0]
    assert masks.counts(net) == (8, 20)
    W, b = refit(x, t, layer.W.mask)
    assert gradcheck.relative_error(layer.W.data, W) <= TOLERANCE
    assert gradcheck.relative_error(layer.b.data, b) <= TOLERANCE
    assert loss.forward(net.forward(x), t) - E == pytest.approx(predicted, rel=1e-9)
    assert gradcheck.relative_error(Hinv, hessian.inverse(net, loss, x, t)) <= 1e-9


def test_every_choice_is_the_one_whose_refit_raises_the_loss_least():
    net, loss, x, t = least_squares_net(1, condition=10)
    mask, Hinv = np.ones((4, 5)), hessian.inverse(net, loss, x, t)
    for k in range(1, 13):
        rises = {}
        for place in zip(*np.nonzero(mask)):
            trial = mask.copy()
            trial[place] = 0
            W, b = refit(x, t, trial)
            rises[place] = np.sum((t - W @ x - b[:, None]) ** 2)
        mask[min(rises, key=rises.get)] = 0
        Hinv, _ = obs.prune(net, Hinv, k / 20)
        np.testing.assert_array_equal(net.layers[0].W.mask, mask)


@pytest.mark.parametrize("seed", range(4))
def test_pruning_a_layer_is_the_refit_of_its_rows(seed):
    net, _, x, t = least_squares_net(seed, condition=70)  # of x x^T: below 1e4
    assert np.linalg.cond(x @ x.T) < 1e4
    mask = (np.random.default_rng(seed).random((4, 5)) < 0.6).astype(float)
    mask[0], mask[1] = 0, 1
    fit = np.linalg.lstsq(x.T, t.T, rcond=None)[0].T
    for W, target in ((fit, t), (net.layers[0].W.data, net.layers[0].W.data @ x)):
        new = obs.prune_layer(W, x, mask)
        for i, row in enumerate(mask):
            kept = np.flatnonzero(row)
            expected = np.zeros(5)
            expected[kept] = np.linalg.lstsq(x[kept].T, target[i], rcond=None)[0]
            assert np.linalg.norm(new[i] - expected) <= TOLERANCE * np.linalg.norm(W[i])
    np.testing.assert_array_equal(new[1], W[1])
    assert not new[0].any()


def test_of_two_equal_inputs_one_takes_over_the_weight_of_the_other():
    rng = np.random.default_rng(0)
    x, W = rng.standard_normal((3, 15)), rng.standard_normal((2, 3))
    x[2] = x[0]
    mask = np.array([[1.0, 1.0, 0.0]] * 2)
    with pytest.raises(ValueError, match="expected a positive definite Hessian"):
        obs.prune_layer(W, x, mask)
    expected = np.stack([W[:, 0] + W[:, 2], W[:, 1], 0 * W[:, 0]], axis=1)
    np.testing.assert_allclose(obs.prune_layer(W, x, mask, damping=1e-7), expected, atol=1e-6)


def test_saliency_has_an_entry_for_every_prunable_weight():
    net, loss, x, t = CASES[8].build()
    Hinv = hessian.inverse(net, loss, x, t, weight_decay=0.01)
    s = obs.saliency(net, Hinv)
    assert list(s) == ["1.W", "3.W", "5.W"]
    u, start = gradcheck.flat(net), 0
    for name, p in net.named_parameters():
        stop = start + p.data.size
        if name in s:
            expected = [u[k] ** 2 / (2 * Hinv[k, k]) for k in range(start, stop)]
            np.testing.assert_allclose(s[name].ravel(), expected, rtol=1e-13)
        start = stop
    assert list(obs.saliency(net, Hinv, ["3.b"])) == ["3.b"]


def problem(masked=False):
    net, loss, x, t = CASES[3].build()
    if masked:
        masks.apply(net, masks.smallest(magnitude.saliency(net), 0.2))
    return net, hessian.inverse(net, loss, x, t, weight_decay=0.01)


@pytest.mark.parametrize("masked", [False, True])
def test_pruning_goes_on_where_it_stopped(masked):
    (net, Hinv), (once, _) = problem(masked), problem(masked)
    first, a = obs.prune(net, Hinv, 0.4)
    second, b = obs.prune(net, first, 0.8)
    final, total = obs.prune(once, Hinv, 0.8)
    np.testing.assert_array_equal(gradcheck.flat(net), gradcheck.flat(once))
    np.testing.assert_array_equal(second, final)
    assert a + b == pytest.approx(total)
    assert masks.counts(net) == (7, 35)
    for p in masks.prunable(net).values():
        np.testing.assert_array_equal(p.data != 0, p.mask == 1)
    assert all(p.mask is None for name, p in net.named_parameters() if name.endswith("b"))
    scores = obs.saliency(net, final)
    assert all(np.array_equal(scores[name] > 0, p.mask == 1) for name, p in masks.prunable(net).items())


def test_masks_of_another_score_are_applied_with_the_adjustment():
    (net, Hinv), keep = problem(masked=True), {}
    u, dead = gradcheck.flat(net), np.flatnonzero(hessian.alive(net) == 0)
    for name, p in masks.prunable(net).items():
        keep[name] = (np.arange(p.data.size) % 3 > 0).astype(float).reshape(p.shape)  # revives some of the dead, too
    flags = np.concatenate([keep.get(name, np.ones(p.shape)).ravel() for name, p in net.named_parameters()])
    Q = [int(q) for q in np.flatnonzero(flags == 0) if q not in dead]
    downdated, predicted = obs.apply(net, Hinv, keep)
    expected, expected_Hinv = obs.delete(u, Hinv, Q)
    np.testing.assert_array_equal(gradcheck.flat(net), expected)
    np.testing.assert_array_equal(downdated, expected_Hinv)
    assert predicted == obs.block_saliency(u, Hinv, Q) > 0
    assert np.count_nonzero(hessian.alive(net) == 0) == len(Q) + len(dead)
    again, nothing = obs.apply(net, downdated, keep)
    assert nothing == 0 and np.array_equal(gradcheck.flat(net), expected) and np.array_equal(again, downdated)


def test_it_scores_the_rounds_of_the_pipeline_like_any_other_method():
    net, loss, x, t = CASES[3].build()
    objective = Objective(loss, (x, t), (x, t), 0.01)
    score = lambda each: obs.saliency(each, hessian.inverse(each, loss, x, t, weight_decay=0.01))  # noqa: E731
    first = score(net)
    records = prune_and_retrain(net, score, [0.4, 0.8], objective)
    assert [record["weights_left"] for record in records] == [21, 7]
    gone = masks.smallest(first, 0.4)
    assert all(np.all(p.mask <= gone[name]) for name, p in masks.prunable(net).items())


def test_with_a_diagonal_hessian_the_adjustment_is_none():
    net, _ = problem()
    K, keep = len(gradcheck.flat(net)), masks.smallest(magnitude.saliency(net), 0.5)
    twin = copy.deepcopy(net)
    masks.apply(twin, keep)
    obs.apply(net, np.eye(K), keep)
    np.testing.assert_array_equal(gradcheck.flat(net), gradcheck.flat(twin))


def test_in_a_trained_net_a_tenth_costs_least_by_obs_and_most_by_magnitude():
    rng = np.random.default_rng(0)
    net, teacher = (nn.models.mlp((6, width, 3), rng, activation=nn.Tanh) for width in (8, 4))
    x, loss, decay = rng.standard_normal((6, 60)), nn.SquaredError(), 1e-3
    t = teacher.forward(x) + 0.3 * rng.standard_normal((3, 60))
    optimizer = nn.SGD(net.parameters(), 0.05, momentum=0.9, weight_decay=decay)
    nn.training.train(net, loss, optimizer, x, t, 1000, 60, rng, progress=False)
    objective = Objective(loss, (x, t), (x, t), decay)
    pruned = {name: copy.deepcopy(net) for name in ("magnitude", "obd", "obs")}
    masks.apply(pruned["magnitude"], masks.smallest(magnitude.saliency(net), 0.1))
    masks.apply(pruned["obd"], masks.smallest(obd.saliency(net, loss, x, t, weight_decay=decay), 0.1))
    obs.prune(pruned["obs"], hessian.inverse(net, loss, x, t, weight_decay=decay), 0.1)
    rise = {name: objective.value(each) - objective.value(net) for name, each in pruned.items()}
    assert 0 < 2 * rise["obs"] < rise["obd"] < rise["magnitude"]


@pytest.mark.parametrize(
    ("Q", "message"),
    [
        (list(range(6)), "expected at most 4 weights to delete, as many as are left, got 6"),
        ([1, 2, 3, 4, 5], "expected at most 4 weights to delete, as many as are left, got 5"),
        ([0], r"expected different indices below 5 of weights that are not deleted yet, got \[0\]"),
        ([2, 2], r"expected different indices below 5 .*got \[2, 2\]"),
        ([5], r"expected different indices below 5 .*got \[5\]"),
        ([-1], r"expected different indices below 5 .*got \[-1\]"),
    ],
)
def test_deleting_what_is_not_there_is_one_sentence(Q, message):
    H, u = parabola(0, 5)
    u, Hinv = obs.delete(u, hessian.invert(H), [0])
    before = u.copy(), Hinv.copy()
    for f in (obs.delete, obs.block_saliency):
        with pytest.raises(ValueError, match=message):
            f(u, Hinv, Q)
    with pytest.raises(TypeError):
        obs.delete(u, Hinv, [1.5])
    obs.delete(u, Hinv, [1, 3])
    np.testing.assert_array_equal(u, before[0])
    np.testing.assert_array_equal(Hinv, before[1])
    assert obs.block_saliency(u, Hinv, []) == 0 and obs.delete(u, Hinv, [])[0] is u


def test_bad_input_is_one_sentence_and_changes_nothing():
    net, Hinv = problem()
    obs.prune(net, Hinv, 0.4)
    before, alive = gradcheck.flat(net), hessian.alive(net)
    keep = {"1.W": np.ones((2, 2))}
    for call in (lambda A: obs.saliency(net, A), lambda A: obs.prune(net, A, 0.5), lambda A: obs.apply(net, A, keep)):
        with pytest.raises(ValueError, match=r"expected an inverse Hessian of shape \(44, 44\), got \(3, 3\)"):
            call(np.eye(3))
        with pytest.raises(ValueError, match="zero exactly where the masks are, got one of other masks"):
            call(Hinv)
    Hinv = Hinv * alive[:, None] * alive
    with pytest.raises(ValueError, match=r"14 of 35 weights are deleted already, more than 0\.3 of them"):
        obs.prune(net, Hinv, 0.3)
    with pytest.raises(ValueError, match="expected a sparsity from 0 to 1"):
        obs.prune(net, Hinv, 1.1)
    with pytest.raises(ValueError, match=r"the net has no parameter 9\.W"):
        obs.prune(net, Hinv, 0.5, names=["9.W"])
    with pytest.raises(ValueError, match="expected a mask of shape"):
        obs.apply(net, Hinv, keep)
    np.testing.assert_array_equal(gradcheck.flat(net), before)
    np.testing.assert_array_equal(hessian.alive(net), alive)
    with pytest.raises(
        ValueError, match=r"expected W \(O, I\), x \(I, N\), mask \(O, I\), got shapes \(2, 3\), \(4, 5\)"
    ):
        obs.prune_layer(np.ones((2, 3)), np.ones((4, 5)), np.ones((2, 3)))


def test_on_every_library(library):
    net, Hinv = problem(masked=True)
    other, A = copy.deepcopy(net).to(library.xp), library.xp.asarray(Hinv)
    for name, values in obs.saliency(net, Hinv).items():
        np.testing.assert_allclose(nn.backend.to_numpy(obs.saliency(other, A)[name]), values, rtol=1e-12)
    keep = masks.smallest(magnitude.saliency(net), 0.5)
    twins = copy.deepcopy(net), copy.deepcopy(other)
    pairs = [
        (obs.prune(net, Hinv, 0.7), obs.prune(other, A, 0.7), net, other),
        (obs.apply(twins[0], Hinv, keep),
         obs.apply(twins[1], A, {name: library.xp.asarray(mask) for name, mask in keep.items()}), *twins),
    ]  # fmt: skip
    for (expected, change), (ours, other_change), plain, moved in pairs:
        np.testing.assert_allclose(nn.backend.to_numpy(ours), expected, rtol=1e-9, atol=1e-9)
        assert other_change == pytest.approx(change, rel=1e-11)
        for p, q in zip(plain.parameters(), moved.parameters()):
            np.testing.assert_allclose(nn.backend.to_numpy(q.data), p.data, rtol=1e-10, atol=1e-12)
            assert nn.backend.get_array_module(q.data) is nn.backend.get_array_module(ours)
    W, x, mask = (np.random.default_rng(k).standard_normal(shape) for k, shape in enumerate(((2, 3), (3, 9), (2, 3))))
    moved = obs.prune_layer(*(library.xp.asarray(each) for each in (W, x, (mask > 0) * 1.0)))
    np.testing.assert_allclose(
        nn.backend.to_numpy(moved), obs.prune_layer(W, x, (mask > 0) * 1.0), rtol=1e-10, atol=1e-12
    )


def test_masks_whose_block_is_singular_leave_the_net_as_it_was():
    """Two equal rows in an inverse Hessian: it is none, and no adjustment for both weights can be solved for."""
    net, Hinv = problem()
    K, names = len(Hinv), list(masks.prunable(net))
    singular = np.eye(K)
    singular[:2, :2] = 1.0
    keep = {"1.W": np.ones((5, 3)), "3.W": np.ones((4, 5))}
    keep["1.W"][0, :2] = 0
    before = gradcheck.flat(net)
    with pytest.raises(
        ValueError, match=r"^expected an inverse of a positive definite Hessian, got a singular block of 2"
    ):
        obs.apply(net, singular, keep)
    np.testing.assert_array_equal(gradcheck.flat(net), before)
    assert all(p.mask is None for p in net.parameters())
    with pytest.raises(ValueError, match="expected an inverse of a positive definite Hessian"):
        obs.prune(net, singular, 1.0)  # after the first of the two the second has no variance left
    np.testing.assert_array_equal(gradcheck.flat(net), before)
    assert all(p.mask is None for p in net.parameters())
    for f in (obs.delete, obs.block_saliency):
        with pytest.raises(ValueError, match="a singular block of 2 weights"):
            f(before, singular, [0, 1])
    assert names == list(keep)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 1), (40, 3), (2, 2)])
def test_an_inverse_hessian_that_is_not_finite_is_refused_before_anything_changes(bad, place):
    net, Hinv = problem()
    before = gradcheck.flat(net)
    Hinv[place] = bad
    keep = {"1.W": np.zeros((5, 3))}
    for call in (
        lambda: obs.saliency(net, Hinv),
        lambda: obs.prune(net, Hinv, 0.5),
        lambda: obs.apply(net, Hinv, keep),
    ):
        with pytest.raises(
            ValueError, match=r"^expected an inverse Hessian (of finite numbers|that is zero exactly where)"
        ):
            call()
    np.testing.assert_array_equal(gradcheck.flat(net), before)


@pytest.mark.parametrize("h", [0.0, -1.0, 1e-320, np.inf, np.nan])
def test_a_saliency_that_is_no_number_is_refused(h):
    """A variance of zero means that nothing may move this weight: only of one that is zero is it no news."""
    u, Hinv = np.array([1.0, 2.0, 0.0]), np.diag([1.0, h, 1.0])
    with pytest.raises(ValueError, match=r"positive definite Hessian, got .* on its diagonal where a weight is 2$"):
        with np.errstate(over="ignore"):
            obs.saliencies(u, Hinv)
    np.testing.assert_array_equal(obs.saliencies(u, np.diag([1.0, 2.0, 0.0])), [0.5, 1.0, 0.0])


def test_names_and_indices_from_iterators_are_all_of_them():
    net, Hinv = problem()
    twin = copy.deepcopy(net)
    assert list(obs.saliency(net, Hinv, iter(["3.W"]))) == ["3.W"]
    obs.prune(net, Hinv, 0.5, iter(["3.W"]))
    obs.prune(twin, Hinv, 0.5, ["3.W"])
    np.testing.assert_array_equal(gradcheck.flat(net), gradcheck.flat(twin))
    assert masks.counts(net, ["3.W"]) == (10, 20) and masks.counts(net, ["1.W"]) == (15, 15)
    assert net.layers[1].W.mask is None
    H, u = parabola(0, 5)
    Hinv = hessian.invert(H)
    for found, expected in zip(obs.delete(u, Hinv, iter([3, 1])), obs.delete(u, Hinv, np.array([3, 1]))):
        np.testing.assert_array_equal(found, expected)
    assert obs.block_saliency(u, Hinv, iter([3, 1])) == obs.block_saliency(u, Hinv, [3, 1]) > 0


def test_arrays_of_the_wrong_kind_are_one_sentence():
    net, Hinv = problem()
    H, u = parabola(0, 5)
    A = hessian.invert(H)
    array = "expected an array of NumPy, CuPy or the array-API standard, got list"
    for call in (
        lambda: obs.saliency(net, Hinv.tolist()),
        lambda: obs.prune(net, Hinv.tolist(), 0.5),
        lambda: obs.apply(net, Hinv.tolist(), {"1.W": np.ones((5, 3))}),
        lambda: obs.saliencies(u.tolist(), A),
        lambda: obs.saliencies(u, A.tolist()),
        lambda: obs.block_saliency(u, A.tolist(), [1]),
        lambda: obs.delete(u.tolist(), A, [1]),
        lambda: obs.delete(u, A.tolist(), []),
        lambda: obs.prune_layer([[1.0]], np.ones((1, 2)), np.ones((1, 1))),
        lambda: obs.prune_layer(np.ones((1, 1)), [[1.0]], np.ones((1, 1))),
        lambda: obs.prune_layer(np.ones((1, 1)), np.ones((1, 2)), [[1.0]]),
    ):
        with pytest.raises(TypeError, match=array):
            call()
    for f in (obs.saliencies, lambda v, B: obs.block_saliency(v, B, [0]), lambda v, B: obs.delete(v, B, [])):
        for v, B in ((u, A[:4, :4]), (u[:, None], A), (u, A[0]), (u, A[:, :4])):
            with pytest.raises(ValueError, match=r"expected u \(K,\) and Hinv \(K, K\), got shapes"):
                f(v, B)
    for wrong in (3, None, [1.5], ["1"], [None]):
        for f in (obs.delete, obs.block_saliency):
            with pytest.raises(TypeError, match=r"^expected the indices of weights, got "):
                f(u, A, wrong)
    for call in (lambda a: obs.saliency(a, Hinv), lambda a: obs.prune(a, Hinv, 0.5), lambda a: obs.apply(a, Hinv, {})):
        with pytest.raises(TypeError, match="expected a net, got list"):
            call([net])
    for wrong in ([np.ones((5, 3))], {"1.W": [1.0]}):
        with pytest.raises(TypeError, match="expected masks as a dict of arrays by name"):
            obs.apply(net, Hinv, wrong)
    for x, mask in ((np.ones((3, 0)), np.ones((2, 3))), (np.ones((3, 9)), np.full((2, 3), 0.5))):
        with pytest.raises(ValueError, match="expected a mask of zeros and ones and at least one pattern, got "):
            obs.prune_layer(np.ones((2, 3)), x, mask)


def test_masks_of_filters_are_applied_with_the_adjustment_too():
    (net, Hinv), (twin, _) = problem(), problem()
    rows = np.array([1.0, 0, 1, 1, 0])
    (A, a), (B, b) = obs.apply(net, Hinv, {"1.W": rows}), obs.apply(twin, Hinv, {"1.W": np.repeat(rows[:, None], 3, 1)})
    np.testing.assert_array_equal(gradcheck.flat(net), gradcheck.flat(twin))
    np.testing.assert_array_equal(A, B)
    assert a == b > 0 and masks.counts(net, ["1.W"]) == (9, 15) and net.layers[3].W.mask is None


def test_a_sparsity_that_is_reached_already_deletes_nothing():
    net, Hinv = problem()
    Hinv, _ = obs.prune(net, Hinv, 0.4)
    before = gradcheck.flat(net)
    again, predicted = obs.prune(net, Hinv, 0.4)
    assert predicted == 0 and np.array_equal(gradcheck.flat(net), before) and np.array_equal(again, Hinv)


def test_a_saliency_that_is_no_number_is_refused_on_every_library(library):
    u, Hinv = library.xp.asarray(np.array([1.0, 2.0])), library.xp.asarray(np.diag([1.0, -1.0]))
    with pytest.raises(ValueError, match="got -1 on its diagonal where a weight is 2"):
        obs.saliencies(u, Hinv)
    singular = library.xp.asarray(np.ones((2, 2)))
    with pytest.raises(ValueError, match="a singular block of 2 weights"):
        obs.delete(u, singular, [0, 1])
