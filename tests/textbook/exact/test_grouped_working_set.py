"""The fast group lasso: random problems by the duality gap, other problems by closed forms, and every bad argument."""

import itertools
import math
import os

import fuzz_group_lasso as fuzz
import numpy as np
import pytest
from scipy.stats import chi2

import nn
from textbook.certificates import group_lasso_gap, group_lasso_kkt, group_lasso_lambda_max, group_lasso_objective
from textbook.exact.block_newton import Columns, Gram
from textbook.exact.blocks import Blocks
from textbook.exact.grouped_working_set import group_lasso
from textbook.inputs import as_groups
from textbook.proximal import group_soft_threshold

REAL = os.environ.get("PRUNING_DATA")


def small(seed=0, n=31, sizes=(3, 1, 5, 2, 4), noise=0.5):
    """X (31, 15), y and five groups of scattered columns; the first and the last have coefficients."""
    rng = np.random.default_rng(seed)
    p = sum(sizes)
    X = rng.standard_normal((n, p)) + 0.7 * rng.standard_normal((n, 1))
    groups = np.split(rng.permutation(p), np.cumsum(sizes)[:-1])
    beta = np.zeros(p)
    beta[groups[0]], beta[groups[-1]] = rng.standard_normal(sizes[0]), rng.standard_normal(sizes[-1])
    return X, X @ beta + noise * rng.standard_normal(n), groups


@pytest.mark.parametrize("first", range(0, 4 * len(fuzz.KINDS), len(fuzz.KINDS)))
def test_random_problems_of_ten_kinds_end_at_the_minimum(first):
    for gap, _, seed, kind in fuzz.run(range(first, first + len(fuzz.KINDS))):
        assert gap <= 1e-12, (seed, kind)


@pytest.mark.parametrize("seed", [463, 1271])  # nearly equal columns in groups of one; more groups than samples
def test_random_problems_that_took_long_once(seed):
    _, X, y, groups, lam, weights = fuzz.problem(seed)
    assert fuzz.relative_gap(X, y, groups, lam, weights, group_lasso(X, y, groups, lam, weights).beta) <= 1e-12


@pytest.mark.parametrize("share", [0.9, 0.3, 0.1, 0.01, 1e-4])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_certificates_are_those_of_the_coefficients(share, weighted):
    X, y, groups = small()
    weights = np.sqrt([len(g) for g in groups]) if weighted else None
    w = np.ones(5) if weights is None else weights
    lam = share * group_lasso_lambda_max(X, y, groups, weights)
    solution = group_lasso(X, y, groups, lam, weights)
    unit = y @ y / len(y)
    assert fuzz.relative_gap(X, y, groups, lam, weights, solution.beta) <= 1e-14
    assert solution.gap <= 1e-14 * unit
    assert solution.kkt <= 1e-11 * lam
    assert solution.objective == pytest.approx(group_lasso_objective(X, y, solution.beta, groups, lam, w), rel=1e-14)
    assert abs(solution.gap - group_lasso_gap(X, y, solution.beta, groups, lam, w)) <= 1e-14 * unit
    assert abs(solution.kkt - group_lasso_kkt(X, y, solution.beta, groups, lam, w)) <= 1e-11 * lam
    moved = solution.beta + 1e-3
    assert group_lasso_gap(X, y, moved, groups, lam, w) > 1e-8 * unit
    assert group_lasso_kkt(X, y, moved, groups, lam, w) > 1e-5


def test_groups_of_one_column_are_the_lasso_by_all_sign_patterns():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((12, 5)) + rng.standard_normal((12, 1))
    y = X[:, 0] - 0.5 * X[:, 3] + 0.3 * rng.standard_normal(12)
    lam, best = 0.2, (math.inf, None)
    for signs in itertools.product((-1, 0, 1), repeat=5):
        s = np.array(signs, float)
        A = np.flatnonzero(s)
        beta = np.zeros(5)
        beta[A] = np.linalg.solve(X[:, A].T @ X[:, A], X[:, A].T @ y - 12 * lam * s[A])
        if (np.sign(beta) == s).all():
            best = min(best, (((y - X @ beta) ** 2).sum() / 24 + lam * np.abs(beta).sum(), tuple(beta)))
    np.testing.assert_allclose(group_lasso(X, y, [[j] for j in range(5)], lam).beta, best[1], atol=1e-14)


def test_one_orthonormal_design_in_closed_form():
    rng = np.random.default_rng(2)
    X = np.linalg.qr(rng.standard_normal((40, 12)))[0] * math.sqrt(40)
    y, groups, weights = rng.standard_normal(40), np.arange(12).reshape(4, 3), np.array([1, 2, 0.5, 1])
    z = X.T @ y / 40
    expected = np.concatenate([group_soft_threshold(z[g], 0.2 * w) for g, w in zip(groups, weights)])
    assert 0 < np.count_nonzero(expected) < 12
    np.testing.assert_allclose(group_lasso(X, y, groups, 0.2, weights).beta, expected, atol=1e-15)


def test_lambda_max_is_where_the_first_group_enters():
    X, y, groups = small()
    for weights in (None, np.array([1, 3, 0.5, 2, 1.5])):
        largest = group_lasso_lambda_max(X, y, groups, weights)
        assert not group_lasso(X, y, groups, 1.000001 * largest, weights).beta.any()
        solution = group_lasso(X, y, groups, 0.999999 * largest, weights)
        assert sum(solution.beta[g].any() for g in groups) == 1


def test_no_penalty_is_least_squares_of_smallest_norm_and_an_infinite_one_zeros():
    X, y, groups = small()
    np.testing.assert_allclose(group_lasso(X, y, groups, 0).beta, np.linalg.lstsq(X, y, rcond=None)[0], atol=1e-12)
    wide = group_lasso(X.T, np.arange(15.0), [np.arange(31)], 0)
    np.testing.assert_allclose(wide.beta, np.linalg.pinv(X.T) @ np.arange(15.0), atol=1e-12)
    assert wide.gap <= 1e-20
    zero = group_lasso(X, y, groups, math.inf)
    assert not zero.beta.any()
    assert (zero.gap, zero.kkt, zero.lam) == (0, 0, math.inf)


@pytest.mark.parametrize("x_unit", [2.0**-664, 1.0, 2.0**664])
@pytest.mark.parametrize("y_unit", [2.0**-340, 1.0, 2.0**340])
def test_powers_of_two_change_nothing(x_unit, y_unit):
    X, y, groups = small()
    lam = 0.1 * x_unit * y_unit
    reference, ours = group_lasso(X, y, groups, 0.1), group_lasso(X * x_unit, y * y_unit, groups, lam)
    np.testing.assert_allclose(ours.beta * x_unit / y_unit, reference.beta, rtol=1e-12)
    assert ours.gap <= 1e-12 * (y @ y / len(y)) * y_unit * y_unit
    assert ours.objective / y_unit / y_unit == pytest.approx(reference.objective, rel=1e-13)
    assert ours.kkt <= 1e-11 * lam


def test_intercept_is_the_column_of_ones_without_penalty():
    X, y, groups = small()
    X, y = X + 3, y - 7
    solution = group_lasso(X, y, groups, 0.2, intercept=True)
    r = y - X @ solution.beta - solution.intercept
    assert abs(r.sum()) <= 1e-11
    centred = group_lasso(X - X.mean(axis=0), y - y.mean(), groups, 0.2)
    np.testing.assert_allclose(solution.beta, centred.beta, atol=1e-13)
    assert solution.objective == pytest.approx(
        r @ r / 62 + 0.2 * sum(np.linalg.norm(solution.beta[g]) for g in groups), rel=1e-13
    )
    assert group_lasso(X, y, groups, 0.2).intercept == 0


def test_zero_columns_zero_groups_and_zero_y():
    X, y, groups = small()
    X[:, groups[1]] = 0
    X[:, groups[0][0]] = 0
    solution = group_lasso(X, y, groups, 0.05)
    assert solution.beta[groups[1]] == 0
    assert solution.beta[groups[0][0]] == 0
    assert solution.beta[groups[0][1]] != 0
    assert solution.gap <= 1e-14 * y @ y / len(y)
    for lam in (0, 0.1):
        assert not group_lasso(X, 0 * y, groups, lam).beta.any()
        assert not group_lasso(0 * X, y, groups, lam).beta.any()


def test_duplicate_groups_share_the_fit():
    X, y, groups = small()
    alone = group_lasso(X, y, groups, 0.1)
    twice = group_lasso(np.hstack([X, X]), y, [*groups, *(g + 15 for g in groups)], 0.1)
    assert twice.objective == pytest.approx(alone.objective, rel=1e-13)
    np.testing.assert_allclose(np.hstack([X, X]) @ twice.beta, X @ alone.beta, atol=1e-9)


def test_groups_larger_than_the_samples():
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((10, 60)), rng.standard_normal(10)
    groups = np.split(np.arange(60), [20, 45])
    lam = 0.2 * group_lasso_lambda_max(X, y, groups)
    solution = group_lasso(X, y, groups, lam)
    assert np.count_nonzero(solution.beta) > 10
    assert fuzz.relative_gap(X, y, groups, lam, None, solution.beta) <= 1e-13


@pytest.mark.parametrize("p", [11, 40])
def test_newton_directions_solve_the_dense_system(p):
    rng = np.random.default_rng(p)
    X = rng.standard_normal((17, p))
    sizes = np.array([4, 1, 2, 3])
    blocks, at = Blocks(sizes, np.ones(4)), rng.permutation(p)[:10]
    if p > 17:  # more columns than samples: the system of the samples' size
        sizes = np.array([9, 1, 6, 4])
        blocks, at = Blocks(sizes, np.ones(4)), rng.permutation(p)[:20]
    k, u, g = rng.uniform(0.5, 2, 4), rng.standard_normal(len(at)), rng.standard_normal(len(at))
    u /= blocks.spread(blocks.norms(u))
    H = X[:, at].T @ X[:, at] / 17
    for start, size, k_g in zip(np.cumsum(sizes) - sizes, sizes, k):
        g_ = slice(start, start + size)
        H[g_, g_] += k_g * (np.eye(size) - np.outer(u[g_], u[g_]))
    nothing = np.zeros(p)
    for quadratic in (Gram(X.T @ X / 17, nothing, nothing), Columns(np.ascontiguousarray(X.T), nothing, nothing)):
        np.testing.assert_allclose(H @ quadratic.newton(at, blocks, k, u, g), -g, atol=1e-11)


def test_memory_order_types_and_read_only_inputs():
    X, y, groups = small()
    reference = group_lasso(X, y, groups, 0.1).beta
    X.flags.writeable = y.flags.writeable = False
    before = X.copy(), y.copy()
    for other in (X, np.asfortranarray(X), X.tolist()):
        solution = group_lasso(other, y if other is X else y.tolist(), groups, 0.1, intercept=False)
        np.testing.assert_allclose(solution.beta, reference, rtol=1e-12)
    group_lasso(X, y, groups, 0.1, intercept=True)
    assert np.array_equal(X, before[0])
    assert np.array_equal(y, before[1])
    whole = np.round(3 * X).astype(int), np.round(y).astype(int)
    assert group_lasso(*whole, groups, 0.1).beta.dtype == np.float64
    assert group_lasso(X.astype(np.float16), y.astype(np.float16), groups, 0.1).beta.dtype == np.float64
    single = group_lasso(X.astype(np.float32), y.astype(np.float32), groups, 0.1)
    assert single.beta.dtype == np.float32
    np.testing.assert_allclose(single.beta, reference, atol=1e-5)
    assert 0 < single.gap <= 1e-6


def test_groups_may_be_given_in_any_form_of_lists():
    X, y, groups = small()
    reference = group_lasso(X, y, groups, 0.1).beta
    labels = np.empty(15, int)
    for g, group in enumerate(groups):
        labels[group] = g
    for other in ([g.tolist() for g in groups], tuple(groups), (g for g in groups)):
        assert np.array_equal(group_lasso(X, y, other, 0.1).beta, reference)
    assert group_lasso(X, y, [range(7), range(7, 15)], 0.1).gap <= 1e-14 * y @ y / len(y)
    by_label = [np.flatnonzero(labels == g) for g in np.unique(labels)]
    np.testing.assert_allclose(group_lasso(X, y, by_label, 0.1).beta, reference, rtol=1e-9, atol=1e-15)


def test_the_weight_sqrt_of_the_size_keeps_large_groups_of_noise_out():
    """||z_g|| of p_g standard normal numbers exceeds 2 in 5 % of the groups of 1 and in 91 % of the groups of 9."""
    rng = np.random.default_rng(5)
    sizes = [1] * 30 + [9] * 30
    groups = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    entered = {None: [], "sqrt": []}
    for _ in range(10):
        Q = np.linalg.qr(rng.standard_normal((320, sum(sizes))))[0]
        X, y = Q * math.sqrt(320), rng.standard_normal(320) * math.sqrt(320)  # X_g^T y / n is standard normal
        for name, weights in ((None, None), ("sqrt", np.sqrt(sizes))):
            beta = group_lasso(X, y, groups, 2.0, weights).beta
            entered[name].append([bool(beta[g].any()) for g in groups])
    shares = {name: np.mean(np.reshape(rows, (10, 2, 30)), axis=(0, 2)) for name, rows in entered.items()}
    expected = chi2.sf(4, [1, 9])
    np.testing.assert_allclose(expected, [0.046, 0.911], atol=1e-3)
    assert np.abs(shares[None] - expected).max() <= 0.05  # three standard errors of 300 draws
    assert shares["sqrt"][0] == shares[None][0]
    assert shares["sqrt"][1] == 0


@pytest.mark.skipif(REAL is None, reason="$PRUNING_DATA is not set")
def test_birthwt_lambda_max_and_order_of_entry():
    data = nn.data.load("birthwt")
    X, y = data.train
    X, y = X - X.mean(axis=0), y - y.mean()
    for g in data.groups:
        X[:, g] = np.linalg.qr(X[:, g])[0] * math.sqrt(len(y))
    weights = np.sqrt([len(g) for g in data.groups])
    largest = group_lasso_lambda_max(X, y, data.groups, weights)
    assert largest == pytest.approx(0.2064955, abs=5e-8)
    order = []
    for lam in largest * np.geomspace(1, 1e-3, 200):
        beta = group_lasso(X, y, data.groups, lam, weights).beta
        order += [name for name, g in zip(data.group_names, data.groups) if beta[g].any() and name not in order]
    assert order == ["ui", "smoke", "race", "ht", "ptl", "lwt", "age", "ftv"]


BAD_GROUPS = [
    (None, TypeError, "expected groups to be a list of index arrays, got NoneType"),
    ({0: [0, 1], 1: [2]}, TypeError, "expected groups to be a list of index arrays, got dict"),
    ("ab", TypeError, "got str"),
    ([], ValueError, "expected at least one group, got none"),
    ([[0, 1], []], ValueError, r"expected group 1 to be a list of at least one column index, got \[\]"),
    ([0, 0, 1], ValueError, "expected group 0 to be a list of at least one column index, got 0"),
    ([[[0], [1, 2]]], ValueError, "expected group 0 to be a list of at least one column index"),
    ([[0, 1], [2, 0]], ValueError, "expected every column in one group, got column 0 in groups 0 and 1"),
    ([[0, 1, 1], [2]], ValueError, "expected every column in one group, got column 1 in groups 0 and 0"),
    ([[0], [2]], ValueError, "expected every column in a group, got column 1 in none"),
    ([[0, 1], [2, 3]], ValueError, "expected column indices from 0 to 2, got 3 in group 1"),
    ([[0, 1], [-1]], ValueError, "expected column indices from 0 to 2, got -1 in group 1"),
    ([[0.0, 1.0], [2.0]], ValueError, "expected group 0 to hold integer column indices, got dtype float64"),
    ([[True, False, True], [1]], ValueError, "integer column indices, got dtype bool"),
]


@pytest.mark.parametrize(("groups", "error", "message"), BAD_GROUPS)
def test_bad_groups_are_refused(groups, error, message):
    with pytest.raises(error, match=message):
        as_groups(groups, 3)


X3, Y3, G3 = np.ones((4, 3)), np.ones(4), [[0, 1], [2]]
with np.errstate(invalid="ignore"):
    NAN_X = np.where(np.arange(12).reshape(4, 3) == 7, np.nan, 1.0)
BAD_ARGUMENTS = [
    ({"X": NAN_X}, ValueError, r"expected finite numbers, got nan at X\[2, 1\]"),
    ({"y": [1, 1, np.inf, 1]}, ValueError, r"expected finite numbers, got inf at y\[2\]"),
    ({"lam": -0.1}, ValueError, "expected lam of at least 0, got -0.1"),
    ({"lam": math.nan}, ValueError, "expected lam of at least 0, got nan"),
    ({"lam": "0.1"}, TypeError, "expected lam to be a real number, got str"),
    ({"y": np.ones(3)}, ValueError, "expected as many values of y as rows of X, got 3 and 4"),
    ({"y": np.ones((4, 1))}, ValueError, r"expected y of shape \(n,\), got shape \(4, 1\)"),
    ({"X": np.ones(4)}, ValueError, r"expected X of shape \(n, p\), got shape \(4,\)"),
    ({"X": np.ones((0, 3)), "y": []}, ValueError, "expected at least one sample and one column"),
    ({"X": np.ones((4, 0)), "groups": []}, ValueError, "expected at least one sample and one column"),
    ({"X": X3 * 1j}, ValueError, "expected X to hold real numbers, got dtype complex128"),
    ({"X": "X"}, TypeError, "expected X to be an array, got str"),
    ({"groups": [[0], [2]]}, ValueError, "got column 1 in none"),
    ({"weights": [1.0]}, ValueError, r"expected 2 weights, one a group, got shape \(1,\)"),
    ({"weights": [1, 0]}, ValueError, "expected positive finite weights, got 0.0 for group 1"),
    ({"weights": [-1, 1]}, ValueError, "got -1.0 for group 0"),
    ({"weights": [1, math.inf]}, ValueError, "got inf for group 1"),
    ({"weights": "sqrt"}, TypeError, "expected weights to be real numbers, one a group, got 'sqrt'"),
    ({"tol": -1e-3}, ValueError, "expected tol of at least 0, got -0.001"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD_ARGUMENTS)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        group_lasso(**{"X": X3, "y": Y3, "groups": G3, "lam": 0.1, **arguments})


def test_an_impossible_tolerance_ends():
    X, y, groups = small()
    assert group_lasso(X, y, groups, 0.1, tol=0).gap <= 1e-15 * y @ y / len(y)
    loose = group_lasso(X, y, groups, 0.1, tol=1e-2)
    assert loose.gap <= 1e-2 * y @ y / len(y)
    largest = group_lasso_lambda_max(X, y, groups)
    for lam in (largest, np.nextafter(largest, 0), largest * (1 - 1e-14)):
        assert group_lasso(X, y, groups, lam).gap <= 1e-14 * y @ y / len(y)
