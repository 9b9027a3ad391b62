"""The slide's loop for the lasso: against brute force over signs, and against the forms in which it fails."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nn.backend import to_numpy
from textbook.certificates import lasso_lambda_max
from textbook.coordinate_descent import lasso_coordinate_descent


def objective(X, y, beta, lam):
    return np.sum((y - X @ beta) ** 2) / (2 * len(y)) + lam * np.sum(np.abs(beta))


def violation(X, y, beta, lam):
    """The optimality conditions, read off the subdifferential: c_j = lam sign(beta_j), or |c_j| <= lam."""
    c = X.T @ (y - X @ beta) / len(y)
    return np.max(np.where(beta != 0, np.abs(c - lam * np.sign(beta)), np.maximum(np.abs(c) - lam, 0)))


def best_over_all_signs(X, y, lam):
    """The minimum is attained where X_A^T (y - X_A beta_A) = n lam s for some A and s: try all 3^p of them."""
    n, p = X.shape
    smallest = objective(X, y, np.zeros(p), lam)
    for signs in itertools.product((-1.0, 0.0, 1.0), repeat=p):
        A = np.flatnonzero(signs)
        beta = np.zeros(p)
        beta[A] = np.linalg.lstsq(X[:, A].T @ X[:, A], X[:, A].T @ y - n * lam * np.array(signs)[A], rcond=None)[0]
        smallest = min(smallest, objective(X, y, beta, lam))
    return smallest


def correlated(a, n=40, p=5, rho=0.9):
    """n samples of p columns with correlation rho and x_j^T x_j / n = a, and y = X beta + noise."""
    rng = np.random.default_rng(0)
    Z = np.sqrt(rho) * rng.standard_normal((n, 1)) + np.sqrt(1 - rho) * rng.standard_normal((n, p))
    Z = (Z - Z.mean(axis=0)) / Z.std(axis=0)
    y = Z @ np.array([3.0, -2.0, 0.0, 0.0, 1.0]) + rng.standard_normal(n)
    X = np.sqrt(a) * Z
    return X, y, 0.05 * lasso_lambda_max(X, y)


def sweeps(update, X, y, lam, most, tol=1e-6):
    """Sweeps of an update (z, beta_j, a_j) -> new beta_j until the violation is tol lam; and the last coefficients."""
    n, p = X.shape
    G, c, beta = X.T @ X / n, X.T @ y / n, np.zeros(p)
    for sweep in range(1, most + 1):  # noqa: B007
        for j in range(p):
            new = update(c[j], beta[j], G[j, j])
            c = c - G[:, j] * (new - beta[j])
            beta[j] = new
        if not violation(X, y, beta, lam) > tol * lam:
            break
    return sweep, beta


def S(z, lam):
    return np.sign(z) * max(abs(z) - lam, 0.0)


# ---- the minimum -----------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10**6), share=st.floats(0.01, 1.2))
@settings(max_examples=60)
def test_it_is_the_minimum_over_all_signs(seed, share):
    rng = np.random.default_rng(seed)
    n, p = int(rng.integers(1, 12)), int(rng.integers(1, 5))
    X = rng.standard_normal((n, p)) * 10.0 ** rng.uniform(-1, 1, p)
    y = rng.standard_normal(n)
    lam = share * lasso_lambda_max(X, y)
    solution = lasso_coordinate_descent(X, y, lam, max_sweeps=3000)
    assert solution.objective == pytest.approx(objective(X, y, solution.beta, lam), rel=1e-12)
    assert solution.objective <= best_over_all_signs(X, y, lam) + solution.gap + 1e-14 * (y @ y) / n
    assert solution.gap <= 1e-9 * (y @ y) / n


@pytest.mark.parametrize("shape", [(30, 11), (11, 19)])
@pytest.mark.parametrize("share", [0.5, 0.1, 0.02])
def test_optimality_conditions(shape, share):
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal(shape) * 10.0 ** rng.uniform(-2, 2, shape[1]), rng.standard_normal(shape[0])
    lam = share * lasso_lambda_max(X, y)
    solution = lasso_coordinate_descent(X, y, lam, tol=1e-15, max_sweeps=50_000)
    assert violation(X, y, solution.beta, lam) <= 1e-12 * lasso_lambda_max(X, y)
    assert solution.kkt == pytest.approx(violation(X, y, solution.beta, lam), abs=1e-14)


def test_by_hand_on_orthogonal_columns():
    X = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 1.0]])  # a = (1, 1/2), z = X^T y / 4 = (2, -3/4)
    y = np.array([4.0, -1.0, 7.0, -2.0])
    beta = lasso_coordinate_descent(X, y, 0.5).beta
    np.testing.assert_allclose(beta, [(2 - 0.5) / 1, (-0.75 + 0.5) / 0.5], rtol=1e-15)


def test_at_lam_zero_it_is_least_squares():
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
    solution = lasso_coordinate_descent(X, y, 0, tol=1e-24)  # without the penalty the gap is a square of the error
    np.testing.assert_allclose(solution.beta, np.linalg.lstsq(X, y, rcond=None)[0], rtol=1e-8)


@pytest.mark.parametrize("factor", [1.001, 10.0, np.inf])
def test_above_lambda_max_it_is_zero_after_one_sweep(factor):
    X, y, lam = correlated(0.3)
    solution = lasso_coordinate_descent(X, y, 20 * factor * lam)
    assert not solution.beta.any() and solution.n_iter == 1 and solution.gap == 0


# ---- the loop --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("a", [0.01, 1.0, 25.0])
def test_the_objective_never_rises_and_the_sweeps_do_not_depend_on_the_scale(a):
    X, y, lam = correlated(a)
    values = []
    solution = lasso_coordinate_descent(
        X, y, lam, callback=lambda sweep, beta: values.append(objective(X, y, beta, lam))
    )
    assert len(values) == solution.n_iter
    assert np.all(np.diff(values) <= 1e-14 * values[0])
    assert 100 < solution.n_iter < 250


def test_the_callback_gets_copies_in_order():
    X, y, lam = correlated(1.0)
    seen = []
    lasso_coordinate_descent(X, y, lam, tol=0, max_sweeps=3, callback=lambda sweep, beta: seen.append((sweep, beta)))
    assert [sweep for sweep, _ in seen] == [1, 2, 3]
    assert objective(X, y, seen[0][1], lam) > objective(X, y, seen[1][1], lam) > objective(X, y, seen[2][1], lam)


def test_the_first_sweep_is_the_slides_loop_on_standardised_columns():
    X, y, lam = correlated(1.0)
    first = []
    lasso_coordinate_descent(X, y, lam, tol=0, max_sweeps=1, callback=lambda sweep, beta: first.append(beta))
    r, beta = y.copy(), np.zeros(5)
    for j in range(5):
        z = X[:, j] @ r / 40 + beta[j]
        new = S(z, lam)
        r = r - (new - beta[j]) * X[:, j]
        beta[j] = new
    np.testing.assert_allclose(first[0], beta, rtol=1e-13, atol=1e-13)


def test_a_warm_start_ends_where_a_cold_one_does():
    X, y, lam = correlated(2.0)
    cold = lasso_coordinate_descent(X, y, lam)
    warm = lasso_coordinate_descent(X, y, lam, start=cold.beta)
    assert warm.n_iter == 1
    np.testing.assert_allclose(warm.beta, cold.beta, rtol=1e-12)
    elsewhere = lasso_coordinate_descent(X, y, lam, start=[5.0, -5.0, 5.0, -5.0, 5.0])
    np.testing.assert_allclose(elsewhere.beta, cold.beta, rtol=1e-10)


def test_zero_columns_get_zero_coefficients():
    X, y, lam = correlated(1.0)
    X = np.insert(X, 2, 0.0, axis=1)
    solution = lasso_coordinate_descent(X, y, lam, start=np.ones(6))
    assert solution.beta[2] == 0 and solution.gap <= 1e-13
    assert not lasso_coordinate_descent(np.zeros((3, 2)), [1, 2, 3], 0.1).beta.any()
    assert not lasso_coordinate_descent(X, np.zeros(40), 0.1).beta.any()


def test_duplicate_columns_share_a_coefficient_in_many_ways_but_only_one_fit():
    X, y, lam = correlated(1.0)
    X = X[:, [0, 0, 1]]
    one = lasso_coordinate_descent(X, y, lam)
    other = lasso_coordinate_descent(X, y, lam, start=[0.0, one.beta[0] / 2, 0.0])
    assert abs(one.beta[0] - other.beta[0]) > 0.1
    np.testing.assert_allclose(X @ one.beta, X @ other.beta, atol=1e-9)
    assert one.objective == pytest.approx(other.objective, rel=1e-14)


def test_the_residual_is_computed_anew():
    """From a start of 1e9 the residual, if only updated, would keep an error of 1e9 times that of a float."""
    X, y, lam = correlated(1.0)
    solution = lasso_coordinate_descent(X, y, lam, start=[1e9, -1e9, 1e9, 1e9, 1e9], tol=0, max_sweeps=1500)
    assert violation(X, y, solution.beta, lam) <= 1e-12 * lam


# ---- wrong forms -----------------------------------------------------------------------------------------------------


def test_the_printed_update_on_columns_that_are_not_standardised():
    """S(x_j^T r / n + beta_j, lam) has the right fixed point; a_j = x_j^T x_j / n decides whether it gets there."""

    def general(a):
        X, y, lam = correlated(a)
        return sweeps(lambda c, b, a: S(c + a * b, lam) / a, X, y, lam, most=1000)[0]

    def printed(a, most):
        X, y, lam = correlated(a)
        return *sweeps(lambda c, b, a: S(c + b, lam), X, y, lam, most), X, y, lam

    assert len({general(a) for a in (0.01, 0.25, 1.44, 4.0)}) == 1  # the right one does not see the scale
    count, beta, X, y, lam = printed(0.01, 30_000)
    assert count > 100 * general(0.01)
    np.testing.assert_allclose(beta, lasso_coordinate_descent(X, y, lam).beta, rtol=1e-4)
    assert printed(1.0, 1000)[0] == general(1.0)
    assert 5 * general(1.93) < printed(1.93, 5000)[0] < 5000
    count, beta, X, y, lam = printed(2.05, 5000)
    assert count == 5000 and violation(X, y, beta, lam) > lam
    assert np.max(np.abs(printed(4.0, 15)[1])) > 1e29


def test_dividing_before_thresholding_is_wrong():
    X, y, lam = correlated(0.25)
    _, wrong = sweeps(lambda c, b, a: S((c + a * b) / a, lam), X, y, lam, most=2000)
    assert violation(X, y, wrong, lam) > 0.5 * lam
    assert np.max(np.abs(wrong - lasso_coordinate_descent(X, y, lam).beta)) > 0.05


def test_the_printed_index_is_wrong():
    """Q prints the sum over k != j of x_ij beta_k, where x_ik beta_k is meant: then r_j is no partial residual."""
    X, y, lam = correlated(1.0)
    beta = lasso_coordinate_descent(X, y, lam).beta
    n, p = X.shape
    errors = []
    for j in range(p):
        others = np.arange(p) != j
        meant, printed = y - X[:, others] @ beta[others], y - X[:, j] * beta[others].sum()
        assert S(X[:, j] @ meant / n, lam) == pytest.approx(beta[j], abs=1e-10)
        errors.append(abs(S(X[:, j] @ printed / n, lam) - beta[j]))
    assert min(errors) > 0.02 and max(errors) > 0.1


def test_all_coefficients_at_once_is_wrong():
    """The slide's superscripts read as if a sweep used the values before it throughout: then nothing converges here.

    Nor may r lose x_j times the new coefficient, where the difference from the old one is meant.
    """
    X, y, lam = correlated(1.0)
    n, p = X.shape
    beta, sizes = np.zeros(p), []
    for _ in range(20):
        z = X.T @ (y - X @ beta) / n + beta
        beta = np.sign(z) * np.maximum(np.abs(z) - lam, 0)
        sizes.append(np.abs(beta).max())
    assert sizes[-1] > 1e6 * sizes[0]
    right = lasso_coordinate_descent(X, y, lam).beta
    beta, r = np.zeros(p), y.copy()
    for _ in range(3):
        for j in range(p):
            beta[j] = S(X[:, j] @ r / n + beta[j], lam)
            r -= X[:, j] * beta[j]
    assert np.max(np.abs(beta - right)) > 1


def test_z_is_the_least_squares_coefficient_only_where_a_is_one():
    for a, equal in ((1.0, True), (0.3, False)):
        X, y, lam = correlated(a)
        z, slope = X[:, 0] @ y / len(y), np.linalg.lstsq(X[:, :1], y, rcond=None)[0][0]
        assert (abs(z - slope) <= 1e-12) == equal


def test_the_lam_of_the_other_slide_is_2n_times_this_one():
    X, y, lam = correlated(1.0)
    beta, n = lasso_coordinate_descent(X, y, lam).beta, len(y)
    # ||y - X beta||^2 + lam' ||beta||_1 is least where 2 x_j^T r = lam' sign(beta_j).
    slope = 2 * X.T @ (y - X @ beta)
    np.testing.assert_allclose(slope[beta != 0], 2 * n * lam * np.sign(beta[beta != 0]), rtol=1e-9)
    unconverted = lasso_coordinate_descent(X, y, 2 * n * lam).beta
    assert np.max(np.abs(unconverted - beta)) > 0.5


# ---- libraries, dtypes, scales, arguments ----------------------------------------------------------------------------


def test_every_library_gives_the_same(library):
    X, y, lam = correlated(0.5)
    X = np.insert(X, 1, 0.0, axis=1)
    reference = lasso_coordinate_descent(X, y, lam, max_sweeps=20)
    A, b = library.xp.asarray(X), library.xp.asarray(y)
    seen = []
    ours = lasso_coordinate_descent(A, b, lam, max_sweeps=20, start=library.xp.asarray(np.zeros(6)),
                                    callback=lambda sweep, beta: seen.append(beta))  # fmt: skip
    assert type(ours.beta) is type(A) and type(seen[0]) is type(A) and ours.beta.device == A.device
    np.testing.assert_allclose(to_numpy(ours.beta), reference.beta, rtol=1e-12, atol=1e-14)
    for ours_value, value in zip(
        (ours.gap, ours.kkt, ours.objective), (reference.gap, reference.kkt, reference.objective)
    ):
        assert isinstance(ours_value, float) and ours_value == pytest.approx(value, rel=1e-9)


def test_float32_is_computed_in_float64_and_returned_as_float32():
    X, y, lam = correlated(0.5)
    X, y = X.astype(np.float32), y.astype(np.float32)
    solution = lasso_coordinate_descent(X, y, lam)
    assert solution.beta.dtype == np.float32 and solution.gap <= 1e-6
    wide = lasso_coordinate_descent(X.astype(np.float64), y.astype(np.float64), lam)
    np.testing.assert_array_equal(solution.beta, wide.beta.astype(np.float32))


@pytest.mark.parametrize(
    ("x_scale", "y_scale"), [(1e200, 1.0), (1e-200, 1.0), (1.0, 1e200), (1e-150, 1e-150), (1e120, 1e-120)]
)
def test_extreme_scales(x_scale, y_scale):
    X, y, lam = correlated(0.5)
    plain = lasso_coordinate_descent(X, y, lam, tol=1e-9)
    seen = []
    arguments = X * x_scale, y * y_scale, lam * x_scale * y_scale, 1e-9
    scaled = lasso_coordinate_descent(*arguments, callback=lambda sweep, beta: seen.append(beta))
    np.testing.assert_allclose(scaled.beta / (y_scale / x_scale), plain.beta, rtol=1e-10)
    np.testing.assert_array_equal(seen[-1], scaled.beta)
    assert scaled.kkt / x_scale / y_scale == pytest.approx(plain.kkt, rel=1e-3)
    if y_scale < 1e150:  # the square of a larger one is no float
        assert scaled.gap / y_scale / y_scale == pytest.approx(plain.gap, rel=1e-3)
        assert scaled.objective / y_scale / y_scale == pytest.approx(plain.objective, rel=1e-12)
    assert lasso_coordinate_descent(*arguments, start=scaled.beta).n_iter == 1


def test_lists_integers_and_read_only_arrays_are_fine_and_not_modified():
    X, y = np.array([[1, 2], [3, 5], [0, 1]]), np.array([1, 2, 0])
    X.flags.writeable = y.flags.writeable = False
    beta = lasso_coordinate_descent(X, y, 0.1).beta
    np.testing.assert_array_equal(lasso_coordinate_descent(X.tolist(), y.tolist(), 0.1).beta, beta)
    np.testing.assert_allclose(lasso_coordinate_descent(np.asfortranarray(X * 1.0), y, 0.1).beta, beta, rtol=1e-13)
    start = np.ones(2)
    lasso_coordinate_descent(X, y, 0.1, start=start)
    np.testing.assert_array_equal(start, [1, 1])


X0, Y0 = np.arange(6.0).reshape(3, 2), np.array([1.0, -1.0, 2.0])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"lam": -1.0}, ValueError, "lam of at least 0, got -1.0"),
        ({"lam": np.nan}, ValueError, "lam of at least 0, got nan"),
        ({"lam": "0.1"}, TypeError, "lam to be a real number, got str"),
        ({"tol": -1e-3}, ValueError, "tol of at least 0"),
        ({"max_sweeps": 0}, ValueError, "max_sweeps of at least 1, got 0"),
        ({"max_sweeps": 1.5}, TypeError, "max_sweeps to be an integer, got float"),
        ({"start": np.zeros(3)}, ValueError, r"start of shape \(2,\), one coefficient a column, got shape \(3,\)"),
        ({"start": [0.0, np.nan]}, ValueError, r"got nan at start\[1\]"),
        ({"X": np.where(X0 == 4, np.inf, X0)}, ValueError, r"got inf at X\[2, 0\]"),
        ({"y": np.array([0, np.nan, 0])}, ValueError, r"got nan at y\[1\]"),
        ({"y": Y0[:2]}, ValueError, "as many values of y as rows of X, got 2 and 3"),
        ({"y": Y0[:, None]}, ValueError, r"y of shape \(n,\), got shape \(3, 1\)"),
        ({"X": Y0}, ValueError, r"X of shape \(n, p\), got shape \(3,\)"),
        ({"X": X0[:0], "y": Y0[:0]}, ValueError, "at least one sample and one column"),
        ({"X": X0[:, :0]}, ValueError, "at least one sample and one column"),
        ({"X": X0 * 1j}, ValueError, "real numbers, got dtype complex128"),
        ({"X": "X"}, TypeError, "X to be an array, got str"),
    ],
)  # fmt: skip
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        lasso_coordinate_descent(**{"X": X0, "y": Y0, "lam": 0.1, **arguments})
