import numpy as np
import pytest
from referees import li2017

import nn
from pruning import counts
from pruning.pipeline import scratch_budget
from pruning.pipeline.scratch_budget import Budget, scratch_b, scratch_e


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
