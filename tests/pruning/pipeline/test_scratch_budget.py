import numpy as np
import pytest
from referees import li2017

import nn
from pruning import counts, masks
from pruning.architectures import stage_patterns
from pruning.pipeline import scratch_budget
from pruning.pipeline.scratch_budget import Budget, masked_scratch_b, scratch_b, scratch_e


def mlp(hidden):
    return nn.models.mlp((8, hidden, 2), None)


def test_scratch_e_is_the_schedule_of_the_dense_net():
    assert scratch_e(160, [80, 120]) == Budget(160, (80, 120))
    assert scratch_e(np.int64(1)) == Budget(1)


def test_scratch_b_by_hand():
    # MACs of 8-h-2: 10 h.  From 12 to 5 hidden units the factor is 2.4.
    assert scratch_b(mlp(12), mlp(5), (8,), 10, [4, 7]) == Budget(24, (10, 17))  # 9.6 and 16.8
    assert scratch_b(mlp(12), mlp(5), (8,), 11, [6]) == Budget(26, (14,))  # 26.4 and 14.4
    assert scratch_b(mlp(12), mlp(5), (8,), 10, [4, 7], at_most=2) == Budget(20, (8, 14))
    assert scratch_b(mlp(12), mlp(5), (8,), 10, [4, 7], at_most=2.5) == Budget(24, (10, 17))
    assert scratch_b(mlp(12), mlp(12), (8,), 10, [4, 7]) == scratch_e(10, [4, 7])


def test_vgg16_without_the_filters_of_li_et_al():
    """160 epochs of VGG-16, 3.13e8 MACs, are 243.1 of VGG-16-A with its 2.06e8 (Li et al. 2017, Table 1)."""
    dense, small = nn.models.vgg(16, None), li2017.thin_vgg16()
    macs = [counts.count(net, (3, 32, 32)).macs for net in (dense, small)]
    assert [f"{each:.2e}" for each in macs] == ["3.13e+08", "2.06e+08"]
    assert scratch_b(dense, small, (3, 32, 32), 160, [80, 120]) == Budget(243, (122, 182))  # 121.6 and 182.3
    assert scratch_b(dense, small, (3, 32, 32), 1600, [800]) == Budget(2431, (1216,))


IMAGENET = 90, [30, 60], 2
CIFAR = 160, [80, 120], None
TEN = {  # (dense, small): their MACs, the schedule of the dense net, what scratch-B makes of it
    "VGG-16-A": (313_463_808, 206_279_680, CIFAR, Budget(243, (122, 182))),
    "ResNet-56-A": (125_485_696, 112_435_840, CIFAR, Budget(179, (89, 134))),
    "ResNet-56-B": (125_485_696, 90_907_264, CIFAR, Budget(221, (110, 166))),
    "ResNet-110-A": (252_887_680, 212_779_648, CIFAR, Budget(190, (95, 143))),
    "ResNet-110-B": (252_887_680, 155_124_352, CIFAR, Budget(261, (130, 196))),
    "VGG-16, Table 21, 60 %": (313_463_808, 177_662_784, CIFAR, Budget(282, (141, 212))),
    "PreResNet-164, Table 18, 60 %": (242_403_840, 53_888_390, CIFAR, Budget(720, (360, 540))),
    "ResNet-34-A": (3_644_493_824, 3_080_916_992, IMAGENET, Budget(106, (35, 71))),
    "ResNet-34-B": (3_644_493_824, 2_763_001_856, IMAGENET, Budget(119, (40, 79))),
    "VGG-Tiny": (15_470_264_320, 1_004_578_816, IMAGENET, Budget(180, (60, 120))),
}


def pair(name):
    """The dense and the small net as outlines, and the shape of their images."""
    if name == "VGG-Tiny":
        return nn.models.vgg_imagenet(16, None), nn.models.vgg_thinet("Tiny", None), (3, 224, 224)
    if name.startswith("VGG-16, "):
        filters = stage_patterns.vgg_filters(16, stage_patterns.VGG16[60])
        return nn.models.vgg(16, None), nn.models.vgg(16, None, filters=filters), (3, 32, 32)
    if name.startswith("PreResNet"):
        thin = stage_patterns.preresnet_widths(164, stage_patterns.PRERESNET164[60])
        return nn.models.preresnet(164, None), nn.models.preresnet(164, None, **thin), (3, 32, 32)
    row = li2017.LI[name]
    return li2017.LI[row.whole].net, row.net, row.shape


@pytest.mark.parametrize("name", TEN)
def test_ten_nets_by_the_definition_of_the_lecture(name):
    """The same amount of computation, and the decay of the learning rate extended alike: whole numbers by hand."""
    before, after, (epochs, milestones, cap), expected = TEN[name]
    dense, small, shape = pair(name)
    assert [counts.count(net, shape).macs for net in (dense, small)] == [before, after]
    found = scratch_b(dense, small, shape, epochs, milestones, at_most=cap)
    assert found == expected
    capped = cap is not None and before > cap * after
    assert capped == (name == "VGG-Tiny")
    times, over = (cap, 1) if capped else (before, after)
    for ours, dense_epochs in zip((found.epochs, *found.milestones), (epochs, *milestones)):
        assert abs(2 * (ours * over - dense_epochs * times)) <= over  # the nearest whole number
    if capped:
        assert found.epochs * after < epochs * before / 7  # a seventh of the computation is all that it gets
        assert scratch_b(dense, small, shape, epochs, milestones).epochs == 1386
    # The authors cut off: int(r epochs), then the half and three quarters of it, or its thirds.
    cut = epochs * times // over
    theirs = (cut, 2 * cut // 4, 3 * cut // 4) if epochs == 160 else (cut, cut // 3, 2 * (cut // 3))
    assert max(abs(a - b) for a, b in zip(theirs, (found.epochs, *found.milestones))) <= (1 if epochs == 160 else 2)


def test_two_dense_nets_make_scratch_e_of_scratch_b():
    """As in the script of the authors that forgets the masks."""
    dense = nn.models.vgg(16, None)
    assert scratch_b(dense, nn.models.vgg(16, None), (3, 32, 32), 160, [80, 120]) == scratch_e(160, [80, 120])


def with_masks(left):
    """8-12-2 with 120 weights, of which so many are left."""
    net = nn.models.mlp((8, 12, 2), np.random.default_rng(0))
    keep = np.arange(120) < left
    masks.apply(net, {"1.W": keep[:96].reshape(12, 8), "3.W": keep[96:].reshape(2, 12)})
    return net


@pytest.mark.parametrize(
    ("left", "at_most", "expected"),
    [
        (50, None, Budget(24, (10, 17))),  # 2.4 times: 9.6 and 16.8
        (50, 2, Budget(20, (8, 14))),
        (6, None, Budget(200, (80, 140))),
        (6, 2.5, Budget(25, (10, 18))),  # 17.5, to the even neighbour
        (120, 2, Budget(10, (4, 7))),
    ],
)
def test_masks_count_the_weights_that_are_left(left, at_most, expected):
    net = with_masks(left)
    assert masked_scratch_b(net, 10, [4, 7], at_most) == expected
    assert scratch_b(net, net, (8,), 10, [4, 7], at_most) == scratch_e(10, [4, 7])  # zeros are multiplied


def test_masks_that_leave_nothing_and_caps_below_one_are_refused():
    with pytest.raises(ValueError, match=r"^expected masks that leave some weight, got none of 120$"):
        masked_scratch_b(with_masks(0), 10)
    with pytest.raises(ValueError, match=r"^expected at_most to be 1 or more, got 0\.5$"):
        masked_scratch_b(with_masks(6), 10, at_most=0.5)
    with pytest.raises(TypeError, match=r"^expected a net, got list$"):
        masked_scratch_b([1], 10)


@pytest.mark.parametrize("hidden", [1, 3, 5, 7, 11])
@pytest.mark.parametrize("epochs", [1, 7, 40])
def test_the_operations_are_those_of_the_dense_net_to_half_an_epoch(hidden, epochs):
    dense, small = (nn.models.lenet5(None, filters=(f, 5)) for f in (12, hidden))
    before, after = (counts.count(net, (1, 28, 28), "full").macs for net in (dense, small))
    found = scratch_b(dense, small, (1, 28, 28), epochs, range(1, epochs), convention="full")
    assert abs(found.epochs * after - epochs * before) <= after / 2
    assert len(set(found.milestones)) == epochs - 1
    assert all(abs(m * after - k * before) <= after / 2 for k, m in enumerate(found.milestones, 1))
    assert scratch_e(found.epochs, found.milestones) == found  # a schedule that can be trained with


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "expected at least one epoch, got 0"),
        ({"epochs": 2.5}, TypeError, r"expected whole numbers of epochs, got 2\.5"),
        ({"epochs": "10"}, TypeError, "expected whole numbers of epochs, got '10'"),
        ({"milestones": [7, 4]}, ValueError, r"milestones that ascend within 1\.\.9, got \[7, 4\]"),
        ({"milestones": [4, 4]}, ValueError, r"milestones that ascend within 1\.\.9, got \[4, 4\]"),
        ({"milestones": [0, 4]}, ValueError, r"within 1\.\.9, got \[0, 4\]"),
        ({"milestones": [10]}, ValueError, r"within 1\.\.9, got \[10\]"),
        ({"milestones": [0.5]}, TypeError, r"whole numbers of milestones, got 0\.5"),
        ({"at_most": 0.5}, ValueError, r"expected at_most to be 1 or more, got 0\.5"),
        ({"at_most": float("nan")}, ValueError, "expected at_most to be 1 or more, got nan"),
        ({"small": mlp(13)}, ValueError, "small net of 1 to 120 multiply-accumulates, those of the dense one, got 130"),
        ({"small": nn.Flatten()}, ValueError, "got 0"),
        ({"input_shape": (9,)}, ValueError, "8"),
        ({"convention": "flops"}, ValueError, "expected a convention of .*, got 'flops'"),
    ],
)
def test_bad_input_is_one_sentence(arguments, error, message):
    given = {"dense": mlp(12), "small": mlp(5), "input_shape": (8,), "epochs": 10, **arguments}
    with pytest.raises(error, match=message):
        scratch_budget.scratch_b(**given)
