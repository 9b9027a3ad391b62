"""What every public function refuses, in which words, and that it leaves its arguments as they were."""

import inspect
import math
import re

import numpy as np
import pytest

import textbook
from textbook.inputs import (
    as_count,
    as_floats,
    as_groups,
    as_iterations,
    as_lam,
    as_lams,
    as_positive,
    as_regression,
    as_weights,
)

X0 = np.random.default_rng(0).standard_normal((7, 5))
Y0 = np.random.default_rng(1).standard_normal(7)
GROUPS = [[0, 3], [1], [2, 4]]
REST = {"lam": 0.1, "k": 2, "groups": GROUPS, "radius": 0.5}  # what a function wants besides X and y
PENALISED = [
    textbook.lasso, textbook.lasso_coordinate_descent, textbook.ista, textbook.fista, textbook.lasso_admm,
    textbook.ridge, textbook.group_lasso, textbook.group_lasso_coordinate_descent,
]  # fmt: skip
GROUPED = [textbook.group_lasso, textbook.group_lasso_coordinate_descent, textbook.group_lasso_lambda_max]
COUNTED = [
    textbook.lasso_at_most, textbook.best_subset, textbook.orthogonal_matching_pursuit,
    textbook.least_squares_with_k_nonzeros,
]  # fmt: skip
REGRESSIONS = [
    *PENALISED, *COUNTED, textbook.lasso_path, textbook.least_squares, textbook.normal_equations,
    textbook.least_squares_in_l1_ball, textbook.lasso_lambda_max, textbook.group_lasso_lambda_max,
]  # fmt: skip
OF_ONE_ARRAY = {
    textbook.lp_norm: (1,), textbook.soft_threshold: (0.1,), textbook.hard_threshold: (0.1,),
    textbook.half_threshold: (0.1,), textbook.group_soft_threshold: (0.1,), textbook.project_l1_ball: (1.0,),
    textbook.keep_largest: (2,), textbook.keep_largest_rows: (2,), textbook.keep_largest_columns: (2,),
}  # fmt: skip


def call(function, **changes):
    """The function on the small problem, with some of its arguments replaced."""
    wanted = inspect.signature(function).parameters
    given = {"X": X0, "y": Y0, **REST, **changes}
    return function(**{name: value for name, value in given.items() if name in wanted})


def names(functions):
    return {"argvalues": functions, "ids": [f.__name__ for f in functions]}


def changed(array, index, value):
    copy = array.astype(complex if isinstance(value, complex) else float)
    copy[index] = value
    return copy


def test_the_lists_above_are_complete():
    regressions = {f for f in vars(textbook).values() if inspect.isfunction(f) and f.__module__.startswith("textbook")}
    regressions = {f for f in regressions if list(inspect.signature(f).parameters)[:2] == ["X", "y"]}
    certificates = {textbook.lasso_gap, textbook.lasso_kkt, textbook.group_lasso_gap, textbook.group_lasso_kkt}
    assert regressions - certificates == set(REGRESSIONS)


@pytest.mark.parametrize("function", **names(REGRESSIONS))
@pytest.mark.parametrize(
    ("X", "y", "error", "message"),
    [
        (changed(X0, (2, 3), math.nan), Y0, ValueError, r"expected finite numbers, got nan at X\[2, 3\]"),
        (changed(X0, (2, 3), math.inf), Y0, ValueError, r"expected finite numbers, got inf at X\[2, 3\]"),
        (changed(X0, (6, 0), -math.inf), Y0, ValueError, r"expected finite numbers, got -inf at X\[6, 0\]"),
        (X0, changed(Y0, 4, math.nan), ValueError, r"expected finite numbers, got nan at y\[4\]"),
        (X0, changed(Y0, 4, -math.inf), ValueError, r"expected finite numbers, got -inf at y\[4\]"),
        (X0, Y0[:-1], ValueError, "expected as many values of y as rows of X, got 6 and 7"),
        (X0, np.append(Y0, 1), ValueError, "expected as many values of y as rows of X, got 8 and 7"),
        (X0[:, 0], Y0, ValueError, r"expected X of shape \(n, p\), got shape \(7,\)"),
        (X0[None], Y0, ValueError, r"expected X of shape \(n, p\), got shape \(1, 7, 5\)"),
        (X0, Y0[:, None], ValueError, r"expected y of shape \(n,\), got shape \(7, 1\)"),
        (X0, 1.0, TypeError, "expected y to be an array, got float"),
        (X0[:0], Y0[:0], ValueError, r"at least one sample and one column, got X of shape \(0, 5\)"),
        (X0[:, :0], Y0, ValueError, r"at least one sample and one column, got X of shape \(7, 0\)"),
        (changed(X0, (0, 0), 1j), Y0, ValueError, "expected X to hold real numbers, got dtype complex128"),
        (X0, changed(Y0, 0, 1j), ValueError, "expected y to hold real numbers, got dtype complex128"),
        (X0.astype(str), Y0, TypeError, "expected X to hold real numbers, got dtype"),
        (X0.astype(object), Y0, TypeError, "expected X to hold real numbers, got dtype object"),
        ("X", Y0, TypeError, "expected X to be an array, got str"),
        (None, Y0, TypeError, "expected X to be an array, got NoneType"),
        (X0, None, TypeError, "expected y to be an array, got NoneType"),
        (X0, "y", TypeError, "expected y to be an array, got str"),
        ([[1.0, 2.0], [3.0]], [1.0, 2.0], ValueError, "expected X to have rows of one length, got a ragged list"),
        (np.ma.masked_greater(X0, 1), Y0, TypeError, "expected X to be a plain array, got MaskedArray"),
        (X0, np.ma.masked_greater(Y0, 1), TypeError, "expected y to be a plain array, got MaskedArray"),
        (X0.view(np.matrix), Y0, TypeError, "expected X to be a plain array, got matrix"),
    ],
)
def test_bad_problems(function, X, y, error, message):
    with pytest.raises(error, match=message):
        call(function, X=X, y=y)


TAKES_INTERCEPT = [
    f for f in vars(textbook).values() if inspect.isfunction(f) and "intercept" in str(inspect.signature(f))
]
# The fast solvers in `textbook.exact` look at the flag themselves.
TAKES_INTERCEPT = [f for f in TAKES_INTERCEPT if not f.__module__.startswith("textbook.exact")]


@pytest.mark.parametrize("function", **names(TAKES_INTERCEPT))
@pytest.mark.parametrize("flag", [None, 1, "yes", [True], np.array([0.0, 1.0]), math.nan])
def test_an_intercept_is_wanted_or_not(function, flag):
    with pytest.raises(TypeError, match=f"expected intercept to be True or False, got {type(flag).__name__}"):
        call(function, beta=np.zeros(5), weights=[1.0, 1, 1], intercept=flag)
    assert len(TAKES_INTERCEPT) == 8
    call(function, beta=np.zeros(5), weights=[1.0, 1, 1], intercept=np.True_)


@pytest.mark.parametrize("callback", [3, "print", [print], np.ones(3)])
@pytest.mark.parametrize("function", **names([f for f in REGRESSIONS if "callback" in inspect.signature(f).parameters]))
def test_bad_callbacks(function, callback):
    with pytest.raises(TypeError, match=f"expected callback to be a function .*, got {type(callback).__name__}"):
        call(function, callback=callback)


@pytest.mark.parametrize("name", ["max_iter", "max_sweeps"])
@pytest.mark.parametrize(
    ("count", "error"), [(0, ValueError), (10**9 + 1, ValueError), (2**63, ValueError), (1e3, TypeError)]
)
def test_counts_that_cannot_be_meant(name, count, error):
    functions = [f for f in REGRESSIONS if name in inspect.signature(f).parameters]
    assert len(functions) >= 2
    for function in functions:
        with pytest.raises(error, match=f"expected {name} (of at|to be an integer)"):
            call(function, **{name: count})


BAD_NUMBERS = [
    (-0.1, ValueError, r"expected {} of at least 0, got -0\.1"),
    (math.nan, ValueError, "expected {} of at least 0, got nan"),
    (-math.inf, ValueError, "expected {} of at least 0, got -inf"),
    ("0.1", TypeError, "expected {} to be a real number, got str"),
    (None, TypeError, "expected {} to be a real number, got NoneType"),
    (True, TypeError, "expected {} to be a real number, got bool"),
    (0.1j, TypeError, "expected {} to be a real number, got complex"),
    (np.array([0.1]), TypeError, "expected {} to be a real number, got ndarray"),
    pytest.param(10**400, ValueError, "expected {} of at most 1.8e308, or math.inf, got a larger integer", id="huge"),
]


@pytest.mark.parametrize("function", **names(PENALISED))
@pytest.mark.parametrize(("lam", "error", "message"), BAD_NUMBERS)
def test_bad_lam(function, lam, error, message):
    with pytest.raises(error, match=message.format("lam")):
        call(function, lam=lam)


@pytest.mark.parametrize("function", **names([f for f in REGRESSIONS if "tol" in inspect.signature(f).parameters]))
@pytest.mark.parametrize(("tol", "error", "message"), BAD_NUMBERS)
def test_bad_tolerances(function, tol, error, message):
    with pytest.raises(error, match=message.format("tol")):
        call(function, tol=tol)


@pytest.mark.parametrize("function", **names(PENALISED))
def test_an_infinite_lam_gives_zeros_and_none_least_squares(function):
    assert not np.any(call(function, lam=math.inf).beta)
    slow = {"max_iter": 1_000_000} if function is textbook.ista else {}
    np.testing.assert_allclose(call(function, lam=0, tol=1e-20, **slow).beta, np.linalg.lstsq(X0, Y0)[0], atol=1e-6)


@pytest.mark.parametrize("function", **names(COUNTED))
@pytest.mark.parametrize(
    ("k", "error"), [(-1, ValueError), (6, ValueError), (2.5, TypeError), ("2", TypeError), (None, TypeError)]
)
def test_bad_counts(function, k, error):
    if k == 6 and function in (textbook.lasso_at_most, textbook.least_squares_with_k_nonzeros):
        return  # at most 6 of 5 coefficients are all of them
    with pytest.raises(error, match=r"expected k (of at least|from|to be an integer)"):
        call(function, k=k)


@pytest.mark.parametrize("function", **names(GROUPED))
@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ([[0, 3], [1], [2]], ValueError, "expected every column in a group, got column 4 in none"),
        ([[0, 3], [1, 3], [2, 4]], ValueError, "got column 3 in groups 0 and 1"),
        ([[0, 3, 3], [1], [2, 4]], ValueError, "got column 3 in groups 0 and 0"),
        ([[0, 3], [], [1, 2, 4]], ValueError, r"expected group 1 to be a list of at least one column index, got \[\]"),
        ([[0, 3], [1], [2, 5]], ValueError, "expected column indices from 0 to 4, got 5 in group 2"),
        ([[0, -1], [1], [2, 3]], ValueError, "expected column indices from 0 to 4, got -1 in group 0"),
        ([[0, 3], [1], [2.0, 4.0]], ValueError, "expected group 2 to hold integer column indices, got dtype float64"),
        ([[0, 3], [True], [2, 4]], ValueError, "expected group 1 to hold integer column indices, got dtype bool"),
        ([0, 1, 2, 0, 1], ValueError, "expected group 0 to be a list of at least one column index, got 0"),
        ([], ValueError, "expected at least one group, got none"),
        (None, TypeError, "expected groups to be a list of index arrays, got NoneType"),
        (5, TypeError, "expected groups to be a list of index arrays, got int"),
        (np.array(5), TypeError, "expected groups to be a list of index arrays, got ndarray"),
        ("01234", TypeError, "expected groups to be a list of index arrays, got str"),
        ({0: [0, 3]}, TypeError, "expected groups to be a list of index arrays, got dict"),
    ],
)
def test_bad_groups(function, groups, error, message):
    with pytest.raises(error, match=message):
        call(function, groups=groups)


@pytest.mark.parametrize("function", **names(GROUPED))
@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ([1.0, 2.0], ValueError, r"expected 3 weights, one a group, got shape \(2,\)"),
        ([[1.0, 2.0, 3.0]], ValueError, r"expected 3 weights, one a group, got shape \(1, 3\)"),
        (2.0, ValueError, r"expected 3 weights, one a group, got shape \(\)"),
        ([1.0, 0.0, 1.0], ValueError, "expected positive finite weights, got 0.0 for group 1"),
        ([1.0, -2.0, 1.0], ValueError, "got -2.0 for group 1"),
        ([1.0, 1.0, math.nan], ValueError, "got nan for group 2"),
        ([math.inf, 1.0, 1.0], ValueError, "got inf for group 0"),
        (["1", "2", "3"], TypeError, "expected weights to be real numbers, one a group, got"),
        ([1.0, 1j, 1.0], TypeError, "expected weights to be real numbers, one a group, got"),
        ([[1.0], [1.0, 2.0], [1.0]], TypeError, "expected weights to be real numbers, one a group, got"),
        ("sqrt", TypeError, "expected weights to be real numbers, one a group, got 'sqrt'"),
    ],
)
def test_bad_weights(function, weights, error, message):
    with pytest.raises(error, match=message):
        call(function, weights=weights)


@pytest.mark.parametrize("function", **names(list(OF_ONE_ARRAY)))
@pytest.mark.parametrize(
    ("w", "error"),
    [
        ("w", TypeError), (None, TypeError), (X0.astype(str), TypeError), (X0.view(np.matrix), TypeError),
        (np.ma.masked_greater(X0, 1), TypeError), ([[1.0, 2.0], [3.0]], ValueError),
        (X0 * 1j, (TypeError, ValueError)),
    ],
)  # fmt: skip
def test_bad_arrays(function, w, error):
    with pytest.raises(error, match=r"expected .* got "):
        function(w, *OF_ONE_ARRAY[function])


@pytest.mark.parametrize("function", **names(REGRESSIONS))
def test_inputs_are_not_modified_and_may_be_read_only_lists_integers_or_in_any_order(function):
    X, y = np.round(4 * X0), np.round(4 * Y0)
    kept = X.copy(), y.copy()
    X.flags.writeable = y.flags.writeable = False
    groups, weights = [np.array(g) for g in GROUPS], np.array([1.0, 2.0, 0.5])
    extra = {"weights": weights} if function in GROUPED else {}
    reference = result(call(function, X=X, y=y, groups=groups, **extra))
    assert np.array_equal(X, kept[0]) and np.array_equal(y, kept[1])
    assert all(np.array_equal(g, h) for g, h in zip(groups, GROUPS)) and np.array_equal(weights, [1, 2, 0.5])
    for other in (
        (np.asfortranarray(X), y),
        (np.repeat(X, 2, axis=1)[:, ::2], np.repeat(y, 3)[::3]),
        (X.tolist(), y.tolist()),
        (X.astype(np.int8), y.astype(np.int64)),
        (X.astype(np.float16), y),
    ):
        again = result(call(function, X=other[0], y=other[1], groups=groups, **extra))
        np.testing.assert_allclose(again, reference, rtol=1e-6, atol=1e-9)
        assert np.asarray(again).dtype == np.float64


# The splitting methods with a constraint return what ADMM computed, float64; a bound is a Python float.
TYPED = [f for f in REGRESSIONS if not re.search("lambda_max|least_squares_", f.__name__)]


@pytest.mark.parametrize("function", **names(TYPED))
def test_float32_stays_float32_and_float64_where_the_two_meet(function):
    X, y = X0.astype(np.float32), Y0.astype(np.float32)
    single = result(call(function, X=X, y=y))
    assert single.dtype == np.float32
    if single.shape == (5,):  # the kinks of a path are those of the rounded numbers
        np.testing.assert_allclose(single, result(call(function)), atol=1e-4)
    assert result(call(function, X=X, y=Y0)).dtype == np.float64


def result(solution):
    for attribute in ("beta", "z"):
        solution = getattr(solution, attribute, solution)
    return solution


def test_all_columns_zero():
    for function in REGRESSIONS:
        if function is not textbook.normal_equations:
            assert not np.any(result(call(function, X=np.zeros((7, 5))))), function.__name__


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
def test_huge_and_tiny_numbers_are_finite(scale):
    X, y = as_regression(scale * X0, scale * Y0)
    np.testing.assert_array_equal(X, scale * X0)
    with pytest.raises(ValueError, match=r"got inf at X\[1, 1\]"):
        as_regression(changed(scale * X0, (1, 1), math.inf), Y0)


def test_what_the_helpers_return():
    assert as_lam(np.float32(0.5)) == 0.5 and as_lam(math.inf) == math.inf and as_lam(3) == 3.0
    assert as_count(np.int64(3), "k") == 3 and as_positive(2, "rho") == 2.0
    np.testing.assert_array_equal(as_lams([0.1, 3, math.inf]), [math.inf, 3, 0.1])
    np.testing.assert_array_equal(as_weights(None, [[0], [1]]), [1, 1])
    assert [g.tolist() for g in as_groups(((1, 0), range(2, 4)), 4)] == [[1, 0], [2, 3]]
    assert as_floats([True, False], "x").dtype == np.float64
    assert as_iterations(np.int64(7), "max_iter") == 7 and as_iterations(10**9, "max_iter") == 10**9
    with pytest.raises(TypeError, match="expected lams to be a sequence of real numbers, got ndarray"):
        as_lams(np.array(0.1))
    with pytest.raises(TypeError, match="expected lams to be a sequence of real numbers, got float"):
        as_lams(0.1)
