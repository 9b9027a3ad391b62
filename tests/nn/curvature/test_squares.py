"""Rules made of squared gradients: Gauss-Newton, which a ReLU net's Hessian diagonal is, and the empirical Fisher."""

import copy
import itertools

import numpy as np
import pytest
from cases import CASES, CE, LAYERS, SSE, build_layer, flat, split

import nn
from nn import gradcheck
from nn.curvature import hess_diag
from nn.curvature.squares import Squares

TOLERANCE = 1e-12
BOTH = pytest.mark.parametrize("loss", [SSE, CE], ids=lambda loss: loss.__name__)
MLPS = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
PIECEWISE_LINEAR = [case for case in CASES if {case.hidden, case.output} <= {nn.ReLU, nn.Identity}]


def with_relu(name, loss):
    """The net of `test_layers.build` with every tanh replaced: y is then piecewise linear in every single weight."""
    net, E, x, t = build_layer(name, loss)
    for module in net.modules():
        if isinstance(module, nn.Tanh):
            module.__class__ = nn.ReLU
    return net.eval(), E, x, t


@pytest.mark.parametrize(("name", "loss"), [*zip(LAYERS, itertools.cycle((SSE, CE))), ("conv", CE), ("max-pool", SSE)])
def test_ggn_is_the_hessian_of_autograd_where_activations_are_piecewise_linear(name, loss):
    from referees.networks import autograd_hessian

    net, E, x, t = with_relu(name, loss)
    reference = np.diagonal(autograd_hessian(net, E, x[..., :2], t[..., :2])[0])
    ours = hess_diag(net, E, x[..., :2], t[..., :2], rule="ggn")
    assert gradcheck.relative_error(flat(ours), reference) <= TOLERANCE


@pytest.mark.parametrize("case", PIECEWISE_LINEAR, ids=lambda case: case.name)
def test_ggn_and_exact_are_two_ways_to_the_same_diagonal(case):
    net, E, x, t = case.build()
    assert (
        gradcheck.relative_error(flat(hess_diag(net, E, x, t, "ggn")), flat(hess_diag(net, E, x, t, "exact")))
        <= TOLERANCE
    )


@MLPS
def test_ggn_is_the_diagonal_of_the_gauss_newton_matrix(case):
    from referees.networks import gauss_newton_diagonal

    net, E, x, t = case.build()
    ours, reference = flat(hess_diag(net, E, x, t, "ggn")), gauss_newton_diagonal(net, E, x, t)
    assert gradcheck.relative_error(ours, reference) <= TOLERANCE
    assert np.all(ours >= 0)


@BOTH
@pytest.mark.parametrize("name", [name for name in LAYERS if name.startswith(("conv", "residual", "concat"))])
def test_ggn_of_a_net_with_tanh_is_gauss_newton_and_not_the_hessian(name, loss):
    from referees.networks import gauss_newton_diagonal

    net, E, x, t = build_layer(name, loss)
    ours = flat(hess_diag(net, E, x, t, "ggn"))
    assert gradcheck.relative_error(ours, gauss_newton_diagonal(net, E, x, t)) <= TOLERANCE
    rng = np.random.default_rng(0)
    for k in rng.choice(np.flatnonzero(ours[:36]), 3, replace=False):  # of the first convolution, where not all count
        v = np.eye(len(ours))[k]
        curvature = flat(nn.curvature.hessian_vector_product(net, E, x, t, split(net, v)))[k]
        assert abs(ours[k] - curvature) > 1e-3 * abs(curvature)


@BOTH
@pytest.mark.parametrize("name", LAYERS)
def test_fisher_is_the_mean_of_the_squared_gradients_of_single_patterns(name, loss):
    net, E, x, t = build_layer(name, loss)
    net.eval()
    u = gradcheck.flat(net)
    squares = [
        gradcheck.gradient(copy.deepcopy(net), E, x[..., n : n + 1], t[..., n : n + 1], u) ** 2 for n in range(3)
    ]
    assert gradcheck.relative_error(flat(hess_diag(net, E, x, t, "fisher")), np.mean(squares, axis=0)) <= TOLERANCE


@pytest.mark.parametrize("case", [case for case in CASES if case.loss is CE], ids=lambda case: case.name)
def test_fisher_averaged_over_the_labels_that_the_model_would_draw_is_ggn(case):
    net, E, x, t = case.build()
    x = x[:, :1]
    E.forward(net.forward(x), t[:1])
    by_label = [p * flat(hess_diag(net, E, x, np.array([k]), "fisher")) for k, p in enumerate(E.p[:, 0])]
    assert gradcheck.relative_error(sum(by_label), flat(hess_diag(net, E, x, t[:1], "ggn"))) <= TOLERANCE


def test_fisher_of_a_squared_error_is_ggn_if_the_residuals_are_plus_minus_a_root_of_a_half():
    """exp(-E) is Gaussian noise of variance 1/2: with residuals of that size, of independent signs, both agree."""
    net, E, x, _ = CASES[2].build()
    x = x[:, :1]
    y, K = net.forward(x), 4
    signs = [np.array([(number >> k) & 1 for k in range(K)]) * 2 - 1 for number in range(2**K)]
    mean = np.mean(
        [flat(hess_diag(net, E, x, y + s[:, None] * np.sqrt(0.5), "fisher")) for s in signs], axis=0
    )  # over all signs
    assert gradcheck.relative_error(mean, flat(hess_diag(net, E, x, y, "ggn"))) <= TOLERANCE


def test_fisher_is_not_the_hessian_and_vanishes_where_every_pattern_fits():
    net, E, x, _ = CASES[7].build()
    t = net.forward(x)
    assert np.all(flat(hess_diag(net, E, x, t, "fisher")) == 0)
    ggn = flat(hess_diag(net, E, x, t, "ggn"))
    assert gradcheck.relative_error(ggn, flat(hess_diag(net, E, x, t, "exact"))) <= TOLERANCE  # r = 0: no second term
    assert ggn.max() > 0.1


@pytest.mark.parametrize("rule", ["ggn", "fisher"])
@pytest.mark.parametrize("block", [1, 700, 2**18])
def test_conv_batches_and_blocks_of_patterns_add_up(rule, block, monkeypatch):
    net, E, x, t = build_layer("grouped conv", CE)
    whole = hess_diag(net, E, x, t, rule=rule, weight_decay=0.1)
    monkeypatch.setattr(nn.conv, "BLOCK", block)
    for batch_size in (1, 2, None):
        parts = hess_diag(net, E, x, t, rule=rule, weight_decay=0.1, batch_size=batch_size)
        np.testing.assert_allclose(flat(parts), flat(whole), rtol=1e-11)


@pytest.mark.parametrize("rule", ["ggn", "fisher"])
@pytest.mark.parametrize("name", LAYERS)
def test_every_library_gives_the_same(name, rule, library):
    net, E, x, t = build_layer(name)
    reference = flat(hess_diag(net, E, x, t, rule))
    there = copy.deepcopy(net).to(library.xp)
    ours = hess_diag(there, nn.SquaredError(), library.xp.asarray(x), library.xp.asarray(t), rule)
    assert gradcheck.relative_error(flat(ours), reference) <= TOLERANCE


@pytest.mark.parametrize("soft", [False, True])
@BOTH
def test_the_root_squared_is_the_hessian_of_the_loss(loss, soft):
    rng = np.random.default_rng(0)
    y, E = rng.standard_normal((4, 5)), loss()
    labels = rng.uniform(0, 2, (4, 5)) if soft else rng.integers(0, 4, 5)
    E.forward(y, labels if loss is CE else rng.standard_normal((4, 5)))
    S = E.hessian_root()
    assert gradcheck.relative_error(np.einsum("ikn,jkn->ijn", S, S), E.hessian()) <= TOLERANCE


def test_roots_of_logits_of_a_thousand_are_finite_and_negative_sums_are_refused():
    loss = nn.SoftmaxCrossEntropy()
    loss.forward(np.array([[1000.0], [-1000.0], [0.0]]), np.array([1]))
    assert np.all(np.isfinite(loss.hessian_root()))
    loss.forward(np.zeros((2, 2)), np.array([[0.5, 1.0], [0.5, -3.0]]))
    with pytest.raises(ValueError, match=r"labels with sums of 0 or more, got a sum of -2\.0"):
        loss.hessian_root()


@pytest.mark.parametrize("rule", ["ggn", "fisher"])
def test_float32_stays_float32_and_the_net_is_left_as_it_was(rule):
    net, E, x, t = build_layer("batch norm")
    net.to(np)
    for parameter in net.parameters():
        parameter.data = parameter.data.astype(np.float32)
    for module in net.modules():
        for name in module.buffers:
            setattr(module, name, getattr(module, name).astype(np.float32))
    net.train()
    h = hess_diag(net, E, x.astype(np.float32), t.astype(np.float32), rule)
    assert {each.dtype for each in h.values()} == {np.dtype(np.float32)}
    assert net.training and all(p.grad is None for p in net.parameters())


def test_a_layer_without_the_rule_is_named():
    class Scale(nn.Module):
        def __init__(self):
            self.s = nn.Parameter(np.array([2.0]))

        def forward(self, x):
            return self.s.data * x

    net = nn.Sequential(Scale())
    for rule in ("ggn", "fisher"):
        with pytest.raises(ValueError, match="Scale has no rule for the squared gradients of single patterns"):
            hess_diag(net, nn.SquaredError(), np.ones((2, 3)), np.ones((2, 3)), rule)
    norm = nn.BatchNorm(3)
    y = norm.forward(np.random.default_rng(0).standard_normal((3, 4)))
    with pytest.raises(ValueError, match="BatchNorm has second derivatives in eval mode only"):
        Squares().through(norm, y)
