"""Taylor against gates in the net, differentiated by the complex step, and against itself with a bug."""

import numpy as np
import pytest

import nn
from nn.gradcheck import relative_error
from pruning import filters, surgery
from pruning.scores import filter_norm, gates, taylor

SHAPE = (2, 6, 6)
STEP = 1e-30


class Gate(nn.Channelwise):
    """y = z x with one z a channel, as `nn.Channelwise` describes it."""

    def __init__(self, z):
        self.channels, self.z = len(z), z

    def factor(self):
        return self.z

    def forward(self, x):
        return self.z.reshape(-1, *(1 for _ in x.shape[1:])) * x


def net_and_data(seed=0, norm=True):
    rng = np.random.default_rng(seed)
    layers = [nn.Conv2d(2, 4, 3, rng, padding=1), *([nn.BatchNorm(4)] if norm else []), nn.ReLU(), nn.MaxPool2d(2)]
    body = nn.Sequential(nn.Conv2d(4, 3, 3, rng, padding=1), nn.Softplus(), nn.Conv2d(3, 4, 3, rng, padding=1))
    head = [nn.Residual(body), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5, rng), nn.Tanh(), nn.Linear(5, 3, rng)]
    net = nn.Sequential(*layers, *head).eval()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm):
            layer.gamma.data, layer.beta.data = rng.uniform(-1, 1, 4), rng.standard_normal(4)
            layer.running_mean, layer.running_variance = rng.standard_normal(4), rng.uniform(0.5, 2, 4)
    return net, rng.standard_normal((*SHAPE, 7)), rng.integers(0, 3, 7)


def by_gate(net, place, C, x, t):
    """dE_n/dz_k (C, N) of gates behind the layer at this place of the chain, by the complex step."""
    front, back = nn.Sequential(*net.layers[: place + 1]), nn.Sequential(*net.layers[place + 1 :])
    found = np.zeros((C, x.shape[-1]))
    for k in range(C):
        gate = Gate(np.where(np.arange(C) == k, 1 + 1j * STEP, 1))
        for n in range(x.shape[-1]):
            y = back.forward(gate.forward(front.forward(x[..., n : n + 1])))
            found[k, n] = np.imag(nn.SoftmaxCrossEntropy().forward(y, t[n : n + 1])) / STEP
    return found


@pytest.mark.parametrize("seed", range(3))
def test_taylor_is_the_derivative_by_a_gate_at_1(seed):
    net, x, t = net_and_data(seed)
    loss, names = nn.SoftmaxCrossEntropy(), ["0.W", "7.W", "9.W"]
    signed = taylor.gates(net, loss, x, t, names, batch_size=3)
    forms = {form: getattr(taylor, form)(net, loss, x, t, names) for form in ("saliency", "of_mean", "squared")}
    for name, place, C in (("0.W", 2, 4), ("7.W", 8, 5), ("9.W", 9, 3)):
        g = by_gate(net, place, C, x, t)
        assert relative_error(signed[name], g) < 1e-12
        assert relative_error(forms["saliency"][name], np.abs(g).mean(1)) < 1e-12
        assert relative_error(forms["of_mean"][name], np.abs(g.mean(1))) < 1e-12
        assert relative_error(forms["squared"][name], (g**2).mean(1)) < 1e-12


def test_the_mean_over_patterns_is_the_gate_on_the_rows_where_no_norm_follows():
    net, x, t = net_and_data(norm=False)
    loss, names = nn.SoftmaxCrossEntropy(), ["0.W", "3.body.2.W", "8.W"]
    found = taylor.of_mean(net, loss, x, t, names)
    loss.forward(net.forward(x), t)
    net.backward(loss.backward())
    for name in names:  # ReLU(z a) = z ReLU(a): the gate may stand in front of it, or behind no activation at all
        assert relative_error(found[name], np.abs(gates.rows(net, [name])[name])) < 1e-12


def test_the_order_of_the_absolute_values_matters():
    net, x, t = net_and_data()
    loss = nn.SoftmaxCrossEntropy()
    a, b, c, d = (each(net, loss, x, t) for each in (taylor.of_mean, taylor.saliency, taylor.inside, taylor.squared))
    for name in ("0.W", "4.body.0.W"):
        assert (a[name] <= b[name]).all() and (b[name] <= c[name]).all() and (b[name] ** 2 <= d[name]).all()
        assert relative_error(a[name], b[name]) > 0.05 and relative_error(b[name], c[name]) > 0.05
    orders = [[*np.argsort(np.concatenate([each["0.W"], each["4.body.0.W"]]))] for each in (a, b, c)]
    assert orders[0] != orders[1] and orders[1] != orders[2]


def test_inside_is_the_sum_of_the_absolute_products_in_loops():
    net, x, t = net_and_data()
    found = taylor.inside(net, nn.SoftmaxCrossEntropy(), x, t, ["0.W"], batch_size=2)["0.W"]
    z = nn.Sequential(*net.layers[:3]).forward(x)
    behind, loss = nn.Sequential(*net.layers[3:]), nn.SoftmaxCrossEntropy()
    loss.forward(behind.forward(z), t)
    g = 7 * behind.backward(loss.backward())
    for k in range(4):
        assert found[k] == pytest.approx(np.mean([np.abs(z[k, ..., n] * g[k, ..., n]).sum() for n in range(7)]), 1e-12)


def test_batch_norm_is_in_eval_mode_whatever_the_mode_of_the_net():
    net, x, t = net_and_data()
    loss = nn.SoftmaxCrossEntropy()
    expected = taylor.saliency(net, loss, x, t)
    net.train()
    running = net.layers[1].running_mean.copy()
    found = taylor.saliency(net, loss, x, t)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
    np.testing.assert_array_equal(net.layers[1].running_mean, running)


def test_normalised_layers_have_a_norm_of_1_and_hide_the_factor_of_the_positions():
    net, x, t = net_and_data()
    scores = taylor.saliency(net, nn.SoftmaxCrossEntropy(), x, t)
    unit = taylor.normalised(scores)
    assert all(np.linalg.norm(score) == pytest.approx(1, abs=1e-15) for score in unit.values())
    positions = {"0.W": 36, "4.body.0.W": 9, "4.body.2.W": 9, "7.W": 1, "9.W": 1}
    by_mean = {name: score / positions[name] for name, score in scores.items()}
    assert all(relative_error(taylor.normalised(by_mean)[name], unit[name]) < 1e-15 for name in unit)
    order = [np.argsort(np.concatenate(list(each.values()))).tolist() for each in (scores, by_mean, unit)]
    assert order[0] != order[1] != order[2] != order[0], "raw scores of different layers are in another order"
    np.testing.assert_array_equal(taylor.normalised({"0.W": np.zeros(3)})["0.W"], 0)


def test_the_term_for_the_cost_is_macs_of_one_filter_in_millions():
    net, _, _ = net_and_data()
    scores = {name: np.ones(C) for name, C in (("0.W", 4), ("4.body.0.W", 3), ("7.W", 5))}
    found = taylor.cheapened(net, scores, SHAPE, 100)
    for name, macs in (("0.W", 36 * 19), ("4.body.0.W", 9 * 37), ("7.W", 37)):
        np.testing.assert_allclose(found[name], 1 - 1e-4 * macs, atol=1e-14)


def test_filters_and_surgery_take_it():
    net, x, t = net_and_data()

    def score(net, names):
        return taylor.saliency(net, nn.SoftmaxCrossEntropy(), x, t, names)

    for choose in (filters.independent, filters.greedy):
        keep = choose(net, {"0.W": 0.5, "4.body.0.W": 0.3}, score)
        assert {name: len(rows) for name, rows in keep.items()} == {"0.W": 2, "4.body.0.W": 2}
        assert surgery.remove(net, keep).forward(x).shape == (3, 7)
    assert filters.independent(net, {"0.W": 0.5}, score) != filters.independent(net, {"0.W": 0.5}, filter_norm.saliency)


@pytest.mark.parametrize("seed", range(5))
def test_euler_signed_gate_gradients_of_a_layer_add_up_to_the_same_in_all_layers(seed):
    """Behind every layer of a bias-free ReLU net y is homogeneous of degree 1: sum_k z_k dE/dz_k = y dE/dy."""
    rng = np.random.default_rng(seed)
    convs = [nn.Conv2d(2, 4, 3, rng, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 2, rng, bias=False)]
    net = nn.Sequential(*convs, nn.ReLU(), nn.Flatten(), nn.Linear(5, 6, rng, bias=False), nn.ReLU())
    net = nn.Sequential(*net.layers, nn.Linear(6, 3, rng, bias=False)).eval()
    x, t = rng.standard_normal((*SHAPE, 9)), rng.integers(0, 3, 9)
    loss = nn.SoftmaxCrossEntropy()
    sums = [g.sum(0) for g in taylor.gates(net, loss, x, t).values()]
    loss.forward(y := net.forward(x), t)
    for each in sums:
        assert relative_error(each, (9 * y * loss.backward()).sum(0)) < 1e-12
    net.layers[6].b = nn.Parameter(rng.standard_normal(6))
    sums = [g.sum(0) for g in taylor.gates(net, loss, x, t).values()]
    assert relative_error(sums[1], sums[2]) > 1e-3, "a bias takes its own share"


def test_bad_input_is_one_sentence():
    net, x, t = net_and_data()
    loss = nn.SoftmaxCrossEntropy()
    with pytest.raises(ValueError, match=r"expected weights of filters or units, 0\.W, .*; 1\.gamma is not"):
        taylor.saliency(net, loss, x, t, ["1.gamma"])
    with pytest.raises(ValueError, match="as many targets as inputs"):
        taylor.inside(net, loss, x, t[:3])
    with pytest.raises(TypeError, match="expected scores as a dict"):
        taylor.normalised([1, 2])
    with pytest.raises(ValueError, match=r"expected scores of 0\.W, .*, got those of 3\.W"):
        taylor.cheapened(net, {"3.W": np.ones(2)}, SHAPE, 1)
    with pytest.raises(ValueError, match="expected a strength of 0 or more, got -1"):
        taylor.cheapened(net, {"0.W": np.ones(4)}, SHAPE, -1)
