"""Files that are there whole or not at all, and what killed processes left."""

import os
import platform
import signal
import subprocess
import sys

import numpy as np
import pytest

import nn
from nn.files import replacing

WRITE = """
import os, pathlib, signal, sys
from nn.files import replacing
with replacing(pathlib.Path(sys.argv[1])) as partial:
    partial.write_text("half")
    print("written", flush=True)
    sys.stdin.read() if sys.argv[2] == "wait" else os.kill(os.getpid(), signal.SIGKILL)
"""


def writer(path, what):
    return subprocess.Popen(
        [sys.executable, "-c", WRITE, str(path), what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def test_what_a_killed_process_left_goes_with_the_next_save_and_nothing_else(tmp_path):
    path = tmp_path / "a*b.npz"
    with writer(path, "die") as process:
        assert process.wait() == -signal.SIGKILL
    (left,) = names(tmp_path)
    assert left.startswith(f".a*b.{platform.node()}.") and left.endswith(".part.npz")
    alive = writer(path, "wait")
    assert alive.stdout.readline() == "written\n"
    strangers = [
        ".a*b.another-machine.999999999.part.npz",  # its processes are not ours to judge
        f".axb.{platform.node()}.999999999.part.npz",  # of another file
        f".a*b.{platform.node()}.999999999.part.txt",
        f".a*b.{platform.node()}.mine.part.npz",
    ]
    for name in strangers:
        (tmp_path / name).write_text("")
    with replacing(path) as partial:
        partial.write_text("whole")
    assert names(tmp_path) == sorted([f".a*b.{platform.node()}.{alive.pid}.part.npz", *strangers, "a*b.npz"])
    with alive:
        alive.communicate("")  # the other process is done too, and its file is there
    assert path.read_text() == "half"
    assert names(tmp_path) == sorted([*strangers, "a*b.npz"])


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_ordinary_file_is_not_replaced(tmp_path, make):
    make(tmp_path / "name")
    before = (tmp_path / "name").stat()
    with pytest.raises(FileExistsError, match=f"got {tmp_path / 'name'}, which is a folder or a device"):
        with replacing(tmp_path / "name") as partial:
            partial.write_text("in its place")
    assert (tmp_path / "name").stat().st_mode == before.st_mode and names(tmp_path) == ["name"]


def test_a_process_that_is_not_ours_lives(tmp_path, monkeypatch):
    def refused(process, signal):
        raise PermissionError(1, "Operation not permitted")

    other = tmp_path / f".net.{platform.node()}.1.part.npz"
    other.write_text("")
    monkeypatch.setattr(os, "kill", refused)
    with replacing(tmp_path / "net.npz") as partial:
        partial.write_text("whole")
    assert other.exists()


def test_a_missing_folder_is_named_and_not_a_temporary_file(tmp_path):
    path = tmp_path / "nowhere" / "net.npz"
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere to write net.npz to"):
        nn.checkpoint.save(path, nn.models.mlp((4, 3, 2), np.random.default_rng(0)))
    assert names(tmp_path) == []


def test_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device: '.*net.npz'"), replacing(tmp_path / "net.npz"):
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == []
