"""Every first and second derivative of a trial before its referees."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from nn.referee import autograd
from nn.referee.judges import Found, Judge, said
from nn.referee.report import FAIL, PASS, SAID, Line, compared, size
from nn.referee.trials import Trial, first, second

DROPS = "the layer says that it drops terms"
IF_DROPPED = "a layer that drops terms says exact_diagonal = False"
EXACT_HERE = "exact here, though the layer says that it drops terms"


class Derivatives:
    """The derivatives of one trial in one mode, and the lines about them.

    Parameters
    ----------
    trial : what is on trial.
    twice : whether it has second derivatives.
    exact : whether the subject says that these are exact, given a diagonal d2E/dy2; if not, they are measured.
    inside : where the subject stands in a larger one, such as "3.body.0.", or "".

    Attributes
    ----------
    trusted : the variables whose gradient is right, known once the lines are made.
    """

    def __init__(
        self,
        trial: Trial,
        twice: bool,
        rng: np.random.Generator,
        tolerance: float,
        exact: bool = True,
        inside: str = "",
    ):
        self.trial, self.twice, self.exact, self.inside = trial, twice, exact, inside
        self.judges = {key: Judge(trial, key, rng, tolerance) for key in trial.variables}
        ran = trial.twin()
        ran.energy()
        self.ours = ran.back()
        self.trusted: set[str] = set()
        if twice:
            self.ours |= ran.curvature()[1]

    def lines(self) -> Iterator[Line]:
        """Yield a line for every derivative and referee."""
        found = {key: judge.first() for key, judge in self.judges.items()}
        yield from self._unsafe("forward")
        firsts = list(self._lines(first, found))
        wrong = {line.name for line in firsts if line.mark == FAIL}
        self.trusted = {key for key in self.judges if first(key) not in wrong}
        yield from firsts
        if self.twice:
            yield from self.second_lines(self.trusted)
        yield from self._autograd()

    def second_lines(self, trusted: set[str]) -> Iterator[Line]:
        """Yield a line for the second derivative by every variable; `trusted` are those whose gradient is right."""
        found = {key: judge.second(key in trusted) for key, judge in self.judges.items() if key not in self.trial.once}
        yield from self._unsafe("backward")
        yield from self._lines(second, found)

    def _autograd(self) -> Iterator[Line]:
        if not autograd.present():
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # NumPy's functions warn before they refuse tensors
                found = {key: autograd.derivatives(judge, self.twice) for key, judge in self.judges.items()}
        except Exception as error:
            note = f"not asked, for forward takes no tensors: {said(error.__cause__ or error)}"
            yield Line(SAID, "all", "torch.autograd of forward", note=note)
            return
        allowed = {key: judge.tolerance for key, judge in self.judges.items()}
        where = "torch.autograd of forward"
        yield from self._lines(first, {key: Found(where, g, allowed[key]) for key, (g, _) in found.items()})
        if self.twice:
            where += ", twice"
            twice = {key: H for key, (_, H) in found.items() if key not in self.trial.once}
            diagonals = {key: Found(where, np.diagonal(H), allowed[key]) for key, H in twice.items()}
            yield from self._lines(second, diagonals)

    def _lines(self, naming: Callable[[str], str], found: dict[str, Found]) -> Iterator[Line]:
        scale = size(self.trial.scale(), *(each.values for each in found.values()))
        for key, each in found.items():
            judge, ours = self.judges[key], self.ours.get(naming(key))
            line = compared(naming(key), each.referee, judge.chosen(ours), each.values, each.tolerance, scale)
            if line.mark == FAIL and line.error is not None and np.any(judge.kinks):
                line = _smooth(line, judge, judge.chosen(ours), each, scale)
            judged, n = len(judge.entries), judge.whole.size
            note = line.note or ("" if judged == n else f"{judged} of {n:,} numbers")
            line = replace(line, note=note, name=naming(self.inside + key))
            yield self._weighed(line) if naming is second else line

    def _weighed(self, line: Line) -> Line:
        # What the layer says that it drops is measured, not failed.
        if self.exact:
            joins = line.mark == FAIL and len(list(self.trial.modules())) > 1
            return replace(line, note=line.note or IF_DROPPED) if joins else line
        if line.error is None:
            return line
        return replace(line, note=EXACT_HERE) if line.mark == PASS else replace(line, mark=SAID, note=DROPS)

    def _unsafe(self, where: str) -> Iterator[Line]:
        unsafe = {key: judge.unsafe for key, judge in self.judges.items() if judge.unsafe}
        for reason in dict.fromkeys(unsafe.values()):
            keys = ", ".join(self.inside + key for key, of_key in unsafe.items() if of_key == reason)
            note = f"{where} is not complex-safe in {keys}: {reason}; central differences judge instead"
            yield Line(SAID, "complex numbers", f"complex step of {where}", note=note)


def _smooth(line: Line, judge: Judge, ours: np.ndarray, found: Found, scale: float) -> Line:
    # At a kink every slope between those of its two sides is right, and no second derivative is defined.  Where the
    # kinks of several layers meet, even the slope that each layer takes by its rule need not lie between.
    left, right = np.sort(judge.slopes, axis=0)
    between = (ours >= left - 1e-4 * (1 + np.abs(left))) & (ours <= right + 1e-4 * (1 + np.abs(right)))
    alone = len(list(judge.trial.modules())) <= 1
    out = judge.kinks & (between if alone and line.name == first(judge.key) else True)
    if np.all(out):
        return replace(line, mark=SAID, note="not judged: every number stands at a kink")
    if not np.any(out):
        return line
    smooth = compared(line.name, line.referee, ours[~out], found.values[~out], found.tolerance, scale)
    return replace(smooth, note=smooth.note or f"{np.sum(out)} of {out.size} numbers stand at a kink and are left out")
