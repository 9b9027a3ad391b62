"""Soft filter pruning from scratch: filters set to zero after every epoch, by their norms and by chance.

The training is that of a dense net, with its images, batches and learning rates; after every epoch the same share of
all free layers is set to zero, and may come back.  The share leaves at most "macs" of the convolutions' MACs.
Afterwards the zeroed filters still emit constants, through the shift of batch norm.  The net is tested as it is, with
the statistics of batch norm renewed, without the filters but with their constants folded into the layers that read
them, and without both ("naive").  The folded small net is then retrained.

On digits, controls of the same widths stand beside: the dense net pruned once, by the l2 norms of its folded filters
and by chance, and retrained as long; and nets from scratch, for as many epochs as the training and the retraining
together.  On CIFAR-10 there are no controls here: for the same seeds, widths and retraining they are in the records of
the experiment `reconstruction` ("cut, retrained" of L1 and random, and scratch).

He, Kang, Dong, Fu, Yang 2018, arXiv:1808.06866; by chance, Mittal, Bhardwaj, Khapra, Ravindran 2018, arXiv:1801.10447.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import nn
from nn.backend import array_module, to_numpy
from nn.module import Module
from pruning import filters, surgery
from pruning.experiments import setup
from pruning.experiments.comparison import Arm, percent
from pruning.experiments.figures import soft_filters as figures
from pruning.experiments.setup import Part, costs
from pruning.pipeline import RandomFilters, SoftFilters
from pruning.scores import chance, filter_norm

METHODS = ("soft", "random")
RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    # conv MACs that are left; images that are retrained on; whether dense nets and nets from scratch stand beside
    ("digits", "conv3"): {
        "methods": list(METHODS),
        "macs": [0.5, 0.3],
        "images": 1137,
        "retraining": {**setup.RETRAINING, "epochs": 10},
        "controls": True,
    },
    ("cifar10", "vgg11-thin"): {
        "methods": ["soft"],
        "macs": [0.5],
        "images": 10000,
        "retraining": setup.RETRAINING,
        "controls": False,
    },
}
COMPARED = 200
"""How many test images the outputs of the zeroed, the folded and the naive net are compared on."""
FEW = 1000
"""How many training images renew the statistics of batch norm."""
FIELDS = ("dense", "rows")


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return one cell a seed; with `validation` all accuracies are those on the held-out images.

    Raises
    ------
    ValueError
        If there is no recipe for this model on this data set, or a seed is negative.
    """
    model = {"digits": "conv3", "cifar10": "vgg11-thin"}.get(data) if model is None else model
    setup.check_known(RECIPES, data, model)
    dense = setup.dense_specs(data, seeds, device, model)
    shared = {**RECIPES[data, str(model)], "validation": validation}
    return [{"seed": spec["seed"], "dense": spec, **shared} for spec in dense]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"dense", "rows": one dict a number of MACs and method}.

    Every training leaves a checkpoint in `folder`, and goes on from it.
    """
    data, model = spec["dense"]["data"], spec["dense"]["model"]
    part, test = setup.shared_parts(spec, root)
    outline = setup.MODELS[model](None, dtype=np.float32)
    dense: dict[str, Any] = dict(costs(outline, data))
    rows: list[dict[str, Any]] = []
    if spec["controls"]:
        net, _ = setup.dense_net(spec["dense"], root, progress, folder)
        dense |= {"norms": norms(net), **setup.tested(net, test), **setup.retrained(net, spec, part, test)}
    for macs in spec["macs"]:
        names = setup.free(outline)
        share = filters.share_for_macs(outline, names, setup.SHAPES[data], macs, "conv_only")
        for method in spec["methods"]:
            soft, history = softly_trained(spec, method, dict.fromkeys(names, share), root, progress, folder)
            row = {"target": macs, "method": method, "share": share, "keep": soft.keep(), "history": history}
            rows.append(row | removed(soft, spec, part, test))
        if spec["controls"]:
            rows += [{"target": macs, **row} for row in controls(net, dict.fromkeys(names, share), spec, root)]
    result = {"dense": dense, "rows": rows}
    if progress:
        tqdm.write(table({"spec": spec, **result}))
    return result


def softly_trained(
    spec: Mapping[str, Any],
    method: str,
    shares: Mapping[str, float],
    root: str | None = None,
    progress: bool = False,
    folder: Path | None = None,
) -> tuple[SoftFilters, list[dict[str, Any]]]:
    """Return the companion of a net after its training, and one dict an epoch.

    In it: "zeroed" and "came_back" (filters), "stays" (the share of those zeroed that were zeroed an epoch before,
    None in the first), and "test_accuracy", of the net as it was zeroed.
    """
    dense = {**spec["dense"], "validation": spec["validation"]}
    (_, t), _ = setup.parts(dense, root)
    every = math.ceil(t.shape[-1] / dense["batch_size"])
    # The net draws from the seed itself, and its retraining will; the filters have a generator of their own.
    chosen, rng = np.random.default_rng([spec["seed"], 3]), np.random.default_rng(dense["seed"])
    net = setup.MODELS[dense["model"]](rng, dtype=np.float32).to(array_module(dense["device"]))
    soft = SoftFilters(net, shares, every) if method == "soft" else RandomFilters(net, shares, every, chosen)
    rate, momentum, decay = (dense[name] for name in ("learning_rate", "momentum", "weight_decay"))
    optimizer = nn.SGD(net.parameters(), rate, momentum, nesterov=True, weight_decay=decay)
    recipe = {**dense, "method": method, "shares": dict(shares)}
    trained = setup.fit(net, optimizer, recipe, rng, root, progress, folder, [soft])
    history = [
        {
            "zeroed": once["zeroed"],
            "came_back": once["came_back"],
            "stays": 1 - once["came_back"] / once["zeroed"] if epoch and once["zeroed"] else None,
            "test_accuracy": trained["history"][epoch]["test_accuracy"],
        }
        for epoch, once in enumerate(soft.history)
    ]
    return soft, history


def removed(soft: SoftFilters, spec: Mapping[str, Any], part: Part, test: Part) -> dict[str, Any]:
    """Return what becomes of a trained net: zeroed, renewed, its filters removed with and without folding, retrained.

    "change" is the largest change of an output against the zeroed net, on the first test images.
    """
    net, keep, data = soft.net, soft.keep(), spec["dense"]["data"]
    renewed = surgery.duplicate(net)
    nn.renew_statistics(renewed, part[0][..., :FEW])
    # Padded convolutions see the constants inside the image only, hence the map.
    folded = surgery.remove(surgery.fold_constants(net, keep, setup.SHAPES[data], border="map"), keep)
    naive, x = surgery.remove(net, keep), test[0][..., :COMPARED]
    return {
        **costs(folded, data),
        "norms": norms(net),
        "zeroed": setup.tested(net, test),
        "renewed": setup.tested(renewed, test),
        "folded": {**setup.tested(folded, test), "change": change(folded, net, x)},
        "naive": {**setup.tested(naive, test), "change": change(naive, net, x)},
        **setup.retrained(folded, spec, part, test),
    }


def norms(net: Module) -> dict[str, list[float]]:
    """Return {name: the l2 norms of the filters, ascending}.

    Behind a filter at zero batch norm divides by the root of its epsilon, and what comes back may come back large.
    """
    found = filter_norm.saliency(net, setup.free(net), norm=2)
    return {name: np.sort(to_numpy(each)).tolist() for name, each in found.items()}


def change(small: Module, net: Module, x: Any) -> float:
    """Return max |dy| of the outputs of two nets in eval mode."""
    outputs = []
    for each in (small, net):
        with nn.batches.evaluating(each):
            outputs.append(to_numpy(each.forward(x)))
    return float(np.abs(outputs[0] - outputs[1]).max())


def controls(
    net: Module, shares: Mapping[str, float], spec: Mapping[str, Any], root: str | None
) -> Iterator[dict[str, Any]]:
    """Yield the dense net pruned once, by norms and by chance, and a net from scratch, all of the same widths."""
    part, test = setup.shared_parts(spec, root)
    names, data = list(shares), spec["dense"]["data"]
    scores = {
        "l2 once": filter_norm.saliency(surgery.fold_batchnorm(net), names, norm=2),
        "random once": chance.saliency(net, np.random.default_rng([spec["seed"], 1]), names),
    }
    for method, score in scores.items():
        keep = filters.largest(score, shares)
        cut = surgery.remove(net, keep)
        row = {"method": method, "keep": keep, **costs(cut, data), "naive": setup.tested(cut, test)}
        yield row | setup.retrained(cut, spec, part, test)
    fresh = setup.scratch(keep, spec["dense"], np.random.default_rng([spec["seed"], 2]))
    fresh.to(array_module(spec["dense"]["device"]))
    yield {"method": "scratch", **setup.from_scratch(fresh, spec, root, test)}


def small_nets(record: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield for every method its row, the widths that it left, and how the net did after retraining."""
    for row in record["rows"]:
        if row["method"] != "scratch":
            widths = {name: len(rows) for name, rows in row["keep"].items()}
            yield f"{row['method']}, {row['target']:.0%} of the MACs", {"widths": widths}, row["retrained"]


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw how many zeroed filters stay and what the nets get right by epoch, and what the small nets get right."""
    start = f"soft_filters-{records[0]['spec']['dense']['data']}"
    return [
        figures.epochs(records, folder / f"{start}-epochs.png"),
        figures.nets(records, folder / f"{start}-nets.png"),
    ]


STAGES = ("zeroed", "renewed", "naive", "folded", "retrained")


def table(record: Mapping[str, Any]) -> str:
    """Return the nets of the record as a readable table, one line a method.

    The last columns: max |dy| of the folded and the naive net, and the share of zeroed filters that were zeroed an
    epoch before, in the second epoch and in the last.
    """
    dense = record["dense"]
    lines = []
    if "retrained" in dense:
        lines.append(f"dense net {dense['test_accuracy']:.2%}, trained on {_percent(dense['retrained'])}")
    heads = "".join(f"{stage:>11}" for stage in STAGES)
    lines.append(f"{'conv MACs':>9}  {'method':12}{heads}{'dy folded':>12}{'dy naive':>12}{'stays':>16}")
    for row in record["rows"]:
        texts = "".join(f"{_percent(row.get(stage)):>11}" for stage in STAGES)
        lines.append(f"{row['conv_macs'] / dense['conv_macs']:9.1%}  {row['method']:12}{texts}{_stays(row)}".rstrip())
    return "\n".join(lines)


def _stays(row: Mapping[str, Any]) -> str:
    if "history" not in row:
        return ""
    seen = [epoch["stays"] for epoch in row["history"] if epoch["stays"] is not None]
    ends = f"{seen[0]:.0%} to {seen[-1]:.0%}" if seen else ""
    return f"{row['folded']['change']:12.1e}{row['naive']['change']:12.1e}{ends:>16}"


def _percent(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    return "diverged" if "diverged" in found else f"{found['test_accuracy']:.2%}"


def compared(record: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the nets, retrained; the same norms once, after training, and scratch are the controls."""
    for row in record["rows"]:
        found = percent(row.get("retrained", {}))
        controls = {"soft": ("l2 once", "scratch"), "random": ("random once",)}.get(row["method"], ())
        sizes = {"conv MACs": row["conv_macs"], "weights": row["weights"]}
        yield Arm(row["method"], {**found, **sizes} if found else {}, controls, f"{row['target']:.0%} of the conv MACs")
