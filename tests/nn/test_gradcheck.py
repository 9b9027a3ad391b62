import numpy as np
import pytest
from cases import CASES

from nn import gradcheck


def test_complex_step_and_central_difference_of_a_known_function():
    u = np.array([[0.3, -1.2, 2.0]])
    truth = np.cos(u) * np.exp(np.sin(u))
    f = lambda z: np.sum(np.exp(np.sin(z)))  # noqa: E731
    assert gradcheck.relative_error(gradcheck.complex_step(f, u), truth) < 1e-15
    assert 1e-12 < gradcheck.relative_error(gradcheck.central_difference(f, u), truth) < 1e-9


def test_array_valued_functions_give_jacobians():
    A = np.random.default_rng(0).standard_normal((5, 3))
    J = gradcheck.complex_step(lambda u: A @ u, np.ones(3))
    np.testing.assert_allclose(J, A.T, rtol=1e-15)


def test_hessian_by_differences_is_symmetric_and_puts_the_net_back():
    net, loss, x, t = CASES[7].build()
    u = gradcheck.flat(net)
    H = gradcheck.hessian_by_differences(net, loss, x, t)
    assert gradcheck.relative_error(H, H.T) < 1e-13
    np.testing.assert_array_equal(gradcheck.flat(net), u)
    central = gradcheck.hessian_by_differences(net, loss, x, t, method=gradcheck.central_difference)
    assert 1e-12 < gradcheck.relative_error(central, H) < 1e-7


def test_relative_error_of_zeros():
    assert gradcheck.relative_error(np.zeros(3), np.zeros(3)) == 0
    assert gradcheck.relative_error(np.ones(3), np.zeros(3)) == np.inf


def test_relative_error_does_not_broadcast():
    with pytest.raises(ValueError, match=r"one shape, got \(3, 1\) and \(3,\)"):
        gradcheck.relative_error(np.ones((3, 1)), np.ones(3))


def test_differences_of_float32_are_taken_in_float32():
    seen = []
    gradcheck.central_difference(lambda u: seen.append(u.dtype) or np.sum(u), np.ones(3, np.float32))
    assert set(seen) == {np.dtype(np.float32)}


def test_a_vector_of_the_wrong_length_is_refused():
    net = CASES[0].build()[0]
    with pytest.raises(ValueError, match="vector of 16 numbers for this net, got 3"):
        gradcheck.set_flat(net, np.zeros(3))


def test_second_differences_are_the_diagonal_of_the_hessian_and_leave_the_parameters():
    net, loss, x, t = next(case for case in CASES if case.name == "tanh-2-hidden-sse").build()
    H = np.diag(gradcheck.hessian_by_differences(net, loss, x, t))
    u = gradcheck.flat(net)
    parts = [
        gradcheck.second_differences(lambda: loss.forward(net.forward(x), t), parameter.data).ravel()
        for parameter in net.parameters()
    ]
    assert gradcheck.relative_error(np.concatenate(parts), H) < 1e-5
    np.testing.assert_array_equal(gradcheck.flat(net), u)
