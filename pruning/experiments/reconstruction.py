"""Channels chosen for what the next layer computes: lasso, ThiNet and elimination, beside scores, chance and scratch.

One layer at a time: the error of the next layer's output, E ||Y - Y'||^2 / E ||Y||^2, of the sets that each method
keeps, as they are, with one factor a channel, and refitted; with the best of all sets where there are few enough.
Whole nets: each layer in turn, front to back, on what the layers in front have become, towards the dense net's outputs.
All methods keep equal numbers of channels.  Their sets are tested as they are, with the statistics of batch norm
renewed, refitted, and after a short retraining.  Beside them stand the dense net trained on for as many epochs, and
small nets of the same widths from scratch, for as many epochs as the dense net and the retraining together.

Choices and refits see the first training images only ("few"); NISP and Taylor score the dense net once.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from tqdm import tqdm

import nn
from nn.backend import to_numpy
from nn.module import Module
from pruning import surgery
from pruning.experiments import setup
from pruning.experiments.comparison import Arm, percent
from pruning.experiments.figures import reconstruction as figures
from pruning.experiments.setup import Part, costs
from pruning.masks import prunable
from pruning.reconstruction import elimination, enumeration, lasso_channels, moments, refitted, thinet
from pruning.reconstruction.moments import Moments
from pruning.scores import chance, nisp, taylor

Chooser: TypeAlias = Callable[[str, Moments, int], list[int]]
"""(weight that makes the channels, moments in front of the layer that reads them, how many) -> those that stay."""

RIDGE = 1e-9
"""Of the elimination: small nets have columns that depend on each other exactly."""
MOST_ENUMERATED = 12
METHODS = ("lasso", "ThiNet", "elimination", "NISP", "Taylor", "L1", "random")
WITHOUT_REFIT = ("L1", "random")
SHARED = {"shares": [0.25, 0.5, 0.75], "few": 1000, "images": 10000}
RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    # conv MACs that are left; images that are retrained on
    ("digits", "conv3"): {
        **SHARED,
        "macs": [0.5, 0.3],
        "images": 1137,
        "shares": [k / 12 for k in range(1, 12)],
        "retraining": {**setup.RETRAINING, "epochs": 10},
    },
    ("mnist", "lenet5"): {**SHARED, "macs": [0.3, 0.1], "retraining": setup.RETRAINING},
    ("cifar10", "vgg11-thin"): {**SHARED, "macs": [0.5, 0.3], "retraining": setup.RETRAINING},
}
FIELDS = ("dense", "layers", "rows")


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return one cell a seed; with `validation` all accuracies are those on the held-out images.

    Raises
    ------
    ValueError
        If there is no recipe for this model on this data set, or a seed is negative.
    """
    model = {"digits": "conv3", "mnist": "lenet5", "cifar10": "vgg11-thin"}.get(data) if model is None else model
    setup.check_known(RECIPES, data, model)
    dense = setup.dense_specs(data, seeds, device, model)
    shared = {**RECIPES[data, str(model)], "methods": list(METHODS), "validation": validation}
    return [{"seed": spec["seed"], "dense": spec, **shared} for spec in dense]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"dense", "layers": one dict a layer, "rows": one a number of MACs and method, "time"}.

    The dense net comes from its checkpoint in `folder`, and is trained if there is none.
    """
    part, test = setup.shared_parts(spec, root)
    net, _ = setup.dense_net(spec["dense"], root, progress, folder)
    x, t = (each[..., : spec["few"]] for each in part)
    readers, rows = _readers(net), []
    start = time.perf_counter()
    net.eval().forward(x)
    middle = time.perf_counter()
    seen = {name: moments.collect(net, reader, x) for name, reader in readers.items()}
    seconds = {"forward": round(middle - start, 3), "moments": round(time.perf_counter() - middle, 3)}
    scores = _scores(net, (x, t), list(readers), np.random.default_rng([spec["seed"], 1]))
    layers = [layer(name, each, scores, spec["shares"]) for name, each in tqdm(seen.items(), disable=not progress)]
    retrained = partial(setup.retrained, spec=spec, part=part, test=test)
    dense = {**setup.tested(net, test), **costs(net, spec["dense"]["data"]), **retrained(net)}
    for macs in spec["macs"]:
        widths = setup.uniform_widths(net, list(readers), spec["dense"]["data"], macs)
        choosers = choices(scores)
        for method in tqdm(spec["methods"], disable=not progress, unit="net", desc=f"{macs:.0%} of the MACs"):
            start = time.perf_counter()
            keep, small = reconstructed(net, readers, widths, x, choosers[method])
            seconds[f"{method}, {macs:.0%}"] = round(time.perf_counter() - start, 3)
            cut = surgery.remove(net, keep)
            row = {"target": macs, "method": method, "keep": keep, **costs(small, spec["dense"]["data"])}
            row |= {"cut": setup.tested(cut, test), "renewed": _renewed(cut, x, test)}
            row |= {"refit": setup.tested(small, test), "refit, renewed": _renewed(small, x, test), **retrained(small)}
            rows.append(row | ({"cut, retrained": retrained(cut)["retrained"]} if method in WITHOUT_REFIT else {}))
        fresh = setup.scratch(keep, spec["dense"], np.random.default_rng([spec["seed"], 2]))
        rows.append({"target": macs, "method": "scratch", **setup.from_scratch(fresh, spec, root, test)})
    result = {"dense": dense, "layers": layers, "rows": rows, "time": {"reconstruction": seconds}}
    if progress:
        tqdm.write(table({"spec": spec, **result}))
    return result


def _readers(net: Module) -> dict[str, str]:
    # In a chain the channels of a convolution are read by the layer with the next weight.
    names = list(prunable(net))
    return {name: names[names.index(name) + 1] for name in setup.free(net)}


def _scores(net: Any, few: Part, names: list[str], rng: np.random.Generator) -> dict[str, Mapping[str, Any]]:
    return {
        "NISP": nisp.of_classifier(net, few[0], names),
        "Taylor": taylor.saliency(net, nn.SoftmaxCrossEntropy(), *few, names),
        "L1": setup.folded_l1(net, names),
        "random": chance.saliency(net, rng, names),
    }


def choices(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, Chooser]:
    """Return how each method chooses: three by the moments, and by each score its largest."""

    def by(score: Mapping[str, Any]) -> Chooser:
        return lambda name, _, k: sorted(np.argsort(-to_numpy(score[name]), kind="stable")[:k].tolist())

    return {
        "lasso": lambda _, seen, k: lasso_channels.choose(seen, k),
        "ThiNet": lambda _, seen, k: thinet.choose(seen, k),
        "forward": lambda _, seen, k: thinet.forward(seen, k),
        "elimination": lambda _, seen, k: elimination.choose(seen, k, RIDGE),
        "reader's l2": lambda _, seen, k: sorted(np.argsort(-_norms(seen), kind="stable")[:k].tolist()),
        **{name: by(score) for name, score in scores.items()},
    }


def _norms(seen: Moments) -> np.ndarray:
    squares: np.ndarray = np.sum(seen.W.reshape(len(seen.W), seen.channels, -1) ** 2, axis=(0, 2))
    return squares


def layer(name: str, seen: Moments, scores: Mapping[str, Mapping[str, Any]], shares: Sequence[float]) -> dict[str, Any]:
    """Return the sets of all methods in front of one layer of the dense net, and their three relative errors.

    Up to 12 channels the optimum of each of the three problems, by enumeration, stands beside them.
    """
    kept = sorted({max(1, round(share * seen.channels)) for share in shares})
    sets = {method: [choose(name, seen, k) for k in kept] for method, choose in choices(scores).items()}
    problems = {"selection": Moments.selection_error, "factors": Moments.scaling_error, "refit": Moments.refit_error}
    errors = {
        method: {problem: [error(seen, each) / seen.energy for each in found] for problem, error in problems.items()}
        for method, found in sets.items()
    }
    if seen.channels <= MOST_ENUMERATED:
        errors["optimum"] = {
            problem: [min(enumeration.errors(seen, k, error).values()) / seen.energy for k in kept]
            for problem, error in problems.items()
        }
    sizes = {"channels": seen.channels, "columns": seen.W.shape[1], "count": seen.count}
    return {"name": name, "reader": seen.name, **sizes, "kept": kept, "sets": sets, "errors": errors}


def reconstructed(
    net: Module, readers: Mapping[str, str], widths: Mapping[str, int], x: Any, choose: Chooser
) -> tuple[dict[str, list[int]], Module]:
    """Return the channels that stay, and the small net whose layers are refitted one after the other, front to back."""
    keep: dict[str, list[int]] = {}
    now = net
    for name, reader in readers.items():
        seen = moments.collect(now, reader, x, dense=net)
        keep[name] = choose(name, seen, widths[name])
        now = refitted(now, reader, keep[name], seen)
    return keep, surgery.remove(now, keep)


def _renewed(net: Module, x: Any, test: Part) -> dict[str, Any] | None:
    if not any(isinstance(layer, nn.BatchNorm) for layer in net.modules()):
        return None
    new = surgery.duplicate(net)
    nn.renew_statistics(new, x)
    return setup.tested(new, test)


def small_nets(record: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield for every method its row, the widths that it left, and how the net did after retraining."""
    for row in record["rows"]:
        if row["method"] != "scratch":
            widths = {name: len(rows) for name, rows in row["keep"].items()}
            yield f"{row['method']}, {row['target']:.0%} of the MACs", {"widths": widths}, row["retrained"]


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw the errors of the layers, and the accuracies of whole nets at the least number of MACs."""
    start = f"reconstruction-{records[0]['spec']['dense']['data']}"
    return [
        figures.layers(records, folder / f"{start}-layers.png"),
        figures.nets(records, folder / f"{start}-nets.png"),
    ]


STAGES = ("cut", "renewed", "refit", "refit, renewed", "retrained", "cut, retrained")


def table(record: Mapping[str, Any]) -> str:
    """Return the whole nets of the record as a readable table, one line a method."""
    dense = record["dense"]
    lines = [
        f"dense net {dense['test_accuracy']:.2%}, trained on {_percent(dense['retrained'])}",
        f"{'conv MACs':>9}  {'method':12}" + "".join(f"{stage:>16}" for stage in STAGES),
    ]
    for row in record["rows"]:
        share = row["conv_macs"] / dense["conv_macs"]
        lines.append(f"{share:9.1%}  {row['method']:12}" + "".join(f"{text:>16}" for text in _texts(row)))
    return "\n".join(lines)


def _texts(row: Mapping[str, Any]) -> Iterator[str]:
    return (_percent(row.get(stage)) for stage in STAGES)


def _percent(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    return "diverged" if "diverged" in found else f"{found['test_accuracy']:.2%}"


def compared(record: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the nets, retrained; chance and the small net from scratch are the controls."""
    for row in record["rows"]:
        earlier = {f"{stage}, %": 100 * row[stage]["test_accuracy"] for stage in ("cut", "refit") if stage in row}
        found = percent(row["retrained"], "retrained, %")
        controls = () if row["method"] in ("random", "scratch") else ("random", "scratch")
        group = f"{row['target']:.0%} of the conv MACs"
        yield Arm(row["method"], {**found, **earlier} if found else {}, controls, group)
