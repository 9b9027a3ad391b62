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
