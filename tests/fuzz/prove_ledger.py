"""The ledger over twenty seeds with its margins, and the code of its right forms broken on purpose, in two ways each.

python tests/fuzz/prove_ledger.py [ID ...]

Every right form has to stay a factor `pruning.ledger.core.MARGIN` below its tolerance, and every wrong form above it.
A mutant is one text in one file of a copy of the packages (`mutants/`); its row has to fail, and 98 of 100 do.
"""

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tqdm import tqdm

from pruning import ledger
from pruning.ledger.core import MARGIN

ROOT = Path(__file__).parents[2]
SEEDS = range(20)
LEAST = 0.98
TRIAL = (
    "import sys; from pruning import ledger; sys.exit(not all(ledger.run(s).ok for s in ledger.chosen(sys.argv[1:])))"
)


def mutants():
    """Return (id, file, text, other text) of all topics."""
    names = sorted(path.stem for path in (ROOT / "tests" / "fuzz" / "mutants").glob("*.py"))
    return [each for name in names for each in importlib.import_module(f"mutants.{name}").MUTANTS]


def near(statements):
    """Print every statement that comes nearer than the margin on some seed; return how many do."""
    found = 0
    for statement in tqdm(statements, unit="statement", desc="twenty seeds"):
        outcomes = [ledger.run(statement, seed) for seed in SEEDS]
        for seed, outcome in zip(SEEDS, outcomes):
            if not (outcome.ok and outcome.margin >= MARGIN):
                wrong = ", ".join(f"{each.name} {each.error:.1e}" for each in outcome.wrong)
                errors = f"error {outcome.error:.1e}, allowed {statement.tolerance:.0e}; wrong: {wrong}"
                tqdm.write(f"{statement.id}, seed {seed}: margin {outcome.margin:.1f}, {errors}")
                found += 1
                break
    return found


def survivors(found):
    """Print the mutants whose row still passes; return how many do."""
    with tempfile.TemporaryDirectory() as folder:
        for package in ("nn", "pruning", "textbook"):
            shutil.copytree(ROOT / package, Path(folder) / package, ignore=shutil.ignore_patterns("__pycache__"))
        alive = 0
        for mutant in tqdm(found, unit="mutant"):
            if _passes(Path(folder), *mutant):
                tqdm.write(f"alive: {mutant}")
                alive += 1
    return alive


def _passes(folder, row, file, text, other):
    path = folder / file
    whole = path.read_text(encoding="utf-8")
    assert whole.count(text) == 1, f"{file} has {whole.count(text)} times: {text}"
    path.write_text(whole.replace(text, other), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        command = [sys.executable, "-W", "ignore", "-c", TRIAL, row]
        return not subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=120).returncode
    except subprocess.TimeoutExpired:
        return False
    finally:
        path.write_text(whole, encoding="utf-8")


def main(ids):
    """Check the statements with these ids, or all; return whether everything holds."""
    statements = ledger.chosen(ids)
    found = [mutant for mutant in mutants() if mutant[0] in {statement.id for statement in statements}]
    close, alive = near(statements), survivors(found)
    print(
        f"{len(statements)} statements over {len(SEEDS)} seeds: {close} nearer than {MARGIN} times;"
        f" {len(found)} mutants: {alive} alive"
    )
    return close == 0 and alive <= (1 - LEAST) * len(found)


if __name__ == "__main__":
    sys.exit(not main(sys.argv[1:]))
