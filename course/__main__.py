"""``python -m course release | grade | selftest | nbgrader``: hand out, grade, prove, export; ``--help`` says more."""

import argparse
import hashlib
import math
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from course import SETS, grade, nbgrader_export, release, report, sandbox, selftest, submission

TRUSTED = (
    "no working bubblewrap (bwrap) here: students' code could read your files and end this process; install it, or say"
    " --trusted: accidents are caught then, intent is not"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    It is 0; 1 if a set does not grade itself right, and nothing was graded; 2 after an error that the user can mend;
    130 after Ctrl-C or SIGTERM, when the same command goes on.
    """
    options = _parser().parse_args(arguments)
    try:
        return options.command(options) or 0
    except grade.Broken as error:
        print(f"error: {error}; nothing was graded", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m course", description="Problem sets and their grader.")
    commands = parser.add_subparsers(required=True, metavar="release | grade | selftest | nbgrader")
    each = commands.add_parser("release", help="write what students get, and the solution")
    each.set_defaults(command=_release)
    each.add_argument("set", choices=SETS)
    each.add_argument("out", type=Path)
    each = commands.add_parser("grade", help="grade a folder of notebooks or scripts, or the part that is missing")
    each.set_defaults(command=_grade)
    each.add_argument("set", choices=SETS)
    each.add_argument("submissions", type=Path)
    each.add_argument("--key", required=True, help="any secret text; it decides the hidden numbers")
    each.add_argument("--out", type=Path, required=True, help="folder for grades and feedback")
    each.add_argument("--jobs", type=int, default=2, help="submissions at a time; default 2")
    each.add_argument("--seconds", type=float, default=sandbox.SECONDS, help="for one answer; default 10")
    each.add_argument("--regrade", action="store_true", help="grade with another key or version, print what changes")
    each.add_argument("--trusted", action="store_true", help="grade without bubblewrap, where there is none")
    each = commands.add_parser("selftest", help="solution, blank and all wrong forms of all sets under N keys")
    each.set_defaults(command=_selftest)
    each.add_argument("keys", type=int, nargs="?", default=5, metavar="N", help="default 5")
    each = commands.add_parser("nbgrader", help="write a set as nbgrader's source notebook")
    each.set_defaults(command=_nbgrader)
    each.add_argument("set", choices=SETS)
    each.add_argument("out", type=Path)
    each.add_argument("--key", required=True, help="any secret text; it decides the hidden numbers")
    return parser


def _release(options: argparse.Namespace) -> None:
    problems = selftest.problem_set(options.set)
    release.release(problems, selftest.master(options.set), options.out)
    points = sum(e.points for e in problems.exercises) + problems.target.points
    number = len(problems.exercises)
    print(f"{options.out}/student and {options.out}/solution: {number} exercises and a target, {points} points")


def _grade(options: argparse.Namespace) -> None:
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        raise ValueError("as root the number of a student's processes has no limit; grade as an ordinary user")
    if not sandbox.caged() and not options.trusted:
        raise ValueError(TRUSTED)
    if options.jobs < 1 or not 0 < options.seconds < math.inf:
        raise ValueError(f"expected at least one job and more than 0 seconds, got {options.jobs} and {options.seconds}")
    if options.submissions.resolve() in (options.out.resolve(), *options.out.resolve().parents):
        raise ValueError(f"{options.out} lies in the folder of the submissions: it would be one; name another folder")
    handed_in = submission.found(options.submissions)
    problems = selftest.problem_set(options.set)
    sheet = grade.sheet(problems, options.key)
    mark = hashlib.sha256(f"mark {options.key}".encode()).hexdigest()[:16]
    old = report.before(options.out)
    today = {"set": problems.name, "key": mark, "version": grade.version(problems.name)}
    if old is not None and any(old[name] != value for name, value in today.items()) and not options.regrade:
        other = ", ".join(name for name, value in today.items() if old[name] != value)
        raise ValueError(f"{options.out} holds grades of another {other}; say --regrade, or name another folder")
    grade.check(sheet, options.seconds)
    reports = grade.folder(sheet, options.key, handed_in, options.out, options.jobs, options.seconds)
    if old is not None and options.regrade:
        print("\n".join(report.changes(old, reports)) or "no score changed")
    report.write(options.out, reports, sheet, mark)
    for r in reports:
        line = f"{r.student:28} {r.score():4} of {sheet.points}   {'; '.join([*r.flags, r.note]).strip('; ')[:80]}"
        print("".join(each if each.isprintable() else "?" for each in line))
    print(f"{len(reports)} submissions, {grade.isolation()}; {options.out / 'grades.csv'}")


def _selftest(options: argparse.Namespace) -> int:
    found = []
    for name in SETS:
        found += selftest.complaints(selftest.problem_set(name), [f"key {k}" for k in range(options.keys)], print)
    print("\n".join(found) or f"all sets grade themselves right under {options.keys} keys")
    return int(bool(found))


def _nbgrader(options: argparse.Namespace) -> None:
    problems = selftest.problem_set(options.set)
    nbgrader_export.export(grade.sheet(problems, options.key), selftest.master(options.set), options.out)
    print(f"{options.out}/source/{options.set}: for nbgrader generate_assignment")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # no student's process and no folder is left behind
    sys.exit(main())
