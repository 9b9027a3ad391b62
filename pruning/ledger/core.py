"""Statements that can be run: what a source prints, the right form, how it goes wrong, and a referee that judges both.

A `Formula` is a function of arrays: its right form, its wrong forms and its referees have one signature, so that tests,
the command ``python -m pruning verify``, the page of the book and the exercises use the same ones.  A `Claim` is
anything else that ends in errors: recursions, golden counts, convergence, nets that compute the same.

A right form holds if its largest error is at most the tolerance; a wrong form is caught if its smallest is above it.
Both keep a distance of a factor `MARGIN` (``make proofs`` measures it over twenty seeds).  A tolerance of 0 means
equality, of whole numbers for instance.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

MARGIN = 20
VERDICTS = {
    "right": "as printed",
    "right if": "under a condition that is not printed",
    "scale": "for one scaling of the objective only",
    "slip": "after a slip of the pen is mended",
    "wrong": "false as stated",
    "lost": "not in the source as we have it: restored, or derived here",
}
Draw = Mapping[str, Any]


@dataclass(frozen=True)
class Form:
    """A form of a formula: its name, its function, and for a wrong one the sentence that explains it.

    What `needs` a package (torch) is left out where that is not installed.
    """

    name: str
    function: Callable[..., Any]
    message: str = ""
    needs: str | None = None

    def there(self) -> bool:
        """Whether what it needs is installed."""
        return self.needs is None or find_spec(self.needs) is not None


@dataclass(frozen=True)
class Measured:
    """An error that a claim measured: of the right form, or of a wrong one with the sentence that explains it."""

    name: str
    error: float
    wrong: bool = False
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Statement:
    r"""What all rows have.

    Attributes
    ----------
    id : as "S0-F6": S0 and S1 are the lecture's slides, S2 the survey, S3 the P-RM paper, S4 Li et al.; D is derived.
    title : a few words.
    printed : the statement as the source prints it, in LaTeX; what the source lacks, as it should be.
    verdict : one of `VERDICTS`: what became of it when it was checked.
    remark : one plain sentence.
    where : the slide, equation or section of the source.
    code : dotted names of the right form, separated by commas.
    notebook : such as "02, section 3".
    tolerance : of the relative error, or of what a claim calls one.
    """

    id: str
    title: str
    printed: str
    verdict: str
    remark: str
    where: str
    code: str
    notebook: str
    tolerance: float = 1e-12

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"{self.id}: expected a verdict of {', '.join(VERDICTS)}; got {self.verdict!r}")


@dataclass(frozen=True, kw_only=True)
class Formula(Statement):
    """A function of arrays: ``right(**draw(rng))`` is judged by every referee that is there, over `draws` draws.

    The first referee needs nothing but NumPy; none shares code with what it judges.
    """

    draw: Callable[[np.random.Generator], Draw]
    right: Callable[..., Any]
    referees: tuple[Form, ...]
    wrong: tuple[Form, ...]
    draws: int = 5


@dataclass(frozen=True, kw_only=True)
class Claim(Statement):
    """Anything that ends in errors: ``measure(rng)`` yields what was `Measured`; `referee` names who judged."""

    measure: Callable[[np.random.Generator], Iterable[Measured]]
    referee: str


@dataclass(frozen=True)
class Caught:
    """A wrong form, and the smallest error that it showed."""

    name: str
    error: float
    caught: bool
    message: str


@dataclass(frozen=True)
class Outcome:
    """What a statement measured: the largest error of the right form, and every wrong form."""

    statement: Statement
    referees: tuple[str, ...]
    error: float
    wrong: tuple[Caught, ...]
    seconds: float

    @property
    def right(self) -> bool:
        """Whether the right form agrees with its referees."""
        return self.error <= self.statement.tolerance

    @property
    def ok(self) -> bool:
        """Whether the right form agrees with its referees and every wrong form is caught."""
        return self.right and all(each.caught for each in self.wrong)

    @property
    def margin(self) -> float:
        """The factor between the tolerance and the nearest error; infinite where all is a matter of equality."""
        tolerance, least = self.statement.tolerance, np.min([each.error for each in self.wrong] or [np.inf])
        if tolerance == 0:
            return np.inf if self.ok else 0.0
        return float(np.minimum(tolerance / self.error if self.error else np.inf, least / tolerance))


def relative(a: Any, b: Any) -> float:
    """Return ||a - b|| / ||b||, the largest over the outputs if there are several; infinite where a is not finite.

    Raises
    ------
    ValueError
        If there are not as many outputs, or two have different shapes.
    """
    ours, theirs = (each if isinstance(each, tuple) else (each,) for each in (a, b))
    if len(ours) != len(theirs):
        raise ValueError(f"expected {len(theirs)} outputs, got {len(ours)}")
    return max(_relative(np.asarray(one), np.asarray(other)) for one, other in zip(ours, theirs))


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    if a.shape != b.shape:
        raise ValueError(f"expected an array of the shape {b.shape}, got {a.shape}")
    with np.errstate(all="ignore"):
        size = float(np.linalg.norm(b.astype(float)))
        error = float(np.linalg.norm(a.astype(float) - b.astype(float))) / (size if size > 0 else 1.0)
    return error if np.isfinite(error) else np.inf


def run(statement: Statement, seed: int = 0) -> Outcome:
    """Measure one statement; the draws depend on the seed and the id alone, not on what else is run."""
    started, rng = time.perf_counter(), np.random.default_rng([seed, *statement.id.encode()])
    if isinstance(statement, Formula):
        referees, measured = _judged(statement, rng)
    else:
        assert isinstance(statement, Claim)
        referees, measured = (statement.referee,), list(statement.measure(rng))
    # NumPy's largest and smallest keep what is not a number, which has neither passed nor been caught.
    error = float(np.max([each.error for each in measured if not each.wrong] or [np.inf]))
    smallest = {}
    for name, message in {each.name: each.message for each in measured if each.wrong}.items():
        least = float(np.min([each.error for each in measured if each.wrong and each.name == name]))
        smallest[name] = Caught(name, least, least > statement.tolerance, message)
    return Outcome(statement, referees, error, tuple(smallest.values()), time.perf_counter() - started)


def _judged(formula: Formula, rng: np.random.Generator) -> tuple[tuple[str, ...], list[Measured]]:
    referees = [referee for referee in formula.referees if referee.there()]
    measured = []
    for _ in range(formula.draws):
        inputs = formula.draw(rng)
        reference = referees[0].function(**inputs)
        for referee in referees:
            judged = relative(formula.right(**inputs), referee.function(**inputs))
            measured.append(Measured("right form", judged))
        with np.errstate(all="ignore"):
            for form in formula.wrong:
                off = relative(form.function(**inputs), reference)
                measured.append(Measured(form.name, off, wrong=True, message=form.message))
    return tuple(referee.name for referee in referees), measured
