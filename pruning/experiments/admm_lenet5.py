"""ADMM on LeNet-5 from the labels alone, beside controls that cost as many epochs: does it beat them?

Structured: filters and columns of the convolutions against one projection of the same dense net.  Single weights: ADMM
with one budget for the whole net against gradual deletion and deletion at once, by magnitude and by squared weight
times Fisher information.  No teacher, no augmentation: what can be set beside published rates.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments import lenet_record
from pruning.experiments.figures import record as figures_record
from pruning.experiments.lenet_record import run_cell

__all__ = ["draw", "run_cell", "specs"]


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return the cells of the rows without a teacher, and of their controls, all seeds of a row together.

    Raises
    ------
    ValueError
        As `pruning.experiments.lenet_record.specs`.
    """
    return lenet_record.cells(lenet_record.PLAIN, False, "admm", data, seeds, device, model, validation)


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw accuracy against rate, and the residuals of ADMM."""
    return [
        figures_record.accuracy_against_rate(records, folder / "admm.png"),
        figures_record.residuals(records, folder / "admm-residuals.png"),
    ]
