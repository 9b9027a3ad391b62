"""What the figures of all experiments share: colours, lines over several seeds, titles, axes, and how they are saved.

matplotlib is imported where something is drawn.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nn.files import replacing

# Okabe and Ito's palette: distinguishable with every common form of colour blindness.
BLUE, VERMILION, GREEN, PINK, ORANGE = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"
GRAY, BLACK = "#999999", "#000000"

METHODS = {
    "obd": {"color": BLUE, "marker": "o", "label": "OBD"},
    "magnitude": {"color": VERMILION, "marker": "s", "label": "magnitude"},
}
"""The look of the two methods that several figures compare."""


def median_line(axis: Any, x: Any, values: Any, color: str, label: str, marker: str = "", **look: Any) -> None:
    """Draw the median of values (seeds, points) as a line, and a band from the lowest to the highest seed."""
    import numpy as np

    axis.plot(x, np.median(values, axis=0), color=color, label=label, marker=marker, markersize=4, **look)
    if len(values) > 1:
        axis.fill_between(x, values.min(axis=0), values.max(axis=0), color=color, alpha=0.15, linewidth=0)


def seed_list(records: Sequence[Any]) -> str:
    """Return the seeds of the records as words for a title."""
    seeds = sorted(record["spec"]["seed"] for record in records)
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def perceptron_title(records: Sequence[Any]) -> str:
    """Return the title of a figure of `setup.perceptron` nets."""
    spec = records[0]["spec"]
    layers = "-".join(map(str, spec["hidden"]))
    return f"{spec['data']}, {spec['activation']} net with {layers} hidden units, {seed_list(records)}"


def logarithmic(axis: Any, marks: tuple[float, ...] = (1, 2, 5)) -> None:
    """Make the y axis logarithmic, with plain numbers at these multiples of the powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=marks))
    axis.yaxis.set_major_formatter(ScalarFormatter())
    axis.yaxis.set_minor_formatter(NullFormatter())


def change_of_E(axis: Any) -> None:
    """Make the y axis one of changes of E: E may fall, so it is linear around zero, and logarithmic outside."""
    axis.set_yscale("symlog", linthresh=1e-3)
    axis.axhline(0, color="black", linewidth=0.6)


def legend_without_doubles(axis: Any, **look: Any) -> None:
    """Give every label one entry of the legend, however many lines have it."""
    entries = dict(zip(*reversed(axis.get_legend_handles_labels())))
    axis.legend(entries.values(), entries.keys(), **look)


def save(figure: Any, path: Path) -> Path:
    """Write the figure to `path`, whole or not at all, close it, and return the path."""
    import matplotlib.pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110)
    plt.close(figure)
    return path
