"""The group lasso's loop: its block update by brute force, its answer by the optimality conditions, and what fails."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from nn.backend import to_numpy
from textbook.coordinate_descent import block_minimiser, group_lasso_coordinate_descent
from textbook.exact.grouped_working_set import group_lasso
from textbook.proximal import group_soft_threshold

N, SIZES = 23, (3, 1, 4, 2)


@functools.cache
def data(seed=0, scale=1.0):
    """X (23, 10), y and four groups of sizes 3, 1, 4, 2 that do not lie side by side."""
    rng = np.random.default_rng(seed)
    p = sum(SIZES)
    X = scale * rng.standard_normal((N, p)) @ (np.eye(p) + 0.25 * rng.standard_normal((p, p)))
    order = rng.permutation(p)
    groups = np.split(order, np.cumsum(SIZES)[:-1])
    beta = np.zeros(p)
    beta[groups[0]], beta[groups[3]] = rng.standard_normal(3), 0.3
    return X, X @ beta + 0.3 * scale * rng.standard_normal(N), groups


def orthonormal(X, groups):
    """X with every group replaced by Q sqrt(n), Q^T Q = I, and the triangular factors."""
    Z, factors = X.copy(), []
    for g in groups:
        Q, R = np.linalg.qr(X[:, g])
        Z[:, g] = Q * np.sqrt(len(X))
        factors.append(R / np.sqrt(len(X)))
    return Z, factors


def violation(X, y, groups, beta, lam):
    """How far from 0 the nearest subgradient is: written from the definition of the subdifferential."""
    worst = 0.0
    for g in groups:
        gradient = -X[:, g].T @ (y - X @ beta) / len(y)
        if beta[g].any():
            worst = max(worst, np.linalg.norm(gradient + lam * beta[g] / np.linalg.norm(beta[g])))
        else:
            worst = max(worst, np.linalg.norm(gradient) - lam)
    return worst


@given(
    size=st.integers(1, 9),
    seed=st.integers(0, 10**6),
    spread=st.floats(0, 6),
    threshold=st.floats(1e-6, 1.5),
)
def test_block_update_solves_its_equation(size, seed, spread, threshold):
    rng = np.random.default_rng(seed)
    d = 10 ** rng.uniform(-spread, spread / 2, size)
    z = rng.standard_normal(size)
    lam = threshold * np.linalg.norm(z)
    b = block_minimiser(d, z, lam)
    if threshold >= 1:
        assert not b.any()
        return
    length = np.linalg.norm(b)
    np.testing.assert_allclose(d * b + lam * b / length, z, rtol=1e-12, atol=1e-13)
    # The same number by a bracketing method that knows nothing of psi.
    h = lambda v: np.sum((z / (d * v + lam)) ** 2) - 1  # noqa: E731
    assert abs(brentq(h, 0, np.linalg.norm(z) / d.min(), xtol=1e-300, rtol=1e-14) - length) <= 1e-9 * length


def test_block_update_is_lower_than_every_point_of_a_grid():
    d, z, lam = np.array([0.3, 2.5]), np.array([0.8, -1.1]), 0.4
    value = lambda b: (d * b * b).sum(-1) / 2 - b @ z + lam * np.linalg.norm(b, axis=-1)  # noqa: E731
    axis = np.linspace(-3, 3, 601)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    best = grid[np.argmin(value(grid))]
    b = block_minimiser(d, z, lam)
    assert value(b) < value(best)
    assert np.abs(b - best).max() <= 0.01


def test_block_update_with_equal_curvatures_is_the_block_soft_threshold():
    z = np.array([0.8, -1.1, 0.2])
    for a in (1.0, 2.5):
        np.testing.assert_allclose(block_minimiser(a + 0 * z, z, 0.4), group_soft_threshold(z, 0.4) / a, rtol=1e-15)
    # At the threshold itself the block is zero, and without one it is the least-squares block.
    assert not block_minimiser(np.ones(2), np.array([3.0, 4.0]), 5.0).any()
    assert block_minimiser(np.ones(2), np.array([3.0, 4.0]), np.nextafter(5.0, 0)).any()
    np.testing.assert_array_equal(block_minimiser(np.array([2.0, 0.0]), np.array([3.0, 0.0]), 0.0), [1.5, 0])


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_optimality_conditions_hold(share):
    X, y, groups = data()
    lam = share * max(np.linalg.norm(X[:, g].T @ y) for g in groups) / N
    solution = group_lasso_coordinate_descent(X, y, groups, lam, tol=0, max_sweeps=300)
    assert violation(X, y, groups, solution.beta, lam) <= 1e-13 * lam / share
    assert solution.gap <= 1e-14 * y @ y / N
    fast = group_lasso(X, y, groups, lam)
    np.testing.assert_allclose(solution.beta, fast.beta, rtol=1e-9, atol=1e-11)


def test_objective_never_rises_and_the_callback_sees_every_sweep():
    X, y, groups = data()
    weights, seen = np.array([1.0, 0.5, 2.0, 1.5]), []

    def callback(sweep, beta):
        r = y - X @ beta
        penalty = sum(w * np.linalg.norm(beta[g]) for g, w in zip(groups, weights))
        seen.append((sweep, r @ r / (2 * N) + 0.05 * penalty))

    solution = group_lasso_coordinate_descent(X, y, groups, 0.05, weights, callback=callback)
    sweeps, objectives = zip(*seen)
    assert sweeps == tuple(range(1, solution.n_iter + 1))
    assert np.diff(objectives).max() <= 1e-14 * objectives[0]
    assert objectives[-1] == pytest.approx(solution.objective, rel=1e-14)


def test_the_running_residual_is_refreshed():
    X, y, groups = data()
    two = group_lasso_coordinate_descent(X, y, groups, 0.1, tol=0, max_sweeps=2)
    many = group_lasso_coordinate_descent(X, y, groups, 0.1, tol=0, max_sweeps=500)
    assert two.n_iter == 2
    assert many.n_iter == 500
    assert many.gap <= 1e-16 * y @ y / N < two.gap


def printed_loop(X, y, groups, lam, sweeps):
    """Block soft thresholding with z_g = X_g^T r / n + beta_g: right only where X_g^T X_g = n I."""
    beta, objectives = np.zeros(X.shape[1]), []
    for _ in range(sweeps):
        for g in groups:
            r = y - X @ beta
            beta[g] = group_soft_threshold(X[:, g].T @ r / len(y) + beta[g], lam)
        r = y - X @ beta
        objectives.append(r @ r / (2 * len(y)) + lam * sum(np.linalg.norm(beta[g]) for g in groups))
    return beta, objectives


def test_block_soft_threshold_is_right_on_orthonormal_groups_and_diverges_on_raw_ones():
    X, y, groups = data()
    Z, _ = orthonormal(X, groups)
    beta, objectives = printed_loop(Z, y, groups, 0.1, 200)
    np.testing.assert_allclose(beta, group_lasso_coordinate_descent(Z, y, groups, 0.1).beta, atol=1e-12)
    largest = max(np.linalg.eigvalsh(X[:, g].T @ X[:, g] / N)[-1] for g in groups)
    assert largest > 2
    exact = group_lasso_coordinate_descent(X, y, groups, 0.1)
    _, objectives = printed_loop(X, y, groups, 0.1, 15)
    assert objectives[-1] > 1e6 * exact.objective
    # On columns a tenth as large every curvature is far below 2: it converges, to the same point, but slowly.
    slow, objectives = printed_loop(0.1 * X, y, groups, 0.01, 300)
    target = group_lasso_coordinate_descent(0.1 * X, y, groups, 0.01)
    assert 1e-4 < objectives[-1] / target.objective - 1
    assert target.n_iter < 200


def test_orthonormalising_solves_another_problem():
    """After X_g = Q_g R_g the block threshold minimises with lam ||X_g beta_g|| / sqrt(n) for lam ||beta_g||."""
    X, y, groups = data()
    Z, factors = orthonormal(X, groups)
    gamma = group_lasso_coordinate_descent(Z, y, groups, 0.1).beta
    beta = np.zeros_like(gamma)
    for g, R in zip(groups, factors):
        beta[g] = np.linalg.solve(R, gamma[g])
    for g in groups:  # optimality for the penalty lam ||X_g beta_g|| / sqrt(n)
        fit = X[:, g] @ beta[g]
        gradient = -X[:, g].T @ (y - X @ beta) / N
        if fit.any():
            pull = X[:, g].T @ fit / np.linalg.norm(fit) / np.sqrt(N)
            np.testing.assert_allclose(gradient + 0.1 * pull, 0, atol=1e-7)
    assert violation(X, y, groups, beta, 0.1) > 0.05
    assert np.abs(beta - group_lasso(X, y, groups, 0.1).beta).max() > 0.03


def test_the_slides_threshold_is_half_of_its_lambda():
    """||y - X beta||^2 + sum lam_g ||beta_g|| with X_g^T X_g = I: (1 - (lam/2) / ||z||)_+ z, and not lam."""
    rng = np.random.default_rng(4)
    Q = np.linalg.qr(rng.standard_normal((20, 6)))[0]
    y, groups, lam = rng.standard_normal(20), [np.arange(3), np.arange(3, 6)], 0.5
    z = Q.T @ y
    right = np.concatenate([group_soft_threshold(z[g], lam / 2) for g in groups])
    wrong = np.concatenate([group_soft_threshold(z[g], lam) for g in groups])
    assert violation(Q, y, groups, right, lam / (2 * 20)) <= 1e-15
    assert violation(Q, y, groups, wrong, lam / (2 * 20)) > 0.01
    np.testing.assert_allclose(group_lasso(Q, y, groups, lam / (2 * 20)).beta, right, atol=1e-14)
    # The zero condition of the slide's scale: 2 ||X_g^T r|| <= lam_g.
    edge = 2 * max(np.linalg.norm(z[g]) for g in groups)
    assert not group_lasso(Q, y, groups, 1.000001 * edge / 40).beta.any()
    assert group_lasso(Q, y, groups, 0.999999 * edge / 40).beta.any()


def test_every_library_gives_the_same(library):
    X, y, groups = data()
    weights = np.sqrt(SIZES)
    reference = group_lasso_coordinate_descent(X, y, groups, 0.05, weights)
    seen = []
    ours = group_lasso_coordinate_descent(
        library.xp.asarray(X), library.xp.asarray(y), groups, 0.05, weights, callback=lambda _, beta: seen.append(beta)
    )
    np.testing.assert_allclose(to_numpy(ours.beta), reference.beta, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(to_numpy(seen[-1]), to_numpy(ours.beta), rtol=1e-12, atol=1e-13)
    assert type(ours.beta) is type(library.xp.asarray(X))
    assert ours.n_iter == reference.n_iter


def test_sizes_of_one_wide_blocks_and_zero_blocks():
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((7, 12)), rng.standard_normal(7)
    X[:, 9:] = 0
    groups = [np.array([0]), np.arange(1, 9), np.arange(9, 12)]  # one column, more columns than samples, zeros
    solution = group_lasso_coordinate_descent(X, y, groups, 0.05, tol=1e-15)
    assert violation(X, y, groups, solution.beta, 0.05) <= 1e-8
    assert not solution.beta[9:].any()
    assert solution.gap <= 1e-15 * y @ y / 7


def test_no_penalty_is_least_squares_and_an_infinite_one_zeros():
    X, y, groups = data()
    np.testing.assert_allclose(
        group_lasso_coordinate_descent(X, y, groups, 0.0).beta, np.linalg.lstsq(X, y, rcond=None)[0], atol=1e-5
    )
    twice = np.hstack([X, X])
    solution = group_lasso_coordinate_descent(twice, y, [*groups, *(g + 10 for g in groups)], 0.0)
    np.testing.assert_allclose(twice @ solution.beta, X @ np.linalg.lstsq(X, y, rcond=None)[0], atol=1e-5)
    whole = group_lasso_coordinate_descent(twice, y, [np.arange(20)], 0.0)
    np.testing.assert_allclose(whole.beta, np.linalg.pinv(twice) @ y, atol=1e-12)
    assert not group_lasso_coordinate_descent(X, y, groups, np.inf).beta.any()


@pytest.mark.parametrize(
    ("x_unit", "y_unit"), [(2.0**660, 1.0), (2.0**-660, 1.0), (1.0, 2.0**500), (2.0**-500, 2.0**-500)]
)
def test_extreme_units(x_unit, y_unit):
    X, y, groups = data()
    reference = group_lasso_coordinate_descent(X, y, groups, 0.1)
    lam = 0.1 * x_unit * y_unit
    seen = []
    ours = group_lasso_coordinate_descent(
        X * x_unit, y * y_unit, groups, lam, callback=lambda _, beta: seen.append(beta)
    )
    np.testing.assert_array_equal(seen[-1], ours.beta)
    np.testing.assert_allclose(ours.beta * x_unit / y_unit, reference.beta, rtol=1e-10)


def test_float32_comes_back_as_float32():
    X, y, groups = data()
    solution = group_lasso_coordinate_descent(X.astype(np.float32), y.astype(np.float32), groups, 0.1)
    assert solution.beta.dtype == np.float32
    np.testing.assert_allclose(solution.beta, group_lasso(X, y, groups, 0.1).beta, atol=1e-5)
    assert 0 < solution.gap <= 1e-6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_sweeps": 0}, "expected max_sweeps of at least 1, got 0"),
        ({"tol": -1}, "expected tol of at least 0, got -1"),
        ({"lam": -0.5}, "expected lam of at least 0, got -0.5"),
        ({"groups": [[0, 1]]}, "expected every column in a group, got column 2 in none"),
        ({"weights": [1, 1, 1, 0]}, "expected positive finite weights, got 0.0 for group 3"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    X, y, groups = data()
    with pytest.raises(ValueError, match=message):
        group_lasso_coordinate_descent(**{"X": X, "y": y, "groups": groups, "lam": 0.1, **arguments})
