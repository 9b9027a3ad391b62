"""OBD against magnitude on a multilayer perceptron: predicted and true change of E, with and without retraining.

One cell trains one net and prunes copies of these same weights by both methods.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from nn.module import Module
from pruning import masks
from pruning.experiments import setup
from pruning.experiments.comparison import Arm, percent
from pruning.experiments.figures import obd_mlp as figures
from pruning.pipeline import Objective, delete, prune_and_retrain
from pruning.scores import magnitude, obd

GRID = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
# Rates and epochs by hand, so that training ends near a minimum; sizes and variants after trials that compared OBD
# with magnitude on seeds 0 to 2.
RECIPES = {
    ("digits", "squared error"): {"learning_rate": 0.01, "epochs": 300, "retrain_epochs": 60},
    ("digits", "cross-entropy"): {"learning_rate": 0.05, "epochs": 300, "retrain_epochs": 60},
    ("usps", "squared error"): {"learning_rate": 0.003, "epochs": 60, "retrain_epochs": 15},
    ("usps", "cross-entropy"): {"learning_rate": 0.02, "epochs": 60, "retrain_epochs": 15},
}
FIELDS = ("trained", "rows")


def spec(
    data: str = "digits",
    seed: int = 0,
    activation: str = "relu",
    loss: str = "squared error",
    device: str = "cpu",
    grid: Sequence[float] = GRID,
) -> dict[str, Any]:
    """Return the full specification of one cell.

    Raises
    ------
    ValueError
        If there is no recipe for the data set and loss, no such activation, or the seed is negative.
    """
    shared = setup.perceptron_spec(data, seed, activation, loss, device)
    if (data, loss) not in RECIPES:
        raise ValueError(f"expected one of the data sets {', '.join(sorted({d for d, _ in RECIPES}))}, got {data!r}")
    return {**shared, "hidden": [40, 20], "grid": list(grid), **RECIPES[data, loss]}


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return the cells of the experiment: every activation with every loss, for every seed.

    Raises
    ------
    ValueError
        As `spec`, and for a model or a validation split, which this experiment does not have.
    """
    if model is not None or validation:
        raise ValueError("the experiment obd_mlp has its own net and split: leave --model and --validation out")
    return [
        spec(data, s, activation, loss, device)
        for activation in setup.ACTIVATIONS
        for loss in setup.LOSSES
        for s in seeds
    ]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"trained": measures before pruning, "rows": one dict per method, sparsity, with and without retraining}.

    Without retraining, a copy of the trained net is pruned to each sparsity at once.  With retraining, a copy goes
    through the sparsities in turn and is retrained after each (the lecture's loop).  Nothing is written to `folder`.
    """
    net, objective, rng = setup.perceptron(spec, root, progress)
    before = {**objective.measure(net), "gradient_norm": objective.gradient_norm(net), "parameters": _size(net)}
    methods = {
        "obd": lambda each: obd.saliency(
            each, objective.loss, *objective.train, weight_decay=objective.weight_decay, batch_size=1000
        ),
        "magnitude": magnitude.saliency,
    }
    rows = []
    with tqdm(total=2 * len(methods) * len(spec["grid"]), disable=not progress, unit="net", desc="pruning") as bar:
        for method, score in methods.items():
            for row in _rows(net, score, objective, spec, rng.spawn(1)[0]):
                rows.append({"method": method, **row})
                bar.update()
    return {"trained": before, "rows": rows}


def _rows(
    net: Module, score: Any, objective: Objective, spec: Mapping[str, Any], rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    scores = score(net)
    for sparsity in spec["grid"]:
        yield {"retrain": False, **delete(copy.deepcopy(net), masks.smallest(scores, sparsity), objective)}

    def retrain(each: Module) -> None:
        setup.descend(each, objective, spec, spec["retrain_epochs"], rng)

    pruned = copy.deepcopy(net)
    for sparsity in spec["grid"]:
        (record,) = prune_and_retrain(pruned, score, [sparsity], objective, retrain)
        yield {"retrain": True, **record}


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw the loss curves and the predictions of every variant among the records, its seeds together."""
    variants: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        name = "-".join(record["spec"][key].replace(" ", "_") for key in ("data", "activation", "loss"))
        variants.setdefault(name, []).append(record)
    paths = []
    for name, group in variants.items():
        paths.append(figures.loss_curves(group, folder / f"obd_mlp-{name}-loss_curves.png"))
        paths.append(figures.predicted_against_true(group, folder / f"obd_mlp-{name}-prediction.png"))
    return paths


def _size(net: Module) -> int:
    return sum(int(np.prod(parameter.shape)) for parameter in net.parameters())


def table(record: Mapping[str, Any]) -> str:
    """Return the record as a readable table, one line per sparsity and method."""
    once = {(row["method"], row["sparsity"]): row for row in record["rows"] if not row["retrain"]}
    loop = {(row["method"], row["sparsity"]): row for row in record["rows"] if row["retrain"]}
    lines = [
        "                            pruned once, no retraining                     pruned in turn, retrained",
        "sparsity  left   method     predicted dE    true dE  train loss  test acc  train loss  test acc",
    ]
    for method, sparsity in sorted(once, key=lambda key: (key[1], key[0] != "obd")):
        row, after = once[method, sparsity], loop[method, sparsity]["retrained"]
        lines.append(
            f"{100 * sparsity:6.1f} % {row['weights_left']:5}   {method:9} {row['predicted']:13.5f} {row['true']:10.5f}"
            f" {row['train_loss']:11.4f} {100 * row['test_accuracy']:7.1f} %"
            f" {after['train_loss']:11.4f} {100 * after['test_accuracy']:7.1f} %"
        )
    negative = max(row["negative_curvature"] for row in record["rows"] if row["method"] == "obd")
    lines.append(f"Weights with h_kk < 0, which OBD counts as saliency 0: at most {negative} in a pruning.")
    return "\n".join(lines)


def compared(record: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the nets at every sparsity, after retraining where there was any; magnitude at the same is the control."""
    spec = record["spec"]
    for row in sorted(record["rows"], key=lambda row: row["sparsity"]):
        share = f"{row['sparsity']:.0%}"
        found = row["retrained"] if row["retrain"] else row
        how = "pruned in turn, retrained" if row["retrain"] else "pruned once, no retraining"
        controls = (f"magnitude {share}",) if row["method"] == "obd" else ()
        numbers = {"train loss": found["train_loss"], **percent(found), "weights": row["weights_left"]}
        changes = {} if row["retrain"] else {"change of E": row["true"], "as predicted": row["predicted"]}
        group = f"{spec['activation']}, {spec['loss']}, {how}"
        yield Arm(f"{row['method']} {share}", {**numbers, **changes}, controls, group)
