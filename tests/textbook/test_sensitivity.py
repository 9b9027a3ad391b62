"""textbook.sensitivity: forward differences, their error, and the step that f sees."""

import math

import numpy as np
import pytest

from textbook.sensitivity import local_sensitivity


def f(x):
    return np.exp(x[0]) * np.sin(x[1]) + x[2] ** 3


AT = np.array([0.3, 0.7, 1.1])
GRADIENT = np.array([np.exp(0.3) * np.sin(0.7), np.exp(0.3) * np.cos(0.7), 3 * 1.1**2])


def test_the_error_of_the_slide_formula_falls_with_the_step_and_rises_again():
    errors = {h: np.abs(local_sensitivity(f, AT, h) - GRADIENT).max() for h in (1e-2, 1e-4, 1e-8, 1e-12)}
    assert errors[1e-2] == pytest.approx(1e-2 / 2 * 6 * 1.1, rel=0.01)  # step/2 times f'' of the third parameter
    assert errors[1e-2] / errors[1e-4] == pytest.approx(100, rel=0.02)
    assert errors[1e-8] < 1e-7 < errors[1e-12]


def test_it_is_the_forward_difference_and_a_negative_step_the_backward_one():
    np.testing.assert_array_equal(local_sensitivity(lambda x: x[0] ** 2, [1.0], 0.5), [2.5])  # (1.5^2 - 1) / 0.5
    np.testing.assert_array_equal(local_sensitivity(lambda x: x[0] ** 2, [1.0], -0.5), [1.5])  # (0.5^2 - 1) / -0.5


def test_the_mean_of_both_directions_is_the_central_difference():
    for h in (1e-2, 1e-3):
        central = (local_sensitivity(f, AT, h) + local_sensitivity(f, AT, -h)) / 2
        expected = [(f(AT + h * e) - f(AT - h * e)) / (2 * h) for e in np.eye(3)]
        np.testing.assert_allclose(central, expected, rtol=1e-11)
        assert np.abs(central - GRADIENT).max() == pytest.approx(h * h, rel=0.01)  # step^2/6 times 6


def test_sensitivity_takes_one_step_a_parameter_and_leaves_x_alone():
    x = AT.copy()
    S = local_sensitivity(f, x, [1e-2, 1e-3, 1e-4])
    for i, h in enumerate((1e-2, 1e-3, 1e-4)):
        assert S[i] == local_sensitivity(f, x, h)[i]
    assert np.array_equal(x, AT)

    def spoils(z):
        value = f(z)
        z[:] = 0
        return value

    np.testing.assert_array_equal(local_sensitivity(spoils, x, 1e-3), local_sensitivity(f, x, 1e-3))
    # At 1e8 the step 1e-8 is rounded to 1.49e-8: dividing by what was taken is exact for a linear function.
    assert local_sensitivity(lambda z: 2 * z[0], [1e8], 1e-8) == 2


@pytest.mark.parametrize(
    ("x", "step", "error", "message"),
    [
        (AT, 0, ValueError, r"expected a step that changes x\[0\] = 0\.3, got 0"),
        (np.array([1e20, 1.0]), 1, ValueError, r"expected a step that changes x\[0\] = 1e\+20, got 1"),
        (AT, [1, 2], ValueError, r"expected one step or 3 of them, got shape \(2,\)"),
        (AT, math.nan, ValueError, "expected finite numbers, got nan at step"),
        ([[1.0]], 1, ValueError, r"expected a vector x, got shape \(1, 1\)"),
        ([math.inf], 1, ValueError, r"got inf at x\[0\]"),
        ("abc", 1, TypeError, "expected x to be an array, got str"),
        (AT, "1", TypeError, "expected step to hold real numbers"),
    ],
)
def test_bad_sensitivities(x, step, error, message):
    with pytest.raises(error, match=message):
        local_sensitivity(np.sum, x, step)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (None, "expected a function f, got NoneType"),
        (lambda x: x, "expected f to return one real number, got array"),
        (lambda x: None, "expected f to return one real number, got None"),
        (lambda x: "1", "expected f to return one real number, got '1'"),
        (lambda x: 1j, "expected f to return one real number, got 1j"),
    ],
)
def test_bad_functions(function, message):
    with pytest.raises(TypeError, match=message):
        local_sensitivity(function, AT, 0.1)
