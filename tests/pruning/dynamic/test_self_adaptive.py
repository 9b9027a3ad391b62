"""Gated convolutions: against autograd of an independent net, against the net cut for one image, and refusals."""

import copy

import numpy as np
import pytest

import nn
from nn import backend, checkpoint, gradcheck
from pruning import channels, surgery
from pruning.counts import count, live_connections
from pruning.dynamic import self_adaptive
from pruning.dynamic.self_adaptive import Gated, WithinBudget, cost, cost_slopes, gated, saliency_module

TOLERANCE = 1e-12
SHAPE = (2, 6, 5)
WIDTHS = (4, 5, 3)
KERNELS = (3, 5, 3)
FULL = 9 * 30 * 2 * 4 + 25 * 6 * 4 * 5 + 9 * 6 * 5 * 3


def chain(seed=0, dtype=np.float64):
    """Three gated convolutions with a max-pool among them, and an affine layer behind; biases are not zero."""
    rng = np.random.default_rng(seed)
    layers, c_in = [], SHAPE[0]
    for i, c_out in enumerate(WIDTHS):
        conv = nn.Conv2d(c_in, c_out, KERNELS[i], rng, padding=KERNELS[i] // 2, dtype=dtype)
        layers += [
            Gated(conv, saliency_module(c_in, c_out, 4, rng, dtype), np.random.default_rng([seed, i])),
            nn.ReLU(),
        ]
        layers += [nn.MaxPool2d(2)] if i == 0 else []
        c_in = c_out
    net = nn.Sequential(*layers, nn.GlobalAvgPool2d(), nn.Linear(c_in, 3, rng, dtype=dtype))
    for u in net.parameters():
        if len(u.shape) == 1:
            u.data = (u.data + rng.normal(0, 0.3, u.shape)).astype(dtype)
    return net


def data(N=8, seed=5):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((*SHAPE, N)), rng.integers(0, 3, N)


def fixed(net, N, soft=None):
    """The net with noise that stays: the first half of the images sees v1, or those that `soft` says."""
    rng = np.random.default_rng(9)
    for layer in gated(net):
        half = (np.arange(N) < N / 2) * 1.0 if soft is None else np.full(N, soft)
        layer.noise = rng.standard_normal((layer.conv.c_out, N)), half
    return net


def swept(net, loss, x, t):
    E = loss.forward(net.forward(x), t)
    return E, net.backward(loss.backward())


# ------------------------------------------------------------------------------------------------ derivatives


def by_torch(net, x, t, budget, strength):
    """E, dE/du (by name) and dE/dx of a net of torch's own operations, v2 passed through by hand: v1 + (v2 - v1)."""
    torch = pytest.importorskip("torch", reason="torch is not installed (extra verify)")
    F = torch.nn.functional
    u = {name: torch.from_numpy(p.data.copy()).requires_grad_() for name, p in net.named_parameters()}
    z = torch.from_numpy(np.moveaxis(x, -1, 0).copy()).requires_grad_()
    y, n_in, products = z, torch.full((x.shape[-1],), float(SHAPE[0]), dtype=z.dtype), 0.0
    for index, layer in enumerate(net.layers):
        if isinstance(layer, Gated):
            own = {name.removeprefix(f"{index}."): p for name, p in u.items() if name.startswith(f"{index}.")}
            noise, soft = (torch.from_numpy(np.asarray(each)) for each in layer.noise)
            s = F.batch_norm(y.mean((2, 3)), None, None, own["saliency.1.gamma"], own["saliency.1.beta"], True)
            s = F.linear(s, own["saliency.2.W"], own["saliency.2.b"]).relu()
            s = F.linear(s, own["saliency.4.W"], own["saliency.4.b"]) + noise.T
            v1 = (1.2 * torch.sigmoid(s) - 0.1).clamp(0, 1)
            v2 = v1 + ((s > 0).to(s.dtype) - v1).detach()
            v = torch.where(soft[:, None] == 1, v1, v2)
            y = v[:, :, None, None] * F.conv2d(y, own["conv.W"], own["conv.b"], padding="same")
            products = products + own["conv.W"][0, 0].numel() * y.shape[2] * y.shape[3] * n_in * v.sum(1)
            n_in = v.sum(1)
        elif isinstance(layer, nn.MaxPool2d):
            y = F.max_pool2d(y, 2)
        elif isinstance(layer, nn.ReLU):
            y = y.relu()
    logits = F.linear(y.mean((2, 3)), u[f"{index}.W"], u[f"{index}.b"])
    E = F.cross_entropy(logits, torch.from_numpy(t)) + strength * ((products / FULL).mean() - budget) ** 2
    *gu, gx = torch.autograd.grad(E, [*u.values(), z])
    return E.item(), dict(zip(u, (g.numpy() for g in gu))), np.moveaxis(gx.numpy(), 0, -1), products / FULL


@pytest.mark.parametrize("strength", [0.0, 5.0])
def test_the_gradient_is_autograds_of_a_net_that_passes_decisions_through(strength):
    x, t = data()
    net = fixed(chain(), 8)
    loss = WithinBudget(nn.SoftmaxCrossEntropy(), net, 0.25, strength)
    E, gx = swept(net, loss, x, t)
    E_torch, gu, gx_torch, share = by_torch(net, x, t, 0.25, strength)
    v = np.concatenate([layer.v.ravel() for layer in gated(net)])
    assert (v == 0).any() and (v == 1).any() and ((v > 0) & (v < 1)).any()
    np.testing.assert_allclose(E, E_torch, rtol=1e-13)
    np.testing.assert_allclose(cost(net), share.detach().numpy(), rtol=1e-13)
    ours = gradcheck.flat(net, "grad")
    assert gradcheck.relative_error(ours, np.concatenate([g.ravel() for g in gu.values()])) <= TOLERANCE
    assert gradcheck.relative_error(gx, gx_torch) <= TOLERANCE
    for name, p in net.named_parameters():
        assert p.grad.any() and gradcheck.relative_error(p.grad, gu[name]) <= 1e-11, name
    net.backward_parameters(loss.backward())  # the same without dE/dx
    np.testing.assert_allclose(gradcheck.flat(net, "grad"), ours, rtol=1e-13)


def test_the_gradient_of_v1_is_that_of_our_own_forward():
    """All images see v1: then E is smooth, and torch differentiates our own lines."""
    from referees.networks import autograd_gradient

    x, t = data()
    net, loss = fixed(chain(), 8, soft=1.0), nn.SoftmaxCrossEntropy()
    _, gx = swept(net, loss, x, t)
    gu_torch, gx_torch = autograd_gradient(net, loss, x, t)
    assert gradcheck.relative_error(gradcheck.flat(net, "grad"), gu_torch) <= TOLERANCE
    assert gradcheck.relative_error(gx, gx_torch) <= TOLERANCE


def test_the_slope_of_v1_by_the_complex_step():
    s = np.linspace(-4, 4, 161)
    step = self_adaptive.relaxed(s + 1e-30j).imag / 1e-30
    np.testing.assert_allclose(self_adaptive.slope(s), step, rtol=1e-13, atol=1e-15)
    assert self_adaptive.slope(np.array([-2.5, 2.5])).tolist() == [0, 0]
    np.testing.assert_allclose(self_adaptive.slope(np.zeros(1)), 0.3)


def test_the_slopes_of_the_cost_by_differences():
    net, (x, _) = fixed(chain(), 8), data()
    net.forward(x)
    before = [np.array(layer.v) for layer in gated(net)]
    found = cost_slopes(net)
    for layer, v, each in zip(gated(net), before, found, strict=True):
        for c in (0, v.shape[0] - 1):
            step = np.zeros(v.shape)
            step[c] = 1e-4
            layer.v = v + step
            up = cost(net)
            layer.v = v - step
            np.testing.assert_allclose(each, (up - cost(net)) / 2e-4, rtol=1e-9)
            layer.v = v


def test_the_cost_by_hand():
    net, (x, _) = chain().eval(), data(3)
    net.forward(x)
    v = [np.zeros((n, 3)) for n in WIDTHS]
    for layer, opened, own in zip(gated(net), ([1, 4, 0], [2, 5, 0], [3, 3, 0]), v):
        for image, n in enumerate(opened):
            own[:n, image] = 1
        layer.v = own
    one = (9 * 30 * 2 * 1 + 25 * 6 * 1 * 2 + 9 * 6 * 2 * 3) / FULL
    np.testing.assert_allclose(cost(net), [one, 1, 0], rtol=1e-14)


# ------------------------------------------------------------------------------------------------ a net for each image


def test_the_net_that_is_cut_for_one_image_computes_the_same_and_costs_what_is_said():
    """Channels that are closed are really removed, and what is left is counted by the package's own counts."""
    net, (x, _) = chain(seed=3), data(12)
    for _ in range(30):
        net.forward(x)  # moves the statistics, so that the decisions of eval mode differ
    net.eval()
    y, share, layers = net.forward(x), cost(net), gated(net)
    plain = nn.Sequential(*(layer.conv if isinstance(layer, Gated) else layer for layer in net.layers)).eval()
    names = [name for name, layer in plain.named_modules() if isinstance(layer, nn.Conv2d)]
    seen = set()
    for image in range(12):
        keep = {f"{name}.W": np.flatnonzero(layer.v[:, image]).tolist() for name, layer in zip(names, layers)}
        if not all(keep.values()):
            continue
        small = surgery.remove(plain, keep)
        np.testing.assert_allclose(small.forward(x[..., image : image + 1])[:, 0], y[:, image], rtol=1e-12)
        macs = count(small, SHAPE, "conv_only").macs
        assert count(plain, SHAPE, "conv_only").macs == FULL
        np.testing.assert_allclose(share[image], macs / FULL, rtol=1e-14)
        seen.add(tuple(map(tuple, keep.values())))
    assert len(seen) >= 4  # nets differ


def test_eval_mode_decides_without_noise_and_train_mode_with_it():
    net, (x, _) = chain(), data()
    first = net.eval().forward(x)
    assert all(set(np.unique(layer.v)) <= {0.0, 1.0} for layer in gated(net))
    assert (net.forward(x) == first).all()
    (layer, *_) = gated(net)
    s = layer.saliency.forward(x)
    np.testing.assert_array_equal(layer.v, (s > 0) * 1.0)
    net.train()
    assert not (net.forward(x) == net.forward(x)).all()


def test_half_of_the_images_see_v1_and_it_is_not_always_the_same_half():
    net, (x, _) = chain(), data(9)
    (layer, *_) = gated(net)
    softs = []
    for _ in range(200):
        noise, soft = layer.draw(9)
        softs.append(soft)
        assert noise.shape == (4, 9) and set(soft) == {0.0, 1.0}
    softs = np.array(softs)
    assert set(softs.sum(axis=1)) == {5}
    assert np.all(np.abs(softs.mean(axis=0) - 5 / 9) < 4 * np.sqrt(20 / 81 / 200))  # each image as often as the others
    counted = []
    for _ in range(50):
        layer.forward(x)
        counted.append(np.any((layer.v > 0) & (layer.v < 1), axis=0))
    assert np.all(np.any(counted, axis=0)) and not np.any(np.all(counted, axis=0))


def test_imposed_decisions_stand_in_the_place_of_its_own_in_eval_mode():
    net, (x, _) = chain().eval(), data()
    y, own = net.forward(x), [layer.v for layer in gated(net)]
    for layer, v in zip(gated(net), own):
        layer.imposed = v[:, ::-1]
    other = net.forward(x)
    assert not np.allclose(other, y) and all((a.v == b[:, ::-1]).all() for a, b in zip(gated(net), own))
    for layer, v in zip(gated(net), own):
        layer.imposed = v
    np.testing.assert_array_equal(net.forward(x), y)
    gated(net)[0].imposed = own[0][:, :1]
    with pytest.raises(ValueError, match=r"^Gated expected decisions of shape \(4, 8\), got \(4, 1\)$"):
        net.forward(x)


def test_in_eval_mode_decisions_are_constants():
    """Gradients and second derivatives are those of a plain net with v as factors; saliencies have none."""
    net, (x, t) = fixed(chain(), 8), data()
    loss = nn.SoftmaxCrossEntropy()
    swept(net, loss, x, t)  # leaves gradients of train mode
    _, gx = swept(net.eval(), loss, x, t)
    assert all(u.grad is None for layer in gated(net) for u in layer.saliency.parameters())
    step = np.random.default_rng(0).standard_normal(x.shape)
    E = lambda h: loss.forward(net.forward(x + h * step), t)  # noqa: E731
    v = [layer.v for layer in gated(net)]
    assert gradcheck.relative_error(np.array((E(1e-6) - E(-1e-6)) / 2e-6), np.sum(gx * step)) <= 1e-7
    assert all((a.v == b).all() for a, b in zip(gated(net), v))  # no decision within the step
    (layer, *_), gy, hy = gated(net), np.ones((4, 6, 5, 8)), np.full((4, 6, 5, 8), 2.0)
    layer.imposed = np.random.default_rng(1).uniform(0.2, 0.8, (4, 8))  # of which v^2 is not v
    layer.forward(x)
    gx, hx = layer.backward_hessian(gy, hy)
    spread = layer.v[:, None, None, :]
    layer.conv.forward(x)
    gx_conv, hx_conv = layer.conv.backward_hessian(spread * gy, spread**2 * hy)
    assert (gx == gx_conv).all() and (hx == hx_conv).all() and layer.conv.W.hess_diag.any()


# ------------------------------------------------------------------------------------------------ the house


def test_the_same_on_every_library(library):
    net, (x, t) = fixed(chain(), 8), data()
    other = copy.deepcopy(net).to(library.xp)
    z, s = library.xp.asarray(x), library.xp.asarray(t)
    for mode in ("train", "eval"):
        getattr(net, mode)(), getattr(other, mode)()
        E, gx = swept(net, WithinBudget(nn.SoftmaxCrossEntropy(), net, 0.25, 2.0), x, t)
        E_other, gx_other = swept(other, WithinBudget(nn.SoftmaxCrossEntropy(), other, 0.25, 2.0), z, s)
        np.testing.assert_allclose(float(E_other), E, rtol=1e-13)
        np.testing.assert_allclose(backend.to_numpy(gx_other), gx, rtol=1e-11, atol=1e-13)


def test_float32_stays():
    net, (x, t) = chain(dtype=np.float32), data()
    loss = WithinBudget(nn.SoftmaxCrossEntropy(), net, 0.25, 2.0)
    E, gx = swept(net, loss, x.astype(np.float32), t)
    found = (E, gx, cost(net), *(u.grad for u in net.parameters()), *(layer.v for layer in gated(net)))
    assert {each.dtype for each in found} == {np.dtype(np.float32)}


def trained(net, optimizer, epochs, path=None, seed=0):
    x, t = data(60)
    loss = WithinBudget(nn.SoftmaxCrossEntropy(), net, 0.3, 5.0)
    rng = np.random.default_rng(seed)
    settings = {"batch_size": 16, "rng": rng, "progress": False, "checkpoint_path": path}
    return nn.training.train(net, loss, optimizer, x, t, epochs=epochs, **settings)


def test_a_run_that_goes_on_from_its_checkpoint_ends_in_the_same_bits(tmp_path):
    whole, first = chain(), chain()
    trained(whole, nn.Adam(whole.parameters(), 3e-3), 4)
    trained(first, nn.Adam(first.parameters(), 3e-3), 2, tmp_path / "run.npz")
    again = chain()
    for layer in gated(again):
        layer.rng.standard_normal(100)  # the file says where its generators stand
    trained(again, nn.Adam(again.parameters(), 3e-3), 4, tmp_path / "run.npz")
    for (name, one), (_, other) in zip(whole.named_parameters(), again.named_parameters(), strict=True):
        np.testing.assert_array_equal(one.data, other.data, err_msg=name)


def test_a_net_is_loaded_with_its_decisions(tmp_path):
    net, (x, _) = chain(), data()
    net.forward(x)  # moves the statistics
    checkpoint.save(tmp_path / "net.npz", net)
    loaded = checkpoint.load(tmp_path / "net.npz")
    np.testing.assert_array_equal(loaded.eval().forward(x), net.eval().forward(x))


def test_training_brings_the_cost_to_the_budget():
    net, (x, _) = chain(seed=1), data(60)
    for _ in range(20):
        net.forward(x)
    net.eval().forward(x)
    before = float(np.mean(cost(net)))
    trained(net.train(), nn.Adam(net.parameters(), 1e-2), 40)
    net.eval().forward(x)
    assert abs(float(np.mean(cost(net))) - 0.3) < 0.05 < abs(before - 0.3)


def test_what_does_not_know_it_refuses_it_aloud():
    net, (x, t) = chain(), data()
    loss = nn.SoftmaxCrossEntropy()
    net.forward(x)
    directions = {name: np.ones(u.shape) for name, u in net.named_parameters()}
    for ask, message in (
        (lambda: count(net, SHAPE), "Gated is a container that cannot be counted"),
        (lambda: count(net, SHAPE, "full"), "Gated is a container that cannot be counted"),
        (lambda: live_connections(net, SHAPE), "Gated is a container that cannot be counted"),
        (lambda: channels.groups(net), "0 is a Gated, of which it is not known what becomes of a channel"),
        (lambda: surgery.preview(net, {"0.conv.W": [0]}), "0 is a Gated, of which it is not known what becomes of .*"),
        (lambda: surgery.remove(net, {"0.conv.W": [0]}), "0 is a Gated, of which it is not known what becomes of .*"),
        (lambda: surgery.remove_unused_paths(net, SHAPE), ".*Gated.*"),
        (lambda: surgery.fold_batchnorm(net), ".*Gated.*"),
        (lambda: surgery.harden(net), "Gated decides for each image: no plain layer computes the same, and nothing .*"),
        (lambda: nn.curvature.hess_diag(net, loss, x, t), ".*has no derivative in eval mode.*"),
        (lambda: nn.curvature.hessian_vector_product(net, loss, x, t, directions), "Gated has no rule for .*"),
    ):
        with pytest.raises(ValueError, match=f"^{message}$"):
            ask()


def test_a_duplicate_goes_on_from_the_same_noise():
    net, (x, _) = chain(), data()
    net.forward(x)
    other = surgery.duplicate(net)
    for _ in range(2):
        np.testing.assert_array_equal(other.forward(x), net.forward(x))
    assert gated(other)[0].rng is not gated(net)[0].rng


def test_second_derivatives_are_refused_in_train_mode():
    net, (x, t) = chain(), data()
    loss = nn.SoftmaxCrossEntropy()
    loss.forward(net.forward(x), t)
    net.forward(x)
    with pytest.raises(ValueError, match=r"^Gated has second derivatives in eval mode only: in train mode a decision"):
        gated(net)[2].backward_hessian(np.ones((3, 3, 2, 8)), np.ones((3, 3, 2, 8)))
    with pytest.raises(ValueError, match=r"^WithinBudget has no second derivative"):
        WithinBudget(loss, net, 0.5, 1.0).backward_hessian()


def test_bad_input_is_one_sentence():
    rng = np.random.default_rng(0)
    net, conv, module = chain(), lambda **k: nn.Conv2d(2, 4, 3, rng, **k), lambda o=4: saliency_module(2, o, 3, rng)
    loss = nn.SoftmaxCrossEntropy()
    plain = nn.Sequential(nn.Conv2d(2, 3, 3, rng), Gated(nn.Conv2d(3, 4, 3, rng), saliency_module(3, 4, 2, rng), rng))
    normed = nn.Sequential(Gated(conv(), module(), rng), nn.BatchNorm(4))
    unfit = nn.Sequential(Gated(conv(), module(), rng), Gated(conv(), module(), rng))
    for wrong, kind, message in (
        (lambda: WithinBudget(loss, net, 0.0, 1.0), ValueError, r"expected a budget in \(0, 1\], .*, got 0.0"),
        (lambda: WithinBudget(loss, net, 1.5, 1.0), ValueError, r"expected a budget in \(0, 1\], .*, got 1.5"),
        (lambda: WithinBudget(loss, net, float("nan"), 1.0), ValueError, r"expected a budget in \(0, 1\].*, got nan"),
        (lambda: WithinBudget(loss, net, "half", 1.0), TypeError, "expected a number for the budget, got 'half'"),
        (lambda: WithinBudget(loss, net, 0.5, -1.0), ValueError, "expected a strength of 0 or more, got -1.0"),
        (lambda: gated([net]), TypeError, "expected a net, got list"),
        (lambda: gated(nn.ReLU()), ValueError, "expected a net with gated convolutions, got one without"),
        (lambda: gated(plain), ValueError, "expected a chain of gated convolutions, got a Conv2d among them"),
        (lambda: gated(normed), ValueError, "expected a chain of gated convolutions, got a BatchNorm among them"),
        (lambda: gated(unfit), ValueError, "expected 4 channels in, got a convolution of 2"),
        (lambda: cost(chain()), ValueError, "expected a forward pass before the cost of its images, got none"),
        (lambda: Gated(nn.ReLU(), module(), rng), TypeError, "expected a convolution to gate, got a ReLU"),
        (lambda: Gated(conv(), len, rng), TypeError, "expected a layer that predicts saliencies, got a builtin.*"),
        (lambda: Gated(conv(), module(), 0), TypeError, "expected an np.random.Generator.*"),
        (lambda: Gated(conv(groups=2), module(), rng), ValueError, "expected a convolution of one group with all.*"),
        (lambda: Gated(conv(columns=[0]), module(), rng), ValueError, "expected a convolution of one group with all.*"),
        (lambda: Gated(conv(), module(3), rng).output_shape(SHAPE), ValueError, r"Gated expected saliencies of .*"),
        (lambda: Gated(conv(), module(), None).forward(data()[0]), ValueError, "Gated has no rng to draw noise.*"),
    ):
        with pytest.raises(kind, match=f"^{message}$"):
            wrong()
