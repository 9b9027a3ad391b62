"""What is known beyond the diagonals: full matrices, and the layers inside one that drops terms."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from nn.backend import Array
from nn.module import Module, inside
from nn.recording import record
from nn.referee.derivatives import Derivatives
from nn.referee.judges import ENTRIES, Judge, said
from nn.referee.report import FAIL, SAID, Line, compared
from nn.referee.trials import Arrays, LayerTrial, LossTrial, first, second

WHOLE = ("hessian", "hessian_root", "backward_tangent")
"""What a loss may have beyond ``backward_hessian``."""


class FullTrial(LayerTrial):
    """E = sum_n (g_n^T y_n + y_n^T H_n y_n / 2) of outputs (D, N): a bowl with a full matrix for every pattern."""

    def draw_bowl(self, shape: tuple[int, ...], rng: np.random.Generator) -> None:
        """Draw g and the symmetric H (D, D, N)."""
        self.g = rng.standard_normal(shape)
        H = rng.standard_normal((shape[0], *shape))
        self.h = H + np.swapaxes(H, 0, 1)

    def bowl(self, y: Array) -> Array:
        """Return the terms of E."""
        return self.g * y + y * np.sum(self.h * y, axis=1) / 2

    def signals(self, y: Array) -> tuple[Array, Array]:
        """Return dE/dy and the matrices d2E/dy2."""
        return self.g + np.sum(self.h * y, axis=1), self.h + 0 * y

    def curvature(self) -> tuple[Arrays, Arrays]:
        """Return the pair of ``backward_hessian_full``, and grad and hess_diag, which are exact."""
        gx, Hx = self.layer.backward_hessian_full(self.gy, self.hy)
        seconds = {f"{second('x')}, full": Hx}
        for name, h in self.left(second, "hess_diag").items():
            seconds[f"{name}, full"] = h
        return {first("x"): gx} | self.left(first, "grad"), seconds


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


def full_rule(trial: LayerTrial, trusted: set[str], rng: np.random.Generator, tolerance: float) -> list[Line]:
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
    judges = {key: Judge(full, key, rng, tolerance) for key in full.variables}
    return [_full_line(judge, ours[f"{second(key)}, full"], key in trusted) for key, judge in judges.items()]


def _full_line(judge: Judge, ours: Any, trusted: bool) -> Line:
    # Of x the matrices of the patterns, of a parameter the diagonal; at a kink there is no second derivative.
    name, judged = f"{second(judge.key)}, full", judge.matrix_by(trusted)
    if judged is None:
        return Line(SAID, name, "nothing", note=f"not judged, as {first(judge.key)} is wrong")
    H, where, allowed = judged
    if judge.key != "x":
        return compared(name, where, judge.chosen(ours), np.diagonal(H), allowed)
    N = judge.whole.shape[-1]
    line = compared(name, where, ours, _per_pattern(H, N), allowed)
    if line.mark != FAIL or line.error is None or not np.any(judge.kinks):
        return line
    smooth = np.where(judge.kinks, 0.0, 1.0)
    keep = _per_pattern(np.outer(smooth, smooth), N)
    return compared(name, where, ours * keep, _per_pattern(H, N) * keep, allowed)


def matrix_of_loss(trial: LossTrial, trusted: set[str], rng: np.random.Generator, tolerance: float) -> Iterator[Line]:
    """Yield lines about what a loss has beyond the diagonal: ``hessian``, ``hessian_root`` and ``backward_tangent``."""
    y = trial.variables["y"]
    if y.ndim != 2 or y.size > ENTRIES or not any(hasattr(trial.loss, what) for what in WHOLE):
        return
    judged = Judge(trial, "y", rng, tolerance).matrix_by("y" in trusted)
    if judged is None:
        yield Line(SAID, f"{second('y')}, full", "nothing", note=f"not judged, as {first('y')} is wrong")
        return
    H, where, allowed = judged
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
