"""The demo, the command line, and the records of sweeps."""

import copy
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import nn
from pruning import masks
from pruning.__main__ import main
from pruning.experiments import EXPERIMENTS, figures, obd_mlp, obs_mlp, runner, train
from pruning.experiments.figures import obd as figures_obd
from pruning.pipeline import delete


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
    net, objective, _ = obd_mlp.trained_net(spec)
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


@pytest.mark.parametrize("activation", obd_mlp.ACTIVATIONS)
@pytest.mark.parametrize("loss", obd_mlp.LOSSES)
def test_every_variant_runs_and_gives_a_table(activation, loss):
    spec = {**obd_mlp.spec("digits", 0, activation, loss, grid=[0.5]), "hidden": [5], "epochs": 1, "retrain_epochs": 1}
    table = obd_mlp.table(runner.run_one("obd_mlp", spec))
    assert "50.0 %" in table and "magnitude" in table
    assert len({len(line) for line in table.split("\n")[1:-1]}) == 1  # aligned


def test_serial_and_parallel_sweeps_give_the_same_records(tmp_path):
    specs = [tiny(seed) for seed in (0, 1, 2)]
    serial = runner.run("obd_mlp", specs, tmp_path / "serial.jsonl")
    parallel = runner.run("obd_mlp", specs, tmp_path / "parallel.jsonl", jobs=2)
    assert [without_time(r) for r in serial] == [without_time(r) for r in parallel]
    assert [r["spec"]["seed"] for r in serial] == [0, 1, 2]


def test_a_sweep_goes_on_where_it_stopped(tmp_path, monkeypatch):
    path = tmp_path / "records.jsonl"
    first = runner.run("obd_mlp", [tiny(0)], path)
    path.write_bytes(path.read_bytes() + b'{"spec": {"half a li')  # killed while writing
    computed = []
    run_one = runner.run_one
    monkeypatch.setattr(runner, "run_one", lambda *a, **k: computed.append(a[1]["seed"]) or run_one(*a, **k))
    records = runner.run("obd_mlp", [tiny(0), tiny(1)], path)
    assert computed == [1]
    assert records[0] == first[0]
    assert runner.read(path) == records


def test_a_sweep_killed_at_any_moment_loses_and_repeats_nothing(tmp_path):
    arguments = ["run", "obd_mlp", "--out", str(tmp_path), "--seed", "0"]
    code = (
        "import pruning.__main__ as m; from pruning.experiments import obd_mlp; "
        "whole = obd_mlp.spec; "
        "obd_mlp.spec = lambda *a: {**whole(*a), 'hidden': [5], 'epochs': 2, 'retrain_epochs': 1, 'grid': [0.5]}; "
        f"raise SystemExit(m.main({arguments!r}))"
    )
    path = tmp_path / "obd_mlp.jsonl"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and (not path.exists() or path.read_bytes().count(b"\n") < 1):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = runner.read(path)
    assert 1 <= len(kept) <= 4
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    records = runner.read(path)
    assert records[: len(kept)] == kept
    assert len({runner.key(record["spec"]) for record in records}) == len(records) == 4


def test_a_file_of_something_else_is_refused_and_kept(tmp_path):
    path = tmp_path / "obd_mlp.jsonl"
    for content in (b"my notes\n", b"\xff\xfe\n", b"{}\n"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"line 1 of .*obd_mlp.jsonl is no record"):
            runner.run("obd_mlp", [tiny()], path)
        assert path.read_bytes() == content


def test_figures_are_drawn_from_one_record_and_from_several(tmp_path):
    records = [runner.run_one("obd_mlp", tiny(seed)) for seed in (0, 1)]
    for name, draw in (("a", figures_obd.loss_curves), ("b", figures_obd.predicted_against_true)):
        for count in (1, 2):
            path = draw(records[:count], tmp_path / f"{name}{count}.png")
            assert path.read_bytes().startswith(b"\x89PNG")
            assert path.stat().st_size < 100_000


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


@pytest.mark.parametrize("data", ["digits", "cifar10"])
def test_the_training_experiment_goes_on_from_its_checkpoint(data, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    N = 60 if data == "digits" else 4
    images = rng.random((1, 28, 28, N)) if data == "digits" else rng.random((3, 32, 32, N))
    part = images.astype(np.float32), rng.integers(0, 10, N)
    monkeypatch.setattr(nn.data, "load", lambda *a, **k: nn.data.DataSet(part, part))
    model = "lenet300" if data == "digits" else "vgg11-thin"
    monkeypatch.setitem(train.RECIPES, (data, model), {**train.MNIST, "epochs": 3})
    (spec,) = train.specs(data, [0], "cpu", model)
    whole = train.run_cell(spec, folder=None)
    train.run_cell({**spec, "epochs": 1}, folder=tmp_path)
    (tmp_path / train.checkpoint_name({**spec, "epochs": 1})).rename(tmp_path / train.checkpoint_name(spec))
    assert train.run_cell(spec, folder=tmp_path) == {**whole, "resumed": True}
    other = {**spec, "learning_rate": 1e-9, "epochs": 1}
    assert not train.run_cell(other, folder=tmp_path)["resumed"]  # another recipe has another checkpoint
    assert len(whole["history"]) == 3 and whole["test_accuracy"] == whole["history"][-1]["test_accuracy"]
    path = figures.training_curves([{"spec": spec, **whole}], tmp_path / "curves.png")
    assert path.stat().st_size > 1000


def test_the_validation_split_holds_out_training_images_and_never_the_test_set(monkeypatch):
    x, t = np.arange(6000.0)[None], np.zeros(6000, int)
    monkeypatch.setattr(nn.data, "load", lambda *a, **k: nn.data.DataSet((x, t), (None, None)))
    (spec,) = train.specs("mnist", [0], "cpu", "lenet5", validation=True)
    (x_train, _), (x_held_out, _) = train.parts(spec, None)
    np.testing.assert_array_equal(x_train[0], np.arange(1000))
    np.testing.assert_array_equal(x_held_out[0], np.arange(1000, 6000))


@pytest.fixture
def quick(monkeypatch):
    whole = obd_mlp.spec
    short = {"hidden": [5], "epochs": 2, "retrain_epochs": 1, "grid": [0.5, 0.9]}
    monkeypatch.setattr(obd_mlp, "spec", lambda *a, **k: {**whole(*a, **k), **short})


def test_demo(tmp_path, capsys, quick):
    assert main(["demo", "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "predicted dE" in out and "What next" in out and "pruning:" in err
    assert str(tmp_path / "demo.jsonl") in out
    (record,) = runner.read(tmp_path / "demo.jsonl")
    assert main(["demo", "--out", str(tmp_path), "--seed", "1"]) == 0
    (other,) = runner.read(tmp_path / "demo.jsonl")
    assert other["rows"] != record["rows"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["demo.jsonl", "loss_curves.png", "predicted_against_true.png"]


def test_list_and_run(tmp_path, capsys, quick):
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    assert all(f"{name}: " in listed for name in EXPERIMENTS)
    assert main(["run", "obd_mlp", "--out", str(tmp_path)]) == 0
    assert len(runner.read(tmp_path / "obd_mlp.jsonl")) == 4
    drawn = [line.strip() for line in capsys.readouterr().out.splitlines()[1:]]
    assert len(drawn) == 8 and all(Path(path).is_file() for path in drawn)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nothing"], "unknown experiment 'nothing'; known are admm, filters"),
        (["run", "train", "--data", "mnist", "--model", "lenet6"], "got --data mnist --model lenet6"),
        (["run", "train"], "got --data digits --model None"),
        (["run", "obd_mlp", "--model", "lenet5"], "leave --model and --validation out"),
        (["run", "obs_mlp", "--data", "usps"], "leave --data, --model and --validation out"),
        (["run", "obs_mlp", "--seed", "-1"], "expected a seed of 0 or more, got -1"),
        (["demo", "--data", "imagenet"], "expected one of the data sets digits, usps, got 'imagenet'"),
        (["demo", "--data", "usps", "--root", "nowhere"], "python -m nn.data fetch usps"),
        (["demo", "--device", "tpu"], "expected the device cpu or gpu, got 'tpu'"),
        (["run", "obd_mlp", "--jobs", "0"], "at least one job, got 0"),
        (["demo", "--seed", "-1"], "expected a seed of 0 or more, got -1"),
        (["demo", "--out", "/dev/null/here"], "expected a folder to write to as --out, got /dev/null/here"),
        (["run", "obd_mlp", "--out", "/dev/null"], "expected a folder to write to as --out, got /dev/null"),
    ],
)
def test_what_the_user_can_mend_is_one_sentence_and_exit_code_2(arguments, message, tmp_path):
    environment = {**os.environ, "PRUNING_DATA": "", "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "pruning", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(Path(tmp_path).glob("**/*.jsonl")) == []


@pytest.mark.parametrize("experiment", [obd_mlp, obs_mlp])
def test_the_sparsities_of_a_grid_ascend_within_0_and_1(experiment):
    grid = experiment.spec()["grid"]
    assert grid == list(experiment.GRID) == sorted(set(grid))
    assert 0 < grid[0] and grid[-1] < 1
