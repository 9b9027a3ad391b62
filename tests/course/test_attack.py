"""A hostile and a careless student against everything around the grades: what they hand in, say and leave behind."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ordinary_user import ROOT, command, place, run

from course import grade, release, report, sandbox, selftest, submission
from course.grade import Report, Verdict
from course.sandbox import Failed, Stopped, Student
from course.worker import text

__all__ = ["place"]


def solution():
    cells = [cell for cell in release.cells(selftest.master("obd")) if cell.kind == "code"]
    return "\n# %%\n".join(release.solved(cell.source) for cell in cells)


# ---- what is handed in -----------------------------------------------------------------------------------------------
def refused(folder, **keywords):
    return {each.student: each.refused for each in submission.found(folder)}


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "secret.py").write_text("def f(): pass\n", encoding="utf-8")
    subs = tmp_path / "subs"
    (subs / "ben").mkdir(parents=True)
    (subs / "anna.py").symlink_to(tmp_path / "secret.py")
    (subs / "ben" / "obd.py").symlink_to(tmp_path / "secret.py")
    (subs / "carl").symlink_to(tmp_path)
    found = submission.found(subs)
    assert [each.student for each in found] == ["anna", "ben", "carl"]
    assert all("a link to another" in each.refused and not each.pieces for each in found)
    assert len({grade.digest_of(each.path) for each in found}) == 3


def test_a_pipe_a_folder_and_what_is_closed_are_rows(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "deep" / "obd.py").mkdir(parents=True)
    (tmp_path / "closed.py").write_text("K = 1\n", encoding="utf-8")
    (tmp_path / "shut").mkdir()
    read, listed = Path.read_text, Path.iterdir

    def closed(path, name, of):
        if path.name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return of(path)

    monkeypatch.setattr(Path, "read_text", lambda path, **_: closed(path, "closed.py", read))
    monkeypatch.setattr(Path, "read_bytes", lambda path: closed(path, "closed.py", bytes))
    monkeypatch.setattr(Path, "iterdir", lambda path: closed(path, "shut", listed))
    found = submission.found(tmp_path)
    assert [each.student for each in found] == ["closed", "deep", "pipe", "shut"]
    assert all(each.refused and not each.pieces for each in found)
    assert all(len(grade.digest_of(each.path)) == 64 for each in found)


@pytest.mark.parametrize(
    "source",
    ["a=1\n" * 100_000, "x = " + "1+" * 100_000 + "1", "x = " + "-" * 100_000 + "1", "#" * (submission.MOST_CODE + 1)],
    ids=["many constants", "long sum", "many signs", "much code"],
)
def test_source_made_to_choke_the_reader_is_a_refusal_or_a_flag(tmp_path, source):
    (tmp_path / "a.py").write_text(source, encoding="utf-8")
    before = time.process_time()
    (found,) = submission.found(tmp_path)
    assert (found.refused or found.flags) and not found.pieces
    assert time.process_time() - before < 20


@pytest.mark.parametrize("cell", ["[" * 900 + "]" * 900, '"\\ud800"', '[{"a": "\\ud800"}]', "1e999"])
def test_a_notebook_of_odd_values_is_read_or_refused(tmp_path, cell):
    nb = f'{{"nbformat": 4, "cells": [{{"cell_type": "code", "source": {cell}}}]}}'
    (tmp_path / "a.ipynb").write_text(nb, encoding="utf-8")
    (tmp_path / "b.ipynb").write_text(f'{{"nbformat": {cell}, "cells": []}}', encoding="utf-8")
    for each in submission.found(tmp_path):
        assert not each.pieces and len(each.refused) <= 500
        json.dumps([each.refused, each.flags], ensure_ascii=False).encode()


def test_a_name_that_is_no_text_is_a_row_and_can_be_written(tmp_path):
    subs, out = tmp_path / "subs", tmp_path / "out"
    subs.mkdir()
    out.mkdir()
    for name in (b"a\xff.py", b"a\xfe.py", b"new\nline.pdf", b"\xff" * 200 + b".py"):
        Path(os.fsdecode(bytes(subs) + b"/" + name)).write_bytes(b"%PDF")
    found = [submission.Submission(each.student, each.path, refused="no") for each in submission.found(subs)]
    assert len({each.student for each in found}) == 4
    sheet = grade.Sheet(selftest.problem_set("obd"), [], {})
    report.write(out, grade.folder(sheet, "k", found, out), sheet, "mark")
    with (out / "grades.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 4


def test_two_forms_of_one_name_are_one_student(tmp_path):
    for name in ("Zo\u00eb.py", "Zoe\u0308.py"):
        (tmp_path / name).write_text("K = 1\n", encoding="utf-8")
    assert list(refused(tmp_path)) == ["Zo\u00eb"]
    assert refused(tmp_path)["Zo\u00eb"].startswith("there are 2 files of this student")


def test_a_line_that_goes_on_with_a_remainder_is_no_magic():
    kept, _ = submission.definitions("def f(a, b):\n    return (a\n        % b)\n")
    space = {}
    exec(kept[0], space)
    assert space["f"](7, 4) == 3
    assert submission.definitions("%%time\nK = 1\n!ls\n")[0] == ["\nK = 1"]


def test_a_separator_in_a_comment_costs_nothing():
    kept, flags = submission.definitions("# one\u2028two\x0c\r\nK = 1\n")
    assert [piece.strip() for piece in kept] == ["K = 1"] and not flags


# ---- what comes back -------------------------------------------------------------------------------------------------
def forged(kinds):
    return {"kinds": text(kinds), "changed": text("")}


@pytest.mark.parametrize(
    "kinds",
    [
        '{"r0": ["value", 1' + "0" * 400 + "]}",
        '{"r0": ["value", "1.0"]}',
        '{"r0": ["value", ' + "[" * 400 + "]" * 400 + "]}",
        "[" * 100_000,
        '{"r0": ["list", 1e99]}',
        '{"r0": ["list", 1000000000000]}',
        "[]",
    ],
    ids=["endless number", "word", "deep list", "deeper", "fraction", "long list", "no dictionary"],
)
def test_forged_values_are_no_answer_and_end_nothing(kinds, monkeypatch):
    student = Student([])
    monkeypatch.setattr(student, "start", lambda: None)
    monkeypatch.setattr(student, "_exchange", lambda *_: forged(kinds))
    with student, pytest.raises(Failed, match="no readable answer"):
        student.call("f", {})


def test_a_forged_message_is_short_and_steers_no_terminal(monkeypatch):
    student = Student([])
    monkeypatch.setattr(student, "start", lambda: None)
    monkeypatch.setattr(student, "_exchange", lambda *_: {"error": text("\x1b[2J" + "x" * 10**6)})
    with student, pytest.raises(Failed) as error:
        student.call("f", {})
    assert str(error.value).startswith("?[2Jxx") and len(str(error.value)) <= 2000


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
def test_a_bomb_that_lies_about_its_size_is_not_unfolded(method):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("x.npy", b"\0" * 1000)
    with pytest.raises(Failed, match="no readable answer"):
        sandbox._opened(buffer.getvalue())


def test_thousands_of_arrays_are_refused_on_both_sides(monkeypatch):
    monkeypatch.setattr(sandbox, "caged", lambda: False)
    with Student(["def f(): return [1.0] * 5000\ndef g(): return [1j, 2.0]\ndef h(): return [1 + 0j, 2.0]"]) as student:
        with pytest.raises(Failed, match="f returns lists of more than 1000 arrays"):
            student.call("f", {})
        with pytest.raises(Failed, match="complex numbers are returned, expected real ones"):
            student.call("g", {})
        assert [float(each) for each in student.call("h", {})] == [1, 2]
    buffer = io.BytesIO()
    np.savez(buffer, **{f"a{k}": 1 for k in range(sandbox.MOST_ENTRIES + 1)})
    with pytest.raises(Failed, match="too large"):
        sandbox._opened(buffer.getvalue())


def test_a_result_that_no_measure_foresaw_costs_the_target_only():
    import dataclasses

    problems = selftest.problem_set("obd")
    target = dataclasses.replace(problems.target, measure=lambda *_: _[2][10**400], draw=lambda rng: ({}, None))
    sheet = grade.Sheet(dataclasses.replace(problems, target=target), [], {})

    class Answers:
        def call(self, *_):
            raise OverflowError("too large")

    verdict = grade._target(Answers(), sheet, Report("a", "a.py", "0"))
    assert verdict.points == 0 and verdict.message.endswith("cannot be measured: too large")


# ---- what is written -------------------------------------------------------------------------------------------------
def test_no_cell_of_the_table_is_a_formula(tmp_path):
    sheet = grade.Sheet(selftest.problem_set("obd"), [], {})
    bad = Report("=cmd|' /C calc'!A0", "=x.py", "0", [Verdict("obd.1", "c", 0, 1, True)], ["@SUM(1)"], " -1+1")
    report.write(tmp_path, [bad], sheet, "mark")
    with (tmp_path / "grades.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    for name in ("student", "look at", "note", "file"):
        assert row[name].startswith("'")


def test_a_kept_report_that_was_cut_off_is_graded_again(tmp_path):
    sheet = grade.Sheet(selftest.problem_set("obd"), [], {})
    one = submission.Submission("a", tmp_path / "a.py", refused="no")
    reports = grade.folder(sheet, "k", [one], tmp_path)
    (kept,) = (tmp_path / "graded").iterdir()
    for content in ("", '{"student": "a"', "[]", '{"verdicts": [], "more": 1}'):
        kept.write_text(content, encoding="utf-8")
        assert grade.folder(sheet, "k", [one], tmp_path) == reports


def test_what_was_graded_without_a_cage_or_in_other_seconds_is_graded_again(tmp_path, monkeypatch):
    sheet = grade.Sheet(selftest.problem_set("obd"), [], {})
    one = submission.Submission("a", tmp_path / "a.py", refused="no")
    for caged, seconds in ((True, 4), (False, 4), (True, 5), (True, 4)):
        monkeypatch.setattr(sandbox, "caged", lambda caged=caged: caged)
        grade.folder(sheet, "k", [one], tmp_path, seconds=seconds)
    assert len(list((tmp_path / "graded").iterdir())) == 3


def test_a_file_that_changes_while_others_are_graded_does_not_lend_its_hash(tmp_path):
    sheet, path = grade.Sheet(selftest.problem_set("obd"), [], {}), tmp_path / "a.py"
    path.write_text("K = 1\n", encoding="utf-8")
    one, other = (submission.Submission("a", path, pieces) for pieces in (["K = 1"], ["K = 2"]))
    assert grade._mark(sheet, "k", one, 4) != grade._mark(sheet, "k", other, 4)


# ---- the end of a run ------------------------------------------------------------------------------------------------
def test_a_grader_that_is_to_stop_waits_for_no_loop(monkeypatch):
    monkeypatch.setattr(sandbox, "caged", lambda: False)
    stop = threading.Event()
    threading.Timer(1, stop.set).start()
    before = time.monotonic()
    with Student(["def f():\n    while True: pass\n"], 60, stop=stop) as student, pytest.raises(Stopped):
        student.call("f", {})
    assert time.monotonic() - before < 20


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_process_and_no_folder(place, number):
    subs = place / "subs"
    subs.mkdir()
    (place / "tmp").mkdir(mode=0o777)
    (place / "tmp").chmod(0o777)
    (subs / "a.py").write_text(solution() + "\n# %%\ndef boundary_hessian(y, df, d2f, d, c):\n    while True: pass\n")
    arguments = ["-m", "course", "grade", "obd", str(subs), "--key", "k", "--out", str(place / "out")]
    process = subprocess.Popen(
        [*command(place), sys.executable, *arguments, "--seconds", "100"],
        cwd=place,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "TMPDIR": str(place / "tmp")},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    grader = waited(lambda: graders(place))
    waited(lambda: (place / "out" / "graded").exists())
    time.sleep(3)
    started = waited(lambda: descendants(grader))
    assert any(b"/worker.py" in told(each) for each in started)
    for each in grader:
        os.kill(each, number)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 130 and "interrupted; the same command goes on" in said
    assert not list((place / "tmp").iterdir())
    assert waited(lambda: not [each for each in (*grader, *started) if told(each)])


def told(process):
    """The command line of a process, empty if it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def graders(place):
    found = [int(path.name) for path in Path("/proc").glob("[0-9]*") if f"\0{place}/subs\0".encode() in told(path.name)]
    return [each for each in found if not told(each).startswith(b"bwrap")]


def descendants(processes):
    found = []
    for each in processes:
        for path in Path(f"/proc/{each}/task").glob("*/children"):
            found += map(int, path.read_text().split())
    return found + (descendants(found) if found else [])


def waited(condition):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError("not in a minute")


FILLS = """
import os
def fill(where):
    total = 0
    try:
        for k in range(200):
            with open(f"{where}/{k}", "wb") as file:
                total += file.write(b"x" * 2**20)
    except OSError:
        pass
    return float(total)
"""
LOOKS = f"""
from course import sandbox
with sandbox.Student([{FILLS!r}]) as student:
    for where in ("/home/student", "/tmp", "/dev", "/dev/shm", "/"):
        print(int(student.call("fill", {{"where": where}})) >> 20)
"""


def test_no_folder_of_the_cage_holds_more_than_it_may(place):
    done = subprocess.run(
        [*command(place), sys.executable, "-c", LOOKS],
        cwd=place,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    sizes = [int(each) for each in done.stdout.split()]
    assert len(sizes) == 5, done.stderr[-1000:]
    assert 0 < sizes[0] <= 64 and 0 < sizes[1] <= 64 and sum(sizes[2:]) == 0


FORGES = """
import io, os, struct, zipfile
def boundary_hessian(y, df, d2f, d, c):
    b = io.BytesIO()
    with zipfile.ZipFile(b, "w", zipfile.ZIP_BZIP2) as z:
        z.writestr("kinds.npy", b"\\0" * 30_000_000)
    kinds = '{"r0": ["value", 1' + "0" * 400 + "]}"
    import __main__
    honest = __main__.frame({"kinds": __main__.text(kinds), "changed": __main__.text("")})
    for k in range(3, 20):
        try: os.write(k, honest if c.size % 2 else struct.pack("<Q", len(b.getvalue())) + b.getvalue())
        except OSError: pass
    return y
"""


@pytest.mark.slow
def test_what_is_hostile_costs_its_own_row_and_the_others_are_graded(place):
    subs = place / "subs"
    subs.mkdir()
    right = solution()
    (subs / "right.py").write_text(right, encoding="utf-8")
    (subs / "forged.py").write_text(f"{right}\n# %%\n{FORGES}", encoding="utf-8")
    (subs / "large constant.py").write_text(f"{right}\n# %%\nK = 10**10**10\n", encoding="utf-8")
    (subs / "=cmd\n\x1b[2J.py").write_text("a=1\n" * 100_000, encoding="utf-8")
    os.mkfifo(subs / "pipe.ipynb")
    (subs / "link.py").symlink_to(subs / "right.py")
    (subs / "closed.py").write_text(right, encoding="utf-8")
    (subs / "closed.py").chmod(0)
    (subs / "shut").mkdir(mode=0)
    done = run(place, "grade", "obd", subs, "--key", "k", "--out", place / "out", "--seconds", 4)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "\x1b" not in done.stdout
    reports = {each["student"]: each for each in json.loads((place / "out" / "results.json").read_text())["reports"]}
    points = {name: sum(v["points"] for v in each["verdicts"]) for name, each in reports.items()}
    assert len(points) == 8 and points.pop("right") == 38
    assert 0 < points.pop("forged") < 38
    assert set(points.values()) == {0}, points
