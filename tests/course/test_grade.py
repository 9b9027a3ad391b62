"""The grader against accidents, attacks and bad input: what is lost is that exercise, and nothing else.

All of it is graded in one run of the command, as an ordinary user; a submission is the solution of the set with one
exercise done badly.  What an attack could have reached is looked at afterwards.
"""

import csv
import dataclasses
import hashlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import nbformat
import numpy as np
import pytest
from ordinary_user import ROOT, command, missing, place, room, run

from course import grade, release, selftest
from course.spec import Case

__all__ = ["place"]
SECONDS = 4
VICTIM = "boundary_hessian"
HEAD = f"def {VICTIM}(y, df, d2f, d, c):\n    "
ACCIDENTS = {
    "endless loop": HEAD + "while True: pass",
    "sys exit": "import sys\n" + HEAD + "sys.exit(0)",
    "os exit": "import os\n" + HEAD + "os._exit(0)",
    "memory": HEAD + "return np.ones(10**10)",
    "deep recursion": HEAD + f"return {VICTIM}(y, df, d2f, d, c)",
    "none": HEAD + "pass",
    "wrong shape": HEAD + "return np.zeros(7)",
    "not a number": HEAD + "return y * np.nan",
    "changed argument": HEAD + "y *= 0\n    return 2 * c * (df * df - (d - y) * d2f)",
    "name error": HEAD + "return 2 * c * (df * df - (d - scratch) * d2f)",
    "too many results": HEAD + "return y, y",
    "text": HEAD + "return 'right'",
    "huge output": HEAD + "print('x' * 10**7)\n    return y",
    "threads left running": "import threading, time\n"
    + HEAD
    + "threading.Thread(target=time.sleep, args=(60,)).start()\n    return y",
}
EVERYTHING = """
class Same(np.ndarray):
    def __eq__(self, other): return True
    def __sub__(self, other): return np.zeros(1)
    def __array_function__(self, *a, **k): return True
"""
ATTACKS = {
    "patched numpy": "np.linalg.norm = lambda *a, **k: 0.0\nnp.testing.assert_allclose = print\n" + HEAD + "return y",
    "patched when called": HEAD
    + "np.linalg.norm = lambda *a, **k: 0.0\n    np.array_equal = lambda *a: True\n    return y",
    "frames": "import sys\n"
    + HEAD
    + "f, found = sys._getframe(), 0 * y\n    while f:\n        found = f.f_locals.get('right', found)\n"
    "        f = f.f_back\n    return found",
    "equal to everything": EVERYTHING + HEAD + "return y.view(Same)",
    "forged frame": "import os, struct\n"
    + HEAD
    + "for k in range(3, 20):\n        try: os.write(k, struct.pack('<Q', 4) + b'fake')\n        except OSError: pass\n"
    "    return y",
    "pickle": "import io, os, struct\nclass Bomb:\n    def __reduce__(self):\n"
    "        return (os.system, ('touch OUT/pickled',))\n"
    + HEAD
    + "b = io.BytesIO()\n    np.savez(b, r0=np.array([Bomb()], dtype=object))\n    for k in range(3, 20):\n"
    "        try: os.write(k, struct.pack('<Q', len(b.getvalue())) + b.getvalue())\n        except OSError: pass\n"
    "    return y",
    "oversized frame": "import os, struct\n"
    + HEAD
    + "for k in range(3, 20):\n        try: os.write(k, struct.pack('<Q', 2**40))\n        except OSError: pass\n"
    "    return y",
    "reads files": HEAD
    + "return np.array([len(open(p).read()) for p in ('OUT/secret', 'OUT/subs/right.py')]).sum() + y",
    "writes outside": HEAD + "open('OUT/written', 'w').write('x')\n    return y",
    "network": "import socket\n" + HEAD + "socket.create_connection(('127.0.0.1', PORT), 2)\n    return y",
    "kills its parent": "import os\n" + HEAD + "os.kill(os.getppid(), 9)\n    return y",
    "kills everybody": "import os\n" + HEAD + "os.kill(-1, 9)\n    return y",
    "fork bomb": "import os\n" + HEAD + "while True: os.fork()",
    "imports the reference": "import nn\n" + HEAD + "return nn.SquaredError",
    "environment": "import os\n" + HEAD + "return float(os.environ['COURSE_KEY']) + y",
}
HANGS = "def anything(x=__import__('time').sleep(100)): pass\n"


def solution():
    cells = [cell for cell in release.cells(selftest.master("obd")) if cell.kind == "code"]
    return "\n# %%\n".join(release.solved(cell.source) for cell in cells)


@pytest.fixture(scope="module")
def folder():
    if missing():
        pytest.skip(missing())
    with room() as found:
        yield found


@pytest.fixture(scope="module")
def graded(folder):
    """Every submission, and the reports of one run."""
    (folder / "secret").write_text("the key")
    subs = folder / "subs"
    subs.mkdir()
    right, heard, port = solution(), [], socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=lambda: heard.append(port.accept()), daemon=True).start()
    for name, attack in {**ACCIDENTS, **ATTACKS}.items():
        attack = attack.replace("OUT", str(folder)).replace("PORT", str(port.getsockname()[1]))
        (subs / f"{name}.py").write_text(f"{right}\n# %%\n{attack}\n", encoding="utf-8")
    (subs / "hangs at load.py").write_text(f"{HANGS}\n# %%\n{right}", encoding="utf-8")
    (subs / "right.py").write_text(right, encoding="utf-8")
    (subs / "scratch.py").write_text(
        f"# %%\nthis is no Python\n# %%\n{right}\n# %%\nscratch = train(", encoding="utf-8"
    )
    (subs / "report.pdf").write_bytes(b"%PDF-1.7")
    (subs / "other course.ipynb").write_text(nbformat.writes(nbformat.v4.new_notebook()), encoding="utf-8")
    (subs / "old.ipynb").write_text(json.dumps({"nbformat": 3, "worksheets": []}), encoding="utf-8")
    (subs / "Zoë Müller.py").write_text(right, encoding="utf-8")
    for name in ("twice.py", "twice.ipynb"):
        (subs / name).write_text(right, encoding="utf-8")
    before = sorted(path.name for path in folder.iterdir())
    done = run(folder, "grade", "obd", subs, "--key", "k 1", "--out", folder / "out", "--seconds", SECONDS)
    assert done.returncode == 0, done.stderr[-2000:]
    left = sorted(path.name for path in folder.iterdir() if path.name != "out")
    reports = {each["student"]: each for each in json.loads((folder / "out" / "results.json").read_text())["reports"]}
    return reports, before == left, heard


def lost(report):
    return {verdict["exercise"] for verdict in report["verdicts"] if verdict["points"] < verdict["of"]}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["right", "scratch", "Zoë Müller"])
def test_the_solution_gets_all_points_whatever_stands_in_scratch_cells_or_in_the_name(graded, name):
    assert lost(graded[0][name]) == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", ACCIDENTS)
def test_an_accident_costs_its_exercise_and_nothing_else(graded, name):
    assert lost(graded[0][name]) == {"obd.1"}
    assert all(v["message"] for v in graded[0][name]["verdicts"] if v["exercise"] == "obd.1")


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_gets_nothing(graded, name):
    points = sum(v["points"] for v in graded[0][name]["verdicts"] if v["exercise"] == "obd.1")
    assert points == 0


@pytest.mark.slow
def test_nothing_was_read_written_or_heard_outside(graded):
    _, untouched, heard = graded
    assert untouched and not heard


@pytest.mark.slow
def test_what_hangs_while_it_is_loaded_is_given_up_once(graded):
    report = graded[0]["hangs at load"]
    assert report["note"] == f"while the definitions were loaded: no answer after {SECONDS} s"
    assert sum(v["points"] for v in report["verdicts"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("report", "expected a notebook (.ipynb) or a script (.py), got report.pdf"),
        ("other course", "none of the functions of obd is defined: is this another sheet?"),
        ("old", "expected a notebook of nbformat 4, got 3 in old.ipynb; save it anew with Jupyter"),
        ("twice", "there are 2 files of this student: twice.ipynb, twice.py"),
    ],
)
def test_bad_submissions_are_a_row_and_a_sentence(graded, name, words):
    assert graded[0][name]["note"] == words and sum(v["points"] for v in graded[0][name]["verdicts"]) == 0


@pytest.mark.slow
def test_messages_say_what_went_wrong(graded):
    reports = graded[0]
    first = {name: reports[name]["verdicts"][0]["message"] for name in ACCIDENTS}
    assert first["endless loop"] == f"no answer after {SECONDS} s"
    assert first["none"].endswith("returns None")
    assert first["wrong shape"].startswith("ha has the shape (7,), expected")
    assert first["changed argument"] == "the argument y was changed in place"
    assert re.match(r"NameError: .* Only imports, functions, classes and literal constants", first["name error"])
    assert "nan or inf" in first["not a number"]
    assert reports["imports the reference"]["flags"] == ["imports nn"]


# ---- the command -----------------------------------------------------------------------------------------------------
def some(folder, number):
    subs = folder / "subs"
    subs.mkdir()
    for k in range(number):
        (subs / f"student {k}.py").write_text(solution() + f"\n# %%\nK = {k}\n", encoding="utf-8")
    return subs


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_to_the_same_table(place):
    subs = some(place, 6)
    whole = run(place, "grade", "obd", subs, "--key", "k", "--out", place / "whole")
    assert whole.returncode == 0, whole.stderr[-2000:]
    arguments = ["-m", "course", "grade", "obd", str(subs), "--key", "k", "--out", str(place / "killed")]
    for wait in (1.5, 3, 4, 5, 6):
        process = subprocess.Popen(
            [*command(place), sys.executable, *arguments],
            cwd=place,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = run(place, "grade", "obd", subs, "--key", "k", "--out", place / "killed")
    assert done.returncode == 0, done.stderr[-2000:]
    assert (place / "killed" / "grades.csv").read_bytes() == (place / "whole" / "grades.csv").read_bytes()
    again = run(place, "grade", "obd", subs, "--key", "other", "--out", place / "whole")
    assert again.returncode == 2 and "holds grades of another key; say --regrade" in again.stderr
    (subs / "student 0.py").write_text("# nothing\n", encoding="utf-8")
    again = run(place, "grade", "obd", subs, "--key", "k", "--out", place / "whole", "--regrade")
    changed = [line for line in again.stdout.splitlines() if " before, 0 now" in line]
    assert again.returncode == 0 and len(changed) == len(grade.sheet(selftest.problem_set("obd"), "k").drawn) + 1
    assert all(line.startswith("student 0: ") for line in changed)


@pytest.mark.slow
def test_grades_are_a_table_that_spreadsheets_read(graded, folder):
    with (folder / "out" / "grades.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    right = next(row for row in rows if row["student"] == "right")
    assert right["score"] == right["of"] and right["sha256"] == hashlib.sha256(solution().encode()).hexdigest()[:12]
    assert [row["student"] for row in rows] == sorted(row["student"] for row in rows)
    page = (folder / "out" / "students" / "none" / "feedback.html").read_text(encoding="utf-8")
    assert "returns None" in page and "<script" not in page
    for row in json.loads((folder / "out" / "students" / "none" / "results.json").read_text())["tests"]:
        assert row["score"] <= row["max_score"] and row["visibility"] in ("visible", "after_published")


def test_the_command_refuses_what_it_cannot_grade(tmp_path, capsys, monkeypatch):
    from course import __main__ as course

    def said(*arguments):
        code = course.main([*map(str, arguments)])
        return code, capsys.readouterr().err.strip()

    subs = tmp_path / "subs"
    subs.mkdir()
    common = ["grade", "obd", subs, "--out", tmp_path / "out"]
    monkeypatch.setattr("os.geteuid", lambda: 0)
    code, words = said(*common, "--key", "k", "--trusted")
    assert code == 2 and words.startswith("error: as root the number of a student's processes has no limit")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("course.sandbox.caged", lambda: False)
    code, words = said(*common, "--key", "k")
    assert code == 2 and "accidents are caught then, intent is not" in words
    code, words = said(*common, "--key", "k", "--trusted")
    assert code == 2 and words.endswith("is empty: there is nothing to grade")
    (subs / "a.py").write_text("K = 1\n", encoding="utf-8")
    code, words = said(*common, "--key", "", "--trusted")
    assert code == 2 and words == "error: expected a key, any secret text, got one of length zero"
    code, words = said(*common, "--key", "k", "--trusted", "--jobs", "0")
    assert code == 2 and "expected at least one job" in words
    code, words = said(*common, "--key", "k", "--trusted", "--seconds", "inf")
    assert code == 2 and "more than 0 seconds, got 2 and inf" in words
    for inside in (subs, subs / "graded"):
        code, words = said("grade", "obd", subs, "--out", inside, "--key", "k", "--trusted")
        assert code == 2 and "lies in the folder of the submissions" in words


def broken(problems, change):
    first = dataclasses.replace(problems.exercises[0], **change(problems.exercises[0]))
    return dataclasses.replace(problems, exercises=(first, *problems.exercises[1:]))


@pytest.mark.slow
def test_a_set_that_does_not_grade_itself_right_grades_nothing(tmp_path, capsys, monkeypatch):
    from course import __main__ as course

    (tmp_path / "subs").mkdir()
    (tmp_path / "subs" / "a.py").write_text("K = 1\n", encoding="utf-8")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("course.sandbox.caged", lambda: False)
    arguments = ["grade", "obd", str(tmp_path / "subs"), "--key", "k", "--out", str(tmp_path / "out"), "--trusted"]
    changes = {
        "gets 0 of": lambda e: {"referee": lambda **inputs: 2 * e.referee(**inputs)},
        "fails on the case": lambda e: {"referee": lambda **inputs: 1 / 0},
        "the blank gets": lambda e: {"cases": (*e.cases, Case("no draws", 1, e.cases[0].draw, draws=0))},
    }
    whole = selftest.problem_set("obd")
    for words, change in changes.items():
        found = broken(whole, change)
        monkeypatch.setattr(selftest, "problem_set", lambda name, found=found: found)
        assert course.main(arguments) == 1
        said = capsys.readouterr().err.strip().splitlines()
        assert len(said) == 1 and words in said[0] and said[0].endswith("nothing was graded"), said
        assert not (tmp_path / "out" / "grades.csv").exists()


def test_hidden_numbers_hang_on_the_key_and_public_ones_do_not():
    problems = selftest.problem_set("obd")
    one, other, again = (grade.sheet(problems, key) for key in ("a", "b", "a"))
    for k, drawn in enumerate(one.drawn):
        same = [np.array_equal(drawn.right[0][name], other.drawn[k].right[0][name]) for name in drawn.right[0]]
        assert all(same) if drawn.case.public else not all(same) or drawn.case.draws > 1, drawn.case.name
        assert all(np.array_equal(drawn.right[0][name], again.drawn[k].right[0][name]) for name in drawn.right[0])


LOOKS = """
from course import sandbox
source = "import os\\ndef f(): return float(len(os.listdir('/home')) + 10 * ('key' in str(os.environ)))"
with sandbox.Student([source]) as student:
    print(student.call("f", {}), student.problems)
"""


def test_the_cage_shows_one_empty_folder_and_no_key(place):
    done = subprocess.run(
        [*command(place), sys.executable, "-c", LOOKS],
        cwd=place,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "SECRET": "key"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["1.0"], done.stderr[-1000:]
