"""Means, deviations and zeros of maps, against NumPy on the whole map."""

import numpy as np
import pytest

import nn
from pruning import filters
from pruning.scores import activation


def net_and_data():
    rng = np.random.default_rng(0)
    layers = [nn.Conv2d(2, 4, 3, rng), nn.BatchNorm(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3, rng)]
    net = nn.Sequential(*layers).train()
    net.layers[1].running_mean = rng.standard_normal(4)
    return net, 100 + rng.standard_normal((2, 6, 6, 11))


@pytest.mark.parametrize("batch_size", [None, 4])
def test_the_three_numbers_are_those_of_the_whole_map(batch_size):
    net, x = net_and_data()
    norm = net.layers[1]
    norm.running_mean = net.layers[0].forward(x).mean((1, 2, 3))
    conv = net.layers[0].forward(x)
    shape = -1, 1, 1, 1
    z = np.maximum((conv - norm.running_mean.reshape(shape)) / np.sqrt(1 + norm.eps), 0).reshape(4, -1)
    expected = {"saliency": z.mean(1), "deviation": z.std(1), "nonzero": (z > 0).mean(1)}
    for name, values in expected.items():
        found = getattr(activation, name)(net, x, iter(["0.W", "5.W"]), batch_size)
        assert list(found) == ["0.W", "5.W"]
        np.testing.assert_allclose(found["0.W"], values, rtol=1e-12)
    assert net.training and 0 < expected["nonzero"].min() and expected["nonzero"].max() < 1


def test_a_constant_far_from_zero_has_no_deviation():
    net, x = net_and_data()
    net.layers[0].W.data[1] = 0
    net.layers[0].b.data[1] = 1e6
    net.layers[1].running_mean[:] = 0
    found = activation.deviation(net, x, ["0.W"], 3)["0.W"]
    assert found[1] < 1e-8 < 0.1 < found.max(), "E[z^2] - E[z]^2 loses all digits here"


def test_filters_take_them():
    net, x = net_and_data()
    keep = filters.independent(net, {"0.W": 0.5}, lambda net, names: activation.saliency(net, x, names))
    assert keep == {"0.W": sorted(np.argsort(-activation.saliency(net, x)["0.W"])[:2])}


def test_bad_input_is_one_sentence():
    net, x = net_and_data()
    for score in (activation.saliency, activation.deviation, activation.nonzero):
        with pytest.raises(ValueError, match=r"expected weights of filters or units, 0\.W, 5\.W; 3\.W is not"):
            score(net, x, ["3.W"])
        with pytest.raises(ValueError, match="expected a list of names, got the string"):
            score(net, x, "0.W")
