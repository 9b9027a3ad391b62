"""The R-operator: tangents of every layer and model against torch.func, and the estimates made of them."""

import copy
import itertools

import numpy as np
import pytest
from cases import CASES, CE, LAYERS, SSE, TINY, build_layer, build_model

import nn
from nn import gradcheck
from nn.backend import to_numpy
from nn.curvature import hessian_vector_product, hutchinson

TOLERANCE = 1e-12
BOTH = pytest.mark.parametrize("loss", [SSE, CE], ids=lambda loss: loss.__name__)
ALL_MLPS = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def flat(arrays):
    return np.concatenate([np.reshape(to_numpy(array), -1) for array in arrays.values()])


def split(net, u):
    ends = np.cumsum([p.data.size for p in net.parameters()])[:-1]
    return {name: piece.reshape(p.shape) for (name, p), piece in zip(net.named_parameters(), np.split(u, ends))}


def direction(net, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(p.shape) for name, p in net.named_parameters()}


def sweep(net, loss, x, t, v, rx):
    """Both tangent sweeps by hand, with a direction rx of the data too: R{dE/du} flat, and R{dE/dx}."""
    for name, parameter in net.named_parameters():
        parameter.direction = v[name]
    loss.forward(net.forward(x), t)
    gx, rgx = net.backward_tangent(loss.backward(), loss.backward_tangent(net.forward_tangent(rx)))
    np.testing.assert_array_equal(gx, net.backward(loss.backward()))
    return gradcheck.flat(net, "hess_vector"), rgx


def assert_tangents_equal_torch(net, loss, x, t, tolerance=TOLERANCE):
    from referees.networks import autograd_tangent

    v, rx = direction(net), np.random.default_rng(1).standard_normal(x.shape)
    ru_reference, rgx_reference = autograd_tangent(net, loss, x, t, flat(v), rx)
    ru, rgx = sweep(net, loss, x, t, v, rx)
    assert gradcheck.relative_error(ru, ru_reference) <= tolerance
    assert gradcheck.relative_error(rgx, rgx_reference) <= tolerance
    whole = np.linalg.norm(ru_reference)
    for (name, ours), reference in zip(split(net, ru).items(), split(net, ru_reference).values()):
        if np.linalg.norm(reference) > 1e-3 * whole:
            assert gradcheck.relative_error(ours, reference) <= tolerance, name


@BOTH
@pytest.mark.parametrize("name", LAYERS)
def test_tangents_of_every_layer_equal_jvp_of_grad(name, loss):
    net, E, x, t = build_layer(name, loss)
    assert_tangents_equal_torch(net.eval(), E, x, t)


@ALL_MLPS
def test_tangents_of_every_activation_and_loss_equal_jvp_of_grad(case):
    assert_tangents_equal_torch(*case.build())


@pytest.mark.parametrize("name", TINY)
def test_tangents_of_every_model_equal_jvp_of_grad(name):
    net, x, t = build_model(name)
    assert_tangents_equal_torch(net.eval(), nn.SoftmaxCrossEntropy(), x[..., :2], t[:2])


@pytest.mark.parametrize("name", LAYERS)
def test_sweeps_that_stop_at_the_parameters_fill_the_same_and_return_nothing(name):
    net, loss, x, t = build_layer(name)
    for part in (net, nn.Sequential(nn.Tanh(), *net.layers), net.layers[2]):
        part.eval()
        for parameter_name, parameter in part.named_parameters():
            parameter.direction = direction(part)[parameter_name]
        z = net.layers[0].forward(x) if part is net.layers[2] else x
        y = part.forward(z)
        gy, hy = np.random.default_rng(3).standard_normal((2, *y.shape))
        ry = part.forward_tangent(np.ones_like(z))
        for sweep_name, arguments in [
            ("backward", (gy,)),
            ("backward_hessian", (gy, hy)),
            ("backward_squares", (gy,)),
            ("backward_tangent", (gy, ry)),
        ]:
            getattr(part, sweep_name)(*arguments)
            filled = [(p.grad, p.hess_diag, p.hess_vector) for p in part.parameters()]
            for p in part.parameters():
                p.grad = p.hess_diag = p.hess_vector = None
            assert getattr(part, f"{sweep_name}_parameters")(*arguments) is None
            for p, arrays in zip(part.parameters(), filled):
                for ours, array in zip((p.grad, p.hess_diag, p.hess_vector), arrays):
                    if ours is not None:
                        np.testing.assert_array_equal(ours, array)
                written = {"backward": p.grad, "backward_hessian": p.hess_diag, "backward_squares": p.hess_diag}
                assert written.get(sweep_name, p.hess_vector) is not None


def test_soft_labels_that_do_not_sum_to_one():
    net, loss, x, _ = CASES[3].build()
    assert_tangents_equal_torch(net, loss, x, np.random.default_rng(0).uniform(0, 2, (4, 6)))


@pytest.mark.parametrize("name", LAYERS)
def test_products_equal_the_complex_step_along_the_direction(name):
    net, loss, x, t = build_layer(name)
    net.eval()
    v, u = direction(net), gradcheck.flat(net)
    step = gradcheck.COMPLEX_STEP
    reference = np.imag(gradcheck.gradient(copy.deepcopy(net), loss, x, t, u + 1j * step * flat(v))) / step
    assert gradcheck.relative_error(flat(hessian_vector_product(net, loss, x, t, v)), reference) <= TOLERANCE


@pytest.mark.parametrize("case", CASES[2:14], ids=lambda case: case.name)
def test_products_with_unit_vectors_are_the_columns_of_the_hessian(case):
    net, loss, x, t = case.build()
    H = gradcheck.hessian_by_differences(net, loss, x, t)
    columns = [flat(hessian_vector_product(net, loss, x, t, split(net, e))) for e in np.eye(len(H))]
    assert gradcheck.relative_error(np.array(columns), H) <= TOLERANCE


def test_batches_decay_and_what_is_left_behind():
    net, loss, x, t = CASES[3].build()
    net.train()
    v = direction(net)
    whole = hessian_vector_product(net, loss, x, t, v)
    for batch_size in (1, 4, 100):
        parts = hessian_vector_product(net, loss, x, t, v, weight_decay=0.25, batch_size=batch_size)
        np.testing.assert_allclose(flat(parts), flat(whole) + 0.25 * flat(v), rtol=1e-11, atol=1e-14)
    assert net.training
    for parameter in net.parameters():
        assert parameter.grad is None and parameter.direction is None and parameter.hess_vector is None
    np.testing.assert_array_equal(flat(v), flat(direction(net)))


@pytest.mark.parametrize("name", LAYERS)
def test_every_library_gives_the_same(name, library):
    net, loss, x, t = build_layer(name)
    v = direction(net)
    reference = flat(hessian_vector_product(net, loss, x, t, v))
    there, z, s = copy.deepcopy(net).to(library.xp), library.xp.asarray(x), library.xp.asarray(t)
    directions = {key: library.xp.asarray(each) for key, each in v.items()}
    ours = hessian_vector_product(there, nn.SquaredError(), z, s, directions)
    assert gradcheck.relative_error(flat(ours), reference) <= TOLERANCE


def test_hutchinson_in_every_library(library):
    net, loss, x, t = CASES[3].build()
    reference = hutchinson(net, loss, x, t, 3, np.random.default_rng(0), weight_decay=0.1, batch_size=4)
    there, z, s = copy.deepcopy(net).to(library.xp), library.xp.asarray(x), library.xp.asarray(t)
    ours = hutchinson(there, nn.SoftmaxCrossEntropy(), z, s, 3, np.random.default_rng(0), weight_decay=0.1)
    for a, b in zip(ours, reference):
        assert gradcheck.relative_error(flat(a), flat(b)) <= TOLERANCE


@pytest.mark.parametrize("name", ["grouped conv", "batch norm"])
def test_float32_stays_float32(name):
    net, loss, x, t = build_layer(name)
    for parameter in net.parameters():
        parameter.data = parameter.data.astype(np.float32)
    for module in net.modules():
        for key in module.buffers:
            setattr(module, key, getattr(module, key).astype(np.float32))
    estimates = hutchinson(net, loss, x.astype(np.float32), t.astype(np.float32), 2, np.random.default_rng(0))
    assert {each.dtype for estimate in estimates for each in estimate.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("case", [CASES[3], CASES[7]], ids=lambda case: case.name)
def test_hutchinson_is_within_four_standard_errors_of_the_hessian(case):
    net, loss, x, t = case.build()
    H = gradcheck.hessian_by_differences(net, loss, x, t)
    mean, error = hutchinson(net, loss, x, t, 1000, np.random.default_rng(0))
    away = np.abs(flat(mean) - np.diag(H))
    assert np.mean(away <= 4 * flat(error) + 1e-12) >= 0.99
    assert np.mean(away <= 0.1 * flat(error)) < 0.3  # the error bars are no excuse: most estimates do move
    # The variance of one probe is the sum of the squares of the off-diagonal entries.
    off_diagonal = np.sqrt(np.sum(H * H, axis=1) - np.diag(H) ** 2)
    np.testing.assert_allclose(flat(error) * np.sqrt(1000), off_diagonal, rtol=0.2, atol=1e-12)


class AllSigns:
    """Stands in for a generator: every vector of signs once."""

    def __init__(self, count):
        self.stream = itertools.chain.from_iterable(itertools.product([-1.0, 1.0], repeat=count))

    def choice(self, _, size):
        return np.array([next(self.stream) for _ in range(int(np.prod(size)))]).reshape(size)


def test_hutchinson_over_all_vectors_of_signs_is_the_diagonal():
    """Nothing is random here: the mean over all 2^P sign vectors is E[v (H v)], so this is unbiasedness itself."""
    net, loss, x, t = next(case for case in CASES if case.name == "width-1-everywhere-sse").build()
    H = gradcheck.hessian_by_differences(net, loss, x, t)
    mean, error = hutchinson(net, loss, x, t, 2**6, AllSigns(6))
    assert gradcheck.relative_error(flat(mean), np.diag(H)) <= TOLERANCE
    variance = np.sum(H * H, axis=1) - np.diag(H) ** 2
    assert gradcheck.relative_error(flat(error) ** 2 * (2**6 - 1), variance) <= TOLERANCE


def test_bad_input():
    net, loss, x, t = CASES[3].build()
    v, rng = direction(net), np.random.default_rng(0)
    for probes in (1, 0, -3):
        with pytest.raises(ValueError, match=f"at least 2 probes .* got {probes}"):
            hutchinson(net, loss, x, t, probes, rng)
    with pytest.raises(ValueError, match=r"direction for each of 1\.W, 1\.b, 3\.W, 3\.b, got 1\.W"):
        hessian_vector_product(net, loss, x, t, {"1.W": v["1.W"]})
    with pytest.raises(ValueError, match=r"direction for each of .*, got none"):
        hessian_vector_product(net, loss, x, t, {})
    with pytest.raises(ValueError, match=r"shape \(5, 3\) and float64 for 1\.W, got \(3, 5\) and float64"):
        hessian_vector_product(net, loss, x, t, {**v, "1.W": v["1.W"].T})
    with pytest.raises(ValueError, match=r"shape \(5,\) and float64 for 1\.b, got \(5,\) and float32"):
        hessian_vector_product(net, loss, x, t, {**v, "1.b": v["1.b"].astype(np.float32)})
    with pytest.raises(ValueError, match="weight decay of 0 or more, got -1"):
        hessian_vector_product(net, loss, x, t, v, weight_decay=-1)
    with pytest.raises(ValueError, match="0 inputs"):
        hessian_vector_product(net, loss, x[:, :0], t[:0], v)


def test_a_layer_without_tangents_is_named():
    class Doubling(nn.Module):
        def forward(self, x):
            return 2 * x

    net = nn.Sequential(nn.Linear(2, 2, np.random.default_rng(0)), Doubling())
    with pytest.raises(ValueError, match="Doubling has no rule for Hessian-vector products"):
        hessian_vector_product(net, nn.SquaredError(), np.ones((2, 3)), np.ones((2, 3)), direction(net))
    assert all(parameter.direction is None for parameter in net.parameters())
    with pytest.raises(ValueError, match="Doubling has no rule for Hessian-vector products"):
        Doubling().backward_tangent(np.ones(2), np.ones(2))
    norm = nn.BatchNorm(3)
    y = norm.forward(np.random.default_rng(0).standard_normal((3, 4)))
    for sweep_of_norm in (lambda: norm.forward_tangent(y), lambda: norm.backward_tangent(y, y)):
        with pytest.raises(ValueError, match="BatchNorm has second derivatives in eval mode only"):
            sweep_of_norm()


def test_dropout_in_train_mode_keeps_the_mask_it_drew():
    rng = np.random.default_rng(0)
    layer = nn.Dropout(0.5, rng)
    x = rng.standard_normal((5, 4))
    y = layer.forward(x)
    np.testing.assert_array_equal(layer.forward_tangent(x), y)
    np.testing.assert_array_equal(layer.backward_tangent(x, x), (y, y))
