import numpy as np

import nn
from pruning.scores import magnitude


def test_saliency_is_the_absolute_value():
    net = nn.models.mlp((3, 5, 4), np.random.default_rng(0))
    s = magnitude.saliency(net)
    assert list(s) == ["1.W", "3.W"]
    for name, values in s.items():
        np.testing.assert_array_equal(values, np.abs(dict(net.named_parameters())[name].data))
    assert list(magnitude.saliency(net, ["1.b"])) == ["1.b"]


def test_on_every_library(library):
    net = nn.models.mlp((3, 5, 4), np.random.default_rng(0))
    reference = magnitude.saliency(net)
    for name, values in magnitude.saliency(net.to(library.xp)).items():
        np.testing.assert_array_equal(nn.backend.to_numpy(values), reference[name])


def test_zeros_of_either_sign_are_worth_zero_and_no_less():
    net = nn.models.mlp((3, 2), np.random.default_rng(0))
    net.layers[1].W.data = np.array([[0.0, -0.0, -1.0], [2.0, -3.0, 0.0]])
    found = magnitude.saliency(net)["1.W"]
    np.testing.assert_array_equal(found, [[0, 0, 1], [2, 3, 0]])
    assert not np.signbit(found).any()


def test_names_from_an_iterator():
    net = nn.models.mlp((3, 5, 4), np.random.default_rng(0))
    assert list(magnitude.saliency(net, (n for n in ["3.W", "1.W"]))) == ["3.W", "1.W"]
