"""Mixed widths: derivatives at fixed noise, interpolation, draws, eval mode, checkpoints, surgery, bad input."""

import copy
from itertools import permutations

import numpy as np
import pytest

import nn
from nn import backend, gradcheck
from pruning import surgery
from pruning.architectures.width_mix import WidthMix, interpolation, mixes, shares, two_of
from pruning.channels.tracing import trace
from pruning.counts import count

TOLERANCE = 1e-12
WIDTHS = (2, 3, 5, 7)
PAIRS = [(0, 1), (0, 3), (1, 2), (2, 3)]
SHAPES = [(7, 6), (7, 4, 3, 6)]
CHOOSES = 50.0
"""Noise that decides which widths are drawn."""


def mixed(rng, tau=0.7, pair=(1, 3), widths=WIDTHS, dtype=np.float64):
    """A mix with everything away from its starting values; its noise is fixed and draws this pair."""
    mix = WidthMix(*(nn.BatchNorm(c, dtype=dtype) for c in widths), rng=rng, temperature=tau)
    for norm in mix.norms:
        norm.gamma.data, norm.beta.data, norm.running_mean = rng.standard_normal((3, norm.channels)).astype(dtype)
        norm.running_variance = rng.uniform(0.5, 2, norm.channels).astype(dtype)
    mix.logits.data = rng.standard_normal(len(widths)).astype(dtype)
    mix.noise = rng.gumbel(size=(2, len(widths)))
    mix.noise[1, list(pair)] += CHOOSES
    return mix


def case(shape, pair=(1, 3), tau=0.7, seed=0):
    """A layer, a mix, tanh and a layer behind it, x and t."""
    rng = np.random.default_rng(seed)
    front = nn.Linear(3, 7, rng) if len(shape) == 2 else nn.Conv2d(3, 7, 2, rng)
    net = nn.Sequential(front, mixed(rng, tau, pair), nn.Tanh(), nn.Flatten())
    x = rng.standard_normal((3, 6) if len(shape) == 2 else (3, 5, 4, 6))
    net.layers.append(nn.Linear(net.output_shape(x.shape[:-1])[0], 2, rng))
    return net, x, rng.standard_normal((2, 6))


def swept(net, x, t):
    loss = nn.SquaredError()
    loss.forward(net.forward(x), t)
    return loss, net.backward(loss.backward())


@pytest.mark.parametrize("tau", [0.2, 3.0])
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_at_fixed_noise_equal_the_complex_step_and_autograd(shape, pair, tau):
    net, x, t = case(shape, pair, tau)
    loss, gx = swept(net, x, t)
    assert tuple(net.layers[1].drawn) == pair
    ours = gradcheck.flat(net, "grad")
    gu, gx_step = gradcheck.gradient_by_differences(copy.deepcopy(net), loss, x, t)
    assert gradcheck.relative_error(ours, gu) <= TOLERANCE
    assert gradcheck.relative_error(gx, gx_step) <= TOLERANCE
    ends = np.cumsum([u.data.size for u in net.parameters()])
    for (name, u), of_all in zip(net.named_parameters(), np.split(gu, ends[:-1])):
        if np.linalg.norm(of_all) > 1e-3 * np.linalg.norm(gu):  # a saturated softmax has no digits of its own
            assert gradcheck.relative_error(u.grad.ravel(), of_all) <= TOLERANCE, name
    from referees.networks import autograd_gradient

    gu, gx_reference = autograd_gradient(net, loss, x, t)
    assert gradcheck.relative_error(ours, gu) <= TOLERANCE
    assert gradcheck.relative_error(gx, gx_reference) <= TOLERANCE


def test_the_houses_own_examination_finds_nothing():
    mix = WidthMix(*map(nn.BatchNorm, (2, 3, 5)), rng=np.random.default_rng(0))
    assert nn.verify(mix, (5, 3, 3), np.random.default_rng(1)).ok


def torch_mix(torch, mix, x, a, norms):
    """The authors' layer in torch, from its parts: torch's batch norm and adaptive pooling, softmax of two of v."""
    images = torch.from_numpy(np.moveaxis(x, -1, 0).copy())
    v = (torch.log_softmax(a, dim=0) + torch.from_numpy(mix.noise[0])) / mix.temperature
    p = torch.softmax(v[mix.drawn], dim=0)
    m = mix.widths[mix.drawn[-1]]
    y = torch.zeros_like(images)
    for j, k in enumerate(mix.drawn):
        z = norms[k](images[:, : mix.widths[k]])
        positions = z.reshape(z.shape[0], z.shape[1], -1)
        pooled = torch.nn.functional.adaptive_avg_pool1d(positions.transpose(1, 2), m).transpose(1, 2)
        y[:, :m] = y[:, :m] + p[j] * pooled.reshape(len(images), m, *images.shape[2:])
    return y


@pytest.mark.parametrize("pair", PAIRS)
def test_the_layer_equals_one_built_of_torchs_parts(pair):
    torch = pytest.importorskip("torch", reason="torch is not installed (extra verify)")
    rng = np.random.default_rng(3)
    mix, (x, g) = mixed(rng, 0.4, pair), rng.standard_normal((2, 7, 4, 3, 6))
    a, norms = torch.from_numpy(mix.logits.data).requires_grad_(), []
    for norm in mix.norms:
        theirs = torch.nn.BatchNorm2d(norm.channels, dtype=torch.float64)
        theirs.weight.data, theirs.bias.data = torch.from_numpy(norm.gamma.data), torch.from_numpy(norm.beta.data)
        theirs.running_mean.copy_(torch.from_numpy(norm.running_mean))
        theirs.running_var.copy_(torch.from_numpy(norm.running_variance))
        norms.append(theirs)
    y = mix.forward(x)
    reference = torch_mix(torch, mix, x, a, norms)
    assert gradcheck.relative_error(y, np.moveaxis(reference.detach().numpy(), 0, -1)) <= TOLERANCE
    torch.sum(reference * torch.from_numpy(np.moveaxis(g, -1, 0).copy())).backward()
    mix.backward(g)
    assert gradcheck.relative_error(mix.logits.grad, a.grad.numpy()) <= TOLERANCE
    for k in range(4):
        there = norms[k].weight.grad
        assert (there is None) == (k not in pair) == (not mix.norms[k].gamma.grad.any())
        if there is not None:
            assert gradcheck.relative_error(mix.norms[k].gamma.grad, there.numpy()) <= TOLERANCE
            assert gradcheck.relative_error(mix.norms[k].running_mean, norms[k].running_mean.numpy()) <= TOLERANCE
            assert gradcheck.relative_error(mix.norms[k].running_variance, norms[k].running_var.numpy()) <= TOLERANCE


def test_the_mix_by_hand():
    """Widths 1 and 2 of one number a channel, in plain numbers: own norms, a mean of one channel, tau, and zeros."""
    mix = WidthMix(*map(nn.BatchNorm, (1, 2, 3)), rng=np.random.default_rng(0), temperature=0.5)
    mix.logits.data, mix.noise = np.array([0.3, -0.2, 4.0]), np.array([[0.1, 0.4, 0.0], [CHOOSES, CHOOSES, 0.0]])
    mix.norms[0].gamma.data, mix.norms[1].gamma.data = np.array([2.0]), np.array([1.0, 3.0])
    mix.norms[1].beta.data = np.array([0.0, 0.5])
    x = np.array([[1.0, -1.0], [2.0, -2.0], [9.0, 9.0]])
    y = mix.forward(x)
    p = 1 / (1 + np.exp(-((0.4 - 0.2) / 0.5)))  # of the first of the two, v = 0.8 and 0.4
    s, r = 1 / np.sqrt(1 + 1e-5), 2 / np.sqrt(4 + 1e-5)
    first = np.array([p * 2 * s + (1 - p) * s, p * 2 * s + (1 - p) * (3 * r + 0.5), 0])
    np.testing.assert_allclose(y[:, 0], first, rtol=1e-14)
    mix.backward(np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]))
    slope = p * (1 - p) / 0.5 * (2 * s + 2 * s - (s + 3 * r + 0.5))
    np.testing.assert_allclose(mix.logits.grad, [slope, -slope, 0], rtol=1e-13)


# ------------------------------------------------------------------------------------------------ interpolation


def test_interpolation_is_adaptive_average_pooling():
    torch = pytest.importorskip("torch", reason="torch is not installed (extra verify)")
    for n in range(1, 33):
        for m in range(1, 33):
            pooled = torch.nn.functional.adaptive_avg_pool1d(torch.eye(n, dtype=torch.float64)[None], m)[0]
            np.testing.assert_allclose(interpolation(n, m), pooled.numpy().T, rtol=0, atol=TOLERANCE)


def test_interpolation_by_hand_and_its_variance():
    np.testing.assert_array_equal(interpolation(4, 2), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    np.testing.assert_array_equal(interpolation(2, 4), [[1, 0], [1, 0], [0, 1], [0, 1]])
    np.testing.assert_allclose(interpolation(3, 2), [[0.5, 0.5, 0], [0, 0.5, 0.5]])
    np.testing.assert_array_equal(interpolation(5, 5), np.eye(5))
    # Of independent channels of variance 1, the mean variance of the rows of 64 made of 57.
    assert (interpolation(57, 64) ** 2).sum(axis=1).mean() == 0.5625


# ------------------------------------------------------------------------------------------------ what is drawn


def test_two_are_drawn_without_replacement_with_the_probabilities_of_enumeration():
    rng, draws = np.random.default_rng(0), 40_000
    v = np.array([0.0, 1.0, -0.5, 0.7])
    q = np.exp(v) / np.exp(v).sum()
    seen = {pair: 0 for pair in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]}
    for h in rng.gumbel(size=(draws, 4)):
        seen[tuple(two_of(v, h))] += 1
    for pair, found in seen.items():
        p = sum(q[i] * q[j] / (1 - q[i]) for i, j in permutations(pair))
        assert abs(found / draws - p) <= 4 * np.sqrt(p * (1 - p) / draws), pair


def test_every_forward_pass_draws_anew_and_the_generator_alone_decides():
    x = np.random.default_rng(1).standard_normal((7, 6))
    mix, twin = (WidthMix(*map(nn.BatchNorm, WIDTHS), rng=np.random.default_rng(5)) for _ in range(2))
    pairs = [(tuple(m.drawn), *m.p.tolist()) for m in (mix, twin) for _ in range(20) if m.forward(x) is not None]
    assert pairs[:20] == pairs[20:] and len(set(pairs[:20])) == 20 and len({pair for pair, *_ in pairs}) >= 4


def test_a_low_temperature_makes_the_mix_one_width_and_stays_finite():
    for dtype in (np.float32, np.float64):
        mix = mixed(np.random.default_rng(0), 1e-3, dtype=dtype)
        mix.logits.data *= 50
        x = np.random.default_rng(1).standard_normal((7, 6)).astype(dtype)
        with np.errstate(all="raise", under="ignore"):
            y = mix.forward(x)
            gx = mix.backward(y)
        assert {y.dtype, gx.dtype, mix.logits.grad.dtype} == {np.dtype(dtype)}
        assert np.isfinite(y).all() and np.isfinite(mix.logits.grad).all() and mix.p.max() == 1


def test_an_optimizer_can_step_where_widths_were_not_drawn():
    net, x, t = case(SHAPES[1])
    before = {name: u.data.copy() for name, u in net.named_parameters()}
    swept(net, x, t)
    nn.SGD(net.parameters(), 0.1).step()
    moved = {name for name, u in net.named_parameters() if (u.data != before[name]).any()}
    assert {"1.norms.1.gamma", "1.norms.3.beta", "1.logits", "0.W"} <= moved
    assert not {name for name in moved if name.startswith(("1.norms.0", "1.norms.2"))}


# ------------------------------------------------------------------------------- eval mode, second derivatives


def test_eval_mode_is_the_batch_norm_of_the_largest_logit():
    rng = np.random.default_rng(0)
    mix, x = mixed(rng).eval(), rng.standard_normal((7, 4, 3, 6))
    mix.logits.data = np.array([0.1, 0.5, 0.5, -1.0])  # the narrower of equal ones
    y = mix.forward(x)
    gx = mix.backward(np.ones_like(x))
    assert mix.logits.grad is None and not gx[3:].any()
    np.testing.assert_array_equal(y[:3], mix.norms[1].forward(x[:3]))
    assert mix.width == 3 and not y[3:].any()


def test_second_derivatives_in_eval_mode_are_those_of_the_chosen_batch_norm():
    net, x, t = case(SHAPES[1])
    mix, rng = net.eval().layers[1], np.random.default_rng(8)
    y = mix.forward(x := rng.standard_normal((7, 4, 3, 6)))
    t, h = rng.standard_normal((2, *y.shape))
    gx, hx = mix.backward_hessian(h * (y - t), h)
    gradient = lambda v: mix.backward(h * (mix.forward(v) - t))  # noqa: E731
    H = gradcheck.complex_step(gradient, x).reshape(x.size, x.size)
    assert gradcheck.relative_error(hx.ravel(), np.diag(H)) <= TOLERANCE
    np.testing.assert_array_equal(gx, gradient(x))
    assert mix.logits.hess_diag is None
    norm = mix.norms[mix.drawn[0]]
    assert norm.gamma.hess_diag.any() and not mix.norms[0 if mix.drawn[0] else 1].gamma.hess_diag.any()
    mix.train().forward(x)
    with pytest.raises(ValueError, match=r"WidthMix has second derivatives in eval mode only"):
        mix.backward_hessian(y, y)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_on_every_library(shape, library):
    net, x, t = case(shape)
    other = copy.deepcopy(net).to(library.xp)
    z, s = library.xp.asarray(x), library.xp.asarray(t)
    for mode in ("train", "eval"):
        getattr(net, mode)(), getattr(other, mode)()
        _, gx = swept(net, x, t)
        _, other_gx = swept(other, z, s)
        np.testing.assert_allclose(backend.to_numpy(other_gx), gx, rtol=1e-12, atol=1e-13)
        for p, q in zip(net.parameters(), other.parameters()):
            assert (p.grad is None) == (q.grad is None)
            if p.grad is not None:
                np.testing.assert_allclose(backend.to_numpy(q.grad), p.grad, rtol=1e-12, atol=1e-13)
    hardened = surgery.harden(other).forward(z)
    np.testing.assert_allclose(backend.to_numpy(hardened), net.forward(x), rtol=1e-12, atol=1e-13)


# ------------------------------------------------------------------------------- checkpoints, surgery, counts


def test_checkpoints_and_copies_are_the_same_layer(tmp_path):
    net, x, _ = case(SHAPES[1])
    copied = surgery.duplicate(net)
    np.testing.assert_array_equal(copied.eval().forward(x), net.eval().forward(x))
    assert copied.layers[1].logits is not net.layers[1].logits and copied.layers[1].rng is not net.layers[1].rng
    net.layers[1].noise = None
    np.testing.assert_array_equal(surgery.duplicate(net).train().forward(x), copy.deepcopy(net).train().forward(x))
    nn.checkpoint.save(tmp_path / "net.npz", net.eval())
    loaded = nn.checkpoint.load(tmp_path / "net.npz")
    np.testing.assert_array_equal(loaded.forward(x), net.forward(x))
    assert loaded.layers[1].temperature == 0.7
    with pytest.raises(ValueError, match=r"^WidthMix has no rng to draw widths with"):
        loaded.train().forward(x)


@pytest.mark.parametrize("k", range(4))
def test_the_hardened_net_computes_the_same_and_what_is_closed_goes(k):
    net, x, _ = case(SHAPES[1])
    net.layers[1].logits.data[k] = 9
    plain = surgery.harden(net)
    y = net.eval().forward(x)
    np.testing.assert_allclose(plain.eval().forward(x), y, rtol=1e-12)
    small = surgery.remove_unused_paths(plain, x.shape[:-1])
    np.testing.assert_allclose(small.forward(x), y, rtol=1e-12, atol=1e-14)
    assert small.layers[0].W.shape[0] == small.layers[4].W.shape[1] // 12 == WIDTHS[k]


def test_what_would_count_or_cut_it_refuses_it():
    net, x, t = case(SHAPES[1])
    with pytest.raises(ValueError, match="WidthMix"):
        count(net, x.shape[:-1])
    with pytest.raises(ValueError, match="1 is a WidthMix, of which it is not known what becomes of a channel"):
        trace(net)
    with pytest.raises(ValueError, match="WidthMix"):
        surgery.remove(net, {"0.W": [0]})
    with pytest.raises(ValueError, match=r"^1\.logits has no derivative in eval mode"):
        nn.curvature.hess_diag(net, nn.SquaredError(), x, t)
    assert count(surgery.harden(net), x.shape[:-1]).macs > 0
    assert list(mixes(net)) == ["1"]


def test_what_does_not_fit_is_one_sentence():
    rng = np.random.default_rng(0)
    for norms, given in (((3,), r"\[3\]"), ((), r"\[\]"), ((3, 2), r"\[3, 2\]"), ((2, 2), r"\[2, 2\]")):
        with pytest.raises(ValueError, match=f"^expected at least 2 widths that ascend, got {given}$"):
            WidthMix(*map(nn.BatchNorm, norms), rng=rng)
    with pytest.raises(TypeError, match=r"^expected a BatchNorm for each width, got int$"):
        WidthMix(2, 3, rng=rng)
    norms = [nn.BatchNorm(2), nn.BatchNorm(3)]
    for tau in (0, -1, np.inf, np.nan):
        with pytest.raises(ValueError, match=f"^expected a temperature above 0, got {tau}$"):
            WidthMix(*norms, rng=rng, temperature=tau)
    mix = WidthMix(*norms, rng=rng)
    with pytest.raises(ValueError, match=r"^expected a temperature above 0, got 0$"):
        mix.temperature = 0
    with pytest.raises(TypeError, match=r"^expected a number for the temperature, got 'warm'$"):
        mix.temperature = "warm"
    with pytest.raises(TypeError, match=r"expected an np.random.Generator"):
        WidthMix(*norms, rng=7)
    with pytest.raises(ValueError, match=r"^WidthMix of widths up to 3 expected as many channels, got 2$"):
        mix.forward(np.ones((2, 5)))
    with pytest.raises(ValueError, match=r"^WidthMix expected floating-point numbers"):
        mix.forward(np.ones((3, 5), int))
    with pytest.raises(ValueError, match=r"expected a forward pass before the sweep back"):
        WidthMix(*norms, rng=rng).backward(np.ones((3, 5)))
    with pytest.raises(ValueError, match=r"^expected a whole number of channels of at least 1, got 0$"):
        interpolation(0, 3)
    with pytest.raises(ValueError, match=r"^expected shares above 0, at most 1, got \[0.0\]$"):
        shares(8, [0])


def test_widths_are_those_of_the_authors():
    assert shares(64) == [19, 25, 32, 38, 44, 51, 57, 64] and shares(32) == [9, 12, 16, 19, 22, 25, 28, 32]
    assert shares(2) == [1, 2] and shares(10) == [3, 4, 5, 6, 7, 8, 9, 10]
