"""The experiment `soft_filters`: what comes back, small nets of the same function, and controls of the same widths."""

import json

import numpy as np
import pytest

import nn
from pruning.experiments import runner, setup, soft_filters


def tiny(seed=0, validation=False, **changes):
    (spec,) = soft_filters.specs("digits", [seed], "cpu", validation=validation)
    dense = {**spec["dense"], "epochs": 3, "milestones": [2]}
    return {**spec, "dense": dense, "retraining": {**spec["retraining"], "epochs": 1}, "macs": [0.5], **changes}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return runner.run_one("soft_filters", tiny(), folder=tmp_path_factory.mktemp("nets"))


@pytest.mark.slow
def test_a_cell_is_a_pure_function_of_its_specification(record):
    again = runner.run_one("soft_filters", tiny())
    assert json.dumps({**again, "time": None}) == json.dumps({**record, "time": None})


def test_all_rows_have_the_same_widths(record):
    rows = {row["method"]: row for row in record["rows"]}
    assert list(rows) == ["soft", "soft, chance", "hard", "hard, chance", "scratch"]
    assert len({row["conv_macs"] for row in rows.values()}) == 1
    assert rows["soft"]["conv_macs"] <= 0.5 * record["dense"]["conv_macs"]
    widths = {name: len(kept) for name, kept in rows["soft"]["keep"].items()}
    assert widths == {name: len(kept) for name, kept in rows["soft, chance"]["keep"].items()}
    assert rows["soft"]["keep"] != rows["soft, chance"]["keep"]


def test_every_epoch_zeroes_as_many_and_chance_brings_most_of_them_back(record):
    rows = {row["method"]: row for row in record["rows"]}
    for name in ("soft", "soft, chance"):
        zeroed = rows[name]["zeroed"]
        assert [each["step"] for each in zeroed] == [18, 36, 54] and len({each["zeroed"] for each in zeroed}) == 1
        assert zeroed[0]["came_back"] == 0
    gone = rows["soft"]["zeroed"][0]["zeroed"]
    assert all(0.3 * gone < each["came_back"] < gone for each in rows["soft, chance"]["zeroed"][1:])


def test_folding_changes_nothing_and_naive_removal_does(record):
    for row in record["rows"]:
        if "keep" in row:
            assert row["folding changes outputs by"] < 1e-5 < 1e-2 < row["naive removal changes outputs by"]
            assert row["cut"]["test_accuracy"] == row["folded"]["test_accuracy"]


def test_hard_pruning_takes_the_filters_of_smallest_norm():
    net = setup.three_convolutions((12, 16, 16), np.random.default_rng(0))
    shares = soft_filters.uniform_shares(net, "digits", 0.5)
    small = soft_filters.controls(net, shares, tiny())["hard"]
    norms = np.linalg.norm(net.layers[0].W.data.reshape(12, -1), axis=1)
    kept = sorted(np.argsort(-norms)[: small.layers[0].W.shape[0]])
    np.testing.assert_array_equal(small.layers[0].W.data, net.layers[0].W.data[kept])


@pytest.mark.parametrize("method", ["soft", "soft, chance"])
def test_a_training_that_was_killed_goes_on_to_the_same_bits(method, tmp_path, monkeypatch):
    spec = tiny()
    net = setup.MODELS["conv3"](np.random.default_rng(0), np.float32)
    shares = soft_filters.uniform_shares(net, "digits", 0.5)
    whole, found = soft_filters.training(spec, method, 0.5, shares)
    step, calls = nn.SGD.step, []

    def killed(self):
        calls.append(1)
        if len(calls) == 43:
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(nn.SGD, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        soft_filters.training(spec, method, 0.5, shares, folder=tmp_path)
    monkeypatch.setattr(nn.SGD, "step", step)
    resumed, again = soft_filters.training(spec, method, 0.5, shares, folder=tmp_path)
    assert again["zeroed"] == found["zeroed"] and resumed.keep() == whole.keep()
    for a, b in zip(whole.net.parameters(), resumed.net.parameters()):
        np.testing.assert_array_equal(a.data, b.data)


def test_on_cifar10_the_controls_are_left_to_another_experiment():
    (spec,) = soft_filters.specs("cifar10", [0], "cpu")
    assert spec["methods"] == ["soft"] and spec["controls"] == [] and spec["macs"] == [0.5]
    with pytest.raises(ValueError, match="expected one of --data digits --model conv3, --data cifar10"):
        soft_filters.specs("mnist", [0], "cpu", "lenet5")


def test_the_table_and_the_figures(record, tmp_path):
    assert soft_filters.table(record).count("\n") == 1 + 5
    paths = soft_filters.draw([record], tmp_path)
    assert all(path.stat().st_size > 10_000 for path in paths)
