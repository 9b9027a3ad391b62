"""The process that runs a student's code: it gets inputs and gives back arrays, and never sees what is expected.

Started as ``python -I worker.py`` in a cage (`course.sandbox`); it imports nothing of this project.  Frames go through
standard input and output, 8 bytes of length and an .npz without pickle: first the definitions, then one call a frame.
"""

import io
import json
import os
import resource
import struct
import sys
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

MOST_NUMBERS = 10**6
"""Of one result."""
MOST_TEXT = 2000
MOST_ARRAYS = 1000
"""Of one result."""


@dataclass(frozen=True)
class Energy:
    """E(u) = sum_k c_k f(A_k . u) over the rows of A (K, n), with f = tanh, sin, exp or square: a function as an input.

    ``E(u)`` takes real and complex u (n,).
    """

    A: np.ndarray
    c: np.ndarray
    kind: str

    def __call__(self, u: np.ndarray) -> Any:
        """Return E(u)."""
        f = {"tanh": np.tanh, "sin": np.sin, "exp": np.exp, "square": np.square}[self.kind]
        return np.sum(self.c * f(self.A @ np.asarray(u)))


# ---- frames ----------------------------------------------------------------------------------------------------------
def pack(values: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return numbers, strings, None, arrays, lists of arrays and energies as arrays, with a note of what they were."""
    arrays: dict[str, np.ndarray] = {}
    kinds: dict[str, Any] = {}
    for name, value in values.items():
        if value is None or isinstance(value, str | bool | int | float | np.generic):
            kinds[name] = ["value", value.item() if isinstance(value, np.generic) else value]
        elif isinstance(value, list | tuple):
            kinds[name] = ["list", len(value)]
            arrays |= {f"{name}.{k}": np.asarray(each) for k, each in enumerate(value)}
        elif isinstance(value, Energy):
            kinds[name] = ["energy", value.kind]
            arrays |= {f"{name}.A": value.A, f"{name}.c": value.c}
        else:
            kinds[name], arrays[name] = ["array", 0], np.asarray(value)
    return {**arrays, "kinds": text(json.dumps(kinds))}


def unpack(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return what was packed."""
    found: dict[str, Any] = {}
    for name, (kind, detail) in json.loads(words(arrays["kinds"])).items():
        if kind == "value":
            found[name] = detail
        elif kind == "list":
            found[name] = [arrays[f"{name}.{k}"] for k in range(detail)]
        elif kind == "energy":
            found[name] = Energy(arrays[f"{name}.A"], arrays[f"{name}.c"], detail)
        else:
            found[name] = arrays[name]
    return found


def frame(arrays: dict[str, np.ndarray]) -> bytes:
    """Return the arrays as one frame."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    data = buffer.getvalue()
    return struct.pack("<Q", len(data)) + data


def text(value: str) -> np.ndarray:
    """Return a string as bytes in an array."""
    return np.frombuffer(value.encode(errors="replace"), dtype=np.uint8)


def words(array: np.ndarray) -> str:
    """Return the string that `text` made an array of."""
    return bytes(array.astype(np.uint8)).decode(errors="replace")


def _received(stream: BinaryIO) -> dict[str, np.ndarray]:
    head = stream.read(8)
    if len(head) < 8:
        raise SystemExit(0)
    with np.load(io.BytesIO(stream.read(struct.unpack("<Q", head)[0])), allow_pickle=False) as archive:
        return dict(archive)


# ---- running ---------------------------------------------------------------------------------------------------------
def _limit() -> None:
    memory, seconds = int(os.environ.get("COURSE_MEMORY", 2**31)), int(os.environ.get("COURSE_SECONDS", 60))
    limits = [
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 2**20),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ]
    if "COURSE_PROCESSES" in os.environ:
        limits.append((resource.RLIMIT_NPROC, int(os.environ["COURSE_PROCESSES"])))
    for what, value in limits:
        resource.setrlimit(what, (value, value))


def _defined(pieces: list[str], space: dict[str, Any]) -> str:
    # One by one: an error in one leaves the others.
    problems = []
    for piece in pieces:
        try:
            exec(compile(piece, "<submission>", "exec"), space)
        except BaseException as error:
            first = piece.strip().splitlines()[0][:60]
            problems.append(f"{type(error).__name__}: {error} (in: {first})")
    return "; ".join(problems)[:MOST_TEXT]


def _answer(space: dict[str, Any], request: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    name = words(request.pop("function"))
    function = space.get(name)
    if not callable(function):
        return {"error": text(f"there is no function {name}")}
    inputs, untouched = unpack(request), unpack(request)
    untouched = {k: np.copy(v) if isinstance(v, np.ndarray) else v for k, v in untouched.items()}
    result = function(**inputs)
    values = result if isinstance(result, tuple) else (result,)
    if any(value is None for value in values):
        return {"error": text(f"{name} returns None")}
    if sum(len(value) for value in values if isinstance(value, list)) > MOST_ARRAYS:
        return {"error": text(f"{name} returns lists of more than {MOST_ARRAYS} arrays")}
    # Copies of plain numbers: no object of the student leaves this process.
    plain = [[_plain(v) for v in value] if isinstance(value, list) else _plain(value) for value in values]
    if sum(np.size(v) for value in plain for v in (value if isinstance(value, list) else [value])) > MOST_NUMBERS:
        return {"error": text(f"{name} returns more than {MOST_NUMBERS} numbers")}
    changed = [k for k, v in inputs.items() if isinstance(v, np.ndarray) and not _same(v, untouched[k])]
    return {**pack({f"r{k}": value for k, value in enumerate(plain)}), "changed": text(", ".join(changed))}


def _plain(value: Any) -> np.ndarray:
    if np.iscomplexobj(value) and np.any(np.imag(value)):
        raise TypeError("complex numbers are returned, expected real ones")
    return np.array(np.real(value) if np.iscomplexobj(value) else value, dtype=np.float64)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and np.array_equal(a, b)


def _line_of(error: BaseException) -> str:
    line, where = 0, error.__traceback__
    while where is not None:
        if where.tb_frame.f_code.co_filename == "<submission>":
            line = where.tb_lineno
        where = where.tb_next
    return f" (line {line} of its cell)" if line else ""


def main() -> None:
    """Serve calls until standard input ends."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # what the student prints goes nowhere
        os.dup2(null, descriptor)
    _limit()
    space: dict[str, Any] = {"__name__": "submission"}
    problems = _defined(json.loads(words(_received(source)["pieces"])), space)
    sink.write(frame({"loaded": text(problems)}))
    sink.flush()
    while True:
        request = _received(source)
        try:
            reply = _answer(space, request)
        except BaseException as error:  # SystemExit and KeyboardInterrupt are a student's errors, too
            reply = {"error": text(f"{type(error).__name__}: {error}{_line_of(error)}"[:MOST_TEXT])}
        sink.write(frame(reply))
        sink.flush()


if __name__ == "__main__":
    sys.setrecursionlimit(1000)
    main()
