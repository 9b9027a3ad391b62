import math

import numpy as np
import pytest

from pruning import schedules


def test_geometric_deletes_the_same_share_of_the_survivors_each_round():
    left = 1 - np.array([0, *schedules.geometric(0.9, 5)])
    np.testing.assert_allclose(left[1:] / left[:-1], 0.1 ** (1 / 5))
    assert schedules.geometric(0.9, 5)[-1] == 0.9


def test_corner_cases_and_bad_input():
    assert schedules.geometric(0.5, 1) == [0.5]
    assert schedules.geometric(1, 3)[-1] == 1
    with pytest.raises(ValueError, match="sparsity from 0 to 1"):
        schedules.geometric(1.5, 3)
    with pytest.raises(ValueError, match="at least one round, got 0"):
        schedules.geometric(0.5, 0)
    for rounds in (10001, 10**6, 2**63):
        with pytest.raises(ValueError, match=f"expected at most 10000 rounds, got {rounds}"):
            schedules.geometric(0.5, rounds)
    for rounds in (2.5, math.inf, "3", None):
        with pytest.raises(TypeError, match=f"expected a whole number of rounds, got {rounds!r}"):
            schedules.geometric(0.5, rounds)
    assert len(schedules.geometric(0.5, np.int64(10000))) == 10000


def test_cubic_falls_as_the_formula_says_and_ends_without_a_slope():
    found = schedules.cubic(0.9, 10, initial=0.1)
    np.testing.assert_allclose(found, [0.9 - 0.8 * (1 - i / 10) ** 3 for i in range(1, 11)], rtol=1e-14)
    steps = np.diff([0.1, *found])
    assert found[-1] == 0.9 and (np.diff(steps) < 0).all() and steps[-1] < 0.001
    assert schedules.cubic(0.5, 1) == [0.5]
    for arguments, message in (
        ((1.5, 3), "sparsity from 0 to 1"),
        ((0.5, 3, -0.1), "sparsity from 0 to 1"),
        ((0.5, 3, 0.6), r"^expected an initial sparsity of at most the final 0\.5, got 0\.6$"),
        ((0.5, 0), "at least one round, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            schedules.cubic(*arguments)


def test_weights_left_refuses_what_is_no_schedule():
    for start, keep, r, power in (
        (10, 0, 0.5, 1),
        (10, 11, 0.5, 1),
        (10, 5, -0.1, 1),
        (10, 5, 1.1, 1),
        (math.inf, 5, 0.5, 1),
    ):
        with pytest.raises(ValueError, match="expected 1 <= keep <= start, a share from 0 to 1 and a positive power"):
            schedules.weights_left(start, keep, r, power)
    for r, power in ((math.nan, 1), (0.5, 0), (0.5, -1), (0.5, math.nan)):
        with pytest.raises(ValueError, match=r"got start 10, keep 5, share .* and power"):
            schedules.weights_left(10, 5, r, power)


def test_weights_left_fall_as_the_formula_says():
    assert [schedules.weights_left(10000, 100, r) for r in (0, 0.25, 0.5, 1)] == [10000, 3162, 1000, 100]
    assert [schedules.weights_left(10000, 100, r, power=2) for r in (0, 0.5, 1)] == [10000, round(100 * 100**0.25), 100]
    left = [schedules.weights_left(10000, 100, r, power=1.5) for r in np.linspace(0, 1, 11)]
    np.testing.assert_allclose(np.log(left), np.log(100) + np.log(100) * (1 - np.linspace(0, 1, 11)) ** 1.5, atol=5e-3)
