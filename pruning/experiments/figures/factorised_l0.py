"""The figures of the experiment `factorised_l0`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures.style import BLACK, BLUE, GRAY, GREEN, ORANGE, VERMILION, save, seed_list


def course(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the share that is expected to go beside its target, and the multipliers, by epoch, one line a seed."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6), constrained_layout=True)
    for number, record in enumerate(records):
        epochs, first = range(1, len(record["course"]) + 1), number == 0
        for axis, name, color, label in (
            (left, "share", BLUE, "expected share"),
            (left, "target", BLACK, "its target"),
            (right, "l1", VERMILION, "first multiplier"),
            (right, "l2", GREEN, "second multiplier"),
        ):
            values = [row[name] for row in record["course"]]
            axis.plot(epochs, values, "o-", color=color, markersize=3, linewidth=1, label=label if first else None)
    left.set(xlabel="epoch", ylabel="share of the weights that goes", ylim=(0, 1))
    right.set(xlabel="epoch", ylabel="multiplier")
    for axis in (left, right):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.suptitle(f"FLOP, {seed_list(records)}", fontsize=10)
    return save(figure, path)


def nets(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the bits per character of every net, before and after the cut and after the last epochs."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 3.4), constrained_layout=True)
    looks = (("trained", GRAY, "trained"), ("cut", ORANGE, "cut"), ("retrained", VERMILION, "trained on"))
    rows = records[0]["rows"]
    for place, (stage, color, label) in enumerate(looks):
        for number, record in enumerate(records):
            points = [(row[stage], height) for height, row in enumerate(record["rows"]) if stage in row]
            heights = [height + 0.2 * (place - 1) for _, height in points]
            bits = [value for value, _ in points]
            axis.plot(bits, heights, "o", color=color, markersize=4, label=label if number == 0 else None)
    axis.set_yticks(range(len(rows)), [f"{row['method']}\n{row['weights']:,} weights" for row in rows])
    axis.invert_yaxis()
    axis.set(xlabel="bits per character")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.suptitle(f"Two recurrences of factorised matrices, {seed_list(records)}", fontsize=10)
    return save(figure, path)
