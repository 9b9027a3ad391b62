"""The command line: demo, list, run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pruning.__main__ import main
from pruning.experiments import EXPERIMENTS, OLD_NAMES, obd_mlp, record_file

ROOT = Path(__file__).parents[2]


@pytest.fixture
def quick(monkeypatch):
    whole = obd_mlp.spec
    short = {"hidden": [5], "epochs": 2, "retrain_epochs": 1, "grid": [0.5, 0.9]}
    monkeypatch.setattr(obd_mlp, "spec", lambda *a, **k: {**whole(*a, **k), **short})


@pytest.mark.slow
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


@pytest.mark.slow
def test_list_and_run(tmp_path, capsys, quick):
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    assert all(f"{name}: " in listed for name in EXPERIMENTS)
    assert main(["run", "obd_mlp", "--out", str(tmp_path)]) == 0
    assert len(record_file.read(tmp_path / "obd_mlp.jsonl")) == 4
    drawn = [line.strip() for line in capsys.readouterr().out.splitlines()[1:]]
    assert len(drawn) == 8 and all(Path(path).is_file() for path in drawn)


@pytest.mark.parametrize(("old", "new"), OLD_NAMES.items())
def test_old_names_work_say_the_new_one_and_are_not_shown(old, new, tmp_path, capsys, monkeypatch):
    spec = {"seed": 0, "of": new}
    monkeypatch.setattr(EXPERIMENTS[new], "specs", lambda *a: [spec])
    monkeypatch.setattr(EXPERIMENTS[new], "draw", lambda records, folder: [folder / "figure.png"])
    record = {"experiment": old, "spec": spec, **{field: [] for field in EXPERIMENTS[new].FIELDS}}
    record_file.add(tmp_path / f"{old}.jsonl", record)
    assert main(["run", old, "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert err.startswith(f"{old} is called {new} now\n")
    assert out == f"1 records are in {tmp_path / new}.jsonl; figures:\n  {tmp_path / 'figure.png'}\n"
    assert record_file.read(tmp_path / f"{new}.jsonl") == [record]
    assert [path.name for path in tmp_path.iterdir()] == [f"{new}.jsonl"]
    main(["list"])
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    shown = capsys.readouterr().out
    assert new in shown and not re.search(rf"(?<![\w-]){old}(?![\w-])[:,]", shown)


def test_both_names_at_once_are_one_sentence_and_lose_nothing(tmp_path, capsys):
    for name in ("obd", "obd_lenet1990"):
        record_file.add(tmp_path / f"{name}.jsonl", {"spec": name})
    before = [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    assert main(["run", "obd_lenet1990", "--out", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "obd.jsonl has records of this experiment under its old name" in message
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == before


def test_a_record_without_its_rows_is_one_sentence(tmp_path, capsys, quick):
    (spec, *_) = obd_mlp.specs("digits", [0], "cpu")
    record_file.add(tmp_path / "obd_mlp.jsonl", {"spec": spec, "trained": {}})
    assert main(["run", "obd_mlp", "--out", str(tmp_path)]) == 2
    assert "line 1 of" in (message := capsys.readouterr().err) and "has no 'rows'" in message


def test_what_is_written_names_commands_that_there_are():
    files = [*ROOT.glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "pruning").rglob("*.py")]
    named = {
        (path.name, name) for path in files for name in re.findall(r"pruning run ([\w-]+)", path.read_text("utf-8"))
    }
    assert len(named) > 10
    assert {(file, name) for file, name in named if name not in EXPERIMENTS} <= {("__main__.py", "NAME")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nothing"], "unknown experiment 'nothing'; known are accelerators, admm_lenet5, adversarial"),
        (["run", "train", "--data", "mnist", "--model", "lenet6"], "got --data mnist --model lenet6"),
        (["run", "train"], "got --data digits --model None"),
        (["run", "obd_mlp", "--model", "lenet5"], "leave --model and --validation out"),
        (["run", "obs_mlp", "--data", "usps"], "leave --data, --model and --validation out"),
        (["run", "obs_mlp", "--seed", "-1"], "expected a seed of 0 or more, got -1"),
        (["demo", "--data", "imagenet"], "expected one of the data sets digits, usps, got 'imagenet'"),
        (["demo", "--data", "usps", "--root", "nowhere"], "python -m nn.data fetch usps"),
        (["demo", "--device", "tpu"], "expected the device cpu or gpu, got 'tpu'"),
        (["run", "obd_mlp", "--jobs", "0"], "at least one job, got 0"),
        (["run", "obd_mlp", "--jobs", "1000000"], "at most 1000 jobs, got 1000000"),
        (["run", "obd_mlp", "--seed", "9" * 30], "expected a seed of at most 9223372036854775807, got one of 100 bits"),
        (["demo", "--seed", "-1"], "expected a seed of 0 or more, got -1"),
        (["demo", "--out", "/dev/null/here"], "expected a folder to write to as --out, got /dev/null/here"),
        (["run", "obd_mlp", "--out", "/dev/null"], "expected a folder to write to as --out, got /dev/null"),
    ],
)
def test_what_the_user_can_mend_is_one_sentence_and_exit_code_2(arguments, message, tmp_path, monkeypatch, capsys):
    for name, value in surroundings(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.glob("**/*.jsonl")) == []


def surroundings(folder):
    """No data but the digits."""
    return {"PRUNING_DATA": "", "XDG_CACHE_HOME": str(folder)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nothing"], "unknown experiment 'nothing'"),
        (["demo", "--data", "usps", "--root", "nowhere"], "python -m nn.data fetch usps"),
    ],
)
def test_a_mistake_in_a_process_of_its_own_has_exit_code_2_and_no_traceback(arguments, message, tmp_path):
    command = [sys.executable, "-W", "error", "-m", "pruning", *arguments]
    environment = os.environ | surroundings(tmp_path)
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert list(tmp_path.glob("**/*.jsonl")) == []
