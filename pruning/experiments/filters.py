"""Filter pruning: sensitivity of the layers, then half of the conv MACs removed and the net retrained.

Li et al. 2017: filters with small L1 norms go, at once or in steps, from all layers alike or with the sensitive layers
skipped.  Beside them filters chosen by chance, and the dense net trained on for as many epochs.  Behind a convolution
with batch norm the norm is that of the folded filter; the norm as it is stands beside it.  Sensitivity is measured on
the last training images, which the dense net never saw; accuracies after retraining are those of the last epoch on the
test images.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import pruning.filters
from nn.backend import Array, array_module
from nn.module import Module
from pruning import surgery
from pruning.counts import count
from pruning.experiments import setup
from pruning.experiments.comparison import Arm, percent
from pruning.experiments.figures import filters as figures
from pruning.experiments.setup import SHAPES, Part, accuracy, costs
from pruning.masks import prunable
from pruning.scores import chance, filter_norm

METHODS = ["l1", "l1 in steps", "l1, skipping", "l1, not folded", "random", "dense"]
# Short retraining.  The first learning rate, a fifth of the dense net's, was not tuned: no method is favoured.
RETRAINING = {"learning_rate": 0.01, "momentum": 0.9, "weight_decay": 5e-4}
RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    ("mnist", "lenet5"): {
        "methods": ["l1", "l1 in steps", "random", "dense"],
        "shares": [k / 10 for k in range(10)],
        "held_out": 5000,
        "test_images": 10000,
        "retraining": {**RETRAINING, "images": 55000, "epochs": 3, "batch_size": 128},
    },
    # The 10,000 images that the dense nets were trained on.
    ("cifar10", "vgg11-thin"): {
        "methods": METHODS,
        "shares": [0.0, 0.1, 0.3, 0.5, 0.7, 0.9],
        "held_out": 1000,
        "test_images": 10000,
        "retraining": {**RETRAINING, "images": 10000, "epochs": 4, "batch_size": 64},
    },
    ("cifar10", "resnet20"): {
        "methods": [method for method in METHODS if method != "l1, not folded"],
        "shares": [0.0, 0.3, 0.5, 0.7],
        "held_out": 500,
        "test_images": 5000,
        "retraining": {**RETRAINING, "images": 10000, "epochs": 2, "batch_size": 64},
    },
}
FIELDS = ("dense", "sensitivity", "skipped", "rows")


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return one cell a seed; with `validation` all accuracies are those on the held-out images.

    Raises
    ------
    ValueError
        If there is no recipe for this model on this data set, or a seed is negative.
    """
    model = "lenet5" if (data, model) == ("mnist", None) else model
    setup.check_known(RECIPES, data, model)
    recipe = RECIPES[data, str(model)]
    shared = {"macs": 0.5, "convention": "conv_only", "steps": 2, **recipe, "validation": validation}
    return [{"seed": spec["seed"], "dense": spec, **shared} for spec in setup.dense_specs(data, seeds, device, model)]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"dense": of the net before pruning, "sensitivity": {score: {layer: accuracies}}, "skipped", "rows"}.

    There is one row a method; where retraining diverged it has nothing but "method" and "diverged", a sentence, and so
    have all rows if the dense net did, which is then None.  The dense net comes from its checkpoint in `folder`, and is
    trained if there is none.
    """
    part, held_out, test = _parts(spec, root)
    try:
        net, _ = setup.dense_net(spec["dense"], root, progress, folder)
        dense = {
            **setup.tested(net, test),
            "epochs": spec["dense"]["epochs"],
            **costs(net, spec["dense"]["data"]),
        }
    except FloatingPointError as error:
        rows = [{"method": method, "diverged": f"the dense net: {error}"} for method in spec["methods"]]
        return {"dense": None, "sensitivity": {}, "skipped": [], "rows": rows}
    scores: dict[str, pruning.filters.Score] = {
        "l1": setup.folded_l1,
        "l1, not folded": filter_norm.saliency,
        "random": partial(_by_chance, rng=np.random.default_rng([spec["seed"], 1])),
    }
    names = setup.free(net)
    curves = {
        name: pruning.filters.sensitivity(net, names, spec["shares"], score, partial(accuracy, part=held_out))
        for name, score in scores.items()
        if name in spec["methods"]
    }
    skipped = sensitive(curves["l1"], spec["shares"].index(0.5)) if "l1, skipping" in spec["methods"] else []
    rows = []
    for method in tqdm(spec["methods"], disable=not progress, unit="net", desc="retraining"):
        cut = [name for name in names if method != "l1, skipping" or name not in skipped]
        score = scores.get(method, setup.folded_l1)
        try:
            row = pruned_and_retrained(net, spec, method, cut, score, part, test)
        except FloatingPointError as error:
            row = {"diverged": str(error)}
        rows.append({"method": method, **row})
    result = {"dense": dense, "sensitivity": curves, "skipped": skipped, "rows": rows}
    if progress:
        tqdm.write(table({"spec": spec, **result}))
    return result


def _parts(spec: Mapping[str, Any], root: str | None) -> tuple[Part, Part, Part]:
    xp = array_module(spec["dense"]["device"])
    few = {**spec["dense"], "images": spec["retraining"]["images"]}
    part, held_out = setup.parts({**few, "validation": True}, root)
    test = held_out if spec["validation"] else setup.parts(few, root)[1]
    sizes = spec["retraining"]["images"], spec["held_out"], spec["test_images"]
    part, held_out, test = (
        (xp.asarray(x[..., :n]), xp.asarray(t[:n])) for (x, t), n in zip((part, held_out, test), sizes)
    )
    return part, held_out, test


def sensitive(curves: Mapping[str, Sequence[float]], at: int) -> list[str]:
    """Return the third of the layers that leave the lowest accuracies when cut alone, by the share number `at`."""
    return sorted(curves, key=lambda name: curves[name][at])[: len(curves) // 3]


def pruned_and_retrained(
    net: Module,
    spec: Mapping[str, Any],
    method: str,
    names: Sequence[str],
    score: pruning.filters.Score,
    part: Part,
    test: Part,
) -> dict[str, Any]:
    """Cut and retrain in turn, and return the costs of what is left and its accuracy by epoch.

    "epochs" and "test_accuracy" go together; an epoch stands there twice where the net is cut after it.  "hits" are
    those of the last epoch.
    """
    rng = np.random.default_rng(spec["seed"])
    steps = {"dense": 0, "l1 in steps": spec["steps"]}.get(method, 1)
    total, whole = spec["retraining"]["epochs"], costs(net, spec["dense"]["data"])["conv_macs"]
    small = surgery.duplicate(net)
    epochs, accuracies = ([], []) if steps else ([0], [accuracy(net, test)])
    for step in range(max(1, steps)):
        if steps:
            left = 1 - (1 - spec["macs"]) * (step + 1) / steps
            small = fewer_macs(small, left * whole, names, spec, score)
            epochs.append(total * step // max(1, steps))
            accuracies.append(accuracy(small, test))
        until = total * (step + 1) // max(1, steps)
        history = setup.retrain(small, spec, until - epochs[-1], part, test, rng)
        epochs += range(epochs[-1] + 1, until + 1)
        accuracies += [row["test_accuracy"] for row in history]
    widths = [parameter.shape[0] for parameter in prunable(small, setup.free(net)).values()]
    measures = {"epochs": epochs, "test_accuracy": accuracies, "hits": setup.hits(small, test)}
    return {"filters": widths, **costs(small, spec["dense"]["data"]), **measures}


def fewer_macs(
    net: Module, macs: float, names: Sequence[str], spec: Mapping[str, Any], score: pruning.filters.Score
) -> Module:
    """Return the net without the share of filters, the same in all of `names`, that leaves at most `macs`."""
    shape, convention = SHAPES[spec["dense"]["data"]], spec["convention"]
    now = count(net, shape, convention).macs
    share = pruning.filters.share_for_macs(net, names, shape, macs / now, convention)
    keep = pruning.filters.independent(net, dict.fromkeys(names, share), score)
    return surgery.remove(net, keep)


def _by_chance(net: Module, names: list[str], rng: np.random.Generator) -> dict[str, Array]:
    return chance.saliency(net, rng, names)


def small_nets(record: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield for every method its row, the widths that it left, and how the net did after the last epoch."""
    outline = setup.MODELS[record["spec"]["dense"]["model"]](None, dtype=np.float32)
    for row in record["rows"]:
        if row["method"] != "dense" and "diverged" not in row:
            widths = dict(zip(setup.free(outline), row["filters"], strict=True))
            yield row["method"], {"widths": widths}, {"test_accuracy": row["test_accuracy"][-1]}


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw the sensitivity of the layers, and the accuracy while the pruned nets are retrained, if any was."""
    dense = records[0]["spec"]["dense"]
    start = f"filters-{dense['data']}-{dense['model']}"
    measured = [record for record in records if record["dense"]]
    paths = [figures.sensitivity(measured, folder / f"{start}-sensitivity.png")] if measured else []
    if any("diverged" not in row for record in records for row in record["rows"]):
        paths.append(figures.retraining(records, folder / f"{start}-retraining.png"))
    return paths


def table(record: Mapping[str, Any]) -> str:
    """Return the record as a readable table, one line a method."""
    dense = record["dense"]
    if not dense:
        return f"diverged: {record['rows'][0]['diverged']}"
    where = "held-out" if record["spec"]["validation"] else "test"
    widths = ["-".join(map(str, row.get("filters", []))) for row in record["rows"]]
    column = max(map(len, ["filters", *widths]))
    skipped = f"; skipped are {', '.join(record['skipped'])}" if record["skipped"] else ""
    lines = [
        f"dense net, {dense['epochs']} epochs: {100 * dense['test_accuracy']:.2f} % of the {where} images{skipped}",
        f"method          {'filters':>{column}}  conv MACs left  whole net  cut, not retrained  retrained",
    ]
    for row, width in zip(record["rows"], widths):
        lines.append(
            f"{row['method']:15} diverged: {row['diverged']}"
            if "diverged" in row
            else f"{row['method']:15} {width:>{column}} {row['conv_macs'] / dense['conv_macs']:15.1%}"
            f" {row['macs'] / dense['macs']:10.1%} {row['test_accuracy'][0]:19.2%} {row['test_accuracy'][-1]:10.2%}"
        )
    return "\n".join(lines)


def compared(record: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the nets: chance is the control, and the dense net trained as long."""
    for row in record["rows"]:
        found = {} if "diverged" in row else {"test_accuracy": row["test_accuracy"][-1]}
        sizes = {name: row[key] for name, key in (("conv MACs", "conv_macs"), ("weights", "weights")) if key in row}
        controls = ("random", "dense") if row["method"].startswith("l1") else ()
        yield Arm(row["method"], {**percent(found), **sizes} if found else {}, controls)
