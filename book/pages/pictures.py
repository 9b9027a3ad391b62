"""Pruning in pictures: which weights, filters, channels and blocks go, method by method, on nets trained in seconds.

Every function ``by_...`` returns the figure of one method; its docstring is the caption and, behind "Seen:", what
somebody is told who does not see it.  Nets are trained here with fixed seeds, or come from the records.
"""

import copy
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rooms
import sources

import nn
from pruning import filters, masks, pipeline, reconstruction, sparse, surgery
from pruning.architectures import layer_compensation, principal_filters, stage_patterns
from pruning.channels.maps import maps
from pruning.experiments import accelerators, setup
from pruning.penalties import (
    admm,
    adversarial,
    families,
    gradual_thresholds,
    group_lasso,
    hard_concrete,
    ista_scales,
    l0,
    projections,
    slimming,
    variational_dropout,
)
from pruning.pipeline import gradual, rows_and_columns, soft_filters
from pruning.scores import activation, chance, filter_norm, fisher, gates, magnitude, nisp, obd, obs, taylor

SOURCES = ("nn", "textbook", "pruning", "book/rooms.py", "book/sources.py", "notebooks/results")
FOLDER = Path(__file__).resolve().parent.parent / "_generated" / "pictures"
BLUE, RED, GREEN, GRAY = "#0072b2", "#d55e00", "#009e73", "#dcdcdc"
"""Of what stays, of what is special, of a third thing, and of what went."""
FIRST, LAYER = "1.W", "3.W"
"""The weights that are drawn: a row for each unit of the perceptron, a row for each filter of the convolutional net."""
LOSS = nn.SoftmaxCrossEntropy()


# ---- nets ------------------------------------------------------------------------------------------------------------
@functools.cache
def digits() -> Any:
    """Return the digits."""
    return nn.data.load("digits")


def trained(net: Any, optimizer: Any = None, epochs: int = 30, companions: Sequence[Any] = ()) -> Any:
    """Train a net on the digits, and return it."""
    optimizer = optimizer or nn.SGD(net.parameters(), 0.1 if epochs == 30 else 0.05, momentum=0.9, weight_decay=1e-4)
    rng = np.random.default_rng(1)
    nn.training.train(net, LOSS, optimizer, *digits().train, epochs, 64, rng, companions=companions, progress=False)
    return net.eval()


def new_perceptron() -> Any:
    """Return a perceptron 64-30-10, untrained."""
    return nn.models.mlp((64, 30, 10), np.random.default_rng(0))


def new_convolutions() -> Any:
    """Return a net of three convolutions with batch norm, untrained."""
    return setup.three_convolutions((12, 16, 16), np.random.default_rng(0), dtype=np.float64)


@functools.cache
def perceptron() -> Any:
    """Return the perceptron, trained."""
    return trained(new_perceptron())


@functools.cache
def convolutions() -> Any:
    """Return the convolutional net, trained."""
    return trained(new_convolutions(), epochs=8)


def record(name: str) -> dict[str, Any]:
    """Return the first record of an experiment."""
    path = sources.ROOT / "notebooks" / "results" / f"{name}.jsonl"
    return json.loads(path.read_text(encoding="utf-8").partition("\n")[0])


def accuracy(net: Any) -> float:
    """Return the test accuracy in %."""
    return 100 * nn.batches.evaluate(net, LOSS, *digits().test)[1]


def array(net: Any, name: str = FIRST) -> np.ndarray:
    """Return a parameter of a net."""
    return dict(net.named_parameters())[name].data


# ---- drawing ---------------------------------------------------------------------------------------------------------
def canvas(columns: int, width: float = 7.2, height: float = 2.9, **kwargs: Any) -> tuple[Any, Any]:
    """Return a figure and its axes, without ticks."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, columns, figsize=(width, height), constrained_layout=True, squeeze=False, **kwargs)
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


def without(W: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """Return the matrix with what is gone as no number."""
    return np.where(gone, np.nan, W)


def tiles(rows: np.ndarray, columns: int, side: int = 8) -> np.ndarray:
    """Return the rows as images beside and below one another, with gaps that are gone."""
    lines = -(-len(rows) // columns)
    out = np.full((lines * (side + 1) + 1, columns * (side + 1) + 1), np.nan)
    for k, row in enumerate(rows):
        i, j = 1 + (side + 1) * (k // columns), 1 + (side + 1) * (k % columns)
        out[i : i + side, j : j + side] = row.reshape(side, side)
    return out


def before_and_after(net: Any, after: Any, what: str, *, size: Any = None) -> Any:
    """Draw the first layer of two perceptrons, one tile a unit; zeros are gone."""
    figure, axes = canvas(2)
    for axis, each, word in zip(axes, (net, after), ("before", "after")):
        W = array(each)
        left = sum(int(np.count_nonzero(u.data)) for u in masks.prunable(each).values())
        title = f"{word}: {left:,} weights, {accuracy(each):.1f} %"
        show(axis, tiles(without(W, W == 0), 6), title, size=float(np.abs(array(net)).max()))
    figure.suptitle(what)
    return figure


def deleted(scores: Mapping[str, Any], net: Any = None, sparsity: float = 0.7) -> Any:
    """Return a copy of the perceptron without the weights of lowest score."""
    small = copy.deepcopy(net or perceptron())
    masks.apply(small, masks.smallest(scores, sparsity))
    return small


def bars(axis: Any, values: np.ndarray, keep: Sequence[int], title: str, label: str) -> None:
    """Draw one bar for each filter, gray where it goes."""
    colors = [BLUE if k in set(keep) else "#aaaaaa" for k in range(len(values))]
    axis.bar(range(len(values)), values, color=colors)
    axis.set(title=title, xlabel="filter", ylabel=label)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.spines[["top", "right"]].set_visible(False)


def filters_gone(scores: np.ndarray, what: str, label: str, share: float = 0.5) -> Any:
    """Draw the scores of the filters of a layer, and their maps of one digit: those that go are gray."""
    keep = np.sort(np.argsort(-np.asarray(scores), kind="stable")[: filters.kept(len(scores), share)])
    (found,) = maps(convolutions(), digits().test[0][..., 5:6], [LAYER])
    images = found[LAYER][..., 0]
    gone = np.setdiff1d(np.arange(len(images)), keep)
    shown = images.copy()
    shown[gone] = np.nan
    figure, axes = canvas(3, 9, gridspec_kw={"width_ratios": [1.3, 1, 1]})
    bars(axes[0], np.asarray(scores), list(keep), what, label)
    side = images.shape[-1]
    for axis, values, title in zip(axes[1:], (images, shown), ("maps before", "and after")):
        show(axis, tiles(values.reshape(len(values), -1), 4, side), title, float(np.nanmax(images)), "Blues")
    return figure


# ---- what a weight is worth ------------------------------------------------------------------------------------------
def by_magnitude() -> Any:
    """The smallest 70 % of all weights go, wherever they are. A tile is what one hidden unit sees of the 8 × 8 pixels;
    gray is gone.

    Seen: Thirty tiles of 8 by 8 weights, and the same with their pale places gone: strong weights stay in every tile.
    """
    figure = before_and_after(perceptron(), deleted(magnitude.saliency(perceptron())), "magnitude: the smallest go")
    return figure


def by_obd() -> Any:
    """A weight goes if deleting it is predicted to raise the loss least. Pixels at the left and right edge, which are
    nearly always dark, go in all units.

    Seen: The same tiles after Optimal Brain Damage: whole columns of pixels at the edges are gone, and some pale
    weights in the middle stay.
    """
    scores = obd.saliency(perceptron(), LOSS, *digits().train, weight_decay=1e-4)
    figure = before_and_after(perceptron(), deleted(scores), "Optimal Brain Damage: h u² / 2 of the smallest goes")
    return figure


def by_obs() -> Any:
    """Optimal Brain Surgeon on a perceptron with eight hidden units: one weight goes after the other, and after each
    all that stay are adjusted. The right panel is the change of those that stay, on a scale of its own.

    Seen: Eight tiles before, with half of their weights gone, and the changes of the others: most of them are small.
    """
    net = nn.models.mlp((64, 8, 10), np.random.default_rng(0))
    trained(net)
    small = copy.deepcopy(net)
    Hinv = nn.curvature.matrix.inverse(net, LOSS, *digits().train, weight_decay=1e-4, damping=1e-3)
    obs.prune(small, Hinv, 0.5)
    figure, axes = canvas(3, 9, 2.4)
    W, V = array(net), array(small)
    size = float(np.abs(W).max())
    show(axes[0], tiles(W, 4), f"before, {accuracy(net):.1f} %", size)
    show(axes[1], tiles(without(V, V == 0), 4), f"half is gone, {accuracy(small):.1f} %", size)
    moved = without(V - W, V == 0)
    show(axes[2], tiles(moved, 4), f"how the others moved: by {np.nanmax(np.abs(moved)):.2f} at most")
    return figure


def by_fisher() -> Any:
    """The mean of the squared gradient, which Adam keeps anyway, in the place of the second derivative. What is always
    dark has no gradient, and goes.

    Seen: Tiles before and after: the pixels at both edges are gone in all of them.
    """
    net = new_perceptron()
    optimizer = nn.Adam(net.parameters(), 0.01)
    trained(net, optimizer)
    small = deleted(fisher.saliency(net, optimizer), net)
    figure = before_and_after(net, small, "w² E[g²]: the smallest go")
    return figure


def by_chance() -> Any:
    """Half of the filters of the second convolution, drawn by lot: what any other score has to beat.

    Seen: Sixteen random bars, half of them gray, and sixteen maps of a digit of which the same half is gone.
    """
    scores = chance.saliency(convolutions(), np.random.default_rng(3), [LAYER])[LAYER]
    return filters_gone(scores, "chance", "a random number")


def by_norm() -> Any:
    """Filters of small L1 norm go. The batch norm behind them is folded in first: without that the norm says nothing of
    the map.

    Seen: Bars of the norms of sixteen filters, the smaller half gray, and the maps of a digit before and after.
    """
    scores = filter_norm.saliency(surgery.fold_batchnorm(convolutions()), [LAYER])[LAYER]
    return filters_gone(scores, "L1 norm, batch norm folded in", "L1 norm")


def by_taylor() -> Any:
    """A gate on each map, closed from 1 to 0: the first-order change of the loss of each image, in the mean of absolute
    values.

    Seen: Bars of sixteen scores, the lower half gray, and the maps before and after.
    """
    scores = taylor.saliency(convolutions(), LOSS, *digits().train, [LAYER])[LAYER]
    return filters_gone(scores, "Taylor", "mean |z dE/dz|")


def by_activation() -> Any:
    """A map that is mostly zero goes, whatever the next layer makes of it.

    Seen: Bars of the shares of nonzero places of sixteen maps, the lower half gray, and the maps before and after:
    mostly white ones are gone.
    """
    scores = activation.nonzero(convolutions(), digits().train[0], [LAYER])[LAYER]
    return filters_gone(scores, "share of the map that is not 0", "1 - APoZ")


def by_nisp() -> Any:
    """The importance of the last responses, carried back through the absolute values of the weights behind the layer.

    Seen: Bars of sixteen importances, the lower half gray, and the maps before and after.
    """
    scores = nisp.of_classifier(convolutions(), digits().train[0], [LAYER])[LAYER]
    return filters_gone(scores, "NISP", "importance")


def by_gates() -> Any:
    """Gates on rows and columns of the first layer: how the loss answers to closing a unit, or a pixel, summed over all
    of its weights.

    Seen: Thirty bars, one a unit, half of them gray, and an 8 by 8 picture of the pixels: the edges are white, they may
    go.
    """
    net = copy.deepcopy(perceptron())
    LOSS.forward(net.forward(digits().train[0]), digits().train[1])
    net.backward(LOSS.backward())
    rows, columns = (np.abs(np.asarray(each(net, [FIRST])[FIRST])) for each in (gates.rows, gates.columns))
    figure, axes = canvas(2)
    keep = np.argsort(-rows)[:15]
    bars(axes[0], rows, list(keep), "units of the hidden layer", "|dE / d gate|")
    axes[0].set_xlabel("unit")
    image = show(axes[1], columns.reshape(8, 8), "inputs, pixel by pixel", color="Blues")
    figure.colorbar(image, ax=axes[1])
    return figure


# ---- how pruning and training take turns -----------------------------------------------------------------------------
def by_gradual() -> Any:
    """Single weights are deleted by magnitude while the net trains, a few every ten steps, until 400 of all are left;
    then it trains on.

    Seen: The tiles of the first layer after 10, 20 and 30 epochs, emptier each time.
    """
    net = new_perceptron()
    seen: list[np.ndarray] = []
    steps = 30 * -(-digits().train[1].shape[0] // 64)
    deletion = gradual.Gradual(net, magnitude.saliency, 400, 0.7 * steps, every=10)
    optimizer, rng = nn.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=1e-4), np.random.default_rng(1)
    for _ in range(3):
        nn.training.train(net, LOSS, optimizer, *digits().train, 10, 64, rng, companions=[deletion], progress=False)
        seen.append(array(net).copy())
    figure, axes = canvas(3, 9, 2.9)
    for axis, W, epochs in zip(axes, seen, (10, 20, 30)):
        show(axis, tiles(without(W, W == 0), 6), f"epoch {epochs}: {np.count_nonzero(W):,} of {W.size:,}", 1)
    return figure


def by_rows_and_columns() -> Any:
    """Rows and columns of the first layer go while it trains: units, whose tile is empty, and pixels, which are gone in
    every tile.

    Seen: Tiles before and after: some tiles are empty, and the others have the same holes.
    """
    net = new_perceptron()
    groups = rows_and_columns.Groups(net, [FIRST], [FIRST], budget=lambda step: max(500, 2220 - 10 * step))
    trained(net, companions=[groups])
    return before_and_after(perceptron(), net, "whole units and whole pixels go")


def by_soft_filters() -> Any:
    """Soft filters: at the end of each epoch half of the filters are set to zero, and train on. With momentum some come
    back, and others are zeroed in their place.

    Seen: A grid of sixteen filters and twelve epochs; most rows keep one color after the first epochs, a few change it.
    """
    net, seen = new_convolutions(), []
    every = -(-digits().train[1].shape[0] // 64)
    soft = soft_filters.SoftFilters(net, {LAYER: 0.5}, every)
    optimizer, rng = nn.SGD(net.parameters(), 0.05, momentum=0.9), np.random.default_rng(1)
    for _ in range(12):
        nn.training.train(net, LOSS, optimizer, *digits().train, 1, 64, rng, companions=[soft], progress=False)
        seen.append(np.abs(array(net, LAYER)).sum(axis=(1, 2, 3)) > 0)
    figure, (axis,) = canvas(1, 7.2, 2.6)
    show(axis, np.where(np.array(seen).T, 1.0, np.nan), "zeroed at the end of each epoch (gray)", 1.6, "Blues")
    axis.set(xlabel="epoch", ylabel="filter", xticks=range(12), xticklabels=range(1, 13), aspect="auto")
    return figure


def by_three_stages() -> Any:
    """Train, prune, retrain, in turns: down to a thousand weights the net hardly notices what Optimal Brain Damage
    deletes; then every deletion costs accuracy, and retraining brings most of it back. One perceptron of the records.

    Seen: A zigzag from left to right: flat down to 1,000 weights, then falls that retraining answers.
    """
    rows = [row for row in record("obd_mlp")["rows"] if row["method"] == "obd" and row["retrain"]]
    figure, (axis,) = canvas(1, 7.2, 2.9)
    x, y = [], []
    for row in rows:
        x += [row["weights_left"], row["weights_left"]]
        y += [100 * row["test_accuracy"], 100 * row["retrained"]["test_accuracy"]]
    axis.plot(x, y, color=BLUE, linewidth=1)
    axis.plot(x[::2], y[::2], "v", color=RED, label="deleted")
    axis.plot(x[1::2], y[1::2], "^", color=BLUE, label="and retrained")
    axis.set(xlabel="weights left", ylabel="test accuracy, %", xscale="log", xlim=(3000, 150))
    axis.set_xticks([2000, 1000, 500, 200], ["2,000", "1,000", "500", "200"])
    axis.minorticks_off()
    axis.legend(frameon=False)
    return figure


def by_new_weights() -> Any:
    """The control: what pruning left as an architecture or a mask, with weights that were never trained. Is it the
    weights that pruning keeps, or only the net that it finds?

    Seen: Two pictures of the same tiles with the same holes; the weights differ.
    """
    small = deleted(magnitude.saliency(perceptron()))
    fresh = pipeline.redrawn(small, np.random.default_rng(2))
    figure = before_and_after(small, fresh, "one mask, and new weights")
    return figure


# ---- sparsity learnt in training -------------------------------------------------------------------------------------
def by_admm() -> Any:
    """ADMM: the weights W follow the loss and are pulled to a copy Y that has 440 nonzeros in all. What is below 0.001
    is drawn as gone; the projection then deletes what Y does not have.

    Seen: Tiles of the dense net, of the net after ADMM, many of whose weights are nearly zero, and after the
    projection.
    """
    net = copy.deepcopy(perceptron())
    goal = admm.OneBudget(net, [FIRST, "3.W"], 440, 0.1, every=20)
    optimizer = nn.Adam(net.parameters(), 0.003)
    trained(net, optimizer, 40, [goal])
    pulled = array(net).copy()
    goal.project()
    figure, axes = canvas(3, 9, 2.9)
    size = float(np.abs(array(perceptron())).max())
    for axis, W, title in zip(
        axes, (array(perceptron()), pulled, array(net)), ("before", "W, pulled to Y", "projected")
    ):
        gone = (W == 0) | ((np.abs(W) < 1e-3) & (title != "before"))
        show(axis, tiles(without(W, gone), 6), f"{title}: {np.count_nonzero(~gone):,} of {W.size:,}", size)
    return figure


def by_projections() -> Any:
    """A matrix and its nearest ones in three sets: with 100 nonzero weights, with four rows, with twelve columns. What
    stays is unchanged.

    Seen: Four matrices: all, scattered entries, four rows, twelve columns.
    """
    W = array(perceptron())[:12, 8:40]
    sets = {
        "12 × 32": W,
        "100 weights": projections.weights(100)(W),
        "4 filters": projections.filters(4)(W),
        "12 columns": projections.columns(12)(W),
    }
    figure, axes = canvas(4, 10, 1.9)
    for axis, (name, nearest) in zip(axes, sets.items()):
        show(axis, without(nearest, nearest == 0), name, float(np.abs(W).max()))
    return figure


def by_group_lasso() -> Any:
    """A group lasso on the columns of the first layer: whole pixels become exactly zero while the net trains, in all
    units at once.

    Seen: Norms of the 64 columns as an 8 by 8 picture before and after: the edges, and some pixels more, are gone.
    """
    net = new_perceptron()
    group = families.columns(net, FIRST, 0.01)
    optimizer = nn.SGD(net.parameters(), 0.05, momentum=0.9)
    trained(net, optimizer, 40, [group_lasso.ProximalSteps(net, [group], optimizer)])
    return pixels(net, "norm of each column")


def pixels(net: Any, what: str) -> Any:
    """Draw what is left of each pixel of the input, before and after."""
    figure, axes = canvas(2)
    before, after = (np.linalg.norm(array(each), axis=0) for each in (perceptron(), net))
    for axis, norms, each, word in zip(axes, (before, after), (perceptron(), net), ("before", "after")):
        title = f"{word}: {np.count_nonzero(norms)} pixels, {accuracy(each):.1f} %"
        image = show(axis, without(norms, norms == 0).reshape(8, 8), title, color="Blues")
        figure.colorbar(image, ax=axis)
    figure.suptitle(what)
    return figure


def by_gradual_thresholds() -> Any:
    """The same penalty, and a threshold that grows step by step: a pixel whose norm falls below it is deleted for good.

    Seen: Norms of the columns as an 8 by 8 picture before and after: fewer pixels stay, all of them strong.
    """
    net = new_perceptron()
    group = families.columns(net, FIRST, 0.01)
    optimizer = nn.SGD(net.parameters(), 0.05, momentum=0.9)
    growing = gradual_thresholds.GradualThresholds(net, [group], lambda step: 0.001 * step, every=20)
    steps = [group_lasso.ProximalSteps(net, [group], optimizer), growing]
    trained(net, optimizer, 40, steps)
    return pixels(net, "norm of each column")


def by_families() -> Any:
    """One weight as a matrix, a row for each of 16 filters and a column for each of 12 × 9 positions, cut into groups
    in four ways. The weaker half of the groups is gray.

    Seen: Four matrices of one size: gray rows, gray blocks of nine columns, gray single columns, and gray short pieces
    of rows.
    """
    net = convolutions()
    W = array(net, LAYER)
    cuts = {
        "filters": families.filters,
        "channels": families.channels,
        "columns": families.columns,
        "kernels": families.kernels,
    }
    figure, axes = canvas(4, 10, 2.2)
    for axis, (name, make) in zip(axes, cuts.items()):
        family = make(net, LAYER, 1.0)
        weights = {each: array(net, each) for each in family.axes}
        sizes = np.asarray(families.norms(weights, family))
        spread = np.broadcast_to(np.asarray(families.spread(sizes, W, family.axes[LAYER])), W.shape)
        matrix = projections.matrix(spread)
        low = np.quantile(np.unique(spread), 0.5)
        show(axis, np.where(matrix < low, np.nan, 1.0), f"{name}: {sizes.size} groups", 1.6, "Blues")
        axis.set_aspect("auto")
    return figure


def gated() -> Any:
    """Return a perceptron with hard concrete gates on its inputs and hidden units, trained."""
    plain = new_perceptron()
    layers, groups = [plain.layers[0]], {}
    for k, layer in enumerate(each for each in plain.layers[1:]):
        if isinstance(layer, nn.Linear):
            gate = hard_concrete.HardConcrete(layer.W.shape[1], np.random.default_rng(k), 0.2)
            groups[str(len(layers))] = families.Family({f"{len(layers) + 1}.W": (1,)}, 0.15)
            layers.append(gate)
        layers.append(layer)
    net = nn.Sequential(*layers)
    count = digits().train[1].shape[0]
    return trained(net, nn.Adam(net.parameters(), 0.01), 40, [l0.ExpectedL0(net, groups, count)])


def by_l0() -> Any:
    """L0 regularization: each pixel and each hidden unit has a random gate, whose probability to be open is penalised.
    Drawn are the gates of eval mode; what is closed leaves the net for good.

    Seen: An 8 by 8 picture of the gates of the pixels, gray at the edges, and bars of the gates of thirty units.
    """
    first, second = l0.gates(gated()).values()
    figure, axes = canvas(2)
    z, hidden = np.asarray(first.factor()), np.asarray(second.factor())
    image = show(
        axes[0], without(z, z == 0).reshape(8, 8), f"gates of the pixels: {np.count_nonzero(z)} open", 1, "Blues"
    )
    figure.colorbar(image, ax=axes[0])
    bars(axes[1], hidden, list(np.flatnonzero(hidden)), f"of the units: {np.count_nonzero(hidden)} open", "gate")
    return figure


def by_hard_concrete() -> Any:
    """Draws of a hard concrete gate for three values of log α: a smooth variable, stretched over [-0.1, 1.1] and
    clipped, is exactly 0 or exactly 1 in many draws.

    Seen: Three histograms with peaks at 0 and at 1; from left to right the weight moves from 0 to 1.
    """
    figure, axes = canvas(3, 9, 2.3, sharey=True)
    rng = np.random.default_rng(0)
    u = rng.random(20000)
    for axis, log_alpha in zip(axes, (-2.0, 0.0, 2.0)):
        gate = hard_concrete.HardConcrete(u.size, rng)
        gate.log_alpha.data[:] = log_alpha
        z = np.asarray(gate.gates(u))
        axis.hist(z, 40, weights=np.full(u.size, 1 / u.size), color=BLUE)
        axis.set(
            title=f"log α = {log_alpha:g}: {np.mean(z == 0):.0%} at 0, {np.mean(z == 1):.0%} at 1", xlabel="gate z"
        )
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("share of draws")
    return figure


def by_variational() -> Any:
    """Variational dropout: each weight learns how much noise it bears. Red ones bear any amount, so they carry nothing,
    and go.

    Seen: Tiles of the noise of each weight, mostly red, and the weights that stay: few in each tile, in the middle.
    """
    rng = np.random.default_rng(0)
    net = variational_dropout.variational(new_perceptron(), rng, -5.0, 3.0)
    count = digits().train[1].shape[0]
    optimizer = nn.Adam(net.parameters(), 0.01)
    ramp = nn.Ramp(optimizer, 300)
    trained(net, optimizer, 60, [variational_dropout.LogUniformPrior(net, count, ramp)])
    layer = next(each for each in net.modules() if isinstance(each, variational_dropout.VariationalLinear))
    noise = np.clip(np.asarray(layer.log_alpha()), -6, 8)
    small = surgery.harden(net)
    figure, axes = canvas(2)
    image = show(axes[0], tiles(noise, 6), "log α of each weight", 8)
    figure.colorbar(image, ax=axes[0])
    W = array(small)
    left = sum(int(np.count_nonzero(u.data)) for u in masks.prunable(small).values())
    show(axes[1], tiles(without(W, W == 0), 6), f"log α ≤ 3: {left:,} weights, {accuracy(small):.1f} %")
    return figure


def by_slimming() -> Any:
    """Network slimming: an l1 penalty pushes scales of batch norm to zero, and one threshold for all layers says which
    channels go (gray). A net of the records.

    Seen: Bars of the scales of three layers: those below one height are gray, some are zero.
    """
    found = record("slimming")
    scales = found["penalised"]["proximal"]["scales"]
    keep = found["rows"][0]["keep"]
    figure, axes = canvas(3, 9, 2.5, sharey=True)
    for axis, (name, values), kept in zip(axes, scales.items(), keep.values()):
        bars(axis, np.abs(values), kept, f"layer {name.split('.')[0]}: {len(kept)} of {len(values)} stay", "")
    axes[0].set_ylabel("|scale|")
    return figure


def by_ista() -> Any:
    """Proximal steps on the scales of batch norm, each layer pushed as strongly as one of its channels costs. Channels
    whose scale is exactly zero go.

    Seen: Bars of the scales of three layers: several are exactly zero, most of them where a channel costs most.
    """
    net = new_convolutions()
    costs = ista_scales.costs(net, (1, 8, 8))
    groups = ista_scales.families(net, (1, 8, 8), 0.006)
    optimizer = nn.SGD(net.parameters(), 0.05, momentum=0.9)
    trained(net, optimizer, 15, [group_lasso.ProximalSteps(net, groups, optimizer)])
    figure, axes = canvas(3, 9, 2.5)
    for axis, (name, gamma) in zip(axes, slimming.scales(net).items()):
        size = np.abs(gamma.data)
        title = f"{name}: {np.count_nonzero(size)} of {size.size} stay\ncost {costs[name]:.2f} a channel"
        bars(axis, size, list(np.flatnonzero(size)), title, "|scale|")
    return figure


def by_scaling_factors() -> Any:
    """Sparse structure selection: each residual block has one factor, pushed towards zero while the net trains. Three
    of six blocks reach it (dashed), and leave the net. A net of the records.

    Seen: Six curves over 25 epochs; three end at zero, three above.
    """
    found = record("scaling_factors")["selected"]["APG"]
    factors = np.array(found["factors"])
    figure, (axis,) = canvas(1, 7.2, 2.8)
    for k, line in enumerate(factors.T):
        gone = line[-1] == 0
        axis.plot(range(1, len(line) + 1), line, color="#aaaaaa" if gone else BLUE, linestyle="--" if gone else "-")
        axis.annotate(f" {k + 1}", (len(line), line[-1]), va="center", fontsize=8)
    axis.set(xlabel="epoch", ylabel="factor of the block", xlim=(1, len(factors) + 1))
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def by_factorised_l0() -> Any:
    """FLOP on a text: two multipliers pull the share of the weights that closed gates are expected to take along to a
    target that grows. After the last epoch it is still below the target, and an exact cut takes the rest. A net of the
    records.

    Seen: The share that is expected to go runs behind the dashed target, and rises with it.
    """
    course = record("factorised_l0")["course"]
    figure, (axis,) = canvas(1, 7.2, 2.8)
    epochs = range(1, len(course) + 1)
    axis.plot(epochs, [100 * each["target"] for each in course], color="black", linestyle="--", label="target")
    axis.plot(epochs, [100 * each["share"] for each in course], color=BLUE, marker="o", label="expected to go")
    axis.set(xlabel="epoch", ylabel="share of the weights, %")
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def by_adversary() -> Any:
    """Six digits, and the same moved by at most 0.15 a pixel so that the loss of this net rises. Pruning against an
    adversary trains weights and masks on the lower row.

    Seen: Two rows of six digits that look alike; above the net is right, below it says other numbers.
    """
    import matplotlib.pyplot as plt

    net = perceptron()
    x, t = digits().test[0][..., :6], digits().test[1][:6]
    moved = np.asarray(adversarial.PGD(0.15, 0.02, 20)(net, LOSS, x, t, None))
    figure, grid = plt.subplots(2, 6, figsize=(9, 3.2), constrained_layout=True)
    for k in range(6):
        for axis, images in zip(grid[:, k], (x, moved)):
            said = int(np.asarray(net.forward(images[..., k : k + 1])).argmax())
            show(axis, images[0, ..., k], f"says {said}", 1, "gray")
            axis.title.set_color("black" if said == int(t[k]) else RED)
    return figure


# ---- the next layer's output survives --------------------------------------------------------------------------------
def sets_of(method: str) -> Any:
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
        axes[0].axis("off")
        axes[0].text(0.5, 0.5, f"all {2**n:,} subsets of {n} channels\nwere tried", ha="center", va="center")
    for name, errors in layer["errors"].items():
        if name not in (method, "optimum"):
            axes[1].plot(kept, errors["refit"], color=GRAY, linewidth=1)
    if "optimum" in layer["errors"]:
        best = layer["errors"]["optimum"]
        axes[1].plot(kept, best["refit"], color="black", linestyle=":", label="best of all subsets")
    if method in layer["errors"] and method != "optimum":
        axes[1].plot(kept, layer["errors"][method]["refit"], color=BLUE, marker="o", label=method)
    axes[1].set(xlabel="how many stay", ylabel="error of the next layer, refitted", yscale="log")
    axes[1].legend(frameon=False)
    return figure


def by_lasso_channels() -> Any:
    """Which channels the lasso keeps: one factor a channel, and a penalty that grows until enough are zero. First layer
    of a net of the records; gray lines are the other methods.

    Seen: A grid of twelve channels against how many stay, and falling curves of the error.
    """
    return sets_of("lasso")


def by_thinet() -> Any:
    """Which channels ThiNet keeps: one goes at a time, always the one whose loss moves the next layer's output least.
    First layer of a net of the records; gray lines are the other methods.

    Seen: A grid in which every row, once gray, stays gray to the left, and falling curves of the error.
    """
    return sets_of("ThiNet")


def by_elimination() -> Any:
    """Backward elimination: Optimal Brain Surgeon on channels, all others refitted after every deletion. First layer of
    a net of the records; gray lines are the other methods.

    Seen: A grid of channels against how many stay, and an error curve close to the best of all subsets.
    """
    return sets_of("elimination")


def by_enumeration() -> Any:
    """Every subset was tried: the referee of all other methods. First layer of a net of the records; gray lines are the
    other methods.

    Seen: A sentence, and the error of the best subset as a dotted line below all gray ones.
    """
    return sets_of("optimum")


def by_merging() -> Any:
    """Neuron merging without data: what it costs that one unit of the hidden layer speaks for another as well, and the
    cheapest pair.

    Seen: A matrix of costs, thirty by thirty, and the weights of the two units that are merged first.
    """
    net = perceptron()
    omega = np.column_stack([array(net), array(net, "1.b")])
    s = np.array(reconstruction.neuron_merging.saliency(omega, array(net, "3.W")), dtype=float)
    np.fill_diagonal(s, np.nan)
    i, j, _ = reconstruction.neuron_merging.pairs(omega, array(net, "3.W"), 1)[0]
    merged = reconstruction.neuron_merging.merge(net, FIRST, 10)
    figure, axes = canvas(2, 8.4, 3.0, gridspec_kw={"width_ratios": [1.2, 1]})
    image = show(
        axes[0],
        np.log10(s) - np.nanmin(np.log10(s)),
        f"orders above the cheapest: {j} goes, {i} speaks for it",
        color="Blues",
    )
    figure.colorbar(image, ax=axes[0])
    axes[0].set(xlabel="unit that speaks for both", ylabel="unit that goes")
    pair = tiles(array(net)[[i, j]], 1)
    show(axes[1], pair, f"the two units; ten merges:\n{accuracy(net):.1f} % to {accuracy(merged):.1f} %")
    return figure


@functools.cache
def second_moments() -> Any:
    """Return the moments in front of the second convolution."""
    return reconstruction.moments.collect(convolutions(), LAYER, digits().train[0][..., :500])


def by_moments() -> Any:
    """All that a choice of channels needs: G holds the inner products of what channels i and j send to the next layer.
    Blue pairs take back from one another.

    Seen: A symmetric matrix of twelve channels with a red diagonal and weaker red and blue places beside it.
    """
    G = np.asarray(second_moments().G)
    figure, (axis,) = canvas(1, 4.6, 3.4)
    image = show(axis, G / np.abs(G).max(), "G, divided by its largest number")
    axis.set(xlabel="channel j", ylabel="channel i")
    figure.colorbar(image, ax=axis)
    return figure


def by_approximation() -> Any:
    """One matrix, and three cheaper ones with about half of its numbers, each the nearest in the output of the layer.

    Seen: Four matrices: all, one of low rank with no zeros, one with blocks of zero columns, one with scattered zeros.
    """
    moments, share = second_moments(), 0.5
    W, n, A = np.asarray(moments.W), moments.channels, np.asarray(moments.A)
    apart = reconstruction.approximation
    ways = {
        "rank 7": apart.of_rank(W, 7, A),
        "6 of 12 channels": apart.on_channels(W, apart.largest_channels(W, n, 6), n, A),
        "half of the weights": apart.on_weights(W, share, A),
    }
    figure, axes = canvas(4, 10, 2.0)
    size = float(np.abs(W).max())
    show(axes[0], W, f"W, {W.shape[0]} × {W.shape[1]}", size)
    for axis, (name, V) in zip(axes[1:], ways.items()):
        show(
            axis, without(V, V == 0), f"{name}\nerror of the output {100 * apart.relative_change(W, V, A):.1f} %", size
        )
    for axis in axes:
        axis.set_aspect("auto")
    return figure


# ---- which small net -------------------------------------------------------------------------------------------------
def by_scratch_gates() -> Any:
    """Pruning from scratch: gates over random weights that are never trained. One ranking of all gates under a budget
    gives the widths; the small net is then drawn anew. A net of the records.

    Seen: Bars of the gates of three layers; the low ones are gray.
    """
    found = record("from_scratch")
    figure, axes = canvas(3, 9, 2.4, sharey=True)
    for axis, (name, values), width in zip(axes, found["gates"]["values"].items(), found["rows"][0]["widths"]):
        keep = np.argsort(-np.array(values), kind="stable")[:width]
        bars(axis, np.array(values), list(keep), f"layer {name.split('.')[0]}: width {width}", "")
    axes[0].set_ylabel("gate")
    return figure


def by_transformable() -> Any:
    """Transformable architecture search: the probabilities of eight widths of each layer, epoch by epoch. They start
    even, and gather on few widths, in the last layer on one. A net of the records.

    Seen: Three pictures of probabilities over epochs, pale at first; in the third one row becomes dark.
    """
    search = record("transformable")["search"]
    figure, axes = canvas(3, 9, 2.4)
    for axis, (name, width) in zip(axes, search["widths"].items()):
        course = np.array([each["probabilities"][name] for each in search["history"]]).T
        image = show(axis, course, f"layer {name}: {width} channels", 1, "Blues")
        axis.set(
            xlabel="epoch", ylabel="width", aspect="auto", yticks=[0, len(course) - 1], yticklabels=["least", "most"]
        )
    figure.colorbar(image, ax=axes[-1])
    return figure


def by_principal() -> Any:
    """Principal filter analysis: how many directions the responses of a layer have. As many filters stay as hold 95 %
    of the energy.

    Seen: Growing bars of three layers that reach a dotted line at 0.95; those behind it are gray.
    """
    found = principal_filters.responses(convolutions(), digits().train[0])
    figure, axes = canvas(len(found), 9, 2.5, sharey=True)
    for axis, (name, A) in zip(axes, found.items()):
        shares = np.sort(principal_filters.spectrum(A))[::-1]
        k = principal_filters.by_energy(shares, 0.95)
        bars(axis, np.cumsum(shares), list(range(k)), f"layer {name.split('.')[0]}: {k} of {len(shares)}", "")
        axis.axhline(0.95, color="black", linewidth=0.8, linestyle=":")
        axis.set_xlabel("direction")
    axes[0].set_ylabel("energy so far")
    return figure


def by_compensation() -> Any:
    """Layer compensation: scores of different layers are made comparable by a constant a layer, then one line cuts all.
    Here the constants make the means equal; the method finds them by evolution.

    Seen: Three rows of points and a red line, before and after the rows are shifted: other numbers go.
    """
    scores = taylor.saliency(convolutions(), LOSS, *digits().train)
    scores = {name: np.log10(np.asarray(each)) for name, each in scores.items() if len(each) > 10}
    moved = layer_compensation.compensated(scores, {name: -float(np.mean(each)) for name, each in scores.items()})
    figure, axes = canvas(2, 8.4, 2.6)
    for axis, values, title in zip(axes, (scores, moved), ("as they are", "with a constant a layer")):
        cut = np.sort(np.concatenate([np.asarray(each) for each in values.values()]))[
            sum(map(len, values.values())) // 2
        ]
        for k, each in enumerate(values.values()):
            each = np.asarray(each)
            axis.plot(each, np.full(len(each), k), "o", color=BLUE, alpha=0.6)
            axis.annotate(
                f"{np.count_nonzero(each < cut)} go", (1.02, k), xycoords=("axes fraction", "data"), va="center"
            )
        axis.axvline(cut, color=RED, linewidth=1)
        axis.set(
            title=title,
            yticks=range(len(values)),
            yticklabels=list(values),
            xlabel="log10 of Taylor's score",
            ylim=(-0.5, 2.5),
        )
    return figure


def by_patterns() -> Any:
    """Guided sparsification: the share of the weights that stay at the nine places of the 3 × 3 kernels of DenseNet-40,
    by stage, as the lecture prints it (Table 20). New nets are drawn after it.

    Seen: Three grids of 3 by 3 shares; the middle is darkest, the first stage darker than the last.
    """
    found = stage_patterns.DENSENET40[50]
    figure, axes = canvas(len(found), 7.2, 2.4)
    for axis, (stage, P) in zip(axes, found.items()):
        P = np.array(P, float)
        show(axis, P, f"stage {stage}: {P.mean():.0%} stay", 1, "Blues")
        for i in range(3):
            for j in range(3):
                axis.text(j, i, f"{P[i, j]:.2f}", ha="center", va="center", color="white" if P[i, j] > 0.6 else "black")
    return figure


# ---- for each image --------------------------------------------------------------------------------------------------
def by_self_adaptive() -> Any:
    """A net that decides for each image which channels it computes: what the classes cost, and how many decisions are
    the same whatever the image. A net of the records.

    Seen: Ten bars of nearly equal height, and pairs of bars for three layers.
    """
    row = record("self_adaptive")["rows"][0]
    figure, axes = canvas(2, 8.4, 2.6)
    axes[0].bar(range(10), 100 * np.array(row["by_class"]), color=BLUE)
    low, high = (100 * each for each in row["costs"])
    axes[0].axhspan(low, high, color=GRAY, zorder=0, label="from the cheapest to the dearest image")
    axes[0].set(xlabel="class", ylabel="cost, % of the whole net", ylim=(0, 1.5 * high), xticks=range(10))
    axes[0].legend(frameon=False, fontsize=8)
    x = np.arange(3)
    axes[1].bar(x - 0.2, 100 * np.array(row["open"]), 0.4, color=BLUE, label="open for one image")
    axes[1].bar(x + 0.2, 100 * np.array(row["static"]), 0.4, color="#aaaaaa", label="decided alike for nearly all")
    axes[1].set(xticks=x, xticklabels=["layer 1", "layer 2", "layer 3"], ylabel="channels, %", ylim=(0, 130))
    axes[1].legend(frameon=False, fontsize=8)
    return figure


def by_straight_through() -> Any:
    """A decision has no slope. The straight-through gradient takes that of a smooth curve in its place; the mean
    decision under noise has the slope φ(s).

    Seen: Left a step and a smooth curve through it, right two bell-shaped slopes of like size.
    """
    s = np.linspace(-4, 4, 400)
    sigma = 1 / (1 + np.exp(-s))
    seen = np.where(np.abs(s) < np.log(11), 1.2 * sigma * (1 - sigma), 0)
    figure, axes = canvas(2, 8.4, 2.5)
    axes[0].plot(s, (s > 0).astype(float), color="black", label="the decision 1[s > 0]")
    axes[0].plot(s, np.clip(1.2 * sigma - 0.1, 0, 1), color=BLUE, label="v₁, whose slope is taken")
    axes[1].plot(s, np.exp(-s * s / 2) / np.sqrt(2 * np.pi), color="black", label="φ(s): of the mean over noise")
    axes[1].set_ylim(0, 0.6)
    axes[1].plot(s, seen, color=BLUE, label="v₁′(s)")
    for axis in axes:
        axis.set_xlabel("s")
        axis.legend(frameon=False, fontsize=8)
    return figure


# ---- what is really removed ------------------------------------------------------------------------------------------
def by_removal() -> Any:
    """Surgery: six of twelve filters of the first layer take their blocks of columns of the second one along, and eight
    of its sixteen rows go themselves. What is left is an ordinary smaller matrix.

    Seen: A wide matrix with gray rows and gray blocks of columns, and a matrix of half the height and width without
    gray.
    """
    net = convolutions()
    keep = filters.independent(net, {"0.W": 0.5, LAYER: 0.5}, filter_norm.saliency)
    small = surgery.remove(net, keep)
    figure, axes = canvas(2, 8.4, 2.0, gridspec_kw={"width_ratios": [2, 1]})
    W, V = (projections.matrix(array(each, LAYER)) for each in (net, small))
    gone = np.ones(array(net, LAYER).shape, bool)
    gone[np.ix_(keep[LAYER], keep["0.W"])] = False
    size = float(np.abs(W).max())
    show(axes[0], without(W, projections.matrix(gone)), f"{W.shape[0]} × {W.shape[1]}: rows and columns that go", size)
    show(axes[1], V, f"{V.shape[0]} × {V.shape[1]}: what is left", size)
    return figure


def by_folding() -> Any:
    """Three filters have no weights and no scale any more, but a shift: what they emit is the activation of that shift,
    a constant, and not always zero. Before they can go, it moves on into the layer that reads them.

    Seen: Sixteen maps, three of them of one even color, and bars of their constants, one of them above zero.
    """
    net = copy.deepcopy(convolutions())
    order = np.argsort(array(net, "4.beta"))
    dead = sorted([int(order[0]), int(order[-1]), int(order[-2])])
    array(net, LAYER)[dead] = 0
    array(net, "4.gamma")[dead] = 0
    (found,) = maps(net, digits().test[0][..., 5:6], [LAYER])
    images = found[LAYER][..., 0]
    constant = [float(images[k].max()) for k in dead]
    figure, axes = canvas(2, 7.2, 2.9)
    show(axes[0], tiles(images.reshape(len(images), -1), 4, images.shape[-1]), "maps of one digit", color="Blues")
    axes[1].bar([f"map {k}" for k in dead], constant, color=RED)
    axes[1].set(title="what the three dead filters emit", ylabel="the constant")
    return figure


def by_purification() -> Any:
    """Network purification: after columns were pruned, a channel of which few columns are left does little. If its
    fullness is below a threshold, and its energy too, the whole channel goes, and with it the filter that makes it.

    Seen: A matrix with gray columns in blocks of nine, and bars of how full each block is; bars below a red line are
    gray.
    """
    W = sparse_rows_and_columns()
    full = (W.reshape(len(W), -1, 9) ** 2).sum(axis=0)
    fullness = (full > 0).mean(axis=1)
    figure, axes = canvas(2, 9, 2.3, gridspec_kw={"width_ratios": [2.2, 1]})
    show(axes[0], without(W, W == 0), "columns of a pruned layer, nine a channel")
    bars(axes[1], fullness, list(np.flatnonzero(fullness >= 0.35)), "fullness of each channel", "share of columns")
    axes[1].axhline(0.35, color=RED, linewidth=1)
    axes[1].set_xlabel("channel")
    return figure


def sparse_rows_and_columns() -> np.ndarray:
    """Return the second layer's matrix after filters and columns were projected."""
    W = array(convolutions(), LAYER)
    return np.asarray(projections.matrix(projections.filters_and_columns(10, 40)(W)))


def by_unused_paths() -> Any:
    """Unused paths: with one weight of twenty left, some units see nothing and some are read by nobody (red rows). They
    leave the net, which computes the same.

    Seen: A sparse matrix with red rows, and a smaller one without them.
    """
    net = copy.deepcopy(perceptron())
    scores = {name: np.abs(np.asarray(each)) for name, each in magnitude.saliency(net).items()}
    masks.apply(net, masks.smallest(scores, 0.95))
    W, V = array(net), array(net, "3.W")
    silent, unread = ~W.any(axis=1), ~V.any(axis=0)
    small = surgery.remove_unused_paths(net, (1, 8, 8))
    figure, axes = canvas(2, 9, 2.6, gridspec_kw={"width_ratios": [2.2, 1]})
    show(
        axes[0],
        without(W, W == 0),
        f"{W.shape[0]} units: {silent.sum()} without weights, {unread.sum()} that nobody reads",
    )
    for k in np.flatnonzero(silent | unread):
        axes[0].axhspan(k - 0.5, k + 0.5, color=RED, alpha=0.25)
    U = next(np.asarray(each.data) for name, each in small.named_parameters() if name.endswith(".W"))
    show(axes[1], without(U, U == 0), f"{U.shape[0]} units of {U.shape[1]} pixels are left")
    return figure


# ---- what zeros save -------------------------------------------------------------------------------------------------
def by_formats() -> Any:
    """A matrix without its zeros: compressed rows keep each nonzero and its column; where whole rows and columns are
    zero, a smaller dense matrix does, and multiplies faster.

    Seen: A matrix with scattered and whole gray rows and columns, and the smaller dense matrix of its living ones.
    """
    W = sparse_rows_and_columns()[:, :36].astype(float)
    W = W * (np.abs(W) > np.quantile(np.abs(W[W != 0]), 0.4))
    csr, compact = sparse.CSR.of(W), sparse.Compact.of(W)
    figure, axes = canvas(2, 9, 2.3, gridspec_kw={"width_ratios": [1.6, 1]})
    show(
        axes[0], without(W, W == 0), f"{W.shape[0]} × {W.shape[1]}: {W.nbytes:,} bytes, {np.count_nonzero(W)} nonzeros"
    )
    V = compact.values
    show(
        axes[1],
        without(V, V == 0),
        f"compact {V.shape[0]} × {V.shape[1]}: {compact.nbytes:,} bytes\nCSR: {csr.nbytes:,}",
    )
    return figure


def by_accelerators() -> Any:
    """Cycles on two accelerators that skip zeros, by their published rules: single weights against small nets of as
    many multiply-accumulates. On the dotted line all that is saved is time. A net of the records.

    Seen: Four rising curves below a dotted diagonal; small nets are nearer to it than scattered zeros.
    """
    rows = record("accelerators")
    figure, (axis,) = canvas(1, 7.2, 2.9)
    for method, color in (("weights", RED), ("filters", BLUE)):
        found = [row for row in rows["rows"] if row["method"] == method]
        x = [accelerators.gain(rows, row, "macs") for row in found]
        for machine, look in (("cambricon_x", "-o"), ("cnvlutin", "--s")):
            y = [accelerators.gain(rows, row, machine) for row in found]
            axis.plot(x, y, look, color=color, markersize=4, label=f"{method}, {machine.replace('_', '-')}")
    axis.plot([1, 20], [1, 20], color="black", linewidth=0.8, linestyle=":")
    axis.set(xlabel="times fewer multiply-accumulates", ylabel="times fewer cycles", xscale="log", yscale="log")
    axis.legend(frameon=False, fontsize=8)
    return figure


PANELS: dict[str, Callable[[], Any]] = {
    "scores.magnitude": by_magnitude,
    "scores.obd": by_obd,
    "scores.obs": by_obs,
    "scores.fisher": by_fisher,
    "scores.gates": by_gates,
    "scores.chance": by_chance,
    "scores.filter_norm": by_norm,
    "scores.activation": by_activation,
    "scores.taylor": by_taylor,
    "scores.nisp": by_nisp,
    "pipeline.three_stages": by_three_stages,
    "pipeline.gradual": by_gradual,
    "pipeline.rows_and_columns": by_rows_and_columns,
    "pipeline.soft_filters": by_soft_filters,
    "pipeline.new_weights": by_new_weights,
    "penalties.families": by_families,
    "penalties.group_lasso": by_group_lasso,
    "penalties.gradual_thresholds": by_gradual_thresholds,
    "penalties.projections": by_projections,
    "penalties.admm": by_admm,
    "penalties.slimming": by_slimming,
    "penalties.ista_scales": by_ista,
    "penalties.scaling_factors": by_scaling_factors,
    "penalties.hard_concrete": by_hard_concrete,
    "penalties.l0": by_l0,
    "penalties.factorised_l0": by_factorised_l0,
    "penalties.variational_dropout": by_variational,
    "penalties.adversarial": by_adversary,
    "reconstruction.moments": by_moments,
    "reconstruction.lasso_channels": by_lasso_channels,
    "reconstruction.thinet": by_thinet,
    "reconstruction.elimination": by_elimination,
    "reconstruction.enumeration": by_enumeration,
    "reconstruction.neuron_merging": by_merging,
    "reconstruction.approximation": by_approximation,
    "architectures.principal_filters": by_principal,
    "architectures.layer_compensation": by_compensation,
    "architectures.from_scratch": by_scratch_gates,
    "architectures.transformable": by_transformable,
    "architectures.stage_patterns": by_patterns,
    "dynamic.self_adaptive": by_self_adaptive,
    "dynamic.straight_through": by_straight_through,
    "surgery.removal": by_removal,
    "surgery.folding": by_folding,
    "surgery.purification": by_purification,
    "surgery.unused_paths": by_unused_paths,
    "sparse.formats": by_formats,
    "sparse.accelerators": by_accelerators,
}
"""The pictures, in the order of the page, by the module below pruning."""


def page(folder: Path = FOLDER) -> str:
    """Draw all pictures into a folder beside the page, and return the page."""
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    out = [
        "(pictures)=\n# Pruning in pictures\n",
        f"One picture for each of {len(PANELS)} methods: what goes, on a net before and after. They are drawn when the"
        " book is built, by `book/pages/pictures.py`, on nets that it trains in seconds on the digits (a perceptron"
        " 64-30-10 and three convolutions), or from the records. One net is one net: what a method is worth stands in"
        " the [results](results.md). Accuracies are those on the test images.\n",
    ]
    for name, draw in PANELS.items():
        method = rooms.modules()[f"pruning.{name}"]
        slug = method.label.removeprefix("method-")
        caption, alt = (" ".join(part.split()) for part in str(draw.__doc__).split("\n\n    Seen: "))
        with plt.rc_context({"font.size": 9, "axes.titlesize": 9, "figure.titlesize": 10, "savefig.dpi": 110}):
            figure = draw()
            figure.savefig(folder / f"{slug}.png", metadata={"Software": None})
        plt.close(figure)
        out += [
            f"\n## {method.title}\n",
            f"```{{figure}} pictures/{slug}.png\n:name: picture-{slug}\n:alt: {alt}\n",
            f"{caption} [The method](#{method.label}).\n```\n",
        ]
    return "\n".join(out) + "\n"
