"""Runs in processes of their own that are killed by SIGKILL, again and again, and started anew."""

import subprocess
import sys
import time

import numpy as np

# A script is run with the path of its checkpoint and the number of the save in the midst of which it kills itself.
PRELUDE = """
import os, signal, sys
import numpy as np
import nn

path, deadly = sys.argv[1], int(sys.argv[2])
saves, fsync = 0, os.fsync

def fsync_or_die(file):
    global saves
    saves += 1
    if saves == deadly:  # all is written beside the checkpoint, and not yet in its place
        os.kill(os.getpid(), signal.SIGKILL)
    fsync(file)

os.fsync = fsync_or_die
"""


def assert_killed_runs_end_in_the_same_bits(script, folder):
    """Kill -9 at ten moments: five in the midst of a save, five at any time; then let the run end."""
    start = lambda path, deadly=0: subprocess.Popen([sys.executable, "-c", PRELUDE + script, str(path), str(deadly)])  # noqa: E731
    (folder / "killed").mkdir()
    reference, path = folder / "reference.npz", folder / "killed" / "run.npz"
    undisturbed = start(reference)
    pause = np.random.default_rng(0)
    for life in range(10):
        process = start(path, 3 + life if life % 2 else 0)
        if life % 2 == 0:
            since = path.stat().st_mtime_ns if path.exists() else 0
            while process.poll() is None and (not path.exists() or path.stat().st_mtime_ns == since):
                time.sleep(0.001)
            time.sleep(pause.uniform(0, 0.03))
            process.kill()
        assert process.wait() == -9, "the run is too short to be killed ten times"
        left = [file.name for file in path.parent.iterdir() if ".part" in file.name]
        assert len(left) == 1 if life % 2 else len(left) <= 1  # what the lives before left is gone
    assert start(path).wait() == 0 and undisturbed.wait() == 0
    with np.load(reference) as a, np.load(path) as b:
        assert set(a.files) == set(b.files)
        assert all(a[name].tobytes() == b[name].tobytes() for name in a.files)  # the header holds records and steps
        header = str(a["header"])
    assert [file.name for file in path.parent.iterdir()] == ["run.npz"]
    return header
