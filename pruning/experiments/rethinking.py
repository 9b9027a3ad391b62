"""Is it the weights that pruning keeps, or only the net that it finds?  Small nets fine-tuned, and from new weights.

Liu et al. 2019.  Three kinds of targets: predefined (the same share of the filters of all layers, those of the smallest
L1 norms), automatic (widths that slimming finds), unstructured (single weights by magnitude, over the whole net).  The
small net is fine-tuned at the lowest rate that the dense net was trained with, as the paper does, and at a fifth of its
first rate.  Beside it stands the same small net with new weights: trained for the epochs of the dense net (scratch-E),
and for its multiply-accumulates (scratch-B; for masks, whose zeros a dense processor multiplies as well, for as many
times the epochs as weights are fewer, at most twice: the paper's cap).  The dense net trained on like the small ones is
the last control.  For the automatic target uniform widths of as many MACs stand beside those found; for the
unstructured ones the new weights are drawn with and without regard to the density, and a mask by chance beside the one
that survived.

All arms have one optimizer, one batch size, one set of images; no accuracy on test images chose anything.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from nn.backend import array_module
from nn.module import Module
from pruning import masks, surgery
from pruning.experiments import setup
from pruning.experiments.comparison import Arm, percent
from pruning.experiments.figures import rethinking as figures
from pruning.experiments.scratch import initializer, plans, trained
from pruning.experiments.setup import SHAPES, Part, costs
from pruning.filters import largest
from pruning.masks import prunable
from pruning.penalties import slimming
from pruning.pipeline import redrawn
from pruning.scores import magnitude

PREDEFINED = {"kind": "predefined", "share": 0.5}
AUTOMATIC = {"kind": "automatic", "share": 0.5, "start": 0.5}
UNSTRUCTURED = [{"kind": "unstructured", "share": share} for share in (0.8, 0.95)]
RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    ("digits", "conv3"): {"targets": [PREDEFINED, {**AUTOMATIC, "strength": 0.02}, *UNSTRUCTURED], "fine_tuning": 10},
    ("mnist", "lenet5"): {"targets": [PREDEFINED], "fine_tuning": 3},
    ("mnist", "lenet300"): {"targets": UNSTRUCTURED, "fine_tuning": 3},
    ("cifar10", "vgg11-thin"): {"targets": [PREDEFINED, {**AUTOMATIC, "strength": 0.003}], "fine_tuning": 5},
}
FIRST_SEEDS = {("cifar10", "vgg11-thin"): {"automatic": 3}}
"""Targets of the first seeds alone: a seed of this one is a quarter of an hour of one core."""
FIELDS = ("dense", "trained_on", "rows")


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return one cell a seed; with `validation` all accuracies are those on the held-out images.

    A seed leaves out the targets that `FIRST_SEEDS` gives to lower ones.

    Raises
    ------
    ValueError
        If there is no recipe for this model on this data set, or a seed is negative.
    """
    model = {"digits": "conv3", "mnist": "lenet5", "cifar10": "vgg11-thin"}.get(data) if model is None else model
    setup.check_known(RECIPES, data, model)
    dense = setup.dense_specs(data, seeds, device, model, validation)
    recipe, first = RECIPES[data, str(model)], FIRST_SEEDS.get((data, str(model)), {})
    cells: list[dict[str, Any]] = [{"seed": spec["seed"], "dense": spec, **recipe} for spec in dense]
    for cell in cells:
        cell["targets"] = [each for each in cell["targets"] if cell["seed"] < first.get(each["kind"], math.inf)]
    return cells


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"dense": of the net before pruning, "trained_on": of it after fine-tuning, "rows": one a target and arm}.

    In a row "start" is the accuracy before the training of the arm, "trained" what is there after it.

    Every training has its checkpoint in `folder`: what was done is not done again.
    """
    dense = spec["dense"]
    net, fitted = setup.dense_net(dense, root, progress, folder)
    part, test = _parts(dense, root)
    found = {"history": fitted["history"], **setup.tested(net, test), **costs(net, dense["data"])}
    rows = []
    for target in spec["targets"]:
        arms = list(KINDS[target["kind"]](net, spec, target, root, folder))
        for arm, start, budget in tqdm(arms, disable=not progress, unit="net", desc=target["kind"]):
            plan = {"target": target, "arm": arm, **budget}
            sizes = {**costs(start, dense["data"]), "left": masks.counts(start)[0]}
            rows.append({**plan, **sizes, **trained(start, dense, plan, part, test, folder)})
    on = [{"arm": "dense, trained on", **budget} for budget in _fine_tuning(spec)]
    on = [{**plan, **trained(net, dense, plan, part, test, folder)} for plan in on]
    result = {"dense": found, "trained_on": on, "rows": rows}
    if progress:
        tqdm.write(table({"spec": spec, **result}))
    return result


Arms = Iterator[tuple[str, Module, dict[str, Any]]]
"""The name of an arm, the net that it starts from, and how long and how fast it trains."""


def predefined(net: Module, spec: Mapping[str, Any], target: Mapping[str, Any], *_: Any) -> Arms:
    """Yield the arms of the net with a share of all its filters gone, those of the smallest L1 norms."""
    names = setup.free(net)
    keep = largest(setup.folded_l1(net, names), dict.fromkeys(names, target["share"]))
    small = surgery.remove(net, keep)
    yield from (("fine-tuned", small, budget) for budget in _fine_tuning(spec))
    yield from _scratch("", redrawn(small, _rng(spec, 1), initializer(spec["dense"])), net, spec)


def automatic(
    net: Module, spec: Mapping[str, Any], target: Mapping[str, Any], root: str | None, folder: Path | None
) -> Arms:
    """Yield the arms of the widths that slimming finds, and of uniform widths of as many MACs."""
    dense = spec["dense"]
    penalty = {"strength": target["strength"], "start": target["start"], "steps": "proximal"}
    whole, _ = setup.slimming_net(dense, penalty, root, folder=folder)
    whole.eval()
    shape, names = SHAPES[dense["data"]], setup.free(whole)
    keep = slimming.keep_for_macs(whole, shape, target["share"], "conv_only")
    small = slimming.slim(whole, keep, shape)
    yield from (("fine-tuned", small, budget) for budget in _fine_tuning(spec))
    widths = {name: len(rows) for name, rows in zip(names, keep.values(), strict=True)}
    uniform = setup.uniform_widths(net, names, dense["data"], target["share"])
    for label, found in (("", widths), ("uniform ", uniform)):
        fresh = surgery.remove(net, {name: range(n) for name, n in found.items()})
        yield from _scratch(label, redrawn(fresh, _rng(spec, 2), initializer(spec["dense"])), net, spec)


def unstructured(net: Module, spec: Mapping[str, Any], target: Mapping[str, Any], *_: Any) -> Arms:
    """Yield the arms of the net with a share of its weights gone, and of a mask by chance."""
    by_chance = {name: np.random.default_rng([spec["seed"], 4]).random(W.shape) for name, W in prunable(net).items()}
    for label, scores in (("", magnitude.saliency(net)), ("random mask ", by_chance)):
        masked = surgery.duplicate(net)
        masks.apply(masked, masks.smallest(scores, target["share"]))
        if not label:
            yield from (("fine-tuned", masked, budget) for budget in _fine_tuning(spec))
        for scaled in (False, True):
            fresh = redrawn(masked, _rng(spec, 3), initializer(spec["dense"]), density=scaled)
            both = list(_scratch(label, fresh, net, spec))[: 1 if label else 2]
            yield from ((f"{arm}, scaled" if scaled else arm, start, budget) for arm, start, budget in both)


KINDS = {"predefined": predefined, "automatic": automatic, "unstructured": unstructured}


def _scratch(label: str, fresh: Module, net: Module, spec: Mapping[str, Any]) -> Arms:
    yield from ((f"{label}{arm}", fresh, plan) for arm, plan in plans(net, fresh, spec["dense"]))


def _fine_tuning(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    # A milestone behind the last epoch: the rate stays what it is.
    dense, epochs = spec["dense"], spec["fine_tuning"]
    rates = (setup.schedule(dense)(dense["epochs"] - 1), dense["learning_rate"] / 5)
    return [{"epochs": epochs, "milestones": [epochs], "learning_rate": rate} for rate in rates]


def _rng(spec: Mapping[str, Any], stream: int) -> np.random.Generator:
    return np.random.default_rng([spec["seed"], stream])


def _parts(dense: Mapping[str, Any], root: str | None) -> tuple[Part, Part]:
    # Loaded once: unpacking CIFAR-10 takes as long as an epoch.
    xp = array_module(dense["device"])
    part, test = setup.parts(dense, root)
    return (xp.asarray(part[0]), xp.asarray(part[1])), (xp.asarray(test[0]), xp.asarray(test[1]))


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw the accuracy of every arm less that of fine-tuning at the lowest rate, one panel a target."""
    dense = records[0]["spec"]["dense"]
    return [figures.arms(records, folder / f"rethinking-{dense['data']}-{dense['model']}-arms.png")]


def table(record: Mapping[str, Any]) -> str:
    """Return the record as a readable table, one line an arm."""
    dense = record["dense"]
    lines = [f"dense net {dense['test_accuracy']:.2%}"]
    for row in record["rows"]:
        trained = row["trained"]
        got = "diverged" if "diverged" in trained else f"{trained['test_accuracy']:.2%}"
        share = f"{row['macs'] / dense['macs']:6.1%} of the MACs, {row['left']:8} weights"
        lines.append(
            f"{row['target']['kind']:12} {row['target']['share']:5.0%}  {row['arm']:32} {row['epochs']:4} epochs at"
            f" {row['learning_rate']:<8.4g} {share} {got}"
        )
    return "\n".join(lines)


def compared(record: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the arms of every target; fine-tuning at the lowest rate is the control."""
    lowest = min(row["learning_rate"] for row in record["rows"])
    for row in record["rows"]:
        target, tuned = row["target"], row["arm"] == "fine-tuned"
        name = f"{row['arm']} at {row['learning_rate']:.4g}" if tuned else row["arm"]
        sizes = {"epochs": row["epochs"], "weights": row["left"]}
        numbers = {**percent(row["trained"]), **sizes} if "test_accuracy" in row["trained"] else {}
        controls = () if tuned and row["learning_rate"] == lowest else (f"fine-tuned at {lowest:.4g}",)
        yield Arm(name, numbers, controls, f"{target['kind']}, {target['share']:.0%} pruned")
