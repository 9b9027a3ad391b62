"""Widths that a search found, against uniform and random ones of as many MACs, with and without a teacher.

A net of three convolutions on the digits searches its widths by transformable architecture search (Dong and Yang
2019): half of the training images move the weights, the other half the logits of eight widths a layer.  A new net of
the widths that it returns is trained on all images.  So are, for as long and from the same seed, a net whose three
widths are one share of the largest, the one nearest in MACs, and one that is drawn at random among the 20 combinations
of widths that are nearest in MACs.  All three are trained once more with the logits of a teacher beside the labels: the
widest net, trained alike.

The numbers that count are the cross-entropy and the accuracy on test images.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import nn
from nn.backend import array_module
from nn.module import Module, Sequential
from pruning.architectures.transformable import Band, Found, Search
from pruning.architectures.width_mix import WidthMix, mixes, shares
from pruning.counts import count
from pruning.experiments import setup
from pruning.experiments.comparison import Arm, percent
from pruning.experiments.figures import transformable as figures
from pruning.experiments.setup import Part

RECIPE: dict[str, Any] = {
    "images": 1437,
    "widths": [32, 32, 64],
    "batch_size": 64,
    "learning_rate": 0.05,
    "momentum": 0.9,
    "weight_decay": 1e-3,
    "epochs": 25,
    "search": {
        "epochs": 20,
        "logits": 0.1,  # the rate of their Adam
        "target": 0.5,
        "tolerance": 0.05,
        "strength": 2.0,
        "temperatures": [5.0, 0.1],
    },
    "distillation": {"temperature": 4.0, "alpha": 0.9},
    "nearest": 20,
}
FIELDS = ("search", "teacher", "rows")
SHAPE = setup.SHAPES["digits"]


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return one cell a seed; with `validation` the last training images stand for the test images.

    Raises
    ------
    ValueError
        For another data set than the digits, a model, which this experiment does not have, or a negative seed.
    """
    if data != "digits" or model is not None:
        raise ValueError("transformable searches widths for the digits: leave --data and --model out")
    setup.check_seeds(seeds)
    shared = {**RECIPE, "data": data, "device": device, "validation": validation}
    return [{**shared, "seed": seed} for seed in seeds]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"search": what was found, and how, "teacher": the widest net, "rows": one a kind of widths}."""
    part, test = (_moved(each, spec) for each in setup.parts(spec, root))
    found, candidates = searched(spec, part, progress)
    teacher = fresh(spec, spec["widths"])
    row = trained(teacher, spec, part, test, None)
    goal, rng = found.macs, np.random.default_rng([spec["seed"], 5])
    kinds = {
        "search": list(found.widths.values()),
        "uniform": uniform(spec["widths"], goal),
        "random": at_random(candidates, list(found.widths.values()), goal, spec["nearest"], rng),
    }
    rows = []
    for kind, widths in kinds.items():
        results = {
            name: trained(fresh(spec, widths), spec, part, test, by)
            for name, by in (("plain", None), ("distilled", teacher))
        }
        rows.append({"widths": widths, "kind": kind, "macs": macs(widths), **results})
    search = {"widths": found.widths, "macs": goal, "most": found.most, "last": found.last, "history": found.history}
    result = {"search": search, "teacher": {"macs": macs(spec["widths"]), **row}, "rows": rows}
    if progress:
        tqdm.write(table({"spec": spec, **result}))
    return result


def _moved(part: Part, spec: Mapping[str, Any]) -> Part:
    xp = array_module(spec["device"])
    return xp.asarray(part[0]), xp.asarray(part[1])


def fresh(spec: Mapping[str, Any], widths: Sequence[int]) -> Sequential:
    """Return a new net of these widths, in float32."""
    net = setup.three_convolutions(widths, np.random.default_rng(spec["seed"]), np.float32)
    return net.to(array_module(spec["device"]))


def transformable(spec: Mapping[str, Any]) -> Module:
    """Return a new net in which eight widths take the place of each batch norm."""
    layers = []
    for place, layer in enumerate(fresh(spec, spec["widths"]).layers):
        if isinstance(layer, nn.BatchNorm):
            norms = [nn.BatchNorm(c, dtype=np.float32) for c in shares(layer.channels)]
            layer = WidthMix(*norms, rng=np.random.default_rng([spec["seed"], 1, place]))
        layers.append(layer)
    return Sequential(*layers).to(array_module(spec["device"]))


def searched(spec: Mapping[str, Any], part: Part, progress: bool = False) -> tuple[Found, list[list[int]]]:
    """Return what the search found, and all combinations of widths that it could have found."""
    net, recipe, (x, t) = transformable(spec), spec["search"], part
    logits = [mix.logits for mix in mixes(net).values()]
    weights = [u for u in net.parameters() if u not in logits]
    search = Search(
        net,
        nn.SoftmaxCrossEntropy(),
        sgd(weights, spec),
        nn.Adam(logits, recipe["logits"]),
        Band(recipe["target"], recipe["tolerance"]),
        SHAPE,
        recipe["strength"],
        tuple(recipe["temperatures"]),
    )
    order = np.random.default_rng([spec["seed"], 2]).permutation(t.shape[0])
    halves = [(nn.training.take(x, half), nn.training.take(t, half)) for half in np.array_split(order, 2)]
    schedule, rng = nn.cosine_decay(spec["learning_rate"], recipe["epochs"]), np.random.default_rng([spec["seed"], 3])
    part, held_out = halves
    found = search.run(part, held_out, recipe["epochs"], spec["batch_size"], rng, schedule, progress)
    return found, [list(each.values()) for each in search.cost.architectures()]


def sgd(weights: Sequence[nn.Parameter], spec: Mapping[str, Any]) -> nn.SGD:
    """Return the optimizer of the weights of all nets."""
    return nn.SGD(weights, spec["learning_rate"], spec["momentum"], nesterov=True, weight_decay=spec["weight_decay"])


def macs(widths: Sequence[int]) -> int:
    """Return the MACs of a plain net of these widths."""
    return count(setup.three_convolutions(widths, None), SHAPE).macs


def uniform(widths: Sequence[int], goal: int) -> list[int]:
    """Return the widths of one share, of a count from 1 to the largest width, that are nearest to this many MACs."""
    most = max(widths)
    all_ = [[max(1, c * part // most) for c in widths] for part in range(1, most + 1)]
    return min(all_, key=lambda each: abs(macs(each) - goal))


def at_random(
    candidates: Sequence[list[int]], own: list[int], goal: int, nearest: int, rng: np.random.Generator
) -> list[int]:
    """Return one of the `nearest` candidates in MACs, the searched widths themselves left out."""
    others = sorted((each for each in candidates if each != own), key=lambda each: abs(macs(each) - goal))
    return others[int(rng.integers(min(nearest, len(others))))]


def trained(net: Module, spec: Mapping[str, Any], part: Part, test: Part, teacher: Module | None) -> dict[str, Any]:
    """Train a new net in place, with a teacher's logits beside the labels or without, and return how it tests."""
    x, t = part
    targets: Any = t
    loss: Any = nn.SoftmaxCrossEntropy()
    if teacher is not None:
        loss = nn.Distillation(**spec["distillation"])
        with nn.batches.evaluating(teacher):
            targets = (t, teacher.forward(x))
    nn.training.train(
        net,
        loss,
        sgd(net.parameters(), spec),
        x,
        targets,
        epochs=spec["epochs"],
        batch_size=spec["batch_size"],
        rng=np.random.default_rng([spec["seed"], 4]),
        schedule=nn.cosine_decay(spec["learning_rate"], spec["epochs"]),
        progress=False,
    )
    return {"test_loss": nn.batches.evaluate(net, nn.SoftmaxCrossEntropy(), *test)[0], **setup.tested(net, test)}


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw the course of the searches, and the test losses of all nets."""
    return [
        figures.course(records, folder / "transformable-course.png"),
        figures.nets(records, folder / "transformable-nets.png"),
    ]


def table(record: Mapping[str, Any]) -> str:
    """Return the record as a readable table, one line a net."""
    search, teacher = record["search"], record["teacher"]
    last = [row["chosen"] for row in search["history"]][-1]
    lines = [
        f"search: MACs {search['macs'] / search['most']:.3f} of the most; at the end {last:.3f}",
        f"{'widths':>12}  {'MACs':>8}  {'':9}{'accuracy':>9}{'loss':>8}{'distilled':>11}{'loss':>8}",
        f"{'-'.join(map(str, record['spec']['widths'])):>12}  {teacher['macs']:8,}  {'teacher':9}"
        f"{teacher['test_accuracy']:9.2%}{teacher['test_loss']:8.4f}",
    ]
    for row in record["rows"]:
        widths = "-".join(map(str, row["widths"]))
        numbers = "".join(
            f"{row[name]['test_accuracy']:{width}.2%}{row[name]['test_loss']:8.4f}"
            for name, width in (("plain", 9), ("distilled", 11))
        )
        lines.append(f"{widths:>12}  {row['macs']:8,}  {row['kind']:9}{numbers}")
    return "\n".join(lines)


def compared(record: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the nets, trained alone and with a teacher; uniform and random widths are the controls."""
    for how in ("plain", "distilled"):
        for row in record["rows"]:
            controls = ("uniform", "random") if row["kind"] == "search" else ()
            yield Arm(row["kind"], {**percent(row[how]), "MACs": row["macs"]}, controls, how)
