"""Structured sparsity learning: groups of weights become zero while the net trains, and are cut out on the way.

Wen et al. 2016: the dense net is trained on with a group penalty until little enough is left, then without it.  LeNet-5
loses filters and channels, or filters and columns, of its convolutions; a perceptron on MNIST neurons and input pixels;
ResNet-20 whole blocks.  Beside them stands the dense net, trained on for as many epochs with the recipe of the last
phase.  Accuracies are those of the last epoch, never the best one.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import nn
from nn.backend import Array, to_numpy
from nn.data.augment import augment
from nn.module import Module
from nn.optimizers import Optimizer
from pruning import surgery
from pruning.experiments import setup
from pruning.experiments.comparison import Arm, percent
from pruning.experiments.figures import structured_sparsity as figures
from pruning.experiments.scratch import matrices
from pruning.experiments.setup import SHAPES, Part, costs
from pruning.masks import prunable
from pruning.penalties import group_lasso

# Of the sparse phase and of retraining; in the first, weight decay acts on the layers without a penalty only.
STEPS = {"learning_rate": 0.02, "momentum": 0.9, "weight_decay": 5e-4, "batch_size": 128}
LENET5 = {
    "sparse": {**STEPS, "checks": 20, "at_most_epochs": 6},
    "retraining": STEPS,
    "epochs": 16,
    "images": 55000,
    "stop": {"conv_weights": 980},  # 25,500 / 26 = 980.8
}
RATES = ("conv_weights", "conv_macs", "weights", "macs")
FIELDS = ("dense", "sparse", "retrained", "diverged")
RESNET20 = {
    "sparse": {**STEPS, "batch_size": 64, "checks": 4, "at_most_epochs": 5},
    "retraining": {**STEPS, "batch_size": 64},
    "epochs": 8,
    "images": 5000,
    "stop": {"blocks": 6},
}
BLOCKS = tuple(map(str, range(3, 20, 2)))
# {kind of group: {weight: strength}}.  The stop names what may be left at most; "epochs" is that of both phases.
CELLS: dict[tuple[str, str], dict[str, dict[str, Any]]] = {
    ("cifar10", "resnet20"): {
        "blocks": {**RESNET20, "strengths": {"blocks": dict.fromkeys(BLOCKS, 0.3)}},
        "weighted blocks": {**RESNET20, "strengths": {"weighted blocks": dict.fromkeys(BLOCKS, 0.003)}},
    },
    ("mnist", "mlp500"): {
        "neurons": {
            "sparse": {**STEPS, "checks": 10, "at_most_epochs": 8},
            "retraining": {**STEPS, "learning_rate": 0.1, "weight_decay": 1e-4},
            "epochs": 20,
            "images": 55000,
            "stop": {"inputs": 469, "hidden 1": 294, "hidden 2": 166},  # what is left in the paper
            "strengths": {"columns": {"1.W": 0.002}, "neurons": {"1.W": 0.0018, "3.W": 0.0026}},
        },
    },
    ("mnist", "lenet5"): {
        "channels": {**LENET5, "strengths": {"filters": {"0.W": 0.012, "2.W": 0.06}, "channels": {"2.W": 0.012}}},
        "columns": {
            **LENET5,
            "strengths": {"filters": {"0.W": 0.005, "2.W": 0.04}, "columns": {"0.W": 0.005, "2.W": 0.01}},
        },
    },
}


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return for every seed one cell a structure, and "dense"; with `validation` accuracies are on held-out images.

    Raises
    ------
    ValueError
        If no strengths are known for this model on this data set, or a seed is negative.
    """
    setup.check_known(CELLS, data, model)
    cells = CELLS[data, str(model)]
    shared = {name: next(iter(cells.values()))[name] for name in ("retraining", "epochs", "images")}
    return [
        {"seed": dense["seed"], "structure": structure, "dense": dense, **cell, "validation": validation}
        for dense in setup.dense_specs(data, seeds, device, model)
        for structure, cell in [*cells.items(), ("dense", shared)]
    ]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"dense", "sparse", "retrained", "diverged"}, the last a sentence, or None.

    The cell "dense" has no sparse phase.  A loss that is no longer finite ends the cell: what was to come is None.  The
    dense net comes from its checkpoint in `folder`, and is trained if there is none.
    """
    part, test = setup.shared_parts(spec, root)
    result: dict[str, Any] = dict.fromkeys(("dense", "sparse", "retrained", "diverged"))
    rng, epochs = np.random.default_rng(spec["seed"]), spec["epochs"]
    try:
        net, _ = setup.dense_net(spec["dense"], root, progress, folder)
        result["dense"] = {**setup.tested(net, test), **size(net, spec)}
        if "sparse" in spec:
            net, result["sparse"] = sparse_phase(net, spec, part, rng, progress)
            result["sparse"] |= setup.tested(net, test)
            epochs -= math.ceil(result["sparse"]["epochs"])
        net, losses = _retrained(net, spec, epochs, part, rng, progress)
        measures = {"epochs": epochs, "train_loss": losses, **setup.tested(net, test)}
        result["retrained"] = {**measures, **size(net, spec)}
    except FloatingPointError as error:
        result["diverged"] = str(error)
    if progress:
        tqdm.write(table({"spec": spec, **result}))
    return result


def families(net: Module, strengths: Mapping[str, Mapping[str, float]]) -> list[group_lasso.Family]:
    """Return the families of groups that the net still has: {kind: {layer or block: strength}}.

    Neurons are those between a weight and the next one; a block is one group, of all that is in its body; weighted, its
    strength is multiplied by the root of their number, scales and shifts included.
    """
    names = list(prunable(net))
    kinds: dict[str, Callable[..., group_lasso.Family]] = {
        "filters": group_lasso.filters,
        "channels": group_lasso.channels,
        "columns": group_lasso.columns,
        "neurons": lambda net, name, lam: group_lasso.neurons(net, name, names[names.index(name) + 1], lam),
        "blocks": _block,
        "weighted blocks": lambda net, name, lam: _block(net, name, lam, weighted=True),
    }
    return [
        kinds[kind](net, name, lam)
        for kind, each in strengths.items()
        for name, lam in each.items()
        if any(weight == name or weight.startswith(f"{name}.") for weight in names)
    ]


def _block(net: Module, name: str, lam: float, weighted: bool = False) -> group_lasso.Family:
    layers = [group_lasso.layer(net, weight, lam) for weight in prunable(net) if weight.startswith(f"{name}.body.")]
    return group_lasso.Family({array: () for layer in layers for array in layer.axes}, lam, weighted)


def sparse_phase(
    net: Module, spec: Mapping[str, Any], part: Part, rng: np.random.Generator, progress: bool = False
) -> tuple[Module, dict[str, Any]]:
    """Train a copy with the penalty until no more is left than `stop` says; return it, cut, and what was left when.

    `checks` times an epoch whatever is dead is cut out.  The function stays the same, and the steps become cheaper;
    but a group that is dead then never comes back, as it otherwise could.  Weight decay acts on the layers without a
    penalty only, which could otherwise take over the scale that the penalised ones lose.
    """
    recipe, strengths, stop = spec["sparse"], spec["strengths"], spec["stop"]
    net = surgery.duplicate(net)
    optimizer: Optimizer = _optimizer(net, recipe, families(net, strengths))
    checks = recipe["checks"]
    images: list[Array] = []
    left = [{name: size(net, spec)[name] for name in stop}]
    with tqdm(total=recipe["at_most_epochs"] * checks, disable=not progress, unit="check", desc="sparse phase") as bar:
        while any(left[-1][name] > most for name, most in stop.items()) and len(left) <= bar.total:
            images = images or np.array_split(rng.permutation(part[1].shape[-1]), checks)
            few = nn.training.take(part[0], images[0]), nn.training.take(part[1], images[0])
            _train(net, optimizer, spec, recipe, few, 1, rng, prox=families(net, strengths))
            net, optimizer = cut(net, spec, optimizer)
            left.append({name: size(net, spec)[name] for name in stop})
            images = images[1:]
            bar.set_postfix(left[-1])
            bar.update()
    reached = all(left[-1][name] <= most for name, most in stop.items())
    net = surgery.remove_columns(net, _alive_columns(net, spec, nn.Linear))
    return net, {"epochs": (len(left) - 1) / checks, "reached": reached, "left": left}


def cut(net: Module, spec: Mapping[str, Any], optimizer: Optimizer) -> tuple[Module, Optimizer]:
    """Return the net without what is dead, but for the inputs of linear layers: their names would change."""
    net, optimizer = surgery.remove_unused_paths(net, SHAPES[spec["dense"]["data"]], optimizer=optimizer)
    return surgery.remove_columns(net, _alive_columns(net, spec, nn.Conv2d), optimizer)


def _alive_columns(
    net: Module, spec: Mapping[str, Any], kind: type[nn.Conv2d] | type[nn.Linear]
) -> dict[str, list[int]]:
    weights, penalised = {id(layer.W) for layer in net.modules() if isinstance(layer, kind)}, spec["strengths"]
    names = [name for name, p in prunable(net).items() if id(p) in weights and name in penalised.get("columns", {})]
    return surgery.used_columns(net, names) if names else {}


def size(net: Module, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return what there is of each kind; inputs are those that the first layer reads, "hidden 1" the units behind."""
    matrices = [to_numpy(p.data).reshape(p.shape[0], -1) for p in prunable(net).values()]
    return {
        **costs(net, spec["dense"]["data"]),
        "matrices": [list(matrix.shape) for matrix in matrices],
        "inputs": int(matrices[0].any(axis=0).sum()),
        **{f"hidden {number}": len(matrix) for number, matrix in enumerate(matrices[:-1], 1)},
        "blocks": sum(isinstance(module, nn.Residual) for module in net.modules()),
    }


def _retrained(
    net: Module, spec: Mapping[str, Any], epochs: int, part: Part, rng: np.random.Generator, progress: bool
) -> tuple[Module, list[float]]:
    net, recipe = surgery.duplicate(net), spec["retraining"]
    return net, _train(net, _optimizer(net, recipe), spec, recipe, part, epochs, rng, progress=progress)


def _optimizer(net: Module, recipe: Mapping[str, Any], groups: Sequence[group_lasso.Family] = ()) -> nn.SGD:
    rate, momentum, decay = (recipe[name] for name in ("learning_rate", "momentum", "weight_decay"))
    layers = {name.rpartition(".")[0] for family in groups for name in family.axes}
    decayed = [p for name, p in net.named_parameters() if name.rpartition(".")[0] not in layers]
    return nn.SGD(net.parameters(), rate, momentum, nesterov=True, weight_decay=decay, decayed=decayed)


def _train(
    net: Module,
    optimizer: Optimizer,
    spec: Mapping[str, Any],
    recipe: Mapping[str, Any],
    part: tuple[Array, nn.batches.Targets],
    epochs: int,
    rng: np.random.Generator,
    prox: Sequence[group_lasso.Family] = (),
    progress: bool = False,
) -> list[float]:
    """Train in place, without a penalty along a cosine, with one at a constant rate; return the losses by epoch."""
    history = nn.training.train(
        net,
        nn.SoftmaxCrossEntropy(),
        optimizer,
        *part,
        epochs=epochs,
        batch_size=recipe["batch_size"],
        rng=rng,
        schedule=None if prox else nn.cosine_decay(recipe["learning_rate"], epochs),
        augment=augment if spec["dense"]["data"] == "cifar10" else None,
        companions=[group_lasso.ProximalSteps(net, prox, optimizer)] if prox else [],
        progress=progress,
    )
    return [row["train_loss"] for row in history]


def small_nets(record: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield the net that the penalty left, if this is no dense cell: its structure, what is left, and how it did."""
    spec, small = record["spec"], record["retrained"]
    if "sparse" in spec and small:
        blocks = spec["dense"]["model"] == "resnet20"
        net = {"removed": gone(small["matrices"])} if blocks else matrices(spec["dense"]["model"], small["matrices"])
        yield spec["structure"], net, {"test_accuracy": small["test_accuracy"]}


def gone(shapes: Sequence[Sequence[int]]) -> list[str]:
    """Return residual blocks of ResNet-20 without which its weights are matrices of these shapes.

    The blocks of a stage are alike but for the first of the second and the third, which reads fewer channels.
    """
    removed = []
    for width, stage in ((16, BLOCKS[:3]), (32, BLOCKS[3:6]), (64, BLOCKS[6:])):
        inside = [tuple(shape) for shape in shapes[1:] if shape[0] == width]
        stay = stage if width == 16 or (width, 9 * width // 2) in inside else stage[1:]
        removed += [name for name in stage if name not in stay[: len(inside) // 2]]
    return removed


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw what is left during the sparse phase, and the errors before and after retraining, if any net is left."""
    left = [record for record in records if not record["diverged"]]
    model = records[0]["spec"]["dense"]["model"]
    return [figures.left_and_errors(left, folder / f"structured_sparsity-{model}.png")] if left else []


def table(record: Mapping[str, Any]) -> str:
    """Return the record as a readable table: rates of the convolutions alone and of the whole net, side by side."""
    spec, dense, left, sparse = (record[name] for name in ("spec", "dense", "retrained", "sparse"))
    where = "held-out" if spec["validation"] else "test"
    before = f"dense net {dense['test_accuracy']:.2%} of the {where} images" if dense else "no dense net"
    lines = [f"{spec['dense']['model']}, {spec['structure']}, seed {spec['seed']}: {before}"]
    if record["diverged"]:
        return "\n".join([*lines, f"diverged: {record['diverged']}"])
    if sparse:
        lines += [
            f"{'stopped' if sparse['reached'] else 'not at its stop'} after {sparse['epochs']} epochs:"
            f" {', '.join(f'{number} {name}' for name, number in sparse['left'][-1].items())};"
            f" matrices {', '.join(f'{n} x {k}' for n, k in left['matrices'])}",
            f"{', '.join(f'{dense[name] / left[name]:.1f} x fewer {name}' for name in RATES if left[name])}",
            f"cut {sparse['test_accuracy']:.2%}",
        ]
    return "\n".join([*lines, f"after {left['epochs']} more epochs without penalty {left['test_accuracy']:.2%}"])


def compared(record: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the net; the dense one, trained on as long, is the control."""
    structure, found = record["spec"]["structure"], record["retrained"]
    numbers = {} if record["diverged"] else {**percent(found), "conv weights": found["conv_weights"]}
    controls = () if structure == "dense" else ("dense",)
    yield Arm(structure, {**numbers, "weights": found["weights"]} if numbers else {}, controls)
