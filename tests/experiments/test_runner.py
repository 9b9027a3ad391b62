"""Cells one after the other and in processes: what is kept, what is repeated, what is left behind."""

import os
import signal
import subprocess
import sys
import time

import pytest

from pruning.experiments import obd_mlp, record_file, runner


def tiny(seed=0, **more):
    spec = obd_mlp.spec(seed=seed, grid=(0.5, 0.9))
    return {**spec, "hidden": [5], "epochs": 2, "retrain_epochs": 1, **more}


def without_time(record):
    return {key: value for key, value in record.items() if key != "time"}


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
    assert record_file.read(path) == records


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
    kept = record_file.read(path)
    assert 1 <= len(kept) <= 4
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    records = record_file.read(path)
    assert records[: len(kept)] == kept
    assert len({record_file.key(record["spec"]) for record in records}) == len(records) == 4


def test_a_file_of_something_else_is_refused_and_kept(tmp_path):
    path = tmp_path / "obd_mlp.jsonl"
    for content in (b"my notes\n", b"\xff\xfe\n", b"{}\n"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"line 1 of .*obd_mlp.jsonl is no record"):
            runner.run("obd_mlp", [tiny()], path)
        assert path.read_bytes() == content
