"""textbook.norms: every p of the lecture, and which of them are norms."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from textbook.norms import lp_norm, unit_ball

X = np.array([[3.0, 0.0, -4.0], [0.0, 12.0, 0.0]])
PS = [0.25, 0.5, 1, 1.5, 2, 3, 7, math.inf]


@pytest.mark.parametrize(
    ("p", "value"),
    [
        (0, 3),
        (0.5, (math.sqrt(3) + 2 + math.sqrt(12)) ** 2),
        (1, 19),
        (2, 13),
        (3, (27 + 64 + 1728) ** (1 / 3)),
        (math.inf, 12),
    ],
)
def test_values_of_the_lecture(p, value):
    assert lp_norm(X, p) == pytest.approx(value, rel=1e-15)
    assert isinstance(lp_norm(X, p), float)


@pytest.mark.parametrize("p", [0, *PS])
def test_all_libraries_agree(p, library):
    x = np.random.default_rng(0).standard_normal((5, 7))
    assert lp_norm(library.xp.asarray(x), p) == pytest.approx(lp_norm(x, p), rel=1e-14)


@pytest.mark.parametrize("p", [0.5, 1, 2, 3, math.inf])
@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
def test_no_square_overflows_or_vanishes(p, scale):
    assert lp_norm(scale * X, p) == pytest.approx(scale * lp_norm(X, p), rel=1e-13)


def test_edges():
    for p in (0, *PS):
        assert lp_norm([0, 0], p) == 0
        assert lp_norm(np.zeros((0,)), p) == 0
        assert lp_norm(np.array([0, -7]), p) == (1 if p == 0 else 7)
    assert lp_norm([1, 1], 1e-3) == pytest.approx(2**1000, rel=1e-12)
    assert lp_norm([1, 1], 1e-4) == math.inf
    # The limits of a p that is next to nothing: one nonzero is its own norm, two have one beyond the floats.
    assert lp_norm([0, -3.0], 1e-320) == 3 and lp_norm([0.5, -3.0], 1e-320) == math.inf
    assert lp_norm([0.5, -3.0], 1e308) == 3


vectors = arrays(np.float64, 5, elements=st.floats(-1e6, 1e6, allow_subnormal=False))


@given(vectors, vectors, st.sampled_from([1, 1.5, 2, 3, 7, math.inf]), st.floats(-1e3, 1e3, allow_subnormal=False))
def test_from_p_1_on_it_is_a_norm(x, y, p, a):
    assert lp_norm(x + y, p) <= (lp_norm(x, p) + lp_norm(y, p)) * (1 + 1e-12)
    assert lp_norm(a * x, p) == pytest.approx(abs(a) * lp_norm(x, p), rel=1e-12, abs=1e-300)
    assert (lp_norm(x, p) == 0) == (not x.any())


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_below_1_the_triangle_inequality_fails(p):
    assert lp_norm([1, 1], p) == pytest.approx(2 ** (1 / p), rel=1e-13)
    assert lp_norm([1, 1], p) > lp_norm([1, 0], p) + lp_norm([0, 1], p)


def test_the_count_is_no_norm():
    x = np.array([2.0, 0.0, -3.0])
    assert lp_norm(2 * x, 0) == lp_norm(x, 0) == 2


def test_the_count_is_none_of_the_sums_and_maxima_of_the_quiz():
    x = np.array([0.5, 0.0, -3.0])
    assert lp_norm(x, 0) == 2
    assert lp_norm(x, 0) not in (np.sum(x), np.max(x), np.sum(np.abs(x)))  # answers A, B, C


def test_the_count_is_a_limit_of_the_sum_and_not_of_its_root():
    x = np.array([2.0, 0.0, -3.0])
    p = 1e-9
    assert np.sum(np.abs(x[x != 0]) ** p) == pytest.approx(lp_norm(x, 0), abs=1e-8)
    assert lp_norm(x, 0.01) > 1e30  # the root goes to infinity


@given(vectors)
def test_norms_fall_with_p_down_to_the_largest_entry(x):
    values = [lp_norm(x, p) for p in PS]
    assert all(a >= b * (1 - 1e-12) for a, b in itertools.pairwise(values))
    assert lp_norm(x, 1000) == pytest.approx(lp_norm(x, math.inf), rel=2e-3)


@pytest.mark.parametrize("p", [0.3, 0.5, 1, 2, 4, math.inf])
def test_the_points_of_a_unit_ball_have_norm_1(p):
    ball = unit_ball(p, 81)
    assert ball.shape == (2, 81)
    np.testing.assert_allclose([lp_norm(point, p) for point in ball.T], 1, rtol=1e-13)
    np.testing.assert_allclose(ball[:, -1], ball[:, 0], atol=1e-15)
    assert {tuple(point) for point in ball.T[::20].round(15)} == {(1, 0), (0, 1), (-1, 0), (0, -1)}
    corner = 2 ** (-1 / p)
    np.testing.assert_allclose(ball[:, 10], [corner, corner], rtol=1e-13)
    angle = np.unwrap(np.arctan2(ball[1], ball[0]))
    assert (np.diff(angle) > 0).all() and angle[-1] == pytest.approx(2 * np.pi)


@pytest.mark.parametrize(
    ("x", "p", "error", "message"),
    [
        ([1.0], -1, ValueError, "expected p of at least 0, got -1"),
        ([1.0], math.nan, ValueError, "expected p of at least 0, got nan"),
        ([1.0], "2", TypeError, "expected p to be a real number, got str"),
        ([1.0], True, TypeError, "expected p to be a real number, got bool"),
        ([1.0, math.nan], 2, ValueError, r"expected finite numbers, got nan at x\[1\]"),
        ([1j], 2, ValueError, "expected x to hold real numbers"),
        ("12", 2, TypeError, "expected x to be an array, got str"),
    ],
)
def test_bad_input(x, p, error, message):
    with pytest.raises(error, match=message):
        lp_norm(x, p)


def test_bad_balls():
    with pytest.raises(ValueError, match=r"expected p above 0, got 0: .* two axes"):
        unit_ball(0)
    with pytest.raises(ValueError, match="at least 2 points, got 1"):
        unit_ball(2, points=1)
    with pytest.raises(ValueError, match="expected points from 0 to 1000000, got 1000001"):
        unit_ball(2, points=1_000_001)
    with pytest.raises(TypeError, match="expected points to be an integer, got float"):
        unit_ball(2, points=10.0)
    with pytest.raises(TypeError, match="expected p to be a real number, got list"):
        unit_ball([1, 2])
    with pytest.raises(ValueError, match="p of at least 0, got -2"):
        unit_ball(-2)
