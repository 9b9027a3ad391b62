"""A set as nbgrader's source notebook: hidden cases become stored numbers, drawn with the lecturer's key.

nbgrader runs tests in the student's process: who patches NumPy, or ends it, gets points there that `course.grade` does
not give.  The scores of honest submissions are the same.  The target is left out: what it measures is not for students.
"""

import json
from pathlib import Path
from typing import Any

import nbformat

from course import release
from course.grade import Drawn, Sheet
from nn.files import replacing

TEST = '''# {exercise}: {case} ({points} points)
{begin}
import json as _json
from check import compared as _compared, restored as _restored
for _case in _json.loads(r"""{data}"""):
    _result = {function}(**{{name: _restored(value) for name, value in _case["inputs"].items()}})
    _words = _compared(_result, _case["expected"], {tolerance})
    assert _words.startswith("right"), _words
{end}
'''


def export(sheet: Sheet, master: str, out: Path) -> None:
    """Write ``out/source/SET`` with the notebook and the files that it needs.

    Raises
    ------
    ValueError
        As `release.checked`.
    """
    problems = sheet.problems
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nb = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    for number, cell in enumerate(release.checked(problems, master)):
        if cell.exercise == problems.target.id:
            continue
        make = nbformat.v4.new_markdown_cell if cell.kind == "markdown" else nbformat.v4.new_code_cell
        node = make(cell.source, id=f"cell-{number}")
        nb.cells.append(node)
        if cell.exercise:
            node.metadata.update(_tags(cell.exercise.replace(".", "-"), solution=True))
            nb.cells += [_test(drawn, number, k) for k, drawn in enumerate(_of(sheet, cell.exercise))]
    folder = out / "source" / problems.name
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        f"{problems.name}.ipynb": nbformat.writes(nb),
        "check.py": release.CHECK,
        "public.json": json.dumps(release.public_cases(problems)),
    }
    for name, content in files.items():
        with replacing(folder / name) as partial:
            partial.write_text(content, encoding="utf-8")


def _of(sheet: Sheet, exercise: str) -> list[Drawn]:
    return [drawn for drawn in sheet.drawn if drawn.exercise.id == exercise]


def _test(drawn: Drawn, number: int, k: int) -> nbformat.NotebookNode:
    e, case = drawn.exercise, drawn.case
    rows = []
    for inputs, right in zip(drawn.inputs, drawn.right):
        expected = [[name, _listed(name, right)] for name in e.outputs]
        rows.append({"inputs": {n: release.plain(v) for n, v in inputs.items()}, "expected": expected})
    begin, end = ("", "") if case.public else ("### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS")
    source = TEST.format(
        exercise=e.id,
        case=case.name,
        points=case.points,
        begin=begin,
        end=end,
        data=json.dumps(rows),
        function=e.function,
        tolerance=e.tolerance,
    )
    node = nbformat.v4.new_code_cell(source, id=f"test-{number}-{k}")
    name = f"{e.id.replace('.', '-')}-{k}"
    node.metadata.update(_tags(name, grade=True, locked=True, points=case.points, cell_type="code"))
    return node


def _listed(name: str, right: dict[str, Any]) -> Any:
    if name in right:
        return release.plain(right[name])
    return [release.plain(value) for key, value in right.items() if key.startswith(f"{name}[")]


def _tags(grade_id: str, **changed: Any) -> dict[str, Any]:
    base = {"grade_id": grade_id, "grade": False, "solution": False, "locked": False, "task": False}
    return {"nbgrader": {**base, "schema_version": 3, **changed}}
