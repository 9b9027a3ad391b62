"""Self-adaptive pruning from scratch: a net that decides for each image which channels it computes.

Three gated convolutions and an affine layer are trained once, with decisions, for a mean cost within the budget.  The
net is tested with its own decisions, with those of other test images, of the same class and of any other class, and
it is asked what its decisions alone say of the class (the nearest mean decision of a class, in the training images).

Beside it stand, with the same optimizer, images and epochs: the same net without batch norm in front of what predicts
its saliencies; a plain net of smaller widths, whose convolutions cost about as much as the gated ones and what decides
on them; and a plain net of all channels.

Costs are shares of the multiply-accumulates of the convolutions with all channels.  Those of the saliencies are the
"overhead", in the same unit.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import nn
from nn.backend import array_module, to_numpy
from nn.batches import evaluating
from nn.module import Module, Sequential
from pruning.counts import count
from pruning.dynamic.self_adaptive import Gated, WithinBudget, cost, gated, saliency_module
from pruning.experiments import setup
from pruning.experiments.comparison import Arm, percent
from pruning.experiments.figures import self_adaptive as figures
from pruning.experiments.setup import SHAPES, Part

RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    # "small" costs what the budget and the saliencies come to; the strength was chosen with --validation.
    ("digits", "conv3"): {
        "widths": [16, 32, 32],
        "small": [8, 16, 16],
        "hidden": 16,
        "budget": 0.25,
        "strength": 10.0,
        "learning_rate": 3e-3,
        "epochs": 60,
        "batch_size": 64,
        "images": 1137,
    },
}
SHUFFLES = 20
"""How often every image gets decisions of another one, drawn anew."""
FIELDS = ("rows",)


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return one cell a seed; with `validation` all accuracies are those on the held-out images.

    Raises
    ------
    ValueError
        If there is no recipe for this model on this data set, or a seed is negative.
    """
    model = {"digits": "conv3"}.get(data) if model is None else model
    setup.check_known(RECIPES, data, model)
    setup.check_seeds(seeds)
    shared = {"data": data, "model": model, "device": device, **RECIPES[data, str(model)]}
    return [{**shared, "seed": seed, "validation": validation} for seed in seeds]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"rows": one dict a net}; every training leaves a checkpoint in `folder`, and goes on from it."""
    xp, parts = array_module(spec["device"]), setup.parts(spec, root)
    train, test = ((xp.asarray(x), xp.asarray(t)) for x, t in parts)
    rows = []
    for method in ("self-adaptive", "without norm"):
        net = with_decisions(spec, method)
        loss = WithinBudget(nn.SoftmaxCrossEntropy(), net, spec["budget"], spec["strength"])
        history = fitted(net, loss, spec, train, method, progress, folder)
        rows.append({"method": method, "history": history, **setup.tested(net, test)})
        rows[-1] |= {"overhead": overhead(spec) / full(spec), **decided(net, spec, train, test)}
    for method, widths in (("small", spec["small"]), ("dense", spec["widths"])):
        net = plain(widths, np.random.default_rng(spec["seed"]))
        history = fitted(net, nn.SoftmaxCrossEntropy(), spec, train, method, progress, folder)
        share = count(net, SHAPES[spec["data"]], "conv_only").macs / full(spec)
        rows.append({"method": method, "history": history, **setup.tested(net, test), "cost": share})
    if progress:
        tqdm.write(table({"spec": spec, "rows": rows}))
    return {"rows": rows}


def plain(widths: Sequence[int], rng: np.random.Generator | None) -> Sequential:
    """Return three convolutions, a max-pool behind the first two, means of maps, and ten outputs."""
    layers: list[Module] = []
    for k, (c_in, c_out) in enumerate(pairwise([1, *widths])):
        layers += [nn.Conv2d(c_in, c_out, 3, rng, padding=1, dtype=np.float32), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if k < 2 else []
    return nn.Sequential(*layers, nn.GlobalAvgPool2d(), nn.Linear(widths[-1], 10, rng, dtype=np.float32))


def with_decisions(spec: Mapping[str, Any], method: str) -> Sequential:
    """Return the net of all channels, every convolution with its saliencies, without batch norm if so named."""
    rng = np.random.default_rng(spec["seed"])
    layers = list(plain(spec["widths"], rng).layers)
    for k, layer in enumerate(layers):
        if isinstance(layer, nn.Conv2d):
            module = saliency_module(layer.c_in, layer.c_out, spec["hidden"], rng, np.float32)
            if method == "without norm":
                module = nn.Sequential(*(each for each in module.layers if not isinstance(each, nn.BatchNorm)))
            layers[k] = Gated(layer, module, np.random.default_rng([spec["seed"], 1 + k]))
    return nn.Sequential(*layers)


def fitted(
    net: Module,
    loss: Any,
    spec: Mapping[str, Any],
    train: Part,
    method: str,
    progress: bool = False,
    folder: Path | None = None,
) -> list[dict[str, float]]:
    """Train the net in place, all nets alike, and return the history; the net is in eval mode afterwards."""
    path = None if folder is None else folder / setup.checkpoint_name({**spec, "control": method})
    net.to(array_module(spec["device"]))
    history = nn.training.train(
        net,
        loss,
        nn.Adam(net.parameters(), spec["learning_rate"]),
        *train,
        epochs=spec["epochs"],
        batch_size=spec["batch_size"],
        rng=np.random.default_rng([spec["seed"], 0]),
        schedule=nn.cosine_decay(spec["learning_rate"], spec["epochs"]),
        checkpoint_path=path,
        progress=progress,
    )
    net.eval()
    return history


def decided(net: Module, spec: Mapping[str, Any], train: Part, test: Part) -> dict[str, Any]:
    """Return what the decisions of a trained net cost, how much they differ, and what they are worth.

    Returns
    -------
    {"cost": its mean over the test images, "costs": [smallest, largest], "by_class": means, "open": mean share of a
    layer, "nets": different patterns of a layer, "static": share of channels that are open for all or for none,
    "alike": share of equal decisions of [two images of a class, two of different classes], "other", "same class":
    mean accuracy with decisions of images of other classes and of the same one, "alone": accuracy of the nearest mean
    decision of a class}.
    """
    known, t = made(net, train), to_numpy(train[1])
    own, labels = made(net, test), to_numpy(test[1])
    net.forward(test[0])
    share = to_numpy(cost(net)).astype(float)
    rng = np.random.default_rng([spec["seed"], 2])
    v, w = np.concatenate(own), np.concatenate(known)
    means = np.array([w[:, t == digit].mean(axis=1) for digit in range(10)])
    nearest = ((v.T[:, None, :] - means) ** 2).sum(axis=2).argmin(axis=1)
    equal, same = 1 - (v.T[:, None, :] != v.T[None, :, :]).mean(axis=2), labels[:, None] == labels
    apart = ~np.eye(len(labels), dtype=bool)
    return {
        "cost": share.mean(),
        "costs": [share.min(), share.max()],
        "by_class": [share[labels == digit].mean() for digit in range(10)],
        "open": [each.mean(dtype=float) for each in own],
        "nets": [len(np.unique(each, axis=1).T) for each in own],
        "static": [float(np.mean(each.min(axis=1) == each.max(axis=1))) for each in own],
        "alike": [equal[same & apart].mean(), equal[~same].mean()],
        "other": borrowed(net, test, own, ~same, rng),
        "same class": borrowed(net, test, own, same & apart, rng),
        "alone": float(np.mean(nearest == labels)),
    }


def made(net: Module, part: Part) -> list[np.ndarray]:
    """Return the decisions (O, N) of each layer for these images, in eval mode."""
    with evaluating(net):
        net.forward(part[0])
        return [to_numpy(layer.v) for layer in gated(net)]


def borrowed(
    net: Module, part: Part, decisions: Sequence[np.ndarray], allowed: np.ndarray, rng: np.random.Generator
) -> float:
    """Return the mean accuracy where every image gets the decisions of another, drawn from those that it may have."""
    (x, t), hits = part, []
    for _ in range(SHUFFLES):
        lender = np.where(allowed, rng.random(allowed.shape), -1).argmax(axis=1)
        for layer, v in zip(gated(net), decisions):
            layer.imposed = v[:, lender]
        hits.append(to_numpy(net.forward(x)).argmax(axis=0) == to_numpy(t))
    for layer in gated(net):
        layer.imposed = None
    return float(np.mean(hits))


def full(spec: Mapping[str, Any]) -> int:
    """Return the multiply-accumulates of the convolutions with all channels."""
    return count(plain(spec["widths"], None), SHAPES[spec["data"]], "conv_only").macs


def overhead(spec: Mapping[str, Any]) -> int:
    """Return the multiply-accumulates of what predicts the saliencies: two affine layers a convolution."""
    widths = [SHAPES[spec["data"]][0], *spec["widths"]]
    return sum(spec["hidden"] * (c_in + c_out) for c_in, c_out in pairwise(widths))


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw the accuracies of all nets, and what the images of each class cost."""
    start = f"self_adaptive-{records[0]['spec']['data']}"
    return [
        figures.accuracies(records, folder / f"{start}-accuracies.png"),
        figures.classes(records, folder / f"{start}-classes.png"),
    ]


def table(record: Mapping[str, Any]) -> str:
    """Return the nets of the record as a readable table; accuracies with own and with borrowed decisions."""
    lines = [f"{'net':14}{'cost':>8}{'overhead':>10}{'accuracy':>10}{'same class':>12}{'other':>8}{'alone':>8}  nets"]
    for row in record["rows"]:
        text = f"{row['method']:14}{row['cost']:8.3f}{row.get('overhead', 0):10.3f}{row['test_accuracy']:10.2%}"
        if "nets" in row:
            text += f"{row['same class']:12.2%}{row['other']:8.1%}{row['alone']:8.1%}  {row['nets']}"
        lines.append(text)
    return "\n".join(lines)


def compared(record: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the nets; a small plain net of the same cost is the control."""
    for row in record["rows"]:
        controls = ("small", "dense") if row["method"] == "self-adaptive" else ()
        borrowed = {"other class's decisions, %": 100 * row["other"]} if "other" in row else {}
        yield Arm(row["method"], {**percent(row), "cost": row["cost"], **borrowed}, controls)
