"""The cells of `admm_lenet5` and `lenet_record` on a handful of random images."""

import json

import numpy as np
import pytest
import scipy.signal
import scipy.special

import nn
from nn import checkpoint
from nn.backend import to_numpy
from nn.gradcheck import relative_error
from pruning.experiments import EXPERIMENTS, admm_lenet5, lenet_record, record_file, runner, scratch, setup
from pruning.experiments.lenet5 import bank, cells, recipes, stages

SHAPE = (1, 28, 28)


@pytest.mark.slow
def test_structured_rows_have_the_weights_that_they_promise(records):
    for record in records[:3]:
        assert record["small"]["weights"][:2] == [50, 600]
        assert record["small"]["shapes"][:2] == [[5, 10], [15, 40]]
        assert record["small"]["conv_rate"] == 25500 / 650
        assert record["small"]["whole_rate"] == 430500 / (650 + 15 * 16 * 500 + 5000)


@pytest.mark.slow
def test_purification_ends_within_its_budget(records):
    record, dense = records[3], 25500
    assert 0.8 * 650 <= sum(record["small"]["weights"][:2]) <= 650
    assert sum(record["stages"][3]["weights"][:2]) <= 846 < sum(record["stages"][2]["weights"][:2]) == 1100
    for (rows, columns), weights in zip(record["small"]["shapes"][:2], record["small"]["weights"]):
        assert rows * columns == weights  # no zeros are left inside
    assert record["small"]["conv_rate"] == dense / sum(record["small"]["weights"][:2])


@pytest.mark.slow
def test_hits_are_those_of_the_net_at_the_start_the_small_one_and_the_teacher(records, folder):
    x, t = setup.parts({"validation": False}, None)[1]
    for record in records:
        small = cells.small_net(record["spec"], folder)
        right = to_numpy(small.forward(x)).argmax(axis=0) == t
        np.testing.assert_array_equal(record_file.unpacked(record["small"]["hits"], 30), right)
        assert record["start"]["test_accuracy"] == np.mean(record_file.unpacked(record["start"]["hits"], 30))
        assert (record["teacher"] is None) == (record["spec"]["teacher"] is None)
    spec = records[-1]["spec"]["teacher"]
    logits = 2 / 3 * bank.teacher(spec, None, folder).forward(x)
    logits += 1 / 3 * setup.dense_net(spec["dense"], None, False, folder)[0].forward(x)
    taught = record_file.unpacked(records[-1]["teacher"]["hits"], 30)
    np.testing.assert_array_equal(taught, logits.argmax(axis=0) == t)
    assert records[-1]["teacher"]["test_accuracy"] == np.mean(taught)


@pytest.mark.slow
def test_rows_of_the_whole_net_stay_within_their_budget(records):
    for record, budget in zip(records[4:], (6050, 6050, 2750, 2750)):
        assert sum(record["small"]["weights"]) <= budget
        assert record["small"]["whole_rate"] >= 430500 / budget


@pytest.mark.slow
def test_records_are_json_and_say_both_rates(records):
    for record in records:
        assert json.loads(json.dumps(record)) == record
        line = cells.line(record)
        assert f"conv {record['small']['conv_rate']:.2f} x" in line
        assert f"whole net {record['small']['whole_rate']:.2f} x" in line
        assert ("teacher and copies" if record["spec"]["teacher"] else "labels alone") in line


def share_right(net, x, t):
    return np.mean(np.argmax(to_numpy(net.forward(x)), axis=0) == t)


@pytest.mark.slow
def test_accuracies_and_weights_of_every_stage_are_those_of_the_nets_on_disk(records, folder):
    test, held_out = (setup.parts({"validation": choice}, None)[1] for choice in (False, True))
    for record in records:
        spec = record["spec"]
        assert len(record["stages"]) == len(spec["stages"])
        for number, report in enumerate(record["stages"]):
            path = cells.path_of(spec, number, folder)
            net, arrays = checkpoint.load(path), np.load(path)
            weights = [name for name in arrays.files if name.startswith("data/") and name.endswith(".W")]
            assert report["weights"] == [np.count_nonzero(arrays[name]) for name in weights]
            assert next(report[k] for k in ("retrained", "trained", "projected") if k in report) == share_right(
                net, *held_out
            )
        assert record["small"]["weights"] == record["stages"][-1]["weights"]
        assert record["small"]["held_out_accuracy"] == share_right(net, *held_out)
        assert record["small"]["test_accuracy"] == share_right(net, *test)
        if spec["start"] == recipes.DENSE:
            dense = setup.dense_net(spec["dense"], None, False, folder)[0]
            assert record["start"]["held_out_accuracy"] == share_right(dense, *held_out)
            assert record["start"]["weights"] == [500, 25000, 400000, 5000]


@pytest.mark.slow
def test_what_students_learn_from_is_the_teacher_or_the_labels(folder, records):
    (x, t), held_out = setup.parts({"validation": True}, None)
    taught, plain = (cells._lesson(record["spec"], None, False, folder)[0] for record in (records[-1], records[0]))
    for lesson in (taught, plain):
        assert (lesson.images, lesson.batch_size) == (40, 20)
        np.testing.assert_array_equal(lesson.held_out[0], held_out[0])
        np.testing.assert_array_equal(lesson.held_out[1], held_out[1])
    y, teacher = np.random.default_rng(0).standard_normal((2, 10, 40))
    log_p, log_soft, log_q = (scipy.special.log_softmax(z, axis=0) for z in (y, y / 3, teacher / 3))
    cross_entropy = -np.mean(log_p[t, np.arange(40)])
    divergence = np.mean(np.sum(np.exp(log_q) * (log_q - log_soft), axis=0))
    assert taught.loss.forward(y, (t, teacher)) == pytest.approx(0.2 * cross_entropy + 0.8 * 9 * divergence, rel=1e-12)
    assert plain.loss.forward(y, t) == pytest.approx(cross_entropy, rel=1e-12)
    for given, expected in zip(plain.draw(np.random.default_rng(0)), (x, t)):
        np.testing.assert_array_equal(given, expected)


@pytest.mark.slow
def test_small_nets_from_new_weights_have_the_shapes_and_the_teacher_of_the_record(folder, records):
    for record, name in ((records[-1], "lenet_record"), (records[0], "admm_lenet5")):
        (cell,) = scratch.specs(EXPERIMENTS[name], [record])
        assert cell.get("teacher") == record["spec"]["teacher"]
        e, b = runner.run_one(f"{name}-scratch", cell, folder=folder)["rows"]
        assert e["weights"] == sum(record["small"]["weights"]) and (e["epochs"], b["epochs"]) == (1, 2)


def second_pass(net, x):
    """Return LeNet-5's logits in float64 by scipy and plain loops, from the arrays alone."""
    convolutions = [layer for layer in net.layers if isinstance(layer, nn.Conv2d)]
    logits = []
    for n in range(x.shape[-1]):
        maps = x[..., n].astype(float)
        for layer in convolutions:
            full = np.zeros((layer.W.shape[0], layer.c_in * 25))
            full[:, slice(None) if layer.columns is None else layer.columns] = layer.W.data.reshape(len(full), -1)
            kernels = full.reshape(-1, layer.c_in, 5, 5)
            made = []
            for kernel, b in zip(kernels, layer.b.data):
                total = sum(scipy.signal.correlate2d(m, k, mode="valid") for m, k in zip(maps, kernel)) + float(b)
                made.append([[total[i : i + 2, j : j + 2].max() for j in range(0, len(total), 2)]
                             for i in range(0, len(total), 2)])  # fmt: skip
            maps = np.array(made)
        features = maps.reshape(-1)
        for position in net.layers[5:]:
            if isinstance(position, nn.ReLU):
                features = np.maximum(features, 0)
                continue
            layer = position
            if isinstance(position, nn.Sequential):
                select, layer = position.layers
                features = features[select.indices]
            features = layer.W.data.astype(float) @ features + layer.b.data
        logits.append(features)
    return np.stack(logits, axis=1)


@pytest.mark.slow
def test_final_nets_pass_a_second_forward_and_a_second_count(records, folder):
    x = np.random.default_rng(1).random((*SHAPE, 4), np.float32)
    for record in records:
        net = cells.small_net(record["spec"], folder)
        assert relative_error(to_numpy(net.forward(x)).astype(float), second_pass(net, x)) < 1e-5
        arrays = np.load(cells.path_of(record["spec"], len(record["spec"]["stages"]) - 1, folder))
        weights = [name for name in arrays.files if name.startswith("data/") and name.endswith(".W")]
        assert sum(np.count_nonzero(arrays[name]) for name in weights) == sum(record["small"]["weights"])


@pytest.mark.slow
def test_with_validation_no_accuracy_on_the_test_images(folder, records):
    spec = {**records[0]["spec"], "validation": True}
    record = runner.run_one("admm_lenet5", spec, folder=folder)
    assert "test_accuracy" in records[0]["small"] and "test_accuracy" not in record["small"]
    assert "held out" in cells.line(record) and "test" not in cells.line(record)


def test_an_interrupted_run_goes_on_after_its_last_stage(tmp_path, monkeypatch, tiny):
    spec = tiny(admm_lenet5, "conv 110", "admm")
    whole = runner.run_one("admm_lenet5", spec, folder=tmp_path)
    final = cells.path_of(spec, len(spec["stages"]) - 1, tmp_path)
    kept = checkpoint.load(final)
    final.unlink()
    called = []
    for kind, stage in stages.STAGES.items():
        monkeypatch.setitem(stages.STAGES, kind, lambda *a, kind=kind, stage=stage: called.append(kind) or stage(*a))
    again = runner.run_one("admm_lenet5", spec, folder=tmp_path)
    assert called == ["retrain"]
    assert again["small"] == whole["small"]
    for one, other in zip(kept.parameters(), checkpoint.load(final).parameters()):
        assert (one.data == other.data).all()


def test_another_specification_goes_its_own_way(tmp_path, tiny):
    spec = tiny(admm_lenet5, "conv 650", "at once")
    changed = {**spec, "stages": [spec["stages"][0], {**spec["stages"][1], "learning_rate": 0.1}]}
    paths = [cells.path_of(each, number, tmp_path) for each in (spec, changed) for number in (0, 1)]
    assert paths[0] == paths[2] and paths[1] != paths[3]
    for name, value in (("teacher", {}), ("seed", 1), ("dense", {}), ("start", {})):
        assert cells.path_of({**spec, name: value}, 0, tmp_path) != paths[0]


def test_a_run_that_diverges_says_so(tiny):
    spec = tiny(admm_lenet5, "conv 650", "at once")
    spec["stages"][-1]["learning_rate"] = 1e30
    with np.errstate(all="ignore"):
        record = runner.run_one("admm_lenet5", spec)
    assert record["diverged"].startswith("the training loss became") and record["small"] is None
    assert record["diverged"] in cells.line(record)


@pytest.mark.slow
def test_figures(records, tmp_path):
    for module in (admm_lenet5, lenet_record):
        for path in module.draw(records, tmp_path):
            assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size < 100_000


def test_a_stage_that_cannot_be_is_refused(tmp_path, tiny):
    spec = tiny(admm_lenet5, "conv 650", "at once")
    for change, message in (
        ({"kind": "prune"}, "expected a stage of the kind structured admm, .*; got 'prune'"),
        ({"every": 0}, "expected a positive rho, every so many steps"),
        ({"rho": [0.1, -0.3]}, "expected a positive rho, every so many steps"),
        ({"shapes": {"0.W": [21, 10], "2.W": [15, 40]}}, "0.W has 20 filters and 25 columns.*; got 0.W: 21, 10"),
        ({"shapes": {"0.W": [5, 0], "2.W": [15, 40]}}, "got 0.W: 5, 0"),
        ({"shapes": {"9.W": [5, 10]}}, "got 9.W: 5, 10"),
    ):
        changed = [spec["stages"][0] | change, *spec["stages"][1:]]
        with pytest.raises(ValueError, match=message):
            runner.run_one("admm_lenet5", {**spec, "stages": changed}, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
