"""textbook.matching_pursuit against the definition: every subset refitted, every choice recomputed from scratch."""

import itertools
import math

import numpy as np
import pytest

from nn.backend import to_numpy
from textbook.matching_pursuit import best_subset, orthogonal_matching_pursuit


def problem(n=11, p=7, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) + 0.7 * rng.standard_normal((n, 1))
    return X, X @ rng.standard_normal(p) + 0.3 * rng.standard_normal(n)


def refit(X, y, support):
    """Squared residual of the fit on these columns, by projection on an orthonormal basis of them."""
    basis = np.linalg.svd(X[:, list(support)], full_matrices=False)[0]
    return np.sum((y - basis @ (basis.T @ y)) ** 2)


@pytest.mark.parametrize("k", [1, 2, 4, 7])
def test_best_subset_is_the_best_of_all(k):
    X, y = problem()
    fit = best_subset(X, y, k)
    errors = {s: refit(X, y, s) for s in itertools.combinations(range(7), k)}
    assert tuple(fit.support) == min(errors, key=errors.get)
    assert fit.objective == pytest.approx(min(errors.values()) / 22, rel=1e-12)
    assert np.sum((y - X @ fit.beta) ** 2) == pytest.approx(min(errors.values()), rel=1e-12)
    assert np.flatnonzero(fit.beta).tolist() == fit.support.tolist()


def test_the_unsquared_norm_has_the_same_minimiser():
    X, y = problem()
    best = min(itertools.combinations(range(7), 3), key=lambda s: math.sqrt(refit(X, y, s)))  # as the slide prints it
    assert tuple(best_subset(X, y, 3).support) == best


def naive_pursuit(X, y, k):
    """The two lines of the algorithm, with a fit from scratch in each step."""
    support, r = [], y
    for _ in range(k):
        support.append(int(np.argmax(np.abs(X.T @ r) / np.linalg.norm(X, axis=0))))
        r = y - X[:, support] @ np.linalg.lstsq(X[:, support], y, rcond=None)[0]
    return support


@pytest.mark.parametrize("seed", range(5))
def test_pursuit_follows_its_definition(seed):
    X, y = problem(n=19, p=11, seed=seed)
    X = X * np.logspace(-3, 3, 11)  # badly scaled columns
    for k in (1, 2, 5, 11):
        fit = orthogonal_matching_pursuit(X, y, k)
        assert fit.support.tolist() == naive_pursuit(X, y, k)
        assert fit.objective == pytest.approx(refit(X, y, fit.support) / 38, rel=1e-11)
        assert np.sum((y - X @ fit.beta) ** 2) == pytest.approx(refit(X, y, fit.support), rel=1e-11)
        assert sorted(np.flatnonzero(fit.beta)) == sorted(fit.support)


def test_pursuit_recovers_a_sparse_signal_exactly():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((100, 300))
    beta = np.zeros(300)
    beta[[7, 30, 123, 250]] = [1, -2, 0.5, 3]
    fit = orthogonal_matching_pursuit(X, X @ beta, 20)
    assert sorted(fit.support) == [7, 30, 123, 250]  # and stops there, sixteen before the budget
    np.testing.assert_allclose(fit.beta, beta, atol=1e-14)
    assert fit.objective < 1e-28


@pytest.mark.parametrize("seed", range(3))
def test_the_basis_stays_orthogonal_where_gram_schmidt_once_is_not_enough(seed):
    hilbert = 1 / (1.0 + np.arange(20)[:, None] + np.arange(10))
    y = np.random.default_rng(seed).standard_normal(20)
    fit = orthogonal_matching_pursuit(hilbert, y, 10)
    assert len(fit.support) == 10
    # Once, the squared residual is 29 to 89 % above the minimum.
    assert 40 * fit.objective == pytest.approx(refit(hilbert, y, range(10)), rel=1e-4)


def test_the_raw_correlation_would_choose_the_column_in_small_units():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((50, 5))
    y = X[:, 2] + 0.1 * rng.standard_normal(50)
    X[:, 4] *= 1000  # noise, in millimetres
    assert np.argmax(np.abs(X.T @ y)) == 4
    assert orthogonal_matching_pursuit(X, y, 1).support.tolist() == [2]


@pytest.mark.parametrize("unit", [1e-17, 1e-30, 1e17, 1e-150, 1.0])
def test_a_column_of_another_unit_counts_as_much(unit):
    X, y = np.array([[1, 0, 0.3], [0, unit, 0.3], [0, 0, 0.1]]), np.array([1.0, 1, 0])
    fit = best_subset(X, y, 2)
    assert fit.support.tolist() == [0, 1] and fit.objective <= 1e-30
    np.testing.assert_allclose(fit.beta * [1, unit, 1], [1, 1, 0], rtol=1e-14)
    assert orthogonal_matching_pursuit(X * [1, 1, 1e-3], y, 3).objective <= 1e-30


def test_greedy_is_not_best():
    # Two columns explain y together; a third, between them, is greedier.
    X = np.array([[1.0, 0, 1], [0, 1, 1], [0, 0, 0.5]])
    y = np.array([1.0, 1, 0])
    assert best_subset(X, y, 2).support.tolist() == [0, 1]
    assert best_subset(X, y, 2).objective == pytest.approx(0, abs=1e-30)
    greedy = orthogonal_matching_pursuit(X, y, 2)
    assert greedy.support[0] == 2
    assert greedy.objective > 0.01


def test_it_stops_early_and_says_how_many_it_reached():
    X, y = problem()
    assert orthogonal_matching_pursuit(X, np.zeros(11), 3).support.tolist() == []
    X[:, 2] = 0
    X[:, 5] = X[:, 1]
    fit = orthogonal_matching_pursuit(X, y, 7)
    assert len(fit.support) == 5 and 2 not in fit.support and not {1, 5} <= set(fit.support)
    assert not fit.beta[2]
    wide = orthogonal_matching_pursuit(X[:3], y[:3], 7)  # three columns fit three samples
    assert len(wide.support) == 3 and wide.objective < 1e-25
    assert not orthogonal_matching_pursuit(np.zeros((3, 2)), np.ones(3), 2).beta.any()


def test_ties_go_to_the_first_column():
    X = np.array([[1.0, -1, 1], [1, -1, 1]])
    y = np.array([2.0, 2])
    assert orthogonal_matching_pursuit(X, y, 2).support.tolist() == [0]
    assert best_subset(X, y, 1).support.tolist() == [0]
    assert best_subset(X, y, 2).support.tolist() == [0, 1]


@pytest.mark.parametrize("seed", range(10))
def test_equal_columns_are_a_tie_whatever_the_rounding(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((9, 3))[:, [0, 1, 2, 0, 1]]
    assert max(best_subset(X, rng.standard_normal(9), 2).support) <= 2


SOLVERS = [best_subset, orthogonal_matching_pursuit]


@pytest.mark.parametrize("solve", SOLVERS)
@pytest.mark.parametrize("units", [(1e200, 1), (1e-200, 1), (1, 1e150), (1, 1e-150), (1e-200, 1e-150)])
def test_units_do_not_matter(solve, units):
    X, y = problem()
    plain, other = solve(X, y, 3), solve(X * units[0], y * units[1], 3)
    assert other.support.tolist() == plain.support.tolist()
    np.testing.assert_allclose(other.beta, plain.beta * (units[1] / units[0]), rtol=1e-12)
    assert other.objective == pytest.approx(plain.objective * units[1] ** 2, rel=1e-12)
    columns = np.array([1e-200, 1, 1e200, 1, 1e-5, 1e5, 1])
    assert solve(X * columns, y, 3).support.tolist() == plain.support.tolist()
    np.testing.assert_allclose(solve(X * columns, y, 3).beta * columns, plain.beta, rtol=1e-12)


@pytest.mark.parametrize("solve", SOLVERS)
def test_all_libraries_agree(solve, library):
    X, y = problem()
    given = library.xp.asarray(X), library.xp.asarray(y)
    fit = solve(*given, 3)
    assert type(fit.beta) is type(given[0]) and fit.beta.device == given[0].device
    np.testing.assert_allclose(to_numpy(fit.beta), solve(X, y, 3).beta, rtol=1e-14)
    assert np.array_equal(to_numpy(given[0]), X) and np.array_equal(to_numpy(given[1]), y)


@pytest.mark.parametrize("solve", SOLVERS)
def test_types(solve):
    X, y = problem()
    single = solve(X.astype(np.float32), y.astype(np.float32), 3)
    assert single.beta.dtype == np.float32
    np.testing.assert_allclose(single.beta, solve(X, y, 3).beta, rtol=1e-5)
    whole = np.round(3 * X).astype(int), np.round(3 * y).astype(int)
    assert np.array_equal(solve(*whole, 3).beta, solve(*(a.astype(float) for a in whole), 3).beta)
    assert np.array_equal(solve(X.tolist(), y.tolist(), 3).beta, solve(X, y, 3).beta)
    X.flags.writeable = y.flags.writeable = False
    assert np.array_equal(solve(np.asfortranarray(X), y, 3).support, solve(X, y, 3).support)


@pytest.mark.parametrize("solve", SOLVERS)
@pytest.mark.parametrize(
    ("k", "error", "message"),
    [
        (0, ValueError, "expected k from 1 to 7, got 0"),
        (8, ValueError, "expected k from 1 to 7, got 8"),
        (-1, ValueError, "got -1"),
        (2.0, TypeError, "expected k to be an integer, got float"),
        (None, TypeError, "expected k to be an integer, got NoneType"),
    ],
)
def test_bad_k(solve, k, error, message):
    with pytest.raises(error, match=message):
        solve(*problem(), k)


def test_too_many_subsets_are_counted_first():
    with pytest.raises(ValueError, match=r"at most 1000000 subsets to try, got C\(40, 20\) = 137846528820"):
        best_subset(np.ones((3, 40)), np.ones(3), 20)
