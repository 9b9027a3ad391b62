"""Channels that are chosen so that the output of the next layer survives."""

import functools
import math
from typing import Any

import numpy as np
from panels.drawing import BLUE, GRAY, Drawn, canvas, curves, show, tiles, without
from panels.nets import FIRST, LAYER, accuracy, array, convolutions, digits, perceptron, record

import nn
import textbook
from pruning import reconstruction
from pruning.reconstruction import approximation, refitting, roots


def sets_of(method: str) -> Drawn:
    """Draw which channels a method keeps, for every number of them, and the error that is left, beside all others."""
    layer = record("reconstruction")["layers"][0]
    kept, n = layer["kept"], layer["channels"]
    figure, axes = canvas(2, 8.4, 2.9)
    if method in layer["sets"]:
        grid = np.full((n, len(kept)), np.nan)
        for k, chosen in enumerate(layer["sets"][method]):
            grid[chosen, k] = 1.0
        show(axes[0], grid, "channels that stay (blue)", 1.6, "Blues")
        axes[0].set(xlabel="how many stay", ylabel="channel", xticks=range(len(kept)), xticklabels=kept, aspect="auto")
    else:
        sizes = [math.comb(n, k) for k in kept]
        axes[0].bar(kept, sizes, color=BLUE)
        axes[0].set(xlabel="how many stay", ylabel="subsets of that size", xticks=kept)
        axes[0].spines[["top", "right"]].set_visible(False)
    for name, errors in layer["errors"].items():
        if name not in (method, "optimum"):
            axes[1].plot(kept, errors["refit"], color=GRAY, linewidth=1)
    best = layer["errors"]["optimum"]["refit"]
    axes[1].plot(kept, best, color="black", linestyle=":", label="best of all subsets")
    if method != "optimum":
        axes[1].plot(kept, layer["errors"][method]["refit"], color=BLUE, marker="o", label=method)
    axes[1].set(xlabel="how many stay", ylabel="error when refitted", yscale="log")
    curves(axes[1])
    errors = layer["errors"][method]["refit"]
    half = kept.index(n // 2)
    above = errors[half] / best[half] - 1
    return figure, {"half": n // 2, "all": n, "above": above, "sets": 2**n, "error": errors[half]}


@functools.cache
def second_moments() -> Any:
    """Return the moments in front of the second convolution."""
    return reconstruction.moments.collect(convolutions(), LAYER, digits().train[0][..., :500])


def by_moments() -> Drawn:
    """All that a choice of channels needs: G holds the inner products of what channels i and j send to the next layer.
    Blue pairs take back from one another: {blue} of {pairs}.

    Seen: A symmetric matrix, a row for each channel, with a red diagonal and weaker red and blue places beside it.
    """
    G = np.asarray(second_moments().G)
    figure, (axis,) = canvas(1, 4.6, 3.4)
    image = show(axis, G / np.abs(G).max(), "G, divided by its largest number")
    axis.set(xlabel="channel j", ylabel="channel i")
    figure.colorbar(image, ax=axis)
    pairs = G[np.triu_indices(len(G), 1)]
    return figure, {"blue": sum(pairs < 0), "pairs": pairs.size}


def by_lasso_channels() -> Drawn:
    """Which channels the lasso keeps: one factor a channel, and a penalty that grows until enough are zero. First
    layer of a net of the records; gray lines are the other methods. An error is that of the next layer's output
    after a refit. With {half} of {all} channels its error is {above:.1%} above that of the best subset.

    Seen: A grid of channels against how many stay, and falling curves of the error.
    """
    return sets_of("lasso")


def by_thinet() -> Drawn:
    """Which channels ThiNet keeps: one goes at a time, always the one whose loss moves the next layer's output least.
    First layer of a net of the records; gray lines are the other methods. An error is that of the next layer's
    output after a refit. With {half} of {all} channels its error is {above:.1%} above that of the best subset.

    Seen: A grid in which every row, once gray, stays gray to the left, and falling curves of the error.
    """
    return sets_of("ThiNet")


def by_elimination() -> Drawn:
    """Backward elimination: Optimal Brain Surgeon on channels, all others refitted after every deletion. First layer
    of a net of the records; gray lines are the other methods. An error is that of the next layer's output after a
    refit. With {half} of {all} channels its error is {above:.1%} above that of the best subset.

    Seen: A grid of channels against how many stay, and an error curve close to the best of all subsets.
    """
    return sets_of("elimination")


def by_enumeration() -> Drawn:
    """All {sets:,} subsets of {all} channels were tried: the referee of all other methods. First layer of a net of the
    records; gray lines are the other methods. An error is that of the next layer's output after a refit. The best
    {half} channels leave an error of {error:.3f}.

    Seen: Bars of how many subsets have each size, highest in the middle, and the error of the best subset as a dotted
    line below all gray ones.
    """
    return sets_of("optimum")


def by_merging() -> Drawn:
    """Neuron merging without data: what it costs that one unit of the hidden layer speaks for another as well, and the
    cheapest pair: unit {goes} goes, unit {stays} speaks for it. Accuracy: {before:.1f} % before, {after:.1f} % after
    {merges} such merges.

    Seen: A square matrix of costs, one row for each unit that may go, and the weights of the two units that are merged
    first.
    """
    net, merges = perceptron(), 10
    omega = np.column_stack([array(net), array(net, "1.b")])
    s = np.array(reconstruction.neuron_merging.saliency(omega, array(net, "3.W")), dtype=float)
    np.fill_diagonal(s, np.nan)
    i, j, _ = reconstruction.neuron_merging.pairs(omega, array(net, "3.W"), 1)[0]
    merged = reconstruction.neuron_merging.merge(net, FIRST, merges)
    figure, axes = canvas(2, 8.4, 3.0, gridspec_kw={"width_ratios": [1.2, 1]})
    image = show(
        axes[0],
        np.log10(s) - np.nanmin(np.log10(s)),
        "cost, in powers of ten above the cheapest",
        color="Blues",
    )
    figure.colorbar(image, ax=axes[0])
    axes[0].set(xlabel="unit that speaks for both", ylabel="unit that goes")
    pair = tiles(array(net)[[i, j]], 1)
    show(axes[1], pair, f"unit {i} stays (above), {j} goes")
    numbers = {"goes": j, "stays": i, "merges": merges}
    return figure, {**numbers, "before": accuracy(net), "after": accuracy(merged)}


def by_approximation() -> Drawn:
    """One matrix, and three cheaper ones of about half its price: of rank {rank}, on {kept} of {all} channels, with
    {share:.0%} of the weights. Each is fitted to the output of the layer, and the error of that output stands above it.

    Seen: Four matrices: all, one of low rank with no zeros, one with blocks of zero columns, one with scattered zeros.
    """
    moments, share = second_moments(), 0.5
    W, n, A = np.asarray(moments.W), moments.channels, np.asarray(moments.A)
    rank = round(share * W.size / sum(W.shape))
    ways = {
        f"rank {rank}": approximation.of_rank(W, rank, A),
        f"{n // 2} of {n} channels": approximation.on_channels(W, approximation.largest_channels(W, n, n // 2), n, A),
        "half of the weights": approximation.on_weights(W, share, A),
    }
    figure, axes = canvas(4, 10, 2.0)
    size = float(np.abs(W).max())
    show(axes[0], W, f"W, {W.shape[0]} × {W.shape[1]}", size)
    for axis, (name, V) in zip(axes[1:], ways.items()):
        error = 100 * approximation.relative_change(W, V, A)
        show(axis, without(V), f"{name}\nerror of the output {error:.1f} %", size)
    for axis in axes:
        axis.set_aspect("auto")
    return figure, {"rank": rank, "kept": n // 2, "all": n, "share": share}


def by_refitting() -> Drawn:
    """A layer that reads {kept} of {all} channels, chosen by the lasso. As they are, its weights leave {cut:.0%} of the
    output's energy as error; refitted to the dense output, they leave {fitted:.0%}. Accuracy: {before:.1f} %, with the
    channels gone {after:.1f} %, refitted {again:.1f} %.

    Seen: Three matrices: all columns, half of the blocks of columns gray, and the same blocks gray with other weights.
    """
    net, moments = convolutions(), second_moments()
    kept = reconstruction.lasso_channels.choose(moments, moments.channels // 2)
    columns = moments.columns(kept)
    cut = refitting.written(net, LAYER, kept, moments.W[:, columns], moments)
    again = refitting.refitted(net, LAYER, kept, moments)
    figure, axes = canvas(3, 10, 1.9)
    size = float(np.abs(array(again, LAYER)).max())
    for axis, each, title in zip(axes, (net, cut, again), ("before", "channels gone", "refitted")):
        W = array(each, LAYER).reshape(moments.W.shape)
        show(axis, without(W), f"{title}: {accuracy(each):.1f} %", size)
        axis.set_aspect("auto")
    errors = {"cut": moments.selection_error(kept), "fitted": moments.refit_error(kept)}
    numbers = {name: error / moments.energy for name, error in errors.items()}
    sizes = {"kept": len(kept), "all": moments.channels}
    return figure, {**numbers, **sizes, "before": accuracy(net), "after": accuracy(cut), "again": accuracy(again)}


def by_roots() -> Drawn:
    """The regression that chooses channels has a row for every output at every place of every image: {rows:,} rows for
    {images} images. A square root of the moments has {rank}, and the same products: the lasso on it has the same
    factors, whatever the number of images. Two paths of the penalty, drawn over one another, differ by {gap:.0e} at
    most.

    Seen: A small square matrix, and falling curves, one a channel, with points of the other regression on them.
    """
    images = 40
    moments = reconstruction.moments.collect(convolutions(), LAYER, digits().train[0][..., :images])
    X, y = roots.root(moments)
    tall, target = every_row(moments, digits().train[0][..., :images])
    # The moments are sums over the outputs, and means over the rest; a regression takes means over all its rows.
    lams = textbook.lasso_lambda_max(X, y) * np.geomspace(1, 0.01, 12)
    small, whole = (
        textbook.lasso_path(A, b, lams).beta
        for A, b in ((X, y), (each * math.sqrt(len(moments.W)) for each in (tall, target)))
    )
    figure, axes = canvas(2, 8.4, 2.9, gridspec_kw={"width_ratios": [1, 1.6]})
    show(axes[0], X, f"in the place of {len(tall):,} rows: {len(X)}")
    axes[0].set(xlabel="channel", ylabel="row")
    for line, points in zip(small, whole):
        axes[1].plot(lams, line, color=BLUE, linewidth=1)
        axes[1].plot(lams, points, "o", color="black", markersize=2.5)
    axes[1].plot([], color=BLUE, label=f"{len(X)} rows")
    axes[1].plot([], "o", color="black", markersize=2.5, label=f"{len(tall):,} rows")
    axes[1].set(xlabel="penalty", ylabel="factor of each channel", xscale="log")
    curves(axes[1])
    numbers = {"rows": len(tall), "images": images, "rank": len(X)}
    return figure, {**numbers, "gap": float(np.abs(small - whole).max())}


def every_row(moments: Any, x: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return what each channel sends to every output, and their sum, a row for each output, place and image."""
    reader = convolutions().layers[int(LAYER.partition(".")[0])]
    with nn.recording.record(convolutions(), [LAYER.partition(".")[0]]) as seen:
        convolutions().forward(x)
    cols = nn.im2col(seen[LAYER.partition(".")[0]][0][0], 3, padding=reader.geometry.padding).astype(float)
    parts = np.stack([moments.W[:, k] @ cols[k] for k in (moments.columns([c]) for c in range(moments.channels))])
    return parts.reshape(moments.channels, -1).T, parts.sum(axis=0).ravel()


PANELS = {
    "reconstruction.moments": by_moments,
    "reconstruction.lasso_channels": by_lasso_channels,
    "reconstruction.thinet": by_thinet,
    "reconstruction.elimination": by_elimination,
    "reconstruction.enumeration": by_enumeration,
    "reconstruction.neuron_merging": by_merging,
    "reconstruction.approximation": by_approximation,
    "reconstruction.refitting": by_refitting,
    "reconstruction.roots": by_roots,
}
