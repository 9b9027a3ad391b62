"""What is written of a graded folder: nothing hangs on time, and names are no markup."""

import json

from course import grade, report, selftest
from course.grade import Report, Verdict


def test_changes_name_every_score_that_is_another_one():
    old = {"reports": [{"student": "a", "verdicts": [{"exercise": "e", "case": "c", "points": 1}]}]}
    same = Report("a", "a.py", "0", [Verdict("e", "c", 1, 1, True)])
    assert report.changes(old, [same]) == []
    other = Report("a", "a.py", "0", [Verdict("e", "c", 0, 1, True), Verdict("e", "d", 2, 2, False)])
    assert report.changes(old, [other, Report("b", "b.py", "0", [])]) == [
        "a: e, c: 1 before, 0 now",
        "a: e, d: not there before, 2 now",
        "b: new, 0 points",
    ]


def test_a_page_shows_names_and_messages_as_text():
    problems = selftest.problem_set("obd")
    sheet = grade.Sheet(problems, [], {})
    r = Report("<script>alert(1)</script>", "x.py", "0" * 64, [Verdict("obd.1", "<b>", 0, 1, True, "a < b & c")])
    page = report.page(r, sheet)
    assert "<script>" not in page and "&lt;script&gt;" in page and "a &lt; b &amp; c" in page
    assert "0 of 38 points" in page


def test_the_files_are_the_same_whenever_they_are_written(tmp_path):
    sheet = grade.Sheet(selftest.problem_set("obd"), [], {})
    reports = [
        Report("Zoë", "z.py", "1" * 64, [Verdict("obd.1", "one", 1, 1, True)], ["imports os"], "a note, with a comma")
    ]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        report.write(tmp_path / name, reports, sheet, "mark")
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert [str(file) for file in files] == [
        "grades.csv",
        "results.json",
        "students/Zoë/feedback.html",
        "students/Zoë/results.json",
    ]
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files)
    assert report.before(tmp_path / "one")["key"] == "mark" and report.before(tmp_path) is None
    row = (tmp_path / "one" / "grades.csv").read_text(encoding="utf-8").splitlines()[1]
    assert row == 'Zoë,1,38,1,0,0,0,0,0,0,imports os,"a note, with a comma",z.py,111111111111'
    tests = json.loads((tmp_path / "one" / "students" / "Zoë" / "results.json").read_text(encoding="utf-8"))["tests"]
    assert tests[0]["status"] == "passed" and tests[0]["visibility"] == "visible"
