"""Gradual thresholds: groups below them go for good, the largest of a family stays."""

import numpy as np
import pytest
from killing import assert_killed_runs_end_in_the_same_bits

import nn
from nn.backend import to_numpy
from pruning import masks
from pruning.penalties import group_lasso
from pruning.penalties.gradual_thresholds import GradualThresholds


def problem():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3, rng), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3, rng))
    return net, rng.standard_normal((2, 5, 5, 20)), rng.integers(0, 3, 20)


def columns(W):
    """The norms of the columns of the matrix, by loops."""
    sizes = np.zeros(W.shape[1:])
    for index in np.ndindex(W.shape):
        sizes[index[1:]] += W[index] ** 2
    return np.sqrt(sizes)


@pytest.mark.parametrize("weighted", [False, True])
def test_columns_below_the_threshold_of_the_step_go(weighted):
    net, _, _ = problem()
    before = net.layers[0].W.data.copy()
    sizes, scale = columns(before), 2.0 if weighted else 1.0
    tau = lambda step: 0.08 * step / scale  # noqa: E731
    thresholds = GradualThresholds(net, [group_lasso.columns(net, "0.W", 0.0, weighted)], tau, every=2)
    for step in range(1, 11):
        thresholds.after_step(step)
        alive = sizes > 0.08 * (step // 2 * 2)
        np.testing.assert_array_equal(net.layers[0].W.data, before * alive)
        assert thresholds.left() == [alive.sum()]
    assert 1 < thresholds.left()[0] < 18


def test_what_is_gone_does_not_come_back_and_the_rest_trains_on():
    net, x, t = problem()
    optimizer = nn.SGD(net.parameters(), 0.1, momentum=0.9)
    family = group_lasso.columns(net, "0.W", 0.02)
    companions = [
        group_lasso.ProximalSteps(net, [family], optimizer),
        GradualThresholds(net, [family], lambda k: 0.02 * k),
    ]
    gone, lefts = np.zeros((2, 3, 3), bool), []
    for _ in range(30):
        nn.training.training_step(net, nn.SoftmaxCrossEntropy(), optimizer, x, t, companions)
        zero = columns(net.layers[0].W.data) == 0
        assert (zero | ~gone).all()
        gone, lefts = zero, [*lefts, int((~zero).sum())]
    assert lefts[0] > lefts[-1] >= 1 and len(set(lefts)) > 3
    assert masks.counts(net, ["0.W"])[0] == 4 * lefts[-1]


def test_the_largest_group_stays_and_masks_that_were_there_too():
    net, _, _ = problem()
    sizes = columns(net.layers[0].W.data)
    GradualThresholds(net, [group_lasso.columns(net, "0.W", 0.0)], lambda _: 1e9).after_step(1)
    assert (columns(net.layers[0].W.data) > 0).ravel().tolist() == (sizes == sizes.max()).ravel().tolist()
    net, _, _ = problem()
    mask = np.ones((4, 2, 3, 3))
    mask[0, 1] = 0
    masks.apply(net, {"0.W": mask})
    GradualThresholds(net, [group_lasso.filters(net, "0.W", 0.0)], lambda _: 0.0).after_step(1)
    np.testing.assert_array_equal(net.layers[0].W.mask, mask)


def test_a_group_at_the_threshold_goes_and_families_are_looked_at_one_after_the_other():
    net = nn.Sequential(nn.Linear(3, 3, np.random.default_rng(0), bias=False))
    net.layers[0].W.data = np.array([[3.0, 4.0, 0.0], [0.0, 3.0, 0.0], [6.0, 0.0, 8.0]])
    families = [group_lasso.filters(net, "0.W", 0.0), group_lasso.columns(net, "0.W", 0.0)]
    thresholds = GradualThresholds(net, families, lambda _: 5.0)
    assert thresholds.left() == [3, 3]
    thresholds.after_step(1)  # rows of norms 5, 3, 10, and then columns of norms 6, 0, 8
    np.testing.assert_array_equal(net.layers[0].W.data, [[0, 0, 0], [0, 0, 0], [6, 0, 8]])
    assert thresholds.left() == [1, 2]
    net.layers[0].W.mask, net.layers[0].W.data = None, np.array([[0.0, 0, 0], [1.0, 2, 0], [0.0, 1, 0]])
    GradualThresholds(net, families, lambda _: 0.0).after_step(1)
    assert net.layers[0].W.mask.any(axis=1).tolist() == [False, True, True]  # at zero is at the threshold 0
    assert net.layers[0].W.mask.any(axis=0).tolist() == [True, True, False]


def test_weights_that_are_no_numbers_are_not_deleted():
    net, _, _ = problem()
    net.layers[0].W.data[0, 0, 0, 0] = np.nan
    GradualThresholds(net, [group_lasso.columns(net, "0.W", 0.0)], lambda _: 1e9).after_step(1)
    np.testing.assert_array_equal(net.layers[0].W.mask.sum(axis=0), np.eye(1, 18).reshape(2, 3, 3) * 4)


def test_every_library_deletes_the_same(library):
    nets = [problem()[0], problem()[0].to(library.xp)]
    for net in nets:
        GradualThresholds(net, [group_lasso.columns(net, "0.W", 0.0)], lambda _: 0.8).after_step(1)
    np.testing.assert_array_equal(to_numpy(nets[1].layers[0].W.data), nets[0].layers[0].W.data)
    assert not nets[0].layers[0].W.data.all()


def test_bad_input_is_one_sentence():
    net, _, _ = problem()
    first, second = (nn.Linear(3, 3, np.random.default_rng(0)) for _ in range(2))
    second.W = first.W
    family, outline = group_lasso.columns(net, "0.W", 0.0), nn.models.mlp((3, 2), None)
    for call, kind, message in (
        (lambda: GradualThresholds(net, family, lambda _: 1.0), TypeError, "expected a list of families"),
        (lambda: GradualThresholds(net, ["0.W"], lambda _: 1.0), TypeError, "expected families of groups"),
        (lambda: GradualThresholds(net, [], lambda _: 1.0), ValueError, "at least one parameter, got none"),
        (lambda: GradualThresholds(net, [family], 0.1), TypeError, "a threshold as a function of the step, got 0.1"),
        (lambda: GradualThresholds(net, [family], lambda _: 1.0, every=0), ValueError, "of at least 1, got 0"),
        (lambda: GradualThresholds(net, [family], lambda _: -1.0).after_step(1), ValueError, "threshold of 0 or more"),
        (lambda: GradualThresholds(net, [group_lasso.Family({"9.W": (0,)}, 0.0)], lambda _: 1.0), ValueError, "9.W"),
        (lambda: GradualThresholds(net, [group_lasso.Family({"3.W": (2,)}, 0.0)], lambda _: 1.0), ValueError,
         "expected ascending axes of 3.W"),
        (lambda: GradualThresholds(net, [group_lasso.Family({"0.W": (0,), "3.W": (0,)}, 0.0)], lambda _: 1.0),
         ValueError, "expected the same groups in all parameters"),
        (lambda: GradualThresholds(outline, [group_lasso.Family({"1.W": (0,)}, 0.0)], lambda _: 1.0),
         ValueError, "outline"),
        (lambda: GradualThresholds(nn.Sequential(first, nn.Tanh(), second), [group_lasso.Family({"0.W": (0,)}, 0.0)],
                                   lambda _: 1.0), ValueError, "are one parameter"),
    ):  # fmt: skip
        with pytest.raises(kind, match=message):
            call()
    assert all(u.mask is None for u in net.parameters())


RUN = """
from pruning.penalties import group_lasso
from pruning.penalties.gradual_thresholds import GradualThresholds

rng = np.random.default_rng(0)
net = nn.Sequential(nn.Conv2d(2, 4, 3, rng), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3, rng))
x, t = rng.standard_normal((2, 5, 5, 60)), rng.integers(0, 3, 60)
optimizer = nn.SGD(net.parameters(), 0.05, 0.9)
thresholds = GradualThresholds(net, [group_lasso.columns(net, "0.W", 0.0)], lambda step: 0.003 * step, 5)
nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, x, t, 60, 10, np.random.default_rng(1),
                  companions=[thresholds], checkpoint_path=path, checkpoint_every=2, progress=False)
"""


@pytest.mark.slow
def test_kill_9_and_resume_ends_in_the_same_bits(tmp_path):
    assert_killed_runs_end_in_the_same_bits(RUN, tmp_path)
