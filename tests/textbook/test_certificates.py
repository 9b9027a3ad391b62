"""Gap and KKT violation, against plain loops, the dual problem solved from outside, and minima known exactly."""

import itertools
import math
import os

import fuzz_group_lasso
import fuzz_lasso
import fuzz_lasso_path
import numpy as np
import pytest
from referees.lasso_by_signs import lasso_by_signs, regression

import nn
from textbook import (
    Solution,
    certificates,
    group_lasso,
    group_lasso_gap,
    group_lasso_kkt,
    group_lasso_lambda_max,
    lasso,
    lasso_gap,
    lasso_kkt,
    lasso_lambda_max,
)
from textbook.certificates import (
    group_lasso_certificates,
    group_lasso_objective,
    lasso_certificates,
    lasso_objective,
    lasso_path_certificates,
)

REAL = os.environ.get("PRUNING_DATA")
GROUPS = [np.array([0, 3]), np.array([1]), np.array([2, 4, 5])]
WEIGHTS = np.array([1.0, 0.4, 1.7])


def problem(n=11, p=6, seed=0):
    X, y = regression(seed, n, p)
    return X, y, np.random.default_rng(seed).standard_normal(p) * (np.arange(p) != 1)


def primal(X, y, beta, lam):
    """(1/2n) sum_i (y_i - sum_j x_ij beta_j)^2 + lam sum_j |beta_j|, term by term."""
    n, p = X.shape
    squares = sum((y[i] - sum(X[i, j] * beta[j] for j in range(p))) ** 2 for i in range(n))
    return squares / (2 * n) + lam * sum(abs(b) for b in beta)


def grouped_primal(X, y, beta, lam):
    penalty = sum(w * math.sqrt(sum(beta[j] ** 2 for j in g)) for g, w in zip(GROUPS, WEIGHTS))
    return primal(X, y, beta, 0) + lam * penalty


def dual(y, nu):
    """(||y||^2 - ||y - nu||^2) / 2n, below the minimum for every nu in the dual's set."""
    return (y @ y - (y - nu) @ (y - nu)) / (2 * len(y))


@pytest.mark.parametrize("lam", [0.02, 0.3, 5.0])
@pytest.mark.parametrize("seed", range(5))
def test_the_gap_is_primal_less_dual_at_the_residual_scaled_into_the_duals_set(lam, seed):
    X, y, beta = problem(seed=seed)
    r = y - X @ beta
    s = min(1.0, *(len(y) * lam / abs(x @ r) for x in X.T))
    expected = primal(X, y, beta, lam) - dual(y, s * r)
    assert lasso_gap(X, y, beta, lam) == pytest.approx(expected, rel=1e-12)
    assert lasso_objective(X, y, beta, lam) == pytest.approx(primal(X, y, beta, lam), rel=1e-13)


@pytest.mark.parametrize("lam", [0.02, 0.3, 5.0])
@pytest.mark.parametrize("seed", range(5))
def test_the_gap_of_the_group_lasso(lam, seed):
    X, y, beta = problem(seed=seed)
    r = y - X @ beta
    s = min(1.0, *(len(y) * lam * w / np.linalg.norm(X[:, g].T @ r) for g, w in zip(GROUPS, WEIGHTS)))
    expected = grouped_primal(X, y, beta, lam) - dual(y, s * r)
    assert group_lasso_gap(X, y, beta, GROUPS, lam, WEIGHTS) == pytest.approx(expected, rel=1e-12)
    objective = group_lasso_objective(X, y, beta, GROUPS, lam, WEIGHTS)
    assert objective == pytest.approx(grouped_primal(X, y, beta, lam), rel=1e-13)


@pytest.mark.parametrize("seed", range(10))
def test_no_point_is_below_its_objective_less_its_gap(seed):
    X, y, beta = problem(seed=seed)
    lam = 0.2 * np.abs(X.T @ y).max() / len(y)
    minimum = primal(X, y, lasso_by_signs(X, y, lam), lam)
    for t in (0.0, 0.5, 1.0, 3.0):
        excess = primal(X, y, t * beta, lam) - minimum
        assert excess <= lasso_gap(X, y, t * beta, lam) * (1 + 1e-12)


def test_both_are_zero_at_the_minimum_and_nowhere_near_it():
    X, y, _ = problem()
    lam = 0.1
    beta = lasso_by_signs(X, y, lam)
    assert 0 < np.count_nonzero(beta) < 6
    assert 0 <= lasso_gap(X, y, beta, lam) <= 1e-15
    assert 0 <= lasso_kkt(X, y, beta, lam) <= 1e-14
    for wrong in (1.001 * beta, -beta, np.zeros(6)):
        assert lasso_gap(X, y, wrong, lam) > 1e-8 and lasso_kkt(X, y, wrong, lam) > 1e-5
    for other in (2 * lam, lam / 2, 2 * len(y) * lam):
        assert lasso_gap(X, y, beta, other) > 1e-3 and lasso_kkt(X, y, beta, other) > 1e-3


def test_near_the_minimum_the_gap_falls_with_the_distance():
    X, y, direction = problem(seed=2)
    beta = lasso_by_signs(X, y, 0.1)
    moved = np.where(beta != 0, direction, 0)
    gaps = [lasso_gap(X, y, beta + 10.0**-k * moved, 0.1) for k in range(1, 7)]
    assert all(small < large for large, small in itertools.pairwise(gaps))
    assert gaps[-1] > 1e-13  # and no rounding error yet


@pytest.mark.parametrize("seed", range(5))
def test_the_kkt_violation_by_a_loop(seed):
    X, y, beta = problem(seed=seed)
    lam, n = 0.3, len(y)
    c = [sum(X[i, j] * (y[i] - X[i] @ beta) for i in range(n)) / n for j in range(6)]
    by_loop = [abs(c[j] - lam * math.copysign(1, b)) if b else max(abs(c[j]) - lam, 0) for j, b in enumerate(beta)]
    assert lasso_kkt(X, y, beta, lam) == pytest.approx(max(by_loop), rel=1e-12)
    blocks = []
    for g, w in zip(GROUPS, WEIGHTS):
        size = np.linalg.norm(beta[g])
        target = lam * w * beta[g] / size if size else np.zeros(len(g))
        violation = np.linalg.norm(np.array(c)[g] - target)
        blocks.append(violation if size else max(violation - lam * w, 0))
    assert group_lasso_kkt(X, y, beta, GROUPS, lam, WEIGHTS) == pytest.approx(max(blocks), rel=1e-12)


def test_a_zero_coefficient_within_its_bounds_violates_nothing():
    X, y, _ = problem()
    largest = np.abs(X.T @ y).max() / len(y)
    assert lasso_kkt(X, y, np.zeros(6), largest) <= 1e-16
    assert lasso_kkt(X, y, np.zeros(6), 0.75 * largest) == pytest.approx(0.25 * largest)
    assert lasso_gap(X, y, np.zeros(6), 1.1 * largest) == 0


@pytest.mark.parametrize("columns", [np.ones(4), np.array([1, 1e-17, 1e8, 1e-100])])
def test_without_a_penalty_the_gap_is_what_least_squares_would_gain(columns):
    X, y, beta = problem(19, 4)
    minimum = np.linalg.lstsq(X, y)[0]
    excess = primal(X, y, beta, 0) - primal(X, y, minimum, 0)
    assert lasso_gap(columns * X, y, beta / columns, 0) == pytest.approx(excess, rel=1e-9)
    assert lasso_gap(columns * X, y, minimum / columns, 0) <= 1e-28
    assert lasso(columns * X, y, 0).gap <= 1e-28
    assert group_lasso(columns * X, y, [[0, 1], [2], [3]], 0).gap <= 1e-28
    both = np.stack([beta / columns, minimum / columns], axis=1)
    gaps, _ = lasso_path_certificates(columns * X, y, both, np.zeros(2), columns * X)
    np.testing.assert_allclose(gaps, [excess, 0], rtol=1e-9, atol=1e-28)


@pytest.mark.parametrize("share", [1e-3, 0.1, 0.7])
@pytest.mark.parametrize("kind", ["tall", "wide", "twins"])
@pytest.mark.parametrize("seed", range(8))
def test_the_gap_for_small_lam_is_a_bound_for_every_lam(seed, kind, share, monkeypatch):
    monkeypatch.setattr(certificates, "SMALL", math.inf)  # so that it is looked at
    X, y, beta = problem(4 if kind == "wide" else 11, 6, seed)
    if kind == "twins":
        X[:, 3], X[:, 5] = X[:, 0], -2 * X[:, 1]
    lam = share * lasso_lambda_max(X, y)
    best = lasso(X, y, lam)
    grouped = group_lasso(X, y, GROUPS, lam, WEIGHTS)
    for t in (0.0, 1e-3, 0.1, 1.0):
        moved = best.beta + t * beta
        excess = primal(X, y, moved, lam) - primal(X, y, best.beta, lam)
        assert excess - 1e-14 <= lasso_gap(X, y, moved, lam)
        path = lasso_path_certificates(X, y, moved[:, None], np.array([lam]), X)[0][0]
        assert excess - 1e-14 <= path == pytest.approx(lasso_gap(X, y, moved, lam), rel=1e-6, abs=1e-14)
        moved = grouped.beta + t * beta
        excess = grouped_primal(X, y, moved, lam) - grouped_primal(X, y, grouped.beta, lam)
        assert excess - 1e-14 <= group_lasso_gap(X, y, moved, GROUPS, lam, WEIGHTS)


UNITS = [np.ones(4), np.array([1, 1e-7, 1e8, 1e-3])]


@pytest.mark.parametrize(
    ("lam", "columns"),
    [*itertools.product([1e-60, 1e-300], UNITS), *((lam, UNITS[0]) for lam in (1e-12, 1e-16, 1e-20))],
)
def test_where_lam_is_near_rounding_the_gap_still_says_something(lam, columns):
    """With s r alone it is most of the objective: the c_j of the very minimum are their own rounding errors."""
    X, y, beta = problem(19, 4)
    X = X * columns
    minimum, lam = np.linalg.lstsq(X / columns, y)[0] / columns, lam * lasso_lambda_max(X, y)
    ones, both = [[j] for j in range(4)], np.stack([minimum, beta / columns], axis=1)
    for gap in (
        lasso_gap(X, y, minimum, lam),
        group_lasso_gap(X, y, minimum, ones, lam),
        lasso_path_certificates(X, y, both, np.array([lam, lam]), X)[0][0],
    ):
        assert 0 <= gap <= 1e-11 * (y @ y)
    excess = primal(X, y, beta / columns, lam) - primal(X, y, minimum, lam)
    for gap in (
        lasso_gap(X, y, beta / columns, lam),
        group_lasso_gap(X, y, beta / columns, ones, lam),
        lasso_path_certificates(X, y, both, np.array([lam, lam]), X)[0][1],
    ):
        assert gap == pytest.approx(excess, rel=1e-6)


def test_groups_of_one_column_are_the_lasso():
    X, y, beta = problem()
    ones = [np.array([j]) for j in range(6)]
    for lam in (0.05, 1.0):
        arguments = X, y, beta, ones, lam, np.ones(6)
        assert group_lasso_gap(*arguments) == pytest.approx(lasso_gap(X, y, beta, lam), rel=1e-13)
        assert group_lasso_kkt(*arguments) == pytest.approx(lasso_kkt(X, y, beta, lam), rel=1e-13)


def test_with_r_and_c_known_they_are_the_same():
    X, y, beta = problem()
    r = y - X @ beta
    c = X.T @ r / len(y)
    expected = lasso_objective(X, y, beta, 0.3), lasso_gap(X, y, beta, 0.3), lasso_kkt(X, y, beta, 0.3)
    assert lasso_certificates(X, r, c, beta, 0.3) == expected
    arguments = X, y, beta, GROUPS, 0.3, WEIGHTS
    expected = group_lasso_objective(*arguments), group_lasso_gap(*arguments), group_lasso_kkt(*arguments)
    assert group_lasso_certificates(X, r, c, beta, GROUPS, 0.3, WEIGHTS) == pytest.approx(expected, rel=1e-13)
    lams = np.array([2.0, 0.3, 0.02, 0.0])
    gaps, kkts = lasso_path_certificates(X, y, np.stack([beta, 0 * beta, -beta, beta], axis=1), lams, X)
    for gap, kkt, b, lam in zip(gaps, kkts, (beta, 0 * beta, -beta, beta), lams):
        assert gap == pytest.approx(lasso_gap(X, y, b, lam), rel=1e-12)
        assert kkt == pytest.approx(lasso_kkt(X, y, b, lam), rel=1e-12)


def test_an_infinite_lam():
    X, y, beta = problem()
    assert lasso_gap(X, y, np.zeros(6), math.inf) == 0 and lasso_kkt(X, y, np.zeros(6), math.inf) == 0
    assert lasso_objective(X, y, np.zeros(6), math.inf) == pytest.approx(y @ y / 22)
    assert lasso_objective(X, y, beta, math.inf) == lasso_gap(X, y, beta, math.inf) == math.inf


GROUPED = [group_lasso_objective, group_lasso_gap, group_lasso_kkt]
PLAIN = [lasso_objective, lasso_gap, lasso_kkt]


def certify(function, X, y, beta, lam=0.3, **more):
    rest = (GROUPS, lam, WEIGHTS) if function in GROUPED else (lam,)
    return function(X, y, beta, *rest, **more)


@pytest.mark.parametrize("lam", [0.0, 0.3, math.inf])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("function", [*PLAIN, *GROUPED])
def test_of_what_is_no_number_they_are_infinite(function, value, lam):
    X, y, beta = problem()
    X[:, 2] = 0
    for j in range(6):
        wrong = np.where(np.arange(6) == j, value, beta)
        assert certify(function, X, y, wrong, lam) == math.inf
        assert certify(function, X, y, wrong, lam, intercept=True) == math.inf


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_the_certificates_with_r_and_c_known_of_what_is_no_number(value):
    X, y, beta = problem()
    beta[3] = value
    with np.errstate(invalid="ignore"):
        r = y - X @ beta
        c = X.T @ r / 11
        assert lasso_certificates(X, r, c, beta, 0.3) == (math.inf,) * 3
        assert group_lasso_certificates(X, r, c, beta, GROUPS, 0.3, WEIGHTS) == (math.inf,) * 3
        gaps, kkts = lasso_path_certificates(X, y, np.stack([0 * beta + 1, beta], axis=1), np.array([0.3, 0.1]), X)
    assert gaps[1] == kkts[1] == math.inf


def test_a_loop_that_diverges_is_never_at_the_minimum():
    X, y, beta = problem()
    X = 3 * X  # curvatures beyond 2, where the slide's update for standardised columns diverges
    gaps, kkts = [], []
    with np.errstate(all="ignore"):
        for _ in range(800):
            for j in range(6):
                z = X[:, j] @ (y - X @ beta) / 11 + beta[j]
                beta[j] = np.sign(z) * np.maximum(np.abs(z) - 0.1, 0)
            gaps.append(lasso_gap(X, y, beta, 0.1))
            kkts.append(lasso_kkt(X, y, beta, 0.1))
    assert not np.isfinite(beta).any()
    assert min(gaps) > 1 and min(kkts) > 0.1 and gaps[-1] == kkts[-1] == math.inf


@pytest.mark.parametrize("function", [*PLAIN, *GROUPED])
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"lam": math.nan}, ValueError, "lam of at least 0, got nan"),
        ({"lam": -1}, ValueError, "lam of at least 0, got -1"),
        ({"lam": None}, TypeError, "lam to be a real number, got NoneType"),
        ({"beta": np.ones(5)}, ValueError, r"beta of shape \(6,\), one coefficient a column, got shape \(5,\)"),
        ({"beta": np.ones((6, 1))}, ValueError, r"beta of shape \(6,\), one coefficient a column, got shape \(6, 1\)"),
        ({"beta": 1j * np.ones(6)}, ValueError, "beta to hold real numbers, got dtype complex128"),
        ({"beta": None}, TypeError, "beta to be an array, got NoneType"),
        ({"beta": ["0"] * 6}, TypeError, "beta to hold real numbers, got dtype"),
        ({"y": np.full(11, math.nan)}, ValueError, r"got nan at y\[0\]"),
        ({"y": np.ones(3)}, ValueError, "as many values of y as rows of X, got 3 and 11"),
    ],
)
def test_bad_arguments_of_certificates(function, changes, error, message):
    X, y, beta = problem()
    with pytest.raises(error, match=message):
        certify(function, **{"X": X, "y": y, "beta": beta, **changes})


@pytest.mark.parametrize("function", [*PLAIN, *GROUPED])
def test_lists_integers_and_float32_are_certified_too(function):
    X, y, beta = (np.round(4 * a) for a in problem())
    expected = certify(function, X, y, beta)
    assert certify(function, X.tolist(), y.tolist(), beta.tolist()) == expected
    assert certify(function, X.astype(int), y.astype(int), beta.astype(np.int8)) == expected
    single = [a.astype(np.float32) for a in problem()]
    assert certify(function, *single) == certify(function, *(a.astype(np.float64) for a in single))


@pytest.mark.parametrize("function", [*PLAIN, *GROUPED])
def test_with_an_intercept_they_are_those_of_the_centred_problem(function):
    X, y, beta = problem()
    centred = X - X.mean(axis=0), y - y.mean()
    expected = certify(function, *centred, beta)
    assert certify(function, X + np.arange(6), y + 7, beta, intercept=True) == pytest.approx(expected, rel=1e-12)
    assert abs(certify(function, X + np.arange(6), y + 7, beta) / expected - 1) > 0.1


def test_lambda_max_with_an_intercept():
    X, y, _ = problem()
    X, y = X + 10, y + 100
    largest = lasso_lambda_max(X, y, intercept=True)
    assert largest == pytest.approx(lasso_lambda_max(X - X.mean(axis=0), y - y.mean()), rel=1e-12)
    assert largest < 1e-2 * lasso_lambda_max(X, y)
    assert not lasso(X, y, 1.001 * largest, intercept=True).beta.any()
    assert lasso(X, y, 0.999 * largest, intercept=True).beta.any()
    largest = group_lasso_lambda_max(X, y, GROUPS, WEIGHTS, intercept=True)
    assert not group_lasso(X, y, GROUPS, 1.001 * largest, WEIGHTS, intercept=True).beta.any()
    assert group_lasso(X, y, GROUPS, 0.999 * largest, WEIGHTS, intercept=True).beta.any()


@pytest.mark.skipif(REAL is None, reason="$PRUNING_DATA is not set")
@pytest.mark.parametrize(
    ("name", "plain", "largest"), [("prostate", 160.8, 15.62), ("diabetes", 29339, 564.4), ("birthwt", 1.576, 0.08032)]
)
def test_lambda_max_of_real_data_with_an_intercept(name, plain, largest):
    X, y = nn.data.load(name, root=REAL).train
    assert lasso_lambda_max(X, y, intercept=True) == pytest.approx(largest, rel=1e-3)
    assert lasso_lambda_max(X, y) == pytest.approx(plain, rel=1e-3)


def test_the_fuzz_sees_what_is_no_number(monkeypatch, capsys):
    beta = np.full(300, math.nan)

    def nothing(X, y, *rest):
        return Solution(beta[: X.shape[1]], 0.0, 0.0, 0.0, 1, 0.1)

    monkeypatch.setattr(fuzz_lasso, "lasso", nothing)
    assert fuzz_lasso.main(8) == 1 and "8 failed" in capsys.readouterr().out
    monkeypatch.setattr("textbook.exact.grouped_working_set.group_lasso", nothing)
    monkeypatch.setattr("sys.argv", ["fuzz", "8"])
    with pytest.raises(SystemExit) as end:
        fuzz_group_lasso.main()
    assert end.value.code == 1 and "8 failures" in capsys.readouterr().out
    monkeypatch.setattr(fuzz_lasso_path, "lasso_at_most", lambda X, y, k: nothing(X, y))
    beta[1:] = 0
    monkeypatch.setattr(fuzz_lasso_path, "check", lambda number, check=fuzz_lasso_path.check: check(1))
    assert fuzz_lasso_path.main(1) == 1 and "1 failed" in capsys.readouterr().out


def test_lambda_max_is_where_the_first_coefficient_enters():
    X, y, _ = problem()
    largest = lasso_lambda_max(X, y)
    assert largest == pytest.approx(max(abs(sum(X[i, j] * y[i] for i in range(11))) for j in range(6)) / 11, rel=1e-14)
    assert not np.any(lasso_by_signs(X, y, 1.001 * largest)) and np.any(lasso_by_signs(X, y, 0.999 * largest))
    # The slide's ||y - X beta||^2 + lam_slide ||beta||_1 has its own scale: 2 ||X^T y||_inf there.
    assert 2 * len(y) * largest == pytest.approx(2 * np.abs(X.T @ y).max())
    grouped = max(np.linalg.norm(X[:, g].T @ y) / (11 * w) for g, w in zip(GROUPS, WEIGHTS))
    assert group_lasso_lambda_max(X, y, GROUPS, WEIGHTS) == pytest.approx(grouped, rel=1e-14)
    assert group_lasso_lambda_max(X, y, GROUPS, 2 * WEIGHTS) == pytest.approx(grouped / 2, rel=1e-14)


@pytest.mark.parametrize(("a", "b"), [(1e160, 1e100), (1e-160, 1e-100), (1e300, 1e-300), (1e-250, 1e250), (1e-200, 1)])
def test_lambda_max_at_any_scale(a, b):
    X, y, _ = problem()
    assert lasso_lambda_max(a * X, b * y) == pytest.approx(lasso_lambda_max(X, y) * a * b, rel=1e-12)
    expected = group_lasso_lambda_max(X, y, GROUPS, WEIGHTS) * a * b
    assert group_lasso_lambda_max(a * X, b * y, GROUPS, WEIGHTS) == pytest.approx(expected, rel=1e-12)
    assert lasso_lambda_max(1e200 * X, 1e200 * y) == math.inf and lasso_lambda_max(1e-200 * X, 1e-200 * y) == 0


def test_all_libraries_agree(library):
    X, y, beta = problem()
    given = [library.xp.asarray(a) for a in (X, y, beta)]
    assert lasso_gap(*given, 0.3) == pytest.approx(lasso_gap(X, y, beta, 0.3), rel=1e-12)
    assert lasso_gap(*given, 0) == pytest.approx(lasso_gap(X, y, beta, 0), rel=1e-12)
    assert lasso_kkt(*given, 0.3) == pytest.approx(lasso_kkt(X, y, beta, 0.3), rel=1e-12)
    assert lasso_lambda_max(*given[:2]) == pytest.approx(lasso_lambda_max(X, y), rel=1e-12)
    grouped = group_lasso_gap(X, y, beta, GROUPS, 0.3, WEIGHTS)
    assert group_lasso_gap(*given, GROUPS, 0.3, WEIGHTS) == pytest.approx(grouped, rel=1e-12)
    assert group_lasso_lambda_max(*given[:2], GROUPS) == pytest.approx(group_lasso_lambda_max(X, y, GROUPS), rel=1e-12)
