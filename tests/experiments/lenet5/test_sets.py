"""What ADMM may leave of the two convolutions."""

import numpy as np
import pytest

import nn
from pruning import masks
from pruning.experiments.lenet5 import sets
from pruning.penalties import admm


def test_the_second_convolution_chooses_among_columns_that_are_read():
    net = nn.models.lenet5(np.random.default_rng(0), dtype=np.float64)
    W1, W2 = net.layers[0].W.data, net.layers[2].W.data
    W1[7:] *= 0.01
    W2[:, 7:] *= 100
    first, second = sets.conv_sets(net, {"0.W": [5, 12], "2.W": [20, 60]}).values()
    made = first(W1).reshape(20, -1).any(axis=1)
    read = second(W2).reshape(50, 20, -1).any(axis=(0, 2))
    assert made.sum() == 5 and not made[7:].any() and not (read & ~made).any()


def test_a_net_that_has_less_keeps_what_it_has():
    net = nn.models.lenet5(np.random.default_rng(0), filters=(3, 50), dtype=np.float64)
    admm.ADMM(net, sets.conv_sets(net, {"0.W": [5, 12], "2.W": [20, 80]}), 1.0).project()
    assert [np.count_nonzero(W.data) for W in masks.prunable(net, ["0.W", "2.W"]).values()] == [36, 20 * 75]


def test_other_layers_are_refused():
    net = nn.models.lenet5(np.random.default_rng(0), dtype=np.float64)
    with pytest.raises(ValueError, match=r"expected shapes of 0\.W and 2\.W, got 2\.W, 0\.W"):
        sets.conv_sets(net, {"2.W": [15, 40], "0.W": [5, 10]})
    with pytest.raises(ValueError, match=r"expected shapes of 0\.W and 2\.W, got none"):
        sets.conv_sets(net, {})
