"""The experiment `oracle_ranks`: true changes against masked nets, correlations by hand, a figure."""

import json
from itertools import combinations

import numpy as np
import pytest

import nn
from pruning.experiments import oracle_ranks, runner, setup
from pruning.pipeline import Objective


def tiny(seed=0):
    (spec,) = oracle_ranks.specs("digits", [seed], "cpu")
    return {**spec, "widths": [3, 4, 3], "epochs": 5}


@pytest.fixture(scope="module")
def record():
    return runner.run_one("oracle_ranks", tiny())


def without_time(record):
    return {key: value for key, value in record.items() if key != "time"}


def test_a_cell_is_a_pure_function_of_its_specification(record):
    assert json.dumps(without_time(record)) == json.dumps(without_time(runner.run_one("oracle_ranks", tiny())))
    assert [each["state"] for each in record["states"]] == ["before training", "after training"]
    assert record["states"][1]["E"] < record["states"][0]["E"]


def test_the_true_changes_are_those_of_maps_at_zero():
    rng = np.random.default_rng(0)
    net, data = setup.three_convolutions((3, 4, 3), rng), setup.images("digits", None)
    objective = Objective(nn.SoftmaxCrossEntropy(), data.train, data.test)
    found = oracle_ranks.state(net, objective, rng)
    filters = [(name, row) for name, n in (("0.W", 3), ("3.W", 4), ("7.W", 3)) for row in range(n)]
    norms = {"0.W": net.layers[1], "3.W": net.layers[4], "7.W": net.layers[8]}

    def change(*gone):
        for name, row in gone:
            norms[name].gamma.data[row] = 0
        E = objective.value(net)
        for name, row in gone:
            norms[name].gamma.data[row] = 1
        return E - found["E"]

    true = [each for name in norms for each in found["true"][name]]
    np.testing.assert_allclose(true, [change(each) for each in filters], atol=1e-12)
    np.testing.assert_allclose(found["pairs"], [change(*pair) for pair in combinations(filters, 2)], atol=1e-12)
    assert all(list(map(len, score.values())) == [3, 4, 3] for score in found["scores"].values())


def test_correlations_are_those_of_the_ranks(record):
    found = record["states"][1]
    true = np.concatenate(list(found["true"].values()))
    taylor = np.concatenate(list(found["scores"]["Taylor"].values()))

    def rho(a, b):
        return np.corrcoef(np.argsort(np.argsort(a)), np.argsort(np.argsort(b)))[0, 1]

    agreement = found["spearman"]["Taylor"]
    assert agreement["all"] == pytest.approx(rho(taylor, true))
    assert agreement["all, |change|"] == pytest.approx(rho(taylor, np.abs(true)))
    added = [a + b for a, b in combinations(taylor, 2)]
    assert agreement["pairs"] == pytest.approx(rho(added, found["pairs"]))
    assert found["spearman"]["oracle"]["all"] == pytest.approx(1)


def test_the_table_and_the_figure(record, tmp_path):
    text = oracle_ranks.table([record])
    assert text.count("\n") == 2 * 14 and len({len(line) for line in text.split("\n")}) == 1
    (path,) = oracle_ranks.draw([record, record], tmp_path)
    assert path.is_file()


def test_other_data_and_negative_seeds_are_refused():
    with pytest.raises(ValueError, match="the experiment oracle_ranks has its own net and data"):
        oracle_ranks.specs("mnist", [0], "cpu")
    with pytest.raises(ValueError, match="expected a seed of 0 or more, got -1"):
        oracle_ranks.specs("digits", [-1], "cpu")
