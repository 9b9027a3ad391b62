"""Train one of the models from scratch, with checkpoints: a run that was killed goes on to the bit."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments import setup
from pruning.experiments.comparison import Arm, percent
from pruning.experiments.figures import train as figures

# Chosen on the last 5,000 training images, with --validation.
MNIST = {**setup.MNIST, "milestones": [6, 9], "epochs": 11, "images": 60000}
RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    pair: MNIST if pair[0] == "mnist" else recipe for pair, recipe in setup.DENSE.items()
}
FIELDS = ("history", "test_accuracy")


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return one cell a seed.

    Raises
    ------
    ValueError
        If there is no recipe for this model on this data set, or a seed is negative.
    """
    return setup.dense_specs(data, seeds, device, model, validation, RECIPES)


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"history": one record per epoch, "test_accuracy": after the last epoch, never the best one, "resumed"}.

    A run that was resumed from its checkpoint in `folder` took longer than its record's time says, which is the last
    process's.
    """
    return setup.dense_net(spec, root, progress, folder)[1]


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw loss and accuracy by epoch, all seeds of one model together."""
    spec = records[0]["spec"]
    return [figures.training_curves(records, folder / f"train-{spec['data']}-{spec['model']}.png")]


def compared(record: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the net."""
    yield Arm("dense", {**percent(record), "epochs": record["spec"]["epochs"]})
