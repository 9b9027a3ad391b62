"""Everything that is asked of one subject, in the order of the report."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np

from nn.activations import Activation
from nn.module import Module
from nn.referee.arrays import cast, cast_layer
from nn.referee.conduct import elsewhere, in_dtype, in_place, outcome, repeated
from nn.referee.derivatives import Derivatives
from nn.referee.judges import said
from nn.referee.parts import full_rule, layers_alone, matrix_of_loss
from nn.referee.report import FAIL, SAID, Line, Report, all_compared, together
from nn.referee.trials import LayerTrial, LossTrial, Trial, second


class Examination:
    """The examination of one subject; what `rng` draws for its trial is the same in both modes."""

    def __init__(self, rng: np.random.Generator, tolerance: float):
        self.seed, self.rng, self.tolerance = int(rng.integers(2**62)), rng, tolerance

    def loss(self, loss: Any, y: np.ndarray, t: Any) -> Report:
        """Examine a loss with its targets."""
        trial = LossTrial(loss, y, cast(t, np.float64))
        self._warm(trial)
        twice, lines = self._twice(trial)
        derivatives = Derivatives(trial, twice, self.rng, self.tolerance)
        lines += derivatives.lines()
        lines += matrix_of_loss(trial, derivatives.trusted, self.rng, self.tolerance)
        lines += self._conduct(trial, twice)
        return Report(f"{trial.name} of outputs {y.shape}", lines)

    def layer(self, layer: Module, x: np.ndarray) -> Report:
        """Examine a layer in eval mode, and in train mode too if it computes something else there."""
        layer.to(np)
        cast_layer(layer, np.float64)
        eval_mode, train_mode = (self._in_mode(layer, training, x) for training in (False, True))
        (twice, lines), (also, more) = self._twice(eval_mode), self._twice(train_mode)
        keys = [key for key in eval_mode.variables if key != "x"]
        of = f"with parameters {', '.join(keys)}" if keys else "without parameters"
        report = Report(f"{eval_mode.name} on x {x.shape}, {of}")
        lines += self._all_of(eval_mode, twice)
        found, in_train = outcome(eval_mode.twin(), twice), outcome(train_mode.twin(), also)
        if twice == also and all(np.array_equal(in_train[name], array) for name, array in found.items()):
            report.lines = lines + together(all_compared("eval mode, in train mode", in_train, found, 0.0))
            return report
        more += self._all_of(train_mode, also)
        report.lines = [replace(line, mode="eval") for line in lines] + [replace(line, mode="train") for line in more]
        return report

    def _in_mode(self, layer: Module, training: bool, x: np.ndarray) -> LayerTrial:
        twin = copy.deepcopy(layer)
        twin.train() if training else twin.eval()
        trial = LayerTrial(twin, x, np.random.default_rng(self.seed))
        self._warm(trial)
        return trial

    def _warm(self, trial: Trial) -> None:
        # One pass on the same numbers in another order: what is remembered of it must not be used again.
        key, x = next(iter(trial.variables.items()))
        trial.energy({key: self.rng.permutation(x.ravel()).reshape(x.shape)})
        trial.back()

    def _twice(self, trial: Trial) -> tuple[bool, list[Line]]:
        # Whether there is a sweep of second derivatives; if not, a line that says so.
        ran = trial.twin()
        ran.checked(ran.energy())
        ran.back()
        try:
            ran.curvature()
        except Exception as error:
            return False, [_no_curvature(trial, error)]
        return True, []

    def _all_of(self, trial: LayerTrial, twice: bool) -> list[Line]:
        exact = trial.layer.exact_diagonal
        derivatives = Derivatives(trial, twice, self.rng, self.tolerance, exact)
        lines = [*derivatives.lines()]
        if twice and not exact:
            lines += together(layers_alone(trial, self.rng, self.tolerance))
        lines += full_rule(trial, derivatives.trusted, self.rng, self.tolerance)
        return lines + self._conduct(trial, twice)

    def _conduct(self, trial: Trial, twice: bool) -> list[Line]:
        reference = outcome(trial.twin(), twice)
        return [
            *repeated(trial, twice, self.tolerance),
            *in_place(trial, twice),
            *(line for line in in_dtype(trial, twice, np.float64, reference) if line.mark == FAIL),
            *in_dtype(trial, twice, np.float32, reference),
            *elsewhere(trial, twice, reference, self.tolerance),
        ]


def _no_curvature(trial: Trial, error: Exception) -> Line:
    # A layer without the rule says so; one whose rule breaks down has failed.
    name = second(next(iter(trial.variables)))
    missing = [type(module).__name__ for module in trial.modules() if _has_no_rule(module)]
    if missing or (isinstance(trial, LossTrial) and not hasattr(trial.loss, "backward_hessian")):
        where = f" in {missing[0]}" if missing and missing[0] != trial.name else ""
        return Line(SAID, name, "nothing", note=f"no backward_hessian{where}: second derivatives not checked")
    refused = isinstance(error, NotImplementedError) or (isinstance(error, ValueError) and trial.in_training())
    note = f"second derivatives not checked: {said(error)}"
    return Line(SAID if refused else FAIL, name, "backward_hessian", note=note)


def _has_no_rule(module: Module) -> bool:
    rule = type(module).backward_hessian
    without = isinstance(module, Activation) and type(module).d2f is Activation.d2f
    return rule is Module.backward_hessian or (without and rule is Activation.backward_hessian)
