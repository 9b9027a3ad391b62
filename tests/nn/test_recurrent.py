"""Sequences: derivatives through two recurrences and gates, by loops, in all libraries; resuming; bad input."""

import copy

import numpy as np
import pytest
from noisy_layers import ConcreteGate

import nn
from nn import backend, gradcheck

TOLERANCE = 1e-12
D, T, N, K, RANK = 3, 7, 5, 4, 2


def factorised(rng):
    """3 -> 2 -> 9 with a gate between, whose noise is fixed."""
    gate = ConcreteGate(RANK, rng)
    gate.noise = gate.draw(N)
    return nn.Sequential(nn.Linear(D, RANK, rng, bias=False), gate, nn.Linear(RANK, 3 * D, rng, bias=False))


def recurrent(seed=0):
    """Two recurrences with gates and an affine layer, sequences and labels of every position."""
    rng = np.random.default_rng(seed)
    net = nn.Sequential(nn.SRU(factorised(rng), D), nn.SRU(factorised(rng), D))
    net.layers.append(nn.Positionwise(nn.Linear(D, K, rng)))
    return net, rng.standard_normal((D, T, N)), rng.integers(0, K, (T, N))


def swept(net, x, t):
    loss = nn.SoftmaxCrossEntropy()
    loss.forward(net.forward(x), t)
    return loss, net.backward(loss.backward())


def test_gradients_through_two_recurrences_and_gates_equal_the_complex_step_and_autograd():
    net, x, t = recurrent()
    loss, gx = swept(net, x, t)
    ours = gradcheck.flat(net, "grad")
    gu, gx_step = gradcheck.gradient_by_differences(copy.deepcopy(net), loss, x, t)
    assert gradcheck.relative_error(ours, gu) <= TOLERANCE
    assert gradcheck.relative_error(gx, gx_step) <= TOLERANCE
    from referees.networks import autograd_gradient

    gu, gx_reference = autograd_gradient(net, loss, x, t)
    assert gradcheck.relative_error(ours, gu) <= TOLERANCE
    assert gradcheck.relative_error(gx, gx_reference) <= TOLERANCE


def test_the_recurrence_by_loops():
    """Every number of h, one after the other, in Python."""
    rng = np.random.default_rng(1)
    inner = nn.Linear(D, 3 * D, rng)
    layer, x = nn.SRU(inner, D), rng.standard_normal((D, T, N))
    h = layer.forward(x)
    sigmoid = lambda a: 1 / (1 + np.exp(-a))  # noqa: E731
    for n in range(N):
        c = np.zeros(D)
        for t in range(T):
            a = inner.W.data @ x[:, t, n] + inner.b.data
            u, f, r = a[:D], sigmoid(a[D : 2 * D]), sigmoid(a[2 * D :])
            c = f * c + (1 - f) * u
            np.testing.assert_allclose(h[:, t, n], r * np.tanh(c) + (1 - r) * x[:, t, n], rtol=1e-13, atol=1e-14)


def test_a_later_position_hears_an_earlier_one_and_not_the_other_way_round():
    net, x, t = recurrent()
    y = net.forward(x)
    moved = x.copy()
    moved[:, 3, 2] += 1
    change = abs(net.forward(moved) - y).max(axis=0) > 0
    assert change[3:, 2].all() and change.sum() == T - 3


def test_the_state_decays_by_the_forget_gate_going_back():
    """With f the same everywhere, dE/du_t of a loss at the last position alone falls by f a step."""
    n, f = 2, 0.75
    inner = nn.Linear(n, 3 * n, np.random.default_rng(0))
    inner.W.data[n:] = 0
    inner.b.data[n : 2 * n], inner.b.data[2 * n :] = np.log(f / (1 - f)), 40.0  # r = 1: nothing by the highway
    layer, x = nn.SRU(inner, n), np.random.default_rng(1).standard_normal((n, T, 1))
    gh = np.zeros(layer.forward(x).shape)
    gh[:, -1] = 1
    gx = np.abs(layer.backward(gh)[0, :, 0])
    np.testing.assert_allclose(gx[:-1] / gx[1:], f, rtol=1e-12)


def test_backward_parameters_fills_the_same_and_twice_changes_nothing():
    net, x, t = recurrent()
    loss, _ = swept(net, x, t)
    once = gradcheck.flat(net, "grad")
    for sweep in (net.backward_parameters, net.backward, net.backward_parameters):
        sweep(loss.backward())
        np.testing.assert_array_equal(gradcheck.flat(net, "grad"), once)


def test_the_same_on_every_library(library):
    rng = np.random.default_rng(2)
    net, _, t = recurrent()
    net = nn.Sequential(nn.Embedding(6, D, rng), *net.layers)
    x = rng.integers(0, 6, (T, N))
    other = copy.deepcopy(net).to(library.xp)
    for mode in ("train", "eval"):
        getattr(net, mode)(), getattr(other, mode)()
        loss, gx = swept(net, x, t)
        _, other_gx = swept(other, library.xp.asarray(x), library.xp.asarray(t))
        assert other_gx.shape == gx.shape == (T, N) and not gx.any()
        for p, q in zip(net.parameters(), other.parameters()):
            assert (p.grad is None) == (q.grad is None)
            if p.grad is not None:
                np.testing.assert_allclose(backend.to_numpy(q.grad), p.grad, rtol=1e-12, atol=1e-13)


def test_float32_stays():
    rng = np.random.default_rng(0)
    sru = nn.SRU(nn.Linear(D, 3 * D, rng, dtype=np.float32), D)
    net = nn.Sequential(nn.Embedding(6, D, rng, dtype=np.float32), sru)
    y = net.forward(rng.integers(0, 6, (T, N)))
    assert y.dtype == net.backward(y).dtype == np.float32
    assert {u.grad.dtype for u in net.parameters()} == {np.dtype(np.float32)}


def test_a_row_for_every_symbol_and_its_gradient_by_loops():
    rng = np.random.default_rng(3)
    layer, x = nn.Embedding(6, D, rng), np.array([[0, 2, 2], [5, 2, 0]])
    y, gy = layer.forward(x), rng.standard_normal((D, 2, 3))
    assert y.shape == (D, 2, 3)
    gW = np.zeros((6, D))
    for t, n in np.ndindex(x.shape):
        np.testing.assert_array_equal(y[:, t, n], layer.W.data[x[t, n]])
        gW[x[t, n]] += gy[:, t, n]
    layer.backward(gy)
    np.testing.assert_allclose(layer.W.grad, gW, rtol=1e-14)
    assert not layer.W.grad[[1, 3, 4]].any()
    np.testing.assert_array_equal(layer.forward(x.astype(np.uint8)), y)
    np.testing.assert_array_equal(layer.forward(x[0]), y[:, 0])


def test_a_layer_at_every_position():
    rng = np.random.default_rng(4)
    body = nn.Sequential(nn.Linear(D, K, rng), nn.Tanh())
    layer, x = nn.Positionwise(body), rng.standard_normal((D, T, N))
    y, (gy, hy) = layer.forward(x), rng.standard_normal((2, K, T, N))
    gx, hx = layer.backward_hessian(gy, hy)
    grad, hess_diag = gradcheck.flat(layer, "grad"), gradcheck.flat(layer, "hess_diag")
    sums = np.zeros((2, grad.size))
    for t in range(T):
        np.testing.assert_allclose(y[:, t], body.forward(x[:, t]), rtol=1e-13)
        ours = body.backward_hessian(gy[:, t], hy[:, t])
        np.testing.assert_allclose((gx[:, t], hx[:, t]), ours, rtol=1e-12)
        sums += gradcheck.flat(body, "grad"), gradcheck.flat(body, "hess_diag")
    np.testing.assert_allclose((grad, hess_diag), sums, rtol=1e-12)


@pytest.mark.parametrize("kind", ["sru", "positionwise"])
def test_the_layers_pass_the_examination(kind):
    rng = np.random.default_rng(5)
    layer = nn.SRU(nn.Linear(D, 3 * D, rng), D) if kind == "sru" else nn.Positionwise(nn.Linear(D, K, rng))
    report = nn.verify(layer, (D, 4, 3))
    assert report.ok, str(report)


def test_a_net_of_symbols_is_saved_loaded_and_goes_on(tmp_path):
    def run(epochs, path=None):
        rng = np.random.default_rng(6)
        sru = nn.SRU(nn.Linear(D, 3 * D, rng), D)
        net = nn.Sequential(nn.Embedding(K, D, rng), sru, nn.Positionwise(nn.Linear(D, K, rng)))
        x = rng.integers(0, K, (T + 1, 12))
        optimizer, shuffled = nn.Adam(net.parameters(), 0.01), np.random.default_rng(7)
        history = nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, x[:-1], x[1:], epochs, 4, shuffled,
                                    checkpoint_path=path, progress=False)  # fmt: skip
        return net, x, history

    whole, x, history = run(5)
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    for epochs in (2, 5):
        net, _, _ = run(epochs, tmp_path / "run.npz")
    np.testing.assert_array_equal(gradcheck.flat(net), gradcheck.flat(whole))
    loaded = nn.checkpoint.load(tmp_path / "run.npz")
    np.testing.assert_array_equal(loaded.forward(x[:-1]), net.eval().forward(x[:-1]))


X = np.ones((D, T, N))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sru().forward(X[:2]), r"^SRU\(3\) expected inputs \(3, T, N\), got \(2, 7, N\)$"),
        (lambda: sru().forward(X[:, 0]), r"^SRU expected sequences \(D, T, N\), got \(3, N\)$"),
        (lambda: sru().forward(X[:, :0]), r"^SRU expected sequences \(D, T, N\), got \(3, 0, N\)$"),
        (lambda: sru().forward(X.astype(int)), "^SRU expected floating-point numbers, got int64"),
        (lambda: sru().backward(X), "^SRU expected a forward pass before the sweep back, got none"),
        (lambda: nn.SRU(nn.Linear(3, 6, None), 3), r"^SRU\(3\) expected an inner net with 9 outputs, got shape \(6,\)"),
        (lambda: nn.SRU(nn.Linear(4, 9, None), 3), r"^Linear\(4, 9\) expected inputs \(4, N\), got \(3, N\)$"),
        (lambda: nn.SRU(7, 3), "^expected layers such as nn.ReLU"),
        (lambda: sru().backward_hessian(X, X), "^SRU has no rule for the diagonal of the second derivative$"),
        (lambda: nn.Positionwise(nn.Linear(3, 2, None)).forward(X[0]), "^Positionwise expected sequences"),
        (lambda: table().forward(np.array([[0, 6]])), r"^Embedding expected symbols in 0 \.\. 5, got .* 0 to 6$"),
        (lambda: table().forward(np.array([[-1]])), r"symbols in 0 \.\. 5, got some from -1 to -1$"),
        (lambda: table().forward(np.ones((2, 2))), "^Embedding expected the whole numbers of symbols, got float64$"),
        (lambda: nn.Embedding(0, 3, None), "positive"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def sru():
    rng = np.random.default_rng(0)
    return nn.SRU(nn.Linear(D, 3 * D, rng), D)


def table():
    return nn.Embedding(6, D, np.random.default_rng(0))
