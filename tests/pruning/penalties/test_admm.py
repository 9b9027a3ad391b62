import itertools
import json
import math

import numpy as np
import pytest
from killing import assert_killed_runs_end_in_the_same_bits

import nn
import textbook
from pruning import masks
from pruning.penalties import admm

PATTERNS, INPUTS = 40, 6


def problem(seed=0):
    """A linear layer (1, 6) without bias on a well-conditioned regression, and the regression's X (n, p), y (n,)."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((PATTERNS, INPUTS))
    y = X @ np.array([2.0, -1.5, 1.0, 0.5, 0.0, 0.1]) + 0.1 * rng.standard_normal(PATTERNS)
    net = nn.Sequential(nn.Linear(INPUTS, 1, rng, bias=False))
    return net, X, y


def gradient(X, y, w):
    """d/dw of (1/n) ||y - X w||^2."""
    return 2 / PATTERNS * X.T @ (X @ w - y)


def iterate(net, X, y, split, updates=400, steps=15):
    """Full-batch gradient descent for W, then the other two steps."""
    optimizer = nn.SGD(net.parameters(), 0.6 / (2 * np.linalg.eigvalsh(X.T @ X / PATTERNS)[-1] + split.rho["0.W"]))
    for _ in range(updates):
        for _ in range(steps):
            nn.training.training_step(net, nn.SquaredError(), optimizer, X.T, y[None], [split])
        split.update()
    return net.layers[0].W.data[0]


@pytest.mark.parametrize("rho", [0.5, 3.0])
def test_with_the_l1_ball_it_finds_the_constrained_minimum(rho):
    net, X, y = problem()
    radius = 3.0
    split = admm.ADMM(net, {"0.W": lambda v: textbook.project_l1_ball(v, radius)}, rho)
    w = iterate(net, X, y, split)
    low, high = 0.0, textbook.lasso_lambda_max(X, y)  # the lasso whose solution has this l1 norm
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if np.abs(textbook.lasso(X, y, middle).beta).sum() > radius else (low, middle)
    np.testing.assert_allclose(w, textbook.lasso(X, y, high).beta, atol=1e-8)
    # Four equations at once: W = Y, Y in the set, and grad f + rho U = 0.
    assert np.linalg.norm(w - split.Y["0.W"]) <= 1e-8
    assert np.linalg.norm(gradient(X, y, w) + rho * split.U["0.W"][0]) <= 1e-8
    assert split.history[-1]["primal"] <= 1e-8 and split.history[-1]["dual"] <= 1e-8


def test_with_soft_thresholding_it_is_the_lasso():
    net, X, y = problem()
    rho, lam = 1.5, 0.4
    w = iterate(net, X, y, admm.ADMM(net, {"0.W": lambda v: textbook.soft_threshold(v, lam / rho)}, rho))
    exact = textbook.lasso(X, y, lam / 2).beta  # SquaredError has no 1/2
    np.testing.assert_allclose(w, exact, atol=1e-8)
    assert (exact == 0).any()


class SignSlip(admm.ADMM):
    def update(self):
        U = dict(self.U)
        super().update()
        self.U = {n: U[n] - self.parameters[n].data + self.Y[n] for n in U}


class YNeverUpdated(admm.ADMM):
    """Equation (6) of the P-RM paper updates a Z that no other line reads."""

    def update(self):
        Y = dict(self.Y)
        super().update()
        self.U = {n: self.U[n] + self.Y[n] - Y[n] for n in Y}
        self.Y = Y


def test_the_sign_of_the_multiplier_decides_convergence():
    net, X, y = problem()
    split = SignSlip(net, {"0.W": lambda v: textbook.project_l1_ball(v, 3.0)}, 3.0)
    w = iterate(net, X, y, split)
    assert np.linalg.norm(w) > 1e6 or split.history[-1]["primal"] > 0.1


def test_with_y_never_updated_the_weights_end_where_y_started():
    net, X, y = problem()
    split = YNeverUpdated(net, {"0.W": admm.weights(2)}, 3.0)
    start = split.Y["0.W"].copy()
    np.testing.assert_allclose(iterate(net, X, y, split), start[0], atol=1e-8)  # one-shot magnitude pruning
    net, X, y = problem()
    split = YNeverUpdated(net, {"0.W": admm.weights(2)}, 3.0)
    split.Y = {"0.W": np.zeros((1, INPUTS))}
    assert np.linalg.norm(iterate(net, X, y, split)) <= 1e-8  # the net erased


def test_cardinality_ends_stationary_on_its_support():
    net, X, y = problem()
    split = admm.ADMM(net, {"0.W": admm.weights(3)}, 3.0)
    w = iterate(net, X, y, split, updates=800)
    support = split.Y["0.W"][0] != 0
    assert support.sum() == 3
    refit = np.linalg.lstsq(X[:, support], y, rcond=None)[0]
    np.testing.assert_allclose(split.Y["0.W"][0, support], refit, atol=1e-8)
    assert np.linalg.norm(w - split.Y["0.W"]) <= 1e-8


def test_the_gradient_is_that_of_the_penalty():
    rng = np.random.default_rng(1)
    net = nn.Sequential(nn.Linear(4, 3, rng))
    split = admm.ADMM(net, {"0.W": admm.weights(5)}, 0.7)
    split.U = {"0.W": rng.standard_normal((3, 4))}
    W = net.layers[0].W
    W.grad = np.zeros((3, 4))
    split.add_gradient()

    def penalty(data):
        return 0.7 / 2 * np.sum((data - split.Y["0.W"] + split.U["0.W"]) ** 2)

    for index in np.ndindex(3, 4):
        step = 1e-30j * np.eye(12)[np.ravel_multi_index(index, (3, 4))].reshape(3, 4)
        assert penalty(W.data + step).imag / 1e-30 == pytest.approx(W.grad[index], rel=1e-12)


def brute_force(V, project_all):
    """The largest energy that any allowed pattern of zeros keeps."""
    return max(float(np.sum((V * pattern) ** 2)) for pattern in project_all)


def patterns_of(shape, kept, axis_groups):
    """All 0/1 arrays that keep `kept` of the groups; axis_groups numbers the group of every entry."""
    names = np.unique(axis_groups)
    for chosen in itertools.combinations(names, kept):
        yield np.isin(axis_groups, chosen).reshape(shape)


SHAPE = (3, 4, 2, 1)
ROWS = np.broadcast_to(np.arange(3)[:, None, None, None], SHAPE)
CHANNELS = np.broadcast_to(np.arange(4)[None, :, None, None], SHAPE)
COLUMNS = np.broadcast_to(np.arange(8).reshape(4, 2, 1), SHAPE)
ENTRIES = np.arange(24).reshape(SHAPE)


@pytest.mark.parametrize(
    ("projection", "kept", "groups"),
    [(admm.weights, 3, ENTRIES), (admm.filters, 2, ROWS), (admm.columns, 5, COLUMNS), (admm.channels, 2, CHANNELS)],
)
def test_projections_equal_brute_force_and_are_idempotent(projection, kept, groups):
    rng = np.random.default_rng(2)
    for _ in range(3):
        V = rng.standard_normal(SHAPE)
        found = projection(kept)(V)
        assert np.isin(found, [0.0, *V.ravel()]).all() and found.shape == SHAPE
        assert len(np.unique(groups[found != 0])) <= kept
        assert np.sum(found**2) == pytest.approx(brute_force(V, patterns_of(SHAPE, kept, groups)), rel=1e-14)
        np.testing.assert_array_equal(projection(kept)(found), found)


def exact_joint(V, rows, cols):
    best = 0.0
    for chosen in itertools.combinations(range(V.shape[0]), rows):
        energies = np.sort(np.sum(V[list(chosen)] ** 2, axis=0))
        best = max(best, float(energies[len(energies) - cols :].sum()))
    return best


def test_the_joint_set_is_nearly_always_the_exact_answer_and_better_than_one_order():
    rng = np.random.default_rng(3)
    project = admm.filters_and_columns(3, 4)
    hits = {"joint": 0, "rows first": 0, "columns first": 0}
    for _ in range(200):
        V = rng.standard_normal((6, 8))
        best = exact_joint(V, 3, 4)
        found = project(V)
        assert (found != 0).any(axis=1).sum() <= 3 and (found != 0).any(axis=0).sum() <= 4
        assert np.isin(found, [0.0, *V.ravel()]).all()
        np.testing.assert_array_equal(project(found), found)
        one = textbook.keep_largest_columns(textbook.keep_largest_rows(V, 3), 4)
        other = textbook.keep_largest_rows(textbook.keep_largest_columns(V, 4), 3)
        energies = {"joint": found, "rows first": one, "columns first": other}
        assert np.sum(found**2) >= max(np.sum(one**2), np.sum(other**2)) - 1e-12
        for name, matrix in energies.items():
            assert np.sum(matrix**2) <= best + 1e-12
            hits[name] += np.sum(matrix**2) >= best - 1e-12
    assert hits["joint"] > 0.85 * 200
    assert hits["rows first"] < 0.85 * 200 and hits["columns first"] < 0.7 * 200


def test_a_changed_rho_leaves_the_multiplier():
    net, _, _ = problem()
    split = admm.ADMM(net, {"0.W": admm.weights(2)}, 0.5)
    split.update()
    before = 0.5 * split.U["0.W"]
    split.set_rho(2.0)
    np.testing.assert_allclose(2.0 * split.U["0.W"], before, rtol=1e-14)


def test_residuals():
    net, _, _ = problem()
    W = net.layers[0].W
    split = admm.ADMM(net, {"0.W": admm.weights(2)}, 0.5)
    previous = split.Y["0.W"]
    W.data = W.data + 1.0
    split.update()
    Y = split.Y["0.W"]
    last = split.history[-1]
    assert last["primal"] == pytest.approx(np.linalg.norm(W.data - Y), rel=1e-14)
    assert last["dual"] == pytest.approx(0.5 * np.linalg.norm(Y - previous), rel=1e-14)
    assert last["relative"] == pytest.approx(np.linalg.norm(W.data - Y) / np.linalg.norm(W.data), rel=1e-14)


RHO = {"1.W": 0.5, "3.W": 4.0}
W1, U1 = np.array([[3.0, 1.0], [-2.0, 0.5]]), np.array([[1.0, 2.0], [0.0, 0.0]])
W3, U3 = np.array([[1.0, 4.0], [2.0, -3.0]]), np.array([[0.0, 1.0], [3.0, 0.0]])


def two_layers():
    """Two layers of two by two weights, a rho for each, two weights to keep in each: all of it can be done by hand."""
    net = nn.models.mlp((2, 2, 2), np.random.default_rng(0))
    net.layers[1].W.data, net.layers[3].W.data = W1.copy(), W3.copy()
    return net, admm.ADMM(net, {"1.W": admm.weights(2), "3.W": admm.weights(2)}, RHO)


def test_y_starts_at_the_projection_of_w_and_u_at_zero():
    _, split = two_layers()
    assert {name: y.tolist() for name, y in split.Y.items()} == {"1.W": [[3, 0], [-2, 0]], "3.W": [[0, 4], [0, -3]]}
    assert {name: u.tolist() for name, u in split.U.items()} == {name: [[0, 0], [0, 0]] for name in RHO}


def test_every_layer_has_its_own_rho_in_the_gradient():
    net, split = two_layers()
    split.U = {"1.W": U1, "3.W": U3}
    for W in split.parameters.values():
        W.grad = np.full((2, 2), 10.0)
    split.add_gradient()  # W - Y + U is [[1, 3], [0, 0.5]] and [[1, 1], [5, 0]]
    np.testing.assert_array_equal(net.layers[1].W.grad, [[10.5, 11.5], [10, 10.25]])
    np.testing.assert_array_equal(net.layers[3].W.grad, [[14, 14], [30, 10]])


def test_one_update_of_two_layers_by_hand():
    _, split = two_layers()
    split.U = {"1.W": U1, "3.W": U3}
    split.update()  # W + U is [[4, 3], [-2, 0.5]] and [[1, 5], [5, -3]]
    assert {name: y.tolist() for name, y in split.Y.items()} == {"1.W": [[4, 3], [0, 0]], "3.W": [[0, 5], [5, 0]]}
    assert {name: u.tolist() for name, u in split.U.items()} == {"1.W": [[0, 0], [-2, 0.5]], "3.W": [[1, 0], [0, -3]]}
    primal = (1 + 4 + 4 + 0.25) + (1 + 1 + 9 + 9)
    dual = 0.5**2 * (1 + 9 + 4) + 4.0**2 * (1 + 25 + 9)
    size = (9 + 1 + 4 + 0.25) + (1 + 16 + 4 + 9)
    assert split.history == [
        {
            "primal": pytest.approx(math.sqrt(primal), rel=1e-14),
            "dual": pytest.approx(math.sqrt(dual), rel=1e-14),
            "relative": pytest.approx(math.sqrt(primal / size), rel=1e-14),
        }
    ]


def test_a_changed_rho_leaves_the_multiplier_of_every_layer():
    _, split = two_layers()
    split.U = {"1.W": U1, "3.W": U3}
    split.set_rho({"1.W": 2.0, "3.W": 1.0})
    assert split.rho == {"1.W": 2.0, "3.W": 1.0}
    np.testing.assert_array_equal(split.U["1.W"], U1 / 4)
    np.testing.assert_array_equal(split.U["3.W"], 4 * U3)


def test_what_is_projected_at_the_end_is_w_alone():
    net, split = two_layers()
    split.U = {"1.W": U1, "3.W": U3}  # W + U would keep the first row of W1, and the other diagonal of W3
    cut = split.project()
    assert {name: mask.tolist() for name, mask in cut.items()} == {"1.W": [[1, 0], [1, 0]], "3.W": [[0, 1], [0, 1]]}
    np.testing.assert_array_equal(net.layers[1].W.data, [[3, 0], [-2, 0]])
    np.testing.assert_array_equal(net.layers[3].W.data, [[0, 4], [0, -3]])


def test_project_cuts_for_good():
    net = nn.models.mlp((5, 4, 3), np.random.default_rng(0))
    split = admm.ADMM(net, {"1.W": admm.filters(2), "3.W": admm.weights(5)}, 0.1)
    before = {n: p.data.copy() for n, p in net.named_parameters()}
    cut = split.project()
    for name in ("1.W", "3.W"):
        np.testing.assert_array_equal(dict(net.named_parameters())[name].data, before[name] * cut[name])
    assert cut["3.W"].sum() == 5 and sorted(cut["1.W"].sum(axis=1)) == [0, 0, 5, 5]
    x, t = np.random.default_rng(1).standard_normal((5, 8)), np.arange(8) % 3
    nn.training.train(net, nn.SoftmaxCrossEntropy(), nn.SGD(net.parameters(), 0.1, 0.9), x, t, 3, 4,
                      np.random.default_rng(2), progress=False)  # fmt: skip
    for name in cut:
        assert not dict(net.named_parameters())[name].data[cut[name] == 0].any()


def test_what_is_exactly_zero_stays_cut_and_no_layer_is_emptied():
    net = nn.models.mlp((5, 4, 3), np.random.default_rng(0))
    W = net.layers[1].W
    W.data[0, 1] = 0
    before = np.ones((4, 5))
    before[1, 2] = 0
    masks.apply(net, {"1.W": before})
    cut = admm.ADMM(net, {"1.W": admm.filters(4)}, 0.1).project()
    assert np.argwhere(cut["1.W"] == 0).tolist() == [[0, 1], [1, 2]]
    net.layers[3].W.data = np.zeros((3, 4))
    split = admm.ADMM(net, {"1.W": admm.filters(2), "3.W": admm.weights(2)}, 0.1)
    with pytest.raises(ValueError, match=r"projection of 3\.W is zero"):
        split.project()
    np.testing.assert_array_equal(W.mask, cut["1.W"])


def test_ties_go_to_the_first_filters_and_columns():
    found = admm.filters_and_columns(2, 2)(np.ones((3, 4)))
    assert np.argwhere(found).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    np.testing.assert_array_equal(admm.filters_and_columns(2, 2)(np.zeros((3, 4))), np.zeros((3, 4)))
    np.testing.assert_array_equal(np.argwhere(admm.channels(1)(np.ones((2, 3, 1, 1))))[:, 1], [0, 0])


def test_the_same_on_three_libraries(library):
    rng = np.random.default_rng(5)
    V = rng.standard_normal(SHAPE)
    for projection in (
        admm.weights(5),
        admm.filters(2),
        admm.columns(3),
        admm.channels(2),
        admm.filters_and_columns(2, 3),
    ):
        found = projection(library.xp.asarray(V))
        np.testing.assert_array_equal(nn.backend.to_numpy(found), projection(V))


def test_bad_input_is_one_sentence():
    net = nn.models.mlp((5, 4, 3), np.random.default_rng(0))
    for rho in (0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"positive rho for 1\.W"):
            admm.ADMM(net, {"1.W": admm.weights(2)}, rho)
    with pytest.raises(ValueError, match="a rho for each"):
        admm.ADMM(net, {"1.W": admm.weights(2)}, {"3.W": 1.0})
    with pytest.raises(ValueError, match="at least one weight"):
        admm.ADMM(net, {}, 1.0)
    with pytest.raises(ValueError, match=r"no parameter 8\.W"):
        admm.ADMM(net, {"8.W": admm.weights(2)}, 1.0)
    with pytest.raises(ValueError, match=r"the set of 1\.W, a weight of shape \(4, 5\)"):
        admm.ADMM(net, {"1.W": admm.weights(21)}, 1.0)
    for projection in (admm.weights, admm.filters, admm.columns, admm.channels):
        with pytest.raises(ValueError, match="at least one, got 0"):
            projection(0)
    with pytest.raises(ValueError, match=r"3\.W has no gradient"):
        admm.ADMM(net, {"3.W": admm.weights(2)}, 1.0).add_gradient()
    with pytest.raises(ValueError, match=r"the set of 1\.W, .*: expected .*integer"):
        admm.ADMM(net, {"1.W": admm.weights(2.5)}, 1.0)
    with pytest.raises(ValueError, match="at least one, got -1"):
        admm.filters_and_columns(2, -1)
    with pytest.raises(ValueError, match=r"expected a weight with input channels, .* got shape \(4,\)"):
        admm.ADMM(net, {"1.b": admm.channels(1)}, 1.0)


def test_one_budget_for_all_layers_is_the_nearest_point_by_brute_force():
    rng = np.random.default_rng(0)
    values = {"a": rng.standard_normal((2, 3)), "b": rng.standard_normal((1, 2, 2)) + 1}
    joined = np.concatenate([v.reshape(-1) for v in values.values()])
    for k in (5, 7, 10):
        kept = np.concatenate([project(values[n]).reshape(-1) for n, project in admm.largest_of_all(values, k).items()])
        best = max(np.sum(joined[list(chosen)] ** 2) for chosen in itertools.combinations(range(10), k))
        assert np.count_nonzero(kept) == k
        assert np.sum(kept * joined) == pytest.approx(best, rel=1e-14)
        assert ((kept == 0) | (kept == joined)).all()


def test_a_budget_that_no_layer_can_live_on_is_refused():
    values = {"a": np.ones((2, 3)), "b": 1e-3 * np.ones((2, 2))}
    for k in (1, 11):
        with pytest.raises(ValueError, match=f"expected to keep 2 to 10 weights of these layers, got {k}"):
            admm.largest_of_all(values, k)
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="b has none of the 5 largest weights"):
        admm.largest_of_all(values, 5)


RUN = """
from pruning.penalties import admm

rng = np.random.default_rng(0)
layers = [nn.Conv2d(1, 4, 3, rng, dtype=np.float32), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
net = nn.Sequential(*layers, nn.Linear(36, 10, rng, dtype=np.float32))
x, t = (each[..., :200] for each in nn.data.load("digits", dtype=np.float32).train)
sets = {"0.W": admm.filters_and_columns(3, 6), "4.W": admm.weights(120)}
split = admm.ADMM(net, sets, lambda updates: {"0.W": 0.02 * 1.1**updates, "4.W": 0.03}, every=7)
nn.training.train(net, nn.SoftmaxCrossEntropy(), nn.Adam(net.parameters(), 2e-3), x, t, epochs=22, batch_size=20,
                  rng=rng, companions=[split], checkpoint_path=path, checkpoint_every=1, progress=False)
"""


@pytest.mark.slow
def test_a_run_killed_ten_times_ends_in_the_same_bits(tmp_path):
    header = json.loads(assert_killed_runs_end_in_the_same_bits(RUN, tmp_path))
    (companion,) = header["companions"]
    assert len(companion["values"]["history"]) == 220 // 7
    assert len(header["progress"]["history"]) == 22 and header["progress"]["history"][-1]["penalty"] > 0


def test_the_penalty_is_what_the_gradient_belongs_to_in_all_layers():
    net, split = two_layers()
    split.U = {"1.W": U1, "3.W": U3}
    # W - Y + U is [[1, 3], [0, 0.5]] and [[1, 1], [5, 0]]
    assert split.penalty() == 0.25 * (1 + 9 + 0.25) + 2.0 * (1 + 1 + 25)


def test_as_a_companion_it_does_what_the_calls_by_hand_do():
    def run(by_hand):
        net = nn.models.mlp((5, 4, 3), np.random.default_rng(0))
        sets = {"1.W": admm.weights(7), "3.W": admm.filters(2)}
        rho = lambda updates: {"1.W": 0.1 * 2**updates, "3.W": 0.2}  # noqa: E731
        split = admm.ADMM(net, sets, rho(0)) if by_hand else admm.ADMM(net, sets, rho, every=3)
        optimizer, loss = nn.SGD(net.parameters(), 0.1, 0.9), nn.SoftmaxCrossEntropy()
        x, t = np.random.default_rng(1).standard_normal((5, 8)), np.arange(8) % 3
        for step in range(1, 11):
            if not by_hand:
                nn.training.training_step(net, loss, optimizer, x, t, [split])
                continue
            loss.forward(net.forward(x), t)
            net.backward_parameters(loss.backward())
            split.add_gradient()
            optimizer.step()
            if step in (3, 6, 9):
                split.update()
                split.set_rho(rho(step // 3))
        return net, split

    (net, split), (other, same) = run(False), run(True)
    np.testing.assert_array_equal(nn.gradcheck.flat(net), nn.gradcheck.flat(other))
    assert split.rho == same.rho == {"1.W": 0.8, "3.W": 0.2} and split.history == same.history
    assert all(np.array_equal(split.U[name], same.U[name]) for name in split.U)


def test_one_budget_is_decided_anew_at_every_update():
    def run(split, net, renew):
        optimizer, loss = nn.SGD(net.parameters(), 0.3, 0.9), nn.SoftmaxCrossEntropy()
        x, t = np.random.default_rng(1).standard_normal((5, 8)), np.arange(8) % 3
        budgets = []
        for step in range(1, 13):
            nn.training.training_step(net, loss, optimizer, x, t, [split])
            if step % 4 == 0:
                renew(split)
                budgets.append(np.count_nonzero(split.Y["1.W"]))
                assert budgets[-1] + np.count_nonzero(split.Y["3.W"]) == 9
        return budgets, split.project()

    nets = [nn.models.mlp((5, 4, 3), np.random.default_rng(0)) for _ in range(2)]
    values = {name: W.data for name, W in masks.prunable(nets[1]).items()}
    ours = admm.OneBudget(nets[0], ["1.W", "3.W"], 9, 0.3, every=4)
    by_hand = admm.ADMM(nets[1], admm.largest_of_all(values, 9), 0.3)

    def renew(split):
        split.sets = admm.largest_of_all({n: W.data + split.U[n] for n, W in split.parameters.items()}, 9)
        split.update()
        split.sets = admm.largest_of_all({n: W.data for n, W in split.parameters.items()}, 9)

    (budgets, cut), (same, also) = run(ours, nets[0], lambda split: None), run(by_hand, nets[1], renew)
    assert budgets == same and len(set(budgets)) > 1
    assert all(np.array_equal(cut[name], also[name]) for name in cut) and sum(mask.sum() for mask in cut.values()) == 9


def test_an_update_whose_second_projection_fails_changes_nothing():
    net, split = two_layers()
    before = {name: (split.Y[name].copy(), split.U[name].copy()) for name in split.sets}

    def refuse(v):
        raise ValueError("not today")

    split.sets["3.W"] = refuse
    with pytest.raises(ValueError, match=r"the set of 3\.W, .*: not today"):
        split.update()
    for name, (Y, U) in before.items():
        np.testing.assert_array_equal(split.Y[name], Y)
        np.testing.assert_array_equal(split.U[name], U)
    assert split.history == []
    net.layers[1].W.grad = ones = np.ones((2, 2))
    with pytest.raises(ValueError, match=r"3\.W has no gradient"):
        split.add_gradient()
    assert net.layers[1].W.grad is ones


@pytest.mark.parametrize("rho", [np.float64(0.3), np.float32(0.3), {"1.W": np.float64(0.3)}, lambda k: np.float64(0.3)])
def test_float32_stays_whatever_the_numbers_are(rho):
    net = nn.models.mlp((5, 4, 3), np.random.default_rng(0), dtype=np.float32)
    split = admm.ADMM(net, {"1.W": lambda v: admm.weights(3)(v.astype(np.float64))}, rho, every=1)
    optimizer = nn.Adam(net.parameters(), 0.1)
    x, t = np.random.default_rng(1).standard_normal((5, 8)).astype(np.float32), np.arange(8) % 3
    for _ in range(2):
        nn.training.training_step(net, nn.SoftmaxCrossEntropy(), optimizer, x, t, [split])
    split.set_rho(np.float64(0.5))
    arrays = [split.Y["1.W"], split.U["1.W"], *(p.data for p in net.parameters())]
    arrays += [array for state in optimizer.state for array in state.values()]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
    json.dumps({key: value for key, value in split.state().items() if not nn.companions.is_array(value)})


def test_a_state_that_does_not_fit_is_refused_and_one_that_does_is_taken():
    _, split = two_layers()
    split.U = {"1.W": U1, "3.W": U3}
    split.update()
    good, (_, other) = split.state(), two_layers()
    wrong = [
        (good | {"Y/1.W": good["Y/1.W"][:1]}, r"expected finite Y/1\.W of float64 \(2, 2\), got float64 \(1, 2\)"),
        (good | {"U/3.W": good["U/3.W"].astype(np.float32)}, r"U/3\.W of float64 \(2, 2\), got float32"),
        (good | {"U/3.W": good["U/3.W"] * np.nan}, r"expected finite U/3\.W"),
        (good | {"U/3.W": "much"}, r"expected finite U/3\.W of float64 \(2, 2\), got 'much'"),
        ({key: value for key, value in good.items() if key != "U/1.W"}, r"expected Y and U of 1\.W, 3\.W"),
        (good | {"Y/5.W": good["Y/1.W"]}, r"expected Y and U of 1\.W, 3\.W"),
        (good | {"rho": {"1.W": 1.0}}, r"expected a rho for each of 1\.W, 3\.W"),
        (good | {"rho": {"1.W": -1.0, "3.W": 1.0}}, r"positive rho for 1\.W"),
        (good | {"history": "long"}, "expected Y and U"),
        ({}, "expected a rho for each"),
    ]
    for state, message in wrong:
        with pytest.raises(ValueError, match=message):
            other.load(state)
        assert other.history == [] and other.rho == RHO and not other.U["1.W"].any()
    other.load(good)
    assert other.history == split.history
    assert all(np.array_equal(other.Y[n], split.Y[n]) and np.array_equal(other.U[n], split.U[n]) for n in RHO)
    split.update()
    other.update()
    assert other.history == split.history and len(good["history"]) == 1


def test_bad_sets_and_projections_are_one_sentence():
    net = nn.models.mlp((5, 4, 3), np.random.default_rng(0))
    with pytest.raises(TypeError, match="sets as a mapping, weight name -> projection, got a list"):
        admm.ADMM(net, [admm.weights(2)], 1.0)
    with pytest.raises(TypeError, match=r"a number for the rho of 1\.W, got '1'"):
        admm.ADMM(net, {"1.W": admm.weights(2)}, "1")
    with pytest.raises(ValueError, match=r"the set of 1\.W, .*: its projection has the shape \(2, 5\)"):
        admm.ADMM(net, {"1.W": lambda v: v[:2]}, 1.0)
    with pytest.raises(ValueError, match="whole number of steps between two updates of at least 1, got 0"):
        admm.ADMM(net, {"1.W": admm.weights(2)}, 1.0, every=0)
    with pytest.raises(TypeError, match="a number for how many to keep, got 'all'"):
        admm.weights("all")
