"""What is said before a cut is what the cut does."""

import re
from collections import Counter

import numpy as np
import pytest
from random_nets import ACTIVATIONS, BLOCKS, RandomNet, grouped_net, shortcut_net, small_net

import nn
from nn import gradcheck
from pruning import surgery

LINE = re.compile(r"(\S+|the net)  +(\w+)  +(\S+(?:, \S+)*)  +([\dx]+)  +([\dx]+|-)  +(\S.*)")


def shapes(net):
    """{name of a layer: {array: shape}}, buffers too."""
    arrays = [*net.named_parameters(), *((name, array) for name, array in net.named_buffers() if array is not None)]
    found = {}
    for name, array in arrays:
        layer, _, key = name.rpartition(".")
        found.setdefault(layer or "the net", {})[key] = tuple(array.shape)
    return found


def parsed(text):
    """{(layer, array): (shape before, shape after, what goes)} of the table."""
    losses = {}
    for line in text.splitlines():
        if (match := LINE.fullmatch(line)) and match[1] != "layer":
            name, _, arrays, before, after, goes = match.groups()
            sizes = (tuple(map(int, size.split("x"))) for size in (before, after))
            losses |= dict.fromkeys([(name, array) for array in arrays.split(", ")], (*sizes, goes))
    return losses


def assert_the_numbers_add_up(before, after, goes, kind):
    """As many rows go as the array loses, and as many columns, or channels of a convolution in one group."""
    numbers = {noun: int(n) for n, noun in re.findall(r"(\d+) (row|column|channel)s?:", goes)}
    assert before[0] - after[0] == numbers.get("row", 0)
    if before[1:] == after[1:]:
        assert numbers.keys() == {"row"}
    elif kind == "one group":
        assert before[1] - after[1] == numbers.get("column", 0) + numbers.get("channel", 0) > 0
    else:
        assert numbers["channel"] % kind == 0


def random_net(seed):
    rng = np.random.default_rng(seed)
    blocks = rng.choice(BLOCKS, int(rng.integers(1, 4)), replace=False).tolist()
    return RandomNet(blocks, str(rng.choice(sorted(ACTIVATIONS))), bool(rng.integers(2)), rng)


def test_fifty_random_nets_lose_what_was_said():
    tally = Counter()
    for seed in range(60):
        built = random_net(seed)
        keep, _ = built.cut() if seed % 10 else ({[*built.names()][-1]: [0]}, None)  # the outputs
        before = gradcheck.flat(built.net)
        try:
            small = surgery.remove(built.net, keep)
        except ValueError as error:
            with pytest.raises(ValueError, match=f"^{re.escape(str(error))}$"):
                surgery.preview(built.net, keep)
            tally["refused"] += 1
            continue
        text = surgery.preview(built.net, keep)
        np.testing.assert_array_equal(gradcheck.flat(built.net), before)
        old, new, losses = shapes(built.net), shapes(small), parsed(text)
        changed = {(layer, key) for layer in old for key in old[layer] if old[layer][key] != new[layer][key]}
        assert losses.keys() == changed
        groups = {name: getattr(module, "groups", 1) for name, module in built.net.named_modules()}
        for (layer, key), (was, becomes, goes) in losses.items():
            assert (was, becomes) == (old[layer][key], new[layer][key])
            assert_the_numbers_add_up(was, becomes, goes, "one group" if groups[layer] == 1 else groups[layer])
        sizes = [sum(p.data.size for p in net.parameters()) for net in (built.net, small)]
        weights = [
            sum(p.data.size for name, p in net.named_parameters() if name.endswith("W")) for net in (built.net, small)
        ]
        assert text.splitlines()[-2:] == [
            f"weights {weights[0]:,} -> {weights[1]:,}", f"parameters {sizes[0]:,} -> {sizes[1]:,}"
        ]  # fmt: skip
        tally["tied"] += "tied by" in text
        tally["cut"] += 1
    assert tally["cut"] >= 50 and tally["tied"] >= 10 and tally["refused"] == 6


def test_the_text():
    net = shortcut_net(np.random.default_rng(0))
    assert surgery.preview(net, {"0.W": [0, 2, 3]}).splitlines() == [
        "layer     kind    arrays  before   after    goes",
        "0         Conv2d  W       4x2x3x3  3x2x3x3  1 row: 1",
        "0         Conv2d  b       4        3        1 row: 1",
        "2.body.0  Conv2d  W       3x4x3x3  3x3x3x3  1 channel: 1",
        "2.body.2  Conv2d  W       4x3x3x3  3x3x3x3  1 row: 1",
        "2.body.2  Conv2d  b       4        3        1 row: 1",
        "4.body.0  Conv2d  W       3x4x3x3  3x3x3x3  1 channel: 1",
        "4.body.2  Conv2d  W       6x3x3x3  5x3x3x3  1 row: 1",
        "4.body.2  Conv2d  b       6        5        1 row: 1",
        "7         Linear  W       3x6      3x5      1 column: 1",
        "tied by the shortcut of 2: 0.W, 2.body.2.W",
        "tied by the shortcut of 4: 4.body.2.W",
        "tied by the zero-padded shortcut 4.shortcut: 0.W, 2.body.2.W, 4.body.2.W",
        "weights 576 -> 447",
        "parameters 599 -> 467",
    ]


def test_arrays_that_lose_the_same_share_a_line_and_outlines_will_do():
    net = nn.models.vgg(11, None)
    text = surgery.preview(net, {"0.W": range(0, 64, 2)})
    assert "1      BatchNorm  gamma, beta, running_mean, running_variance  64          32" in text
    assert "32 rows: 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, ..." in text and "tied" not in text
    fifteen = surgery.preview(net, {"0.W": [*range(0, 30, 2), *range(30, 64)]})
    assert "15 rows: 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, ..." in fifteen
    norm = {("1", key) for key in ("gamma", "beta", "running_mean", "running_variance")}
    assert parsed(text).keys() == {("0", "W"), ("4", "W")} | norm


def test_nothing_goes():
    net = small_net(np.random.default_rng(0))
    n = sum(p.data.size for p in net.parameters())
    assert surgery.preview(net, {"0.W": range(6)}).splitlines()[0] == "nothing goes"
    assert surgery.preview(net, {}).endswith(f"parameters {n} -> {n}")


def test_columns_of_a_convolution_that_has_some_only():
    net = surgery.remove_columns(small_net(np.random.default_rng(0)), {"4.W": [0, 3, 4, 9, 21]})
    text = surgery.preview(net, {"0.W": [0, 2, 3, 4, 5]})
    assert parsed(text)["4", "W"] == ((4, 5), (4, 4), "1 column: 2")
    assert surgery.remove(net, {"0.W": [0, 2, 3, 4, 5]}).layers[4].W.shape == (4, 4)


def test_columns_that_are_left_of_the_second_group():
    """Of two groups with the same five columns the first one vanishes, and the second loses channel 0."""
    rng = np.random.default_rng(0)
    grouped = nn.Conv2d(4, 4, 2, rng, groups=2, columns=[0, 1, 2, 4, 5])  # 0 to 3 are a group's first channel
    net = nn.Sequential(nn.Conv2d(2, 4, 3, rng), nn.ReLU(), grouped, nn.ReLU(), nn.Conv2d(4, 3, 1, rng))
    keep = {"0.W": [3], "2.W": [2, 3]}
    assert parsed(surgery.preview(net, keep))["2", "W"] == ((4, 5), (2, 2), "2 rows: 0-1; 3 columns: 0-2")
    assert surgery.remove(net, keep).layers[2].W.shape == (2, 2)


def test_a_group_that_vanishes_loses_rows_only():
    net = grouped_net(np.random.default_rng(0))
    keep = {"0.W": [2, 3], "2.W": [3, 4, 5]}
    assert parsed(surgery.preview(net, keep))["2", "W"] == ((6, 2, 2, 2), (3, 2, 2, 2), "3 rows: 0-2")
    assert surgery.remove(net, keep).layers[2].W.shape == (3, 2, 2, 2)


def test_a_branch_that_vanishes():
    rng = np.random.default_rng(0)
    ends = nn.Concat(nn.Sequential(nn.Select([0, 1], 4), nn.BatchNorm(2)), nn.Identity())
    net = nn.Sequential(nn.Conv2d(2, 4, 1, rng), ends, nn.Conv2d(6, 2, 1, rng))
    lines = surgery.preview(net, {"0.W": [2, 3]}).splitlines()
    assert lines[3:5] == [
        "1.0.1  BatchNorm  gamma, beta, running_mean, running_variance  2        -        the whole layer",
        "2      Conv2d     W                                            2x6x1x1  2x2x1x1  4 channels: 0-3",
    ]
    small = surgery.remove(net, {"0.W": [2, 3]})
    assert len(small.layers[1].branches) == 1 and small.layers[2].W.shape == (2, 2, 1, 1)
    assert lines[-1].endswith(f" -> {sum(p.data.size for p in small.parameters())}")


@pytest.mark.parametrize("keep", [[0, 1], None, {"0.W": None}, {"9.W": [0]}, {"10.W": [0]}, {"0.W": [0.5]}])
def test_it_raises_what_remove_raises(keep):
    net = small_net(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"\w") as expected:
        surgery.remove(net, keep)
    with pytest.raises(ValueError, match=f"^{re.escape(str(expected.value))}$"):
        surgery.preview(net, keep)
