"""The small nets of an experiment's records once more, from new weights: scratch-E and scratch-B beside its rows.

The option --scratch reads the records of an experiment, which stay as they are, and adds one of its own for each, in a
file beside theirs.  Whatever the experiment's ``small_nets(record)`` yields is built again, drawn anew and trained with
the recipe and the optimizer of the dense net: for its epochs (scratch-E) and for its multiply-accumulates (scratch-B;
for masks, whose zeros a dense processor multiplies as well, for as many times the epochs as weights are fewer, at most
twice).  Rows of one architecture share one training.  Liu et al. 2019, arXiv:1810.05270.

A specification tells all that decides what comes out: a cell needs no record, and runs wherever others do.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from tqdm import tqdm

import nn
from nn.backend import array_module
from nn.module import Module
from pruning import masks, surgery
from pruning.experiments import record_file, setup
from pruning.experiments.setup import SHAPES, Part, costs
from pruning.pipeline import Budget, redrawn, scratch_b, scratch_e

SUFFIX = "-scratch"
"""Behind the experiment's name, in the name of the records and of their file."""
CAP = 2
"""The most times the epochs of the dense net that a masked net is trained for."""
NEW_ALREADY = ("adversarial", "from_scratch", "rethinking", "self_adaptive", "transformable")
"""Experiments whose own rows are trained from new weights."""
FIELDS = ("rows",)


def pruned(experiment: ModuleType, wanted: Sequence[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    """Return the wanted records of an experiment in `path`, by their specifications.

    Raises
    ------
    ValueError
        If the experiment has no small nets, or trains them from new weights itself; if a record is missing.
    """
    name = _name(experiment)
    if name in NEW_ALREADY:
        raise ValueError(f"{name} trains its nets from new weights already: there is nothing that --scratch could add")
    if not hasattr(experiment, "small_nets"):
        raise ValueError(f"{name} has no small nets that --scratch could train from new weights")
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
            shared = {name: spec[name] for name in ("test_images",) if name in spec}
            of = {"experiment": _name(experiment), "record": setup.digest(spec), "seed": spec["seed"]}
            how = {"dense": spec["dense"], **shared, "validation": spec["validation"]}
            found.append({**of, **how, "nets": list(nets.values())})
    return found


def _name(experiment: ModuleType) -> str:
    return experiment.__name__.rpartition(".")[2]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"rows": two dicts a small net, "scratch-E" and "scratch-B"}; "of" names the rows of the record.

    Every training has its checkpoint in `folder`: what was done is not done again.
    """
    dense = spec["dense"]
    rng = np.random.default_rng([spec["seed"], 6])
    net = setup.MODELS[dense["model"]](rng, dtype=np.float32).to(array_module(dense["device"]))
    part, _ = setup.parts(dense, root)
    _, (x, t) = setup.shared_parts({"dense": dense, "images": dense["images"], "validation": spec["validation"]}, root)
    last = spec.get("test_images", len(t))
    test = x[..., :last], t[:last]
    rows = []
    for each in tqdm(spec["nets"], disable=not progress, unit="net", desc="from new weights"):
        fresh = redrawn(small_net(net, each["net"]), np.random.default_rng([spec["seed"], 7]), initializer(dense))
        sizes = {**costs(fresh, dense["data"]), "left": masks.counts(fresh)[0]}
        for arm, budget in plans(net, fresh, dense):
            plan = {"net": each["net"], "arm": arm, **budget}
            done = trained(fresh, dense, plan, part, test, folder)
            rows.append({"of": each["rows"], "arm": arm, **budget, **sizes, **done})
    return {"rows": rows}


def small_net(net: Module, wanted: Mapping[str, Any]) -> Module:
    """Return a net of this architecture; its weights are not those of the record.

    Parameters
    ----------
    net : of the dense net's architecture.
    wanted : "removed", the residual blocks that are gone; "widths", how many filters each weight has.
    """
    small: Module = surgery.remove_blocks(net, wanted["removed"]) if "removed" in wanted else surgery.duplicate(net)
    if "widths" in wanted:
        small = surgery.remove(small, {name: list(range(n)) for name, n in wanted["widths"].items()})
    return small


def plans(net: Module, fresh: Module, dense: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the names and the plans, how long and how fast, of both trainings of a small net from new weights."""
    long = dense["epochs"], dense["milestones"]
    left, total = masks.counts(fresh)
    e = scratch_e(*long)
    if left < total:
        r = min(CAP, total / left)
        b = Budget(round(r * e.epochs), tuple(round(r * each) for each in e.milestones))
    else:
        b = scratch_b(net, fresh, SHAPES[dense["data"]], *long)
    for name, budget in (("E", e), ("B", b)):
        plan = {"epochs": budget.epochs, "milestones": list(budget.milestones), "learning_rate": dense["learning_rate"]}
        yield f"scratch-{name}", plan


def trained(
    start: Module, dense: Mapping[str, Any], plan: Mapping[str, Any], part: Part, test: Part, folder: Path | None
) -> dict[str, Any]:
    """Return {"start": the accuracy before, "trained": accuracy and hits of a copy after training, or why it diverged}.

    The copy is trained as the dense net was, but for what the plan says; all of the plan is in the checkpoint's name.
    """
    net = surgery.duplicate(start)
    recipe = {**dense, **plan}
    optimizer = nn.SGD(
        net.parameters(), recipe["learning_rate"], dense["momentum"], nesterov=True, weight_decay=dense["weight_decay"]
    )
    before = {"start": setup.accuracy(net, test)}
    try:
        setup.fit_to(net, optimizer, recipe, np.random.default_rng([dense["seed"], 5]), part, folder)
        return {**before, "trained": setup.tested(net, test)}
    except FloatingPointError as error:
        return {**before, "trained": {"diverged": str(error)}}


def initializer(dense: Mapping[str, Any]) -> nn.initializers.Initializer:
    """Return what new weights are drawn with: He's rule, but for LeNet-5, as the dense nets are."""
    return nn.initializers.lecun_normal if dense["model"] == "lenet5" else nn.initializers.he_normal


def table(experiment: ModuleType, records: Sequence[Mapping[str, Any]], added: Sequence[Mapping[str, Any]]) -> str:
    """Return a line a row: the record's accuracy after its last training, both from new weights, paired differences.

    In % of the images; over seeds means +- their standard errors.  Where an arm diverged, its seed is left out.
    """
    new = {
        (record["spec"]["record"], of, row["arm"]): row["trained"]
        for record in added
        for row in record["rows"]
        for of in row["of"]
    }
    found: dict[str, list[tuple[float, float, float]]] = {}
    for record in records:
        for label, _, old in experiment.small_nets(record):
            three = old, *(new[setup.digest(record["spec"]), label, f"scratch-{arm}"] for arm in "EB")
            if all("test_accuracy" in each for each in three):
                old_e_b = tuple(100 * each["test_accuracy"] for each in three)
                found.setdefault(label, []).append(old_e_b)
    column = max(map(len, ["row", *found]))
    heads = ("retrained", "scratch-E", "scratch-B", "E - retrained", "B - retrained")
    lines = [f"{'row':{column}} seeds " + " ".join(f"{head:>15}" for head in heads)]
    for label, values in found.items():
        old, e, b = np.array(values).T
        numbers = " ".join(f"{_mean(each):>15}" for each in (old, e, b, e - old, b - old))
        lines.append(f"{label:{column}} {len(values):5} {numbers}")
    return "\n".join(lines)


def _mean(values: np.ndarray) -> str:
    n = len(values)
    return f"{values.mean():.2f} +- {values.std(ddof=1) / n**0.5:.2f}" if n > 1 else f"{values.mean():.2f}"
