"""Which code, libraries, processor and data a record comes from, and whether another machine has the same code."""

import functools
import hashlib
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import nn
from pruning import sparse
from pruning.experiments import setup

ROOT = Path(__file__).parents[2]
CODE = ("nn", "pruning", "textbook")
LIBRARIES = {
    "NumPy": "numpy",
    "SciPy": "scipy",
    "pruning-by-hand": "pruning-by-hand",
    "dask.distributed": "distributed",
}


def of_record(spec: Mapping[str, Any]) -> dict[str, str | None]:
    """Return what a record tells about the versions that its numbers come from."""
    data = data_set(spec)
    return {
        "commit": commit(),
        "python": platform.python_version(),
        **{name: library(name) for name in ("pruning-by-hand", "numpy")},
        "blas": sparse.kernels(),
        "processor": processor(),
        "data": None if data is None else nn.data.content_sum(data),
    }


def data_set(spec: Mapping[str, Any]) -> str | None:
    """Return the name of the data set of a cell as `nn.data.load` knows it, None where no images are needed."""
    data = spec.get("data", spec.get("dense", {}).get("data"))
    return None if data is None else setup.HALVED.get(data, data)


def commit() -> str | None:
    """Return the commit that the code is run from, with "-dirty" if code was changed since; None outside of git."""

    def git(*command: str) -> str:
        return subprocess.run(("git", *command), cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", *CODE)
        return git("rev-parse", "HEAD") + "-dirty" * bool(changed)
    except (OSError, subprocess.CalledProcessError):
        return None


def processor() -> str:
    """Return the name of the processor; on Linux, where Python does not know it, as the system tells it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def library(name: str) -> str:
    """Return the version of an installed package."""
    try:
        return version(name)
    except PackageNotFoundError:  # run from its folder
        return "not installed"


@functools.cache
def of_process() -> dict[str, str]:
    """Return what two processes must have in common for their records to be the same, by the names that people use.

    It is found once in a process: modules stay as they were imported when their files are changed later.
    """
    return {
        "Python": platform.python_version(),
        **{name: library(package) for name, package in LIBRARIES.items()},
        "commit": str(commit()),
        "source": source()[:12],
    }


def source() -> str:
    """Return one SHA256 for the code, which tells changes apart that "-dirty" does not."""
    total = hashlib.sha256()
    for path in sorted(path for package in CODE for path in (ROOT / package).rglob("*.py")):
        name, content = path.relative_to(ROOT).as_posix(), path.read_bytes().replace(b"\r\n", b"\n")
        total.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()


def difference(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str | None:
    """Return in words what another process has in another version than this one, None if there is nothing.

    >>> difference({"Python": "3.12.1", "NumPy": "2.3.0"}, {"Python": "3.12.1", "NumPy": "2.4.6"})
    'NumPy 2.3.0 (here 2.4.6)'
    """
    others = [
        f"{name} {theirs.get(name)} (here {ours.get(name)})"
        for name in {**ours, **theirs}
        if theirs.get(name) != ours.get(name)
    ]
    return " and ".join(others) or None
