"""What pruned weights are worth on machines that skip zeros: single weights deleted beside small nets of as many MACs.

A dense net is trained.  Of its weights a share is deleted, those of smallest size of the whole net.  Beside it stands a
net without filters and hidden units, those of the smallest L1 norms, the same share in every layer: the largest of
these nets that has at most as many multiply-accumulates.  Both are retrained as long with the same recipe, and so is
the dense net itself.

All cycles are those of the models in `pruning.sparse.accelerators`, for one image: on the dense machine, on Cambricon-X
in its two ways, and on Cnvlutin, with what the first test images become inside of the net.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from nn.module import Module
from pruning import filters, masks, sparse, surgery
from pruning.experiments import setup
from pruning.experiments.comparison import Arm, percent
from pruning.experiments.figures import accelerators as figures
from pruning.experiments.setup import SHAPES, Part
from pruning.scores import magnitude

RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    ("digits", "conv3-wide"): {
        "sparsities": [0.5, 0.8, 0.9, 0.95],
        "images": 1137,
        "seen": 100,
        "retraining": {**setup.RETRAINING, "epochs": 10},
    },
    ("mnist", "lenet5"): {
        "sparsities": [0.9, 0.98],
        "images": 6000,
        "seen": 100,
        "retraining": {**setup.RETRAINING, "epochs": 2},
    },
}
DENSE = {
    ("digits", "conv3-wide"): setup.DIGITS,
    # A tenth of the images and half of the epochs: what one core does in a minute.
    ("mnist", "lenet5"): {**setup.MNIST, "images": 6000, "epochs": 5, "batch_size": 64},
}
FIELDS = ("dense", "rows")


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return one cell a seed; with `validation` all accuracies of pruned nets are those on the held-out images.

    Raises
    ------
    ValueError
        If there is no recipe for this model on this data set, or a seed is negative.
    """
    model = {"digits": "conv3-wide", "mnist": "lenet5"}.get(data) if model is None else model
    setup.check_known(RECIPES, data, model)
    dense = setup.dense_specs(data, seeds, device, model, recipes=DENSE)
    return [
        {"seed": spec["seed"], "dense": spec, **RECIPES[data, str(model)], "validation": validation} for spec in dense
    ]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"dense": what the trained net gets right, and its cycles, "rows": one a share and method}.

    The dense net comes from its checkpoint in `folder`, and is trained if there is none.
    """
    part, test = setup.shared_parts(spec, root)
    net, trained = setup.dense_net(spec["dense"], root, progress, folder)
    dense = {"history": trained["history"], **setup.tested(net, test), **machines(net, spec, test)}
    rows = [{"sparsity": 0, "method": "dense", **trained_on(net, spec, part, test)}]
    for sparsity in tqdm(spec["sparsities"], disable=not progress, unit="share", desc="pruned nets"):
        fewer = without_weights(net, sparsity)
        macs = sparse.cambricon_x(fewer, SHAPES[spec["dense"]["data"]]).macs / dense["cambricon_x"]["macs"]
        small = without_filters(net, spec["dense"]["data"], macs)
        for method, pruned in (("weights", fewer), ("filters", small)):
            rows.append({"sparsity": sparsity, "method": method, **trained_on(pruned, spec, part, test)})
    result = {"dense": dense, "rows": rows}
    if progress:
        tqdm.write(table({"spec": spec, **result}))
    return result


def without_weights(net: Module, sparsity: float) -> Module:
    """Return a copy without this share of all weights, the smallest ones."""
    fewer: Module = surgery.duplicate(net)
    masks.apply(fewer, masks.smallest(magnitude.saliency(fewer), sparsity))
    return fewer


def without_filters(net: Module, data: str, macs: float) -> Module:
    """Return a copy that has at most this share of the MACs, without filters and hidden units of the smallest norms."""
    names = list(masks.prunable(net))[:-1]  # the outputs stay
    share = filters.share_for_macs(net, names, SHAPES[data], macs)
    small: Module = surgery.remove(net, filters.largest(setup.folded_l1(net, names), dict.fromkeys(names, share)))
    return small


def trained_on(net: Module, spec: Mapping[str, Any], part: Part, test: Part) -> dict[str, Any]:
    """Return what a net gets right before and after it is retrained, and its cycles after it."""
    cut, longer = setup.tested(net, test), surgery.duplicate(net)
    rng = np.random.default_rng(spec["seed"])
    setup.retrain(longer, spec, spec["retraining"]["epochs"], part, test, rng)
    return {"cut": cut, "retrained": setup.tested(longer, test), **machines(longer, spec, test)}


def machines(net: Module, spec: Mapping[str, Any], test: Part) -> dict[str, Any]:
    """Return the weights that are left, and MACs and cycles for one image on each machine, layer by layer."""
    shape = SHAPES[spec["dense"]["data"]]
    found = {
        "cambricon_x": sparse.cambricon_x(net, shape),
        "lockstep": sparse.cambricon_x(net, shape, sparse.lockstep),
        "cnvlutin": sparse.cnvlutin(net, test[0][..., : spec["seen"]]),
    }
    weights = sum(int(np.count_nonzero(u.data)) for u in masks.prunable(net).values())
    return {"weights": weights, **{machine: _numbers(cycles) for machine, cycles in found.items()}}


def _numbers(found: sparse.Cycles) -> dict[str, Any]:
    layers = [vars(layer) for layer in found.layers]
    return {"macs": found.macs, "dense": found.dense, "cycles": found.cycles, "layers": layers}


def small_nets(record: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield both nets of every share: the row, the weights or widths that are left, and how it did after retraining.

    A layer of the dense net has as many multiply-accumulates a weight as one of the net with zeros.
    """
    dense, whole = record["spec"]["dense"], record["dense"]["cambricon_x"]
    outline = setup.MODELS[dense["model"]](None, dtype=np.float32)
    weights = masks.prunable(outline)
    for row in record["rows"]:
        label = f"{row['method']}, {row['sparsity']:.0%} of the weights gone"
        if row["method"] == "weights":
            layers = zip(weights.items(), whole["layers"], row["cambricon_x"]["layers"], strict=True)
            left = {n: round(math.prod(W.shape) * some["macs"] / all_["macs"]) for (n, W), all_, some in layers}
            fewer = row["cambricon_x"]["macs"] / whole["macs"]
            yield label, {"left": left}, row["retrained"]
        elif row["method"] == "filters":
            names = list(weights)[:-1]
            share = filters.share_for_macs(outline, names, SHAPES[dense["data"]], fewer)
            widths = {name: filters.kept(weights[name].shape[0], share) for name in names}
            yield label, {"widths": widths}, row["retrained"]


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw accuracy and cycles of all nets over their MACs."""
    return [figures.cycles(records, folder / f"accelerators-{records[0]['spec']['dense']['data']}.png")]


def table(record: Mapping[str, Any]) -> str:
    """Return the record as a readable table, one line a net: all gains are over the dense net on the dense machine."""
    dense = record["dense"]
    lines = [
        f"dense net {dense['test_accuracy']:.2%}; gains over it in MACs and cycles",
        f"{'net':12}{'weights':>9}{'cut':>9}{'retrained':>11}{'MACs':>7}{'dense':>8}{'Cambricon-X':>13}{'lockstep':>10}"
        f"{'Cnvlutin':>10}",
    ]
    for row in record["rows"]:
        name = f"{row['method']} {row['sparsity']:.0%}" if row["sparsity"] else row["method"]
        lines.append(
            f"{name:12}{row['weights']:9,}{row['cut']['test_accuracy']:9.2%}{row['retrained']['test_accuracy']:11.2%}"
            f"{gain(record, row, 'macs'):7.2f}{gain(record, row, 'dense'):8.2f}{gain(record, row, 'cambricon_x'):13.2f}"
            f"{gain(record, row, 'lockstep'):10.2f}{gain(record, row, 'cnvlutin'):10.2f}"
        )
    return "\n".join(lines)


def gain(record: Mapping[str, Any], row: Mapping[str, Any], where: str) -> float:
    """Return how many times fewer MACs or cycles a net needs than the dense net on the dense machine of its kind.

    `where` is "macs", "dense", or one of the machines that skip zeros.
    """
    return figures.gain(record, row, where)


def compared(record: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the nets: single weights deleted beside the small net of as many multiply-accumulates."""
    for row in record["rows"]:
        share = f" {row['sparsity']:.0%}" if row["sparsity"] else ""
        controls = {"weights": (f"filters{share}", "dense"), "filters": ("dense",)}.get(row["method"], ())
        gains = {
            f"gain on {name}": gain(record, row, key)
            for name, key in (("Cambricon-X", "cambricon_x"), ("Cnvlutin", "cnvlutin"))
        }
        yield Arm(row["method"] + share, {**percent(row["retrained"]), "weights": row["weights"], **gains}, controls)
