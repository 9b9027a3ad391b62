"""The figures of the experiment `from_scratch`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures.style import BLUE, GRAY, GREEN, VERMILION, save, seed_list

LOOKS = {
    "dense": (GRAY, "s", "whole net"),
    "gates": (VERMILION, "o", "largest gates"),
    "uniform": (BLUE, "D", "same share of every layer"),
    "random": (GREEN, ".", "random shares"),
}


def widths(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the widths of all small nets, layer by layer, one panel a budget."""
    import matplotlib.pyplot as plt

    spec = records[0]["spec"]
    figure, axes = plt.subplots(
        1, len(spec["budgets"]), figsize=(7.5, 3.4), sharey=True, squeeze=False, constrained_layout=True
    )
    layers = range(len(spec["widths"]))
    for axis, budget in zip(axes[0], spec["budgets"]):
        axis.plot(layers, spec["widths"], "s--", color=GRAY, markersize=5, linewidth=0.8, label="whole net")
        for shift, method in enumerate(("random", "uniform", "gates")):
            color, marker, label = LOOKS[method]
            for k, row in enumerate(_rows(records, method, budget)):
                x = [layer + 0.12 * (shift - 1) for layer in layers]
                axis.plot(x, row["widths"], marker, color=color, markersize=5, alpha=0.6, label=None if k else label)
        axis.set_title(f"budget {budget:.0%}", fontsize=10)
        axis.set_xticks(list(layers), [f"layer {layer + 1}" for layer in layers])
        axis.set_ylim(0)
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("channels")
    _finish(figure, axes[0, -1], records)
    return save(figure, path)


def accuracies(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the accuracy of every net over its multiply-accumulates, one point a net."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 3.6), constrained_layout=True)
    for method, (color, marker, label) in LOOKS.items():
        rows = [record["dense"] for record in records] if method == "dense" else _rows(records, method)
        x, y = [row["macs"] / 1000 for row in rows], [100 * row["test_accuracy"] for row in rows]
        axis.plot(x, y, marker, color=color, markersize=5, alpha=0.8, label=label)
    axis.set_xlabel("multiply-accumulates for one image, in thousands")
    axis.set_ylabel("test accuracy, %")
    axis.set_xlim(0)
    axis.grid(alpha=0.3)
    _finish(figure, axis, records)
    return save(figure, path)


def _finish(figure: Any, axis: Any, records: Sequence[Mapping[str, Any]]) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, loc="outside lower center", ncols=4)
    spec = records[0]["spec"]
    figure.suptitle(f"{spec['model']} on {spec['data']}, {seed_list(records)}", fontsize=10)


def _rows(records: Sequence[Mapping[str, Any]], method: str, budget: float | None = None) -> list[Any]:
    return [
        row
        for record in records
        for row in record["rows"]
        if row["method"] == method and budget in (None, row["budget"])
    ]
