"""The three stages train, prune, retrain; with OBD's saliency, the six steps of the lecture.

1 choose a net, 2 train it, 3 compute h_kk, 4 compute s_k = h_kk u_k^2 / 2, 5 delete some low-saliency weights,
6 go back to 2.  `prune_and_retrain` starts after step 2 and does the rest, for any score.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nn.backend import Array, get_array_module
from nn.batches import evaluate
from nn.curvature import gradient, hess_diag, hessian_vector_product
from nn.module import Module
from pruning import masks
from pruning.schedules import check_sparsity
from pruning.scores import obd


@dataclass(frozen=True)
class Objective:
    """What is minimised: E = loss over the training data + (weight_decay / 2) ||u||^2, and the data to test on.

    Decay is part of E here because it is part of what training minimised: the gradient is zero, and OBD's parabola
    sits at its bottom, only for the sum.
    """

    loss: Any
    train: tuple[Array, Array]
    test: tuple[Array, Array]
    weight_decay: float = 0.0
    batch_size: int | None = 1000

    def value(self, net: Module) -> float:
        """Return E."""
        return evaluate(net, self.loss, *self.train, self.batch_size)[0] + self._decay(net)

    def _decay(self, net: Module) -> float:
        squares = [get_array_module(u.data).sum(u.data * u.data) for u in net.parameters()]
        return self.weight_decay / 2 * float(sum(squares))

    def measure(self, net: Module) -> dict[str, float]:
        """Return E, the training loss and accuracy without decay, and the test loss and accuracy."""
        train_loss, train_accuracy = evaluate(net, self.loss, *self.train, self.batch_size)
        test_loss, test_accuracy = evaluate(net, self.loss, *self.test, self.batch_size)
        return {
            "E": train_loss + self._decay(net),
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "test_loss": test_loss,
            "test_accuracy": test_accuracy,
        }

    def curvature(self, net: Module, rule: str = "obd") -> dict[str, Array]:
        """Return the diagonal of d2E/du2."""
        return hess_diag(net, self.loss, *self.train, rule, self.weight_decay, self.batch_size)

    def gradient(self, net: Module) -> dict[str, Array]:
        """Return dE/du."""
        return gradient(net, self.loss, *self.train, self.weight_decay, self.batch_size)

    def curvature_along(self, net: Module, step: Mapping[str, Array]) -> float:
        """Return du^T H du, the second derivative of E along the change `step` {name: du}; other parameters stay."""
        du = {name: step.get(name, 0 * parameter.data) for name, parameter in net.named_parameters()}
        Hdu = hessian_vector_product(net, self.loss, *self.train, du, self.weight_decay, self.batch_size)
        return float(sum(get_array_module(d).sum(d * Hdu[name]) for name, d in du.items()))

    def gradient_norm(self, net: Module) -> float:
        """Return ||dE/du||: how far from the minimum that OBD assumes."""
        return float(sum(float(get_array_module(g).sum(g * g)) for g in self.gradient(net).values())) ** 0.5


def delete(net: Module, keep: Mapping[str, Array], objective: Objective, rule: str = "obd") -> dict[str, Any]:
    """Apply the masks `keep` and return what was predicted beside what happened.

    Parameters
    ----------
    keep : {name: 0/1}, what stays.
    objective : the loss with its decay, and the data that it is measured on.
    rule : of the curvature; see `nn.curvature.hess_diag`.

    Returns
    -------
    dict with "weights_left", "sparsity", "negative_curvature" (live weights with h_kk < 0), "predicted" (OBD's model,
    1/2 sum h u^2), "predicted_with_gradient" (sum -g u + 1/2 h u^2), "true" (the change of E), and, after the
    deletion, `Objective.measure`.
    """
    h, g = objective.curvature(net, rule), objective.gradient(net)
    before = objective.value(net)
    record: dict[str, Any] = {
        "negative_curvature": obd.count_negative(h, net),
        "predicted": obd.predicted_change(net, keep, h),
        "predicted_with_gradient": obd.predicted_change(net, keep, h, g),
    }
    masks.apply(net, keep)
    left, total = masks.counts(net, list(keep))
    after = objective.measure(net)
    return {"weights_left": left, "sparsity": 1 - left / total, "true": after["E"] - before, **record, **after}


def account(
    net: Module, keep: Mapping[str, Array], objective: Objective, h: Mapping[str, Array], g: Mapping[str, Array]
) -> dict[str, float]:
    """Return the change of E that applying `keep` causes, and the parts it is made of; the net stays as it is.

    dE = sum_k g_k du_k + 1/2 sum_k h_kk du_k^2 + (1/2 du^T H du - 1/2 sum_k h_kk du_k^2) + rest,  du_k = -u_k.

    Parameters
    ----------
    net, keep, objective : as for `delete`.
    h, g : `Objective.curvature` (of any rule) and `Objective.gradient` of the net.

    Returns
    -------
    dict with "gradient", "diagonal" (OBD's prediction), "off_diagonal" (what h misses of the second order: the h_kl
    and, where the rule is not exact, its own error), "higher_order" (the rest), "true" (their sum).

    References
    ----------
    Slide "Optimal brain damage", its expansion term by term.
    """
    parameters = dict(net.named_parameters())
    step = {name: parameters[name].data * (mask - 1) for name, mask in keep.items()}
    pruned = copy.deepcopy(net)
    masks.apply(pruned, keep)
    true = objective.value(pruned) - objective.value(net)
    linear = float(sum(get_array_module(du).sum(g[name] * du) for name, du in step.items()))
    diagonal = obd.predicted_change(net, keep, h)
    quadratic = objective.curvature_along(net, step) / 2
    return {
        "gradient": linear,
        "diagonal": diagonal,
        "off_diagonal": quadratic - diagonal,
        "higher_order": true - linear - quadratic,
        "true": true,
    }


def prune_and_retrain(
    net: Module,
    score: Callable[[Module], Mapping[str, Array]],
    schedule: Sequence[float],
    objective: Objective,
    retrain: Callable[[Module], Any] | None = None,
    scope: str = "global",
) -> list[dict[str, Any]]:
    """Prune `net` in place, round by round, and return one record a round.

    Parameters
    ----------
    net : trained (steps 1 and 2).
    score : net -> {name: saliency}, for instance ``lambda net: obd.saliency(net, loss, *train)`` (steps 3 and 4).
    schedule : the sparsity to reach in each round, ascending; see `pruning.schedules`.
    objective : what the records are measured with.
    retrain : net -> anything, trains the surviving weights (step 6); None prunes without retraining.
    scope : "global" or "layer", as for `pruning.masks.smallest`.

    Returns
    -------
    list of records of `delete`; with `retrain`, each has "retrained", the `Objective.measure` after it.

    Raises
    ------
    ValueError
        For a schedule that does not ascend within [0, 1]; the net is then untouched.
    """
    schedule = list(schedule)
    for sparsity in schedule:
        check_sparsity(sparsity)
    if schedule != sorted(schedule):
        raise ValueError(f"expected a schedule of ascending sparsities, got {schedule}")
    records = []
    for sparsity in schedule:
        scores = score(net)
        keep = masks.smallest(scores, sparsity, scope, dead=masks.current(net, list(scores)))
        record = delete(net, keep, objective)
        if retrain is not None:
            retrain(net)
            record["retrained"] = objective.measure(net)
        records.append(record)
    return records
