"""Factors of blocks, groups and channels: cut, counted, folded, and what they stop removed."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from random_nets import RandomNet, choices

import nn
from nn import gradcheck
from pruning import channels, surgery
from pruning.channels.tracing import trace
from pruning.counts import count

TOLERANCE = 1e-12


def trained_norms(net, rng):
    for module in net.modules():
        if isinstance(module, nn.BatchNorm):
            module.gamma.data, module.beta.data = rng.standard_normal((2, module.channels))
            module.running_mean = rng.standard_normal(module.channels)
            module.running_variance = rng.uniform(0.5, 2, module.channels)
        if isinstance(module, nn.Scale):
            module.s.data = rng.standard_normal(module.s.shape)
    return net


def block(rng, groups=1):
    conv = lambda *a, **k: nn.Conv2d(*a, rng, **k)  # noqa: E731
    body = [conv(4, 6, 3, padding=1, bias=False), nn.BatchNorm(6), nn.Scale(6, groups), nn.ReLU()]
    body += [conv(6, 4, 3, padding=1, bias=False), nn.BatchNorm(4), nn.Scale(4)]
    layers = [conv(2, 4, 3), nn.ReLU(), nn.Residual(nn.Sequential(*body)), nn.ReLU(), nn.Flatten()]
    return trained_norms(nn.Sequential(*layers, nn.Linear(48, 3, rng)), rng).eval()


X = np.random.default_rng(5).standard_normal((2, 5, 6, 3))


def test_a_factor_is_traced_and_counted():
    net = block(np.random.default_rng(0), 3)
    assert len(trace(net).outputs["2.body"]) == 4
    full = {layer.name: layer for layer in count(net, (2, 5, 6), "full").layers}
    assert (full["2.body.6"].kind, full["2.body.6"].parameters, full["2.body.6"].macs) == ("Scale", 1, 4 * 3 * 4)
    assert (full["2.body.2"].parameters, full["2.body.2"].macs) == (3, 6 * 3 * 4)
    assert {layer.kind for layer in count(net, (2, 5, 6)).layers} == {"Conv2d", "Linear"}
    table = channels.table(block(np.random.default_rng(0), 6))
    assert "follower  2.body.2  Scale      s 0-5\n" in table and "follower  2.body.6  Scale\n" in table
    for group in channels.groups(net):  # an array that is not cut along the channels belongs to none of them
        for member in group.named("follower"):
            assert all(len(member.positions) == dict(net.named_modules())[member.name].channels for _ in member.arrays)
    assert "follower  2.body.2  Scale\n" in channels.table(net)


def test_a_preview_counts_the_groups_that_go():
    text = surgery.preview(block(np.random.default_rng(0), 3), {"2.body.0.W": [0, 1, 2]})
    (line,) = [line for line in text.splitlines() if " Scale " in line]
    assert line.split() == ["2.body.2", "Scale", "s", "3", "2", "1", "group:", "2"]


@pytest.mark.parametrize(("groups", "sizes"), [(1, [3]), (3, [1, 2]), (6, [1, 1, 1]), ([3, 1, 2], [1, 2])])
def test_channels_are_cut_and_groups_keep_their_factors(groups, sizes):
    net = block(np.random.default_rng(1), groups)
    keep = [1, 4, 5]
    before = net.layers[2].body.layers[2].factor()[keep]
    small = surgery.remove(net, {"2.body.0.W": keep})
    layer = small.layers[2].body.layers[2]
    assert layer.sizes == sizes
    np.testing.assert_array_equal(layer.factor(), before)
    body, gone = net.layers[2].body.layers, [0, 2, 3]
    body[0].W.data[gone] = 0
    body[1].gamma.data[gone], body[1].beta.data[gone] = 0, 0
    assert gradcheck.relative_error(small.forward(X), net.forward(X)) <= TOLERANCE
    surgery.preview(block(np.random.default_rng(1), groups), {"2.body.0.W": keep})


def test_an_optimizer_goes_along_with_the_factors():
    net = block(np.random.default_rng(1), 3)
    optimizer = nn.SGD(net.parameters(), 0.1, momentum=0.9)
    nn.training.training_step(net, nn.SquaredError(), optimizer, X, np.ones((3, 3)))
    place = [name for name, _ in net.named_parameters()].index("2.body.2.s")
    velocity = optimizer.state[place]["velocity"].copy()
    small, other = surgery.remove(net, {"2.body.0.W": [4, 5, 0]}, optimizer)
    np.testing.assert_array_equal(other.state[place]["velocity"], velocity[[0, 2]])
    assert small.layers[2].body.layers[2].sizes == [1, 2]


def test_a_dead_group_goes_with_its_convolution():
    """Group 1 of three is stopped by its factor: grouped convolution, batch norm and factor keep two groups."""
    rng = np.random.default_rng(2)
    layers = [nn.Conv2d(2, 6, 1, rng), nn.ReLU(), nn.Conv2d(6, 6, 3, rng, groups=3), nn.BatchNorm(6), nn.Scale(6, 3)]
    net = nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(6, 3, 1, rng), nn.Flatten(), nn.Linear(36, 2, rng))
    trained_norms(net, rng).eval()
    net.layers[4].s.data[1] = 0
    small = surgery.remove_unused_paths(net, (2, 5, 6))
    assert small.layers[2].groups == 2 and small.layers[4].sizes == [2, 2] and small.layers[0].c_out == 4
    assert gradcheck.relative_error(small.forward(X), net.forward(X)) <= TOLERANCE


def test_a_block_at_zero_is_silent_and_goes_with_the_unused_paths():
    net = block(np.random.default_rng(0))
    net.layers[2].body.layers[6].s.data[:] = 0
    small = surgery.remove_unused_paths(net, (2, 5, 6))
    assert isinstance(small.layers[2], nn.Identity)
    assert gradcheck.relative_error(small.forward(X), net.forward(X)) <= TOLERANCE


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("groups", [1, 3])
def test_factors_fold_into_batch_norm_in_both_modes(training, groups):
    """gamma and beta, both: with gamma alone it is another function."""
    net = block(np.random.default_rng(3), groups)
    net.train() if training else net.eval()
    masks = {"2.body.4.W": np.ones((4, 6, 3, 3))}
    masks["2.body.4.W"][0, 1] = 0
    for name, u in net.named_parameters():
        u.mask = masks.get(name)
        u.data = u.data if u.mask is None else u.data * u.mask
    folded = surgery.fold_scales(net)
    assert [type(folded.layers[2].body.layers[i]) for i in (2, 6)] == [nn.Identity, nn.Identity]
    assert all(module.training == training for module in folded.modules())
    gammas = folded.layers[2].body.layers[5].gamma.data
    np.testing.assert_array_equal(
        gammas, net.layers[2].body.layers[6].factor() * net.layers[2].body.layers[5].gamma.data
    )
    np.testing.assert_array_equal(folded.layers[2].body.layers[4].W.mask, masks["2.body.4.W"])
    before = net.forward(X)
    assert gradcheck.relative_error(folded.forward(X), before) <= TOLERANCE
    folded.layers[2].body.layers[5].beta.data = net.layers[2].body.layers[5].beta.data
    assert gradcheck.relative_error(folded.forward(X), before) > 1e-2


def test_factors_fold_into_weights_biases_and_bias_maps():
    rng = np.random.default_rng(4)
    layers = [
        nn.Conv2d(2, 4, 3, rng, bias_map=(3, 4)),
        nn.Scale(4, 2),
        nn.Scale(4),
        nn.Tanh(),
        nn.Scale(4),
        nn.Flatten(),
    ]
    net = trained_norms(nn.Sequential(*layers, nn.Linear(48, 3, rng), nn.Scale(3, 3)), rng).eval()
    net.layers[0].bias_map, net.layers[6].b.data = rng.standard_normal((4, 3, 4)), rng.standard_normal(3)
    folded = surgery.fold_scales(net)
    assert [i for i, layer in enumerate(folded.layers) if isinstance(layer, nn.Scale)] == [4]  # behind an activation
    assert gradcheck.relative_error(folded.forward(X), net.forward(X)) <= TOLERANCE
    before = gradcheck.flat(net)
    surgery.fold_scales(net)
    np.testing.assert_array_equal(gradcheck.flat(net), before)


def test_batch_norm_and_the_factor_behind_it_fold_into_the_convolution():
    net = block(np.random.default_rng(6), 3)
    folded = surgery.fold_batchnorm(net)
    kinds = [type(layer) for layer in folded.layers[2].body.layers]
    assert kinds == [nn.Conv2d, nn.Identity, nn.Identity, nn.ReLU, nn.Conv2d, nn.Identity, nn.Identity]
    assert gradcheck.relative_error(folded.forward(X), net.forward(X)) <= TOLERANCE


@pytest.mark.parametrize("order", list(itertools.permutations(("scales", "norms", "constants"))))
def test_all_orders_of_folding_are_the_same_function(order):
    """A factor in front of batch norm, one behind it, a negative one in front of an activation, a group at zero."""
    rng = np.random.default_rng(7)
    layers = [nn.Conv2d(2, 6, 3, rng), nn.Scale(6, 3), nn.BatchNorm(6), nn.Scale(6, [1, 5]), nn.ReLU()]
    layers += [nn.Conv2d(6, 4, 2, rng), nn.Scale(4, 4), nn.BatchNorm(4), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3, rng)]
    net = trained_norms(nn.Sequential(*layers), rng).eval()
    net.layers[1].s.data[1], net.layers[6].s.data[0] = 0, -0.7
    folds = {
        "scales": surgery.fold_scales,
        "norms": surgery.fold_batchnorm,
        "constants": lambda net: surgery.fold_constants(net, {"0.W": [0, 1, 4, 5]}, (2, 5, 6)),
    }
    folded = net
    for name in order:
        folded = folds[name](folded)
        assert gradcheck.relative_error(folded.forward(X), net.forward(X)) <= TOLERANCE
    assert not any(isinstance(layer, nn.Scale | nn.BatchNorm) for layer in folded.layers)
    small = surgery.remove(folded, {"0.W": [0, 1, 4, 5]})
    assert gradcheck.relative_error(small.forward(X), net.forward(X)) <= TOLERANCE


@settings(max_examples=25)
@given(*choices())
def test_random_nets_with_factors_folded_and_cut(blocks, activation, flatten, seed):
    """Factors, some of them zero, behind every convolution and every batch norm."""
    rng = np.random.default_rng(seed)
    built = RandomNet(blocks, activation, flatten, rng)
    for module in list(built.net.modules()):
        if isinstance(module, nn.Sequential):
            layers = []
            for layer in module.layers:
                layers.append(layer)
                if isinstance(layer, nn.Conv2d | nn.BatchNorm):
                    C = layer.c_out if isinstance(layer, nn.Conv2d) else layer.channels
                    split = int(rng.integers(C))
                    layers.append(nn.Scale(C, [split, C - split] if split else C))
                    layers[-1].s.data = rng.standard_normal(layers[-1].s.shape) * (rng.random(layers[-1].s.shape) > 0.3)
            module.layers = layers
    net = built.net.eval()
    x = rng.standard_normal((*built.input_shape, 3))
    y = net.forward(x)
    scales, norms = surgery.fold_scales(net), surgery.fold_batchnorm(net)
    assert not any(isinstance(module, nn.Scale) for module in scales.modules())
    for small in (scales, norms, surgery.fold_batchnorm(scales), surgery.remove_unused_paths(net, built.input_shape)):
        assert gradcheck.relative_error(small.forward(x), y) <= TOLERANCE


def test_shared_factors_and_outlines_are_refused():
    rng = np.random.default_rng(0)
    scale, other = nn.Scale(3), nn.Scale(3)
    other.s = scale.s
    with pytest.raises(ValueError, match=r"1\.s and 3\.s are one parameter"):
        surgery.fold_scales(nn.Sequential(nn.Linear(3, 3, rng), scale, nn.Linear(3, 3, rng), other))
    with pytest.raises(ValueError, match="outline"):
        surgery.fold_scales(nn.Sequential(nn.Linear(3, 3, None), nn.Scale(3, outline=True)))
