"""How good are the exercises?  Solution, blank and every wrong form under many keys, without a sandbox.

``python -m course.selftest SET [KEYS]`` prints a line a form: the points that it gets at least and at most, how far
from right it is at least (the solution: at most), and on how many wrong answers it gets its own message, or that of
a form that gives the same numbers.  A target is drawn under twenty of the keys at most.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from course import release
from course.spec import (
    Case,
    Exercise,
    Outputs,
    ProblemSet,
    copied,
    diagnose,
    difference,
    equal,
    error,
    generator,
    inputs_of,
)

MARGIN = 100
"""Least factor between the solution's error and the tolerance, and between that and the error of a wrong form."""
TARGETS = 20
"""Most keys under which a target is tried."""


def problem_set(name: str) -> ProblemSet:
    """Return the set of this name."""
    found: ProblemSet = importlib.import_module(f"course.{name}.exercises").SET
    return found


def master(name: str) -> str:
    """Return the text of the master of this set."""
    return (Path(__file__).parent / name / "master.py").read_text(encoding="utf-8")


def solutions(name: str, transform: Callable[[str], str] = release.solved) -> dict[str, Callable[..., Any]]:
    """Return the functions of the master by name, with its solutions in place or, with `release.blank`, without."""
    space: dict[str, Any] = {"np": np}
    for cell in release.cells(master(name)):
        if cell.exercise:
            exec(compile(transform(cell.source), f"{name}/master.py", "exec"), space)
    return space


Draws: TypeAlias = list[tuple[str, Case, list[tuple[dict[str, Any], Outputs]]]]
"""Key, case, and for each draw the inputs and what the referee says to them: it is asked once for all forms."""


def draws(exercise: Exercise, keys: Sequence[str]) -> Draws:
    """Return all draws of an exercise under these keys."""
    found: Draws = []
    for key in keys:
        for case in exercise.cases:
            inputs = [inputs_of(exercise, case, key, draw) for draw in range(case.draws)]
            found.append((key, case, [(each, exercise.named(exercise.referee(**copied(each)))) for each in inputs]))
    return found


def judged(exercise: Exercise, function: Callable[..., Any], drawn: Draws) -> dict[str, Any]:
    """Return what a function gets: points (least and most under a key), errors (nearest wrong one, largest), messages.

    The messages are those of the draws on which the answer is wrong, "" where no wrong form gives it, with the inputs
    and the answer.
    """
    points: dict[str, int] = {}
    wrong_errors, errors, messages = [], [], []
    for key, case, group in drawn:
        right_here = True
        for inputs, right in group:
            given = _answer(exercise, function, inputs)
            if given is None:
                right_here = False
                continue
            errors.append(error(given, right))
            if difference(exercise, given, right):
                right_here = False
                wrong_errors.append(errors[-1])
                messages.append((diagnose(exercise, inputs, given, right), inputs, given))
        points[key] = points.get(key, 0) + (case.points if right_here else 0)
    return {
        "points": (min(points.values()), max(points.values())),
        "nearest": min(wrong_errors, default=np.inf),
        "largest": max(errors, default=np.inf),
        "messages": messages,
    }


def _answer(exercise: Exercise, function: Callable[..., Any], inputs: dict[str, Any]) -> Outputs | None:
    try:
        with np.errstate(all="ignore"):
            return exercise.named(function(**copied(inputs)))
    except (ValueError, ArithmeticError, IndexError, NotImplementedError, np.linalg.LinAlgError):
        return None  # on these inputs this form has no value


def complaints(problems: ProblemSet, keys: Sequence[str], show: Callable[[str], Any] = lambda line: None) -> list[str]:
    """Return a sentence for everything that is not as it has to be; `show` gets the table line by line."""
    functions, blank, found = solutions(problems.name), solutions(problems.name, release.blank), list[str]()
    for e in problems.exercises:
        drawn = draws(e, keys)
        right = judged(e, functions[e.function], drawn)
        show(f"{e.id:12}{'the solution':34}{right['points']!s:10}{right['largest']:10.1e}")
        if right["points"] != (e.points, e.points):
            found.append(f"{e.id}: the solution gets {right['points'][0]} of {e.points} points")
        if right["largest"] * MARGIN > e.tolerance:
            found.append(f"{e.id}: the solution is off by {right['largest']:.1e}, the tolerance is {e.tolerance:.0e}")
        nothing = judged(e, blank[e.function], drawn)
        show(f"{e.id:12}{'the blank':34}{nothing['points']!s:10}")
        if nothing["points"][1] > 0:
            found.append(f"{e.id}: the blank gets {nothing['points'][1]} of {e.points} points under a key")
        for wrong in e.wrong:
            got = judged(e, wrong.function, drawn)
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
    return found + _target(problems, functions, keys[:TARGETS], show)


def _of(e: Exercise, message: str, inputs: dict[str, Any]) -> Any:
    wrong = next(w for w in e.wrong if w.message == message)
    with np.errstate(all="ignore"):
        return e.named(wrong.function(**copied(inputs)))


def _target(
    problems: ProblemSet, functions: dict[str, Any], keys: Sequence[str], show: Callable[[str], Any]
) -> list[str]:
    target, found = problems.target, []
    forms = {"the solution": functions[target.function], **target.blank}
    words = {name: list[str]() for name in forms}
    reached = {name: 0 for name in forms}
    for key in keys:
        inputs, hidden = target.draw(generator(key, target.id, "target", 0))
        for name, function in forms.items():
            right, said = target.measure(inputs, hidden, function(**copied(inputs)))
            reached[name] += right
            words[name].append(said)
            if right != (name == "the solution"):
                found.append(f"{target.id}, {key}: {name} {'reaches' if right else 'misses'} the goal: {said}")
    for name in forms:
        show(f"{target.id:16}{name:44}{reached[name]} of {len(keys)} keys; {words[name][0]}")
    return found


if __name__ == "__main__":
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    problems = complaints(problem_set(sys.argv[1]), [f"key {k}" for k in range(number)], print)
    print("\n".join(problems) or "all as it has to be")
    sys.exit(bool(problems))
