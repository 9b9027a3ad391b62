"""The rules of the recursion: exact where they claim to be, and wrong by the stated amount where they are not."""

import functools
import tracemalloc

import numpy as np
import pytest
from cases import CASES, SSE, Case, split

import nn
from nn import gradcheck
from nn.curvature import exact as full_matrices
from nn.curvature import gradient, hess_diag

TOLERANCE = 1e-12


@functools.cache
def exact(case):
    """The Hessian diagonal [(hW, hb)] and that of x, by torch.func.hessian through our own forward."""
    from referees.networks import autograd_hessian

    net, loss, x, t = case.build()
    H, hx = autograd_hessian(net, loss, x, t)
    return split(net, np.diagonal(H)), hx


def vector(h, names):
    return np.concatenate([h[name].ravel() for name in names])


def layer_names(case, layer):
    return [f"{1 + 2 * layer}.W", f"{1 + 2 * layer}.b"]


def assert_close(ours, reference, names=None):
    """The house's relative error: over all parameters, and per tensor above 1e-3 of the whole."""
    names = names or list(ours)
    assert gradcheck.relative_error(vector(ours, names), vector(reference, names)) <= TOLERANCE
    whole = np.linalg.norm(vector(reference, list(ours)))
    for name in names:
        if np.linalg.norm(reference[name]) > 1e-3 * whole:
            assert gradcheck.relative_error(ours[name], reference[name]) <= TOLERANCE, name


def sweep(case, full=False):
    """One sweep by hand, to see hx as well: returns {name: h} and the diagonal of d2E/dx2."""
    net, loss, x, t = case.build()
    loss.forward(net.forward(x), t)
    if full:
        _, Hx = net.backward_hessian_full(loss.backward(), loss.hessian())
        hx = nn.backend.diagonal(Hx)
    else:
        _, hx = net.backward_hessian(loss.backward(), loss.backward_hessian())
    return {name: p.hess_diag for name, p in net.named_parameters()}, hx


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rule_exact_equals_the_hessian_of_autograd(case):
    reference, hx_reference = exact(case)
    net, loss, x, t = case.build()
    assert_close(hess_diag(net, loss, x, t, rule="exact"), reference)
    ours, hx = sweep(case, full=True)
    assert_close(ours, reference)
    assert gradcheck.relative_error(hx, hx_reference) <= TOLERANCE


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rule_exact_equals_the_complex_step_of_our_own_backprop(case):
    net, loss, x, t = case.build()
    H = gradcheck.hessian_by_differences(net, loss, x, t)
    assert_close(hess_diag(net, loss, x, t, rule="exact"), split(net, np.diagonal(H)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rule_obd_is_exact_in_the_layers_where_it_must_be(case):
    reference, _ = exact(case)
    net, loss, x, t = case.build()
    ours = hess_diag(net, loss, x, t, rule="obd")
    exact_layers = 2 if case.loss is SSE else 1
    for layer in range(max(0, case.weight_layers - exact_layers), case.weight_layers):
        assert_close(ours, reference, layer_names(case, layer))


@pytest.mark.parametrize("drop", [True, False], ids=["off-diagonal dropped", "nothing dropped"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_recursions_equal_the_independent_matrix_recursion(case, drop):
    from referees.networks import curvature_recursion

    net, loss, x, t = case.build()
    layers = [layer for layer in net.layers if isinstance(layer, nn.Linear)]
    weights = [(layer.W.data, layer.b.data) for layer in layers]
    activations = [case.hidden.__name__] * (len(layers) - 1) + [case.output.__name__]
    pairs, hx_reference = curvature_recursion(weights, activations, case.loss.__name__, x, t, drop)
    reference = {f"{1 + 2 * i}.{name}": h for i, pair in enumerate(pairs) for name, h in zip("Wb", pair)}
    ours, hx = sweep(case, full=not drop)
    assert_close(ours, reference)
    assert gradcheck.relative_error(hx, hx_reference) <= TOLERANCE


EXACT_TOO = ("width-1-inside-sse", "width-1-everywhere-sse", "dead-relu-sse")
INEXACT = [
    (case, layer)
    for case in CASES
    for layer in range(case.weight_layers - (2 if case.loss is SSE else 1))
    if case.name not in EXACT_TOO and not (case.dead and layer == 0)  # nothing passes a dead layer, 0 = 0
]


@pytest.mark.parametrize(("case", "layer"), INEXACT, ids=lambda value: getattr(value, "name", str(value)))
def test_rule_obd_is_not_the_hessian_elsewhere(case, layer):
    """Nobody is to 'fix' this: the recursion of the slide drops l != m, and that is more than rounding."""
    reference, _ = exact(case)
    net, loss, x, t = case.build()
    ours = hess_diag(net, loss, x, t, rule="obd")
    names = layer_names(case, layer)
    assert gradcheck.relative_error(vector(ours, names), vector(reference, names)) > 1e-3


@pytest.mark.parametrize("name", EXACT_TOO)
def test_rule_obd_is_exact_behind_a_layer_of_width_one_or_a_dead_one(name):
    case = next(case for case in CASES if case.name == name)
    reference, _ = exact(case)
    net, loss, x, t = case.build()
    assert_close(hess_diag(net, loss, x, t, rule="obd"), reference)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rule_lm_is_never_negative_and_equals_obd_without_second_derivatives(case):
    net, loss, x, t = case.build()
    lm = hess_diag(net, loss, x, t, rule="lm")
    assert all(np.all(h >= 0) for h in lm.values())
    for layer in net.layers:
        if isinstance(layer, nn.Activation):
            layer.d2f = np.zeros_like
    obd = hess_diag(net, loss, x, t, rule="obd")
    for name in lm:
        np.testing.assert_allclose(lm[name], obd[name], rtol=1e-12, atol=0)


def test_rule_lm_is_the_gauss_newton_diagonal_in_the_last_two_layers_only():
    case = next(case for case in CASES if case.name == "tanh-2-hidden-sse")
    net, loss, x, t = case.build()
    lm = hess_diag(net, loss, x, t, rule="lm")
    u = gradcheck.flat(net)

    def outputs(v):
        gradcheck.set_flat(net, v)
        return net.forward(x)

    J = gradcheck.complex_step(outputs, u).reshape(len(u), -1)
    gauss_newton = split(net, 2 / x.shape[-1] * np.sum(J * J, axis=1))
    errors = [
        gradcheck.relative_error(vector(lm, layer_names(case, i)), vector(gauss_newton, layer_names(case, i)))
        for i in range(3)
    ]
    assert errors[0] > 1e-2
    assert max(errors[1:]) <= TOLERANCE


def test_negative_curvature_comes_from_tanh_and_never_from_relu():
    for case in CASES:
        net, loss, x, t = case.build()
        lowest = min(h.min() for h in hess_diag(net, loss, x, t).values())
        if case.hidden is nn.ReLU and case.output in (nn.ReLU, nn.Identity):
            assert lowest >= 0
    net, loss, x, t = next(case for case in CASES if case.name == "tanh-2-hidden-sse").build()
    assert any((h < 0).any() for h in hess_diag(net, loss, x, t).values())


@pytest.mark.parametrize("rule", nn.curvature.RULES)
def test_minibatches_add_up_to_one_batch(rule):
    net, loss, x, t = CASES[7].build()
    whole = hess_diag(net, loss, x, t, rule=rule)
    for batch_size in (1, 4, 5, 6, 100):  # 4 and 5 do not divide 6: a mean of batch means would be wrong
        parts = hess_diag(net, loss, x, t, rule=rule, batch_size=batch_size)
        for name in whole:
            np.testing.assert_allclose(parts[name], whole[name], rtol=1e-11, atol=1e-14)


def test_the_batch_enters_by_the_sum_of_squares_not_the_square_of_the_mean():
    net, loss, x, t = CASES[0].build()
    h = hess_diag(net, loss, x, t)["1.W"]
    np.testing.assert_allclose(h, 2 * np.mean(x * x, axis=1) * np.ones((4, 1)), rtol=1e-13)
    assert not np.allclose(h, 2 * np.mean(x, axis=1) ** 2 * np.ones((4, 1)), rtol=1e-3)


@pytest.mark.parametrize("rule", nn.curvature.RULES)
def test_weight_decay_adds_its_lambda_everywhere(rule):
    net, loss, x, t = CASES[3].build()
    plain = hess_diag(net, loss, x, t, rule=rule)
    decayed = hess_diag(net, loss, x, t, rule=rule, weight_decay=0.25)
    for name, parameter in net.named_parameters():
        np.testing.assert_allclose(decayed[name], plain[name] + 0.25, rtol=1e-14)
        np.testing.assert_array_equal(parameter.hess_diag, decayed[name])


def test_weight_decay_is_the_decay_of_sgd():
    """E + (lambda/2) ||u||^2: its gradient is what SGD steps along."""
    net, loss, x, t = CASES[3].build()
    g = gradient(net, loss, x, t, weight_decay=0.25)
    before = {name: p.data.copy() for name, p in net.named_parameters()}
    loss.forward(net.forward(x), t)
    net.backward(loss.backward())
    nn.SGD(net.parameters(), learning_rate=0.5, weight_decay=0.25).step()
    for name, p in net.named_parameters():
        np.testing.assert_allclose(p.data, before[name] - 0.5 * g[name], rtol=1e-12, atol=1e-15)


def test_saliency_is_unchanged_when_a_relu_net_is_rescaled():
    """W1 -> diag(alpha) W1, W2 -> W2 / alpha leaves the function as it is: h u^2 does not move, |u| does."""
    net, loss, x, t = Case("", (3, 5, 4), nn.ReLU, nn.Identity, SSE).build()
    s = {name: h * dict(net.named_parameters())[name].data ** 2 for name, h in hess_diag(net, loss, x, t).items()}
    alpha = np.random.default_rng(4).uniform(0.2, 5, 5)
    first, last = net.layers[1], net.layers[3]
    first.W.data, first.b.data = alpha[:, None] * first.W.data, alpha * first.b.data
    last.W.data = last.W.data / alpha
    after = {name: h * dict(net.named_parameters())[name].data ** 2 for name, h in hess_diag(net, loss, x, t).items()}
    for name in s:
        np.testing.assert_allclose(after[name], s[name], rtol=1e-12)


def test_the_net_is_left_as_it_was():
    net, loss, x, t = CASES[3].build()
    net.train()
    loss.forward(net.forward(x), t)
    net.backward(loss.backward())
    before = gradcheck.flat(net, "grad")
    for rule in nn.curvature.RULES:
        hess_diag(net, loss, x, t, rule=rule)
        assert net.training and net.layers[1].training
        np.testing.assert_array_equal(gradcheck.flat(net, "grad"), before)


def test_the_mode_comes_back_after_an_error():
    net, loss, x, _ = CASES[3].build()
    net.train()
    with pytest.raises(ValueError, match=r"labels in 0 \.\. 3"):
        hess_diag(net, loss, x, np.full(6, 4))
    assert net.training


def test_bad_input():
    net, loss, x, t = CASES[3].build()
    with pytest.raises(ValueError, match="curvature rule of obd, lm, exact, ggn, fisher, got 'newton'"):
        hess_diag(net, loss, x, t, rule="newton")
    for decay in (-1, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"weight decay of 0 or more, got {decay}"):
            hess_diag(net, loss, x, t, weight_decay=decay)
    with pytest.raises(ValueError, match="finite inputs, got data with NaN"):
        hess_diag(net, loss, np.full_like(x, np.nan), t)
    with pytest.raises(ValueError, match=r"x is float32, 1\.W is float64"):
        gradient(net, loss, x.astype(np.float32), t)
    with pytest.raises(ValueError, match="6 inputs, 5 targets"):
        hess_diag(net, loss, x, t[:5])
    with pytest.raises(ValueError, match="batch size of at least 1, got 0"):
        hess_diag(net, loss, x, t, batch_size=0)
    with pytest.raises(ValueError, match="0 inputs"):
        hess_diag(net, loss, x[:, :0], t[:0])


def nets_with_matrices():
    """Nets in which the matrices end in different places: under the second affine layer, under the first, inside."""
    rng = np.random.default_rng(0)
    inner = nn.Sequential(nn.Linear(5, 7, rng), nn.Tanh(), nn.Linear(7, 5, rng))
    return {
        "two affine layers": [nn.Linear(3, 5, rng), nn.Tanh(), nn.Flatten(), nn.Linear(5, 4, rng), nn.Sigmoid()],
        "one": [nn.Flatten(), nn.Linear(3, 4, rng), nn.Tanh()],
        "one, activations in front": [nn.Tanh(), nn.Linear(3, 4, rng)],
        "nested, in the middle": [nn.Linear(3, 5, rng), nn.Tanh(), inner, nn.Tanh(), nn.Linear(5, 4, rng)],
        "nested, first": [nn.Sequential(nn.Linear(3, 5, rng), nn.Tanh()), nn.Linear(5, 4, rng), nn.Tanh()],
        "nested, last": [nn.Linear(3, 5, rng), nn.Tanh(), nn.Sequential(nn.Linear(5, 4, rng), nn.Softplus())],
    }


@pytest.mark.parametrize("name", nets_with_matrices())
def test_rule_exact_makes_no_matrix_that_it_does_not_need_and_loses_nothing(name):
    net, loss = nn.Sequential(*nets_with_matrices()[name]), nn.SoftmaxCrossEntropy()
    rng = np.random.default_rng(1)
    x, t = rng.standard_normal((3, 6)), rng.integers(0, 4, 6)
    H = gradcheck.hessian_by_differences(net, loss, x, t)
    assert gradcheck.relative_error(vector(hess_diag(net, loss, x, t, "exact"), split(net, H[0])), np.diag(H)) <= 1e-12
    loss.forward(net.forward(x), t)
    net.backward_hessian_full(loss.backward(), loss.hessian())
    everything = gradcheck.flat(net, "hess_diag"), gradcheck.flat(net, "grad")
    assert full_matrices.to_parameters(net, loss.backward(), loss.hessian()) is None
    for ours, reference in zip((gradcheck.flat(net, "hess_diag"), gradcheck.flat(net, "grad")), everything):
        np.testing.assert_allclose(ours, reference, rtol=1e-12, atol=1e-15)


def test_rule_exact_refuses_what_lies_under_the_second_affine_layer_too():
    rng = np.random.default_rng(0)
    conv, x, t = nn.Conv2d(1, 2, 2, rng), rng.standard_normal((1, 4, 4, 3)), rng.integers(0, 4, 3)
    for net, message in [
        (nn.Sequential(conv, nn.Flatten(), nn.Linear(18, 4, rng)), "Conv2d has no full second-derivative rule"),
        (
            nn.Sequential(nn.Conv2d(1, 2, 2, rng), nn.Tanh(), nn.Flatten(), nn.Linear(18, 4, rng)),
            r"Tanh has the full second-derivative rule for features \(D, N\) only, got shape \(2, 3, 3, 3\)",
        ),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(16, 8, rng), nn.Dropout(0.5, rng), nn.Linear(8, 4, rng)),
            "Dropout has no full second-derivative rule",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            hess_diag(net, nn.SoftmaxCrossEntropy(), x, t, rule="exact")


def test_a_layer_without_a_full_rule_is_named():
    class Doubling(nn.Module):
        def forward(self, x):
            return 2 * x

    net, loss = nn.Sequential(Doubling()), nn.SquaredError()
    with pytest.raises(ValueError, match="Doubling has no full second-derivative rule"):
        hess_diag(net, loss, np.ones((2, 3)), np.ones((2, 3)), rule="exact")


def peak(run):
    """Megabytes that the call allocates at most."""
    tracemalloc.start()
    run()
    bytes_ = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return bytes_ / 1e6


@pytest.mark.parametrize("front", [(), (nn.Flatten, nn.Identity)])
def test_no_matrix_in_front_of_the_first_trained_layer(front):
    """(784, 784, 100) would be 490 MB; inside a container, and behind other layers, too."""
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Sequential(*(layer() for layer in front), nn.Linear(784, 10, rng)), nn.Tanh())
    x, t = rng.standard_normal((784, 100)), rng.integers(0, 10, 100)
    h = {}
    assert peak(lambda: h.update(hess_diag(net, nn.SoftmaxCrossEntropy(), x, t, "exact"))) <= 5
    # One layer: d2E/dw_ij2 = sum_n (d2E/da_i2)_n x_jn^2, with d2E/da2 = D H D + diag(f'' g) of the outputs.
    loss, tanh = nn.SoftmaxCrossEntropy(), nn.Tanh()
    loss.forward(net.forward(x), t)
    a = net.layers[1].a
    ha = tanh.df(a) ** 2 * loss.backward_hessian() + tanh.d2f(a) * loss.backward()
    W = next(name for name in h if name.endswith("W"))
    np.testing.assert_allclose(h[W], ha @ (x * x).T, rtol=1e-12)


def test_the_matrix_under_the_second_trained_layer_is_not_made_either():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(100, 300, rng), nn.Tanh()), nn.Linear(300, 10, rng))
    x, t = rng.standard_normal((100, 100)), rng.integers(0, 10, 100)
    # (300, 10, 100) floats are 2.4 MB, (300, 300, 100) were 72.
    assert peak(lambda: hess_diag(net, nn.SoftmaxCrossEntropy(), x, t, "exact")) <= 12


def test_what_stands_in_front_of_the_first_trained_layer_needs_no_full_rule():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 5, rng), nn.Tanh(), nn.Linear(5, 3, rng))
    x, t, loss = rng.standard_normal((1, 4, 4, 6)), rng.integers(0, 3, 6), nn.SoftmaxCrossEntropy()
    H = np.diag(gradcheck.hessian_by_differences(net, loss, x, t))
    ours = hess_diag(net, loss, x, t, "exact")
    assert gradcheck.relative_error(vector(ours, list(ours)), H) <= TOLERANCE


def test_a_residual_sum_has_no_full_rule_wherever_it_stands():
    rng = np.random.default_rng(0)
    block = nn.Residual(nn.Sequential(nn.Linear(4, 4, rng), nn.Tanh()))
    x, t = rng.standard_normal((4, 6)), rng.integers(0, 3, 6)
    for layers in ([block], [nn.Linear(4, 4, rng), block], [block, nn.Linear(4, 4, rng)]):
        with pytest.raises(ValueError, match="Residual has no full second-derivative rule"):
            hess_diag(nn.Sequential(*layers), nn.SoftmaxCrossEntropy(), x, t, "exact")


@pytest.mark.parametrize("rule", nn.curvature.RULES)
def test_an_interruption_leaves_the_curvature_of_before(rule):
    net, loss, x, t = CASES[3].build()
    hess_diag(net, loss, x, t, rule)
    before = [parameter.hess_diag for parameter in net.parameters()]

    class Interrupted(type(loss)):
        calls = 0

        def forward(self, y, t):
            Interrupted.calls += 1
            if Interrupted.calls == 2:
                raise KeyboardInterrupt
            return super().forward(y, t)

    with pytest.raises(KeyboardInterrupt):
        hess_diag(net, Interrupted(), 2 * x, t, rule, batch_size=2)
    for parameter, h in zip(net.parameters(), before):
        assert parameter.hess_diag is h


def test_a_weight_decay_of_numpy_leaves_float32_alone():
    rng = np.random.default_rng(0)
    net, loss = nn.models.mlp((3, 5, 4), rng, dtype=np.float32), nn.SoftmaxCrossEntropy()
    x, t = rng.standard_normal((3, 6)).astype(np.float32), rng.integers(0, 4, 6)
    v = {name: np.ones_like(p.data) for name, p in net.named_parameters()}
    for decay in (np.float64(0.1), np.array(0.1)):
        answers = [hess_diag(net, loss, x, t, weight_decay=decay), gradient(net, loss, x, t, decay)]
        answers += [nn.curvature.hessian_vector_product(net, loss, x, t, v, decay)]
        answers += nn.curvature.hutchinson(net, loss, x, t, 2, rng, decay)
        assert {each.dtype for answer in answers for each in answer.values()} == {np.dtype(np.float32)}
