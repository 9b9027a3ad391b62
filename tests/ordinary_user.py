"""The grader refuses to run as root: here is a way to be an ordinary user, and a word where there is none."""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOBODY = 65534


def command(folder):
    """What a command begins with to be an ordinary user's, who can read what Python needs and write to `folder`."""
    if os.geteuid() != 0:
        return []
    needed = [Path(sys.base_prefix), Path(os.path.abspath(sys.prefix)), ROOT, Path(folder)]
    mounts = []
    for path in needed:
        closed = next((each for each in reversed(path.parents) if not each.stat().st_mode & 0o001), None)
        if closed is None:
            continue
        if str(closed) not in mounts:
            mounts += ["--tmpfs", str(closed)]
        between = [each for each in reversed(path.parents) if closed in each.parents]
        mounts += [part for each in between for part in ("--perms", "0755", "--dir", str(each))]
        mounts += ["--bind", str(path), str(path)]
    who = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return ["bwrap", "--dev-bind", "/", "/", *mounts, *who]


def run(folder, *arguments, **keywords):
    """`python -m course ...` as an ordinary user, in a folder of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(folder)}
    environment |= keywords.pop("environment", {})
    return subprocess.run(
        [*command(folder), sys.executable, "-m", "course", *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        **{"timeout": 300, **keywords},
    )


@contextmanager
def room():
    """A folder that an ordinary user can write to: pytest's own are closed to everybody but their owner."""
    folder = Path(tempfile.mkdtemp(prefix="course-test-"))
    folder.chmod(0o777)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@cache
def missing():
    """Why nothing can be put into a cage here, or ""."""
    if not shutil.which("bwrap"):
        return "bubblewrap is not installed"
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        return "there is no setpriv to become an ordinary user with"
    with room() as folder:
        words = "import sys; from course import sandbox; sys.exit(not sandbox.caged())"
        tried = subprocess.run(
            [*command(folder), sys.executable, "-c", words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )
    return "" if tried.returncode == 0 else f"no user namespaces for an ordinary user here {tried.stderr[-200:]}"


@pytest.fixture
def place():
    """A folder to grade in; skipped where an ordinary user cannot have a cage."""
    if missing():
        pytest.skip(missing())
    with room() as folder:
        yield folder
