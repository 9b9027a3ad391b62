"""The Gauss-Newton matrix against autograd, its inverse in two ways, and what has no inverse."""

import copy

import numpy as np
import pytest
from cases import CASES, SSE, Case

import nn
from nn import gradcheck
from nn.curvature import matrix as hessian

NAMES = ["linear-ce", "tanh-tanh-sse", "tanh-ce", "relu-ce", "relu-2-hidden-sse", "width-1-out-sse", "batch-of-one-ce"]
NETS = [case for case in CASES if case.name in NAMES]


def gauss_newton_by_autograd(net, loss, x, t):
    """sum_n J_n B_n J_n^T, both factors from torch.func."""
    from referees.networks import TORCH_LOSSES, energy, torch

    E, u, z = energy(net, loss, x, t)
    outputs = []
    twin = type(loss)()
    twin.forward = lambda y, target: outputs.append(y) or y  # energy returns what the loss returns: let it be y
    y_of, u, z = energy(net, twin, x, t)
    J = torch.func.jacrev(y_of, argnums=0)(u, z).numpy()  # (O, N, K)
    y, N, G = y_of(u, z), x.shape[-1], 0
    for n in range(N):
        target = torch.from_numpy(np.asarray(t[..., n]))
        B = torch.func.hessian(lambda v, target=target: TORCH_LOSSES[type(loss).__name__](v, target) / N)(
            y[:, n]
        ).numpy()
        G = G + J[:, n].T @ B @ J[:, n]
    return G


@pytest.mark.parametrize("case", NETS, ids=lambda case: case.name)
def test_gauss_newton_equals_autograd(case):
    net, loss, x, t = case.build()
    reference = gauss_newton_by_autograd(net, loss, x, t)
    for batch_size in (1, 4, 100):
        G = hessian.gauss_newton(net, loss, x, t, weight_decay=0.3, batch_size=batch_size)
        assert gradcheck.relative_error(G - 0.3 * np.eye(len(G)), reference) <= 1e-12


def test_gauss_newton_of_a_convolution_equals_autograd():
    rng = np.random.default_rng(0)
    layers = [
        nn.Conv2d(2, 3, (2, 3), rng),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Dropout(0.5, rng),
        nn.Flatten(),
        nn.Linear(12, 4, rng),
    ]
    net, x, t = nn.Sequential(*layers), rng.standard_normal((2, 5, 6, 3)), rng.integers(0, 4, 3)
    reference = gauss_newton_by_autograd(copy.deepcopy(net).eval(), nn.SoftmaxCrossEntropy(), x, t)
    net.train()
    assert gradcheck.relative_error(hessian.gauss_newton(net, nn.SoftmaxCrossEntropy(), x, t), reference) <= 1e-12
    assert all(module.training for module in net.modules())


def test_gauss_newton_is_the_hessian_of_one_layer_and_not_of_two():
    for name, exact in (("linear-sse", True), ("linear-ce", True), ("tanh-tanh-sse", False)):
        case = next(case for case in CASES if case.name == name)
        net, loss, x, t = case.build()
        H = gradcheck.hessian_by_differences(net, loss, x, t)
        error = gradcheck.relative_error(hessian.gauss_newton(net, loss, x, t), H)
        assert error <= 1e-12 if exact else error > 0.1


def with_masks(case):
    """The case with every third weight deleted, and the indices of what is left."""
    net, loss, x, t = case.build()
    start, live = 0, []
    for name, p in net.named_parameters():
        size = p.data.size
        if name.endswith("W"):
            p.mask = (np.arange(size) % 3 > 0).astype(float).reshape(p.shape)
            p.data = p.data * p.mask
            live += [start + k for k in range(size) if k % 3]
        else:
            live += list(range(start, start + size))
        start += size
    return (net, loss, x, t), live


@pytest.mark.parametrize("case", NETS, ids=lambda case: case.name)
def test_the_sweep_equals_the_direct_inverse_and_both_are_inverses_of_what_is_left(case):
    for arguments, live in ((case.build(), None), with_masks(case)):
        K = len(gradcheck.flat(arguments[0]))
        block = np.ix_(live or range(K), live or range(K))
        G = hessian.gauss_newton(*arguments, weight_decay=0.002) + 0.001 * np.eye(K)
        expected = np.zeros((K, K))
        expected[block] = np.linalg.inv(G[block])
        direct = hessian.inverse(*arguments, weight_decay=0.002, damping=0.001)
        sweep = hessian.inverse_by_sweep(*arguments, weight_decay=0.002, damping=0.001)
        assert gradcheck.relative_error(direct, expected) <= 1e-11
        assert gradcheck.relative_error(sweep, expected) <= 1e-11
        dead = np.setdiff1d(np.arange(K), live or range(K))
        assert not direct[dead].any() and not direct[:, dead].any()
        assert not sweep[dead].any() and not sweep[:, dead].any()


def test_the_sweep_is_hassibi_and_storks_recursion():
    """H^-1 <- H^-1 - H^-1 X X^T H^-1 / (P + X^T H^-1 X) for E = 1/(2P) sum (t - o)^2: half of our squared error."""
    net, loss, x, t = next(case for case in CASES if case.name == "width-1-out-sse").build()
    P, alpha = x.shape[-1], 1e-4
    Hinv = np.eye(len(gradcheck.flat(net))) / alpha
    for n in range(P):
        net.forward(x[:, n : n + 1])
        net.backward(np.ones((1, 1)))
        X = gradcheck.flat(net, "grad")
        Hinv = Hinv - np.outer(Hinv @ X, X @ Hinv) / (P + X @ Hinv @ X)
    ours = hessian.inverse_by_sweep(net, loss, x, t, damping=2 * alpha)
    assert gradcheck.relative_error(2 * ours, Hinv) <= 1e-10
    assert gradcheck.relative_error(ours, Hinv) > 0.4  # without the factor of the slide's squared error


def test_the_net_is_as_before():
    net, loss, x, t = CASES[3].build()
    net.backward(np.ones((4, 6)) + 0 * net.forward(x))
    before = [(p.data.copy(), p.grad.copy()) for p in net.parameters()]
    hessian.inverse(net, loss, x, t, damping=1.0)
    hessian.inverse_by_sweep(net, loss, x, t, damping=1.0)
    for p, (data, grad) in zip(net.parameters(), before):
        np.testing.assert_array_equal(p.data, data)
        np.testing.assert_array_equal(p.grad, grad)


def test_the_exact_hessian_can_be_inverted_at_a_minimum_only():
    net, loss, x, t = Case("", (3, 5, 4), nn.Tanh, nn.Tanh, SSE).build()
    H = gradcheck.hessian_by_differences(net, loss, x, t)
    lowest = np.linalg.eigvalsh(H)[0]
    assert lowest < 0
    with pytest.raises(
        ValueError, match=f"eigenvalues from {lowest:.3g} to .*damping well above {-lowest:.3g} makes it so"
    ):
        hessian.invert(H)
    with pytest.raises(ValueError, match=f"eigenvalues from .*damping well above {-lowest:.3g} makes it so"):
        hessian.invert(H, damping=-lowest / 2)
    Hinv = hessian.invert(H, damping=-2 * lowest)
    np.testing.assert_allclose(Hinv @ (H - 2 * lowest * np.eye(len(H))), np.eye(len(H)), atol=1e-10)


def test_a_dead_input_makes_the_hessian_singular_and_damping_mends_it():
    net, loss, x, t = CASES[2].build()
    x[1] = 0
    with pytest.raises(ValueError, match=r"expected a positive definite Hessian, got eigenvalues from .* to "):
        hessian.inverse(net, loss, x, t)
    assert np.all(np.isfinite(hessian.inverse(net, loss, x, t, damping=1e-6)))
    assert np.all(np.isfinite(hessian.inverse(net, loss, x, t, weight_decay=1e-6)))


def test_when_nothing_is_left_the_inverse_is_zero():
    np.testing.assert_array_equal(hessian.invert(np.eye(3), alive=np.zeros(3)), np.zeros((3, 3)))


@pytest.mark.parametrize(
    ("H", "arguments", "message"),
    [
        (np.eye(3)[:2], {}, r"expected a square Hessian, got shape \(2, 3\)"),
        (np.ones(3), {}, r"expected a square Hessian, got shape \(3,\)"),
        (np.eye(3), {"damping": -1.0}, "expected a damping of 0 or more, got -1.0"),
        (np.eye(3), {"damping": float("nan")}, "expected a damping of 0 or more, got nan"),
        (np.array([[1.0, 0.1], [0.0, 1.0]]), {}, "expected a symmetric Hessian of finite numbers"),
        (np.full((2, 2), np.nan), {}, "expected a symmetric Hessian of finite numbers"),
        (np.full((2, 2), np.inf), {}, "expected a symmetric Hessian of finite numbers"),
        (np.ones((2, 2)), {}, "expected a positive definite Hessian"),
        (np.zeros((2, 2)), {}, "expected a positive definite Hessian"),
        (np.zeros((0, 0)), {}, r"expected a square Hessian, got shape \(0, 0\)"),
        (np.array([[1.0, np.inf], [np.inf, 1.0]]), {}, "expected a symmetric Hessian of finite numbers"),
        (np.array([[1.0, np.inf], [0.0, 1.0]]), {}, "expected a symmetric Hessian of finite numbers"),
        (np.array([[1.0, 0.1], [0.1 + 2e-6, 1.0]]), {}, "expected a symmetric Hessian of finite numbers"),
        (np.eye(3), {"damping": float("inf")}, "expected a damping of 0 or more, got inf"),
        (np.eye(3), {"alive": np.ones(2)}, r"expected alive to be 3 zeros and ones, got shape \(2,\)"),
        (np.eye(3), {"alive": np.array([0, 2, 1])}, "expected alive to be 3 zeros and ones"),
        (np.eye(3), {"alive": np.array([0.5, 1, 1])}, "expected alive to be 3 zeros and ones"),
    ],
)
def test_a_matrix_without_an_inverse_is_one_sentence(H, arguments, message):
    with pytest.raises(ValueError, match=message), np.errstate(invalid="ignore"):
        hessian.invert(H, **arguments)


def test_rounding_of_a_matrix_is_no_asymmetry():
    np.testing.assert_allclose(
        hessian.invert(np.array([[1.0, 0.1], [0.1 + 5e-7, 1.0]])), [[1, -0.1], [-0.1, 1]] / np.float64(0.99), rtol=1e-5
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_advised_damping_is_the_one_that_it_takes(dtype):
    """Positive is not enough: the smallest eigenvalue has to stand above the rounding of the largest."""
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((40, 40)))[0]
    H = (Q * np.linspace(0, 7, 40) @ Q.T).astype(dtype)
    with pytest.raises(ValueError, match="a damping well above") as refused:
        hessian.invert((H + H.T) / 2, damping=np.finfo(dtype).eps)
    advice = float(str(refused.value).split()[-4])
    assert advice == pytest.approx(40 * np.finfo(dtype).eps * 7, rel=0.1)  # K eps h_max - h_min
    inverse = hessian.invert((H + H.T) / 2, damping=2 * advice)
    assert inverse.dtype == dtype and np.all(np.isfinite(inverse))
    with pytest.raises(ValueError, match="a damping well above"):
        hessian.invert((H + H.T) / 2, damping=advice / 2)


def test_a_mask_that_is_none_is_refused():
    net, loss, x, t = CASES[2].build()
    net.parameters()[0].mask = np.full(net.parameters()[0].shape, 0.5)
    for f in (hessian.inverse, hessian.inverse_by_sweep):
        with pytest.raises(ValueError, match="expected alive to be 44 zeros and ones"):
            f(net, loss, x, t, damping=1.0)


def test_a_net_too_large_for_a_matrix_is_refused_at_once():
    net = nn.models.mlp((784, 30, 10), np.random.default_rng(0))
    x, t = np.ones((784, 2)), np.array([0, 1])
    for f in (hessian.gauss_newton, hessian.inverse, hessian.inverse_by_sweep):
        with pytest.raises(ValueError, match=r"a net of at most 16384 parameters .* got 23860"):
            f(net, nn.SoftmaxCrossEntropy(), x, t, 1.0)


def test_settings_of_numpy_leave_float32_alone():
    rng = np.random.default_rng(0)
    net, loss = nn.models.mlp((3, 4), rng, dtype=np.float32), nn.SoftmaxCrossEntropy()
    x, t = rng.standard_normal((3, 6)).astype(np.float32), rng.integers(0, 4, 6)
    ten = np.float64(0.1)
    for f in (hessian.inverse, hessian.inverse_by_sweep):
        assert f(net, loss, x, t, weight_decay=ten, damping=ten).dtype == np.float32
    assert hessian.gauss_newton(net, loss, x, t, weight_decay=ten).dtype == np.float32


def test_bad_settings_are_one_sentence():
    net, loss, x, t = CASES[2].build()
    for f in (hessian.gauss_newton, hessian.inverse, hessian.inverse_by_sweep):
        with pytest.raises(ValueError, match="expected a weight decay of 0 or more, got -1"):
            f(net, loss, x, t, weight_decay=-1)
        with pytest.raises(ValueError, match="expected finite inputs"):
            f(net, loss, x * np.nan, t, weight_decay=1)
    with pytest.raises(
        ValueError, match=r"expected a positive damping to start from, got 0.0 \(and weight decay 0.0\)"
    ):
        hessian.inverse_by_sweep(net, loss, x, t)
    with pytest.raises(ValueError, match="expected a positive damping to start from, got -1"):
        hessian.inverse_by_sweep(net, loss, x, t, weight_decay=2.0, damping=-1)


def test_join_and_split_are_inverse():
    net = CASES[8].build()[0]
    u = hessian.vector(net)
    np.testing.assert_array_equal(u, gradcheck.flat(net))
    for name, p in net.named_parameters():
        np.testing.assert_array_equal(hessian.split(net, u)[name], p.data)
    np.testing.assert_array_equal(hessian.alive(net), np.ones(len(u)))


def test_on_every_library(library):
    (net, loss, x, t), _ = with_masks(CASES[3])
    other, z, s = copy.deepcopy(net).to(library.xp), library.xp.asarray(x), library.xp.asarray(t)
    for f in (hessian.inverse, hessian.inverse_by_sweep):
        ours = f(other, loss, z, s, weight_decay=0.01, damping=0.01)
        expected = f(net, nn.SoftmaxCrossEntropy(), x, t, weight_decay=0.01, damping=0.01)
        np.testing.assert_allclose(nn.backend.to_numpy(ours), expected, rtol=1e-10, atol=1e-12)
        nn.backend.get_array_module(ours, other.parameters()[0].data)


@pytest.mark.parametrize("both", [False, True])
def test_an_infinite_off_diagonal_entry_is_refused(both):
    H = np.eye(3)
    H[0, 1] = np.inf
    H[1, 0] = np.inf if both else 1.0
    with (
        pytest.raises(ValueError, match="expected a symmetric Hessian of finite numbers"),
        np.errstate(invalid="ignore"),
    ):
        hessian.invert(H)
