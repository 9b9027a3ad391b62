"""The figures of the experiment `transformable`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures.style import BLACK, BLUE, GREEN, ORANGE, VERMILION, save, seed_list

KINDS = (("search", VERMILION), ("uniform", BLUE), ("random", GREEN))


def course(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw by epoch the MACs of the net of the largest logits and the expected ones, beside the band."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    figure, axes = plt.subplots(
        1, len(records), figsize=(1.2 + 2.1 * len(records), 3.2), sharey=True, squeeze=False, constrained_layout=True
    )
    for axis, record in zip(axes.flat, records):
        search, recipe = record["search"], record["spec"]["search"]
        epochs = range(1, len(search["history"]) + 1)
        axis.axhspan(recipe["target"] - recipe["tolerance"], recipe["target"], color=ORANGE, alpha=0.3, label="band")
        for name, color, label in (("chosen", BLACK, "largest logits"), ("expected", BLUE, "expected")):
            values = [row[name] for row in search["history"]]
            axis.plot(epochs, values, "o-", color=color, markersize=2.5, linewidth=1, label=label)
        axis.set(title=f"seed {record['spec']['seed']}", xlabel="epoch")
        axis.axhline(search["macs"] / search["most"], color=VERMILION, linewidth=1, linestyle=":", label="returned")
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("share of the most MACs")
    axes[0, -1].legend(fontsize=7)
    return save(figure, path)


def nets(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the cross-entropy on test images of every net, plain and distilled, one line a seed and kind of widths."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(KINDS), figsize=(8, 3.3), sharey=True, constrained_layout=True)
    for axis, (kind, color) in zip(axes, KINDS):
        for record in records:
            row = next(row for row in record["rows"] if row["kind"] == kind)
            losses = [row[name]["test_loss"] for name in ("plain", "distilled")]
            axis.plot((0, 1), losses, "o-", color=color, markersize=4, linewidth=1)
        axis.set_xticks((0, 1), ("labels", "labels and\nteacher"))
        axis.set(title=f"{kind} widths", xlim=(-0.3, 1.3))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("test cross-entropy")
    figure.suptitle(f"Three convolutions on the digits, {seed_list(records)}", fontsize=10)
    return save(figure, path)
