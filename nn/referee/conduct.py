"""How a subject has to behave while it computes: once more the same, nothing changed in place, no other dtype."""

import copy
import warnings
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from nn.backend import dtype_name, get_array_module, to_numpy
from nn.referee import autograd
from nn.referee.judges import installed, said
from nn.referee.report import FAIL, SAID, Line, all_compared, together
from nn.referee.trials import Arrays, Trial

NEAR = 1e-3
"""How far results in float32 may be from those in float64."""


def outcome(trial: Trial, twice: bool) -> Arrays:
    """Run a trial, in place, and return copies of all it has computed, by name."""
    E = trial.energy()
    found = trial.outputs(E) | trial.back()
    return copies(found | trial.curvature()[1] if twice else found)


def copies(found: Arrays) -> Arrays:
    """Return copies of the arrays, which the next sweep may overwrite."""
    return {name: copy.deepcopy(array) for name, array in found.items()}


def repeated(trial: Trial, twice: bool, tolerance: float) -> Iterator[Line]:
    """Yield what is not the same when it is computed once more: by backward, by backward_hessian, by forward."""
    ran = trial.twin()
    once = outcome(ran, twice)
    firsts = {name: array for name, array in once.items() if name.startswith("dE/")}
    seconds = {name: array for name, array in once.items() if name.startswith("d2E/")}
    yield from together(all_compared("backward a second time", ran.back(), firsts, 0.0))
    if twice:
        also, again = ran.curvature()
        yield from together(all_compared("backward_hessian a second time", again, seconds, 0.0))
        yield from together(all_compared("backward beside backward_hessian", also, firsts, tolerance, trial.scale()))
    for both in (False, True)[: 1 + twice]:
        alone = trial.twin()
        alone.energy()
        name, found = alone.of_parameters(both)
        reference = {key: once[key] for key in found}
        yield from together(all_compared(name, found, reference, tolerance, trial.scale()))
    ran.rewind(trial)
    hint = "noise, or state, that is neither a generator of the layer nor one of its buffers?"
    for line in together(all_compared("forward a second time", outcome(ran, twice), once, 0.0)):
        yield replace(line, note=line.note or hint) if line.mark == FAIL else line


def in_place(trial: Trial, twice: bool) -> list[Line]:
    """Return what the forward or a sweep back has changed of what it was given."""
    ran = trial.twin()
    outcome(ran, twice)
    before, after = ran.given()
    return together(all_compared("itself before the sweeps", after, before, 0.0))


def in_dtype(trial: Trial, twice: bool, dtype: Any, reference: Arrays) -> list[Line]:
    """Return what is of another dtype than all that goes in, or far from the result in float64."""
    name, ran = np.dtype(dtype).name, trial.in_dtype(dtype)
    where = f"{name} in, {name} out"
    found = outcome(ran, twice)
    lines = []
    for line in all_compared(where, found, reference, NEAR, trial.scale()):
        array = found[line.name]
        given = dtype_name(array.dtype) if hasattr(array, "dtype") else type(array).__name__
        right = given == name or array is None
        lines.append(line if right else replace(line, mark=FAIL, note=f"is {given}"))
    return together(lines)


def libraries() -> Iterator[tuple[str, Any]]:
    """Yield (name, library) of the array libraries other than NumPy that are installed."""
    if installed("array_api_strict"):
        import array_api_strict as strict

        device = strict.Device("device1")  # not the default: creation without a device then fails, as on a GPU
        yield "array-api-strict", SimpleNamespace(asarray=lambda array: strict.asarray(array, device=device))
    if autograd.present():
        yield "torch tensors", autograd.library()


def elsewhere(trial: Trial, twice: bool, reference: Arrays, tolerance: float) -> Iterator[Line]:
    """Yield what other array libraries make of it; a subject that does not run there is for NumPy only."""
    for name, xp in libraries():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # NumPy's functions warn before they refuse other arrays
                ran = trial.moved(xp)
                found = outcome(ran, twice)
        except Exception as error:
            yield Line(SAID, "all", name, note=f"does not run there: {said(error.__cause__ or error)}")
            continue
        own = get_array_module(next(iter(ran.variables.values())))
        strangers = {key for key, array in found.items() if array is not None and get_array_module(array) is not own}
        arrays = {key: None if array is None else to_numpy(array) for key, array in found.items()}
        lines = all_compared(name, arrays, reference, tolerance, trial.scale())
        note = "came back as an array of another library"
        yield from together(replace(line, mark=FAIL, note=note) if line.name in strangers else line for line in lines)
