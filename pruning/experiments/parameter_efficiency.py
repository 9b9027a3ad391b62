"""Are the widths and the masks that pruning finds better than uniform ones, and do other nets' stage averages do?

Liu et al. 2019.  All nets start from new weights and are trained as the dense net is, with one recipe and for as many
epochs (scratch-E).

Widths.  A uniform net keeps the same share of the filters of all layers; its weights, and its multiply-accumulates
(MACs), are the price that no net beside it may exceed.  "pruned" has the widths that network slimming leaves at this
price, with the same seed.  "guided" takes nets that were slimmed with other seeds down to the same price, averages what
their stages keep, and is the widest net with stages in these proportions.  Equal weights let a net compute more, equal
MACs let it store more; so both are there.

Masks.  The same share of the weights of all convolutions goes: in every layer by chance ("uniform"), over all layers
those of least magnitude in the trained dense net of the same seed ("pruned"), or by chance such that each place of the
kernels keeps what it keeps, stage by stage, in dense nets of other seeds ("guided").  New weights are drawn larger by
one over the root of the share that stays (`pruning.pipeline.redrawn`).

No net guides one of its own seed, and no two tested nets have a guide in common: differences paired by seed vary with
the guides, too.  All see the same training images, so that nothing here says what guides of other data would do.  No
accuracy on test images chose anything.  The strength of the slimming penalty lets a scale that the loss does not hold
travel nearly twice from where it starts to zero.  With much more, so many scales are zero that at the largest sizes not
their size but their order says which channels stay.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from nn.module import Module
from pruning import masks, surgery
from pruning.architectures import guided
from pruning.experiments import setup
from pruning.experiments.comparison import Arm, percent
from pruning.experiments.figures import parameter_efficiency as figures
from pruning.experiments.setup import SHAPES, costs
from pruning.masks import prunable
from pruning.penalties import slimming
from pruning.pipeline import redrawn
from pruning.scores import magnitude

PRICES = ("weights", "macs")
SHARED = {"start": 0.5, "shares": [0.75, 0.5, 0.375, 0.25, 0.125]}
RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    ("digits", "conv6"): {**SHARED, "strength": 0.008, "images": 1137, "sparsities": [0.9, 0.95]},
    ("cifar10-16", "conv6-rgb"): {**SHARED, "strength": 0.0075, "images": 5000, "sparsities": [0.9]},
}
# Rates fall along a cosine.  CIFAR-10: what one core does in ten minutes a seed.
DENSE = {
    ("digits", "conv6"): {**setup.DIGITS, "milestones": []},
    ("cifar10-16", "conv6-rgb"): {**setup.CIFAR, "milestones": [], "images": 5000, "epochs": 6},
}
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
    model = {"digits": "conv6", "cifar10-16": "conv6-rgb"}.get(data) if model is None else model
    setup.check_known(RECIPES, data, model)
    dense = setup.dense_specs(data, seeds, device, model, recipes=DENSE)
    recipe = {**RECIPES[data, str(model)], "validation": validation}
    guides = [[1000 + 2 * spec["seed"], 1001 + 2 * spec["seed"]] for spec in dense]
    return [{"seed": spec["seed"], "dense": spec, "guides": pair, **recipe} for spec, pair in zip(dense, guides)]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"dense": of the dense net, "rows": one a small or sparse net, with its price and what it gets right}.

    The dense nets and the slimmed ones come from their checkpoints in `folder`, and are trained if there are none.
    """
    dense = spec["dense"]
    part, test = setup.shared_parts(spec, root)
    net, _ = setup.dense_net(dense, root, progress, folder)
    recipe = {name: dense[name] for name in ("learning_rate", "momentum", "weight_decay", "batch_size", "epochs")}
    rows = []
    nets = [*_widths(net, spec, root, folder), *_masks(net, spec, root, folder)]
    for row, start in tqdm(nets, disable=not progress, unit="net"):
        fresh = redrawn(start, np.random.default_rng([spec["seed"], 1]), density=True)
        trained = setup.retrained(fresh, {**spec, "retraining": recipe}, part, test)["retrained"]
        rows.append({**row, **costs(fresh, dense["data"]), "left": masks.counts(fresh)[0], "trained": trained})
    result = {"dense": {**setup.tested(net, test), **costs(net, dense["data"])}, "rows": rows}
    if progress:
        tqdm.write(table({"spec": spec, **result}))
    return result


Nets = Iterator[tuple[dict[str, Any], Module]]
"""What a row says of a net before it is trained, and the net."""


def _widths(net: Module, spec: Mapping[str, Any], root: str | None, folder: Path | None) -> Nets:
    data, names = spec["dense"]["data"], setup.free(net)
    of = {name: weight.shape[0] for name, weight in prunable(net, names).items()}
    stages = guided.stages(net, SHAPES[data], names)
    slimmed = [_slimmed(spec, seed, root, folder) for seed in (spec["seed"], *spec["guides"])]

    def small(widths: Mapping[str, int]) -> Module:
        return surgery.remove(net, {name: range(n) for name, n in widths.items()})

    def cost(widths: Mapping[str, int], price: str) -> int:
        return costs(small(widths), data)[price]

    for share in spec["shares"]:
        uniform = guided.widths(of, dict.fromkeys(of, 1), {1: share})
        yield {"share": share, "family": "uniform", "widths": list(uniform.values())}, small(uniform)
        for price in PRICES:
            most = cost(uniform, price)
            found = [pruned(each, names, data, price, most) for each in slimmed]
            kept = averages(found[1:], of, stages)
            wide = guided.widest(of, stages, kept, partial(cost, price=price), most)
            for family, widths in (("pruned", found[0]), ("guided", wide)):
                row = {"share": share, "price": price, "family": family, "widths": list(widths.values())}
                yield row, small(widths)


def pruned(whole: Module, names: Sequence[str], data: str, price: str, most: int) -> dict[str, int]:
    """Return the widths that slimming leaves if as few scales go as leave at most so many weights, or MACs."""
    keep = slimming.keep_that_fit(whole, lambda small: costs(small, data)[price] <= most)
    return {name: len(rows) for name, rows in zip(names, keep.values(), strict=True)}


def averages(several: Sequence[Mapping[str, int]], of: Mapping[str, int], stages: Mapping[str, int]) -> dict[int, Any]:
    """Return what the stages of several nets of the same widths `of` keep together."""
    kept = {name: sum(widths[name] for widths in several) for name in of}
    return guided.shares(kept, {name: len(several) * n for name, n in of.items()}, stages)


def _slimmed(spec: Mapping[str, Any], seed: int, root: str | None, folder: Path | None) -> Module:
    penalty = {"strength": spec["strength"], "start": spec["start"], "steps": "proximal"}
    return setup.slimming_net({**spec["dense"], "seed": seed}, penalty, root, folder=folder)[0].eval()


def _masks(net: Module, spec: Mapping[str, Any], root: str | None, folder: Path | None) -> Nets:
    weights = prunable(net, names := setup.free(net))
    stages = guided.stages(net, SHAPES[spec["dense"]["data"]], names)
    guides = [setup.dense_net({**spec["dense"], "seed": seed}, root, folder=folder)[0] for seed in spec["guides"]]
    for share in spec["sparsities"]:
        rng = np.random.default_rng([spec["seed"], 2])
        patterns = means([_by_magnitude(guide, names, share) for guide in guides], stages)
        families = {
            "uniform": masks.smallest({name: rng.random(W.shape) for name, W in weights.items()}, share, "layer"),
            "pruned": _by_magnitude(net, names, share),
            "guided": guided.sparse(net, stages, patterns, rng),
        }
        for family, found in families.items():
            masked = surgery.duplicate(net)
            masks.apply(masked, found)
            kept = {f"{stage}": P.round(6).tolist() for stage, P in guided.patterns(found, stages).items()}
            yield {"sparsity": share, "family": family, "patterns": kept}, masked


def _by_magnitude(net: Module, names: Sequence[str], share: float) -> dict[str, Any]:
    scores = magnitude.saliency(net)
    return masks.smallest({name: scores[name] for name in names}, share)


def means(several: Sequence[Mapping[str, Any]], stages: Mapping[str, int]) -> dict[int, Any]:
    """Return what the stages of several nets of the same shapes keep together at each place of their kernels."""
    every = [guided.patterns(found, stages) for found in several]
    return {stage: sum(patterns[stage] for patterns in every) / len(every) for stage in every[0]}


def compared(record: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the families at every size, by what is equal; the uniform net is the control."""
    for row in record["rows"]:
        sizes = {"weights": row["left"], "MACs": row["macs"]}
        numbers = {**percent(row["trained"]), **sizes} if "test_accuracy" in row["trained"] else {}
        what = f"{row['share']:.1%} of the filters" if "share" in row else f"{row['sparsity']:.0%} of the weights gone"
        name = f"{row['family']}, as many {row['price']}" if "price" in row else row["family"]
        yield Arm(name, numbers, () if row["family"] == "uniform" else ("uniform",), what)


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw accuracy against weights and MACs, and the accuracies of the sparse nets."""
    start = f"parameter_efficiency-{records[0]['spec']['dense']['data']}"
    return [
        figures.curves(records, folder / f"{start}-curves.png"),
        figures.sparse(records, folder / f"{start}-sparse.png"),
    ]


def table(record: Mapping[str, Any]) -> str:
    """Return the record as a readable table, one line a net."""
    dense = record["dense"]
    lines = [f"dense net {dense['test_accuracy']:.2%}, {dense['weights']} weights"]
    for row in record["rows"]:
        got = row["trained"].get("test_accuracy")
        what = row["widths"] if "share" in row else f"{row['sparsity']:.0%} of the weights of convolutions gone"
        price = f"as many {row['price']}" if "price" in row else ""
        lines.append(
            f"{row['family']:8} {price:16} {row['left']:6} weights {row['macs']:8} MACs "
            f"{'diverged' if got is None else f'{got:.2%}'}  {what}"
        )
    return "\n".join(lines)
