"""Optimal Brain Damage: the parabola, each of its three approximations, and the ranking it gives."""

import copy

import numpy as np
import pytest
from cases import CASES, SSE, Case
from scipy.stats import spearmanr

import nn
from nn import gradcheck
from nn.curvature import gradient, hess_diag
from pruning import masks
from pruning.scores import magnitude, obd


def deletions(net, loss, x, t):
    """The true change of E for deleting each prunable weight alone."""
    E, changes = float(loss.forward(net.forward(x), t)), {}
    for name, parameter in masks.prunable(net).items():
        changes[name] = np.zeros(parameter.shape)
        for k in np.ndindex(*parameter.shape):
            kept, parameter.data[k] = parameter.data[k], 0.0
            changes[name][k] = float(loss.forward(net.forward(x), t)) - E
            parameter.data[k] = kept
    return changes


def test_in_a_linear_net_with_squared_error_every_single_deletion_is_predicted_to_the_last_digit():
    """E is a parabola in each weight: -g u + h u^2 / 2 is exact, and without the gradient it is not."""
    net, loss, x, t = CASES[0].build()
    h, g = hess_diag(net, loss, x, t), gradient(net, loss, x, t)
    truth = deletions(net, loss, x, t)["1.W"]
    for k in np.ndindex(4, 3):
        keep = np.ones((4, 3))
        keep[k] = 0
        with_gradient = obd.predicted_change(net, {"1.W": keep}, h, g)
        assert with_gradient == pytest.approx(truth[k], rel=1e-11, abs=1e-14)
        assert obd.predicted_change(net, {"1.W": keep}, h) == pytest.approx(
            h["1.W"][k] * net.layers[1].W.data[k] ** 2 / 2
        )
    assert abs(with_gradient - obd.predicted_change(net, {"1.W": keep}, h)) > 1e-3


def minimum(orthogonal):
    """A least-squares layer at its minimum; with orthogonal inputs its Hessian is diagonal."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 8))
    if orthogonal:
        x = np.linalg.qr(x.T)[0].T * np.sqrt(8)
    t = rng.standard_normal((4, 8))
    net = nn.Sequential(nn.Linear(3, 4, rng, bias=False))
    net.layers[0].W.data = np.linalg.lstsq(x.T, t.T)[0].T
    return net, nn.SquaredError(), x, t


@pytest.mark.parametrize("orthogonal", [True, False])
def test_the_diagonal_is_enough_for_many_deletions_when_the_inputs_are_orthogonal(orthogonal):
    net, loss, x, t = minimum(orthogonal)
    h = hess_diag(net, loss, x, t)
    keep = {"0.W": np.tile([0.0, 1.0, 0.0], (4, 1))}
    E = loss.forward(net.forward(x), t)
    predicted = obd.predicted_change(net, keep, h)
    masks.apply(net, keep)
    truth = loss.forward(net.forward(x), t) - E
    if orthogonal:
        assert predicted == pytest.approx(truth, rel=1e-12)
    else:
        assert predicted != pytest.approx(truth, rel=1e-2)


def test_the_remainder_of_the_taylor_series_is_of_third_order_and_of_second_without_the_off_diagonal():
    net, loss, x, t = next(case for case in CASES if case.name == "tanh-2-hidden-sse").build()
    u = gradcheck.flat(net)
    H = gradcheck.hessian_by_differences(net, loss, x, t)
    g, E = gradcheck.gradient(net, loss, x, t, u), float(gradcheck.energy(net, loss, x, t, u))
    direction = np.random.default_rng(0).standard_normal(len(u))
    lengths = np.logspace(-1, -3, 5)
    full, diagonal = [], []
    for du in lengths[:, None] * direction / np.linalg.norm(direction):
        change = float(gradcheck.energy(net, loss, x, t, u + du)) - E
        full.append(abs(change - g @ du - du @ H @ du / 2))
        diagonal.append(abs(change - g @ du - np.diag(H) @ du**2 / 2))
    slope = lambda remainder: np.polyfit(np.log(lengths), np.log(remainder), 1)[0]  # noqa: E731
    assert 2.9 < slope(full) < 3.1
    assert 1.95 < slope(diagonal) < 2.05


def test_saliency_is_half_h_u_squared_where_h_is_positive_and_zero_where_it_is_negative():
    net, loss, x, t = next(case for case in CASES if case.name == "tanh-2-hidden-sse").build()
    h, s = hess_diag(net, loss, x, t), obd.saliency(net, loss, x, t)
    assert list(s) == ["1.W", "3.W", "5.W"]
    parameters = dict(net.named_parameters())
    negative = 0
    for name, values in s.items():
        expected = h[name] * parameters[name].data ** 2 / 2
        np.testing.assert_allclose(values[h[name] >= 0], expected[h[name] >= 0], rtol=1e-14)
        assert not values[h[name] < 0].any()
        negative += int(np.sum(h[name] < 0))
    assert negative > 0
    assert obd.count_negative(h, net) == negative
    for rule in nn.curvature.RULES:
        h, s = hess_diag(net, loss, x, t, rule), obd.saliency(net, loss, x, t, rule)
        for name, values in s.items():
            expected = np.maximum(h[name], 0) * parameters[name].data ** 2 / 2
            np.testing.assert_allclose(values, expected, rtol=1e-14)


def test_dead_weights_do_not_count_as_negative():
    net, loss, x, t = next(case for case in CASES if case.name == "tanh-2-hidden-sse").build()
    h = hess_diag(net, loss, x, t)
    for name, parameter in masks.prunable(net).items():
        parameter.mask = (h[name] >= 0).astype(float)
    assert obd.count_negative(h, net) == 0


def test_a_dead_input_is_free():
    net, loss, x, t = CASES[2].build()
    x[1] = 0
    assert not obd.saliency(net, loss, x, t)["1.W"][:, 1].any()


def test_weight_decay_and_batches_are_passed_on():
    net, loss, x, t = CASES[3].build()
    plain, decayed = obd.saliency(net, loss, x, t), obd.saliency(net, loss, x, t, weight_decay=2.0, batch_size=4)
    for name, parameter in masks.prunable(net).items():
        live = plain[name] > 0
        np.testing.assert_allclose(decayed[name][live], plain[name][live] + parameter.data[live] ** 2, rtol=1e-10)


def test_predicted_change_counts_only_what_is_not_deleted_yet():
    net, loss, x, t = CASES[3].build()
    h = hess_diag(net, loss, x, t)
    keep = masks.smallest(magnitude.saliency(net), 0.5)
    first = obd.predicted_change(net, keep, h)
    masks.apply(net, keep)
    assert first > 0
    assert obd.predicted_change(net, keep, h) == 0


def trained(seed, epochs):
    """A small net at a minimum of squared error (or, with no epochs, at its start), and its data."""
    rng = np.random.default_rng(seed)
    net = nn.models.mlp((6, 8, 3), rng, activation=nn.Tanh)
    teacher = nn.models.mlp((6, 4, 3), rng, activation=nn.Tanh)
    x = rng.standard_normal((6, 60))
    t = teacher.forward(x) + 0.3 * rng.standard_normal((3, 60))
    loss = nn.SquaredError()
    nn.training.train(net, loss, nn.Adam(net.parameters(), 0.02), x, t, epochs, 60, rng, progress=False)
    return net, loss, x, t


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_why_one_trains_first_the_ranking_is_noise_before_and_good_after(seed):
    correlations = {}
    for epochs in (0, 1500):
        net, loss, x, t = trained(seed, epochs)
        s = obd.saliency(net, loss, x, t, rule="exact")
        truth = deletions(net, loss, x, t)
        correlations[epochs] = spearmanr(*(np.concatenate([d[n].ravel() for n in s]) for d in (s, truth)))[0]
    assert correlations[1500] > 0.8
    assert correlations[0] < correlations[1500] - 0.2


def test_saliency_is_invariant_where_the_function_is_and_magnitude_is_not():
    net, loss, x, t = Case("", (3, 5, 4), nn.ReLU, nn.Identity, SSE).build()
    twin = copy.deepcopy(net)
    alpha = np.array([0.1, 10.0, 0.5, 3.0, 1.0])
    first, last = twin.layers[1], twin.layers[3]
    first.W.data, first.b.data = alpha[:, None] * first.W.data, alpha * first.b.data
    last.W.data = last.W.data / alpha
    np.testing.assert_allclose(twin.forward(x), net.forward(x), rtol=1e-12)
    order = lambda s: np.argsort(np.concatenate([v.ravel() for v in s.values()]), kind="stable").tolist()  # noqa: E731
    for name, values in obd.saliency(net, loss, x, t).items():
        np.testing.assert_allclose(obd.saliency(twin, loss, x, t)[name], values, rtol=1e-12)
    assert order(magnitude.saliency(twin)) != order(magnitude.saliency(net))


def test_on_every_library(library):
    net, loss, x, t = CASES[3].build()
    reference = obd.saliency(net, loss, x, t)
    h = hess_diag(net, loss, x, t)
    keep = masks.smallest(reference, 0.5)
    expected = obd.predicted_change(net, keep, h, gradient(net, loss, x, t))
    other, z, s = copy.deepcopy(net).to(library.xp), library.xp.asarray(x), library.xp.asarray(t)
    for name, values in obd.saliency(other, loss, z, s).items():
        np.testing.assert_allclose(nn.backend.to_numpy(values), reference[name], rtol=1e-12, atol=1e-15)
    moved = {name: library.xp.asarray(mask) for name, mask in keep.items()}
    h = hess_diag(other, loss, z, s)
    change = obd.predicted_change(other, moved, h, gradient(other, loss, z, s))
    assert change == pytest.approx(expected, rel=1e-11)
    assert obd.count_negative(h, other) == obd.count_negative(hess_diag(net, loss, x, t), net)


def test_names_from_an_iterator_are_all_of_them():
    net, loss, x, t = CASES[7].build()
    h, names = hess_diag(net, loss, x, t), ["3.W", "5.b"]
    assert list(obd.saliency(net, loss, x, t, names=iter(names))) == names
    assert obd.count_negative(h, net, iter(["1.W", "3.W"])) == obd.count_negative(h, net, ["1.W", "3.W"]) > 0


def test_a_mask_of_filters_predicts_what_the_full_mask_does():
    net, loss, x, t = CASES[7].build()
    h, g = hess_diag(net, loss, x, t), gradient(net, loss, x, t)
    rows = np.array([1.0, 0, 1, 0, 1])
    full = np.repeat(rows[:, None], 3, axis=1)
    assert obd.predicted_change(net, {"1.W": rows}, h, g) == obd.predicted_change(net, {"1.W": full}, h, g) != 0


def test_bad_input_is_one_sentence_before_the_sweep():
    net, loss, x, t = CASES[3].build()
    h = hess_diag(net, loss, x, t)
    for p in net.parameters():
        p.hess_diag = None
    with pytest.raises(ValueError, match=r"no parameter 9\.W"):
        obd.saliency(net, loss, x, t, names=["9.W"])
    assert all(p.hess_diag is None for p in net.parameters())
    keep = {"1.W": np.ones((5, 3))}
    for wrong, what in (([], "got list"), (None, "got NoneType"), ({"1.W": [1.0]}, r"got list for 1\.W")):
        with pytest.raises(TypeError, match=f"expected curvature as a dict of arrays by name, {what}"):
            obd.count_negative(wrong, net)
        with pytest.raises(TypeError, match=f"expected curvature as a dict of arrays by name, {what}"):
            obd.predicted_change(net, keep, wrong)
        with pytest.raises(TypeError, match=f"expected masks as a dict of arrays by name, {what}"):
            obd.predicted_change(net, wrong, h)
        if wrong is not None:
            with pytest.raises(TypeError, match=f"expected gradient as a dict of arrays by name, {what}"):
                obd.predicted_change(net, keep, h, wrong)
    for wrong, what in (({}, "none"), ({"1.W": np.ones((3, 5))}, r"\(3, 5\)")):
        for call in (lambda a: obd.count_negative(a, net), lambda a: obd.predicted_change(net, keep, a)):
            with pytest.raises(ValueError, match=rf"expected a curvature of shape \(5, 3\) for 1\.W, got {what}$"):
                call(wrong)
        with pytest.raises(ValueError, match=rf"expected a gradient of shape \(5, 3\) for 1\.W, got {what}$"):
            obd.predicted_change(net, keep, h, wrong)
    with pytest.raises(ValueError, match="zeros and ones"):
        obd.predicted_change(net, {"1.W": np.full((5, 3), 0.5)}, h)
