"""Run the cells of an experiment, one after the other or in processes, and keep their records as JSON Lines.

A cell's record goes to disk, whole, the moment it is finished; a sweep that was killed and is started again computes
only the cells that are missing.
"""

import json
import os
import platform
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import threadpoolctl
from tqdm import tqdm

from nn.files import replacing
from pruning.experiments import EXPERIMENTS


def run(
    name: str, specs: Sequence[dict[str, Any]], path: Path, jobs: int = 1, root: str | None = None
) -> list[dict[str, Any]]:
    """Compute the cells that `path` does not hold yet, append their records, and return the records of all `specs`.

    Serial and parallel runs give the same records but for the entry "time".  Records of other specifications stay in
    the file.

    Raises
    ------
    ValueError
        If `path` holds something else than records, or jobs is below 1.
    """
    if jobs < 1:
        raise ValueError(f"expected at least one job, got {jobs}")
    done = {key(record["spec"]): record for record in read(path)}
    missing = [spec for spec in specs if key(spec) not in done]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tqdm(total=len(specs), initial=len(specs) - len(missing), unit="cell", desc=name) as bar:
        with closing(_records(name, missing, jobs, root, path.parent)) as records:
            for record in records:
                append(path, record)
                done[key(record["spec"])] = record
                bar.update()
    return [done[key(spec)] for spec in specs]


def _records(
    name: str, specs: Sequence[dict[str, Any]], jobs: int, root: str | None, folder: Path
) -> Generator[dict[str, Any], None, None]:
    if jobs == 1:
        for spec in specs:
            yield run_one(name, spec, root, progress=True, folder=folder)
        return
    # Spawned, not forked: BLAS threads do not survive a fork.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(run_one, name, spec, root, False, folder) for spec in specs]):
            yield future.result()


def run_one(
    name: str, spec: dict[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Run one cell with one BLAS thread (so that sums are added in one order) and return its record."""
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    with threadpoolctl.threadpool_limits(1):
        result = EXPERIMENTS[name].run_cell(spec, root, progress, folder)
    seconds = round(time.perf_counter() - clock, 3)
    return {
        "experiment": name,
        "spec": spec,
        **result,
        "versions": _versions(),
        "time": {"started": started, "seconds": seconds, **result.get("time", {})},
    }


def _versions() -> dict[str, str]:
    blas = [library for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]
    kernels = sorted({f"{library['internal_api']} {library.get('architecture', '')}".strip() for library in blas})
    packages = {name: version(name) for name in ("pruning-by-hand", "numpy")}
    return {"python": platform.python_version(), **packages, "blas": ", ".join(kernels)}


def key(spec: dict[str, Any]) -> str:
    """Return the specification as one string, the same for equal specifications."""
    return json.dumps(spec, sort_keys=True)


def read(path: Path) -> list[dict[str, Any]]:
    """Return the records in `path`, none if there is no such file; an unfinished last line does not count.

    Raises
    ------
    ValueError
        If a finished line is no record.
    """
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            record = json.loads(line)
            record["spec"]
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"line {number} of {path} is no record of an experiment; move the file away") from None
        records.append(record)
    return records


def append(path: Path, record: dict[str, Any]) -> None:
    """Add one record as one line, after cutting off a line that a killed run left unfinished."""
    line = json.dumps(record) + "\n"
    with path.open("a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def write(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write `records` to `path`, whole or not at all, in place of what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
