"""The records of an experiment as a file of JSON Lines: one line a cell, whole, whatever happens while it is written.

Several processes may add to one file: each holds a lock while it writes, and no cell is in the file twice.
"""

import base64
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nn.files import replacing

if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO) -> None:
        file.seek(2**31 - 1)  # behind the last record, for a locked byte cannot be read
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)

else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)


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
    return _records(path, path.read_bytes()) if path.exists() else []


def _records(path: Path, content: bytes) -> list[dict[str, Any]]:
    records = []
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        try:
            record = json.loads(line)
            key(record["spec"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ValueError(f"line {number} of {path} is no record of an experiment; move the file away") from None
        records.append(record)
    return records


def unpacked(hits: str, number: int) -> np.ndarray:
    """Return which of `number` patterns were right, as booleans, from what `pruning.experiments.setup.hits` made.

    Raises
    ------
    ValueError
        If these are not the hits of so many patterns.
    """
    try:
        packed = np.frombuffer(base64.b64decode(hits, validate=True), np.uint8)
    except (ValueError, TypeError):
        raise ValueError(f"expected hits packed in base64, got {hits!r:.60}") from None
    if packed.size != -(-number // 8):
        raise ValueError(f"expected the hits of {number} patterns in {-(-number // 8)} bytes, got {packed.size} bytes")
    return np.unpackbits(packed)[:number].astype(bool)


def add(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Add one record as one line, after cutting off a line that a killed run left unfinished; return it.

    If another process was faster with the same cell, its record is returned and nothing is added.

    Raises
    ------
    ValueError
        As `read`.
    OSError
        If the line cannot be written, on a full disk for instance; the file is then as before.
    """
    line = (json.dumps(record) + "\n").encode()
    with _named(path), path.open("a+b", buffering=0) as file:
        _lock(file)
        file.seek(0)
        content = file.read()
        for other in _records(path, content):
            if key(other["spec"]) == key(record["spec"]):
                return other
        end = content.rfind(b"\n") + 1
        file.truncate(end)
        try:
            while line:
                line = line[file.write(line) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise
    return record


def write(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write `records` to `path`, whole or not at all, in place of what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _named(path), replacing(path) as partial:
        partial.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def prepare(path: Path, old_names: Sequence[str] = (), option: str = "--out") -> None:
    """See to it that records can be added to `path`: its folder is there, and all are in one file.

    A file beside it that has records under one of the experiment's old names is renamed.  Errors name the `option`.

    Raises
    ------
    ValueError
        As `make_folder` and `read`; if there are records under an old name and under the new one.  Nothing is touched
        then.
    OSError
        If the file cannot be written to.
    """
    make_folder(path.parent, option)
    for old in (path.with_name(f"{name}.jsonl") for name in old_names):
        if old.exists() and read(old):
            if read(path):
                raise ValueError(
                    f"{old} has records of this experiment under its old name, and {path} has some too;"
                    " add the lines of the one to the other, or move one of them away"
                )
            old.replace(path)
    if path.exists():
        with _named(path), path.open("ab"):
            pass


def make_folder(path: Path, option: str = "--out") -> None:
    """Make the folder if it is not there; a ValueError if it cannot be made, or nothing can be written to it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ValueError(f"expected a folder to write to as {option}, got {path} ({error.strerror})") from None


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(f"{path} cannot be written ({error.strerror or error})") from None
