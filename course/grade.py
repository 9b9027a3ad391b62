"""Grading: the student's code in a process of its own, the judgement in ours.

`sheet` draws all inputs of a set from the lecturer's key and asks the referees once; `graded` runs one submission
against it; `folder` a whole folder, in parallel, and goes on where it was stopped.
"""

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from course import release, sandbox, selftest, submission
from course.sandbox import SECONDS, Failed, Student, TimedOut
from course.spec import Case, Exercise, Outputs, ProblemSet, Target, copied, diagnose, difference, generator, inputs_of
from course.submission import Submission


class Broken(Exception):
    """The set does not grade itself right under this key: nothing may be graded with it."""


@dataclass
class Verdict:
    """What became of one case: the points, those that there are, and what was wrong."""

    exercise: str
    case: str
    points: int
    of: int
    public: bool
    message: str = ""


@dataclass
class Report:
    """What became of one submission."""

    student: str
    file: str
    sha256: str
    verdicts: list[Verdict] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    note: str = ""
    timed_out: bool = False

    def score(self, exercise: str | None = None) -> int:
        """Return the points of one exercise, or of all."""
        return sum(verdict.points for verdict in self.verdicts if exercise in (None, verdict.exercise))


@dataclass(frozen=True)
class Drawn:
    """A case with its inputs under one key, and what the referee says to them."""

    exercise: Exercise
    case: Case
    inputs: list[dict[str, Any]]
    right: list[Outputs]


@dataclass(frozen=True)
class Sheet:
    """A set under one key: its cases, what its target gives to a student, and what that keeps for the judge."""

    problems: ProblemSet
    drawn: list[Drawn]
    target: dict[str, Any]
    hidden: Any = None

    @property
    def points(self) -> int:
        """All that can be had."""
        return sum(e.points for e in self.problems.exercises) + self.problems.target.points


def sheet(problems: ProblemSet, key: str) -> Sheet:
    """Draw all inputs of a set from the key, and let the referees judge them.

    Raises
    ------
    ValueError
        If the key is empty.
    Broken
        If a draw or a referee fails.
    """
    if not key:
        raise ValueError("expected a key, any secret text, got one of length zero")
    drawn = []
    for exercise in problems.exercises:
        for case in exercise.cases:
            try:
                inputs = [inputs_of(exercise, case, key, draw) for draw in range(case.draws)]
                right = [exercise.named(exercise.referee(**copied(each))) for each in inputs]
            except Exception as error:
                what = f"{type(error).__name__}: {error}"
                raise Broken(f"the referee of {exercise.id} fails on the case {case.name!r}: {what}") from error
            drawn.append(Drawn(exercise, case, inputs, right))
    target = problems.target
    given, hidden = target.draw(generator(key, target.id, "target", 0))
    return Sheet(problems, drawn, dict(given), hidden)


def check(sheet: Sheet, seconds: float = SECONDS) -> None:
    """Let the set grade itself: the solution has to get all points under this key, and the blank none.

    Raises
    ------
    Broken
        With what is wrong, in one sentence.
    """
    master = release.cells(selftest.master(sheet.problems.name))
    for what, source, share in (("solution", release.solved, 1), ("blank", release.blank, 0)):
        pieces = [p for cell in master if cell.kind == "code" for p in submission.definitions(source(cell.source))[0]]
        report = graded(sheet, Submission(what, Path(what), pieces), seconds)
        for verdict in report.verdicts:
            if verdict.points != share * verdict.of:
                why = verdict.message or report.note
                raise Broken(
                    f"the {what} gets {verdict.points} of {verdict.of} points for {verdict.exercise},"
                    f" {verdict.case}{f' ({why})' if why else ''}"
                )


def graded(
    sheet: Sheet, handed_in: Submission, seconds: float = SECONDS, stop: threading.Event | None = None
) -> Report:
    """Grade one submission; whatever it holds, a report comes back, or `sandbox.Stopped` is raised."""
    name = os.fsencode(handed_in.path.name).decode(errors="backslashreplace")
    report = Report(handed_in.student, name, digest_of(handed_in.path), flags=list(handed_in.flags))
    if handed_in.refused:
        report.note = handed_in.refused
        report.verdicts = _nothing(sheet, "not graded")
        return report
    lost: dict[str, str] = {}
    with Student(handed_in.pieces, seconds, stop=stop) as student:
        try:
            student.start()
        except Failed as error:
            report.note, report.timed_out = str(error), isinstance(error, TimedOut)
            report.verdicts = _nothing(sheet, "not graded")
            return report
        for drawn in sheet.drawn:
            exercise, case = drawn.exercise, drawn.case
            message = lost.get(exercise.id, "")
            if not message:
                try:
                    message = _judged(student, drawn)
                except Failed as error:
                    message = str(error)
                    if isinstance(error, TimedOut):  # the other cases of this exercise are not waited for
                        lost[exercise.id], report.timed_out = message, True
            points = 0 if message else case.points
            report.verdicts.append(Verdict(exercise.id, case.name, points, case.points, case.public, message))
        report.verdicts.append(_target(student, sheet, report))
        report.note = student.problems
    functions = {e.function for e in sheet.problems.exercises} | {sheet.problems.target.function}
    if not any(f"def {name}(" in piece for piece in handed_in.pieces for name in functions):
        report.note = f"none of the functions of {sheet.problems.name} is defined: is this another sheet?"
    return report


def _nothing(sheet: Sheet, message: str) -> list[Verdict]:
    rows = [Verdict(d.exercise.id, d.case.name, 0, d.case.points, d.case.public, message) for d in sheet.drawn]
    target = sheet.problems.target
    return [*rows, Verdict(target.id, "target", 0, target.points, False, message)]


def _judged(student: Student, drawn: Drawn) -> str:
    """Return "" if every draw is right, else what is wrong with the first that is not."""
    exercise = drawn.exercise
    for inputs, right in zip(drawn.inputs, drawn.right):
        try:
            given = exercise.named(student.call(exercise.function, inputs))
        except ValueError as error:
            return str(error)
        wrong = difference(exercise, given, right)
        if wrong:
            return f"{wrong[:1000]}. {diagnose(exercise, inputs, given, right)}".strip()
    return ""


def _target(student: Student, sheet: Sheet, report: Report) -> Verdict:
    target: Target = sheet.problems.target
    verdict = Verdict(target.id, "target", 0, target.points, False)
    try:
        result = student.call(target.function, sheet.target, target.seconds)
        reached, verdict.message = target.measure(sheet.target, sheet.hidden, result)
    except Failed as error:
        verdict.message, report.timed_out = str(error), report.timed_out or isinstance(error, TimedOut)
        return verdict
    except Exception as error:  # of a result that no measure foresaw; it must not end the others
        verdict.message = f"what {target.function} returns cannot be measured: {error}"[:2000]
        return verdict
    verdict.points = target.points if reached else 0
    return verdict


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file; of anything else that of its name."""
    content = os.fsencode(path.name)
    with suppress(OSError):  # a file that is closed to us is refused, and that is a row
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= submission.LARGEST:
            content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()


# ---- whole folders ---------------------------------------------------------------------------------------------------
def version(name: str) -> str:
    """Return the version of grader and set: sixteen digits of the SHA-256 of their code and of NumPy's version."""
    here = Path(__file__).parent
    files = sorted([*here.glob("*.py"), *(here / name).glob("*.py")])
    content = b"\0".join([path.read_bytes() for path in files] + [np.__version__.encode()])
    return hashlib.sha256(content).hexdigest()[:16]


def folder(
    sheet: Sheet, key: str, submissions: Sequence[Submission], out: Path, jobs: int = 2, seconds: float = SECONDS
) -> list[Report]:
    """Grade submissions in parallel and return their reports in the order of the students.

    Each report is kept in ``out/graded`` the moment that it is there, under the hash of file, key, version, seconds and
    isolation: a run that was stopped goes on, and what was graded without a cage does not count as graded in one.
    Time-outs are tried again at the end, alone, for a busy machine makes some.
    """
    kept = out / "graded"
    kept.mkdir(parents=True, exist_ok=True)
    marks = {each.student: _mark(sheet, key, each, seconds) for each in submissions}
    reports = {}
    missing = []
    for each in submissions:
        before = _read(kept / f"{marks[each.student]}.json")
        if before is None:
            missing.append(each)
        else:
            reports[each.student] = before
    with tqdm(total=len(submissions), initial=len(reports), unit="submission", desc=sheet.problems.name) as bar:
        late = []
        for report, handed_in in _in_parallel(sheet, missing, jobs, seconds):
            if report.timed_out:
                late.append(handed_in)
                continue
            _keep(kept / f"{marks[report.student]}.json", report)
            reports[report.student] = report
            bar.update()
        for handed_in in late:
            report = graded(sheet, handed_in, seconds)
            _keep(kept / f"{marks[report.student]}.json", report)
            reports[report.student] = report
            bar.update()
    return [reports[each.student] for each in submissions]


def _in_parallel(
    sheet: Sheet, submissions: Sequence[Submission], jobs: int, seconds: float
) -> Iterator[tuple[Report, Submission]]:
    stop = threading.Event()
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(graded, sheet, each, seconds, stop): each for each in submissions}
        try:
            for future in as_completed(running):
                yield future.result(), running[future]
        except BaseException:
            stop.set()  # or Ctrl-C would wait for endless loops
            pool.shutdown(cancel_futures=True)
            raise


def _mark(sheet: Sheet, key: str, handed_in: Submission, seconds: float) -> str:
    what = (handed_in.student, handed_in.path.name, handed_in.refused, digest_of(handed_in.path))
    # The pieces, too: the file may have become another one since it was read.
    words = (*what, *handed_in.pieces, key, version(sheet.problems.name), f"{seconds:g}", isolation())
    return hashlib.sha256("\0".join(words).encode(errors="surrogatepass")).hexdigest()[:32]


def _keep(path: Path, report: Report) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(report), ensure_ascii=False), encoding="utf-8")
    os.replace(partial, path)


def _read(path: Path) -> Report | None:
    try:
        values: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Report(**{**values, "verdicts": [Verdict(**each) for each in values["verdicts"]]})
    except (FileNotFoundError, ValueError, TypeError, KeyError):  # cut off by a power failure: it is graded again
        return None


def isolation() -> str:
    """Return what students' processes are kept in, in a few words."""
    return "bubblewrap" if sandbox.caged() else "limits only (trusted)"
