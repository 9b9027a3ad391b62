"""Scales of batch norm pushed to zero while the net trains, and one threshold for all layers, beside uniform widths.

Network slimming (Liu et al. 2017): a net is trained from scratch with an l1 penalty on its scales, by proximal steps,
in small nets by the authors' subgradient too.  As few channels go, those of the smallest scales, as leave a share of
the MACs of the convolutions.  What a dead scale still emits is folded into the biases, which changes no output, and the
small net is trained on.

Beside it stand, trained on for as many epochs: the same net in uniform widths of as many MACs, again by its scales; the
dense net, trained without a penalty, in these uniform widths, by the L1 norms of its filters and by chance.  A net in
the widths that slimming found is trained from scratch as long as both trainings.  (Uniform widths from scratch, for the
same seeds, are in the records of the experiment `reconstruction`.)

The strength of the penalty is the same for all seeds: a scale that the loss does not hold could travel about six times
from where it starts to zero, strength sum(eta) / (1 - mu) = 6 start.  No accuracy was looked at to choose it.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from nn.backend import to_numpy
from nn.module import Module
from pruning import surgery
from pruning.experiments import setup
from pruning.experiments.comparison import Arm, percent
from pruning.experiments.figures import slimming as figures
from pruning.experiments.setup import SHAPES, Part, costs
from pruning.filters import largest, share
from pruning.masks import prunable
from pruning.penalties import slimming
from pruning.scores import chance

RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    ("digits", "conv3"): {
        "strength": 0.02,
        "start": 0.5,
        "steps": ["proximal", "subgradient"],
        "macs": [0.5, 0.3],
        "images": 1137,
        "retraining": {**setup.RETRAINING, "epochs": 10},
    },
    ("cifar10", "vgg11-thin"): {
        "strength": 0.003,
        "start": 0.5,
        "steps": ["proximal"],
        "macs": [0.5, 0.3],
        "images": 10000,
        "retraining": setup.RETRAINING,
    },
}
FIELDS = ("dense", "penalised", "rows")


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return one cell a seed; with `validation` all accuracies of small nets are those on the held-out images.

    Raises
    ------
    ValueError
        If there is no recipe for this model on this data set, or a seed is negative.
    """
    model = {"digits": "conv3", "cifar10": "vgg11-thin"}.get(data) if model is None else model
    setup.check_known(RECIPES, data, model)
    dense = setup.dense_specs(data, seeds, device, model)
    return [
        {"seed": spec["seed"], "dense": spec, **RECIPES[data, str(model)], "validation": validation} for spec in dense
    ]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"dense", "penalised": one dict a kind of steps, "rows": one a share of MACs and method}.

    The dense net and those with a penalty come from their checkpoints in `folder`, and are trained if there are none.
    """
    part, test = setup.shared_parts(spec, root)
    data = spec["dense"]["data"]
    net, trained = setup.dense_net(spec["dense"], root, progress, folder)
    dense = {"history": trained["history"], **setup.tested(net, test), **costs(net, data)}
    penalised, rows = {}, []
    for steps in spec["steps"]:
        whole, found = training(spec, steps, root, progress, folder)
        penalised[steps] = {**found, **setup.tested(whole, test), "emptied": emptied(whole)}
        whole.eval()
        for macs in spec["macs"]:
            small, row = slimmed(whole, data, macs, test)
            rows.append({"target": macs, "method": f"slimming, {steps}", **row, **_trained_on(small, spec, part, test)})
    for macs in tqdm(spec["macs"], disable=not progress, unit="share", desc="controls"):
        for method, small in controls(net, whole, spec, macs).items():
            row = {"cut": setup.tested(small, test), **_trained_on(small, spec, part, test)}
            rows.append({"target": macs, "method": method, **row})
        first = next(row for row in rows if row["target"] == macs)
        keep = {name: first["keep"][gamma] for name, gamma in _norms(net).items()}
        fresh = setup.scratch(keep, spec["dense"], np.random.default_rng([spec["seed"], 2]))
        rows.append({"target": macs, "method": "scratch", **setup.from_scratch(fresh, spec, root, test)})
    result = {"dense": dense, "penalised": penalised, "rows": rows}
    if progress:
        tqdm.write(table({"spec": spec, **result}))
    return result


def training(
    spec: Mapping[str, Any], steps: str, root: str | None = None, progress: bool = False, folder: Path | None = None
) -> tuple[Module, dict[str, Any]]:
    """Return a net trained from scratch with the penalty, and what became of its scales."""
    penalty = {"strength": spec["strength"], "start": spec["start"], "steps": steps}
    net, trained = setup.slimming_net(spec["dense"], penalty, root, progress, folder)
    scales = {name: to_numpy(gamma.data) for name, gamma in slimming.scales(net).items()}
    gammas = {name: [round(float(g), 6) for g in gamma] for name, gamma in scales.items()}
    zeros = {name: int((gamma == 0).sum()) for name, gamma in scales.items()}
    return net, {"scales": gammas, "zeros": zeros, "history": trained["history"]}


def emptied(net: Module) -> dict[str, Any]:
    """Return the least share of the scales at which one threshold without a guard empties a layer, and what is left."""
    total = sum(gamma.shape[0] for gamma in slimming.scales(net).values())
    for gone in range(total + 1):
        left = {name: len(kept) for name, kept in slimming.by_threshold(net, gone / total).items()}
        if not all(left.values()):
            break
    return {"share": gone / total, "left": left}


def slimmed(net: Module, data: str, macs: float, test: Part) -> tuple[Module, dict[str, Any]]:
    """Return the small net and what became of the accuracy: scales at zero, folded and removed, removed as they are."""
    shape, x = SHAPES[data], test[0][..., :1000]
    keep = slimming.keep_for_macs(net, shape, macs, "conv_only")
    masked, small = slimming.masked(net, keep), slimming.slim(net, keep, shape)
    naive = surgery.remove(masked, {name: keep[gamma] for name, gamma in _norms(net).items()})
    y = to_numpy(masked.forward(x))
    changes = {
        f"{kind} changes outputs by": float(np.abs(to_numpy(each.eval().forward(x)) - y).max() / np.abs(y).max())
        for kind, each in (("folding", small), ("naive removal", naive))
    }
    tested = {kind: setup.tested(each, test) for kind, each in (("cut", masked), ("folded", small), ("naive", naive))}
    return small, {"keep": keep, **costs(small, data), **changes, **tested}


def controls(net: Module, penalised: Module, spec: Mapping[str, Any], macs: float) -> dict[str, Module]:
    """Return nets of uniform widths: of the net with the penalty by its scales, of the dense net by L1 and chance."""
    names, data = list(_norms(net)), spec["dense"]["data"]
    kept = setup.uniform_widths(net, names, data, macs)
    shares = {name: share(weight.shape[0], kept[name]) for name, weight in prunable(net, names).items()}
    scores = {
        "L1": setup.folded_l1(net, names),
        "random": chance.saliency(net, np.random.default_rng([spec["seed"], 1]), names),
    }
    found = {method: surgery.remove(net, largest(score, shares)) for method, score in scores.items()}
    by_scale = {name: abs(slimming.scales(penalised)[gamma].data) for name, gamma in _norms(net).items()}
    keep = {_norms(net)[name]: rows for name, rows in largest(by_scale, shares).items()}
    return {"slimming, uniform": slimming.slim(penalised, keep, SHAPES[data]), **found}


def _norms(net: Module) -> dict[str, str]:
    # Weights whose filters can go, and the scales behind them; in a chain they come in the same order.
    return dict(zip(setup.free(net), slimming.scales(net), strict=True))


def _trained_on(small: Module, spec: Mapping[str, Any], part: Part, test: Part) -> dict[str, Any]:
    return {**costs(small, spec["dense"]["data"]), **setup.retrained(small, spec, part, test)}


def small_nets(record: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield for every method its row, the widths that it left, and how the net did after retraining."""
    dense = record["spec"]["dense"]
    outline = setup.MODELS[dense["model"]](None, dtype=np.float32)
    names = _norms(outline)
    for row in record["rows"]:
        if row["method"] != "scratch":
            widths = (
                {name: len(row["keep"][gamma]) for name, gamma in names.items()}
                if "keep" in row
                else setup.uniform_widths(outline, list(names), dense["data"], row["target"])
            )
            yield f"{row['method']}, {row['target']:.0%} of the MACs", {"widths": widths}, row["retrained"]


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw the scales, the widths that they lead to, and the accuracies."""
    start = f"slimming-{records[0]['spec']['dense']['data']}"
    return [
        figures.widths(records, folder / f"{start}-widths.png"),
        figures.nets(records, folder / f"{start}-nets.png"),
    ]


STAGES = ("cut", "folded", "naive", "retrained")


def table(record: Mapping[str, Any]) -> str:
    """Return the record as a readable table, one line a small net."""
    dense = record["dense"]
    lines = [f"dense net {dense['test_accuracy']:.2%}"]
    for steps, found in record["penalised"].items():
        total = sum(map(len, found["scales"].values()))
        lines.append(
            f"{steps}: {found['test_accuracy']:.2%}, {sum(found['zeros'].values())} of {total} scales at zero,"
            f" a layer is emptied at {found['emptied']['share']:.1%}"
        )
    lines.append(f"{'conv MACs':>9}  {'method':22}" + "".join(f"{stage:>12}" for stage in STAGES))
    for row in record["rows"]:
        share = row["conv_macs"] / dense["conv_macs"]
        lines.append(f"{share:9.1%}  {row['method']:22}" + "".join(f"{_percent(row.get(s)):>12}" for s in STAGES))
    return "\n".join(lines)


def _percent(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    return "diverged" if "diverged" in found else f"{found['test_accuracy']:.2%}"


def compared(record: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the nets, retrained; uniform widths, norms, chance and scratch are the controls."""
    for row in record["rows"]:
        found = percent(row["retrained"])
        controls = ("slimming, uniform", "L1", "random", "scratch") if row["method"] == "slimming, proximal" else ()
        sizes = {"conv MACs": row["conv_macs"], "weights": row["weights"]}
        yield Arm(row["method"], {**found, **sizes} if found else {}, controls, f"{row['target']:.0%} of the conv MACs")
