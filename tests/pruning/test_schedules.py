import numpy as np
import pytest

from pruning import schedules


def test_geometric_deletes_the_same_share_of_the_survivors_each_round():
    left = 1 - np.array([0, *schedules.geometric(0.9, 5)])
    np.testing.assert_allclose(left[1:] / left[:-1], 0.1 ** (1 / 5))
    assert schedules.geometric(0.9, 5)[-1] == 0.9


def test_cubic_starts_fast_and_ends_slowly():
    steps = np.diff([0.1, *schedules.cubic(0.9, 4, initial=0.1)])
    assert np.all(np.diff(steps) < 0)
    np.testing.assert_allclose(schedules.cubic(0.8, 2), [0.8 * (1 - 0.5**3), 0.8])


@pytest.mark.parametrize("schedule", [schedules.geometric, schedules.cubic])
def test_corner_cases_and_bad_input(schedule):
    assert schedule(0.5, 1) == [0.5]
    assert schedule(1, 3)[-1] == 1
    with pytest.raises(ValueError, match="sparsity from 0 to 1"):
        schedule(1.5, 3)
    with pytest.raises(ValueError, match="at least one round, got 0"):
        schedule(0.5, 0)


def test_weights_left_fall_as_the_formula_says():
    assert [schedules.weights_left(10000, 100, r) for r in (0, 0.25, 0.5, 1)] == [10000, 3162, 1000, 100]
    assert [schedules.weights_left(10000, 100, r, power=2) for r in (0, 0.5, 1)] == [10000, round(100 * 100**0.25), 100]
    left = [schedules.weights_left(10000, 100, r, power=1.5) for r in np.linspace(0, 1, 11)]
    np.testing.assert_allclose(np.log(left), np.log(100) + np.log(100) * (1 - np.linspace(0, 1, 11)) ** 1.5, atol=5e-3)
