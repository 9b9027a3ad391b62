"""The stages that cut filters and columns: in steps, and by purification."""

import copy
import math

import numpy as np
import pytest

import nn
from nn.gradcheck import relative_error
from pruning import masks
from pruning.experiments.lenet5 import lesson, structures

SHAPE = (1, 28, 28)
SHAPES = {"0.W": [2, 6], "2.W": [3, 10]}


def thin_net():
    return nn.models.lenet5(np.random.default_rng(0), filters=(4, 9), hidden=5, dtype=np.float64)


def one_batch():
    rng = np.random.default_rng(0)
    part = rng.standard_normal((*SHAPE, 10)), rng.integers(0, 10, 10)
    return lesson.Lesson(lambda _: part, 10, nn.SoftmaxCrossEntropy(), part, 10)


def shapes_of(net):
    return [(W.shape[0], math.prod(W.shape[1:])) for W in list(masks.prunable(net).values())[:2]]


def test_in_steps_the_net_shrinks_by_equal_ratios_and_trains_after_each(monkeypatch):
    seen, epochs = [], lesson.Lesson.epochs
    monkeypatch.setattr(
        lesson.Lesson,
        "epochs",
        lambda self, net, *given: seen.append((shapes_of(net), given[1])) or epochs(self, net, *given),
    )
    stage = {"shapes": SHAPES, "epochs": 3, "learning_rate": 1e-3}
    net, report = structures.structured_in_steps(thin_net(), stage, one_batch(), np.random.default_rng(0))
    assert [number for _, number in seen] == [1, 1, 1]
    assert [shapes[0] for shapes, _ in seen] == [(3, 16), (2, 10), (2, 6)]  # 4 (2/4)^(k/3) and 25 (6/25)^(k/3), rounded
    assert shapes_of(net) == [(2, 6), (3, 10)]
    assert report.keys() == {"projected", "trained"}


def test_the_shape_on_the_way_by_hand():
    stage = {"shapes": {"0.W": [2, 5], "2.W": [3, 10]}}
    found = structures._on_the_way(thin_net(), stage, 2)  # the first of three steps
    assert found == {"0.W": [round(2 * 2 ** (2 / 3)), round(5 * 5 ** (2 / 3))], "2.W": [round(3 * 3 ** (2 / 3)), 46]}
    assert structures._on_the_way(thin_net(), stage, 0) == stage["shapes"]


def test_purification_takes_the_weakest_in_units_of_its_layer():
    net = thin_net()
    first, second = list(masks.prunable(net).values())[:2]
    for W in (first, second):
        W.data = np.sign(W.data)  # all columns of a layer are as strong, and so are all filters
    second.data[:, 2, 3, 1] *= 0.5
    first.data[3] *= 0.6  # weaker as such, but 0.36 of its mean is more than 0.25 of the column's
    (name, rule), *others = structures._just_enough(net).items()
    assert (name, others) == ("2.W", []) and rule.filter == 0
    assert 0.25 * 9 < rule.column < 0.251 * 9 and rule.energy == rule.column and rule.fullness == 0.5
    second.data[:, 2, 3, 1] *= 2
    (name, rule), *others = structures._just_enough(net).items()
    assert (name, others) == ("0.W", []) and rule.column == 0 and 0.36 * 25 < rule.filter < 0.361 * 25


def test_purification_stops_at_the_budget_and_leaves_the_function_of_the_masked_net():
    net = thin_net()
    dense = copy.deepcopy(net)
    weights = sum(rows * columns for rows, columns in shapes_of(net))
    stage = {"keep": 0.6 * weights}
    small, report = structures.purified(net, stage, one_batch(), np.random.default_rng(0))
    left = sum(rows * columns for rows, columns in shapes_of(small))
    assert 0.5 * weights < left <= 0.6 * weights
    x = np.random.default_rng(1).standard_normal((*SHAPE, 7))
    assert relative_error(small.forward(x), net.forward(x)) < 1e-12 < relative_error(small.forward(x), dense.forward(x))
    assert report["before"] == one_batch().accuracy(dense) and report["projected"] == one_batch().accuracy(net)


def test_a_budget_that_leaves_no_path_is_refused():
    with pytest.raises(ValueError, match=r"the thresholds would set all weights of \d\.W to zero"):
        structures.purified(thin_net(), {"keep": 0}, one_batch(), np.random.default_rng(0))
