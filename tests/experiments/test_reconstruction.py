"""The experiment `reconstruction`: sets and errors against their definitions, small nets against masked ones."""

import json

import numpy as np
import pytest

from pruning import surgery
from pruning.experiments import reconstruction, runner, setup
from pruning.masks import prunable
from pruning.reconstruction import moments


def tiny(seed=0, validation=False):
    (spec,) = reconstruction.specs("digits", [seed], "cpu", validation=validation)
    retraining = {**spec["retraining"], "epochs": 1}
    return {**spec, "dense": {**spec["dense"], "epochs": 2}, "few": 60, "shares": [0.5], "retraining": retraining}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return runner.run_one("reconstruction", tiny(), folder=tmp_path_factory.mktemp("nets"))


@pytest.fixture(scope="module")
def dense():
    net, _ = setup.dense_net(tiny()["dense"])
    x, _ = setup.shared_parts(tiny(), None)[0]
    return net, x[..., :60]


def without_time(record):
    return json.dumps({key: value for key, value in record.items() if key != "time"})


@pytest.mark.slow
def test_a_cell_is_a_pure_function_of_its_specification(record):
    assert without_time(record) == without_time(runner.run_one("reconstruction", tiny()))


def test_all_methods_keep_equal_numbers_and_cost_the_same(record):
    for share in (0.5, 0.3):
        rows = {row["method"]: row for row in record["rows"] if row["target"] == share}
        assert list(rows) == [*reconstruction.METHODS, "scratch"]
        assert len({row["conv_macs"] for row in rows.values()}) == 1
        assert rows["scratch"]["conv_macs"] <= share * record["dense"]["conv_macs"]
        sets = {json.dumps(row["keep"]) for row in rows.values() if "keep" in row}
        assert len({tuple(map(len, json.loads(each).values())) for each in sets}) == 1 < len(sets)
        assert [method for method, row in rows.items() if "cut, retrained" in row] == ["L1", "random"]


def test_errors_are_those_of_the_sets_and_none_is_below_the_optimum(record, dense):
    net, x = dense
    for found in record["layers"]:
        seen = moments.collect(net, found["reader"], x)
        for method, errors in found["errors"].items():
            assert errors["refit"][0] <= errors["factors"][0] + 1e-9 <= errors["selection"][0] + 2e-9
            if method == "optimum":
                continue
            (kept,) = found["sets"][method]
            assert len(kept) == found["kept"][0] and errors["refit"][0] == seen.refit_error(kept) / seen.energy
            if "optimum" in found["errors"]:
                for problem, (least,) in found["errors"]["optimum"].items():
                    assert least <= errors[problem][0]
    assert ["optimum" in found["errors"] for found in record["layers"]] == [True, False, False]  # of 12, 16, 16


def test_layers_in_front_are_already_cut_and_the_target_is_the_dense_net(dense):
    net, x = dense
    readers = reconstruction._readers(net)
    assert readers == {"0.W": "3.W", "3.W": "7.W", "7.W": "11.W"}
    asked = []

    def choose(name, seen, k):
        asked.append(seen)
        return list(range(k))

    keep, small = reconstruction.reconstructed(net, readers, {"0.W": 5, "3.W": 7, "7.W": 9}, x, choose)
    assert [len(kept) for kept in keep.values()] == [5, 7, 9]
    assert [p.shape[0] for p in prunable(small).values()] == [5, 7, 9, 10]
    # The second layer reads what five channels give, and is to give what the dense net's reads from twelve.
    again = moments.collect(net, "3.W", x)
    np.testing.assert_array_equal(asked[0].A, again.A)
    assert np.abs(asked[1].A - asked[1].B).max() > 1e-3 * np.abs(asked[1].A).max()
    np.testing.assert_allclose(asked[1].energy, moments.collect(net, "7.W", x).energy, rtol=1e-12)
    # The small net computes what the refitted layers compute.
    y = small.eval().forward(x)
    whole = surgery.duplicate(net)
    weights = dict(whole.named_parameters())
    for seen, kept in zip(asked, keep.values()):
        full = np.zeros_like(seen.W)
        full[:, seen.columns(kept)] = seen.refit(kept)
        weights[seen.name].data = full.reshape(weights[seen.name].shape).astype(np.float32)
    np.testing.assert_allclose(y, whole.eval().forward(x), atol=2e-5)


def test_a_net_from_scratch_has_weights_of_the_size_of_its_fan_in():
    rng = np.random.default_rng(0)
    keep = {"0.W": [0, 2, 3], "3.W": list(range(4)), "7.W": list(range(5))}
    found = [
        np.concatenate(
            [p.data.ravel() for p in list(prunable(setup.scratch(keep, tiny()["dense"], rng)).values())[1:3]]
        )
        for _ in range(200)
    ]
    fan_in = np.concatenate([np.full(4 * 27, 27), np.full(5 * 36, 36)])
    assert np.mean(np.array(found) ** 2 * fan_in) == pytest.approx(2, rel=0.02)  # He's normal


def test_scratch_sees_the_images_of_the_dense_net_for_as_many_epochs_as_both_trainings(monkeypatch):
    asked = []

    def retrain(net, spec, epochs, part, test, rng):
        asked.append((epochs, part[1].shape[-1], spec["retraining"]["learning_rate"]))

    monkeypatch.setattr(setup, "retrain", retrain)
    spec = {**tiny(), "images": 500, "retraining": {**tiny()["retraining"], "epochs": 6}}
    spec["dense"] = {**spec["dense"], "epochs": 5, "images": 1000}
    test = setup.shared_parts(spec, None)[1]
    found = setup.from_scratch(setup.MODELS["conv3"](np.random.default_rng(0), np.float32), spec, None, test)
    assert found["epochs"] == 8 and asked == [(8, 1000, 0.05)]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_retraining_that_diverges_stays_in_the_record(dense):
    net, _ = dense
    spec = {**tiny(), "retraining": {**tiny()["retraining"], "learning_rate": 1e9}}
    found = setup.retrained(net, spec, *setup.shared_parts(spec, None))
    assert "loss became" in found["retrained"]["diverged"]
    assert reconstruction._percent(found["retrained"]) == "diverged"


def test_nets_without_batch_norm_have_no_statistics_to_renew():
    net = setup.MODELS["lenet5"](np.random.default_rng(0), np.float32)
    assert reconstruction._renewed(net, None, None) is None
    assert reconstruction._readers(net) == {"0.W": "2.W", "2.W": "5.W"}


def test_the_table_and_the_figures(record, tmp_path):
    text = reconstruction.table(record)
    assert text.count("\n") == 1 + 2 * 8
    assert f"{record['rows'][0]['refit']['test_accuracy']:.2%}" in text
    paths = reconstruction.draw([record, record], tmp_path)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths) and len(paths) == 2


def test_bad_input_is_one_sentence():
    with pytest.raises(
        ValueError, match=r"expected one of --data digits --model conv3.*; got --data usps --model None"
    ):
        reconstruction.specs("usps", [0], "cpu")
    with pytest.raises(ValueError, match="expected a seed of 0 or more, got -1"):
        reconstruction.specs("digits", [-1], "cpu")
