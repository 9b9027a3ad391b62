"""Weights that learn how much noise they bear, beside weights deleted by size and a small dense net.

A net is trained from scratch with noise at its outputs (Molchanov, Ashukha, Vetrov 2017), the prior growing from 0 to
its full strength in the first part of the epochs; what has log alpha of 3 or more is zero.  It is done with the fit of
the divergence and with its exact form.

Beside it stand, trained by the same optimizer for as many epochs on as many images: the plain net, of which weights are
deleted by size until as many are left as the fit has left ("gradual magnitude"), and a dense net of at most as many
weights, all of its layers made narrower by the same share ("small dense").
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import nn
from nn.backend import array_module, asarray, to_numpy
from nn.module import Module
from pruning import filters, masks, surgery
from pruning.counts import count
from pruning.experiments import setup
from pruning.experiments.comparison import Arm, percent
from pruning.experiments.figures import variational_dropout as figures
from pruning.experiments.setup import SHAPES
from pruning.penalties import variational_dropout
from pruning.penalties.variational_dropout import EXACT, FITTED, LogUniformPrior, Variational, small_normal
from pruning.pipeline import gradual
from pruning.scores import magnitude

DIVERGENCES = {"fitted": FITTED, "exact": EXACT}
SHARED: dict[str, Any] = {
    "log_sigma": -5.0,
    "threshold": 3.0,
    "milestones": [],
    "divergences": ["fitted", "exact"],
    # the share of all steps in which the prior grows, and in which weights are deleted by size
    "ramp": 0.5,
    "last": 0.75,
}
RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    ("digits", "conv3"): {**SHARED, "learning_rate": 0.005, "epochs": 60, "batch_size": 64, "images": 1137},
    ("mnist", "lenet300"): {**SHARED, "learning_rate": 0.002, "epochs": 20, "batch_size": 100, "images": 55000},
    ("mnist", "lenet5"): {
        **SHARED,
        "learning_rate": 0.002,
        "epochs": 3,
        "batch_size": 100,
        "images": 55000,
        "divergences": ["fitted"],
    },
}
FIELDS = ("total", "rows")


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return one cell a seed; with `validation` all accuracies are those on the held-out images.

    Raises
    ------
    ValueError
        If there is no recipe for this model on this data set, or a seed is negative.
    """
    model = {"digits": "conv3", "mnist": "lenet300"}.get(data) if model is None else model
    setup.check_known(RECIPES, data, model)
    setup.check_seeds(seeds)
    shared = {"data": data, "model": model, "device": device, "validation": validation}
    return [{**shared, **RECIPES[data, str(model)], "seed": seed} for seed in seeds]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"total": weights of the dense net, "rows": one dict a net}; trainings leave checkpoints in `folder`."""
    rows = [variational(spec, divergence, root, progress, folder) for divergence in spec["divergences"]]
    left = rows[0]["weights"]
    rows += [by_size(spec, left, root, progress, folder), small_dense(spec, left, root, progress, folder)]
    result = {"total": _weights(setup.MODELS[spec["model"]](None, dtype=np.float32), spec), "rows": rows}
    if progress:
        tqdm.write(table({"spec": spec, **result}))
    return result


def variational(
    spec: Mapping[str, Any],
    divergence: str,
    root: str | None = None,
    progress: bool = False,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Return what is left of a net that learnt its noise, and how good it is."""
    rng = np.random.default_rng(spec["seed"])
    plain = _net(spec, rng)
    net = variational_dropout.variational(plain, rng, spec["log_sigma"], spec["threshold"])
    for layer in net.modules():
        if isinstance(layer, Variational):
            layer.W.data = asarray(small_normal(layer.W.shape, rng), like=layer.W.data)
    optimizer, steps = nn.Adam(net.parameters(), spec["learning_rate"]), _steps(spec, root)
    ramp = nn.Ramp(optimizer, max(1, round(spec["ramp"] * steps)))
    prior = LogUniformPrior(net, _images(spec, root), ramp, DIVERGENCES[divergence])
    method = f"variational, {divergence}"
    trained = setup.fit(net, optimizer, {**spec, "method": method}, rng, root, progress, folder, [prior])
    return {**_row(method, surgery.harden(net.eval()), spec, root), "history": trained["history"]}


def by_size(
    spec: Mapping[str, Any], left: int, root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return how good a plain net is of which weights were deleted by size in training until so many were left."""
    rng = np.random.default_rng(spec["seed"])
    net = _net(spec, rng)
    keep = max(left, len(masks.prunable(net)))
    deletion = gradual.Gradual(net, magnitude.saliency, keep, spec["last"] * _steps(spec, root))
    optimizer = nn.Adam(net.parameters(), spec["learning_rate"])
    recipe = {**spec, "method": "gradual magnitude", "keep": keep}
    trained = setup.fit(net, optimizer, recipe, rng, root, progress, folder, [deletion])
    return {**_row("gradual magnitude", net, spec, root), "history": trained["history"]}


def small_dense(
    spec: Mapping[str, Any], left: int, root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return how good a dense net of at most so many weights is; of as few as one a layer, if that is more."""
    keep, rng = narrower(spec, left), np.random.default_rng(spec["seed"])
    net = setup.scratch(keep, spec, rng).to(array_module(spec["device"]))
    optimizer = nn.Adam(net.parameters(), spec["learning_rate"])
    widths = {name: len(rows) for name, rows in keep.items()}
    recipe = {**spec, "method": "small dense", "widths": widths}
    trained = setup.fit(net, optimizer, recipe, rng, root, progress, folder)
    return {**_row("small dense", net, spec, root), "widths": widths, "history": trained["history"]}


def narrower(spec: Mapping[str, Any], left: int) -> dict[str, list[int]]:
    """Return what stays of every layer but the last if all lose the smallest share that leaves at most `left` weights.

    The share is one of 1/1000; a layer keeps one channel at least.
    """
    outline = setup.MODELS[spec["model"]](None, dtype=np.float32)
    hidden = list(masks.prunable(outline).items())[:-1]

    def keep(thousandths: int) -> dict[str, list[int]]:
        return {name: list(range(filters.kept(u.shape[0], thousandths / 1000))) for name, u in hidden}

    low, high = -1, 999  # too many are left at low, few enough at high, or no fewer can be
    while high - low > 1:
        middle = (low + high) // 2
        enough = _weights(surgery.remove(outline, keep(middle)), spec) <= left
        low, high = (low, middle) if enough else (middle, high)
    return keep(high)


def _net(spec: Mapping[str, Any], rng: np.random.Generator) -> Module:
    return setup.MODELS[spec["model"]](rng, dtype=np.float32).to(array_module(spec["device"]))


def _images(spec: Mapping[str, Any], root: str | None) -> int:
    (_, t), _ = setup.parts(spec, root)
    return int(t.shape[0])


def _steps(spec: Mapping[str, Any], root: str | None) -> int:
    return int(spec["epochs"] * math.ceil(_images(spec, root) / spec["batch_size"]))


def _weights(net: Module, spec: Mapping[str, Any]) -> int:
    return count(net, SHAPES[spec["data"]], "li2017").parameters


def _row(method: str, net: Module, spec: Mapping[str, Any], root: str | None) -> dict[str, Any]:
    xp, (_, (x, t)) = array_module(spec["device"]), setup.parts(spec, root)
    weights = masks.prunable(net)
    sizes = {name: math.prod(u.shape) for name, u in weights.items()}
    layers = {n: sizes[n] if u.mask is None else int(to_numpy(u.mask).sum()) for n, u in weights.items()}
    tested = setup.tested(net, (xp.asarray(x), xp.asarray(t)))
    return {"method": method, "weights": sum(layers.values()), "layers": layers, "sizes": sizes, **tested}


def small_nets(record: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield for both ways to delete single weights the row, how many each layer has left, and how the net did."""
    for row in record["rows"]:
        if row["method"] != "small dense":
            yield row["method"], {"left": row["layers"]}, {"test_accuracy": row["test_accuracy"]}


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw what is left against the accuracy, and what is left of each layer."""
    spec = records[0]["spec"]
    return [figures.nets(records, folder / f"variational_dropout-{spec['data']}-{spec['model']}.png")]


def table(record: Mapping[str, Any]) -> str:
    """Return the record as a readable table, one line a net; the rate counts the weights of all layers."""
    spec = record["spec"]
    lines = [
        f"{spec['model']} on {spec['data']}, seed {spec['seed']}, {record['total']:,} weights without biases",
        f"{'method':22}{'left':>9}{'rate':>8}{'test':>9}  left of each layer",
    ]
    for row in record["rows"]:
        rate, layers = record["total"] / max(1, row["weights"]), ", ".join(f"{n:,}" for n in row["layers"].values())
        lines.append(f"{row['method']:22}{row['weights']:9,}{rate:7.1f}x{row['test_accuracy']:9.2%}  {layers}")
    return "\n".join(lines)


def compared(record: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the nets; gradual deletion by magnitude, and a dense net of as many weights, are the controls."""
    for row in record["rows"]:
        controls = ("gradual magnitude", "small dense") if row["method"].startswith("variational") else ()
        yield Arm(row["method"], {**percent(row), "weights": row["weights"]}, controls)
