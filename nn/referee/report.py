"""What a verdict looks like: one line a derivative and referee, printed as a table, true or false, plain JSON."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from nn.backend import to_numpy

PASS, FAIL, SAID = "PASS", "FAIL", "----"
"""Marks: right, wrong, and what is only said or measured."""


@dataclass(frozen=True)
class Line:
    """One derivative before one referee.

    Attributes
    ----------
    mark : "PASS", "FAIL", or "----" for what is said or measured and judges nothing.
    name : the derivative ("dE/dx", "d2E/dW2"), or whatever else was held against something.
    referee : what it was held against.
    error, tolerance : relative; None where there is no number, or an infinite one.
    note : one remark in plain words, or "".
    mode : "eval" or "train" where a layer does different things in the two, else "".
    """

    mark: str
    name: str
    referee: str
    error: float | None = None
    tolerance: float | None = None
    note: str = ""
    mode: str = ""

    def cells(self) -> list[str]:
        """Return the columns of the table."""
        where = f"{self.referee}, {self.mode} mode" if self.mode else self.referee
        return [self.mark, self.name, where, _short(self.error), _short(self.tolerance), self.note]


def _short(number: float | None) -> str:
    if number is None:
        return ""
    return f"{number:.0e}" if number else "0"


@dataclass
class Report:
    """What `nn.verify` and `nn.verify_formula` return: it prints as a table, and is true if no line failed.

    Attributes
    ----------
    subject : what was on trial, in words.
    lines : list of `Line`.
    """

    subject: str
    lines: list[Line] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether no line failed."""
        return not self.failed()

    def failed(self) -> list[Line]:
        """Return the lines that failed."""
        return [line for line in self.lines if line.mark == FAIL]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON, without NaN or infinity."""
        return {"subject": self.subject, "ok": self.ok, "lines": [asdict(line) for line in self.lines]}

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        names = list(dict.fromkeys(line.name for line in self.failed()))
        verdict = f"wrong: {', '.join(names)}" if names else "nothing wrong was found"
        rows = [["", "derivative", "held against", "error", "allowed", ""], *(line.cells() for line in self.lines)]
        widths = [max(map(len, column)) for column in zip(*rows)]
        return "\n".join([f"{self.subject}: {verdict}", *(_row(cells, widths) for cells in rows)])


def _row(cells: list[str], widths: list[int]) -> str:
    # Numbers to the right, words to the left.
    pairs = list(zip(cells, widths))
    words = [cell.ljust(width) for cell, width in pairs]
    numbers = [cell.rjust(width) for cell, width in pairs]
    return "  ".join([*words[:3], *numbers[3:5], words[5]]).rstrip()


def size(*arrays: Any) -> float:
    """Return the Euclidean norm of all the arrays together."""
    return math.sqrt(sum(float(np.linalg.norm(np.ravel(array))) ** 2 for array in arrays))


def compared(name: str, referee: str, ours: Any, reference: Any, tolerance: float, scale: float = 0.0) -> Line:
    """Return the line of  error = ||ours - reference|| / max(||reference||, scale / 1000).

    `scale` is the size of what belongs together.  Of a derivative that is zero but for rounding, the noise is small
    beside the others and not beside itself.
    """
    problem = _unlike(ours, np.shape(reference))
    if problem:
        return Line(FAIL, name, referee, None, tolerance, problem)
    difference = size(to_numpy(ours) - reference)
    against = max(size(reference), 1e-3 * scale)
    error = difference / against if against > 0 else (0.0 if difference == 0 else math.inf)
    mark = PASS if error <= tolerance else FAIL
    tiny = mark == FAIL and tolerance > 0 and size(reference) < 1e-12
    note = "is 0 by the referee, up to rounding: another point tells more" if tiny else ""
    return Line(mark, name, referee, error if math.isfinite(error) else None, tolerance, note)


def _unlike(ours: Any, shape: tuple[int, ...]) -> str:
    # Why these numbers cannot be compared at all, or "".
    if ours is None:
        return "was not computed"
    if not hasattr(ours, "shape"):
        return f"is no array but {type(ours).__name__}"
    if tuple(ours.shape) != tuple(shape):
        return f"has the shape {tuple(ours.shape)}, expected {tuple(shape)}"
    return "" if np.all(np.isfinite(to_numpy(ours))) else "holds NaN or infinity"


def all_compared(
    referee: str, ours: Mapping[str, Any], reference: Mapping[str, Any], tolerance: float, scale: float = 0.0
) -> Iterator[Line]:
    """Yield `compared` for every name of the reference; first and second derivatives have one scale each."""
    for name, array in reference.items():
        kind = name.partition("/")[0]
        alike = [other for key, other in reference.items() if key.startswith(f"{kind}/")]
        yield compared(name, referee, ours.get(name), array, tolerance, size(scale, *alike) if alike else 0.0)


def together(lines: Iterable[Line]) -> list[Line]:
    """Return the lines of one referee that failed; if none did, one line for all of them."""
    lines = list(lines)
    failed = [line for line in lines if line.mark == FAIL]
    if failed or not lines:
        return failed
    names = ", ".join(line.name for line in lines)
    name = names if len(names) <= 22 else f"{lines[0].name} and {len(lines) - 1} more"
    return [replace(lines[0], name=name, error=max(line.error or 0.0 for line in lines))]
