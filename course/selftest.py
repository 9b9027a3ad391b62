"""How good are the exercises?  Solution, blank and every wrong form under many keys, without a sandbox.

``python -m course.selftest SET [KEYS]`` prints a line a form: the points that it gets at least and at
most, and how far from right it is.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from course import release
from course.spec import Exercise, ProblemSet, copied, diagnose, difference, equal, error, generator, inputs_of

MARGIN = 100
"""Least factor between the solution's error and the tolerance, and between that and the error of a wrong form."""


def problem_set(name: str) -> ProblemSet:
    """Return the set of this name."""
    found: ProblemSet = importlib.import_module(f"course.{name}.exercises").SET
    return found


def master(name: str) -> str:
    """Return the text of the master of this set."""
    return (Path(__file__).parent / name / "master.py").read_text(encoding="utf-8")


def solutions(name: str) -> dict[str, Callable[..., Any]]:
    """Return the functions of the master with its solutions in place, by name."""
    space: dict[str, Any] = {"np": np}
    for cell in release.cells(master(name)):
        if cell.exercise:
            exec(compile(release.solved(cell.source), f"{name}/master.py", "exec"), space)
    return space


def judged(exercise: Exercise, function: Callable[..., Any], keys: Sequence[str]) -> dict[str, Any]:
    """Return what a function gets under these keys: points (least, most), errors (least wrong one, largest), messages.

    A wrong draw is named if the answer there is told by a message of a wrong form; "own" is the share of those that
    get the message of `function`'s own form, or of one that is equal to it on these numbers.
    """
    points, wrong_errors, errors, messages = [], [], [], []
    for key in keys:
        sum_ = 0
        for case in exercise.cases:
            right_here = True
            for draw in range(case.draws):
                inputs = inputs_of(exercise, case, key, draw)
                right = exercise.named(exercise.referee(**copied(inputs)))
                try:
                    with np.errstate(all="ignore"):
                        given = exercise.named(function(**copied(inputs)))
                except (ValueError, ArithmeticError, IndexError, NotImplementedError, np.linalg.LinAlgError):
                    right_here = False
                    continue
                errors.append(error(given, right))
                if difference(exercise, given, right):
                    right_here = False
                    wrong_errors.append(errors[-1])
                    messages.append((diagnose(exercise, inputs, given, right), inputs, given))
            sum_ += case.points if right_here else 0
        points.append(sum_)
    return {
        "points": (min(points), max(points)),
        "nearest": min(wrong_errors, default=np.inf),
        "largest": max(errors, default=np.inf),
        "messages": messages,
    }


def complaints(problems: ProblemSet, keys: Sequence[str], show: Callable[[str], Any] = lambda line: None) -> list[str]:
    """Return a sentence for everything that is not as it has to be; `show` gets the table line by line."""
    functions, found = solutions(problems.name), []
    for e in problems.exercises:
        right = judged(e, functions[e.function], keys)
        show(f"{e.id:12}{'the solution':34}{right['points']!s:10}{right['largest']:10.1e}")
        if right["points"] != (e.points, e.points):
            found.append(f"{e.id}: the solution gets {right['points'][0]} of {e.points} points")
        if right["largest"] * MARGIN > e.tolerance:
            found.append(f"{e.id}: the solution is off by {right['largest']:.1e}, the tolerance is {e.tolerance:.0e}")
        for wrong in e.wrong:
            got = judged(e, wrong.function, keys)
            own = [
                m == wrong.message or equal(e, given, _of(e, m, inputs)) for m, inputs, given in got["messages"] if m
            ]
            silent = sum(not m for m, _, _ in got["messages"])
            show(f"{e.id:12}{wrong.name:34}{got['points']!s:10}{got['nearest']:10.1e}  {sum(own)} of {len(own)} named")
            if got["points"][1] >= e.points:
                found.append(f"{e.id}: {wrong.name!r} gets all points under a key")
            if got["nearest"] < MARGIN * e.tolerance:
                found.append(
                    f"{e.id}: {wrong.name!r} is off by {got['nearest']:.1e} only, the tolerance is {e.tolerance:.0e}"
                )
            if silent or not all(own):
                found.append(f"{e.id}: {wrong.name!r} does not get its message")
    return found + _target(problems, functions, keys[:2], show)


def _of(e: Exercise, message: str, inputs: dict[str, Any]) -> Any:
    wrong = next(w for w in e.wrong if w.message == message)
    with np.errstate(all="ignore"):
        return e.named(wrong.function(**copied(inputs)))


def _target(
    problems: ProblemSet, functions: dict[str, Any], keys: Sequence[str], show: Callable[[str], Any]
) -> list[str]:
    target, found = problems.target, []
    for key in keys:
        inputs = dict(target.draw(generator(key, target.id, "target", 0)))
        for name, function in {"the solution": functions[target.function], **target.blank}.items():
            reached, words = target.measure(inputs, function(**copied(inputs)))
            show(f"{target.id:16}{name:30}{target.points if reached else 0!s:10}  {words}")
            if reached != (name == "the solution"):
                found.append(f"{target.id}: {name} {'reaches' if reached else 'misses'} the goal: {words}")
    return found


if __name__ == "__main__":
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    problems = complaints(problem_set(sys.argv[1]), [f"key {k}" for k in range(number)], print)
    print("\n".join(problems) or "all as it has to be")
    sys.exit(bool(problems))
