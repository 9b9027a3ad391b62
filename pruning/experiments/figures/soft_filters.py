"""The figures of the experiment `soft_filters`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures.style import BLUE, GRAY, GREEN, ORANGE, VERMILION, save, seed_list


def back(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw which share of the filters zeroed after one epoch is zeroed again after the next, one line a seed."""
    import matplotlib.pyplot as plt

    shares = records[0]["spec"]["macs"]
    figure, axes = plt.subplots(1, len(shares), figsize=(9.5, 3.6), sharey=True, constrained_layout=True, squeeze=False)
    colors = dict(zip(records[0]["spec"]["methods"], (BLUE, ORANGE)))
    for axis, target in zip(axes.flat, shares):
        for record in records:
            for row in record["rows"]:
                if row["target"] != target or "zeroed" not in row:
                    continue
                again = [100 * (1 - each["came_back"] / each["zeroed"]) for each in row["zeroed"][1:]]
                axis.plot(range(2, len(again) + 2), again, color=colors[row["method"]], linewidth=1, label=row["method"])
            for milestone in record["spec"]["dense"]["milestones"]:
                axis.axvline(milestone + 0.5, color=GRAY, linewidth=0.8, linestyle=":", label="the rate falls")
        axis.set_title(f"at most {target:.0%} of the MACs of the convolutions", fontsize=10)
        axis.set(xlabel="epoch", ylim=(0, 104))
        axis.grid(alpha=0.3)
    axes.flat[0].set_ylabel("zeroed again, %")
    handles = dict(zip(*reversed(axes.flat[0].get_legend_handles_labels())))
    figure.legend(handles.values(), handles.keys(), fontsize=8, loc="outside right center")
    figure.suptitle(_title(records), fontsize=10)
    return save(figure, path)


def nets(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the accuracy of every net with its filters at zero, folded, as they are, and retrained, one point a seed."""
    import matplotlib.pyplot as plt

    shares = records[0]["spec"]["macs"]
    figure, axes = plt.subplots(1, len(shares), figsize=(9.5, 3.6), sharey=True, constrained_layout=True, squeeze=False)
    names = list(dict.fromkeys(row["method"] for row in records[0]["rows"]))
    looks = (("cut", BLUE, "at zero"), ("naive", GRAY, "removed, not folded"), ("retrained", VERMILION, "retrained"))
    for axis, target in zip(axes.flat, shares):
        for place, (stage, color, label) in enumerate(looks):
            for record in records:
                rows = {row["method"]: row for row in record["rows"] if row["target"] == target}
                found = [(rows[name][stage], names.index(name)) for name in names if rows[name].get(stage)]
                points = [(100 * n["test_accuracy"], row) for n, row in found if "test_accuracy" in n]
                heights = [row + 0.2 * (place - 1) for _, row in points]
                axis.plot([accuracy for accuracy, _ in points], heights, "o", color=color, markersize=4, label=label)
        for record in records:
            axis.axvline(100 * record["dense"]["test_accuracy"], color=GREEN, linewidth=0.8, label="dense")
        axis.set_title(f"at most {target:.0%} of the MACs of the convolutions", fontsize=10)
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
    return f"soft filters, {dense['model']} on {dense['data']}, {seed_list(records)}"
