"""The experiment `self_adaptive`: equal costs, decisions that are borrowed, and nets that start alike."""

import json

import numpy as np
import pytest

import nn
from pruning.counts import count
from pruning.dynamic.self_adaptive import Gated, gated
from pruning.experiments import runner, self_adaptive, setup

ARMS = ["self-adaptive", "without norm", "small", "dense"]


def tiny(seed=0, validation=False, **changes):
    (spec,) = self_adaptive.specs("digits", [seed], "cpu", validation=validation)
    return {**spec, "epochs": 3, "images": 300, **changes}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return runner.run_one("self_adaptive", tiny(), folder=tmp_path_factory.mktemp("nets"))


def rows(record):
    return {row["method"]: row for row in record["rows"]}


def test_all_nets_are_trained_as_long_and_the_small_one_costs_as_much(record):
    assert list(rows(record)) == ARMS
    assert {len(row["history"]) for row in record["rows"]} == {3}
    spec = record["spec"]
    budget = spec["budget"] + rows(record)["self-adaptive"]["overhead"]
    assert abs(rows(record)["small"]["cost"] - budget) < 0.003 and rows(record)["dense"]["cost"] == 1
    assert self_adaptive.full(spec) == 9 * (64 * 16 + 16 * 16 * 32 + 4 * 32 * 32)
    assert self_adaptive.overhead(spec) == 16 * (1 + 16 + 16 + 32 + 32 + 32)
    net = self_adaptive.with_decisions(spec, "self-adaptive")
    affine = [module for layer in gated(net) for module in layer.saliency.modules() if isinstance(module, nn.Linear)]
    assert self_adaptive.overhead(spec) == sum(np.prod(module.W.shape) for module in affine)


def test_all_nets_of_all_channels_start_from_the_same_filters():
    spec = tiny()
    nets = [self_adaptive.plain(spec["widths"], np.random.default_rng(0))]
    nets += [self_adaptive.with_decisions(spec, method) for method in ARMS[:2]]
    for layers in zip(*(net.layers for net in nets)):
        first, *others = (layer.conv if isinstance(layer, Gated) else layer for layer in layers)
        for other in others:
            for one, two in zip(first.parameters(), other.parameters(), strict=True):
                np.testing.assert_array_equal(one.data, two.data)
    norms = [sum(isinstance(m, nn.BatchNorm) for m in net.modules()) for net in nets]
    assert norms == [0, 3, 0]


def test_borrowed_decisions_are_those_of_other_images_that_are_allowed():
    spec = tiny()
    net, (train, test) = self_adaptive.with_decisions(spec, "self-adaptive"), setup.parts(spec, None)
    self_adaptive.fitted(net, nn.SoftmaxCrossEntropy(), spec, train, "self-adaptive")
    own, rng = self_adaptive.made(net, test), np.random.default_rng(0)
    right = setup.accuracy(net, test)
    alone = np.eye(360, dtype=bool)
    assert self_adaptive.borrowed(net, test, own, alone, rng) == pytest.approx(right)
    lender = np.roll(alone, 1, axis=1)  # image n gets the decisions of image n + 1
    found = self_adaptive.borrowed(net, test, own, lender, rng)
    assert all(layer.imposed is None for layer in gated(net))
    for layer, v in zip(gated(net), own):
        layer.imposed = np.roll(v, -1, axis=1)
    assert found == pytest.approx(setup.accuracy(net, test)) and found != right


def test_what_is_measured_of_decisions(record):
    for row in record["rows"][:2]:
        assert row["costs"][0] <= row["cost"] <= row["costs"][1]
        assert all(0 <= share <= 1 for share in (*row["open"], *row["static"], *row["alike"], row["alone"]))
        assert row["test_accuracy"] != row["other"] or row["nets"] == [1, 1, 1]
    spec = tiny()
    net, (train, test) = self_adaptive.with_decisions(spec, "self-adaptive"), setup.parts(spec, None)
    for layer in gated(net):
        layer.saliency.layers[-1].b.data[:] = -100  # all is closed
        layer.saliency.layers[-1].b.data[:4] = 100
    found = self_adaptive.decided(net.eval(), spec, train, test)
    full = self_adaptive.full(spec)
    assert found["cost"] == pytest.approx(9 * (64 * 4 + 16 * 16 + 4 * 16) / full) and found["nets"] == [1, 1, 1]
    assert found["static"] == [1, 1, 1] and found["alike"] == [1, 1] and found["open"] == [4 / 16, 4 / 32, 4 / 32]
    assert found["other"] == found["same class"] == setup.accuracy(net, test)
    small = nn.Sequential(*self_adaptive.plain([4, 4, 4], None).layers)
    assert count(small, (1, 8, 8), "conv_only").macs == pytest.approx(found["cost"] * full)


def test_with_validation_no_accuracy_is_of_the_test_images(monkeypatch):
    asked, parts = [], setup.parts
    monkeypatch.setattr(setup, "parts", lambda spec, root: asked.append(spec["validation"]) or parts(spec, root))
    self_adaptive.run_cell(tiny(validation=True, epochs=1))
    assert set(asked) == {True}


def test_the_table_and_the_figures(record, tmp_path):
    text = self_adaptive.table(record)
    assert text.count("\n") == 4 and f"{rows(record)['small']['test_accuracy']:.2%}" in text
    paths = self_adaptive.draw([record, record], tmp_path)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths) and len(paths) == 2


@pytest.mark.slow
def test_a_cell_is_a_pure_function_of_its_specification(record):
    again = runner.run_one("self_adaptive", tiny())
    assert json.dumps({**again, "time": None}) == json.dumps({**record, "time": None})


def test_bad_input_is_one_sentence():
    with pytest.raises(ValueError, match=r"expected one of --data digits --model conv3; got --data mnist --model None"):
        self_adaptive.specs("mnist", [0], "cpu")
    with pytest.raises(ValueError, match="expected a seed of 0 or more, got -1"):
        self_adaptive.specs("digits", [-1], "cpu")
