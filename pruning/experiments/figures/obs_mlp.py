"""The figure of the experiment `obs_mlp`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures.style import (
    BLUE,
    GREEN,
    PINK,
    VERMILION,
    change_of_E,
    median_line,
    perceptron_title,
    save,
)


def true_changes(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the true change of E against the share deleted: magnitude, OBD, OBS, and the variants of these."""
    import matplotlib.pyplot as plt
    import numpy as np

    dashed: dict[str, Any] = {"linestyle": "--", "fillstyle": "none"}
    curves: tuple[tuple[str, bool, bool, dict[str, Any]], ...] = (
        ("magnitude", False, False, {"color": VERMILION, "marker": "s", "label": "magnitude"}),
        ("obd", False, False, {"color": BLUE, "marker": "o", "label": "OBD"}),
        ("obd", True, False, {"color": BLUE, "marker": "o", "label": "OBD, renewed", **dashed}),
        ("obs", False, False, {"color": GREEN, "marker": "^", "label": "OBS"}),
        ("obs", True, False, {"color": GREEN, "marker": "^", "label": "OBS, renewed", **dashed}),
        ("obs", False, True, {"color": PINK, "marker": "v", "label": "OBS, damped"}),
    )
    figure, axis = plt.subplots(figsize=(6.4, 4.2), constrained_layout=True)
    for method, renewed, damped, style in curves:
        keys = {"method": method, "renewed": renewed, "adjusted": method == "obs"}
        runs = [
            [row for row in each["rows"] if keys.items() <= row.items() and (row["damping"] > 0) == damped]
            for each in records
        ]
        values = np.array([[row["true"] for row in run] for run in runs])
        x = [100 * row["sparsity"] for row in runs[0]]
        median_line(axis, x, values, **style)
    change_of_E(axis)
    axis.set_xlabel("weights deleted, %")
    axis.set_ylabel("change of E (linear within 0.001)")
    axis.set_title(f"{perceptron_title(records)}, {records[0]['spec']['loss']}", fontsize=10)
    axis.grid(alpha=0.3)
    axis.legend()
    return save(figure, path)
