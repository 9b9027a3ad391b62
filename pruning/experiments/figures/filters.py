"""The figures of the experiment `filters`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures.style import (
    BLACK,
    BLUE,
    GRAY,
    GREEN,
    ORANGE,
    PINK,
    VERMILION,
    median_line,
    save,
    seed_list,
)


def sensitivity(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the accuracy against the share of one layer's filters that is removed, without retraining."""
    import matplotlib.pyplot as plt
    import numpy as np

    styles = {"l1": (BLUE, "o"), "l1, not folded": (GREEN, "s"), "random": (GRAY, "^")}
    curves = records[0]["sensitivity"]
    columns = min(3, len(curves["l1"]))
    size = -(-len(curves["l1"]) // columns), columns
    figure, axes = plt.subplots(
        *size, figsize=(3.2 * columns + 1, 2.4 * size[0] + 1), sharex=True, sharey=True, constrained_layout=True
    )
    for axis, layer in zip(axes.flat, curves["l1"]):
        for method in curves:
            values = np.array([record["sensitivity"][method][layer] for record in records])
            shares = [100 * share for share in records[0]["spec"]["shares"]]
            median_line(axis, shares, 100 * values, styles[method][0], method, styles[method][1])
        axis.set_title(layer, fontsize=10)
        axis.grid(alpha=0.3)
    axes.flat[0].legend()
    figure.supxlabel("filters removed in this layer alone, %")
    figure.supylabel("held-out accuracy, %")
    figure.suptitle(f"not retrained: {_title(records)}")
    return save(figure, path)


def retraining(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the test error while the pruned nets are retrained, and that of the dense net beside."""
    import matplotlib.pyplot as plt
    import numpy as np

    colors = BLUE, GREEN, ORANGE, PINK, VERMILION
    figure, axis = plt.subplots(figsize=(6.4, 4.2), constrained_layout=True)
    for number, method in enumerate(records[0]["spec"]["methods"]):
        every = [row for record in records for row in record["rows"] if row["method"] == method]
        rows = [row for row in every if "diverged" not in row]
        if not rows:
            continue
        label = method if len(rows) == len(every) else f"{method}, {len(every) - len(rows)} of {len(every)} diverged"
        errors = 100 - 100 * np.array([row["test_accuracy"] for row in rows])
        color = BLACK if method == "dense" else colors[number]
        median_line(axis, rows[0]["epochs"], errors, color, label, "os^vDP"[number])
    axis.set_yscale("log")
    axis.set_xlabel("epochs after the first cut")
    axis.locator_params(axis="x", integer=True)
    axis.set_ylabel(f"{'held-out' if records[0]['spec']['validation'] else 'test'} error, %")
    axis.set_title(f"{records[0]['spec']['macs']:.0%} of the conv MACs left: {_title(records)}", fontsize=10)
    axis.grid(alpha=0.3)
    axis.legend()
    return save(figure, path)


def _title(records: Sequence[Mapping[str, Any]]) -> str:
    dense = records[0]["spec"]["dense"]
    return f"{dense['model']} on {dense['data']}, {seed_list(records)}"
