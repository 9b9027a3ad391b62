"""The exact path: optimality at and between the kinks, the published kinks, and at most k coefficients."""

import fuzz_lasso
import numpy as np
import pytest

import nn
from textbook import lasso, lasso_at_most, lasso_lambda_max, lasso_path


def load(name):
    try:
        return nn.data.load(name).train
    except FileNotFoundError as error:
        pytest.skip(str(error))


def test_every_column_of_the_path_is_the_lasso_at_its_lam():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((19, 11)), rng.standard_normal(19)
    path = lasso_path(X, y, np.geomspace(1e-3, 1, 9) * lasso_lambda_max(X, y))
    assert np.all(np.diff(path.lam) < 0)
    for lam, beta in zip(path.lam, path.beta.T):
        np.testing.assert_allclose(beta, lasso(X, y, lam).beta, rtol=1e-9, atol=1e-13)
    kinks = lasso_path(X, y)
    assert kinks.lam[0] == pytest.approx(lasso_lambda_max(X, y), rel=1e-14)
    assert not kinks.beta[:, 0].any() and kinks.lam[-1] == 0
    assert kinks.gap.max() <= 1e-14 * (y @ y) / 19


@pytest.mark.parametrize("number", range(0, 96))
def test_the_path_of_degenerate_problems(number):
    _, X, y, lam = fuzz_lasso.problem(number)
    path = lasso_path(X, y, [lam])
    assert path.gap[0] <= 1e-9 * (y @ y) / len(y)


def test_at_most_k_is_the_last_solution_before_another_coefficient_enters():
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((40, 12)), rng.standard_normal(40)
    kinks = lasso_path(X, y)
    for k in range(1, 13):
        solution = lasso_at_most(X, y, k)
        assert np.count_nonzero(solution.beta) <= k
        assert solution.gap <= 1e-14 * (y @ y) / 40
        below = lasso(X, y, solution.lam * (1 - 1e-6))
        if solution.lam > kinks.lam[-1]:
            assert np.count_nonzero(below.beta) == k + 1
        above = kinks.beta[:, kinks.lam > solution.lam]
        assert np.all(np.count_nonzero(above, axis=0) <= k)


def test_the_kinks_of_diabetes():
    X, y = load("diabetes")
    X = X - X.mean(axis=0)
    path = lasso_path(X / np.linalg.norm(X, axis=0), y - y.mean())
    expected = [949.435, 889.314, 452.896, 316.073, 130.130, 88.784, 68.965, 19.981, 5.478, 5.088, 2.182, 1.310, 0]
    np.testing.assert_allclose(path.lam * 442, expected, atol=5.1e-4)


def test_the_kinks_and_the_lasso_row_of_prostate():
    X, y = load("prostate")
    X = (X - X.mean(axis=0)) / X.std(axis=0, ddof=1)
    path = lasso_path(X, y, intercept=True)
    expected = [58.444, 30.199, 23.888, 14.059, 13.813, 4.008, 3.015, 0.328, 0]
    np.testing.assert_allclose(path.lam * 67, expected, atol=5.1e-4)
    assert np.count_nonzero(lasso(X, y, 0.2077, intercept=True).beta) == 4
