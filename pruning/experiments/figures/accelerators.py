"""The figure of the experiment `accelerators`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures.style import BLUE, GRAY, GREEN, ORANGE, VERMILION, save, seed_list

METHODS = {"weights": (BLUE, "single weights deleted"), "filters": (VERMILION, "filters and units removed")}
PLACES = {
    "dense": (GRAY, "s", "dense machine"),
    "cambricon_x": (GREEN, "o", "Cambricon-X"),
    "cnvlutin": (ORANGE, "^", "Cnvlutin"),
}


def gain(record: Mapping[str, Any], row: Mapping[str, Any], where: str) -> float:
    """Return how many times fewer MACs or cycles a net needs than the dense net on the dense machine of its kind."""
    machine, number = {"macs": ("cambricon_x", "macs"), "dense": ("cambricon_x", "dense")}.get(where, (where, "cycles"))
    whole: float = record["dense"][machine]["macs" if where == "macs" else "dense"]
    return whole / row[machine][number]


def cycles(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw accuracy after retraining over the gain in MACs, and the gains in cycles of both kinds of nets over it."""
    import matplotlib.pyplot as plt
    import numpy as np

    figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), constrained_layout=True)
    for axis, (method, (color, label)) in zip(axes[1:], METHODS.items()):
        pairs = [(record, row) for record in records for row in record["rows"] if row["method"] == method]
        macs = [gain(*pair, "macs") for pair in pairs]
        right = [100 * row["retrained"]["test_accuracy"] for _, row in pairs]
        axes[0].plot(macs, right, "o", color=color, markersize=5, label=label)
        for where, (other, marker, name) in PLACES.items():
            gains = [gain(*pair, where) for pair in pairs]
            axis.plot(macs, gains, marker, color=other, markersize=5, fillstyle="none", label=name)
        ends = np.array([1, 1.1 * max(macs)])
        axis.plot(ends, ends, "k--", linewidth=1, label="as in MACs")
        axis.set(title=label, ylabel="fewer cycles, times", yscale="log")
        axis.legend(fontsize=8)
    dense = [row["retrained"]["test_accuracy"] for r in records for row in r["rows"] if row["method"] == "dense"]
    axes[0].plot([1] * len(dense), [100 * each for each in dense], "o", color=GRAY, markersize=5, label="dense")
    axes[0].set(ylabel="test accuracy, %", title="after retraining")
    axes[0].legend(fontsize=8)
    for axis in axes:
        axis.set(xscale="log", xlabel="fewer MACs, times")
        axis.grid(alpha=0.3)
        _plain(axis.xaxis)
    for axis in axes[1:]:
        _plain(axis.yaxis)
    spec = records[0]["spec"]["dense"]
    figure.suptitle(f"{spec['model']} on {spec['data']}, {seed_list(records)}", fontsize=10)
    return save(figure, path)


def _plain(axis: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(ScalarFormatter())
    axis.set_minor_formatter(NullFormatter())
