"""LeNet-5 on MNIST as small as it gets: structured convolutions, single weights, and whole rows and columns.

Every row goes from a dense net through stages (`pruning.experiments.lenet5.stages`) to a small one; beside it stands
its control, which costs as many epochs.  Every row names what it learnt from: the labels, or a teacher and augmented
copies (`pruning.experiments.lenet5.bank`); the two are never in one row.  The last 5,000 training images are never
trained on.  The test set judges a small net once, after its last epoch, and not with --validation; only the training of
the dense net reports it after every epoch.

Two rates stand beside each other: 25,500 over what is left in the convolutions, and 430,500 over what is left in all
weights.  Biases and indices do not count, as in the papers.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures import lenet5 as figures
from pruning.experiments.lenet5.cells import FIELDS, cells, compared, run_cell, small_nets
from pruning.experiments.lenet5.recipes import (
    DENSE,
    HALF,
    SMALL,
    TWELFTH,
    gradual,
    retraining,
    shrink,
    whole,
    whole_at_once,
)

__all__ = ["FIELDS", "compared", "draw", "run_cell", "small_nets", "specs"]

# {row: (structured?, the net to start from, {method: stages})}; what is to be left stands in the last stage but one.
TAUGHT: dict[str, Any] = {
    "dense": (False, DENSE, {"more epochs": [retraining(19)]}),
    "conv 290": (True, DENSE, {"admm": [HALF, TWELFTH, retraining(10)]}),
    "conv 110": (True, DENSE, {"admm": [HALF, TWELFTH, shrink([2, 5], [10, 10], 3), retraining(10)]}),
    "conv 36": (True, DENSE, {"admm": [HALF, TWELFTH, shrink([1, 4], [8, 4], 3), retraining(20)]}),
    "whole 2150": (
        False,
        DENSE,
        {"gradual fisher": [gradual(20000, 5), gradual(6000, 4), gradual(2150, 4), retraining(15)]},
    ),
    "whole 1537": (
        False,
        DENSE,
        {
            "gradual fisher": [
                gradual(20000, 5),
                gradual(6000, 4),
                gradual(2150, 4),
                gradual(1537, 3),
                retraining(15),
            ]
        },
    ),
    "whole 2750": (True, SMALL, {"groups": whole(2750), "at once": whole_at_once(2750)}),
}


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return the cells of the rows with a teacher, and of their controls, all seeds of a row together.

    Raises
    ------
    ValueError
        For another data set than MNIST, another model than LeNet-5, another device than the CPU, or a negative seed.
    """
    return cells(TAUGHT, True, "lenet_record", data, seeds, device, model, validation)


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw accuracy against both rates, every seed a mark."""
    return [figures.accuracy_against_rate(records, folder / "lenet_record.png")]
