"""Run the cells of an experiment, one after the other or in processes, and keep their records.

A cell's record goes to disk, whole, the moment it is finished; a sweep that was killed and is started again computes
only the cells that are missing.
"""

import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import threadpoolctl
from tqdm import tqdm

import nn
from pruning import sparse
from pruning.experiments import EXPERIMENTS, OLD_NAMES, record_file, setup
from pruning.experiments.record_file import key

MOST_JOBS = 1000


def run(
    name: str, specs: Sequence[dict[str, Any]], path: Path, jobs: int = 1, root: str | None = None
) -> list[dict[str, Any]]:
    """Compute the cells that `path` does not hold yet, add their records to it, and return the records of all `specs`.

    Serial and parallel runs give the same records but for the entry "time".  Records of other specifications stay in
    the file; a file that lies beside it under the experiment's old name is renamed.  After Ctrl-C cells that run in
    processes are waited for, and kept; a second one ends them.

    Raises
    ------
    ValueError
        If `path` holds something else than records of this experiment, there are some under its old name too, jobs is
        not from 1 to 1,000, or nothing can be written there; before the first cell.
    """
    if jobs < 1:
        raise ValueError(f"expected at least one job, got {jobs}")
    if jobs > MOST_JOBS:
        raise ValueError(f"expected at most {MOST_JOBS} jobs, got {jobs}")
    record_file.prepare(path, [old for old, new in OLD_NAMES.items() if new == name])
    sweep = _Sweep(name, specs, path)
    cell = partial(run_one, name, root=root, folder=path.parent)
    jobs = min(jobs, len(sweep.wanted) - len(sweep.done))
    with sweep.bar:
        if jobs > 1:
            _in_processes(sweep, jobs, cell)
        else:
            for spec in sweep.missing():
                sweep.keep(cell(spec, progress=True))
    return [sweep.done[key(spec)] for spec in specs]


class _Sweep:
    """The cells that are wanted, and the records of those that are done, here or by another process."""

    def __init__(self, name: str, specs: Sequence[dict[str, Any]], path: Path):
        self.name, self.path = name, path
        self.wanted = {key(spec): spec for spec in specs}
        self.done = self.found()
        self.bar = tqdm(total=len(self.wanted), initial=len(self.done), unit="cell", desc=name)

    def found(self) -> dict[str, dict[str, Any]]:
        """Return those of the wanted records that are in the file."""
        found = {}
        for number, record in enumerate(record_file.read(self.path), 1):
            if key(record["spec"]) in self.wanted:
                lacking = [field for field in EXPERIMENTS[self.name].FIELDS if field not in record]
                if lacking:
                    what = f"line {number} of {self.path} has no {lacking[0]!r}"
                    raise ValueError(f"{what}: it is no record of {self.name}; move the file away")
                found[key(record["spec"])] = record
        return found

    def missing(self) -> Iterator[dict[str, Any]]:
        """Yield the specifications of the cells that are not done when it is their turn."""
        for each, spec in self.wanted.items():
            self.note(self.found())
            if each not in self.done:
                yield spec

    def keep(self, record: dict[str, Any]) -> None:
        """Add a record to the file."""
        self.note({key(record["spec"]): record_file.add(self.path, record)})

    def note(self, records: dict[str, dict[str, Any]]) -> None:
        """Count these records as done."""
        before = len(self.done)
        self.done = {**records, **self.done}
        self.bar.update(len(self.done) - before)


def _in_processes(sweep: _Sweep, jobs: int, cell: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    # Spawned, not forked: BLAS threads do not survive a fork.
    context, specs = get_context("spawn"), sweep.missing()
    alive, end = context.Pipe(duplex=False)
    running: set[Future[dict[str, Any]]] = set()
    with end, ProcessPoolExecutor(jobs, context, _end_with_parent, (alive,)) as pool:
        try:
            # No more cells are handed out than run: what waits in the pool cannot be taken back.
            for spec in islice(specs, jobs):
                running.add(pool.submit(cell, spec))
            while running:
                for future in _finished(running):
                    sweep.keep(future.result())
                    running.remove(future)
                    running |= {pool.submit(cell, spec) for spec in islice(specs, 1)}
        except BaseException as error:
            try:
                _keep_what_finishes(sweep, running, error)
            finally:
                end.close()  # the workers end
            raise


def _finished(running: set[Future[dict[str, Any]]]) -> set[Future[dict[str, Any]]]:
    # In turns of a second: on Windows Ctrl-C is heard in between only.
    return wait(running, 1, FIRST_COMPLETED).done


def _keep_what_finishes(sweep: _Sweep, running: set[Future[dict[str, Any]]], error: BaseException) -> None:
    unfinished = sum(not future.done() for future in running)
    if unfinished:
        why = "interrupted" if isinstance(error, KeyboardInterrupt) else f"error: {error}"
        tqdm.write(f"{why}; waiting for the cells that run ({unfinished}), interrupt again to drop them", sys.stderr)
    while running:
        for future in _finished(running):
            running.remove(future)
            if future.exception() is None:
                sweep.keep(future.result())


def _end_with_parent(alive: Connection) -> None:
    """Make a worker deaf to Ctrl-C, which its parent hears, and end it when the other end of the pipe is closed.

    The system closes it when the parent ends, however it does.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        with suppress(OSError):
            alive.poll(None)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_one(
    name: str, spec: dict[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Run one cell with one BLAS thread (so that sums are added in one order) and return its record."""
    started, clock, versions = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter(), _versions(spec)
    with threadpoolctl.threadpool_limits(1):
        result = EXPERIMENTS[name].run_cell(spec, root, progress, folder)
    seconds = round(time.perf_counter() - clock, 3)
    return {
        "experiment": name,
        "spec": spec,
        **result,
        "versions": versions,
        "time": {"started": started, "seconds": seconds, **result.get("time", {})},
    }


def _versions(spec: Mapping[str, Any]) -> dict[str, str | None]:
    data = spec.get("data", spec.get("dense", {}).get("data"))  # None where no images are needed
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        **{name: _version(name) for name in ("pruning-by-hand", "numpy")},
        "blas": sparse.kernels(),
        "processor": _processor(),
        "data": None if data is None else nn.data.content_sum(setup.HALVED.get(data, data)),
    }


def _commit() -> str | None:
    """Return the commit that the code is run from, with "-dirty" if code was changed since; None outside of git."""
    root = Path(__file__).parents[2]

    def git(*command: str) -> str:
        return subprocess.run(("git", *command), cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "nn", "pruning", "textbook")
        return git("rev-parse", "HEAD") + "-dirty" * bool(changed)
    except (OSError, subprocess.CalledProcessError):
        return None


def _processor() -> str:
    """Return the name of the processor; on Linux, where Python does not know it, as the system tells it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from its folder
        return "not installed"
