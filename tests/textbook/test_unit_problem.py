"""What the splitting methods do with units, dtypes and degenerate problems: all of it is in the problem they solve."""

import math

import numpy as np
import pytest
from referees.lasso_by_signs import lambda_max, lasso_by_signs, regression, relative

from textbook.forward_backward import fista, ista
from textbook.splitting import lasso_admm
from textbook.unit_problem import UnitProblem, small_gram

METHODS = [ista, fista, lasso_admm]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("a", "b"), [(1e200, 1.0), (1e-200, 1e-100), (1e200, 1e100), (1e-140, 1e-150)])
def test_any_scale(method, a, b):
    X, y = regression(0, 11, 4)
    lam = 0.1 * lambda_max(X, y)
    beta = method(a * X, b * y, a * (b * lam), tol=1e-12).beta
    assert relative(beta * (a / b), lasso_by_signs(X, y, lam)) <= 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_float32_lists_and_integers(method):
    X, y = regression(1, 11, 4)
    lam = 0.1 * lambda_max(X, y)
    best = lasso_by_signs(X, y, lam)
    single = method(X.astype(np.float32), y.astype(np.float32), lam)
    assert single.beta.dtype == np.float32 and relative(single.beta, best) <= 1e-5
    assert single.gap <= 1e-6 * 0.5 * np.mean(y**2)
    assert method(X.tolist(), y.tolist(), lam).beta.dtype == np.float64
    Z, t = np.round(3 * X).astype(int), np.round(3 * y).astype(int)
    assert relative(method(Z, t, 1, tol=1e-12).beta, lasso_by_signs(1.0 * Z, 1.0 * t, 1.0)) <= 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_modified_and_read_only_will_do(method):
    X, y = regression(2, 11, 4)
    before = X.copy(), y.copy()
    X.flags.writeable = y.flags.writeable = False
    method(X, y, 0.01, max_iter=20)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])


@pytest.mark.parametrize("method", METHODS)
def test_zero_columns_zero_targets_and_zero_everything(method):
    X, y = regression(3, 11, 4)
    X[:, 2] = 0
    assert method(X, y, 0.01).beta[2] == 0
    assert method(X, y, 0.01, tol=1e-12).beta[0] == pytest.approx(
        lasso_by_signs(X[:, [0, 1, 3]], y, 0.01)[0], rel=1e-5, abs=1e-8
    )
    for Z, t in ((X, 0 * y), (0 * X, y), (0 * X, 0 * y)):
        solution = method(Z, t, 0.01)
        assert not solution.beta.any() and solution.gap == 0 and solution.n_iter <= 20
        assert solution.objective == 0.5 * np.mean(t**2)


def test_the_units_are_powers_of_two_and_cancel():
    X, y = 2.0**40 * np.array([[3.0, -5.0], [1.0, 0.5]]), 2.0**-20 * np.array([0.7, -0.2])
    unit = UnitProblem(X, y, 3.0)
    assert (unit.i, unit.j) == (42, -21)
    np.testing.assert_array_equal(2.0**42 * unit.X, X)
    np.testing.assert_array_equal(2.0**-21 * unit.y, y)
    assert unit.lam == 3.0 * 2.0**-21
    beta = np.array([0.25, -1.0])  # in the problem's own units
    solution = unit.solution(beta, 7)
    given = beta * 2.0**-63
    np.testing.assert_array_equal(unit.given_units(beta), given)
    np.testing.assert_array_equal(unit.start(given, "start"), beta)
    r = y - X @ given
    assert solution.objective == pytest.approx(0.25 * (r @ r) + 3 * np.abs(given).sum(), rel=1e-14)
    c = X.T @ r / 2
    assert solution.kkt == pytest.approx(np.abs(c - 3 * np.sign(given)).max(), rel=1e-12)
    np.testing.assert_array_equal(solution.beta, given)
    assert solution.n_iter == 7 and solution.lam == 3.0 and 0 < solution.gap < math.inf


@pytest.mark.parametrize("shape", [(11, 4), (4, 6)])
def test_the_small_gram_matrix_has_the_eigenvalues_of_the_large_one(shape):
    X = regression(4, *shape)[0]
    ours = np.linalg.eigvalsh(small_gram(X))
    assert ours.shape == (4,)
    reference = np.linalg.svd(X, compute_uv=False) ** 2 / shape[0]
    np.testing.assert_allclose(np.sort(ours), np.sort(reference), rtol=1e-12)
