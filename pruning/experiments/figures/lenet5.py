"""The figures of the experiments `lenet_record` and `admm_lenet5`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures.style import BLUE, GRAY, GREEN, ORANGE, PINK, VERMILION, legend_without_doubles, save

COLORS = {
    "admm": BLUE,
    "groups": BLUE,
    "at once": GRAY,
    "gradual fisher": VERMILION,
    "gradual magnitude": ORANGE,
    "fisher at once": GREEN,
    "magnitude at once": PINK,
}


def accuracy_against_rate(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the error against the rate of the convolutions (left) and of the whole net (right), a mark a seed."""
    import matplotlib.pyplot as plt

    what = "held_out" if records[0]["spec"]["validation"] else "test"
    figure, axes = plt.subplots(1, 2, figsize=(9, 4), constrained_layout=True, sharey=True)
    for axis, part, rate in zip(axes, ("conv", "whole"), ("conv_rate", "whole_rate")):
        for method, color in COLORS.items():
            found = [r for r in records if r["small"] and r["spec"]["method"] == method]
            found = [r for r in found if r["spec"]["row"].startswith(part)]
            if found:
                rates = [r["small"][rate] for r in found]
                errors = [100 - 100 * r["small"][f"{what}_accuracy"] for r in found]
                marker = "s" if found[0]["spec"]["structured"] else "o"
                axis.plot(rates, errors, marker, color=color, label=method, alpha=0.7, markersize=5)
        axis.set(
            xscale="log", xlabel=f"weights of the {'convolutions' if part == 'conv' else 'whole net'} before / after"
        )
        axis.legend()
    axes[0].set_ylabel(f"{what.replace('_', '-')} error, %")
    return save(figure, path)


def residuals(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw ||W - Y|| / ||W|| at every update of ADMM, the stages of a row one after the other, a line a seed."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 4), constrained_layout=True)
    rows = [row for row in dict.fromkeys(r["spec"]["row"] for r in records)]
    for color, row in zip(COLORS.values(), rows):
        for record in records:
            stages = [stage["history"] for stage in record["stages"] if stage.get("history")]
            if record["spec"]["row"] == row and stages:
                axis.plot([each["relative"] for stage in stages for each in stage], color=color, label=row, alpha=0.7)
    legend_without_doubles(axis)
    axis.set(xlabel="updates", ylabel="||W - Y|| / ||W||", ylim=(0, None))
    return save(figure, path)
