"""ADMM on LeNet-5 from the labels alone, beside controls that cost as many epochs: does it beat them?

Structured: filters and columns of the convolutions against projections of the same dense net, at once and in steps; and
the paper's P-RM, ADMM to more weights and then purification, at the paper's six rates.  Single weights: ADMM with one
budget for the whole net against gradual deletion and deletion at once, by magnitude and by squared weight times Fisher
information.  No teacher, no augmentation: what can be set beside published rates.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures import lenet5 as figures
from pruning.experiments.lenet5.cells import FIELDS, cells, compared, run_cell, small_nets
from pruning.experiments.lenet5.recipes import (
    ADMM,
    DENSE,
    HALF,
    TWELFTH,
    gradual,
    in_steps,
    purified,
    retraining,
    shrink,
)

__all__ = ["FIELDS", "compared", "draw", "run_cell", "small_nets", "specs"]

# What is left in the paper's nets of ADMM before purification: 25,500 / 23.18, / 34.46 and / 45.54.
PAPERS = {1100: ([5, 12], [20, 52]), 740: ([4, 10], [20, 35]), 560: ([4, 10], [20, 26])}
SHRUNK = {keep: shrink(*shapes, 2) for keep, shapes in PAPERS.items()}

# {row: (structured?, the net to start from, {method: stages})}; what is to be left stands in the last stage but one.
PLAIN: dict[str, Any] = {
    "conv 650": (
        True,
        DENSE,
        {
            "admm": [HALF, shrink([5, 10], [15, 40], 3), retraining(12)],
            "admm and purification": purified(SHRUNK[1100], 846, 650),
            "in steps": [in_steps([5, 10], [15, 40], 7), retraining(12)],
        },
    ),
    "conv 110": (
        True,
        DENSE,
        {
            "admm": [HALF, TWELFTH, shrink([2, 5], [10, 10], 3), retraining(10)],
            "admm and purification": purified(SHRUNK[560], 248, 110),
            "in steps": [in_steps([2, 5], [10, 10], 9), retraining(10)],
        },
    ),
    "conv 290": (
        True,
        DENSE,
        {"admm": [HALF, TWELFTH, retraining(13)], "admm and purification": purified(SHRUNK[740], 463, 290)},
    ),
    **{f"conv {keep}": (True, DENSE, {"admm": [HALF, stage, retraining(13)]}) for keep, stage in SHRUNK.items()},
    "dense": (False, DENSE, {"more epochs": [retraining(19)]}),
    "whole 6050": (
        False,
        DENSE,
        {
            "gradual fisher": [gradual(20000, 5), gradual(6050, 4), retraining(10)],
            "gradual magnitude": [gradual(20000, 5, "magnitude"), gradual(6050, 4, "magnitude"), retraining(10)],
            "fisher at once": [{"kind": "sparse at once", "score": "fisher", "keep": 6050}, retraining(18)],
            "magnitude at once": [{"kind": "sparse at once", "score": "magnitude", "keep": 6050}, retraining(19)],
            "admm": [{"kind": "sparse admm", "keep": 6050, "epochs": 9, **ADMM}, retraining(10)],
        },
    ),
}


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return the cells of the rows without a teacher, and of their controls, all seeds of a row together.

    Raises
    ------
    ValueError
        For another data set than MNIST, another model than LeNet-5, another device than the CPU, or a negative seed.
    """
    return cells(PLAIN, False, "admm_lenet5", data, seeds, device, model, validation)


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw accuracy against rate, and the residuals of ADMM."""
    return [
        figures.accuracy_against_rate(records, folder / "admm_lenet5.png"),
        figures.residuals(records, folder / "admm_lenet5-residuals.png"),
    ]
