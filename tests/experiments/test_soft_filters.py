"""The experiment `soft_filters`: zeroed nets against small ones, killed runs against whole ones, on few images."""

import json

import numpy as np
import pytest

import nn
from pruning.experiments import runner, setup, soft_filters
from pruning.pipeline import SoftFilters


def tiny(seed=0, validation=False, **changes):
    (spec,) = soft_filters.specs("digits", [seed], "cpu", validation=validation)
    retraining = {**spec["retraining"], "epochs": 1}
    return {**spec, "dense": {**spec["dense"], "epochs": 3, "images": 300}, "retraining": retraining, **changes}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return runner.run_one("soft_filters", tiny(), folder=tmp_path_factory.mktemp("nets"))


def rows(record, target=0.5):
    return {row["method"]: row for row in record["rows"] if row["target"] == target}


def test_all_methods_keep_equal_numbers_and_cost_the_same(record):
    for target in (0.5, 0.3):
        found = rows(record, target)
        assert list(found) == ["soft", "random", "l2 once", "random once", "scratch"]
        assert len({row["conv_macs"] for row in found.values()}) == 1
        assert 0.7 * target < found["soft"]["conv_macs"] / record["dense"]["conv_macs"] <= target
        kept = {tuple(map(len, row["keep"].values())) for row in found.values() if "keep" in row}
        net = setup.MODELS["conv3"](None, np.float32)
        assert kept == {tuple(setup.uniform_widths(net, setup.free(net), "digits", target).values())}


def test_the_folded_net_computes_what_the_zeroed_one_does_and_the_naive_one_does_not(record):
    for target in (0.5, 0.3):
        for method in ("soft", "random"):
            row = rows(record, target)[method]
            assert row["folded"]["change"] < 1e-4 < 1e-2 < row["naive"]["change"]
            assert row["zeroed"]["hits"] == row["folded"]["hits"]
            assert row["zeroed"]["test_accuracy"] == row["history"][-1]["test_accuracy"]


def test_the_norms_are_those_of_the_zeroed_net(record):
    for method in ("soft", "random"):
        row = rows(record)[method]
        zeros = {name: found.count(0) for name, found in row["norms"].items()}
        assert zeros == {name: len(row["norms"][name]) - len(kept) for name, kept in row["keep"].items()}
    assert all(min(found) > 0 for found in record["dense"]["norms"].values())


def test_the_history_counts_what_is_zeroed_and_what_comes_back(record):
    for row in record["rows"]:
        if "history" in row:
            gone = 44 - sum(map(len, row["keep"].values()))
            assert [epoch["zeroed"] for epoch in row["history"]] == [gone] * 3
            assert row["history"][0]["stays"] is None
            for epoch in row["history"][1:]:
                assert epoch["stays"] == 1 - epoch["came_back"] / gone
    assert any(epoch["came_back"] for epoch in rows(record)["random"]["history"])


class Killed(Exception):
    pass


@pytest.mark.parametrize("method", ["soft", "random"])
def test_a_killed_training_goes_on_in_the_same_bits(method, tmp_path, monkeypatch):
    spec, shares = tiny(), {"0.W": 0.3, "3.W": 0.5}
    whole, history = soft_filters.softly_trained(spec, method, shares)
    original = SoftFilters.after_step

    def after_step(self, step):
        original(self, step)
        if step == 12:  # five batches an epoch
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(SoftFilters, "after_step", after_step)
        with pytest.raises(Killed):
            soft_filters.softly_trained(spec, method, shares, folder=tmp_path)
    made = [path.name for path in tmp_path.iterdir()]
    again, resumed = soft_filters.softly_trained(spec, method, shares, folder=tmp_path)
    assert len(made) == 1 and made[0].startswith("train-digits-conv3-0-")
    assert history == resumed and whole.keep() == again.keep()
    for (name, one), (_, other) in zip(whole.net.named_parameters(), again.net.named_parameters(), strict=True):
        np.testing.assert_array_equal(one.data, other.data, err_msg=name)


def test_without_zeroing_it_is_the_training_of_the_dense_net():
    dense, _ = setup.dense_net(tiny()["dense"])
    soft, _ = soft_filters.softly_trained(tiny(), "soft", {"0.W": 0})
    for one, other in zip(dense.parameters(), soft.net.parameters(), strict=True):
        np.testing.assert_array_equal(one.data, other.data)


def test_a_cell_of_cifar10_is_one_training(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    x, t = rng.random((3, 32, 32, 40)).astype(np.float32), rng.integers(0, 10, 40)
    monkeypatch.setattr(setup, "HELD_OUT", {"cifar10": 10})
    monkeypatch.setattr(nn.data, "load", lambda *a, **k: nn.data.DataSet((x, t), (x[..., :20], t[:20])))
    (spec,) = soft_filters.specs("cifar10", [0], "cpu")
    spec = {**spec, "dense": {**spec["dense"], "epochs": 2, "images": 30, "batch_size": 10}, "images": 30}
    spec |= {"retraining": {**spec["retraining"], "epochs": 1, "batch_size": 10}}
    found = runner.run_one("soft_filters", spec, folder=tmp_path)
    (row,) = found["rows"]
    assert [path.name[:12] for path in tmp_path.iterdir()] == ["train-cifar1"]
    assert row["folded"]["change"] < 1e-3 and "test_accuracy" in row["retrained"]
    assert row["conv_macs"] <= 0.5 * found["dense"]["conv_macs"]
    assert "soft" in soft_filters.table(found)
    assert len(soft_filters.draw([found], tmp_path)) == 2


def test_with_validation_no_accuracy_is_of_the_test_images(monkeypatch):
    asked, parts = [], setup.parts
    monkeypatch.setattr(setup, "parts", lambda spec, root: asked.append(spec["validation"]) or parts(spec, root))
    soft_filters.softly_trained(tiny(validation=True), "soft", {"0.W": 0.3})
    assert set(asked) == {True}


def test_the_table_and_the_figures(record, tmp_path):
    text = soft_filters.table(record)
    assert text.count("\n") == 1 + 2 * 5
    assert f"{rows(record)['soft']['folded']['test_accuracy']:.2%}" in text
    paths = soft_filters.draw([record, record], tmp_path)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths) and len(paths) == 2


@pytest.mark.slow
def test_a_cell_is_a_pure_function_of_its_specification(record):
    again = runner.run_one("soft_filters", tiny())
    first, second = (json.dumps({k: v for k, v in one.items() if k != "time"}) for one in (record, again))
    assert first == second


def test_bad_input_is_one_sentence():
    with pytest.raises(ValueError, match=r"expected one of --data digits --model conv3.*; got --data mnist"):
        soft_filters.specs("mnist", [0], "cpu")
    with pytest.raises(ValueError, match="expected a seed of 0 or more, got -1"):
        soft_filters.specs("digits", [-1], "cpu")
