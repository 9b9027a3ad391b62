import numpy as np
import pytest
from cases import CASES

import nn
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


class Stop(Exception):
    pass


def stopping(f, after):
    """f, which stops at its call number `after`."""
    calls = []

    def counted(*arguments):
        calls.append(None)
        if len(calls) > after:
            raise Stop
        return f(*arguments)

    return counted


def everything(net):
    arrays = [array for p in net.parameters() for array in (p.data, p.grad)]
    return [*arrays, *(buffer for _, buffer in net.named_buffers())]


def normed_net():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(3, 4, rng), nn.BatchNorm(4), nn.Tanh(), nn.Linear(4, 2, rng))
    x, t = rng.standard_normal((3, 5)), rng.standard_normal((2, 5))
    loss = nn.SquaredError()
    loss.forward(net.forward(x), t)
    net.backward(loss.backward())
    return net, loss, x, t


@pytest.mark.parametrize("method", [gradcheck.complex_step, gradcheck.central_difference])
@pytest.mark.parametrize("check", [gradcheck.gradient_by_differences, gradcheck.hessian_by_differences])
@pytest.mark.parametrize("after", [0, 7, 10**6])
def test_a_check_that_is_stopped_or_ends_leaves_the_net_as_it_was(method, check, after):
    net, loss, x, t = normed_net()
    before, copies = everything(net), [array.copy() for array in everything(net)]
    net.forward = stopping(net.forward, after)
    if after < 10**6:
        with pytest.raises(Stop):
            check(net, loss, x, t, method)
    else:
        check(net, loss, x, t, method)
    assert all(now is then for now, then in zip(everything(net), before, strict=True))
    for now, then in zip(before, copies):
        np.testing.assert_array_equal(now, then)


def test_a_check_that_is_stopped_on_the_way_to_the_data_leaves_the_net_as_it_was():
    net, loss, x, t = normed_net()
    before, size = everything(net), gradcheck.flat(net).size
    net.forward = stopping(net.forward, size + 4)
    with pytest.raises(Stop):
        gradcheck.gradient_by_differences(net, loss, x, t)
    assert all(now is then for now, then in zip(everything(net), before, strict=True))


@pytest.mark.parametrize("after", [0, 1, 2, 5])
def test_second_differences_that_are_stopped_leave_the_array_as_it_was(after):
    u = np.array([[0.3, -1.2, 2.0]])
    with pytest.raises(Stop):
        gradcheck.second_differences(stopping(lambda: np.sum(u**4), after), u)
    np.testing.assert_array_equal(u, [[0.3, -1.2, 2.0]])


@pytest.mark.parametrize("eps", [0, 0.0, -1e-5, np.nan, np.inf, None, "1e-5", 1j])
def test_a_step_that_is_none_is_refused(eps):
    u = np.ones(3)
    with pytest.raises(ValueError, match=r"^expected a step above 0, got "):
        gradcheck.central_difference(np.sum, u, eps)
    with pytest.raises(ValueError, match=r"^expected a step above 0, got "):
        gradcheck.second_differences(lambda: np.sum(u), u, eps)
    np.testing.assert_array_equal(u, 1)


@pytest.mark.parametrize(("u", "eps"), [([1.0, 2e15], 1e-5), ([1.0], 1e-17), ([np.inf], 1.0)])
def test_a_step_that_is_lost_beside_an_entry_is_refused(u, eps):
    u = np.array(u)
    for call in (
        lambda: gradcheck.central_difference(np.sum, u, eps),
        lambda: gradcheck.second_differences(lambda: np.sum(u), u, eps),
    ):
        with pytest.raises(ValueError, match=r"^expected a step that moves every entry, got "):
            call()


def test_numpy_scalars_as_steps_leave_float32_as_it_is():
    seen, u = [], np.ones(3, np.float32)
    gradcheck.central_difference(lambda v: seen.append(v.dtype) or np.sum(v), u, np.float64(1e-2))
    assert set(seen) == {np.dtype(np.float32)}
    assert gradcheck.second_differences(lambda: np.sum(u**2), u, np.float64(1e-2)).dtype == np.float32


def test_arrays_of_the_wrong_kind_are_one_sentence():
    net, loss, x, t = CASES[3].build()
    for wrong in ([1.0, 2.0], None, 3.0):
        for call in (
            lambda u: gradcheck.complex_step(np.sum, u),
            lambda u: gradcheck.central_difference(np.sum, u),
            lambda u: gradcheck.second_differences(lambda: 0.0, u),
            lambda u: gradcheck.set_flat(net, u),
        ):
            with pytest.raises(
                TypeError, match=rf"^expected an? (NumPy array|array of NumPy.*), got {type(wrong).__name__}"
            ):
                call(wrong)
    for f in (gradcheck.complex_step, gradcheck.central_difference):
        with pytest.raises(ValueError, match=r"expected at least one number to differentiate by, got shape \(0, 3\)"):
            f(np.sum, np.ones((0, 3)))
    with pytest.raises(ValueError, match="expected real numbers to take the complex step from, got complex128"):
        gradcheck.complex_step(np.sum, np.ones(2, complex))
    u = np.array([1, 2])
    for wrong in (u, u > 1, u * 1j):
        with pytest.raises(
            ValueError, match="expected real floating-point numbers, to which a step can be added, got "
        ):
            gradcheck.second_differences(lambda: 0.0, wrong)
    np.testing.assert_array_equal(
        gradcheck.central_difference(np.sum, u), gradcheck.central_difference(np.sum, 1.0 * u)
    )
    before = gradcheck.flat(net)
    with pytest.raises(ValueError, match=r"expected a vector of 44 numbers for this net, got shape \(44, 2\)"):
        gradcheck.set_flat(net, np.ones((44, 2)))
    with pytest.raises(ValueError, match="expected floating-point numbers, got int64"):
        gradcheck.set_flat(net, np.ones(44, int))
    np.testing.assert_array_equal(gradcheck.flat(net), before)


def test_what_a_net_does_not_have_is_one_sentence():
    net = CASES[3].build()[0]
    for what in ("grad", "hess_diag", "mask", "weights"):
        with pytest.raises(ValueError, match=rf"expected data, or what a sweep .* 1\.W has no {what}$"):
            gradcheck.flat(net, what)
    for call in (gradcheck.flat, lambda net: gradcheck.set_flat(net, np.ones(3))):
        with pytest.raises(TypeError, match="expected a net, got list"):
            call([])
        with pytest.raises(ValueError, match="expected a net with parameters, got one without"):
            call(nn.Sequential(nn.Tanh()))


def test_relative_error_takes_lists_and_does_not_wrap_on_integers():
    assert gradcheck.relative_error([3.0, 4.0], [3.0, 4.0]) == 0
    assert gradcheck.relative_error(np.array([1], np.uint8), np.array([2], np.uint8)) == 0.5
    assert type(gradcheck.relative_error(np.ones(2, np.float32), np.ones(2, np.float32))) is float
