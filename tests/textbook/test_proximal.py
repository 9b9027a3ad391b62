"""textbook.proximal against brute force: every value on a grid, every support, every subset."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nn.backend import to_numpy
from textbook import proximal
from textbook.proximal import (
    group_soft_threshold,
    half_threshold,
    hard_threshold,
    keep_largest,
    keep_largest_columns,
    keep_largest_rows,
    project_l1_ball,
    soft_threshold,
)

PENALTIES = {
    "soft_threshold": np.abs,
    "hard_threshold": lambda x: (x != 0) * 1.0,
    "half_threshold": lambda x: np.sqrt(np.abs(x)),
}
GRID = np.linspace(-4, 4, 80001)  # steps of 1e-4, 0 among them


def objective(x, w, lam, penalty):
    return 0.5 * (x - w) ** 2 + lam * penalty(x)


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("lam", [0.0, 0.13, 0.7, 1.6])
def test_no_point_of_a_grid_is_better(name, lam):
    for w in (-3.1, -1.3, -0.7, -0.2, 0.0, 0.4, 1.1, 1.4, 2.9):
        x = float(getattr(proximal, name)(w, lam))
        on_grid = objective(GRID, w, lam, PENALTIES[name])
        assert objective(x, w, lam, PENALTIES[name]) <= on_grid.min() + 1e-15
        assert abs(x - GRID[on_grid.argmin()]) <= 1e-4
        assert (x == 0) == (GRID[on_grid.argmin()] == 0)


@given(st.floats(-10, 10), st.floats(0, 10))
def test_soft_threshold_satisfies_the_subgradient_condition(w, lam):
    x = float(soft_threshold(w, lam))
    if x == 0:
        assert abs(w) <= lam
    else:
        assert abs(x - w + lam * math.copysign(1, x)) <= 4e-15


def test_thresholds_exactly_at_the_threshold_give_zero():
    lam = 0.7
    T = 1.5 * math.cbrt(lam) ** 2
    for f, threshold in ((soft_threshold, lam), (hard_threshold, math.sqrt(2) * math.sqrt(lam)), (half_threshold, T)):
        for w in (threshold, -threshold):
            assert f(w, lam) == 0
            assert f(w * (1 + 1e-12), lam) != 0


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("lam", [0.0, 0.7, 1e300, math.inf])
def test_what_is_no_number_is_not_zero(name, lam):
    w = np.array([math.nan, 0.1, -math.nan])
    x = getattr(proximal, name)(w, lam)
    assert np.isnan(x).tolist() == [True, False, True]


def test_half_threshold_jumps_from_zero_to_lam_to_the_two_thirds():
    lam = 0.7
    T = 1.5 * lam ** (2 / 3)
    assert pytest.approx(1.182560, abs=1e-6) == T
    low, high = half_threshold(np.array([T - 1e-9, T + 1e-9]), lam)
    assert low == 0
    assert high == pytest.approx(lam ** (2 / 3), abs=1e-8) == pytest.approx(0.788374, abs=1e-6)
    # There, keeping and deleting cost the same; the hard threshold at the same lam is elsewhere.
    kept = objective(lam ** (2 / 3), T, lam, PENALTIES["half_threshold"])
    assert kept == pytest.approx(T * T / 2, rel=1e-14)
    assert pytest.approx(1.183216, abs=1e-6) == math.sqrt(2 * lam)


def test_half_threshold_solves_the_cubic():
    w = np.linspace(1.2, 100, 1001)
    t = np.sqrt(half_threshold(w, 0.7))
    assert np.abs(t**3 - w * t + 0.35).max() <= 1e-12


def test_the_printed_case_without_its_minus_sign_is_wrong():
    # The slide: "If x > 0, then w lam > 0 -> x = w - lam".
    w, lam = 0.4, 0.7
    printed = w - lam if w * lam > 0 else 0.0
    assert objective(printed, w, lam, np.abs) - objective(soft_threshold(w, lam), w, lam, np.abs) > 0.37


def test_without_the_half_the_threshold_is_half_of_lam():
    w, lam = 1.1, 0.7
    on_grid = (GRID - w) ** 2 + lam * np.abs(GRID)
    assert GRID[on_grid.argmin()] == pytest.approx(float(soft_threshold(w, lam / 2)), abs=1e-4)
    assert abs(GRID[on_grid.argmin()] - soft_threshold(w, lam)) > 0.3


# ---- groups ----------------------------------------------------------------------------------------------------------


@given(arrays(np.float64, 3, elements=st.integers(-99, 99).map(lambda i: i / 7)), st.floats(0, 20))
def test_group_soft_threshold_satisfies_the_optimality_condition(w, lam):
    x = group_soft_threshold(w, lam)
    if x.any():
        assert np.linalg.norm(x - w + lam * x / np.linalg.norm(x)) <= 1e-13
    else:
        assert np.linalg.norm(w) <= lam * (1 + 1e-14)


def test_group_soft_threshold_of_one_entry_is_the_soft_threshold_and_of_two_is_not():
    for w in (-2.0, -0.3, 0.0, 0.5, 1.4):
        assert group_soft_threshold([w], 0.5) == pytest.approx(soft_threshold([w], 0.5), abs=4e-16)
    block = np.array([[1.2, -0.1]])
    assert group_soft_threshold(block, 0.5).all()  # the small entry lives with the large one
    assert soft_threshold(block, 0.5)[0, 1] == 0


def test_group_soft_threshold_at_extreme_scales():
    for scale in (1e-200, 1e200):
        x = group_soft_threshold(scale * np.array([3.0, 4.0]), scale)
        np.testing.assert_allclose(x, scale * np.array([2.4, 3.2]), rtol=1e-14)
    assert not group_soft_threshold([3.0, 4.0], 5).any()
    assert not group_soft_threshold([0.0, 0.0], 0).any()


# ---- projections -----------------------------------------------------------------------------------------------------


def nearest_in_l1_ball(w, radius):
    """The best feasible point among those of every support and sign: where the ball's face has its nearest point."""
    best, distance = np.zeros_like(w), np.sum(w**2)
    for support in itertools.product([False, True], repeat=w.size):
        support = np.array(support)
        if support.any():
            x = np.zeros_like(w)
            x[support] = np.abs(w[support]) - (np.abs(w[support]).sum() - radius) / support.sum()
            if (x >= 0).all() and np.sum((np.abs(w) - x) ** 2) < distance:
                best, distance = np.copysign(x, w), np.sum((np.abs(w) - x) ** 2)
    return best


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("radius", [0.05, 1.0, 2.5])
def test_project_l1_ball_against_every_support(seed, radius):
    w = np.random.default_rng(seed).standard_normal(7).round(1)  # rounded: ties and zeros
    expected = w if np.abs(w).sum() <= radius else nearest_in_l1_ball(w, radius)
    x = project_l1_ball(w, radius)
    np.testing.assert_allclose(x, expected, atol=4e-15)
    assert np.abs(x).sum() <= radius * (1 + 1e-15)


@given(arrays(np.float64, 6, elements=st.floats(-10, 10)), st.floats(1e-6, 50))
def test_project_l1_ball_satisfies_the_variational_inequality(w, radius):
    x = project_l1_ball(w, radius)
    assert np.abs(x).sum() <= radius * (1 + 1e-14)
    # (w - x)^T (v - x) <= 0 at every corner v of the ball, hence in all of it.
    corners = radius * np.concatenate([np.eye(6), -np.eye(6)])
    assert ((corners - x) @ (w - x)).max() <= 1e-12 * (1 + radius) * (1 + np.abs(w).max())


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_project_l1_ball_of_the_largest_numbers(dtype):
    largest = float(np.finfo(dtype).max)
    np.testing.assert_array_equal(project_l1_ball(np.array([0.9 * largest, -1, 0.5], dtype), 1), [1, 0, 0])
    w = largest * np.array([0.75, -0.75, 0.5], dtype)
    np.testing.assert_allclose(project_l1_ball(w, largest), largest * np.array([5 / 12, -5 / 12, 1 / 6]), rtol=1e-6)
    np.testing.assert_array_equal(project_l1_ball(w, float(np.finfo(dtype).tiny) * 1e-6) != 0, [False] * 3)
    tiny = float(np.finfo(dtype).tiny) * np.array([3.0, 1.0], dtype)
    np.testing.assert_allclose(project_l1_ball(tiny, 2 * float(np.finfo(dtype).tiny)), tiny * [2 / 3, 0], rtol=1e-6)


def test_project_l1_ball_edges():
    w = np.array([[0.3, -0.4], [0.0, 0.1]])
    inside = project_l1_ball(w, 0.9)
    assert np.array_equal(inside, w) and inside is not w and not np.shares_memory(inside, w)
    assert np.array_equal(project_l1_ball(w, math.inf), w)
    assert not project_l1_ball(w, 0).any()
    assert project_l1_ball([1.0, 0.5], 1e-20).tolist() == [1e-20, 0]  # far below the rounding of 1
    assert project_l1_ball([-2.0, 2.0, 2.0], 1.5).tolist() == [-0.5, 0.5, 0.5]
    # Here rounding moves theta across 0.5: an entry that has left A must not come back.
    np.testing.assert_allclose(project_l1_ball([0.6, 0.4, -0.5, 0.5], 0.1), [0.1, 0, 0, 0], atol=1e-16)
    np.testing.assert_allclose(project_l1_ball([3e200, -1e200], 1e200), [1e200, 0])


@pytest.mark.parametrize("seed", range(5))
def test_keep_largest_against_every_subset(seed):
    w = np.random.default_rng(seed).standard_normal((2, 4)).round(1)
    for k in range(9):
        x = keep_largest(w, k)
        subsets = itertools.combinations(range(8), k)
        nearest = min(np.sum(np.delete(w.ravel(), list(kept)) ** 2) for kept in subsets)
        assert np.sum((w - x) ** 2) == pytest.approx(nearest, abs=1e-15)
        assert np.count_nonzero(x) <= k
        assert np.array_equal(x[x != 0], w[x != 0])


def test_ties_go_to_the_lowest_index():
    w = np.array([[1.0, -2.0, 2.0], [-2.0, 1.0, 2.0]])
    assert keep_largest(w, 2).tolist() == [[0, -2, 2], [0, 0, 0]]
    assert keep_largest(w, 3).tolist() == [[0, -2, 2], [-2, 0, 0]]
    assert keep_largest(w, 5).tolist() == [[1, -2, 2], [-2, 0, 2]]
    assert keep_largest([0.0, 0.0, 3.0], 2).tolist() == [0, 0, 3]
    assert keep_largest_rows(np.array([[3.0, 4], [5, 0], [0, -5]]), 2).tolist() == [[3, 4], [5, 0], [0, 0]]
    assert keep_largest_columns(np.array([[3.0, 5, 0], [4, 0, -5]]), 1).tolist() == [[3, 0, 0], [4, 0, 0]]


@pytest.mark.parametrize("seed", range(3))
def test_rows_and_columns_against_every_subset(seed):
    w = np.random.default_rng(seed).standard_normal((5, 3))
    for k in range(6):
        x = keep_largest_rows(w, k)
        nearest = min(np.sum(np.delete(w, kept, axis=0) ** 2) for kept in itertools.combinations(range(5), k))
        assert np.sum((w - x) ** 2) == pytest.approx(nearest, abs=1e-15)
        assert np.array_equal(keep_largest_columns(w.T, k), x.T)


def test_rows_at_extreme_scales():
    w = np.array([[3.0, 4], [5.1, 0], [1, 1]])
    for scale in (1e-200, 1e200):
        assert np.array_equal(keep_largest_rows(scale * w, 1) != 0, [[False, False], [True, False], [False, False]])
    assert not keep_largest_rows(np.zeros((3, 2)), 1).any()


# ---- all of them -----------------------------------------------------------------------------------------------------

CALLS = {
    **{name: (0.7,) for name in [*PENALTIES, "group_soft_threshold"]},
    "project_l1_ball": (2.5,),
    "keep_largest": (6,),
    "keep_largest_rows": (2,),
    "keep_largest_columns": (2,),
}
MATRIX = np.random.default_rng(3).standard_normal((5, 3))
MATRIX[1, 1] = MATRIX[3, 0] = 0


@pytest.mark.parametrize("name", CALLS)
def test_all_libraries_agree(name, library):
    f, before = getattr(proximal, name), library.xp.asarray(MATRIX)
    x = f(before, *CALLS[name])
    assert type(x) is type(before) and x.dtype == before.dtype and x.device == before.device
    np.testing.assert_allclose(to_numpy(x), f(MATRIX, *CALLS[name]), rtol=1e-12, atol=1e-14)
    assert np.array_equal(to_numpy(before), MATRIX)


@pytest.mark.parametrize("name", CALLS)
def test_types(name):
    f = getattr(proximal, name)
    single = f(MATRIX.astype(np.float32), *CALLS[name])
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, f(MATRIX, *CALLS[name]), atol=1e-6)
    whole = np.arange(-7, 8).reshape(5, 3)
    assert np.array_equal(f(whole, *CALLS[name]), f(whole.astype(float), *CALLS[name]))
    assert np.array_equal(f(whole.tolist(), *CALLS[name]), f(whole, *CALLS[name]))
    assert not np.signbit(f(MATRIX, *CALLS[name])[f(MATRIX, *CALLS[name]) == 0]).any() or "keep" in name


@pytest.mark.parametrize("name", [*PENALTIES, "group_soft_threshold"])
def test_no_and_infinite_lam(name):
    f = getattr(proximal, name)
    np.testing.assert_allclose(f(MATRIX, 0), MATRIX, rtol=1e-15)
    assert not f(MATRIX, math.inf).any()


@pytest.mark.parametrize("name", [*PENALTIES, "group_soft_threshold", "project_l1_ball"])
@pytest.mark.parametrize(
    ("lam", "error", "message"),
    [
        (-0.1, ValueError, r"of at least 0, got -0\.1"),
        (math.nan, ValueError, "of at least 0, got nan"),
        ("1", TypeError, "to be a real number, got str"),
        (None, TypeError, "to be a real number, got NoneType"),
        (1j, TypeError, "to be a real number, got complex"),
    ],
)
def test_bad_lam(name, lam, error, message):
    what = "radius" if name == "project_l1_ball" else "lam"
    with pytest.raises(error, match=f"expected {what} {message}"):
        getattr(proximal, name)(MATRIX, lam)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("w", [np.array([[1j, 0]]), "text", None, np.array([["a"]])])
def test_what_is_no_array_of_real_numbers_is_refused(name, w):
    with pytest.raises((TypeError, ValueError), match="expected"):
        getattr(proximal, name)(w, 1)


@pytest.mark.parametrize("name", ["keep_largest", "keep_largest_rows", "keep_largest_columns"])
def test_bad_k(name):
    f = getattr(proximal, name)
    n = {"keep_largest": 15, "keep_largest_rows": 5, "keep_largest_columns": 3}[name]
    for k in (-1, n + 1):
        with pytest.raises(ValueError, match=f"expected k from 0 to {n}, got {k}"):
            f(MATRIX, k)
    with pytest.raises(TypeError, match="expected k to be an integer, got float"):
        f(MATRIX, 2.0)
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="expected finite numbers"):
            f([[1.0, bad]], 1)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"expected a matrix w, got shape \(3,\)"):
        keep_largest_rows([1.0, 2, 3], 1)
    with pytest.raises(ValueError, match="at least one number"):
        keep_largest([], 0)
    with pytest.raises(ValueError, match="expected finite numbers"):
        project_l1_ball([1.0, math.nan], 1)
