"""Rows and columns deleted by price, against a plain search, and taken out exactly."""

import numpy as np
import pytest

import nn
from nn.gradcheck import relative_error
from pruning import masks, surgery
from pruning.groups import Groups

NAMES = ["0.W", "2.W", "5.W"]


@pytest.fixture
def observed():
    rng = np.random.default_rng(0)
    net = nn.models.lenet5(rng, size=16, filters=(3, 4), hidden=5)
    for parameter in net.parameters():
        parameter.data = parameter.data + 0.1 * rng.standard_normal(parameter.shape)
    groups = Groups(net, NAMES, NAMES, memory=0.5)
    x, t = rng.random((1, 16, 16, 6)), rng.integers(0, 10, 6)
    for part in (slice(0, 3), slice(3, 6)):
        sweep(net, x[..., part], t[part])
        groups.observe()
    return net, groups, x, t


def sweep(net, x, t):
    loss = nn.SoftmaxCrossEntropy()
    loss.forward(net.forward(x), t)
    net.backward_parameters(loss.backward())


def test_the_running_mean_by_hand(observed):
    net, groups, x, t = observed
    W = net.layers[2].W
    squares = []
    for part in (slice(0, 3), slice(3, 6)):
        sweep(net, x[..., part], t[part])
        squares.append((W.data * W.grad).reshape(4, -1).sum(axis=0) ** 2)
    assert relative_error(groups.means["column", "2.W"], (squares[0] + squares[1]) / 2) < 1e-12


def test_the_first_group_is_the_cheapest_of_all_by_a_plain_search(observed):
    net, groups, _, _ = observed
    shapes = {name: W.data.reshape(len(W.data), -1).shape for name, W in masks.prunable(net).items()}
    reads = {"0.W": ("2.W", 25), "2.W": ("5.W", 1), "5.W": ("7.W", 1)}
    prices = {}
    for (kind, name), means in groups.means.items():
        rows, columns = shapes[name]
        for k, mean in enumerate(means):
            reader, width = reads[name]
            freed = rows if kind == "column" else columns + width * shapes[reader][0]
            prices[kind, name, k] = mean / freed
    kind, name, k = min(prices, key=prices.get)
    before = groups.left()
    assert before == sum(rows * columns for rows, columns in shapes.values())
    groups.delete(before - 1)
    changed = {key for key in shapes if (masks.prunable(net)[key].data == 0).any()}
    keep = groups.keep[name]
    assert not (keep[:, k] if kind == "column" else keep[k]).any()
    assert changed == ({name} if kind == "column" else {name, reads[name][0]})


def test_a_row_frees_what_reads_it_too(observed):
    _, groups, _, _ = observed
    # Conv 2 reads a map by 25 columns of 4 filters, fc1 one of 1 x 1 by a column of 5 units, fc2 a unit by 10.
    assert groups._freed("row", "0.W").tolist() == [25 + 25 * 4] * 3
    assert groups._freed("row", "2.W").tolist() == [75 + 5] * 4
    assert groups._freed("row", "5.W").tolist() == [4 + 10] * 5
    assert groups._freed("column", "2.W").tolist() == [4] * 75


def test_what_was_deleted_is_masked_and_comes_out_exactly(observed):
    net, groups, x, _ = observed
    groups.delete(150)
    left, _ = masks.counts(net)
    assert left == groups.left() <= 150
    assert left == sum(np.count_nonzero(W.data) for W in masks.prunable(net).values())
    small = surgery.remove_unused_paths(net, (1, 16, 16))
    assert sum(W.data.size for W in small.parameters()) < sum(W.data.size for W in net.parameters())
    assert relative_error(small.forward(x), net.forward(x)) < 1e-12
    row = int(np.flatnonzero(~groups.keep["5.W"].any(axis=1))[0])
    assert net.layers[5].b.data[row] == 0 and not net.layers[7].W.data[:, row].any()


def test_every_layer_keeps_a_row_and_a_column(observed):
    net, groups, _, _ = observed
    groups.delete(1)
    for name in NAMES:
        assert groups.keep[name].any()
    assert groups.left() > 1


def test_masks_that_were_there_stay(observed):
    net, _, x, t = observed
    mask = np.ones_like(net.layers[5].W.data)
    mask[2] = 0
    masks.apply(net, {"5.W": mask})
    groups = Groups(net, NAMES, [])
    sweep(net, x, t)
    groups.observe()
    assert groups.left() == sum(W.data.size for W in masks.prunable(net).values()) - mask[2].size
    groups.delete(groups.left() - 1)
    assert not net.layers[5].W.data[2].any()


def test_bad_input_is_one_sentence(observed):
    net, _, _, _ = observed
    with pytest.raises(ValueError, match=r"the rows of 7\.W are the outputs of the net"):
        Groups(net, ["7.W"], [])
    with pytest.raises(ValueError, match=r"the net has no parameter 1\.W"):
        Groups(net, ["1.W"], [])
    with pytest.raises(ValueError, match=r"a memory in \[0, 1\), got 1"):
        Groups(net, NAMES, [], memory=1)
    with pytest.raises(ValueError, match="expected at least one backward sweep to be observed"):
        Groups(net, NAMES, []).delete(10)
    rng = np.random.default_rng(0)
    for layer, what in (
        (nn.Conv2d(2, 2, 3, rng, groups=2), "a grouped convolution"),
        (nn.BatchNorm(2), "BatchNorm"),
        (nn.Residual(nn.Linear(2, 2, rng)), "Residual"),
        (nn.Concat(nn.Linear(2, 2, rng)), "Concat"),
    ):
        with pytest.raises(ValueError, match=f"in plain nets only, and this one has {what}"):
            Groups(nn.Sequential(nn.Linear(3, 2, rng), layer, nn.Linear(2, 4, rng)), ["0.W"], [])
