"""The figure of the experiment `oracle_ranks`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures.style import BLUE, GREEN, VERMILION, save, seed_list


def correlations(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw Spearman's correlation of every criterion with the true change of E, one point a seed."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), sharey=True, constrained_layout=True)
    names = list(records[0]["states"][0]["spearman"])
    for number, axis in enumerate(axes):
        for shift, (column, color) in enumerate((("all", VERMILION), ("all, normalised", BLUE), ("pairs", GREEN))):
            for record in records:
                found = record["states"][number]["spearman"]
                places = [place + 0.2 * (shift - 1) for place in range(len(names))]
                axis.plot([found[name][column] for name in names], places, "o", color=color, markersize=3)
            axis.plot([], [], "o", color=color, label=column)
        axis.axvline(0, color="black", linewidth=0.6)
        axis.set_title(records[0]["states"][number]["state"], fontsize=10)
        axis.set_xlabel("Spearman correlation with the true change of E")
        axis.grid(alpha=0.3)
    axes[0].set_yticks(range(len(names)), names)
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, loc="outside right upper")
    figure.suptitle(f"digits, {seed_list(records)}", fontsize=10)
    return save(figure, path)
