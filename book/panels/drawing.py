"""What the pictures share: matrices, tiles and bars, in which gray is gone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from panels.nets import LAYER, accuracy, array, convolutions, digits, left, perceptron

from pruning import filters, surgery
from pruning.channels.maps import maps

BLUE, RED, GRAY, GONE = "#0072b2", "#d55e00", "#dcdcdc", "#aaaaaa"
"""Of what stays, of what is special, of what went from a matrix, and of bars that go."""
Drawn = tuple[Any, dict[str, Any]]
"""A figure, and the numbers that its words name."""


def canvas(columns: int, width: float = 7.2, height: float = 2.9, **kwargs: Any) -> tuple[Any, Any]:
    """Return a figure and its axes."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, columns, figsize=(width, height), layout="constrained", squeeze=False, **kwargs)
    return figure, axes[0]


def show(axis: Any, values: np.ndarray, title: str, size: float | None = None, color: str = "RdBu_r") -> Any:
    """Draw a matrix; what is not a number is gone, and gray."""
    import matplotlib

    colors = matplotlib.colormaps[color].with_extremes(bad=GRAY)
    size = size or float(np.nanmax(np.abs(values)))
    low = 0 if color != "RdBu_r" else -size
    image = axis.imshow(np.ma.masked_invalid(values), cmap=colors, vmin=low, vmax=size, interpolation="nearest")
    axis.set(title=title, xticks=[], yticks=[])
    return image


def without(W: np.ndarray, gone: np.ndarray | None = None) -> np.ndarray:
    """Return the matrix with what is gone as no number; None: its zeros."""
    return np.where(W == 0 if gone is None else gone, np.nan, W)


def tiles(rows: np.ndarray, columns: int, side: int = 8) -> np.ndarray:
    """Return the rows as images beside and below one another, with gaps that are gone."""
    lines = -(-len(rows) // columns)
    out = np.full((lines * (side + 1) + 1, columns * (side + 1) + 1), np.nan)
    for k, row in enumerate(rows):
        i, j = 1 + (side + 1) * (k // columns), 1 + (side + 1) * (k % columns)
        out[i : i + side, j : j + side] = row.reshape(side, side)
    return out


def before_and_after(net: Any, after: Any) -> Drawn:
    """Draw the first layer of two perceptrons, one tile a unit; zeros are gone."""
    figure, axes = canvas(2)
    size, numbers = float(np.abs(array(net)).max()), {}
    for axis, each, word in zip(axes, (net, after), ("before", "after")):
        numbers |= {word: accuracy(each), f"{word}_weights": left(each)}
        title = f"{word}: {left(each):,} weights, {accuracy(each):.1f} %"
        show(axis, tiles(without(array(each)), 6), title, size)
    return figure, {**numbers, "gone": 1 - left(after) / left(net)}


def bars(axis: Any, values: np.ndarray, keep: Sequence[int], title: str, label: str, of: str = "filter") -> None:
    """Draw one bar for each filter, pale where it goes."""
    colors = [BLUE if k in set(keep) else GONE for k in range(len(values))]
    axis.bar(range(len(values)), values, color=colors)
    axis.set(title=title, xlabel=of, ylabel=label)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.spines[["top", "right"]].set_visible(False)


def curves(axis: Any) -> None:
    """Leave the frame of curves open, and name them."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize="small")


def pictures_of(net: Any, name: str = LAYER, image: int = 5) -> np.ndarray:
    """Return the maps of a layer for one digit, (C, H, W)."""
    return np.asarray(next(maps(net, digits().test[0][..., image : image + 1], [name]))[name][..., 0])


def filters_gone(scores: np.ndarray, what: str, label: str, share: float = 0.5) -> Drawn:
    """Draw the scores of the filters of a layer, and their maps of one digit: those that go are gray."""
    scores, net = np.asarray(scores), convolutions()
    keep = np.sort(np.argsort(-scores, kind="stable")[: filters.kept(len(scores), share)])
    images = pictures_of(net)
    shown = np.where(np.isin(np.arange(len(images)), keep)[:, None, None], images, np.nan)
    before, after = accuracy(net), accuracy(surgery.remove(net, {LAYER: keep.tolist()}))
    figure, axes = canvas(3, 9, gridspec_kw={"width_ratios": [1.3, 1, 1]})
    bars(axes[0], scores, list(keep), what, label)
    for axis, values, title in zip(axes[1:], (images, shown), (f"before: {before:.1f} %", f"after: {after:.1f} %")):
        show(axis, tiles(values.reshape(len(values), -1), 4, images.shape[-1]), title, float(images.max()), "Blues")
    return figure, {"before": before, "after": after, "gone": len(scores) - len(keep), "all": len(scores)}


def pixels(net: Any) -> Drawn:
    """Draw what is left of each pixel of the input, before and after."""
    figure, axes = canvas(2)
    numbers = {}
    for axis, each, word in zip(axes, (perceptron(), net), ("before", "after")):
        norms = np.linalg.norm(array(each), axis=0)
        numbers |= {word: accuracy(each), f"{word}_pixels": np.count_nonzero(norms)}
        title = f"{word}: {np.count_nonzero(norms)} pixels, {accuracy(each):.1f} %"
        figure.colorbar(show(axis, without(norms).reshape(8, 8), title, color="Blues"), ax=axis, label="norm")
    return figure, numbers
