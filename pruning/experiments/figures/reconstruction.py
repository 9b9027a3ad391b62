"""The figures of the experiment `reconstruction`."""

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
    logarithmic,
    median_line,
    save,
    seed_list,
)

COLORS = {
    "lasso": BLUE,
    "ThiNet": GREEN,
    "elimination": VERMILION,
    "NISP": PINK,
    "Taylor": ORANGE,
    "L1": BLACK,
    "random": GRAY,
}


def layers(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the refitted error against the channels kept, one panel a layer, medians and ranges over the seeds."""
    import matplotlib.pyplot as plt
    import numpy as np

    found = records[0]["layers"]
    columns = min(3, len(found))
    size = -(-len(found) // columns), columns
    figure, axes = plt.subplots(
        *size, figsize=(3.2 * columns + 1, 2.6 * size[0] + 1), constrained_layout=True, squeeze=False
    )
    for number, (axis, layer) in enumerate(zip(axes.flat, found)):
        for method, color in {**COLORS, "optimum": BLACK}.items():
            if method not in layer["errors"]:
                continue
            errors = [record["layers"][number]["errors"][method]["refit"] for record in records]
            look = {"linestyle": ":"} if method == "optimum" else {}
            median_line(axis, layer["kept"], 100 * np.maximum(errors, 1e-7), color, method, "o", **look)
        axis.set_title(f"in front of {layer['reader']}: {layer['channels']} channels", fontsize=10)
        logarithmic(axis, (1,))
        axis.grid(alpha=0.3)
    for axis in axes.flat[len(found) :]:
        axis.remove()
    figure.legend(*axes.flat[0].get_legend_handles_labels(), fontsize=8, loc="outside right center")
    figure.supxlabel("channels kept")
    figure.supylabel("refitted error, % of the output")
    figure.suptitle(_title(records), fontsize=10)
    return save(figure, path)


def nets(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the accuracy of every method's net as cut, refitted and retrained, one point a seed."""
    import matplotlib.pyplot as plt

    shares = records[0]["spec"]["macs"]
    figure, axes = plt.subplots(1, len(shares), figsize=(9.5, 4), sharey=True, constrained_layout=True, squeeze=False)
    names = [row["method"] for row in records[0]["rows"] if row["target"] == shares[0]]
    looks = (("cut", GRAY, "as they are"), ("refit", BLUE, "refitted"), ("retrained", VERMILION, "retrained"))
    for axis, share in zip(axes.flat, shares):
        for place, (stage, color, label) in enumerate(looks):
            for record in records:
                rows = {row["method"]: row for row in record["rows"] if row["target"] == share}
                found = [(name, rows[name][stage]) for name in names if rows[name].get(stage)]
                points = [(n["test_accuracy"], names.index(name)) for name, n in found if "test_accuracy" in n]
                axis.plot(
                    [100 * accuracy for accuracy, _ in points],
                    [row + 0.2 * (place - 1) for _, row in points],
                    "o",
                    color=color,
                    markersize=4,
                )
            axis.plot([], [], "o", color=color, label=label)
        for record in records:
            axis.axvline(100 * record["dense"]["test_accuracy"], color=GREEN, linewidth=0.8, label="dense")
        left = records[0]["rows"][shares.index(share) * len(names)]["conv_macs"] / records[0]["dense"]["conv_macs"]
        axis.set_title(f"{left:.0%} of the MACs of the convolutions", fontsize=10)
        axis.set_xlabel("test accuracy, %")
        axis.set_yticks(range(len(names)), names)
        axis.grid(alpha=0.3)
    axes.flat[0].invert_yaxis()
    handles = dict(zip(*reversed(axes.flat[0].get_legend_handles_labels())))
    figure.legend(handles.values(), handles.keys(), fontsize=8, loc="outside right center")
    figure.suptitle(_title(records), fontsize=10)
    return save(figure, path)


def _title(records: Sequence[Mapping[str, Any]]) -> str:
    dense = records[0]["spec"]["dense"]
    return f"{dense['model']} on {dense['data']}, {seed_list(records)}"
