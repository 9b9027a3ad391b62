import math
from decimal import Decimal, localcontext

import numpy as np
import pytest

import nn
from nn import gradcheck

ACTIVATIONS = [nn.Identity, nn.ReLU, nn.Sigmoid, nn.Tanh, nn.ScaledTanh, nn.Softplus]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_f_df_d2f_are_derivatives_of_each_other(activation):
    a = np.linspace(-6, 6, 38)  # no exact zero: a ReLU has no second derivative there
    f, step = activation(), gradcheck.COMPLEX_STEP
    np.testing.assert_allclose(np.imag(f.f(a + 1j * step)) / step, f.df(a), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(np.imag(f.df(a + 1j * step)) / step, f.d2f(a), rtol=1e-12, atol=2e-15)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_no_nan_and_no_warning_far_out(activation):
    a = np.array([-800.0, -40.0, -20.0, 0.0, 20.0, 40.0, 800.0])
    f = activation()
    for values in (f.f(a), f.df(a), f.d2f(a)):
        assert np.all(np.isfinite(values))


def test_values():
    a = np.array([-2.0, 0.0, 3.0])
    np.testing.assert_array_equal(nn.ReLU().f(a), [0, 0, 3])
    np.testing.assert_array_equal(nn.ReLU().df(a), [0, 0, 1])
    np.testing.assert_allclose(nn.Sigmoid().f(a), 1 / (1 + np.exp(-a)), rtol=1e-15)
    np.testing.assert_allclose(nn.Softplus().f(a), np.log(1 + np.exp(a)), rtol=1e-14)
    np.testing.assert_allclose(nn.ScaledTanh().f(np.array([1.0, -1.0])), [1, -1], atol=1e-4)


def test_sigmoid_and_softplus_keep_their_digits_in_the_tails():
    a = np.array([-40.0, -100.0])
    np.testing.assert_allclose(nn.Sigmoid().f(a), np.exp(a), rtol=1e-14)
    np.testing.assert_allclose(nn.Softplus().f(a), np.exp(a), rtol=1e-14)
    np.testing.assert_allclose(nn.Sigmoid().df(-a), np.exp(a), rtol=1e-14)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_float32_stays_float32(activation):
    a = np.linspace(-3, 3, 10, dtype=np.float32).reshape(5, 2)
    f = activation()
    gx, hx = f.backward_hessian(f.forward(a), a)
    _, Hx = f.backward_hessian_full(a, np.ones((5, 5, 2), np.float32))
    assert {f.f(a).dtype, f.df(a).dtype, f.d2f(a).dtype, gx.dtype, hx.dtype, Hx.dtype} == {np.dtype(np.float32)}


def in_decimals(name, a):
    """f' and f'' with 700 digits, from their definitions by exponentials alone."""
    with localcontext() as context:
        context.prec = 700  # 1 - tanh(300)^2 is 1e-260, sinh(1e-300) 1e-300
        a = Decimal(a)
        if name in ("Tanh", "ScaledTanh"):
            A, S = (Decimal(1), Decimal(1)) if name == "Tanh" else (Decimal(nn.ScaledTanh.A), Decimal(nn.ScaledTanh.S))
            p, q = (S * a).exp(), (-S * a).exp()
            y = (p - q) / (p + q)
            slope = 4 / (p + q) ** 2
            return A * S * slope, -2 * A * S * S * y * slope
        y = 1 / (1 + (-a).exp())
        slope = y * (1 - y)
        return (y, slope) if name == "Softplus" else (slope, slope * (1 - 2 * y))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ScaledTanh, nn.Sigmoid, nn.Softplus])
def test_derivatives_keep_their_digits_until_they_underflow(activation, dtype):
    """1 - tanh(a)^2 is 0 at a = 20, where it should be 4 exp(-40); f(-a) - f(a) has no digits left near a = 0."""
    a = np.array([1e-300, 1e-8, 1e-3, 0.3, 1.0, 3.0, 9.0, 19.0, 30.0, 80.0, 300.0])
    a = np.concatenate([-a, a]).astype(dtype)
    a = a[(np.abs(a) < (30 if dtype == np.float32 else 301)) & (np.abs(a) > np.finfo(dtype).tiny)]
    f = activation()
    for ours, reference in zip(
        (f.df(a), f.d2f(a)), zip(*(in_decimals(activation.__name__, float(each)) for each in a))
    ):
        # The argument is rounded before exp is taken: |a| eps is what a rounding of a alone changes.
        bound = (4 * np.abs(a.astype(float)) + 16) * float(np.finfo(dtype).eps)
        for value, true, tolerance in zip(ours, reference, bound):
            assert abs(Decimal(float(value)) - true) <= Decimal(tolerance) * abs(true)


def test_autograd_of_softplus_and_sigmoid_at_zero_where_their_two_branches_meet():
    torch = pytest.importorskip("torch", reason="torch is not installed (extra verify)")
    for activation, slope in ((nn.Softplus, 0.5), (nn.Sigmoid, 0.25), (nn.Tanh, 1.0), (nn.ReLU, 0.0)):
        a = torch.zeros((2, 3), dtype=torch.float64, requires_grad=True)
        (g,) = torch.autograd.grad(activation().forward(a).sum(), a)
        np.testing.assert_array_equal(g.numpy(), np.full((2, 3), slope))
        np.testing.assert_array_equal(activation().df(np.zeros((2, 3))), np.full((2, 3), slope))
    assert math.isclose(nn.Softplus().f(np.zeros(1))[0], math.log(2), rel_tol=1e-15)
