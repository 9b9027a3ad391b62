"""The figures of the experiment `slimming`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures.style import BLACK, BLUE, GRAY, GREEN, ORANGE, VERMILION, save, seed_list


def widths(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the sorted scales of all nets, and the share of each layer that stays, one point a seed."""
    import matplotlib.pyplot as plt
    import numpy as np

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), constrained_layout=True)
    colors = dict(zip(records[0]["penalised"], (BLUE, ORANGE)))
    for record in records:
        for steps, found in record["penalised"].items():
            sizes = np.sort(np.abs(np.concatenate(list(found["scales"].values()))))[::-1]
            label = f"{steps}, strength {record['spec']['strength']}"
            left.plot(np.arange(1, sizes.size + 1) / sizes.size, sizes, color=colors[steps], linewidth=1, label=label)
    left.set(xlabel="share of the scales, largest first", ylabel="|scale|")
    names = list(records[0]["penalised"]["proximal"]["scales"])
    for target, marker in zip(records[0]["spec"]["macs"], "os"):
        for number, record in enumerate(records):
            row = next(row for row in record["rows"] if row["target"] == target)
            found = record["penalised"]["proximal"]["scales"]
            kept = [100 * len(row["keep"][name]) / len(found[name]) for name in names]
            color = BLACK if target == records[0]["spec"]["macs"][0] else VERMILION
            places = np.arange(len(names)) + 0.08 * (number - len(records) / 2)
            label = f"{target:.0%} of the MACs of the convolutions"
            right.plot(places, kept, marker, color=color, markersize=4, label=label)
    right.set_xticks(range(len(names)), [name.removesuffix(".gamma") for name in names])
    right.set(xlabel="batch norm", ylabel="channels that stay, %", ylim=(0, 104))
    for axis in (left, right):
        axis.grid(alpha=0.3)
        handles = dict(zip(*reversed(axis.get_legend_handles_labels())))
        axis.legend(handles.values(), handles.keys(), fontsize=8)
    figure.suptitle(_title(records), fontsize=10)
    return save(figure, path)


def nets(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the accuracy of every small net after the cut and after the retraining, one point a seed."""
    import matplotlib.pyplot as plt

    shares = records[0]["spec"]["macs"]
    figure, axes = plt.subplots(1, len(shares), figsize=(9.5, 3.6), sharey=True, constrained_layout=True, squeeze=False)
    names = list(dict.fromkeys(row["method"] for row in records[0]["rows"]))
    looks = (("cut", GRAY, "as they are"), ("retrained", VERMILION, "retrained"))
    for axis, share in zip(axes.flat, shares):
        for place, (stage, color, label) in enumerate(looks):
            for record in records:
                rows = {row["method"]: row for row in record["rows"] if row["target"] == share}
                found = [(rows[name][stage], names.index(name)) for name in names if rows[name].get(stage)]
                points = [(100 * n["test_accuracy"], row) for n, row in found if "test_accuracy" in n]
                heights = [row + 0.2 * (place - 0.5) for _, row in points]
                axis.plot([accuracy for accuracy, _ in points], heights, "o", color=color, markersize=4, label=label)
        for record in records:
            axis.axvline(100 * record["dense"]["test_accuracy"], color=GREEN, linewidth=0.8, label="dense")
        axis.set_title(f"at most {share:.0%} of the MACs of the convolutions", fontsize=10)
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
    return f"network slimming, {dense['model']} on {dense['data']}, {seed_list(records)}"
