"""The figures of the experiment `adversarial`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures.style import BLACK, BLUE, GRAY, GREEN, ORANGE, PINK, VERMILION, save, seed_list

LOOKS = {
    "standard": (GRAY, "o"),
    "beta-Bernoulli": (BLACK, "o"),
    "robust base": (ORANGE, "v"),
    "adversarial training": (BLUE, "s"),
    "adversarial training, twice": (BLUE, "D"),
    "AT-VS": (BLUE, "^"),
    "AT with masks of clean images": (PINK, "s"),
    "ANP": (VERMILION, "s"),
    "ANP, twice beta": (VERMILION, "D"),
    "ANP-VS": (VERMILION, "^"),
    "ANP's widths from scratch": (GREEN, "P"),
}
WEAK = ("standard", "beta-Bernoulli")
"""What the attack leaves so little of that it is written at the edge."""
CURVES = ("standard", "adversarial training", "ANP", "ANP-VS", "ANP's widths from scratch")

PANELS: dict[str, Callable[[Any], float]] = {
    "clean accuracy, %": lambda row: 100 * row["test_accuracy"],
    "accuracy under attack, %": lambda row: 100 * row["attacked"]["test_accuracy"],
    "units left": lambda row: sum(row["widths"]),
}


def nets(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the accuracies of every method without and with the attack, one point a seed, and the units left."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(10, 4), constrained_layout=True)
    for axis, (title, number) in zip(axes, PANELS.items()):
        for place, (method, (color, marker)) in enumerate(LOOKS.items()):
            values = [number(_row(record, method)) for record in records]
            mean = sum(values) / len(values)
            if "attack" in title and method in WEAK:
                edge = axis.get_yaxis_transform()
                axis.text(0.03, place, f"← {mean:.0f}", color=color, va="center", fontsize=9, transform=edge)
                continue
            axis.plot(values, [place] * len(values), marker, color=color, markersize=5, alpha=0.8)
            axis.plot(mean, place, "|", color="black", markersize=14)
        axis.set(xlabel=title, yticks=range(len(LOOKS)), yticklabels=[], ylim=(len(LOOKS) - 0.5, -0.5))
        axis.grid(alpha=0.3)
    axes[0].set_yticklabels(list(LOOKS), fontsize=8)
    spec = records[0]["spec"]
    figure.suptitle(f"{spec['data']}, attack of radius {spec['test'][0]}, {seed_list(records)}", fontsize=10)
    return save(figure, path)


def radii(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the accuracy under attack over its radius: the mean of the seeds, and from the lowest to the highest."""
    import matplotlib.pyplot as plt
    import numpy as np

    figure, axis = plt.subplots(figsize=(6.5, 3.8), constrained_layout=True)
    radius = [0.0, *records[0]["radii"]]
    for method in CURVES:
        color, marker = LOOKS[method]
        rows = [_row(record, method) for record in records]
        values = 100 * np.array([[row["test_accuracy"], *row["curve"]] for row in rows])
        axis.plot(radius, values.mean(axis=0), color=color, marker=marker, markersize=4, label=method)
        axis.fill_between(radius, values.min(axis=0), values.max(axis=0), color=color, alpha=0.15, linewidth=0)
    axis.set(xlabel="radius of the attack", ylabel="accuracy, %", ylim=(0, 100))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    axis.set_title(f"{records[0]['spec']['data']}, {seed_list(records)}", fontsize=10)
    return save(figure, path)


def _row(record: Mapping[str, Any], method: str) -> Any:
    return next(row for row in record["rows"] if row["method"] == method)
