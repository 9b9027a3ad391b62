"""What a sparse net does not need goes, in both directions, and nothing else."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from random_nets import ACTIVATIONS, BLOCKS, RandomNet, choices, grouped_net, shortcut_net, small_net

import nn
from nn import gradcheck
from pruning import surgery

TOLERANCE = 1e-12
SHAPE = (2, 6, 5)


def sizes(net):
    return {name: parameter.shape for name, parameter in net.named_parameters() if name.endswith("W")}


def same(small, net, shape=SHAPE):
    x = np.random.default_rng(9).standard_normal((*shape, 3))
    return gradcheck.relative_error(small.eval().forward(x), net.eval().forward(x)) <= TOLERANCE


def test_backwards_a_channel_that_nobody_reads_takes_its_own_with_it():
    """Unit 2 of layer 8 is not read; map 1 was read by that unit alone, and filter 4 by map 1."""
    net = small_net(np.random.default_rng(0))
    net.layers[10].W.data[:, 2] = 0
    net.layers[8].W.data[[0, 1, 3, 4], 2:4] = 0  # columns 2 and 3 are map 1
    net.layers[4].W.data[[0, 2, 3], 4] = 0
    small = surgery.remove_unused_paths(net, SHAPE)
    assert sizes(small) == {"0.W": (5, 2, 3, 3), "4.W": (3, 5, 2, 2), "8.W": (4, 6), "10.W": (3, 4)}
    assert same(small, net)


def test_forwards_a_dead_filter_is_folded_and_goes():
    """Filter 1 has no weights, but a shift; unit 0 of layer 8 reads maps 0 and 2 only, which are constant."""
    rng = np.random.default_rng(0)
    net = small_net(rng)
    net.layers[1].beta.data, net.layers[4].b.data = rng.standard_normal(6), rng.standard_normal(4)
    net.layers[0].W.data[1] = 0
    net.layers[4].W.data[[0, 2]] = 0
    net.layers[8].W.data[0, [2, 3, 6, 7]] = 0
    small = surgery.remove_unused_paths(net, SHAPE)
    assert sizes(small) == {"0.W": (5, 2, 3, 3), "4.W": (2, 5, 2, 2), "8.W": (4, 4), "10.W": (3, 4)}
    assert same(small, net)


def test_a_constant_at_a_border_stays_or_becomes_a_map():
    net = grouped_net(np.random.default_rng(0))
    net.layers[0].W.data[[0, 3]] = 0
    stays = surgery.remove_unused_paths(net, SHAPE)
    assert sizes(stays) == sizes(net) and same(stays, net)
    mapped = surgery.remove_unused_paths(net, SHAPE, border="map")
    assert sizes(mapped) == {"0.W": (2, 2, 2, 2), "2.W": (6, 1, 2, 2), "5.W": (3, 6)}
    assert mapped.layers[2].bias_map is not None and same(mapped, net)


def test_the_groups_of_a_convolution_stay_equal_and_dead_ones_go():
    net = grouped_net(np.random.default_rng(0))
    net.layers[5].W.data[:, [0, 1, 5]] = 0  # two filters of one group are not read, one of the other
    small = surgery.remove_unused_paths(net, SHAPE)
    assert sizes(small)["2.W"] == (4, 2, 2, 2) and small.layers[2].groups == 2 and same(small, net)
    net.layers[5].W.data[:, [0, 1, 2]] = 0
    small = surgery.remove_unused_paths(net, SHAPE)
    assert sizes(small) == {"0.W": (2, 2, 2, 2), "2.W": (2, 2, 2, 2), "5.W": (3, 2)} and small.layers[2].groups == 1
    assert same(small, net)


def test_groups_with_the_same_columns_lose_no_different_channels():
    """Group 0 does not read its first channel, group 1 not its second: an equal number, but other columns."""
    rng = np.random.default_rng(0)
    middle = nn.Conv2d(4, 4, 2, rng, groups=2, columns=[0, 1, 2, 4, 5])  # 0 to 3 are a group's first channel
    head = [nn.ReLU(), nn.GlobalAvgPool2d(), nn.Linear(4, 3, rng)]
    net = nn.Sequential(nn.Conv2d(2, 4, 2, rng), nn.ReLU(), middle, *head)
    middle.W.data[:2, :3], middle.W.data[2:, 3:] = 0, 0
    small = surgery.remove_unused_paths(net, SHAPE)
    assert sizes(small) == sizes(net) and same(small, net)
    net.layers[5].W.data[:, :2] = 0  # nobody reads group 0
    small = surgery.remove_unused_paths(net, SHAPE)
    assert (small.layers[0].c_out, small.layers[2].groups) == (1, 1) and same(small, net)


def test_the_filters_of_a_depthwise_convolution_go_with_their_channel():
    """Filters 2 c and 2 c + 1 see channel c; one of them alone does not go."""
    rng = np.random.default_rng(0)
    layers = [nn.Conv2d(2, 3, 2, rng), nn.Conv2d(3, 6, 2, rng, groups=3), nn.GlobalAvgPool2d(), nn.Linear(6, 3, rng)]
    net = nn.Sequential(*layers)
    net.layers[3].W.data[:, [0, 2, 3]] = 0
    small = surgery.remove_unused_paths(net, SHAPE)
    assert sizes(small) == {"0.W": (2, 2, 2, 2), "1.W": (4, 1, 2, 2), "3.W": (3, 4)} and same(small, net)


def test_in_a_sum_every_summand_has_to_be_dead():
    net = shortcut_net(np.random.default_rng(0))
    ends = [net.layers[0], net.layers[2].body.layers[2], net.layers[4].body.layers[2]]
    for layer in ends[:1]:
        layer.W.data[1] = 0
    assert sizes(surgery.remove_unused_paths(net, SHAPE)) == sizes(net)  # the blocks still add to channel 1
    ends[1].W.data[1] = 0
    small = surgery.remove_unused_paths(net, SHAPE)
    assert small.layers[4].shortcut.positions == [0, 2, 3]  # zeros go into channel 1, and the last block adds to it
    assert sizes(small)["7.W"] == (3, 6) and same(small, net)
    ends[2].W.data[1] = 0
    small = surgery.remove_unused_paths(net, SHAPE)
    assert small.layers[4].shortcut.positions is None and sizes(small)["7.W"] == (3, 5) and same(small, net)


def test_a_constant_that_is_not_zero_does_not_become_zeros_in_an_index_map():
    net = shortcut_net(np.random.default_rng(0))
    for layer in (net.layers[0], net.layers[2].body.layers[2]):
        layer.W.data[1], layer.b.data[1] = 0, 0.5
    small = surgery.remove_unused_paths(net, SHAPE, border="map")
    assert sizes(small)["0.W"][0] == 4 and same(small, net)


def test_a_live_channel_that_only_a_zero_padded_shortcut_reads_stays():
    """It has no bias, so that zeros come out of it for an input of zeros, and the body does not read it."""
    rng = np.random.default_rng(0)
    block = nn.Residual(nn.Conv2d(4, 6, 3, rng, padding=1), nn.ZeroPadShortcut(2))
    head = [nn.ReLU(), nn.GlobalAvgPool2d(), nn.Linear(6, 3, rng)]
    net = nn.Sequential(nn.Conv2d(2, 4, 3, rng, bias=False), nn.ReLU(), block, *head)
    block.body.W.data[:, 1] = 0
    small = surgery.remove_unused_paths(net, SHAPE)
    assert sizes(small) == sizes(net) and same(small, net)


def test_silent_blocks_and_unread_branches_go():
    net = shortcut_net(np.random.default_rng(0))
    last = net.layers[2].body.layers[2]
    last.W.data[:] = 0
    small = surgery.remove_unused_paths(net, SHAPE)
    assert isinstance(small.layers[2], nn.Identity) and same(small, net)
    last.b.data[0] = 0.1
    loud = surgery.remove_unused_paths(net, SHAPE)
    assert isinstance(loud.layers[2], nn.Residual) and same(loud, net)
    rng = np.random.default_rng(0)
    branches = nn.Concat(nn.Identity(), nn.Conv2d(4, 3, 1, rng), nn.Sequential(nn.Conv2d(4, 2, 1, rng)))
    net = nn.Sequential(nn.Conv2d(2, 4, 1, rng), branches, nn.Conv2d(9, 2, 1, rng))
    net.layers[2].W.data[:, [0, 4, 5, 6]] = 0
    small = surgery.remove_unused_paths(net, SHAPE)
    assert [type(branch) for branch in small.layers[1].branches] == [nn.Identity, nn.Sequential] and same(small, net)
    assert small.layers[2].W.shape == (2, 6, 1, 1)


def test_no_layer_is_emptied():
    net = small_net(np.random.default_rng(0))
    for parameter in net.parameters():
        parameter.data *= 0
    net.layers[10].b.data += [1.0, 2.0, 3.0]
    small = surgery.remove_unused_paths(net, SHAPE)
    assert sizes(small) == {"0.W": (1, 2, 3, 3), "4.W": (1, 1, 2, 2), "8.W": (1, 2), "10.W": (3, 1)}
    assert same(small, net)


def test_the_optimizer_comes_along_and_the_net_is_left_alone():
    net = small_net(np.random.default_rng(0))
    net.layers[0].b = None
    net.layers[4].W.data[1], net.layers[4].b.data[1] = 0, 0.5
    net.layers[8].b = None
    optimizer = nn.SGD(net.parameters(), 0.1, momentum=0.9)
    x, t = np.random.default_rng(1).standard_normal((*SHAPE, 4)), np.array([0, 1, 2, 0])
    before = gradcheck.flat(net)
    small, smaller = surgery.remove_unused_paths(net, SHAPE, optimizer=optimizer)
    np.testing.assert_array_equal(gradcheck.flat(net), before)
    assert smaller.parameters == small.parameters() and small.layers[8].b is not None
    nn.training.training_step(small, nn.SoftmaxCrossEntropy(), smaller, x, t)
    nothing = surgery.remove_unused_paths(small, SHAPE)
    assert nothing is not small and sizes(nothing) == sizes(small)


@pytest.mark.parametrize("seed", range(12))
def test_random_sparse_nets(seed):
    """The same function, in one go: a second call finds nothing."""
    rng = np.random.default_rng([seed, 5])
    blocks = rng.choice(BLOCKS, 3, replace=False)
    built = RandomNet(blocks, str(rng.choice(list(ACTIVATIONS))), bool(rng.integers(2)), rng)
    net = built.net
    for name, parameter in net.named_parameters():
        if name.endswith("W"):
            rows = rng.random(parameter.shape[0]) < 0.3
            parameter.data[rows] = 0
            parameter.data[:, rng.random(parameter.shape[1]) < 0.3] = 0
    small = surgery.remove_unused_paths(net, built.input_shape, border="map")
    assert same(small, net, built.input_shape)
    again = surgery.remove_unused_paths(small, built.input_shape, border="map")
    assert sizes(again) == sizes(small)
    refused = surgery.remove_unused_paths(net, built.input_shape)
    assert same(refused, net, built.input_shape)
    numbers = [sum(np.prod(shape) for shape in sizes(each).values()) for each in (small, refused, net)]
    assert numbers == sorted(numbers) and numbers[0] < numbers[2]


def thin(built, rng):
    """The net with few columns left in half of its layers, of which some are zero, and a part of the rows too."""
    shapes = {name: p.shape for name, p in built.net.named_parameters() if name.endswith("W") and rng.integers(2)}
    few = {name: rng.permutation(np.prod(shape[1:]))[: rng.integers(1, 7)] for name, shape in shapes.items()}
    net = surgery.remove_columns(built.net, few)
    for name, parameter in net.named_parameters():
        if name.endswith("W"):
            matrix = parameter.data.reshape(parameter.shape[0], -1)
            matrix[rng.random(len(matrix)) < 0.3] = 0
            matrix[:, rng.random(matrix.shape[1]) < 0.3] = 0
    return net, {name: name if name in dict(net.named_parameters()) else f"{name[:-1]}1.W" for name in built.names()}


def test_a_convolution_keeps_a_column():
    """It reads channel 1 alone; without weights that channel is constant, and yet the only one it can keep."""
    rng = np.random.default_rng(0)
    layers = [nn.Conv2d(1, 2, 3, rng), nn.ReLU(), nn.Conv2d(2, 3, 2, rng), nn.Flatten(), nn.Linear(27, 2, rng)]
    net = surgery.remove_columns(nn.Sequential(*layers), {"2.W": [4, 5]})
    net.layers[0].W.data[1] = 0
    small = surgery.remove_unused_paths(net, (1, 6, 6))
    assert sizes(small) == {"0.W": (1, 1, 3, 3), "2.W": (1, 2), "4.W": (2, 9)}
    np.testing.assert_array_equal(small.layers[0].W.data, net.layers[0].W.data[1:])
    assert small.layers[2].columns == [0, 1] and same(small, net, (1, 6, 6))


@pytest.mark.slow
@settings(max_examples=40)
@given(*choices(["relu", "tanh", "identity"]))  # zero at zero, so that `remove` takes channels of zeros
def test_random_nets_with_few_columns(blocks, activation, flatten, seed):
    rng = np.random.default_rng(seed)
    built = RandomNet(blocks, activation, flatten, rng)
    keep, gone = built.cut()
    net, names = thin(built, rng)
    for border in ("refuse", "map"):
        small = surgery.remove_unused_paths(net, built.input_shape, border)
        assert same(small, net, built.input_shape)
        again = surgery.remove_unused_paths(small, built.input_shape, border)
        assert nn.checkpoint.architecture(again) == nn.checkpoint.architecture(small)
        np.testing.assert_array_equal(gradcheck.flat(again), gradcheck.flat(small))
    try:
        surgery.remove(net, {names[name]: rows for name, rows in keep.items()})
    except ValueError as error:
        assert built.reasons(gone) or "would be left without c" in str(error) or "the same columns" in str(error)


def test_it_leads_where_remove_leads():
    rng = np.random.default_rng(3)
    net = nn.models.resnet_cifar(8, rng)
    twin = copy.deepcopy(net)
    for i in (2, 5, 9):
        for layer in (twin.layers[5].body.layers[0], twin.layers[5].body.layers[1]):
            for parameter in layer.parameters():
                parameter.data[i] = 0
    small = surgery.remove_unused_paths(twin, (3, 8, 8))
    expected = surgery.remove(net, {"5.body.0.W": [i for i in range(32) if i not in (2, 5, 9)]})
    assert nn.checkpoint.architecture(small) == nn.checkpoint.architecture(expected)
    np.testing.assert_array_equal(gradcheck.flat(small), gradcheck.flat(expected))


def test_bad_input():
    with pytest.raises(ValueError, match="expected border 'refuse' or 'map', got 'keep'"):
        surgery.remove_unused_paths(small_net(np.random.default_rng(0)), SHAPE, border="keep")
    with pytest.raises(ValueError, match="outline"):
        surgery.remove_unused_paths(nn.models.lenet5(None), (1, 28, 28))
    with pytest.raises(ValueError, match=r"layer 8 \(Linear\): Linear\(8, 5\) expected inputs \(8, N\), got \(24, N\)"):
        surgery.remove_unused_paths(small_net(np.random.default_rng(0)), (2, 6, 9))
    with pytest.raises(ValueError, match=r"layer 0 \(Conv2d\): Conv2d expected images \(2, H, W, N\), got"):
        surgery.remove_unused_paths(small_net(np.random.default_rng(0)), (3, 6, 5))


def test_a_net_without_weights_stays():
    net = nn.Sequential(nn.ReLU(), nn.Residual(nn.Tanh()))
    small = surgery.remove_unused_paths(net, (3,))
    assert nn.checkpoint.architecture(small) == nn.checkpoint.architecture(net) and small is not net
