"""The figure of the experiment `sparse_speed`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pruning.experiments.figures.style import BLUE, save


def speedups(record: Mapping[str, Any], path: Path) -> Path:
    """Draw measured speed-ups against sparsity: zeros at random as CSR, whole rows and columns, the pair of conv2_1."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(12, 4), width_ratios=(4, 4, 5), constrained_layout=True)
    ticks = [1 - s for s in record["spec"]["sparsities"]]
    for axis, way, title in zip(axes, ("csr", "compact"), ("zeros at random, CSR", "rows and columns removed")):
        for layer, marker in zip(record["layers"], "osD^vPX"):
            speedups = [row[way]["speedup"][0] for row in layer["rows"]]
            axis.plot(ticks, speedups, marker=marker, markersize=4, linewidth=1, label=layer["name"])
        axis.plot(ticks, [1 / t for t in ticks], "k--", linewidth=1, label="theory")
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set(xscale="log", yscale="log", xlabel="sparsity", title=title, ylim=(0.1, 200))
        axis.invert_xaxis()
        axis.set_xticks(ticks, [f"{1 - t:.0%}" for t in ticks])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("speed-up over the dense product")
    axes[1].legend(fontsize=8, loc="lower right")
    pair = record["pair"][:0:-1]
    names = [row["name"] for row in pair]
    axes[2].barh(names, [row["theory"] for row in pair], 0.8, color="#cccccc", label="theory")
    axes[2].barh(names, [row["speedup"][0] for row in pair], 0.4, color=BLUE, label="measured")
    axes[2].axvline(1, color="black", linewidth=0.8)
    axes[2].set(xlabel="speed-up", title="conv2_1 of the slide")
    axes[2].legend(fontsize=8)
    figure.suptitle(f"AlexNet's products in float32, {record['spec']['machine']}")
    return save(figure, path)
