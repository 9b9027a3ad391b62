"""Cells on the workers of a dask.distributed scheduler, on this machine or on others: ``--scheduler ADDRESS|local``.

`connected` gives the runner an executor as the standard library has them.  Before the first cell every worker is asked
for its versions and its data, and a worker that comes later before its first cell; how to start schedulers and workers
is in cluster.md.
"""

import asyncio
import functools
import logging
import os
import pickle
import platform
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import nn
from pruning.experiments import record_file, versions

LOCAL = "local"
ANSWER = 6
"""Seconds in which a scheduler has to answer."""

LOSSES = 9
"""After so many workers that ended with it a cell is given to one more worker, and to none after that."""

MALLOC = {"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None}
"""Without it dask has its workers give every freed array of 64 KiB back to the system: cells take a third longer."""

_OTHER = "another pruning-by-hand than this process, or none"

Cell = Callable[..., dict[str, Any]]


@dataclass(frozen=True)
class Needs:
    """What a worker must have for its records to be those of this process: these versions, and these data sets."""

    versions: Mapping[str, str]
    data: tuple[str, ...]
    root: str | None


class Workers:
    """The workers of a scheduler: their `executor`, how many `places` they have for a cell, and the `cell` itself."""

    def __init__(self, client: Any, address: str, needs: Needs):
        self.client, self.address, self.needs = client, address, needs
        self.executor: Executor = client.get_executor()
        self.absent = False

    def places(self) -> int:
        """Return how many cells can run now; one where no worker is left, for the cell that waits for the next."""
        threads = self.threads()
        if not threads and not self.absent:
            tqdm.write(f"no worker is at {self.address}; waiting for one (Ctrl-C ends this)", sys.stderr)
        self.absent = not threads
        return max(1, len(threads))

    def threads(self) -> dict[str, int]:
        """Return {address of a worker: number of its threads}."""
        try:
            return self.client.nthreads()
        except OSError:
            raise self.lost() from None

    def lost(self) -> ConnectionError:
        """Return the error that the scheduler was there and is not any more."""
        return ConnectionError(f"the scheduler at {self.address} is gone; started again, the sweep goes on")

    def cell(self, cell: Cell, folder: Path) -> Cell:
        """Return the function of one specification that a worker runs."""
        return functools.partial(run_on_worker, cell, str(folder.absolute()), self.needs)

    def check(self) -> None:
        """Wait for a worker, and raise a RuntimeError if one of those that are there lacks something."""
        self.places()  # says so if there is none
        while not self.threads():
            time.sleep(0.2)
        try:
            self.client.run_on_scheduler(be_patient, LOSSES)
        except OSError:
            raise self.lost() from None
        except Exception as error:
            raise RuntimeError(f"the scheduler at {self.address} has {_OTHER} ({error})") from None
        answers = self.client.run(lacks, self.needs, on_error="return")
        complaints = [f"the worker {name} {_answer(found)}" for name, found in answers.items() if _answer(found)]
        if complaints:
            more = f"; {len(complaints) - 1} more of {len(answers)} workers lack something" * (len(complaints) > 1)
            raise RuntimeError(complaints[0] + more)


@contextmanager
def connected(
    address: str, jobs: int, specs: Sequence[Mapping[str, Any]], root: str | None = None
) -> Iterator[Workers]:
    """Connect to the scheduler at `address`, or start one with `jobs` workers if it is "local", and check its workers.

    Raises
    ------
    RuntimeError
        If dask.distributed is not installed, a worker has another version than this process, lacks the data set or has
        several threads; while it is connected: if a cell was lost with its worker too often, or the scheduler ended.
    ConnectionError
        If no scheduler answers.
    """
    distributed = _distributed()
    data = sorted({name for spec in specs if (name := versions.data_set(spec)) is not None})
    needs = Needs(versions.of_process(), tuple(data), None if root is None else os.path.abspath(root))
    with _quiet(), _scheduler(distributed, address, jobs) as (client, name):
        workers = Workers(client, name, needs)
        try:
            workers.check()
            yield workers
        except CancelledError:
            raise workers.lost() from None
        except distributed.KilledWorker as error:
            raise RuntimeError(
                f"a cell lost its worker again and again, the last one was {error.last_worker.address}: is its memory"
                " too small for the cell?"
            ) from None
        finally:
            workers.executor.shutdown(wait=False)


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise RuntimeError(
            "--scheduler needs dask.distributed, which is not installed: pip install -e '.[cluster]'"
        ) from None
    return distributed


@contextmanager
def _scheduler(distributed: Any, address: str, jobs: int) -> Iterator[tuple[Any, str]]:
    """Yield a client, and the address that it is connected to."""
    if address != LOCAL:
        with _client(distributed, address) as client:
            yield client, address
        return
    import dask

    with (
        dask.config.set(MALLOC),
        distributed.LocalCluster(
            n_workers=jobs,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            memory_limit=0,  # none: a worker that needs much is not killed for it
            silence_logs=logging.CRITICAL,
            preload=[__name__],
        ) as cluster,
        _client(distributed, cluster.scheduler_address) as client,
    ):
        yield client, cluster.scheduler_address


@contextmanager
def _client(distributed: Any, address: str) -> Iterator[Any]:
    _find(distributed, address)  # first, for a client that fails to connect cannot be closed
    with distributed.Client(address, timeout=ANSWER, set_as_default=False) as client:
        yield client


def _find(distributed: Any, address: str) -> None:
    """Raise a ConnectionError unless a scheduler answers."""

    async def kind() -> str:
        security = distributed.Security().get_connection_args("client")  # certificates, where dask is told of some
        async with distributed.rpc(address, connection_args=security) as server:
            return (await server.identity())["type"]

    try:
        found = asyncio.run(asyncio.wait_for(kind(), ANSWER))
    except TimeoutError:
        found = f"nothing within {ANSWER} seconds"
    except OSError as error:
        found = " ".join(str(error).split()) or type(error).__name__
    except ValueError as error:
        found = f"expected an address like tcp://host:8786 ({error})"
    except Exception as error:
        found = f"what answers speaks another protocol ({type(error).__name__})"
    if found != "Scheduler":
        raise ConnectionError(f"no scheduler of dask.distributed answers at {address}: {found}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep dask's log off the screen: what matters of it is said here in a sentence."""
    handlers = [handler for name in ("distributed", "tornado") for handler in logging.getLogger(name).handlers]
    levels = [handler.level for handler in handlers]
    for handler in handlers:
        handler.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for handler, level in zip(handlers, levels):
            handler.setLevel(level)


def _answer(found: Any) -> str | None:
    """Return what a worker lacks, in words, from what it answered."""
    if isinstance(found, OSError):  # it ended meanwhile
        return None
    return f"has {_OTHER} ({found})" if isinstance(found, Exception) else found


# From here on: what runs on a scheduler or a worker.


def be_patient(losses: int, dask_scheduler: Any) -> None:
    """Let a scheduler hand out a cell again after so many workers were killed while they had it; dask's number is 3."""
    dask_scheduler.allowed_failures = max(dask_scheduler.allowed_failures, losses)


def dask_setup(worker: Any) -> None:
    """Make a worker of the "local" scheduler deaf to Ctrl-C, which its parent hears (dask calls this at its start)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def run_on_worker(cell: Cell, folder: str, needs: Needs, spec: dict[str, Any]) -> dict[str, Any]:
    """Run one cell, if this worker has what it needs, and return its record with the worker's name under "time"."""
    worker = _distributed().get_worker()
    complaint = lacks(needs, worker)
    if complaint is not None:
        raise RuntimeError(f"the worker {worker.address} {complaint}")
    try:
        record = cell(spec, root=needs.root, folder=checkpoints(Path(folder)))
    except Exception as error:
        raise portable(error) from None
    record["time"]["worker"] = f"{worker.address} on {platform.node()}"
    return record


def portable(error: Exception) -> Exception:
    """Return the error without its traceback, of which it keeps the text: dask loses a cell whose traceback is long."""
    text = traceback.format_exc(limit=-20)
    try:
        error = pickle.loads(pickle.dumps(error.with_traceback(None)))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"On the worker it was:\n{text}")
    return error


def lacks(needs: Needs, dask_worker: Any) -> str | None:
    """Return in words what this worker does not have, None if it has all."""
    threads, where = dask_worker.state.nthreads, f"(on {platform.node()})"
    if threads > 1:  # the number of BLAS threads belongs to the process: a cell that ends would change it for others
        return f"{where} has {threads} threads: start it with --nthreads 1 --nworkers {threads}"
    other = versions.difference(versions.of_process(), needs.versions)
    if other is not None:
        return f"{where} has {other}: give it the same and start it again"
    for name in needs.data:
        try:
            _read(name, needs.root)
        except (ValueError, OSError) as error:
            return f"{where} cannot read the data set: {error}"
    return None


@functools.cache  # what was found; what was missing is looked for again
def _read(name: str, root: str | None) -> None:
    nn.data.load(name, root, dtype=np.float32)


def checkpoints(folder: Path) -> Path:
    """Return the folder for the checkpoints of trainings: `folder` if this machine can write there, else ./out."""
    if folder.is_dir():
        with suppress(ValueError):
            record_file.make_folder(folder)
            return folder
    record_file.make_folder(Path("out"))
    return Path("out")
