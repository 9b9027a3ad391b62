"""Cells one after the other and in processes: what is kept, what is repeated, what is left behind."""

import contextlib
import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import nn
from pruning.experiments import obd_mlp, record_file, runner, versions

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")


def tiny(seed=0, **more):
    spec = obd_mlp.spec(seed=seed, grid=(0.5, 0.9))
    return {**spec, "hidden": [5], "epochs": 2, "retrain_epochs": 1, **more}


def without_time(record):
    return {key: value for key, value in record.items() if key != "time"}


# The command with two workers, on cells that say which process has them and wait for the file "go".
COMMAND = """
import os, sys, time
import pruning.__main__ as m
from pruning.experiments import obd_mlp

def run_cell(spec, root, progress, folder):
    (folder / f"worker-{os.getpid()}").touch()
    while not (folder / "go").exists():
        time.sleep(0.01)
    return {"trained": {}, "rows": []}

obd_mlp.run_cell, obd_mlp.draw = run_cell, lambda records, folder: []
if __name__ == "__main__":
    raise SystemExit(m.main(["run", "obd_mlp", "--jobs", "2", "--out", sys.argv[1]]))
"""


class Sweep:
    """The command in a process of its own, with both workers in a cell."""

    def __init__(self, folder):
        self.folder, self.script, self.errors = folder, folder / "script.py", folder / "errors"
        self.script.write_text(COMMAND)
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, self.script, folder], stderr=errors, stdout=errors, start_new_session=True
            )
        self.until(lambda: len(self.workers()) == 2)

    def workers(self):
        return [int(path.name.partition("-")[2]) for path in self.folder.glob("worker-*")]

    def until(self, happens, seconds=60):
        end = time.monotonic() + seconds
        while not happens():
            assert time.monotonic() < end, self.errors.read_text()
            time.sleep(0.02)

    def says(self, text):
        return text in self.errors.read_text()

    def records(self):
        return record_file.read(self.folder / "obd_mlp.jsonl")

    def gone(self):
        return not any(alive(pid) for pid in self.workers())


@pytest.fixture
def sweep(tmp_path):
    started = Sweep(tmp_path)
    yield started
    for pid in (started.process.pid, *started.workers()):  # where the test failed
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    started.process.wait()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
@needs_proc
def test_workers_end_with_their_parent_however_it_ends(sweep):
    sweep.process.kill()
    sweep.process.wait()
    sweep.until(sweep.gone, 10)
    assert sweep.records() == []


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM"])
def test_cells_that_run_when_a_sweep_is_interrupted_are_kept_and_no_other_is_started(how, sweep):
    if how == "Ctrl-C":
        os.killpg(sweep.process.pid, signal.SIGINT)  # as a terminal does: the workers hear it too
    else:
        sweep.process.terminate()
    sweep.until(lambda: sweep.says("interrupted; waiting for the cells that run (2)"), 10)
    (sweep.folder / "go").touch()
    assert sweep.process.wait(30) == 130
    assert sweep.says("interrupted; a `run` started again goes on where it stopped") and not sweep.says("Traceback")
    assert len(sweep.records()) == 2  # of four cells
    assert sweep.gone()


@pytest.mark.slow
@needs_proc
def test_a_second_interruption_ends_the_workers(sweep):
    os.killpg(sweep.process.pid, signal.SIGINT)
    sweep.until(lambda: sweep.says("waiting for the cells"), 10)
    assert all(alive(pid) for pid in sweep.workers())
    os.killpg(sweep.process.pid, signal.SIGINT)
    assert sweep.process.wait(10) == 130
    sweep.until(sweep.gone, 10)
    assert sweep.records() == []


@pytest.mark.slow
def test_a_cell_that_fails_loses_none_of_the_others(tmp_path):
    path = tmp_path / "records.jsonl"
    specs = [{**tiny(0), "epochs": 60}, {**tiny(1), "data": "imagenet"}, tiny(2), tiny(3)]
    with pytest.raises(ValueError, match="imagenet"):
        runner.run("obd_mlp", specs, path, jobs=2)
    assert [record["spec"]["seed"] for record in record_file.read(path)] in ([0], [0, 2], [2, 0])


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_a_cell_that_another_process_finished_is_not_computed_again(tmp_path, monkeypatch):
    path, computed, run_one = tmp_path / "records.jsonl", [], runner.run_one

    def with_another_process(name, spec, **more):
        computed.append(spec["seed"])
        record = run_one(name, spec, **more)
        if spec["seed"] == 0:
            other = run_one(name, tiny(1))
            record_file.add(path, {**other, "by": "another process"})
        return record

    monkeypatch.setattr(runner, "run_one", with_another_process)
    records = runner.run("obd_mlp", [tiny(seed) for seed in (0, 1, 2, 1)], path)
    assert computed == [0, 2]
    assert [record.get("by") for record in records] == [None, "another process", None, "another process"]
    assert [record["spec"]["seed"] for record in record_file.read(path)] == [1, 0, 2]


def test_a_cell_that_is_asked_for_twice_is_computed_once(tmp_path):
    for jobs in (1, 2):
        path = tmp_path / f"{jobs}.jsonl"
        records = runner.run("obd_mlp", [tiny(0), tiny(0)], path, jobs)
        assert records[0] == records[1] and len(record_file.read(path)) == 1


def test_a_sweep_is_taken_over_from_the_old_name_of_its_experiment(tmp_path, monkeypatch):
    path, old = tmp_path / "obd_mlp.jsonl", tmp_path / "obd-perceptron.jsonl"
    monkeypatch.setitem(runner.OLD_NAMES, "obd-perceptron", "obd_mlp")
    monkeypatch.setitem(runner.OLD_NAMES, "another", "obs_mlp")
    first = {**runner.run_one("obd_mlp", tiny(0)), "experiment": "obd-perceptron"}
    record_file.add(old, first)
    records = runner.run("obd_mlp", [tiny(0), tiny(1)], path)
    assert records[0] == first and not old.exists()
    assert [record["experiment"] for record in record_file.read(path)] == ["obd-perceptron", "obd_mlp"]


@pytest.mark.parametrize("lost", obd_mlp.FIELDS)
def test_a_record_that_lacks_something_is_named_before_the_first_cell(lost, tmp_path, monkeypatch):
    path = tmp_path / "obd_mlp.jsonl"
    record = {"spec": tiny(1), **{field: [] for field in obd_mlp.FIELDS if field != lost}}
    path.write_text(f'{{"spec": "of something else"}}\n{json.dumps(record)}\n')
    monkeypatch.setattr(runner, "run_one", lambda *a, **k: pytest.fail("a cell was started"))
    with pytest.raises(ValueError, match=f"^line 2 of .*obd_mlp.jsonl has no '{lost}': it is no record of obd_mlp"):
        runner.run("obd_mlp", [tiny(0), tiny(1)], path)
    assert len(record_file.read(path)) == 2


def test_every_experiment_returns_the_fields_that_it_names():
    for name, experiment in runner.EXPERIMENTS.items():
        path = Path(__file__).parents[2] / "notebooks" / "results" / f"{name}.jsonl"
        records = record_file.read(path)
        assert records and experiment.FIELDS
        assert all(set(experiment.FIELDS) <= record.keys() for record in records)


def test_a_folder_that_cannot_be_written_to_is_noticed_before_the_first_cell(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "run_one", lambda *a, **k: pytest.fail("a cell was started"))
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"expected a folder to write to as --out, got .*file"):
        runner.run("obd_mlp", [tiny()], tmp_path / "file" / "records.jsonl")
    if Path("/proc").is_dir():
        with pytest.raises(ValueError, match="expected a folder to write to as --out, got /proc"):
            runner.run("obd_mlp", [tiny()], Path("/proc/records.jsonl"))


def test_a_package_that_is_not_installed_costs_no_record(monkeypatch):
    def missing(name):
        if name == "pruning-by-hand":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(versions, "version", missing)
    record = runner.run_one("obd_mlp", tiny())
    assert record["versions"]["pruning-by-hand"] == "not installed" and record["versions"]["numpy"] == "1.0"
    assert len(record["rows"]) == 8


def test_a_record_names_the_commit_the_processor_and_the_data(monkeypatch, tmp_path):
    versions = runner.run_one("obd_mlp", tiny())["versions"]
    assert versions["commit"] is None or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", versions["commit"])
    assert versions["processor"] and "\n" not in versions["processor"]
    assert versions["data"] == nn.data.content_sum("digits") != nn.data.content_sum("mnist")


def test_the_commit_is_dirty_when_code_was_changed_and_not_when_records_were_added(monkeypatch, tmp_path):
    answers = {"status": "", "rev-parse": 40 * "a"}
    ran = lambda command, **named: SimpleNamespace(stdout=answers[command[1]] + "\n")  # noqa: E731
    monkeypatch.setattr(versions.subprocess, "run", ran)
    assert versions.commit() == 40 * "a"
    answers["status"] = " M nn/conv.py"
    assert versions.commit() == 40 * "a" + "-dirty"

    def no_git(*command, **named):
        raise FileNotFoundError("git")

    monkeypatch.setattr(versions.subprocess, "run", no_git)
    assert versions.commit() is None


def test_versions_are_asked_for_before_the_cell(monkeypatch):
    def broken(spec):
        raise RuntimeError("before")

    monkeypatch.setattr(versions, "of_record", broken)
    monkeypatch.setattr(obd_mlp, "run_cell", lambda *a: pytest.fail("a cell was started"))
    with pytest.raises(RuntimeError, match="before"):
        runner.run_one("obd_mlp", tiny())


@pytest.mark.parametrize(
    ("jobs", "message"),
    [(0, "at least one job, got 0"), (-3, "got -3"), (1001, "expected at most 1000 jobs, got 1001")],
)
def test_an_absurd_number_of_jobs_is_refused(jobs, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        runner.run("obd_mlp", [tiny()], tmp_path / "records.jsonl", jobs)
    assert list(tmp_path.iterdir()) == []


def test_no_more_workers_than_cells(tmp_path, monkeypatch):
    asked, whole = [], runner._in_processes
    monkeypatch.setattr(runner, "_in_processes", lambda sweep, jobs, cell: asked.append(jobs) or whole(sweep, 1, cell))
    runner.run("obd_mlp", [tiny(0), tiny(1)], tmp_path / "records.jsonl", jobs=1000)
    assert asked == [2]
