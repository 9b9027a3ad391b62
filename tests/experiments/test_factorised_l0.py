"""The experiment `factorised_l0`: small nets of one size, a cut to the budget, runs that go on, figures."""

import json

import numpy as np
import pytest

import nn
from pruning.experiments import factorised_l0, runner
from pruning.penalties import factorised_l0 as flop


def tiny(seed=0, **changes):
    (spec,) = factorised_l0.specs("digits", [seed], "cpu")
    small = {"n": 12, "T": 16, "batch_size": 16, "epochs": 3, "ramp": [1, 1], "retraining": 1, "characters": 20_000}
    return {**spec, **small, **changes}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return runner.run_one("factorised_l0", tiny(), folder=tmp_path_factory.mktemp("nets"))


def test_a_cell_is_a_pure_function_of_its_specification(record):
    again = runner.run_one("factorised_l0", tiny())
    assert json.dumps({**again, "time": None}) == json.dumps({**record, "time": None})


def test_all_small_nets_have_one_size_within_half_a_component_of_the_target(record):
    rows = {row["method"]: row for row in record["rows"]}
    assert list(rows) == ["dense", "FLOP", "magnitude", "fixed rank"]
    assert rows["dense"]["weights"] == 2 * 9 * 48  # r = 12 * 36 // 48
    for name in ("FLOP", "magnitude", "fixed rank"):
        assert abs(rows[name]["weights"] - 0.2 * rows["dense"]["weights"]) <= 24
        assert rows[name]["weights"] == 48 * sum(rows[name]["components"].values()) == rows["FLOP"]["weights"]
    assert sorted(rows["fixed rank"]["components"].values()) == [2, 2]
    assert rows["FLOP"]["goal"] == pytest.approx(0.2 * rows["dense"]["weights"])
    symbols = record["text"]["symbols"]
    assert 90 < symbols and all(0 < row["retrained"] < np.log2(symbols) for row in record["rows"])


def test_the_cut_is_the_net_before_and_training_on_mends_it(record):
    rows = {row["method"]: row for row in record["rows"]}
    assert rows["magnitude"]["trained"] == rows["dense"]["trained"] < rows["magnitude"]["cut"]
    assert rows["magnitude"]["retrained"] < rows["magnitude"]["cut"]
    assert len(rows["dense"]["history"]) == len(record["course"]) == 3


def test_the_course_has_the_target_of_the_ramp_and_a_multiplier_that_only_grows(record):
    course = record["course"]
    steps = -(-(16_000 - 1) // 16 // 16)
    wanted = [max(0.0, min(1.0, epoch * steps / steps - 1)) * 0.8 for epoch in (1, 2, 3)]
    assert [row["target"] for row in course] == pytest.approx(wanted, abs=1e-12)
    assert course[0]["l2"] < course[1]["l2"] < course[2]["l2"]
    assert course[-1]["share"] > course[0]["share"]


def test_a_training_that_was_killed_goes_on_to_the_same_bits(record, tmp_path, monkeypatch):
    step, calls = nn.Adam.step, []

    def killed(self):
        calls.append(1)
        if len(calls) == 400:
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(nn.Adam, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        runner.run_one("factorised_l0", tiny(), folder=tmp_path)
    monkeypatch.setattr(nn.Adam, "step", step)
    assert len(list(tmp_path.glob("factorised_l0-FLOP-*.npz"))) == 1
    again = runner.run_one("factorised_l0", tiny(), folder=tmp_path)
    assert again["rows"] == record["rows"] and again["course"] == record["course"]


def test_components_that_are_left_over_go_to_the_first_layers():
    assert factorised_l0.ranks(29, 2) == [15, 14] and factorised_l0.ranks(6, 3) == [2, 2, 2]
    spec = {**tiny(), "n": 96}
    net = factorised_l0.recurrent(spec, 103, [15, 14], gated=False)
    assert flop.weights(net) == 11_136 and flop.weights(factorised_l0.recurrent(spec, 103)) == 55_296


def test_the_table_and_the_figures(record, tmp_path):
    text = factorised_l0.table(record)
    assert "expected share" in text and text.count("\n") == 5 and "fixed rank" in text
    paths = factorised_l0.draw([record, record], tmp_path)
    assert all(path.stat().st_size > 10_000 for path in paths)


def test_the_parts_do_not_overlap_and_other_texts_are_refused():
    spec = tiny()
    _, (x, _), (z, _) = factorised_l0.parts(spec)
    assert x.shape == (16, (16_000 - 1) // 16) and z.shape == (16, (2_000 - 1) // 16)
    _, _, (held_out, _) = factorised_l0.parts({**spec, "validation": True})
    assert not np.array_equal(held_out, z)
    with pytest.raises(ValueError, match=r"^expected the help texts that the specification names"):
        factorised_l0.parts({**spec, "sha256": "0"})
    with pytest.raises(ValueError, match=r"leave --data and --model out$"):
        factorised_l0.specs("mnist", [0], "cpu")
