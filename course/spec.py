"""What an exercise is: kinds of inputs to draw, a referee, and the wrong forms that it has to tell apart.

One object has three uses.  The grader draws inputs from the lecturer's key and compares with the referee; the wrong
forms are mutants that must lose points; and an answer that equals one of them is told which formula it has missed.

A referee shares no formula with the solution: it is the definition, an enumeration, a difference quotient, the complex
step, or another algorithm.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from course.worker import Energy

Array = np.ndarray
Inputs: TypeAlias = Mapping[str, Any]
"""Keyword arguments of a student's function: arrays, numbers, strings, None, lists of arrays, or an `Energy`."""
Outputs: TypeAlias = dict[str, Array]
"""Results by name, as float64; those of a list are called ``keep[0]``, ``keep[1]``, ..."""
Draw: TypeAlias = Callable[[np.random.Generator], Inputs]
"""What makes the arguments of one draw."""


@dataclass(frozen=True)
class Wrong:
    """A wrong form: a short name, what it returns instead, and the sentence that names what was missed.

    ``function`` has the signature of the student's.  The message begins with what the answer equals ("This is ...",
    "This equals ..."), names the formula, and does not give the solution away.
    """

    name: str
    function: Callable[..., Any]
    message: str


@dataclass(frozen=True)
class Case:
    """Points for one kind of inputs: ``draw(rng)`` returns the keyword arguments of the student's function.

    The numbers of a public case are the same for everybody and lie beside the notebook, rounded to one decimal; those
    of all others come from the lecturer's key.  The points are given if all ``draws`` are right.
    """

    name: str
    points: int
    draw: Draw
    public: bool = False
    draws: int = 1


@dataclass(frozen=True)
class Exercise:
    """One function that a student writes.

    Parameters
    ----------
    id : such as "obd.1".
    function : the name that the student gives it.
    outputs : names of what it returns, in order.
    formula : one line for the feedback and the lecturer, in plain characters.
    slide, ledger, section : where the lecture has it, the statements of `pruning.ledger`, and where to read
        ("notebook 02, section 2").
    minutes : that it takes.
    referee : of the same signature, without the formula.
    cases : the kinds of inputs, public ones first.
    wrong : the forms that must lose points.
    tolerance : of ||given - right|| / ||right|| for every output; at least 100 times away from the rounding errors of
        the solution and from the nearest wrong form.
    hint : printed by the student's check: where to look, not the formula.
    package : the function of this project that does the same or nearly the same, "" if there is none; pasted in, its
        lines score where the exercise is no variant.
    """

    id: str
    function: str
    outputs: tuple[str, ...]
    formula: str
    slide: str
    ledger: str
    section: str
    minutes: int
    referee: Callable[..., Any]
    cases: tuple[Case, ...]
    wrong: tuple[Wrong, ...]
    tolerance: float = 1e-6
    hint: str = ""
    package: str = ""

    @property
    def points(self) -> int:
        """The sum over the cases."""
        return sum(case.points for case in self.cases)

    def named(self, result: Any) -> Outputs:
        """Return the results of a function by name.

        Raises
        ------
        ValueError
            If there are more or fewer than there are names, or one is no array of numbers.
        """
        values = result if isinstance(result, tuple) else (result,)
        if len(values) != len(self.outputs):
            raise ValueError(f"{len(values)} value(s) returned, expected {', '.join(self.outputs)}")
        found: Outputs = {}
        for name, value in zip(self.outputs, values):
            if isinstance(value, list):
                found |= {f"{name}[{k}]": _numbers(f"{name}[{k}]", each) for k, each in enumerate(value)}
            else:
                found[name] = _numbers(name, value)
        return found


@dataclass(frozen=True)
class Target:
    """The task at the end of a set: a goal on data that is measured, points on top of those of the exercises.

    Parameters
    ----------
    id, function, minutes, section : as in an `Exercise`.
    points : given if the goal is reached.
    goal : the sentence that says what is to be reached.
    draw : rng -> (inputs, hidden): the keyword arguments of the student's function, with the lecturer's key other data,
        weights or rows; and what the judge keeps to measure with, such as rows that nobody has seen, or None.
    measure : (inputs, hidden, result) -> (reached, what was measured, as a sentence).  It raises a ValueError, in one
        sentence, for a result that is none.
    blank : results that must not reach it, by name: nothing done, everything kept, chance.
    seconds : the longest that it may take.
    """

    id: str
    function: str
    points: int
    minutes: int
    section: str
    goal: str
    draw: Callable[[np.random.Generator], tuple[Inputs, Any]]
    measure: Callable[[Inputs, Any, Any], tuple[bool, str]]
    blank: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    seconds: float = 20.0


@dataclass(frozen=True)
class ProblemSet:
    """The exercises of one sheet: its name (that of the folder), its title, and its target."""

    name: str
    title: str
    exercises: tuple[Exercise, ...]
    target: Target


def _numbers(name: str, value: Any) -> Array:
    try:
        return np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is no array of numbers, but {type(value).__name__}") from None


def generator(key: str, exercise: str, case: str, draw: int, public: bool = False) -> np.random.Generator:
    """Return the generator of one draw, seeded with sha256 of key, exercise, case and draw; without key if public."""
    words = ("public" if public else f"key {key}", exercise, case, str(draw))
    digest = hashlib.sha256("\0".join(words).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def signed(rng: np.random.Generator, low: float, high: float, shape: int | tuple[int, ...]) -> Array:
    """Return numbers of either sign with a modulus between low and high: far from zero, where wrong forms meet."""
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(low, high, shape)


def inputs_of(exercise: Exercise, case: Case, key: str, draw: int) -> dict[str, Any]:
    """Return the keyword arguments of one draw; those of public cases have one decimal, because students see them."""
    inputs = dict(case.draw(generator(key, exercise.id, case.name, draw, case.public)))
    return {name: _rounded(value) for name, value in inputs.items()} if case.public else inputs


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    if isinstance(value, Energy):
        return Energy(_rounded(value.A), _rounded(value.c), value.kind)
    return np.round(value, 1) if isinstance(value, np.ndarray) and value.dtype == np.float64 else value


def error(given: Outputs, right: Outputs) -> float:
    """Return the largest relative error of the outputs, ||given - right|| / ||right||; inf if a shape differs."""
    if given.keys() != right.keys():
        return np.inf
    worst = 0.0
    for name, b in right.items():
        a = given[name]
        if a.shape != b.shape or not np.all(np.isfinite(a)):
            return np.inf
        norm = float(np.linalg.norm(b))
        worst = max(worst, float(np.linalg.norm(a - b)) / (norm if norm > 0 else 1.0))
    return worst


def difference(exercise: Exercise, given: Outputs, right: Outputs) -> str:
    """Say what is wrong with `given`, or return "": numbers of outputs first, then shapes, then relative errors."""
    if given.keys() != right.keys():
        return f"got {', '.join(given) or 'nothing'}, expected {', '.join(right)}"
    for name, b in right.items():
        a = given[name]
        if a.shape != b.shape:
            return f"{name} has the shape {a.shape}, expected {b.shape}"
        if not np.all(np.isfinite(a)):
            return f"{name} holds nan or inf"
        off = error({name: a}, {name: b})
        if off > exercise.tolerance:
            return f"{name} is off by {off:.1e} of its norm (at most {exercise.tolerance:.0e} is allowed)"
    return ""


def diagnose(exercise: Exercise, inputs: Inputs, given: Outputs, right: Outputs) -> str:
    """Return the message of the wrong form that gives `given` on these inputs and is not right on them, or ""."""
    for wrong in exercise.wrong:
        try:
            with np.errstate(all="ignore"):
                other = exercise.named(wrong.function(**copied(inputs)))
        except (ValueError, ArithmeticError, IndexError, np.linalg.LinAlgError):
            continue  # on these inputs this form has no value
        if difference(exercise, other, right) and equal(exercise, given, other):
            return wrong.message
    return ""


def equal(exercise: Exercise, given: Outputs, other: Outputs) -> bool:
    """Whether two answers are the same within the tolerance; nan and inf are equal to themselves."""
    return given.keys() == other.keys() and all(_close(a, other[name], exercise.tolerance) for name, a in given.items())


def _close(a: Array, b: Array, tolerance: float) -> bool:
    if a.shape != b.shape or not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return False
    finite = np.isfinite(a)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return False
    return float(np.linalg.norm(a[finite] - b[finite])) <= tolerance * (float(np.linalg.norm(b[finite])) or 1.0)


def copied(inputs: Inputs) -> dict[str, Any]:
    """Return the inputs with arrays of their own: a form that changes its arguments must not change ours."""
    return {
        name: [np.copy(each) for each in value] if isinstance(value, list) else np.copy(value)
        if isinstance(value, np.ndarray) else value
        for name, value in inputs.items()
    }  # fmt: skip
