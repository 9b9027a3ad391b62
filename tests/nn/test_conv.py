"""Convolution against torch, against scipy, and against its own adjoint."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import correlate2d

import nn
from nn import gradcheck

TOLERANCE = 1e-12


def random_case(seed):
    """A random layer and image: strides beyond the kernel and outputs of one pixel included."""
    rng = np.random.default_rng(seed)
    pair = lambda low, high: tuple(int(n) for n in rng.integers(low, high + 1, 2))  # noqa: E731
    kernel, stride, dilation = pair(1, 4), pair(1, 5), pair(1, 3)
    padding = (pair(0, 3), pair(0, 3))
    groups = int(rng.integers(1, 4))
    c_in, c_out = groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 4))
    size = []
    for k, d, (before, after) in zip(kernel, dilation, padding):
        smallest = max(1, d * (k - 1) + 1 - before - after)
        size.append(smallest + int(rng.integers(0, 6)))
    N = int(rng.integers(1, 4))
    conv = nn.Conv2d(c_in, c_out, kernel, rng, stride, padding, dilation, groups, bias=bool(rng.integers(0, 2)))
    if conv.b is not None:
        conv.b.data = rng.standard_normal(c_out)
    return conv, rng.standard_normal((c_in, *size, N)), rng


@pytest.mark.parametrize("seed", range(300))
def test_forward_and_gradients_equal_torch(seed, monkeypatch):
    torch = pytest.importorskip("torch", reason="torch is not installed (extra verify)")
    monkeypatch.setattr(nn.conv, "BLOCK", 1 if seed % 2 else 2**19)  # one output row a block, or one block
    conv, x, rng = random_case(seed)
    z = torch.from_numpy(np.moveaxis(x, -1, 0).copy()).requires_grad_()
    W = torch.from_numpy(conv.W.data.copy()).requires_grad_()
    b = None if conv.b is None else torch.from_numpy(conv.b.data.copy()).requires_grad_()
    (top, bottom), (left, right) = conv.geometry.padding
    padded = torch.nn.functional.pad(z, (left, right, top, bottom))
    geometry = conv.geometry
    a = torch.nn.functional.conv2d(padded, W, b, geometry.stride, 0, geometry.dilation, conv.groups)
    ours = conv.forward(x)
    ga = rng.standard_normal(ours.shape)
    gx = conv.backward(ga)
    wanted = [z, W] + ([] if b is None else [b])
    references = torch.autograd.grad(a, wanted, torch.from_numpy(np.moveaxis(ga, -1, 0).copy()))
    assert gradcheck.relative_error(ours, np.moveaxis(a.detach().numpy(), 0, -1)) <= TOLERANCE
    assert gradcheck.relative_error(gx, np.moveaxis(references[0].numpy(), 0, -1)) <= TOLERANCE
    assert gradcheck.relative_error(conv.W.grad, references[1].numpy()) <= TOLERANCE
    if b is not None:
        assert gradcheck.relative_error(conv.b.grad, references[2].numpy()) <= TOLERANCE


def test_it_is_the_correlation_of_scipy():
    rng = np.random.default_rng(0)
    conv = nn.Conv2d(2, 3, (3, 2), rng)
    x = rng.standard_normal((2, 7, 5, 4))
    a = conv.forward(x)
    for o in range(3):
        for n in range(4):
            reference = sum(correlate2d(x[c, :, :, n], conv.W.data[o, c], mode="valid") for c in range(2))
            np.testing.assert_allclose(a[o, :, :, n], reference, rtol=TOLERANCE, atol=1e-13)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=100)
def test_col2im_is_the_adjoint_of_im2col(seed):
    conv, x, rng = random_case(seed)
    g = conv.geometry
    cols = nn.im2col(x, g.kernel, g.stride, g.padding, g.dilation)
    c = rng.standard_normal(cols.shape)
    image = nn.col2im(c, x.shape, g.kernel, g.stride, g.padding, g.dilation)
    assert image.shape == x.shape
    scale = np.linalg.norm(cols) * np.linalg.norm(c)
    assert abs(np.sum(cols * c) - np.sum(x * image)) <= 1e-13 * scale


def test_im2col_by_hand():
    x = np.arange(2 * 3 * 3 * 2.0).reshape(2, 3, 3, 2)
    cols = nn.im2col(x, 2)
    assert cols.shape == (2 * 2 * 2, 2 * 2 * 2)
    for row, (c, kh, kw) in enumerate(np.ndindex(2, 2, 2)):
        for column, (oh, ow, n) in enumerate(np.ndindex(2, 2, 2)):
            assert cols[row, column] == x[c, oh + kh, ow + kw, n]


def test_col2im_is_not_the_inverse_of_im2col():
    x = np.ones((1, 3, 3, 1))
    overlaps = nn.col2im(nn.im2col(x, 2), x.shape, 2)
    np.testing.assert_array_equal(overlaps[0, :, :, 0], [[1, 2, 1], [2, 4, 2], [1, 2, 1]])


def test_the_result_does_not_depend_on_the_block_size(monkeypatch):
    conv, x, rng = random_case(7)
    results = []
    for block in (1, 100, 2**19):
        monkeypatch.setattr(nn.conv, "BLOCK", block)
        a = conv.forward(x)
        gx, hx = conv.backward_hessian(np.ones_like(a), np.ones_like(a))
        results.append([a, gx, hx, conv.W.grad, conv.W.hess_diag])
    for other in results[1:]:
        for ours, reference in zip(other, results[0]):
            np.testing.assert_allclose(ours, reference, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groups": 2}, "groups that divide 3 channels and 4 filters, got 2"),
        ({"stride": 0}, "of at least 1"),
        ({"padding": -1}, "padding of at least 0"),
        ({"kernel": 0}, "of at least 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        nn.Conv2d(3, 4, **{"kernel": 2, "rng": None, **arguments})


def test_bad_images():
    conv = nn.Conv2d(3, 4, 3, np.random.default_rng(0))
    with pytest.raises(ValueError, match="image of 2 x 5 is smaller than the kernel"):
        conv.forward(np.ones((3, 2, 5, 1)))
    with pytest.raises(ValueError, match="floating-point numbers, got uint8"):
        conv.forward(np.ones((3, 5, 5, 1), np.uint8))
    with pytest.raises(ValueError, match=r"expected images \(3, H, W, N\), got \(2, 5, 5, N\)"):
        conv.forward(np.ones((2, 5, 5, 1)))


@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_of_some_columns_is_one_whose_other_columns_are_zero(groups):
    rng = np.random.default_rng(0)
    geometry = {"kernel": (2, 3), "stride": (1, 2), "padding": ((1, 0), (0, 2)), "dilation": (2, 1), "groups": groups}
    columns = [10, 0, 3, 7]
    small, dense = nn.Conv2d(4, 6, rng=rng, **geometry, columns=columns), nn.Conv2d(4, 6, rng=rng, **geometry)
    assert small.W.shape == (6, 4)
    dense.W.data = np.zeros_like(dense.W.data)
    dense.W.data.reshape(6, -1)[:, columns] = small.W.data
    x = rng.standard_normal((4, 7, 6, 3))
    a = dense.forward(x)
    np.testing.assert_allclose(small.forward(x), a, rtol=0, atol=1e-14)
    ga, ha = rng.standard_normal((2, *a.shape))
    for ours, whole in zip(small.backward_hessian(ga, ha), dense.backward_hessian(ga, ha)):
        np.testing.assert_allclose(ours, whole, rtol=0, atol=1e-13)
    np.testing.assert_allclose(small.W.grad, dense.W.grad.reshape(6, -1)[:, columns], rtol=0, atol=1e-13)
    np.testing.assert_allclose(small.W.hess_diag, dense.W.hess_diag.reshape(6, -1)[:, columns], rtol=0, atol=1e-12)


@pytest.mark.parametrize("columns", [[], [0, 0], [-1], [18], [1.5]])
def test_columns_that_are_none(columns):
    with pytest.raises((ValueError, TypeError), match=r"expected different columns from 0 to 17|integer"):
        nn.Conv2d(2, 3, 3, None, columns=columns)


def test_a_bias_map_adds_to_images_of_its_own_size_only():
    layer = nn.Conv2d(2, 3, 3, np.random.default_rng(0), padding=1, bias_map=(4, 5))
    x = np.zeros((2, 4, 5, 2))
    layer.bias_map = np.arange(60.0).reshape(3, 4, 5)
    np.testing.assert_array_equal(layer.forward(x)[..., 1], layer.bias_map)
    with pytest.raises(ValueError, match=r"bias map for outputs of size \(4, 5\), got an image that gives \(5, 5\)"):
        layer.forward(np.zeros((2, 5, 5, 2)))
