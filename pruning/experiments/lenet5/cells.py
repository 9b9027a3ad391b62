"""A row of the record of LeNet-5: from a net through stages to a small one, and what is measured there.

The experiments `lenet_record` and `admm_lenet5` are tables of such rows.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import nn
from nn import checkpoint
from nn.backend import to_numpy
from nn.module import Module
from pruning import masks
from pruning.experiments import setup
from pruning.experiments.comparison import Arm, percent
from pruning.experiments.lenet5 import bank
from pruning.experiments.lenet5.lesson import Lesson
from pruning.experiments.lenet5.recipes import DENSE, at_once
from pruning.experiments.lenet5.stages import STAGES
from pruning.experiments.scratch import matrices

LAYERS = ("0.W", "2.W", "5.W", "7.W")
WEIGHTS = (500, 25000, 400000, 5000)
FIELDS = ("start", "stages", "diverged", "small")


def cells(
    rows: Mapping[str, Any],
    taught: bool,
    name: str,
    data: str,
    seeds: Sequence[int],
    device: str,
    model: str | None,
    validation: bool,
) -> list[dict[str, Any]]:
    """Return one cell for each row, method and seed; structured rows by ADMM get their control."""
    if data != "mnist" or model not in (None, "lenet5") or device != "cpu":
        asked = f"--data {data}{f' --model {model}' * (model is not None)} --device {device}"
        raise ValueError(
            f"{name} is LeNet-5 on MNIST on the CPU: expected --data mnist, no --model and no --device, got {asked}"
        )
    dense_nets = setup.dense_specs(data, seeds, device, "lenet5")
    # One teacher for all seeds; the nets that are pruned differ from the dense one on.
    teacher = bank.spec({**dense_nets[0], "seed": 0}) if taught else None
    found = []
    for row, (structured, start, methods) in rows.items():
        controls = {"at once": at_once(methods["admm"])} if structured and "admm" in methods else {}
        for method, stages in {**methods, **controls}.items():
            each = {"row": row, "method": method, "structured": structured, "start": start, "stages": stages}
            found += [
                {**each, "seed": dense["seed"], "dense": dense, "teacher": teacher, "validation": validation}
                for dense in dense_nets
            ]
    return found


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return what every stage measured, and weights, rates and accuracies of the net after the last epoch.

    "hits" hold which of the test images the small net, the net at the start and the teacher got right, packed as in
    `pruning.experiments.setup.hits`.  "time" holds the seconds of one processor that every stage took.  A loss that is
    no longer finite ends the cell: "diverged" is then a sentence, and there is no "small".

    Each stage leaves its net in `folder`; rows with the same first stages share them, and an interrupted run goes on
    after the last one that is finished.

    Raises
    ------
    ValueError
        If a stage of the specification is not one of `pruning.experiments.lenet5.stages`, or asks for more filters or
        columns than the net starts with.
    """
    _check(spec)
    lesson, test = _lesson(spec, root, progress, folder)
    net = _start(spec, root, progress, folder)
    start: dict[str, Any] = {"weights": _left(net), "held_out_accuracy": lesson.accuracy(net)}
    if not spec["validation"]:
        start |= setup.tested(net, test)
    result: dict[str, Any] = {
        "start": start,
        "teacher": _teacher(spec, test, root, progress, folder),
        "stages": [],
        "diverged": None,
        "time": {"stages": []},
    }
    try:
        for number in tqdm(range(len(spec["stages"])), disable=not progress, unit="stage", desc=spec["row"]):
            net, report = _stage(net, spec, number, lesson, folder)
            result["time"]["stages"].append(report.pop("seconds"))
            result["stages"].append(report)
    except FloatingPointError as error:
        return {**result, "diverged": str(error), "small": None}
    left, small = _left(net), {"held_out_accuracy": lesson.accuracy(net)}
    if not spec["validation"]:
        small |= setup.tested(net, test)
    rates = {"conv_rate": sum(WEIGHTS[:2]) / sum(left[:2]), "whole_rate": sum(WEIGHTS) / sum(left)}
    result["small"] = {"weights": left, "shapes": _shapes(net), **rates, **small}
    if progress:
        tqdm.write(line({"spec": spec, **result}))
    return result


def _check(spec: Mapping[str, Any]) -> None:
    first, second = spec["start"]["filters"]
    most = {"0.W": (first, 25), "2.W": (second, 25 * first)}
    for stage in spec["stages"]:
        if stage["kind"] not in STAGES:
            raise ValueError(f"expected a stage of the kind {', '.join(STAGES)}; got {stage['kind']!r}")
        if stage.get("every", 1) < 1 or min(stage.get("rho", [1])) <= 0:
            raise ValueError(f"expected a positive rho, every so many steps; got {dict(stage)}")
        for name, (rows, columns) in stage.get("shapes", {}).items():
            if name not in most or not (1 <= rows <= most[name][0] and 1 <= columns <= most[name][1]):
                found = ", ".join(f"{each} has {O} filters and {K} columns" for each, (O, K) in most.items())
                raise ValueError(f"expected filters and columns that there are, {found}; got {name}: {rows}, {columns}")


def _lesson(
    spec: Mapping[str, Any], root: str | None, progress: bool, folder: Path | None
) -> tuple[Lesson, tuple[Any, Any]]:
    part, test = setup.parts(spec["dense"], root)
    held_out = setup.parts({**spec["dense"], "validation": True}, root)[1]
    images, size = part[1].shape[-1], spec["dense"]["batch_size"]
    if spec["teacher"] is None:
        return Lesson(lambda rng: part, images, nn.SoftmaxCrossEntropy(), held_out, size), test
    copies = bank.bank(spec["teacher"], root, folder, progress)
    return Lesson(copies.draw, images, nn.Distillation(**spec["teacher"]["distillation"]), held_out, size), test


def _start(spec: Mapping[str, Any], root: str | None, progress: bool, folder: Path | None) -> Module:
    if spec["start"] == DENSE:
        return setup.dense_net(spec["dense"], root, progress, folder)[0]
    sizes = {"filters": tuple(spec["start"]["filters"]), "hidden": spec["start"]["hidden"]}
    rng = np.random.default_rng(spec["seed"])
    return nn.models.lenet5(rng, init=nn.initializers.lecun_normal, dtype=np.float32, **sizes)


def _stage(
    net: Module, spec: Mapping[str, Any], number: int, lesson: Lesson, folder: Path | None
) -> tuple[Module, dict[str, Any]]:
    stage, path = spec["stages"][number], None if folder is None else path_of(spec, number, folder)
    if path is not None and path.exists():
        return checkpoint.load(path), checkpoint.load_progress(path)
    started = time.process_time()
    net, report = STAGES[stage["kind"]](net, stage, lesson, np.random.default_rng([spec["seed"], number]))
    report |= {"weights": _left(net), "seconds": round(time.process_time() - started, 1)}
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.save(path, net, progress=report)
    return net, report


def _teacher(
    spec: Mapping[str, Any], test: tuple[Any, Any], root: str | None, progress: bool, folder: Path | None
) -> dict[str, Any] | None:
    if spec["teacher"] is None or spec["validation"]:
        return None
    return setup.tested(bank.mean_of(spec["teacher"], root, folder, progress), test)


def path_of(spec: Mapping[str, Any], number: int, folder: Path) -> Path:
    """Return where the net of a cell lies after this stage: its name holds all of the specification that led there."""
    so_far = {name: spec[name] for name in ("start", "dense", "teacher", "seed")}
    return folder / f"stage-{setup.digest([so_far, spec['stages'][: number + 1]])}.npz"


def small_net(spec: Mapping[str, Any], folder: Path) -> Module:
    """Return the net that a finished cell ended with."""
    return checkpoint.load(path_of(spec, len(spec["stages"]) - 1, folder))


def _left(net: Module) -> list[int]:
    # Counted in the numbers themselves: what is not zero.
    return [int(np.count_nonzero(to_numpy(W.data))) for W in masks.prunable(net).values()]


def _shapes(net: Module) -> list[list[int]]:
    return [[W.shape[0], math.prod(W.shape[1:])] for W in masks.prunable(net).values()]


def small_nets(record: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield the small net of the row: rows and columns of its matrices, or how many single weights each has left."""
    spec, small = record["spec"], record["small"]
    if small and spec["row"] != "dense":
        net = matrices("lenet5", small["shapes"])
        if not spec["structured"]:
            net["left"] = dict(zip(LAYERS, small["weights"], strict=True))
        yield f"{spec['row']}, {spec['method']}", net, {"test_accuracy": small["test_accuracy"]}


def line(record: Mapping[str, Any]) -> str:
    """Return a record as one line: both rates, structured or not, teacher or not, accuracies, seed and minutes."""
    spec, small = record["spec"], record["small"]
    learnt = "teacher and copies" if spec["teacher"] else "labels alone"
    name = f"{spec['row']}, {spec['method']}, {learnt}, seed {spec['seed']}"
    if record["diverged"]:
        return f"{name}: {record['diverged']}"
    kind, accuracy = "structured" if spec["structured"] else "single weights", small["held_out_accuracy"]
    accuracies = f"held out {accuracy:.2%}" + (
        f", test {small['test_accuracy']:.2%}" if "test_accuracy" in small else ""
    )
    minutes = sum(record["time"]["stages"]) / 60
    start = (
        f"{'the dense' if spec['start'] == DENSE else 'an untrained'} net of {sum(record['start']['weights'])} weights"
    )
    return (
        f"{name} ({kind}): conv {small['conv_rate']:.2f} x, whole net {small['whole_rate']:.2f} x,"
        f" {accuracies}, {minutes:.1f} min from {start}"
    )


def compared(record: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the net of a cell; projecting at once, or deleting by magnitude, is the control."""
    spec, small = record["spec"], record["small"]
    alone = {
        "gradual fisher": "gradual magnitude",
        "gradual magnitude": "magnitude at once",
        "admm": "gradual magnitude",
    }
    both = {"admm": "at once", "in steps": "at once", "groups": "at once", "admm and purification": "admm"}
    control = (both if spec["structured"] else {**alone, "fisher at once": "magnitude at once"}).get(spec["method"])
    rates = {"rate of the convolutions": small["conv_rate"], "of the whole net": small["whole_rate"]} if small else {}
    numbers = {**percent(small), **rates} if small else {}
    group = spec["row"] + ", with a teacher" * bool(spec["teacher"])
    yield Arm(spec["method"], numbers, (control,) if control else (), group)
