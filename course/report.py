"""What the lecturer and the students get: grades.csv, results.json, and for each student two files.

``students/NAME/results.json`` is what Gradescope reads; ``students/NAME/feedback.html`` names the formula that a wrong
answer equals, so that it belongs behind the deadline.  Nothing here depends on the time or the order of grading.
"""

import csv
import hashlib
import html
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from course.grade import Report, Sheet, isolation, version
from nn.files import replacing

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}}
h2{{margin:2rem 0 .3rem;font-size:1.1rem}}
.formula{{font-family:"STIX Two Math","DejaVu Serif",serif;background:#f4f4f4;padding:.5rem .8rem;
border-left:4px solid #888}}
table{{border-collapse:collapse;width:100%}} td{{padding:.35rem .5rem;border-bottom:1px solid #ddd;vertical-align:top}}
td:first-child{{white-space:nowrap;text-align:right}} .ok{{color:#176d38}}
.no{{color:#a3261f}} small{{color:#555}}</style>
<h1>{title}</h1><p><b>{score} of {of} points.</b> {note}</p>{body}
<p><small>Submission {digest}, {isolation}.</small></p></html>"""


def write(out: Path, reports: Sequence[Report], sheet: Sheet, mark: str) -> None:
    """Write all files of a graded folder; `mark` says under which key, without telling it."""
    names = [e.id for e in sheet.problems.exercises] + [sheet.problems.target.id]
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["student", "score", "of", *names, "look at", "note", "file", "sha256"])
    for r in reports:
        scores = [r.score(name) for name in names]
        told = [_cell(each) for each in ("; ".join(r.flags), r.note, r.file)]
        rows.writerow([_cell(r.student), r.score(), sheet.points, *scores, *told, r.sha256[:12]])
    whole = {"set": sheet.problems.name, "key": mark, "version": version(sheet.problems.name), "isolation": isolation()}
    _put(out / "results.json", json.dumps({**whole, "reports": [asdict(r) for r in reports]}, indent=1))
    for r in reports:
        folder = out / "students" / _name(r.student)
        folder.mkdir(parents=True, exist_ok=True)
        _put(folder / "results.json", json.dumps(gradescope(r), indent=1, ensure_ascii=False))
        _put(folder / "feedback.html", page(r, sheet))
    _put(out / "grades.csv", table.getvalue())


def _cell(value: str) -> str:
    # A spreadsheet runs what begins like a formula; an apostrophe makes it text.
    return f"'{value}" if value.lstrip().startswith(("=", "+", "-", "@")) else value


def _name(student: str) -> str:
    # File systems take 255 bytes, and what is no UTF-8 is spelled with more characters than it had.
    name = student.replace("/", "_")
    if len(name.encode()) <= 255:
        return name
    return name.encode()[:180].decode(errors="ignore") + hashlib.sha256(name.encode()).hexdigest()[:16]


def _put(path: Path, content: str) -> None:
    with replacing(path) as partial:
        partial.write_text(content, encoding="utf-8")


def before(out: Path) -> dict[str, Any] | None:
    """Return what an earlier run left in ``out/results.json``, or None."""
    path = out / "results.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def changes(old: dict[str, Any], reports: Sequence[Report]) -> list[str]:
    """Return a sentence for every score that is another one than before."""
    scores = {
        each["student"]: {(v["exercise"], v["case"]): v["points"] for v in each["verdicts"]} for each in old["reports"]
    }
    found = []
    for r in reports:
        if r.student not in scores:
            found.append(f"{r.student}: new, {r.score()} points")
            continue
        for v in r.verdicts:
            points = scores[r.student].get((v.exercise, v.case))
            if points != v.points:
                was = "not there" if points is None else points
                found.append(f"{r.student}: {v.exercise}, {v.case}: {was} before, {v.points} now")
    return found


def gradescope(r: Report) -> dict[str, Any]:
    """Return the dictionary that Gradescope reads from /autograder/results/results.json."""
    tests = [
        {
            "name": v.case,
            "number": v.exercise,
            "score": v.points,
            "max_score": v.of,
            "status": "failed" if v.message and not v.points else "passed",
            "output": v.message or "right",
            "output_format": "text",
            "visibility": "visible" if v.public else "after_published",
        }
        for v in r.verdicts
    ]
    extra = {"sha256": r.sha256, "flags": r.flags}
    return {"output": r.note, "output_format": "text", "visibility": "visible", "tests": tests, "extra_data": extra}


def page(r: Report, sheet: Sheet) -> str:
    """Return the feedback of one student as a page of its own."""
    parts = []
    for e in sheet.problems.exercises:
        rows = "".join(_row(v) for v in r.verdicts if v.exercise == e.id)
        head = f"<h2>{e.id} <code>{e.function}</code>: {r.score(e.id)} of {e.points}</h2>"
        read = f"<p><small>Slide: {html.escape(e.slide)}. Read again: {html.escape(e.section)}.</small></p>"
        parts.append(f'{head}<p class="formula">{html.escape(e.formula)}</p><table>{rows}</table>{read}')
    target = sheet.problems.target
    rows = "".join(_row(v) for v in r.verdicts if v.exercise == target.id)
    parts.append(f"<h2>{target.id}: {r.score(target.id)} of {target.points}</h2><p>{html.escape(target.goal)}</p>")
    parts.append(f"<table>{rows}</table>")
    return PAGE.format(
        title=html.escape(f"{sheet.problems.title}: {r.student}"),
        score=r.score(),
        of=sheet.points,
        note=html.escape(r.note),
        body="".join(parts),
        digest=r.sha256[:12],
        isolation=isolation(),
    )


def _row(v: Any) -> str:
    public = " <small>(public)</small>" if v.public else ""
    message = f"<br>{html.escape(v.message)}" if v.message else ""
    kind = "ok" if v.points == v.of else "no"
    return f'<tr><td class="{kind}">{v.points} / {v.of}</td><td>{html.escape(v.case)}{public}{message}</td></tr>'
