"""Every problem set: what it proves of itself, what is handed out, and what the package's own lines score."""

import importlib
import inspect
import json
import re
import runpy
import textwrap
from functools import cache

import nbformat
import numpy as np
import pytest
from ordinary_user import ROOT

from course import SETS, release, selftest
from course.spec import copied, difference, generator, inputs_of
from pruning import ledger

KEYS = [f"key {k}" for k in range(5)]
MOST_PASTED = 0.25


@cache
def problems_of(name):
    return selftest.problem_set(name)


@cache
def headings(number):
    (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return set(re.findall(r"^#+ (\d+(?:\.\d+)?)", text, re.MULTILINE))


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_solution_blank_and_every_wrong_form_score_as_they_have_to(name):
    assert selftest.complaints(problems_of(name), KEYS) == []


@pytest.mark.parametrize("name", SETS)
def test_the_proof_that_is_kept_has_all_forms_under_200_keys_and_no_complaint(name):
    text = (ROOT / "tests" / "fuzz" / "proofs" / f"{name}.txt").read_text(encoding="utf-8")
    command, made, *lines = text.splitlines()
    assert command == f"$ python -m course.selftest {name} 200" and "with changes" not in made
    assert "all as it has to be" in lines and lines[-1].startswith("exit code 0")
    problems = problems_of(name)
    for e in problems.exercises:
        for form in ("the solution", "the blank", *(wrong.name for wrong in e.wrong)):
            assert any(line.startswith(f"{e.id:12}{form:34}") for line in lines), (e.id, form)
    for form in ("the solution", *problems.target.blank):
        assert any(line.startswith(f"{problems.target.id:16}{form:44}") for line in lines), form


@pytest.mark.parametrize("name", SETS)
def test_the_blank_scores_nothing(name):
    problems, space = problems_of(name), {"np": np}
    for cell in release.cells(selftest.master(name)):
        if cell.exercise:
            exec(release.blank(cell.source), space)
    for e in (*problems.exercises, problems.target):
        function = space[e.function]
        with pytest.raises(NotImplementedError):
            function(*[None] * len(inspect.signature(function).parameters))


@pytest.mark.parametrize("name", SETS)
def test_what_it_names_is_there(name):
    problems = problems_of(name)
    assert problems.name == name
    known = {statement.id for statement in ledger.STATEMENTS}
    for e in problems.exercises:
        assert (
            e.id.split(".")[0] and e.cases[0].public and e.points >= 2 and all(case.points >= 0 for case in e.cases)
        ), e.id
        assert len({case.name for case in e.cases}) == len(e.cases) and len({w.name for w in e.wrong}) == len(e.wrong)
        assert len({w.message for w in e.wrong}) == len(e.wrong) >= 2, e.id
        for each in re.findall(r"S[0-4]-[FAQ]\d+[a-z]?|\b[CD]\d+[a-z]?\b", e.ledger):
            assert each in known, (e.id, each)
        for number, section in re.findall(r"notebook (\d\db?), section (\d+(?:\.\d+)?)", e.section):
            assert section in headings(number), (e.id, number, section)
        assert e.section.startswith("notebook "), e.id
    assert problems.target.blank, problems.target.id


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_the_packages_own_lines_score_a_quarter_at_most(name):
    pasted = runpy.run_path(str(ROOT / "tests" / "course" / "pasted" / f"{name}.py"))["PASTED"]
    problems = problems_of(name)
    assert set(pasted) <= {e.id for e in problems.exercises}
    assert {e.id for e in problems.exercises if e.package} <= set(pasted)
    got = 0
    for e in (each for each in problems.exercises if each.id in pasted):
        for _, case, group in selftest.draws(e, ["pasted"]):
            got += case.points * all(right(e, pasted[e.id], *pair) for pair in group)
    assert got <= MOST_PASTED * sum(e.points for e in problems.exercises)


def right(exercise, function, inputs, expected):
    try:
        with np.errstate(all="ignore"):
            return not difference(exercise, exercise.named(function(**copied(inputs))), expected)
    except Exception:
        return False  # the package refuses what it was not written for


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_what_the_judge_keeps_of_a_target_is_in_nothing_that_it_hands_over(name):
    target = problems_of(name).target
    inputs, hidden = target.draw(generator("key 0", target.id, "target", 0))
    given = [each for value in inputs.values() for each in (value if isinstance(value, list) else [value])]
    assert all(type(each) in (np.ndarray, int) for each in given)
    tables = [np.reshape(each, (-1, np.shape(each)[-1])) if np.ndim(each) else np.asarray(each) for each in given]
    shown = [table.tobytes(order) for table in tables for order in "CF"]
    kept = vars(hidden).values() if hasattr(hidden, "__dict__") else hidden or ()
    for value in map(np.asarray, kept):
        for row in (*value, *value.T) if value.ndim == 2 else (value,):
            if len(np.unique(row)) >= 10:  # a pixel that is black in most digits is no secret
                assert not any(np.ascontiguousarray(row).tobytes() in each for each in shown)


@pytest.fixture(params=SETS)
def released(request, tmp_path):
    release.release(problems_of(request.param), selftest.master(request.param), tmp_path)
    return request.param, tmp_path


def executed(folder, name, capsys, monkeypatch):
    """What the cells of a notebook print, executed in order in one namespace, as Jupyter does."""
    import matplotlib.pyplot as plt

    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(importlib.import_module("sys").modules, "check", raising=False)
    monkeypatch.setattr(plt, "show", lambda *a, **k: None)
    space = {"__name__": "__main__"}
    for cell in nbformat.read(folder / f"{name}.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, f"{name}.ipynb", "exec"), space)
    plt.close("all")
    return capsys.readouterr().out


def test_the_students_notebook_runs_with_blanks_in_place(released, capsys, monkeypatch):
    name, folder = released
    out = executed(folder / "student", name, capsys, monkeypatch)
    checks = [line for line in out.splitlines() if re.match(r"[a-z]+\.\d, ", line)]
    assert len(checks) == sum(case.public for e in problems_of(name).exercises for case in e.cases)
    assert all(line.endswith("not written yet") for line in checks), checks


@pytest.mark.slow
def test_with_the_solutions_in_place_all_checks_are_green(released, capsys, monkeypatch):
    name, folder = released
    out = executed(folder / "solution", name, capsys, monkeypatch)
    checks = [line for line in out.splitlines() if re.match(r"[a-z]+\.\d, ", line)]
    assert len(checks) == sum(case.public for e in problems_of(name).exercises for case in e.cases)
    assert all(": right (off by " in line for line in checks), checks


def test_no_line_of_a_solution_a_wrong_form_or_a_hidden_case_is_handed_out(released):
    name, folder = released
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((folder / "student").iterdir()))
    for line in release.solution_lines(release.cells(selftest.master(name))):
        assert json.dumps(line)[1:-1] not in text, line
    for e in problems_of(name).exercises:
        assert not any(json.dumps(w.message)[1:-1] in text or w.message in text for w in e.wrong)
        for case in (case for case in e.cases if not case.public):
            for value in inputs_of(e, case, "key 0", 0).values():
                if isinstance(value, np.ndarray) and value.dtype == np.float64 and value.size > 3:
                    assert json.dumps(value.ravel().tolist())[1:-1] not in text
    assert "referee" not in (folder / "student" / "check.py").read_text(encoding="utf-8")


def test_students_need_numpy_and_matplotlib_only_and_cells_are_short(released):
    name, folder = released
    for cell in nbformat.read(folder / "student" / f"{name}.ipynb", as_version=4).cells:
        if cell.cell_type != "code":
            continue
        assert len(cell.source.splitlines()) <= 15, cell.source
        assert max(map(len, cell.source.splitlines()), default=0) <= 100, cell.source
        imports = re.findall(r"^(?:from|import) (\w+)", cell.source, re.MULTILINE)
        assert set(imports) <= {"numpy", "matplotlib", "check"}, imports


@pytest.mark.parametrize("name", SETS)
def test_questions_say_points_minutes_and_what_is_graded(name):
    problems = problems_of(name)
    cells = release.checked(problems, selftest.master(name))
    prose = "\n".join(cell.source for cell in cells if cell.kind == "markdown")
    for e in problems.exercises:
        assert re.search(rf"^## Exercise {re.escape(e.id)} ", prose, re.MULTILINE), e.id
        assert textwrap.shorten(e.formula, 1000) and "\n" not in e.formula
    assert "## Target" in prose and "nn" in prose
