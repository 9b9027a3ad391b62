"""From a master to what is handed out and what is kept.

A master is a percent script: cells begin with ``# %%``, text cells with ``# %% [markdown]``, the cell of an exercise
with ``# %% exercise="obd.1"``; the solution stands between ``### BEGIN SOLUTION`` and ``### END SOLUTION``.
"""

import ast
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import numpy as np

from course.spec import Energy, ProblemSet, copied, inputs_of
from nn.files import replacing

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"


@dataclass(frozen=True)
class Cell:
    """A cell of a master: "markdown" or "code", the id of its exercise or "", and its source."""

    kind: str
    exercise: str
    source: str


def cells(text: str) -> list[Cell]:
    """Return the cells of a percent script in order."""
    found = []
    for part in re.split(r"^# %%", text, flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        exercise = re.search(r'exercise="([^"]+)"', head)
        markdown, body = "[markdown]" in head, body.strip("\n")
        if markdown:
            body = "\n".join(line[2:] if line.startswith("# ") else line[1:] for line in body.split("\n"))
        found.append(Cell("markdown" if markdown else "code", exercise[1] if exercise else "", body))
    return found


def blank(source: str) -> str:
    """Return the source with what stands between the markers taken out.

    Raises
    ------
    ValueError
        If a solution is not closed.
    """
    out, inside = [], False
    for line in source.split("\n"):
        if line.strip() == BEGIN:
            inside = True
            out.append(line[: len(line) - len(line.lstrip())] + "raise NotImplementedError  # your code here")
        elif line.strip() == END:
            inside = False
        elif not inside:
            out.append(line)
    if inside:
        raise ValueError(f"a solution is not closed by {END}")
    return "\n".join(out)


def solved(source: str) -> str:
    """Return the source without the markers."""
    return "\n".join(line for line in source.split("\n") if line.strip() not in (BEGIN, END))


CHECK = '''"""check("obd.1", function): compare with the public cases.  Needs NumPy, and public.json beside it."""

import json
from pathlib import Path

import numpy as np

CASES = json.loads(Path(__file__).with_name("public.json").read_text(encoding="utf-8"))


def check(exercise, function):
    """Print what is right and what is wrong; it never raises, so that a notebook runs through."""
    for case in CASES.get(exercise, []):
        try:
            result = function(**{name: restored(value) for name, value in case["inputs"].items()})
        except NotImplementedError:
            print(f"{exercise}, {case['name']}: not written yet")
            continue
        except Exception as error:
            print(f"{exercise}, {case['name']}: {type(error).__name__}: {error}")
            continue
        print(f"{exercise}, {case['name']}: {compared(result, case['expected'], case['tolerance'])}")
    for line in CASES.get(exercise, [{}])[0].get("lines", []):
        print("   " + line)


def restored(value):
    """Return an argument as it was: arrays and functions are stored as {"array": ...} and {"energy": ...}."""
    if isinstance(value, list):
        return [restored(each) for each in value]
    if isinstance(value, dict) and "energy" in value:
        A, c = np.array(value["A"]), np.array(value["c"])
        f = {"tanh": np.tanh, "sin": np.sin, "exp": np.exp, "square": np.square}[value["energy"]]
        return lambda u: np.sum(c * f(A @ np.asarray(u)))
    if isinstance(value, dict):
        return np.array(value["array"], dtype=value["dtype"]).reshape(value["shape"])
    return value


def compared(result, expected, tolerance):
    """Return "right", or a sentence that says what is not."""
    result = result if isinstance(result, tuple) else (result,)
    if len(result) != len(expected):
        return f"{len(result)} value(s) returned, expected {', '.join(name for name, _ in expected)}"
    pairs = []
    for (name, right), given in zip(expected, result):
        if isinstance(right, list):
            if not isinstance(given, list) or len(given) != len(right):
                return f"{name} should be a list of {len(right)} arrays"
            pairs += [(f"{name}[{k}]", restored(each), given[k]) for k, each in enumerate(right)]
        elif isinstance(given, list):
            return f"{name} is a list, expected an array"
        else:
            pairs.append((name, restored(right), given))
    largest = 0.0
    for name, right, given in pairs:
        try:
            given = np.asarray(given, dtype=float)
        except (TypeError, ValueError):
            return f"{name} is no array of numbers"
        if given.shape != right.shape:
            return f"{name} has the shape {given.shape}, expected {right.shape}"
        off = np.linalg.norm(given - right) / (np.linalg.norm(right) or 1.0)
        if not off <= tolerance:
            where = int(np.argmax(~(abs(given - right) <= tolerance * (abs(right) + 1e-300)).ravel()))
            got, wanted = given.ravel()[where], right.ravel()[where]
            return f"{name} is off by {off:.1e} of its norm; number {where} is {got:.6g}, expected {wanted:.6g}"
        largest = max(largest, off)
    return f"right (off by {largest:.0e}; up to {tolerance:.0e} is taken for rounding)"
'''


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it; `CHECK` has the way back."""
    if isinstance(value, Energy):
        return {"energy": value.kind, "A": value.A.tolist(), "c": value.c.tolist()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return {"array": value.ravel().tolist(), "dtype": str(value.dtype), "shape": list(value.shape)}
    return value


def public_cases(problems: ProblemSet) -> dict[str, list[dict[str, Any]]]:
    """Return the inputs and the right outputs of all public cases, as they are handed out."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for e in problems.exercises:
        hidden = "; ".join(case.name for case in e.cases if not case.public)
        public = sum(case.points for case in e.cases if case.public)
        lines = [f"These are {public} of {e.points} points; the others are graded on: {hidden}."]
        lines += [e.hint] if e.hint else []
        for case in (case for case in e.cases if case.public):
            inputs = inputs_of(e, case, "", 0)
            expected = e.referee(**copied(inputs))
            values = expected if isinstance(expected, tuple) else (expected,)
            pairs = [[name, _floats(value)] for name, value in zip(e.outputs, values)]
            stored = {"inputs": {name: plain(value) for name, value in inputs.items()}, "expected": pairs}
            rows.setdefault(e.id, []).append({"name": case.name, "tolerance": e.tolerance, "lines": lines, **stored})
    return rows


def _floats(value: Any) -> Any:
    if isinstance(value, list):
        return [_floats(each) for each in value]
    return plain(np.array(value, dtype=np.float64))


def notebook(found: list[Cell], transform: Callable[[str], str]) -> nbformat.NotebookNode:
    """Return the notebook of a master, its code transformed."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nb = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    for number, cell in enumerate(found):
        make = nbformat.v4.new_markdown_cell if cell.kind == "markdown" else nbformat.v4.new_code_cell
        node = make(cell.source if cell.kind == "markdown" else transform(cell.source), id=f"cell-{number}")
        if cell.exercise:
            node.metadata["exercise"] = cell.exercise
        nb.cells.append(node)
    return nb


def checked(problems: ProblemSet, text: str) -> list[Cell]:
    """Return the cells of a master, if it and the specification are of one mind.

    Raises
    ------
    ValueError
        In one sentence, if exercises, functions, points or minutes differ.
    """
    found = cells(text)
    named = {cell.exercise: cell.source for cell in found if cell.exercise}
    wanted = [*problems.exercises, problems.target]
    if list(named) != [each.id for each in wanted]:
        raise ValueError(f"the master has {', '.join(named)}; the set has {', '.join(each.id for each in wanted)}")
    prose = "\n".join(cell.source for cell in found if cell.kind == "markdown")
    for each in wanted:
        defined = [n.name for n in ast.parse(solved(named[each.id])).body if isinstance(n, ast.FunctionDef)]
        if each.function not in defined:
            raise ValueError(f"{each.id} should define {each.function}, its cell defines {', '.join(defined)}")
        if f"({each.points} points, {each.minutes} minutes)" not in prose:
            raise ValueError(f"the master does not say ({each.points} points, {each.minutes} minutes) for {each.id}")
    return found


def release(problems: ProblemSet, text: str, out: Path) -> None:
    """Write ``out/student`` (notebook, check.py, public.json) and ``out/solution``.

    Raises
    ------
    ValueError
        As `checked`; if the student's files would hold a line of a solution; nothing is written then.
    """
    found, name = checked(problems, text), problems.name
    public = json.dumps(public_cases(problems))
    student = nbformat.writes(notebook(found, blank))
    for line in solution_lines(found):
        if json.dumps(line)[1:-1] in student + CHECK + public:
            raise ValueError(f"the student's files would hold a line of the solution: {line}")
    for kind, transform in (("student", blank), ("solution", solved)):
        folder = out / kind
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in (
            (f"{name}.ipynb", nbformat.writes(notebook(found, transform))),
            ("check.py", CHECK),
            ("public.json", public),
        ):
            with replacing(folder / file) as partial:
                partial.write_text(content, encoding="utf-8")


def solution_lines(found: list[Cell]) -> list[str]:
    """Return the lines between the markers that say something: longer than twelve characters, no bare comment."""
    lines = []
    for cell in (cell for cell in found if cell.exercise):
        for part in cell.source.split(BEGIN)[1:]:
            lines += [line.strip() for line in part.split(END)[0].split("\n")]
    return [line for line in lines if len(line) > 12 and not line.startswith("#")]
