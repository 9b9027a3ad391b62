"""What cannot be cut, and the one sentence that says why."""

import re

import numpy as np
import pytest
from random_nets import grouped_net, shortcut_net, small_net

import nn
from nn import gradcheck
from pruning import surgery


def shared(rng):
    """Two layers with one weight."""
    net = nn.Sequential(nn.Linear(3, 3, rng), nn.ReLU(), nn.Linear(3, 3, rng))
    net.layers[2].W = net.layers[0].W
    return net


class Strange(nn.Module):
    """A layer that surgery knows nothing about."""


def chain(*middle):
    """A net with these layers between two convolutions."""
    return lambda rng: nn.Sequential(nn.Conv2d(2, 4, 3, rng, padding=1), *middle, nn.Conv2d(4, 3, 3, rng, padding=1))


def tied(rng):
    """A projection; then a depthwise convolution."""
    block = nn.Residual(nn.Conv2d(2, 4, 1, rng), nn.Conv2d(2, 4, 1, rng))
    return nn.Sequential(block, nn.Conv2d(4, 4, 3, rng, groups=4), nn.Flatten(), nn.Linear(16, 3, rng))


def on_the_input(rng):
    """A shortcut around the first layer."""
    return nn.Sequential(nn.Residual(nn.Conv2d(2, 2, 1, rng)), nn.Conv2d(2, 3, 1, rng))


def swapped(rng):
    """A sum that ties every channel to its neighbour."""
    block = nn.Residual(nn.Select([1, 0, 3, 2]))
    return nn.Sequential(nn.Conv2d(2, 4, 1, rng), block, nn.Conv2d(4, 2, 1, rng))


def unknown_input(rng):
    """Nothing says how many channels the input has before it is concatenated."""
    return nn.Sequential(nn.Concat(nn.Identity(), nn.ReLU()), nn.Conv2d(4, 2, 1, rng))


def same_columns(rng):
    """Two groups with the same columns: numbers 0 to 3 are channel 0 of a group, 4 to 7 channel 1."""
    middle = nn.Conv2d(4, 4, 2, rng, groups=2, columns=[0, 1, 2, 4, 5])
    return nn.Sequential(nn.Conv2d(2, 4, 3, rng), nn.ReLU(), middle, nn.ReLU(), nn.Conv2d(4, 3, 1, rng))


def columns_of_one_channel(rng):
    """A convolution with columns, all of channel 1."""
    return nn.Sequential(nn.Conv2d(2, 3, 3, rng), nn.ReLU(), nn.Conv2d(3, 2, 2, rng, columns=[4, 6]))


def two_filters_a_channel(rng):
    """A depthwise convolution whose filters 2 c and 2 c + 1 see channel c."""
    return nn.Sequential(nn.Conv2d(2, 3, 3, rng), nn.Conv2d(3, 6, 2, rng, groups=3), nn.Conv2d(6, 2, 1, rng))


def a_layer(rng):
    """A whole net that is one convolution."""
    return nn.Conv2d(2, 3, 1, rng)


def a_block(rng):
    """A whole net that is one residual block."""
    return nn.Residual(nn.Conv2d(2, 2, 1, rng), nn.Conv2d(2, 2, 1, rng))


TIED = "are tied by the {} but were given different indices: row {} of the first is row {} of the second"
BAD = [
    (small_net, {"0.W": [0, 6]}, "0.W has indices 0 to 5, got 6"),
    (small_net, {"0.W": [-1, 2]}, "0.W has indices 0 to 5, got -1"),
    (small_net, {"0.W": [2, 1, 2]}, "0.W was given the index 2 twice"),
    (small_net, {"0.W": []}, "0.W keeps nothing: a layer cannot vanish"),
    (small_net, {"0.W": [0.5]}, "expected the indices of 0.W that stay, a sequence of integers, got [0.5]"),
    (small_net, {"0.W": 3}, "expected the indices of 0.W that stay, a sequence of integers, got 3"),
    (small_net, {"0.W": [True, False]}, "expected the indices of 0.W that stay"),
    (small_net, {"0.W": np.ones(6, bool)}, "expected the indices of 0.W that stay"),
    (small_net, {"0.W": None}, "expected the indices of 0.W that stay, a sequence of integers, got None"),
    (small_net, {"0.W": "01"}, "expected the indices of 0.W that stay, a sequence of integers, got '01'"),
    (small_net, {"0.W": [[0, 1]]}, "expected the indices of 0.W that stay, a sequence of integers, got [[0, 1]]"),
    (small_net, ["0.W"], 'expected a mapping such as {"0.W": [0, 2]} to the rows that stay, got a list'),
    (small_net, None, 'expected a mapping such as {"0.W": [0, 2]} to the rows that stay, got a NoneType'),
    (small_net, 3, 'expected a mapping such as {"0.W": [0, 2]} to the rows that stay, got a int'),
    (small_net, {0: [0]}, "0 makes no channels"),
    (small_net, {"1.gamma": [0]}, "1.gamma makes no channels; expected some of 0.W, 4.W, 8.W, 10.W"),
    (small_net, {"0": [0]}, "0 makes no channels"),
    (small_net, {"10.W": [0]}, "row 1 of 10.W cannot go: the channel axis of 10 is an output of the net"),
    (grouped_net, {"2.W": [0, 1, 2, 3]},
     "the 2 groups of 2 must keep equal numbers, got 2 channels and 3 filters, 2 channels and 1 filters"),
    (grouped_net, {"0.W": [0, 1, 2]}, "the 2 groups of 2 must keep equal numbers"),
    (grouped_net, {"0.W": [0, 1]}, "the 2 groups of 2 must keep equal numbers"),
    (tied, {"0.body.W": [0, 1], "0.shortcut.W": [0, 2]}, "0.shortcut.W " + TIED.format("shortcut of 0", 1, 1)),
    (tied, {"0.body.W": [0, 1], "1.W": [0, 1, 2]}, "1.W " + TIED.format("depthwise convolution 1", 2, 2)),
    (same_columns, {"0.W": [0, 3], "2.W": [1, 2]}, "the groups of 2 have the same columns and must keep the same"),
    (columns_of_one_channel, {"0.W": [0, 2]},
     "2 would be left without columns: it reads none of the channels that stay"),
    (two_filters_a_channel, {"1.W": [0, 2, 3]}, "rows 0 and 1 of 1.W are tied by the depthwise convolution 1"),
    (two_filters_a_channel, {"0.W": [0, 2], "1.W": range(4)}, "1.W " + TIED.format("depthwise convolution 1", 1, 2)),
    (shortcut_net, {"0.W": [0, 1, 2], "2.body.2.W": [1, 2, 3]}, "2.W " + TIED.format("shortcut of 2", 0, 0)),
    (shortcut_net, {"0.W": range(4), "4.body.2.W": [0, 1, 2, 5]},
     "row 3 of 4.body.2.W carries row 3 of 0.W through the zero-padded shortcut 4.shortcut: it cannot go while that"),
    (shortcut_net, {"4.body.2.W": [4, 5]}, "0 would be left without channels"),
    (on_the_input, {"0.body.W": [1]}, "row 0 of 0.body.W cannot go: it is tied to the input of the net"),
    (swapped, {"0.W": [1]}, "rows 0 and 1 of 0.W are tied by the shortcut of 1: both stay or both go"),
    (shared, {"0.W": [1]}, "0.W and 2.W are one parameter"),
    (chain(Strange()), {"0.W": [1]}, "1 is a Strange, of which it is not known what becomes of a channel"),
    (chain(nn.BatchNorm(3)), {"0.W": [1]}, "1 takes 3 channels, and 4 come in"),
    (chain(nn.Concat(nn.Flatten(), nn.Flatten())), {"0.W": [1]}, "1 concatenates flattened images"),
    (a_layer, {"W": [0]}, "row 1 of W cannot go: its channel axis is an output of the net"),
    (a_layer, {"0.W": [0]}, "0.W makes no channels; expected some of W"),
    (a_block, {"body.W": [0]}, "row 1 of body.W cannot go: its channel axis is an output of the net"),
    (unknown_input, {"1.W": [1]}, "0 does not say how many rows it takes"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "keep", "message"), BAD)
def test_what_cannot_be_cut_is_one_sentence(make, keep, message):
    net = make(np.random.default_rng(0))
    before = gradcheck.flat(net)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        surgery.remove(net, keep)
    assert "\n" not in str(error.value)
    np.testing.assert_array_equal(gradcheck.flat(net), before)


@pytest.mark.parametrize(
    ("make", "keep", "rows"),
    [
        (same_columns, {"0.W": [1, 3], "2.W": [1, 2]}, {0: [0, 2], 2: [0, 3]}),
        (same_columns, {"0.W": [0, 2]}, {0: [1, 3]}),
        (same_columns, {"0.W": [2, 3], "2.W": [2, 3]}, {0: [0, 1], 2: [0, 1]}),  # a whole group
        (two_filters_a_channel, {"0.W": [0, 2]}, {0: [1], 1: [2, 3]}),
        (two_filters_a_channel, {"1.W": [2, 3]}, {0: [0, 2], 1: [0, 1, 4, 5]}),
    ],
)
def test_what_can_be_cut_of_grouped_convolutions(make, keep, rows):
    rng = np.random.default_rng(0)
    net = make(rng)
    small = surgery.remove(net, keep)
    for index, gone in rows.items():
        layer = net.layers[index]
        layer.W.data[gone], layer.b.data[gone] = 0, 0
        assert small.layers[index].c_out == layer.c_out - len(gone)
    x = rng.standard_normal((2, 6, 5, 3))
    assert gradcheck.relative_error(small.forward(x), net.forward(x)) <= 1e-12


@pytest.mark.parametrize(
    ("make", "columns", "message"),
    [
        (small_net, {"0.W": [18]}, "0.W has indices 0 to 17, got 18"),
        (small_net, {"0.W": []}, "0.W keeps nothing"),
        (small_net, {"0.W": 3}, "expected the indices of 0.W that stay, a sequence of integers, got 3"),
        (small_net, [1], 'expected a mapping such as {"0.W": [0, 2]} to the columns that stay, got a list'),
        (small_net, {"4.W": [1, 1]}, "4.W was given the index 1 twice"),
        (small_net, {"1.gamma": [1]}, "1.gamma has no columns; expected some of 0.W, 4.W, 8.W, 10.W"),
        (shared, {"0.W": [1]}, "0.W and 2.W are one parameter"),
        (lambda _: nn.ReLU(), {"W": [1]}, "W has no columns: no layer of the net has any"),
    ],
)
def test_columns_that_cannot_go(make, columns, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        surgery.remove_columns(make(np.random.default_rng(0)), columns)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["0"], "0 is a Conv2d: only a residual block can vanish, for its shortcut stays"),
        (["9"], "9 is no layer of the net: only a residual block can vanish"),
        ("2", "expected a list of names, got the string '2'"),
        (None, "expected a list of names, got None"),
        (2, "expected a list of names, got 2"),
    ],
)
def test_blocks_that_cannot_vanish(names, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        surgery.remove_blocks(shortcut_net(np.random.default_rng(0)), names)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (Strange(), "the net is a Strange, of which it is not known what becomes of a channel"),
        (nn.Concat(nn.Identity(), nn.ReLU()), "the net does not say how many rows it takes"),
        (nn.Sequential(nn.Conv2d(2, 3, 1, None), nn.BatchNorm(4)), "1 takes 4 channels, and 3 come in"),
        (nn.ReLU(), "W makes no channels: no layer of the net does"),
    ],
)
def test_a_net_that_is_one_layer_is_called_the_net(net, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        surgery.remove(net, {"W": [0]})
    with pytest.raises(ValueError, match=r"the net is a .*: only a residual block can vanish"):
        surgery.remove_blocks(net, [""])


def test_blocks_of_a_net_with_one_weight_in_two_layers():
    net = shortcut_net(np.random.default_rng(0))
    net.layers[4].body.layers[0].W = net.layers[2].body.layers[0].W
    with pytest.raises(ValueError, match=r"2\.body\.0\.W and 4\.body\.0\.W are one parameter"):
        surgery.remove_blocks(net, ["2"])


def test_indices_and_names_may_come_from_an_iterator():
    rng = np.random.default_rng(0)
    net, chain_of_blocks = small_net(rng), shortcut_net(rng)
    for cut in (surgery.remove, surgery.remove_columns):
        by_list, by_iterator = cut(net, {"0.W": [0, 2, 3]}), cut(net, {"0.W": iter([3, 0, 2])})
        np.testing.assert_array_equal(gradcheck.flat(by_list), gradcheck.flat(by_iterator))
        with pytest.raises(ValueError, match=r"expected the indices of 0\.W that stay, a sequence of integers"):
            cut(net, {"0.W": iter([True, False])})
    small = surgery.remove_blocks(chain_of_blocks, (name for name in ["2"]))
    assert isinstance(small.layers[2], nn.Identity) and isinstance(small.layers[4], nn.Residual)


def test_a_constant_that_cannot_be_folded_is_the_first_in_order():
    """Only channels 1 and 8 are read, and not constant: the sentence names the lower one, however sets are walked."""
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Conv2d(2, 9, 1, rng), nn.ReLU(), nn.Conv2d(9, 2, 1, rng))
    net.layers[2].W.data[:, [0, 2, 3, 4, 5, 6, 7]] = 0
    assert next(iter({1, 8})) == 8
    with pytest.raises(ValueError, match=r"^row 1 of 0\.W is read by 2 and is not constant there"):
        surgery.fold_constants(net, {"0.W": [0, 2, 3, 4, 5, 6, 7]}, (2, 3, 3))
