"""Run the cells of an experiment, one after the other or in processes, and keep their records.

A cell's record goes to disk, whole, the moment it is finished; a sweep that was killed and is started again computes
only the cells that are missing.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

import threadpoolctl
from tqdm import tqdm

from pruning.experiments import EXPERIMENTS, OLD_NAMES, cluster, record_file, scratch, versions
from pruning.experiments.record_file import key

MOST_JOBS = 1000


def run(
    name: str,
    specs: Sequence[dict[str, Any]],
    path: Path,
    jobs: int = 1,
    root: str | None = None,
    scheduler: str | None = None,
) -> list[dict[str, Any]]:
    """Compute the cells that `path` does not hold yet, add their records to it, and return the records of all `specs`.

    Serial and parallel runs give the same records but for the entry "time".  A `scheduler` of dask.distributed, by its
    address, hands the cells to its workers; "local" starts one, with `jobs` workers on this machine.  Records of other
    specifications stay in the file; a file that lies beside it under the experiment's old name is renamed.  After
    Ctrl-C cells that run in processes are waited for, and kept; a second one ends them.

    Raises
    ------
    ValueError
        If `path` holds something else than records of this experiment, there are some under its old name too, jobs is
        not from 1 to 1,000 or not 1 with an address, or nothing can be written there; before the first cell.
    ConnectionError, RuntimeError
        As ``connected`` in cluster.py.
    """
    if jobs < 1:
        raise ValueError(f"expected at least one job, got {jobs}")
    if jobs > MOST_JOBS:
        raise ValueError(f"expected at most {MOST_JOBS} jobs, got {jobs}")
    if scheduler not in (None, cluster.LOCAL) and jobs > 1:
        raise ValueError(f"{scheduler} has the workers that were started for it, got {jobs} jobs: leave --jobs out")
    record_file.prepare(path, [old for old, new in OLD_NAMES.items() if new == name])
    sweep = _Sweep(name, specs, path)
    cell = partial(run_one, name, root=root, folder=path.parent)
    missing = len(sweep.wanted) - len(sweep.done)
    with sweep.bar:
        if scheduler is not None and missing:
            _on_cluster(sweep, scheduler, min(jobs, missing), root)
        elif min(jobs, missing) > 1:
            _in_processes(sweep, min(jobs, missing), cell)
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
                lacking = [field for field in _module(self.name).FIELDS if field not in record]
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
    context = get_context("spawn")
    alive, end = context.Pipe(duplex=False)
    with end, ProcessPoolExecutor(jobs, context, _end_with_parent, (alive,)) as pool:
        try:
            _hand_out(sweep, pool, lambda: jobs, cell)
        except BaseException:
            end.close()  # the workers end
            raise


def _on_cluster(sweep: _Sweep, scheduler: str, jobs: int, root: str | None) -> None:
    cell = partial(run_one, sweep.name)
    with cluster.connected(scheduler, jobs, list(sweep.wanted.values()), root) as found:
        _hand_out(sweep, found.executor, found.places, found.cell(cell, sweep.path.parent))


def _hand_out(
    sweep: _Sweep, pool: Executor, places: Callable[[], int], cell: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    specs = sweep.missing()
    running: set[Future[dict[str, Any]]] = set()
    try:
        while True:
            # No more cells are handed out than run: what waits in the pool cannot be taken back.
            for spec in islice(specs, max(0, places() - len(running))):
                running.add(pool.submit(cell, spec))
            if not running:
                return
            _keep_finished(sweep, running)
    except BaseException as error:
        _keep_what_finishes(sweep, running, error)
        raise


def _keep_finished(sweep: _Sweep, running: set[Future[dict[str, Any]]]) -> None:
    # A function of its own, so that no name is left for a future: while there is one, dask computes the cell once more
    # if the worker that has its record is killed.
    for future in _finished(running):
        sweep.keep(future.result())
        running.remove(future)


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
            if not future.cancelled() and future.exception() is None:
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


def _module(name: str) -> ModuleType:
    return scratch if name.endswith(scratch.SUFFIX) else EXPERIMENTS[name]


def run_one(
    name: str, spec: dict[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Run one cell with one BLAS thread (so that sums are added in one order) and return its record."""
    started, clock, found = (
        datetime.now(UTC).isoformat(timespec="seconds"),
        time.perf_counter(),
        versions.of_record(spec),
    )
    with threadpoolctl.threadpool_limits(1):
        result = _module(name).run_cell(spec, root, progress, folder)
    seconds = round(time.perf_counter() - clock, 3)
    return {
        "experiment": name,
        "spec": spec,
        **result,
        "versions": found,
        "time": {"started": started, "seconds": seconds, **result.get("time", {})},
    }
