"""The look of the figures, and the one helper that draws runs over several seeds."""

from typing import Any

import numpy as np

# Okabe and Ito's palette: distinguishable with every common form of colour blindness.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def style() -> None:
    """Set matplotlib's defaults: readable fonts, a light grid, a colour-blind safe palette, small PNGs."""
    import matplotlib
    from cycler import cycler

    matplotlib.rcParams.update(
        {
            "figure.figsize": (7.0, 3.6),
            "figure.dpi": 80,
            "savefig.dpi": 80,
            "figure.constrained_layout.use": True,
            "font.size": 11,
            "axes.titlesize": 11,
            "axes.labelsize": 11,
            "legend.fontsize": 9.5,
            "xtick.labelsize": 10,
            "ytick.labelsize": 10,
            "axes.prop_cycle": cycler(color=PALETTE),
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#dddddd",
            "grid.linewidth": 0.7,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "lines.linewidth": 1.8,
            "lines.markersize": 4.5,
            "legend.frameon": False,
        }
    )


def seed_band(
    axis: Any,
    x: Any,
    runs: Any,
    label: str,
    color: str | None = None,
    marker: str = "o",
    linestyle: str = "-",
) -> None:
    """Draw the median over the seeds as a line, and from the smallest to the largest run as a band.

    Parameters
    ----------
    axis : matplotlib axes to draw on.
    x : (points,) abscissae.
    runs : (seeds, points) one row per seed.
    label : entry of the legend.
    color : of the line and the band; None takes the next one of the palette.
    marker, linestyle : of the line.

    Raises
    ------
    ValueError
        If `runs` is not of shape (seeds, points).
    """
    x, runs = np.asarray(x), np.asarray(runs)
    if runs.ndim != 2 or runs.shape[1] != x.size or runs.shape[0] == 0:
        raise ValueError(f"expected runs of shape (seeds, {x.size}), got {runs.shape}")
    (line,) = axis.plot(x, np.median(runs, axis=0), marker=marker, linestyle=linestyle, color=color, label=label)
    axis.fill_between(x, runs.min(axis=0), runs.max(axis=0), color=line.get_color(), alpha=0.2, linewidth=0)


def present(figure: Any, caption: str, alternative: str) -> None:
    """Show a figure with its caption underneath, and with a text for those who cannot see it; close it.

    Parameters
    ----------
    figure : a matplotlib figure, or the path of a PNG file.
    caption : what is drawn, with seeds, spread and floor; Markdown, one to three sentences.
    alternative : what can be seen in it, in words: it stands in the notebook as the picture's ``alt``.
    """
    import base64
    from io import BytesIO
    from pathlib import Path

    import matplotlib.pyplot as plt
    from IPython.display import Markdown, display

    if isinstance(figure, str | Path):
        png = Path(figure).read_bytes()
    else:
        file = BytesIO()
        figure.savefig(file, format="png")
        plt.close(figure)
        png = file.getvalue()
    picture = {"image/png": base64.b64encode(png).decode(), "text/plain": alternative}
    display(picture, raw=True, metadata={"image/png": {"alt": alternative}})
    display(Markdown(f"*{caption}*"))
