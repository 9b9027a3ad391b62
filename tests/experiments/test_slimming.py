"""The experiment `slimming`: penalised nets, small nets of the same function, and controls of as many MACs."""

import json
import math

import numpy as np
import pytest

import nn
from pruning.experiments import runner, setup, slimming
from pruning.penalties import slimming as method


def tiny(seed=0, validation=False, **changes):
    (spec,) = slimming.specs("digits", [seed], "cpu", validation=validation)
    dense = {**spec["dense"], "epochs": 2, "milestones": [1]}
    return {**spec, "dense": dense, "retraining": {**spec["retraining"], "epochs": 1}, **changes}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return runner.run_one("slimming", tiny(), folder=tmp_path_factory.mktemp("nets"))


@pytest.mark.slow
def test_a_cell_is_a_pure_function_of_its_specification(record):
    again = runner.run_one("slimming", tiny())
    assert json.dumps({**again, "time": None}) == json.dumps({**record, "time": None})


def test_all_small_nets_have_at_most_the_macs_and_uniform_ones_the_same(record):
    methods = ["slimming, proximal", "slimming, subgradient", "slimming, uniform", "L1", "random", "scratch"]
    for share in (0.5, 0.3):
        rows = {row["method"]: row for row in record["rows"] if row["target"] == share}
        assert sorted(rows) == sorted(methods)
        assert all(row["conv_macs"] <= share * record["dense"]["conv_macs"] for row in rows.values())
        assert len({rows[name]["conv_macs"] for name in ("slimming, uniform", "L1", "random")}) == 1
        assert rows["scratch"]["conv_macs"] == rows["slimming, proximal"]["conv_macs"]
        widths = {name: len(kept) for name, kept in rows["slimming, proximal"]["keep"].items()}
        assert list(widths) == ["1.gamma", "4.gamma", "8.gamma"]


def test_folding_changes_nothing_and_naive_removal_does(record):
    for row in record["rows"]:
        if "keep" in row:
            assert row["folding changes outputs by"] < 1e-5 < row["naive removal changes outputs by"]
            assert row["cut"]["test_accuracy"] == row["folded"]["test_accuracy"]


def test_scales_do_not_decay_and_the_penalty_is_that_of_the_specification():
    """Two epochs without data that could hold them: with the prox free scales travel lam sum(eta) / (1 - mu)."""
    spec = tiny(strength=0.001)
    _, found = slimming.training({**spec, "dense": {**spec["dense"], "weight_decay": 10.0}}, "proximal")
    steps = math.ceil(spec["dense"]["images"] / 64)
    travelled = 0.001 * steps * (0.05 + 0.005) / (1 - 0.9)
    sizes = np.abs(np.concatenate(list(found["scales"].values())))
    assert np.all(sizes > 0.1)  # decay of 10 would have brought them to zero
    assert sum(found["zeros"].values()) == 0 and 0.5 - travelled > 0.3


def test_a_stronger_penalty_leaves_more_zeros_and_the_subgradient_none():
    weak, strong = (slimming.training(tiny(strength=s), "proximal")[1] for s in (0.05, 0.3))
    assert sum(weak["zeros"].values()) < sum(strong["zeros"].values()) > 10
    assert sum(slimming.training(tiny(strength=0.3), "subgradient")[1]["zeros"].values()) == 0


def test_the_share_that_empties_a_layer_is_the_least():
    net = setup.three_convolutions((12, 16, 16), np.random.default_rng(0))
    for gamma, low in zip(method.scales(net).values(), (0.1, 0.5, 0.9)):
        gamma.data = low + np.arange(gamma.shape[0]) / 100
    found = slimming.emptied(net)
    assert found == {"share": 12 / 44, "left": {"1.gamma": 0, "4.gamma": 16, "8.gamma": 16}}


def test_a_training_that_was_killed_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    spec = tiny(strength=0.05)
    whole, _ = slimming.training(spec, "proximal")
    step, calls = nn.SGD.step, []

    def killed(self):
        calls.append(1)
        if len(calls) == 25:
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(nn.SGD, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        slimming.training(spec, "proximal", folder=tmp_path)
    monkeypatch.setattr(nn.SGD, "step", step)
    assert list(tmp_path.glob("*.npz"))
    resumed, _ = slimming.training(spec, "proximal", folder=tmp_path)
    for a, b in zip(whole.parameters(), resumed.parameters()):
        np.testing.assert_array_equal(a.data, b.data)


def test_the_table_and_the_figures(record, tmp_path):
    text = slimming.table(record)
    assert "a layer is emptied at" in text and text.count("slimming, proximal") == 2
    paths = slimming.draw([record], tmp_path)
    assert all(path.stat().st_size > 10_000 for path in paths)


def test_what_there_is_no_recipe_for():
    with pytest.raises(ValueError, match="expected one of --data digits --model conv3, --data cifar10"):
        slimming.specs("mnist", [0], "cpu", "lenet5")
