"""The experiment `l0`: gates in their places, a small net of the same function, controls of as many weights."""

import json

import numpy as np
import pytest

import nn
from pruning.experiments import l0, runner
from pruning.penalties.hard_concrete import HardConcrete


def tiny(seed=0, data="digits", model=None, **changes):
    (spec,) = l0.specs(data, [seed], "cpu", model)
    return {**spec, "epochs": 15, "gate_rate": 0.03, "strengths": [0.1, 0.1, 0.3], **changes}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return runner.run_one("l0", tiny(), folder=tmp_path_factory.mktemp("nets"))


@pytest.mark.slow
def test_a_cell_is_a_pure_function_of_its_specification(record):
    again = runner.run_one("l0", tiny())
    assert json.dumps({**again, "time": None}) == json.dumps({**record, "time": None})


def test_the_controls_have_as_many_weights_and_the_small_net_the_function(record):
    found, rows = record["l0"], {row["method"]: row for row in record["rows"]}
    assert list(rows) == ["gradual", "scratch"]
    assert rows["gradual"]["weights"] == rows["scratch"]["weights"] == found["weights"] < record["dense"]["weights"]
    assert rows["scratch"]["macs"] == found["macs"]
    assert found["removal changes outputs by"] < 1e-5
    assert found["test_accuracy"] == found["gated"]["test_accuracy"]
    assert found["expected_weights"] < found["own_gates"]
    inputs, first, second = found["open"]
    assert found["weights"] <= inputs * first + first * second + second * 10
    assert {len(row["history"]) for row in (record["dense"], found, *rows.values())} == {15}
    assert record["l0"]["history"][0]["penalty"] > 0


@pytest.mark.parametrize(
    ("model", "places", "shapes"),
    [
        ("lenet300", [1, 4, 7], {"1": (1,), "4": (1,), "7": (1,)}),
        ("lenet5", [1, 4, 7, 10], {"1": (0,), "4": (0,), "7": (1,), "10": (1,)}),
    ],
)
def test_gates_stand_behind_convolutions_and_in_front_of_affine_layers(model, places, shapes):
    spec = tiny(data="mnist", model=model, strengths=[0.1, 0.5, 5, 7])
    net, groups = l0.gated(spec)
    assert [k for k, layer in enumerate(net.layers) if isinstance(layer, HardConcrete)] == places
    assert {name: next(iter(family.axes.values())) for name, family in groups.items()} == shapes
    for k, (name, family) in enumerate(groups.items()):
        (weight,) = family.axes
        layer, gate = net.layers[int(weight.partition(".")[0])], net.layers[int(name)]
        assert isinstance(layer, nn.Conv2d | nn.Linear) and layer.W.shape[family.axes[weight][0]] == gate.channels
        assert family.strength == spec["strengths"][k] and gate.drop_rate == spec["drop_rates"][k]
    plain = [u for name, u in l0.fresh(spec).named_parameters()]
    left = [u for name, u in net.named_parameters() if not name.endswith("log_alpha")]
    for a, b in zip(plain, left, strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_the_penalty_closes_gates_and_without_it_none_are():
    assert min(l0.small_net(l0.with_gates(tiny(strengths=[0] * 3))[0], tiny(), _test())[1]["open"]) >= 30
    spec = tiny(strengths=[30] * 3)
    net, _ = l0.with_gates(spec)
    assert sum((layer.factor() > 0).sum() for layer in net.modules() if isinstance(layer, HardConcrete)) < 10


def _test():
    return nn.data.load("digits", dtype=np.float32).test


def test_the_net_from_scratch_is_drawn_anew(record):
    """It does not start from the weights that the gates left, but as far off as the dense net does."""
    first = {"dense": record["dense"]["history"][0], "scratch": record["rows"][1]["history"][0]}
    assert first["scratch"]["train_loss"] > 0.8 * first["dense"]["train_loss"] > 0.8


def test_a_training_that_was_killed_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    spec = tiny()
    whole, _ = l0.with_gates(spec)
    step, calls = nn.Adam.step, []

    def killed(self):
        calls.append(1)
        if len(calls) == 60:
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(nn.Adam, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        l0.with_gates(spec, folder=tmp_path)
    monkeypatch.setattr(nn.Adam, "step", step)
    assert list(tmp_path.glob("*.npz"))
    resumed, _ = l0.with_gates(spec, folder=tmp_path)
    for a, b in zip(whole.parameters(), resumed.parameters()):
        np.testing.assert_array_equal(a.data, b.data)


def test_the_table_and_the_figure(record, tmp_path):
    text = l0.table(record)
    assert "hard concrete" in text and "by each layer's own gates" in text
    (path,) = l0.draw([record], tmp_path)
    assert path.stat().st_size > 10_000


def test_what_there_is_no_recipe_for():
    with pytest.raises(ValueError, match="expected one of --data digits --model mlp64, --data mnist --model lenet300"):
        l0.specs("cifar10", [0], "cpu")
