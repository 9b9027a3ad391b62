"""The figure of the experiment `variational_dropout`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures.style import BLUE, GREEN, ORANGE, VERMILION, legend_without_doubles, save, seed_list

LOOKS = {
    "variational, fitted": (BLUE, "o"),
    "variational, exact": (ORANGE, "s"),
    "gradual magnitude": (VERMILION, "^"),
    "small dense": (GREEN, "D"),
}


def nets(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the accuracy against the weights that are left, and the share that is left of each layer."""
    import matplotlib.pyplot as plt
    import numpy as np
    from matplotlib.ticker import LogLocator, PercentFormatter

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), constrained_layout=True)
    spec, methods = records[0]["spec"], [row["method"] for row in records[0]["rows"]]
    sparse = [name for name in methods if name != "small dense"]
    for record in records:
        for row in record["rows"]:
            color, marker = LOOKS[row["method"]]
            point = row["weights"] / record["total"], 100 * row["test_accuracy"]
            left.plot(*point, marker, color=color, markersize=5, linestyle="", label=row["method"])
    left.set(xscale="log", xlabel="weights left", ylabel="test accuracy, %")
    left.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    left.xaxis.set_minor_formatter(PercentFormatter(1, decimals=1))
    left.tick_params(axis="x", which="both", labelsize=8, rotation=30)
    names = list(records[0]["rows"][0]["layers"])
    whole = {name: records[0]["rows"][0]["sizes"][name] for name in names}
    for place, method in enumerate(sparse):
        color, marker = LOOKS[method]
        for record in records:
            row = next(row for row in record["rows"] if row["method"] == method)
            shares = [row["layers"][name] / whole[name] for name in names]
            x = np.arange(len(names)) + 0.15 * (place - (len(sparse) - 1) / 2)
            right.plot(x, shares, marker, color=color, markersize=5, linestyle="", label=method)
    right.set_xticks(range(len(names)), names)
    right.set(yscale="log", xlabel="layer", ylabel="weights of the layer left")
    right.yaxis.set_major_formatter(PercentFormatter(1))
    right.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
    right.yaxis.set_minor_formatter(PercentFormatter(1))
    for axis in (left, right):
        axis.grid(alpha=0.3)
    legend_without_doubles(left, fontsize=8)
    figure.suptitle(f"{spec['model']} on {spec['data']}, {seed_list(records)}", fontsize=10)
    return save(figure, path)
