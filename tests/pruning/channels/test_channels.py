"""Who makes, follows and reads the channels of nets that are known, by hand."""

import numpy as np
import pytest
from random_nets import shortcut_net

import nn
from pruning import channels


def parts(group, role):
    return [(member.name, member.positions) for member in group.named(role)]


def test_a_chain_with_a_flatten():
    groups = channels.groups(nn.models.lenet5(None, filters=(3, 4), hidden=5, size=16))
    assert [group.channels for group in groups] == [1, 3, 4, 5, 10]
    assert [group.fixed for group in groups] == ["the input of the net", "", "", "", "the output of the net"]
    second = groups[2]
    assert parts(second, "producer") == [("2", [0, 1, 2, 3])]
    assert [(member.kind, member.arrays) for member in second.named("follower")] == [("MaxPool2d", ())]
    (consumer,) = second.named("consumer")
    assert (consumer.name, consumer.kind, consumer.positions, consumer.each) == ("5", "Linear", [0, 1, 2, 3], 1)


def test_columns_behind_a_flatten():
    net = nn.models.lenet5(None, filters=(3, 4), hidden=5)
    (consumer,) = channels.groups(net)[2].named("consumer")
    assert (consumer.positions, consumer.each) == (list(range(64)), 16)


def test_what_shortcuts_tie():
    """Stem, both bodies' ends; 6 channels, of which 4 go through the zero-padded shortcut."""
    groups = channels.groups(shortcut_net(np.random.default_rng(0)))
    tied = groups[1]
    assert tied.channels == 6
    four = [0, 1, 2, 3]
    assert parts(tied, "producer") == [("0", four), ("2.body.2", four), ("4.body.2", [*four, 4, 5])]
    assert parts(tied, "consumer") == [("2.body.0", four), ("4.body.0", four), ("7", [*four, 4, 5])]
    assert parts(tied, "sum") == [("2", four), ("4", [*four, 4, 5])]
    assert [name for name, _ in parts(tied, "follower")] == ["1", "3", "5", "6"]
    assert parts(groups[2], "producer") == [("2.body.0", [0, 1, 2])]


def test_offsets_in_concatenations_and_what_follows():
    groups = channels.groups(nn.models.densenet(7, None, growth=4))
    stem, grown = groups[1:3]
    norm = next(member for member in grown.members if member.kind == "BatchNorm")
    assert (norm.name, norm.positions) == ("2", [16, 17, 18, 19])
    assert norm.arrays == ("gamma", "beta", "running_mean", "running_variance")
    assert parts(grown, "consumer") == [("4", [16, 17, 18, 19])]
    assert parts(stem, "consumer") == [("1.1.2", list(range(16))), ("4", list(range(16)))]


def test_selections_subsampling_dropout_and_depthwise_convolutions():
    rng = np.random.default_rng(0)
    layers = [
        nn.Conv2d(1, 4, 3, rng),
        nn.Subsampling(4, 2, rng),
        nn.Dropout(0.1, rng),
        nn.Conv2d(4, 4, 1, rng, groups=4),
    ]
    net = nn.Sequential(*layers, nn.Concat(nn.Select([3, 0]), nn.Select([1])), nn.Conv2d(3, 2, 1, rng, bias=False))
    group = channels.groups(net)[1]
    assert [(m.name, m.arrays) for m in group.named("follower")] == [
        ("1", ("coefficient", "b")), ("2", ()), ("3", ("W", "b"))
    ]  # fmt: skip
    assert parts(group, "consumer") == [("5", [0, 1, 2])]
    assert channels.groups(net)[2].named("producer")[0].arrays == ("W",)


def test_two_filters_a_channel_in_a_depthwise_convolution():
    net = nn.Sequential(nn.Conv2d(1, 3, 3, None), nn.Conv2d(3, 6, 1, None, groups=3), nn.Conv2d(6, 2, 1, None))
    members = [(member.role, member.name, member.positions) for member in channels.groups(net)[1].members]
    assert members == [
        ("producer", "0", [0, 1, 2]), ("follower", "1", [0, 1, 2, 3, 4, 5]), ("consumer", "2", [0, 1, 2, 3, 4, 5])
    ]  # fmt: skip


def test_a_group_of_the_input():
    net = nn.Sequential(nn.Residual(nn.Conv2d(2, 2, 1, None)), nn.Conv2d(2, 3, 1, None))
    group = channels.groups(net)[0]
    assert (group.channels, group.fixed) == (2, "the input of the net")
    assert parts(group, "producer") == [("0.body", [0, 1])]
    assert [g.channels for g in channels.groups(nn.models.mlp((7, 5, 3), None))] == [7, 5, 3]


def test_the_table():
    text = channels.table(nn.models.lenet5(None))
    assert text.splitlines()[:6] == [
        "group  channels  role      layer  kind       cut along",
        "0      1         consumer  0      Conv2d     W channels 0",
        "                 fixed     the input of the net",
        "1      20        producer  0      Conv2d     W, b rows 0-19",
        "                 follower  1      MaxPool2d",
        "                 consumer  2      Conv2d     W channels 0-19",
    ]
    assert "                 consumer  5      Linear     W columns 0-799, 16 a channel" in text
    assert "producer  the net  Conv2d  W, b rows 0-2" in channels.table(nn.Conv2d(2, 3, 1, None))
    wide = channels.table(nn.models.resnet_cifar(8, None))
    assert "follower  3.body.4  BatchNorm        gamma, beta, running_mean, running_variance 0-15" in wide


def test_the_table_of_channels_that_come_twice():
    """One of three channels comes twice, which is no number for each; then all do."""
    text = {}
    for index, chosen in enumerate(([0], [2, 0, 1])):
        twice = nn.Concat(nn.Select(chosen, 3), nn.Identity())
        net = nn.Sequential(nn.Conv2d(2, 3, 1, None), twice, nn.Conv2d(3 + len(chosen), 2, 1, None))
        text[index] = next(line for line in channels.table(net).splitlines() if "consumer  2" in line)
    assert text[0].endswith("W channels 0-3") and text[1].endswith("W channels 0-5, 2 a channel")
    two = nn.Concat(nn.Conv2d(2, 3, 1, None), nn.Sequential(nn.Conv2d(2, 2, 1, None), nn.Select([0])), nn.Select([1]))
    net = nn.Sequential(nn.Conv2d(1, 2, 1, None), two, nn.Flatten(), nn.Linear(20, 2, None))
    consumers = [group.named("consumer")[-1] for group in channels.groups(net)[1:4]]
    assert [(member.positions, member.each) for member in consumers] == [
        ([16, 17, 18, 19], 4), (list(range(12)), 4), ([12, 13, 14, 15], 4)
    ]  # fmt: skip


@pytest.mark.parametrize(("numbers", "text"), [([0, 1, 2, 5], "0-2, 5"), ([3], "3"), ([0, 2, 3], "0, 2-3"), ([], "")])
def test_ranges(numbers, text):
    assert channels.ranges(numbers) == text


def test_the_table_counts_nothing_a_channel_where_the_input_goes_in():
    assert "a channel" not in channels.table(nn.Sequential(nn.Conv2d(3, 2, 1, None)))


def test_the_table_does_not_count_for_all_what_comes_two_and_three_times():
    net = nn.Sequential(
        nn.Conv2d(1, 2, 1, None), nn.Concat(nn.Identity(), nn.Identity(), nn.Select([1], 2)), nn.Conv2d(5, 1, 1, None)
    )  # fmt: skip
    (member,) = (m for group in channels.groups(net) for m in group.named("consumer") if m.name == "2")
    assert list(member.positions) == [0, 1, 2, 3, 4] and member.each == 1
