"""The R-operator: tangents of every layer and model against torch.func, and the estimates made of them."""

import copy
import itertools

import numpy as np
import pytest
from cases import CASES, CE, LAYERS, SSE, TINY, build_layer, build_model, flat, split

import nn
from nn import gradcheck
from nn.curvature import hess_diag, hessian_vector_product, hutchinson
from nn.curvature.squares import Squares
from nn.curvature.tangents import Tangents

TOLERANCE = 1e-12
BOTH = pytest.mark.parametrize("loss", [SSE, CE], ids=lambda loss: loss.__name__)
ALL_MLPS = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def direction(net, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(p.shape) for name, p in net.named_parameters()}


def tangents(net, v):
    """The sweep along the directions v {name: array}."""
    return Tangents({parameter: v[name] for name, parameter in net.named_parameters()})


def sweep(net, loss, x, t, v, rx):
    """Ahead and back by hand, with a direction rx of the data too: R{dE/du} flat, and R{dE/dx}."""
    loss.forward(net.forward(x), t)
    both = tangents(net, v)
    ry = both.forward(net, rx)
    gx, rgx = both.through(net, loss.backward(), loss.backward_tangent(ry))
    np.testing.assert_array_equal(gx, net.backward(loss.backward()))
    return np.concatenate([np.reshape(both.Hv[parameter], -1) for parameter in net.parameters()]), rgx


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
        z = net.layers[0].forward(x) if part is net.layers[2] else x
        y = part.forward(z)
        gy, hy = np.random.default_rng(3).standard_normal((2, *y.shape))
        for method, arguments, written in [("backward", (gy,), "grad"), ("backward_hessian", (gy, hy), "hess_diag")]:
            filled = everything_filled(part, lambda: getattr(part, method)(*arguments))  # noqa: B023
            again = everything_filled(part, lambda: getattr(part, f"{method}_parameters")(*arguments))  # noqa: B023
            assert_same(filled, again, written)
        filled = everything_filled(part, lambda: Squares().through(part, gy))  # noqa: B023
        again = everything_filled(part, lambda: Squares().to_parameters(part, gy))  # noqa: B023
        assert_same(filled, again, "hess_diag", others=())
        whole, stopped = tangents(part, direction(part)), tangents(part, direction(part))
        for both in (whole, stopped):
            ry = both.forward(part, np.ones_like(z))
        whole.through(part, gy, ry)
        assert stopped.to_parameters(part, gy, ry) is None
        assert set(whole.Hv) == set(stopped.Hv) == set(part.parameters())
        for parameter in part.parameters():
            np.testing.assert_array_equal(stopped.Hv[parameter], whole.Hv[parameter])


def everything_filled(part, run):
    """What a sweep leaves in the parameters: one dict each."""
    for parameter in part.parameters():
        parameter.grad = parameter.hess_diag = None
    run()
    return [{"grad": p.grad, "hess_diag": p.hess_diag} for p in part.parameters()]


def assert_same(filled, again, written, others=("grad", "hess_diag")):
    for arrays, same in zip(filled, again):
        assert arrays[written] is not None
        for key in {written, *others}:
            np.testing.assert_array_equal(same[key], arrays[key])


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
        assert parameter.grad is None and parameter.hess_diag is None
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
    for probes in (1, 0, -3, 2.5, 10**6, 2**63):
        with pytest.raises(ValueError, match=f"at least 2 probes .* at most 100000, got {probes}"):
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


class Doubling(nn.Module):
    """A layer that stands in no file of nn."""

    def forward(self, x):
        return 2 * x

    def backward(self, gy):
        return 2 * gy


class Shift(nn.Module):
    """Another one, with a parameter."""

    def __init__(self, n):
        self.b = nn.Parameter(np.zeros(n))

    def forward(self, x):
        return x + self.b.data[:, None]

    def backward(self, gy):
        self.b.grad = np.sum(gy, axis=1)
        return gy


def test_a_layer_without_tangents_is_named():
    net = nn.Sequential(nn.Linear(2, 2, np.random.default_rng(0)), Doubling())
    with pytest.raises(ValueError, match="Doubling has no rule for Hessian-vector products"):
        hessian_vector_product(net, nn.SquaredError(), np.ones((2, 3)), np.ones((2, 3)), direction(net))
    for rule in (Tangents({}).back, Tangents({}).through):
        with pytest.raises(ValueError, match="Doubling has no rule for Hessian-vector products"):
            rule(Doubling(), np.ones(2), np.ones(2))
    for sweep_of_shift, what in ((Tangents({}), "Hessian-vector products"), (Squares(), "squared gradients of single")):
        with pytest.raises(ValueError, match=f"Shift has no rule for .*{what}"):
            sweep_of_shift.fill(Shift(2), *(np.ones((2, 3)),) * (2 if sweep_of_shift.what.startswith("H") else 1))
    norm = nn.BatchNorm(3)
    y = norm.forward(np.random.default_rng(0).standard_normal((3, 4)))
    both = tangents(norm, direction(norm))
    for rule, arrays in ((both.forward, (y,)), (both.back, (y, y))):
        with pytest.raises(ValueError, match="BatchNorm has second derivatives in eval mode only"):
            rule(norm, *arrays)


def test_a_subclass_has_the_rules_of_its_base_class():
    class Named(nn.Linear):
        pass

    class Curved(nn.Tanh):
        pass

    rng = np.random.default_rng(0)
    net, plain = (nn.Sequential(L(3, 5, rng), A(), L(5, 4, rng)) for L, A in ((Named, Curved), (nn.Linear, nn.Tanh)))
    for ours, theirs in zip(net.parameters(), plain.parameters()):
        theirs.data = ours.data
    x, t, loss = rng.standard_normal((3, 6)), rng.standard_normal((4, 6)), nn.SquaredError()
    for rule in nn.curvature.RULES:
        ours, theirs = (flat(nn.curvature.hess_diag(each, loss, x, t, rule)) for each in (net, plain))
        np.testing.assert_array_equal(ours, theirs)
    ours, theirs = (flat(hessian_vector_product(each, loss, x, t, direction(net))) for each in (net, plain))
    np.testing.assert_array_equal(ours, theirs)


def test_a_layer_of_another_file_brings_its_own_rules():
    """Registered from outside, as layers of pruning/ do; the net is then the one with a bias, to the last bit."""

    class Moved(Shift):
        pass

    def ahead(sweep, layer, rx):
        return rx + sweep.v[layer.b][:, None]

    def fill(sweep, layer, gy, rgy):
        sweep.Hv[layer.b] = np.sum(rgy, axis=1)

    Tangents.ahead.register(Moved, ahead)
    Tangents.fill.register(Moved, fill)
    Tangents.back.register(Moved, lambda sweep, layer, gy, rgy: (gy, rgy))

    def squares(sweep, layer, gy):
        layer.b.hess_diag = np.sum(gy * gy, axis=1)

    Squares.fill.register(Moved, squares)
    rng = np.random.default_rng(0)
    apart = nn.Sequential(nn.Linear(3, 5, rng, bias=False), Moved(5), nn.Tanh(), nn.Linear(5, 4, rng))
    whole = nn.Sequential(nn.Linear(3, 5, rng), nn.Tanh(), nn.Linear(5, 4, rng))
    for ours, theirs in zip(apart.parameters(), whole.parameters()):
        theirs.data = ours.data
    x, t, loss = rng.standard_normal((3, 6)), rng.standard_normal((4, 6)), nn.SquaredError()
    v = dict(zip((name for name, _ in whole.named_parameters()), direction(apart).values()))
    ours, theirs = (
        hessian_vector_product(apart, loss, x, t, direction(apart)),
        hessian_vector_product(whole, loss, x, t, v),
    )
    np.testing.assert_array_equal(flat(ours), flat(theirs))
    for rule in ("ggn", "fisher"):
        ours, theirs = (flat(nn.curvature.hess_diag(net, loss, x, t, rule)) for net in (apart, whole))
        np.testing.assert_array_equal(ours, theirs)


def test_dropout_in_train_mode_keeps_the_mask_it_drew():
    rng = np.random.default_rng(0)
    layer = nn.Dropout(0.5, rng)
    x = rng.standard_normal((5, 4))
    y = layer.forward(x)
    np.testing.assert_array_equal(Tangents({}).forward(layer, x), y)
    np.testing.assert_array_equal(Tangents({}).through(layer, x, x), (y, y))


def test_directions_that_are_no_arrays_and_numbers_of_numpy():
    net, loss, x, t = CASES[0].build()
    v = {name: p.data.tolist() for name, p in net.named_parameters()}
    with pytest.raises(TypeError, match=r"expected an array of NumPy.*, got list"):
        hessian_vector_product(net, loss, x, t, v)
    for decay in ("0.1", None):
        with pytest.raises(TypeError, match="expected a number for the weight decay, got"):
            hess_diag(net, loss, x, t, weight_decay=decay)
    ours, same = (hutchinson(net, loss, x, t, probes, np.random.default_rng(0)) for probes in (20, np.uint8(20)))
    for one, other in zip(ours, same):  # 20 * 19 is more than 8 bits hold
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
