"""A set as nbgrader's source notebook: its cells, and its scores beside ours where nbgrader is installed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from course import grade, nbgrader_export, release, selftest
from course.submission import Submission, definitions

WRONG = {
    "solution": ("", ""),
    "factor": ("return 2 * c * (", "return c * ("),
    "cross term": ("+ hkl * u[0]", "+ 0.5 * hkl * u[0]"),
}


@pytest.fixture(scope="module")
def sheet():
    return grade.sheet(selftest.problem_set("obd"), "k 1")


@pytest.fixture(scope="module")
def source(sheet, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nbgrader")
    nbgrader_export.export(sheet, selftest.master("obd"), folder)
    return folder / "source" / "obd"


def metadata(cell):
    return cell.metadata.get("nbgrader", {})


def test_every_exercise_is_followed_by_the_tests_of_its_cases_and_the_target_is_left_out(sheet, source):
    cells = nbformat.read(source / "obd.ipynb", as_version=4).cells
    names = [metadata(cell).get("grade_id") for cell in cells if metadata(cell)]
    expected = []
    for e in sheet.problems.exercises:
        name = e.id.replace(".", "-")
        expected += [name, *(f"{name}-{k}" for k in range(len(e.cases)))]
    assert names == expected
    tests = [cell for cell in cells if metadata(cell).get("grade")]
    assert sum(metadata(cell)["points"] for cell in tests) == sum(e.points for e in sheet.problems.exercises)
    for cell, drawn in zip(tests, sheet.drawn):
        assert ("### BEGIN HIDDEN TESTS" in cell.source) is not drawn.case.public
        assert metadata(cell)["locked"] and cell.cell_type == "code"
    assert not any(f"def {sheet.problems.target.function}(" in cell.source for cell in cells)
    assert (source / "check.py").read_text(encoding="utf-8") == release.CHECK


def scores(source, edit, monkeypatch):
    """The points of each exercise when the notebook's own tests run in the student's process."""
    monkeypatch.chdir(source)
    monkeypatch.syspath_prepend(str(source))
    monkeypatch.delitem(sys.modules, "check", raising=False)
    space, found = {"__name__": "__main__"}, {}
    for cell in nbformat.read(source / "obd.ipynb", as_version=4).cells:
        if metadata(cell).get("solution"):
            exec(release.solved(cell.source).replace(*edit) if edit else release.blank(cell.source), space)
        elif metadata(cell).get("grade"):
            exercise = metadata(cell)["grade_id"].rpartition("-")[0].replace("-", ".")
            found.setdefault(exercise, 0)
            try:
                exec(cell.source, space)
            except (AssertionError, NotImplementedError):
                continue
            found[exercise] += metadata(cell)["points"]
        elif cell.cell_type == "code" and cell.source.startswith("import"):
            exec(cell.source, space)
    return found


def ours(sheet, edit):
    cells = [cell for cell in release.cells(selftest.master("obd")) if cell.kind == "code"]
    sources = [release.solved(cell.source).replace(*edit) if edit else release.blank(cell.source) for cell in cells]
    pieces = [piece for text in sources for piece in definitions(text)[0]]
    report = grade.graded(sheet, Submission("a", Path("a"), pieces))
    return {e.id: report.score(e.id) for e in sheet.problems.exercises}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*WRONG, "blank"])
def test_honest_submissions_score_as_in_our_grader(sheet, source, name, monkeypatch):
    monkeypatch.setattr("course.sandbox.caged", lambda: False)
    edit = WRONG.get(name)
    assert scores(source, edit, monkeypatch) == ours(sheet, edit)


@pytest.mark.slow
def test_nbgraders_own_commands_give_the_same_scores(sheet, source, tmp_path, monkeypatch):
    program = shutil.which("nbgrader", path=str(Path(sys.executable).parent)) or shutil.which("nbgrader")
    if program is None:
        pytest.skip("nbgrader is not installed (extra nbgrader)")
    monkeypatch.setattr("course.sandbox.caged", lambda: False)
    shutil.copytree(source, tmp_path / "source" / "obd")
    (tmp_path / "nbgrader_config.py").write_text(f"c = get_config()\nc.CourseDirectory.root = {str(tmp_path)!r}\n")

    def run(*command):
        done = subprocess.run([program, *command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]

    run("generate_assignment", "obd", "--force")
    released = nbformat.read(tmp_path / "release" / "obd" / "obd.ipynb", as_version=4)
    whole = {cell.id: cell.source for cell in nbformat.read(source / "obd.ipynb", as_version=4).cells}
    for name in (*WRONG, "blank"):
        folder = tmp_path / "submitted" / name.replace(" ", "_") / "obd"
        shutil.copytree(tmp_path / "release" / "obd", folder)
        handed_in = json.loads(nbformat.writes(released))
        for cell in handed_in["cells"]:
            if cell["metadata"].get("nbgrader", {}).get("solution") and name != "blank":
                cell["source"] = release.solved(whole[cell["id"]]).replace(*WRONG[name])
        (folder / "obd.ipynb").write_text(json.dumps(handed_in), encoding="utf-8")
    run("autograde", "obd", "--force")
    run("export", f"--to={tmp_path / 'grades.csv'}")
    rows = [line.split(",") for line in (tmp_path / "grades.csv").read_text(encoding="utf-8").splitlines()]
    column = {name: k for k, name in enumerate(rows[0])}
    got = {row[column["student_id"]]: float(row[column["raw_score"]]) for row in rows[1:]}
    for name in (*WRONG, "blank"):
        assert got[name.replace(" ", "_")] == sum(ours(sheet, WRONG.get(name)).values()), name
