"""The lasso's path: against its optimality conditions, by hand, where columns tie, and on two known data sets.

With $PRUNING_DATA set the kinks of the prostate and the diabetes data are checked too.
"""

import os

import fuzz_lasso_path
import numpy as np
import pytest
from referees.lasso_by_signs import lasso_by_signs, regression
from scipy.linalg import hadamard

import nn.data
from nn.backend import to_numpy
from textbook.certificates import lasso_gap, lasso_kkt, lasso_lambda_max, lasso_path_certificates
from textbook.coordinate_descent import lasso_coordinate_descent
from textbook.exact.homotopy import lasso_at_most, lasso_path
from textbook.exact.kinks import Homotopy
from textbook.exact.working_set import lasso

REAL = os.environ.get("PRUNING_DATA")


def violation(X, y, beta, lam):
    """The optimality conditions: c_j = lam sign(beta_j), or |c_j| <= lam."""
    c = X.T @ (y - X @ beta) / len(y)
    return np.max(np.where(beta != 0, np.abs(c - lam * np.sign(beta)), np.maximum(np.abs(c) - lam, 0)))


def duality_gap(X, y, beta, lam):
    """Objective minus the dual's value ||y||^2/2n - ||y - nu||^2/2n at nu = the residual, shrunk to be feasible."""
    n, r = len(y), y - X @ beta
    largest = np.max(np.abs(X.T @ r)) / n
    nu = r * min(1.0, lam / largest) if largest > 0 else r
    primal = r @ r / (2 * n) + lam * np.sum(np.abs(beta))
    return primal - (y @ y - (y - nu) @ (y - nu)) / (2 * n)


def support_sizes(beta):
    return np.count_nonzero(beta, axis=0).tolist()


def between(lam, share=0.5):
    """One lam between each kink and the next."""
    return share * lam[:-1] + (1 - share) * lam[1:]


# ---- hundreds of problems --------------------------------------------------------------------------------------------


def gaussian(rng, n, p):
    return rng.standard_normal((n, p)), rng.standard_normal(n)


def rank_three(rng, n, p):
    return rng.standard_normal((n, 3)) @ rng.standard_normal((3, p)), rng.standard_normal(n)


def zero_columns(rng, n, p):
    X, y = gaussian(rng, n, p)
    return X * (rng.random(p) < 0.7), y


HARD = [124, 204, 308, 412, 437, 668, 812, 908]  # near duplicates whose columns come within 1e-12 of a span; scales


@pytest.mark.parametrize("number", [*range(80), *HARD])
def test_every_kink_and_what_lies_between_them_is_optimal(number):
    _, seconds, gap, violation, _ = fuzz_lasso_path.check(number)
    assert gap <= 1e-9 and violation <= 1e-13


@pytest.mark.parametrize(("seed", "n", "p"), [(0, 9, 4), (1, 3, 5), (2, 7, 5)])
def test_between_the_kinks_it_is_the_best_of_all_patterns_of_signs(seed, n, p):
    X, y = regression(seed, n, p)
    lams = between(lasso_path(X, y).lam)
    for lam, beta in zip(lams, lasso_path(X, y, lams).beta.T):
        np.testing.assert_allclose(beta, lasso_by_signs(X, y, lam), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("shape", [(19, 11), (11, 19)])
def test_the_fast_solver_agrees(shape):
    X, y = gaussian(np.random.default_rng(12), *shape)
    path = lasso_path(X, y, np.geomspace(1e-3, 1, 9) * lasso_lambda_max(X, y))
    for lam, beta in zip(path.lam, path.beta.T):
        np.testing.assert_allclose(beta, lasso(X, y, lam).beta, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [gaussian, rank_three, zero_columns], ids=lambda kind: kind.__name__)
def test_at_most_k_for_every_k(kind):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X, y = kind(rng, int(rng.integers(3, 12)), int(rng.integers(1, 9)))
        kinks = lasso_path(X, y)
        sizes = [] if len(kinks.lam) == 1 else support_sizes(lasso_path(X, y, between(kinks.lam)).beta)  # below each
        for k in range(X.shape[1] + 1):
            solution = lasso_at_most(X, y, k)
            expected = next((lam for lam, size in zip(kinks.lam, sizes) if size > k), 0.0)  # the first to exceed k
            assert solution.lam == pytest.approx(expected, rel=1e-12, abs=1e-13)
            assert np.count_nonzero(solution.beta) <= k
            assert violation(X, y, solution.beta, solution.lam) <= 1e-12 * kinks.lam[0]
            assert solution.gap <= 1e-12 * (y @ y) / len(y)


def test_the_objective_is_that_of_the_solution():
    X, y = gaussian(np.random.default_rng(2), 13, 7)
    for data in ((X, y), (X[:9], y[:9])):  # with a triangular factor and without
        solution = lasso_at_most(*data, 3)
        r = data[1] - data[0] @ solution.beta
        expected = r @ r / (2 * len(r)) + solution.lam * np.abs(solution.beta).sum()
        assert solution.objective == pytest.approx(expected, rel=1e-13) and np.count_nonzero(solution.beta) == 3


# ---- by hand ---------------------------------------------------------------------------------------------------------


def test_orthonormal_columns_have_their_kinks_where_lam_is_a_coefficient():
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((12, 5)))[0] * np.sqrt(12)  # Q^T Q = n I
    z = np.array([0.5, -3.0, 2.0, 0.25, -1.0])
    y = Q @ z + 5 * np.linalg.qr(np.column_stack([Q, rng.standard_normal(12)]))[0][:, 5]
    path = lasso_path(Q, y)
    np.testing.assert_allclose(path.lam, [3, 2, 1, 0.5, 0.25, 0], atol=1e-14)
    soft = np.sign(z)[:, None] * np.maximum(np.abs(z)[:, None] - path.lam, 0)
    np.testing.assert_allclose(path.beta, soft, atol=1e-13)


def test_one_column():
    path = lasso_path([[2.0], [0.0]], [3.0, 1.0])  # a = 2, z = 3
    np.testing.assert_array_equal(path.lam, [3, 0])
    np.testing.assert_array_equal(path.beta, [[0, 1.5]])
    np.testing.assert_allclose(lasso_path([[2.0], [0.0]], [3.0, 1.0], [1.0]).beta, [[(3 - 1) / 2]])


def test_a_coefficient_that_leaves_and_comes_back_with_the_other_sign():
    """x_3 is nearest to y = x_1 + x_2 - x_3 / 10: first in, until the other two, which come together, replace it."""
    X = np.array([[1.0, 0.0, 0.8], [0.0, 1.0, 0.8], [0.0, 0.0, 0.3]])
    y = X @ np.array([1.0, 1.0, -0.1])
    lams = between(lasso_path(X, y).lam)
    path = lasso_path(X, y, lams)
    np.testing.assert_array_equal(np.sign(path.beta).T, [[0, 0, 1], [1, 1, 1], [1, 1, 0], [1, 1, -1]])
    for lam, beta in zip(lams, path.beta.T):
        reference = lasso_coordinate_descent(X, y, lam, tol=1e-16, max_sweeps=5000).beta
        np.testing.assert_allclose(beta, reference, atol=1e-9)


def test_the_support_is_not_monotone_in_lam():
    rng = np.random.default_rng(26)
    X, y = rng.standard_normal((10, 6)), rng.standard_normal(10)
    kinks = lasso_path(X, y)
    lams = between(kinks.lam)
    assert support_sizes(lasso_path(X, y, lams).beta) == [1, 2, 3, 4, 5, 6, 5, 6]
    for lam, size in zip(lams[4:7], (5, 6, 5)):
        assert np.count_nonzero(lasso_coordinate_descent(X, y, lam).beta) == size
    # So the first lam before a sixth coefficient is not the smallest with five.
    assert lasso_at_most(X, y, 5).lam == pytest.approx(kinks.lam[5], rel=1e-14)
    assert lams[6] < kinks.lam[5]


def test_given_lams_are_returned_in_decreasing_order_as_they_are():
    rng = np.random.default_rng(1)
    X, y = gaussian(rng, 15, 7)
    top = lasso_lambda_max(X, y)
    lams = [0.3 * top, np.inf, 0.0, 2 * top, 0.1 * top, top]
    path = lasso_path(X, y, lams)
    np.testing.assert_array_equal(path.lam, sorted(lams, reverse=True))
    assert not path.beta[:, :2].any() and np.abs(path.beta[:, 2]).max() <= 1e-15  # the third lam is the first kink
    assert np.all(path.gap <= 1e-15) and np.all(path.kkt <= 1e-14)
    for lam, beta in zip(path.lam[3:], path.beta.T[3:]):
        reference = lasso_coordinate_descent(X, y, lam, tol=1e-24 if lam == 0 else 1e-15).beta
        np.testing.assert_allclose(beta, reference, atol=1e-9)
    kinks = lasso_path(X, y)
    np.testing.assert_allclose(lasso_path(X, y, kinks.lam).beta, kinks.beta, atol=1e-13)


# ---- ties and dependent columns --------------------------------------------------------------------------------------


def test_columns_that_tie_join_together():
    X, z = hadamard(8)[:, :6], np.array([2.0, -2, 1, 0, 1, -1])  # X^T X = n I
    y = X @ z
    path = lasso_path(X, y)
    np.testing.assert_allclose(path.lam, [2, 1, 0], atol=1e-15)
    np.testing.assert_allclose(path.beta[:, -1], z, atol=1e-15)
    solutions = [lasso_at_most(X, y, k) for k in range(7)]
    assert [np.count_nonzero(solution.beta) for solution in solutions] == [0, 0, 2, 2, 2, 5, 5]
    np.testing.assert_allclose([solution.lam for solution in solutions], [2, 2, 1, 1, 1, 0, 0], atol=1e-15)


def test_small_integers_tie_at_almost_every_kink():
    """Several columns reach |c| = L together; those that would get the wrong sign have to wait."""
    for seed in range(150):
        rng = np.random.default_rng(seed)
        n, p = int(rng.integers(1, 9)), int(rng.integers(1, 9))
        X, y = rng.choice([-1.0, 0.0, 1.0], (n, p)), rng.integers(-2, 3, n)
        path = lasso_path(X, y)
        assert np.all(path.gap <= 1e-12), seed
        for lam, beta in zip(path.lam[:-1], path.beta.T):
            assert violation(X, y, beta, lam) <= 1e-13, seed


def test_a_path_that_may_not_join_twice_says_where_it_is_wrong(monkeypatch):
    """At a tie a column may have to go and come back.  Where patience runs out the gap shows what that costs."""
    costs = []
    for seed in range(40):  # which of them need patience depends on the last digits, and so on the BLAS kernel
        rng = np.random.default_rng(seed)
        X, y = rng.choice([-1.0, 1.0], (8, 9)), rng.integers(-2, 3, 8)
        with monkeypatch.context() as patient:
            assert np.all(lasso_path(X, y).gap <= 1e-13)
            assert all(state.waited == 0 for state in Homotopy(X, y.astype(float)).kinks())  # anew at every L
            patient.setattr("textbook.exact.kinks.PATIENCE", 0)
            path = lasso_path(X, y)
        costs.append(path.gap.max())
        for lam, beta, gap in zip(path.lam[:-1], path.beta.T, path.gap):
            assert gap == pytest.approx(duality_gap(X, y, beta, lam), abs=1e-14)
    assert max(costs) > 1e-3


def test_a_column_near_the_span_of_others_is_used():
    """Twins at a distance of 1e-8: their difference is a direction of its own, with coefficients of 1e7."""
    rng = np.random.default_rng(13)
    X, y = gaussian(rng, 12, 3)
    X = np.column_stack([X, X[:, 0] + 1e-8 * rng.standard_normal(12)])
    path = lasso_path(X, y)
    assert np.count_nonzero(path.beta[:, -1]) == 4 and np.abs(path.beta[:, -1]).max() > 1e6
    gap, violation = fuzz_lasso_path.gap_and_violation(X, y, path.beta, path.lam)
    assert gap <= 1e-13 and violation <= 1e-13


def test_of_duplicate_columns_one_is_enough():
    rng = np.random.default_rng(3)
    X, y = gaussian(rng, 20, 5)
    doubled = X[:, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]] * np.array([1, -1] * 5)
    path, reference = lasso_path(doubled, y), lasso_path(X, y)
    np.testing.assert_allclose(path.lam, reference.lam, atol=1e-14)
    np.testing.assert_allclose(doubled @ path.beta, X @ reference.beta, atol=1e-13)
    assert np.count_nonzero(path.beta[:, -1]) == 5


def test_fewer_samples_than_columns_end_in_interpolation():
    X, y = gaussian(np.random.default_rng(4), 8, 30)
    path = lasso_path(X, y)
    assert max(support_sizes(path.beta)) <= 8
    np.testing.assert_allclose(X @ path.beta[:, -1], y, atol=1e-13)
    # Of all interpolating vectors it has the smallest l1 norm: X_A^T nu = s_A and |X^T nu| <= 1 for some nu.
    A = path.beta[:, -1] != 0
    nu = np.linalg.lstsq(X[:, A].T, np.sign(path.beta[A, -1]), rcond=None)[0]
    np.testing.assert_allclose(X[:, A].T @ nu, np.sign(path.beta[A, -1]), atol=1e-12)
    assert np.max(np.abs(X.T @ nu)) <= 1 + 1e-12


@pytest.mark.parametrize("y", [np.zeros(4), np.array([0.0, 0.0, 1.0, -1.0])], ids=["y = 0", "y orthogonal to X"])
def test_nothing_to_explain(y):
    X = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 5.0], [5.0, 5.0]])
    path = lasso_path(X, y)
    assert not path.beta.any() and np.all(path.gap == 0)
    assert not lasso_path(X, y, [0.0, 1.0]).beta.any()
    assert not lasso_at_most(X, y, 2).beta.any()
    assert not lasso_path(np.zeros((3, 2)), [1, 2, 3]).beta.any()


@pytest.mark.parametrize("size", [1.0, 1e6, 1e-6])
def test_what_is_orthogonal_to_all_columns_to_rounding_is_not_explained(size):
    rng = np.random.default_rng(14)
    X = rng.standard_normal((12, 4))
    Q, y = np.linalg.qr(X)[0], size * rng.standard_normal(12)
    for _ in range(2):
        y = y - Q @ (Q.T @ y)
    assert X.T.dot(y).any()
    path = lasso_path(X, y)
    np.testing.assert_array_equal(path.lam, [0])
    assert not path.beta.any()


# ---- tall data, intercept, libraries, dtypes, scales -----------------------------------------------------------------


def test_tall_data_give_the_path_of_their_rows(monkeypatch):
    X, y = gaussian(np.random.default_rng(5), 60, 9)
    tall = lasso_path(X, y)
    monkeypatch.setattr("textbook.exact.homotopy.WELL_CONDITIONED", 2.0)  # the QR factor, not that of the Gram matrix
    factor = lasso_path(X, y)
    monkeypatch.setattr("textbook.exact.homotopy.TALL", np.inf)
    rows = lasso_path(X, y)
    for other in (factor, rows):
        np.testing.assert_allclose(tall.lam, other.lam, atol=1e-14)
        np.testing.assert_allclose(tall.beta, other.beta, atol=1e-13)
        assert np.all(other.gap <= 1e-15)


def test_tall_data_with_dependent_columns():
    X, y = gaussian(np.random.default_rng(6), 60, 4)
    X = np.column_stack([X, X[:, 0] + X[:, 1], np.zeros(60), X[:, 2] + 1e-9 * X[:, 3]])
    path = lasso_path(X, y)
    unit = y @ y / 60
    for lam, beta in zip(path.lam, path.beta.T):
        assert duality_gap(X, y, beta, lam) <= 1e-13 * unit if lam > 1e-6 * path.lam[0] else True
    np.testing.assert_allclose(X @ path.beta[:, -1], X @ np.linalg.lstsq(X, y, rcond=None)[0], atol=1e-8)


def test_certificates_of_a_path_are_those_of_its_solutions():
    rng = np.random.default_rng(7)
    X, y = gaussian(rng, 12, 19)
    kinks = lasso_path(X, y)
    lams = np.array([*kinks.lam, *kinks.lam[:3]])
    beta = np.column_stack([kinks.beta + 0.01 * rng.standard_normal(kinks.beta.shape), np.zeros((19, 3))])
    gap, kkt = lasso_path_certificates(X, y, beta, lams, X)
    for i, lam in enumerate(lams):
        assert gap[i] == pytest.approx(lasso_gap(X, y, beta[:, i], lam), rel=1e-10)
        assert kkt[i] == pytest.approx(lasso_kkt(X, y, beta[:, i], lam), rel=1e-12)


@pytest.mark.parametrize("shape", [(9, 14), (50, 6)])
def test_an_intercept_is_a_column_of_ones_without_penalty(shape):
    rng = np.random.default_rng(8)
    X, y = gaussian(rng, *shape)
    X, y = X + 3, y + 5
    path = lasso_path(X, y, intercept=True)
    for lam, beta, constant in zip(path.lam, path.beta.T, path.intercept):
        r = y - X @ beta - constant
        assert abs(r.mean()) <= 1e-13  # the derivative with respect to the constant
        assert violation(X, y - constant, beta, lam) <= 1e-12
    solution = lasso_at_most(X, y, 3, intercept=True)
    i = np.argmin(np.abs(path.lam - solution.lam))
    assert np.count_nonzero(solution.beta) == 3
    assert solution.intercept == pytest.approx(path.intercept[i], rel=1e-12)
    assert not lasso_path(X, y).intercept.any() and lasso_at_most(X, y, 3).intercept == 0


def test_every_library_gives_the_same(library):
    X, y = gaussian(np.random.default_rng(9), 20, 6)
    A, b = library.xp.asarray(X), library.xp.asarray(y)
    reference, ours = lasso_path(X, y), lasso_path(A, b)
    for name in ("beta", "lam", "gap", "kkt", "intercept"):
        value = getattr(ours, name)
        assert type(value) is type(A) and value.device == A.device
        np.testing.assert_array_equal(to_numpy(value), getattr(reference, name))
    solution = lasso_at_most(A, b, 2)
    assert type(solution.beta) is type(A)
    np.testing.assert_array_equal(to_numpy(solution.beta), lasso_at_most(X, y, 2).beta)


def test_float32_is_computed_in_float64_and_returned_as_float32():
    X, y = (each.astype(np.float32) for each in gaussian(np.random.default_rng(10), 20, 6))
    path, wide = lasso_path(X, y), lasso_path(X.astype(np.float64), y.astype(np.float64))
    assert path.beta.dtype == np.float32 and path.lam.dtype == np.float64
    np.testing.assert_array_equal(path.beta, wide.beta.astype(np.float32))
    np.testing.assert_array_equal(path.lam, wide.lam)
    assert 0 < np.max(path.gap) <= 1e-6  # of the rounded coefficients
    assert lasso_at_most(X, y, 3).beta.dtype == np.float32


@pytest.mark.parametrize(
    ("x_scale", "y_scale"), [(1e200, 1.0), (1e-200, 1.0), (1.0, 1e150), (1e-150, 1e-150), (1e120, 1e-120)]
)
def test_extreme_scales(x_scale, y_scale):
    X, y = gaussian(np.random.default_rng(11), 14, 6)
    plain, scaled = lasso_path(X, y), lasso_path(X * x_scale, y * y_scale)
    np.testing.assert_allclose(scaled.lam / x_scale / y_scale, plain.lam, rtol=1e-12)
    np.testing.assert_allclose(scaled.beta / (y_scale / x_scale), plain.beta, rtol=1e-10)
    assert np.all(scaled.gap / y_scale / y_scale <= 1e-12)
    solution = lasso_at_most(X * x_scale, y * y_scale, 3)
    assert np.count_nonzero(solution.beta) == 3 and solution.gap / y_scale / y_scale <= 1e-12
    assert solution.kkt <= 1e-12 * solution.lam
    plain = lasso_at_most(X, y, 3)
    assert solution.objective / y_scale / y_scale == pytest.approx(plain.objective, rel=1e-12)
    given = lasso_path(X * x_scale, y * y_scale, [plain.lam * x_scale * y_scale])
    np.testing.assert_allclose(given.beta[:, 0], solution.beta, rtol=1e-10, atol=1e-13 * y_scale / x_scale)


def test_lists_integers_and_read_only_arrays_are_fine_and_not_modified():
    X, y = np.array([[1, 2], [3, 5], [0, 1], [2, 2]]), np.array([1, 2, 0, -1])
    X.flags.writeable = y.flags.writeable = False
    reference = lasso_path(X, y)
    for other in (lasso_path(X.tolist(), y.tolist()), lasso_path(np.asfortranarray(X * 1.0), y)):
        np.testing.assert_allclose(other.beta, reference.beta, atol=1e-14)
    lams = np.array([0.1, 0.3])
    lasso_path(X, y, lams)
    np.testing.assert_array_equal(lams, [0.1, 0.3])


# ---- arguments -------------------------------------------------------------------------------------------------------

X0, Y0 = np.arange(6.0).reshape(3, 2), np.array([1.0, -1.0, 2.0])
DATA = [
    ({"X": np.where(X0 == 4, np.inf, X0)}, ValueError, r"got inf at X\[2, 0\]"),
    ({"y": np.array([0, np.nan, 0])}, ValueError, r"got nan at y\[1\]"),
    ({"y": Y0[:2]}, ValueError, "as many values of y as rows of X, got 2 and 3"),
    ({"y": Y0[:, None]}, ValueError, r"y of shape \(n,\), got shape \(3, 1\)"),
    ({"X": Y0}, ValueError, r"X of shape \(n, p\), got shape \(3,\)"),
    ({"X": X0[:0], "y": Y0[:0]}, ValueError, "at least one sample and one column"),
    ({"X": X0 * 1j}, ValueError, "real numbers, got dtype complex128"),
    ({"X": "X"}, TypeError, "X to be an array, got str"),
]
LAMS = [
    ({"lams": [0.1, -1.0]}, ValueError, r"lams\[1\] of at least 0, got -1.0"),
    ({"lams": [np.nan]}, ValueError, r"lams\[0\] of at least 0, got nan"),
    ({"lams": ["0.1"]}, TypeError, r"lams\[0\] to be a real number, got str"),
    ({"lams": 0.1}, TypeError, "lams to be a sequence of real numbers, got float"),
    ({"lams": []}, ValueError, "at least one number in lams, got none"),
]
COUNTS = [
    ({"k": -1}, ValueError, "k from 0 to 2, got -1"),
    ({"k": 3}, ValueError, "k from 0 to 2, got 3"),
    ({"k": 1.0}, TypeError, "k to be an integer, got float"),
    ({"k": True}, TypeError, "k to be an integer, got bool"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), [*DATA, *LAMS])
def test_bad_arguments_of_the_path(arguments, error, message):
    with pytest.raises(error, match=message):
        lasso_path(**{"X": X0, "y": Y0, **arguments})


@pytest.mark.parametrize(("arguments", "error", "message"), [*DATA, *COUNTS])
def test_bad_arguments_of_at_most(arguments, error, message):
    with pytest.raises(error, match=message):
        lasso_at_most(**{"X": X0, "y": Y0, "k": 1, **arguments})


# ---- real data -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(REAL is None, reason="$PRUNING_DATA is not set")
def test_the_kinks_of_the_diabetes_data():
    X, y = nn.data.load("diabetes", root=REAL).train
    X = X - X.mean(axis=0)
    X, y = X / np.linalg.norm(X, axis=0), y - y.mean()
    kinks = lasso_path(X, y)
    np.testing.assert_allclose(442 * kinks.lam, [949.435, 889.314, 452.896, 316.073, 130.130, 88.784, 68.965, 19.981,
                                                 5.478, 5.088, 2.182, 1.310, 0], atol=5.01e-4)  # fmt: skip
    assert support_sizes(kinks.beta) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 10]  # what joins or drops is zero
    assert support_sizes(lasso_path(X, y, between(kinks.lam)).beta) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 9, 10]
    lams = np.geomspace(kinks.lam[0], 1e-3 * kinks.lam[0], 100)
    assert np.max(lasso_path(X, y, lams).gap) <= 1e-14 * (y @ y) / 442


@pytest.mark.skipif(REAL is None, reason="$PRUNING_DATA is not set")
def test_the_kinks_and_the_table_of_the_prostate_data():
    data = nn.data.load("prostate", root=REAL)
    (X, y), (T, u) = data.train, data.test
    everyone = np.vstack([X, T])
    unit = everyone.std(axis=0, ddof=1)  # the table's predictors: standardised over all 97 men
    spread = X.std(axis=0, ddof=1)
    Z = (X - X.mean(axis=0)) / spread  # those of the penalty: over the 67
    kinks = lasso_path(Z, y, intercept=True)
    np.testing.assert_allclose(67 * kinks.lam, [58.444, 30.199, 23.888, 14.059, 13.813, 4.008, 3.015, 0.328, 0],
                               atol=5.01e-4)  # fmt: skip
    path = lasso_path(Z, y, [0.2077], intercept=True)
    b = path.beta[:, 0] / spread
    np.testing.assert_allclose(b * unit, [0.533, 0.169, 0, 0.002, 0.094, 0, 0, 0], atol=5e-4)
    intercept = path.intercept[0] - X.mean(axis=0) @ b + everyone.mean(axis=0) @ b
    assert intercept == pytest.approx(2.468, abs=5e-4)
    errors = (u - path.intercept[0] - (T - X.mean(axis=0)) @ b) ** 2
    assert errors.mean() == pytest.approx(0.479, abs=5e-4)
    assert errors.std(ddof=1) / np.sqrt(30) == pytest.approx(0.164, abs=5e-4)
    # On columns standardised over all 97 no point of the path gives that row: it stays off by 0.013.
    row = np.array([0.533, 0.169, 0, 0.002, 0.094, 0, 0, 0])
    other = lasso_path(X / unit, y, np.linspace(0.1, 0.4, 3001), intercept=True).beta
    assert np.min(np.max(np.abs(other - row[:, None]), axis=0)) == pytest.approx(0.013, abs=1e-3)


@pytest.mark.skipif(REAL is None, reason="$PRUNING_DATA is not set")
def test_the_path_of_the_birth_weights():
    data = nn.data.load("birthwt", root=REAL)
    X, y = data.train
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    kinks = lasso_path(X, y, intercept=True)
    # ui is a group of one column: the lam at which it joins is that of the group lasso.
    assert kinks.lam[0] == pytest.approx(0.2064955, abs=5.01e-8)
    assert data.names[np.flatnonzero(kinks.beta[:, 1])[0]] == "ui"
    assert support_sizes(lasso_path(X, y, between(kinks.lam), intercept=True).beta) == list(range(1, 17))
    assert kinks.intercept == pytest.approx(y.mean(), rel=1e-14)  # of centred columns
    for lam, beta in zip(kinks.lam, kinks.beta.T):
        assert violation(X, y - y.mean(), beta, lam) <= 1e-14
