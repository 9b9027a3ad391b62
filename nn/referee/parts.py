"""What is known beyond the diagonals: full matrices, and the layers inside one that drops terms."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from nn.module import Module, inside
from nn.recording import record
from nn.referee.derivatives import Derivatives
from nn.referee.judges import ENTRIES, Judge, said
from nn.referee.report import SAID, Line, compared
from nn.referee.trials import FullTrial, LayerTrial, LossTrial, second

WHOLE = ("hessian", "hessian_root", "backward_tangent")
"""What a loss may have beyond ``backward_hessian``."""


def layers_alone(trial: LayerTrial, rng: np.random.Generator, tolerance: float) -> Iterator[Line]:
    """Yield lines about the layers inside one that drops terms, each alone with its own input: these drop nothing.

    The whole is only measured; a wrong second derivative of one layer would hide behind what is dropped.
    """
    names = list(_exact(trial.layer))
    ran = trial.twin()
    with record(ran.layer, names) as seen:
        ran.energy()
    layers = dict(ran.layer.named_modules())
    for name in names:
        if seen[name]:
            x, _ = seen[name][-1]
            part = LayerTrial(copy.deepcopy(layers[name]), np.array(x), rng)
            derivatives = Derivatives(part, True, rng, tolerance, inside=f"{name}.")
            note = f"{part.name} alone"
            yield from (replace(line, note=line.note or note) for line in derivatives.second_lines(set(part.variables)))


def _exact(layer: Module, prefix: str = "") -> Iterator[str]:
    # The outermost layers that say that they drop nothing.
    for name, child in layer.children():
        if child.exact_diagonal:
            yield inside(prefix, name)
        else:
            yield from _exact(child, inside(prefix, name))


def full_rule(trial: LayerTrial, rng: np.random.Generator, tolerance: float) -> list[Line]:
    """Return the lines about ``backward_hessian_full``, if there is one for this input."""
    layer, x = trial.layer, trial.variables["x"]
    has = all(type(module).backward_hessian_full is not Module.backward_hessian_full for module in layer.modules())
    if not has or trial.g.ndim != 2 or x.size > ENTRIES:
        return []
    full = FullTrial(copy.deepcopy(layer), x, rng)
    ran = full.twin()
    ran.energy()
    name = f"{second('x')}, full"
    try:
        _, ours = ran.curvature()
    except Exception as error:
        return [Line(SAID, name, "backward_hessian_full", note=f"not checked: {said(error)}")]
    lines = []
    for key in full.variables:
        H, where, allowed = Judge(full, key, rng, tolerance).matrix()
        reference = _per_pattern(H, x.shape[-1]) if key == "x" else np.diagonal(H).reshape(full.variables[key].shape)
        lines.append(compared(f"{second(key)}, full", where, ours[f"{second(key)}, full"], reference, allowed))
    return lines


def matrix_of_loss(trial: LossTrial, rng: np.random.Generator, tolerance: float) -> Iterator[Line]:
    """Yield lines about what a loss has beyond the diagonal: ``hessian``, ``hessian_root`` and ``backward_tangent``."""
    y = trial.variables["y"]
    if y.ndim != 2 or y.size > ENTRIES or not any(hasattr(trial.loss, what) for what in WHOLE):
        return
    H, where, allowed = Judge(trial, "y", rng, tolerance).matrix()
    per_pattern, v = _per_pattern(H, y.shape[-1]), rng.standard_normal(y.shape)
    whole: dict[str, tuple[Callable[[Any], Any], np.ndarray]] = {
        "hessian": (lambda loss: loss.hessian(), per_pattern),
        "hessian_root": (lambda loss: _squared(loss.hessian_root()), per_pattern),
        "backward_tangent": (lambda loss: loss.backward_tangent(v), (H @ v.ravel()).reshape(y.shape)),
    }
    ran = trial.twin()
    ran.energy()
    for what, (ours, reference) in whole.items():
        if hasattr(trial.loss, what):
            yield compared(f"d2E/dy2, {what}", where, ours(ran.loss), reference, allowed)


def _squared(S: np.ndarray) -> np.ndarray:
    return np.einsum("ikn,jkn->ijn", S, S)


def _per_pattern(H: np.ndarray, N: int) -> np.ndarray:
    # The matrices (D, D, N) on the diagonal of (D N, D N), the pattern last.
    D = len(H) // N
    return np.stack([H.reshape(D, N, D, N)[:, n, :, n] for n in range(N)], axis=-1)
