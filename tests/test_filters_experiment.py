"""The experiment `filters` on a handful of random images."""

import json

import numpy as np
import pytest

from pruning import surgery
from pruning.experiments import figures, filters, runner, train
from pruning.experiments.filters import CONVOLUTIONS, SHAPE
from pruning.scores import filter_norm


@pytest.fixture(scope="module", autouse=True)
def few():
    """60 random images to train on, 20 that are held out, and 30 to test on."""
    rng = np.random.default_rng(0)
    train_part, held_out, test = ((rng.random((*SHAPE, n), np.float32), rng.integers(0, 10, n)) for n in (60, 20, 30))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "parts", lambda spec, root: (train_part, held_out if spec["validation"] else test))
        yield


def tiny(seed=0, validation=False, **more):
    (spec,) = filters.specs("mnist", [seed], "cpu", validation=validation)
    dense = {**spec["dense"], "epochs": 1}
    return {**spec, "dense": dense, "shares": [0.0, 0.9], "retraining": {**filters.RETRAINING, "epochs": 2}, **more}


@pytest.fixture(scope="module")
def records():
    return [runner.run_one("filters", tiny(seed)) for seed in (0, 1)]


@pytest.fixture
def record(records):
    return records[0]


def test_a_cell_is_a_pure_function_of_its_specification(records):
    again = runner.run_one("filters", tiny())
    assert {**again, "time": 0} == {**records[0], "time": 0}
    assert json.loads(json.dumps(again)) == again
    assert records[0]["rows"] != records[1]["rows"]


def test_half_of_the_conv_macs_are_left_in_every_pruned_net(record):
    assert [row["method"] for row in record["rows"]] == list(filters.METHODS)
    assert record["dense"]["conv_macs"] == 1_888_000 and record["dense"]["weights"] == 430_500
    for row in record["rows"]:
        first, second = row["filters"]
        assert row["conv_macs"] == first * 25 * 24**2 + second * first * 25 * 8**2
        assert row["macs"] - row["conv_macs"] == second * 16 * 500 + 5000
        assert row["conv_weights"] == 25 * first + 25 * first * second
        if row["method"] == "dense":
            assert row["filters"] == [20, 50]
        else:
            assert 0.44 < row["conv_macs"] / 1_888_000 <= 0.5


def test_every_row_is_retrained_for_the_same_number_of_epochs(record):
    for row in record["rows"]:
        steps = row["method"] == "l1 in steps"
        assert row["epochs"] == ([0, 1, 1, 2] if steps else [0, 1, 2])
        assert len(row["test_accuracy"]) == len(row["epochs"])


def test_what_is_measured_before_retraining_is_the_trained_net_without_its_weakest_filters(record):
    net, _ = train.trained(tiny()["dense"])
    test = train.parts(tiny()["dense"], None)[1]
    row = record["rows"][0]
    scores = filter_norm.saliency(net)
    keep = {name: sorted(np.argsort(-scores[name])[:n].tolist()) for name, n in zip(CONVOLUTIONS, row["filters"])}
    y = surgery.remove(net, keep).forward(test[0])
    assert row["test_accuracy"][0] == pytest.approx(np.mean(np.argmax(y, axis=0) == test[1]))
    assert record["rows"][3]["test_accuracy"][0] == record["dense"]["test_accuracy"]


def test_every_method_is_given_its_score(monkeypatch):
    given = {}

    def noted(net, spec, method, score, part, test):
        given[method] = score(net, ["2.W"])["2.W"], filter_norm.saliency(net, ["2.W"])["2.W"]
        return {}

    monkeypatch.setattr(filters, "pruned_and_retrained", noted)
    filters.run_cell(tiny())
    for method, (scores, norms) in given.items():
        assert (scores == norms).all() == (method != "random")
    assert len(given) == 4


def test_sensitivity_begins_at_the_dense_net(record):
    for curves in record["sensitivity"].values():
        assert list(curves) == list(CONVOLUTIONS)
        assert len({values[0] for values in curves.values()}) == 1


def test_with_validation_all_accuracies_are_those_on_the_held_out_images():
    record = runner.run_one("filters", tiny(validation=True))
    assert record["dense"]["test_accuracy"] == record["sensitivity"]["l1"]["0.W"][0]


def test_figures_and_table(records, tmp_path):
    for path in filters.draw(records, tmp_path):
        assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size < 100_000
    assert figures.filter_retraining(records[:1], tmp_path / "one.png").is_file()
    lines = filters.table(records[0]).split("\n")
    assert len(lines) == 6 and len({len(line) for line in lines[2:]}) == 1


def test_bad_input_is_one_sentence():
    with pytest.raises(ValueError, match="expected --data mnist, got --data digits --model None"):
        filters.specs("digits", [0], "cpu")
    with pytest.raises(ValueError, match="got --data mnist --model vgg11-thin"):
        filters.specs("mnist", [0], "cpu", "vgg11-thin")
    with pytest.raises(ValueError, match="expected a seed of 0 or more, got -1"):
        filters.specs("mnist", [0, -1], "cpu")
