"""The experiment `obd_mlp`: both methods on the same weights, its table and its figures."""

import json

import numpy as np
import pytest

from pruning import masks
from pruning.experiments import obd_mlp, runner, setup
from pruning.experiments.figures import obd_mlp as figures


def tiny(seed=0, **more):
    spec = obd_mlp.spec(seed=seed, grid=(0.5, 0.9))
    return {**spec, "hidden": [5], "epochs": 2, "retrain_epochs": 1, **more}


def without_time(record):
    return {key: value for key, value in record.items() if key != "time"}


def test_a_cell_is_a_pure_function_of_its_specification():
    first, again, other = (runner.run_one("obd_mlp", tiny(seed)) for seed in (0, 0, 1))
    assert json.dumps(without_time(first)) == json.dumps(without_time(again))
    assert first["rows"] != other["rows"]
    assert json.loads(json.dumps(first)) == first


def test_the_saliency_of_obd_is_that_of_the_objective_with_decay():
    spec = tiny(weight_decay=0.5)
    net, objective, _ = setup.perceptron(spec)
    h = objective.curvature(net)
    scores = {name: np.maximum(h[name], 0) * u.data**2 for name, u in masks.prunable(net).items()}
    expected = obd_mlp.delete(net, masks.smallest(scores, 0.5), objective)
    row = runner.run_one("obd_mlp", spec)["rows"][0]
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-9)


def test_both_methods_prune_the_same_trained_weights():
    record = runner.run_one("obd_mlp", tiny())
    assert len(record["rows"]) == 2 * 2 * 2
    for row in record["rows"]:
        if not row["retrain"]:
            assert row["E"] - row["true"] == pytest.approx(record["trained"]["E"], rel=1e-12)
    assert {"train_loss", "gradient_norm", "parameters"} <= record["trained"].keys()


@pytest.mark.parametrize("activation", setup.ACTIVATIONS)
@pytest.mark.parametrize("loss", setup.LOSSES)
def test_every_variant_runs_and_gives_a_table(activation, loss):
    spec = {**obd_mlp.spec("digits", 0, activation, loss, grid=[0.5]), "hidden": [5], "epochs": 1, "retrain_epochs": 1}
    table = obd_mlp.table(runner.run_one("obd_mlp", spec))
    assert "50.0 %" in table and "magnitude" in table
    assert len({len(line) for line in table.split("\n")[1:-1]}) == 1  # aligned


@pytest.mark.slow
def test_figures_are_drawn_from_one_record_and_from_several(tmp_path):
    records = [runner.run_one("obd_mlp", tiny(seed)) for seed in (0, 1)]
    for name, draw in (("a", figures.loss_curves), ("b", figures.predicted_against_true)):
        for count in (1, 2):
            path = draw(records[:count], tmp_path / f"{name}{count}.png")
            assert path.read_bytes().startswith(b"\x89PNG")
            assert path.stat().st_size < 100_000
