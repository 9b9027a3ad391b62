"""The figures of the experiment `self_adaptive`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures.style import BLACK, BLUE, GRAY, GREEN, ORANGE, PINK, VERMILION, save, seed_list

ARMS = (
    ("own decisions", "self-adaptive", "test_accuracy", VERMILION),
    ("those of another image of the class", "self-adaptive", "same class", ORANGE),
    ("those of an image of another class", "self-adaptive", "other", PINK),
    ("decisions without batch norm", "without norm", "test_accuracy", BLUE),
    ("small plain net of equal cost", "small", "test_accuracy", GREEN),
    ("plain net of all channels", "dense", "test_accuracy", GRAY),
)
"""(label, net, number, colour) of each line of the figure, from the top."""


def accuracies(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the accuracy of every net and of borrowed decisions, one point a seed and a bar at their mean."""
    import matplotlib.pyplot as plt
    import numpy as np

    figure, axis = plt.subplots(figsize=(6.5, 2.9), constrained_layout=True)
    for y, (_, method, name, color) in enumerate(ARMS):
        x = [100 * _row(record, method)[name] for record in records]
        axis.plot(x, np.full(len(x), y), "o", color=color, markersize=5, alpha=0.7)
        axis.plot([np.mean(x)], [y], "|", color=BLACK, markersize=16)
    axis.set_yticks(range(len(ARMS)), [label for label, *_ in ARMS])
    axis.invert_yaxis()
    axis.set_xlabel("test accuracy, %")
    axis.grid(axis="x", alpha=0.3)
    spec = records[0]["spec"]
    figure.suptitle(f"{spec['model']} on {spec['data']}, budget {spec['budget']}, {seed_list(records)}", fontsize=10)
    return save(figure, path)


def classes(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the mean cost of the images of each class, a line a seed, beside the budget."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6.5, 3.2), constrained_layout=True)
    for record, marker in zip(records, "osD^vP*X<>"):
        seed = record["spec"]["seed"]
        axis.plot(_row(record, "self-adaptive")["by_class"], marker, color=VERMILION, markersize=5, alpha=0.7)
        axis.plot([], [], marker, color=VERMILION, markersize=5, label=f"seed {seed}")
    budget = records[0]["spec"]["budget"]
    axis.axhline(budget, color=BLACK, linewidth=0.8, label="budget")
    axis.set_xticks(range(10))
    axis.set_xlabel("digit")
    axis.set_ylabel("mean cost of its images")
    axis.grid(axis="y", alpha=0.3)
    figure.legend(fontsize=8, loc="outside right center")
    spec = records[0]["spec"]
    figure.suptitle(f"{spec['model']} on {spec['data']}, {seed_list(records)}", fontsize=10)
    return save(figure, path)


def _row(record: Mapping[str, Any], method: str) -> Any:
    return next(row for row in record["rows"] if row["method"] == method)
