"""The command line: demo, list, run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pruning.__main__ import main
from pruning.experiments import EXPERIMENTS, obd_mlp, record_file


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
    (record,) = record_file.read(tmp_path / "demo.jsonl")
    assert main(["demo", "--out", str(tmp_path), "--seed", "1"]) == 0
    (other,) = record_file.read(tmp_path / "demo.jsonl")
    assert other["rows"] != record["rows"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["demo.jsonl", "loss_curves.png", "predicted_against_true.png"]


def test_list_and_run(tmp_path, capsys, quick):
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    assert all(f"{name}: " in listed for name in EXPERIMENTS)
    assert main(["run", "obd_mlp", "--out", str(tmp_path)]) == 0
    assert len(record_file.read(tmp_path / "obd_mlp.jsonl")) == 4
    drawn = [line.strip() for line in capsys.readouterr().out.splitlines()[1:]]
    assert len(drawn) == 8 and all(Path(path).is_file() for path in drawn)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nothing"], "unknown experiment 'nothing'; known are admm_lenet5, filters"),
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
