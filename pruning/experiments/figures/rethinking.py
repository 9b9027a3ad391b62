"""The figure of the experiment `rethinking`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures.style import BLACK, BLUE, GRAY, GREEN, VERMILION, save, seed_list


def arms(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw what each arm has more than fine-tuning at the lowest rate, in points: one dot a seed, and their mean."""
    import matplotlib.pyplot as plt

    targets = records[0]["spec"]["targets"]
    figure, axes = plt.subplots(
        1, len(targets), figsize=(4.2 + 2.9 * (len(targets) - 1), 3.8), constrained_layout=True, squeeze=False
    )
    for axis, target in zip(axes.flat, targets):
        found = [[row for row in record["rows"] if row["target"] == target] for record in records]
        names = [label(row, found[0]) for row in found[0]]
        for place, name in enumerate(names):
            both = [difference(rows[place], rows[0]) for rows in found]
            points = [each for each in both if each is not None]
            axis.plot(points, [place] * len(points), "o", color=color(name), markersize=4, alpha=0.6)
            if points:
                axis.plot(sum(points) / len(points), place, "|", color=BLACK, markersize=12)
        axis.axvline(0, color=GRAY, linewidth=0.8)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.invert_yaxis()
        axis.set_title(f"{target['kind']}, {target['share']:.0%}", fontsize=10)
        axis.set_xlabel("points of test accuracy")
        axis.grid(alpha=0.3)
    dense = records[0]["spec"]["dense"]
    figure.suptitle(
        f"{dense['model']} on {dense['data']}, {seed_list(records)}: more than fine-tuning at the lowest rate",
        fontsize=10,
    )
    return save(figure, path)


def label(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the name of an arm, with its rate where another arm differs by nothing else."""
    alike = [other for other in rows if other["arm"] == row["arm"]]
    return row["arm"] if len(alike) == 1 else f"{row['arm']}, rate {row['learning_rate']:.2g}"


def color(name: str) -> str:
    """Return the colour of a kind of arm."""
    kinds = {"fine-tuned": BLUE, "random": GRAY, "uniform": GREEN}
    return next((found for start, found in kinds.items() if name.startswith(start)), VERMILION)


def difference(row: Mapping[str, Any], other: Mapping[str, Any]) -> float | None:
    """Return the points of test accuracy between two arms, or None if one of them diverged."""
    pair = [each["trained"].get("test_accuracy") for each in (row, other)]
    return None if None in pair else 100 * (pair[0] - pair[1])
