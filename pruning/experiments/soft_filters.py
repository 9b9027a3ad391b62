"""Filters zeroed after every epoch and free to come back, by norms or by chance, beside hard pruning and scratch.

Soft filter pruning (He et al. 2018): a net is trained from scratch, and after every epoch the same share of each layer's
filters, those of smallest norm, is set to zero; in small nets also as many by chance (Mittal et al. 2018).  How many of
them come back is recorded epoch by epoch.  After the last one they are removed, what they still emit folded into the
biases, and the small net is trained on.

In small nets stand beside it, trained on for as many epochs: the dense net in the same widths, pruned once by the same
norms and by chance, and a net of these widths from scratch, for as many epochs as both trainings.  For CIFAR-10 these
controls, of the same widths, seeds and retraining, are in the records of the experiment `reconstruction`.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import nn
from nn.backend import array_module, to_numpy
from nn.module import Module
from pruning import filters, surgery
from pruning.architectures.widths import share
from pruning.experiments import setup
from pruning.experiments.figures import soft_filters as figures
from pruning.experiments.setup import SHAPES, Part, costs
from pruning.masks import prunable
from pruning.pipeline import RandomFilters, SoftFilters
from pruning.scores import chance, filter_norm

RETRAINING = {"learning_rate": 0.01, "momentum": 0.9, "weight_decay": 5e-4, "epochs": 4, "batch_size": 64}
RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    ("digits", "conv3"): {
        "methods": ["soft", "soft, chance"],
        "controls": ["hard", "hard, chance", "scratch"],
        "macs": [0.5, 0.3],
        "images": 1137,
        "retraining": {**RETRAINING, "epochs": 10},
    },
    ("cifar10", "vgg11-thin"): {
        "methods": ["soft"],
        "controls": [],
        "macs": [0.5],
        "images": 10000,
        "retraining": RETRAINING,
    },
}
FIELDS = ("dense", "rows")


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return one cell a seed; with `validation` all accuracies of small nets are those on the held-out images.

    Raises
    ------
    ValueError
        If there is no recipe for this model on this data set, or a seed is negative.
    """
    model = {"digits": "conv3", "cifar10": "vgg11-thin"}.get(data) if model is None else model
    setup.check_known(RECIPES, data, model)
    dense = setup.dense_specs(data, seeds, device, model)
    return [
        {"seed": spec["seed"], "dense": spec, **RECIPES[data, str(model)], "validation": validation} for spec in dense
    ]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"dense", "rows": one a share of MACs and method}.

    The dense net and the soft ones come from their checkpoints in `folder`, and are trained if there are none.
    """
    part, test = setup.shared_parts(spec, root)
    net, trained = setup.dense_net(spec["dense"], root, progress, folder)
    data = spec["dense"]["data"]
    dense = {"history": trained["history"], **setup.tested(net, test), **costs(net, data)}
    measured, rows = partial(_measured, spec=spec, part=part, test=test), []
    for macs in spec["macs"]:
        shares = uniform_shares(net, data, macs)
        for method in spec["methods"]:
            soft, found = training(spec, method, macs, shares, root, progress, folder)
            small, changes = removed(soft, data, test)
            rows.append({"target": macs, "method": method, **found, **changes, **measured(small)})
        keep = soft.keep()
        for method, hard in controls(net, shares, spec).items():
            rows.append({"target": macs, "method": method, "cut": setup.tested(hard, test), **measured(hard)})
        if "scratch" in spec["controls"]:
            fresh = setup.scratch(keep, spec["dense"], np.random.default_rng([spec["seed"], 2]))
            rows.append({"target": macs, "method": "scratch", **setup.from_scratch(fresh, spec, root, test)})
    result = {"dense": dense, "rows": rows}
    if progress:
        tqdm.write(table({"spec": spec, **result}))
    return result


def uniform_shares(net: Module, data: str, macs: float) -> dict[str, float]:
    """Return {name of a weight: the share of its filters that goes}, the same of every layer but for rounding."""
    names = setup.free(net)
    widths = setup.uniform_widths(net, names, data, macs)
    return {name: share(weight.shape[0], widths[name]) for name, weight in prunable(net, names).items()}


def training(
    spec: Mapping[str, Any],
    method: str,
    macs: float,
    shares: Mapping[str, float],
    root: str | None = None,
    progress: bool = False,
    folder: Path | None = None,
) -> tuple[SoftFilters, dict[str, Any]]:
    """Return the companion of a net trained from scratch as the dense net is, and {"history", "zeroed"} by epoch."""
    dense = spec["dense"]
    rng = np.random.default_rng(dense["seed"])
    net = setup.MODELS[dense["model"]](rng, dtype=np.float32).to(array_module(dense["device"]))
    rate, momentum, decay = (dense[name] for name in ("learning_rate", "momentum", "weight_decay"))
    optimizer = nn.SGD(net.parameters(), rate, momentum, nesterov=True, weight_decay=decay)
    every = -(-min(dense["images"], spec["images"]) // dense["batch_size"])
    soft = (
        SoftFilters(net, shares, every)
        if method == "soft"
        else RandomFilters(net, shares, every, np.random.default_rng([dense["seed"], 3]))
    )
    recipe = {**dense, "method": method, "macs": macs}
    trained = setup.fit(net, optimizer, recipe, rng, root, progress, folder, [soft])
    return soft, {"history": trained["history"], "zeroed": soft.history}


def removed(soft: SoftFilters, data: str, test: Part) -> tuple[Module, dict[str, Any]]:
    """Return the small net and what became of the outputs: filters at zero, folded and removed, removed as they are."""
    net, keep, x = soft.net.eval(), soft.keep(), test[0][..., :1000]
    small = surgery.remove(surgery.fold_constants(net, keep, SHAPES[data], "map"), keep)
    naive = surgery.remove(net, keep)
    y = to_numpy(net.forward(x))
    changes = {
        f"{kind} changes outputs by": float(np.abs(to_numpy(each.eval().forward(x)) - y).max() / np.abs(y).max())
        for kind, each in (("folding", small), ("naive removal", naive))
    }
    tested = {kind: setup.tested(each, test) for kind, each in (("cut", net), ("folded", small), ("naive", naive))}
    return small, {"keep": keep, **changes, **tested}


def controls(net: Module, shares: Mapping[str, float], spec: Mapping[str, Any]) -> dict[str, Module]:
    """Return the dense net in the same widths, pruned once: by the norms of its filters and by chance."""
    scores = {
        "hard": filter_norm.saliency(net, list(shares), norm=2),
        "hard, chance": chance.saliency(net, np.random.default_rng([spec["seed"], 1]), list(shares)),
    }
    wanted = {method: score for method, score in scores.items() if method in spec["controls"]}
    return {method: surgery.remove(net, filters.largest(score, shares)) for method, score in wanted.items()}


def _measured(small: Module, spec: Mapping[str, Any], part: Part, test: Part) -> dict[str, Any]:
    return {**costs(small, spec["dense"]["data"]), **setup.retrained(small, spec, part, test)}


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw how many filters come back, and the accuracies."""
    start = f"soft_filters-{records[0]['spec']['dense']['data']}"
    return [
        figures.back(records, folder / f"{start}-back.png"),
        figures.nets(records, folder / f"{start}-nets.png"),
    ]


STAGES = ("cut", "folded", "naive", "retrained")


def table(record: Mapping[str, Any]) -> str:
    """Return the record as a readable table, one line a small net."""
    dense = record["dense"]
    lines = [
        f"dense net {dense['test_accuracy']:.2%}",
        f"{'conv MACs':>9}  {'method':14}" + "".join(f"{stage:>12}" for stage in STAGES) + "  came back, by epoch",
    ]
    for row in record["rows"]:
        back = " ".join(str(each["came_back"]) for each in row.get("zeroed", []))
        texts = "".join(f"{_percent(row.get(stage)):>12}" for stage in STAGES)
        lines.append(f"{row['conv_macs'] / dense['conv_macs']:9.1%}  {row['method']:14}{texts}  {back}".rstrip())
    return "\n".join(lines)


def _percent(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    return "diverged" if "diverged" in found else f"{found['test_accuracy']:.2%}"
