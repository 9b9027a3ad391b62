"""The figures of the experiment `parameter_efficiency`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures.style import BLUE, GRAY, GREEN, VERMILION, save, seed_list

FAMILIES = {"uniform": (BLUE, "o"), "pruned": (VERMILION, "s"), "guided": (GREEN, "^")}
UNITS = {"weights": "weights", "macs": "multiply-accumulates (MACs)"}


def curves(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the mean accuracy of each family against what it costs, with its standard error; one panel a price."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(UNITS), figsize=(8.6, 3.5), sharey=True, constrained_layout=True)
    for axis, (price, unit) in zip(axes, UNITS.items()):
        for family, (color, marker) in FAMILIES.items():
            points = [_point(records, family, price, share) for share in records[0]["spec"]["shares"]]
            x, y, error = zip(*points)
            axis.errorbar(x, y, error, color=color, marker=marker, markersize=4, linewidth=1, capsize=2, label=family)
        whole = [100 * record["dense"]["test_accuracy"] for record in records]
        axis.axhline(sum(whole) / len(whole), color=GRAY, linestyle=":", label="dense")
        axis.set(xscale="log", xlabel=unit, title=f"no more {price.replace('macs', 'MACs')} than uniform")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("test accuracy, %")
    axes[-1].legend(loc="lower right")
    figure.suptitle(_title(records), fontsize=10)
    return save(figure, path)


def sparse(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the accuracies of the nets with masks, one dot a seed, seeds joined by lines."""
    import matplotlib.pyplot as plt

    sparsities = records[0]["spec"]["sparsities"]
    figure, axes = plt.subplots(
        1, len(sparsities), figsize=(1.5 + 2.6 * len(sparsities), 3.3), squeeze=False, constrained_layout=True
    )
    for axis, sparsity in zip(axes.flat, sparsities):
        for record in records:
            found = [accuracy(record, family, sparsity=sparsity) for family in FAMILIES]
            axis.plot(range(len(FAMILIES)), found, "o-", color=GRAY, markersize=4, linewidth=0.8)
        axis.set_xticks(range(len(FAMILIES)), list(FAMILIES))
        axis.set(title=f"{sparsity:.0%} of the weights gone", xlim=(-0.3, len(FAMILIES) - 0.7))
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("test accuracy, %")
    figure.suptitle(_title(records), fontsize=10)
    return save(figure, path)


def row(record: Mapping[str, Any], family: str, **wanted: Any) -> Mapping[str, Any]:
    """Return the row of a family; a uniform net has one price for all."""
    if family == "uniform":
        wanted.pop("price", None)
    return next(
        each
        for each in record["rows"]
        if each["family"] == family and all(each.get(name) == value for name, value in wanted.items())
    )


def accuracy(record: Mapping[str, Any], family: str, **wanted: Any) -> float:
    """Return the test accuracy of a row in percent; not a number if its training diverged."""
    return 100 * row(record, family, **wanted)["trained"].get("test_accuracy", float("nan"))


def _point(records: Sequence[Mapping[str, Any]], family: str, price: str, share: float) -> tuple[float, float, float]:
    import numpy as np

    found = [accuracy(record, family, price=price, share=share) for record in records]
    cost = np.mean([row(record, family, price=price, share=share)[price] for record in records])
    error = np.std(found, ddof=1) / np.sqrt(len(found)) if len(found) > 1 else 0.0
    return float(cost), float(np.mean(found)), float(error)


def _title(records: Sequence[Mapping[str, Any]]) -> str:
    dense = records[0]["spec"]["dense"]
    return f"{dense['model']} on {dense['data']}, new weights, {seed_list(records)}"
