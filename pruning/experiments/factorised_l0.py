"""FLOP on characters: two recurrences of factorised matrices pruned to a size, beside a fixed rank of that size.

Two simple recurrent units tell the next character of the help texts of Python.  Their matrices are in two factors with
a gate for each component, and multipliers hold the share that goes to a target that grows (Wang et al. 2019).  Then
the components of the smallest log alpha go, exactly to the budget, and the small net is trained on.

Beside it stand, with the same epochs and learning rates: the matrices in two factors without gates, whole; these cut to
the same number of components by their norms, and trained on; and a fixed rank from scratch, with as many components as
the other small nets have, the same in both layers but for one.  Its last epochs are those in which the others are
trained on.  The weights that count are those of the recurrences; table and outputs are the same in all nets.

The texts change with the version of Python: their SHA-256 is a part of every specification.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import nn
from nn.backend import array_module
from nn.companions import Companion, State
from nn.data import text
from nn.module import Module, Sequential
from pruning import surgery
from pruning.experiments import setup
from pruning.experiments.comparison import Arm
from pruning.experiments.figures import factorised_l0 as figures
from pruning.experiments.setup import Part
from pruning.penalties import factorised_l0 as flop

RECIPE: dict[str, Any] = {
    "n": 96,
    "layers": 2,
    "T": 64,
    "batch_size": 32,
    "learning_rate": 3e-3,
    "gates": 10.0,  # times that rate
    "multipliers": 2e-2,
    "target": 0.8,
    "epochs": 10,
    "ramp": [1, 4],  # the target is 0 for an epoch, and grows in four
    "retraining": 2,
}
PARTS = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}
"""Where in the texts the parts begin and end."""
FIELDS = ("text", "rows", "course")


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return one cell a seed; with `validation` all numbers are those of the part that is held out for choices.

    Raises
    ------
    ValueError
        For a data set or a model, which this experiment does not have, or a negative seed.
    """
    if data != "digits" or model is not None:
        raise ValueError("factorised_l0 trains on the help texts of Python: leave --data and --model out")
    setup.check_seeds(seeds)
    shared = {**RECIPE, "device": device, "validation": validation, "sha256": text.content_sum(text.python_topics())}
    return [{**shared, "seed": seed} for seed in seeds]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"text", "rows": one dict a method, "course": the share and the multipliers after every epoch}.

    Every training of more than the last epochs leaves a checkpoint in `folder`, and goes on from it.
    """
    symbols, part, test = parts(spec)
    dense = recurrent(spec, len(symbols), gated=False)
    dense_row = trained(dense, spec, "dense", part, test, progress, folder)
    pruned = recurrent(spec, len(symbols))
    course = Course(pruned, spec, math.ceil(part[0].shape[-1] / spec["batch_size"]))
    row = trained(pruned, spec, "FLOP", part, test, progress, folder, course)
    keep = flop.kept(pruned, flop.log_alphas(pruned), spec["target"])
    rows = [
        {"method": "dense", **dense_row, **finished(dense, spec, part, test)},
        {"method": "FLOP", **row, "share": flop.expected_share(pruned), **cut(pruned, keep, spec, part, test)},
    ]
    # As many components for all small nets, so that they have one size.
    by_norm = flop.kept(dense, flop.magnitudes(dense), spec["target"])
    rows.append({"method": "magnitude", **dense_row, **cut(dense, by_norm, spec, part, test)})
    fixed = recurrent(spec, len(symbols), ranks(sum(map(len, keep.values())), spec["layers"]), gated=False)
    row = trained(fixed, spec, "fixed rank", part, test, progress, folder)
    rows.append({"method": "fixed rank", **row, **finished(fixed, spec, part, test)})
    found = {"characters": int(part[0].size + test[0].size), "symbols": len(symbols)}
    result = {"text": found, "rows": rows, "course": course.course}
    if progress:
        tqdm.write(table({"spec": spec, **result}))
    return result


def parts(spec: Mapping[str, Any]) -> tuple[str, Part, Part]:
    """Return the symbols, and windows to train and to test on.

    Raises
    ------
    ValueError
        If this Python has other texts than the specification.
    """
    whole = text.python_topics()
    if text.content_sum(whole) != spec["sha256"]:
        raise ValueError("expected the help texts that the specification names, and this version of Python has others")
    symbols, xp = text.alphabet(whole), array_module(spec["device"])
    whole = whole[: spec.get("characters", len(whole))]
    codes = text.numbered(whole, symbols)

    def windows(name: str) -> Part:
        start, stop = (round(end * len(codes)) for end in PARTS[name])
        x, t = text.windows(codes[start:stop], spec["T"])
        return xp.asarray(x), xp.asarray(t)

    return symbols, windows("train"), windows("validation" if spec["validation"] else "test")


def recurrent(
    spec: Mapping[str, Any], symbols: int, ranks: Sequence[int | None] | None = None, gated: bool = True
) -> Module:
    """Return a net that tells the next symbol, in float32, its recurrences with matrices of these ranks."""
    n, rng, dtype = spec["n"], np.random.default_rng(spec["seed"]), np.float32
    layers: list[Module] = [nn.Embedding(symbols, n, rng, dtype=dtype)]
    for r in ranks or [None] * spec["layers"]:
        layers.append(nn.SRU(flop.factorised(n, 3 * n, rng, r, gated, dtype=dtype), n))
    head = nn.Positionwise(nn.Linear(n, symbols, rng, init=nn.initializers.lecun_normal, dtype=dtype))
    return Sequential(*layers, head).to(array_module(spec["device"]))


def ranks(components: int, layers: int) -> list[int]:
    """Return as many components as there are, the same in all layers but for one that is left over."""
    return [components // layers + (layer < components % layers) for layer in range(layers)]


class Course(Companion):
    """The constraint of FLOP, and what it had come to after every epoch."""

    def __init__(self, net: Module, spec: Mapping[str, Any], steps: int):
        self.net, self.steps = net, steps
        rates = {u: spec["gates"] for name, u in net.named_parameters() if name.endswith("log_alpha")}
        self.optimizer = nn.Adam(net.parameters(), spec["learning_rate"], rates=rates)
        start, length = (epochs * steps for epochs in spec["ramp"])
        self.pull = flop.Lagrangian(net, spec["target"], spec["multipliers"], nn.Ramp(self.optimizer, length, start))
        self.course: list[dict[str, float]] = []

    def after_step(self, step: int) -> None:
        """Write down the share that is expected to go, what it is to be, and the multipliers."""
        if step % self.steps == 0:
            share, (l1, l2) = flop.expected_share(self.net), map(float, self.pull.multipliers.data)
            self.course.append({"share": share, "target": share - self.pull.excess(), "l1": l1, "l2": l2})

    def state(self) -> State:
        """Return the course so far."""
        return {"course": list(self.course)}

    def load(self, state: State) -> None:
        """Take up what ``state`` returned."""
        self.course = list(state["course"])


def trained(
    net: Module,
    spec: Mapping[str, Any],
    method: str,
    part: Part,
    test: Part,
    progress: bool = False,
    folder: Path | None = None,
    course: Course | None = None,
) -> dict[str, Any]:
    """Train a new net in place, the learning rate constant, and return {"trained": bits per character, "history"}."""
    path = None if folder is None else folder / f"factorised_l0-{method.replace(' ', '_')}-{setup.digest(spec)}.npz"
    history = nn.training.train(
        net,
        nn.SoftmaxCrossEntropy(),
        nn.Adam(net.parameters(), spec["learning_rate"]) if course is None else course.optimizer,
        *part,
        epochs=spec["epochs"],
        batch_size=spec["batch_size"],
        rng=np.random.default_rng([spec["seed"], 1]),
        companions=[] if course is None else [course.pull, course],
        checkpoint_path=path,
        checkpoint_every=100,
        progress=progress,
    )
    losses = [row["train_loss"] / math.log(2) for row in history]
    return {"trained": bits(net, test), "history": losses}


def finished(net: Module, spec: Mapping[str, Any], part: Part, test: Part) -> dict[str, Any]:
    """Return the size of a net, and its bits per character when it was trained on, the rate falling along a cosine."""
    epochs, rate = spec["retraining"], spec["learning_rate"]
    net = surgery.duplicate(net)
    nn.training.train(
        net,
        nn.SoftmaxCrossEntropy(),
        nn.Adam(net.parameters(), rate),
        *part,
        epochs=epochs,
        batch_size=spec["batch_size"],
        rng=np.random.default_rng([spec["seed"], 2]),
        schedule=nn.cosine_decay(rate, epochs),
        progress=False,
    )
    components = {name: matrix.r for name, matrix in flop.matrices(net).items()}
    return {"weights": flop.weights(net), "components": components, "retrained": bits(net, test)}


def cut(
    net: Module, keep: Mapping[str, Sequence[int]], spec: Mapping[str, Any], part: Part, test: Part
) -> dict[str, Any]:
    """Return what a net is without these components, as it is and trained on."""
    small = flop.cut(net, keep)
    goal = (1 - spec["target"]) * flop.weights(net)
    return {"goal": goal, "keep": dict(keep), "cut": bits(small, test), **finished(small, spec, part, test)}


def bits(net: Module, test: Part) -> float:
    """Return the mean of -log2 p of the right character; its cross-entropy over log 2."""
    return nn.batches.evaluate(net, nn.SoftmaxCrossEntropy(), *test, batch_size=256)[0] / math.log(2)


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw the course of the constraint, and the bits per character of all nets."""
    return [
        figures.course(records, folder / "factorised_l0-course.png"),
        figures.nets(records, folder / "factorised_l0-nets.png"),
    ]


STAGES = ("trained", "cut", "retrained")


def table(record: Mapping[str, Any]) -> str:
    """Return the record as a readable table, one line a net, in bits per character."""
    last = record["course"][-1]
    whole = record["rows"][0]["weights"]
    lines = [
        f"expected share {last['share']:.3f} of {last['target']:.3f}, l1 {last['l1']:.2f}, l2 {last['l2']:.2f}",
        f"{'weights':>8}  {'gone':>6}  {'components':>12}  {'method':12}" + "".join(f"{s:>11}" for s in STAGES),
    ]
    for row in record["rows"]:
        components = "+".join(str(r) for r in row["components"].values())
        numbers = "".join(f"{row[s]:11.3f}" if s in row else " " * 11 for s in STAGES)
        gone = 1 - row["weights"] / whole
        lines.append(f"{row['weights']:8,}  {gone:6.1%}  {components:>12}  {row['method']:12}{numbers}")
    return "\n".join(lines)


def compared(record: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the nets, in bits per character."""
    for row in record["rows"]:
        controls = ("fixed rank", "magnitude") if row["method"] == "FLOP" else ()
        yield Arm(row["method"], {"bits per character": row["retrained"], "weights": row["weights"]}, controls)
