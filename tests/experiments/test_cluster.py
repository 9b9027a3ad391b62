"""Cells on the workers of dask.distributed: the same records, whoever is killed, and a sentence for what is amiss."""

import contextlib
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest

from pruning.__main__ import _parser, main
from pruning.experiments import cluster, obd_mlp, record_file, runner, setup, versions

distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed (extra cluster)")

ROOT = Path(__file__).parents[2]
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")


def tiny(seed=0, **more):
    spec = obd_mlp.spec(seed=seed, grid=(0.5,))
    return {**spec, "hidden": [5], "epochs": 2, "retrain_epochs": 1, **more}


def by_cell(records):
    """{specification: the rest of the record but for "time"}, after a look that no cell is there twice."""
    found = {record_file.key(r["spec"]): {k: v for k, v in r.items() if k != "time"} for r in records}
    assert len(found) == len(records)
    return found


@pytest.fixture(scope="module")
def address():
    """A scheduler with one worker, in threads of this process."""
    threads = threading.active_count()
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp://",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        silence_logs=60,
    ) as local:
        yield local.scheduler_address
    assert threading.active_count() <= threads + 2  # dask keeps two threads, which do nothing


@pytest.fixture
def said(capsys, tmp_path, monkeypatch):
    """Run the command on tiny cells and return its exit code and the one sentence that it says."""
    monkeypatch.setattr(obd_mlp, "specs", lambda *a: [tiny(0), tiny(1)])
    monkeypatch.setattr(obd_mlp, "draw", lambda records, folder: [])

    def run(*arguments):
        code = main(["run", "obd_mlp", "--out", str(tmp_path), *arguments])
        err = capsys.readouterr().err
        lines = [line for line in re.split(r"[\r\n]", err) if line.strip() and not line.startswith("obd_mlp: ")]
        assert "Traceback" not in err
        return code, "".join(lines)

    return run


def on_worker():
    return threading.current_thread() is not threading.main_thread()


def test_the_records_are_those_of_a_serial_run(address, tmp_path, capsys):
    specs = [tiny(seed) for seed in (0, 1, 2)]
    serial = runner.run("obd_mlp", specs, tmp_path / "serial.jsonl")
    capsys.readouterr()
    found = runner.run("obd_mlp", specs, tmp_path / "cluster.jsonl", scheduler=address)
    assert [record["spec"]["seed"] for record in found] == [0, 1, 2]
    assert by_cell(found) == by_cell(serial)
    assert all(re.fullmatch(r"tcp://127.0.0.1:\d+ on \S+", record["time"]["worker"]) for record in found)
    assert by_cell(record_file.read(tmp_path / "cluster.jsonl")) == by_cell(serial)
    err = capsys.readouterr().err
    assert "obd_mlp: 100%" in err and "3/3" in err and "distributed" not in err


def test_small_nets_from_new_weights_are_trained_there_too(address, tmp_path):
    dense = {**setup.dense_specs("digits", [0], "cpu", "conv3")[0], "images": 100, "epochs": 1, "milestones": []}
    nets = [{"rows": ["L1"], "net": {"widths": {"0.W": 3, "3.W": 5}}}]
    specs = [{"seed": seed, "dense": {**dense, "seed": seed}, "validation": False, "nets": nets} for seed in (0, 1)]
    serial, found = (
        runner.run("reconstruction-scratch", specs, tmp_path / f"{at}.jsonl", scheduler=where)
        for at, where in (("serial", None), ("cluster", address))
    )
    assert by_cell(found) == by_cell(serial)
    assert found[0]["rows"][0]["trained"] and found[0]["time"]["worker"]


def test_a_sweep_goes_on_where_it_stopped_and_a_finished_one_asks_nobody(address, tmp_path, monkeypatch):
    path, computed = tmp_path / "records.jsonl", []
    first = runner.run("obd_mlp", [tiny(0)], path)
    run_cell = obd_mlp.run_cell
    monkeypatch.setattr(obd_mlp, "run_cell", lambda spec, *a: computed.append(spec["seed"]) or run_cell(spec, *a))
    records = runner.run("obd_mlp", [tiny(0), tiny(1), tiny(1)], path, scheduler=address)
    assert computed == [1] and records[0] == first[0] and records[1] == records[2]
    assert runner.run("obd_mlp", [tiny(0), tiny(1)], path, scheduler="tcp://nobody.invalid:1") == records[:2]


def test_a_cell_that_fails_is_one_sentence_and_loses_none_of_the_others(address, said, tmp_path, monkeypatch):
    run_cell = obd_mlp.run_cell

    def failing(spec, *more):
        if spec["seed"] == 1:
            raise ValueError("the cell does not like its seed")
        return run_cell(spec, *more)

    monkeypatch.setattr(obd_mlp, "run_cell", failing)
    code, sentence = said("--scheduler", address)
    assert code == 2 and sentence == "error: the cell does not like its seed"
    assert [record["spec"]["seed"] for record in record_file.read(tmp_path / "obd_mlp.jsonl")] == [0]


def test_a_cell_that_fails_in_any_way_tells_where_and_does_not_hang(address, tmp_path, monkeypatch):
    class Unportable(Exception):
        def __init__(self, one, two):
            super().__init__(f"{one} and {two}")

    def deep(spec, *more):
        return deep(spec, *more)

    def odd(spec, *more):
        raise Unportable("this", "that")

    for failing, error, message in (
        (deep, RecursionError, "recursion"),
        (odd, RuntimeError, "Unportable: this and that"),
    ):
        monkeypatch.setattr(obd_mlp, "run_cell", failing)
        with pytest.raises(error, match=message) as caught:
            runner.run("obd_mlp", [tiny()], tmp_path / "records.jsonl", scheduler=address)
        assert f"in {failing.__name__}\n" in caught.value.__notes__[0]


def test_a_worker_with_other_versions_is_named_before_the_first_cell(address, said, monkeypatch):
    ours = versions.of_process()
    other = {**ours, "NumPy": "1.0", "commit": 40 * "a"}
    monkeypatch.setattr(versions, "of_process", lambda: other if on_worker() else ours)
    monkeypatch.setattr(obd_mlp, "run_cell", lambda *a: pytest.fail("a cell was started"))
    code, sentence = said("--scheduler", address)
    assert code == 2
    assert re.match(r"error: the worker tcp://127.0.0.1:\d+ \(on \S+\) has NumPy 1.0 \(here 2\S+\) and ", sentence)
    assert f"commit {40 * 'a'} (here {ours['commit']}): give it the same and start it again" in sentence


def test_a_worker_that_comes_later_with_other_versions_runs_no_cell(address, said, monkeypatch):
    ours = versions.of_process()
    monkeypatch.setattr(versions, "of_process", lambda: {**ours, "Python": "3.99.0"} if on_worker() else ours)
    monkeypatch.setattr(cluster.Workers, "check", lambda self: None)  # it was not there then
    monkeypatch.setattr(obd_mlp, "run_cell", lambda *a: pytest.fail("a cell was started"))
    code, sentence = said("--scheduler", address)
    assert code == 2 and "has Python 3.99.0 (here 3." in sentence


def test_every_version_counts():
    ours = versions.of_process()
    assert list(ours) == ["Python", "NumPy", "SciPy", "pruning-by-hand", "dask.distributed", "commit", "source"]
    assert versions.difference(dict(ours), ours) is None
    for name, found in ours.items():
        assert versions.difference({**ours, name: "0"}, ours) == f"{name} 0 (here {found})"
    assert versions.difference({}, {"Python": "3.13.0"}) == "Python None (here 3.13.0)"


def test_the_source_is_another_one_when_a_file_was_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(versions, "ROOT", tmp_path)
    found = []
    for name, content in (("nn/a.py", "x = 1\n"), ("nn/a.py", "x = 2\n"), ("pruning/b.py", ""), ("nn/notes.md", "")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content.encode())
        found.append(versions.source())
    (tmp_path / "nn/a.py").write_bytes(b"x = 2\r\n")
    assert len(set(found)) == 3 and found[2] == found[3] == versions.source()


def test_a_worker_without_the_data_set_or_with_another_is_named(address, said, tmp_path, monkeypatch):
    monkeypatch.setattr(obd_mlp, "specs", lambda *a: [tiny(0, data="usps")])
    monkeypatch.setattr(obd_mlp, "run_cell", lambda *a: pytest.fail("a cell was started"))
    monkeypatch.setenv("PRUNING_DATA", str(tmp_path / "nothing"))
    monkeypatch.setattr(sys.modules["nn.data.load"], "cache_folder", lambda: tmp_path / "nothing too")
    code, sentence = said("--scheduler", address, "--root", str(tmp_path))
    assert code == 2
    assert re.match(
        r"error: the worker \S+ \(on \S+\) cannot read the data set: the data set usps was not found", sentence
    )
    (tmp_path / "else" / "usps").mkdir(parents=True)
    for name in ("zip.train", "zip.test"):
        (tmp_path / "else" / "usps" / name).write_text("6 1 2 3\n")
    code, sentence = said("--scheduler", address, "--root", str(tmp_path / "else"))
    assert code == 2 and "cannot read the data set: " in sentence and "SHA256" in sentence


def test_a_worker_with_several_threads_is_refused():
    needs = cluster.Needs(versions.of_process(), (), None)
    worker = lambda threads: SimpleNamespace(state=SimpleNamespace(nthreads=threads))  # noqa: E731
    assert cluster.lacks(needs, worker(1)) is None
    assert "has 4 threads: start it with --nthreads 1 --nworkers 4" in cluster.lacks(needs, worker(4))


@contextlib.contextmanager
def listening(answer=None):
    """A port where nobody says anything, or where every byte is answered by these."""

    def serve():
        with contextlib.suppress(OSError):
            while True:
                other, _ = server.accept()
                connections.append(other)
                if answer is not None:
                    other.sendall(answer)

    connections = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for each in connections:
        each.close()


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("silent", "nothing within 1 seconds"),
        ("closed", "nothing within 1 seconds"),
        ("web server", "what answers speaks another protocol"),
        ("foo", "expected an address like tcp://host:8786 (missing port number in address 'foo')"),
        ("tcp://x:y", "expected an address like tcp://host:8786"),
        ("", "expected an address like tcp://host:8786"),
    ],
)
def test_a_scheduler_that_does_not_answer_is_one_sentence(where, why, said, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER", 1)
    with contextlib.ExitStack() as stack:
        if where in ("silent", "web server"):
            where = stack.enter_context(listening(b"HTTP/1.1 400 Bad Request\r\n\r\n" if where != "silent" else None))
        elif where == "closed":
            with socket.create_server(("127.0.0.1", 0)) as server:
                where = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        start = time.monotonic()
        code, sentence = said("--scheduler", where)
        assert time.monotonic() - start < 4
    assert code == 2
    assert sentence.startswith(f"error: no scheduler of dask.distributed answers at {where}: {why}")
    assert not (tmp_path / "obd_mlp.jsonl").exists()


def test_the_address_of_a_worker_is_that_of_no_scheduler(address, said):
    with distributed.Client(address, set_as_default=False) as client:
        (worker,) = client.nthreads()
    assert said("--scheduler", worker) == (
        2,
        f"error: no scheduler of dask.distributed answers at {worker}: Worker",
    )


def test_records_of_something_else_are_refused_first_and_kept(said, tmp_path):
    path = tmp_path / "obd_mlp.jsonl"
    for content in ("my notes\n", json.dumps({"spec": tiny(0), "trained": {}, "lines": []}) + "\n"):
        path.write_text(content)
        code, sentence = said("--scheduler", "tcp://nobody.invalid:1")
        assert code == 2 and re.match(r"error: line 1 of .*obd_mlp.jsonl (has|is) no", sentence)
        assert path.read_text() == content


def test_jobs_belong_to_a_scheduler_that_is_started_here(said):
    code, sentence = said("--scheduler", "tcp://nobody.invalid:1", "--jobs", "2")
    assert code == 2 and sentence.endswith("got 2 jobs: leave --jobs out")


def test_nobody_holds_the_future_of_a_record_that_is_kept(tmp_path):
    """For as long as somebody did, dask would compute it once more if the worker that has it were killed."""
    finished = []

    class Pool:
        def submit(self, cell, spec):
            future = Future()
            future.set_result(cell(spec))
            finished.append(weakref.ref(future))
            return future

    def places():
        assert [each() for each in finished] == [None] * len(finished)
        return 1

    sweep = runner._Sweep("obd_mlp", [tiny(0), tiny(1)], tmp_path / "records.jsonl")
    runner._hand_out(sweep, Pool(), places, lambda spec: {"spec": spec, "trained": {}, "rows": []})
    sweep.bar.close()
    assert len(finished) == len(sweep.done) == 2


def test_without_dask_it_is_one_sentence(said, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    code, sentence = said("--scheduler", "local")
    assert code == 2 and sentence.endswith("is not installed: pip install -e '.[cluster]'")


def test_the_page_names_options_that_there_are():
    page = (Path(cluster.__file__).parent / "cluster.md").read_text(encoding="utf-8")
    found = re.findall(r"\.venv/bin/dask (scheduler|worker) (.*)", page)
    assert [kind for kind, _ in found] == ["scheduler", "worker", "worker", "scheduler"]
    for kind, line in found:
        command = importlib.import_module(f"distributed.cli.dask_{kind}").main
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        assert set(re.findall(r"--[a-z-]+", line)) <= known
    commands = re.findall(r"\.venv/bin/python -m pruning (run .*--scheduler.*)", page)
    assert len(commands) == 3 and all(_parser().parse_args(command.split()).scheduler for command in commands)
    assert "within six seconds" in page and cluster.ANSWER == 6
    assert "ten workers" in page and cluster.LOSSES + 1 == 10
    assert all(name in page for name in versions.LIBRARIES if name != "pruning-by-hand")


def test_checkpoints_go_to_the_folder_of_the_sweep_where_there_is_one(tmp_path, monkeypatch):
    assert cluster.checkpoints(tmp_path) == tmp_path
    monkeypatch.chdir(tmp_path)
    assert cluster.checkpoints(tmp_path / "of another machine") == Path("out") and Path("out").is_dir()
    assert not (tmp_path / "of another machine").exists()


# The command on twelve tiny cells, as the script of a client and what a worker loads at its start.  It notes each start
# of a cell, and dies by SIGKILL once where the folder has a file of the name of that moment.
SCRIPT = """
import os, signal, sys, threading, time
from pathlib import Path

import pruning.__main__ as m
from pruning.experiments import cluster, obd_mlp, versions

FOLDER = Path(os.environ["SWEEP"])
# Dask loads it twice.
obd_mlp.ours = whole, run_cell, fsync = getattr(obd_mlp, "ours", (obd_mlp.spec, obd_mlp.run_cell, os.fsync))

def die_if(moment, delay=None):
    try:
        (FOLDER / moment).unlink()
    except FileNotFoundError:
        return
    die = lambda: os.kill(os.getpid(), signal.SIGKILL)
    die() if delay is None else threading.Timer(delay, die).start()

def noted(spec, *more):
    with (FOLDER / "started").open("a") as file:
        file.write(f"{os.getpid()} {spec['seed']}\\\\n")
    while (FOLDER / "wait").exists():
        time.sleep(0.01)
    die_if("before a cell")
    die_if("in a cell", 0.05)
    found = run_cell(spec, *more)
    die_if("after a cell")
    return found

def deadly(file):
    die_if("in a record")
    fsync(file)
    die_if("after a record")

obd_mlp.spec = lambda *a: {**whole(*a), "hidden": [5], "epochs": 40, "retrain_epochs": 1, "grid": [0.5]}
obd_mlp.run_cell, obd_mlp.draw, os.fsync = noted, lambda records, folder: [], deadly
cluster.LOSSES = int(os.environ.get("LOSSES", cluster.LOSSES))
if "PYTHON" in os.environ:
    found = versions.of_process()
    versions.of_process = lambda: {**found, "Python": os.environ["PYTHON"]}
if __name__ == "__main__":
    raise SystemExit(m.main(["run", "obd_mlp", "--seed", "0", "1", "2", *sys.argv[1:]]))
""".replace("\\\\n", "\\n")
CELLS = 12


class Site:
    """A scheduler, workers and clients, each in a process of its own, that talk over TCP."""

    def __init__(self, folder):
        self.folder, self.script, self.processes = folder, folder / "script.py", []
        self.script.write_text(SCRIPT)
        self.environment = {**os.environ, "SWEEP": str(folder), "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}

    def start(self, log, *command, **environment):
        with (self.folder / log).open("ab") as file:
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, *command],
                    stdout=file,
                    stderr=file,
                    cwd=self.folder,
                    env={**self.environment, **environment},
                    start_new_session=True,
                )
            )
        return self.processes[-1]

    def scheduler(self, **environment):
        file = self.folder / "scheduler.json"
        file.unlink(missing_ok=True)
        options = ("--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0", "--scheduler-file")
        process = self.start("scheduler.log", "-m", "dask", "scheduler", *options, str(file), **environment)
        self.until(lambda: file.exists() and file.read_text().endswith("}"))
        self.address = json.loads(file.read_text())["address"]
        return process

    def worker(self, *options, **environment):
        fixed = ("--no-nanny", "--no-dashboard", "--memory-limit", "0", "--preload", str(self.script))
        command = ("-m", "dask", "worker", self.address, *(options or ("--nthreads", "1")), *fixed)
        return self.start("worker.log", *command, **environment)

    def client(self, *options, out="out", log="client.log", **environment):
        return self.start(log, str(self.script), "--out", str(self.folder / out), *options, **environment)

    def records(self, out="out"):
        return record_file.read(self.folder / out / "obd_mlp.jsonl")

    def started(self):
        file = self.folder / "started"
        return file.read_text().splitlines() if file.exists() else []

    def repeated(self):
        """How many cells were started though their record was in the file."""
        return sum(line.endswith("repeated") for line in self.started())

    def says(self, log="client.log"):
        return (self.folder / log).read_text()

    def until(self, happens, seconds=90):
        end = time.monotonic() + seconds
        while not happens():
            assert time.monotonic() < end, "\n".join(f"{log}: {log.read_text()}" for log in self.folder.glob("*.log"))
            time.sleep(0.01)

    def alive(self):
        """The processes that were started here, or by these."""
        mark, found = f"SWEEP={self.folder}".encode(), []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return found

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    made.close()
    try:
        made.until(lambda: not made.alive(), 15)
    finally:
        for pid in made.alive():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """The records of a serial run."""
    site = Site(tmp_path_factory.mktemp("serial"))
    assert site.client().wait(120) == 0
    return by_cell(site.records())


@pytest.mark.slow
@needs_proc
def test_processes_and_clusters_give_the_records_of_a_serial_run(site, serial):
    scheduler, workers = site.scheduler(), [site.worker(), site.worker()]
    for out, options in {
        "processes": ("--jobs", "2"),
        "local": ("--scheduler", "local", "--jobs", "2"),
        "tcp": ("--scheduler", site.address),
    }.items():
        assert site.client(*options, out=out).wait(120) == 0, site.says()
        assert by_cell(site.records(out)) == serial
    assert all(len({record["time"]["worker"] for record in site.records(out)}) == 2 for out in ("local", "tcp"))
    assert all(process.poll() is None for process in (scheduler, *workers))
    assert len(site.started()) == 3 * CELLS == 3 * len(serial)
    assert "distributed" not in site.says() and "Warning" not in site.says()


@pytest.mark.slow
@needs_proc
def test_killed_workers_lose_and_repeat_nothing(site, serial):
    site.scheduler()
    workers = {site.worker(), site.worker()}
    client = site.client("--scheduler", site.address)
    for moment in ("in a cell", "after a cell", 1, "before a cell", 2):
        before = len(site.records())
        if moment != "in a cell":
            site.until(lambda before=before: len(site.records()) > before)
        if isinstance(moment, str):
            (site.folder / moment).touch()
        else:
            time.sleep(0.1 * moment)
            min(workers, key=id).kill()
        site.until(lambda: any(worker.poll() is not None for worker in workers))
        (killed,) = (worker for worker in workers if worker.poll() is not None)
        assert killed.returncode == -9 and client.poll() is None, "the sweep is too short for five deaths"
        workers.symmetric_difference_update({killed, site.worker()})
    assert client.wait(120) == 0, site.says()
    assert by_cell(site.records()) == serial
    assert site.repeated() == 0 and len(site.started()) <= CELLS + 5 * 2  # of one that ran and one on its way


@pytest.mark.slow
@needs_proc
def test_a_killed_client_loses_and_repeats_nothing(site, serial):
    site.scheduler(), site.worker(), site.worker()
    kept = []
    for moment in ("in a record", "after a record", "connecting", "cell", "record"):
        if moment.endswith("a record"):
            (site.folder / moment).touch()
        begun, recorded = len(site.started()), len(kept)
        client = site.client("--scheduler", site.address)
        if moment == "connecting":
            site.until(lambda: "obd_mlp: " in site.says())
        elif moment == "cell":
            site.until(lambda begun=begun: len(site.started()) > begun)
        elif moment == "record":
            site.until(lambda recorded=recorded: len(site.records()) > recorded)
        if not moment.endswith("a record"):
            client.kill()
        assert client.wait(60) == -9, site.says()
        assert site.records()[: len(kept)] == kept
        kept = site.records()
        (site.folder / "client.log").write_text("")
    assert len(kept) < CELLS
    assert site.client("--scheduler", site.address).wait(120) == 0, site.says()
    assert by_cell(site.records()) == serial and site.records()[: len(kept)] == kept
    assert site.repeated() == 0 and len(site.started()) <= CELLS + 5 * 2  # of the two that ran when it was killed


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("how", ["Ctrl-C", "Ctrl-C twice", "killed"])
def test_workers_of_a_local_scheduler_end_with_it(how, site):
    (site.folder / "wait").touch()
    client = site.client("--scheduler", "local", "--jobs", "2")
    site.until(lambda: len(site.started()) == 2)
    if how == "killed":
        client.kill()
        assert client.wait() == -9
    else:
        os.killpg(client.pid, signal.SIGINT)  # as a terminal does: the workers hear it too
        site.until(lambda: "interrupted; waiting for the cells that run (2)" in site.says())
        if how == "Ctrl-C":
            (site.folder / "wait").unlink()
        else:
            os.killpg(client.pid, signal.SIGINT)
        assert client.wait(30) == 130
        assert "a `run` started again goes on where it stopped" in site.says() and "Traceback" not in site.says()
    site.until(lambda: not site.alive(), 15)
    assert len(site.records()) == 2 * (how == "Ctrl-C")


@pytest.mark.slow
@needs_proc
def test_a_scheduler_that_ends_is_one_sentence_and_the_sweep_goes_on_at_the_next(site, serial):
    scheduler = site.scheduler()
    site.worker()
    client = site.client("--scheduler", site.address)
    site.until(lambda: len(site.records()) > 1)
    scheduler.kill()
    assert client.wait(60) == 2
    assert f"error: the scheduler at {site.address} is gone; started again, the sweep goes on" in site.says()
    assert "Traceback" not in site.says()
    kept = site.records()
    site.scheduler()
    client = site.client("--scheduler", site.address)
    site.until(lambda: f"no worker is at {site.address}; waiting for one" in site.says())
    site.worker()
    assert client.wait(120) == 0
    assert by_cell(site.records()) == serial and site.records()[: len(kept)] == kept


@pytest.mark.slow
@needs_proc
def test_a_worker_with_other_code_or_none_or_too_many_threads_is_named(site):
    site.scheduler()
    broken = site.folder / "broken"
    (broken / "pruning").mkdir(parents=True)
    (broken / "pruning" / "__init__.py").write_text("raise ImportError('there is none')")
    for sentence, options, environment in (
        (r"has Python 3\.99\.0 \(here 3\.\S+\): give it the same", (), {"PYTHON": "3.99.0"}),
        (r"has 2 threads: start it with --nthreads 1 --nworkers 2", ("--nthreads", "2"), {}),
    ):
        worker = site.worker(*options, **environment)
        client = site.client("--scheduler", site.address)
        assert client.wait(60) == 2
        assert re.search(rf"\nerror: the worker tcp://\S+ \(on \S+\) {sentence}", site.says()), site.says()
        worker.terminate()
        worker.wait()
    command = ("-m", "dask", "worker", site.address, "--nthreads", "1", "--no-nanny", "--no-dashboard")
    site.start("worker.log", *command, PYTHONPATH=str(broken))
    assert site.client("--scheduler", site.address).wait(60) == 2
    assert re.search(r"\nerror: the worker \S+ has another pruning-by-hand .*, or none \(.*there is none", site.says())
    site.scheduler(PYTHONPATH=str(broken))
    site.worker()
    assert site.client("--scheduler", site.address).wait(60) == 2
    assert re.search(r"\nerror: the scheduler at \S+ has another pruning-by-hand .*\(.*there is none", site.says())
    assert "Traceback" not in site.says() and site.records() == [] and site.started() == []


@pytest.mark.slow
@needs_proc
def test_a_cell_that_costs_every_worker_its_life_is_one_sentence(site):
    site.scheduler()
    (site.folder / "wait").touch()
    client, killed = site.client("--scheduler", site.address, LOSSES="3"), 0
    while client.poll() is None and killed < 4:
        worker = site.worker()
        site.until(lambda worker=worker: any(line.startswith(f"{worker.pid} ") for line in site.started()))
        worker.kill()
        killed += worker.wait() == -9
    assert client.wait(60) == 2
    assert "error: a cell lost its worker again and again, the last one was tcp://" in site.says()
