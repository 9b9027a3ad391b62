"""The ledger over twenty seeds with its margins, and the code of its right forms broken on purpose, in two ways each.

python tests/fuzz/prove_ledger.py [ID ...]

Every right form has to stay a factor `pruning.ledger.core.MARGIN` below its tolerance, and every wrong form above it.
A mutant is one text in one file of a copy of the packages (`mutants/`); its row has to fail, and 98 of 100 do.

A row that fails by its numbers was judged: its right form disagrees, or a wrong form passes.  One that fails with an
exception noticed the mutant as well, but no referee did; both are counted, apart.  Code that cannot be imported any
more, or never ends, has put nothing on trial: such a mutant counts as alive.
"""

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from pruning import ledger
from pruning.ledger.core import MARGIN

ROOT = Path(__file__).parents[2]
SEEDS = range(20)
LEAST = 0.98
KILLED = {10: "by a right form that disagrees", 11: "by a wrong form that passes", 12: "by an exception in the row"}
ALIVE = {0: "passes", 13: "cannot be imported"}
ENDLESS = "does not end"
TRIAL = """
import sys
try:
    from pruning import ledger
    (statement,) = ledger.chosen(sys.argv[1:])
except BaseException:
    sys.exit(13)
try:
    outcome = ledger.run(statement)
except Exception:
    sys.exit(12)
sys.exit(0 if outcome.ok else 11 if outcome.right else 10)
"""


def mutants():
    """Return (id, file, text, other text) of all topics."""
    names = sorted(path.stem for path in (ROOT / "tests" / "fuzz" / "mutants").glob("*.py"))
    return [each for name in names for each in importlib.import_module(f"mutants.{name}").MUTANTS]


def near(statements):
    """Print every statement that comes nearer than the margin on some seed; return how many do."""
    found = 0
    for statement in tqdm(statements, unit="statement", desc="twenty seeds"):
        try:
            outcomes = [ledger.run(statement, seed) for seed in SEEDS]
        except Exception as error:
            tqdm.write(f"{statement.id}: {type(error).__name__}: {error}")
            found += 1
            continue
        for seed, outcome in zip(SEEDS, outcomes):
            if not (outcome.ok and outcome.margin >= MARGIN):
                wrong = ", ".join(f"{each.name} {each.error:.1e}" for each in outcome.wrong)
                errors = f"error {outcome.error:.1e}, allowed {statement.tolerance:.0e}; wrong: {wrong}"
                tqdm.write(f"{statement.id}, seed {seed}: margin {outcome.margin:.1f}, {errors}")
                found += 1
                break
    return found


def ends(found):
    """Return how the trials of the mutants ended, and how often each way; print those that nothing has killed."""
    counted = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for package in ("nn", "pruning", "textbook"):
            shutil.copytree(ROOT / package, Path(folder) / package, ignore=shutil.ignore_patterns("__pycache__"))
        for mutant in tqdm(found, unit="mutant"):
            end = _end(Path(folder), *mutant)
            counted[end] += 1
            if end not in KILLED.values():
                tqdm.write(f"alive, {end}: {mutant}")
    return counted


def _end(folder, row, file, text, other):
    path = folder / file
    whole = path.read_text(encoding="utf-8")
    assert whole.count(text) == 1, f"{file} has {whole.count(text)} times: {text}"
    path.write_text(whole.replace(text, other), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-W", "ignore", "-c", TRIAL, row]
    try:
        code = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=120).returncode
        return {**KILLED, **ALIVE}.get(code, f"ends with exit code {code}")
    except subprocess.TimeoutExpired:
        return ENDLESS
    finally:
        path.write_text(whole, encoding="utf-8")


def main(ids):
    """Check the statements with these ids, or all; return whether everything holds."""
    statements = ledger.chosen(ids)
    found = [mutant for mutant in mutants() if mutant[0] in {statement.id for statement in statements}]
    close, counted = near(statements), ends(found)
    alive = len(found) - sum(counted[end] for end in KILLED.values())
    print(f"{len(statements)} statements over {len(SEEDS)} seeds: {close} nearer than {MARGIN} times")
    killed = ", ".join(f"{counted[end]} {end}" for end in KILLED.values())
    print(f"{len(found)} mutants: {alive} alive; killed: {killed}")
    return close == 0 and alive <= (1 - LEAST) * len(found)


if __name__ == "__main__":
    try:
        ledger.chosen(sys.argv[1:])
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(not main(sys.argv[1:]))
