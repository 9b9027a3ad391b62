"""The lecturer's page: its commands are commands, its files are written, its weeks fit what the sets ask for."""

import csv
import re
import shlex

import pytest
from ordinary_user import ROOT, place, run

from course import __main__ as course
from course import release, selftest, submission

__all__ = ["place"]
PAGE = (ROOT / "course" / "lecturer.md").read_text(encoding="utf-8")
WEEKS = [[cell.strip() for cell in row.split("|")[1:-1]] for row in re.findall(r"^\| \d+ \|.*$", PAGE, re.MULTILINE)]
COMMANDS = [shlex.split(each) for each in re.findall(r"(?:`|^ {4})python -m (.*?)(?:`|$)", PAGE, re.MULTILINE)]
SUBMISSION = "import os\ndef boundary_hessian(y, df, d2f, d, c):\n    return 2 * c * df * df\n"


def test_every_command_is_one():
    assert {words[1] for words in COMMANDS if words[0] == "course"} == {"release", "grade", "selftest", "nbgrader"}
    for module, *words in COMMANDS:
        assert module in ("course", "pruning")
        if module == "course":
            assert course._parser().parse_args(words).command
    assert any("--regrade" in words for words in COMMANDS)


def test_paths_are_there_and_numbers_are_those_of_the_code():
    for path in re.findall(r"`((?:tests|notebooks)/[\w/.]+)`", PAGE):
        assert (ROOT / path).exists(), path
    assert re.search(r"^\.venv/ready:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert submission.LARGEST == 10 * 2**20 and "files above\n10 MB and code above 1 MB" in PAGE
    assert submission.MOST_CODE == 2**20
    grading = next(words for _, *words in COMMANDS if words[0] == "grade")
    assert course._parser().parse_args(grading).jobs == 2 and "two at a time" in PAGE


def test_what_is_handed_out_is_what_the_page_names(tmp_path):
    release.release(selftest.problem_set("obd"), selftest.master("obd"), tmp_path)
    named = re.search(r"`out/obd/student` has the notebook\n`(.*?)`, `(.*?)` and `(.*?)`", PAGE).groups()
    assert sorted(path.name for path in (tmp_path / "student").iterdir()) == sorted(named)
    assert (tmp_path / "solution" / "obd.ipynb").exists()


# ---- twelve weeks ----------------------------------------------------------------------------------------------------
def exercises_of(cell):
    """The exercises and targets of a cell such as "D back (4, 5, target), F obd", by id, with what they cite."""
    for name, part in re.findall(r"[A-I] (\w+)(?: \(([^)]*)\))?", cell):
        problems = selftest.problem_set(name)
        chosen = []
        for word in re.split(r", ", part) if part else ["1 to 99", "target", *dict.fromkeys(prefixes(problems))]:
            first, _, last = word.partition(" to ")
            numbers = range(int(first), int(last or first) + 1) if first.isdigit() else ()
            for each in (*problems.exercises, problems.target):
                kind, _, number = each.id.partition(".")
                if number == word or kind == word or (number.isdigit() and int(number) in numbers):
                    chosen.append(each)
        yield from {each.id: each for each in chosen}.values()


def prefixes(problems):
    return [e.id.split(".")[0] for e in problems.exercises]


def test_every_notebook_has_its_week_and_its_answers():
    assert [int(week) for week, *_ in WEEKS] == list(range(1, 13))
    listed = [each for _, _, notebooks, _ in WEEKS for each in notebooks.split(", ")]
    there = [path.name.split("_")[0] for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")]
    assert sorted(listed) == sorted(there)
    for each in there:
        assert (ROOT / "notebooks" / "answers" / f"{each}.md").exists(), each


def test_every_exercise_has_one_week():
    given = [each.id for *_, cell in WEEKS for each in exercises_of(cell)]
    sets = [selftest.problem_set(name) for name in course.SETS]
    assert sorted(given) == sorted(each.id for s in sets for each in (*s.exercises, s.target))
    letters = dict(re.findall(r"([A-I]) (\w+)", " ".join(cell for *_, cell in WEEKS)))
    assert sorted(letters) == list("ABCDEFGHI") and sorted(letters.values()) == sorted(course.SETS)


def test_no_exercise_comes_before_a_notebook_that_it_cites():
    seen = set()
    for week, _, notebooks, cell in WEEKS:
        seen |= set(notebooks.split(", "))
        for each in exercises_of(cell):
            assert set(re.findall(r"notebook (\d\db?)", each.section)) <= seen, (week, each.id, each.section)


def test_hours_are_those_of_the_sets_and_sources_are_named():
    sets = [selftest.problem_set(name) for name in course.SETS]
    hours = [sum(e.minutes for e in s.exercises) / 60 for s in sets]
    assert "two to three and a half hours" in PAGE and 2 <= min(hours) and max(hours) <= 3.5
    assert all(s.target.minutes == 60 for s in sets)
    known = set(re.findall(r"(S\d), [A-Z]", PAGE))
    assert {e.slide.split(",")[0] for s in sets for e in s.exercises} <= known


# ---- from Thursday to Friday -----------------------------------------------------------------------------------------
@pytest.mark.slow
def test_thursday_and_friday_as_written(place):
    handed_in = place / "SUBMISSIONS"
    (handed_in / "ben").mkdir(parents=True)
    (handed_in / "anna.py").write_text(SUBMISSION, encoding="utf-8")
    (handed_in / "ben" / "obd (1).py").write_text("def boundary_hessian(:", encoding="utf-8")
    (handed_in / "carl.pdf").write_bytes(b"%PDF-1.4")
    grading = [words for _, *words in COMMANDS if words[0] == "grade"]
    done = [run(place, *words) for words in grading]
    assert [each.returncode for each in done] == [0, 0], done[0].stderr[-500:]
    assert "no score changed" in done[1].stdout and "no score changed" in PAGE
    out = place / "out" / "graded"
    for name in ("grades.csv", "results.json", *(f"students/{each}" for each in ("anna", "ben", "carl"))):
        assert (out / name).exists(), name
    assert {path.name for path in (out / "students" / "anna").iterdir()} == {"feedback.html", "results.json"}
    table = (out / "grades.csv").read_text(encoding="utf-8").splitlines()
    rows = {row["student"]: row for row in csv.DictReader(table)}
    assert rows["carl"]["score"] == "0" and "carl.pdf" in rows["carl"]["note"]
    assert rows["anna"]["look at"] == "imports os"
    assert "f″ term is missing" in (out / "students" / "anna" / "feedback.html").read_text(encoding="utf-8")
    other = run(place, *grading[0][:-4], "--key", "another", "--out", "out/graded")
    assert other.returncode == 2 and "say --regrade" in other.stderr
