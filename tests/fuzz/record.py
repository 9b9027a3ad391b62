"""Run a proof, and keep what it prints in tests/fuzz/proofs/NAME.txt, with the date, the commit and the versions.

python tests/fuzz/record.py NAME ARGUMENTS_OF_PYTHON...
"""

import platform
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
PROOFS = ROOT / "tests" / "fuzz" / "proofs"


def commit():
    """Return the short name of the commit, and whether files that Git knows have changed since, proofs aside."""
    name = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    changes = ["git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":!tests/fuzz/proofs"]
    changed = subprocess.run(changes, cwd=ROOT, capture_output=True, text=True)
    return f"commit {name.stdout.strip()}{' with changes' if changed.stdout else ''}" if name.stdout else "no commit"


def main(name, arguments):
    """Run Python with these arguments, print and keep its lines, and return its exit code."""
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}"
    lines = [f"$ python {' '.join(arguments)}\n", f"{date.today()}, {commit()}, {versions}\n\n"]
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-u", *arguments], cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8"
    ) as run:
        for line in run.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    lines.append(f"\nexit code {run.returncode} after {time.perf_counter() - start:.0f} s\n")
    PROOFS.mkdir(exist_ok=True)
    (PROOFS / f"{name}.txt").write_text("".join(lines), encoding="utf-8")
    return run.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
