"""Pruning from scratch: widths from gates over random weights, beside uniform and random widths of equal costs.

The whole net is drawn, and gates behind its batch norms learn while the weights stay (Wang et al. 2020, as their code
does it).  For each budget, a share of the whole net's multiply-accumulates, three kinds of widths fill it up to less
than one channel: the largest gates, the same share of every layer, and random shares.  Every net of these widths is
drawn anew and trained for as many epochs as the whole net, with the same images, rate and order of batches.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import nn
from nn.backend import array_module, to_numpy
from nn.module import Module
from pruning.architectures import from_scratch
from pruning.experiments import setup
from pruning.experiments.comparison import Arm, percent
from pruning.experiments.figures import from_scratch as figures
from pruning.experiments.setup import SHAPES, Part

RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    ("digits", "conv3"): {
        "widths": [24, 32, 32],  # twice those of other experiments, for gates choose from more than is needed
        "learning_rate": 0.05,
        "momentum": 0.9,
        "weight_decay": 1e-3,
        "images": 1137,
        "batch_size": 64,
        "milestones": [],
        "epochs": 20,
        "gates": {"learning_rate": 0.01, "epochs": 20, "strength": 0.5, "target": 0.2},
        "budgets": [0.4, 0.2],
        "random": {"draws": 4, "least": 0.25},
    },
}
FIELDS = ("gates", "dense", "rows")


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return one cell a seed; with `validation` all accuracies are those on the held-out images.

    Raises
    ------
    ValueError
        If there is no recipe for this model on this data set, or a seed is negative.
    """
    return setup.dense_specs(data, seeds, device, "conv3" if model is None else model, validation, RECIPES)


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"gates": their values and what happened while they learnt, "dense", "rows": one a small net}.

    Every training of a net leaves a checkpoint in `folder`, and goes on from it.
    """
    xp, (_, test) = array_module(spec["device"]), setup.parts(spec, root)
    test, runs = (xp.asarray(test[0]), xp.asarray(test[1])), (root, progress, folder)
    found = searched(spec, test, root)
    rows = []
    for budget in spec["budgets"]:
        for arm, widths in small_widths(spec, found["values"], budget).items():
            rows.append({"method": arm.rstrip("0123456789"), "budget": budget, **trained(spec, widths, test, *runs)})
    dense = trained(spec, dict(zip(found["values"], spec["widths"])), test, *runs)
    result = {"gates": found, "dense": dense, "rows": rows}
    if progress:
        tqdm.write(table({"spec": spec, **result}))
    return result


def searched(spec: Mapping[str, Any], test: Part, root: str | None = None) -> dict[str, Any]:
    """Return the gates that are learnt over the weights of the whole net, as drawn, and one row an epoch."""
    xp, recipe, ((x, t), _) = array_module(spec["device"]), spec["gates"], setup.parts(spec, root)
    net = from_scratch.gated(drawn(spec, spec["widths"])).to(xp)
    gates, penalty = from_scratch.gates(net), from_scratch.MeanGate(net, recipe["strength"], recipe["target"])
    optimizer, rng = nn.Adam(gates.values(), recipe["learning_rate"]), np.random.default_rng([spec["seed"], 0])
    settings: dict[str, Any] = {"batch_size": spec["batch_size"], "rng": rng, "companions": [penalty], "test": test}
    history = []
    for epoch in range(recipe["epochs"]):
        (row,) = nn.training.train(
            net, nn.SoftmaxCrossEntropy(), optimizer, xp.asarray(x), xp.asarray(t), 1, progress=False, **settings
        )
        history.append({**row, "epoch": epoch, "mean": penalty.mean(), "open": penalty.open()})
    values = {name: [float(g) for g in to_numpy(gate.data)] for name, gate in gates.items()}
    return {"values": values, "history": history}


def small_widths(
    spec: Mapping[str, Any], values: Mapping[str, Sequence[float]], budget: float
) -> dict[str, dict[str, int]]:
    """Return {"gates", "uniform", "random 0", ...: widths}, all of the same budget."""
    cost = from_scratch.costs(drawn(spec, spec["widths"]), SHAPES[spec["data"]])
    sizes = {name: len(value) for name, value in values.items()}
    most = budget * cost(sizes)
    rng, (draws, least) = np.random.default_rng([spec["seed"], 1]), (spec["random"][n] for n in ("draws", "least"))
    factors = [{name: float(rng.uniform(least, 1)) for name in sizes} for _ in range(draws)]
    return {
        "gates": from_scratch.search({name: np.array(value) for name, value in values.items()}, cost, most),
        "uniform": from_scratch.in_proportion(sizes, cost, most),
        **{f"random{k}": from_scratch.in_proportion(sizes, cost, most, each) for k, each in enumerate(factors)},
    }


def drawn(spec: Mapping[str, Any], widths: Sequence[int]) -> Module:
    """Return the net of these widths, drawn from the seed."""
    return setup.three_convolutions(widths, np.random.default_rng(spec["seed"]), np.float32)


def trained(
    spec: Mapping[str, Any],
    widths: Mapping[str, int],
    test: Part,
    root: str | None = None,
    progress: bool = False,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Return the widths, costs and results of a net that is drawn anew and trained."""
    numbers = [int(width) for width in widths.values()]
    net = drawn(spec, numbers).to(array_module(spec["device"]))
    rate, momentum, decay = (spec[name] for name in ("learning_rate", "momentum", "weight_decay"))
    optimizer = nn.SGD(net.parameters(), rate, momentum, nesterov=True, weight_decay=decay)
    rng, recipe = np.random.default_rng([spec["seed"], 2]), {**spec, "small": numbers}
    history = setup.fit(net, optimizer, recipe, rng, root, progress, folder)["history"]
    loss = {"test_loss": history[-1]["test_loss"], "train_loss": history[-1]["train_loss"]}
    return {"widths": numbers, **setup.costs(net, spec["data"]), **loss, **setup.tested(net, test)}


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw the widths that each kind gives, and what nets of these widths get right."""
    name = f"from-scratch-{records[0]['spec']['data']}"
    return [
        figures.widths(records, folder / f"{name}-widths.png"),
        figures.accuracies(records, folder / f"{name}-accuracies.png"),
    ]


def table(record: Mapping[str, Any]) -> str:
    """Return the record as a readable table, one line a net."""
    dense, last = record["dense"], record["gates"]["history"][-1]
    lines = [f"{'net':10}{'widths':>12}{'MACs':>10}{'share':>8}{'test':>9}"]
    for row in ({"method": "dense", **dense}, *record["rows"]):
        widths, share = "-".join(map(str, row["widths"])), row["macs"] / dense["macs"]
        lines.append(f"{row['method']:10}{widths:>12}{row['macs']:10,}{share:8.2%}{row['test_accuracy']:9.2%}")
    return "\n".join([*lines, f"mean gate {last['mean']:.3f}, open gates {last['open']:.1%}"])


def compared(record: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the nets of each budget; those of random widths, several in a record, are averaged."""
    for row in record["rows"]:
        group = f"{row['budget']:.0%} of the multiply-accumulates"
        controls = ("uniform", "random") if row["method"] == "gates" else ()
        yield Arm(row["method"], {**percent(row), "MACs": row["macs"], "weights": row["weights"]}, controls, group)
