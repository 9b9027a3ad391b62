"""OBD against magnitude on a multilayer perceptron: predicted and true change of E, with and without retraining.

One cell trains one net and prunes copies of these same weights by both methods.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import nn
from nn.backend import Array, array_module
from nn.module import Module
from nn.training import train
from pruning import masks
from pruning.experiments.figures import obd as figures_obd
from pruning.pipeline import Objective, delete, prune_and_retrain
from pruning.scores import magnitude, obd

GRID = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
ACTIVATIONS = {"relu": (nn.ReLU, nn.initializers.he_normal), "tanh": (nn.Tanh, nn.initializers.lecun_normal)}
LOSSES = {"squared error": nn.SquaredError, "cross-entropy": nn.SoftmaxCrossEntropy}
# Rates and epochs by hand, so that training ends near a minimum; sizes and variants after trials that compared OBD
# with magnitude on seeds 0 to 2.
RECIPES = {
    ("digits", "squared error"): {"learning_rate": 0.01, "epochs": 300, "retrain_epochs": 60},
    ("digits", "cross-entropy"): {"learning_rate": 0.05, "epochs": 300, "retrain_epochs": 60},
    ("usps", "squared error"): {"learning_rate": 0.003, "epochs": 60, "retrain_epochs": 15},
    ("usps", "cross-entropy"): {"learning_rate": 0.02, "epochs": 60, "retrain_epochs": 15},
}


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
    if activation not in ACTIVATIONS or loss not in LOSSES:
        raise ValueError(
            f"expected an activation of {', '.join(ACTIVATIONS)} and a loss of {', '.join(LOSSES)},"
            f" got {activation!r} and {loss!r}"
        )
    if (data, loss) not in RECIPES:
        raise ValueError(f"expected one of the data sets {', '.join(sorted({d for d, _ in RECIPES}))}, got {data!r}")
    if seed < 0:
        raise ValueError(f"expected a seed of 0 or more, got {seed}")
    return {
        "data": data,
        "seed": seed,
        "activation": activation,
        "loss": loss,
        "device": device,
        "hidden": [40, 20],
        "batch_size": 64,
        "weight_decay": 1e-3,
        "grid": list(grid),
        **RECIPES[data, loss],
    }


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
    return [spec(data, s, activation, loss, device) for activation in ACTIVATIONS for loss in LOSSES for s in seeds]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"trained": measures before pruning, "rows": one dict per method, sparsity, with and without retraining}.

    Without retraining, a copy of the trained net is pruned to each sparsity at once.  With retraining, a copy goes
    through the sparsities in turn and is retrained after each (the lecture's loop).  Nothing is written to `folder`.
    """
    net, objective, rng = trained_net(spec, root, progress)
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


def trained_net(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False
) -> tuple[Module, Objective, np.random.Generator]:
    """Return the net of a cell after training, what it minimised, and the generator that goes on drawing.

    In float64: predicted changes of E down to 1e-4 of it are compared with true ones.
    """
    rng = np.random.default_rng(spec["seed"])
    activation, init = ACTIVATIONS[spec["activation"]]
    objective = _objective(spec, root)
    n_in = int(np.prod(objective.train[0].shape[:-1]))
    net = nn.models.mlp((n_in, *spec["hidden"], 10), rng, activation=activation, init=init)
    net.to(array_module(spec["device"]))
    _train(net, objective, spec, spec["epochs"], rng, progress)
    return net, objective, rng


def _objective(spec: Mapping[str, Any], root: str | None) -> Objective:
    xp = array_module(spec["device"])
    data = nn.data.load(spec["data"], root)
    if not isinstance(data, nn.data.DataSet):
        raise ValueError(f"expected a data set of images, got {spec['data']!r}")
    parts = [(xp.asarray(x), targets(spec["loss"], xp.asarray(x), xp.asarray(t))) for x, t in (data.train, data.test)]
    return Objective(LOSSES[spec["loss"]](), parts[0], parts[1], spec["weight_decay"])


def targets(loss: str, x: Array, t: Array) -> Array:
    """Return what the loss compares the outputs with: labels, or +-1 for squared error, as in the paper's network."""
    return nn.one_hot(t, 10, like=x, off=-1) if loss == "squared error" else t


def _train(
    net: Module,
    objective: Objective,
    spec: Mapping[str, Any],
    epochs: int,
    rng: np.random.Generator,
    progress: bool = False,
) -> None:
    rate = spec["learning_rate"]
    optimizer = nn.SGD(net.parameters(), rate, momentum=0.9, weight_decay=spec["weight_decay"])
    schedule = nn.step_decay(rate, (epochs * 6 // 10, epochs * 85 // 100))
    train(
        net, objective.loss, optimizer, *objective.train, epochs, spec["batch_size"], rng, schedule, progress=progress
    )


def _rows(
    net: Module, score: Any, objective: Objective, spec: Mapping[str, Any], rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    scores = score(net)
    for sparsity in spec["grid"]:
        yield {"retrain": False, **delete(copy.deepcopy(net), masks.smallest(scores, sparsity), objective)}

    def retrain(each: Module) -> None:
        _train(each, objective, spec, spec["retrain_epochs"], rng)

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
        paths.append(figures_obd.loss_curves(group, folder / f"obd_mlp-{name}-loss_curves.png"))
        paths.append(figures_obd.predicted_against_true(group, folder / f"obd_mlp-{name}-prediction.png"))
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
