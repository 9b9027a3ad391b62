"""What the walk knows of the input, and where it does not."""

import numpy as np
import pytest

import nn
from pruning import channels, surgery
from pruning.channels.tracing import INPUT, trace


def test_rows_behind_a_flatten_do_not_tell_how_many_channels_the_input_has():
    """A Linear of 12 columns reads 3 channels of 2 x 2 pixels; of the other branch nobody knows how many there are."""
    rng = np.random.default_rng(0)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(12, 4, rng))
    head = [nn.Linear(7, 2, rng)]
    with pytest.raises(ValueError, match=r"^0 does not say how many rows it takes"):
        trace(nn.Sequential(nn.Concat(flat, nn.GlobalAvgPool2d()), *head))
    told = nn.Sequential(nn.Conv2d(3, 3, 1, rng), nn.GlobalAvgPool2d())
    net = nn.Sequential(nn.Concat(told, nn.Sequential(nn.Flatten(), nn.Linear(12, 4, rng))), *head)
    assert trace(net).outputs["0.0"] == [1, 2, 3]
    net = nn.Sequential(nn.Concat(told, nn.GlobalAvgPool2d()), nn.Linear(6, 2, rng))
    assert trace(net).outputs["0.1"] == [INPUT] * 3


def test_groups_stand_in_the_order_in_which_their_channels_are_made():
    """The two new channels of a zero-padded shortcut, read in the other order."""
    rng = np.random.default_rng(0)
    layers = [nn.ZeroPadShortcut(2, positions=[0, 2, 4]), nn.Select([3, 1, 0, 2, 4])]
    net = nn.Sequential(nn.Conv2d(2, 3, 1, rng), *layers, nn.Conv2d(5, 2, 1, rng))
    groups = channels.groups(net)
    assert [group.channels for group in groups] == [2, 3, 1, 1, 2]
    assert [group.named("consumer")[-1].positions for group in groups[1:4]] == [[2, 3, 4], [1], [0]]


def on_the_input(rng):
    """A zero-padded shortcut around the first convolution; channels 1 and 3 carry the input, 0 and 2 do not."""
    block = nn.Residual(nn.Conv2d(2, 4, 3, rng, padding=1), nn.ZeroPadShortcut(2, positions=[1, 3]))
    return nn.Sequential(block, nn.ReLU(), nn.Conv2d(4, 3, 1, rng))


def test_what_a_zero_padded_shortcut_carries_from_the_input_stays():
    rng = np.random.default_rng(0)
    net, x = on_the_input(rng), rng.standard_normal((2, 5, 4, 3))
    assert channels.groups(net)[0].fixed == "the input of the net"
    with pytest.raises(ValueError, match=r"^the input of the net cannot go: surgery\.remove_columns takes single"):
        surgery.remove(net, {"0.body.W": [0, 1, 2]})
    small = surgery.remove(net, {"0.body.W": [0, 1, 3]})
    body = net.layers[0].body
    body.W.data[2], body.b.data[2] = 0, 0
    np.testing.assert_allclose(small.forward(x), net.forward(x), rtol=0, atol=1e-14)
    assert small.layers[0].shortcut.sources(2) == [None, 0, 1]


def test_unused_channels_of_a_zero_padded_shortcut_on_the_input():
    """Nobody reads channels 1 and 2: the one that carries the input stays, and the other one goes."""
    rng = np.random.default_rng(0)
    net, x = on_the_input(rng), rng.standard_normal((2, 5, 4, 3))
    net.layers[2].W.data[:, [1, 2]] = 0
    small = surgery.remove_unused_paths(net, (2, 5, 4))
    assert small.layers[0].body.c_out == small.layers[2].c_in == 3
    np.testing.assert_allclose(small.forward(x), net.forward(x), rtol=0, atol=1e-14)


def test_purification_keeps_a_filter_that_adds_to_the_input():
    """No filter of the body may count as dead for what it is added to, and none that is not read stays."""
    rng = np.random.default_rng(0)
    net = on_the_input(rng)
    net.layers[0].body.W.data[[1, 2]] = 0
    masks = surgery.purify(net, surgery.Thresholds())
    assert masks["0.body.W"][[0, 3]].all() and masks["2.W"][:, [0, 1, 3]].all()  # channel 1 is the input's
    net.layers[2].W.data[:, 3] = 0
    assert not surgery.purify(net, surgery.Thresholds())["0.body.W"][3].any()
