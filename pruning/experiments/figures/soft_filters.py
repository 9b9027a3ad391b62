"""The figures of the experiment `soft_filters`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures.style import BLUE, GRAY, GREEN, VERMILION, median_line, save, seed_list

COLORS = {"soft": BLUE, "random": VERMILION}
LABELS = {"soft": "smallest norms", "random": "by chance"}


def epochs(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw by epoch the share of zeroed filters that stay zeroed, and the test accuracy of the zeroed net."""
    import matplotlib.pyplot as plt
    import numpy as np

    targets = records[0]["spec"]["macs"]
    size = (1 + 4 * len(targets), 5.5)
    figure, axes = plt.subplots(
        2, len(targets), figsize=size, sharex=True, sharey="row", constrained_layout=True, squeeze=False
    )
    for column, target in zip(axes.T, targets):
        for method in records[0]["spec"]["methods"]:
            histories = [row["history"] for row in map(lambda record: _row(record, target, method), records)]
            x = range(1, len(histories[0]) + 1)
            for axis, name, first in ((column[0], "stays", 1), (column[1], "test_accuracy", 0)):
                values = 100 * np.array([[epoch[name] for epoch in one[first:]] for one in histories], float)
                median_line(axis, x[first:], values, COLORS[method], LABELS[method], "o")
        column[0].set_title(_share(records, target), fontsize=10)
        for axis in column:
            axis.grid(alpha=0.3)
        column[1].set_xlabel("epoch")
    axes[0, 0].set_ylabel("zeroed filters that were\nzeroed an epoch before, %")
    axes[1, 0].set_ylabel("test accuracy\nof the zeroed net, %")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), fontsize=8, loc="outside right center")
    figure.suptitle(_title(records), fontsize=10)
    return save(figure, path)


def nets(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the accuracy of every method's net before and after its filters are removed, one point a seed."""
    import matplotlib.pyplot as plt

    targets = records[0]["spec"]["macs"]
    size = (2 + 4.2 * len(targets), 4)
    figure, axes = plt.subplots(1, len(targets), figsize=size, sharey=True, constrained_layout=True, squeeze=False)
    names = [row["method"] for row in records[0]["rows"] if row["target"] == targets[0]]
    looks = (
        ("naive", GRAY, "removed as they are"),
        ("folded", BLUE, "removed, constants folded"),
        ("retrained", VERMILION, "retrained"),
    )
    for axis, target in zip(axes.flat, targets):
        for place, (stage, color, label) in enumerate(looks):
            for record in records:
                found = [(_row(record, target, name).get(stage), k) for k, name in enumerate(names)]
                points = [(one["test_accuracy"], k) for one, k in found if one and "test_accuracy" in one]
                x, y = [100 * right for right, _ in points], [k + 0.2 * (place - 1) for _, k in points]
                axis.plot(x, y, "o", color=color, markersize=4)
            axis.plot([], [], "o", color=color, label=label)
        for record in records:
            if "test_accuracy" in record["dense"]:
                axis.axvline(100 * record["dense"]["test_accuracy"], color=GREEN, linewidth=0.8, label="dense")
        axis.set_title(_share(records, target), fontsize=10)
        axis.set_xlabel("test accuracy, %")
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.grid(alpha=0.3)
    handles = dict(zip(*reversed(axes.flat[0].get_legend_handles_labels())))
    figure.legend(handles.values(), handles.keys(), fontsize=8, loc="outside right center")
    figure.suptitle(_title(records), fontsize=10)
    return save(figure, path)


def _row(record: Mapping[str, Any], target: float, method: str) -> Any:
    return next(row for row in record["rows"] if (row["target"], row["method"]) == (target, method))


def _share(records: Sequence[Mapping[str, Any]], target: float) -> str:
    record = records[0]
    left = next(row["conv_macs"] for row in record["rows"] if row["target"] == target) / record["dense"]["conv_macs"]
    return f"{left:.0%} of the MACs of the convolutions"


def _title(records: Sequence[Mapping[str, Any]]) -> str:
    dense = records[0]["spec"]["dense"]
    return f"{dense['model']} on {dense['data']}, {seed_list(records)}"
