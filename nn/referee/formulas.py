"""Derivatives of a function of an array, written down by hand, before the referees."""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np

from nn.backend import Array, to_numpy
from nn.referee import autograd
from nn.referee.arrays import fresh
from nn.referee.judges import Judge, said
from nn.referee.report import FAIL, PASS, SAID, Line, Report, compared
from nn.referee.trials import Arrays, Trial, first, second

FULL = f"{second('u')}, full"
Derivatives = Mapping[str, np.ndarray]


class FormulaTrial(Trial):
    """E(u) of a function, and the gradient that was written down for it."""

    value, sweep = "E", "the gradient"

    def __init__(self, E: Callable[[Any], Any], u: np.ndarray, gradient: Callable[[Any], Any] | None):
        self.name, self.E, self.gradient = getattr(E, "__name__", type(E).__name__), E, gradient
        self.variables = {"u": u}

    def twin(self) -> Self:
        """Return a copy that shares the functions."""
        return copy.copy(self)

    def energy(self, changed: Mapping[str, Array] | None = None) -> Array:
        """Return E."""
        self.before = {**self.variables, **(changed or {})}
        self.u = fresh(self.before["u"])
        return self.E(self.u)

    def given(self) -> tuple[Arrays, Arrays]:
        """Return u, as it was and as it is."""
        return self.before, {"u": self.u}

    def has_sweep(self) -> bool:
        """Return whether the gradient is a function of u."""
        return self.gradient is not None

    def back(self) -> Arrays:
        """Return the gradient."""
        assert self.gradient is not None
        return {first("u"): np.asarray(self.gradient(fresh(self.before["u"])))}


def examined(
    E: Callable[[Any], Any], u: np.ndarray, written: Mapping[str, Any], rng: np.random.Generator, tolerance: float
) -> Report:
    """Return the report about the derivatives of E that are `written`, by name: arrays, or functions of u."""
    if not callable(E):
        raise TypeError(f"expected E as a function of an array, got {type(E).__name__}")
    if all(value is None for value in written.values()):
        raise ValueError("expected a gradient, hess_diag or hessian to judge, got none of them")
    gradient = written[first("u")]
    trial = FormulaTrial(E, u, gradient if callable(gradient) else None)
    _check_value(trial)
    ours = {name: _evaluated(name, value, u) for name, value in written.items() if value is not None}
    judge = Judge(trial, "u", rng, tolerance)
    lines = [*_by_numpy(judge, ours), *_by_autograd(judge, ours)]
    before, after = trial.given()
    unchanged = compared("u", "itself before E", after["u"], before["u"], 0.0)
    return Report(f"{trial.name} of u {u.shape}", lines + [unchanged] * (unchanged.mark == FAIL))


def _check_value(trial: FormulaTrial) -> None:
    values = []
    for _ in range(2):
        try:
            values.append(trial.energy())
        except Exception as error:
            raise ValueError(
                f"{trial.name} raised {said(error)} for u of shape {trial.variables['u'].shape}"
            ) from error
        if np.iscomplexobj(values[-1]) or not np.issubdtype(np.asarray(values[-1]).dtype, np.number):
            raise ValueError(f"expected {trial.name} to give a real number, got {values[-1]!r}")
        trial.checked(values[-1])
    if values[0] != values[1]:
        raise ValueError(f"expected {trial.name} to give one number for one u, got {values[0]} and then {values[1]}")


def _evaluated(name: str, value: Any, u: np.ndarray) -> np.ndarray:
    # What was written down, as an array of the shape that it has to have.
    array = value(u.copy()) if callable(value) else value
    try:
        array = np.asarray(to_numpy(array), dtype=np.float64)
    except (TypeError, ValueError, RuntimeError):
        try:
            array = np.asarray(array, dtype=np.float64)
        except (TypeError, ValueError):
            raise TypeError(f"expected {name} as an array of numbers, got {type(array).__name__}") from None
    if name != FULL:
        if array.shape != u.shape:
            raise ValueError(f"expected {name} of the shape of u, {u.shape}, got {array.shape}")
        return array
    if array.shape not in ((u.size, u.size), (*u.shape, *u.shape)):
        raise ValueError(f"expected {name} of shape {(u.size, u.size)} for {u.size} numbers, got {array.shape}")
    return array.reshape(u.size, u.size)


def _by_numpy(judge: Judge, ours: Derivatives) -> Iterator[Line]:
    found = judge.first()
    yield from _unsafe(judge, "E")
    reference = {first("u"): found.values}
    lines = list(_lines(judge, found.referee, ours, reference, found.tolerance))
    yield from lines
    if len(ours) == len(lines):
        return
    trusted = judge.trial.has_sweep() and lines[0].mark == PASS
    H, where, allowed = judge.matrix() if trusted else judge.matrix_of_energy()
    yield from _unsafe(judge, "the gradient") if trusted else ()
    yield from _lines(judge, where, ours, {second("u"): np.diagonal(H), FULL: H}, allowed)


def _by_autograd(judge: Judge, ours: Derivatives) -> Iterator[Line]:
    if not autograd.present():
        return
    twice, where = bool({second("u"), FULL} & set(ours)), "torch.autograd of E"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's functions warn before they refuse tensors
            g, H = autograd.derivatives(judge, twice)
    except Exception as error:
        yield Line(SAID, "all", where, note=f"not asked, for E takes no tensors: {said(error)}")
        return
    yield from _lines(judge, where, ours, {first("u"): g}, judge.tolerance)
    if twice:
        yield from _lines(judge, f"{where}, twice", ours, {second("u"): np.diagonal(H), FULL: H}, judge.tolerance)


def _lines(judge: Judge, where: str, ours: Derivatives, found: Derivatives, allowed: float) -> Iterator[Line]:
    judged, n = len(judge.entries), judge.whole.size
    note = "" if judged == n else f"{judged} of {n:,} numbers"
    for name, values in found.items():
        if name in ours:
            rows = np.ix_(judge.entries, judge.entries)
            chosen = ours[name][rows] if name == FULL else judge.chosen(ours[name])
            line = compared(name, where, chosen, values, allowed)
            yield replace(line, note=line.note or note)


def _unsafe(judge: Judge, where: str) -> Iterator[Line]:
    if judge.unsafe:
        note = f"{where} is not complex-safe: {judge.unsafe}; central differences judge instead"
        yield Line(SAID, "complex numbers", f"complex step of {where}", note=note)
