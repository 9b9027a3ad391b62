"""L0 regularization from scratch, beside gradual deletion and small nets, all trained as long.

A net has hard concrete gates in front of every fully connected layer and behind every convolution (Louizos et al.
2018).  It is trained once, and what is closed is removed for good: units, filters, inputs, positions behind a flatten.

Beside it stand, with the same optimizer, images and epochs: the net without gates; that net with single weights deleted
gradually by magnitude, down to as many as the small net has; and a net of the small net's widths, inputs and positions,
drawn anew and trained from scratch.  None of them is trained on afterwards.

The strengths are per weight and over the number N of training patterns, in the order of the gates.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import nn
from nn.backend import array_module, asarray, to_numpy
from nn.module import Module, Sequential
from pruning import surgery
from pruning.experiments import setup
from pruning.experiments.comparison import Arm, percent
from pruning.experiments.figures import l0 as figures
from pruning.experiments.setup import SHAPES, Part, costs
from pruning.masks import counts
from pruning.penalties import families, l0
from pruning.pipeline.gradual import Gradual
from pruning.scores import magnitude

ADAM = {"learning_rate": 1e-3, "gate_rate": 1e-2, "batch_size": 100, "images": 55000}
"""Rates of weights and gates; both fall to a tenth in the last fifth or sixth of the epochs, those of controls too."""
RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    ("digits", "mlp64"): {
        **ADAM,
        "strengths": [0.2, 0.4, 2],
        "drop_rates": [0.2, 0.5, 0.5],
        "epochs": 60,
        "milestones": [48],
        "images": 1137,
        "batch_size": 50,
    },
    ("mnist", "lenet300"): {
        **ADAM,
        "strengths": [0.1, 0.5, 5],
        "drop_rates": [0.2, 0.5, 0.5],
        "epochs": 15,
        "milestones": [12],
    },
    ("mnist", "lenet5"): {
        **ADAM,
        "strengths": [1, 0.1, 0.1, 5],
        "drop_rates": [0.5] * 4,
        "epochs": 6,
        "milestones": [5],
    },
}
MODELS: dict[str, Any] = {
    **setup.MODELS,
    "mlp64": lambda rng, dtype: nn.models.mlp((64, 60, 30, 10), rng, dtype=dtype),
}
INITS = {"lenet5": nn.initializers.lecun_normal}
GRADUAL = {"share": 0.6, "every": 20}
"""Of all steps, how many it takes until all is deleted; and the steps from one deletion to the next."""
FIELDS = ("dense", "l0", "rows")


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return one cell a seed; with `validation` all accuracies are those on the held-out images.

    Raises
    ------
    ValueError
        If there is no recipe for this model on this data set, or a seed is negative.
    """
    model = {"digits": "mlp64", "mnist": "lenet300"}.get(data) if model is None else model
    setup.check_known(RECIPES, data, model)
    setup.check_seeds(seeds)
    shared = {"data": data, "model": model, "device": device, **RECIPES[data, str(model)], "gradual": GRADUAL}
    return [{**shared, "seed": seed, "validation": validation} for seed in seeds]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"dense", "l0": the net with gates and the small one, "rows": the controls of as many weights}.

    Every training leaves a checkpoint in `folder`, and goes on from it.
    """
    xp, (_, test) = array_module(spec["device"]), setup.parts(spec, root)
    test = xp.asarray(test[0]), xp.asarray(test[1])
    runs = (root, progress, folder)
    net, trained = with_gates(spec, *runs)
    small, found = small_net(net, spec, test)
    dense = fresh(spec)
    history = _fitted(dense, {**spec, "control": "dense"}, *runs)["history"]
    result = {
        "dense": {"history": history, **setup.tested(dense, test), **costs(dense, spec["data"])},
        "l0": {"history": trained["history"], **found},
        "rows": [
            {"method": "gradual", **gradually(spec, found["weights"], test, *runs)},
            {"method": "scratch", **from_scratch(small, spec, test, *runs)},
        ],
    }
    if progress:
        tqdm.write(table({"spec": spec, **result}))
    return result


def fresh(spec: Mapping[str, Any]) -> Module:
    """Return the net without gates, drawn from the seed."""
    net: Module = MODELS[spec["model"]](np.random.default_rng(spec["seed"]), dtype=np.float32)
    return net


def gated(spec: Mapping[str, Any]) -> tuple[Module, dict[str, families.Family]]:
    """Return the net with gates, and the groups of weights that they close with their strengths."""
    layers: list[Module] = []
    groups: dict[str, families.Family] = {}
    for layer in _chain(fresh(spec)):
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            layers.append(layer)
            continue
        k, conv = len(groups), isinstance(layer, nn.Conv2d)
        rng, channels = np.random.default_rng([spec["seed"], 1 + k]), layer.W.shape[0 if conv else 1]
        pair = [l0.HardConcrete(channels, rng, spec["drop_rates"][k], dtype=np.float32), layer]
        gate, weight = (len(layers) + 1, len(layers)) if conv else (len(layers), len(layers) + 1)
        groups[str(gate)] = families.Family({f"{weight}.W": (0 if conv else 1,)}, spec["strengths"][k])
        layers += reversed(pair) if conv else pair
    return nn.Sequential(*layers), groups


def _chain(module: Module) -> list[Any]:
    if not isinstance(module, Sequential):
        return [module]
    return [layer for each in module.layers for layer in _chain(each)]


def with_gates(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> tuple[Module, dict[str, Any]]:
    """Return the net with gates after its training, in eval mode, and what `setup.fit` returns."""
    net, groups = gated(spec)
    net.to(array_module(spec["device"]))
    penalty = l0.ExpectedL0(net, groups, _patterns(spec, root))
    factor = spec["gate_rate"] / spec["learning_rate"]
    rates = {gate.log_alpha: factor for gate in l0.gates(net).values()}
    optimizer = nn.Adam(net.parameters(), spec["learning_rate"], rates=rates)
    rng = np.random.default_rng([spec["seed"], 0])
    return net, setup.fit(net, optimizer, spec, rng, root, progress, folder, [penalty])


def small_net(net: Module, spec: Mapping[str, Any], test: Part) -> tuple[Module, dict[str, Any]]:
    """Return the small net, and its costs, how it was foreseen, and what the removal changes.

    "expected_weights" is the product of independent gates, "own_gates" the sum over the gates of each layer.
    """
    net.eval()
    small, data = l0.removed(net, SHAPES[spec["data"]]), spec["data"]
    _, groups = gated(spec)
    ones = {name: families.Family(family.axes, 1.0) for name, family in groups.items()}
    x = test[0][..., :1000]
    y = to_numpy(net.forward(x))
    return small, {
        "open": [int((gate.factor() > 0).sum()) for gate in l0.gates(net).values()],
        "expected_weights": l0.expected_weights(net),
        "own_gates": l0.ExpectedL0(net, ones, 1).penalty(),
        "gated": setup.tested(net, test),
        "removal changes outputs by": float(np.abs(to_numpy(small.eval().forward(x)) - y).max() / np.abs(y).max()),
        **setup.tested(small, test),
        **costs(small, data),
    }


def gradually(
    spec: Mapping[str, Any],
    keep: int,
    test: Part,
    root: str | None = None,
    progress: bool = False,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Return what the net without gates gets right if all but `keep` single weights are deleted while it trains."""
    net = fresh(spec).to(array_module(spec["device"]))
    steps = spec["epochs"] * math.ceil(_patterns(spec, root) / spec["batch_size"])
    settings = spec["gradual"]
    deletion = Gradual(net, magnitude.saliency, keep, settings["share"] * steps, settings["every"])
    recipe = {**spec, "control": "gradual", "keep": keep}
    history = _fitted(net, recipe, root, progress, folder, [deletion])["history"]
    return {"history": history, "weights": counts(net)[0], **setup.tested(net, test)}


def from_scratch(
    small: Module,
    spec: Mapping[str, Any],
    test: Part,
    root: str | None = None,
    progress: bool = False,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Return what a net that is built as the small one gets right, with weights that are drawn anew."""
    net, rng = surgery.duplicate(small), np.random.default_rng([spec["seed"], 2])
    for name, u in net.named_parameters():
        init = INITS.get(spec["model"], nn.initializers.he_normal) if name.endswith("W") else nn.initializers.zeros
        u.data = asarray(init(u.shape, rng).astype(np.float32), like=u.data)
    widths = [list(u.shape) for u in net.parameters()]
    recipe = {**spec, "control": "scratch", "widths": widths}
    history = _fitted(net, recipe, root, progress, folder)["history"]
    return {"history": history, **setup.tested(net, test), **costs(net, spec["data"])}


def _fitted(
    net: Module,
    recipe: Mapping[str, Any],
    root: str | None,
    progress: bool,
    folder: Path | None,
    companions: Sequence[nn.Companion] = (),
) -> dict[str, Any]:
    net.to(array_module(recipe["device"])).train()
    optimizer, rng = nn.Adam(net.parameters(), recipe["learning_rate"]), np.random.default_rng([recipe["seed"], 0])
    return setup.fit(net, optimizer, recipe, rng, root, progress, folder, companions)


def _patterns(spec: Mapping[str, Any], root: str | None) -> int:
    return int(setup.parts(spec, root)[0][1].shape[-1])


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw what the nets get right, one point a seed."""
    spec = records[0]["spec"]
    return [figures.nets(records, folder / f"l0-{spec['data']}-{spec['model']}-nets.png")]


def table(record: Mapping[str, Any]) -> str:
    """Return the record as a readable table, one line a net."""
    dense, found = record["dense"], record["l0"]
    rows = [{"method": "dense", **dense}, {"method": "hard concrete", **found}, *record["rows"]]
    lines = [f"{'net':14}{'weights':>9}{'fewer':>8}{'test':>9}"]
    for row in rows:
        fewer = dense["weights"] / row["weights"]
        lines.append(f"{row['method']:14}{row['weights']:9,}{fewer:7.1f}x{row['test_accuracy']:9.2%}")
    opened = "-".join(map(str, found["open"]))
    expected = f"expected weights {found['expected_weights']:,.0f}, by each layer's own gates {found['own_gates']:,.0f}"
    return "\n".join([*lines, f"open gates {opened}; {expected}"])


def compared(record: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the nets: single weights deleted gradually, and the small net from scratch, are the controls."""
    rows = [{"method": "dense", **record["dense"]}, {"method": "hard concrete", **record["l0"]}, *record["rows"]]
    for row in rows:
        controls = ("gradual", "scratch") if row["method"] == "hard concrete" else ()
        yield Arm(row["method"], {**percent(row), "weights": row["weights"]}, controls)
