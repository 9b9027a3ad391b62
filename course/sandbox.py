"""The cage around a student's process: bubblewrap, limits of memory, time and files, and a channel of arrays.

With bubblewrap, as an ordinary user, the process has no network, sees no files but the interpreter's and NumPy's, no
other processes, and may write to an empty folder of its own.  Without it (``--trusted``) it has limits and a clean
environment only: accidents are caught, intent is not.
"""

import functools
import importlib.util
import io
import json
import os
import selectors
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np

from course import worker
from course.worker import frame, pack, text, unpack, words

WORKER = Path(worker.__file__)
ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
}
PYTHON = os.path.abspath(sys.executable)
SECRET = ("nn", "pruning", "textbook", "course")
LARGEST_REPLY = 32 * 2**20
MOST_ENTRIES = 2000
"""Arrays of one reply."""
MEMORY = 2**31
PROCESSES = 64
ROOM = 64 * 2**20
"""Bytes of a folder that a student's process may write to."""
SECONDS = 10.0
"""For one call of a student's function, and for loading the definitions."""


class Failed(Exception):
    """The student's process gave no answer; the message says why."""


class TimedOut(Failed):
    """It gave none in time."""


@functools.cache
def caged() -> bool:
    """Whether bubblewrap is installed and works for this user."""
    if not shutil.which("bwrap"):
        return False
    with suppress(OSError, subprocess.TimeoutExpired):
        tried = subprocess.run([*_cage(), "/bin/true"], capture_output=True, timeout=10)
        return tried.returncode == 0
    return False


def _cage() -> list[str]:
    """Return the command that puts another into a cage with the interpreter, NumPy and one empty folder."""
    shown = {"/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", sys.base_prefix, os.path.abspath(sys.prefix)}
    binds = [part for path in sorted(shown) if os.path.exists(path) for part in ("--ro-bind", path, path)]
    for name in SECRET:  # installed next to NumPy, they would be there to import
        spec = importlib.util.find_spec(name)
        for place in (spec.submodule_search_locations or []) if spec else []:
            if any(os.path.abspath(place).startswith(path + "/") for path in shown):
                binds += ["--tmpfs", os.path.abspath(place)]
    alone = ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]
    # What can be written to is small: files of a cage lie in memory that no limit of a process counts.
    small = [part for path in ("/tmp", "/home/student") for part in ("--size", str(ROOM), "--tmpfs", path)]
    own = ["--ro-bind", str(WORKER), "/worker.py", "--chdir", "/home/student"]
    fixed = ["--remount-ro", "/dev", "--remount-ro", "/"]
    return ["bwrap", *alone, "--proc", "/proc", "--dev", "/dev", *small, *binds, *own, *fixed]


class Stopped(Exception):
    """The grader is to stop: this says nothing about the student."""


class Student:
    """One student's process; started again after a crash or a time-out, closed by the ``with`` statement.

    Parameters
    ----------
    pieces : the definitions, in order.
    seconds : for one answer.
    memory : bytes that the process may have.
    stop : once it is set, nothing is waited for any more: `Stopped` is raised.
    """

    def __init__(
        self,
        pieces: list[str],
        seconds: float = SECONDS,
        memory: int = MEMORY,
        stop: threading.Event | None = None,
    ):
        self.pieces, self.seconds, self.memory = pieces, seconds, memory
        self._stop = stop or threading.Event()
        self.problems = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="course-", ignore_cleanup_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._folder.cleanup()

    def call(self, function: str, inputs: dict[str, Any], seconds: float | None = None) -> Any:
        """Return what the student's function returns on these inputs: float64 arrays, lists of them, or a tuple.

        Raises
        ------
        Failed
            If there is no answer, or the function raises or changes an argument; `TimedOut` if that took too long.
        """
        if self._process is None:
            self.start()
        request = {**pack(inputs), "function": text(function)}
        reply = self._exchange(request, self.seconds if seconds is None else seconds)
        try:
            problem, changed = _said(reply.pop("error", text(""))), _said(reply.pop("changed", text("")))
            found = [] if problem else unpack(reply).values()
            values = [[*map(_numbers, value)] if isinstance(value, list) else _numbers(value) for value in found]
        except Exception:  # a forged answer may hold anything: numbers without end, lists in lists in lists
            raise Failed("no readable answer") from None
        if problem.startswith("NameError"):
            problem += ". Only imports, functions, classes and literal constants of the notebook are run when graded."
        if problem or changed:
            raise Failed(problem or f"the argument {changed} was changed in place")
        return tuple(values) if len(values) != 1 else values[0]

    def kill(self) -> int | None:
        """End the process with all that it started, and return its exit code if it ended by itself."""
        if self._process is None:
            return None
        process, self._process, code = self._process, None, None
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(0.2)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        return code

    def start(self) -> None:
        """Load the definitions.

        Raises
        ------
        Failed
            If they cannot be loaded, which is more than that some of them have errors (`problems`).
        """
        folder = Path(self._folder.name)
        limits = {"COURSE_MEMORY": str(self.memory), "COURSE_SECONDS": str(int(6 * self.seconds) + 60)}
        environment = {**ENVIRONMENT, **limits, "HOME": "/home/student"}
        if caged():
            environment["COURSE_PROCESSES"] = str(PROCESSES)
            given = [part for name, value in environment.items() for part in ("--setenv", name, value)]
            command = [*_cage(), *given, PYTHON, "-I", "/worker.py"]
        else:
            command = [PYTHON, "-I", str(WORKER)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        try:
            reply = self._exchange({"pieces": text(json.dumps(self.pieces))}, self.seconds)
        except Failed as error:
            raise type(error)(f"while the definitions were loaded: {error}") from None
        try:
            self.problems = _said(reply["loaded"])
        except Exception:
            self.kill()
            raise Failed("while the definitions were loaded: no readable answer") from None

    def _exchange(self, request: dict[str, np.ndarray], seconds: float) -> dict[str, np.ndarray]:
        """Send one frame and return the reply; every failure ends the process."""
        process, deadline = self._process, time.monotonic() + seconds
        assert process is not None and process.stdin is not None
        try:
            self._send(frame(request), deadline, seconds)
            size = struct.unpack("<Q", self._read(8, deadline, seconds))[0]
            if size > LARGEST_REPLY:
                raise Failed("the answer is too large")
            return _opened(self._read(size, deadline, seconds))
        except Failed:
            self.kill()
            raise
        except EOFError:
            raise Failed(_reason(self.kill())) from None
        except OSError:
            raise Failed(_reason(self.kill())) from None

    def _send(self, data: bytes, deadline: float, seconds: float) -> None:
        # A process that does not read must not hold up the grader.
        assert self._process is not None and self._process.stdin is not None
        descriptor = self._process.stdin.fileno()
        os.set_blocking(descriptor, False)
        view = memoryview(data)
        with selectors.DefaultSelector() as ready:
            ready.register(descriptor, selectors.EVENT_WRITE)
            while view:
                self._wait(ready, deadline, seconds)
                view = view[os.write(descriptor, view) :]

    def _wait(self, ready: selectors.BaseSelector, deadline: float, seconds: float) -> None:
        while not ready.select(min(0.2, max(0, deadline - time.monotonic()))):
            if self._stop.is_set():
                raise Stopped
            if time.monotonic() >= deadline:
                raise TimedOut(f"no answer after {seconds:g} s")
        if self._stop.is_set():
            raise Stopped

    def _read(self, n: int, deadline: float, seconds: float) -> bytes:
        assert self._process is not None and self._process.stdout is not None
        descriptor, parts = self._process.stdout.fileno(), []
        with selectors.DefaultSelector() as ready:
            ready.register(descriptor, selectors.EVENT_READ)
            while n:
                self._wait(ready, deadline, seconds)
                part = os.read(descriptor, min(n, 2**20))
                if not part:
                    raise EOFError
                parts.append(part)
                n -= len(part)
        return b"".join(parts)


def _opened(data: bytes) -> dict[str, np.ndarray]:
    # What comes back may be forged: a zip that unfolds to gigabytes, a pickle, anything.
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > LARGEST_REPLY or len(entries) > MOST_ENTRIES:
                raise Failed("the answer is too large")
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise ValueError("bzip2 and LZMA unfold whole blocks, whatever size an entry says that it has")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return dict(arrays)
    except Failed:
        raise
    except Exception as error:  # zipfile, zlib and NumPy have errors of many kinds
        raise Failed(f"no readable answer ({type(error).__name__})") from None


def _said(array: np.ndarray) -> str:
    # One forged message must not fill the tables, nor steer the lecturer's terminal.
    said = words(array[: worker.MOST_TEXT])
    return "".join(each if each.isprintable() or each == "\n" else "?" for each in said)


def _numbers(value: Any) -> np.ndarray:
    if not isinstance(value, np.ndarray):
        raise TypeError("expected an array")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return np.array(value, dtype=np.float64)


def _reason(code: int | None) -> str:
    if code in (-signal.SIGXCPU, 128 + signal.SIGXCPU):
        return "the processor time was used up"
    if code in (-signal.SIGSEGV, 128 + signal.SIGSEGV):
        return "the process crashed (segmentation fault)"
    return "the process ended without an answer" + ("" if code is None else f" (exit {code})")
