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
