"""The figure of the experiment `l0`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures.style import BLUE, GRAY, GREEN, VERMILION, save, seed_list

LOOKS = {
    "dense": (GRAY, "without gates"),
    "hard concrete": (VERMILION, "hard concrete gates"),
    "gradual": (BLUE, "single weights, gradually"),
    "scratch": (GREEN, "small net from scratch"),
}


def nets(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the accuracy of every net over its number of weights, one point a seed."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    figure, axis = plt.subplots(figsize=(6.5, 3.8), constrained_layout=True)
    for method, (color, label) in LOOKS.items():
        rows = [_row(record, method) for record in records]
        x, y = [row["weights"] for row in rows], [100 * row["test_accuracy"] for row in rows]
        axis.plot(x, y, "o", color=color, markersize=5, label=label)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("weights left")
    axis.set_ylabel("test accuracy, %")
    axis.grid(alpha=0.3)
    figure.legend(fontsize=8, loc="outside right center")
    spec = records[0]["spec"]
    figure.suptitle(f"{spec['model']} on {spec['data']}, {seed_list(records)}", fontsize=10)
    return save(figure, path)


def _row(record: Mapping[str, Any], method: str) -> Any:
    if method == "dense":
        return record["dense"]
    if method == "hard concrete":
        return record["l0"]
    return next(row for row in record["rows"] if row["method"] == method)
