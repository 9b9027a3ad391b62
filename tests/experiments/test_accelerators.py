"""The experiment `accelerators`: controls of as many MACs, trained as long, and cycles that belong to the nets."""

import json

import numpy as np
import pytest

from pruning import counts, masks, sparse
from pruning.experiments import accelerators, runner, setup

RETRAINING = {**setup.RETRAINING, "epochs": 1}


def tiny(**changes):
    (spec,) = accelerators.specs("digits", [0], "cpu")
    dense = {**spec["dense"], "model": "conv3", "epochs": 2}
    return {**spec, "dense": dense, "sparsities": [0.6], "seen": 7, "retraining": RETRAINING, **changes}


@pytest.fixture(scope="module")
def record():
    return runner.run_one("accelerators", tiny())


@pytest.mark.slow
def test_a_cell_is_a_pure_function_of_its_specification(record):
    again = runner.run_one("accelerators", tiny())
    assert json.dumps({**again, "time": None}) == json.dumps({**record, "time": None})


def test_the_small_net_has_at_most_as_many_macs_and_one_filter_more_would_be_too_many():
    net = setup.three_convolutions((12, 16, 16), np.random.default_rng(0))
    whole = counts.count(net, (1, 8, 8)).macs
    for macs in (0.7, 0.3, 0.1):
        small = accelerators.without_filters(net, "digits", macs)
        left = counts.count(small, (1, 8, 8)).macs / whole
        assert 0.6 * macs < left <= macs
        assert small.layers[-1].n_out == 10
        assert all(layer.W.data.all() for layer in small.modules() if hasattr(layer, "W"))


def test_the_smallest_weights_of_the_whole_net_are_deleted_and_the_net_is_left_alone():
    net = setup.three_convolutions((12, 16, 16), np.random.default_rng(0))
    fewer = accelerators.without_weights(net, 0.6)
    gone = [u.data[new.data == 0] for u, new in zip(masks.prunable(net).values(), masks.prunable(fewer).values())]
    stay = [new.data[new.data != 0] for new in masks.prunable(fewer).values()]
    assert max(np.abs(w).max() for w in gone if w.size) <= min(np.abs(w).min() for w in stay)
    total = sum(u.data.size for u in masks.prunable(net).values())
    assert sum(w.size for w in gone) == round(0.6 * total)
    assert all(u.data.all() for u in masks.prunable(net).values())


def test_the_rows_of_a_record(record):
    dense, (longer, weights, small) = record["dense"], record["rows"]
    assert [row["method"] for row in record["rows"]] == ["dense", "weights", "filters"]
    whole = dense["cambricon_x"]
    assert whole["macs"] == sum(layer["macs"] for layer in whole["layers"])
    assert whole["cycles"] == whole["dense"] == dense["lockstep"]["cycles"]  # no weight is zero
    assert longer["cambricon_x"] == whole and longer["cut"]["test_accuracy"] == dense["test_accuracy"]
    assert weights["cambricon_x"]["dense"] == whole["dense"] > weights["lockstep"]["cycles"]
    assert weights["lockstep"]["cycles"] >= weights["cambricon_x"]["cycles"]
    assert small["cambricon_x"]["macs"] <= weights["cambricon_x"]["macs"] < whole["macs"]
    assert small["cambricon_x"]["cycles"] == small["cambricon_x"]["dense"]
    assert weights["weights"] == round(0.4 * dense["weights"])
    for row in record["rows"]:
        assert 0 < row["retrained"]["test_accuracy"] <= 1 and row["cnvlutin"]["layers"][0]["name"] == "0"
        assert row["cnvlutin"]["layers"][0]["cycles"] == row["cnvlutin"]["layers"][0]["dense"]


def test_masks_stay_while_a_net_is_retrained(record):
    spec = tiny()
    part, test = setup.shared_parts(spec, None)
    net = accelerators.without_weights(setup.dense_net(spec["dense"])[0], 0.6)
    found = accelerators.trained_on(net, spec, part, test)
    assert found["weights"] == sum(int(np.count_nonzero(u.data)) for u in masks.prunable(net).values())
    assert found["cambricon_x"]["cycles"] == sparse.cambricon_x(net, (1, 8, 8)).cycles
    assert found["cut"] == record["rows"][1]["cut"]


def test_gains_are_over_the_dense_net_on_the_dense_machine(record):
    row = record["rows"][1]
    assert accelerators.gain(record, record["rows"][0], "macs") == accelerators.gain(record, row, "dense") == 1
    whole = record["dense"]["cambricon_x"]
    assert accelerators.gain(record, row, "macs") == whole["macs"] / row["cambricon_x"]["macs"]
    assert accelerators.gain(record, row, "cambricon_x") == whole["dense"] / row["cambricon_x"]["cycles"]
    assert accelerators.gain(record, row, "lockstep") == whole["dense"] / row["lockstep"]["cycles"]
    assert (
        accelerators.gain(record, row, "cnvlutin") == record["dense"]["cnvlutin"]["dense"] / row["cnvlutin"]["cycles"]
    )


def test_the_table_and_the_figure(record, tmp_path):
    text = accelerators.table(record)
    assert "weights 60%" in text and "filters 60%" in text and "Cnvlutin" in text
    (path,) = accelerators.draw([record], tmp_path)
    assert path.name == "accelerators-digits.png" and 10_000 < path.stat().st_size


def test_what_there_is_no_recipe_for():
    for data, model in (("digits", "conv3-wide"), ("mnist", "lenet5")):
        assert accelerators.specs(data, [3], "cpu") == accelerators.specs(data, [3], "cpu", model)
        (spec,) = accelerators.specs(data, [3], "cpu", validation=True)
        assert json.loads(json.dumps(spec)) == spec and spec["seed"] == spec["dense"]["seed"] == 3
        assert spec["validation"] and spec["images"] == spec["dense"]["images"]
    with pytest.raises(ValueError, match="expected one of --data digits --model conv3-wide, --data mnist"):
        accelerators.specs("cifar10", [0], "cpu")
