"""Files that are there whole or not at all."""

import glob
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to, and rename it into place at the end; after an error nothing is left.

    What processes of this machine left behind that were killed while they wrote `path` is removed first.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    FileExistsError
        If something of this name is no ordinary file, such as a folder or a device.
    OSError
        If the file cannot be written, as on a full disk; it names `path`.
    """
    check_folder(path)
    check_file(path)
    _remove_leftovers(path)
    before, after = _around(path)
    partial = path.with_name(f"{before}{os.getpid()}{after}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        if error.filename is None and error.errno is not None:  # a write that fails does not say where
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def check_folder(path: Path) -> None:
    """Raise a FileNotFoundError unless the folder is there that `path` is to be written to."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} to")


def check_file(path: Path) -> None:
    """Raise a FileExistsError if something of this name is no ordinary file: a rename would put a file in its place."""
    if path.exists() and not path.is_file():
        raise FileExistsError(f"expected the name of a file to write, got {path}, which is a folder or a device")


def _around(path: Path) -> tuple[str, str]:
    # What stands around the process in the name of an unfinished file.  The machine is part of it: a folder may be
    # shared by several, and each knows its own processes only.
    return f".{path.stem}.{platform.node()}.", f".part{path.suffix}"


def _remove_leftovers(path: Path) -> None:
    if os.name != "posix":  # elsewhere the question whether a process lives may end it
        return
    before, after = _around(path)
    for left in path.parent.glob(f"{glob.escape(before)}*{glob.escape(after)}"):
        process = left.name.removeprefix(before).removesuffix(after)
        if process.isdecimal() and not _is_alive(int(process)):
            left.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
