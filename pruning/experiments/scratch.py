"""The small nets of an experiment's records once more, from new weights: scratch-E and scratch-B beside its rows.

The option --scratch reads the records of an experiment, which stay as they are, and adds one of its own for each, in a
file beside theirs.  Whatever the experiment's ``small_nets(record)`` yields is built again, drawn anew and trained with
the recipe and the optimizer of the dense net: for its epochs (scratch-E) and for its multiply-accumulates (scratch-B;
for masks, whose zeros a dense processor multiplies as well, for as many times the epochs as weights are fewer).  Masked
nets and those on MNIST, which have up to 31 times fewer multiplications, are trained for at most twice the epochs:
the authors' cap.  Rows of one architecture share one training.  Liu et al. 2019, arXiv:1810.05270.

Records hold how many columns or single weights each layer has left, not which: these are drawn by chance, and the
tables mark such rows.  Where what was pruned learnt from a teacher, these nets do too.

A specification tells all that decides what comes out: a cell needs no record, and runs wherever others do.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from tqdm import tqdm

import nn
from nn.backend import array_module, asarray
from nn.module import Module
from pruning import masks, surgery
from pruning.experiments import record_file, setup
from pruning.experiments.lenet5 import bank
from pruning.experiments.lenet5.lesson import Lesson
from pruning.experiments.setup import SHAPES, Part, costs
from pruning.masks import prunable
from pruning.pipeline import masked_scratch_b, redrawn, scratch_b, scratch_e

SUFFIX = "-scratch"
"""Behind the experiment's name, in the name of the records and of their file."""
CAP = 2
"""The most times the epochs of the dense net that a masked net, or one on MNIST, is trained for."""
WHY_NOT = {
    "adversarial": "a net of the widths that its masks leave, from new weights, is one of its rows",
    "factorised_l0": "a net of as many components, from new weights, is its row 'fixed rank'",
    "from_scratch": "it trains all nets from new weights",
    "l0": "the small net from new weights, for as many epochs, is its row 'scratch'",
    "obd_lenet1990": "it follows E of one net while biases and weights that places share go, and trains no small net",
    "obd_mlp": "its records say how many weights are left in the whole net, not in which layer",
    "obs_mlp": "its records say how many weights are left in the whole net, not in which layer",
    "oracle_ranks": "it ranks filters and trains no small net",
    "parameter_efficiency": "it trains all nets from new weights",
    "rethinking": "nets from new weights are what it is about",
    "self_adaptive": "it trains all nets, the small one beside it too, from new weights",
    "sparse_speed": "it measures matrix products and trains no net",
    "train": "it trains dense nets alone",
    "transformable": "it trains all nets from new weights",
}
"""Experiments without ``small_nets``."""
RECIPE = ("data", "model", "device", "learning_rate", "milestones", "epochs", "images", "batch_size", "seed")
FIELDS = ("rows",)


def pruned(experiment: ModuleType, wanted: Sequence[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    """Return the wanted records of an experiment in `path`, by their specifications.

    Raises
    ------
    ValueError
        If there is nothing that --scratch could train (the sentence says why); if a record is missing.
    """
    name = _name(experiment)
    if name in WHY_NOT:
        raise ValueError(f"{name} has no small nets for --scratch: {WHY_NOT[name]}")
    there = {record_file.key(record["spec"]): record for record in record_file.read(path)}
    for spec in wanted:
        if record_file.key(spec) not in there:
            raise ValueError(
                f"expected a record of {name}, seed {spec['seed']}, in {path}, got none:"
                " run the same command without --scratch first"
            )
    return [there[record_file.key(spec)] for spec in wanted]


def specs(experiment: ModuleType, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one cell for each of the experiment's records that has small nets."""
    found = []
    for record in records:
        spec = record["spec"]
        nets: dict[str, dict[str, Any]] = {}
        for row, net, _ in experiment.small_nets(record):
            nets.setdefault(record_file.key(net), {"rows": [], "net": net})["rows"].append(row)
        if nets:
            # Nets that are trained with Adam are those of specifications without a dense net of their own.
            dense = spec["dense"] if "dense" in spec else {name: spec[name] for name in (*RECIPE, "validation")}
            shared = {name: spec[name] for name in ("test_images", "teacher") if spec.get(name)}
            cap = {"at_most": CAP} if dense["data"] == "mnist" else {}
            of = {"experiment": _name(experiment), "record": setup.digest(spec), "seed": spec["seed"]}
            how = {"dense": dense, **shared, **cap, "validation": spec["validation"]}
            found.append({**of, **how, "nets": list(nets.values())})
    return found


def _name(experiment: ModuleType) -> str:
    return experiment.__name__.rpartition(".")[2]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"rows": two dicts a small net, "scratch-E" and "scratch-B"}; "of" names the rows of the record.

    Every training without a teacher has its checkpoint in `folder`: what was done is not done again.
    """
    dense = spec["dense"]
    rng = np.random.default_rng([spec["seed"], 6])
    net = setup.MODELS[dense["model"]](rng, dtype=np.float32).to(array_module(dense["device"]))
    part, _ = setup.parts(dense, root)
    _, (x, t) = setup.shared_parts({"dense": dense, "images": dense["images"], "validation": spec["validation"]}, root)
    last = spec.get("test_images", len(t))
    test = x[..., :last], t[:last]
    lesson = taught(spec["teacher"], dense, test, root, folder) if "teacher" in spec else None
    rows = []
    for each in tqdm(spec["nets"], disable=not progress, unit="net", desc="from new weights"):
        places, weights = (np.random.default_rng([spec["seed"], stream]) for stream in (8, 7))
        fresh = redrawn(small_net(net, each["net"], SHAPES[dense["data"]], places), weights, initializer(dense))
        sizes = {**costs(fresh, dense["data"]), "left": masks.counts(fresh)[0]}
        for arm, budget in plans(net, fresh, dense, spec.get("at_most")):
            plan = {"net": each["net"], "arm": arm, **budget}
            done = trained(fresh, dense, plan, part, test, folder, lesson)
            rows.append({"of": each["rows"], "arm": arm, **budget, **sizes, **done})
    return {"rows": rows}


def small_net(net: Module, wanted: Mapping[str, Any], shape: tuple[int, ...], rng: np.random.Generator) -> Module:
    """Return a net of this architecture; its weights are not those of the record.

    Parameters
    ----------
    net : of the dense net's architecture.
    wanted : in this order, "removed", the residual blocks that are gone, and the channels with them that nothing fills
        any more; and by the names of the weights "widths", how many filters or units each has, "left", how many single
        weights, and "columns", how many columns.
    shape : of one image.
    rng : draws which columns and weights are left.
    """
    small: Module = surgery.duplicate(net)
    if "removed" in wanted:
        small = surgery.remove_unused_paths(surgery.remove_blocks(net, wanted["removed"]), shape)
    small = surgery.remove(small, {name: list(range(n)) for name, n in wanted.get("widths", {}).items()})
    for name, n in wanted.get("left", {}).items():
        W = prunable(small)[name]
        mask = rng.permutation(math.prod(W.shape)) < n
        masks.apply(small, {name: asarray(mask.reshape(W.shape) * 1.0, like=W.data)})
    sizes = {name: math.prod(prunable(small)[name].shape[1:]) for name in wanted.get("columns", {})}
    columns = {name: sorted(rng.permutation(K)[: wanted["columns"][name]].tolist()) for name, K in sizes.items()}
    return surgery.remove_columns(small, columns)


def matrices(model: str, shapes: Sequence[Sequence[int]]) -> dict[str, dict[str, int]]:
    """Return "widths" and "columns" of a chain's small net whose weights are matrices of these rows and columns."""
    outline = setup.MODELS[model](None, dtype=np.float32)
    widths = {name: rows for name, (rows, _) in list(zip(prunable(outline), shapes))[:-1]}
    whole = prunable(surgery.remove(outline, {name: list(range(n)) for name, n in widths.items()}))
    found = zip(whole.items(), shapes, strict=True)
    return {"widths": widths, "columns": {name: k for (name, W), (_, k) in found if k < math.prod(W.shape[1:])}}


def plans(
    net: Module, fresh: Module, dense: Mapping[str, Any], at_most: float | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the names and the plans, how long and how fast, of both trainings of a small net from new weights."""
    long = dense["epochs"], dense["milestones"]
    left, total = masks.counts(fresh)
    if left < total:
        b = masked_scratch_b(fresh, *long, CAP)
    else:
        b = scratch_b(net, fresh, SHAPES[dense["data"]], *long, at_most=at_most)
    for name, budget in (("E", scratch_e(*long)), ("B", b)):
        plan = {"epochs": budget.epochs, "milestones": list(budget.milestones), "learning_rate": dense["learning_rate"]}
        yield f"scratch-{name}", plan


def taught(
    teacher: Mapping[str, Any], dense: Mapping[str, Any], test: Part, root: str | None, folder: Path | None
) -> Lesson:
    """Return what the nets of `lenet_record` learn from: a teacher and augmented copies, made or read from `folder`."""
    copies, loss = bank.bank(teacher, root, folder), nn.Distillation(**teacher["distillation"])
    return Lesson(copies.draw, len(copies.t), loss, test, dense["batch_size"])


def trained(
    start: Module,
    dense: Mapping[str, Any],
    plan: Mapping[str, Any],
    part: Part,
    test: Part,
    folder: Path | None,
    lesson: Lesson | None = None,
) -> dict[str, Any]:
    """Return {"start": the accuracy before, "trained": accuracy and hits of a copy after training, or why it diverged}.

    The copy is trained as the dense net was, but for what the plan says; all of the plan is in the checkpoint's name.
    Recipes without momentum are those of Adam.
    """
    net = surgery.duplicate(start)
    recipe = {**dense, **plan}
    rate, decay = recipe["learning_rate"], dense.get("weight_decay", 0.0)
    optimizer: nn.SGD | nn.Adam = (
        nn.SGD(net.parameters(), rate, dense["momentum"], nesterov=True, weight_decay=decay)
        if "momentum" in dense
        else nn.Adam(net.parameters(), rate)
    )
    before = {"start": setup.accuracy(net, test)}
    try:
        rng = np.random.default_rng([dense["seed"], 5])
        if lesson is None:
            setup.fit_to(net, optimizer, recipe, rng, part, folder)
        else:
            lesson.epochs(net, optimizer, recipe["epochs"], rng, setup.schedule(recipe))
        return {**before, "trained": setup.tested(net, test)}
    except FloatingPointError as error:
        return {**before, "trained": {"diverged": str(error)}}


def initializer(dense: Mapping[str, Any]) -> nn.initializers.Initializer:
    """Return what new weights are drawn with: He's rule, but for LeNet-5, as the dense nets are."""
    return nn.initializers.lecun_normal if dense["model"] == "lenet5" else nn.initializers.he_normal


def summary(folder: Path) -> list[dict[str, Any]]:
    """Return what `compared` does for all records in a folder that have small nets from new weights beside them."""
    rows = []
    for path in sorted(folder.glob(f"*{SUFFIX}.jsonl")):
        name = path.stem.removesuffix(SUFFIX)
        experiment = import_module(f"pruning.experiments.{name}")
        rows += compared(experiment, record_file.read(folder / f"{name}.jsonl"), record_file.read(path))
    return rows


def compared(
    experiment: ModuleType, records: Sequence[Mapping[str, Any]], added: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return one dict a row of the records; accuracies in % of the images, pairs of mean and standard error over seeds.

    In it: "experiment", "data", "model", "row", "seeds" (how many), "by chance" (whether places in the nets from new
    weights were drawn), "epochs" (of E, and B's mean), the pairs "retrained", "scratch-E" and "scratch-B", and those of
    differences on the same seed, "E - retrained" and "B - retrained".  An error is None where there is one seed only.
    Where an arm diverged, its seed is left out.
    """
    new = {
        (record["spec"]["record"], of, row["arm"]): (row, net["net"])
        for record in added
        for net in record["spec"]["nets"]
        for row in record["rows"]
        if row["of"] == net["rows"]
        for of in row["of"]
    }
    found: dict[tuple[str, str, str], list[Any]] = {}
    for record in records:
        digest = setup.digest(record["spec"])
        for label, _, old in experiment.small_nets(record):
            if (digest, label, "scratch-E") not in new or "test_accuracy" not in old:
                continue
            (e, net), (b, _) = (new[digest, label, f"scratch-{arm}"] for arm in "EB")
            if all("test_accuracy" in each["trained"] for each in (e, b)):
                place = record["spec"].get("dense", record["spec"])
                found.setdefault((place["data"], place["model"], label), []).append((old, e, b, net))
    return [
        {"experiment": _name(experiment), "data": data, "model": model, "row": label, **_statistics(pairs)}
        for (data, model, label), pairs in found.items()
    ]


def _statistics(pairs: Sequence[tuple[Any, Any, Any, Mapping[str, Any]]]) -> dict[str, Any]:
    old, e, b = (
        100
        * np.array([[each["test_accuracy"] for each in (old, e["trained"], b["trained"])] for old, e, b, _ in pairs]).T
    )
    columns = {"retrained": old, "scratch-E": e, "scratch-B": b, "E - retrained": e - old, "B - retrained": b - old}
    n = len(pairs)
    return {
        "seeds": n,
        "by chance": any(net.get("columns") or net.get("left") for *_, net in pairs),
        "epochs": [float(np.mean([row["epochs"] for row in rows])) for rows in list(zip(*pairs))[1:3]],
        **{name: (float(v.mean()), float(v.std(ddof=1) / n**0.5) if n > 1 else None) for name, v in columns.items()},
    }


COLUMNS = ("retrained", "scratch-E", "scratch-B", "E - retrained", "B - retrained")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what `compared` found, a line a row; a star says that places were drawn by chance."""
    labels = [row["row"] + "*" * row["by chance"] for row in rows]
    column = max(map(len, ["row", *labels]))
    lines = [f"{'row':{column}} seeds " + " ".join(f"{head:>15}" for head in COLUMNS)]
    for label, row in zip(labels, rows):
        lines.append(f"{label:{column}} {row['seeds']:5} " + " ".join(f"{_text(*row[name]):>15}" for name in COLUMNS))
    return "\n".join(lines)


def _text(mean: float, error: float | None) -> str:
    return f"{mean:.2f}" if error is None else f"{mean:.2f} +- {error:.2f}"
