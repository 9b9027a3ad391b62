"""The experiment `adversarial`: who starts from whom, for how long, what is left; killed runs; on few epochs."""

import json
from itertools import pairwise

import numpy as np
import pytest

import nn
from pruning.experiments import adversarial, runner, setup
from pruning.penalties.beta_bernoulli import BetaBernoulli

SHORT = {"base": 2, "epochs": 3, "restarts": 1, "test": [0.15, 0.02, 8], "strong": [0.15, 0.02, 16], "images": 700}


def tiny(seed=0, **changes):
    (spec,) = adversarial.specs("digits", [seed], "cpu")
    return {**spec, **SHORT, **changes}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return runner.run_one("adversarial", tiny(), folder=tmp_path_factory.mktemp("nets"))


@pytest.mark.slow
def test_a_cell_is_a_pure_function_of_its_specification(record):
    again = runner.run_one("adversarial", tiny())
    assert json.dumps({**again, "time": None}) == json.dumps({**record, "time": None})


def test_every_method_has_its_row_and_the_small_net_the_function(record):
    rows = {row["method"]: row for row in record["rows"]}
    names = ["standard base", "robust base", *adversarial.METHODS, adversarial.SCRATCH]
    assert list(rows) == names and set(record) >= set(adversarial.FIELDS)
    for name, row in rows.items():
        assert row["removal changes outputs by"] < 1e-5
        assert ("open" in row) == ("masks" in adversarial.METHODS.get(name, {}))
        assert len(row["widths"]) == 2 and len(row["curve"]) == len(record["radii"])
        if "open" in row:
            assert row["V identical"] > 0.001 and all(w <= o for w, o in zip(row["widths"], row["open"]))
        else:
            assert row["V identical"] < 1e-7 and row["V drawn"] == pytest.approx(row["V"], rel=1e-6)
    assert rows[adversarial.SCRATCH]["weights"] <= rows["ANP"]["weights"]


def test_the_curve_falls_and_the_strong_attack_is_at_least_as_strong(record):
    for row in record["rows"]:
        whole = [row["test_accuracy"], *row["curve"]]
        assert all(b <= a + 0.02 for a, b in pairwise(whole))
        assert row["curve"][2] == row["attacked"]["test_accuracy"]  # the radius of the attack of the table
        assert row["doubts"]["strong"] <= row["attacked"]["test_accuracy"] + 0.02
    scaled = record["rescaled"]
    assert scaled["V rescaled"] == pytest.approx(scaled["V as trained"] / 2, rel=1e-3)
    assert scaled["attacked rescaled"] == pytest.approx(scaled["attacked as trained"], abs=0.01)


def test_what_goes_on_from_what_and_for_how_long(monkeypatch):
    seen = []

    def fitted(net, recipe, *runs):
        starts = [layer.W.data.copy() for layer in net.modules() if isinstance(layer, nn.Linear)]
        gates = any(isinstance(layer, BetaBernoulli) for layer in net.modules())
        seen.append((recipe["stage"], recipe["epochs"], recipe["milestones"], starts, gates))
        for layer in net.modules():
            if isinstance(layer, nn.Linear):
                layer.W.data = layer.W.data + (1 if recipe.get("robust") else 2)
        return net

    monkeypatch.setattr(adversarial, "_fitted", fitted)
    (spec,) = adversarial.specs("digits", [0], "cpu")
    bases = {name: adversarial.base(spec, name == "robust") for name in ("standard", "robust")}
    for name, plan in adversarial.METHODS.items():
        adversarial.method(spec, name, bases[plan["from"]])
        stage, epochs, milestones, starts, gates = seen[-1]
        assert stage == name and gates == ("masks" in plan)
        assert epochs == (90 + 120 if name == "adversarial training, twice" else 90)
        assert [epochs - milestone for milestone in milestones] == [27, 9]
        np.testing.assert_array_equal(starts[0], bases[plan["from"]].layers[1].W.data)
    adversarial.scratch(spec, [5, 4])
    stage, epochs, milestones, starts, gates = seen[-1]
    assert (stage, epochs, milestones, gates) == (adversarial.SCRATCH, 120, [93, 111], False)
    assert [W.shape for W in starts] == [(5, 64), (4, 5)]


def test_companions_are_those_of_the_plan(monkeypatch):
    found = {}

    def fit(net, optimizer, recipe, rng, root, progress, folder, companions):
        found[recipe["stage"]] = companions, optimizer

    monkeypatch.setattr(setup, "fit", fit)
    spec = tiny()
    start = adversarial.fresh(spec["widths"], False, 0)
    for name in adversarial.METHODS:
        adversarial.method(spec, name, start)
    kinds = {name: [type(each).__name__ for each in companions] for name, (companions, _) in found.items()}
    attack, prior = "AdversarialGradients", "Divergence"
    assert kinds == {
        "standard": [],
        "beta-Bernoulli": [prior],
        **{name: [attack] for name in ("adversarial training", "adversarial training, twice", "AT-VS")},
        **{name: [attack, prior] for name in ("AT with masks of clean images", "ANP", "ANP, twice beta", "ANP-VS")},
    }
    strengths = {name: companions[0].strength for name, (companions, _) in found.items() if attack in kinds[name]}
    assert {name for name, lam in strengths.items() if lam} == {"AT-VS", "ANP-VS"} and strengths["ANP-VS"] == 2
    masks = {name: found[name][0][0].masks for name in ("AT with masks of clean images", "ANP", "ANP-VS")}
    assert masks == {"AT with masks of clean images": (1, 0), "ANP": (0, 1), "ANP-VS": (0, 1)}
    assert [found[name][0][1].beta for name in ("ANP", "ANP, twice beta")] == [1, 2]
    assert found["ANP"][0][1].patterns == 700
    optimizer = found["ANP"][1]
    assert sorted({round(optimizer.rate(u), 9) for u in optimizer.parameters}) == [5e-3, 0.165]


def test_a_training_that_was_killed_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    spec, start = tiny(epochs=4), adversarial.fresh([64, 60, 60, 10], False, 1)
    whole = adversarial.method(spec, "ANP-VS", start)
    step, calls = nn.Adam.step, []

    def killed(self):
        calls.append(1)
        if len(calls) == 15:
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(nn.Adam, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        adversarial.method(spec, "ANP-VS", start, folder=tmp_path)
    monkeypatch.setattr(nn.Adam, "step", step)
    assert list(tmp_path.glob("*.npz"))
    resumed = adversarial.method(spec, "ANP-VS", start, folder=tmp_path)
    for a, b in zip(whole.parameters(), resumed.parameters()):
        np.testing.assert_array_equal(a.data, b.data)


def test_the_table_and_the_figures(record, tmp_path):
    text = adversarial.table(record)
    assert "ANP-VS" in text and "same function rescaled" in text
    paths = adversarial.draw([record], tmp_path)
    assert len(paths) == 2 and all(path.stat().st_size > 10_000 for path in paths)


def test_what_there_is_no_recipe_for():
    with pytest.raises(ValueError, match="expected one of --data digits --model mlp60; got --data mnist"):
        adversarial.specs("mnist", [0], "cpu")
