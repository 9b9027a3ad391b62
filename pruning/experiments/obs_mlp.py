"""OBS against OBD and magnitude on a small perceptron: the true increase of E at equal deletions, nothing retrained.

One cell trains one net to near a minimum and prunes copies of these same weights.  Beside the three methods as they
stand, the choices of OBD and of magnitude are deleted with OBS's adjustment of the other weights, which separates the
choice from the adjustment; OBD and OBS go on with a Hessian that is renewed after every step of the grid; and OBS
is damped, which keeps its adjustments short.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nn.backend import Array
from nn.curvature import matrix as hessian
from nn.module import Module
from nn.optimizers import SGD
from nn.training import train
from pruning import masks
from pruning.experiments import setup
from pruning.experiments.comparison import Arm, percent
from pruning.experiments.figures import obs_mlp as figures
from pruning.pipeline import Objective
from pruning.scores import magnitude, obd, obs

GRID = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
# Rates by hand, after trials on seeds 0 and 1 that looked at the training loss and its gradient only: minibatches
# first, then all patterns at once, which brings the net closer to the minimum that both methods assume.
RATES = {
    ("tanh", "squared error"): (0.01, 0.03),
    ("relu", "squared error"): (0.003, 0.03),
    ("tanh", "cross-entropy"): (0.05, 0.3),
    ("relu", "cross-entropy"): (0.05, 0.3),
}
DAMPING = 0.01  # after a look at seed 0 of the tanh net with squared error, where 0.001 to 1 were tried
FIELDS = ("trained", "rows")


def spec(seed: int = 0, activation: str = "tanh", loss: str = "squared error", device: str = "cpu") -> dict[str, Any]:
    """Return the full specification of one cell: a 64-12-10 net on the digits, 910 parameters.

    Raises
    ------
    ValueError
        If there is no such activation or loss, or the seed is negative.
    """
    shared = setup.perceptron_spec("digits", seed, activation, loss, device)
    rate, full_batch_rate = RATES[activation, loss]
    return {
        **shared,
        "hidden": [12],
        "grid": list(GRID),
        "epochs": 300,
        "learning_rate": rate,
        "full_batch_learning_rate": full_batch_rate,
        "full_batch_epochs": 2000,
        "damping": DAMPING,
    }


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return the cells of the experiment: every activation with every loss, for every seed.

    Raises
    ------
    ValueError
        As `spec`, and for another data set, a model or a validation split.
    """
    if data != "digits" or model is not None or validation:
        raise ValueError("the experiment obs_mlp has its own net and data: leave --data, --model and --validation out")
    return [spec(s, activation, loss, device) for activation, loss in RATES for s in seeds]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"trained": measures before pruning, "rows": one dict a method and sparsity}.

    A row has "method" (magnitude, obd, obs), "adjusted" (the other weights too), "renewed" (the Hessian, after every
    step of the grid), "damping", "predicted" and "true" change of E, and `Objective.measure`.  Nothing is written to
    `folder`.
    """
    net, objective = trained_net(spec, root, progress)
    before = {**objective.measure(net), "gradient_norm": objective.gradient_norm(net)}
    rows = []
    with tqdm(total=8 * len(spec["grid"]), disable=not progress, unit="net", desc="pruning") as bar:
        for row in _rows(net, objective, spec["grid"], spec["damping"]):
            rows.append({**row, "true": row["E"] - before["E"]})
            bar.update()
    return {"trained": before, "rows": rows}


def trained_net(spec: Mapping[str, Any], root: str | None = None, progress: bool = False) -> tuple[Module, Objective]:
    """Return the net of a cell after training, in float64, and what it minimised."""
    net, objective, rng = setup.perceptron(spec, root, progress)
    rate = spec["full_batch_learning_rate"]
    optimizer = SGD(net.parameters(), rate, momentum=0.9, weight_decay=spec["weight_decay"])
    N = objective.train[0].shape[-1]
    train(net, objective.loss, optimizer, *objective.train, spec["full_batch_epochs"], N, rng, progress=progress)
    return net, objective


def _rows(net: Module, objective: Objective, grid: Sequence[float], damping: float) -> Iterator[dict[str, Any]]:
    H, h = _gauss_newton(net, objective), objective.curvature(net)
    Hinv = hessian.invert(H)
    for method, scores in (("magnitude", magnitude.saliency(net)), ("obd", _obd(net, objective))):
        for sparsity in grid:
            keep = masks.smallest(scores, sparsity)
            pruned, adjusted = copy.deepcopy(net), copy.deepcopy(net)
            masks.apply(pruned, keep)
            yield _row(method, pruned, objective, obd.predicted_change(net, keep, h))
            _, predicted = obs.apply(adjusted, Hinv, keep)
            yield _row(method, adjusted, objective, predicted, adjusted=True)
    for renewed, alpha in ((False, 0.0), (False, damping), (True, 0.0)):
        yield from _obs(net, H, objective, grid, renewed, alpha)
    yield from _obd_renewed(net, objective, grid)


def _obs(
    net: Module, H: Array, objective: Objective, grid: Sequence[float], renewed: bool, damping: float
) -> Iterator[dict[str, Any]]:
    pruned, predicted, Hinv = copy.deepcopy(net), 0.0, hessian.invert(H, damping)
    for sparsity in grid:
        if renewed and sparsity > grid[0]:
            Hinv = hessian.invert(_gauss_newton(pruned, objective), damping, hessian.alive(pruned))
        Hinv, more = obs.prune(pruned, Hinv, sparsity)
        predicted += more
        yield _row("obs", pruned, objective, predicted, adjusted=True, renewed=renewed, damping=damping)


def _obd_renewed(net: Module, objective: Objective, grid: Sequence[float]) -> Iterator[dict[str, Any]]:
    pruned, predicted = copy.deepcopy(net), 0.0
    for sparsity in grid:
        keep = masks.smallest(_obd(pruned, objective), sparsity, dead=masks.current(pruned))
        predicted += obd.predicted_change(pruned, keep, objective.curvature(pruned))
        masks.apply(pruned, keep)
        yield _row("obd", pruned, objective, predicted, renewed=True)


def _row(
    method: str,
    net: Module,
    objective: Objective,
    predicted: float,
    adjusted: bool = False,
    renewed: bool = False,
    damping: float = 0.0,
) -> dict[str, Any]:
    left, total = masks.counts(net)
    settings = {"method": method, "adjusted": adjusted, "renewed": renewed, "damping": damping}
    counts = {"weights_left": left, "sparsity": 1 - left / total, "predicted": predicted}
    return {**settings, **counts, **objective.measure(net)}


def _gauss_newton(net: Module, objective: Objective) -> Array:
    return hessian.gauss_newton(net, objective.loss, *objective.train, objective.weight_decay)


def _obd(net: Module, objective: Objective) -> dict[str, Any]:
    return obd.saliency(net, objective.loss, *objective.train, weight_decay=objective.weight_decay)


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw the true changes of E of every variant among the records, its seeds together."""
    variants: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        name = "-".join(record["spec"][key].replace(" ", "_") for key in ("activation", "loss"))
        variants.setdefault(name, []).append(record)
    return [figures.true_changes(group, folder / f"obs_mlp-{name}.png") for name, group in variants.items()]


def compared(record: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the nets at every sparsity, by what deleting did to E: beside each method the one that it improves on."""
    spec = record["spec"]
    for row in sorted(record["rows"], key=lambda row: row["sparsity"]):
        share = f"{row['sparsity']:.0%}"
        plain = f"{row['method']} {share}"
        changed = ", others adjusted" if row["adjusted"] and row["method"] != "obs" else ""
        changed += ", Hessian renewed" * row["renewed"] + f", damped by {row['damping']:g}" * bool(row["damping"])
        controls = {
            "obs": (f"obd {share}", f"obd {share}, others adjusted"),
            "obd": (f"magnitude {share}",),
            "magnitude": (),
        }[row["method"]]
        numbers = {"change of E": row["true"], "as predicted": row["predicted"], **percent(row)}
        group = f"{spec['activation']}, {spec['loss']}"
        yield Arm(plain + changed, numbers, (plain,) if changed else controls, group)
