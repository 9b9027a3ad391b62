"""Blocks whose factors are pushed to zero while the net trains, beside chance, smallness, scratch and single filters.

Sparse structure selection (Huang and Wang 2018): a net whose blocks have one factor each is trained from scratch, the
factors by accelerated proximal gradient steps, in small nets by plain proximal steps too.  Blocks at zero are removed,
which changes no output.

How many end at zero differs from seed to seed.  So that all nets have one size, as many blocks leave every net, a third
of them: those of least factor, whether at zero or not ("SSS").  The other factors are folded into the weights, and the
small net is trained on.

Beside it stand, trained on for as many epochs: the dense net; the dense net without the same blocks; without as many by
chance, of all stages; without those that add least to what goes past them; with the filters inside its
blocks pruned uniformly to as few MACs.  So does a net trained with network slimming's penalty on the scales inside its
blocks, at most as many MACs left.  A net of the same blocks from scratch is trained as long as both trainings.

The strength of the penalty is the same for all seeds.  It was chosen by the number of blocks at zero alone, with seeds
of its own, so that about a third of them goes there.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import nn
from nn.backend import Array, array_module, to_numpy
from nn.companions import Companion, State
from nn.module import Module
from pruning import surgery
from pruning.experiments import setup
from pruning.experiments.comparison import Arm, percent
from pruning.experiments.figures import scaling_factors as figures
from pruning.experiments.setup import costs
from pruning.penalties import group_lasso, scaling_factors, slimming

RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    ("digits", "resnet14"): {
        "strength": 0.15,
        "steps": ["APG", "proximal"],
        "blocks": 2,
        "slimming": {"strength": 0.02, "start": 0.5, "steps": "proximal"},
        "images": 1137,
        "few": 1000,
        "retraining": {**setup.RETRAINING, "epochs": 10},
    },
    ("cifar10-16", "resnet20"): {
        "strength": 0.1,
        "steps": ["APG"],
        "blocks": 3,
        "slimming": {"strength": 0.005, "start": 0.5, "steps": "proximal"},
        "images": 10000,
        "few": 1000,
        "retraining": {**setup.RETRAINING, "epochs": 3},
    },
}
FIELDS = ("dense", "selected", "rows")


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return one cell a seed; with `validation` all accuracies of small nets are those on the held-out images.

    Raises
    ------
    ValueError
        If there is no recipe for this model on this data set, or a seed is negative.
    """
    model = {"digits": "resnet14", "cifar10-16": "resnet20"}.get(data) if model is None else model
    setup.check_known(RECIPES, data, model)
    dense = setup.dense_specs(data, seeds, device, model)
    return [
        {"seed": spec["seed"], "dense": spec, **RECIPES[data, str(model)], "validation": validation} for spec in dense
    ]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"dense", "selected": one dict a way to move the factors, "rows": one dict a net of equal size}.

    "SSS" is what APG's net leaves.  The dense net and those with factors come from their checkpoints in `folder`, and
    are trained if there are none.
    """
    part, test = setup.shared_parts(spec, root)
    data = spec["dense"]["data"]

    def measured(net: Module) -> dict[str, Any]:
        return {**costs(net, data), "cut": setup.tested(net, test), **setup.retrained(net, spec, part, test)}

    net, trained = setup.dense_net(spec["dense"], root, progress, folder)
    dense = {"history": trained["history"], **measured(net)}
    selected, ended = {}, {}
    for steps in spec["steps"]:
        ended[steps], found = selection(spec, steps, root, progress, folder)
        small, changes = without_dead_blocks(ended[steps], test[0])
        selected[steps] = {**found, **changes, **costs(small, data), "cut": setup.tested(small, test)}
    least = of_least_factor(blocks(net), selected["APG"]["factors"], spec["blocks"])
    added = sizes(net, part[0][..., : spec["few"]])
    sss = surgery.fold_scales(surgery.remove_blocks(ended["APG"], least))
    nets = {
        "SSS": (least, sss),
        "same blocks": (least, None),
        "chance": (by_chance(net, len(least), np.random.default_rng([spec["seed"], 1])), None),
        "smallest": (sorted(sorted(added, key=lambda name: added[name])[: len(least)], key=int), None),
    }
    rows = [
        {"method": method, "removed": names, **measured(surgery.remove_blocks(net, names) if small is None else small)}
        for method, (names, small) in tqdm(nets.items(), disable=not progress, unit="net", desc="nets without blocks")
    ]
    share = rows[0]["conv_macs"] / dense["conv_macs"]
    slim, _ = setup.slimming_net(spec["dense"], spec["slimming"], root, progress, folder)
    for method, cut in (("uniform", partial(uniform, net)), ("slimming", partial(slimmed, slim))):
        try:
            rows.append({"method": method, **measured(cut(data, share))})
        except ValueError as error:  # so many blocks are gone that single filters cannot save as much
            rows.append({"method": method, "impossible": str(error)})
    fresh = setup.MODELS[spec["dense"]["model"]](np.random.default_rng([spec["seed"], 2]), dtype=np.float32)
    fresh = surgery.remove_blocks(fresh.to(array_module(spec["dense"]["device"])), least)
    rows.append({"method": "scratch", "removed": least, **setup.from_scratch(fresh, spec, root, test)})
    result = {"dense": {**dense, "added": added}, "selected": selected, "rows": rows}
    if progress:
        tqdm.write(table({"spec": spec, **result}))
    return result


def selection(
    spec: Mapping[str, Any], steps: str, root: str | None = None, progress: bool = False, folder: Path | None = None
) -> tuple[Module, dict[str, Any]]:
    """Return a net with factors, trained from scratch as the dense net is, and {"factors": by epoch, "history"}.

    Only the other weights decay.  `steps` is how the factors move, "APG" or "proximal".
    """
    dense = spec["dense"]
    rng = np.random.default_rng(dense["seed"])
    plain = setup.MODELS[dense["model"]](rng, dtype=np.float32).to(array_module(dense["device"]))
    net, strength = scaling_factors.with_block_factors(plain), spec["strength"]
    others = scaling_factors.others(net)
    settings = {"momentum": dense["momentum"], "nesterov": True, "weight_decay": dense["weight_decay"]}
    moves: Companion
    if steps == "APG":
        optimizer = nn.SGD(others, dense["learning_rate"], **settings)
        moves = scaling_factors.APG(net, optimizer, strength, dense["momentum"])
    else:
        optimizer = nn.SGD(net.parameters(), dense["learning_rate"], **settings, decayed=others)
        moves = group_lasso.ProximalSteps(net, scaling_factors.families(net, strength), optimizer)
    noted = Noted(net, -(-min(dense["images"], spec["images"]) // dense["batch_size"]))
    recipe = {**dense, "strength": strength, "steps": steps}
    trained = setup.fit(net, optimizer, recipe, rng, root, progress, folder, [moves, noted])
    return net, {"factors": noted.found, "history": trained["history"]}


class Noted(Companion):
    """Notes the factors of all blocks after every so many steps, in the order of the blocks."""

    def __init__(self, net: Module, every: int):
        self.net, self.every = net, every
        self.found: list[list[float]] = []

    def after_step(self, step: int) -> None:
        """Note them at the end of an epoch."""
        if step % self.every == 0:
            self.found.append([float(s.data[0]) for s in scaling_factors.factors(self.net).values()])

    def state(self) -> State:
        """Return what was noted."""
        return {"found": self.found}

    def load(self, state: State) -> None:
        """Take up what was noted before."""
        self.found = [list(row) for row in state["found"]]


def without_dead_blocks(net: Module, x: Array) -> tuple[Module, dict[str, Any]]:
    """Return the net without the blocks at zero and without factors, and {"removed", "removal", "folding"}.

    The last two are max |y' - y| / max |y| over these images, of the removal of blocks, and of the factors folded in
    after it.
    """
    dead = scaling_factors.dead_blocks(net)
    small = surgery.remove_blocks(net, dead)
    folded = surgery.fold_scales(small)
    y, z, w = (_outputs(each, x) for each in (net, small, folded))
    size = np.abs(y).max()
    return folded, {
        "removed": dead,
        "removal": float(np.abs(z - y).max() / size),
        "folding": float(np.abs(w - z).max() / size),
    }


def _outputs(net: Module, x: Array) -> np.ndarray:
    with nn.batches.evaluating(net):
        return np.concatenate(
            [to_numpy(net.forward(x[..., k : k + 1000])) for k in range(0, x.shape[-1], 1000)], axis=-1
        )


def blocks(net: Module) -> list[str]:
    """Return the names of the residual blocks, in the order of the net."""
    return [name for name, module in net.named_modules() if isinstance(module, nn.Residual)]


def of_least_factor(names: Sequence[str], factors: Sequence[Sequence[float]], n: int) -> list[str]:
    """Return the n blocks of least |s| after the last epoch, in the order of the net; of those at zero, the earliest.

    The earliest have the least sum of |s| over all epochs.  `factors` is one list an epoch, in the order of `names`.
    """
    s = np.abs(factors)
    places = np.lexsort((s.sum(axis=0), s[-1]))[:n]
    return [names[place] for place in sorted(places)]


def by_chance(net: Module, n: int, rng: np.random.Generator) -> list[str]:
    """Return n blocks drawn at random from all stages, in the order of the net."""
    names = blocks(net)
    return [names[place] for place in sorted(rng.permutation(len(names))[:n])]


def sizes(net: Module, x: Array) -> dict[str, float]:
    """Return E ||F(x)|| / E ||x|| of every block y = F(x) + x, the second norm that of what goes past F."""
    names = [each for name in blocks(net) for each in (name, f"{name}.body")]
    with nn.batches.evaluating(net), nn.recording.record(net, names) as seen:
        net.forward(x)
    found = {}
    for name in blocks(net):
        ((_, y),), ((_, added),) = seen[name], seen[f"{name}.body"]
        found[name] = float(_norms(added) / _norms(y - added))
    return found


def _norms(y: Array) -> float:
    maps = to_numpy(y).astype(np.float64)
    return float(np.sqrt((maps**2).sum(axis=(0, 1, 2))).mean())


def uniform(net: Module, data: str, macs: float) -> Module:
    """Return the net with at most this share of its conv MACs, filters of least L1 norm inside the blocks cut away."""
    names = setup.free(net)
    score = setup.folded_l1(net, names)
    keep = {
        name: sorted(np.argsort(-to_numpy(score[name]), kind="stable")[:k].tolist())
        for name, k in setup.uniform_widths(net, names, data, macs).items()
    }
    small: Module = surgery.remove(net, keep)
    return small


def slimmed(net: Module, data: str, macs: float) -> Module:
    """Return the net with at most this share of its conv MACs, channels of the smallest scales folded and cut away."""
    net.eval()
    keep = slimming.keep_for_macs(net, setup.SHAPES[data], macs, "conv_only")
    return slimming.slim(net, keep, setup.SHAPES[data])


def small_nets(record: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield the net of the blocks that the method kept: its row, what is gone, and how it did after retraining."""
    for row in record["rows"]:
        if row["method"] in ("SSS", "same blocks"):
            yield row["method"], {"removed": row["removed"]}, row["retrained"]


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw the factors by epoch, and the accuracies before and after the last training."""
    start = f"scaling_factors-{records[0]['spec']['dense']['data']}"
    return [
        figures.factors(records, folder / f"{start}-factors.png"),
        figures.nets(records, folder / f"{start}-nets.png"),
    ]


def table(record: Mapping[str, Any]) -> str:
    """Return the record as a readable table, one line a net."""
    dense = record["dense"]
    selected = [{"method": f"zeros, {steps}", **found} for steps, found in record["selected"].items()]
    lines = [f"{'method':14} {'blocks out':18} {'conv MACs':>9} {'cut':>9} {'retrained':>9}"]
    for row in [{"method": "dense", **dense}, *selected, *record["rows"]]:
        if "impossible" in row:
            lines.append(f"{row['method']:14} {row['impossible']}")
            continue
        out, share = " ".join(row.get("removed", [])), row["conv_macs"] / dense["conv_macs"]
        texts = (_percent(row.get(stage)) for stage in ("cut", "retrained"))
        lines.append(f"{row['method']:14} {out:18} {share:9.1%} " + " ".join(f"{text:>9}" for text in texts))
    return "\n".join(lines)


def _percent(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    return "diverged" if "diverged" in found else f"{found['test_accuracy']:.2%}"


def compared(record: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the nets, retrained; other blocks, and the same ones from scratch, are the controls."""
    yield Arm("dense", {**percent(record["dense"]["retrained"]), "conv MACs": record["dense"]["conv_macs"]})
    for row in record["rows"]:
        found = {} if "impossible" in row else percent(row["retrained"])
        controls = ("smallest", "chance", "scratch") if row["method"] == "SSS" else ()
        yield Arm(row["method"], {**found, "conv MACs": row["conv_macs"]} if found else {}, controls)
