"""Every layer and container of images: gradients by autograd and complex step, and what its curvature rule keeps."""

import copy
import functools

import numpy as np
import pytest
from cases import LAYERS, build_layer, layer_cases

import nn
from nn import gradcheck
from nn.backend import to_numpy

TOLERANCE = 1e-12


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_equal_autograd_and_the_complex_step(name, mode):
    net, loss, x, t = build_layer(name)
    getattr(net, mode)()
    if name.startswith("dropout"):
        net.eval()
    loss.forward(net.forward(x), t)
    gx = net.backward(loss.backward())
    ours = gradcheck.flat(net, "grad")
    net.backward_parameters(loss.backward())
    np.testing.assert_array_equal(gradcheck.flat(net, "grad"), ours)
    gu_step, gx_step = gradcheck.gradient_by_differences(copy.deepcopy(net), loss, x, t)
    assert gradcheck.relative_error(ours, gu_step) <= TOLERANCE
    assert gradcheck.relative_error(gx, gx_step) <= TOLERANCE
    from referees.networks import autograd_gradient

    for module in net.modules():
        for buffer in module.buffers:
            import torch

            setattr(module, buffer, torch.from_numpy(getattr(module, buffer)))
    gu, gx_reference = autograd_gradient(net, loss, x, t)
    assert gradcheck.relative_error(ours, gu) <= TOLERANCE
    assert gradcheck.relative_error(gx, gx_reference) <= TOLERANCE


EXACT = {"max-pool", "avg-pool", "global avg-pool", "batch norm", "dropout in eval mode", "subsampling", "select"}


@pytest.mark.parametrize("name", sorted(EXACT))
def test_these_layers_pass_an_exact_diagonal_on_exactly(name):
    """d2E/dx2 for a loss with a diagonal Hessian right behind the layer, against the complex step."""
    net, _, x, _ = build_layer(name)
    layer = net.layers[2].eval()
    z = net.layers[1].forward(net.layers[0].forward(x))
    y = layer.forward(z)
    t, h = np.random.default_rng(2).standard_normal((2, *y.shape))
    gx, hx = layer.backward_hessian(h * (y - t), h)  # E = sum h/2 (y - t)^2: diagonal, of both signs
    gradient = lambda v: layer.backward(h * (layer.forward(v) - t))  # noqa: E731
    H = gradcheck.complex_step(gradient, z).reshape(z.size, z.size)
    assert gradcheck.relative_error(hx.ravel(), np.diag(H)) <= TOLERANCE


@pytest.mark.parametrize("name", LAYERS)
def test_checkpoints_rebuild_the_net(name, tmp_path):
    net, loss, x, t = build_layer(name)
    nn.checkpoint.save(tmp_path / "net.npz", net)
    np.testing.assert_array_equal(nn.checkpoint.load(tmp_path / "net.npz").forward(x), net.eval().forward(x))


def test_dropout_scales_what_it_keeps_and_draws_from_its_generator():
    x = np.ones((5, 2000))
    layer = nn.Dropout(0.25, np.random.default_rng(0))
    y = layer.forward(x)
    assert set(np.unique(y)) == {0, 1 / 0.75}
    assert abs(y.mean() - 1) < 0.02
    np.testing.assert_array_equal(layer.backward(x), y)
    np.testing.assert_array_equal(layer.backward_hessian(x, x)[1], y * y)
    np.testing.assert_array_equal(layer.eval().forward(x), x)
    with pytest.raises(ValueError, match="no rng to draw masks with"):
        nn.Dropout(0.5, None).forward(x)
    with pytest.raises(ValueError, match=r"probability in \[0, 1\), got 1"):
        nn.Dropout(1, None)
    with pytest.raises(TypeError, match=r"an np.random.Generator, for instance .* \(or None for an outline\), got 0"):
        nn.Dropout(0.5, 0)


def test_batch_norm_follows_torch():
    torch = pytest.importorskip("torch", reason="torch is not installed (extra verify)")
    rng = np.random.default_rng(0)
    ours, theirs = nn.BatchNorm(3), torch.nn.BatchNorm2d(3, dtype=torch.float64)
    for _ in range(4):
        x = rng.standard_normal((3, 4, 5, 2)) * 3 + 1
        y = theirs(torch.from_numpy(np.moveaxis(x, -1, 0).copy()))
        np.testing.assert_allclose(ours.forward(x), np.moveaxis(y.detach().numpy(), 0, -1), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours.running_mean, theirs.running_mean.numpy(), rtol=1e-12)
    np.testing.assert_allclose(ours.running_variance, theirs.running_var.numpy(), rtol=1e-12)


def test_renewed_statistics_are_means_over_batches_of_those_of_train_mode():
    rng = np.random.default_rng(0)
    first, second, dropout = nn.BatchNorm(3), nn.BatchNorm(2, momentum=0.3), nn.Dropout(0.5, np.random.default_rng(0))
    net = nn.Sequential(nn.Linear(4, 3, rng), first, nn.ReLU(), dropout, nn.Linear(3, 2, rng), second).eval()
    x = rng.standard_normal((4, 60)) * 3 + 1
    before = {name: p.data.copy() for name, p in net.named_parameters()}
    nn.renew_statistics(net, x, batch_size=20)
    a = net.layers[0].forward(x).reshape(3, 3, 20)  # (channels, batches, patterns)
    np.testing.assert_allclose(first.running_mean, a.mean(axis=(1, 2)), rtol=1e-12)
    np.testing.assert_allclose(first.running_variance, a.var(axis=2, ddof=1).mean(axis=1), rtol=1e-12)
    z = (a - a.mean(axis=2, keepdims=True)) / np.sqrt(a.var(axis=2, keepdims=True) + 1e-5)
    b = net.layers[4].forward(np.maximum(z, 0).reshape(3, 60)).reshape(2, 3, 20)
    np.testing.assert_allclose(second.running_mean, b.mean(axis=(1, 2)), rtol=1e-12)
    np.testing.assert_allclose(second.running_variance, b.var(axis=2, ddof=1).mean(axis=1), rtol=1e-12)
    assert (first.momentum, second.momentum) == (0.1, 0.3) and not any(module.training for module in net.modules())
    assert all(np.array_equal(p.data, before[name]) for name, p in net.named_parameters())


def test_statistics_that_cannot_be_renewed_are_one_sentence():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="expected a net with batch norm, whose statistics can be renewed"):
        nn.renew_statistics(nn.Sequential(nn.Linear(2, 2, rng)), np.ones((2, 5)))
    net = nn.Sequential(nn.BatchNorm(2)).train()
    with pytest.raises(ValueError, match="a batch of one"):
        nn.renew_statistics(net, np.ones((2, 5)), batch_size=4)
    assert net.layers[0].momentum == 0.1 and net.layers[0].training


def test_an_outline_of_batch_norm_holds_no_data():
    layer = nn.BatchNorm(3, outline=True).eval()
    assert [(p.shape, p.dtype, p.is_outline) for p in layer.parameters()] == 2 * [((3,), np.float64, True)]
    with pytest.raises(ValueError, match=r"outline \(rng=None\)"):
        layer.forward(np.ones((3, 2)))


def test_the_curvature_of_batch_norms_own_parameters():
    rng = np.random.default_rng(0)
    layer, loss = nn.BatchNorm(3).eval(), nn.SquaredError()
    layer.gamma.data, layer.beta.data, layer.running_mean = rng.standard_normal((3, 3))
    layer.running_variance = rng.uniform(0.1, 3, 3)
    x, t = rng.standard_normal((2, 3, 7))
    loss.forward(layer.forward(x), t)
    _, hx = layer.backward_hessian(loss.backward(), loss.backward_hessian())
    # E = 1/7 sum (gamma z + beta - t)^2 with z = (x - mean) / deviation
    deviation = np.sqrt(layer.running_variance + 1e-5)[:, None]
    z = (x - layer.running_mean[:, None]) / deviation
    np.testing.assert_allclose(layer.gamma.hess_diag, 2 / 7 * (z * z).sum(axis=1), rtol=1e-13)
    np.testing.assert_allclose(layer.beta.hess_diag, np.full(3, 2.0), rtol=1e-13)
    np.testing.assert_allclose(hx, np.broadcast_to(2 / 7 * (layer.gamma.data[:, None] / deviation) ** 2, (3, 7)))


def test_batch_norm_refuses_what_has_no_answer():
    layer = nn.BatchNorm(3)
    with pytest.raises(ValueError, match="a batch of one"):
        layer.forward(np.ones((3, 1)))
    with pytest.raises(ValueError, match=r"BatchNorm\(3\) expected 3 channels, got none"):
        layer.forward(np.ones(3))
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match=f"eps of at least 0 .* got {bad}"):
            nn.BatchNorm(3, eps=bad)
        with pytest.raises(ValueError, match=rf"momentum in \[0, 1\], got 1e-05 and {bad}"):
            nn.BatchNorm(3, momentum=bad)
    with pytest.raises(ValueError, match="an empty batch"):
        layer.forward(np.ones((3, 2, 2, 0)))
    with pytest.raises(ValueError, match="expected 3 channels, got 4"):
        layer.forward(np.ones((4, 2, 2, 5)))
    with pytest.raises(ValueError, match=r"eps of at least 0 and a momentum in \[0, 1\], got -1 and 0.1"):
        nn.BatchNorm(3, eps=-1)
    with pytest.raises(ValueError, match="positive integers as the sizes of a weight"):
        nn.BatchNorm(0)
    with pytest.raises(ValueError, match="dtype float32 or float64, got 'int'"):
        nn.BatchNorm(3, dtype="int")
    layer.forward(np.ones((3, 2)))
    with pytest.raises(ValueError, match="eval mode only"):
        layer.backward_hessian(np.ones((3, 2)), np.ones((3, 2)))


@pytest.mark.parametrize(("k", "stride", "padding"), [(2, None, 0), (3, 2, 1), (2, 3, 0), ((2, 3), (1, 2), (0, 1))])
def test_max_pool_equals_torch_bit_for_bit_on_images_full_of_ties(k, stride, padding):
    torch = pytest.importorskip("torch", reason="torch is not installed (extra verify)")
    rng = np.random.default_rng(0)
    x = rng.integers(-1, 2, (3, 7, 8, 4)).astype(float)
    layer = nn.MaxPool2d(k, stride, padding)
    y = layer.forward(x)
    gy = rng.standard_normal(y.shape)
    z = torch.from_numpy(np.moveaxis(x, -1, 0).copy()).requires_grad_()
    reference = torch.nn.functional.max_pool2d(z, k, stride, padding)
    (gz,) = torch.autograd.grad(reference, z, torch.from_numpy(np.moveaxis(gy, -1, 0).copy()))
    np.testing.assert_array_equal(y, np.moveaxis(reference.detach().numpy(), 0, -1))
    np.testing.assert_array_equal(layer.backward(gy), np.moveaxis(gz.numpy(), 0, -1))


@pytest.mark.parametrize("count_padding", [True, False])
def test_avg_pool_equals_torch(count_padding):
    torch = pytest.importorskip("torch", reason="torch is not installed (extra verify)")
    x = np.random.default_rng(0).standard_normal((3, 7, 8, 4))
    y = nn.AvgPool2d(3, 2, 1, count_padding).forward(x)
    z = torch.from_numpy(np.moveaxis(x, -1, 0).copy())
    reference = torch.nn.functional.avg_pool2d(z, 3, 2, 1, count_include_pad=count_padding)
    np.testing.assert_allclose(y, np.moveaxis(reference.numpy(), 0, -1), rtol=1e-13, atol=1e-14)


def test_what_does_not_fit_is_one_sentence():
    rng = np.random.default_rng(0)
    x = np.ones((4, 6, 6, 2))
    with pytest.raises(ValueError, match="padding smaller than the window"):
        nn.MaxPool2d(2, padding=2)
    with pytest.raises(ValueError, match="image of 6 x 6 is smaller than the kernel"):
        nn.MaxPool2d(7).forward(x)
    with pytest.raises(ValueError, match=r"Subsampling expected images \(4, H, W, N\), got \(5, 6, 6, N\)"):
        nn.Subsampling(4, 2, rng).forward(np.ones((5, 6, 6, 2)))
    for layer in (nn.GlobalAvgPool2d(), nn.ZeroPadShortcut(2, 2), nn.AvgPool2d(2)):
        with pytest.raises(ValueError, match=r"expected images \(C, H, W, N\), got \(3, N\)"):
            layer.output_shape((3,))
    with pytest.raises(ValueError, match="no sum"):
        nn.Residual(nn.Conv2d(4, 4, 3, rng)).forward(x)
    with pytest.raises(ValueError, match="differ in more than the channels"):
        nn.Concat(nn.Identity(), nn.Conv2d(4, 4, 3, rng)).output_shape((4, 6, 6))
    with pytest.raises(
        ValueError, match=r"end in \(4, 6, 6, 2\), \(4, 3, 3, 2\), which differ in more than the channels"
    ):
        nn.Concat(nn.Identity(), nn.MaxPool2d(2)).forward(x)
    with pytest.raises(ValueError, match="more than 7 channels"):
        nn.Select([7]).forward(x)
    with pytest.raises(ValueError, match="different channel numbers"):
        nn.Select([1, 1])


@pytest.mark.parametrize("bias", [True, False])
def test_folding_batch_norm_keeps_the_function(bias):
    rng = np.random.default_rng(0)
    for layer, x in [
        (nn.Conv2d(4, 6, 3, rng, padding=1, groups=2, bias=bias), rng.standard_normal((4, 5, 6, 3))),
        (nn.Linear(4, 6, rng, bias=bias), rng.standard_normal((4, 3))),
    ]:
        norm = nn.BatchNorm(6).eval()
        norm.gamma.data, norm.beta.data, norm.running_mean = rng.standard_normal((3, 6))
        norm.running_variance = rng.uniform(0.01, 2, 6)
        if bias:
            layer.b.data = rng.standard_normal(6)
        before = layer.W.data.copy()
        folded = nn.fold_pair(layer, norm)
        assert gradcheck.relative_error(folded.forward(x), norm.forward(layer.forward(x))) <= 1e-14
        np.testing.assert_array_equal(layer.W.data, before)
        norm.eps = 0.0
        assert gradcheck.relative_error(folded.forward(x), norm.forward(layer.forward(x))) > 1e-6


def as_float32(net):
    for parameter in net.parameters():
        parameter.data = parameter.data.astype(np.float32)
    for module in net.modules():
        for name in module.buffers:
            setattr(module, name, getattr(module, name).astype(np.float32))
    return net


@pytest.mark.parametrize("name", LAYERS)
def test_float32_stays_float32(name):
    net, loss, x, t = build_layer(name)
    x, t = x.astype(np.float32), t.astype(np.float32)
    loss.forward(as_float32(net).forward(x), t)
    net.backward_parameters(loss.backward())
    E = loss.forward(net.eval().forward(x), t)
    arrays = [E, *net.backward_hessian(loss.backward(), loss.backward_hessian())]
    arrays += [array for p in net.parameters() for array in (p.data, p.grad, p.hess_diag)]
    arrays += [buffer for _, buffer in net.named_buffers()]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", LAYERS)
def test_every_library_gives_the_same(name, library):
    net, loss, x, t = build_layer(name)
    other, other_loss = copy.deepcopy(net).to(library.xp), nn.SquaredError()
    z, s = library.xp.asarray(x), library.xp.asarray(t)
    pairs = [(loss.forward(net.eval().forward(x), t), other_loss.forward(other.eval().forward(z), s))]
    pairs += zip(
        net.backward_hessian(loss.backward(), loss.backward_hessian()),
        other.backward_hessian(other_loss.backward(), other_loss.backward_hessian()),
    )
    for ours, theirs in zip(net.parameters(), other.parameters()):
        pairs += [(ours.grad, theirs.grad), (ours.hess_diag, theirs.hess_diag)]
    for ours, theirs in pairs:
        assert gradcheck.relative_error(to_numpy(theirs), ours) <= TOLERANCE


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
@pytest.mark.parametrize("name", [n for n in LAYERS if not n.startswith(("residual", "concat", "select", "conv with"))])
def test_integer_images_are_refused(name, dtype):
    layer = dict(layer_cases())[name][0]
    if isinstance(layer, nn.Dropout):
        return
    message = f"{type(layer).__name__} expected floating-point numbers, got {np.dtype(dtype)}"
    with pytest.raises(ValueError, match=message):
        layer.forward(np.ones((4, 6, 5, 2), dtype))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel": 3.0}, "kernel, stride and dilation such as 3"),
        ({"kernel": (3, 3, 3)}, "such as 3 or"),
        ({"kernel": 3, "padding": "same"}, "padding such as 1"),
        ({"kernel": 3, "padding": (1, 1, 1, 1)}, "padding such as 1"),
        ({"kernel": 0}, "of at least 1"),
    ],
)
def test_a_geometry_that_makes_no_sense_is_one_sentence(arguments, message):
    with pytest.raises(ValueError, match=message):
        nn.im2col(np.ones((1, 5, 5, 2)), **arguments)


def test_numpy_integers_are_sizes_and_empty_batches_pass():
    rng = np.random.default_rng(0)
    layer = nn.Conv2d(1, 2, np.int64(3), rng, padding=np.int64(1))
    assert layer.forward(np.ones((1, 4, 4, 0))).shape == (2, 4, 4, 0)
    pool = nn.MaxPool2d(2)
    assert pool.backward(pool.forward(np.ones((1, 4, 4, 0)))).shape == (1, 4, 4, 0)
    with pytest.raises(ValueError, match=r"im2col expected images \(C, H, W, N\), got shape \(4, 6\)"):
        nn.im2col(np.ones((4, 6)), 3)
    with pytest.raises(ValueError, match=r"col2im expected columns \(9, 8\) .* got \(9, 10\)"):
        nn.col2im(np.ones((9, 10)), (1, 4, 4, 2), 3)
    with pytest.raises(ValueError, match="expected 4 channels, got 1"):
        nn.fold_pair(nn.Conv2d(4, 1, 3, rng), nn.BatchNorm(4))
    with pytest.raises(
        TypeError, match="expected a Conv2d or Linear and the BatchNorm behind it, got ReLU and BatchNorm"
    ):
        nn.fold_pair(nn.ReLU(), nn.BatchNorm(4))
    with pytest.raises(ValueError, match="stride of at least 1, got 2, 0"):
        nn.ZeroPadShortcut(2, 0)
    with pytest.raises(ValueError, match=r"ZeroPadShortcut expected images \(C, H, W, N\), got \(4, N\)"):
        nn.ZeroPadShortcut(2).forward(np.ones((4, 6)))
    for positions in ([1, 0], [0, 4], [0, 0], [-1, 0]):
        with pytest.raises(ValueError, match="expected ascending places in 4 channels"):
            nn.ZeroPadShortcut(2, positions=positions)
    with pytest.raises(ValueError, match=r"ZeroPadShortcut expected images \(2, H, W, N\), got \(3, 4, 4, N\)"):
        nn.ZeroPadShortcut(2, positions=[0, 2]).forward(np.ones((3, 4, 4, 1)))
    with pytest.raises(ValueError, match="expected 4 channels to select from, got 3"):
        nn.Select([2, 0], n_in=4).forward(np.ones((3, 4, 4, 1)))
    with pytest.raises(ValueError, match="expected channel numbers below 2, got 2"):
        nn.Select([2, 0], n_in=2)


def test_an_index_map_puts_channels_where_it_says():
    x = np.arange(1.0, 9).reshape(2, 2, 2, 1)
    layer = nn.ZeroPadShortcut(2, positions=[1, 3])
    np.testing.assert_array_equal(layer.forward(x)[[1, 3]], x)
    assert not layer.forward(x)[[0, 2]].any()


@pytest.mark.parametrize("name", ["batch norm", "subsampling"])
def test_curvatures_of_shared_parameters_are_not_exact_where_positions_mix(name):
    """gamma and beta of batch norm, c and b of subsampling: a linear layer behind mixes the positions of a map."""
    net, loss, x, t = build_layer(name)
    loss.forward(net.eval().forward(x), t)
    net.backward_hessian(loss.backward(), loss.backward_hessian())

    def gradient(parameter, u):
        parameter.data = u
        loss.forward(net.forward(x), t)
        net.backward_parameters(loss.backward())
        return parameter.grad

    for parameter in net.layers[2].parameters():
        start = parameter.data
        H = gradcheck.complex_step(functools.partial(gradient, parameter), start)
        parameter.data = start
        assert gradcheck.relative_error(parameter.hess_diag, np.diag(H)) > 1e-2


def everything(name):
    """Every layer of the cases, and the smaller ones, with an input that it takes."""
    rng = np.random.default_rng(0)
    small = {"linear": nn.Linear(4, 3, rng), "flatten": nn.Flatten(), "tanh": nn.Tanh(), "identity": nn.Identity()}
    if name in small:
        return small[name], rng.standard_normal((4, 5))
    if name == "zero-padded shortcut":
        return nn.ZeroPadShortcut(2, 2), rng.standard_normal((4, 5, 4, 3))
    layers = dict(layer_cases())[name]
    return nn.Sequential(*layers) if len(layers) > 1 else layers[0], rng.standard_normal((4, 5, 4, 3))


EVERYTHING = ["linear", "flatten", "tanh", "identity", "zero-padded shortcut", *LAYERS]


@pytest.mark.parametrize("name", EVERYTHING)
def test_what_is_no_array_is_refused_in_one_sentence(name):
    layer, x = everything(name)
    for given in (x.tolist(), None, "x", 3.0):
        with pytest.raises(TypeError, match="expected an array of NumPy, CuPy or the array-API standard, got"):
            layer.forward(given)
    with pytest.raises(ValueError, match=r"expected (an array with the batch as last axis|.*\(.*N\)|.* channels)"):
        layer.forward(np.float64(1.0))
    y = layer.eval().forward(x)
    for given in (y.tolist(), None, 1.0):
        with pytest.raises(TypeError, match="expected an array of NumPy, CuPy or the array-API standard, got"):
            layer.backward(given)


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_derivative_of_another_shape_is_refused_before_anything_is_filled(name):
    """Many of these would broadcast: numbers that are derivatives of nothing, without a word."""
    layer, x = everything(name)
    y = layer.eval().forward(x)
    right = np.ones(y.shape)
    wrong = [np.ones(y.shape[:-1]), np.ones((1, *y.shape[1:])), np.ones((*y.shape[:-1], 1)), np.ones((*y.shape, 1)),
             np.ones((y.shape[0] + 1, *y.shape[1:])), np.ones((1, *y.shape)), np.array(1.0)]  # fmt: skip
    for bad in [g for g in wrong if g.shape != y.shape]:
        sweeps = [lambda: layer.backward(bad), lambda: layer.backward_parameters(bad)]  # noqa: B023
        for pair in ((bad, right), (right, bad), (bad, bad)):
            sweeps += [lambda pair=pair: layer.backward_hessian(*pair)]
            sweeps += [lambda pair=pair: layer.backward_hessian_parameters(*pair)]
        for sweep in sweeps:
            with pytest.raises(ValueError, match=r"expected a derivative of shape .* for its output of .*, got"):
                sweep()
    for parameter in layer.parameters():
        assert parameter.grad is None and parameter.hess_diag is None


@pytest.mark.parametrize("name", ["linear", "flatten", "tanh"])
def test_matrices_of_another_shape_are_refused(name):
    layer, x = everything(name)
    y = layer.forward(x)
    D, N = y.shape
    for shape in ((D, N), (D, D), (D, D, 1), (1, 1, N), (D, D + 1, N)):
        with pytest.raises(ValueError, match=rf"expected a derivative of shape \({D}, {D}, {N}\) .*, got"):
            layer.backward_hessian_full(np.ones(y.shape), np.ones(shape))
    with pytest.raises(ValueError, match="expected a derivative of shape"):
        layer.backward_hessian_full(np.ones((D, 1)), np.ones((D, D, N)))


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_sweep_back_without_a_forward_pass_is_one_sentence(name):
    layer, x = everything(name)
    with pytest.raises(ValueError, match="expected a forward pass before the sweep back, got none"):
        layer.backward(x)


def test_means_of_large_maps_keep_their_digits():
    """NumPy adds along the pixels one after the other where the batch is innermost: 5e-4 at 224 x 224, 1e-2 at 1000."""
    tenth = np.float32(0.1)
    for H, N in ((8, 3), (56, 3), (223, 2), (224, 2), (1000, 2)):
        x = np.full((2, H, H, N), tenth)
        np.testing.assert_allclose(nn.GlobalAvgPool2d().forward(x), tenth, rtol=1.2e-7)
    x = np.full((1, 224, 224, 2), tenth)
    np.testing.assert_allclose(nn.AvgPool2d(112).forward(x), tenth, rtol=1.2e-7)
    coefficients = nn.Subsampling(1, 112, np.random.default_rng(0), dtype=np.float32)
    np.testing.assert_allclose(coefficients.forward(x), tenth, rtol=1.2e-7)


def test_statistics_and_gradients_of_many_numbers_keep_their_digits():
    """What a channel sums over a large batch of large maps, in float32, against a sum that is exact."""
    tenth, rng = np.float32(0.1), np.random.default_rng(0)
    x = np.full((1, 224, 224, 32), tenth)
    M, signs = x[0].size, np.where(np.arange(32) % 2 == 0, 1, -1).astype(np.float32)
    norm = nn.BatchNorm(1, eps=0.0, momentum=1.0, dtype=np.float32)
    norm.forward(x * signs)
    np.testing.assert_allclose(norm.running_variance, float(tenth) ** 2 * M / (M - 1), rtol=1e-6)
    norm.backward_parameters(x)
    np.testing.assert_allclose(norm.beta.grad, float(tenth) * M, rtol=3e-7)
    norm.running_mean = np.zeros(1, np.float32)
    norm.eval().forward(x)
    norm.backward_hessian(x, x)
    # A constant product is rounded the same way at every step; how long the chains are is the BLAS kernel's affair.
    np.testing.assert_allclose(norm.gamma.hess_diag, float(tenth) * M, rtol=3e-6)
    np.testing.assert_allclose(norm.beta.hess_diag, float(tenth) * M, rtol=3e-7)
    view = np.full((1, 226, 226, 32), tenth)[:, 1:-1, 1:-1, :]  # as an unpadded gradient arrives
    for layer, bias in ((nn.Conv2d(1, 1, 1, rng, dtype=np.float32), "b"), (norm, "beta")):
        layer.forward(x)
        layer.backward_hessian(view, view)
        for each in (getattr(layer, bias).grad, getattr(layer, bias).hess_diag):
            np.testing.assert_allclose(each, float(tenth) * M, rtol=3e-7)


@pytest.mark.parametrize("layer", ["conv", "batch norm", "subsampling"])
def test_squares_of_sums_over_large_maps_keep_their_digits(layer):
    tenth, rng = np.float32(0.1), np.random.default_rng(0)
    layer = {"conv": nn.Conv2d(1, 1, 1, rng, dtype=np.float32), "batch norm": nn.BatchNorm(1, dtype=np.float32).eval(),
             "subsampling": nn.Subsampling(1, 1, rng, dtype=np.float32)}[layer]  # fmt: skip
    x = np.full((1, 224, 224, 3), tenth)
    layer.forward(x)
    nn.curvature.squares.Squares().fill(layer, x)
    shift = layer.beta if isinstance(layer, nn.BatchNorm) else layer.b
    np.testing.assert_allclose(shift.hess_diag, 3 * (224 * 224 * float(tenth)) ** 2, rtol=5e-7)


def test_squares_over_many_patterns_keep_their_digits():
    conv = nn.Conv2d(1, 1, 1, np.random.default_rng(0), dtype=np.float32)
    x = np.full((1, 1, 1, 100_000), np.float32(0.1))
    conv.forward(x)
    nn.curvature.squares.Squares().fill(conv, x)
    np.testing.assert_allclose(conv.W.hess_diag, 100_000 * float(np.float32(0.1)) ** 4, rtol=5e-7)


def test_sums_over_rows_and_positions_are_sums():
    rng = np.random.default_rng(0)
    for shape in ((3, 5), (3, 1, 1, 2), (2, 3, 3, 4), (2, 7, 5, 3), (2, 16, 17, 1), (3, 0), (3, 2, 2, 0), (2, 0, 3, 4)):
        x = rng.integers(-9, 9, shape).astype(float)
        np.testing.assert_array_equal(nn.backend.sum_rows(x), x.sum(axis=tuple(range(1, x.ndim))))
        np.testing.assert_array_equal(nn.backend.sum_positions(x), x.sum(axis=tuple(range(1, x.ndim - 1))))
    for M in (1, 2047, 2048, 2049, 4096, 5000):
        a, b = rng.integers(-9, 9, (2, 3, M)).astype(float)
        np.testing.assert_array_equal(nn.batchnorm.dot_rows(a, b), (a * b).sum(axis=1))


@pytest.mark.parametrize("shape", [(2, 0, 5), (2, -1, 5), (2, 5, -3), (2, 5, 0)])
def test_an_image_without_pixels_is_refused_also_where_a_border_makes_some(shape):
    rng = np.random.default_rng(0)
    layers = [nn.Conv2d(2, 3, 3, rng, padding=4), nn.MaxPool2d(9, padding=8), nn.AvgPool2d(9, padding=8),
              nn.GlobalAvgPool2d(), nn.ZeroPadShortcut(1), nn.Subsampling(2, 1, rng)]  # fmt: skip
    for layer in layers:
        with pytest.raises(ValueError, match=f"of at least one pixel, got {shape[1]} x {shape[2]}"):
            layer.output_shape(shape)
    with pytest.raises(ValueError, match="of at least one pixel"):
        nn.col2im(np.ones((9, 0)), (1, -1, 3, 2), 3, padding=2)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_col2im_refuses_integers_whose_sums_would_wrap(dtype):
    x = np.ones((1, 3, 3, 1), dtype)
    assert nn.im2col(x, 2).dtype == dtype  # copies, nothing is added
    with pytest.raises(ValueError, match=f"col2im expected floating-point numbers, got {np.dtype(dtype)}"):
        nn.col2im(nn.im2col(x, 2), x.shape, 2)
    for bad in ([[1.0]], None):
        for f in (lambda bad=bad: nn.im2col(bad, 2), lambda bad=bad: nn.col2im(bad, x.shape, 2)):
            with pytest.raises(TypeError, match="expected an array of NumPy"):
                f()


def test_a_kernel_that_is_too_large_only_for_its_dilation_says_so():
    for dilation, text in (((1, 2), r"\(1, 2\)"), ((2, 1), r"\(2, 1\)")):
        layer = nn.Conv2d(1, 1, 3, None, dilation=dilation)
        with pytest.raises(ValueError, match=rf"4 x 4 is smaller than the kernel \(3, 3\) with dilation {text}$"):
            layer.output_shape((1, 4, 4))
    with pytest.raises(ValueError, match=r"2 x 2 is smaller than the kernel \(3, 3\)$"):
        nn.Conv2d(1, 1, 3, None).output_shape((1, 2, 2))
    with pytest.raises(ValueError, match=r"1 x 1 and a border of \(\(0, 1\), \(0, 0\)\) is smaller than"):
        nn.Conv2d(1, 1, 3, None, padding=((0, 1), (0, 0))).output_shape((1, 1, 1))


@pytest.mark.parametrize("positions", [None, [0, 2]])
def test_a_zero_padded_shortcut_on_the_input(positions):
    """Nothing stands in front of it: dE/dx, the curvature of what is behind, and the product with the Hessian."""
    rng = np.random.default_rng(0)
    shortcut = nn.ZeroPadShortcut(1, 2, positions)
    net = nn.Sequential(nn.Residual(nn.Conv2d(2, 3, 3, rng, stride=2, padding=1), shortcut), nn.Tanh(), nn.Flatten(),
                        nn.Linear(18, 2, rng))  # fmt: skip
    x, t, loss = rng.standard_normal((2, 5, 4, 3)), rng.standard_normal((2, 3)), nn.SquaredError()
    loss.forward(net.forward(x), t)
    gx = net.backward(loss.backward())
    gu_step, gx_step = gradcheck.gradient_by_differences(copy.deepcopy(net), loss, x, t)
    assert gradcheck.relative_error(gradcheck.flat(net, "grad"), gu_step) <= TOLERANCE
    assert gradcheck.relative_error(gx, gx_step) <= TOLERANCE
    H = gradcheck.hessian_by_differences(copy.deepcopy(net), loss, x, t)
    v = rng.standard_normal(len(H))
    product = nn.curvature.hessian_vector_product(net, loss, x, t, nn.curvature.matrix.split(net, v))
    assert gradcheck.relative_error(np.concatenate([h.ravel() for h in product.values()]), H @ v) <= TOLERANCE


def test_numbers_that_are_none_are_one_sentence():
    for value in ("0.1", None, True):
        for make, name in (
            (lambda v: nn.BatchNorm(2, eps=v), "eps"),
            (lambda v: nn.BatchNorm(2, momentum=v), "the momentum"),
            (lambda v: nn.Dropout(v, None), "the probability"),
        ):
            with pytest.raises(TypeError, match=f"expected a number for {name}, got {value!r}"):
                make(value)
