"""The experiment `variational_dropout`: as many weights in every net, masks that count, killed runs, on few images."""

import json

import numpy as np
import pytest

import nn
from pruning import masks
from pruning.experiments import runner, setup, variational_dropout


def tiny(seed=0, **changes):
    (spec,) = variational_dropout.specs("digits", [seed], "cpu")
    return {**spec, "epochs": 3, "images": 500, "ramp": 1.0, **changes}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return runner.run_one("variational_dropout", tiny(), folder=tmp_path_factory.mktemp("nets"))


@pytest.mark.slow
def test_a_cell_is_a_pure_function_of_its_specification(record):
    again = runner.run_one("variational_dropout", tiny())
    assert json.dumps({**again, "time": None}) == json.dumps({**record, "time": None})


def test_the_controls_have_as_many_weights_and_epochs(record):
    rows = {row["method"]: row for row in record["rows"]}
    assert list(rows) == ["variational, fitted", "variational, exact", "gradual magnitude", "small dense"]
    left = rows["variational, fitted"]["weights"]
    assert record["total"] == 9 * 12 + 9 * 12 * 16 + 9 * 16 * 16 + 160
    assert 4 <= left < record["total"]
    assert rows["gradual magnitude"]["weights"] == left
    assert 0.5 * left < rows["small dense"]["weights"] <= left
    assert {len(row["history"]) for row in rows.values()} == {3}
    assert all(0 < row["test_accuracy"] <= 1 and row["hits"] for row in rows.values())
    assert all(row["weights"] == sum(row["layers"].values()) for row in rows.values())


def test_the_narrower_net_is_the_largest_that_is_small_enough():
    spec = tiny()
    for left in (4000, 1000, 300):
        keep = variational_dropout.narrower(spec, left)
        a, b, c = (len(rows) for rows in keep.values())
        assert 9 * a + 9 * a * b + 9 * b * c + 10 * c <= left
        wider = variational_dropout.narrower(spec, left + 400)
        assert all(len(wider[name]) >= len(rows) for name, rows in keep.items())
    assert [len(rows) for rows in variational_dropout.narrower(spec, 1).values()] == [1, 1, 1]
    (lenet,) = variational_dropout.specs("mnist", [0], "cpu")
    keep = variational_dropout.narrower(lenet, 13000)
    a, b = (len(rows) for rows in keep.values())
    assert 12000 < 784 * a + a * b + 10 * b <= 13000


@pytest.mark.parametrize(("ramp", "threshold"), [(0.5, -100.0), (1.0, 100.0)])
def test_the_threshold_decides_what_is_left(ramp, threshold):
    found = variational_dropout.variational(tiny(ramp=ramp, threshold=threshold, epochs=1), "fitted")
    assert found["weights"] == (0 if threshold < 0 else sum(found["sizes"].values()))


def test_a_training_that_was_killed_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    spec = tiny()
    whole = variational_dropout.variational(spec, "exact")
    step, calls = nn.Adam.step, []

    def killed(self):
        calls.append(1)
        if len(calls) == 15:
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(nn.Adam, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        variational_dropout.variational(spec, "exact", folder=tmp_path)
    monkeypatch.setattr(nn.Adam, "step", step)
    assert list(tmp_path.glob("*.npz"))
    assert variational_dropout.variational(spec, "exact", folder=tmp_path) == whole


def test_checkpoints_of_all_nets_have_names_of_their_own(tmp_path):
    runner.run_one("variational_dropout", tiny(epochs=1), folder=tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == 4
    loaded = [nn.checkpoint.load(path) for path in tmp_path.glob("*.npz")]
    noisy = [net for net in loaded if any(name.endswith("rho") for name, _ in net.named_parameters())]
    assert len(noisy) == 2 and all(set(masks.prunable(net)) == {"0.W", "3.W", "7.W", "11.W"} for net in loaded)


def test_the_table_and_the_figure(record, tmp_path):
    text = variational_dropout.table(record)
    assert text.count("x ") >= 4 and "gradual magnitude" in text
    (path,) = variational_dropout.draw([record], tmp_path)
    assert path.stat().st_size > 10_000


def test_recipes():
    (spec,) = variational_dropout.specs("mnist", [3], "cpu")
    assert (spec["model"], spec["seed"]) == ("lenet300", 3) and spec["epochs"] <= 20
    assert variational_dropout.specs("mnist", [0], "cpu", "lenet5")[0]["divergences"] == ["fitted"]
    net = setup.MODELS["lenet300"](np.random.default_rng(0), dtype=np.float32)
    assert sum(masks.counts(net)) == 2 * 266200
    with pytest.raises(ValueError, match="expected one of --data digits --model conv3, --data mnist --model lenet300"):
        variational_dropout.specs("cifar10", [0], "cpu")
    with pytest.raises(ValueError, match="expected a seed of 0 or more"):
        variational_dropout.specs("mnist", [-1], "cpu")
