"""The experiment `from_scratch`: gates over weights that stay, and three kinds of widths under the same budgets."""

import json

import numpy as np
import pytest

from pruning.architectures import from_scratch as method
from pruning.experiments import from_scratch, runner, setup


def tiny(seed=0, **changes):
    (spec,) = from_scratch.specs("digits", [seed], "cpu")
    gates = {**spec["gates"], "learning_rate": 0.05, "epochs": 3}
    return {**spec, "widths": [6, 8, 10], "images": 300, "epochs": 2, "gates": gates, **changes}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return runner.run_one("from_scratch", tiny(), folder=tmp_path_factory.mktemp("nets"))


@pytest.mark.slow
def test_a_cell_is_a_pure_function_of_its_specification(record):
    again = runner.run_one("from_scratch", tiny())
    assert json.dumps({**again, "time": None}) == json.dumps({**record, "time": None})


def test_every_net_is_under_its_budget_by_less_than_a_channel(record):
    spec, whole = record["spec"], record["dense"]["macs"]
    assert record["dense"]["widths"] == spec["widths"]
    arms = [row["method"] for row in record["rows"]]
    assert arms == 2 * ["gates", "uniform", *4 * ["random"]]
    channel = 9 * (64 + 64 * 6 + 16 * 10)  # the dearest one, of the second layer
    for row in record["rows"]:
        assert row["budget"] * whole - channel < row["macs"] <= row["budget"] * whole
        assert row["macs"] == setup.costs(from_scratch.drawn(spec, row["widths"]), "digits")["macs"]
        assert all(1 <= width <= most for width, most in zip(row["widths"], spec["widths"]))


def test_the_widths_are_those_of_the_search_on_the_gates_of_the_record(record):
    spec, values = record["spec"], {name: np.array(v) for name, v in record["gates"]["values"].items()}
    cost = method.costs(from_scratch.drawn(spec, spec["widths"]), (1, 8, 8))
    for row in record["rows"]:
        if row["method"] == "gates":
            found = method.search(values, cost, row["budget"] * record["dense"]["macs"])
            assert [*found.values()] == row["widths"]


def test_what_happened_while_the_gates_learnt(record):
    history, values = record["gates"]["history"], np.concatenate([*record["gates"]["values"].values()])
    assert [row["epoch"] for row in history] == [0, 1, 2]
    assert history[-1]["mean"] == pytest.approx(values.mean(), rel=1e-6)
    assert history[-1]["open"] == np.mean(values != 0)
    assert all(row["mean"] <= row["open"] for row in history)
    assert history[-1]["penalty"] == pytest.approx(0.5 * (history[-1]["mean"] - 0.2) ** 2)
    assert history[-1]["mean"] < history[0]["mean"] < 1


def test_weights_stay_while_the_gates_learn(monkeypatch):
    nets, drawn, gated = [], from_scratch.drawn, method.gated
    monkeypatch.setattr(method, "gated", lambda net: nets.append(gated(net)) or nets[-1])
    from_scratch.searched(tiny(), setup.parts(tiny(), None)[1])
    before = {name: u.data for name, u in drawn(tiny(), [6, 8, 10]).named_parameters() if name.endswith("W")}
    for name, u in nets[0].named_parameters():
        if name.endswith("W"):
            np.testing.assert_array_equal(u.data, before[name])


def test_nets_of_one_seed_see_the_same_batches_and_start_from_the_seed():
    spec = tiny()
    a, b = (from_scratch.drawn(spec, [6, 8, 10]) for _ in range(2))
    for u, v in zip(a.parameters(), b.parameters()):
        np.testing.assert_array_equal(u.data, v.data)
    other = from_scratch.drawn({**spec, "seed": 1}, [6, 8, 10])
    assert (a.layers[0].W.data != other.layers[0].W.data).all()


def test_a_training_that_was_killed_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    spec, widths = tiny(), {"0.W": 3, "3.W": 4, "7.W": 5}
    test = setup.parts(spec, None)[1]
    whole = from_scratch.trained(spec, widths, test)
    step, calls = from_scratch.nn.SGD.step, []

    def killed(self):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(from_scratch.nn.SGD, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        from_scratch.trained(spec, widths, test, folder=tmp_path)
    monkeypatch.setattr(from_scratch.nn.SGD, "step", step)
    assert list(tmp_path.glob("*.npz"))
    assert from_scratch.trained(spec, widths, test, folder=tmp_path) == whole


def test_the_table_and_the_figures(record, tmp_path):
    text = from_scratch.table(record)
    assert "uniform" in text and "mean gate" in text and "6-8-10" in text
    paths = from_scratch.draw([record], tmp_path)
    assert len(paths) == 2 and all(path.stat().st_size > 10_000 for path in paths)


def test_what_there_is_no_recipe_for():
    with pytest.raises(ValueError, match="expected one of --data digits --model conv3; got --data cifar10"):
        from_scratch.specs("cifar10", [0], "cpu")
