"""The figures of the experiment `obd_mlp`, and of the demo."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures.style import METHODS, change_of_E, median_line, perceptron_title, save


def loss_curves(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw training and test loss against the weights left, before and after retraining, for both methods.

    With several records (seeds) lines are medians and bands reach from the lowest to the highest seed.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(9, 6.4), sharex=True, sharey=True, constrained_layout=True)
    for row, retrain in enumerate((False, True)):
        for column, part in enumerate(("train", "test")):
            axis = axes[row, column]
            for method, style in METHODS.items():
                _band(axis, records, method, retrain, f"{part}_loss", style)
            axis.set_yscale("log")
            axis.set_title(f"{part}, {'retrained after each step' if retrain else 'pruned at once, no retraining'}")
            axis.grid(alpha=0.3)
            if column == 0:
                axis.set_ylabel(records[0]["spec"]["loss"])
            if row == 1:
                axis.set_xlabel("weights left")
    axes[0, 0].legend()
    axes[0, 0].invert_xaxis()
    figure.suptitle(perceptron_title(records))
    return save(figure, path)


def predicted_against_true(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the change of E that OBD's parabola predicts and the true one, against the weights deleted."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6.4, 4.2), constrained_layout=True)
    for method, style in METHODS.items():
        _band(axis, records, method, False, "true", {**style, "label": f"{style['label']}: true"}, deleted=True)
        dashed = {**style, "label": f"{style['label']}: predicted", "linestyle": "--", "fillstyle": "none"}
        _band(axis, records, method, False, "predicted", dashed, deleted=True)
    change_of_E(axis)
    axis.set_xlabel("weights deleted")
    axis.set_ylabel("change of E (linear within 0.001)")
    axis.set_title(perceptron_title(records), fontsize=10)
    axis.grid(alpha=0.3)
    axis.legend()
    return save(figure, path)


def _band(
    axis: Any,
    records: Sequence[Mapping[str, Any]],
    method: str,
    retrain: bool,
    quantity: str,
    style: Mapping[str, Any],
    deleted: bool = False,
) -> None:
    import numpy as np

    runs = [
        [row for row in record["rows"] if row["method"] == method and row["retrain"] == retrain] for record in records
    ]
    x = [row["weights_left"] for row in runs[0]]
    if deleted:
        total = round(x[0] / (1 - runs[0][0]["sparsity"]))
        x = [total - left for left in x]
    values = np.array([[(row["retrained"] if retrain else row)[quantity] for row in run] for run in runs])
    median_line(axis, x, values, **style)
