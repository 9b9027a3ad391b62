"""The experiment `obs_mlp`: every method on the same weights."""

import copy
import json

import pytest

from pruning import masks
from pruning.experiments import obs_mlp, runner
from pruning.pipeline import delete


def without_time(record):
    return {key: value for key, value in record.items() if key != "time"}


@pytest.mark.slow
def test_obs_mlp_prunes_the_same_trained_weights_by_every_method(tmp_path):
    spec = {**obs_mlp.spec(), "hidden": [2], "epochs": 2, "full_batch_epochs": 3, "grid": [0.3, 0.6]}
    record = runner.run_one("obs_mlp", spec)
    assert json.dumps(without_time(record)) == json.dumps(without_time(runner.run_one("obs_mlp", spec)))
    net, objective = obs_mlp.trained_net(spec)
    key = lambda row: (row["method"], row["adjusted"], row["renewed"], round(row["sparsity"], 1))  # noqa: E731
    rows = {key(row): row for row in record["rows"] if row["damping"] == 0}
    assert len(rows) == 7 * 2 and len(record["rows"]) == 8 * 2
    for sparsity in spec["grid"]:
        assert len({row["weights_left"] for key, row in rows.items() if key[3] == sparsity}) == 1
    scores = obs_mlp.magnitude.saliency(net)
    expected = delete(copy.deepcopy(net), masks.smallest(scores, 0.6), objective)
    row = rows["magnitude", False, False, 0.6]
    assert {name: row[name] for name in ("predicted", "true", "E")} == pytest.approx(
        {name: expected[name] for name in ("predicted", "true", "E")}, rel=1e-9
    )
    Hinv = obs_mlp.hessian.inverse(net, objective.loss, *objective.train, objective.weight_decay)
    once, predicted = copy.deepcopy(net), 0.0
    _, predicted = obs_mlp.obs.prune(once, Hinv, 0.6)
    assert rows["obs", True, False, 0.6]["true"] == pytest.approx(
        objective.value(once) - objective.value(net), rel=1e-6
    )
    assert rows["obs", True, False, 0.6]["predicted"] == pytest.approx(predicted, rel=1e-9)
    first = "obs", True, True, 0.3
    assert rows[first]["true"] == rows["obs", True, False, 0.3]["true"]  # nothing to renew yet
    assert rows["obs", True, True, 0.6]["true"] != rows["obs", True, False, 0.6]["true"]
    (path,) = obs_mlp.draw([record, record], tmp_path)
    assert path.read_bytes().startswith(b"\x89PNG")
